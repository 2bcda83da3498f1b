/* SPDX-License-Identifier: GPL-2.0-only
 * Part of the Holdfast backing store, which tgtd loads; see docs/LICENSING.md. */
/* See reservations.h. The rules are reservation.c's; this is what ties them to tgt's sessions and
 * to what volumed keeps. */
#include "target/reservations.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/list.h"
#include "base/log.h"
#include "target/command.h"
#include "target/tgt_calls.h"

static struct hf_reservations *of(const struct tgt_cmd *cmd)
{
	return &hf_lun_of(cmd->lu)->reservations;
}

static void install(struct hf_reservations *reservations, struct hf_pr *pr)
{
	if (pr && pr->count == 0 && pr->generation == 0) {
		free(pr);
		pr = NULL;
	}
	free(reservations->pr);
	reservations->pr = pr;
	reservations->known = true;
	reservations->epoch++;
}

void hf_reservations_forget(struct hf_reservations *reservations)
{
	free(reservations->pr);
	reservations->pr = NULL;
	reservations->known = false;
	reservations->epoch++;
}

bool hf_reservations_any(const struct hf_lun *lun)
{
	return lun->reservations.pr && lun->reservations.pr->count > 0;
}

/* ---- Sessions ---- */

/* The initiator port of a session. tgt gives a TransportID whose ISID is not in text: the name ends
 * with a zero, then come ",i,0x" and the six bytes as they are. */
static bool port_of(uint64_t nexus_id, struct hf_pr_port *port)
{
	char id[512];
	int bytes = hf_tgt.iscsi_transportid(0, nexus_id, id, sizeof id);
	const char *end;

	if (bytes < 16 || bytes > (int)sizeof id)
		return false;
	end = memchr(id + 4, '\0', (size_t)bytes - 4);
	if (!end || end + 1 + 5 + 6 > id + sizeof id || memcmp(end + 1, ",i,0x", 5) != 0)
		return false;
	return hf_pr_port_make(port, id + 4, (const uint8_t *)end + 6);
}

static int find_registrant(const struct hf_pr *pr, uint64_t nexus_id)
{
	struct hf_pr_port port;

	return pr && port_of(nexus_id, &port) ? hf_pr_find(pr, &port) : -1;
}

static int registrant_of(const struct tgt_cmd *cmd)
{
	struct hf_reservations *reservations = of(cmd);
	struct hf_reservations_cached *cached =
		&reservations->cached[cmd->nexus_id % HF_RESERVATIONS_CACHED];
	const struct tgt_nexus *nexus = cmd->nexus;

	if (cached->nexus_id != cmd->nexus_id || cached->created != nexus->created ||
	    cached->epoch != reservations->epoch)
		*cached = (struct hf_reservations_cached){
			.nexus_id = cmd->nexus_id,
			.created = nexus->created,
			.epoch = reservations->epoch,
			.registrant = find_registrant(reservations->pr, cmd->nexus_id),
		};
	return cached->registrant;
}

/* Unit attentions for the sessions of those who were registered `before`. */
static void tell_sessions(struct tgt_lu *lu, const struct hf_pr *before,
			  const struct hf_pr_outcome *outcome)
{
	if (!before)
		return;
	for (struct tgt_list *link = lu->nexus_list.next; link != &lu->nexus_list;
	     link = link->next) {
		const struct tgt_nexus_lu *one =
			hf_container_of(link, struct tgt_nexus_lu, lu_siblings);
		int registrant = find_registrant(before, one->nexus_id);

		if (registrant >= 0 && outcome->attention[registrant])
			hf_tgt.ua_sense_add_it_nexus(one->nexus_id, lu,
						     outcome->attention[registrant]);
	}
}

/* ---- What volumed keeps ---- */

static void take_recalled(struct hf_shim_request *request, const void *slot)
{
	struct hf_reservations *reservations = of(request->owner);
	struct hf_pr *pr;

	if (reservations->known)
		return; /* another command was first */
	pr = malloc(sizeof *pr);
	if (!pr || request->data_given > request->data_length ||
	    !hf_pr_decode(slot, request->data_given, pr)) {
		hf_error("reservations are refused: what volumed keeps is damaged");
		request->status = pr ? HF_ECORRUPT : HF_ENOMEM;
		free(pr);
		return;
	}
	install(reservations, pr);
}

static void recalled(struct hf_shim_request *request)
{
	struct tgt_cmd *cmd = request->owner;

	/* A volumed that keeps nothing has nothing. */
	if (request->status == HF_EUNSUPPORTED) {
		if (!of(cmd)->known)
			install(of(cmd), NULL);
		request->status = 0;
	}
	if (request->status != 0)
		hf_command_failed(cmd, request->status);
	else
		hf_command_resume(cmd);
}

static int recall(struct tgt_cmd *cmd)
{
	return hf_command_submit(cmd, &(struct hf_shim_request){
					      .op = HF_OP_RECALL,
					      .data_length = HF_RING_KEEP_MAX,
					      .take = take_recalled,
					      .done = recalled,
				      });
}

/* ---- Checks ---- */

int hf_reservations_check(struct tgt_cmd *cmd)
{
	struct hf_reservations *reservations = of(cmd);
	enum hf_pr_class class;

	if (reservations->known && (!reservations->pr || reservations->pr->type == HF_PR_NONE))
		return SAM_GOOD;
	if (reservations->known) {
		class = hf_pr_class_of(cmd->cdb);
		return hf_pr_allows(reservations->pr, registrant_of(cmd), class)
			       ? SAM_GOOD
			       : SAM_RESERVATION_CONFLICT;
	}
	/* Pages can be looked at while volumed is away. */
	return cmd->cdb[0] == 0x1a || cmd->cdb[0] == 0x5a ? SAM_GOOD : recall(cmd);
}

/* ---- PERSISTENT RESERVE IN ---- */

int hf_reservations_in(struct tgt_cmd *cmd)
{
	static const struct hf_pr nobody;
	static uint8_t answer[HF_PR_IN_BYTES_MAX];
	const struct hf_pr *pr = of(cmd)->pr;
	size_t bytes = hf_pr_in(pr ? pr : &nobody, cmd->cdb[1] & 0x1f, answer);
	size_t room = hf_get_be16(cmd->cdb + 7);

	if (bytes == 0)
		return hf_command_refuse(cmd, 0x05, 0x2400);
	if (room > cmd->in.length)
		room = cmd->in.length;
	if (bytes > room)
		bytes = room;
	memcpy((void *)(uintptr_t)cmd->in.buffer, answer, bytes);
	return hf_command_gave(cmd, bytes);
}

/* ---- PERSISTENT RESERVE OUT ---- */

static void let_others_go(struct hf_reservations *reservations)
{
	struct tgt_cmd *cmd = reservations->first;

	reservations->owner = NULL;
	reservations->first = reservations->last = NULL;
	while (cmd) {
		struct tgt_list *link = cmd->backing_store_list.next;

		hf_command_resume(cmd); /* and waits again, if need be, in the same order */
		cmd = link ? hf_container_of(link, struct tgt_cmd, backing_store_list) : NULL;
	}
}

static int wait_for_others(struct hf_reservations *reservations, struct tgt_cmd *cmd)
{
	cmd->backing_store_list.next = NULL;
	if (reservations->last)
		reservations->last->backing_store_list.next = &cmd->backing_store_list;
	else
		reservations->first = cmd;
	reservations->last = cmd;
	return HF_COMMAND_PENDING;
}

/* A session that has gone may have been anybody's: its commands are waited for. */
static bool is_aborted(const struct hf_shim_request *request, void *context)
{
	const struct hf_reservations *reservations = context;
	const struct tgt_cmd *cmd = request->owner;
	struct hf_pr_port port;
	int registrant;

	if (!port_of(cmd->nexus_id, &port))
		return true;
	registrant = hf_pr_find(reservations->before, &port);
	return registrant >= 0 && reservations->outcome.aborted[registrant];
}

static bool aborts_any(const struct hf_pr_outcome *outcome)
{
	for (unsigned i = 0; i < HF_PR_REGISTRANTS_MAX; i++) {
		if (outcome->aborted[i])
			return true;
	}
	return false;
}

/* PREEMPT AND ABORT ends when no command of those it preempted can take effect any more. */
void hf_reservations_command_ended(struct hf_lun *lun)
{
	struct hf_reservations *reservations = &lun->reservations;
	struct tgt_cmd *cmd = reservations->owner;

	if (!reservations->before || (aborts_any(&reservations->outcome) && lun->ring &&
				      hf_shim_lun_any(lun->ring, is_aborted, reservations)))
		return;
	free(reservations->before);
	reservations->before = NULL;
	reservations->owner = NULL;
	hf_command_end(cmd, SAM_GOOD);
	let_others_go(reservations);
}

static void fill_next(struct hf_shim_request *request, void *slot)
{
	hf_pr_encode(of(request->owner)->next, slot);
}

static void take_into_use(struct hf_reservations *reservations, struct tgt_cmd *cmd)
{
	reservations->before = reservations->pr;
	reservations->pr = NULL;
	install(reservations, reservations->next);
	reservations->next = NULL;
	tell_sessions(cmd->lu, reservations->before, &reservations->outcome);
	if (reservations->before) {
		hf_reservations_command_ended(hf_lun_of(cmd->lu));
		return;
	}
	hf_command_end(cmd, SAM_GOOD);
	let_others_go(reservations);
}

/* Not kept, or nobody knows: what volumed has counts, and is asked for again. */
static void kept(struct hf_shim_request *request)
{
	struct tgt_cmd *cmd = request->owner;
	struct hf_reservations *reservations = of(cmd);

	HF_ASSERT(reservations->owner == cmd && reservations->next);
	if (request->status == 0 && reservations->known &&
	    reservations->epoch == reservations->next_epoch) {
		take_into_use(reservations, cmd);
		return;
	}
	free(reservations->next);
	reservations->next = NULL;
	hf_reservations_forget(reservations);
	hf_command_failed(cmd, request->status ? request->status : HF_ENOTREADY);
	let_others_go(reservations);
}

static int refuse(struct tgt_cmd *cmd, enum hf_pr_verdict verdict)
{
	switch (verdict) {
	case HF_PR_CONFLICT:
		return SAM_RESERVATION_CONFLICT;
	case HF_PR_INVALID_PARAMETER:
		return hf_command_refuse(cmd, 0x05, 0x2600);
	case HF_PR_INVALID_RELEASE:
		return hf_command_refuse(cmd, 0x05, 0x2604);
	case HF_PR_LIST_LENGTH:
		return hf_command_refuse(cmd, 0x05, 0x1a00);
	case HF_PR_NO_RESOURCES:
		return hf_command_refuse(cmd, 0x05, 0x5504);
	default:
		return hf_command_refuse(cmd, 0x05, 0x2400);
	}
}

static int keep_next(struct tgt_cmd *cmd)
{
	static uint8_t encoded[HF_PR_ENCODED_MAX];
	struct hf_reservations *reservations = of(cmd);
	int status;

	status = hf_command_submit(
		cmd, &(struct hf_shim_request){
			     .op = HF_OP_KEEP,
			     .data_length = (uint32_t)hf_pr_encode(reservations->next, encoded),
			     .fill = fill_next,
			     .done = kept,
		     });
	if (status == HF_COMMAND_PENDING) {
		reservations->owner = cmd;
		reservations->next_epoch = reservations->epoch;
		return status;
	}
	free(reservations->next);
	reservations->next = NULL;
	return status;
}

int hf_reservations_out(struct tgt_cmd *cmd)
{
	struct hf_reservations *reservations = of(cmd);
	struct hf_pr_command command;
	struct hf_pr_port port;
	enum hf_pr_verdict verdict;

	if (reservations->owner)
		return wait_for_others(reservations, cmd);
	verdict = hf_pr_parse_out(cmd->cdb, (const uint8_t *)(uintptr_t)cmd->out.buffer,
				  cmd->out.length, &command);
	if (verdict == HF_PR_GOOD && !port_of(cmd->nexus_id, &port))
		verdict = HF_PR_NO_RESOURCES;
	if (verdict != HF_PR_GOOD)
		return refuse(cmd, verdict);
	reservations->next = malloc(sizeof *reservations->next);
	if (!reservations->next)
		return SAM_BUSY;
	if (reservations->pr)
		*reservations->next = *reservations->pr;
	else
		memset(reservations->next, 0, sizeof *reservations->next);
	verdict = hf_pr_out(reservations->next, &port, &command, &reservations->outcome);
	if (verdict == HF_PR_GOOD && reservations->outcome.changed)
		return keep_next(cmd);
	free(reservations->next);
	reservations->next = NULL;
	return verdict == HF_PR_GOOD ? hf_command_gave(cmd, 0) : refuse(cmd, verdict);
}
