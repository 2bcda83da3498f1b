/* Every byte of the write log: encoding and decoding of the superblock, the segment table, batch
 * headers with their record descriptors, and footers. Bytes in, structs out: no I/O, no state, any
 * thread. Decoders take anything (they are fuzzed) and accept only what an encoder could have
 * written. docs/format/write-log.md has the same in words. */
#ifndef HF_CACHE_WLOG_FORMAT_H
#define HF_CACHE_WLOG_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cache/wlog.h"

#define HF_WLOG_FORMAT_VERSION 1u
#define HF_WLOG_BLOCK          4096u       /* bytes; batches start and end at multiples of it */
#define HF_WLOG_HEADER_MAX     (64u << 10) /* bytes of a batch's header */
#define HF_WLOG_PIECE_UNITS    8u          /* payload units that one CRC covers */

#define HF_WLOG_SEGMENT_MIN  (64u << 10) /* bytes */
#define HF_WLOG_SEGMENT_MAX  (64u << 20)
#define HF_WLOG_SEGMENTS_MIN 6u
#define HF_WLOG_SEGMENTS_MAX (1u << 20)

/* ---- Superblock: block 0, and a copy in block 1 -----------------------------------------------
 */

struct hf_wlogfmt_super {
	uint8_t uuid[16];
	uint32_t segment_bytes;
	uint32_t segment_count;
	uint32_t table_bytes; /* of one copy, multiple of a block */
	uint64_t disk_bytes;  /* when it was formatted */
	uint64_t table_offset[2];
	uint64_t segments_offset;
};

/* Lays out a disk; 0, HF_EINVAL (segment size), HF_ENOSPC (too small), HF_ETOOBIG. */
int hf_wlogfmt_layout(struct hf_wlogfmt_super *super, uint64_t disk_bytes, uint32_t segment_bytes);
void hf_wlogfmt_super_encode(const struct hf_wlogfmt_super *super, void *block);
/* HF_ENOENT: no log here; HF_EUNSUPPORTED: newer format; HF_ECORRUPT. */
int hf_wlogfmt_super_decode(struct hf_wlogfmt_super *super, const void *block);

/* ---- Segment table ----------------------------------------------------------------------------
 */

struct hf_wlogfmt_entry {
	uint64_t serial;      /* 0: free */
	uint64_t first_batch; /* 0: reserved for a rewriting that has not been committed: free */
	uint64_t last_batch;  /* 0: open, the newest segment */
};

struct hf_wlogfmt_table {
	uint64_t version;
	uint64_t next_serial;     /* above every serial ever given */
	uint64_t durable_through; /* when it was written */
};

#define HF_WLOGFMT_TABLE_HEAD  64u
#define HF_WLOGFMT_TABLE_ENTRY 24u

/* `bytes` holds super->table_bytes, `entries` super->segment_count. */
void hf_wlogfmt_table_encode(const struct hf_wlogfmt_super *super,
			     const struct hf_wlogfmt_table *table,
			     const struct hf_wlogfmt_entry *entries, void *bytes);
int hf_wlogfmt_table_decode(const struct hf_wlogfmt_super *super, struct hf_wlogfmt_table *table,
			    struct hf_wlogfmt_entry *entries, const void *bytes);

/* ---- Batch headers ----------------------------------------------------------------------------
 */

#define HF_WLOGFMT_HEAD   128u /* bytes before the first descriptor */
#define HF_WLOGFMT_RECORD 72u  /* bytes of a descriptor before its CRCs */

struct hf_wlogfmt_head {
	uint8_t uuid[16];
	uint64_t serial;          /* of the segment */
	uint64_t batch;           /* number, from 1 */
	uint64_t durable_through; /* as far as the writer knew; below `batch` */
	uint32_t offset;          /* bytes, of the batch in its segment */
	uint32_t header_bytes;    /* multiple of a block */
	uint32_t used_bytes;      /* of the header, covered by its CRC */
	uint32_t payload_bytes;   /* multiple of a block */
	uint32_t record_count;
	uint32_t prev_crc; /* of the batch before, 0 for the log's first */
	uint32_t crc;      /* out, or computed */
};

/* A record as the header has it. `crcs` points into the header (unaligned). */
struct hf_wlogfmt_record {
	enum hf_record_type type;
	uint64_t volume, sequence, lba, length;
	struct hf_request_id request;
	int32_t result;
	uint32_t payload_unit; /* from the start of the batch's payload */
	uint32_t crc_count;
	const uint8_t *crcs;
};

bool hf_wlogfmt_has_payload(enum hf_record_type type);
/* STATE and CONTROL: opaque, the owner's. */
static inline bool hf_wlogfmt_is_control(enum hf_record_type type)
{
	return type == HF_RECORD_STATE || type == HF_RECORD_CONTROL;
}
/* Units of payload in the log: DATA's length, STATE's and CONTROL's bytes rounded up; else 0. */
uint64_t hf_wlogfmt_payload_units(enum hf_record_type type, uint64_t length);
static inline uint32_t hf_wlogfmt_crc_count(uint64_t payload_units)
{
	return (uint32_t)((payload_units + HF_WLOG_PIECE_UNITS - 1) / HF_WLOG_PIECE_UNITS);
}
static inline uint32_t hf_wlogfmt_block_up(uint64_t bytes)
{
	return (uint32_t)((bytes + HF_WLOG_BLOCK - 1) / HF_WLOG_BLOCK * HF_WLOG_BLOCK);
}

/* Writes the descriptor and computes the CRCs over `payload` (its units, padded with zeros). Gives
 * the bytes written: HF_WLOGFMT_RECORD + 4 * CRCs. */
size_t hf_wlogfmt_record_encode(void *bytes, const struct hf_wlog_record *record,
				uint32_t payload_unit, const void *payload);
/* Marks a piece of an encoded descriptor as lost: its CRC becomes the complement, which no reader
 * takes for its payload's. */
void hf_wlogfmt_record_spoil(void *bytes, uint32_t piece);
/* Fills in the fixed part of a header whose descriptors are there, and computes head->crc. */
void hf_wlogfmt_head_encode(struct hf_wlogfmt_head *head, void *bytes);
/* Looks only at the fixed part: 0 if it could be a header and how long it says it is. */
int hf_wlogfmt_head_peek(struct hf_wlogfmt_head *head, const void *block);
/* Everything: fixed part, CRC, each descriptor. `size` bytes are there; at least used_bytes. */
int hf_wlogfmt_head_decode(struct hf_wlogfmt_head *head, const void *bytes, size_t size);
/* The descriptor at *at (start with HF_WLOGFMT_HEAD) of a decoded header; moves *at on; false at
 * the end. */
bool hf_wlogfmt_record_next(const struct hf_wlogfmt_head *head, const void *bytes, size_t *at,
			    struct hf_wlogfmt_record *record);
/* Copies the descriptors of a decoded header to `bytes` for a batch in whose payload theirs starts
 * `first_unit` units on. Gives the units of their payload. */
uint64_t hf_wlogfmt_records_shift(const struct hf_wlogfmt_head *head, const void *header,
				  uint32_t first_unit, void *bytes);
/* Whether one is the copy of the other: of control, the same but for its place. */
bool hf_wlogfmt_record_is_copy(const struct hf_wlogfmt_record *record,
			       const struct hf_wlogfmt_record *of);
/* Whether the record's payload (its units) matches its CRCs. `lost`: pieces that were written as
 * lost are as they should be. */
bool hf_wlogfmt_record_verify(const struct hf_wlogfmt_record *record, const void *payload,
			      bool lost);

/* ---- Footers ----------------------------------------------------------------------------------
 */

/* A footer is a body, the used bytes of each header of the segment one after the other, and in the
 * segment's last block a trailer that says where the body is. */
struct hf_wlogfmt_footer {
	uint8_t uuid[16];
	uint64_t serial, first_batch, last_batch, durable_through;
	uint32_t body_offset; /* bytes, in the segment, multiple of a block */
	uint32_t body_bytes;
	uint32_t body_crc;
	uint32_t batch_count;
};

void hf_wlogfmt_footer_encode(const struct hf_wlogfmt_footer *footer, void *block);
int hf_wlogfmt_footer_decode(struct hf_wlogfmt_footer *footer, uint32_t segment_bytes,
			     const void *block);

#endif
