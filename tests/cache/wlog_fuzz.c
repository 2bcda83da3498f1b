/* Any bytes as a superblock, table, batch header, footer or segment: decoded or refused, never a
 * crash or a read out of bounds; what is accepted is consistent. The first byte chooses the
 * decoder; its high bit asks for the checksum to be made good, so that what lies behind it is
 * reached. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "cache/wlog_private.h"

#define SEGMENT_BYTES (64u << 10)
#define HEAD_CRC_AT   12u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Exactly as long as it says, so that a sanitizer sees the first byte past it. */
static uint8_t *copy_of(const uint8_t *data, size_t size, size_t length)
{
	uint8_t *bytes = calloc(1, length);

	HF_ASSERT(bytes);
	memcpy(bytes, data, size < length ? size : length);
	return bytes;
}

static void fuzz_super(const uint8_t *data, size_t size, bool mend)
{
	uint8_t *block = copy_of(data, size, HF_WLOG_BLOCK);
	struct hf_wlogfmt_super super;

	if (mend)
		hf_put_le32(block + HF_WLOG_BLOCK - 4, hf_crc32c(0, block, HF_WLOG_BLOCK - 4));
	if (hf_wlogfmt_super_decode(&super, block) == 0)
		HF_ASSERT(super.segments_offset +
				  (uint64_t)super.segment_count * super.segment_bytes <=
			  super.disk_bytes);
	free(block);
}

static void fuzz_table(const uint8_t *data, size_t size, bool mend)
{
	struct hf_wlogfmt_super super = {.uuid = "0123456789abcde"};
	struct hf_wlogfmt_entry entries[64];
	struct hf_wlogfmt_table table;
	uint8_t *bytes;

	HF_ASSERT(hf_wlogfmt_layout(&super, 4 << 20, SEGMENT_BYTES) == 0);
	bytes = copy_of(data, size, super.table_bytes);
	if (mend)
		hf_put_le32(bytes + super.table_bytes - 4,
			    hf_crc32c(0, bytes, super.table_bytes - 4));
	if (hf_wlogfmt_table_decode(&super, &table, entries, bytes) == 0)
		for (uint32_t i = 0; i < super.segment_count; i++)
			HF_ASSERT(entries[i].serial < table.next_serial || table.next_serial == 0);
	free(bytes);
}

static void mend_head(uint8_t *bytes, size_t size)
{
	struct hf_wlogfmt_head head;

	if (size < HF_WLOGFMT_HEAD || hf_wlogfmt_head_peek(&head, bytes) != 0 ||
	    head.used_bytes > size)
		return;
	memset(bytes + HEAD_CRC_AT, 0, 4);
	hf_put_le32(bytes + HEAD_CRC_AT, hf_crc32c(0, bytes, head.used_bytes));
}

static void fuzz_head(const uint8_t *data, size_t size, bool mend)
{
	size_t length = size > HF_WLOGFMT_HEAD ? size : HF_WLOGFMT_HEAD;
	uint8_t *bytes = copy_of(data, size, length);
	struct hf_wlogfmt_record record;
	struct hf_wlogfmt_head head;
	size_t at = HF_WLOGFMT_HEAD;
	uint32_t count = 0;

	if (mend)
		mend_head(bytes, length);
	if (hf_wlogfmt_head_decode(&head, bytes, length) == 0) {
		uint8_t *payload = calloc(1, (size_t)head.payload_bytes + 1);

		HF_ASSERT(payload);
		while (hf_wlogfmt_record_next(&head, bytes, &at, &record)) {
			hf_wlogfmt_record_verify(&record,
						 payload + (size_t)record.payload_unit * HF_UNIT,
						 (size & 1) != 0);
			count++;
		}
		HF_ASSERT(count == head.record_count && at == head.used_bytes);
		free(payload);
	}
	free(bytes);
}

static void fuzz_footer(const uint8_t *data, size_t size, bool mend)
{
	uint8_t *block = copy_of(data, size, HF_WLOG_BLOCK);
	struct hf_wlogfmt_footer footer;

	if (mend)
		hf_put_le32(block + HF_WLOG_BLOCK - 4, hf_crc32c(0, block, HF_WLOG_BLOCK - 4));
	if (hf_wlogfmt_footer_decode(&footer, SEGMENT_BYTES, block) == 0)
		HF_ASSERT((uint64_t)footer.body_offset + footer.body_bytes + HF_WLOG_BLOCK <=
			  SEGMENT_BYTES);
	free(block);
}

static void fuzz_segment(const uint8_t *data, size_t size, bool mend)
{
	struct hf_wlogfmt_super super = {.uuid = "0123456789abcde"};
	uint8_t *bytes = copy_of(data, size, SEGMENT_BYTES);
	struct wlog_scan scan = {.super = &super, .serial = 3, .first_batch = 10};

	HF_ASSERT(hf_wlogfmt_layout(&super, 4 << 20, SEGMENT_BYTES) == 0);
	for (size_t at = 0; mend && at < SEGMENT_BYTES; at += HF_WLOG_BLOCK)
		mend_head(bytes + at, SEGMENT_BYTES - at);
	hf_wlog_scan_segment(&scan, bytes, 0);
	hf_wlog_scan_past(&scan, bytes);
	hf_wlog_scan_cut_torn(&scan, bytes);
	HF_ASSERT(scan.end <= SEGMENT_BYTES);
	hf_wlog_scan_free(&scan);
	scan = (struct wlog_scan){.super = &super, .serial = 3, .first_batch = 10};
	hf_wlog_scan_body(&scan, data, (uint32_t)size);
	hf_wlog_scan_free(&scan);
	free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const targets[])(const uint8_t *, size_t, bool) = {
		fuzz_super, fuzz_table, fuzz_head, fuzz_footer, fuzz_segment,
	};

	if (size < 1 || size > SEGMENT_BYTES)
		return 0;
	targets[(data[0] & 0x7f) % 5](data + 1, size - 1, data[0] & 0x80);
	return 0;
}
