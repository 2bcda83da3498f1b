/* The memory tier through a real ring: host, core and shim, with reads answered inline.
 * Promises: a read after an acknowledged write always sees it, and no read sees less than an
 * earlier one saw (invariant 1, DESIGN section 5, Reads); a ring sees only its own volumes, and can
 * change nothing (invariant 7); shims and volumeds that know nothing of tiers work as before; a
 * volume that is not there for anybody is not there in the tier. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cache/tier_layout.h"
#include "target/ring_client_impl.h"
#include "tests/ring/ring_fixture.h"

#define PAGE   4096u
#define BLOCKS 64u /* written and read at random */
#define SECRET 0x7365637265747365ull

static int setup(void **state)
{
	(void)state;
	ring_fixture_open();
	return 0;
}

static int teardown(void **state)
{
	bool fine = ring_fixture_honest_is_served();

	(void)state;
	ring_fixture_close();
	return fine ? 0 : -1;
}

/* ---- One request of one block, whose words are all a stamp ---- */

struct access {
	bool busy, done, is_write;
	uint64_t block, stamp; /* READ: what it saw */
	uint64_t floor;        /* READ: it must not see less */
	int status;
};

static void fill(struct hf_shim_request *request, void *slot)
{
	const struct access *access = request->owner;
	uint64_t *words = slot;

	for (unsigned i = 0; i < PAGE / 8; i++)
		words[i] = access->stamp;
}

static uint64_t stamp_of(const uint64_t *words)
{
	for (unsigned i = 1; i < PAGE / 8; i++)
		assert_int_equal(words[i], words[0]);
	return words[0];
}

static void take(struct hf_shim_request *request, const void *slot)
{
	((struct access *)request->owner)->stamp = stamp_of(slot);
}

static void ended(struct hf_shim_request *request)
{
	struct access *access = request->owner;

	access->status = request->status;
	access->done = true;
}

static void submit(struct access *access)
{
	struct hf_shim_request *request = hf_shim_request_get(ring_fixture_lun());

	assert_non_null(request);
	access->busy = true;
	access->done = false;
	request->op = access->is_write ? HF_OP_WRITE : HF_OP_READ;
	request->offset = access->block * PAGE;
	request->length = request->data_length = PAGE;
	request->fill = access->is_write ? fill : NULL;
	request->take = access->is_write ? NULL : take;
	request->done = ended;
	request->owner = access;
	hf_shim_submit(request);
}

static bool is_done(void *context)
{
	return ((struct access *)context)->done;
}

static int run(struct access *access)
{
	submit(access);
	assert_true(ring_fixture_wait(is_done, access));
	access->busy = false;
	return access->status;
}

static void write_block(uint64_t block, uint64_t stamp)
{
	struct access access = {.is_write = true, .block = block, .stamp = stamp};

	assert_int_equal(run(&access), 0);
}

static uint64_t read_block(uint64_t block)
{
	struct access access = {.block = block};

	assert_int_equal(run(&access), 0);
	return access.stamp;
}

/* The stamp, or UINT64_MAX if it is not in the tier. */
static uint64_t inline_block(uint64_t block)
{
	uint64_t words[PAGE / 8];

	if (!hf_shim_read_inline(ring_fixture_lun(), block * PAGE, PAGE, words))
		return UINT64_MAX;
	return stamp_of(words);
}

/* In the tier. */
static void warm(uint64_t block, uint64_t stamp)
{
	write_block(block, stamp);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(read_block(block), stamp);
	assert_int_equal(inline_block(block), stamp);
}

/* ---- Freshness ---- */

static uint64_t random_below(uint64_t bound)
{
	static uint64_t x = 0x2545f4914f6cdd1dull;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x % bound;
}

#define DEPTH 32u

struct mix {
	struct access accesses[DEPTH];
	uint64_t acknowledged[BLOCKS]; /* stamps */
	uint64_t seen[BLOCKS];         /* highest that a read has given */
	bool writing[BLOCKS];
	uint64_t next_stamp, inlined;
};

static uint64_t floor_of(const struct mix *mix, uint64_t block)
{
	return mix->seen[block] > mix->acknowledged[block] ? mix->seen[block]
							   : mix->acknowledged[block];
}

static void mix_saw(struct mix *mix, uint64_t block, uint64_t stamp, uint64_t floor)
{
	assert_true(stamp >= floor && stamp < mix->next_stamp);
	if (stamp > mix->seen[block])
		mix->seen[block] = stamp;
}

static void mix_end(struct mix *mix, struct access *access)
{
	assert_int_equal(access->status, 0);
	access->busy = false;
	if (!access->is_write) {
		mix_saw(mix, access->block, access->stamp, access->floor);
		return;
	}
	mix->acknowledged[access->block] = access->stamp;
	mix->writing[access->block] = false;
}

static void mix_start(struct mix *mix, struct access *access)
{
	uint64_t block = random_below(4) ? random_below(8) : random_below(BLOCKS), stamp;

	*access = (struct access){.block = block, .is_write = random_below(3) == 0};
	access->floor = floor_of(mix, block);
	if (access->is_write) {
		if (mix->writing[block])
			return;
		mix->writing[block] = true;
		access->stamp = mix->next_stamp++;
	} else {
		stamp = inline_block(block);
		if (stamp != UINT64_MAX) {
			mix_saw(mix, block, stamp, access->floor);
			mix->inlined++;
			return;
		}
	}
	submit(access);
}

static bool mix_is_idle(void *context)
{
	struct mix *mix = context;

	for (unsigned i = 0; i < DEPTH; i++)
		if (mix->accesses[i].busy && !mix->accesses[i].done)
			return false;
	return true;
}

static void reads_are_fresh_at_depth(void **state)
{
	static struct mix mix;

	(void)state;
	mix.next_stamp = 1;
	for (unsigned step = 0; step < 60000; step++) {
		struct access *access = &mix.accesses[random_below(DEPTH)];

		if (access->busy && access->done)
			mix_end(&mix, access);
		if (!access->busy)
			mix_start(&mix, access);
		if (random_below(4) == 0)
			uv_run(ring_fixture_loop(), UV_RUN_NOWAIT);
		if (random_below(4) == 0)
			shim_loop_turn(0);
	}
	assert_true(ring_fixture_wait(mix_is_idle, &mix));
	assert_true(mix.inlined > 5000);
	assert_int_equal(hf_ring_host_tier_hits(ring_fixture_host(), HONEST_VOLUME), mix.inlined);
}

/* A block that is read from memory stays there when it is written. */
static void a_write_brings_its_content(void **state)
{
	(void)state;
	warm(9, 1);
	for (uint64_t stamp = 2; stamp < 10; stamp++) {
		write_block(9, stamp);
		assert_int_equal(inline_block(9), stamp);
	}
	write_block(9, 10); /* used */
	write_block(9, 11); /* not used since */
	assert_true(inline_block(9) == UINT64_MAX);
}

/* The payload of a change of block 5, all of whose words were 77. */
static void fill_change(struct hf_shim_request *request, void *slot)
{
	struct hf_ring_range range = {.offset = 5 * PAGE, .length = PAGE};
	uint64_t *words = slot;

	for (unsigned i = 0; i < request->data_length / 8; i++)
		words[i] = i < 512 / 8 && request->op == HF_OP_COMPARE_AND_WRITE ? 77 : 78;
	if (request->op == HF_OP_UNMAP)
		memcpy(slot, &range, sizeof range);
}

static void change(enum hf_op op, uint64_t length, uint32_t data_length)
{
	struct hf_shim_request *request = hf_shim_request_get(ring_fixture_lun());
	struct access access = {.busy = true};

	warm(5, 77);
	request->op = op;
	request->offset = op == HF_OP_UNMAP ? 0 : 5 * PAGE;
	request->length = length;
	request->data_length = data_length;
	request->fill = data_length > 0 ? fill_change : NULL;
	request->done = ended;
	request->owner = &access;
	hf_shim_submit(request);
	assert_true(ring_fixture_wait(is_done, &access));
	assert_int_equal(access.status, 0);
	assert_true(inline_block(5) == UINT64_MAX);
}

/* Not only WRITE changes what is there. */
static void every_change_is_seen(void **state)
{
	(void)state;
	change(HF_OP_ZERO, PAGE, 0);
	change(HF_OP_WRITE_SAME, PAGE, 512);
	change(HF_OP_COMPARE_AND_WRITE, 512, 1024);
	change(HF_OP_UNMAP, 0, sizeof(struct hf_ring_range));
}

/* ---- Volumes that leave ---- */

static void a_detached_volume_is_gone_at_once(void **state)
{
	(void)state;
	warm(1, 11);
	memory_core_detach(ring_fixture_core(), HONEST_VOLUME);
	assert_true(inline_block(1) == UINT64_MAX); /* before the shim was told */
	memory_core_attach(ring_fixture_core(), HONEST_VOLUME, VOLUME_BYTES, false);
	assert_true(inline_block(1) == UINT64_MAX);
	warm(1, 12);
}

static bool is_away(void *context)
{
	return ((struct hf_shim *)context)->state == HF_SHIM_AWAY;
}

static bool is_serving(void *context)
{
	struct hf_shim *shim = context;

	return shim->state == HF_SHIM_SERVING && ring_fixture_lun()->state == HF_SHIM_BOUND;
}

/* The end of a session ends its tier; the next session of the same ring gets one again. */
static void a_session_ends(void **state)
{
	struct hf_shim *shim = ring_fixture_shim();

	(void)state;
	for (unsigned round = 0; round < 5; round++) {
		warm(1, 11);
		hf_shim_session_hang_up(shim, "the test wants it");
		assert_true(inline_block(1) == UINT64_MAX);
		assert_true(ring_fixture_wait(is_away, shim));
		assert_null(shim->tier.base);
		assert_true(ring_fixture_wait(is_serving, shim));
		assert_true(inline_block(1) == UINT64_MAX);
		assert_non_null(shim->tier.base);
	}
	warm(1, 11);
}

/* ---- Other rings ---- */

/* A shim like any other, with a descriptor where there is one. */
static int take_tier(struct hostile *hostile, uint32_t flags)
{
	struct hf_ring_message hello = {.type = HF_RING_HELLO, .flags = flags}, message;
	const int fds[3] = {hostile->memory.memfd, hostile->memory.wake_volumed_fd,
			    hostile->memory.wake_shim_fd};
	struct iovec iov = {&message, sizeof message};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr header = {.msg_iov = &iov,
				.msg_iovlen = 1,
				.msg_control = &control,
				.msg_controllen = sizeof control};
	int fd = -1;

	memcpy(hello.uuid, hostile->uuid, 16);
	hostile_send(hostile, &hello, sizeof hello, fds, 3);
	assert_true(hostile_hears(hostile, &message));
	assert_true(message.type == HF_RING_WELCOME && message.status == 0);
	ring_fixture_turn();
	if (recvmsg(hostile->socket, &header, MSG_DONTWAIT) != (ssize_t)sizeof message)
		return -1;
	assert_int_equal(message.type, HF_RING_TIER);
	memcpy(&fd, CMSG_DATA(&control.header), sizeof fd);
	assert_int_equal(message.size_bytes, TIER_BYTES / 2);
	return fd;
}

static bool holds(const uint64_t *memory, uint64_t word)
{
	for (uint64_t i = 0; i < TIER_BYTES / 2 / 8; i++)
		if (memory[i] == word)
			return true;
	return false;
}

static void a_ring_sees_only_its_own(void **state)
{
	struct hostile hostile;
	uint64_t *memory;
	struct stat stat;
	char byte = 1;
	int fd;

	(void)state;
	hostile_connect(&hostile);
	fd = take_tier(&hostile, HF_RING_TAKES_TIER);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &stat), 0);
	assert_int_equal(stat.st_size, TIER_BYTES / 2);
	memory = mmap(NULL, TIER_BYTES / 2, PROT_READ, MAP_SHARED, fd, 0);
	assert_true(memory != MAP_FAILED);
	warm(3, SECRET);
	assert_false(holds(memory, SECRET));
	/* The words are in the other's, so that the search is one. */
	assert_true(holds((const uint64_t *)(const void *)ring_fixture_shim()->tier.base, SECRET));
	/* And nothing can be changed, with whatever right. */
	assert_true(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
	assert_int_not_equal(mprotect(memory, PAGE, PROT_READ | PROT_WRITE), 0);
	assert_int_equal(pwrite(fd, &byte, 1, 0), -1);
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE), -1);
	munmap(memory, TIER_BYTES / 2);
	close(fd);
	hostile_close(&hostile);
}

/* There are two: who comes third, or knows nothing of tiers, is served without. */
static void without_a_tier(void **state)
{
	struct hostile old, second, third;
	int fd;

	(void)state;
	hostile_connect(&old);
	assert_int_equal(take_tier(&old, 0), -1);
	hostile_tell(&old, HF_RING_BIND, HOSTILE_VOLUME);
	hostile_connect(&second);
	fd = take_tier(&second, HF_RING_TAKES_TIER);
	assert_true(fd >= 0);
	hostile_connect(&third);
	assert_int_equal(take_tier(&third, HF_RING_TAKES_TIER), -1);
	/* The memory counts while the process that may have mapped it lives. */
	close(fd);
	hostile_close(&second);
	hostile_close(&third);
	hostile_connect(&third);
	assert_int_equal(take_tier(&third, HF_RING_TAKES_TIER), -1);
	hostile_close(&third);
	hostile_close(&old);
	warm(1, 11);
}

/* A volumed of before, or one that was told to use no memory. */
static void a_volumed_without_tiers(void **state)
{
	(void)state;
	assert_null(ring_fixture_shim()->tier.base);
	write_block(1, 11);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(read_block(1), 11);
	assert_true(inline_block(1) == UINT64_MAX);
}

static int setup_without(void **state)
{
	ring_fixture_tier_bytes = 0;
	return setup(state);
}

static int teardown_without(void **state)
{
	ring_fixture_tier_bytes = TIER_BYTES;
	return teardown(state);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(reads_are_fresh_at_depth),
		TEST(a_write_brings_its_content),
		TEST(every_change_is_seen),
		TEST(a_detached_volume_is_gone_at_once),
		TEST(a_session_ends),
		TEST(a_ring_sees_only_its_own),
		TEST(without_a_tier),
		cmocka_unit_test_setup_teardown(a_volumed_without_tiers, setup_without,
						teardown_without),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
