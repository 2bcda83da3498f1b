/* What the log still has of what the store has: a map of each volume, LBA → log, beside the
 * overlay. Reads look into the overlay, then here, then into the remote map; what is here costs no
 * fetch.
 *
 * Data comes here when a durable UPLOADED record covers it and leaves the overlay, and goes when
 * its segment is recycled. It is always what the remote map would give: a record that comes over a
 * range drops it here at once, zeros are not kept, and everything goes when the store counts what
 * was not written from here. Losing any of it costs a fetch, so a part that cannot be read is
 * dropped and read from the store (invariant 8). Recovery begins without. Core's thread. */
#include "gateway/volumed/core_internal.h"

#define RETIRE_PIECES 1024u /* in one turn */

void hf_core_clean_written(struct hf_core_volume *volume, uint64_t lba, uint64_t length)
{
	if (length > 0)
		hf_core_clean_drop(volume, lba, length);
}

void hf_core_clean_drop(struct hf_core_volume *volume, uint64_t lba, uint64_t length)
{
	if (hf_extmap_count(volume->clean) > 0)
		HF_ASSERT(hf_extmap_remove(volume->clean, lba, length) == 0);
}

void hf_core_clean_drop_all(struct hf_core_volume *volume)
{
	if (hf_extmap_count(volume->clean) == 0)
		return;
	hf_extmap_destroy(volume->clean);
	volume->clean = hf_extmap_create();
	HF_ASSERT(volume->clean != NULL);
}

bool hf_core_clean_find(const struct hf_core_volume *volume, uint64_t lba, uint64_t length,
			struct hf_core_piece *piece)
{
	return hf_core_overlay_find(volume->clean, lba, length, piece);
}

/* ---- A segment goes ----------------------------------------------------------------------------
 */

static void retire_piece(void *context, uint64_t number, uint64_t lba, struct hf_place place,
			 uint64_t length)
{
	const struct hf_core_log *log = context;
	struct hf_core_volume *volume = hf_core_volume_find(log->core, number);
	struct hf_core_entry entry = {
		.type = HF_RECORD_DATA,
		.lba = lba,
		.length = length,
		.place = {.source = hf_core_source(log, place.source), .unit = place.unit},
	};

	if (volume && length > 0 && hf_extmap_count(volume->clean) > 0)
		hf_core_overlay_drop(volume->clean, 0, &entry, NULL);
}

bool hf_core_clean_retire(struct hf_core_log *log, uint64_t serial, uint32_t *at)
{
	*at = hf_wlog_payload(log->wlog, serial, *at, RETIRE_PIECES, retire_piece, log);
	return *at == 0;
}
