/* The memory tier, both sides in one process: volumed's (cache/tier.c) and the shim's reader
 * (target/tier.c). Promises: a read from it gives what a read of the volume would give, never older
 * than a change that was told, never a part of a change (invariants 1 and 8); what is read once
 * stays out; a volume that leaves is gone; whatever the shared memory holds, the reader stays
 * inside it (invariant 9). */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "cache/ring_layout.h"
#include "cache/tier.h"
#include "target/tier.h"

#define BYTES  (1u << 20)
#define BLOCK  HF_TIER_BLOCK
#define HANDLE 3u

struct both {
	int fd;
	uint8_t *memory;
	struct hf_tier *tier;
	uint8_t *ring; /* where marks and hits are */
	struct hf_shim_tier reader;
};

static int sealed(uint64_t bytes, int seals)
{
	int fd = memfd_create("tier-test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static int setup(void **state)
{
	struct both *both = calloc(1, sizeof *both);

	both->fd = sealed(BYTES, F_SEAL_SHRINK | F_SEAL_GROW);
	both->memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, both->fd, 0);
	assert_int_equal(fcntl(both->fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL), 0);
	both->tier = hf_tier_create(both->memory, BYTES);
	both->ring = calloc(1, HF_RING_DATA_OFFSET);
	assert_true(both->memory != MAP_FAILED && both->tier && both->ring);
	hf_tier_use_marks(both->tier, both->ring + HF_RING_TIER_MARKS_OFFSET, HF_RING_TIER_MARKS);
	assert_int_equal(hf_shim_tier_open(&both->reader, both->fd, both->ring), 0);
	*state = both;
	return 0;
}

static int teardown(void **state)
{
	struct both *both = *state;

	hf_shim_tier_close(&both->reader);
	hf_tier_destroy(both->tier);
	munmap(both->memory, BYTES);
	close(both->fd);
	free(both->ring);
	free(both);
	return 0;
}

static uint64_t hits(const struct both *both)
{
	uint64_t count;

	memcpy(&count, both->ring + HF_RING_TIER_HITS_OFFSET + HANDLE * sizeof count, sizeof count);
	return count;
}

/* One read of `count` blocks, all of whose words are `stamp`. */
static void fill_at(struct both *both, uint32_t handle, uint64_t block, uint64_t count,
		    uint64_t stamp, uint64_t moment)
{
	static uint64_t words[17 * BLOCK / 8];

	for (uint64_t i = 0; i < count * BLOCK / 8; i++)
		words[i] = stamp;
	hf_tier_filled(both->tier, handle, block * BLOCK, count * BLOCK, moment, words);
}

static void fill_twice(struct both *both, uint32_t handle, uint64_t block, uint64_t count,
		       uint64_t stamp)
{
	fill_at(both, handle, block, count, stamp, hf_tier_moment(both->tier));
	fill_at(both, handle, block, count, stamp, hf_tier_moment(both->tier));
}

/* The stamp, or UINT64_MAX if it is not there. Fails on a mix. */
static uint64_t stamp_of(const struct both *both, uint32_t handle, uint64_t block, uint64_t count)
{
	uint64_t words[HF_TIER_READ_BLOCKS * BLOCK / 8];

	if (!hf_shim_tier_read(&both->reader, handle, block * BLOCK, count * BLOCK, words))
		return UINT64_MAX;
	for (uint64_t i = 1; i < count * BLOCK / 8; i++)
		assert_int_equal(words[i], words[0]);
	return words[0];
}

/* ---- What gets in ---- */

static void test_second_read_admits(void **state)
{
	struct both *both = *state;

	fill_at(both, HANDLE, 7, 1, 11, hf_tier_moment(both->tier));
	assert_int_equal(stamp_of(both, HANDLE, 7, 1), UINT64_MAX);
	fill_at(both, HANDLE, 7, 1, 11, hf_tier_moment(both->tier));
	assert_int_equal(stamp_of(both, HANDLE, 7, 1), 11);
	assert_int_equal(stamp_of(both, HANDLE + 1, 7, 1), UINT64_MAX);
	assert_int_equal(stamp_of(both, HANDLE, 8, 1), UINT64_MAX);
	assert_int_equal(hits(both), 1);
}

static void test_scan_passes_by(void **state)
{
	struct both *both = *state;
	struct hf_tier_counts before, after;

	fill_twice(both, HANDLE, 0, 16, 5);
	hf_tier_count(both->tier, &before);
	for (uint64_t block = 100; block < 100000; block += 16)
		fill_at(both, HANDLE, block, 16, 6, hf_tier_moment(both->tier));
	hf_tier_count(both->tier, &after);
	assert_int_equal(stamp_of(both, HANDLE, 0, 16), 5);
	/* Fingerprints that are alike let a few in. */
	assert_true(after.filled - before.filled < 50);
}

static void test_long_reads_pass_by(void **state)
{
	struct both *both = *state;

	fill_twice(both, HANDLE, 0, 17, 5);
	assert_int_equal(stamp_of(both, HANDLE, 0, 1), UINT64_MAX);
}

/* Of a read that begins or ends inside a block only whole blocks are kept. */
static void test_parts_of_blocks(void **state)
{
	struct both *both = *state;
	uint8_t bytes[3 * BLOCK], read[BLOCK];

	for (unsigned i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)(i / 512 + 1);
	for (unsigned i = 0; i < 2; i++)
		hf_tier_filled(both->tier, HANDLE, 512, sizeof bytes - 1024,
			       hf_tier_moment(both->tier), bytes + 512);
	assert_false(hf_shim_tier_read(&both->reader, HANDLE, 512, 512, read));
	assert_true(hf_shim_tier_read(&both->reader, HANDLE, BLOCK + 1024, 1536, read));
	assert_memory_equal(read, bytes + BLOCK + 1024, 1536);
	assert_false(hf_shim_tier_read(&both->reader, HANDLE, BLOCK + 1024, BLOCK, read));
	assert_false(hf_shim_tier_read(&both->reader, HANDLE, BLOCK, 0, read));
	assert_false(hf_shim_tier_read(&both->reader, HANDLE, BLOCK + 4, 512, read));
	assert_false(hf_shim_tier_read(&both->reader, 256, BLOCK, 512, read));
}

/* What the shim uses stays, what it does not use goes. */
static void test_clock(void **state)
{
	struct both *both = *state;
	uint64_t sets = both->reader.sets;

	for (uint64_t way = 0; way < HF_TIER_WAYS; way++)
		fill_twice(both, HANDLE, way * sets, 1, way);
	for (uint64_t way = 0; way < HF_TIER_WAYS; way++)
		if (way != 5)
			assert_int_equal(stamp_of(both, HANDLE, way * sets, 1), way);
	fill_twice(both, HANDLE, 8 * sets, 1, 8);
	assert_int_equal(stamp_of(both, HANDLE, 8 * sets, 1), 8);
	for (uint64_t way = 0; way < HF_TIER_WAYS; way++)
		assert_int_equal(stamp_of(both, HANDLE, way * sets, 1),
				 way == 5 ? UINT64_MAX : way);
	/* All are used now: the next comes in only when it comes again. */
	fill_twice(both, HANDLE, 9 * sets, 1, 9);
	assert_int_equal(stamp_of(both, HANDLE, 9 * sets, 1), UINT64_MAX);
	fill_at(both, HANDLE, 9 * sets, 1, 9, hf_tier_moment(both->tier));
	assert_int_equal(stamp_of(both, HANDLE, 9 * sets, 1), 9);
}

/* ---- What has to go ---- */

static void test_change_drops(void **state)
{
	struct both *both = *state;

	fill_twice(both, HANDLE, 10, 4, 1);
	hf_tier_changed(both->tier, HANDLE, 11 * BLOCK + 512, 512);
	assert_int_equal(stamp_of(both, HANDLE, 10, 1), 1);
	assert_int_equal(stamp_of(both, HANDLE, 11, 1), UINT64_MAX);
	assert_int_equal(stamp_of(both, HANDLE, 10, 4), UINT64_MAX);
	/* It was hot: one read brings it back. */
	fill_at(both, HANDLE, 11, 1, 2, hf_tier_moment(both->tier));
	assert_int_equal(stamp_of(both, HANDLE, 11, 1), 2);
	hf_tier_changed(both->tier, HANDLE, 0, 1ull << 50); /* a whole volume */
	assert_int_equal(stamp_of(both, HANDLE, 10, 1), UINT64_MAX);
	assert_int_equal(stamp_of(both, HANDLE, 13, 1), UINT64_MAX);
}

/* What the shim used is worth its new content at once, in place of a read that asks for it; what it
 * did not use is not. */
static void test_change_of_what_is_used(void **state)
{
	struct both *both = *state;

	fill_twice(both, HANDLE, 10, 2, 1);
	assert_false(hf_tier_changed(both->tier, HANDLE, 10 * BLOCK, 2 * BLOCK));
	fill_at(both, HANDLE, 10, 2, 2, hf_tier_moment(both->tier));
	assert_int_equal(stamp_of(both, HANDLE, 11, 1), 2);
	assert_true(hf_tier_changed(both->tier, HANDLE, 10 * BLOCK, 2 * BLOCK));
	fill_at(both, HANDLE, 10, 2, 3, hf_tier_moment(both->tier));
	assert_int_equal(stamp_of(both, HANDLE, 10, 2), 3);
	assert_false(hf_tier_changed(both->tier, HANDLE + 1, 10 * BLOCK, 2 * BLOCK));
}

/* A small command can name 256 long ranges. Some of them take only what they name; a flood takes
 * all that the tier has of that volume, and costs next to nothing from then on (an initiator must
 * not be able to hold up the others). */
static void test_many_long_changes(void **state)
{
	struct both *both = *state;
	const uint64_t far = 1ull << 40;
	struct hf_tier_counts counts;

	fill_twice(both, HANDLE, far, 1, 7);
	fill_twice(both, HANDLE + 1, 5, 1, 8);
	for (unsigned i = 0; i < 16; i++)
		hf_tier_changed(both->tier, HANDLE, 0, far / 2 * BLOCK);
	assert_int_equal(stamp_of(both, HANDLE, far, 1), 7);
	for (unsigned i = 0; i < 100000; i++)
		hf_tier_changed(both->tier, HANDLE, 0, far / 2 * BLOCK);
	hf_tier_count(both->tier, &counts);
	assert_in_range(counts.looks, 1, 64 * counts.blocks);
	assert_int_equal(stamp_of(both, HANDLE + 1, 5, 1), 8);
	assert_int_equal(counts.used, 1);
	fill_twice(both, HANDLE, far, 1, 9);
	assert_int_equal(stamp_of(both, HANDLE, far, 1), 9);
	hf_tier_changed(both->tier, HANDLE, far * BLOCK, 1);
	assert_int_equal(stamp_of(both, HANDLE, far, 1), UINT64_MAX);
}

/* A read that was under way while its range changed may carry what was there before. */
static void test_old_read_fills_nothing(void **state)
{
	struct both *both = *state;
	uint64_t moment;

	fill_at(both, HANDLE, 1, 3, 1, hf_tier_moment(both->tier));
	moment = hf_tier_moment(both->tier);
	hf_tier_changed(both->tier, HANDLE, 2 * BLOCK, BLOCK);
	fill_at(both, HANDLE, 1, 3, 1, moment);
	assert_int_equal(stamp_of(both, HANDLE, 1, 1), 1);
	assert_int_equal(stamp_of(both, HANDLE, 2, 1), UINT64_MAX);
	assert_int_equal(stamp_of(both, HANDLE, 3, 1), 1);
	/* More changes than are remembered: nothing is believed. */
	moment = hf_tier_moment(both->tier);
	fill_at(both, HANDLE, 50, 1, 1, moment);
	for (unsigned i = 0; i < 5000; i++)
		hf_tier_changed(both->tier, HANDLE, (1000 + i) * BLOCK, BLOCK);
	fill_at(both, HANDLE, 50, 1, 1, moment);
	assert_int_equal(stamp_of(both, HANDLE, 50, 1), UINT64_MAX);
}

/* A volume that leaves is gone, and a read of it that ends later does not bring it back. */
static void test_forget(void **state)
{
	struct both *both = *state;
	uint64_t moment = hf_tier_moment(both->tier);

	fill_twice(both, HANDLE, 0, 4, 0xaaaa);
	fill_twice(both, HANDLE + 1, 0, 4, 0xbbbb);
	hf_tier_changed(both->tier, HANDLE, 0, BLOCK);
	hf_tier_forget(both->tier, HANDLE);
	assert_int_equal(stamp_of(both, HANDLE, 1, 1), UINT64_MAX);
	assert_int_equal(stamp_of(both, HANDLE + 1, 0, 4), 0xbbbb);
	fill_at(both, HANDLE, 1, 1, 0xaaaa, moment);
	fill_at(both, HANDLE, 1, 1, 0xaaaa, moment);
	assert_int_equal(stamp_of(both, HANDLE, 1, 1), UINT64_MAX);
	hf_tier_forget_all(both->tier);
	assert_int_equal(stamp_of(both, HANDLE + 1, 0, 1), UINT64_MAX);
	fill_at(both, HANDLE + 1, 1, 1, 0xbbbb, moment);
	fill_at(both, HANDLE + 1, 1, 1, 0xbbbb, moment);
	assert_int_equal(stamp_of(both, HANDLE + 1, 1, 1), UINT64_MAX);
}

/* ---- A model ---- */

#define MODEL_BLOCKS 600u /* of each volume; the tier holds 250 of all */
#define MODEL_READS  8u

struct model_read {
	uint32_t handle;
	uint64_t block, count, moment;
	uint64_t bytes[HF_TIER_READ_BLOCKS * BLOCK / 8];
};

static uint64_t random_below(uint64_t bound)
{
	static uint64_t x = 88172645463325252ull;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x % bound;
}

static void model_look_up(struct both *both, struct model_read *read,
			  uint64_t volumes[2][MODEL_BLOCKS])
{
	read->handle = (uint32_t)random_below(2);
	read->count = 1 + random_below(4);
	read->block = random_below(3) ? random_below(200) : random_below(MODEL_BLOCKS - 4);
	read->moment = hf_tier_moment(both->tier);
	for (uint64_t i = 0; i < read->count * BLOCK / 8; i++)
		read->bytes[i] = volumes[read->handle][read->block + i / (BLOCK / 8)];
}

static void model_check(struct both *both, uint64_t volumes[2][MODEL_BLOCKS])
{
	static uint64_t words[4 * BLOCK / 8];
	uint32_t handle = (uint32_t)random_below(2);
	uint64_t count = 1 + random_below(4), block = random_below(MODEL_BLOCKS - 4);

	if (!hf_shim_tier_read(&both->reader, handle, block * BLOCK, count * BLOCK, words))
		return;
	for (uint64_t i = 0; i < count * BLOCK / 8; i++)
		assert_int_equal(words[i], volumes[handle][block + i / (BLOCK / 8)]);
}

/* Reads that end long after they looked, changes in between, volumes that leave: what the tier
 * gives is what the volume holds at that moment. */
static void test_model(void **state)
{
	static uint64_t volumes[2][MODEL_BLOCKS];
	static struct model_read reads[MODEL_READS];
	struct both *both = *state;
	uint64_t stamp = 1, before;

	for (unsigned i = 0; i < MODEL_READS; i++)
		model_look_up(both, &reads[i], volumes);
	before = *(uint64_t *)(void *)(both->ring + HF_RING_TIER_HITS_OFFSET);
	for (unsigned step = 0; step < 200000; step++) {
		struct model_read *read = &reads[random_below(MODEL_READS)];
		uint64_t draw = random_below(100), handle = random_below(2);
		uint64_t block = random_below(MODEL_BLOCKS - 4), count = 1 + random_below(4);

		if (draw < 40) {
			hf_tier_filled(both->tier, read->handle, read->block * BLOCK,
				       read->count * BLOCK, read->moment, read->bytes);
			model_look_up(both, read, volumes);
		} else if (draw < 50) {
			for (uint64_t i = 0; i < count; i++)
				volumes[handle][block + i] = stamp;
			stamp++;
			hf_tier_changed(both->tier, (uint32_t)handle, block * BLOCK, count * BLOCK);
		} else if (draw == 50 && random_below(50) == 0) {
			hf_tier_forget(both->tier, (uint32_t)handle);
		} else {
			model_check(both, volumes);
		}
	}
	assert_true(*(uint64_t *)(void *)(both->ring + HF_RING_TIER_HITS_OFFSET) - before > 1000);
}

/* ---- Two at once ---- */

#define GROUP  4u
#define GROUPS 8u

struct race {
	struct both *both;
	uint64_t acknowledged[GROUPS]; /* stamp that is visible for sure */
	bool stop;
};

static void *race_write(void *context)
{
	struct race *race = context;
	uint64_t stamp = 1;

	while (!__atomic_load_n(&race->stop, __ATOMIC_RELAXED)) {
		uint64_t group = stamp % GROUPS;

		hf_tier_changed(race->both->tier, HANDLE, group * GROUP * BLOCK, GROUP * BLOCK);
		__atomic_store_n(&race->acknowledged[group], stamp, __ATOMIC_RELEASE);
		fill_twice(race->both, HANDLE, group * GROUP, GROUP, stamp++);
	}
	return NULL;
}

/* A reader beside the writer sees no mix, nothing older than was acknowledged before it began, and
 * time does not go back. */
static void test_race(void **state)
{
	static uint64_t words[GROUP * BLOCK / 8];
	struct race race = {.both = *state};
	uint64_t last[GROUPS] = {0}, seen = 0;
	pthread_t writer;

	assert_int_equal(pthread_create(&writer, NULL, race_write, &race), 0);
	for (uint64_t i = 0; seen < 20000 && i < 20000000; i++) {
		uint64_t group = i % GROUPS;
		uint64_t floor = __atomic_load_n(&race.acknowledged[group], __ATOMIC_ACQUIRE);

		if (!hf_shim_tier_read(&race.both->reader, HANDLE, group * GROUP * BLOCK,
				       GROUP * BLOCK, words))
			continue;
		for (unsigned w = 1; w < GROUP * BLOCK / 8; w++)
			if (words[w] != words[0])
				fail_msg("a mix of %llu and %llu", (unsigned long long)words[0],
					 (unsigned long long)words[w]);
		assert_true(words[0] >= floor && words[0] >= last[group]);
		last[group] = words[0];
		seen++;
	}
	__atomic_store_n(&race.stop, true, __ATOMIC_RELAXED);
	pthread_join(writer, NULL);
	assert_true(seen > 100);
}

/* ---- Bad memory ---- */

/* Entries of all sorts, torn or made up: the reader stays in its mapping (whose ends are unmapped)
 * and in its buffer. */
static void test_random_bytes(void **state)
{
	struct both *both = *state;
	uint64_t *table = (uint64_t *)(void *)(both->memory + HF_TIER_TABLE_OFFSET);
	uint8_t *to = malloc(HF_TIER_READ_BLOCKS * BLOCK);

	for (unsigned round = 0; round < 200; round++) {
		for (uint64_t i = 0; i < both->reader.sets * HF_TIER_WAYS * 2; i++)
			table[i] = random_below(2) ? hf_tier_key(HANDLE, random_below(64))
						   : random_below(UINT64_MAX);
		for (unsigned i = 0; i < 500; i++) {
			uint64_t offset = random_below(4) ? random_below(64) * BLOCK
							  : random_below(UINT64_MAX);
			uint64_t length = random_below(2) ? BLOCK : random_below(128u << 10);

			hf_shim_tier_read(&both->reader, (uint32_t)random_below(300), offset,
					  length, to);
		}
	}
	free(to);
}

/* What is no tier, or could shrink under the reader, is not mapped. */
static void test_not_a_tier(void **state)
{
	struct both *both = *state;
	struct hf_tier_header *header = (struct hf_tier_header *)(void *)both->memory,
			      good = *header;
	struct hf_shim_tier reader;
	int fd = sealed(BYTES, F_SEAL_GROW | F_SEAL_SEAL), pipes[2];

	assert_int_equal(hf_shim_tier_open(&reader, fd, both->ring), HF_EPROTO);
	close(fd);
	fd = sealed(4096, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	assert_int_equal(hf_shim_tier_open(&reader, fd, both->ring), HF_EPROTO);
	close(fd);
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(hf_shim_tier_open(&reader, pipes[0], both->ring), HF_EPROTO);
	close(pipes[0]);
	close(pipes[1]);
	for (unsigned i = 0; i < 6; i++) {
		*header = good;
		if (i == 0)
			header->magic++;
		else if (i == 1)
			header->version++;
		else if (i == 2)
			header->ways *= 2;
		else if (i == 3)
			header->sets = UINT64_MAX / 2;
		else if (i == 4)
			header->blocks_offset += BLOCK;
		else
			header->bytes *= 2;
		assert_int_equal(hf_shim_tier_open(&reader, both->fd, both->ring), HF_EPROTO);
		assert_null(reader.base);
		assert_false(hf_shim_tier_read(&reader, HANDLE, 0, BLOCK, &good));
	}
	*header = good;
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_second_read_admits),
		TEST(test_scan_passes_by),
		TEST(test_long_reads_pass_by),
		TEST(test_parts_of_blocks),
		TEST(test_clock),
		TEST(test_change_drops),
		TEST(test_change_of_what_is_used),
		TEST(test_many_long_changes),
		TEST(test_old_read_fills_nothing),
		TEST(test_forget),
		TEST(test_model),
		TEST(test_race),
		TEST(test_random_bytes),
		TEST(test_not_a_tier),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
