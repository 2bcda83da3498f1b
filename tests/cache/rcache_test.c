/* Promises of the read cache, in a simulated world: what it gives is right whatever happens to its
 * disk (invariant 8), a restart finds what was there, a small read reads little, and a disk that
 * fails costs speed only. */
#include "tests/cache/rcache_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/log.h"

#define MIB (1u << 20)

static struct cache_world world;

static uint64_t disk_read_bytes(void)
{
	struct sim_counts counts;

	sim_counts(world.sim, &counts);
	return counts.read_bytes;
}

static unsigned hits(uint64_t volume, uint32_t from, uint32_t to)
{
	unsigned count = 0;

	for (uint32_t i = from; i < to; i++)
		count += cache_world_get(&world, volume, i) != WORLD_MISS;
	return count;
}

/* Small memory: one chunk and a little. */
static void what_memory_lost_comes_from_disk(void **state)
{
	(void)state;
	cache_world_begin(&world, 1, 8 * MIB, 100000);
	cache_world_open(&world);
	assert_int_equal(cache_world_get(&world, 1, 0), WORLD_MISS);
	for (uint32_t i = 0; i < 60; i++)
		cache_world_put(&world, 1, i);
	sim_run(world.sim, HF_NS_PER_S);
	for (uint32_t i = 0; i < 59; i++)
		assert_int_equal(cache_world_get(&world, 1, i), WORLD_DISK);
	assert_int_equal(cache_world_get(&world, 2, 0), WORLD_MISS);
	assert_int_equal(cache_world_stats(&world).damaged, 0);
	assert_int_equal(cache_world_stats(&world).disk_hits, 59);
	cache_world_end(&world);
}

/* What waits for the disk is served meanwhile. */
static void a_chunk_is_there_at_once(void **state)
{
	(void)state;
	cache_world_begin(&world, 2, 8 * MIB, 0);
	cache_world_open(&world);
	for (uint32_t i = 0; i < 40; i++) {
		cache_world_put(&world, 1, i);
		assert_int_equal(cache_world_get(&world, 1, i), WORLD_MEMORY);
	}
	cache_world_end(&world);
}

static void a_small_read_reads_little(void **state)
{
	uint64_t before;

	(void)state;
	cache_world_begin(&world, 3, 8 * MIB, 0);
	cache_world_open(&world);
	for (uint32_t i = 0; i < 40; i++)
		cache_world_put(&world, 1, i);
	sim_run(world.sim, HF_NS_PER_S);
	before = disk_read_bytes();
	for (uint32_t i = 0; i < 40; i++)
		if (cache_world_length(1, i) == CHUNK) {
			before += 4096;
			assert_int_equal(cache_world_read(&world, 1, i, 20480, 4096), WORLD_DISK);
			assert_int_equal(disk_read_bytes(), before);
			before += 8192;
			assert_int_equal(cache_world_read(&world, 1, i, 36864 + 512, 4096),
					 WORLD_DISK);
			assert_int_equal(disk_read_bytes(), before);
		}
	cache_world_end(&world);
}

/* Reading in order, or again and again: the whole chunk moves to memory. */
static void what_is_read_on_moves_to_memory(void **state)
{
	unsigned from_disk = 0;

	(void)state;
	cache_world_begin(&world, 4, 8 * MIB, 0);
	cache_world_open(&world);
	for (uint32_t i = 0; cache_world_length(1, i) < CHUNK || i < 20; i++)
		cache_world_put(&world, 1, i);
	cache_world_close(&world);
	world.memory_bytes = MIB;
	cache_world_open(&world);
	while (cache_world_length(1, from_disk) < CHUNK)
		from_disk++;
	for (uint32_t at = 0, chunk = from_disk; at < CHUNK; at += 4096)
		assert_int_equal(cache_world_read(&world, 1, chunk, at, 4096),
				 at < 3 * 4096 ? WORLD_DISK : WORLD_MEMORY);
	from_disk++;
	while (cache_world_length(1, from_disk) < CHUNK)
		from_disk++;
	for (uint32_t i = 0; i < 30; i++)
		assert_int_equal(cache_world_read(&world, 1, from_disk, 8192 + i % 2 * 16384, 512),
				 i < 16 ? WORLD_DISK : WORLD_MEMORY);
	cache_world_end(&world);
}

static void a_clean_restart_finds_everything(void **state)
{
	(void)state;
	cache_world_begin(&world, 5, 8 * MIB, MIB);
	for (unsigned round = 0; round < 3; round++) {
		cache_world_open(&world);
		assert_int_equal(cache_world_stats(&world).recovered_chunks, 30 * round);
		assert_int_equal(hits(1, 0, 30 * round), 30 * round);
		for (uint32_t i = 30 * round; i < 30 * (round + 1); i++)
			cache_world_put(&world, 1, i);
		cache_world_close(&world);
	}
	cache_world_end(&world);
}

static void a_kill_costs_seconds(void **state)
{
	(void)state;
	cache_world_begin(&world, 6, 8 * MIB, MIB);
	cache_world_open(&world);
	for (uint32_t i = 0; i < 50; i++)
		cache_world_put(&world, 1, i);
	sim_run(world.sim, 6 * HF_NS_PER_S);
	for (uint32_t i = 50; i < 60; i++)
		cache_world_put(&world, 1, i);
	sim_kill(world.sim, 0);
	cache_world_open(&world);
	assert_int_equal(hits(1, 0, 50), 50);
	assert_int_equal(cache_world_stats(&world).damaged, 0);
	cache_world_end(&world);
}

static void a_damaged_block_is_a_miss(void **state)
{
	(void)state;
	cache_world_begin(&world, 7, MIB, 0);
	cache_world_open(&world);
	cache_world_put(&world, 1, 0);
	sim_run(world.sim, HF_NS_PER_S);
	assert_int_equal(cache_world_get(&world, 1, 0), WORLD_DISK);
	for (uint32_t at = 64 << 10; at < MIB; at += 4096)
		sim_disk_poke(world.sim, 0, 0, at + 100, "x", 1);
	assert_int_equal(cache_world_get(&world, 1, 0), WORLD_MISS);
	assert_int_equal(cache_world_stats(&world).damaged, 1);
	cache_world_put(&world, 1, 0);
	sim_run(world.sim, HF_NS_PER_S);
	assert_int_equal(cache_world_get(&world, 1, 0), WORLD_DISK);
	cache_world_end(&world);
}

static void a_full_disk_is_given_up(void **state)
{
	(void)state;
	cache_world_begin(&world, 8, 8 * MIB, 4 * MIB);
	cache_world_open(&world);
	for (uint32_t i = 0; i < 20; i++)
		cache_world_put(&world, 1, i);
	sim_run(world.sim, HF_NS_PER_S);
	sim_fail_disk(world.sim, 0, 0, HF_DISK_WRITE, 3, 1, HF_ENOSPC);
	for (uint32_t i = 20; i < 80; i++)
		cache_world_put(&world, 1, i);
	sim_run(world.sim, 10 * HF_NS_PER_S);
	assert_true(cache_world_stats(&world).disk_lost);
	assert_int_equal(cache_world_stats(&world).disk_bytes, 0);
	assert_true(hits(1, 20, 80) > 30); /* what memory has */
	cache_world_put(&world, 1, 100);
	assert_int_equal(cache_world_get(&world, 1, 100), WORLD_MEMORY);
	cache_world_close(&world);
	cache_world_open(&world); /* there may be room now */
	assert_false(cache_world_stats(&world).disk_lost);
	cache_world_end(&world);
}

static void a_disk_that_cannot_be_read_is_done_without(void **state)
{
	(void)state;
	cache_world_begin(&world, 9, 8 * MIB, MIB);
	sim_fail_disk(world.sim, 0, 0, HF_DISK_READ, 0, 1000, HF_EIO);
	cache_world_open(&world);
	cache_world_put(&world, 1, 1);
	assert_int_equal(cache_world_get(&world, 1, 1), WORLD_MEMORY);
	cache_world_close(&world);
	sim_fail_disk(world.sim, 0, 0, HF_DISK_WRITE, 0, 1000, HF_EIO);
	cache_world_open(&world);
	assert_true(cache_world_stats(&world).disk_lost);
	cache_world_end(&world);
}

static void a_disk_of_another_size_is_made_anew(void **state)
{
	uint8_t *copy = malloc(8 * MIB);

	(void)state;
	cache_world_begin(&world, 10, 8 * MIB, MIB);
	cache_world_open(&world);
	for (uint32_t i = 0; i < 20; i++)
		cache_world_put(&world, 1, i);
	cache_world_close(&world);
	memcpy(copy, sim_disk_bytes(world.sim, 0, 0), 4 * MIB);
	cache_world_end(&world);
	cache_world_begin(&world, 11, 4 * MIB, MIB);
	sim_disk_poke(world.sim, 0, 0, 0, copy, 4 * MIB);
	free(copy);
	cache_world_open(&world);
	assert_int_equal(cache_world_stats(&world).recovered_chunks, 0);
	assert_int_equal(hits(1, 0, 20), 0);
	cache_world_end(&world);
}

/* One bit of every byte of what a small cache has written, one at a time: a chunk that is still
 * found is right, and damage to one is none to the other. */
static void every_damaged_byte_is_harmless(void **state)
{
	static uint8_t whole[MIB / 4];
	unsigned found = 0, tried = 0;

	(void)state;
	cache_world_begin(&world, 12, sizeof whole, 0);
	cache_world_open(&world);
	cache_world_put(&world, 1, 0);
	cache_world_put(&world, 2, 3);
	cache_world_close(&world);
	memcpy(whole, sim_disk_bytes(world.sim, 0, 0), sizeof whole);
	for (uint32_t at = 0; at < sizeof whole; at++) {
		uint8_t bent = whole[at] ^ (uint8_t)(1 << at % 8);

		if (at >= 8192 && (whole[at] == 0 || at % 61))
			continue;
		sim_disk_poke(world.sim, 0, 0, 0, whole, 8192);
		sim_disk_poke(world.sim, 0, 0, at, &bent, 1);
		cache_world_open(&world);
		found = cache_world_get(&world, 1, 0) != WORLD_MISS;
		found += cache_world_get(&world, 2, 3) != WORLD_MISS;
		assert_int_equal(found, at < 8192 ? 0 : 1);
		sim_kill(world.sim, 0);
		sim_disk_poke(world.sim, 0, 0, at, &whole[at], 1);
		tried++;
	}
	world.cache = NULL;
	assert_true(tried > 10000);
	cache_world_end(&world);
}

/* ---- Lives ----------------------------------------------------------------------------------- */

struct tally {
	uint64_t reads, hits, after_restart, after_restart_hits, damaged, restarts;
};

static void damage(void)
{
	uint64_t at = sim_random_below(world.sim, 2 * MIB);
	uint8_t bytes[512];

	memcpy(bytes, sim_disk_bytes(world.sim, 0, 0) + at / 512 * 512, sizeof bytes);
	if (sim_random_below(world.sim, 2))
		bytes[at % 512] ^= (uint8_t)(1u << sim_random_below(world.sim, 8));
	else
		memset(bytes, 0, sizeof bytes);
	sim_disk_poke(world.sim, 0, 0, at / 512 * 512, bytes, sizeof bytes);
}

static void live(struct tally *tally)
{
	uint64_t steps = 20 + sim_random_below(world.sim, 150), checks = 40;

	for (uint64_t i = 0; i < steps; i++) {
		uint64_t volume = 1 + sim_random_below(world.sim, 3);
		uint32_t number = (uint32_t)sim_random_below(world.sim, 60);
		uint32_t length = cache_world_length(volume, number);
		uint32_t offset = (uint32_t)sim_random_below(world.sim, length / 512) * 512;
		bool hit;

		length = 512 * (1 + (uint32_t)sim_random_below(world.sim, (length - offset) / 512));
		hit = cache_world_read(&world, volume, number, offset, length) != WORLD_MISS;
		tally->reads++;
		tally->hits += hit;
		if (checks > 0 && tally->restarts > 0) {
			checks--;
			tally->after_restart++;
			tally->after_restart_hits += hit;
		}
		if (!hit)
			cache_world_put(&world, volume, number);
		if (sim_random_below(world.sim, 100) == 0)
			damage();
		if (sim_random_below(world.sim, 4) == 0)
			sim_run(world.sim, sim_random_below(world.sim, 400) * HF_NS_PER_MS);
		if (sim_random_below(world.sim, 200) == 0)
			hf_rcache_forget(world.cache, volume);
	}
}

/* 2 MiB of disk for 180 chunks, a little memory, deaths of every kind at any moment, writes that
 * fail and bytes that rot: cache_world_read checks each byte that is ever given. */
static void nothing_wrong_is_ever_served(void **state)
{
	struct tally tally = {0};

	(void)state;
	for (uint64_t seed = 1; seed <= 60; seed++) {
		cache_world_begin(&world, seed, 2 * MIB, 200000);
		if (seed % 4 == 0)
			sim_chances(world.sim, 20000, 0, 0);
		tally.restarts = 0;
		for (unsigned life = 0; life < 8; life++) {
			cache_world_open(&world);
			live(&tally);
			tally.damaged += cache_world_stats(&world).damaged;
			switch (sim_random_below(world.sim, 3)) {
			case 0:
				cache_world_close(&world);
				break;
			case 1:
				sim_kill(world.sim, 0);
				break;
			case 2:
				sim_power_cut(world.sim, 0);
				break;
			}
			world.cache = NULL;
			tally.restarts++;
		}
		cache_world_end(&world);
	}
	printf("%llu reads, hits %.3f, within 40 reads of a restart %.3f, %llu damaged\n",
	       (unsigned long long)tally.reads, (double)tally.hits / (double)tally.reads,
	       (double)tally.after_restart_hits / (double)tally.after_restart,
	       (unsigned long long)tally.damaged);
	assert_true(tally.damaged > 0);
	assert_true(tally.after_restart_hits * 20 > tally.after_restart);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_memory_lost_comes_from_disk),
		cmocka_unit_test(a_chunk_is_there_at_once),
		cmocka_unit_test(a_small_read_reads_little),
		cmocka_unit_test(what_is_read_on_moves_to_memory),
		cmocka_unit_test(a_clean_restart_finds_everything),
		cmocka_unit_test(a_kill_costs_seconds),
		cmocka_unit_test(a_damaged_block_is_a_miss),
		cmocka_unit_test(a_full_disk_is_given_up),
		cmocka_unit_test(a_disk_that_cannot_be_read_is_done_without),
		cmocka_unit_test(a_disk_of_another_size_is_made_anew),
		cmocka_unit_test(every_damaged_byte_is_harmless),
		cmocka_unit_test(nothing_wrong_is_ever_served),
	};

	setenv("HOLDFAST_LOG", "error", 0);
	hf_log_init("rcache_test");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
