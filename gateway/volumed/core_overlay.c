/* The overlay of a volume: where the log holds the newest data of each range. Core's thread.
 *
 * An entry must be dropped when the store covers its record and not before, and only where no later
 * record has replaced it, so every extent has to tell which record it comes from. Data tells by its
 * place, which no other record has; zeros and bad extents by the record's sequence, which is their
 * tag in the map, so that those of two records never become one. */
#include "gateway/volumed/core_internal.h"

static bool overlay_has_range(const struct hf_core_entry *entry)
{
	return entry->length > 0 && (entry->type == HF_RECORD_DATA ||
				     entry->type == HF_RECORD_ZERO || entry->type == HF_RECORD_BAD);
}

/* What the map holds of a record, all of it. */
static struct hf_extent overlay_extent(uint64_t sequence, const struct hf_core_entry *entry)
{
	struct hf_extent extent = {.lba = entry->lba, .length = entry->length};

	if (entry->type == HF_RECORD_DATA) {
		extent.kind = HF_EXTENT_DATA;
		extent.place = entry->place;
	} else {
		extent.kind = entry->type == HF_RECORD_ZERO ? HF_EXTENT_ZERO : HF_EXTENT_BAD;
		extent.place.source = sequence;
	}
	return extent;
}

static void overlay_put(struct hf_extmap *overlay, const struct hf_extent *extent)
{
	HF_ASSERT(hf_extmap_insert(overlay, extent) == 0);
}

void hf_core_overlay_insert(struct hf_extmap *overlay, uint64_t sequence,
			    const struct hf_core_entry *entry)
{
	struct hf_extent extent = overlay_extent(sequence, entry);

	if (overlay_has_range(entry))
		overlay_put(overlay, &extent);
}

/* The next part of the map at or after *at that comes from the record `whole`; *at moves past it.
 * Stored extents may join the data of several records, so the part is cut to the record by the
 * search's range and tested by its distance. */
static bool overlay_next_of(struct hf_extmap *overlay, const struct hf_extent *whole, uint64_t *at,
			    struct hf_extent *found)
{
	uint64_t end = whole->lba + whole->length;

	while (*at < end && hf_extmap_find(overlay, *at, end - *at, found)) {
		*at = found->lba + found->length;
		if (found->kind == whole->kind && found->place.source == whole->place.source &&
		    (found->kind != HF_EXTENT_DATA ||
		     found->place.unit == whole->place.unit + (found->lba - whole->lba)))
			return true;
	}
	return false;
}

void hf_core_overlay_drop(struct hf_extmap *overlay, uint64_t sequence,
			  const struct hf_core_entry *entry, struct hf_extmap *keep)
{
	struct hf_extent whole = overlay_extent(sequence, entry), found;
	uint64_t at = entry->lba;

	if (!overlay_has_range(entry))
		return;
	while (overlay_next_of(overlay, &whole, &at, &found)) {
		HF_ASSERT(hf_extmap_remove(overlay, found.lba, found.length) == 0);
		if (keep && found.kind == HF_EXTENT_DATA)
			overlay_put(keep, &found);
	}
}

void hf_core_overlay_move(struct hf_extmap *overlay, const struct hf_core_entry *entry,
			  struct hf_place place)
{
	struct hf_extent whole = overlay_extent(0, entry), found;
	uint64_t at = entry->lba;

	if (entry->type != HF_RECORD_DATA)
		return;
	while (overlay_next_of(overlay, &whole, &at, &found)) {
		found.place.source = place.source;
		found.place.unit = place.unit + (found.lba - entry->lba);
		overlay_put(overlay, &found);
	}
}

bool hf_core_overlay_find(const struct hf_extmap *overlay, uint64_t lba, uint64_t length,
			  struct hf_core_piece *piece)
{
	struct hf_extent found;

	if (!hf_extmap_find(overlay, lba, length, &found))
		return false;
	piece->lba = found.lba;
	piece->length = found.length;
	piece->place = found.place;
	if (found.kind == HF_EXTENT_ZERO)
		piece->source = HF_CORE_FROM_ZERO;
	else if (found.kind == HF_EXTENT_BAD)
		piece->source = HF_CORE_FROM_BAD;
	else
		piece->source = HF_CORE_FROM_LOG;
	return true;
}
