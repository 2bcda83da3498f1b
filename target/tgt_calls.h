/* SPDX-License-Identifier: GPL-2.0-only
 * Part of the Holdfast backing store, which tgtd loads; see docs/LICENSING.md. */
/* What this backing store calls in tgtd, found by name at load, and the checks that the running
 * tgtd is laid out as target/tgt_abi.h says. tgtd's main thread. */
#ifndef HF_TARGET_TGT_CALLS_H
#define HF_TARGET_TGT_CALLS_H

#include <stdbool.h>

#include "base/err.h"
#include "target/tgt_abi.h"

struct hf_tgt_calls {
	int (*register_backingstore_template)(struct tgt_bst *bst);
	struct tgt_bst *(*get_backingstore_template)(const char *name);
	void (*bs_create_opcode_map)(struct tgt_bst *bst, unsigned char *opcodes, int count);
	int (*tgt_event_add)(int fd, int events, void (*handler)(int fd, int events, void *data),
			     void *data);
	void (*tgt_event_del)(int fd);
	void (*tgt_init_sched_event)(struct tgt_event *event,
				     void (*handler)(struct tgt_event *event), void *data);
	void (*tgt_add_sched_event)(struct tgt_event *event);
	void (*target_cmd_io_done)(struct tgt_cmd *cmd, int result);
	int (*target_cmd_perform)(int tid, struct tgt_cmd *cmd);
	void (*sense_data_build)(struct tgt_cmd *cmd, uint8_t key, uint16_t asc);
	void (*sense_data_build_with_info)(struct tgt_cmd *cmd, uint8_t key, uint16_t asc,
					   uint64_t info);
	struct tgt_mode_page *(*find_mode_page)(struct tgt_lu *lu, uint8_t code, uint8_t subcode);
	void (*ua_sense_add_other_it_nexus)(uint64_t nexus_id, struct tgt_lu *lu, uint16_t asc);
	void (*ua_sense_add_it_nexus)(uint64_t nexus_id, struct tgt_lu *lu, uint16_t asc);
	int (*device_reserved)(struct tgt_cmd *cmd);
	int (*iscsi_transportid)(int tid, uint64_t nexus_id, char *id, int bytes);
};

extern struct hf_tgt_calls hf_tgt;

/* Finds every symbol and checks a template of tgtd's own. 0 or HF_EUNSUPPORTED with the reason. */
int hf_tgt_calls_find(struct hf_errmsg *message);
/* At a LUN's creation: is it laid out as we think? `bst` is our own template. */
int hf_tgt_check_lu(const struct tgt_lu *lu, const struct tgt_bst *bst, struct hf_errmsg *message);
/* At a LUN's first command. */
bool hf_tgt_check_cmd(const struct tgt_cmd *cmd);

#endif
