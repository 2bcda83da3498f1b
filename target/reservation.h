/* SPDX-License-Identifier: GPL-2.0-only
 * Part of the Holdfast backing store, which tgtd loads; see docs/LICENSING.md. */
/* Persistent reservations of a disk (SPC-4 5.9): who is registered, who holds the reservation, what
 * each PERSISTENT RESERVE OUT does to that, and what a reservation keeps out. Pure: no tgt, no
 * ring, no allocation.
 *
 * An initiator port is its TransportID (SPC-4 7.6.4.6): iSCSI name and ISID. The relative target
 * port is always 1: every portal of a tgtd is the same target port. */
#ifndef HF_TARGET_RESERVATION_H
#define HF_TARGET_RESERVATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HF_PR_REGISTRANTS_MAX 128u
#define HF_PR_PORT_BYTES      284u   /* of a TransportID */
#define HF_PR_ENCODED_MAX     65536u /* more than the largest state takes */

enum hf_pr_type {
	HF_PR_NONE = 0,
	HF_PR_WRITE_EXCLUSIVE = 1,
	HF_PR_EXCLUSIVE_ACCESS = 3,
	HF_PR_WRITE_EXCLUSIVE_REGISTRANTS = 5,
	HF_PR_EXCLUSIVE_ACCESS_REGISTRANTS = 6,
	HF_PR_WRITE_EXCLUSIVE_ALL = 7, /* every registrant is a holder */
	HF_PR_EXCLUSIVE_ACCESS_ALL = 8,
};

struct hf_pr_port {
	uint16_t bytes;
	uint8_t id[HF_PR_PORT_BYTES];
};

struct hf_pr_registrant {
	uint64_t key; /* not 0 */
	struct hf_pr_port port;
};

struct hf_pr {
	uint32_t generation;
	enum hf_pr_type type;
	uint16_t holder; /* registrant; of no meaning with HF_PR_NONE and the ALL types */
	uint16_t count;
	struct hf_pr_registrant registrants[HF_PR_REGISTRANTS_MAX];
};

/* The TransportID of a name and an ISID; false if the name is too long. */
bool hf_pr_port_make(struct hf_pr_port *port, const char *name, const uint8_t isid[6]);
/* Registrant with this port, or -1. */
int hf_pr_find(const struct hf_pr *pr, const struct hf_pr_port *port);

/* ---- What a reservation keeps out ---- */

enum hf_pr_class {
	HF_PR_FREE,   /* never kept out */
	HF_PR_READS,  /* by exclusive access */
	HF_PR_WRITES, /* by every type */
};

/* Of a command, by the tables of SPC-4 5.9.1 and SBC-3 4.17. */
enum hf_pr_class hf_pr_class_of(const uint8_t *cdb);
/* `registrant` as hf_pr_find gives it. */
bool hf_pr_allows(const struct hf_pr *pr, int registrant, enum hf_pr_class class);

/* ---- PERSISTENT RESERVE OUT ---- */

enum hf_pr_action {
	HF_PR_REGISTER = 0,
	HF_PR_RESERVE = 1,
	HF_PR_RELEASE = 2,
	HF_PR_CLEAR = 3,
	HF_PR_PREEMPT = 4,
	HF_PR_PREEMPT_AND_ABORT = 5,
	HF_PR_REGISTER_AND_IGNORE = 6,
	HF_PR_REGISTER_AND_MOVE = 7,
};

struct hf_pr_command {
	enum hf_pr_action action;
	uint8_t scope, type;
	uint64_t key, action_key; /* RESERVATION KEY, SERVICE ACTION RESERVATION KEY */
	bool unregister;          /* REGISTER AND MOVE */
	struct hf_pr_port to;     /* REGISTER AND MOVE */
};

/* What became of a command. */
enum hf_pr_verdict {
	HF_PR_GOOD,
	HF_PR_CONFLICT,
	HF_PR_INVALID_CDB,       /* 24/00 */
	HF_PR_INVALID_PARAMETER, /* 26/00 */
	HF_PR_INVALID_RELEASE,   /* 26/04 */
	HF_PR_LIST_LENGTH,       /* 1A/00 */
	HF_PR_NO_RESOURCES,      /* 55/04 */
};

/* Additional sense of unit attentions. */
#define HF_PR_RESERVATIONS_PREEMPTED  0x2a03
#define HF_PR_RESERVATIONS_RELEASED   0x2a04
#define HF_PR_REGISTRATIONS_PREEMPTED 0x2a05

struct hf_pr_outcome {
	bool changed; /* there is a new state, to be kept before the command ends */
	/* By registrant of the state before: the unit attention that is due, or 0; and whether its
	 * commands are to be aborted. */
	uint16_t attention[HF_PR_REGISTRANTS_MAX];
	bool aborted[HF_PR_REGISTRANTS_MAX];
};

/* Decodes CDB (10 bytes) and parameter list. HF_PR_GOOD, or why not. */
enum hf_pr_verdict hf_pr_parse_out(const uint8_t *cdb, const uint8_t *list, size_t list_bytes,
				   struct hf_pr_command *command);
/* Turns `pr` into the state after the command of `port`; unchanged unless outcome->changed. */
enum hf_pr_verdict hf_pr_out(struct hf_pr *pr, const struct hf_pr_port *port,
			     const struct hf_pr_command *command, struct hf_pr_outcome *outcome);

/* ---- PERSISTENT RESERVE IN ---- */

#define HF_PR_IN_BYTES_MAX (8u + HF_PR_REGISTRANTS_MAX * (24u + HF_PR_PORT_BYTES))

/* Writes the whole answer of a service action (0 … 3) to `to`, which has HF_PR_IN_BYTES_MAX bytes,
 * and returns its length; 0: no such service action. */
size_t hf_pr_in(const struct hf_pr *pr, uint8_t action, uint8_t *to);

/* ---- To be kept ---- */

/* docs/protocol/ring.md, "What a LUN keeps". At most HF_PR_ENCODED_MAX bytes. */
size_t hf_pr_encode(const struct hf_pr *pr, uint8_t *to);
/* No bytes are no registrants. False: damaged. */
bool hf_pr_decode(const uint8_t *from, size_t bytes, struct hf_pr *pr);

#endif
