/* The payload of recent batches, kept in memory for a while after it became durable: an upload soon
 * wants all of it, and reading it back would cost the disk and the processor more than everything
 * else an upload does. A circle of bytes in which the newest batch takes the place of the oldest;
 * a batch lies in it in one piece. Batches come in the order of their places, so a place is found
 * by halves. */
#include "cache/wlog_private.h"

#include <stdlib.h>
#include <string.h>

#define BATCH_BYTES 4096u /* the least a batch takes of the disk; how many are noted follows */

void hf_wlog_keep_open(struct wlog_keep *keep, uint64_t size_bytes)
{
	size_bytes -= size_bytes % HF_WLOG_BLOCK;
	if (size_bytes == 0)
		return;
	keep->bytes = wlog_must(aligned_alloc(HF_WLOG_BLOCK, size_bytes));
	keep->size_bytes = size_bytes;
	keep->capacity = (uint32_t)(size_bytes / BATCH_BYTES);
	keep->entries = wlog_must(calloc(keep->capacity, sizeof *keep->entries));
}

void hf_wlog_keep_close(struct wlog_keep *keep)
{
	free(keep->bytes);
	free(keep->entries);
	memset(keep, 0, sizeof *keep);
}

static struct wlog_kept *kept_at(const struct wlog_keep *keep, uint32_t index)
{
	return &keep->entries[(keep->first + index) % keep->capacity];
}

static void forget_oldest(struct wlog_keep *keep)
{
	keep->first = (keep->first + 1) % keep->capacity;
	keep->count--;
}

/* Room for so many bytes in one piece; what lay there is forgotten. */
static uint8_t *make_room(struct wlog_keep *keep, uint32_t bytes)
{
	uint64_t left = keep->size_bytes - keep->end % keep->size_bytes;

	if (left < bytes)
		keep->end += left;
	keep->end += bytes;
	while (keep->count > 0 && (keep->count == keep->capacity ||
				   kept_at(keep, 0)->at + keep->size_bytes < keep->end))
		forget_oldest(keep);
	return keep->bytes + (keep->end - bytes) % keep->size_bytes;
}

void hf_wlog_keep_put(struct wlog_keep *keep, const struct wlog_batch *batch)
{
	uint8_t *to;

	if (batch->payload_bytes == 0 || batch->payload_bytes > keep->size_bytes / 2 ||
	    batch->damaged)
		return;
	to = make_room(keep, batch->payload_bytes);
	memcpy(to, batch->payload, batch->payload_bytes);
	*kept_at(keep, keep->count++) = (struct wlog_kept){
		.serial = batch->spot.serial,
		.at = keep->end - batch->payload_bytes,
		.unit = (batch->spot.offset + hf_wlog_batch_header_bytes(batch)) / HF_UNIT,
		.units = batch->payload_bytes / HF_UNIT,
	};
}

static bool lies_after(const struct wlog_kept *kept, uint64_t serial, uint64_t unit)
{
	return kept->serial != serial ? kept->serial > serial : kept->unit > unit;
}

const uint8_t *hf_wlog_keep_find(const struct wlog_keep *keep, const struct hf_place *place,
				 uint64_t units)
{
	uint32_t low = 0, high = keep->count;
	const struct wlog_kept *kept;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (lies_after(kept_at(keep, middle), place->source, place->unit))
			high = middle;
		else
			low = middle + 1;
	}
	if (low == 0)
		return NULL;
	kept = kept_at(keep, low - 1);
	if (kept->serial != place->source || place->unit + units > kept->unit + kept->units)
		return NULL;
	return keep->bytes + kept->at % keep->size_bytes + (place->unit - kept->unit) * HF_UNIT;
}
