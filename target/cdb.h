/* SPDX-License-Identifier: GPL-2.0-only
 * Part of the Holdfast backing store, which tgtd loads; see docs/LICENSING.md. */
/* Command descriptor blocks of a disk, decoded (SBC-3 clause 5). Pure. */
#ifndef HF_TARGET_CDB_H
#define HF_TARGET_CDB_H

#include <stdbool.h>
#include <stdint.h>

enum hf_cdb_kind {
	HF_CDB_OTHER = 0,
	HF_CDB_READ,
	HF_CDB_WRITE,
	HF_CDB_WRITE_SAME,
	HF_CDB_COMPARE_AND_WRITE,
	HF_CDB_VERIFY,
	HF_CDB_SYNCHRONIZE,
	HF_CDB_PREFETCH,
	HF_CDB_UNMAP,
	HF_CDB_LBA_STATUS,
};

struct hf_cdb {
	enum hf_cdb_kind kind;
	uint64_t lba;
	uint32_t blocks;     /* 0 as it stands, but 256 for the 6-byte forms */
	bool force_unit;     /* FUA, or a WRITE AND VERIFY */
	uint8_t protect;     /* RDPROTECT, WRPROTECT, VRPROTECT */
	uint8_t byte_check;  /* VERIFY's BYTCHK */
	bool unmap;          /* WRITE SAME */
	bool no_data;        /* WRITE SAME(16): NDOB */
	bool anchor;         /* WRITE SAME, UNMAP */
	bool numbered;       /* WRITE SAME: LBDATA or PBDATA */
	uint32_t list_bytes; /* UNMAP: parameter list, LBA STATUS: allocation length */
};

/* Decodes the operation codes that this backing store serves; the rest is HF_CDB_OTHER. `cdb` has
 * as many bytes as its operation code says (tgt's buffer always has 16). */
void hf_cdb_decode(const uint8_t *cdb, struct hf_cdb *decoded);

#endif
