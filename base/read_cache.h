/* What the remote side asks of a read cache, as a table of functions: remote/ may not include
 * cache/, which implements it (cache/rcache.h), and does without one where there is none (NULL).
 *
 * Chunks are parts of immutable objects, keyed by a tag that no other object ever has, so a fill
 * can never be stale, and losing any of it costs speed only. Core's thread. */
#ifndef HF_BASE_READ_CACHE_H
#define HF_BASE_READ_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

#define HF_READ_CACHE_CHUNK_MAX 65536u /* bytes */

/* Numbers are on disk: only add. */
enum hf_read_cache_class {
	HF_READ_CACHE_DATA =
		1, /* chunks of objects; what a scan brings does not evict what is hot */
	HF_READ_CACHE_MAP = 2, /* leaves and roots of checkpoints: go last */
};

struct hf_read_cache_key {
	uint8_t tag[16]; /* names what the chunk is from, for ever */
	uint64_t volume; /* whose share it takes; part of the key */
	uint32_t chunk;
	uint32_t class; /* enum hf_read_cache_class */
};

enum hf_read_cache_found {
	HF_READ_CACHE_MISS,
	HF_READ_CACHE_HERE,    /* in memory */
	HF_READ_CACHE_ON_DISK, /* to be asked for with `get` */
};

/* Part of a chunk. Caller's memory; once `hf_read_cache_get` has it, until done. */
struct hf_read_cache_get {
	struct hf_read_cache_key key;
	uint32_t offset, length; /* bytes inside the chunk, any */
	const uint8_t *bytes;    /* that part */
	int status;
	void (*done)(struct hf_read_cache_get *get);
	struct hf_list link; /* the cache's until done */
	void *impl;          /* the cache's until done */
};

struct hf_read_cache;

struct hf_read_cache_ops {
	enum hf_read_cache_found (*look)(struct hf_read_cache *cache,
					 struct hf_read_cache_get *get);
	bool (*has)(const struct hf_read_cache *cache, const struct hf_read_cache_key *key);
	void (*get)(struct hf_read_cache *cache, struct hf_read_cache_get *get);
	void (*put)(struct hf_read_cache *cache, const struct hf_read_cache_key *key,
		    const void *bytes, size_t length);
};

struct hf_read_cache {
	const struct hf_read_cache_ops *ops;
};

/* A use. HERE: the part is at get->bytes, until the next call of any function here. */
static inline enum hf_read_cache_found hf_read_cache_look(struct hf_read_cache *cache,
							  struct hf_read_cache_get *get)
{
	return cache ? cache->ops->look(cache, get) : HF_READ_CACHE_MISS;
}

/* Whether the chunk is there, in memory or on the disk; no use. */
static inline bool hf_read_cache_has(const struct hf_read_cache *cache,
				     const struct hf_read_cache_key *key)
{
	return cache && cache->ops->has(cache, key);
}

/* For what is ON_DISK. `done` comes once, later, never from inside the call: status 0 and `bytes`,
 * valid inside `done` only; or HF_ENOENT: it was not there any more, or failed its checks and is
 * forgotten. Takes as long as the disk does. */
static inline void hf_read_cache_get(struct hf_read_cache *cache, struct hf_read_cache_get *get)
{
	cache->ops->get(cache, get);
}

/* Copies the chunk (1 … HF_READ_CACHE_CHUNK_MAX bytes) in, if it is not there and the cache has
 * room to work in; else does nothing. */
static inline void hf_read_cache_put(struct hf_read_cache *cache,
				     const struct hf_read_cache_key *key, const void *bytes,
				     size_t length)
{
	if (cache)
		cache->ops->put(cache, key, bytes, length);
}

#endif
