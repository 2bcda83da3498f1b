/* Promises of network settings (invariant 4), on the real agent in a process of its own: new ones
 * are tried, and rolled back by the agent itself unless a signed confirmation comes in time; what
 * was rolled back is not tried again; a kill at any step changes nothing of this. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/agent/agent_child.h"

#define STATE(name) HOLDFAST__NETWORK_STATE__NETWORK_##name
#define NOWHERE     "127.0.0.1:1"

struct draft {
	Holdfast__Document document;
	Holdfast__Network network;
	char *endpoints[1];
};

static void draft_init(struct draft *draft, uint64_t generation, uint64_t version, char *endpoint,
		       uint32_t confirm_ms)
{
	holdfast__document__init(&draft->document);
	holdfast__network__init(&draft->network);
	draft->document.incarnation = 1;
	draft->document.generation = generation;
	draft->document.network = &draft->network;
	draft->network.version = version;
	draft->network.confirm_ms = confirm_ms;
	draft->endpoints[0] = endpoint;
	draft->network.endpoints = draft->endpoints;
	draft->network.n_endpoints = 1;
}

static uint64_t send_draft(struct agent_child *child, const struct draft *draft)
{
	return fake_provider_apply(&child->provider, &draft->document, &child->provider.signer);
}

static void apply(struct agent_child *child, const struct draft *draft)
{
	assert_int_equal(agent_child_answer(child, send_draft(child, draft)), 0);
}

static uint64_t send_confirmation(struct agent_child *child, const struct draft *draft,
				  uint64_t version, const struct hf_sign_key *signer)
{
	Holdfast__Confirmation confirmation = HOLDFAST__CONFIRMATION__INIT;
	Holdfast__Request request = HOLDFAST__REQUEST__INIT;
	Holdfast__Change change = HOLDFAST__CHANGE__INIT;
	uint8_t settings[256], bytes[128], hash[HF_HASH_BYTES];
	uint64_t number;

	hf_sha256(settings, holdfast__network__pack(&draft->network, settings), hash);
	confirmation.incarnation = 1;
	confirmation.version = version;
	confirmation.hash = (ProtobufCBinaryData){sizeof hash, hash};
	change.kind_case = HOLDFAST__CHANGE__KIND_CONFIRMATION;
	change.confirmation.len = holdfast__confirmation__pack(&confirmation, bytes);
	change.confirmation.data = bytes;
	request.kind_case = HOLDFAST__REQUEST__KIND_CONFIRM;
	request.confirm =
		fake_provider_sign(&child->provider, &change, ++child->provider.sequence, signer);
	number = fake_provider_ask(&child->provider, &request);
	holdfast__signed__free_unpacked(request.confirm, NULL);
	return number;
}

static int confirm(struct agent_child *child, const struct draft *draft)
{
	return agent_child_answer(child, send_confirmation(child, draft, draft->network.version,
							   &child->provider.signer));
}

static bool is_held(const struct agent_child *child)
{
	const struct fake_link *link = &child->provider.management;

	return link->stream && hf_session_state(link->session) == HF_SESSION_HELD;
}

/* Subscribes on the present connection and waits for this state. */
static void expect(struct agent_child *child, int state, bool proved)
{
	Holdfast__Request request = HOLDFAST__REQUEST__INIT;
	Holdfast__Subscribe subscribe = HOLDFAST__SUBSCRIBE__INIT;
	static uint64_t subscription;

	RUN_UNTIL(&child->loop, is_held(child));
	subscribe.subscription = ++subscription;
	subscribe.interval_ms = 100;
	request.kind_case = HOLDFAST__REQUEST__KIND_SUBSCRIBE;
	request.subscribe = &subscribe;
	child->provider.network_state = -1;
	fake_provider_ask(&child->provider, &request);
	RUN_UNTIL(&child->loop, child->provider.network_state == state &&
					child->provider.network_proved == proved);
}

static void test_tried_and_confirmed(void **state)
{
	struct agent_child *child = *state;
	struct draft draft;

	draft_init(&draft, 1, 1, child->provider.management_address, 30000);
	apply(child, &draft);
	RUN_UNTIL(&child->loop, child->provider.management.connections == 2);
	expect(child, STATE(PROVISIONAL), true);
	assert_int_equal(confirm(child, &draft), 0);
	expect(child, STATE(CONFIRMED), true);
	assert_int_equal(confirm(child, &draft), 0); /* said twice */
	agent_child_kill(child);
	agent_child_start(child, NULL);
	expect(child, STATE(CONFIRMED), true);
	assert_true(child->provider.network_version == 1);
}

static void test_rolled_back_and_not_tried_again(void **state)
{
	struct agent_child *child = *state;
	struct draft draft;

	draft_init(&draft, 1, 1, (char[]){NOWHERE}, 1500);
	apply(child, &draft);
	RUN_UNTIL(&child->loop, child->provider.management.ended == 1);
	RUN_UNTIL(&child->loop, child->provider.management.connections == 2);
	expect(child, STATE(ROLLED_BACK), true);
	assert_true(child->provider.network_version == 1);
	assert_true(child->provider.network_reason[0]);
	assert_int_equal(confirm(child, &draft), HF_ESTALE);
	/* A later generation with the same settings, and another agent. */
	draft_init(&draft, 2, 1, (char[]){NOWHERE}, 1500);
	apply(child, &draft);
	agent_child_kill(child);
	agent_child_start(child, NULL);
	expect(child, STATE(ROLLED_BACK), true);
	assert_int_equal(child->provider.management.connections, 3);
	/* Other settings are another version, and are tried. */
	draft_init(&draft, 3, 3, child->provider.management_address, 30000);
	apply(child, &draft);
	RUN_UNTIL(&child->loop, child->provider.management.connections == 4);
	expect(child, STATE(PROVISIONAL), true);
	assert_int_equal(confirm(child, &draft), 0);
	expect(child, STATE(CONFIRMED), true);
}

/* Reached, but nobody says so: rolled back all the same. */
static void test_silence_is_no_confirmation(void **state)
{
	struct agent_child *child = *state;
	struct draft draft;

	draft_init(&draft, 1, 1, child->provider.management_address, 1500);
	apply(child, &draft);
	RUN_UNTIL(&child->loop, child->provider.management.connections == 3);
	expect(child, STATE(ROLLED_BACK), true);
}

static void test_only_the_signer_confirms_and_only_these(void **state)
{
	struct agent_child *child = *state;
	struct hf_sign_key other;
	struct draft draft;

	hf_sign_key_make(&other);
	draft_init(&draft, 1, 1, child->provider.management_address, 30000);
	apply(child, &draft);
	RUN_UNTIL(&child->loop, child->provider.management.connections == 2);
	expect(child, STATE(PROVISIONAL), true);
	assert_int_equal(agent_child_answer(child, send_confirmation(child, &draft, 1, &other)),
			 HF_EAUTH);
	assert_int_equal(agent_child_answer(child, send_confirmation(child, &draft, 2,
								     &child->provider.signer)),
			 HF_ESTALE);
	draft.network.confirm_ms++; /* other settings of the same version */
	assert_int_equal(confirm(child, &draft), HF_ESTALE);
	expect(child, STATE(PROVISIONAL), true);
}

/* ---- Kills ---- */

/* Each write of the document and of the settings: tried, then confirmed or rolled back. */
static const char *const points[] = {
	"hf_kept_set_newest:before:1",   "hf_kept_set_newest:after:1",
	"hf_kept_set_document:before:1", "hf_kept_set_document:after:1",
	"hf_kept_set_network:before:1",  "hf_kept_set_network:after:1",
	"hf_kept_set_network:before:2",  "hf_kept_set_network:after:2",
};

/* True once this is reported; subscribes anew whenever there is another connection. */
static bool settled(struct agent_child *child, int state)
{
	static unsigned subscribed;
	Holdfast__Request request = HOLDFAST__REQUEST__INIT;
	Holdfast__Subscribe subscribe = HOLDFAST__SUBSCRIBE__INIT;

	if (is_held(child) && subscribed != child->provider.management.connections) {
		subscribed = child->provider.management.connections;
		child->provider.network_state = -1;
		subscribe.subscription = 1000000;
		subscribe.interval_ms = 100;
		request.kind_case = HOLDFAST__REQUEST__KIND_SUBSCRIBE;
		request.subscribe = &subscribe;
		fake_provider_ask(&child->provider, &request);
	}
	return child->provider.network_state == state;
}

/* Confirms as the provider does: when they are being tried and this connection was made with them.
 */
static void settle_good(struct agent_child *child, const struct draft *draft)
{
	RUN_UNTIL(&child->loop,
		  settled(child, STATE(CONFIRMED)) ||
			  (settled(child, STATE(PROVISIONAL)) && child->provider.network_proved));
	if (child->provider.network_state == STATE(CONFIRMED))
		return;
	assert_int_equal(confirm(child, draft), 0);
	RUN_UNTIL(&child->loop, settled(child, STATE(CONFIRMED)));
}

static void kill_while_trying(const char *point, bool good)
{
	struct agent_child child;
	struct draft draft;
	uint64_t request;

	agent_child_open(&child);
	agent_child_kill(&child);
	agent_child_start(&child, point);
	draft_init(&draft, 1, 1, good ? child.provider.management_address : (char[]){NOWHERE},
		   good ? 20000 : 1500);
	request = send_draft(&child, &draft);
	RUN_UNTIL(&child.loop, child.provider.answered == request || agent_child_died(&child));
	if (child.pid && good) {
		RUN_UNTIL(&child.loop,
			  (child.provider.management.connections == 3 && is_held(&child)) ||
				  agent_child_died(&child));
		if (child.pid)
			send_confirmation(&child, &draft, 1, &child.provider.signer);
	}
	RUN_UNTIL(&child.loop, agent_child_died(&child));
	agent_child_start(&child, NULL);
	/* The provider says again what the gateway lacks. */
	apply(&child, &draft);
	if (good)
		settle_good(&child, &draft);
	else
		RUN_UNTIL(&child.loop, settled(&child, STATE(ROLLED_BACK)));
	agent_child_close(&child);
}

static void test_killed_anywhere(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
		kill_while_trying(points[i], true);
		kill_while_trying(points[i], false);
	}
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, agent_child_setup, agent_child_teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_tried_and_confirmed),
		CASE(test_rolled_back_and_not_tried_again),
		CASE(test_silence_is_no_confirmation),
		CASE(test_only_the_signer_confirms_and_only_these),
		cmocka_unit_test(test_killed_anywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
