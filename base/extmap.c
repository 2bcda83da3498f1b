/* base/extmap.h over leaves and their directory: ranges are cut at the leaves' ends here. A change
 * first takes all the memory that it may need, then is carried out, so that failing leaves the map
 * as it was. Core's thread. */
#include "base/extmap.h"
#include "base/assert.h"
#include "base/err.h"
#include "base/extmap_dir.h"

#include <stdlib.h>

static struct hf_extmap *create(bool stored)
{
	struct hf_extmap *map = calloc(1, sizeof *map);

	if (!map)
		return NULL;
	map->root.flags = HF_SLOT_UNIFORM;
	map->height = 1;
	map->stored = stored;
	return map;
}

struct hf_extmap *hf_extmap_create(void)
{
	return create(false);
}

struct hf_extmap *hf_extmap_create_stored(void)
{
	return create(true);
}

void hf_extmap_destroy(struct hf_extmap *map)
{
	if (!map)
		return;
	hf_dir_free(map);
	free(map);
}

size_t hf_extmap_count(const struct hf_extmap *map)
{
	return map->runs;
}

size_t hf_extmap_memory_bytes(const struct hf_extmap *map)
{
	return map->bytes + sizeof *map;
}

/* ---- Changing one leaf ------------------------------------------------------------------------
 */

/* A change: [lba, end) becomes `kind` with the place's `value` at lba, or nothing (kind 0). */
struct change {
	uint64_t lba, end;
	enum hf_extent_kind kind;
	uint64_t value;
};

/* What a change does to one leaf. */
struct part {
	uint32_t start, end;
	struct hf_run run;
	const struct hf_run *put; /* &run, or NULL: nothing is put */
};

static uint64_t leaf_lba(uint64_t leaf)
{
	return leaf * HF_EXTMAP_LEAF_UNITS;
}

static bool change_covers(const struct change *change, uint64_t leaf)
{
	return change->lba <= leaf_lba(leaf) &&
	       change->end - 1 >= leaf_lba(leaf) + (HF_EXTMAP_LEAF_UNITS - 1);
}

/* A hole in a stored map is kept as ZERO for as long as the leaf's base is absent. */
static void cut_part(const struct change *change, uint64_t leaf, const struct hf_slot *slot,
		     struct part *part)
{
	uint64_t base = leaf_lba(leaf);
	bool under_base = (slot->flags & HF_SLOT_ABSENT) && !change_covers(change, leaf);

	part->start = change->lba > base ? (uint32_t)(change->lba - base) : 0;
	part->end = change->end - base < HF_EXTMAP_LEAF_UNITS ? (uint32_t)(change->end - base)
							      : HF_EXTMAP_LEAF_UNITS;
	part->run = (struct hf_run){.start = part->start,
				    .length = part->end - part->start,
				    .kind = change->kind ? change->kind : HF_EXTENT_ZERO,
				    .value = change->value};
	if (change->kind == HF_EXTENT_DATA)
		part->run.value += base + part->start - change->lba;
	part->put = change->kind || under_base ? &part->run : NULL;
}

static int reserve_leaf(struct hf_extmap *map, const struct change *change, uint64_t leaf)
{
	struct hf_slot *slot = hf_dir_view(map, leaf).slot;
	struct hf_leaf_edit edit;
	struct part part;

	if (!slot)
		slot = hf_dir_ensure(map, leaf);
	if (!slot)
		return HF_ENOMEM;
	cut_part(change, leaf, slot, &part);
	hf_leaf_plan(hf_slot_runs(slot), slot->count, part.start, part.end, part.put, &edit);
	return hf_slot_reserve(map, slot, hf_leaf_edit_count(slot->count, &edit));
}

/* A leaf of a stored map has changed: it is dirty, and needs its base no more if nothing of it
 * shows. */
static void mark_changed(struct hf_extmap *map, struct hf_slot *slot, bool covered)
{
	slot->flags |= HF_SLOT_DIRTY;
	if (!(slot->flags & HF_SLOT_ABSENT))
		return;
	if (covered || hf_leaf_is_full(hf_slot_runs(slot), slot->count)) {
		slot->flags &= (uint8_t)~HF_SLOT_ABSENT;
		hf_slot_drop_zeros(map, slot);
	}
}

static void change_leaf(struct hf_extmap *map, const struct change *change, uint64_t leaf)
{
	struct hf_slot *slot = hf_dir_view(map, leaf).slot;
	struct hf_leaf_edit edit;
	struct part part;

	HF_ASSERT(slot);
	cut_part(change, leaf, slot, &part);
	hf_leaf_plan(hf_slot_runs(slot), slot->count, part.start, part.end, part.put, &edit);
	if (!part.put && edit.first == edit.last && !(slot->flags & HF_SLOT_ABSENT))
		return; /* nothing was there */
	hf_slot_edit(map, slot, &edit);
	if (map->stored)
		mark_changed(map, slot, change_covers(change, leaf));
	if (map->stored || slot->count == 0)
		hf_dir_settle(map, leaf);
}

/* ---- Changing ranges --------------------------------------------------------------------------
 */

/* Each leaf for itself. */
static int change_leaves(struct hf_extmap *map, const struct change *change, uint64_t first,
			 uint64_t end)
{
	uint64_t leaf;

	for (leaf = first; leaf < end; leaf++)
		if (reserve_leaf(map, change, leaf))
			goto err_after_reserve;
	for (leaf = first; leaf < end; leaf++)
		change_leaf(map, change, leaf);
	return 0;
err_after_reserve:
	do
		hf_dir_settle(map, leaf);
	while (leaf-- > first);
	return HF_ENOMEM;
}

static bool is_empty(const struct hf_extmap *map, uint64_t leaf)
{
	struct hf_dir_view view = hf_dir_view(map, leaf);

	return !view.slot && view.uniform == 0;
}

/* Leaf by leaf at the ends, and what lies between at once in the directory. */
static int change_wide(struct hf_extmap *map, const struct change *change, uint64_t first,
		       uint64_t end)
{
	uint64_t uniform = change->kind ? hf_dir_uniform(change->kind, change->value) : 0;
	bool head = !change_covers(change, first);
	bool tail = end - 1 > first && !change_covers(change, end - 1);
	uint64_t from = first + head, to = end - tail;

	if (!change->kind) {
		head = head && !is_empty(map, first);
		tail = tail && !is_empty(map, end - 1);
	}
	if ((head && reserve_leaf(map, change, first)) ||
	    (tail && reserve_leaf(map, change, end - 1)) ||
	    (from < to && hf_dir_reserve(map, from, to, uniform)))
		goto err_after_reserve;
	if (head)
		change_leaf(map, change, first);
	if (tail)
		change_leaf(map, change, end - 1);
	if (from < to)
		hf_dir_assign(map, from, to, uniform);
	return 0;
err_after_reserve:
	hf_dir_settle(map, first);
	hf_dir_settle(map, from);
	hf_dir_settle(map, to - 1);
	hf_dir_settle(map, end - 1);
	return HF_ENOMEM;
}

/* A hole in a stored map: only leaves that exist are touched. */
static int make_hole(struct hf_extmap *map, const struct change *change, uint64_t first,
		     uint64_t end)
{
	uint64_t ends[2] = {first, end - 1};
	struct hf_dir_view view;

	for (unsigned i = 0; i < 2; i++)
		if (!change_covers(change, ends[i]) && hf_dir_view(map, ends[i]).slot &&
		    reserve_leaf(map, change, ends[i]))
			return HF_ENOMEM;
	for (uint64_t leaf = first; leaf < end; leaf = view.end) {
		view = hf_dir_view(map, leaf);
		if (view.slot)
			change_leaf(map, change, leaf);
	}
	return 0;
}

int hf_extmap_insert(struct hf_extmap *map, const struct hf_extent *extent)
{
	struct change change = {.lba = extent->lba,
				.end = extent->lba + extent->length,
				.kind = extent->kind,
				.value = extent->place.source};
	uint64_t first = hf_extmap_leaf_of(change.lba), end;

	HF_ASSERT(extent->length > 0 && change.end > change.lba);
	end = hf_extmap_leaf_of(change.end - 1) + 1;
	if (extent->kind == HF_EXTENT_DATA) {
		HF_ASSERT(extent->place.source >> HF_EXTMAP_SOURCE_BITS == 0);
		HF_ASSERT(extent->place.unit <= HF_RUN_UNIT_MASK &&
			  extent->length <= HF_RUN_UNIT_MASK + 1 - extent->place.unit);
		change.value = extent->place.source << HF_EXTMAP_UNIT_BITS | extent->place.unit;
		return change_leaves(map, &change, first, end);
	}
	HF_ASSERT(extent->kind == HF_EXTENT_ZERO || extent->kind == HF_EXTENT_BAD);
	HF_ASSERT(extent->place.source >> HF_EXTMAP_TAG_BITS == 0 && extent->place.unit == 0);
	HF_ASSERT(!map->stored || extent->place.source == 0);
	if (!map->stored)
		return change_wide(map, &change, first, end);
	if (extent->kind == HF_EXTENT_BAD)
		return change_leaves(map, &change, first, end);
	change.kind = 0;
	return make_hole(map, &change, first, end);
}

int hf_extmap_remove(struct hf_extmap *map, uint64_t lba, uint64_t length)
{
	struct change change = {.lba = lba, .end = lba + length};
	uint64_t first = hf_extmap_leaf_of(lba), end;

	HF_ASSERT(length > 0 && change.end > lba);
	end = hf_extmap_leaf_of(change.end - 1) + 1;
	return map->stored ? make_hole(map, &change, first, end)
			   : change_wide(map, &change, first, end);
}

/* ---- Finding ----------------------------------------------------------------------------------
 */

static struct hf_extent extent_of(uint64_t lba, uint64_t end, enum hf_extent_kind kind,
				  uint64_t value)
{
	struct hf_extent extent = {
		.lba = lba, .length = end - lba, .kind = kind, .place = {.source = value}};

	if (kind == HF_EXTENT_DATA) {
		extent.place.source = value >> HF_EXTMAP_UNIT_BITS;
		extent.place.unit = value & HF_RUN_UNIT_MASK;
	}
	return extent;
}

/* Where the address space of leaves before `leaf` ends. */
static uint64_t leaves_end_lba(uint64_t leaf)
{
	return leaf >= HF_DIR_LEAVES ? UINT64_MAX : leaf_lba(leaf);
}

static enum hf_extmap_found look_in_leaf(struct hf_slot *slot, uint64_t base, uint64_t lba,
					 uint64_t end, struct hf_extent *found)
{
	uint32_t unit = (uint32_t)(lba - base);
	const uint8_t *runs = hf_slot_runs(slot);
	unsigned index = hf_leaf_find(runs, slot->count, unit);
	struct hf_run run;

	if (index < slot->count) {
		run = hf_run_load(runs, index);
		if (run.start < unit)
			run = hf_run_part(&run, unit, hf_run_end(&run));
		if (run.start == unit || !(slot->flags & HF_SLOT_ABSENT)) {
			if (base + run.start >= end)
				return HF_EXTMAP_NONE;
			if (end - 1 > base + hf_run_end(&run) - 1)
				end = base + hf_run_end(&run);
			*found = extent_of(base + run.start, end, run.kind, run.value);
			return HF_EXTMAP_FOUND;
		}
	}
	return slot->flags & HF_SLOT_ABSENT ? HF_EXTMAP_ABSENT : HF_EXTMAP_NONE;
}

/* One run, or one uniform range of leaves, of what lies in [lba, end). */
static enum hf_extmap_found look_piece(const struct hf_extmap *map, uint64_t lba, uint64_t end,
				       struct hf_extent *found, uint64_t *leaf)
{
	while (lba < end) {
		uint64_t at = hf_extmap_leaf_of(lba);
		struct hf_dir_view view = hf_dir_view(map, at);
		uint64_t view_end = leaves_end_lba(view.end);

		if (view.slot) {
			enum hf_extmap_found result =
				look_in_leaf(view.slot, leaf_lba(at), lba, end, found);

			if (map->stored)
				view.slot->flags |= HF_SLOT_REFERENCED;
			*leaf = at;
			if (result != HF_EXTMAP_NONE)
				return result;
		} else if (view.uniform) {
			*found = extent_of(lba, view_end < end ? view_end : end,
					   view.uniform >> HF_EXTMAP_TAG_BITS,
					   view.uniform & ((1ull << HF_EXTMAP_TAG_BITS) - 1));
			return HF_EXTMAP_FOUND;
		}
		if (view.end >= HF_DIR_LEAVES)
			break;
		lba = view_end;
	}
	return HF_EXTMAP_NONE;
}

static bool extent_continues(const struct hf_extent *a, const struct hf_extent *b)
{
	if (a->lba + a->length != b->lba || a->kind != b->kind ||
	    a->place.source != b->place.source)
		return false;
	return a->kind != HF_EXTENT_DATA || a->place.unit + a->length == b->place.unit;
}

enum hf_extmap_found hf_extmap_look(const struct hf_extmap *map, uint64_t lba, uint64_t length,
				    struct hf_extent *found, uint64_t *leaf)
{
	uint64_t end = length > UINT64_MAX - lba ? UINT64_MAX : lba + length;
	enum hf_extmap_found result = look_piece(map, lba, end, found, leaf);
	struct hf_extent next;
	uint64_t next_leaf;

	/* What was cut at the end of a leaf or of a uniform range. */
	while (result == HF_EXTMAP_FOUND && found->lba + found->length < end &&
	       (found->lba + found->length) % HF_EXTMAP_LEAF_UNITS == 0) {
		if (look_piece(map, found->lba + found->length, end, &next, &next_leaf) !=
			    HF_EXTMAP_FOUND ||
		    !extent_continues(found, &next))
			break;
		found->length += next.length;
	}
	return result;
}

bool hf_extmap_find(const struct hf_extmap *map, uint64_t lba, uint64_t length,
		    struct hf_extent *found)
{
	uint64_t leaf;
	enum hf_extmap_found result = hf_extmap_look(map, lba, length, found, &leaf);

	HF_ASSERT(result != HF_EXTMAP_ABSENT);
	return result == HF_EXTMAP_FOUND;
}
