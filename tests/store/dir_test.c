/* What only a directory store can promise: files appear whole and synced, temporary files of dead
 * writers are removed and those of living ones are not, folders come and go under racing PUTs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/store/store_test.h"

static unsigned count_files(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	unsigned count = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL)
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

static int open_at(const char *folder, const char *name)
{
	char path[128];

	snprintf(path, sizeof path, "%s/%s", folder, name);
	return open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
}

/* A PUT leaves its file and no other; an unknown file beside the objects is not listed. */
static void nothing_left_behind(void **state)
{
	struct store_test test;
	struct hf_store_io io;
	char path[128];

	(void)state;
	store_test_open(&test, "dir");
	assert_int_equal(store_test_put(&test, "t/v/o", "x", 1, true, 0), 0);
	assert_int_equal(store_test_put(&test, "t/v/o", "y", 1, true, 0), HF_EEXIST);
	assert_int_equal(store_test_put(&test, "t/v/o", "z", 1, false, 0), 0);
	snprintf(path, sizeof path, "%s/.holdfast-tmp", test.folder);
	assert_int_equal(count_files(path), 0);
	close(open_at(test.folder, "not an object"));
	close(open_at(test.folder, ".holdfast-tmp/half"));
	assert_int_equal(store_test_list(&test, &io, "", "", 0), 0);
	assert_int_equal(io.name_count, 1);
	assert_string_equal(io.names[0].name, "t/v/o");
	free(io.names);
	assert_int_equal(store_test_put(&test, ".holdfast-tmp/x", "x", 1, false, 0), HF_EINVAL);
	assert_int_equal(store_test_delete(&test, "t/v/o"), 0);
	snprintf(path, sizeof path, "%s/t", test.folder);
	assert_int_equal(access(path, F_OK), -1);
	store_test_close(&test);
}

static void set_true(void *context)
{
	*(bool *)context = true;
}

/* Opening removes what a dead writer left and leaves a living one's file alone. */
static void temporary_files(void **state)
{
	struct hf_store_config config = {0};
	struct store_test test;
	struct hf_store *second;
	bool closed = false;
	char path[128], url[80];
	int living;

	(void)state;
	store_test_open(&test, "dir");
	close(open_at(test.folder, ".holdfast-tmp/dead"));
	living = open_at(test.folder, ".holdfast-tmp/living");
	assert_int_equal(flock(living, LOCK_EX), 0);
	snprintf(url, sizeof url, "dir:%s", test.folder);
	config.url = url;
	assert_int_equal(hf_store_open(&test.loop, &config, &second, NULL), 0);
	snprintf(path, sizeof path, "%s/.holdfast-tmp", test.folder);
	assert_int_equal(count_files(path), 1);
	hf_store_close(second, set_true, &closed);
	assert_true(store_test_wait(&test, &closed));
	close(living);
	store_test_close(&test);
}

static void move_folder(const char *from, const char *to)
{
	assert_int_equal(rename(from, to), 0);
}

/* A root that is not there, or is another store's, is a store that is away: never an empty one
 * (invariant 6). When it is back, so is everything in it. */
static void root_away(void **state)
{
	struct hf_store_config config = {0};
	struct store_test test, other;
	struct hf_store *second;
	struct hf_store_io io;
	char away[80], url[80];
	size_t length;
	void *body;

	(void)state;
	store_test_open(&test, "dir");
	store_test_open(&other, "dir");
	assert_int_equal(store_test_put(&test, "a/b", "x", 1, true, 0), 0);
	snprintf(away, sizeof away, "%s-away", test.folder);
	for (int kind = 0; kind < 3; kind++) { /* no folder, an empty one, another store */
		move_folder(test.folder, away);
		if (kind == 1)
			assert_int_equal(mkdir(test.folder, 0700), 0);
		if (kind == 2)
			move_folder(other.folder, test.folder);
		assert_int_equal(store_test_get(&test, "a/b", 0, 0, &body, &length, 0), HF_ECONN);
		assert_int_equal(store_test_list(&test, &io, "", "", 0), HF_ECONN);
		assert_int_equal(store_test_put(&test, "a/c", "x", 1, true, 0), HF_ECONN);
		assert_int_equal(store_test_delete(&test, "a/b"), HF_ECONN);
		if (kind == 1)
			assert_int_equal(rmdir(test.folder), 0);
		if (kind == 2)
			move_folder(test.folder, other.folder);
		move_folder(away, test.folder);
	}
	assert_int_equal(store_test_get(&test, "a/b", 0, 0, &body, &length, 0), 0);
	free(body);
	/* A folder that holds something else is not taken for a store. */
	snprintf(url, sizeof url, "dir:%s/a", test.folder);
	config.url = url;
	assert_int_equal(hf_store_open(&test.loop, &config, &second, NULL), HF_EINVAL);
	store_test_close(&other);
	store_test_close(&test);
}

/* What is no file in an object's place is no object, and nobody waits for it: a FIFO opened for
 * reading would keep a worker until somebody writes. A symbolic link leads nowhere. */
static void neither_fifo_nor_link(void **state)
{
	struct store_test test;
	char path[128];
	size_t length;
	void *body;

	(void)state;
	store_test_open(&test, "dir");
	assert_int_equal(store_test_put(&test, "a/b", "x", 1, true, 0), 0);
	snprintf(path, sizeof path, "%s/a/fifo", test.folder);
	assert_int_equal(mkfifo(path, 0600), 0);
	snprintf(path, sizeof path, "%s/a/link", test.folder);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	alarm(20);
	assert_int_equal(store_test_get(&test, "a/fifo", 0, 0, &body, &length, 0), HF_ENOENT);
	assert_int_equal(store_test_get(&test, "a/link", 0, 0, &body, &length, 0), HF_EINVAL);
	alarm(0);
	store_test_close(&test);
}

/* Puts objects of 1 … 256 KiB, filled with their number, until it is killed. */
static void put_until_killed(const char *folder)
{
	struct hf_store_config config = {0};
	struct store_test test = {0};
	static uint8_t data[256 << 10];
	char url[80], name[32];

	snprintf(url, sizeof url, "dir:%s", folder);
	config.url = url;
	if (uv_loop_init(&test.loop) != 0 ||
	    hf_store_open(&test.loop, &config, &test.store, NULL) != 0)
		_exit(1);
	for (unsigned i = 0;; i++) {
		memset(data, (int)(i % 251), sizeof data);
		snprintf(name, sizeof name, "%u/%u/%u", i % 3, i % 7, (unsigned)getpid() + i);
		store_test_put(&test, name, data, 1024u << (i % 9), i % 2, 0);
	}
}

static void expect_whole_objects(struct store_test *test)
{
	struct hf_store_io io;

	assert_int_equal(store_test_list(test, &io, "", "", 0), 0);
	for (unsigned i = 0; i < io.name_count; i++) {
		size_t length;
		uint8_t *body;

		assert_int_equal(
			store_test_get(test, io.names[i].name, 0, 0, (void **)&body, &length, 0),
			0);
		assert_true(length >= 1024 && length <= 256 << 10);
		assert_int_equal(length & (length - 1), 0);
		for (size_t k = 1; k < length; k++)
			assert_int_equal(body[k], body[0]);
		free(body);
		assert_int_equal(store_test_delete(test, io.names[i].name), 0);
	}
	free(io.names);
}

/* A writer killed at any moment leaves whole objects and nothing else that lasts. */
static void killed_writer(void **state)
{
	struct store_test test;
	char path[128];

	(void)state;
	store_test_open(&test, "dir");
	snprintf(path, sizeof path, "%s/.holdfast-tmp", test.folder);
	for (unsigned round = 0; round < 20; round++) {
		struct hf_store_config config = {0};
		struct hf_store *next;
		bool closed = false;
		char url[80];
		int status;
		pid_t child = fork();

		if (child == 0)
			put_until_killed(test.folder);
		usleep(3000 + 1700 * round);
		assert_int_equal(kill(child, SIGKILL), 0);
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status));
		expect_whole_objects(&test);
		snprintf(url, sizeof url, "dir:%s", test.folder);
		config.url = url;
		assert_int_equal(hf_store_open(&test.loop, &config, &next, NULL), 0);
		assert_int_equal(count_files(path), 0);
		hf_store_close(next, set_true, &closed);
		assert_true(store_test_wait(&test, &closed));
	}
	store_test_close(&test);
}

/* A name below a file, and a file where a folder is: refused, never a lost object. */
static void files_and_folders(void **state)
{
	struct store_test test;
	void *body;
	size_t length;

	(void)state;
	store_test_open(&test, "dir");
	assert_int_equal(store_test_put(&test, "a/b", "x", 1, true, 0), 0);
	assert_int_equal(store_test_put(&test, "a/b/c", "x", 1, true, 0), HF_EINVAL);
	assert_int_equal(store_test_put(&test, "a", "x", 1, false, 0), HF_EINVAL);
	assert_int_equal(store_test_get(&test, "a", 0, 0, &body, &length, 0), HF_ENOENT);
	assert_int_equal(store_test_get(&test, "a/b/c", 0, 0, &body, &length, 0), HF_ENOENT);
	store_test_close(&test);
}

static struct churn {
	struct hf_store_io io;
	unsigned rounds;
	struct store_test *test;
} churns[4];
static unsigned churns_running;
static bool churns_over;

static void churn_step(struct hf_store_io *io)
{
	struct churn *churn = hf_container_of(io, struct churn, io);

	if (io->done && io->status != 0)
		fail_msg("%s %s: %s", io->op == HF_STORE_PUT ? "PUT" : "DELETE", io->name,
			 hf_err_text(io->status));
	if (churn->rounds-- == 0) {
		churns_over = --churns_running == 0;
		return;
	}
	io->op = churn->rounds % 2 ? HF_STORE_PUT : HF_STORE_DELETE;
	io->data = "x";
	io->length = 1;
	io->if_absent = true;
	io->done = churn_step;
	hf_store_submit(churn->test->store, io);
}

/* PUTs into a folder that DELETEs keep emptying and removing all succeed. */
static void folders_under_races(void **state)
{
	struct store_test test;

	(void)state;
	store_test_open(&test, "dir");
	for (unsigned i = 0; i < 4; i++) {
		char name[32];

		churns[i] = (struct churn){.rounds = 200, .test = &test};
		snprintf(name, sizeof name, "one/two/three/%u", i);
		store_test_name(&churns[i].io, name);
		churns_running++;
		churn_step(&churns[i].io);
	}
	assert_true(store_test_wait(&test, &churns_over));
	store_test_close(&test);
}

/* What is written past the page cache is whole too: sizes around its pieces, and memory that is
 * and is not aligned. */
static void direct_writes(void **state)
{
	static const size_t sizes[] = {(256u << 10) - 1,    256u << 10,         (256u << 10) + 1,
				       (512u << 10) + 4095, (1u << 20) + 12289, 3u << 20};
	uint8_t *data = aligned_alloc(4096, 4u << 20);
	struct store_test test;

	(void)state;
	assert_non_null(data);
	for (size_t i = 0; i < 4u << 20; i++)
		data[i] = (uint8_t)(i * 31 + (i >> 8) + (i >> 16) * 7);
	store_test_open(&test, "dir");
	for (size_t i = 0; i < 2 * sizeof sizes / sizeof sizes[0]; i++) {
		const uint8_t *from = data + i % 2;
		size_t length = sizes[i / 2], body_length;
		void *body;

		assert_int_equal(store_test_put(&test, "o", from, length, false, 0), 0);
		assert_int_equal(store_test_get(&test, "o", 0, 0, &body, &body_length, 0), 0);
		assert_int_equal(body_length, length);
		assert_memory_equal(body, from, length);
		free(body);
	}
	store_test_close(&test);
	free(data);
}

/* Configuration that cannot work is refused with a reason. */
static void bad_urls(void **state)
{
	static const char *const urls[] = {"dir:relative",
					   "dir:/no/such/folder/at/all",
					   "dir:/dev/null",
					   "ftp://x/y",
					   "",
					   NULL};
	uv_loop_t loop;

	(void)state;
	uv_loop_init(&loop);
	for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
		struct hf_store_config config = {.url = urls[i]};
		struct hf_errmsg message = {""};
		struct hf_store *store;

		assert_true(hf_store_open(&loop, &config, &store, &message) < 0);
		assert_true(strlen(message.text) > 10);
		assert_null(store);
	}
	assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_left_behind),   cmocka_unit_test(temporary_files),
		cmocka_unit_test(files_and_folders),     cmocka_unit_test(root_away),
		cmocka_unit_test(folders_under_races),   cmocka_unit_test(bad_urls),
		cmocka_unit_test(neither_fifo_nor_link), cmocka_unit_test(killed_writer),
		cmocka_unit_test(direct_writes),
	};

	return cmocka_run_group_tests_name("directory store", tests, NULL, NULL);
}
