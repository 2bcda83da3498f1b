/* SPDX-License-Identifier: GPL-2.0-only
 * Part of the Holdfast backing store, which tgtd loads; see docs/LICENSING.md. */
/* See cdb.h. */
#include "target/cdb.h"

#include "base/bytes.h"

struct form {
	uint8_t kind;  /* enum hf_cdb_kind */
	uint8_t bytes; /* 6, 10, 12, 16: where LBA and length lie */
	bool verify;   /* WRITE AND VERIFY */
};

static const struct form forms[256] = {
	[0x08] = {HF_CDB_READ, 6},         [0x28] = {HF_CDB_READ, 10},
	[0xa8] = {HF_CDB_READ, 12},        [0x88] = {HF_CDB_READ, 16},
	[0x0a] = {HF_CDB_WRITE, 6},        [0x2a] = {HF_CDB_WRITE, 10},
	[0xaa] = {HF_CDB_WRITE, 12},       [0x8a] = {HF_CDB_WRITE, 16},
	[0x2e] = {HF_CDB_WRITE, 10, true}, [0xae] = {HF_CDB_WRITE, 12, true},
	[0x8e] = {HF_CDB_WRITE, 16, true}, [0x41] = {HF_CDB_WRITE_SAME, 10},
	[0x93] = {HF_CDB_WRITE_SAME, 16},  [0x89] = {HF_CDB_COMPARE_AND_WRITE, 16},
	[0x2f] = {HF_CDB_VERIFY, 10},      [0xaf] = {HF_CDB_VERIFY, 12},
	[0x8f] = {HF_CDB_VERIFY, 16},      [0x35] = {HF_CDB_SYNCHRONIZE, 10},
	[0x91] = {HF_CDB_SYNCHRONIZE, 16}, [0x34] = {HF_CDB_PREFETCH, 10},
	[0x90] = {HF_CDB_PREFETCH, 16},    [0x42] = {HF_CDB_UNMAP, 10},
	[0x9e] = {HF_CDB_LBA_STATUS, 16}, /* SERVICE ACTION IN, 0x12 */
};

static void decode_range(const uint8_t *cdb, const struct form *form, struct hf_cdb *decoded)
{
	switch (form->bytes) {
	case 6:
		decoded->lba = hf_get_be32(cdb) & 0x1fffff;
		decoded->blocks = cdb[4] ? cdb[4] : 256;
		return;
	case 10:
		decoded->lba = hf_get_be32(cdb + 2);
		decoded->blocks = hf_get_be16(cdb + 7);
		return;
	case 12:
		decoded->lba = hf_get_be32(cdb + 2);
		decoded->blocks = hf_get_be32(cdb + 6);
		return;
	default:
		decoded->lba = hf_get_be64(cdb + 2);
		decoded->blocks = hf_get_be32(cdb + 10);
	}
}

void hf_cdb_decode(const uint8_t *cdb, struct hf_cdb *decoded)
{
	const struct form *form = &forms[cdb[0]];

	*decoded = (struct hf_cdb){.kind = (enum hf_cdb_kind)form->kind};
	if (form->kind == HF_CDB_OTHER)
		return;
	decode_range(cdb, form, decoded);
	if (form->bytes == 6)
		return;
	decoded->force_unit = form->verify || (cdb[1] & 0x08);
	decoded->protect = cdb[1] >> 5;
	switch (decoded->kind) {
	case HF_CDB_COMPARE_AND_WRITE:
		decoded->blocks = cdb[13];
		break;
	case HF_CDB_VERIFY:
		decoded->byte_check = cdb[1] >> 1 & 3;
		break;
	case HF_CDB_WRITE_SAME:
		decoded->anchor = cdb[1] & 0x10;
		decoded->unmap = cdb[1] & 0x08;
		decoded->numbered = cdb[1] & 0x06;
		decoded->no_data = form->bytes == 16 && (cdb[1] & 0x01);
		decoded->force_unit = false;
		break;
	case HF_CDB_UNMAP:
		decoded->anchor = cdb[1] & 0x01;
		decoded->list_bytes = hf_get_be16(cdb + 7);
		break;
	case HF_CDB_LBA_STATUS:
		decoded->list_bytes = hf_get_be32(cdb + 10);
		break;
	default:
		break;
	}
}
