/* The leaves of base/extmap_dir.h in their slots: one run inside, more in a block beside. Counts
 * what is allocated and the runs. Core's thread. */
#include "base/extmap_dir.h"
#include "base/assert.h"
#include "base/err.h"

#include <stdlib.h>
#include <string.h>

/* ---- Memory -----------------------------------------------------------------------------------
 */

/* What the C library's allocator takes for a request: a word beside it, in steps of 16 bytes. */
static size_t allocated_bytes(size_t size)
{
	size_t bytes = (size + 8 + 15) / 16 * 16;

	return size == 0 ? 0 : bytes < 32 ? 32 : bytes;
}

void *hf_dir_resize(struct hf_extmap *map, void *memory, size_t old_size, size_t size)
{
	void *moved = realloc(memory, size);

	if (moved)
		map->bytes += allocated_bytes(size) - allocated_bytes(old_size);
	return moved;
}

void hf_dir_release(struct hf_extmap *map, void *memory, size_t size)
{
	free(memory);
	map->bytes -= allocated_bytes(size);
}

static size_t block_size(unsigned capacity)
{
	return (size_t)capacity * HF_RUN_BYTES;
}

/* ---- Leaves -----------------------------------------------------------------------------------
 */

/* A sixteenth more than needed, and what the allocator rounds up to anyway: leaves grow in steps,
 * and what stands empty stays below the bound that docs/design/maps.md gives. */
static unsigned roomy(unsigned count)
{
	size_t bytes = allocated_bytes(block_size(count + count / 16)) - 8;
	unsigned capacity = (unsigned)(bytes / HF_RUN_BYTES);

	return capacity < HF_EXTMAP_LEAF_UNITS ? capacity : HF_EXTMAP_LEAF_UNITS;
}

static int set_capacity(struct hf_extmap *map, struct hf_slot *slot, unsigned capacity)
{
	uint8_t *old = slot->capacity ? slot->block : NULL;
	uint8_t *block = hf_dir_resize(map, old, block_size(slot->capacity), block_size(capacity));

	if (!block)
		return HF_ENOMEM;
	if (!old)
		memcpy(block, slot, HF_RUN_BYTES);
	slot->block = block;
	slot->capacity = (uint16_t)capacity;
	return 0;
}

int hf_slot_reserve(struct hf_extmap *map, struct hf_slot *slot, unsigned count)
{
	if (count <= 1 || count <= slot->capacity)
		return 0;
	return set_capacity(map, slot, roomy(count));
}

/* Back into the slot, or into a smaller block; that a smaller one cannot be had does no harm. */
static void give_back(struct hf_extmap *map, struct hf_slot *slot)
{
	uint8_t *block = slot->block;

	if (slot->capacity == 0)
		return;
	if (slot->count <= 1) {
		memcpy(slot, block, HF_RUN_BYTES);
		hf_dir_release(map, block, block_size(slot->capacity));
		slot->capacity = 0;
	} else if (slot->capacity > roomy(slot->count + slot->count / 8 + 2)) {
		(void)set_capacity(map, slot, roomy(slot->count));
	}
}

static void set_count(struct hf_extmap *map, struct hf_slot *slot, unsigned count)
{
	map->runs += count;
	map->runs -= slot->count;
	slot->count = (uint16_t)count;
}

void hf_slot_edit(struct hf_extmap *map, struct hf_slot *slot, const struct hf_leaf_edit *edit)
{
	unsigned count = hf_leaf_edit_count(slot->count, edit);

	HF_ASSERT(count <= 1 || count <= slot->capacity);
	HF_ASSERT(slot->capacity > 0 || edit->count <= 1);
	hf_leaf_apply(hf_slot_runs(slot), slot->count, edit);
	set_count(map, slot, count);
	give_back(map, slot);
}

void hf_slot_clear(struct hf_extmap *map, struct hf_slot *slot)
{
	set_count(map, slot, 0);
	give_back(map, slot);
}

int hf_slot_set(struct hf_extmap *map, struct hf_slot *slot, const uint8_t *runs, unsigned count)
{
	/* To the run: what comes from a checkpoint rarely changes soon. */
	if (count > 1 && count != slot->capacity && set_capacity(map, slot, count))
		return HF_ENOMEM;
	memcpy(hf_slot_runs(slot), runs, block_size(count));
	set_count(map, slot, count);
	give_back(map, slot);
	return 0;
}

void hf_slot_drop_zeros(struct hf_extmap *map, struct hf_slot *slot)
{
	uint8_t *runs = hf_slot_runs(slot);
	unsigned kept = 0;

	for (unsigned i = 0; i < slot->count; i++) {
		struct hf_run run = hf_run_load(runs, i);

		if (run.kind != HF_EXTENT_ZERO)
			hf_run_store(runs, kept++, &run);
	}
	set_count(map, slot, kept);
	give_back(map, slot);
}

void hf_slot_from_uniform(struct hf_extmap *map, struct hf_slot *slot, uint64_t uniform)
{
	const struct hf_run run = {
		.start = 0,
		.length = HF_EXTMAP_LEAF_UNITS,
		.kind = uniform >> HF_EXTMAP_TAG_BITS,
		.value = uniform & ((1ull << HF_EXTMAP_TAG_BITS) - 1),
	};

	memset(slot, 0, sizeof *slot);
	if (uniform == 0)
		return;
	hf_run_store((uint8_t *)slot, 0, &run);
	set_count(map, slot, 1);
}

/* True if the leaf says what would be said without its slot. */
bool hf_slot_is_uniform(struct hf_slot *slot, uint64_t uniform)
{
	struct hf_run run;

	if (slot->flags & ~HF_SLOT_REFERENCED)
		return false;
	if (uniform == 0 || slot->count != 1)
		return uniform == 0 && slot->count == 0;
	run = hf_run_load(hf_slot_runs(slot), 0);
	return run.length == HF_EXTMAP_LEAF_UNITS && run.kind != HF_EXTENT_DATA &&
	       hf_dir_uniform(run.kind, run.value) == uniform;
}
