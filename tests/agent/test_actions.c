/* Promises of one-shot actions (invariant 4), on the real agent in a process of its own: each runs
 * at most once and none is lost, wherever the agent is killed; what became of it is told again in
 * the same words; what is replayed, reordered, forged or too late is never begun; what cannot be
 * decided is unknown. Effects are counted by the stand-ins that have them, not by the journal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/agent/journal.h"
#include "tests/agent/agent_child.h"

#define KIND(name)    HOLDFAST__ACTION_KIND__ACTION_##name
#define OUTCOME(name) HOLDFAST__ACTION_OUTCOME__OUTCOME_##name

static uint64_t send_action(struct agent_child *child, uint64_t number, Holdfast__ActionKind kind,
			    const Holdfast__ActionTerms *terms)
{
	Holdfast__Action action = HOLDFAST__ACTION__INIT;

	action.action = number;
	action.kind = kind;
	return fake_provider_act(&child->provider, &action, 10 + number, terms,
				 &child->provider.signer);
}

/* The error of the request itself; the result is in the provider. */
static int act(struct agent_child *child, uint64_t number, Holdfast__ActionKind kind)
{
	int err;

	/* The agent may not have seen its processes yet. */
	do
		err = agent_child_answer(child, send_action(child, number, kind, NULL));
	while (err == HF_ENOTREADY);
	return err;
}

static void assert_result(const struct agent_child *child, uint64_t number,
			  Holdfast__ActionOutcome outcome, bool recorded)
{
	assert_non_null(child->provider.result);
	assert_true(child->provider.result->action == number);
	assert_int_equal(child->provider.result->outcome, outcome);
	assert_int_equal(child->provider.result->recorded, recorded);
}

static void test_once_and_told_again(void **state)
{
	struct agent_child *child = *state;

	assert_int_equal(act(child, 1, KIND(RESTART_TARGET)), 0);
	assert_result(child, 1, OUTCOME(DONE), false);
	assert_int_equal(act(child, 2, KIND(RESTART_VOLUMED)), 0);
	assert_result(child, 2, OUTCOME(DONE), false);
	for (int again = 0; again < 2; again++) {
		assert_int_equal(act(child, 1, KIND(RESTART_TARGET)), 0);
		assert_result(child, 1, OUTCOME(DONE), true);
		assert_int_equal(act(child, 2, KIND(RESTART_VOLUMED)), 0);
		assert_result(child, 2, OUTCOME(DONE), true);
		agent_child_kill(child);
		agent_child_start(child, NULL);
	}
	assert_int_equal(child->gateway.tgtd_restarts, 1);
	assert_int_equal(child->gateway.volumed_restarts, 1);
}

static void test_replayed_reordered_and_forged(void **state)
{
	struct agent_child *child = *state;
	Holdfast__Action action = HOLDFAST__ACTION__INIT;
	struct hf_sign_key other;

	assert_int_equal(act(child, 5, KIND(RESTART_TARGET)), 0);
	action.action = 4;
	action.kind = KIND(RESTART_TARGET);
	/* Signed before the one that was done. */
	assert_int_equal(agent_child_answer(child, send_action(child, 4, action.kind, NULL)),
			 HF_ESTALE);
	/* A new number on a used sequence. */
	action.action = 6;
	assert_int_equal(
		agent_child_answer(child, fake_provider_act(&child->provider, &action, 15, NULL,
							    &child->provider.signer)),
		HF_ESTALE);
	/* A used number for something else. */
	assert_int_equal(act(child, 5, KIND(RESTART_VOLUMED)), HF_EINVAL);
	hf_sign_key_make(&other);
	assert_int_equal(agent_child_answer(child, fake_provider_act(&child->provider, &action, 30,
								     NULL, &other)),
			 HF_EAUTH);
	assert_int_equal(child->gateway.tgtd_restarts, 1);
	assert_int_equal(child->gateway.volumed_restarts, 0);
}

static void test_too_late_is_never_begun(void **state)
{
	struct agent_child *child = *state;
	Holdfast__ActionTerms terms = HOLDFAST__ACTION_TERMS__INIT;

	terms.expires = true;
	assert_int_equal(
		agent_child_answer(child, send_action(child, 1, KIND(RESTART_TARGET), &terms)), 0);
	assert_result(child, 1, OUTCOME(EXPIRED), false);
	assert_int_equal(child->provider.result->error, -HF_ETIMEDOUT);
	/* Somebody who withheld it cannot have it done later. */
	agent_child_kill(child);
	agent_child_start(child, NULL);
	terms.remaining_ms = 60000;
	assert_int_equal(
		agent_child_answer(child, send_action(child, 1, KIND(RESTART_TARGET), &terms)), 0);
	assert_result(child, 1, OUTCOME(EXPIRED), true);
	assert_int_equal(child->gateway.tgtd_restarts, 0);
}

static void test_forgotten_is_not_done_again(void **state)
{
	struct agent_child *child = *state;
	Holdfast__Request request = HOLDFAST__REQUEST__INIT;

	assert_int_equal(act(child, 1, KIND(RESTART_TARGET)), 0);
	request.kind_case = HOLDFAST__REQUEST__KIND_FORGET;
	request.forget = 1;
	assert_int_equal(agent_child_answer(child, fake_provider_ask(&child->provider, &request)),
			 0);
	agent_child_kill(child);
	agent_child_start(child, NULL);
	assert_int_equal(act(child, 1, KIND(RESTART_TARGET)), HF_ESTALE);
	assert_int_equal(child->gateway.tgtd_restarts, 1);
}

/* Invariant 7: `forget` is not signed, so it does nothing to actions that are still to come. */
static void test_what_is_to_come_is_not_forgotten(void **state)
{
	struct agent_child *child = *state;
	Holdfast__Request request = HOLDFAST__REQUEST__INIT;

	request.kind_case = HOLDFAST__REQUEST__KIND_FORGET;
	request.forget = UINT64_MAX;
	assert_int_equal(agent_child_answer(child, fake_provider_ask(&child->provider, &request)),
			 0);
	assert_int_equal(act(child, 1, KIND(RESTART_TARGET)), 0);
	assert_int_equal(agent_child_answer(child, fake_provider_ask(&child->provider, &request)),
			 0);
	assert_int_equal(act(child, 1, KIND(RESTART_TARGET)), HF_ESTALE);
	assert_int_equal(act(child, 2, KIND(RESTART_TARGET)), 0);
	assert_int_equal(child->gateway.tgtd_restarts, 2);
}

static int forget_up_to(struct agent_child *child, uint64_t number)
{
	Holdfast__Request request = HOLDFAST__REQUEST__INIT;

	request.kind_case = HOLDFAST__REQUEST__KIND_FORGET;
	request.forget = number;
	return agent_child_answer(child, fake_provider_ask(&child->provider, &request));
}

/* A provider that forgets nothing is held off, and loses nothing: what finds no room is not begun,
 * also over a kill, and is done once when there is room. */
static void test_a_full_journal_holds_off(void **state)
{
	struct agent_child *child = *state;
	uint64_t number = 1;

	for (; number <= HF_JOURNAL_ACTIONS_MAX; number++)
		assert_int_equal(act(child, number, KIND(UPDATE)), 0);
	for (int again = 0; again < 2; again++) {
		assert_int_equal(act(child, number, KIND(RESTART_TARGET)), HF_EAGAIN);
		assert_int_equal(act(child, 1, KIND(UPDATE)), 0); /* known, so told again */
		assert_result(child, 1, OUTCOME(REFUSED), true);
		agent_child_kill(child);
		agent_child_start(child, NULL);
	}
	assert_int_equal(child->gateway.tgtd_restarts, 0);
	assert_int_equal(forget_up_to(child, 1), 0);
	assert_int_equal(act(child, number, KIND(RESTART_TARGET)), 0);
	assert_result(child, number, OUTCOME(DONE), false);
	assert_int_equal(act(child, number + 1, KIND(RESTART_TARGET)), HF_EAGAIN);
	assert_int_equal(forget_up_to(child, UINT64_MAX), 0);
	assert_int_equal(act(child, number + 1, KIND(RESTART_TARGET)), 0);
	assert_int_equal(child->gateway.tgtd_restarts, 2);
}

static void test_what_is_not_served_is_refused_for_good(void **state)
{
	static const Holdfast__ActionKind kinds[] = {KIND(SNAPSHOT), KIND(UPDATE), 99};
	struct agent_child *child = *state;

	for (uint64_t i = 0; i < 3; i++) {
		assert_int_equal(act(child, i + 1, kinds[i]), 0);
		assert_result(child, i + 1, OUTCOME(REFUSED), false);
		assert_int_equal(child->provider.result->error, -HF_EUNSUPPORTED);
		assert_true(child->provider.result->reason[0]);
	}
	assert_int_equal(act(child, 4, KIND(RESCAN)), 0);
	assert_result(child, 4, OUTCOME(DONE), false);
}

static void test_a_diagnosis_tells(void **state)
{
	struct agent_child *child = *state;
	char text[4096];
	size_t length;

	assert_int_equal(act(child, 1, KIND(DIAGNOSE)), 0);
	assert_result(child, 1, OUTCOME(DONE), false);
	length = child->provider.result->report.len;
	assert_true(length > 0 && length < sizeof text);
	memcpy(text, child->provider.result->report.data, length);
	text[length] = '\0';
	assert_non_null(strstr(text, "holdfast-agent "));
	assert_non_null(strstr(text, "connection: held"));
	assert_non_null(strstr(text, "tgtd 1: "));
}

/* A dry run tells the steps of plan.h and takes none. */
static void test_a_dry_run_takes_no_step(void **state)
{
	struct agent_child *child = *state;
	Holdfast__Document document = HOLDFAST__DOCUMENT__INIT;
	Holdfast__Volume volume = HOLDFAST__VOLUME__INIT, *list[] = {&volume};
	Holdfast__Action action = HOLDFAST__ACTION__INIT;
	Holdfast__PlanReport *report;
	uint8_t bytes[512];
	char log[sizeof child->gateway.log];

	document.incarnation = document.generation = 1;
	document.volumes = list;
	document.n_volumes = 1;
	volume.volume = 7;
	volume.version = 1;
	volume.size_bytes = 1 << 20;
	volume.attachment = HOLDFAST__ATTACHMENT__ATTACHED;
	volume.attach_epoch = 1;
	volume.target = (char[]){"iqn.2026-11.t:v7"};
	volume.lun = 1;
	assert_int_equal(act(child, 1, KIND(RESCAN)), 0); /* both are known from here on */
	memcpy(log, child->gateway.log, sizeof log);
	action.action = 2;
	action.kind = KIND(PLAN);
	action.document.len = holdfast__document__pack(&document, bytes);
	action.document.data = bytes;
	assert_int_equal(
		agent_child_answer(child, fake_provider_act(&child->provider, &action, 12, NULL,
							    &child->provider.signer)),
		0);
	assert_result(child, 2, OUTCOME(DONE), false);
	report = holdfast__plan_report__unpack(NULL, child->provider.result->report.len,
					       child->provider.result->report.data);
	assert_non_null(report);
	assert_int_equal(report->error, 0);
	assert_int_equal(report->n_volumes, 1);
	assert_int_equal(report->volumes[0]->n_steps, 4);
	assert_string_equal(report->volumes[0]->steps[0], "attach");
	assert_string_equal(report->volumes[0]->steps[1], "create target");
	assert_string_equal(report->volumes[0]->steps[2], "set access");
	assert_string_equal(report->volumes[0]->steps[3], "add LUN");
	holdfast__plan_report__free_unpacked(report, NULL);
	assert_int_equal(act(child, 3, KIND(RESCAN)), 0);
	assert_string_equal(child->gateway.log, log);
	assert_int_equal(child->gateway.volume_count, 0);
}

/* ---- Kills ---- */

/* Every point between an action's arrival and its answer. */
static const char *const points[] = {
	"hf_journal_begin:before:1",  "fdatasync:before:1",          "fdatasync:after:1",
	"hf_journal_begin:after:1",   "hf_request_restart:before:1", "hf_request_restart:after:1",
	"hf_journal_finish:before:1", "fdatasync:before:2",          "fdatasync:after:2",
	"hf_journal_finish:after:1",  "hf_session_answer:before:1",  "hf_session_answer:after:1",
};

static void kill_at(const char *point, Holdfast__ActionKind kind, bool twice)
{
	struct agent_child child;
	uint64_t request;
	int err;

	agent_child_open(&child);
	assert_int_equal(act(&child, 1, KIND(RESCAN)), 0);
	agent_child_kill(&child);
	for (int i = 0; i <= twice; i++) {
		agent_child_start(&child, point);
		if (!child.pid)
			continue; /* killed while it decided what became of it */
		do {
			request = send_action(&child, 2, kind, NULL);
			RUN_UNTIL(&child.loop,
				  child.provider.answered == request || agent_child_died(&child));
			err = child.provider.answer_error;
		} while (child.pid && err == HF_ENOTREADY);
		assert_true(i > 0 || child.pid == 0);
		/* One that answered without reaching the point has nothing left to do. */
		agent_child_kill(&child);
	}
	agent_child_start(&child, NULL);
	assert_int_equal(act(&child, 2, kind), 0);
	if (child.provider.result->outcome != OUTCOME(DONE))
		fail_msg("killed at %s: %s", point, child.provider.result->reason);
	assert_int_equal(child.gateway.tgtd_restarts + child.gateway.volumed_restarts, 1);
	assert_int_equal(act(&child, 2, kind), 0);
	assert_result(&child, 2, OUTCOME(DONE), true);
	assert_int_equal(child.gateway.tgtd_restarts + child.gateway.volumed_restarts, 1);
	agent_child_close(&child);
}

static void test_killed_anywhere_restart_of_tgtd(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof points / sizeof points[0]; i++)
		kill_at(points[i], KIND(RESTART_TARGET), false);
}

static void test_killed_twice_restart_of_volumed(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof points / sizeof points[0]; i++)
		kill_at(points[i], KIND(RESTART_VOLUMED), true);
}

/* The journal says begun, and nothing shows what became of it: unknown, and never tried again. */
static void test_what_cannot_be_decided_is_unknown(void **state)
{
	struct agent_child *child = *state;
	struct hf_journal_action action = {
		.action = 7, .sequence = 17, .kind = KIND(RESTART_TARGET), .mark = (uint8_t *)""};
	Holdfast__Action asked = HOLDFAST__ACTION__INIT;
	struct hf_errmsg message;
	struct hf_journal *journal;
	uint8_t bytes[32];

	agent_child_kill(child);
	asked.action = 7;
	asked.kind = KIND(RESTART_TARGET);
	hf_sha256(bytes, holdfast__action__pack(&asked, bytes), action.hash);
	assert_int_equal(hf_journal_open(child->state_dir, 0, &journal, &message), 0);
	assert_int_equal(hf_journal_begin(journal, &action, &message), 0);
	hf_journal_close(journal);
	agent_child_start(child, NULL);
	assert_int_equal(act(child, 7, KIND(RESTART_TARGET)), 0);
	assert_int_equal(child->provider.result->outcome, OUTCOME(UNKNOWN));
	assert_int_equal(child->provider.result->error, -HF_EUNKNOWN);
	assert_int_equal(child->gateway.tgtd_restarts, 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, agent_child_setup, agent_child_teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_once_and_told_again),
		CASE(test_replayed_reordered_and_forged),
		CASE(test_too_late_is_never_begun),
		CASE(test_forgotten_is_not_done_again),
		CASE(test_what_is_to_come_is_not_forgotten),
		CASE(test_a_full_journal_holds_off),
		CASE(test_what_is_not_served_is_refused_for_good),
		CASE(test_a_diagnosis_tells),
		CASE(test_a_dry_run_takes_no_step),
		CASE(test_what_cannot_be_decided_is_unknown),
		cmocka_unit_test(test_killed_anywhere_restart_of_tgtd),
		cmocka_unit_test(test_killed_twice_restart_of_volumed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
