/* What arrives, what is begun and what is answered (actions.h). */
#include "gateway/agent/actions.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "gateway/agent/actions_internal.h"
#include "proto/budget.h"

#define LOOK_MS    100u
#define RESTART_MS 30000u /* until the next run of a process answers */
#define RESCAN_MS  10000u

#define OUTCOME(name) HOLDFAST__ACTION_OUTCOME__OUTCOME_##name
#define KIND(name)    HOLDFAST__ACTION_KIND__ACTION_##name

/* ---- Results ---- */

static void fill_result(const struct hf_journal_action *action, bool recorded,
			Holdfast__ActionResult *result)
{
	holdfast__action_result__init(result);
	result->action = action->action;
	result->outcome = (Holdfast__ActionOutcome)action->result.outcome;
	result->error = action->result.error;
	result->reason = (char *)(uintptr_t)action->result.reason;
	result->report = (ProtobufCBinaryData){.len = action->result.report_length,
					       .data = (uint8_t *)(uintptr_t)action->result.report};
	result->recorded = recorded;
}

static void start_next(struct hf_actions *actions);

void hf_actions_finish(struct hf_actions *actions, uint32_t outcome, int err, const char *reason)
{
	struct hf_journal_result result = {
		.outcome = outcome, .error = -err, .reason = reason, .report = (const uint8_t *)""};
	uint64_t number = actions->running;
	Holdfast__ActionResult told;
	struct hf_errmsg message;

	if (hf_journal_finish(actions->journal, number, &result, &message) != 0) {
		/* Not told before it is kept: the next tick tries again. */
		if (!actions->warned)
			hf_error("action %" PRIu64 " has ended and that cannot be kept: %s", number,
				 message.text);
		actions->warned = true;
		return;
	}
	actions->warned = false;
	hf_info("action %" PRIu64 " ended: %s", number, err ? reason : "done");
	uv_timer_stop(&actions->timer);
	actions->running = 0;
	fill_result(hf_journal_table_find(hf_journal_table(actions->journal), number), false,
		    &told);
	actions->config.ended(actions->config.context, &told);
	if (!actions->closing)
		start_next(actions);
}

/* Kept at once, without anything under way in between. */
static int settle(struct hf_actions *actions, const struct hf_journal_action *action,
		  const struct hf_journal_result *result, Holdfast__ActionResult *told,
		  struct hf_errmsg *message)
{
	int err = hf_journal_settle(actions->journal, action, result, message);

	if (!err)
		fill_result(
			hf_journal_table_find(hf_journal_table(actions->journal), action->action),
			false, told);
	return err;
}

static int settle_refused(struct hf_actions *actions, const struct hf_journal_action *action,
			  uint32_t outcome, int why, const char *reason,
			  Holdfast__ActionResult *told, struct hf_errmsg *message)
{
	struct hf_journal_result result = {
		.outcome = outcome, .error = -why, .reason = reason, .report = (const uint8_t *)""};

	return settle(actions, action, &result, told, message);
}

/* ---- Kinds that only look ---- */

static int settle_plan(struct hf_actions *actions, const struct hf_journal_action *action,
		       const Holdfast__Document *document, Holdfast__ActionResult *told,
		       struct hf_errmsg *message)
{
	struct hf_desired *desired = actions->config.desired;
	struct hf_errmsg why = {""};
	int refused = hf_desired_check(desired, document, &why);
	Holdfast__PlanReport *report = hf_reconciler_dry_run(desired->reconciler, document);
	struct hf_journal_result result = {.outcome = OUTCOME(DONE), .reason = ""};
	uint8_t *bytes;
	int err;

	report->error = -refused;
	report->network_changes =
		desired->network &&
		hf_network_would_change(desired->network, document->incarnation, document->network);
	if (refused) {
		report->reason = strdup(why.text);
		HF_ASSERT(report->reason);
	}
	result.report_length = holdfast__plan_report__get_packed_size(report);
	bytes = malloc(result.report_length + 1);
	HF_ASSERT(bytes);
	holdfast__plan_report__pack(report, bytes);
	holdfast__plan_report__free_unpacked(report, NULL);
	result.report = bytes;
	if (result.report_length > HF_JOURNAL_REPORT_MAX)
		err = settle_refused(actions, action, OUTCOME(FAILED), HF_ETOOBIG,
				     "the plan is too long for an answer", told, message);
	else
		err = settle(actions, action, &result, told, message);
	free(bytes);
	return err;
}

static int plan(struct hf_actions *actions, const struct hf_journal_action *action,
		const Holdfast__Action *asked, Holdfast__ActionResult *told,
		struct hf_errmsg *message)
{
	Holdfast__Document *document;
	struct hf_budget budget;
	int err;

	hf_budget_init(&budget, asked->document.len);
	document = holdfast__document__unpack(&budget.allocator, asked->document.len,
					      asked->document.data);
	if (!document)
		return settle_refused(actions, action, OUTCOME(REFUSED), HF_EINVAL,
				      "there is no document to plan", told, message);
	err = settle_plan(actions, action, document, told, message);
	holdfast__document__free_unpacked(document, &budget.allocator);
	return err;
}

static int diagnose(struct hf_actions *actions, const struct hf_journal_action *action,
		    Holdfast__ActionResult *told, struct hf_errmsg *message)
{
	struct hf_journal_result result = {.outcome = OUTCOME(DONE), .reason = ""};
	uint8_t *report = hf_diagnose(actions, &result.report_length);
	int err;

	result.report = report;
	err = settle(actions, action, &result, told, message);
	free(report);
	return err;
}

/* ---- Kinds that do something ---- */

static void on_tick(uv_timer_t *timer)
{
	struct hf_actions *actions = timer->data;

	HF_CHECK_MAGIC(actions, HF_ACTIONS_MAGIC);
	if (actions->undecidable)
		hf_actions_finish(actions, OUTCOME(UNKNOWN), HF_EUNKNOWN,
				  "the agent ended in between, and what was done does not show");
	else if (actions->kind != KIND(RESCAN))
		hf_restart_tick(actions);
	else if (hf_reconciler_scanned(actions->config.desired->reconciler, &actions->scan))
		hf_actions_finish(actions, OUTCOME(DONE), 0, "");
	else if (uv_now(actions->config.loop) >= actions->deadline_ms)
		hf_actions_finish(actions, OUTCOME(FAILED), HF_ENOTREADY,
				  "not everything answered");
}

/* Under way from here; the marks are set. */
static void run(struct hf_actions *actions, uint64_t number, uint32_t kind, bool resumed)
{
	actions->running = number;
	actions->kind = kind;
	actions->undecidable = actions->undecidable && resumed;
	actions->resumed = resumed;
	actions->deadline_ms =
		uv_now(actions->config.loop) + (kind == KIND(RESCAN) ? RESCAN_MS : RESTART_MS);
	if (kind == KIND(RESCAN)) {
		hf_reconciler_scan_mark(actions->config.desired->reconciler, &actions->scan);
		hf_reconciler_rescan(actions->config.desired->reconciler);
	}
	uv_timer_start(&actions->timer, on_tick, 0, LOOK_MS);
}

static int begin(struct hf_actions *actions, struct hf_journal_action *action,
		 const Holdfast__Action *asked, struct hf_errmsg *message)
{
	uint8_t mark[HF_JOURNAL_MARK_MAX];
	int err = 0;

	if (asked->kind != KIND(RESCAN)) {
		err = hf_restart_marks(actions, asked->kind, asked->tgtd, message);
		if (err)
			return err;
		action->mark = mark;
		action->mark_length = hf_restart_encode(actions, mark);
	}
	err = hf_journal_begin(actions->journal, action, message);
	if (err)
		return err;
	hf_info("action %" PRIu64 " begins", action->action);
	run(actions, action->action, asked->kind, false);
	return 1;
}

static int start(struct hf_actions *actions, struct hf_journal_action *action,
		 const Holdfast__Action *asked, Holdfast__ActionResult *told,
		 struct hf_errmsg *message)
{
	switch (asked->kind) {
	case KIND(RESTART_TARGET):
	case KIND(RESTART_VOLUMED):
	case KIND(RESCAN):
		return begin(actions, action, asked, message);
	case KIND(DIAGNOSE):
		return diagnose(actions, action, told, message);
	case KIND(PLAN):
		return plan(actions, action, asked, told, message);
	case KIND(SNAPSHOT):
		return settle_refused(actions, action, OUTCOME(REFUSED), HF_EUNSUPPORTED,
				      "this software takes no snapshots for the provider yet", told,
				      message);
	case KIND(UPDATE):
		return settle_refused(actions, action, OUTCOME(REFUSED), HF_EUNSUPPORTED,
				      "this software is not updated by the provider yet", told,
				      message);
	default:
		return settle_refused(actions, action, OUTCOME(REFUSED), HF_EUNSUPPORTED,
				      "this software does not know the action", told, message);
	}
}

/* ---- After a crash ---- */

/* The first that was begun and not ended. */
static const struct hf_journal_action *find_open(const struct hf_actions *actions)
{
	hf_list_for_each (at, &hf_journal_table(actions->journal)->actions) {
		const struct hf_journal_action *action =
			hf_container_of(at, struct hf_journal_action, link);

		if (!action->ended)
			return action;
	}
	return NULL;
}

static void start_next(struct hf_actions *actions)
{
	const struct hf_journal_action *open = find_open(actions);

	if (!open || actions->running)
		return;
	hf_info("action %" PRIu64 " was begun before; deciding what became of it", open->action);
	actions->mark_count = 0;
	actions->undecidable =
		open->kind != KIND(RESCAN) &&
		((open->kind != KIND(RESTART_TARGET) && open->kind != KIND(RESTART_VOLUMED)) ||
		 hf_restart_decode(actions, open->mark, open->mark_length) != 0);
	run(actions, open->action, open->kind, true);
}

/* ---- What arrives ---- */

/* 0: fresh, to be started. 1: the result follows. 2: `*told` is the answer. Else an error. */
static int judge(struct hf_actions *actions, const struct hf_journal_action *action,
		 bool sent_before, Holdfast__ActionResult *told, struct hf_errmsg *message)
{
	const struct hf_journal_table *table = hf_journal_table(actions->journal);
	const struct hf_journal_action *known;
	int err;

	switch (hf_journal_judge(table, action->action, action->sequence, action->hash,
				 sent_before)) {
	case HF_JOURNAL_FRESH:
		return 0;
	case HF_JOURNAL_KNOWN:
		known = hf_journal_table_find(table, action->action);
		if (!known->ended)
			return 1;
		fill_result(known, true, told);
		return 2;
	case HF_JOURNAL_OTHER:
		return hf_fail(message, HF_EINVAL, "action %" PRIu64 " was another one before",
			       action->action);
	case HF_JOURNAL_STALE:
		return hf_fail(message, HF_ESTALE,
			       "action %" PRIu64 " is not newer than what was begun here",
			       action->action);
	case HF_JOURNAL_FULL:
		return hf_fail(message, HF_EAGAIN, "%u actions wait to be forgotten",
			       HF_JOURNAL_ACTIONS_MAX);
	case HF_JOURNAL_UNKNOWN:
		break;
	}
	err = settle_refused(actions, action, OUTCOME(UNKNOWN), HF_EUNKNOWN,
			     "the gateway's journal was damaged; it may have been done", told,
			     message);
	return err ? err : 2;
}

static int act(struct hf_actions *actions, const Holdfast__Change *change,
	       const Holdfast__Action *asked, const Holdfast__ActionTerms *terms,
	       Holdfast__ActionResult *told, struct hf_errmsg *message)
{
	struct hf_journal_action action = {.action = asked->action,
					   .sequence = change->sequence,
					   .kind = asked->kind,
					   .mark = (uint8_t *)""};
	int verdict;

	memcpy(action.hash, change->hash.data, sizeof action.hash);
	verdict = judge(actions, &action, terms && terms->sent_before, told, message);
	if (verdict < 0 || verdict == 1)
		return verdict;
	if (verdict == 2)
		return 0;
	if (terms && terms->expires && terms->remaining_ms == 0)
		return settle_refused(actions, &action, OUTCOME(EXPIRED), HF_ETIMEDOUT,
				      "it did not reach the gateway in time", told, message);
	if (actions->running)
		return hf_fail(message, HF_EAGAIN, "action %" PRIu64 " is under way",
			       actions->running);
	return start(actions, &action, asked, told, message);
}

int hf_actions_act(struct hf_actions *actions, const Holdfast__Signed *packet,
		   const Holdfast__ActionTerms *terms, uint64_t *number,
		   Holdfast__ActionResult *result, struct hf_errmsg *message)
{
	Holdfast__Change *change;
	Holdfast__Action *asked = NULL;
	int err;

	HF_CHECK_MAGIC(actions, HF_ACTIONS_MAGIC);
	*number = 0;
	err = hf_desired_verify(actions->config.desired, packet, &change, message);
	if (err)
		return err;
	if (change->kind_case == HOLDFAST__CHANGE__KIND_ACTION)
		asked = holdfast__action__unpack(NULL, change->action.len, change->action.data);
	if (!asked || asked->action == 0) {
		err = hf_fail(message, HF_EINVAL, "the change holds no action");
	} else {
		*number = asked->action;
		err = act(actions, change, asked, terms, result, message);
	}
	holdfast__action__free_unpacked(asked, NULL);
	holdfast__change__free_unpacked(change, NULL);
	return err;
}

static uint64_t newest_known(const struct hf_actions *actions)
{
	uint64_t newest = 0;

	hf_list_for_each (at, &hf_journal_table(actions->journal)->actions) {
		const struct hf_journal_action *action =
			hf_container_of(at, struct hf_journal_action, link);

		if (action->action > newest)
			newest = action->action;
	}
	return newest;
}

int hf_actions_forget(struct hf_actions *actions, uint64_t number, struct hf_errmsg *message)
{
	HF_CHECK_MAGIC(actions, HF_ACTIONS_MAGIC);
	/* No signature says so: nothing that was never begun here is forgotten, or whoever held the
	 * connection once could have every later action refused for good. */
	if (number > newest_known(actions))
		number = newest_known(actions);
	/* One under way is not the provider's to forget, whatever it says. */
	if (actions->running && number >= actions->running)
		number = actions->running - 1;
	return hf_journal_forget(actions->journal, number, message);
}

uint64_t hf_actions_sequence(const struct hf_actions *actions)
{
	return hf_journal_table(actions->journal)->sequence;
}

/* ---- Opening and closing ---- */

void hf_actions_maybe_closed(struct hf_actions *actions)
{
	void (*closed)(void *) = actions->closed;
	void *context = actions->closed_context;

	if (!actions->timer_closed || actions->asking)
		return;
	hf_journal_close(actions->journal);
	actions->magic = 0;
	free(actions);
	if (closed)
		closed(context);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct hf_actions *actions = handle->data;

	actions->timer_closed = true;
	hf_actions_maybe_closed(actions);
}

void hf_actions_close(struct hf_actions *actions, void (*closed)(void *context), void *context)
{
	HF_CHECK_MAGIC(actions, HF_ACTIONS_MAGIC);
	actions->closing = true;
	actions->closed = closed;
	actions->closed_context = context;
	uv_close((uv_handle_t *)&actions->timer, on_timer_closed);
}

int hf_actions_open(const struct hf_actions_config *config, struct hf_actions **out,
		    struct hf_errmsg *message)
{
	struct hf_actions *actions = calloc(1, sizeof *actions);
	int err;

	if (!actions)
		return hf_fail(message, HF_ENOMEM, "out of memory");
	actions->magic = HF_ACTIONS_MAGIC;
	actions->config = *config;
	err = hf_journal_open(config->desired->kept->folder, config->desired->newest.sequence,
			      &actions->journal, message);
	if (err) {
		free(actions);
		return err;
	}
	actions->timer.data = actions;
	uv_timer_init(config->loop, &actions->timer);
	start_next(actions);
	*out = actions;
	return 0;
}
