/* See wlog_format.h. Offsets of fields stand in the enums below, once. */
#include "cache/wlog_format.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "base/crc32c.h"

#include <string.h>

#define SUPER_MAGIC  0x31505553574c4648ull /* "HFLWSUP1" */
#define TABLE_MAGIC  0x31424154574c4648ull /* "HFLWTAB1" */
#define BATCH_MAGIC  0x31544142574c4648ull /* "HFLWBAT1" */
#define FOOTER_MAGIC 0x31544f46574c4648ull /* "HFLWFOT1" */

enum super_field {
	SUPER_MAGIC_AT = 0,
	SUPER_FORMAT = 8,
	SUPER_SEGMENT_BYTES = 12,
	SUPER_UUID = 16,
	SUPER_DISK_BYTES = 32,
	SUPER_SEGMENT_COUNT = 40,
	SUPER_CRC = HF_WLOG_BLOCK - 4,
};

enum table_field {
	TABLE_MAGIC_AT = 0,
	TABLE_FORMAT = 8,
	TABLE_SEGMENT_COUNT = 12,
	TABLE_UUID = 16,
	TABLE_VERSION = 32,
	TABLE_NEXT_SERIAL = 40,
	TABLE_DURABLE = 48,
};

enum head_field {
	HEAD_MAGIC_AT = 0,
	HEAD_FORMAT = 8,
	HEAD_CRC = 12,
	HEAD_UUID = 16,
	HEAD_SERIAL = 32,
	HEAD_BATCH = 40,
	HEAD_DURABLE = 48,
	HEAD_OFFSET = 56,
	HEAD_HEADER_BYTES = 60,
	HEAD_USED_BYTES = 64,
	HEAD_PAYLOAD_BYTES = 68,
	HEAD_RECORD_COUNT = 72,
	HEAD_PREV_CRC = 76,
	HEAD_RESERVED = 80,
};

enum record_field {
	RECORD_TYPE = 0,
	RECORD_RESULT = 4,
	RECORD_VOLUME = 8,
	RECORD_SEQUENCE = 16,
	RECORD_LBA = 24,
	RECORD_LENGTH = 32,
	RECORD_RING = 40,
	RECORD_REQUEST = 56,
	RECORD_PAYLOAD_UNIT = 64,
	RECORD_CRC_COUNT = 68,
};

enum footer_field {
	FOOTER_MAGIC_AT = 0,
	FOOTER_FORMAT = 8,
	FOOTER_BATCH_COUNT = 12,
	FOOTER_UUID = 16,
	FOOTER_SERIAL = 32,
	FOOTER_FIRST = 40,
	FOOTER_LAST = 48,
	FOOTER_DURABLE = 56,
	FOOTER_BODY_OFFSET = 64,
	FOOTER_BODY_BYTES = 68,
	FOOTER_BODY_CRC = 72,
	FOOTER_CRC = HF_WLOG_BLOCK - 4,
};

HF_STATIC_ASSERT(RECORD_CRC_COUNT + 4 == HF_WLOGFMT_RECORD, "descriptor layout");
HF_STATIC_ASSERT(HEAD_RESERVED <= HF_WLOGFMT_HEAD, "header layout");
HF_STATIC_ASSERT(TABLE_DURABLE + 16 == HF_WLOGFMT_TABLE_HEAD, "table layout");

/* ---- Superblock ------------------------------------------------------------------------------ */

int hf_wlogfmt_layout(struct hf_wlogfmt_super *super, uint64_t disk_bytes, uint32_t segment_bytes)
{
	uint64_t count = disk_bytes / (segment_bytes ? segment_bytes : 1), table_bytes;

	if (segment_bytes < HF_WLOG_SEGMENT_MIN || segment_bytes > HF_WLOG_SEGMENT_MAX ||
	    (segment_bytes & (segment_bytes - 1)) != 0)
		return HF_EINVAL;
	if (count > HF_WLOG_SEGMENTS_MAX)
		return HF_ETOOBIG;
	table_bytes =
		hf_wlogfmt_block_up(HF_WLOGFMT_TABLE_HEAD + count * HF_WLOGFMT_TABLE_ENTRY + 4);
	super->segments_offset = 2 * HF_WLOG_BLOCK + 2 * table_bytes;
	if (disk_bytes < super->segments_offset)
		return HF_ENOSPC;
	count = (disk_bytes - super->segments_offset) / segment_bytes;
	if (count < HF_WLOG_SEGMENTS_MIN)
		return HF_ENOSPC;
	super->segment_bytes = segment_bytes;
	super->segment_count = (uint32_t)count;
	super->table_bytes = (uint32_t)table_bytes;
	super->disk_bytes = disk_bytes;
	super->table_offset[0] = 2 * HF_WLOG_BLOCK;
	super->table_offset[1] = 2 * HF_WLOG_BLOCK + table_bytes;
	return 0;
}

void hf_wlogfmt_super_encode(const struct hf_wlogfmt_super *super, void *block)
{
	uint8_t *p = block;

	memset(p, 0, HF_WLOG_BLOCK);
	hf_put_le64(p + SUPER_MAGIC_AT, SUPER_MAGIC);
	hf_put_le32(p + SUPER_FORMAT, HF_WLOG_FORMAT_VERSION);
	hf_put_le32(p + SUPER_SEGMENT_BYTES, super->segment_bytes);
	memcpy(p + SUPER_UUID, super->uuid, 16);
	hf_put_le64(p + SUPER_DISK_BYTES, super->disk_bytes);
	hf_put_le32(p + SUPER_SEGMENT_COUNT, super->segment_count);
	hf_put_le32(p + SUPER_CRC, hf_crc32c(0, p, SUPER_CRC));
}

int hf_wlogfmt_super_decode(struct hf_wlogfmt_super *super, const void *block)
{
	const uint8_t *p = block;

	if (hf_get_le64(p + SUPER_MAGIC_AT) != SUPER_MAGIC)
		return HF_ENOENT;
	if (hf_get_le32(p + SUPER_CRC) != hf_crc32c(0, p, SUPER_CRC))
		return HF_ECORRUPT;
	if (hf_get_le32(p + SUPER_FORMAT) != HF_WLOG_FORMAT_VERSION)
		return HF_EUNSUPPORTED;
	if (hf_wlogfmt_layout(super, hf_get_le64(p + SUPER_DISK_BYTES),
			      hf_get_le32(p + SUPER_SEGMENT_BYTES)) != 0)
		return HF_ECORRUPT;
	if (super->segment_count != hf_get_le32(p + SUPER_SEGMENT_COUNT))
		return HF_ECORRUPT;
	memcpy(super->uuid, p + SUPER_UUID, 16);
	return 0;
}

/* ---- Segment table --------------------------------------------------------------------------- */

void hf_wlogfmt_table_encode(const struct hf_wlogfmt_super *super,
			     const struct hf_wlogfmt_table *table,
			     const struct hf_wlogfmt_entry *entries, void *bytes)
{
	uint8_t *p = bytes, *entry = p + HF_WLOGFMT_TABLE_HEAD;
	uint32_t crc_at = super->table_bytes - 4;

	memset(p, 0, super->table_bytes);
	hf_put_le64(p + TABLE_MAGIC_AT, TABLE_MAGIC);
	hf_put_le32(p + TABLE_FORMAT, HF_WLOG_FORMAT_VERSION);
	hf_put_le32(p + TABLE_SEGMENT_COUNT, super->segment_count);
	memcpy(p + TABLE_UUID, super->uuid, 16);
	hf_put_le64(p + TABLE_VERSION, table->version);
	hf_put_le64(p + TABLE_NEXT_SERIAL, table->next_serial);
	hf_put_le64(p + TABLE_DURABLE, table->durable_through);
	for (uint32_t i = 0; i < super->segment_count; i++, entry += HF_WLOGFMT_TABLE_ENTRY) {
		hf_put_le64(entry, entries[i].serial);
		hf_put_le64(entry + 8, entries[i].first_batch);
		hf_put_le64(entry + 16, entries[i].last_batch);
	}
	hf_put_le32(p + crc_at, hf_crc32c(0, p, crc_at));
}

static bool entry_is_sane(const struct hf_wlogfmt_table *table,
			  const struct hf_wlogfmt_entry *entry)
{
	if (entry->serial == 0)
		return entry->first_batch == 0 && entry->last_batch == 0;
	if (entry->serial >= table->next_serial)
		return false;
	return entry->last_batch == 0 ||
	       (entry->first_batch != 0 && entry->first_batch <= entry->last_batch &&
		entry->last_batch <= table->durable_through);
}

int hf_wlogfmt_table_decode(const struct hf_wlogfmt_super *super, struct hf_wlogfmt_table *table,
			    struct hf_wlogfmt_entry *entries, const void *bytes)
{
	const uint8_t *p = bytes, *entry = p + HF_WLOGFMT_TABLE_HEAD;
	uint32_t crc_at = super->table_bytes - 4;

	if (hf_get_le64(p + TABLE_MAGIC_AT) != TABLE_MAGIC ||
	    hf_get_le32(p + crc_at) != hf_crc32c(0, p, crc_at))
		return HF_ECORRUPT;
	if (hf_get_le32(p + TABLE_FORMAT) != HF_WLOG_FORMAT_VERSION)
		return HF_EUNSUPPORTED;
	if (hf_get_le32(p + TABLE_SEGMENT_COUNT) != super->segment_count ||
	    memcmp(p + TABLE_UUID, super->uuid, 16) != 0)
		return HF_ECORRUPT;
	table->version = hf_get_le64(p + TABLE_VERSION);
	table->next_serial = hf_get_le64(p + TABLE_NEXT_SERIAL);
	table->durable_through = hf_get_le64(p + TABLE_DURABLE);
	for (uint32_t i = 0; i < super->segment_count; i++, entry += HF_WLOGFMT_TABLE_ENTRY) {
		entries[i].serial = hf_get_le64(entry);
		entries[i].first_batch = hf_get_le64(entry + 8);
		entries[i].last_batch = hf_get_le64(entry + 16);
		if (!entry_is_sane(table, &entries[i]))
			return HF_ECORRUPT;
	}
	return 0;
}

/* ---- Records --------------------------------------------------------------------------------- */

bool hf_wlogfmt_has_payload(enum hf_record_type type)
{
	return type == HF_RECORD_DATA || type == HF_RECORD_STATE || type == HF_RECORD_CONTROL;
}

uint64_t hf_wlogfmt_payload_units(enum hf_record_type type, uint64_t length)
{
	if (type == HF_RECORD_DATA)
		return length;
	if (type == HF_RECORD_STATE || type == HF_RECORD_CONTROL)
		return length / HF_UNIT + (length % HF_UNIT != 0);
	return 0;
}

/* CRC of the piece that starts `unit` units into a record's payload of `units`. */
static uint32_t piece_crc(uint64_t volume, uint64_t lba, const uint8_t *payload, uint64_t unit,
			  uint64_t units)
{
	uint64_t length = units - unit < HF_WLOG_PIECE_UNITS ? units - unit : HF_WLOG_PIECE_UNITS;

	return hf_crc32c_block(volume, lba + unit, payload + unit * HF_UNIT, length * HF_UNIT);
}

size_t hf_wlogfmt_record_encode(void *bytes, const struct hf_wlog_record *record,
				uint32_t payload_unit, const void *payload)
{
	uint64_t units = hf_wlogfmt_payload_units(record->type, record->length);
	uint32_t crc_count = hf_wlogfmt_crc_count(units);
	uint8_t *p = bytes;

	hf_put_le32(p + RECORD_TYPE, record->type);
	hf_put_le32(p + RECORD_RESULT, (uint32_t)record->result);
	hf_put_le64(p + RECORD_VOLUME, record->volume);
	hf_put_le64(p + RECORD_SEQUENCE, record->sequence);
	hf_put_le64(p + RECORD_LBA, record->lba);
	hf_put_le64(p + RECORD_LENGTH, record->length);
	memcpy(p + RECORD_RING, record->request.ring, 16);
	hf_put_le64(p + RECORD_REQUEST, record->request.id);
	hf_put_le32(p + RECORD_PAYLOAD_UNIT, units > 0 ? payload_unit : 0);
	hf_put_le32(p + RECORD_CRC_COUNT, crc_count);
	for (uint32_t i = 0; i < crc_count; i++)
		hf_put_le32(p + HF_WLOGFMT_RECORD + 4 * i,
			    piece_crc(record->volume, record->lba, payload,
				      (uint64_t)i * HF_WLOG_PIECE_UNITS, units));
	return HF_WLOGFMT_RECORD + 4 * (size_t)crc_count;
}

void hf_wlogfmt_record_spoil(void *bytes, uint32_t piece)
{
	uint8_t *crc = (uint8_t *)bytes + HF_WLOGFMT_RECORD + 4 * (size_t)piece;

	HF_ASSERT(piece < hf_get_le32((uint8_t *)bytes + RECORD_CRC_COUNT));
	hf_put_le32(crc, ~hf_get_le32(crc));
}

bool hf_wlogfmt_record_next(const struct hf_wlogfmt_head *head, const void *bytes, size_t *at,
			    struct hf_wlogfmt_record *record)
{
	const uint8_t *p = (const uint8_t *)bytes + *at;

	if (*at >= head->used_bytes)
		return false;
	record->type = (enum hf_record_type)hf_get_le32(p + RECORD_TYPE);
	record->result = (int32_t)hf_get_le32(p + RECORD_RESULT);
	record->volume = hf_get_le64(p + RECORD_VOLUME);
	record->sequence = hf_get_le64(p + RECORD_SEQUENCE);
	record->lba = hf_get_le64(p + RECORD_LBA);
	record->length = hf_get_le64(p + RECORD_LENGTH);
	memcpy(record->request.ring, p + RECORD_RING, 16);
	record->request.id = hf_get_le64(p + RECORD_REQUEST);
	record->payload_unit = hf_get_le32(p + RECORD_PAYLOAD_UNIT);
	record->crc_count = hf_get_le32(p + RECORD_CRC_COUNT);
	record->crcs = p + HF_WLOGFMT_RECORD;
	*at += HF_WLOGFMT_RECORD + 4 * (size_t)record->crc_count;
	return true;
}

uint64_t hf_wlogfmt_records_shift(const struct hf_wlogfmt_head *head, const void *header,
				  uint32_t first_unit, void *bytes)
{
	struct hf_wlogfmt_record record;
	size_t at = HF_WLOGFMT_HEAD, from = at;
	uint64_t units = 0;

	memcpy(bytes, (const uint8_t *)header + HF_WLOGFMT_HEAD,
	       head->used_bytes - HF_WLOGFMT_HEAD);
	for (; hf_wlogfmt_record_next(head, header, &at, &record); from = at) {
		uint8_t *p = (uint8_t *)bytes + from - HF_WLOGFMT_HEAD;

		if (record.crc_count > 0)
			hf_put_le32(p + RECORD_PAYLOAD_UNIT, record.payload_unit + first_unit);
		units += hf_wlogfmt_payload_units(record.type, record.length);
	}
	return units;
}

bool hf_wlogfmt_record_is_copy(const struct hf_wlogfmt_record *record,
			       const struct hf_wlogfmt_record *of)
{
	return hf_wlogfmt_is_control(of->type) && record->type == of->type &&
	       record->volume == of->volume && record->sequence == of->sequence &&
	       record->lba == of->lba && record->length == of->length &&
	       record->crc_count == of->crc_count &&
	       memcmp(record->crcs, of->crcs, 4 * (size_t)of->crc_count) == 0;
}

bool hf_wlogfmt_record_verify(const struct hf_wlogfmt_record *record, const void *payload,
			      bool lost)
{
	uint64_t units = hf_wlogfmt_payload_units(record->type, record->length);

	for (uint32_t i = 0; i < record->crc_count; i++) {
		uint32_t says = hf_get_le32(record->crcs + 4 * (size_t)i);
		uint32_t is = piece_crc(record->volume, record->lba, payload,
					(uint64_t)i * HF_WLOG_PIECE_UNITS, units);

		if (is != says && !(lost && is == ~says))
			return false;
	}
	return true;
}

/* ---- Batch headers --------------------------------------------------------------------------- */

/* The CRC covers the used bytes with its own field as zero. */
static uint32_t head_crc(const uint8_t *p, size_t used_bytes)
{
	static const uint8_t zero[4];
	uint32_t crc = hf_crc32c(0, p, HEAD_CRC);

	crc = hf_crc32c(crc, zero, sizeof zero);
	return hf_crc32c(crc, p + HEAD_CRC + 4, used_bytes - HEAD_CRC - 4);
}

void hf_wlogfmt_head_encode(struct hf_wlogfmt_head *head, void *bytes)
{
	uint8_t *p = bytes;

	HF_ASSERT(head->used_bytes >= HF_WLOGFMT_HEAD && head->used_bytes <= head->header_bytes);
	memset(p, 0, HF_WLOGFMT_HEAD);
	hf_put_le64(p + HEAD_MAGIC_AT, BATCH_MAGIC);
	hf_put_le32(p + HEAD_FORMAT, HF_WLOG_FORMAT_VERSION);
	memcpy(p + HEAD_UUID, head->uuid, 16);
	hf_put_le64(p + HEAD_SERIAL, head->serial);
	hf_put_le64(p + HEAD_BATCH, head->batch);
	hf_put_le64(p + HEAD_DURABLE, head->durable_through);
	hf_put_le32(p + HEAD_OFFSET, head->offset);
	hf_put_le32(p + HEAD_HEADER_BYTES, head->header_bytes);
	hf_put_le32(p + HEAD_USED_BYTES, head->used_bytes);
	hf_put_le32(p + HEAD_PAYLOAD_BYTES, head->payload_bytes);
	hf_put_le32(p + HEAD_RECORD_COUNT, head->record_count);
	hf_put_le32(p + HEAD_PREV_CRC, head->prev_crc);
	head->crc = head_crc(p, head->used_bytes);
	hf_put_le32(p + HEAD_CRC, head->crc);
}

int hf_wlogfmt_head_peek(struct hf_wlogfmt_head *head, const void *block)
{
	const uint8_t *p = block;

	if (hf_get_le64(p + HEAD_MAGIC_AT) != BATCH_MAGIC)
		return HF_ENOENT;
	if (hf_get_le32(p + HEAD_FORMAT) != HF_WLOG_FORMAT_VERSION)
		return HF_EUNSUPPORTED;
	memcpy(head->uuid, p + HEAD_UUID, 16);
	head->serial = hf_get_le64(p + HEAD_SERIAL);
	head->batch = hf_get_le64(p + HEAD_BATCH);
	head->durable_through = hf_get_le64(p + HEAD_DURABLE);
	head->offset = hf_get_le32(p + HEAD_OFFSET);
	head->header_bytes = hf_get_le32(p + HEAD_HEADER_BYTES);
	head->used_bytes = hf_get_le32(p + HEAD_USED_BYTES);
	head->payload_bytes = hf_get_le32(p + HEAD_PAYLOAD_BYTES);
	head->record_count = hf_get_le32(p + HEAD_RECORD_COUNT);
	head->prev_crc = hf_get_le32(p + HEAD_PREV_CRC);
	head->crc = hf_get_le32(p + HEAD_CRC);
	if (head->header_bytes != hf_wlogfmt_block_up(head->used_bytes) ||
	    head->used_bytes < HF_WLOGFMT_HEAD || head->used_bytes > HF_WLOG_HEADER_MAX ||
	    head->payload_bytes % HF_WLOG_BLOCK != 0 || head->payload_bytes > HF_WLOG_SEGMENT_MAX ||
	    head->offset % HF_WLOG_BLOCK != 0 || head->offset >= HF_WLOG_SEGMENT_MAX ||
	    head->batch == 0 || head->durable_through >= head->batch)
		return HF_ECORRUPT;
	return 0;
}

static bool record_is_sane(const struct hf_wlogfmt_record *record, uint64_t payload_unit)
{
	uint64_t units = hf_wlogfmt_payload_units(record->type, record->length);

	if (record->type < HF_RECORD_DATA || record->type > HF_RECORD_CONTROL)
		return false;
	if (units > HF_WLOG_SEGMENT_MAX / HF_UNIT ||
	    record->crc_count != hf_wlogfmt_crc_count(units) ||
	    record->payload_unit != (units > 0 ? payload_unit : 0))
		return false;
	return record->length <= UINT64_MAX - record->lba;
}

/* Each descriptor lies within the used bytes, payloads follow each other and fit. */
static int records_decode(const struct hf_wlogfmt_head *head, const uint8_t *p)
{
	size_t at = HF_WLOGFMT_HEAD;
	uint64_t payload_unit = 0;
	uint32_t count = 0;

	while (at < head->used_bytes) {
		struct hf_wlogfmt_record record;

		if (head->used_bytes - at < HF_WLOGFMT_RECORD ||
		    hf_get_le32(p + at + RECORD_CRC_COUNT) >
			    (head->used_bytes - at - HF_WLOGFMT_RECORD) / 4)
			return HF_ECORRUPT;
		hf_wlogfmt_record_next(head, p, &at, &record);
		if (!record_is_sane(&record, payload_unit))
			return HF_ECORRUPT;
		payload_unit += hf_wlogfmt_payload_units(record.type, record.length);
		count++;
	}
	if (count != head->record_count || payload_unit > HF_WLOG_SEGMENT_MAX / HF_UNIT ||
	    hf_wlogfmt_block_up(payload_unit * HF_UNIT) != head->payload_bytes)
		return HF_ECORRUPT;
	return 0;
}

int hf_wlogfmt_head_decode(struct hf_wlogfmt_head *head, const void *bytes, size_t size)
{
	int err;

	if (size < HF_WLOGFMT_HEAD)
		return HF_ECORRUPT;
	err = hf_wlogfmt_head_peek(head, bytes);
	if (err)
		return err;
	if (head->used_bytes > size || head->crc != head_crc(bytes, head->used_bytes))
		return HF_ECORRUPT;
	return records_decode(head, bytes);
}

/* ---- Footers --------------------------------------------------------------------------------- */

void hf_wlogfmt_footer_encode(const struct hf_wlogfmt_footer *footer, void *block)
{
	uint8_t *p = block;

	memset(p, 0, HF_WLOG_BLOCK);
	hf_put_le64(p + FOOTER_MAGIC_AT, FOOTER_MAGIC);
	hf_put_le32(p + FOOTER_FORMAT, HF_WLOG_FORMAT_VERSION);
	hf_put_le32(p + FOOTER_BATCH_COUNT, footer->batch_count);
	memcpy(p + FOOTER_UUID, footer->uuid, 16);
	hf_put_le64(p + FOOTER_SERIAL, footer->serial);
	hf_put_le64(p + FOOTER_FIRST, footer->first_batch);
	hf_put_le64(p + FOOTER_LAST, footer->last_batch);
	hf_put_le64(p + FOOTER_DURABLE, footer->durable_through);
	hf_put_le32(p + FOOTER_BODY_OFFSET, footer->body_offset);
	hf_put_le32(p + FOOTER_BODY_BYTES, footer->body_bytes);
	hf_put_le32(p + FOOTER_BODY_CRC, footer->body_crc);
	hf_put_le32(p + FOOTER_CRC, hf_crc32c(0, p, FOOTER_CRC));
}

int hf_wlogfmt_footer_decode(struct hf_wlogfmt_footer *footer, uint32_t segment_bytes,
			     const void *block)
{
	const uint8_t *p = block;
	uint32_t body_end = segment_bytes - HF_WLOG_BLOCK;

	if (hf_get_le64(p + FOOTER_MAGIC_AT) != FOOTER_MAGIC)
		return HF_ENOENT;
	if (hf_get_le32(p + FOOTER_CRC) != hf_crc32c(0, p, FOOTER_CRC))
		return HF_ECORRUPT;
	if (hf_get_le32(p + FOOTER_FORMAT) != HF_WLOG_FORMAT_VERSION)
		return HF_EUNSUPPORTED;
	footer->batch_count = hf_get_le32(p + FOOTER_BATCH_COUNT);
	memcpy(footer->uuid, p + FOOTER_UUID, 16);
	footer->serial = hf_get_le64(p + FOOTER_SERIAL);
	footer->first_batch = hf_get_le64(p + FOOTER_FIRST);
	footer->last_batch = hf_get_le64(p + FOOTER_LAST);
	footer->durable_through = hf_get_le64(p + FOOTER_DURABLE);
	footer->body_offset = hf_get_le32(p + FOOTER_BODY_OFFSET);
	footer->body_bytes = hf_get_le32(p + FOOTER_BODY_BYTES);
	footer->body_crc = hf_get_le32(p + FOOTER_BODY_CRC);
	if (footer->body_offset % HF_WLOG_BLOCK != 0 || footer->body_offset > body_end ||
	    footer->body_bytes > body_end - footer->body_offset ||
	    footer->first_batch > footer->last_batch ||
	    footer->last_batch - footer->first_batch + 1 != footer->batch_count)
		return HF_ECORRUPT;
	return 0;
}
