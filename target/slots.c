/* SPDX-License-Identifier: GPL-2.0-only
 * Part of the Holdfast backing store, which tgtd loads; see docs/LICENSING.md. */
/* See slots.h. */
#include "target/slots.h"

#include <string.h>

#include "base/assert.h"

static bool is_used(const struct hf_slots *slots, uint32_t page)
{
	return slots->used[page / 64] >> (page % 64) & 1;
}

static void mark(struct hf_slots *slots, uint32_t first, uint32_t pages, bool used)
{
	for (uint32_t page = first; page < first + pages; page++) {
		HF_ASSERT(is_used(slots, page) != used);
		slots->used[page / 64] ^= 1ull << (page % 64);
	}
}

void hf_slots_reset(struct hf_slots *slots)
{
	memset(slots, 0, sizeof *slots);
}

/* The first run of so many free pages; words in full use, or in none, are passed whole. */
static bool search(const struct hf_slots *slots, uint32_t pages, uint32_t *first)
{
	uint32_t run = 0;

	for (uint32_t page = slots->lowest; page < HF_SLOTS_PAGES; page++) {
		uint64_t word = slots->used[page / 64];

		if (page % 64 == 0 && (word == UINT64_MAX || (word == 0 && pages - run > 64))) {
			run = word ? 0 : run + 64;
			page += 63;
			continue;
		}
		run = is_used(slots, page) ? 0 : run + 1;
		if (run == pages) {
			*first = page + 1 - pages;
			return true;
		}
	}
	return false;
}

bool hf_slots_take(struct hf_slots *slots, uint32_t pages, uint32_t *first)
{
	HF_ASSERT(pages > 0);
	if (pages > HF_SLOTS_PAGES - slots->used_pages || !search(slots, pages, first))
		return false;
	mark(slots, *first, pages, true);
	slots->used_pages += pages;
	if (*first == slots->lowest)
		slots->lowest += pages;
	return true;
}

void hf_slots_give(struct hf_slots *slots, uint32_t first, uint32_t pages)
{
	mark(slots, first, pages, false);
	slots->used_pages -= pages;
	if (first < slots->lowest)
		slots->lowest = first;
}
