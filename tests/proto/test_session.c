/* Promises of the session, with both sides face to face: invariants 3 (the gateway asks for
 * nothing), 5 (a lower epoch has no effect), 9 (what breaks a rule ends the session with a reason);
 * every request gets exactly one answer event; both sides give up after two missed pings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/proto/pair.h"
#include "tests/proto/pair_expect.h"

/* ---- The ordinary course ---- */

static void whole_conversation(struct pair *pair)
{
	uint64_t number;

	pair->gateway.answer_at_once = true;
	pair_hold(pair, 3);
	assert_int_equal(hf_session_epoch(pair->gateway.session), 3);
	assert_int_equal(pair_subscribe(pair, 1, 500, &number), 0);
	pair_run(pair);
	assert_int_equal(pair_apply(pair, 200000, &number), 0); /* in parts */
	assert_int_equal(number, 2);
	pair_run(pair);
	assert_int_equal(pair->gateway.last_body_length, 200000);
	assert_int_equal(pair_report(pair, 1), 0);
	assert_int_equal(pair_report(pair, 1), 0);
	pair_run(pair);
	pair_tick(pair, 1000);
	pair_run(pair);
	assert_int_equal(count_events(&pair->provider, HF_EVENT_CONNECT), 1);
	assert_int_equal(count_events(&pair->provider, HF_EVENT_ANSWER), 2);
	assert_int_equal(count_events(&pair->provider, HF_EVENT_REPORT), 2);
	assert_int_equal(count_events(&pair->gateway, HF_EVENT_HELD), 1);
	assert_int_equal(count_events(&pair->gateway, HF_EVENT_REQUEST), 2);
	assert_int_equal(count_events(&pair->provider, HF_EVENT_ENDED), 0);
	assert_int_equal(count_events(&pair->gateway, HF_EVENT_ENDED), 0);
}

static void test_conversation_in_pieces_of_every_size(void **state)
{
	(void)state;
	for (size_t piece = 0; piece < 80; piece++) {
		struct pair pair;

		pair_open(&pair, HF_SESSION_MANAGEMENT);
		pair.piece = piece;
		whole_conversation(&pair);
		pair_close(&pair);
	}
}

static void test_bytes_cut_at_every_place(void **state)
{
	/* Connect, an answer and a report as one stream of bytes, cut in two at each byte. */
	(void)state;
	for (size_t cut = 0;; cut++) {
		struct pair pair;
		uint64_t number;
		uint8_t *bytes;
		size_t length;

		pair_open(&pair, HF_SESSION_MANAGEMENT);
		pair.gateway.answer_at_once = true;
		pair_hold(&pair, 3);
		pair_subscribe(&pair, 1, 500, &number);
		bytes = pair_take(&pair.provider, &length);
		hf_session_input(pair.gateway.session, pair.now_ms, bytes, length);
		free(bytes);
		pair_report(&pair, 1);
		bytes = pair_take(&pair.gateway, &length);
		if (cut <= length) {
			hf_session_input(pair.provider.session, pair.now_ms, bytes, cut);
			hf_session_input(pair.provider.session, pair.now_ms, bytes + cut,
					 length - cut);
			assert_int_equal(count_events(&pair.provider, HF_EVENT_ANSWER), 1);
			assert_int_equal(last_event(&pair.provider)->type, HF_EVENT_REPORT);
		}
		free(bytes);
		pair_close(&pair);
		if (cut > length)
			break;
	}
}

static void test_parked_then_promoted(void **state)
{
	struct pair *pair = *state;
	uint64_t number;

	pair_connect(pair);
	pair_run(pair);
	assert_int_equal(say_parked(pair->provider.session, pair->now_ms), 0);
	pair_run(pair);
	assert_int_equal(hf_session_state(pair->gateway.session), HF_SESSION_PARKED);
	assert_int_equal(hf_session_epoch(pair->gateway.session), 0);
	assert_int_equal(pair_subscribe(pair, 1, 500, &number), 0);
	pair_run(pair);
	/* Two reports cross the promotion: without an epoch they have no effect, and the next one
	 * is taken again. */
	assert_int_equal(pair_report(pair, 1), 0);
	assert_int_equal(pair_report(pair, 1), 0);
	assert_int_equal(say_held(pair->provider.session, pair->now_ms, 9), 0);
	pair_run(pair);
	assert_int_equal(count_events(&pair->provider, HF_EVENT_REPORT), 0);
	assert_int_equal(hf_session_state(pair->gateway.session), HF_SESSION_HELD);
	assert_int_equal(pair_report(pair, 1), 0);
	pair_run(pair);
	assert_int_equal(count_events(&pair->provider, HF_EVENT_REPORT), 1);
}

static void test_retry_is_bounded(void **state)
{
	struct pair *pair = *state;

	pair_connect(pair);
	pair_run(pair);
	assert_int_equal(hf_session_retry(pair->provider.session, 5, "full", "other:7443"), 0);
	expect_ended(&pair->provider, 0);
	pair_run(pair);
	assert_int_equal(count_events(&pair->gateway, HF_EVENT_RETRY), 1);
	expect_ended(&pair->gateway, HF_EAGAIN);
	assert_string_equal(last_event(&pair->gateway)->reason, "full");
}

static void test_answers_out_of_order(void **state)
{
	struct pair *pair = *state;
	uint64_t first, second;

	pair_hold(pair, 1);
	pair_apply(pair, 10, &first);
	pair_apply(pair, 10, &second);
	pair_run(pair);
	assert_int_equal(pair_answer(pair, second), 0);
	assert_int_equal(pair_answer(pair, second), HF_ENOENT); /* exactly once */
	pair_run(pair);
	assert_int_equal(last_event(&pair->provider)->request, second);
	assert_int_equal(pair_answer(pair, first), 0);
	pair_run(pair);
	assert_int_equal(last_event(&pair->provider)->request, first);
}

static void test_unanswered_request_times_out_once(void **state)
{
	struct pair *pair = *state;
	uint64_t number;

	pair_hold(pair, 1);
	pair_apply(pair, 10, &number);
	pair_run(pair);
	for (int i = 0; i < 6; i++) {
		pair_tick(pair, 1000);
		pair_run(pair);
	}
	assert_int_equal(count_events(&pair->provider, HF_EVENT_ANSWER), 1);
	assert_int_equal(last_event(&pair->provider)->status, HF_ETIMEDOUT);
	/* The late answer is dropped; it is no violation. */
	assert_int_equal(pair_answer(pair, number), 0);
	pair_run(pair);
	assert_int_equal(count_events(&pair->provider, HF_EVENT_ANSWER), 1);
	assert_int_equal(hf_session_state(pair->provider.session), HF_SESSION_HELD);
}

static void test_end_answers_what_is_open(void **state)
{
	struct pair *pair = *state;
	uint64_t number;

	pair_hold(pair, 1);
	pair_apply(pair, 10, &number);
	pair_apply(pair, 10, &number);
	hf_session_end(pair->provider.session, HF_ECONN, "cut");
	hf_session_end(pair->provider.session, HF_ECONN, "again");
	assert_int_equal(count_events(&pair->provider, HF_EVENT_ANSWER), 2);
	expect_ended(&pair->provider, HF_ECONN);
	assert_int_equal(pair_apply(pair, 1, &number), HF_ECONN);
}

static void test_requests_are_bounded(void **state)
{
	struct pair *pair = *state;
	uint64_t number;

	pair_hold(pair, 1);
	for (unsigned i = 0; i < HF_SESSION_REQUESTS_MAX; i++)
		assert_int_equal(pair_apply(pair, 1, &number), 0);
	assert_int_equal(pair_apply(pair, 1, &number), HF_EBUSY);
	/* A gateway that pings and answers nothing is given up. */
	for (int i = 0; i < 6; i++) {
		pair_run(pair);
		pair_tick(pair, 1000);
	}
	assert_int_equal(pair_apply(pair, 1, &number), HF_ECONN);
	expect_ended(&pair->provider, HF_ETIMEDOUT);
}

static void test_full_queue_ends_the_session(void **state)
{
	struct pair *pair = *state;
	uint64_t number;

	pair_hold(pair, 1);
	pair->provider.refuse_output = true;
	assert_int_equal(pair_apply(pair, 1, &number), HF_EBUSY);
	expect_ended(&pair->provider, HF_EBUSY);
}

/* ---- Time ---- */

static void test_provider_gives_up_after_two_missed_pings(void **state)
{
	struct pair *pair = *state;
	size_t length;

	pair_hold(pair, 1);
	for (int i = 0; i < 5; i++) { /* answered: goes on */
		pair_tick(pair, 1000);
		pair_run(pair);
	}
	assert_int_equal(hf_session_state(pair->provider.session), HF_SESSION_HELD);
	for (int i = 0; i < 2; i++) {
		pair->now_ms += 1000;
		hf_session_tick(pair->provider.session, pair->now_ms);
		free(pair_take(&pair->provider, &length));
		assert_int_equal(hf_session_state(pair->provider.session), HF_SESSION_HELD);
	}
	pair->now_ms += 1000;
	hf_session_tick(pair->provider.session, pair->now_ms);
	expect_ended(&pair->provider, HF_ETIMEDOUT);
}

static void test_gateway_gives_up_after_two_missed_pings(void **state)
{
	struct pair *pair = *state;

	pair_hold(pair, 1);
	assert_int_equal(hf_session_due_ms(pair->gateway.session), pair->now_ms + 2500);
	hf_session_tick(pair->gateway.session, pair->now_ms + 2499);
	assert_int_equal(hf_session_state(pair->gateway.session), HF_SESSION_HELD);
	hf_session_tick(pair->gateway.session, pair->now_ms + 2500);
	expect_ended(&pair->gateway, HF_ETIMEDOUT);
}

static void test_silence_before_connect(void **state)
{
	struct pair *pair = *state;

	assert_int_equal(hf_session_due_ms(pair->provider.session), pair->now_ms + 30000);
	pair_connect(pair);
	pair->now_ms += 30000;
	hf_session_tick(pair->provider.session, pair->now_ms);
	hf_session_tick(pair->gateway.session, pair->now_ms);
	expect_ended(&pair->provider, HF_ETIMEDOUT);
	expect_ended(&pair->gateway, HF_ETIMEDOUT);
}

/* ---- Invariant 5 ---- */

static void test_frames_of_a_lower_epoch_have_no_effect(void **state)
{
	struct pair *pair = *state;
	uint64_t number;

	pair_hold(pair, 7);
	pair_apply(pair, 10, &number);
	hf_session_raise_floor(pair->gateway.session, 8); /* a newer connection was held */
	pair_run(pair);
	assert_int_equal(count_events(&pair->gateway, HF_EVENT_REQUEST), 0);
	hf_session_raise_floor(pair->provider.session, 8);
	assert_int_equal(pair_apply(pair, 10, &number), HF_ESTALE);
}

static void test_held_with_an_old_epoch_is_refused(void **state)
{
	struct pair *pair = *state;

	hf_session_raise_floor(pair->gateway.session, 7);
	pair_connect(pair);
	pair_run(pair);
	assert_int_equal(say_held(pair->provider.session, pair->now_ms, 7), 0);
	pair_run(pair);
	expect_ended(&pair->gateway, HF_ESTALE);
}

/* Invariant 5: an epoch is kept for ever, so nobody may use them all up at once. */
static void test_gateway_takes_no_epoch_out_of_the_blue(void **state)
{
	struct pair *pair = *state;

	hf_session_raise_floor(pair->gateway.session, 7);
	pair_connect(pair);
	pair_run(pair);
	assert_int_equal(say_held(pair->provider.session, pair->now_ms, UINT64_MAX), 0);
	pair_run(pair);
	expect_ended(&pair->gateway, HF_EPROTO);
}

static void test_provider_does_not_hold_below_its_floor(void **state)
{
	struct pair *pair = *state;

	pair_connect(pair);
	pair_run(pair);
	hf_session_raise_floor(pair->provider.session, 7);
	assert_int_equal(say_held(pair->provider.session, pair->now_ms, 7), HF_ESTALE);
	assert_int_equal(say_held(pair->provider.session, pair->now_ms, 0), HF_ESTALE);
	assert_int_equal(say_held(pair->provider.session, pair->now_ms, 8), 0);
}

static void test_sending_obeys_the_table_too(void **state)
{
	struct pair *pair = *state;
	uint64_t number;

	assert_int_equal(say_held(pair->provider.session, pair->now_ms, 1), HF_EPROTO);
	assert_int_equal(pair_apply(pair, 1, &number), HF_EPROTO);
	assert_int_equal(pair_report(pair, 1), HF_ENOENT);
	pair_connect(pair);
	assert_int_equal(pair_connect(pair), HF_EPROTO); /* once */
}

static void test_reports_need_the_newest_subscription(void **state)
{
	struct pair *pair = *state;
	uint64_t number;

	pair->gateway.answer_at_once = true;
	pair_hold(pair, 3);
	pair_subscribe(pair, 1, 500, &number);
	pair_run(pair);
	assert_int_equal(pair_report(pair, 1), 0);
	pair_subscribe(pair, 2, 500, &number); /* the report crosses this on its way */
	pair_run(pair);
	assert_int_equal(hf_session_state(pair->provider.session), HF_SESSION_HELD);
	assert_int_equal(pair_report(pair, 1), HF_ENOENT);
	assert_int_equal(pair_report(pair, 2), 0);
	pair_subscribe(pair, 2, 0, &number);
	pair_run(pair);
	assert_int_equal(pair_report(pair, 2), HF_ENOENT);
	assert_int_equal(hf_session_state(pair->provider.session), HF_SESSION_HELD);
}

/* ---- Activation ---- */

static void hello(struct pair *pair)
{
	Holdfast__ActivateHello message = HOLDFAST__ACTIVATE_HELLO__INIT;

	assert_int_equal(hf_session_hello(pair->gateway.session, pair->now_ms, &message), 0);
	pair_run(pair);
	assert_int_equal(last_event(&pair->provider)->type, HF_EVENT_HELLO);
}

static void offer(struct pair *pair)
{
	Holdfast__ActivateOffer message = HOLDFAST__ACTIVATE_OFFER__INIT;

	assert_int_equal(hf_session_offer(pair->provider.session, pair->now_ms, &message), 0);
	pair_run(pair);
	assert_int_equal(last_event(&pair->gateway)->type, HF_EVENT_OFFER);
}

static void claimed(struct pair *pair)
{
	Holdfast__ActivateClaimed message = HOLDFAST__ACTIVATE_CLAIMED__INIT;

	message.by = (char *)(uintptr_t) "admin";
	assert_int_equal(hf_session_claimed(pair->provider.session, &message), 0);
	pair_run(pair);
	assert_int_equal(last_event(&pair->gateway)->type, HF_EVENT_CLAIMED);
}

static void test_activation_in_order(void **state)
{
	struct pair *pair = *state;
	Holdfast__ActivateIssued issued = HOLDFAST__ACTIVATE_ISSUED__INIT;

	hello(pair);
	assert_int_equal(hf_session_issued(pair->provider.session, &issued), HF_EPROTO);
	offer(pair);
	assert_int_equal(hf_session_issued(pair->provider.session, &issued), HF_EPROTO);
	for (int i = 0; i < 5; i++) { /* pings keep it open while people are busy */
		pair_tick(pair, 1000);
		pair_run(pair);
	}
	claimed(pair);
	assert_int_equal(hf_session_issued(pair->provider.session, &issued), 0);
	pair_run(pair);
	assert_int_equal(last_event(&pair->gateway)->type, HF_EVENT_ISSUED);
	assert_int_equal(hf_session_state(pair->provider.session), HF_SESSION_ISSUED);
}

static void test_refused_by_the_gateway(void **state)
{
	struct pair *pair = *state;

	hello(pair);
	offer(pair);
	claimed(pair);
	assert_int_equal(hf_session_refuse(pair->gateway.session, "not mine"), 0);
	expect_ended(&pair->gateway, 0);
	pair_run(pair);
	assert_int_equal(count_events(&pair->provider, HF_EVENT_REFUSE), 1);
	expect_ended(&pair->provider, HF_EACCES);
}

/* A refusal that crosses the certificate on its way is heard, so that it can be revoked. */
static void test_refusal_crosses_the_certificate(void **state)
{
	struct pair *pair = *state;
	Holdfast__ActivateIssued issued = HOLDFAST__ACTIVATE_ISSUED__INIT;

	hello(pair);
	offer(pair);
	claimed(pair);
	assert_int_equal(hf_session_issued(pair->provider.session, &issued), 0);
	assert_int_equal(hf_session_refuse(pair->gateway.session, "not mine"), 0);
	pair_run(pair);
	assert_int_equal(count_events(&pair->provider, HF_EVENT_REFUSE), 1);
	assert_int_equal(count_events(&pair->gateway, HF_EVENT_ISSUED), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, pair_setup, pair_teardown)
#define A(name) cmocka_unit_test_setup_teardown(name, pair_setup_activation, pair_teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_conversation_in_pieces_of_every_size),
		cmocka_unit_test(test_bytes_cut_at_every_place),
		T(test_parked_then_promoted),
		T(test_retry_is_bounded),
		T(test_answers_out_of_order),
		T(test_unanswered_request_times_out_once),
		T(test_end_answers_what_is_open),
		T(test_requests_are_bounded),
		T(test_full_queue_ends_the_session),
		T(test_provider_gives_up_after_two_missed_pings),
		T(test_gateway_gives_up_after_two_missed_pings),
		T(test_silence_before_connect),
		T(test_frames_of_a_lower_epoch_have_no_effect),
		T(test_held_with_an_old_epoch_is_refused),
		T(test_gateway_takes_no_epoch_out_of_the_blue),
		T(test_provider_does_not_hold_below_its_floor),
		T(test_sending_obeys_the_table_too),
		T(test_reports_need_the_newest_subscription),
		A(test_activation_in_order),
		A(test_refused_by_the_gateway),
		A(test_refusal_crosses_the_certificate),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
