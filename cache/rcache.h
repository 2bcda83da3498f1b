/* The read cache: plain chunks of objects that were fetched (or written through), in memory and on
 * a local disk. Keyed by content, since an object is immutable and its header's tag names it: a
 * fill can never be stale, and losing the cache costs speed only. Every chunk is checked against
 * its key and checksum each time it comes from the disk.
 *
 * Pure: reaches its disk only through `env`; core's thread. docs/format/read-cache.md has every
 * bit, docs/design/read-cache.md the policy (S3-FIFO, shares, what survives a restart). */
#ifndef HF_CACHE_RCACHE_H
#define HF_CACHE_RCACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"

#define HF_RCACHE_CHUNK_MAX 65536u /* bytes */
#define HF_RCACHE_NO_DISK   UINT32_MAX

enum hf_rcache_class {
	HF_RCACHE_DATA = 1, /* chunks of objects; what a scan brings does not evict what is hot */
	HF_RCACHE_MAP = 2,  /* leaves and roots of checkpoints: go last */
};

struct hf_rcache_key {
	uint8_t tag[16]; /* of the object's sealed header */
	uint64_t volume; /* whose share it takes; part of the key */
	uint32_t chunk;
	uint32_t class; /* enum hf_rcache_class */
};

struct hf_rcache;

struct hf_rcache_config {
	struct hf_env *env;
	uint32_t disk;         /* of env, or HF_RCACHE_NO_DISK */
	uint64_t memory_bytes; /* of chunks kept in memory; counted, with their index */
};

/* Opens; a disk that holds no cache of this format, or a damaged one, is formatted anew. Never
 * fails because of what the disk holds. */
struct hf_rcache_open {
	struct hf_rcache_config config;
	struct hf_rcache *cache; /* out; NULL on failure */
	int status;              /* 0, HF_ENOMEM */
	struct hf_errmsg message;
	uint64_t recovered_chunks;
	void (*opened)(struct hf_rcache_open *open);
	void *impl;
};
void hf_rcache_open_start(struct hf_rcache_open *open);
/* Writes its index so that the next start finds everything, then `closed`. */
void hf_rcache_close(struct hf_rcache *cache, void (*closed)(void *context), void *context);

/* One look-up. `buffer` holds HF_RCACHE_CHUNK_MAX bytes, aligned to HF_DISK_ALIGN. Status 0 and
 * `length`, or HF_ENOENT. `done` once, later, never from inside the call. */
struct hf_rcache_get {
	struct hf_rcache_key key;
	void *buffer;
	size_t length;
	int status;
	void (*done)(struct hf_rcache_get *get);
	void *owner;
	struct hf_list link;
	void *impl;
};
void hf_rcache_get(struct hf_rcache *cache, struct hf_rcache_get *get);

/* The chunk's plain bytes if they are in memory, valid until the next call of any function here;
 * NULL otherwise. Counts as a use. `cache` may be NULL. */
const void *hf_rcache_peek(struct hf_rcache *cache, const struct hf_rcache_key *key,
			   size_t *length);
/* Whether it is there, in memory or on the disk, without counting as a use. */
bool hf_rcache_has(const struct hf_rcache *cache, const struct hf_rcache_key *key);
/* Copies the chunk in, if it is not there and the cache has room to work in; else does nothing. */
void hf_rcache_put(struct hf_rcache *cache, const struct hf_rcache_key *key, const void *bytes,
		   size_t length);
/* A volume has gone: what it had may be forgotten first. */
void hf_rcache_forget(struct hf_rcache *cache, uint64_t volume);

struct hf_rcache_stats {
	uint64_t memory_bytes, memory_limit_bytes, disk_bytes, disk_limit_bytes;
	uint64_t hits_memory, hits_disk, misses, evictions, damaged;
};
void hf_rcache_stats(const struct hf_rcache *cache, struct hf_rcache_stats *stats);

#endif
