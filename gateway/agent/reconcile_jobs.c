/* Running steps (reconcile_internal.h): one after the other for a volume, through the sockets of
 * volumed and the broker. When one fails, those of the same plan that can be are taken back in
 * reverse, and the volume is planned again after a while.
 *
 * A question carries a ticket with the job's number: when the document changed meanwhile, the job
 * was abandoned and the answer finds nothing. */
#include "gateway/agent/reconcile_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/log.h"
#include "gateway/agent/document.h"
#include "gateway/agent/requests.h"
#include "gateway/agent/volume_state.h"

#define TICKET_MAGIC   0x5449434bu
#define BROKER_STEP_MS 30000u
#define ATTACH_STEP_MS 600000u
#define DRAIN_STEP_MS  86400000u /* a detach or removal takes as long as the store is away */

struct ticket {
	uint32_t magic;
	struct hf_reconciler *reconciler;
	uint64_t volume, job; /* of a member */
	enum hf_chore chore;  /* job 0: of a chore */
	unsigned tgtd;
	bool volumed;
};

static void run_step(struct hf_reconciler *reconciler, struct hf_member *member);

static enum hf_step step_of(const struct hf_member *member)
{
	enum hf_step step = member->plan.steps[member->at];

	return member->undoing ? hf_step_undo(step) : step;
}

/* ---- The end of a job ---- */

static void stop_running(struct hf_reconciler *reconciler, struct hf_member *member)
{
	member->running = member->undoing = false;
	member->job = 0;
	reconciler->running--;
	member->after_broker = reconciler->tgtds[member->tgtd].after_broker =
		reconciler->sources.brokers[member->tgtd].started;
	member->after_volumed = reconciler->sources.volumed.started;
}

void hf_job_abandon(struct hf_reconciler *reconciler, struct hf_member *member)
{
	stop_running(reconciler, member);
}

static void end_job(struct hf_reconciler *reconciler, struct hf_member *member)
{
	stop_running(reconciler, member);
	/* Their answers bring everybody's next plan. */
	hf_sources_ask_now(&reconciler->sources);
}

/* Finds the next step to take back; false if there is none. */
static bool next_undo(struct hf_member *member)
{
	while (member->done_steps > 0) {
		member->at = --member->done_steps;
		if (hf_step_undo(member->plan.steps[member->at]) != HF_STEP_NONE)
			return true;
	}
	return false;
}

static void step_failed(struct hf_reconciler *reconciler, struct hf_member *member, int err,
			const char *reason)
{
	char id[HF_ID_TEXT_MAX], text[HF_REASON_MAX];

	if (!member->undoing) {
		snprintf(text, sizeof text, "%s: %s", hf_step_text(step_of(member)), reason);
		hf_warn("%s: %s (%s)", hf_id_format(HF_ID_VOLUME, member->volume, id), text,
			hf_err_name(err));
		hf_retry_failed(reconciler, &member->retry, err, text);
		member->undoing = true;
		member->repeats = 0;
	}
	if (next_undo(member))
		run_step(reconciler, member);
	else
		end_job(reconciler, member);
}

/* ---- What a step that succeeded leaves behind ---- */

static void keep_access(struct hf_reconciler *reconciler, unsigned tgtd)
{
	const Holdfast__BrokerState *target = reconciler->sources.targets[tgtd];
	struct hf_kept_access *list = calloc(HF_DOCUMENT_VOLUMES_MAX, sizeof *list);
	struct hf_errmsg message;
	size_t count = 0;

	HF_ASSERT(list);
	hf_list_for_each (at, &reconciler->members) {
		struct hf_member *member = hf_container_of(at, struct hf_member, link);

		if (member->tgtd != tgtd || !member->done.access_version ||
		    count == HF_DOCUMENT_VOLUMES_MAX ||
		    member->done.access_boot_length != target->boot.len ||
		    memcmp(member->done.access_boot, target->boot.data, target->boot.len) != 0)
			continue;
		list[count].volume = member->volume;
		list[count++].version = member->done.access_version;
	}
	if (hf_kept_set_access(reconciler->config.kept, tgtd, target->boot.data, target->boot.len,
			       list, count, &message) != 0)
		hf_warn("%s", message.text);
	free(list);
}

static void note_access(struct hf_reconciler *reconciler, struct hf_member *member)
{
	const Holdfast__BrokerState *target = reconciler->sources.targets[member->tgtd];

	if (!target || target->boot.len > HF_BOOT_MAX)
		return;
	member->done.access_version = member->job_version;
	member->done.access_boot_length = target->boot.len;
	if (target->boot.len)
		memcpy(member->done.access_boot, target->boot.data, target->boot.len);
	keep_access(reconciler, member->tgtd);
}

static void note_done(struct hf_reconciler *reconciler, struct hf_member *member)
{
	switch (step_of(member)) {
	case HF_STEP_ATTACH:
		member->done.attached_version = member->job_version;
		member->done.attached_pid =
			reconciler->sources.status ? reconciler->sources.status->pid : 0;
		break;
	case HF_STEP_SET_ACCESS:
		note_access(reconciler, member);
		break;
	case HF_STEP_DETACH:
		member->done.attached_version = 0;
		break;
	case HF_STEP_REMOVE:
		member->done.removed_version = member->job_version;
		break;
	default:
		break;
	}
}

static void step_succeeded(struct hf_reconciler *reconciler, struct hf_member *member)
{
	char id[HF_ID_TEXT_MAX];

	hf_info("%s: %s%s took %" PRIu64 " ms", hf_id_format(HF_ID_VOLUME, member->volume, id),
		member->undoing ? "taken back: " : "", hf_step_text(step_of(member)),
		hf_reconciler_now_ms(reconciler) - member->started_ms);
	if (member->undoing) {
		if (next_undo(member))
			run_step(reconciler, member);
		else
			end_job(reconciler, member);
		return;
	}
	note_done(reconciler, member);
	member->done_steps = ++member->at;
	if (member->at < member->plan.count) {
		run_step(reconciler, member);
		return;
	}
	hf_retry_clear(&member->retry);
	end_job(reconciler, member);
}

/* ---- Asking ---- */

static void on_step_answered(void *context, int status, const uint8_t *bytes, size_t length)
{
	struct ticket *ticket = context;
	struct hf_reconciler *reconciler = ticket->reconciler;
	struct hf_member *member;
	struct hf_errmsg message = {""};
	bool wanted;

	HF_CHECK_MAGIC(ticket, TICKET_MAGIC);
	member = hf_reconciler_member(reconciler, ticket->volume);
	wanted = member && member->running && member->job == ticket->job && !reconciler->stopping;
	if (status == 0)
		status = hf_answer_read(ticket->volumed, bytes, length, &message);
	else
		snprintf(message.text, sizeof message.text, "%s: %s",
			 ticket->volumed ? "volumed" : "the broker", hf_err_text(status));
	ticket->magic = 0;
	free(ticket);
	if (!wanted)
		return;
	if (status)
		step_failed(reconciler, member, status, message.text);
	else
		step_succeeded(reconciler, member);
}

static struct ticket *new_ticket(struct hf_reconciler *reconciler, bool volumed)
{
	struct ticket *ticket = calloc(1, sizeof *ticket);

	HF_ASSERT(ticket);
	ticket->magic = TICKET_MAGIC;
	ticket->reconciler = reconciler;
	ticket->volumed = volumed;
	return ticket;
}

static uint64_t deadline_of(enum hf_step step)
{
	if (step == HF_STEP_ATTACH)
		return ATTACH_STEP_MS;
	return hf_step_is_volumeds(step) ? DRAIN_STEP_MS : BROKER_STEP_MS;
}

static void run_step(struct hf_reconciler *reconciler, struct hf_member *member)
{
	enum hf_step step = step_of(member);
	struct hf_request_context context = {
		.tenant = reconciler->tenant,
		.sealing = reconciler->config.sealing,
		.entry = member->entry,
		.tombstone = member->tombstone,
		.iqn = member->iqn,
		.lun = member->lun,
		.tgtd = member->tgtd,
	};
	struct hf_errmsg message = {""};
	struct ticket *ticket;
	uint8_t *bytes;
	size_t length;
	int err;

	member->started_ms = hf_reconciler_now_ms(reconciler);
	err = hf_request_of_step(step, &context, &bytes, &length, &message);
	if (err) {
		step_failed(reconciler, member, err, message.text);
		return;
	}
	ticket = new_ticket(reconciler, hf_step_is_volumeds(step));
	ticket->volume = member->volume;
	ticket->job = member->job;
	hf_local_call(ticket->volumed ? reconciler->volumed
				      : reconciler->tgtds[member->tgtd].broker,
		      bytes, length, deadline_of(step), on_step_answered, ticket);
	hf_wipe_free(bytes, length);
}

static void choose_target(struct hf_member *member, const struct hf_actual *actual)
{
	const Holdfast__BrokerTargetState *target;
	const Holdfast__BrokerLunState *lun;

	member->iqn[0] = '\0';
	member->lun = member->entry ? member->entry->lun : 0;
	if (member->entry) {
		snprintf(member->iqn, sizeof member->iqn, "%s", member->entry->target);
		return;
	}
	target = hf_actual_target_of(actual, member->volume);
	if (!target)
		return;
	snprintf(member->iqn, sizeof member->iqn, "%s", target->iqn);
	lun = hf_target_lun(target, member->volume);
	if (lun)
		member->lun = lun->lun;
}

void hf_job_start(struct hf_reconciler *reconciler, struct hf_member *member,
		  const struct hf_plan *plan, const struct hf_actual *actual)
{
	HF_ASSERT(!member->running && plan->count > 0);
	choose_target(member, actual);
	member->running = true;
	reconciler->running++;
	member->plan = *plan;
	member->at = member->done_steps = 0;
	member->job = ++reconciler->last_job;
	member->job_version = member->version;
	run_step(reconciler, member);
}

/* ---- Chores ---- */

static const char *const chore_texts[] = {
	[HF_CHORE_STORE] = "set the store",
	[HF_CHORE_STRAY_PORTAL] = "close a portal that is not ours",
	[HF_CHORE_STRAY_TARGET] = "delete a target of no volume",
	[HF_CHORE_PORTAL] = "open the portal",
};

static void end_chore(struct hf_reconciler *reconciler, unsigned tgtd, enum hf_chore chore, int err,
		      const char *reason)
{
	struct hf_chore_state *state = &reconciler->tgtds[tgtd].chores[chore];
	char text[HF_REASON_MAX];

	state->running = false;
	state->after_broker = reconciler->sources.brokers[tgtd].started;
	if (err) {
		snprintf(text, sizeof text, "%s: %s", chore_texts[chore], reason);
		hf_warn("%s (%s)", text, hf_err_name(err));
		hf_retry_failed(reconciler, &state->retry, err, text);
		return;
	}
	hf_info("%s: done", chore_texts[chore]);
	hf_retry_clear(&state->retry);
	if (chore == HF_CHORE_STORE && reconciler->sources.status) {
		reconciler->store_pid = reconciler->sources.status->pid;
		reconciler->store_generation = reconciler->document->generation;
		reconciler->store_incarnation = reconciler->document->incarnation;
	}
}

static void on_chore_answered(void *context, int status, const uint8_t *bytes, size_t length)
{
	struct ticket *ticket = context;
	struct hf_reconciler *reconciler = ticket->reconciler;
	enum hf_chore chore = ticket->chore;
	unsigned tgtd = ticket->tgtd;
	struct hf_errmsg message;

	HF_CHECK_MAGIC(ticket, TICKET_MAGIC);
	hf_fail(&message, 0, "%s", hf_err_text(status));
	if (status == 0)
		status = hf_answer_read(ticket->volumed, bytes, length, &message);
	ticket->magic = 0;
	free(ticket);
	if (reconciler->stopping)
		return;
	end_chore(reconciler, tgtd, chore, status, message.text);
	hf_sources_ask_now(&reconciler->sources);
	hf_reconciler_run(reconciler);
}

static int pack_chore(struct hf_reconciler *reconciler, unsigned tgtd, enum hf_chore chore,
		      const char *what, uint8_t **bytes, size_t *length, struct hf_errmsg *message)
{
	switch (chore) {
	case HF_CHORE_STORE:
		return hf_request_set_store(reconciler->document->store, reconciler->config.sealing,
					    bytes, length, message);
	case HF_CHORE_STRAY_PORTAL:
		return hf_request_portal(false, what, bytes, length);
	case HF_CHORE_STRAY_TARGET:
		return hf_request_delete_target(what, bytes, length);
	case HF_CHORE_PORTAL:
		return hf_request_portal(true, reconciler->tgtds[tgtd].portal, bytes, length);
	}
	return HF_EINVAL;
}

void hf_chore_start(struct hf_reconciler *reconciler, unsigned tgtd, enum hf_chore chore,
		    const char *what)
{
	struct hf_errmsg message = {"out of memory"};
	char portal[128];
	struct ticket *ticket;
	uint8_t *bytes;
	size_t length;
	int err;

	if (chore == HF_CHORE_STRAY_PORTAL) { /* tgtd's list may have ",group" behind it */
		snprintf(portal, sizeof portal, "%.*s", (int)strcspn(what, ","), what);
		what = portal;
	}
	err = pack_chore(reconciler, tgtd, chore, what, &bytes, &length, &message);
	if (err) {
		end_chore(reconciler, tgtd, chore, err, message.text);
		return;
	}
	reconciler->tgtds[tgtd].chores[chore].running = true;
	ticket = new_ticket(reconciler, chore == HF_CHORE_STORE);
	ticket->chore = chore;
	ticket->tgtd = tgtd;
	hf_local_call(ticket->volumed ? reconciler->volumed : reconciler->tgtds[tgtd].broker, bytes,
		      length, BROKER_STEP_MS, on_chore_answered, ticket);
	hf_wipe_free(bytes, length);
}
