/* What a segment holds, found in memory: the unbroken run of batches from its start, and what lies
 * past the end of that run. A batch continues the run if it carries the log's name, the segment's
 * serial, the next number, its own offset and the CRC of the header before; a batch that an
 * earlier use of the slot left, or one written before a crash cut the log, never does. */
#include "cache/wlog_private.h"

#include <stdlib.h>
#include <string.h>

void hf_wlog_scan_free(struct wlog_scan *scan)
{
	free(scan->found);
	scan->found = NULL;
	scan->count = scan->capacity = 0;
}

static bool belongs(const struct wlog_scan *scan, const struct hf_wlogfmt_head *head)
{
	return memcmp(head->uuid, scan->super->uuid, sizeof head->uuid) == 0 &&
	       head->serial == scan->serial &&
	       (uint64_t)head->offset + head->header_bytes + head->payload_bytes <=
		       scan->super->segment_bytes;
}

static bool continues(const struct wlog_scan *scan, const struct hf_wlogfmt_head *head)
{
	if (!belongs(scan, head) || head->offset != scan->end ||
	    head->batch != scan->first_batch + scan->count)
		return false;
	return scan->count == 0 || head->prev_crc == scan->found[scan->count - 1].head.crc;
}

static void note(struct wlog_scan *scan, const struct hf_wlogfmt_head *head)
{
	if (head->durable_through > scan->durable_through)
		scan->durable_through = head->durable_through;
	if (head->batch > scan->last_seen)
		scan->last_seen = head->batch;
}

static void extend(struct wlog_scan *scan, const struct hf_wlogfmt_head *head,
		   const uint8_t *header)
{
	if (scan->count == scan->capacity) {
		scan->capacity = scan->capacity ? 2 * scan->capacity : 64;
		scan->found = wlog_must(realloc(scan->found, scan->capacity * sizeof *scan->found));
	}
	scan->found[scan->count].head = *head;
	scan->found[scan->count++].header = header;
	scan->end += head->header_bytes + head->payload_bytes;
	note(scan, head);
}

void hf_wlog_scan_segment(struct wlog_scan *scan, const uint8_t *bytes, uint64_t last)
{
	struct hf_wlogfmt_head head;

	while (scan->end < scan->super->segment_bytes &&
	       (last == 0 || scan->first_batch + scan->count <= last)) {
		const uint8_t *header = bytes + scan->end;

		if (hf_wlogfmt_head_decode(&head, header, scan->super->segment_bytes - scan->end) ||
		    !continues(scan, &head))
			break;
		extend(scan, &head, header);
	}
}

void hf_wlog_scan_past(struct wlog_scan *scan, const uint8_t *bytes)
{
	struct hf_wlogfmt_head head;

	for (uint32_t at = scan->end; at < scan->super->segment_bytes; at += HF_WLOG_BLOCK)
		if (hf_wlogfmt_head_decode(&head, bytes + at, scan->super->segment_bytes - at) ==
			    0 &&
		    belongs(scan, &head) && head.offset == at && head.batch >= scan->first_batch)
			note(scan, &head);
}

int hf_wlog_scan_body(struct wlog_scan *scan, const uint8_t *body, uint32_t body_bytes)
{
	struct hf_wlogfmt_head head;
	uint32_t at = 0;

	while (at < body_bytes) {
		if (hf_wlogfmt_head_decode(&head, body + at, body_bytes - at) != 0 ||
		    !continues(scan, &head))
			return HF_ECORRUPT;
		extend(scan, &head, body + at);
		at += head.used_bytes;
	}
	return 0;
}

bool hf_wlog_found_is_whole(const struct wlog_found *found, const uint8_t *payload, bool lost)
{
	struct hf_wlogfmt_record record;
	size_t at = HF_WLOGFMT_HEAD;

	while (hf_wlogfmt_record_next(&found->head, found->header, &at, &record))
		if (!hf_wlogfmt_record_verify(
			    &record, payload + (size_t)record.payload_unit * HF_UNIT, lost))
			return false;
	return true;
}

void hf_wlog_scan_cut_torn(struct wlog_scan *scan, const uint8_t *bytes)
{
	for (uint32_t i = 0; i < scan->count; i++) {
		const struct hf_wlogfmt_head *head = &scan->found[i].head;

		if (head->batch <= scan->durable_through ||
		    hf_wlog_found_is_whole(&scan->found[i],
					   bytes + head->offset + head->header_bytes, true))
			continue;
		scan->end = head->offset;
		scan->count = i;
	}
}
