/* SPDX-License-Identifier: GPL-2.0-only
 * Part of the Holdfast backing store, which tgtd loads; see docs/LICENSING.md. */
/* What makes tgt's disk a Holdfast volume: dispatch, VPD pages, identity, write cache, growth.
 * tgtd's main thread. */
#ifndef HF_TARGET_LUN_H
#define HF_TARGET_LUN_H

#include <stdbool.h>

#include "target/command.h"

/* Takes over the commands, pages and settings of a new LUN. `block_bytes` is 512 or 4096. */
void hf_lun_take_over(struct tgt_lu *lu, uint32_t block_bytes, bool write_cache);
/* The LUN's size, a multiple of 4096 bytes. */
void hf_lun_set_size(struct tgt_lu *lu, uint64_t size_bytes);
/* Names the LUN after its volume; tgtadm's scsi_id and scsi_sn may say otherwise later. */
void hf_lun_identify(struct tgt_lu *lu, uint64_t volume);
/* volumed told the volume's size and HF_VOLUME_… flags; `owner` is the struct hf_lun. */
void hf_lun_changed(void *owner, uint64_t size_bytes, uint32_t flags);

#endif
