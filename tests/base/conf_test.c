/* base/conf.h: a configuration is read or refused with file, line and what to do (invariant 9). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/conf.h"

struct settings {
	char *name;
	uint64_t size_bytes, count;
	int enabled;
};

static const struct hf_conf_key keys[] = {
	{"name", HF_CONF_TEXT, offsetof(struct settings, name), NULL, "what it is called"},
	{"size", HF_CONF_SIZE, offsetof(struct settings, size_bytes), "1MiB", "how large", 1024,
	 1 << 30},
	{"count", HF_CONF_NUMBER, offsetof(struct settings, count), "3", "how many"},
	{"enabled", HF_CONF_BOOL, offsetof(struct settings, enabled), "no", "whether"},
	{NULL, HF_CONF_TEXT, 0, NULL, NULL},
};

static void test_values_comments_and_initials(void **state)
{
	struct settings settings = {0};
	struct hf_errmsg message;

	(void)state;
	assert_int_equal(hf_conf_parse("f",
				       "# all of it\n"
				       "name =  a name with = inside # and a comment\n\n"
				       "\tenabled=yes",
				       keys, &settings, &message),
			 0);
	assert_string_equal(settings.name, "a name with = inside");
	assert_int_equal(settings.size_bytes, 1 << 20);
	assert_int_equal(settings.count, 3);
	assert_int_equal(settings.enabled, 1);
	hf_conf_free(keys, &settings);
	assert_null(settings.name);
}

static void test_mistakes_are_refused_by_line(void **state)
{
	static const struct {
		const char *text, *says;
	} mistakes[] = {
		{"name = x\nnonsense", "f:2: expected `key = value`"},
		{"name = x\ncolour = red", "f:2: unknown key `colour`"},
		{"name = x\nname = y", "f:2: `name` is set twice"},
		{"name = x\nsize = 3 apples",
		 "f:2: `size` wants a size such as 64MiB, not `3 apples`"},
		{"name = x\nsize = 1023", "f:2: `size` wants 1024 to 1073741824, not `1023`"},
		{"name = x\nsize = 2GiB", "f:2: `size` wants 1024 to 1073741824, not `2GiB`"},
		{"name = x\ncount = -1", "f:2: `count` wants a number, not `-1`"},
		{"name = x\ncount = 99999999999999999999", "f:2: `count` wants a number"},
		{"name = x\nenabled = maybe", "f:2: `enabled` wants yes or no, not `maybe`"},
		{"size = 1KiB", "f: `name` is missing (what it is called)"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
		struct settings settings = {0};
		struct hf_errmsg message = {""};

		assert_int_not_equal(
			hf_conf_parse("f", mistakes[i].text, keys, &settings, &message), 0);
		assert_memory_equal(message.text, mistakes[i].says, strlen(mistakes[i].says));
		hf_conf_free(keys, &settings);
	}
}

static void test_files_are_read_or_named(void **state)
{
	char path[] = "/tmp/holdfast-conf-XXXXXX";
	struct settings settings = {0};
	struct hf_errmsg message;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "name = filed\n", 13), 13);
	assert_int_equal(hf_conf_read(path, keys, &settings, &message), 0);
	assert_string_equal(settings.name, "filed");
	hf_conf_free(keys, &settings);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	assert_int_equal(hf_conf_read(path, keys, &settings, &message), HF_ETOOBIG);
	hf_conf_free(keys, &settings);
	close(fd);
	unlink(path);
	assert_int_equal(hf_conf_read(path, keys, &settings, &message), HF_ENOENT);
	assert_non_null(strstr(message.text, path));
	hf_conf_free(keys, &settings);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values_comments_and_initials),
		cmocka_unit_test(test_mistakes_are_refused_by_line),
		cmocka_unit_test(test_files_are_read_or_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
