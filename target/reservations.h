/* SPDX-License-Identifier: GPL-2.0-only
 * Part of the Holdfast backing store, which tgtd loads; see docs/LICENSING.md. */
/* A LUN's persistent reservations in tgtd: known from volumed before the first command, checked for
 * every command, changed by PERSISTENT RESERVE OUT and kept by volumed before that ends. In place
 * of tgt's own, which die with tgtd. tgtd's main thread.
 *
 *   UNKNOWN ──a command's RECALL──▶ KNOWN ──PERSISTENT RESERVE OUT──▶ KEEPING
 *      ▲                              │ ▲                                │
 *      ├──not ready any more──────────┘ └──────────kept──────────────────┤
 *      └──────────────────────────────────────not kept───────────────────┘
 *
 * While KEEPING what was known counts, and further PERSISTENT RESERVE OUTs wait. */
#ifndef HF_TARGET_RESERVATIONS_H
#define HF_TARGET_RESERVATIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "target/reservation.h"
#include "target/tgt_abi.h"

#define HF_RESERVATIONS_CACHED 64u

/* What this nexus is registered as, while nothing changed. */
struct hf_reservations_cached {
	uint64_t nexus_id;
	long created;
	uint32_t epoch;
	int registrant;
};

struct hf_reservations {
	bool known;
	uint32_t epoch;        /* counts the changes of what is known */
	struct hf_pr *pr;      /* NULL: nobody is registered */
	struct hf_pr *next;    /* KEEPING: what is being kept */
	uint32_t next_epoch;   /* of what `next` was made from */
	struct hf_pr *before;  /* PREEMPT AND ABORT waits for commands of its `outcome.aborted` */
	struct tgt_cmd *owner; /* of `next` or `before` */
	struct hf_pr_outcome outcome;
	struct tgt_cmd *first, *last; /* PERSISTENT RESERVE OUTs that wait */
	struct hf_reservations_cached cached[HF_RESERVATIONS_CACHED];
};

struct hf_lun;

/* Forgets what is known: the LUN's volume is another, or was away. */
void hf_reservations_forget(struct hf_reservations *reservations);

/* To be asked before a command is performed. SAM_GOOD, SAM_RESERVATION_CONFLICT,
 * HF_COMMAND_PENDING (it is performed again when what volumed keeps is known), or another status.
 */
int hf_reservations_check(struct tgt_cmd *cmd);
/* PERSISTENT RESERVE IN and OUT. A status, or HF_COMMAND_PENDING. */
int hf_reservations_in(struct tgt_cmd *cmd);
int hf_reservations_out(struct tgt_cmd *cmd);
/* Is anybody registered? RESERVE(6) and RELEASE(6) conflict with that. */
bool hf_reservations_any(const struct hf_lun *lun);
/* A command of the LUN has ended: a PREEMPT AND ABORT may have waited for it. */
void hf_reservations_command_ended(struct hf_lun *lun);

#endif
