/* What volumed remembers (state.h): comes back as it was saved, private, damaged files are named
 * and hold back nobody else (invariants 8 and 9), one process a folder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "gateway/volumed/logfile.h"
#include "gateway/volumed/state.h"
#include "tests/lib/folder.h"

struct fixture {
	char directory[64], state_dir[80];
	struct hf_state state;
	struct hf_errmsg message;
};

struct seen {
	unsigned count, corrupt;
	struct hf_volume_config last;
	bool last_detached;
	struct hf_errmsg why;
};

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof *fixture);

	snprintf(fixture->directory, sizeof fixture->directory, "/tmp/hf-state-XXXXXX");
	assert_non_null(mkdtemp(fixture->directory));
	snprintf(fixture->state_dir, sizeof fixture->state_dir, "%s/state", fixture->directory);
	assert_int_equal(hf_state_open(fixture->state_dir, &fixture->state, &fixture->message), 0);
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	hf_state_close(&fixture->state);
	folder_remove(fixture->directory);
	free(fixture);
	return 0;
}

static struct hf_volume_config volume_config(uint64_t volume)
{
	struct hf_volume_config config = {.tenant = 5,
					  .volume = volume,
					  .size_bytes = 1 << 20,
					  .attach_epoch = 2,
					  .write_cache = true};

	memset(config.wrap_key, 0xab, sizeof config.wrap_key);
	return config;
}

static void see(void *context, int status, const struct hf_volume_config *config, bool detached,
		const struct hf_errmsg *why)
{
	struct seen *seen = context;

	seen->count++;
	if (status) {
		assert_int_equal(status, HF_ECORRUPT);
		seen->corrupt++;
		seen->why = *why;
		return;
	}
	seen->last = *config;
	seen->last_detached = detached;
}

static struct seen read_all(struct fixture *fixture)
{
	struct seen seen = {0};

	assert_int_equal(hf_state_each_volume(&fixture->state, see, &seen, &fixture->message), 0);
	return seen;
}

static void path_of(struct fixture *fixture, char *path, const char *name)
{
	snprintf(path, PATH_MAX, "%s/%s", fixture->state_dir, name);
}

static void test_a_volume_comes_back(void **state)
{
	struct fixture *fixture = *state;
	struct hf_volume_config config = volume_config(0x1234);
	struct seen seen;

	assert_int_equal(read_all(fixture).count, 0);
	assert_int_equal(hf_state_save_volume(&fixture->state, &config, false, &fixture->message),
			 0);
	seen = read_all(fixture);
	assert_int_equal(seen.count, 1);
	assert_false(seen.last_detached);
	assert_memory_equal(&seen.last.wrap_key, config.wrap_key, sizeof config.wrap_key);
	assert_true(seen.last.tenant == 5 && seen.last.volume == 0x1234 &&
		    seen.last.size_bytes == 1 << 20 && seen.last.attach_epoch == 2 &&
		    seen.last.write_cache && !seen.last.create);
	assert_int_equal(hf_state_save_volume(&fixture->state, &config, true, &fixture->message),
			 0);
	assert_true(read_all(fixture).last_detached);
	assert_int_equal(hf_state_forget_volume(&fixture->state, 0x1234, &fixture->message), 0);
	assert_int_equal(hf_state_forget_volume(&fixture->state, 0x1234, &fixture->message), 0);
	assert_int_equal(read_all(fixture).count, 0);
}

/* `holdfast-gateway export --key` reads this line. Nobody else may. */
static void test_the_key_file(void **state)
{
	struct fixture *fixture = *state;
	struct hf_volume_config config = volume_config(0x1234);
	char path[PATH_MAX], line[256] = {0};
	struct stat st;
	FILE *file;

	assert_int_equal(hf_state_save_volume(&fixture->state, &config, false, &fixture->message),
			 0);
	path_of(fixture, path, "keys/vol-0000000000001234.key");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	file = fopen(path, "re");
	assert_non_null(fgets(line, sizeof line, file));
	assert_int_equal(strncmp(line, "holdfast-key-1 vol-0000000000001234 abababab", 44), 0);
	assert_int_equal(strlen(line), strlen("holdfast-key-1 vol-0000000000001234 ") + 65);
	fclose(file);
	path_of(fixture, path, "volumes/vol-0000000000001234");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(hf_state_forget_volume(&fixture->state, 0x1234, &fixture->message), 0);
	path_of(fixture, path, "keys/vol-0000000000001234.key");
	assert_int_equal(access(path, F_OK), -1);
}

static void flip(const char *path, off_t offset)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	uint8_t byte;

	assert_int_equal(pread(fd, &byte, 1, offset), 1);
	byte ^= 0x40;
	assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
	close(fd);
}

/* Each byte of the file matters; the other volume is read all the same. */
static void test_damage_is_named_and_holds_back_nobody(void **state)
{
	struct fixture *fixture = *state;
	struct hf_volume_config one = volume_config(1), two = volume_config(2);
	char path[PATH_MAX];
	struct seen seen;
	struct stat st;

	assert_int_equal(hf_state_save_volume(&fixture->state, &one, false, &fixture->message), 0);
	assert_int_equal(hf_state_save_volume(&fixture->state, &two, false, &fixture->message), 0);
	path_of(fixture, path, "volumes/vol-0000000000000001");
	assert_int_equal(stat(path, &st), 0);
	for (off_t at = 0; at < st.st_size; at++) {
		if (at >= 20 && at < 24)
			continue; /* reserved */
		flip(path, at);
		seen = read_all(fixture);
		assert_int_equal(seen.count, 2);
		assert_int_equal(seen.corrupt, 1);
		assert_non_null(strstr(seen.why.text, "vol-0000000000000001"));
		assert_int_equal(seen.last.volume, 2);
		flip(path, at);
	}
	for (off_t size = 0; size < st.st_size; size++) {
		assert_int_equal(truncate(path, st.st_size - 1 - size), 0);
		assert_int_equal(read_all(fixture).corrupt, 1);
	}
}

static void test_another_volumes_file_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct hf_volume_config one = volume_config(1);
	char from[PATH_MAX], to[PATH_MAX];

	assert_int_equal(hf_state_save_volume(&fixture->state, &one, false, &fixture->message), 0);
	path_of(fixture, from, "volumes/vol-0000000000000001");
	path_of(fixture, to, "volumes/vol-0000000000000002");
	assert_int_equal(rename(from, to), 0);
	assert_int_equal(read_all(fixture).corrupt, 1);
}

static void test_the_store_comes_back(void **state)
{
	static char url[] = "s3+https://h/b", secret[] = "s3cret", ca1[] = "CA one", ca2[] = "two";
	struct fixture *fixture = *state;
	Holdfast__VolumedStore store = HOLDFAST__VOLUMED_STORE__INIT, *back;
	char path[PATH_MAX], path2[PATH_MAX];

	assert_int_equal(hf_state_load_store(&fixture->state, &back, &fixture->message), HF_ENOENT);
	store.url = url;
	store.secret_key = secret;
	store.ca = ca1;
	assert_int_equal(hf_state_save_store(&fixture->state, &store, &fixture->message), 0);
	assert_int_equal(hf_state_load_store(&fixture->state, &back, &fixture->message), 0);
	assert_string_equal(back->url, url);
	assert_string_equal(back->secret_key, secret);
	assert_int_equal(hf_state_write_ca(&fixture->state, back, path, &fixture->message), 0);
	store.ca = ca2;
	assert_int_equal(hf_state_write_ca(&fixture->state, &store, path2, &fixture->message), 0);
	assert_string_not_equal(path, path2);
	hf_state_drop_old_ca(&fixture->state, path2);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(access(path2, F_OK), 0);
	hf_control_store_free(back);
	path_of(fixture, path, "store");
	flip(path, 30);
	assert_int_equal(hf_state_load_store(&fixture->state, &back, &fixture->message),
			 HF_ECORRUPT);
	assert_null(back);
}

static void test_one_process_a_folder(void **state)
{
	struct fixture *fixture = *state;
	struct hf_state second;

	assert_int_equal(hf_state_open(fixture->state_dir, &second, &fixture->message), HF_EBUSY);
	assert_non_null(strstr(fixture->message.text, fixture->state_dir));
}

static void test_an_open_folder_is_closed(void **state)
{
	struct fixture *fixture = *state;
	struct stat st;

	hf_state_close(&fixture->state);
	assert_int_equal(chmod(fixture->state_dir, 0755), 0);
	assert_int_equal(hf_state_open(fixture->state_dir, &fixture->state, &fixture->message), 0);
	assert_int_equal(stat(fixture->state_dir, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
}

/* What another process gets when it opens the log: the error, positive. */
static int open_elsewhere(const char *path)
{
	struct hf_logfile file;
	struct hf_errmsg message;
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0)
		_exit(-hf_logfile_open(path, 1 << 20, &file, &message));
	assert_int_equal(waitpid(child, &status, 0), child);
	return WEXITSTATUS(status);
}

/* A log that was not completed leaves nothing behind; a complete one is locked and keeps its size.
 */
static void test_the_log_file(void **state)
{
	struct fixture *fixture = *state;
	char path[PATH_MAX], name[PATH_MAX + 8];
	struct hf_logfile file;

	path_of(fixture, path, "log");
	snprintf(name, sizeof name, "%s.new", path);
	assert_int_equal(hf_logfile_open(path, 1 << 20, &file, &fixture->message), 0);
	assert_true(file.fresh && file.size_bytes == 1 << 20);
	assert_int_equal(access(name, F_OK), 0);
	hf_logfile_close(&file);
	assert_int_equal(access(name, F_OK), -1);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(hf_logfile_open(path, 1 << 20, &file, &fixture->message), 0);
	assert_int_equal(hf_logfile_keep(&file, &fixture->message), 0);
	assert_int_equal(open_elsewhere(path), -HF_EBUSY);
	hf_logfile_close(&file);
	assert_int_equal(hf_logfile_open(path, 2 << 20, &file, &fixture->message), 0);
	assert_true(!file.fresh && file.size_bytes == 1 << 20);
	hf_logfile_close(&file);
	path_of(fixture, path, "keys");
	assert_true(hf_logfile_open(path, 1 << 20, &file, &fixture->message) < 0);
	path_of(fixture, path, "nowhere/log");
	assert_int_equal(hf_logfile_open(path, 1 << 20, &file, &fixture->message), HF_ENOENT);
	path_of(fixture, path, "huge");
	assert_int_equal(hf_logfile_open(path, 1ull << 50, &file, &fixture->message) < 0, 1);
	assert_int_equal(access(path, F_OK), -1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_a_volume_comes_back),
		TEST(test_the_key_file),
		TEST(test_damage_is_named_and_holds_back_nobody),
		TEST(test_another_volumes_file_is_refused),
		TEST(test_the_store_comes_back),
		TEST(test_one_process_a_folder),
		TEST(test_an_open_folder_is_closed),
		TEST(test_the_log_file),
	};

	return cmocka_run_group_tests_name("volumed state", tests, NULL, NULL);
}
