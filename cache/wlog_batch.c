/* Batches of the write log while they are in memory: buffers, gathering of appends, and the header
 * that makes them one. Descriptors are encoded, and payload is copied and checksummed, when an
 * append arrives; only the fixed part of the header waits until it is known where the batch goes,
 * and is the only part that changes when the batch is written again elsewhere. */
#include "cache/wlog_private.h"

#include <stdlib.h>
#include <string.h>

/* ---- Buffers --------------------------------------------------------------------------------- */

static struct wlog_batch *batch_new(uint32_t payload_capacity)
{
	struct wlog_batch *batch = wlog_must(calloc(1, sizeof *batch));

	batch->header_capacity = HF_WLOG_HEADER_MAX;
	batch->payload_capacity = payload_capacity;
	batch->header = wlog_must(aligned_alloc(HF_WLOG_BLOCK, batch->header_capacity));
	batch->payload = wlog_must(aligned_alloc(HF_WLOG_BLOCK, payload_capacity));
	hf_list_init(&batch->link);
	hf_list_init(&batch->appends);
	return batch;
}

static void batch_free(struct wlog_batch *batch)
{
	free(batch->header);
	free(batch->payload);
	free(batch);
}

struct wlog_batch *hf_wlog_batch_get(struct hf_wlog *log, uint32_t payload_bytes)
{
	struct wlog_batch *batch;

	if (payload_bytes > log->gather_bytes)
		batch = batch_new(hf_wlogfmt_block_up(payload_bytes));
	else if (!hf_list_empty(&log->pool)) {
		batch = hf_container_of(hf_list_pop_front(&log->pool), struct wlog_batch, link);
		log->pool_count--;
	} else
		batch = batch_new(log->gather_bytes);
	batch->ordinal = log->next_ordinal++;
	batch->reserve = batch->state = batch->durable = batch->damaged = false;
	batch->used_bytes = HF_WLOGFMT_HEAD;
	batch->payload_bytes = 0;
	batch->record_count = 0;
	batch->append_count = 0;
	memset(&batch->spot, 0, sizeof batch->spot);
	return batch;
}

void hf_wlog_batch_put(struct hf_wlog *log, struct wlog_batch *batch)
{
	HF_ASSERT(hf_list_empty(&batch->appends) && hf_list_empty(&batch->link));
	if (batch->payload_capacity != log->gather_bytes || log->pool_count == WLOG_POOL_MAX) {
		batch_free(batch);
		return;
	}
	hf_list_push_back(&log->pool, &batch->link);
	log->pool_count++;
}

uint32_t hf_wlog_batch_header_bytes(const struct wlog_batch *batch)
{
	return hf_wlogfmt_block_up(batch->used_bytes);
}

uint32_t hf_wlog_batch_total_bytes(const struct wlog_batch *batch)
{
	return hf_wlog_batch_header_bytes(batch) + hf_wlogfmt_block_up(batch->payload_bytes);
}

/* ---- Gathering ------------------------------------------------------------------------------- */

/* Bytes of payload that the caller gives for a record. */
static size_t given_bytes(const struct hf_wlog_record *record)
{
	if (record->type == HF_RECORD_DATA)
		return record->length * HF_UNIT;
	return hf_wlogfmt_has_payload(record->type) ? record->length : 0;
}

/* Control is written twice, so that one bad place on the disk does not cost the log. What is large
 * for its segment is not, since appends are bounded. */
static unsigned copies_of(const struct hf_wlog *log, const struct hf_wlog_record *record)
{
	uint64_t units = hf_wlogfmt_payload_units(record->type, record->length);

	return hf_wlogfmt_is_control(record->type) && units > 0 &&
			       units * HF_UNIT <= log->super.segment_bytes / 16
		       ? 2
		       : 1;
}

/* Adds one record, its payload copied; it fits. */
static void add_once(struct wlog_batch *batch, const struct hf_wlog_record *record,
		     const uint8_t *payload)
{
	uint64_t units = hf_wlogfmt_payload_units(record->type, record->length);
	size_t given = given_bytes(record);
	uint8_t *copy = batch->payload + batch->payload_bytes;

	if (given > 0)
		memcpy(copy, payload, given);
	memset(copy + given, 0, units * HF_UNIT - given);
	batch->used_bytes += (uint32_t)hf_wlogfmt_record_encode(
		batch->header + batch->used_bytes, record, batch->payload_bytes / HF_UNIT, copy);
	batch->payload_bytes += (uint32_t)(units * HF_UNIT);
	batch->record_count++;
	HF_ASSERT(batch->used_bytes <= batch->header_capacity &&
		  batch->payload_bytes <= batch->payload_capacity);
}

static void add(const struct hf_wlog *log, struct wlog_batch *batch,
		const struct hf_wlog_record *record, const uint8_t *payload)
{
	for (unsigned i = copies_of(log, record); i > 0; i--)
		add_once(batch, record, payload);
}

struct need {
	uint64_t payload_bytes, header_bytes;
};

static struct need need_of(const struct hf_wlog *log, const struct hf_wlog_append *append)
{
	struct need need = {0, 0};
	size_t given = 0;

	for (unsigned i = 0; i < append->record_count; i++) {
		const struct hf_wlog_record *record = &append->records[i];
		uint64_t units = hf_wlogfmt_payload_units(record->type, record->length);
		unsigned copies = copies_of(log, record);

		given += given_bytes(record);
		need.payload_bytes += copies * units * HF_UNIT;
		need.header_bytes +=
			copies * (HF_WLOGFMT_RECORD + 4ull * hf_wlogfmt_crc_count(units));
	}
	HF_ASSERT(given == append->payload_bytes);
	return need;
}

static bool takes(const struct wlog_batch *batch, const struct need *need, uint32_t bytes_max)
{
	uint64_t header_bytes = batch->used_bytes + need->header_bytes;
	uint64_t payload_bytes = batch->payload_bytes + need->payload_bytes;

	return header_bytes <= batch->header_capacity && payload_bytes <= batch->payload_capacity &&
	       hf_wlogfmt_block_up(header_bytes) + hf_wlogfmt_block_up(payload_bytes) <= bytes_max;
}

bool hf_wlog_takes(const struct hf_wlog *log, const struct hf_wlog_append *append)
{
	const struct need need = need_of(log, append);
	uint64_t header_bytes = HF_WLOGFMT_HEAD + need.header_bytes;

	return header_bytes <= HF_WLOG_HEADER_MAX && need.payload_bytes <= log->batch_max &&
	       hf_wlogfmt_block_up(header_bytes) + hf_wlogfmt_block_up(need.payload_bytes) <=
		       log->batch_max;
}

/* A closed segment may leave as much unused as the batch that did not fit, so of a free one only
 * half is counted on. */
bool hf_wlog_has_room(const struct hf_wlog *log, const struct hf_wlog_append *append)
{
	const struct need need = need_of(log, append);
	const struct wlog_segment *active = log->active;
	uint64_t bytes = hf_wlogfmt_block_up(HF_WLOGFMT_HEAD + need.header_bytes) +
			 hf_wlogfmt_block_up(need.payload_bytes);
	uint64_t body = HF_WLOGFMT_HEAD + need.header_bytes, left = 0;
	uint32_t reserve = log->config.reserve_segments;
	uint32_t free_count = log->free_count + log->spare_count;

	if (free_count < reserve || !active)
		return false;
	hf_list_for_each (link, &log->queue) {
		const struct wlog_batch *batch = hf_container_of(link, struct wlog_batch, link);

		bytes += hf_wlog_batch_total_bytes(batch);
		body += batch->used_bytes;
	}
	if (log->writing) {
		bytes += hf_wlog_batch_total_bytes(log->writing);
		body += log->writing->used_bytes;
	}
	body = hf_wlogfmt_block_up(active->body_bytes + body) + HF_WLOG_BLOCK;
	if (active->used_bytes + body < log->super.segment_bytes)
		left = log->super.segment_bytes - active->used_bytes - body;
	return bytes <= left || bytes <= (uint64_t)(free_count - reserve) * log->batch_max;
}

/* The record's descriptor was encoded at `at`. */
static void spoil(struct wlog_batch *batch, uint32_t at, const struct hf_wlog_append *append,
		  unsigned record)
{
	for (unsigned i = 0; i < append->lost_count; i++)
		if (append->lost[i].record == record)
			hf_wlogfmt_record_spoil(batch->header + at, append->lost[i].piece);
	batch->damaged |= append->lost_count > 0;
}

int hf_wlog_gather(struct hf_wlog *log, struct hf_wlog_append *append)
{
	struct need need = need_of(log, append);
	const uint8_t *payload = append->payload;
	struct wlog_batch *batch = NULL;

	if (!hf_wlog_takes(log, append))
		return HF_ETOOBIG;
	if (!hf_list_empty(&log->queue))
		batch = hf_container_of(log->queue.prev, struct wlog_batch, link);
	if (!batch || batch->state || batch->reserve != append->reserve ||
	    !takes(batch, &need, log->gather_bytes)) {
		batch = hf_wlog_batch_get(log, (uint32_t)need.payload_bytes);
		batch->reserve = append->reserve;
		HF_ASSERT(takes(batch, &need, log->batch_max));
		hf_list_push_back(&log->queue, &batch->link);
	}
	for (unsigned i = 0; i < append->record_count; i++) {
		uint32_t at = batch->used_bytes;

		/* Counted from the batch's payload until it is settled. */
		append->records[i].place.unit = batch->payload_bytes / HF_UNIT;
		add(log, batch, &append->records[i], payload);
		spoil(batch, at, append, i);
		if (given_bytes(&append->records[i]) > 0)
			payload += given_bytes(&append->records[i]);
	}
	hf_list_push_back(&batch->appends, &append->link);
	append->impl = batch;
	batch->append_count++;
	batch->durable |= append->durable;
	return 0;
}

/* ---- Batches found on disk ------------------------------------------------------------------- */

bool hf_wlog_batch_takes(const struct hf_wlog *log, const struct wlog_batch *batch,
			 uint32_t record_bytes, uint32_t payload_bytes)
{
	const struct need need = {payload_bytes, record_bytes};

	return takes(batch, &need, log->gather_bytes);
}

void hf_wlog_batch_absorb(struct wlog_batch *batch, const struct hf_wlogfmt_head *head,
			  const uint8_t *header, const uint8_t *payload)
{
	uint32_t first_unit = batch->payload_bytes / HF_UNIT;
	uint64_t units = hf_wlogfmt_records_shift(head, header, first_unit,
						  batch->header + batch->used_bytes);

	memcpy(batch->payload + batch->payload_bytes, payload, units * HF_UNIT);
	batch->used_bytes += head->used_bytes - HF_WLOGFMT_HEAD;
	batch->payload_bytes += (uint32_t)(units * HF_UNIT);
	batch->record_count += head->record_count;
	HF_ASSERT(batch->used_bytes <= batch->header_capacity &&
		  batch->payload_bytes <= batch->payload_capacity);
}

struct wlog_batch *hf_wlog_state_batch(struct hf_wlog *log)
{
	const struct hf_wlog_owner *owner = log->config.owner;
	struct hf_wlog_record record = {.type = HF_RECORD_STATE};
	struct wlog_batch *batch;

	record.length = owner->state(owner->context, log->state_bytes, log->state_capacity);
	HF_ASSERT(record.length <= log->state_capacity);
	batch = hf_wlog_batch_get(log, 2 * hf_wlogfmt_block_up(record.length));
	batch->reserve = batch->state = true;
	add(log, batch, &record, log->state_bytes);
	return batch;
}

/* ---- Where it lies --------------------------------------------------------------------------- */

void hf_wlog_batch_seal(struct hf_wlog *log, struct wlog_batch *batch, const struct wlog_spot *spot,
			struct hf_wlogfmt_head *head)
{
	memset(head, 0, sizeof *head);
	memcpy(head->uuid, log->super.uuid, sizeof head->uuid);
	head->serial = spot->serial;
	head->batch = spot->batch;
	head->durable_through = log->durable_through;
	head->offset = spot->offset;
	head->header_bytes = hf_wlog_batch_header_bytes(batch);
	head->used_bytes = batch->used_bytes;
	head->payload_bytes = hf_wlogfmt_block_up(batch->payload_bytes);
	head->record_count = batch->record_count;
	head->prev_crc = log->prev_crc;
	hf_wlogfmt_head_encode(head, batch->header);
}

unsigned hf_wlog_batch_pad(struct wlog_batch *batch)
{
	uint32_t header_bytes = hf_wlog_batch_header_bytes(batch);
	uint32_t payload_bytes = hf_wlogfmt_block_up(batch->payload_bytes);

	memset(batch->header + batch->used_bytes, 0, header_bytes - batch->used_bytes);
	memset(batch->payload + batch->payload_bytes, 0, payload_bytes - batch->payload_bytes);
	batch->iov[0].iov_base = batch->header;
	batch->iov[0].iov_len = header_bytes;
	batch->iov[1].iov_base = batch->payload;
	batch->iov[1].iov_len = payload_bytes;
	return payload_bytes > 0 ? 2 : 1;
}

void hf_wlog_record_of(const struct hf_wlogfmt_head *head, const struct hf_wlogfmt_record *from,
		       struct hf_wlog_record *record)
{
	memset(record, 0, sizeof *record);
	record->type = from->type;
	record->volume = from->volume;
	record->sequence = from->sequence;
	record->lba = from->lba;
	record->length = from->length;
	record->request = from->request;
	record->result = from->result;
	record->batch = head->batch;
	record->place.source = head->serial;
	record->place.unit = (head->offset + head->header_bytes) / HF_UNIT + from->payload_unit;
}

static uint64_t payload_unit(const struct wlog_batch *batch, const struct wlog_spot *spot)
{
	return spot->serial ? (spot->offset + hf_wlog_batch_header_bytes(batch)) / HF_UNIT : 0;
}

void hf_wlog_batch_settle(struct wlog_batch *batch, const struct wlog_spot *spot)
{
	uint64_t from = payload_unit(batch, &batch->spot), to = payload_unit(batch, spot);

	hf_list_for_each (link, &batch->appends) {
		struct hf_wlog_append *append = hf_container_of(link, struct hf_wlog_append, link);

		for (unsigned i = 0; i < append->record_count; i++) {
			struct hf_wlog_record *record = &append->records[i];

			record->batch = spot->batch;
			record->place.source = spot->serial;
			record->place.unit = record->place.unit - from + to;
		}
	}
	batch->spot = *spot;
}
