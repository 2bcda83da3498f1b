/* SPDX-License-Identifier: GPL-2.0-only
 * Part of the Holdfast backing store, which tgtd loads; see docs/LICENSING.md. */
/* SCSI commands of a LUN: checked, turned into ring requests, and answered with status and sense
 * data. tgtd's main thread. */
#ifndef HF_TARGET_COMMAND_H
#define HF_TARGET_COMMAND_H

#include "target/reservations.h"
#include "target/ring_client.h"
#include "target/tgt_abi.h"

#define HF_COMPARE_BLOCKS_MAX 128u /* of one COMPARE AND WRITE */

#define HF_COMMAND_PENDING (-1) /* in place of a SCSI status: it ends later */

/* A LUN's private data, which tgt keeps behind its scsi_lu. */
struct hf_lun {
	struct tgt_lu *lu;
	struct hf_shim_lun *ring; /* NULL until opened */
	uint64_t size_bytes;      /* of bsopts, until volumed tells */
	struct hf_reservations reservations;
};

static inline struct hf_lun *hf_lun_of(struct tgt_lu *lu)
{
	return (struct hf_lun *)(lu + 1);
}

/* For the dispatch table of a LUN: every operation code that hf_cdb_decode knows, and those that
 * were taken over with hf_command_guard. Returns a SCSI status, or marks the command asynchronous.
 */
int hf_command_perform(int host_no, struct tgt_cmd *cmd);
/* tgt goes on performing this operation code, when no reservation keeps the command out. */
void hf_command_guard(struct tgt_lu *lu, uint8_t code);

/* ---- For what performs commands ---- */

/* Commands that hf_cdb_decode knows. A status, or HF_COMMAND_PENDING. */
int hf_command_medium(struct tgt_cmd *cmd);

/* Into the ring: HF_COMMAND_PENDING, or TASK SET FULL. Without a `done` of its own the request ends
 * the command; its owner is the command. */
int hf_command_submit(struct tgt_cmd *cmd, const struct hf_shim_request *wanted);
/* CHECK CONDITION with this sense data. */
int hf_command_refuse(struct tgt_cmd *cmd, uint8_t key, uint16_t asc);
/* GOOD, with so many bytes for the initiator. */
int hf_command_gave(struct tgt_cmd *cmd, uint64_t bytes);
/* Of a pending command: performs it from the start; ends it with a status; with a negative HF_E….
 */
void hf_command_resume(struct tgt_cmd *cmd);
void hf_command_end(struct tgt_cmd *cmd, int result);
void hf_command_failed(struct tgt_cmd *cmd, int err);

#endif
