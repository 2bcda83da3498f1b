/* Promises of the read cache's file: never more than its share of what is free, the size is kept
 * where it can be, and whatever stands in its place is refused by name, harming nothing. */
#include "gateway/volumed/cachefile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define MIB (1ull << 20)
#define GIB (1ull << 30)

static char folder[64], path[96];

static int setup(void **state)
{
	(void)state;
	strcpy(folder, "cachefile-test-XXXXXX"); /* not in /tmp: that may know no direct I/O */
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof path, "%s/cache", folder);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(folder);
}

static void its_share_is_half_of_what_is_free(void **state)
{
	(void)state;
	assert_int_equal(hf_cachefile_size(4 * GIB, 0, 0, 100 * GIB), 4 * GIB);
	assert_int_equal(hf_cachefile_size(4 * GIB, 0, 0, 4 * GIB), 2 * GIB);
	assert_int_equal(hf_cachefile_size(4 * GIB, 0, 0, 20 * MIB), 0);
	assert_int_equal(hf_cachefile_size(MIB, 0, 0, 20 * GIB), 0);
	/* What it has taken is not held against it. */
	assert_int_equal(hf_cachefile_size(4 * GIB, 4 * GIB, 4 * GIB, 4 * GIB), 4 * GIB);
	/* A little less room does not cost the content, much less does. */
	assert_int_equal(hf_cachefile_size(4 * GIB, 4 * GIB, 3 * GIB, 4 * GIB), 4 * GIB);
	assert_int_equal(hf_cachefile_size(4 * GIB, 4 * GIB, GIB, 3 * GIB), 2 * GIB);
	/* Nor does a little more. */
	assert_int_equal(hf_cachefile_size(4 * GIB, 2 * GIB, GIB, 3900 * MIB), 2 * GIB);
	assert_int_equal(hf_cachefile_size(4 * GIB, 2 * GIB, GIB, 20 * GIB), 4 * GIB);
	/* The setting is never passed. */
	assert_int_equal(hf_cachefile_size(GIB, 2 * GIB, 2 * GIB, 20 * GIB), GIB);
}

static void it_is_made_and_kept(void **state)
{
	struct hf_errmsg message = {""};
	struct hf_cachefile file;
	struct stat st;

	(void)state;
	assert_int_equal(hf_cachefile_open(path, 32 * MIB, &file, &message), 0);
	assert_int_equal(file.size_bytes, 32 * MIB);
	assert_int_equal(fstat(file.fd, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_true(st.st_blocks < 100);
	hf_cachefile_close(&file);
	assert_int_equal(hf_cachefile_open(path, 64 * MIB, &file, &message), 0);
	assert_int_equal(file.size_bytes, 64 * MIB);
	hf_cachefile_close(&file);
	assert_int_equal(hf_cachefile_open(path, 0, &file, &message), 0);
	assert_int_equal(file.fd, -1);
	assert_int_not_equal(access(path, F_OK), 0);
	assert_int_equal(hf_cachefile_open(path, 0, &file, &message), 0);
}

static void what_is_no_file_is_refused(void **state)
{
	struct hf_errmsg message = {""};
	struct hf_cachefile file;

	(void)state;
	assert_int_equal(mkdir(path, 0700), 0);
	assert_true(hf_cachefile_open(path, 32 * MIB, &file, &message) < 0);
	assert_int_equal(file.fd, -1);
	assert_non_null(strstr(message.text, path));
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_true(hf_cachefile_open(path, 32 * MIB, &file, &message) < 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_true(hf_cachefile_open(path, 32 * MIB, &file, &message) < 0);
	assert_int_equal(hf_cachefile_open("/proc/nowhere/cache", 32 * MIB, &file, &message),
			 HF_ENOENT);
}

static void one_process_has_it(void **state)
{
	struct hf_errmsg message = {""};
	struct hf_cachefile file;
	int status;
	pid_t child;

	(void)state;
	assert_int_equal(hf_cachefile_open(path, 32 * MIB, &file, &message), 0);
	child = fork();
	if (child == 0) {
		struct hf_cachefile other;

		_exit(hf_cachefile_open(path, 32 * MIB, &other, &message) == HF_EBUSY ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	hf_cachefile_close(&file);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(its_share_is_half_of_what_is_free),
		TEST(it_is_made_and_kept),
		TEST(what_is_no_file_is_refused),
		TEST(one_process_has_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
