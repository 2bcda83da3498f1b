/* The memory tier of one ring: blocks of its volumes that a shim may read without asking volumed.
 * With ring_layout.h the only header of cache/ that target/ may include: structs and constants.
 *
 * volumed makes the memory, writes it, and reads nothing of it back; the shim maps it read-only.
 * It is a table of sets of HF_TIER_WAYS entries; entry i owns the block of 4 KiB at
 * blocks_offset + i × 4096. An entry's version is odd while the entry is empty or being written and
 * even while it holds what its key says: a reader that sees the same even version before and after
 * it copied has copied one state of it. 0 is empty. Versions only go up. All integers native.
 * docs/protocol/ring.md, "Memory tier", has the rules. */
#ifndef HF_CACHE_TIER_LAYOUT_H
#define HF_CACHE_TIER_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#define HF_TIER_MAGIC       0x5245495444464f48u
#define HF_TIER_VERSION     1u
#define HF_TIER_BLOCK       4096u
#define HF_TIER_WAYS        8u
#define HF_TIER_READ_BLOCKS 16u         /* longer reads do not ask the tier */
#define HF_TIER_BYTES_MIN   (64u << 10) /* of one tier */
#define HF_TIER_BYTES_MAX   (64ull << 30)

struct hf_tier_header {
	uint64_t magic;
	uint32_t version, ways;
	uint64_t sets;
	uint64_t blocks_offset; /* bytes from the start, a multiple of 4096 */
	uint64_t bytes;         /* of the file */
	uint8_t pad[24];
};
_Static_assert(sizeof(struct hf_tier_header) == 64, "tier header layout");

struct hf_tier_entry {
	uint64_t version;
	uint64_t key;
};
_Static_assert(sizeof(struct hf_tier_entry) == 16, "tier entry layout");

#define HF_TIER_TABLE_OFFSET HF_TIER_BLOCK

/* Which block: the volume's handle in the ring's session and the block's number in the volume. */
#define HF_TIER_KEY_BLOCK_BITS 52u

static inline uint64_t hf_tier_key(uint32_t handle, uint64_t block)
{
	return (uint64_t)handle << HF_TIER_KEY_BLOCK_BITS | block;
}

/* Blocks that follow each other lie in sets that follow each other. */
static inline uint64_t hf_tier_set(uint64_t key, uint64_t sets)
{
	uint64_t handle = key >> HF_TIER_KEY_BLOCK_BITS;

	return ((key & ((1ull << HF_TIER_KEY_BLOCK_BITS) - 1)) + handle * 0x9e3779b1u) % sets;
}

/* Sets for a file of `bytes`: header, table, blocks. */
static inline uint64_t hf_tier_sets_of(uint64_t bytes)
{
	uint64_t table = 2 * (uint64_t)HF_TIER_BLOCK; /* header, and rounding of the table */

	return (bytes - table) / (HF_TIER_WAYS * (HF_TIER_BLOCK + sizeof(struct hf_tier_entry)));
}

static inline uint64_t hf_tier_blocks_offset(uint64_t sets)
{
	uint64_t end = HF_TIER_TABLE_OFFSET + sets * HF_TIER_WAYS * sizeof(struct hf_tier_entry);

	return (end + HF_TIER_BLOCK - 1) / HF_TIER_BLOCK * HF_TIER_BLOCK;
}

#endif
