/* The broker's operations on tgtd, each a straight line of questions with a deadline. They run on
 * the one worker thread, one at a time, so that nobody else changes tgtd between their steps.
 * Every string was checked (names.h) before it comes here. All return 0 or HF_E… with the reason
 * in op->message; what they did up to a failure stays, and doing it again goes on from there. */
#ifndef HF_GATEWAY_BROKER_OPERATION_H
#define HF_GATEWAY_BROKER_OPERATION_H

#include <stdbool.h>
#include <stdint.h>

#include "gateway/broker/tgt_call.h"
#include "gateway/broker/tgt_show.h"
#include "proto/local.pb-c.h"

struct hf_operation {
	const char *socket;
	uint64_t deadline_ns; /* CLOCK_MONOTONIC */
	struct hf_errmsg *message;
	pid_t pid; /* of tgtd, as the last answer told */
};

/* ---- Steps (operation.c) ---- */

/* Asks; `what` is for the message and names no secret. Success is also tgtd's error `tolerated`
 * (HF_TGT_OK: none). `text` may be NULL. */
int hf_op_ask(struct hf_operation *op, const struct hf_tgt_request *request, uint32_t tolerated,
	      const char *what, char **text);
/* The same again and again while tgtd says `active` (something is under way). */
int hf_op_ask_until(struct hf_operation *op, const struct hf_tgt_request *request, uint32_t active,
		    uint32_t tolerated, const char *what);
/* Everything tgtd has; the caller frees it with hf_tgt_state_free. */
int hf_op_show(struct hf_operation *op, struct hf_tgt_state *state);
/* A pause between two looks at something that changes by itself; HF_ETIMEDOUT at the deadline. */
int hf_op_pause(struct hf_operation *op);

/* ---- Targets and LUNs (targets.c) ---- */

int hf_op_create_target(struct hf_operation *op, const char *iqn);
/* Nobody may log in any more, sessions are closed, LUNs removed, then the target. */
int hf_op_delete_target(struct hf_operation *op, const char *iqn);
int hf_op_add_lun(struct hf_operation *op, const Holdfast__BrokerLun *lun);
int hf_op_remove_lun(struct hf_operation *op, const Holdfast__BrokerLunName *name);
/* Asks tgtd to close a session; one that is gone already is no error. */
int hf_op_close_session(struct hf_operation *op, int32_t tid, const struct hf_tgt_session *session);

/* ---- The process (process.c) ---- */

/* 16 bytes that tell this run of tgtd from every other: its pid and when it began. */
#define HF_TGT_BOOT_BYTES 16u
void hf_tgt_boot(pid_t pid, uint8_t boot[HF_TGT_BOOT_BYTES]);
/* Ends tgtd with SIGKILL, if it is still the run with this boot; its supervisor starts the next
 * one. HF_ESTALE: it is another run (or gone), and nothing was done. */
int hf_op_restart(struct hf_operation *op, const uint8_t *boot, size_t length);

/* ---- Access (access.c, accounts.c) ---- */

int hf_op_set_access(struct hf_operation *op, const Holdfast__BrokerAccess *access);
int hf_op_bind_acl(struct hf_operation *op, int32_t tid, const char *entry, bool bind);

/* Does the target ask for exactly these accounts, with these secrets? */
bool hf_accounts_match(const struct hf_tgt_target *target, const Holdfast__BrokerAccess *access);
/* Gives the target these accounts and no others. `state` is what tgtd has before. */
int hf_accounts_set(struct hf_operation *op, const struct hf_tgt_state *state,
		    const struct hf_tgt_target *target, const Holdfast__BrokerAccess *access);
/* Deletes the accounts that only this target had; it is gone by now. */
void hf_accounts_forget(struct hf_operation *op, const struct hf_tgt_state *state,
			const struct hf_tgt_target *target);
/* The user that initiators log in with, "" if none is asked for. */
const char *hf_accounts_user(const struct hf_tgt_target *target);

/* ---- Portals (portals.c) ---- */

/* The listing, malloc'ed, for hf_tgt_portal_next. */
int hf_op_show_portals(struct hf_operation *op, char **text);
int hf_op_open_portal(struct hf_operation *op, const char *portal);
int hf_op_close_portal(struct hf_operation *op, const char *portal);

#endif
