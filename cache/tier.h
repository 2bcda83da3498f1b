/* volumed's side of a ring's memory tier (cache/tier_layout.h): what gets in, what has to go, and
 * every store into the shared memory. Pure: memory is given, nothing blocks. The core's thread.
 *
 * Who drives it promises:
 *   - hf_tier_changed is called when a change of a range becomes visible to reads of the core, from
 *     the same turn in which it becomes so and before its request is answered to anybody;
 *   - bytes given to hf_tier_filled are what the core read, and hf_tier_moment was taken before
 *     that read began.
 * Then a reader of the tier sees of a block the state that a read of the core would have seen at
 * some moment between the reader's two looks at the version. Nothing of the shared memory is read
 * back, so nothing that becomes of it can change what is decided here. */
#ifndef HF_CACHE_TIER_H
#define HF_CACHE_TIER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hf_tier;

/* `memory`: `bytes` of zeros, a multiple of 4096 between HF_TIER_BYTES_MIN and _MAX; stays the
 * caller's and must outlive the tier. NULL: no memory for the tier's own tables (about 1 %). */
struct hf_tier *hf_tier_create(void *memory, uint64_t bytes);
void hf_tier_destroy(struct hf_tier *tier);

/* Where the shim notes which entries it used, a bit each, taken modulo `count` (a power of two);
 * hints, that anybody may write at any time. NULL: none. */
void hf_tier_use_marks(struct hf_tier *tier, uint8_t *marks, uint32_t count);

/* The bytes of [offset, offset + length) of the volume changed. True if something was dropped that
 * the shim has used since it came in: it is worth giving what the range holds now to
 * hf_tier_filled, with a moment of after this. */
bool hf_tier_changed(struct hf_tier *tier, uint32_t handle, uint64_t offset, uint64_t length);
/* The volume leaves, or nobody may read it now; what was read of it before must not come in any
 * more. Its bytes stay where they lie until others take their place. */
void hf_tier_forget(struct hf_tier *tier, uint32_t handle);
void hf_tier_forget_all(struct hf_tier *tier);

/* To be kept with a read from before it begins. */
uint64_t hf_tier_moment(const struct hf_tier *tier);
/* A read of [offset, offset + length) that began at `moment` gave `bytes`. Takes the whole blocks
 * in it that were read before or changed not long ago, unless they changed since `moment`. Long
 * reads are ignored. */
void hf_tier_filled(struct hf_tier *tier, uint32_t handle, uint64_t offset, uint64_t length,
		    uint64_t moment, const void *bytes);

struct hf_tier_counts {
	uint64_t blocks; /* capacity */
	uint64_t used;   /* blocks held now */
	uint64_t filled, dropped, evicted;
	uint64_t looks; /* what finding changed blocks has cost, in entries looked at */
};
void hf_tier_count(const struct hf_tier *tier, struct hf_tier_counts *counts);

#endif
