/* SPDX-License-Identifier: GPL-2.0-only
 * Part of the Holdfast backing store, which tgtd loads; see docs/LICENSING.md. */
/* See reservation.h. Who is registered, and what PERSISTENT RESERVE OUT makes of it; answers and
 * the kept form are in reservation_data.c. */
#include "target/reservation.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

#define LIST_BYTES 24u /* of every action but REGISTER AND MOVE */

/* ---- Who is who ---- */

bool hf_pr_port_make(struct hf_pr_port *port, const char *name, const uint8_t isid[6])
{
	size_t text = strlen(name) + strlen(",i,0x") + 12 + 1;
	size_t bytes = 4 + (text + 3) / 4 * 4;

	memset(port, 0, sizeof *port);
	if (name[0] == '\0' || bytes > sizeof port->id)
		return false;
	port->bytes = (uint16_t)bytes;
	port->id[0] = 0x45; /* iSCSI, with an ISID */
	hf_put_be16(port->id + 2, (uint16_t)(bytes - 4));
	snprintf((char *)port->id + 4, bytes - 4, "%s,i,0x%02x%02x%02x%02x%02x%02x", name, isid[0],
		 isid[1], isid[2], isid[3], isid[4], isid[5]);
	return true;
}

static bool is_same_port(const struct hf_pr_port *a, const struct hf_pr_port *b)
{
	return a->bytes == b->bytes && memcmp(a->id, b->id, a->bytes) == 0;
}

int hf_pr_find(const struct hf_pr *pr, const struct hf_pr_port *port)
{
	for (int i = 0; i < pr->count; i++) {
		if (is_same_port(&pr->registrants[i].port, port))
			return i;
	}
	return -1;
}

static bool is_type(uint8_t type)
{
	return type == HF_PR_WRITE_EXCLUSIVE || type == HF_PR_EXCLUSIVE_ACCESS ||
	       (type >= HF_PR_WRITE_EXCLUSIVE_REGISTRANTS && type <= HF_PR_EXCLUSIVE_ACCESS_ALL);
}

static bool is_all(enum hf_pr_type type)
{
	return type == HF_PR_WRITE_EXCLUSIVE_ALL || type == HF_PR_EXCLUSIVE_ACCESS_ALL;
}

/* Registrants only, or all registrants. */
static bool is_shared(enum hf_pr_type type)
{
	return type >= HF_PR_WRITE_EXCLUSIVE_REGISTRANTS;
}

static bool is_holder(const struct hf_pr *pr, int registrant)
{
	return pr->type != HF_PR_NONE && registrant >= 0 &&
	       (is_all(pr->type) || pr->holder == registrant);
}

/* ---- What a reservation keeps out ---- */

enum hf_pr_class hf_pr_class_of(const uint8_t *cdb)
{
	switch (cdb[0]) {
	case 0x08: /* READ, VERIFY, PRE-FETCH, GET LBA STATUS */
	case 0x28:
	case 0xa8:
	case 0x88:
	case 0x2f:
	case 0xaf:
	case 0x8f:
	case 0x34:
	case 0x90:
		return HF_PR_READS;
	case 0x9e:
		return (cdb[1] & 0x1f) == 0x12 ? HF_PR_READS : HF_PR_FREE;
	case 0x0a: /* WRITE, WRITE AND VERIFY, WRITE SAME, COMPARE AND WRITE, UNMAP */
	case 0x2a:
	case 0xaa:
	case 0x8a:
	case 0x2e:
	case 0xae:
	case 0x8e:
	case 0x41:
	case 0x93:
	case 0x89:
	case 0x42:
	case 0x35: /* SYNCHRONIZE CACHE, FORMAT UNIT, SEND DIAGNOSTIC */
	case 0x91:
	case 0x04:
	case 0x1d:
	case 0x15: /* MODE SELECT, MODE SENSE */
	case 0x55:
	case 0x1a:
	case 0x5a:
		return HF_PR_WRITES;
	case 0x1b: /* START STOP UNIT: starting harms nobody */
		return (cdb[4] & 0xf1) == 0x01 ? HF_PR_FREE : HF_PR_WRITES;
	case 0x1e: /* PREVENT ALLOW MEDIUM REMOVAL: nor does allowing */
		return (cdb[4] & 0x03) == 0 ? HF_PR_FREE : HF_PR_WRITES;
	default:
		return HF_PR_FREE;
	}
}

bool hf_pr_allows(const struct hf_pr *pr, int registrant, enum hf_pr_class class)
{
	if (pr->type == HF_PR_NONE || class == HF_PR_FREE || is_holder(pr, registrant))
		return true;
	if (registrant >= 0 && is_shared(pr->type))
		return true;
	return class == HF_PR_READS && (pr->type == HF_PR_WRITE_EXCLUSIVE ||
					pr->type == HF_PR_WRITE_EXCLUSIVE_REGISTRANTS ||
					pr->type == HF_PR_WRITE_EXCLUSIVE_ALL);
}

/* ---- Parameters ---- */

/* The TransportID of REGISTER AND MOVE: iSCSI, with an ISID, as hf_pr_port_make writes it. */
static bool parse_port(const uint8_t *from, size_t bytes, struct hf_pr_port *port)
{
	memset(port, 0, sizeof *port);
	if (bytes < 24 || bytes > sizeof port->id || bytes % 4 != 0 || from[0] != 0x45 ||
	    hf_get_be16(from + 2) != bytes - 4)
		return false;
	memcpy(port->id, from, bytes);
	port->id[1] = 0;
	port->bytes = (uint16_t)bytes;
	return memchr(port->id + 4, '\0', bytes - 4) != NULL;
}

static enum hf_pr_verdict parse_move(const uint8_t *list, size_t bytes,
				     struct hf_pr_command *command)
{
	uint32_t id_bytes = hf_get_be32(list + 20);

	command->unregister = list[17] & 0x02;
	if (hf_get_be16(list + 18) != 1 || id_bytes > bytes - LIST_BYTES ||
	    !parse_port(list + LIST_BYTES, id_bytes, &command->to))
		return HF_PR_INVALID_PARAMETER;
	return HF_PR_GOOD;
}

/* ALL_TG_PT is met by itself, as there is one target port. Everything is kept over a loss of power,
 * with APTPL and without. SPEC_I_PT is not offered. */
enum hf_pr_verdict hf_pr_parse_out(const uint8_t *cdb, const uint8_t *list, size_t list_bytes,
				   struct hf_pr_command *command)
{
	uint32_t said = hf_get_be32(cdb + 5);
	uint8_t action = cdb[1] & 0x1f;

	*command = (struct hf_pr_command){
		.action = (enum hf_pr_action)action, .scope = cdb[2] >> 4, .type = cdb[2] & 0xf};
	if (action > HF_PR_REGISTER_AND_MOVE)
		return HF_PR_INVALID_CDB;
	if (said < LIST_BYTES || said > list_bytes ||
	    (said != LIST_BYTES && action != HF_PR_REGISTER_AND_MOVE))
		return HF_PR_LIST_LENGTH;
	command->key = hf_get_be64(list);
	command->action_key = hf_get_be64(list + 8);
	if (action == HF_PR_REGISTER_AND_MOVE)
		return parse_move(list, said, command);
	return list[20] & 0x08 ? HF_PR_INVALID_PARAMETER : HF_PR_GOOD;
}

/* ---- Steps ---- */

/* The state as it changes, with what the outcome says of the registrants before. */
struct change {
	struct hf_pr *pr;
	struct hf_pr_outcome *outcome;
	int me;
	uint16_t was[HF_PR_REGISTRANTS_MAX]; /* registrant's number before */
};

static void remove_registrant(struct change *change, int registrant)
{
	struct hf_pr *pr = change->pr;
	int behind = pr->count - registrant - 1;

	memmove(&pr->registrants[registrant], &pr->registrants[registrant + 1],
		(size_t)behind * sizeof pr->registrants[0]);
	memmove(&change->was[registrant], &change->was[registrant + 1],
		(size_t)behind * sizeof change->was[0]);
	pr->count--;
	if (pr->holder > registrant)
		pr->holder--;
	if (change->me > registrant)
		change->me--;
	else if (change->me == registrant)
		change->me = -1;
}

static void tell_others(struct change *change, uint16_t attention)
{
	for (int i = 0; i < change->pr->count; i++) {
		if (i != change->me)
			change->outcome->attention[change->was[i]] = attention;
	}
}

static int add_registrant(struct hf_pr *pr, const struct hf_pr_port *port, uint64_t key)
{
	pr->registrants[pr->count] = (struct hf_pr_registrant){.key = key, .port = *port};
	return pr->count++;
}

static enum hf_pr_verdict unregister(struct change *change)
{
	struct hf_pr *pr = change->pr;
	bool held = is_holder(pr, change->me);
	enum hf_pr_type type = pr->type;

	remove_registrant(change, change->me);
	if (held && (!is_all(type) || pr->count == 0)) {
		pr->type = HF_PR_NONE;
		if (is_shared(type))
			tell_others(change, HF_PR_RESERVATIONS_RELEASED);
	}
	return HF_PR_GOOD;
}

static enum hf_pr_verdict do_register(struct change *change, const struct hf_pr_port *port,
				      const struct hf_pr_command *command)
{
	struct hf_pr *pr = change->pr;
	bool compares = command->action == HF_PR_REGISTER;
	uint64_t key = change->me >= 0 ? pr->registrants[change->me].key : 0;

	if (compares && command->key != key)
		return HF_PR_CONFLICT;
	if (change->me < 0 && command->action_key != 0 && pr->count == HF_PR_REGISTRANTS_MAX)
		return HF_PR_NO_RESOURCES;
	change->outcome->changed = true;
	pr->generation++;
	if (change->me >= 0 && command->action_key == 0)
		return unregister(change);
	if (change->me >= 0)
		pr->registrants[change->me].key = command->action_key;
	else if (command->action_key != 0)
		add_registrant(pr, port, command->action_key);
	return HF_PR_GOOD;
}

static enum hf_pr_verdict do_reserve(struct change *change, const struct hf_pr_command *command)
{
	struct hf_pr *pr = change->pr;

	if (command->scope != 0 || !is_type(command->type))
		return HF_PR_INVALID_CDB;
	if (pr->type != HF_PR_NONE)
		return is_holder(pr, change->me) && pr->type == command->type ? HF_PR_GOOD
									      : HF_PR_CONFLICT;
	pr->type = (enum hf_pr_type)command->type;
	pr->holder = (uint16_t)change->me;
	change->outcome->changed = true;
	return HF_PR_GOOD;
}

static enum hf_pr_verdict do_release(struct change *change, const struct hf_pr_command *command)
{
	struct hf_pr *pr = change->pr;

	if (!is_holder(pr, change->me))
		return HF_PR_GOOD;
	if (command->scope != 0 || pr->type != command->type)
		return HF_PR_INVALID_RELEASE;
	if (is_shared(pr->type))
		tell_others(change, HF_PR_RESERVATIONS_RELEASED);
	pr->type = HF_PR_NONE;
	change->outcome->changed = true;
	return HF_PR_GOOD;
}

static enum hf_pr_verdict do_clear(struct change *change)
{
	struct hf_pr *pr = change->pr;

	tell_others(change, HF_PR_RESERVATIONS_PREEMPTED);
	pr->count = 0;
	pr->type = HF_PR_NONE;
	pr->generation++;
	change->outcome->changed = true;
	return HF_PR_GOOD;
}

/* ---- PREEMPT ---- */

/* Removes those with the key, or with 0 everybody; spares the own registration if asked to. */
static void preempt_registrants(struct change *change, uint64_t key, bool spare_me, bool abort)
{
	for (int i = change->pr->count - 1; i >= 0; i--) {
		bool is_me = i == change->me;

		if ((key != 0 && change->pr->registrants[i].key != key) || (is_me && spare_me))
			continue;
		if (!is_me) {
			change->outcome->attention[change->was[i]] = HF_PR_REGISTRATIONS_PREEMPTED;
			change->outcome->aborted[change->was[i]] = abort;
		}
		remove_registrant(change, i);
	}
}

static bool has_key(const struct hf_pr *pr, uint64_t key)
{
	for (int i = 0; i < pr->count; i++) {
		if (pr->registrants[i].key == key)
			return true;
	}
	return false;
}

static enum hf_pr_verdict do_preempt(struct change *change, const struct hf_pr_command *command)
{
	struct hf_pr *pr = change->pr;
	enum hf_pr_type before = pr->type;
	uint64_t key = command->action_key;
	bool abort = command->action == HF_PR_PREEMPT_AND_ABORT;
	bool takes = is_all(before)
			     ? key == 0
			     : before != HF_PR_NONE && pr->registrants[pr->holder].key == key;

	if (key == 0 && !takes)
		return HF_PR_INVALID_PARAMETER;
	if (key != 0 && !has_key(pr, key))
		return HF_PR_CONFLICT;
	if (takes && (command->scope != 0 || !is_type(command->type)))
		return HF_PR_INVALID_CDB;
	change->outcome->changed = true;
	pr->generation++;
	preempt_registrants(change, key, takes, abort);
	if (takes) {
		pr->type = (enum hf_pr_type)command->type;
		pr->holder = (uint16_t)change->me;
		if (pr->type != before)
			tell_others(change, HF_PR_RESERVATIONS_RELEASED);
	} else if (pr->count == 0) {
		pr->type = HF_PR_NONE;
	}
	return HF_PR_GOOD;
}

/* ---- REGISTER AND MOVE ---- */

static enum hf_pr_verdict do_move(struct change *change, const struct hf_pr_command *command)
{
	struct hf_pr *pr = change->pr;
	int to = hf_pr_find(pr, &command->to);

	if (pr->type == HF_PR_NONE)
		return HF_PR_INVALID_CDB;
	if (!is_holder(pr, change->me) || is_all(pr->type))
		return HF_PR_CONFLICT;
	if (command->action_key == 0 || to == change->me)
		return HF_PR_INVALID_PARAMETER;
	if (to < 0 && pr->count == HF_PR_REGISTRANTS_MAX)
		return HF_PR_NO_RESOURCES;
	if (to < 0)
		to = add_registrant(pr, &command->to, command->action_key);
	pr->registrants[to].key = command->action_key;
	pr->holder = (uint16_t)to;
	pr->generation++;
	change->outcome->changed = true;
	if (command->unregister)
		remove_registrant(change, change->me);
	return HF_PR_GOOD;
}

enum hf_pr_verdict hf_pr_out(struct hf_pr *pr, const struct hf_pr_port *port,
			     const struct hf_pr_command *command, struct hf_pr_outcome *outcome)
{
	struct change change = {.pr = pr, .outcome = outcome, .me = hf_pr_find(pr, port)};

	memset(outcome, 0, sizeof *outcome);
	for (uint16_t i = 0; i < HF_PR_REGISTRANTS_MAX; i++)
		change.was[i] = i;
	if (command->action == HF_PR_REGISTER || command->action == HF_PR_REGISTER_AND_IGNORE)
		return do_register(&change, port, command);
	if (change.me < 0 || pr->registrants[change.me].key != command->key)
		return HF_PR_CONFLICT;
	switch (command->action) {
	case HF_PR_RESERVE:
		return do_reserve(&change, command);
	case HF_PR_RELEASE:
		return do_release(&change, command);
	case HF_PR_CLEAR:
		return do_clear(&change);
	case HF_PR_PREEMPT:
	case HF_PR_PREEMPT_AND_ABORT:
		return do_preempt(&change, command);
	case HF_PR_REGISTER_AND_MOVE:
		return do_move(&change, command);
	default:
		return HF_PR_INVALID_CDB;
	}
}
