/* SPDX-License-Identifier: GPL-2.0-only
 * Part of the Holdfast backing store, which tgtd loads; see docs/LICENSING.md. */
/* Which pages of the ring's data area are in use: contiguous runs, first fit, so that the same few
 * pages are used again and again: they are in the processors' caches, and the rest of the area is
 * never touched. No thread of its own, no memory but the struct. */
#ifndef HF_TARGET_SLOTS_H
#define HF_TARGET_SLOTS_H

#include <stdbool.h>
#include <stdint.h>

#include "cache/ring_layout.h"

#define HF_SLOTS_PAGES (HF_RING_DATA_BYTES / HF_RING_PAGE)

struct hf_slots {
	uint64_t used[HF_SLOTS_PAGES / 64]; /* a bit a page */
	uint32_t lowest;                    /* no page below it is free */
	uint32_t used_pages;
};

void hf_slots_reset(struct hf_slots *slots);
/* Takes `pages` (1 …) in a row; false if there is no such run. */
bool hf_slots_take(struct hf_slots *slots, uint32_t pages, uint32_t *first);
void hf_slots_give(struct hf_slots *slots, uint32_t first, uint32_t pages);

#endif
