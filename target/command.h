/* SPDX-License-Identifier: GPL-2.0-only
 * Part of the Holdfast backing store, which tgtd loads; see docs/LICENSING.md. */
/* SCSI commands of a LUN: checked, turned into ring requests, and answered with status and sense
 * data. tgtd's main thread. */
#ifndef HF_TARGET_COMMAND_H
#define HF_TARGET_COMMAND_H

#include "target/ring_client.h"
#include "target/tgt_abi.h"

#define HF_COMPARE_BLOCKS_MAX 128u /* of one COMPARE AND WRITE */

/* A LUN's private data, which tgt keeps behind its scsi_lu. */
struct hf_lun {
	struct tgt_lu *lu;
	struct hf_shim_lun *ring; /* NULL until opened */
	uint64_t size_bytes;      /* of bsopts, until volumed tells */
};

static inline struct hf_lun *hf_lun_of(struct tgt_lu *lu)
{
	return (struct hf_lun *)(lu + 1);
}

/* For the dispatch table of a LUN: every operation code that hf_cdb_decode knows. Returns a SCSI
 * status, or marks the command asynchronous. */
int hf_command_perform(int host_no, struct tgt_cmd *cmd);

#endif
