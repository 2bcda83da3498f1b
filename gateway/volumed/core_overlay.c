/* The overlay of a volume: where the log holds the newest data of each range. Core's thread.
 *
 * An entry must be dropped when the store covers its record and not before, and only where no later
 * record has replaced it, so every extent has to tell which record it comes from. Data tells by its
 * place, which no other record has. Zeros and bad extents have no place: theirs is made of a tag
 * and the record's sequence, so that they are extents like the others to the map below, and those
 * of two records never become one. */
#include "gateway/volumed/core_internal.h"

#define OVERLAY_ZERO (1ull << 63)
#define OVERLAY_BAD  (1ull << 62)
#define OVERLAY_TAGS (OVERLAY_ZERO | OVERLAY_BAD)

static bool overlay_has_range(const struct hf_core_entry *entry)
{
	return entry->length > 0 && (entry->type == HF_RECORD_DATA ||
				     entry->type == HF_RECORD_ZERO || entry->type == HF_RECORD_BAD);
}

static struct hf_place overlay_place(uint64_t sequence, const struct hf_core_entry *entry)
{
	struct hf_place place = {.unit = 0};

	HF_ASSERT((sequence & OVERLAY_TAGS) == 0 && (entry->place.source & OVERLAY_TAGS) == 0);
	if (entry->type == HF_RECORD_DATA)
		return entry->place;
	place.source = sequence | (entry->type == HF_RECORD_ZERO ? OVERLAY_ZERO : OVERLAY_BAD);
	return place;
}

static void overlay_put(struct hf_extmap *overlay, uint64_t lba, uint64_t length,
			struct hf_place place)
{
	struct hf_extent extent = {
		.lba = lba, .length = length, .kind = HF_EXTENT_DATA, .place = place};

	HF_ASSERT(hf_extmap_insert(overlay, &extent) == 0);
}

void hf_core_overlay_insert(struct hf_extmap *overlay, uint64_t sequence,
			    const struct hf_core_entry *entry)
{
	if (overlay_has_range(entry))
		overlay_put(overlay, entry->lba, entry->length, overlay_place(sequence, entry));
}

/* The next part of the map in [*at, end) that comes from the record whose first unit has `place`
 * and lies at `lba`; *at moves past it. Stored extents may join the data of several records, so the
 * part is cut to the record by the caller's range and tested by its distance. */
static bool overlay_next_of(struct hf_extmap *overlay, uint64_t lba, uint64_t end,
			    struct hf_place place, uint64_t *at, struct hf_extent *found)
{
	while (*at < end && hf_extmap_find(overlay, *at, end - *at, found)) {
		*at = found->lba + found->length;
		if (found->place.source == place.source &&
		    found->place.unit == place.unit + (found->lba - lba))
			return true;
	}
	return false;
}

void hf_core_overlay_drop(struct hf_extmap *overlay, uint64_t sequence,
			  const struct hf_core_entry *entry)
{
	struct hf_place place;
	struct hf_extent found;
	uint64_t at = entry->lba;

	if (!overlay_has_range(entry))
		return;
	place = overlay_place(sequence, entry);
	while (overlay_next_of(overlay, entry->lba, entry->lba + entry->length, place, &at, &found))
		HF_ASSERT(hf_extmap_remove(overlay, found.lba, found.length) == 0);
}

void hf_core_overlay_move(struct hf_extmap *overlay, const struct hf_core_entry *entry,
			  struct hf_place place)
{
	struct hf_extent found;
	uint64_t at = entry->lba;

	if (entry->type != HF_RECORD_DATA)
		return;
	while (overlay_next_of(overlay, entry->lba, entry->lba + entry->length, entry->place, &at,
			       &found)) {
		struct hf_place to = {.source = place.source,
				      .unit = place.unit + (found.lba - entry->lba)};

		overlay_put(overlay, found.lba, found.length, to);
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
	if (found.place.source & OVERLAY_ZERO)
		piece->source = HF_CORE_FROM_ZERO;
	else if (found.place.source & OVERLAY_BAD)
		piece->source = HF_CORE_FROM_BAD;
	else
		piece->source = HF_CORE_FROM_LOG;
	return true;
}
