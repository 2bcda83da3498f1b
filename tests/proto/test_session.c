/* Promises of the session, with both sides face to face: invariants 3 (the gateway asks for
 * nothing), 5 (a lower epoch has no effect), 9 (what breaks a rule ends the session with a reason);
 * every request gets exactly one answer event; both sides give up after two missed pings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "proto/frame.h"
#include "tests/proto/pair.h"

static int setup(void **state)
{
	struct pair *pair = malloc(sizeof *pair);

	pair_open(pair, HF_SESSION_MANAGEMENT);
	*state = pair;
	return 0;
}

static int setup_activation(void **state)
{
	struct pair *pair = malloc(sizeof *pair);

	pair_open(pair, HF_SESSION_ACTIVATION);
	*state = pair;
	return 0;
}

static int teardown(void **state)
{
	pair_close(*state);
	free(*state);
	return 0;
}

static void expect_ended(const struct side *side, int err)
{
	assert_int_equal(hf_session_state(side->session), HF_SESSION_ENDED);
	assert_int_equal(last_event(side)->type, HF_EVENT_ENDED);
	assert_int_equal(last_event(side)->status, err);
	assert_int_equal(count_events(side, HF_EVENT_ENDED), 1);
}

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
	assert_int_equal(hf_session_park(pair->provider.session, pair->now_ms), 0);
	pair_run(pair);
	assert_int_equal(hf_session_state(pair->gateway.session), HF_SESSION_PARKED);
	assert_int_equal(hf_session_epoch(pair->gateway.session), 0);
	assert_int_equal(pair_subscribe(pair, 1, 500, &number), 0);
	pair_run(pair);
	/* Two reports cross the promotion: without an epoch they have no effect, and the next one
	 * is taken again. */
	assert_int_equal(pair_report(pair, 1), 0);
	assert_int_equal(pair_report(pair, 1), 0);
	assert_int_equal(hf_session_hold(pair->provider.session, pair->now_ms, 9), 0);
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
	assert_int_equal(hf_session_retry(pair->provider.session, 5, "full"), 0);
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
	assert_int_equal(hf_session_hold(pair->provider.session, pair->now_ms, 7), 0);
	pair_run(pair);
	expect_ended(&pair->gateway, HF_ESTALE);
}

static void test_provider_does_not_hold_below_its_floor(void **state)
{
	struct pair *pair = *state;

	pair_connect(pair);
	pair_run(pair);
	hf_session_raise_floor(pair->provider.session, 7);
	assert_int_equal(hf_session_hold(pair->provider.session, pair->now_ms, 7), HF_ESTALE);
	assert_int_equal(hf_session_hold(pair->provider.session, pair->now_ms, 0), HF_ESTALE);
	assert_int_equal(hf_session_hold(pair->provider.session, pair->now_ms, 8), 0);
}

/* ---- Violations: frames made by hand ---- */

struct target {
	struct pair *pair;
	struct side *side;
};

static int input_frame(void *context, const uint8_t *bytes, size_t length)
{
	struct target *target = context;

	hf_session_input(target->side->session, target->pair->now_ms, bytes, length);
	return 0;
}

static void input_message(struct pair *pair, struct side *side, uint64_t epoch, uint64_t message,
			  const ProtobufCMessage *content)
{
	struct target target = {pair, side};
	size_t length = protobuf_c_message_get_packed_size(content);
	uint8_t *body = malloc(length + 1);

	protobuf_c_message_pack(content, body);
	hf_message_write(epoch, message, body, length, input_frame, &target);
	free(body);
}

static void to_provider(struct pair *pair, uint64_t epoch, uint64_t message,
			Holdfast__ToProvider__KindCase kind)
{
	Holdfast__ToProvider content = HOLDFAST__TO_PROVIDER__INIT;
	Holdfast__Connect connect = HOLDFAST__CONNECT__INIT;
	Holdfast__Answer answer = HOLDFAST__ANSWER__INIT;
	Holdfast__Report report = HOLDFAST__REPORT__INIT;
	Holdfast__Pong pong = HOLDFAST__PONG__INIT;
	Holdfast__ActivateHello hello = HOLDFAST__ACTIVATE_HELLO__INIT;
	Holdfast__ActivateRefuse refuse = HOLDFAST__ACTIVATE_REFUSE__INIT;
	uint8_t boot[16] = {0};

	connect.gateway = 8;
	connect.capability = 1;
	connect.role = HOLDFAST__ROLE__ROLE_ACTIVE;
	connect.boot = (ProtobufCBinaryData){16, boot};
	answer.request = 5;
	report.subscription = 1;
	report.number = 1;
	pong.number = 1;
	content.kind_case = kind;
	switch (kind) {
	case HOLDFAST__TO_PROVIDER__KIND_CONNECT:
		content.connect = &connect;
		break;
	case HOLDFAST__TO_PROVIDER__KIND_ANSWER:
		content.answer = &answer;
		break;
	case HOLDFAST__TO_PROVIDER__KIND_REPORT:
		content.report = &report;
		break;
	case HOLDFAST__TO_PROVIDER__KIND_PONG:
		content.pong = &pong;
		break;
	case HOLDFAST__TO_PROVIDER__KIND_ACTIVATE_HELLO:
		content.activate_hello = &hello;
		break;
	case HOLDFAST__TO_PROVIDER__KIND_ACTIVATE_REFUSE:
		content.activate_refuse = &refuse;
		break;
	default:
		break;
	}
	input_message(pair, &pair->provider, epoch, message, &content.base);
}

/* Invariant 3: nothing but what was asked for. On a held connection every kind of message is tried
 * uninvited; each ends the session. */
static void test_provider_takes_nothing_uninvited(void **state)
{
	static const Holdfast__ToProvider__KindCase kinds[] = {
		HOLDFAST__TO_PROVIDER__KIND__NOT_SET,
		HOLDFAST__TO_PROVIDER__KIND_CONNECT,
		HOLDFAST__TO_PROVIDER__KIND_ANSWER,
		HOLDFAST__TO_PROVIDER__KIND_REPORT,
		HOLDFAST__TO_PROVIDER__KIND_PONG,
		HOLDFAST__TO_PROVIDER__KIND_ACTIVATE_HELLO,
		HOLDFAST__TO_PROVIDER__KIND_ACTIVATE_REFUSE,
	};

	(void)state;
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		struct pair pair;

		pair_open(&pair, HF_SESSION_MANAGEMENT);
		pair_hold(&pair, 3);
		to_provider(&pair, 3, 2, kinds[i]);
		expect_ended(&pair.provider, HF_EPROTO);
		assert_true(last_event(&pair.provider)->reason[0]);
		pair_close(&pair);
	}
}

static void test_nothing_before_connect(void **state)
{
	struct pair *pair = *state;

	to_provider(pair, 0, 1, HOLDFAST__TO_PROVIDER__KIND_PONG);
	expect_ended(&pair->provider, HF_EPROTO);
	assert_string_equal(last_event(&pair->provider)->reason,
			    "Pong may not come while the session is new");
}

static void test_connect_must_name_the_certificates_gateway(void **state)
{
	struct pair *pair = *state;
	Holdfast__ToProvider content = HOLDFAST__TO_PROVIDER__INIT;
	Holdfast__Connect connect = HOLDFAST__CONNECT__INIT;

	connect.gateway = 9;
	content.kind_case = HOLDFAST__TO_PROVIDER__KIND_CONNECT;
	content.connect = &connect;
	input_message(pair, &pair->provider, 0, 1, &content.base);
	expect_ended(&pair->provider, HF_EAUTH);
}

static void test_replayed_and_skipped_messages(void **state)
{
	(void)state;
	for (uint64_t message = 0; message < 5; message++) {
		struct pair pair;

		if (message == 2)
			continue; /* the right one */
		pair_open(&pair, HF_SESSION_MANAGEMENT);
		pair_hold(&pair, 3);
		pair_tick(&pair, 1000); /* a ping is out, so a pong would be welcome */
		to_provider(&pair, 3, message, HOLDFAST__TO_PROVIDER__KIND_PONG);
		expect_ended(&pair.provider, HF_EPROTO);
		pair_close(&pair);
	}
}

static void test_epoch_that_was_not_given(void **state)
{
	struct pair *pair = *state;

	pair_hold(pair, 3);
	pair_tick(pair, 1000);
	to_provider(pair, 4, 2, HOLDFAST__TO_PROVIDER__KIND_PONG);
	expect_ended(&pair->provider, HF_EPROTO);
}

static void test_answer_twice(void **state)
{
	struct pair *pair = *state;
	uint64_t number = 0;

	pair_hold(pair, 3);
	while (number < 5)
		pair_apply(pair, 1, &number);
	to_provider(pair, 3, 2, HOLDFAST__TO_PROVIDER__KIND_ANSWER);
	assert_int_equal(last_event(&pair->provider)->request, 5);
	to_provider(pair, 3, 3, HOLDFAST__TO_PROVIDER__KIND_ANSWER);
	expect_ended(&pair->provider, HF_EPROTO);
}

static void test_gateway_refuses_reused_request_number(void **state)
{
	struct pair *pair = *state;
	Holdfast__ToGateway content = HOLDFAST__TO_GATEWAY__INIT;
	Holdfast__Request request = HOLDFAST__REQUEST__INIT;

	pair_hold(pair, 3);
	request.request = 1;
	request.kind_case = HOLDFAST__REQUEST__KIND_FORGET;
	content.kind_case = HOLDFAST__TO_GATEWAY__KIND_REQUEST;
	content.request = &request;
	input_message(pair, &pair->gateway, 3, 2, &content.base);
	assert_int_equal(last_event(&pair->gateway)->type, HF_EVENT_REQUEST);
	input_message(pair, &pair->gateway, 3, 3, &content.base);
	expect_ended(&pair->gateway, HF_EPROTO);
}

static void test_gateway_answers_unknown_requests(void **state)
{
	struct pair *pair = *state;
	Holdfast__ToGateway content = HOLDFAST__TO_GATEWAY__INIT;
	Holdfast__Request request = HOLDFAST__REQUEST__INIT;
	size_t before;

	pair_hold(pair, 3);
	request.request = 1; /* a kind of a later release: nothing this software knows is set */
	content.kind_case = HOLDFAST__TO_GATEWAY__KIND_REQUEST;
	content.request = &request;
	before = pair->gateway.sent_length;
	input_message(pair, &pair->gateway, 3, 2, &content.base);
	assert_int_equal(hf_session_state(pair->gateway.session), HF_SESSION_HELD);
	assert_int_equal(count_events(&pair->gateway, HF_EVENT_REQUEST), 0);
	assert_true(pair->gateway.sent_length > before);
}

static void test_garbage_ends_the_session(void **state)
{
	struct pair *pair = *state;

	pair_hold(pair, 3);
	hf_session_input(pair->provider.session, pair->now_ms, (const uint8_t *)"GET / HTTP", 10);
	expect_ended(&pair->provider, HF_EPROTO);
	hf_session_input(pair->provider.session, pair->now_ms, (const uint8_t *)"more", 4);
	expect_ended(&pair->provider, HF_EPROTO); /* once */
}

/* A message of 1 MiB that would decode into a hundred times its size. */
static void test_small_bytes_cannot_make_big_structures(void **state)
{
	struct pair *pair = *state;
	struct target target = {pair, &pair->provider};
	size_t length = 1000000;
	uint8_t *body = malloc(length);

	/* report { volumes {} volumes {} … }, two bytes each */
	body[0] = 0x1a;
	body[1] = 0xbc;
	body[2] = 0x84;
	body[3] = 0x3d; /* 999996 */
	for (size_t i = 4; i < length; i += 2) {
		body[i] = 0x22;
		body[i + 1] = 0;
	}
	pair_hold(pair, 3);
	hf_message_write(3, 2, body, length, input_frame, &target);
	expect_ended(&pair->provider, HF_EPROTO);
	assert_string_equal(last_event(&pair->provider)->reason,
			    "a message that cannot be decoded");
	free(body);
}

static void test_message_larger_than_the_limit(void **state)
{
	struct pair *pair = *state;
	struct target target = {pair, &pair->provider};
	size_t length = HF_SESSION_FROM_GATEWAY + 1;
	uint8_t *body = calloc(1, length);

	pair_hold(pair, 3);
	hf_message_write(3, 2, body, length, input_frame, &target);
	expect_ended(&pair->provider, HF_ETOOBIG);
	free(body);
}

static void test_sending_obeys_the_table_too(void **state)
{
	struct pair *pair = *state;
	uint64_t number;

	assert_int_equal(hf_session_hold(pair->provider.session, pair->now_ms, 1), HF_EPROTO);
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

static void test_no_management_on_the_activation_connection(void **state)
{
	struct pair *pair = *state;

	to_provider(pair, 0, 1, HOLDFAST__TO_PROVIDER__KIND_CONNECT);
	expect_ended(&pair->provider, HF_EPROTO);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define A(name) cmocka_unit_test_setup_teardown(name, setup_activation, teardown)
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
		T(test_provider_does_not_hold_below_its_floor),
		cmocka_unit_test(test_provider_takes_nothing_uninvited),
		T(test_nothing_before_connect),
		T(test_connect_must_name_the_certificates_gateway),
		cmocka_unit_test(test_replayed_and_skipped_messages),
		T(test_epoch_that_was_not_given),
		T(test_answer_twice),
		T(test_gateway_refuses_reused_request_number),
		T(test_gateway_answers_unknown_requests),
		T(test_garbage_ends_the_session),
		T(test_small_bytes_cannot_make_big_structures),
		T(test_message_larger_than_the_limit),
		T(test_sending_obeys_the_table_too),
		T(test_reports_need_the_newest_subscription),
		A(test_activation_in_order),
		A(test_refused_by_the_gateway),
		A(test_refusal_crosses_the_certificate),
		A(test_no_management_on_the_activation_connection),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
