/* One-shot actions of simulated gateways, with the agent's own journal, one in a folder for each
 * gateway that ever got one (ACTIONS/INDEX). What is restarted is a number in a file beside it, the
 * run of a process that does not exist: the effect of a restart is the next number, a while after
 * it was begun and a while before it ends, so that kills come in between. The ledger has "acts"
 * when one is begun and "acted" with the new run when it had its effect; the run at a start is told
 * as "ran". */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "gateway/agent/journal.h"
#include "proto/action.pb-c.h"
#include "tests/channel/swarm.h"

#define OUTCOME(name) HOLDFAST__ACTION_OUTCOME__OUTCOME_##name
#define KIND(name)    HOLDFAST__ACTION_KIND__ACTION_##name
#define EFFECT_MS     200u /* at most, from the beginning to the effect, from there to the end */

struct sim_actions {
	char folder[PATH_MAX];
	struct hf_journal *journal;
	uint64_t run;     /* of what is restarted */
	uint64_t running; /* the action under way; 0: none */
	uint64_t mark;    /* the run that it ends */
	uint64_t due_ms;
	uint64_t request; /* that waits for its answer, on that connection */
	unsigned connection;
};

/* ---- What is restarted ---- */

static void read_run(struct sim_actions *a)
{
	char path[PATH_MAX + 8];
	FILE *file;

	snprintf(path, sizeof path, "%s/run", a->folder);
	file = fopen(path, "r");
	if (!file)
		return;
	if (fscanf(file, "%" SCNu64, &a->run) != 1)
		die("%s holds no number", path);
	fclose(file);
}

static void restart(struct sim_gateway *g, struct sim_actions *a)
{
	char path[PATH_MAX + 8], beside[PATH_MAX + 8];
	FILE *file;

	snprintf(path, sizeof path, "%s/run", a->folder);
	snprintf(beside, sizeof beside, "%s/run.new", a->folder);
	file = fopen(beside, "w");
	if (!file || fprintf(file, "%" PRIu64, a->run + 1) < 0 || fclose(file) != 0 ||
	    rename(beside, path) != 0)
		die("%s cannot be written", path);
	a->run++;
	swarm_ledger(g, "acted", a->running, a->run, 0, "");
}

/* ---- Opening ---- */

static void resume(struct sim_gateway *g, struct sim_actions *a)
{
	hf_list_for_each (at, &hf_journal_table(a->journal)->actions) {
		const struct hf_journal_action *open =
			hf_container_of(at, struct hf_journal_action, link);

		if (open->ended)
			continue;
		if (open->mark_length != 8)
			die("action %" PRIu64 " has no mark", open->action);
		a->running = open->action;
		a->mark = hf_get_le64(open->mark);
		a->due_ms = uv_now(g->swarm->loop);
	}
}

static struct sim_actions *open_actions(struct sim_gateway *g)
{
	struct sim_actions *a = calloc(1, sizeof *a);
	struct hf_errmsg why = {""};

	if (!a)
		die("out of memory");
	snprintf(a->folder, sizeof a->folder, "%s/%u", g->swarm->actions, g->index);
	if (mkdir(a->folder, 0700) != 0 && errno != EEXIST)
		die("%s cannot be made", a->folder);
	if (hf_journal_open(a->folder, 0, &a->journal, &why) != 0)
		die("%s: %s", a->folder, why.text);
	read_run(a);
	resume(g, a);
	swarm_ledger(g, "ran", 0, a->run, 0, "");
	return a;
}

void sim_actions_recall(struct sim_gateway *g)
{
	char path[PATH_MAX + 16];
	struct stat status;

	snprintf(path, sizeof path, "%s/%u", g->swarm->actions, g->index);
	if (stat(path, &status) == 0)
		g->actions = open_actions(g);
}

void sim_actions_free(struct sim_gateway *g)
{
	if (g->actions)
		hf_journal_close(g->actions->journal);
	free(g->actions);
	g->actions = NULL;
}

/* ---- Answers ---- */

static void answer_ended(struct sim_gateway *g, unsigned connection, uint64_t request,
			 uint64_t number, bool recorded)
{
	const struct hf_journal_action *action =
		hf_journal_table_find(hf_journal_table(g->actions->journal), number);
	Holdfast__ActionResult result = HOLDFAST__ACTION_RESULT__INIT;
	Holdfast__Answer message = HOLDFAST__ANSWER__INIT;
	uint8_t *bytes;

	result.action = number;
	result.outcome = (Holdfast__ActionOutcome)action->result.outcome;
	result.error = action->result.error;
	result.reason = (char *)(uintptr_t)action->result.reason;
	result.report = (ProtobufCBinaryData){action->result.report_length,
					      (uint8_t *)(uintptr_t)action->result.report};
	result.recorded = recorded;
	bytes = malloc(holdfast__action_result__get_packed_size(&result) + 1);
	if (!bytes)
		die("out of memory");
	message.result_case = HOLDFAST__ANSWER__RESULT_ACT;
	message.act = (ProtobufCBinaryData){holdfast__action_result__pack(&result, bytes), bytes};
	sim_answer(sim_path_of(g, connection), &message, request, 0, NULL);
	free(bytes);
}

static void must(int err, const struct hf_errmsg *why)
{
	if (err)
		die("a journal cannot be written: %s", why->text);
}

static uint64_t some_time(void)
{
	uint32_t random;

	hf_random(&random, sizeof random);
	return random % EFFECT_MS;
}

static void finish(struct sim_gateway *g, struct sim_actions *a)
{
	struct hf_journal_result result = {
		.outcome = OUTCOME(DONE), .reason = "", .report = (const uint8_t *)""};
	uint64_t number = a->running;
	struct hf_errmsg why = {""};

	must(hf_journal_finish(a->journal, number, &result, &why), &why);
	a->running = 0;
	if (a->request)
		answer_ended(g, a->connection, a->request, number, false);
	a->request = 0;
}

void sim_actions_tick(struct sim_gateway *g, uint64_t now_ms)
{
	struct sim_actions *a = g->actions;

	if (!a || !a->running || now_ms < a->due_ms)
		return;
	/* Whoever has the effect looks which run is meant. */
	if (a->run == a->mark) {
		restart(g, a);
		a->due_ms = now_ms + some_time();
		return;
	}
	finish(g, a);
}

/* ---- What arrives ---- */

static void settle(struct sim_path *path, const struct hf_journal_action *action, uint32_t outcome,
		   int err, uint64_t request)
{
	struct hf_journal_result result = {.outcome = outcome,
					   .error = -err,
					   .reason = err ? hf_err_text(err) : "",
					   .report = (const uint8_t *)""};
	struct hf_errmsg why = {""};

	must(hf_journal_settle(path->gateway->actions->journal, action, &result, &why), &why);
	answer_ended(path->gateway, path->connection, request, action->action, false);
}

static void begin(struct sim_path *path, struct hf_journal_action *action, uint64_t request)
{
	struct sim_gateway *g = path->gateway;
	struct sim_actions *a = g->actions;
	struct hf_errmsg why = {""};
	uint8_t mark[8];
	char text[64];

	hf_put_le64(mark, a->run);
	action->mark = mark;
	action->mark_length = sizeof mark;
	must(hf_journal_begin(a->journal, action, &why), &why);
	snprintf(text, sizeof text, "on=%" PRIu64, g->paths.path[path->index].epoch);
	swarm_ledger(g, "acts", action->action, a->run, action->sequence, text);
	a->running = action->action;
	a->mark = a->run;
	a->due_ms = uv_now(g->swarm->loop) + some_time();
	a->request = request;
	a->connection = path->connection;
}

static void fresh(struct sim_path *path, struct hf_journal_action *action,
		  const Holdfast__ActionTerms *terms, uint64_t request)
{
	if (terms && terms->expires && terms->remaining_ms == 0)
		settle(path, action, OUTCOME(EXPIRED), HF_ETIMEDOUT, request);
	else if (path->gateway->actions->running)
		sim_answer_plainly(path, request, HF_EAGAIN, "another action is under way");
	else if (action->kind == KIND(RESTART_TARGET) || action->kind == KIND(RESTART_VOLUMED))
		begin(path, action, request);
	else
		settle(path, action, OUTCOME(REFUSED), HF_EUNSUPPORTED, request);
}

static void judge(struct sim_path *path, struct hf_journal_action *action,
		  const Holdfast__ActionTerms *terms, uint64_t request)
{
	struct sim_gateway *g = path->gateway;
	struct sim_actions *a = g->actions;

	switch (hf_journal_judge(hf_journal_table(a->journal), action->action, action->sequence,
				 action->hash, terms && terms->sent_before)) {
	case HF_JOURNAL_FRESH:
		fresh(path, action, terms, request);
		return;
	case HF_JOURNAL_KNOWN:
		if (a->running != action->action) {
			answer_ended(g, path->connection, request, action->action, true);
			return;
		}
		a->request = request;
		a->connection = path->connection;
		return;
	case HF_JOURNAL_FULL:
		sim_answer_plainly(path, request, HF_EAGAIN, "the journal is full");
		return;
	case HF_JOURNAL_UNKNOWN:
		settle(path, action, OUTCOME(UNKNOWN), HF_EUNKNOWN, request);
		return;
	case HF_JOURNAL_OTHER:
	case HF_JOURNAL_STALE:
		swarm_ledger(g, "stale", action->action, 0, action->sequence, "");
		sim_answer_plainly(path, request, HF_ESTALE, "not newer than what was begun here");
		return;
	}
}

void sim_act(struct sim_path *path, const struct hf_session_event *event)
{
	struct sim_gateway *g = path->gateway;
	const struct identities *all = &g->swarm->all;
	struct hf_journal_action action = {.mark = (uint8_t *)(uintptr_t) ""};
	Holdfast__Action *asked = NULL;
	struct hf_errmsg why = {""};
	Holdfast__Change *change;
	int err = hf_change_verify(g->signer_key, all->tenant, g->identity.gateway,
				   event->requested->act, &change, &why);

	if (err) {
		sim_answer_plainly(path, event->request, err, why.text);
		return;
	}
	if (change->kind_case == HOLDFAST__CHANGE__KIND_ACTION)
		asked = holdfast__action__unpack(NULL, change->action.len, change->action.data);
	if (!g->actions)
		g->actions = open_actions(g);
	if (asked) {
		action.action = asked->action;
		action.sequence = change->sequence;
		action.kind = asked->kind;
		memcpy(action.hash, change->hash.data, sizeof action.hash);
		judge(path, &action, event->requested->terms, event->request);
	} else {
		sim_answer_plainly(path, event->request, HF_EINVAL, "there is no action");
	}
	holdfast__action__free_unpacked(asked, NULL);
	holdfast__change__free_unpacked(change, NULL);
}

void sim_forget(struct sim_path *path, const struct hf_session_event *event)
{
	struct sim_gateway *g = path->gateway;
	uint64_t number = event->requested->forget, newest = 0;
	struct hf_errmsg why = {""};

	if (g->actions) {
		hf_list_for_each (at, &hf_journal_table(g->actions->journal)->actions) {
			const struct hf_journal_action *known =
				hf_container_of(at, struct hf_journal_action, link);

			newest = known->action;
		}
		must(hf_journal_forget(g->actions->journal, number < newest ? number : newest,
				       &why),
		     &why);
	}
	sim_answer_plainly(path, event->request, 0, NULL);
}
