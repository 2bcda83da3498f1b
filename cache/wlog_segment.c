/* Segments of the write log: which slot of the disk holds which, the index of the payload in each,
 * and the table on disk that says so. The table lies in two places, which are written and synced
 * one after the other, both before anything relies on what it says: a crash leaves one of them
 * whole, and damage to either loses nothing. Each write has a version of its own, so that the copy
 * of the higher version is the one written last, which a process may have died before it synced;
 * the other is stable. */
#include "cache/wlog_private.h"

#include <stdlib.h>
#include <string.h>

uint64_t hf_wlog_slot_offset(const struct hf_wlog *log, uint32_t slot)
{
	return log->super.segments_offset + (uint64_t)slot * log->super.segment_bytes;
}

/* ---- Life of a segment ----------------------------------------------------------------------- */

static uint32_t live_index(const struct hf_wlog *log, uint64_t serial)
{
	uint32_t low = 0, high = log->live_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (log->live[middle]->serial < serial)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct wlog_segment *hf_wlog_segment_find(const struct hf_wlog *log, uint64_t serial)
{
	uint32_t i = live_index(log, serial);

	return i < log->live_count && log->live[i]->serial == serial ? log->live[i] : NULL;
}

struct wlog_segment *hf_wlog_segment_known(struct hf_wlog *log, uint32_t slot, uint64_t serial)
{
	struct wlog_segment *segment = wlog_must(calloc(1, sizeof *segment));

	HF_ASSERT(!log->slots[slot] && log->free_count > 0);
	segment->slot = slot;
	segment->serial = serial;
	log->slots[slot] = segment;
	log->free_count--;
	return segment;
}

/* Free slots are taken in turn, so that one on a bad part of the disk does not come back at once.
 */
struct wlog_segment *hf_wlog_segment_new(struct hf_wlog *log)
{
	uint32_t slot;

	HF_ASSERT(log->free_count > 0);
	while (log->slots[log->next_slot])
		log->next_slot = (log->next_slot + 1) % log->super.segment_count;
	slot = log->next_slot;
	log->next_slot = (slot + 1) % log->super.segment_count;
	return hf_wlog_segment_known(log, slot, log->table.next_serial++);
}

void hf_wlog_segment_commit(struct hf_wlog *log, struct wlog_segment *segment, uint64_t first)
{
	HF_ASSERT(log->live_count == 0 || log->live[log->live_count - 1]->serial < segment->serial);
	segment->first_batch = first;
	segment->open = true;
	log->live[log->live_count++] = segment;
	log->active = segment;
}

static void segment_free(struct hf_wlog *log, struct wlog_segment *segment)
{
	log->slots[segment->slot] = NULL;
	log->free_count++;
	free(segment->entries);
	free(segment->crcs);
	free(segment->body);
	free(segment);
}

void hf_wlog_segment_drop(struct hf_wlog *log, struct wlog_segment *segment)
{
	uint32_t i = live_index(log, segment->serial);

	if (i < log->live_count && log->live[i] == segment) {
		memmove(log->live + i, log->live + i + 1,
			(log->live_count - i - 1) * sizeof(struct wlog_segment *));
		log->live_count--;
	}
	if (log->active == segment)
		log->active = NULL;
	if (segment->spare)
		log->spare_count--;
	segment->spare = false;
	segment->recycled = true;
	if (segment->readers == 0)
		segment_free(log, segment);
}

void hf_wlog_segment_unpin(struct hf_wlog *log, struct wlog_segment *segment)
{
	HF_ASSERT(segment->readers > 0);
	if (--segment->readers == 0 && segment->recycled)
		segment_free(log, segment);
}

void hf_wlog_drop_old_states(struct hf_wlog *log)
{
	for (uint32_t i = log->live_count; i-- > 0;)
		if (log->live[i] != log->active && log->live[i]->other_records == 0)
			hf_wlog_segment_drop(log, log->live[i]);
}

void hf_wlog_recycle(struct hf_wlog *log, uint64_t segment_serial)
{
	struct wlog_segment *segment;

	HF_CHECK_MAGIC(log, WLOG_MAGIC);
	segment = hf_wlog_segment_find(log, segment_serial);
	if (!segment || segment == log->active)
		return;
	hf_wlog_segment_drop(log, segment);
	hf_wlog_soon(log); /* appends may wait for the space */
}

void hf_wlog_spare(struct hf_wlog *log, uint64_t segment_serial)
{
	struct wlog_segment *segment;

	HF_CHECK_MAGIC(log, WLOG_MAGIC);
	segment = hf_wlog_segment_find(log, segment_serial);
	if (!segment || segment == log->active || segment->spare)
		return;
	segment->spare = true;
	log->spare_count++;
}

uint64_t hf_wlog_spare_bytes(const struct hf_wlog *log)
{
	return (uint64_t)log->spare_count * log->super.segment_bytes;
}

bool hf_wlog_is_short(const struct hf_wlog *log)
{
	uint32_t reserve = log->config.reserve_segments;
	uint32_t want = (log->super.segment_count - reserve) / 4;

	return log->free_count < reserve + (want > 2 ? want : 2);
}

uint32_t hf_wlog_payload(const struct hf_wlog *log, uint64_t segment_serial, uint32_t from,
			 uint32_t max,
			 void (*each)(void *context, uint64_t volume, uint64_t lba,
				      struct hf_place place, uint64_t length),
			 void *context)
{
	const struct wlog_segment *segment = hf_wlog_segment_find(log, segment_serial);

	for (; segment && from < segment->entry_count && max > 0; from++, max--) {
		const struct wlog_entry *entry = &segment->entries[from];
		struct hf_place place = {.source = segment_serial, .unit = entry->unit};

		each(context, entry->volume, entry->lba, place, entry->units);
	}
	return segment && from < segment->entry_count ? from : 0;
}

/* ---- The index ------------------------------------------------------------------------------- */

static void *room_for(void *array, uint32_t count, uint32_t more, uint32_t *capacity, size_t size)
{
	if (count + more <= *capacity)
		return array;
	*capacity = *capacity ? *capacity : 64;
	while (*capacity < count + more)
		*capacity *= 2;
	return wlog_must(realloc(array, *capacity * size));
}

static void add_entry(struct wlog_segment *segment, const struct hf_wlogfmt_record *record,
		      uint32_t first_unit)
{
	struct wlog_entry *entry;

	segment->entries = room_for(segment->entries, segment->entry_count, 1,
				    &segment->entry_capacity, sizeof *segment->entries);
	segment->crcs = room_for(segment->crcs, segment->crc_count, record->crc_count,
				 &segment->crc_capacity, sizeof *segment->crcs);
	entry = &segment->entries[segment->entry_count++];
	entry->unit = first_unit + record->payload_unit;
	entry->units = (uint32_t)hf_wlogfmt_payload_units(record->type, record->length);
	entry->volume = record->volume;
	entry->lba = record->lba;
	entry->crc = segment->crc_count;
	for (uint32_t i = 0; i < record->crc_count; i++)
		segment->crcs[segment->crc_count++] = hf_get_le32(record->crcs + 4 * (size_t)i);
}

void hf_wlog_segment_add(struct wlog_segment *segment, const struct hf_wlogfmt_head *head,
			 const uint8_t *header)
{
	uint32_t first_unit = (head->offset + head->header_bytes) / HF_UNIT;
	struct hf_wlogfmt_record record;
	size_t at = HF_WLOGFMT_HEAD;

	while (hf_wlogfmt_record_next(head, header, &at, &record)) {
		if (record.crc_count > 0)
			add_entry(segment, &record, first_unit);
		if (record.type != HF_RECORD_STATE)
			segment->other_records++;
	}
	segment->body = room_for(segment->body, segment->body_bytes, head->used_bytes,
				 &segment->body_capacity, 1);
	memcpy(segment->body + segment->body_bytes, header, head->used_bytes);
	segment->body_bytes += head->used_bytes;
	segment->last_batch = head->batch;
	segment->used_bytes = head->offset + head->header_bytes + head->payload_bytes;
}

void hf_wlog_segment_cut(struct wlog_segment *segment, uint32_t offset)
{
	while (segment->entry_count > 0 &&
	       segment->entries[segment->entry_count - 1].unit >= offset / HF_UNIT) {
		segment->entry_count--;
		segment->crc_count = segment->entries[segment->entry_count].crc;
	}
}

bool hf_wlog_segment_entry(const struct wlog_segment *segment, uint64_t unit, uint32_t *index)
{
	uint32_t low = 0, high = segment->entry_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (segment->entries[middle].unit <= unit)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0)
		return false;
	*index = low - 1;
	return unit < (uint64_t)segment->entries[low - 1].unit + segment->entries[low - 1].units;
}

/* ---- The table ------------------------------------------------------------------------------- */

static void table_copy_write(struct hf_wlog *log);

static void table_end(struct hf_wlog *log, int status)
{
	void (*next)(struct hf_wlog *, int) = log->table_next;

	log->table_next = NULL;
	next(log, status);
}

static void table_failed(struct hf_wlog *log, int status)
{
	log->table_tries++;
	if ((log->opening || log->closing) && log->table_tries >= WLOG_TRIES_MAX)
		table_end(log, status);
	else
		hf_wlog_retry_later(log, log->table_tries, table_copy_write);
}

static void table_synced(struct hf_wlog *log, int status)
{
	if (status) {
		table_failed(log, status);
		return;
	}
	log->table_good = !log->table_good; /* it is the older one's turn */
	log->table_tries = 0;
	if (--log->table_copies_left > 0)
		table_copy_write(log);
	else
		table_end(log, 0);
}

static void table_written(struct hf_wlog *log, int status)
{
	if (status)
		table_failed(log, status);
	else
		hf_wlog_lane_sync(log, table_synced);
}

static void table_copy_write(struct hf_wlog *log)
{
	log->table.version++;
	hf_wlogfmt_table_encode(&log->super, &log->table, log->entries, log->table_bytes);
	log->lane_iov.iov_base = log->table_bytes;
	log->lane_iov.iov_len = log->super.table_bytes;
	hf_wlog_lane_write(log, log->super.table_offset[!log->table_good], &log->lane_iov, 1,
			   table_written);
}

static void table_fill(struct hf_wlog *log)
{
	for (uint32_t i = 0; i < log->super.segment_count; i++) {
		const struct wlog_segment *segment = log->slots[i];
		struct hf_wlogfmt_entry *entry = &log->entries[i];

		memset(entry, 0, sizeof *entry);
		if (!segment || segment->recycled)
			continue;
		entry->serial = segment->serial;
		entry->first_batch = segment->first_batch;
		entry->last_batch = segment->open ? 0 : segment->last_batch;
	}
	log->table.durable_through = log->durable_through;
}

void hf_wlog_table_write(struct hf_wlog *log, void (*next)(struct hf_wlog *log, int status))
{
	HF_ASSERT(!log->table_next);
	log->table_next = next;
	log->table_copies_left = 2;
	table_fill(log);
	table_copy_write(log);
}
