/* The test gateway's one-shot actions: what it did, counted, and what it answers; its token and
 * certificate (test_gateway.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/provider/test_gateway.h"

/* One attach, of a volume that it makes up. */
static ProtobufCBinaryData plan(const Holdfast__Action *action, uint8_t *bytes)
{
	Holdfast__PlanReport report = HOLDFAST__PLAN_REPORT__INIT;
	Holdfast__PlannedVolume planned = HOLDFAST__PLANNED_VOLUME__INIT, *list[] = {&planned};
	char *steps[] = {(char[]){"attach"}, (char[]){"create target"}};
	Holdfast__Document *document =
		holdfast__document__unpack(NULL, action->document.len, action->document.data);

	assert_non_null(document);
	report.generation = document->generation;
	planned.volume = 7 + document->n_volumes;
	planned.steps = steps;
	planned.n_steps = 2;
	report.volumes = list;
	report.n_volumes = 1;
	holdfast__document__free_unpacked(document, NULL);
	return (ProtobufCBinaryData){holdfast__plan_report__pack(&report, bytes), bytes};
}

static void note_act(struct test_gateway *g, const Holdfast__Action *action,
		     const Holdfast__ActionTerms *terms)
{
	unsigned i = 0;

	while (i < g->act_count && g->acts[i].number != action->action)
		i++;
	assert_true(i < 64);
	if (i == g->act_count) {
		/* In the order of their numbers. */
		assert_true(i == 0 || g->acts[i - 1].number < action->action);
		g->act_count++;
		g->acts[i].number = action->action;
		g->acts[i].kind = action->kind;
		g->acts[i].expired = terms->expires && terms->remaining_ms == 0;
		g->acts[i].effects += !g->acts[i].expired;
	}
	g->acts[i].deliveries++;
	g->acts[i].sent_before = terms->sent_before;
}

void tg_act(struct test_gateway *g, const Holdfast__Request *request)
{
	Holdfast__ActionResult result = HOLDFAST__ACTION_RESULT__INIT;
	Holdfast__Answer message = HOLDFAST__ANSWER__INIT;
	Holdfast__Change *change = NULL;
	struct hf_errmsg why = {""};
	Holdfast__Action *action;
	char unknown[] = "who\n\xffknows", refusal[] = "not known here";
	uint8_t report[256], bytes[512];

	assert_int_equal(
		hf_change_verify(g->signer_key, g->tenant, g->id, request->act, &change, &why), 0);
	action = holdfast__action__unpack(NULL, change->action.len, change->action.data);
	assert_non_null(action);
	result.action = action->action;
	result.outcome = g->act_outcome ? (Holdfast__ActionOutcome)g->act_outcome
					: HOLDFAST__ACTION_OUTCOME__OUTCOME_DONE;
	if (g->act_outcome) {
		result.error = -HF_EUNKNOWN;
		result.reason = unknown;
	}
	if (g->refuse_replays && change->sequence <= g->sequence)
		result.reason = refusal; /* not begun */
	else if (action->kind == HOLDFAST__ACTION_KIND__ACTION_PLAN)
		result.report = plan(action, report);
	else
		note_act(g, action, request->terms);
	message.result_case = HOLDFAST__ANSWER__RESULT_ACT;
	message.act = (ProtobufCBinaryData){holdfast__action_result__pack(&result, bytes), bytes};
	if (g->refuse_replays && change->sequence <= g->sequence) {
		message = (Holdfast__Answer)HOLDFAST__ANSWER__INIT;
		message.error = -HF_ESTALE;
		message.reason = refusal;
		message.sequence = g->sequence;
	} else if (g->refuse_replays) {
		g->sequence = change->sequence;
	}
	if (g->act_error) {
		message = (Holdfast__Answer)HOLDFAST__ANSWER__INIT;
		message.error = -g->act_error;
		message.reason = refusal;
	}
	holdfast__action__free_unpacked(action, NULL);
	holdfast__change__free_unpacked(change, NULL);
	tg_answer(g, &message, request);
}

/* It is about the settings of its document, to the bit. */
void tg_confirmed(struct test_gateway *g, const Holdfast__Request *request)
{
	Holdfast__Confirmation *confirmation;
	Holdfast__Change *change = NULL;
	uint8_t hash[HF_HASH_BYTES], bytes[512];
	struct hf_errmsg why = {""};

	assert_int_equal(
		hf_change_verify(g->signer_key, g->tenant, g->id, request->confirm, &change, &why),
		0);
	confirmation = holdfast__confirmation__unpack(NULL, change->confirmation.len,
						      change->confirmation.data);
	assert_non_null(confirmation);
	assert_true(confirmation->version == g->document->network->version);
	assert_true(confirmation->incarnation == g->document->incarnation);
	hf_sha256(bytes, holdfast__network__pack(g->document->network, bytes), hash);
	assert_memory_equal(confirmation->hash.data, hash, sizeof hash);
	holdfast__confirmation__free_unpacked(confirmation, NULL);
	holdfast__change__free_unpacked(change, NULL);
	g->confirmations++;
	g->network_state = HOLDFAST__NETWORK_STATE__NETWORK_CONFIRMED;
}

/* Checked as a gateway does: signed by the pinned key, for this gateway. */
void tg_take_certificate(struct test_gateway *g, const Holdfast__Signed *packet)
{
	struct hf_errmsg message = {""};
	Holdfast__Rotation *rotation;
	Holdfast__Change *change;

	assert_int_equal(
		hf_change_verify(g->signer_key, g->tenant, g->id, packet, &change, &message), 0);
	rotation = holdfast__rotation__unpack(NULL, change->rotation.len, change->rotation.data);
	assert_non_null(rotation);
	assert_in_range(rotation->certificate.len, 1, sizeof g->certificate);
	memcpy(g->certificate, rotation->certificate.data, rotation->certificate.len);
	g->certificate_length = rotation->certificate.len;
	g->renewals++;
	holdfast__rotation__free_unpacked(rotation, NULL);
	holdfast__change__free_unpacked(change, NULL);
}

void tg_held(struct test_gateway *g, const Holdfast__Held *held)
{
	g->epoch = g->last_epoch = held->epoch;
	g->token_length = held->token.len;
	assert_true(g->token_length <= sizeof g->token);
	if (g->token_length)
		memcpy(g->token, held->token.data, g->token_length);
}
