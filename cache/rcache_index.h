/* Which chunks one tier of the read cache holds, and which go when there is no room: S3-FIFO with
 * shares (docs/design/read-cache.md). Pure bookkeeping, no I/O, no clock; owns its tables.
 *
 *   insert ──▶ small ──used since──▶ main ──not used since──▶ gone
 *                │                    ▲└──used since──▶ once more round
 *                └──not used──▶ gone, remembered as a ghost; inserted again ──▶ main
 *
 * Each volume has queues of its own for each class. Entries are numbered; on a disk the number is
 * the slot. */
#ifndef HF_CACHE_RCACHE_INDEX_H
#define HF_CACHE_RCACHE_INDEX_H

#include "base/read_cache.h"

#define HF_RCACHE_NONE UINT32_MAX

enum hf_rcache_queue_kind { HF_RCACHE_FREE, HF_RCACHE_SMALL, HF_RCACHE_MAIN };

struct hf_rcache_entry {
	struct hf_read_cache_key key;
	uint32_t length;     /* bytes of the chunk */
	uint32_t stamp;      /* tenths of a second, any start: of its coming or last counted use */
	uint32_t chain;      /* next in the bucket */
	uint32_t prev, next; /* in its queue; next also of free ones */
	uint16_t group;
	uint8_t queue; /* enum hf_rcache_queue_kind */
	uint8_t uses;  /* counted since it came, 0 … 3 */
	bool locked;   /* may not be evicted */
	/* The disk tier's: is it worth having in memory? (rcache_read.c) */
	uint8_t next_block, run, heat, heat_at;
};

struct hf_rcache_queue {
	uint32_t head, tail; /* newest, oldest */
	uint64_t used_bytes;
};

struct hf_rcache_group;

struct hf_rcache_ghost {
	uint32_t *marks; /* fingerprint and time, in sets of four */
	uint32_t set_mask, window, now;
};

struct hf_rcache_index {
	uint64_t limit_bytes, used_bytes;
	uint64_t class_bytes[2], small_bytes[2]; /* data, map */
	uint64_t came_bytes;                     /* ever */
	uint64_t evictions;
	uint32_t fixed_cost; /* bytes each entry takes; 0: as long as it is and what it costs */
	struct hf_rcache_entry *entries;
	uint32_t capacity, count, free_head, free_tail;
	uint32_t *buckets;
	uint32_t bucket_mask;
	struct hf_rcache_group *groups;
	unsigned group_count;
	struct hf_rcache_ghost ghost;
	/* The entry is about to be free; its fields are still there. */
	void (*evicted)(void *context, uint32_t number);
	void *context;
};

/* With `slots` entries of 64 KiB each, or (0) as many as fit into limit_bytes. 0 or HF_ENOMEM. */
int hf_rcache_index_init(struct hf_rcache_index *index, uint64_t limit_bytes, uint32_t slots);
void hf_rcache_index_free(struct hf_rcache_index *index);
/* Memory of the tables. */
uint64_t hf_rcache_index_bytes(const struct hf_rcache_index *index);

uint32_t hf_rcache_index_find(const struct hf_rcache_index *index,
			      const struct hf_read_cache_key *key);
/* A use at `now` (as `stamp`). It counts if the last one, or its coming, is a second ago: a reader
 * that takes a chunk in small pieces has used it once. True if it counted. */
bool hf_rcache_index_use(struct hf_rcache_index *index, uint32_t number, uint32_t now);
/* Makes room and puts it in; it must not be there. HF_RCACHE_NONE if there is no room to be made.
 */
uint32_t hf_rcache_index_insert(struct hf_rcache_index *index, const struct hf_read_cache_key *key,
				uint32_t length, uint32_t now);
void hf_rcache_index_remove(struct hf_rcache_index *index, uint32_t number);
void hf_rcache_index_forget(struct hf_rcache_index *index, uint64_t volume);

/* Bringing back what was there: first all with `length` > 0 and key, queue, uses and stamp set in
 * `entries`, then this. Of several with one key the newest stays. 0 or HF_ENOMEM. */
int hf_rcache_index_restore(struct hf_rcache_index *index, uint32_t now);

/* ---- rcache_ghost.c: keys that were evicted unused, as fingerprints ---- */

int hf_rcache_ghost_init(struct hf_rcache_ghost *ghost, uint64_t keys);
void hf_rcache_ghost_free(struct hf_rcache_ghost *ghost);
void hf_rcache_ghost_add(struct hf_rcache_ghost *ghost, uint64_t hash);
/* True if it is remembered; it is not any more. */
bool hf_rcache_ghost_take(struct hf_rcache_ghost *ghost, uint64_t hash);

#endif
