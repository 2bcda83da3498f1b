/* A read cache on the disk of a simulated world, with chunks whose bytes follow from their keys, so
 * that every byte it ever gives can be checked. */
#ifndef HF_TESTS_CACHE_RCACHE_WORLD_H
#define HF_TESTS_CACHE_RCACHE_WORLD_H

#include "cache/rcache.h"
#include "tests/sim/sim_env.h"

#define CHUNK HF_READ_CACHE_CHUNK_MAX

struct cache_world {
	struct sim *sim;
	struct hf_rcache *cache;
	uint64_t memory_bytes;
	bool flag;
};

void cache_world_begin(struct cache_world *world, uint64_t seed, uint64_t disk_bytes,
		       uint64_t memory_bytes);
void cache_world_end(struct cache_world *world);
/* Opens and waits until the disk's index has been read. */
void cache_world_open(struct cache_world *world);
void cache_world_close(struct cache_world *world);
struct hf_rcache_stats cache_world_stats(const struct cache_world *world);

/* Chunk `number` (any) of a volume, and how long it is: most are whole. */
struct hf_read_cache_key cache_world_key(uint64_t volume, uint32_t number);
uint32_t cache_world_length(uint64_t volume, uint32_t number);
void cache_world_put(struct cache_world *world, uint64_t volume, uint32_t number);

enum world_found { WORLD_MISS, WORLD_MEMORY, WORLD_DISK };
/* Reads a part and fails the test unless its bytes are right; where it came from. */
enum world_found cache_world_read(struct cache_world *world, uint64_t volume, uint32_t number,
				  uint32_t offset, uint32_t length);
/* All of it. */
enum world_found cache_world_get(struct cache_world *world, uint64_t volume, uint32_t number);

#endif
