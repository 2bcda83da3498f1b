/* The states of a stored map's leaves (base/extmap.h): loading, writing and dropping them.
 *
 *   slot's flags             state
 *   none at all              NONE
 *   ABSENT                   ABSENT (no runs)
 *   ABSENT, DIRTY            PARTIAL
 *   DIRTY, maybe WRITING     DIRTY
 *   WRITING                  WRITING
 *   0                        CLEAN
 *
 * Core's thread. */
#include "base/assert.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/extmap.h"
#include "base/extmap_dir.h"

#include <stdlib.h>
#include <string.h>

static struct hf_slot *slot_of(const struct hf_extmap *map, uint64_t leaf)
{
	HF_ASSERT(map->stored && leaf < HF_DIR_LEAVES);
	return hf_dir_view(map, leaf).slot;
}

enum hf_extmap_state hf_extmap_leaf_state(const struct hf_extmap *map, uint64_t leaf)
{
	const struct hf_slot *slot = slot_of(map, leaf);

	if (!slot)
		return HF_EXTMAP_LEAF_NONE;
	if (slot->flags & HF_SLOT_ABSENT)
		return slot->flags & HF_SLOT_DIRTY ? HF_EXTMAP_LEAF_PARTIAL : HF_EXTMAP_LEAF_ABSENT;
	if (slot->flags & HF_SLOT_DIRTY)
		return HF_EXTMAP_LEAF_DIRTY;
	return slot->flags & HF_SLOT_WRITING ? HF_EXTMAP_LEAF_WRITING : HF_EXTMAP_LEAF_CLEAN;
}

/* ---- Loading ----------------------------------------------------------------------------------
 */

int hf_extmap_leaf_mark_absent(struct hf_extmap *map, uint64_t leaf)
{
	struct hf_slot *slot;

	HF_ASSERT(!slot_of(map, leaf));
	slot = hf_dir_ensure(map, leaf);
	if (!slot) {
		hf_dir_settle(map, leaf);
		return HF_ENOMEM;
	}
	slot->flags |= HF_SLOT_ABSENT;
	return 0;
}

static int install_under(struct hf_extmap *map, struct hf_slot *slot, const uint8_t *base,
			 unsigned count)
{
	unsigned most = count + 2u * slot->count;
	uint8_t *merged;
	int err;

	if (most > HF_EXTMAP_LEAF_UNITS)
		most = HF_EXTMAP_LEAF_UNITS;
	merged = malloc((size_t)most * HF_RUN_BYTES);
	if (!merged)
		return HF_ENOMEM;
	count = hf_leaf_merge(base, count, hf_slot_runs(slot), slot->count, merged);
	HF_ASSERT(count <= most);
	err = hf_slot_set(map, slot, merged, count);
	free(merged);
	return err;
}

int hf_extmap_leaf_install(struct hf_extmap *map, uint64_t leaf, const void *bytes,
			   size_t length_bytes)
{
	struct hf_slot *slot = slot_of(map, leaf);
	const uint8_t *runs = (const uint8_t *)bytes + HF_LEAF_HEAD;
	unsigned count;
	int err = hf_leaf_check(bytes, length_bytes, &count);

	if (err || !slot || !(slot->flags & HF_SLOT_ABSENT))
		return err;
	if (slot->count > 0)
		err = install_under(map, slot, runs, count);
	else
		err = hf_slot_set(map, slot, runs, count);
	if (err)
		return err;
	slot->flags &= (uint8_t)~HF_SLOT_ABSENT;
	slot->flags |= HF_SLOT_REFERENCED;
	hf_dir_settle(map, leaf);
	return 0;
}

int hf_extmap_leaf_sources(const void *bytes, size_t length_bytes, uint64_t *end)
{
	unsigned count = 0;
	int err = hf_leaf_check(bytes, length_bytes, &count);

	*end = 0;
	for (unsigned i = 0; i < count && !err; i++) {
		struct hf_run run = hf_run_load((const uint8_t *)bytes + HF_LEAF_HEAD, i);
		uint64_t source = run.value >> HF_EXTMAP_UNIT_BITS;

		if (run.kind == HF_EXTENT_DATA && source >= *end)
			*end = source + 1;
	}
	return err;
}

/* ---- Writing ----------------------------------------------------------------------------------
 */

bool hf_extmap_leaf_next_dirty(const struct hf_extmap *map, uint64_t from, uint64_t *leaf,
			       bool *partial)
{
	if (!hf_dir_next(map, HF_DIR_DIRTY, from, leaf))
		return false;
	*partial = slot_of(map, *leaf)->flags & HF_SLOT_ABSENT;
	return true;
}

size_t hf_extmap_leaf_encode(const struct hf_extmap *map, uint64_t leaf, void *buffer,
			     size_t capacity_bytes)
{
	struct hf_slot *slot = slot_of(map, leaf);
	uint8_t *bytes = buffer;
	size_t length;

	if (!slot || slot->count == 0) {
		HF_ASSERT(!slot || !(slot->flags & HF_SLOT_ABSENT));
		return 0;
	}
	HF_ASSERT(!(slot->flags & HF_SLOT_ABSENT));
	length = HF_LEAF_HEAD + (size_t)slot->count * HF_RUN_BYTES;
	HF_ASSERT(length <= capacity_bytes);
	bytes[0] = HF_LEAF_VERSION;
	bytes[1] = 0;
	hf_put_le16(bytes + 2, slot->count);
	memcpy(bytes + HF_LEAF_HEAD, hf_slot_runs(slot), length - HF_LEAF_HEAD);
	return length;
}

void hf_extmap_leaf_begin_write(struct hf_extmap *map, uint64_t leaf)
{
	struct hf_slot *slot = slot_of(map, leaf);

	HF_ASSERT(slot && (slot->flags & HF_SLOT_DIRTY));
	HF_ASSERT(!(slot->flags & (HF_SLOT_WRITING | HF_SLOT_ABSENT)));
	slot->flags = (uint8_t)((slot->flags & ~HF_SLOT_DIRTY) | HF_SLOT_WRITING);
	hf_dir_settle(map, leaf);
}

void hf_extmap_leaf_end_write(struct hf_extmap *map, uint64_t leaf, bool durable)
{
	struct hf_slot *slot = slot_of(map, leaf);

	HF_ASSERT(slot && (slot->flags & HF_SLOT_WRITING));
	slot->flags &= (uint8_t)~HF_SLOT_WRITING;
	if (!durable)
		slot->flags |= HF_SLOT_DIRTY;
	hf_dir_settle(map, leaf);
}

/* ---- Dropping ---------------------------------------------------------------------------------
 */

bool hf_extmap_leaf_drop(struct hf_extmap *map, uint64_t leaf)
{
	struct hf_slot *slot = slot_of(map, leaf);

	if (!slot || (slot->flags & (HF_SLOT_ABSENT | HF_SLOT_DIRTY | HF_SLOT_WRITING)))
		return false;
	hf_slot_clear(map, slot);
	slot->flags = HF_SLOT_ABSENT;
	hf_dir_settle(map, leaf);
	return true;
}

void hf_extmap_shrink(struct hf_extmap *map, size_t limit_bytes)
{
	while (hf_extmap_memory_bytes(map) > limit_bytes) {
		struct hf_slot *slot;
		uint64_t leaf;

		if (!hf_dir_next(map, HF_DIR_IDLE, map->hand, &leaf)) {
			if (map->hand == 0)
				return;
			map->hand = 0;
			continue;
		}
		map->hand = leaf + 1;
		slot = slot_of(map, leaf);
		if (slot->flags & HF_SLOT_REFERENCED)
			slot->flags &= (uint8_t)~HF_SLOT_REFERENCED;
		else
			HF_ASSERT(hf_extmap_leaf_drop(map, leaf));
	}
}
