/* The read cache: plain chunks of objects that were fetched, in memory and on a local disk, behind
 * the table of base/read_cache.h. Every block is checked against its key and checksum each time it
 * comes from the disk: what fails is a miss, never data (invariant 8).
 *
 * Pure: reaches its disk only through `env`; core's thread. docs/format/read-cache.md has every
 * bit, docs/design/read-cache.md the policy (S3-FIFO, shares, what survives a restart). */
#ifndef HF_CACHE_RCACHE_H
#define HF_CACHE_RCACHE_H

#include "base/env.h"
#include "base/read_cache.h"

#define HF_RCACHE_NO_DISK UINT32_MAX

struct hf_rcache;

struct hf_rcache_config {
	struct hf_env *env;
	uint32_t disk;         /* of env, or HF_RCACHE_NO_DISK */
	uint64_t memory_bytes; /* of chunks kept in memory, with what each costs beside its bytes */
};

/* Serves from memory at once; what the disk held joins when its index has been read. A disk that
 * holds no cache of this format, or a damaged one, is formatted anew; one that fails is done
 * without. NULL when out of memory. */
struct hf_rcache *hf_rcache_create(const struct hf_rcache_config *config);
/* Lets what is under way end, writes what is still in memory only and the index, so that the next
 * start finds everything; then `closed`, never from inside the call. No function here may be called
 * in between. */
void hf_rcache_close(struct hf_rcache *cache, void (*closed)(void *context), void *context);
/* Without a disk: at once. Not while a `get` is under way. */
void hf_rcache_destroy(struct hf_rcache *cache);

/* To give to hf_remote_open. */
struct hf_read_cache *hf_rcache_table(struct hf_rcache *cache);

/* A volume has gone: what it had goes first. */
void hf_rcache_forget(struct hf_rcache *cache, uint64_t volume);

struct hf_rcache_stats {
	bool loading;   /* the disk's index is being read */
	bool disk_lost; /* the disk failed or is full: memory only until the next start */
	uint64_t memory_bytes, memory_limit_bytes;
	uint64_t disk_bytes, disk_limit_bytes, index_bytes; /* index: in memory, of the disk */
	uint64_t recovered_chunks;                          /* found on the disk at the start */
	uint64_t memory_hits, memory_hit_bytes, disk_hits, disk_hit_bytes, misses;
	uint64_t evictions, damaged, disk_written_bytes;
};
void hf_rcache_stats(const struct hf_rcache *cache, struct hf_rcache_stats *stats);

#endif
