/* Promises of base/env.h that gateway/volumed/env_disk.c and env_uring.c keep: what was written and
 * synced is read back, each operation ends exactly once and never inside its own call, and what the
 * disk refuses becomes the right status. */
#include "tests/volumed/env_fixture.h"

#include <fcntl.h>
#include <unistd.h>

struct op {
	struct hf_disk_io io;
	struct fixture *fixture;
	struct iovec iov[2];
	unsigned *done;
	unsigned calls, told;
	void (*written)(struct hf_disk_io *io);
	bool submitting, sync;
	int expected;
};

static void op_done(struct hf_disk_io *io)
{
	struct op *op = hf_container_of(io, struct op, io);

	assert_false(op->submitting);
	assert_true(pthread_equal(pthread_self(), op->fixture->thread));
	assert_int_equal(io->status, op->expected);
	op->calls++;
	(*op->done)++;
}

static void start(struct op *op, enum hf_disk_op kind, uint64_t offset, void *bytes, size_t length)
{
	op->iov[0] = (struct iovec){.iov_base = bytes, .iov_len = length};
	op->io = (struct hf_disk_io){.op = kind,
				     .offset = offset,
				     .iov = op->iov,
				     .iov_count = kind == HF_DISK_SYNC ? 0 : 1,
				     .sync = op->sync,
				     .status = -999,
				     .written = op->written,
				     .done = op_done};
	op->submitting = true;
	hf_env_disk_submit(op->fixture->env, &op->io);
	op->submitting = false;
}

static void *aligned(size_t length)
{
	void *bytes = NULL;

	assert_int_equal(posix_memalign(&bytes, 4096, length), 0);
	memset(bytes, 0, length);
	return bytes;
}

static void test_what_was_written_is_read(void **state)
{
	struct fixture *fixture = *state;
	unsigned done = 0;
	struct op write = {.fixture = fixture, .done = &done}, sync = write, read = write;
	uint8_t *out = aligned(8192), *in = aligned(8192);

	for (unsigned i = 0; i < 8192; i++)
		out[i] = (uint8_t)(i * 7);
	start(&write, HF_DISK_WRITE, 512 * 9, out, 8192);
	fixture_run(fixture, &done, 1);
	start(&sync, HF_DISK_SYNC, 0, NULL, 0);
	fixture_run(fixture, &done, 2);
	start(&read, HF_DISK_READ, 512 * 9, in, 8192);
	fixture_run(fixture, &done, 3);
	assert_memory_equal(out, in, 8192);
	free(out);
	free(in);
}

/* A write with its sync is one operation that says how far it came. */
static void test_write_and_sync_in_one(void **state)
{
	struct fixture *fixture = *state;
	unsigned done = 0;
	struct op write = {.fixture = fixture, .done = &done}, read = write, sync = write;
	uint8_t *out = aligned(4096), *in = aligned(4096);

	memset(out, 0x5a, 4096);
	start(&write, HF_DISK_WRITE, 8192, out, 4096);
	fixture_run(fixture, &done, 1);
	write.sync = true;
	memset(out, 0xa5, 4096);
	start(&write, HF_DISK_WRITE, 8192, out, 4096);
	start(&sync, HF_DISK_SYNC, 0, NULL, 0);
	fixture_run(fixture, &done, 3);
	assert_true(write.io.wrote);
	start(&read, HF_DISK_READ, 8192, in, 4096);
	fixture_run(fixture, &done, 4);
	assert_memory_equal(out, in, 4096);
	free(out);
	free(in);
}

/* The write may succeed and the sync fail, or the write fail: they are told apart. */
static void test_write_and_sync_fail_each_for_itself(void **state)
{
	struct fixture *fixture = *state;
	unsigned done = 0;
	struct op op = {.fixture = fixture, .done = &done, .expected = HF_EIO, .sync = true};
	uint8_t *bytes = aligned(512);

	fixture_close(fixture);
	fixture_open(fixture, "/dev/zero", 1u << 20); /* takes writes, cannot be synced */
	start(&op, HF_DISK_WRITE, 0, bytes, 512);
	fixture_run(fixture, &done, 1);
	assert_true(op.io.wrote);
	fixture_close(fixture);
	fixture_open(fixture, "/dev/full", 1u << 20);
	op.expected = HF_ENOSPC;
	start(&op, HF_DISK_WRITE, 0, bytes, 512);
	fixture_run(fixture, &done, 2);
	assert_false(op.io.wrote);
	free(bytes);
}

static void test_vectors_gather_and_scatter(void **state)
{
	struct fixture *fixture = *state;
	unsigned done = 0;
	struct op write = {.fixture = fixture, .done = &done}, read = write;
	uint8_t *out = aligned(2048), *in = aligned(2048);

	for (unsigned i = 0; i < 2048; i++)
		out[i] = (uint8_t)(i / 512 + 1);
	write.iov[0] = (struct iovec){.iov_base = out + 1024, .iov_len = 1024};
	write.iov[1] = (struct iovec){.iov_base = out, .iov_len = 512};
	write.io = (struct hf_disk_io){
		.op = HF_DISK_WRITE, .iov = write.iov, .iov_count = 2, .done = op_done};
	hf_env_disk_submit(fixture->env, &write.io);
	fixture_run(fixture, &done, 1);
	read.iov[0] = (struct iovec){.iov_base = in, .iov_len = 512};
	read.iov[1] = (struct iovec){.iov_base = in + 1024, .iov_len = 1024};
	read.io = (struct hf_disk_io){
		.op = HF_DISK_READ, .iov = read.iov, .iov_count = 2, .done = op_done};
	hf_env_disk_submit(fixture->env, &read.io);
	fixture_run(fixture, &done, 2);
	assert_int_equal(in[0], 3);
	assert_int_equal(in[1024], 4);
	assert_int_equal(in[1536], 1);
	free(out);
	free(in);
}

static void write_told(struct hf_disk_io *io)
{
	struct op *op = hf_container_of(io, struct op, io);

	assert_true(pthread_equal(pthread_self(), op->fixture->thread));
	assert_int_equal(op->calls, 0); /* before `done` */
	op->told++;
}

static void test_a_write_is_told_before_its_sync_ends(void **state)
{
	struct fixture *fixture = *state;
	unsigned done = 0;
	struct op write = {.fixture = fixture, .done = &done, .sync = true}, refused = write;
	uint8_t *bytes = aligned(4096);

	write.written = refused.written = write_told;
	start(&write, HF_DISK_WRITE, 0, bytes, 4096);
	fixture_run(fixture, &done, 1);
	assert_int_equal(write.told, 1);
	assert_true(write.io.wrote);
	refused.expected = HF_EINVAL;
	start(&refused, HF_DISK_WRITE, 1ull << 40, bytes, 4096); /* past the end */
	fixture_run(fixture, &done, 2);
	assert_int_equal(refused.told, 0);
	free(bytes);
}

/* More reads than the ring has entries: none is lost, each ends once. */
static void test_thousands_end_once(void **state)
{
	enum { COUNT = 3000, BLOCK = 512 };
	struct fixture *fixture = *state;
	struct op *ops = calloc(COUNT, sizeof *ops);
	uint8_t *bytes = aligned(COUNT * BLOCK), *back = aligned(COUNT * BLOCK);
	unsigned done = 0;

	for (unsigned i = 0; i < COUNT; i++) {
		ops[i] = (struct op){.fixture = fixture, .done = &done};
		memset(bytes + i * BLOCK, (int)(i % 251), BLOCK);
		if (i % 100 == 99)
			start(&ops[i], HF_DISK_SYNC, 0, NULL, 0);
		else
			start(&ops[i], HF_DISK_WRITE, i * BLOCK, bytes + i * BLOCK, BLOCK);
	}
	fixture_run(fixture, &done, COUNT);
	done = 0;
	memset(back, 0xee, COUNT * BLOCK);
	for (unsigned i = 0; i < COUNT; i++)
		start(&ops[i], HF_DISK_READ, i * BLOCK, back + i * BLOCK, BLOCK);
	fixture_run(fixture, &done, COUNT);
	for (unsigned i = 0; i < COUNT; i++) {
		assert_int_equal(ops[i].calls, 2);
		if (i % 100 != 99)
			assert_memory_equal(bytes + i * BLOCK, back + i * BLOCK, BLOCK);
	}
	free(ops);
	free(bytes);
	free(back);
}

static void test_past_the_end_is_invalid(void **state)
{
	struct fixture *fixture = *state;
	unsigned done = 0;
	struct op op = {.fixture = fixture, .done = &done, .expected = HF_EINVAL};
	uint8_t *bytes = aligned(1024);

	start(&op, HF_DISK_READ, FIXTURE_DISK_BYTES - 512, bytes, 1024);
	fixture_run(fixture, &done, 1);
	start(&op, HF_DISK_WRITE, FIXTURE_DISK_BYTES, bytes, 512);
	fixture_run(fixture, &done, 2);
	start(&op, HF_DISK_READ, UINT64_MAX - 511, bytes, 1024);
	fixture_run(fixture, &done, 3);
	op.iov[0].iov_len = 512;
	op.io.disk = 3;
	hf_env_disk_submit(fixture->env, &op.io);
	fixture_run(fixture, &done, 4);
	free(bytes);
}

/* A disk that shrank beneath us is an I/O error, not zeros. */
static void test_early_end_is_an_error(void **state)
{
	struct fixture *fixture = *state;
	unsigned done = 0;
	struct op op = {.fixture = fixture, .done = &done, .expected = HF_EIO};
	uint8_t *bytes = aligned(8192);

	assert_int_equal(ftruncate(fixture->fd, 8192 + 4096), 0);
	start(&op, HF_DISK_READ, 8192, bytes, 8192);
	fixture_run(fixture, &done, 1);
	start(&op, HF_DISK_READ, 65536, bytes, 512);
	fixture_run(fixture, &done, 2);
	free(bytes);
}

static void test_full_and_broken_disks_are_told_apart(void **state)
{
	struct fixture *fixture = *state;
	unsigned done = 0;
	struct op write = {.fixture = fixture, .done = &done, .expected = HF_ENOSPC};
	struct op sync = {.fixture = fixture, .done = &done, .expected = HF_EIO};
	uint8_t *bytes = aligned(512);

	fixture_close(fixture);
	fixture_open(fixture, "/dev/full", 1u << 20);
	start(&write, HF_DISK_WRITE, 0, bytes, 512);
	fixture_run(fixture, &done, 1);
	start(&sync, HF_DISK_SYNC, 0, NULL, 0);
	fixture_run(fixture, &done, 2);
	free(bytes);
}

/* Every operation ends, once, before `closed`; those submitted afterwards are cancelled. */
static void test_close_with_operations_under_way(void **state)
{
	enum { COUNT = 1200, BLOCK = 512 };
	struct fixture *fixture = *state;
	struct op *ops = calloc(COUNT, sizeof *ops), late;
	uint8_t *bytes = aligned(COUNT * BLOCK);
	unsigned done = 0;

	memset(bytes, 1, COUNT * BLOCK);
	for (unsigned i = 0; i < COUNT; i++) {
		ops[i] = (struct op){.fixture = fixture, .done = &done};
		start(&ops[i], i % 3 == 0 ? HF_DISK_READ : HF_DISK_WRITE, i * BLOCK,
		      bytes + i * BLOCK, BLOCK);
	}
	late = (struct op){.fixture = fixture, .done = &done, .expected = HF_ECANCELED};
	hf_env_uv_close(fixture->uv, NULL, NULL);
	start(&late, HF_DISK_WRITE, 0, bytes, BLOCK);
	uv_run(&fixture->loop, UV_RUN_DEFAULT);
	fixture->uv = NULL;
	close(fixture->fd);
	assert_int_equal(done, COUNT + 1);
	for (unsigned i = 0; i < COUNT; i++)
		assert_int_equal(ops[i].calls, 1);
	free(ops);
	free(bytes);
}

/* A log file on something that cannot be read is refused at the start. */
static void test_bad_disk_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct hf_env_uv_disk disk = {.fd = fixture->fd, .size_bytes = 512};
	struct hf_env_uv_config config = {.loop = &fixture->loop, .disks = &disk, .disk_count = 1};
	struct hf_env_uv *env;
	struct hf_errmsg message;

	assert_int_equal(hf_env_uv_open(&config, &env, &message), HF_EINVAL);
	assert_null(env);
	disk.size_bytes = 1u << 20;
	disk.fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_int_equal(hf_env_uv_open(&config, &env, &message), HF_EIO);
	assert_non_null(strstr(message.text, "ends early"));
	uv_run(&fixture->loop, UV_RUN_NOWAIT);
	close(disk.fd);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_what_was_written_is_read),
		TEST(test_write_and_sync_in_one),
		TEST(test_write_and_sync_fail_each_for_itself),
		TEST(test_a_write_is_told_before_its_sync_ends),
		TEST(test_vectors_gather_and_scatter),
		TEST(test_thousands_end_once),
		TEST(test_past_the_end_is_invalid),
		TEST(test_early_end_is_an_error),
		TEST(test_full_and_broken_disks_are_told_apart),
		TEST(test_close_with_operations_under_way),
		TEST(test_bad_disk_is_refused),
	};

	return cmocka_run_group_tests_name("volumed env, disks", tests, NULL, NULL);
}
