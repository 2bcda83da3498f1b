/* What the files behind cache/rcache.h share. Core's thread.
 *
 *   rcache.c        the table's functions, the memory tier, closing
 *   rcache_load.c   the disk's superblock and index at the start
 *   rcache_write.c  chunks on their way to the disk      rcache_pages.c  the index on its way
 *   rcache_read.c   chunks from the disk, checked
 *   rcache_index.c, rcache_ghost.c  what is where, and what goes
 *   rcache_format.c every byte */
#ifndef HF_CACHE_RCACHE_PRIVATE_H
#define HF_CACHE_RCACHE_PRIVATE_H

#include "base/assert.h"
#include "base/list.h"
#include "cache/rcache.h"
#include "cache/rcache_format.h"

#define HF_RCACHE_MAGIC 0x48465243u
#define HF_RCACHE_BATCH 64u /* chunks written at once */
#define HF_RCACHE_PENDING_MAX                                                                      \
	64u                     /* chunks that wait for the disk; more are kept in memory only     \
				 */
#define HF_RCACHE_PAGES_RUN 64u /* index pages in one write */

/* A chunk's bytes, of the memory tier, of a write, of a get. */
struct rcache_block {
	uint32_t refs, length;
	uint8_t *bytes; /* aligned for the disk, zeros up to a whole block */
};

enum rcache_disk_state {
	RCACHE_NO_DISK, /* none, given up, or closing before it was read */
	RCACHE_LOADING,
	RCACHE_READY,
};

struct rcache_write {
	struct hf_list link; /* in pending or writing */
	uint32_t slot;
	struct rcache_block *block;
};

/* Neighbouring slots that go out as one write. */
struct rcache_run {
	struct hf_rcache *cache;
	struct hf_disk_io io;
	unsigned first, count; /* of the batch */
};

struct hf_rcache {
	struct hf_read_cache table; /* first */
	uint32_t magic;
	struct hf_env *env;
	struct hf_rcache_index memory;
	struct rcache_block **blocks; /* of the memory tier's entries */
	uint32_t block_capacity;

	uint32_t disk_number;
	enum rcache_disk_state state;
	bool lost;
	unsigned errors; /* writes that failed, one after the other */
	struct hf_rcachefmt_super super;
	struct hf_rcache_index disk;
	uint32_t *crcs;        /* 16 a slot */
	uint32_t *generations; /* of a slot: one higher with each chunk it held */

	struct hf_list pending, writing; /* rcache_write */
	unsigned pending_count;
	struct rcache_write *batch[HF_RCACHE_BATCH]; /* by slot */
	struct iovec batch_iov[HF_RCACHE_BATCH];
	struct rcache_run runs[HF_RCACHE_BATCH];
	unsigned runs_under_way;

	uint8_t *dirty; /* by page: to be written */
	uint32_t dirty_count, flush_at;
	bool flushing;
	struct hf_timer flush_timer;

	/* The one superblock or index operation under way. */
	struct hf_disk_io io;
	struct iovec iov;
	uint8_t *io_buffer;
	uint32_t load_page;

	struct hf_list finished; /* hf_read_cache_get whose answer is known */
	struct hf_timer tick;
	unsigned busy; /* disk operations under way */
	bool closing;
	void (*closed)(void *context);
	void *closed_context;
	struct hf_rcache_stats stats;
};

/* rcache.c */

uint32_t hf_rcache_now(struct hf_rcache *cache);
/* Brackets around every disk operation; the last lets a closing cache end: it may be gone then. */
void hf_rcache_began(struct hf_rcache *cache);
void hf_rcache_ended(struct hf_rcache *cache);
/* Takes `bytes` over (aligned memory from hf_rcache_aligned) with one reference, or copies them.
 * NULL when out of memory; then `bytes` are freed if they were to be taken over. */
struct rcache_block *hf_rcache_block_take(uint8_t *bytes, uint32_t length);
struct rcache_block *hf_rcache_block_copy(const void *bytes, uint32_t length);
void hf_rcache_block_put(struct rcache_block *block);
void *hf_rcache_aligned(size_t bytes);
/* Keeps the block in memory, if there is room. */
void hf_rcache_remember(struct hf_rcache *cache, const struct hf_read_cache_key *key,
			struct rcache_block *block);

/* rcache_load.c */
void hf_rcache_load(struct hf_rcache *cache);

/* rcache_write.c */
void hf_rcache_write(struct hf_rcache *cache, const struct hf_read_cache_key *key,
		     struct rcache_block *block);
/* Of a slot whose chunk is on its way to the disk. */
struct rcache_block *hf_rcache_writing_block(const struct hf_rcache *cache, uint32_t slot);
void hf_rcache_write_step(struct hf_rcache *cache);
/* What the slot holds is not to be used any more. */
void hf_rcache_drop(struct hf_rcache *cache, uint32_t slot);
/* The disk tier ends. */
void hf_rcache_give_up(struct hf_rcache *cache, const char *why);
void hf_rcache_disk_evicted(void *context, uint32_t slot);

/* rcache_pages.c */
void hf_rcache_page_changed(struct hf_rcache *cache, uint32_t slot);
void hf_rcache_flush_due(struct hf_timer *timer);
void hf_rcache_flush_step(struct hf_rcache *cache);

/* rcache_read.c */
void hf_rcache_read(struct hf_rcache *cache, struct hf_read_cache_get *get, uint32_t slot);
/* The answer comes from the next tick: `block` (a reference, or NULL: HF_ENOENT). */
void hf_rcache_finish_later(struct hf_rcache *cache, struct hf_read_cache_get *get,
			    struct rcache_block *block);

#endif
