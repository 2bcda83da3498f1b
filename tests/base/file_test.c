/* Promises of base/file.h: a file that is replaced is the old one or the new one as a whole, with
 * the mode asked for, whatever a crash left beside it; a name is below its folder; what is read is
 * bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

static void test_file_replace_is_whole_and_private(void **state)
{
	char folder[] = "/tmp/hf-file-XXXXXX", path[64], beside[80];
	struct hf_errmsg message;
	struct stat info;
	uint8_t *bytes;
	size_t length;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/f", folder);
	snprintf(beside, sizeof beside, "%s.new", path);
	assert_int_equal(hf_file_replace(path, "one", 3, 0600, &message), 0);
	/* What a crash left beside it does not get in the way. */
	assert_int_equal(hf_file_replace(beside, "half", 4, 0644, &message), 0);
	assert_int_equal(hf_file_replace(path, "two", 3, 0600, &message), 0);
	assert_int_equal(stat(path, &info), 0);
	assert_int_equal(info.st_mode & 0777, 0600);
	assert_int_equal(hf_file_read(path, 10, &bytes, &length, &message), 0);
	assert_int_equal(length, 3);
	assert_memory_equal(bytes, "two", 4);
	free(bytes);
	assert_int_equal(hf_file_read(path, 2, &bytes, &length, &message), HF_ETOOBIG);
	unlink(path);
	assert_int_equal(hf_file_read(path, 2, &bytes, &length, &message), HF_ENOENT);
	assert_string_equal(message.text + strlen(message.text) - 25, "No such file or directory");
	rmdir(folder);
}

static void test_paths_are_relative_to_their_folder(void **state)
{
	char folder[] = "/tmp/hf-file-XXXXXX", path[64], inner[64];
	struct hf_errmsg message;
	uint8_t *bytes;
	size_t length;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(inner, sizeof inner, "%s/in", folder);
	snprintf(path, sizeof path, "%s/f", inner);
	assert_int_equal(mkdir(inner, 0700), 0);
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(hf_file_replace_at(fd, "in/f", "one", 3, 0600, &message), 0);
	assert_int_equal(hf_file_read(path, 3, &bytes, &length, &message), 0);
	assert_int_equal(length, 3);
	free(bytes);
	assert_int_equal(hf_file_sync_folder_at(fd, "in/f", &message), 0);
	assert_int_equal(hf_file_sync_folder_at(fd, "out/f", &message), HF_ENOENT);
	assert_int_equal(hf_file_replace_at(fd, "out/f", "one", 3, 0600, &message), HF_ENOENT);
	unlink(path);
	rmdir(inner);
	close(fd);
	rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_file_replace_is_whole_and_private),
		cmocka_unit_test(test_paths_are_relative_to_their_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
