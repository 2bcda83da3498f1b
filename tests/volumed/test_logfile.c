/* The log's file (logfile.h): one process makes it, uses it, and never over another's. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gateway/volumed/logfile.h"

#define SIZE (1u << 20)

static char folder[64], path[96], new_path[100];

static int setup(void **state)
{
	(void)state;
	strcpy(folder, "logfile-test-XXXXXX"); /* not in /tmp: that may know no direct I/O */
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof path, "%s/log", folder);
	snprintf(new_path, sizeof new_path, "%s.new", path);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	unlink(new_path);
	return rmdir(folder);
}

/* What another process is told that opens the log. */
static int opened_elsewhere(void)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		struct hf_errmsg message;
		struct hf_logfile file;

		_exit(-hf_logfile_open(path, SIZE, &file, &message));
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return -WEXITSTATUS(status);
}

static ino_t inode(const char *name)
{
	struct stat st;

	assert_int_equal(stat(name, &st), 0);
	return st.st_ino;
}

static void test_one_process_makes_it_and_has_it(void **state)
{
	struct hf_errmsg message;
	struct hf_logfile file;
	ino_t made;

	(void)state;
	assert_int_equal(hf_logfile_open(path, SIZE, &file, &message), 0);
	assert_true(file.fresh && file.size_bytes == SIZE);
	made = inode(new_path);
	assert_int_equal(opened_elsewhere(), HF_EBUSY);
	assert_int_equal(inode(new_path), made);
	assert_int_equal(hf_logfile_keep(&file, &message), 0);
	assert_int_equal(inode(path), made);
	assert_int_not_equal(access(new_path, F_OK), 0);
	assert_int_equal(opened_elsewhere(), HF_EBUSY);
	hf_logfile_close(&file);
	assert_int_equal(opened_elsewhere(), 0);
}

static void test_half_a_log_is_begun_again(void **state)
{
	struct hf_errmsg message;
	struct hf_logfile file;
	FILE *half = fopen(new_path, "w");

	(void)state;
	assert_non_null(half);
	assert_true(fputs("HFLWSUP1", half) >= 0);
	fclose(half);
	assert_int_equal(hf_logfile_open(path, SIZE, &file, &message), 0);
	assert_true(file.fresh);
	half = fopen(new_path, "r");
	assert_int_equal(fgetc(half), 0);
	fclose(half); /* and with it our lock: nobody else looks here */
	hf_logfile_close(&file);
	assert_int_not_equal(access(new_path, F_OK), 0);
}

static void test_a_log_that_came_meanwhile_is_left_alone(void **state)
{
	struct hf_errmsg message;
	struct hf_logfile file;
	FILE *other;
	ino_t theirs;

	(void)state;
	assert_int_equal(hf_logfile_open(path, SIZE, &file, &message), 0);
	other = fopen(path, "w");
	assert_non_null(other);
	fclose(other);
	theirs = inode(path);
	assert_int_equal(hf_logfile_keep(&file, &message), HF_EEXIST);
	hf_logfile_close(&file);
	assert_int_equal(inode(path), theirs);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_one_process_makes_it_and_has_it),
		T(test_half_a_log_is_begun_again),
		T(test_a_log_that_came_meanwhile_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
