/* Every byte of the read cache's disk: superblock, index pages, and the checksums of chunks. Bytes
 * in, structs out: no I/O, no state, any thread. Decoders take anything (they are fuzzed).
 * docs/format/read-cache.md has the same in words. */
#ifndef HF_CACHE_RCACHE_FORMAT_H
#define HF_CACHE_RCACHE_FORMAT_H

#include "cache/rcache_index.h"

#define HF_RCACHEFMT_BLOCK        4096u /* bytes; also what one checksum covers */
#define HF_RCACHEFMT_SLOT_BYTES   HF_READ_CACHE_CHUNK_MAX
#define HF_RCACHEFMT_SLOT_BLOCKS  (HF_RCACHEFMT_SLOT_BYTES / HF_RCACHEFMT_BLOCK)
#define HF_RCACHEFMT_PAGE_ENTRIES 31u
#define HF_RCACHEFMT_SLOTS_MAX    (1u << 28) /* 16 TiB */

struct hf_rcachefmt_super {
	uint8_t uuid[16];
	uint32_t slot_count, page_count;
	uint64_t slots_offset; /* bytes */
};

/* Lays out a disk; all but the uuid. 0, or HF_ENOSPC: no room for one slot. */
int hf_rcachefmt_layout(struct hf_rcachefmt_super *super, uint64_t disk_bytes);
void hf_rcachefmt_super_encode(const struct hf_rcachefmt_super *super, uint8_t *block);
/* HF_ECORRUPT: no cache of this format. What is accepted is consistent; whether it fits the disk is
 * the caller's to ask. */
int hf_rcachefmt_super_decode(struct hf_rcachefmt_super *super, const uint8_t *block);

/* Page `page` describes slots 31 × page and on. Entries that are locked are being written: they go
 * as free. `entries` and `crcs` (16 a slot) are those of all slots. */
void hf_rcachefmt_page_encode(const struct hf_rcachefmt_super *super, uint32_t page,
			      const struct hf_rcache_entry *entries, const uint32_t *crcs,
			      uint8_t *block);
/* Fills key, length, queue, uses and stamp of the page's entries, or length 0. HF_ECORRUPT: not
 * this page of this cache; nothing is touched. */
int hf_rcachefmt_page_decode(const struct hf_rcachefmt_super *super, uint32_t page,
			     struct hf_rcache_entry *entries, uint32_t *crcs, const uint8_t *block);

/* The checksum of block `number` (a whole one, zeros past the chunk's end) of a chunk: a block of
 * another chunk, or at another place in it, fails. */
uint32_t hf_rcachefmt_crc(const struct hf_read_cache_key *key, uint32_t number,
			  const uint8_t *block);

#endif
