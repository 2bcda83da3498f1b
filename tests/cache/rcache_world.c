/* See rcache_world.h. */
#include "tests/cache/rcache_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bytes.h"

#define WAIT_NS (60 * HF_NS_PER_S)

void cache_world_begin(struct cache_world *world, uint64_t seed, uint64_t disk_bytes,
		       uint64_t memory_bytes)
{
	struct sim_config config = {.seed = seed, .disk_size_bytes = {disk_bytes}};

	*world = (struct cache_world){.sim = sim_create(&config), .memory_bytes = memory_bytes};
}

void cache_world_end(struct cache_world *world)
{
	if (world->cache)
		cache_world_close(world);
	sim_destroy(world->sim);
}

struct hf_rcache_stats cache_world_stats(const struct cache_world *world)
{
	struct hf_rcache_stats stats;

	hf_rcache_stats(world->cache, &stats);
	return stats;
}

static bool has_loaded(void *context)
{
	return !cache_world_stats(context).loading;
}

void cache_world_open(struct cache_world *world)
{
	const struct hf_rcache_config config = {
		.env = sim_env(world->sim, 0), .disk = 0, .memory_bytes = world->memory_bytes};

	world->cache = hf_rcache_create(&config);
	assert_non_null(world->cache);
	assert_true(sim_wait(world->sim, has_loaded, world, WAIT_NS));
}

static void closed(void *context)
{
	struct cache_world *world = context;

	world->flag = true;
}

void cache_world_close(struct cache_world *world)
{
	world->flag = false;
	hf_rcache_close(world->cache, closed, world);
	assert_false(world->flag);
	assert_true(sim_wait_flag(world->sim, &world->flag, WAIT_NS));
	world->cache = NULL;
	assert_int_equal(sim_heap_count(world->sim, 0), 0);
}

/* ---- Chunks ---------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

struct hf_read_cache_key cache_world_key(uint64_t volume, uint32_t number)
{
	struct hf_read_cache_key key = {
		.volume = volume, .chunk = number % 7, .class = HF_READ_CACHE_DATA};

	hf_put_le64(key.tag, mix(volume ^ (uint64_t)(number / 7) << 20));
	return key;
}

uint32_t cache_world_length(uint64_t volume, uint32_t number)
{
	uint32_t draw = (uint32_t)mix(volume + ((uint64_t)number << 8));

	return draw % 4 ? CHUNK : 512 + draw / 4 % 127 * 512;
}

static void fill(uint64_t volume, uint32_t number, uint8_t *bytes, uint32_t length)
{
	for (uint32_t at = 0; at < length; at += 8)
		hf_put_le64(bytes + at, mix(volume * 31 + ((uint64_t)number << 32) + at));
}

void cache_world_put(struct cache_world *world, uint64_t volume, uint32_t number)
{
	struct hf_read_cache_key key = cache_world_key(volume, number);
	uint32_t length = cache_world_length(volume, number);
	uint8_t bytes[CHUNK];

	fill(volume, number, bytes, length);
	hf_read_cache_put(hf_rcache_table(world->cache), &key, bytes, length);
	memset(bytes, 0xee, sizeof bytes);
}

struct reader {
	struct hf_read_cache_get get;
	bool done;
	uint8_t bytes[CHUNK];
};

static void reader_done(struct hf_read_cache_get *get)
{
	struct reader *reader = hf_container_of(get, struct reader, get);

	assert_false(reader->done);
	reader->done = true;
	if (get->status == 0)
		memcpy(reader->bytes, get->bytes, get->length);
}

enum world_found cache_world_read(struct cache_world *world, uint64_t volume, uint32_t number,
				  uint32_t offset, uint32_t length)
{
	struct hf_read_cache *table = hf_rcache_table(world->cache);
	struct reader reader = {.get = {.key = cache_world_key(volume, number),
					.offset = offset,
					.length = length,
					.done = reader_done}};
	enum world_found found = WORLD_DISK;
	uint8_t right[CHUNK];

	switch (hf_read_cache_look(table, &reader.get)) {
	case HF_READ_CACHE_MISS:
		return WORLD_MISS;
	case HF_READ_CACHE_HERE:
		memcpy(reader.bytes, reader.get.bytes, length);
		found = WORLD_MEMORY;
		break;
	case HF_READ_CACHE_ON_DISK:
		assert_true(hf_read_cache_has(table, &reader.get.key));
		hf_read_cache_get(table, &reader.get);
		assert_false(reader.done);
		assert_true(sim_wait_flag(world->sim, &reader.done, WAIT_NS));
		if (reader.get.status) {
			assert_int_equal(reader.get.status, HF_ENOENT);
			assert_false(hf_read_cache_has(table, &reader.get.key));
			return WORLD_MISS;
		}
		break;
	}
	fill(volume, number, right, cache_world_length(volume, number));
	assert_memory_equal(reader.bytes, right + offset, length);
	return found;
}

enum world_found cache_world_get(struct cache_world *world, uint64_t volume, uint32_t number)
{
	return cache_world_read(world, volume, number, 0, cache_world_length(volume, number));
}
