/* Promises of the session against peers that break the rules: what was not asked for, replayed,
 * oversized or out of place ends the session with a reason (invariants 3, 5, 9). Frames are made by
 * hand here; tests/proto/test_session.c has the ordinary course. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "proto/frame.h"
#include "tests/proto/pair.h"
#include "tests/proto/pair_expect.h"

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

/* Invariant 9: who is not known yet gets no more room than a hello takes. */
static void test_hello_larger_than_the_limit(void **state)
{
	struct pair *pair = *state;
	struct target target = {pair, &pair->provider};
	uint8_t *body = calloc(1, HF_SESSION_UNKNOWN_PEER + 1);

	hf_message_write(0, 1, body, HF_SESSION_UNKNOWN_PEER + 1, input_frame, &target);
	expect_ended(&pair->provider, HF_ETOOBIG);
	free(body);
}

static void test_no_management_on_the_activation_connection(void **state)
{
	struct pair *pair = *state;

	to_provider(pair, 0, 1, HOLDFAST__TO_PROVIDER__KIND_CONNECT);
	expect_ended(&pair->provider, HF_EPROTO);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, pair_setup, pair_teardown)
#define A(name) cmocka_unit_test_setup_teardown(name, pair_setup_activation, pair_teardown)
	const struct CMUnitTest tests[] = {
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
		A(test_hello_larger_than_the_limit),
		A(test_no_management_on_the_activation_connection),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
