/* Promises of one-shot actions, deltas and dry runs at the provider (invariant 4): an action is
 * stored before it is answered, also for a gateway that is away, sent under one number until it was
 * answered, and then forgotten; a gateway that has the generation before gets the difference, every
 * other one the whole, once, however long it was away; a dry run changes nothing. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <sqlite3.h>

#include "base/ids.h"
#include "tests/provider/volume_fixture.h"

#define KIND(name) HOLDFAST__ACTION_KIND__ACTION_##name

static void ask_act_of(const char *gateway, uint32_t kind, uint32_t expires_s, uint32_t wait_ms,
		       struct lab_answer *answer)
{
	Holdfast__AdminRequest request = HOLDFAST__ADMIN_REQUEST__INIT;
	Holdfast__AdminAct act = HOLDFAST__ADMIN_ACT__INIT;

	act.gateway = (char *)(uintptr_t)gateway;
	act.kind = kind;
	act.expires_s = expires_s;
	request.wait_ms = wait_ms;
	request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_ACT;
	request.act = &act;
	lab_ask(&lab, &request, answer);
	if (wait_ms == 0)
		lab_wait_answer(&lab, answer);
}

static void ask_act(uint32_t kind, uint32_t expires_s, uint32_t wait_ms, struct lab_answer *answer)
{
	ask_act_of("gw", kind, expires_s, wait_ms, answer);
}

static void show(const char *action, struct lab_answer *answer)
{
	Holdfast__AdminRequest request = HOLDFAST__ADMIN_REQUEST__INIT;
	Holdfast__AdminActionName name = HOLDFAST__ADMIN_ACTION_NAME__INIT;

	name.action = (char *)(uintptr_t)action;
	request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_ACTION_SHOW;
	request.action_show = &name;
	lab_ask(&lab, &request, answer);
	lab_wait_answer(&lab, answer);
}

struct expected {
	const char *action, *state;
};

static bool has_state(void *context)
{
	const struct expected *expected = context;
	struct lab_answer answer;
	bool reached;

	show(expected->action, &answer);
	reached = answer.err == 0 && strcmp(lab_text(&answer, "state"), expected->state) == 0;
	lab_forget(&answer);
	return reached;
}

static void expect_state(const char *action, const char *state)
{
	struct expected expected = {action, state};

	lab_until(&lab, has_state, &expected, state);
}

static bool has_forgotten(void *context)
{
	(void)context;
	return gw.act_count && gw.forgotten >= gw.acts[gw.act_count - 1].number;
}

static bool is_away(void *context)
{
	struct lab_answer answer;
	bool away;

	(void)context;
	lab_show_gateway(&lab, "gw", &answer);
	away = !json_is_true(json_object_get(answer.json, "connected"));
	lab_forget(&answer);
	return away;
}

static void leave(void)
{
	tg_drop(&gw);
	lab_until(&lab, is_away, NULL, "it is away");
}

static void test_done_once_and_forgotten(void **state)
{
	struct lab_answer answer;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		ask_act(KIND(RESTART_TARGET), 0, 10000, &answer);
		lab_wait_answer(&lab, &answer);
		assert_int_equal(answer.err, 0);
		assert_string_equal(lab_text(&answer, "state"), "done");
		assert_string_equal(lab_text(&answer, "kind"), "restart-target");
		lab_forget(&answer);
		assert_int_equal(gw.act_count, i + 1);
		assert_int_equal(gw.acts[i].effects, 1);
		assert_int_equal(gw.acts[i].deliveries, 1);
		assert_false(gw.acts[i].sent_before);
	}
	lab_until(&lab, has_forgotten, NULL, "the gateway may forget");
}

static void test_stored_while_away(void **state)
{
	char first[HF_ID_TEXT_MAX], second[HF_ID_TEXT_MAX];
	struct lab_answer answer;

	(void)state;
	leave();
	ask_act(KIND(RESTART_VOLUMED), 0, 0, &answer);
	assert_int_equal(answer.err, 0);
	assert_non_null(strstr(answer.reason, "away"));
	snprintf(first, sizeof first, "%s", lab_text(&answer, "action_id"));
	lab_forget(&answer);
	ask_act(KIND(DIAGNOSE), 0, 0, &answer);
	snprintf(second, sizeof second, "%s", lab_text(&answer, "action_id"));
	lab_forget(&answer);
	expect_state(second, "stored");
	assert_int_equal(gw.act_count, 0);
	tg_connect(&gw);
	tg_wait_held(&gw);
	expect_state(first, "done");
	expect_state(second, "done");
	assert_int_equal(gw.act_count, 2);
	assert_int_equal(gw.acts[0].kind, KIND(RESTART_VOLUMED));
}

static void test_too_late_is_never_sent(void **state)
{
	char action[HF_ID_TEXT_MAX];
	struct lab_answer answer;

	(void)state;
	leave();
	ask_act(KIND(RESTART_TARGET), 1, 0, &answer);
	snprintf(action, sizeof action, "%s", lab_text(&answer, "action_id"));
	lab_forget(&answer);
	expect_state(action, "expired");
	tg_connect(&gw);
	tg_wait_held(&gw);
	ask_act(KIND(RESCAN), 0, 10000, &answer);
	lab_wait_answer(&lab, &answer);
	assert_int_equal(answer.err, 0);
	lab_forget(&answer);
	assert_int_equal(gw.act_count, 1);
	assert_int_equal(gw.acts[0].kind, KIND(RESCAN));
}

static void test_unknown_is_told_as_unknown(void **state)
{
	struct lab_answer answer;

	(void)state;
	gw.act_outcome = HOLDFAST__ACTION_OUTCOME__OUTCOME_UNKNOWN;
	ask_act(KIND(RESTART_TARGET), 0, 10000, &answer);
	lab_wait_answer(&lab, &answer);
	assert_int_equal(answer.err, HF_EUNKNOWN);
	assert_string_equal(lab_text(&answer, "state"), "unknown");
	assert_string_equal(lab_text(&answer, "reason"), "who??knows");
	lab_forget(&answer);
}

static void test_an_older_gateway_refuses(void **state)
{
	struct lab_answer answer;

	(void)state;
	gw.act_error = HF_EUNSUPPORTED;
	ask_act(KIND(RESTART_TARGET), 0, 10000, &answer);
	lab_wait_answer(&lab, &answer);
	assert_int_equal(answer.err, HF_EUNSUPPORTED);
	assert_string_equal(lab_text(&answer, "state"), "refused");
	lab_forget(&answer);
}

static bool has_delivered(void *context)
{
	(void)context;
	return gw.act_count && gw.acts[0].deliveries > 0;
}

/* "Not now" is no end: it is sent again, and says that it was sent before. */
static void test_not_now_is_sent_again(void **state)
{
	char action[HF_ID_TEXT_MAX];
	struct lab_answer answer;

	(void)state;
	gw.act_error = HF_EAGAIN;
	ask_act(KIND(RESTART_TARGET), 0, 0, &answer);
	snprintf(action, sizeof action, "%s", lab_text(&answer, "action_id"));
	lab_forget(&answer);
	lab_until(&lab, has_delivered, NULL, "it was refused once");
	gw.act_error = 0;
	expect_state(action, "done");
	assert_true(gw.acts[0].sent_before);
}

/* ---- What the signer cannot do now ---- */

static void run_sql(const char *file, const char *sql)
{
	char path[128];
	sqlite3 *db;

	snprintf(path, sizeof path, "%s/%s", lab.folder, file);
	assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
	sqlite3_busy_timeout(db, 5000);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void change_ledger(const char *sql)
{
	lab_stop(&lab.signer, SIGTERM);
	run_sql("signer/ledger.db", sql);
	lab_start_signer(&lab);
}

/* An error of the signer's state ends no action: it is signed when that has passed. Actions of
 * other gateways are not held up by it. */
static void test_a_passing_error_of_the_signer_ends_nothing(void **state)
{
	struct lab_answer answer, beside;
	char sql[128], action[64];

	(void)state;
	tg_join(&other, "other");
	snprintf(sql, sizeof sql, "UPDATE gateways SET crc = crc + 1 WHERE gateway = %lld",
		 (long long)gw.id);
	change_ledger(sql);
	ask_act(KIND(RESCAN), 0, 0, &answer);
	assert_int_equal(answer.err, 0);
	snprintf(action, sizeof action, "%s", lab_text(&answer, "action_id"));
	lab_forget(&answer);
	ask_act_of("other", KIND(RESCAN), 0, 10000, &beside);
	lab_wait_answer(&lab, &beside);
	assert_int_equal(beside.err, 0);
	assert_string_equal(lab_text(&beside, "state"), "done");
	lab_forget(&beside);
	show(action, &answer);
	assert_string_equal(lab_text(&answer, "state"), "requested");
	lab_forget(&answer);
	snprintf(sql, sizeof sql, "UPDATE gateways SET crc = crc - 1 WHERE gateway = %lld",
		 (long long)gw.id);
	change_ledger(sql);
	expect_state(action, "done");
}

/* A document newer than what is desired, as a registry that was put together from two backups has
 * it, is overtaken and not signed anew for ever. */
static void test_a_document_ahead_of_desired_state_is_overtaken(void **state)
{
	struct lab_answer answer;

	(void)state;
	lab_until(&lab, all_signed, NULL, "the first document");
	lab_stop(&lab.provider, SIGTERM);
	tg_wait_ended(&gw);
	run_sql("provider/registry.db", "UPDATE documents SET generation = generation + 5");
	lab_start_provider(&lab);
	lab_wait_ready(&lab);
	tg_connect(&gw);
	tg_wait_held(&gw);
	assert_int_equal(create("gw", "data", 10000), 0);
	lab_until(&lab, all_signed, NULL, "the desired state is signed");
	lab_show_gateway(&lab, "gw", &answer);
	assert_true(lab_number(&answer, "generation") > 5);
	lab_forget(&answer);
}

static void test_nonsense_is_refused(void **state)
{
	struct lab_answer answer;

	(void)state;
	ask_act(KIND(PLAN), 0, 0, &answer);
	assert_int_equal(answer.err, HF_EINVAL);
	lab_forget(&answer);
	ask_act(99, 0, 0, &answer);
	assert_int_equal(answer.err, HF_EINVAL);
	lab_forget(&answer);
	show("act-0000000000000001", &answer);
	assert_int_equal(answer.err, HF_ENOENT);
	lab_forget(&answer);
}

/* ---- Dry runs ---- */

static void test_a_dry_run_changes_nothing(void **state)
{
	Holdfast__AdminRequest request = HOLDFAST__ADMIN_REQUEST__INIT;
	Holdfast__AdminVolumeCreate named = HOLDFAST__ADMIN_VOLUME_CREATE__INIT;
	struct lab_answer answer;
	uint64_t generation;
	json_t *plan;

	(void)state;
	assert_int_equal(create("gw", "a", 10000), 0);
	lab_until(&lab, is_created, &gw, "it is created");
	generation = gw.generation;
	named.gateway = (char[]){"gw"};
	named.name = (char[]){"b"};
	named.size_bytes = VOLUME_BYTES;
	request.dry_run = true;
	request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_CREATE;
	request.volume_create = &named;
	lab_ask(&lab, &request, &answer);
	lab_wait_answer(&lab, &answer);
	assert_int_equal(answer.err, 0);
	plan = json_array_get(json_object_get(answer.json, "plan"), 0);
	/* The gateway was shown both volumes. */
	assert_string_equal(json_string_value(json_object_get(plan, "volume_id")),
			    "vol-0000000000000009");
	assert_string_equal(json_string_value(json_array_get(json_object_get(plan, "steps"), 0)),
			    "attach");
	lab_forget(&answer);
	lab_show_volume(&lab, "b", &answer);
	assert_int_equal(answer.err, HF_ENOENT);
	lab_forget(&answer);
	assert_true(gw.generation == generation);
	/* One that would be refused is refused. */
	named.name = (char[]){"a"};
	lab_ask(&lab, &request, &answer);
	lab_wait_answer(&lab, &answer);
	assert_int_equal(answer.err, HF_EEXIST);
	lab_forget(&answer);
	leave();
	named.name = (char[]){"b"};
	lab_ask(&lab, &request, &answer);
	lab_wait_answer(&lab, &answer);
	assert_int_equal(answer.err, HF_ENOTREADY);
	lab_forget(&answer);
}

/* ---- Deltas ---- */

static void create_some(unsigned count)
{
	char name[16];

	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof name, "v%u", i);
		assert_int_equal(create("gw", name, 10000), 0);
	}
}

static bool has_rest(void *context)
{
	size_t *count = context;

	if (!gw.document || gw.document->n_volumes != *count)
		return false;
	for (size_t i = 0; i < *count; i++)
		if (gw.document->volumes[i]->create)
			return false;
	return true;
}

static void test_changes_travel_as_differences(void **state)
{
	size_t count = 18, before;
	unsigned applies;

	(void)state;
	create_some(18);
	lab_until(&lab, has_rest, &count, "all are created");
	assert_true(gw.deltas > 0);
	before = gw.applied_bytes;
	applies = gw.applies;
	assert_int_equal(detach("v3"), 0);
	assert_int_equal(gw.applies, applies);
	/* The size of the change: one entry and the signature. */
	assert_true(gw.applied_bytes - before < 1500);
	/* A gateway that cannot use it gets the whole. */
	gw.spoil_deltas = true;
	assert_int_equal(attach("v3", "gw"), 0);
	assert_int_equal(gw.applies, applies + 1);
	/* So does one of the protocol before. */
	gw.capability = 1;
	leave();
	tg_connect(&gw);
	tg_wait_held(&gw);
	assert_int_equal(detach("v3"), 0);
	assert_int_equal(gw.applies, applies + 2);
}

/* Away while a lot happens: one exchange, of the size of the state and not of the history. */
static void test_away_for_long_costs_one_exchange(void **state)
{
	size_t count = 18, before, whole;
	uint64_t generation;
	unsigned applies, deltas;

	(void)state;
	create_some(18);
	lab_until(&lab, has_rest, &count, "all are created");
	generation = gw.generation;
	whole = holdfast__document__get_packed_size(gw.document);
	leave();
	for (unsigned i = 0; i < 150; i++) {
		struct lab_answer answer;
		Holdfast__AdminRequest request = HOLDFAST__ADMIN_REQUEST__INIT;
		Holdfast__AdminGrow grow = HOLDFAST__ADMIN_GROW__INIT;

		grow.volume = (char[]){"v5"};
		grow.size_bytes = VOLUME_BYTES + 4096 * (i + 1);
		request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_GROW;
		request.volume_grow = &grow;
		lab_ask(&lab, &request, &answer);
		lab_wait_answer(&lab, &answer);
		assert_int_equal(answer.err, 0);
		lab_forget(&answer);
	}
	lab_until(&lab, all_signed, NULL, "the newest document is signed");
	before = gw.applied_bytes;
	applies = gw.applies;
	deltas = gw.deltas;
	tg_connect(&gw);
	tg_wait_held(&gw);
	expect_status("v5", "available");
	assert_true(gw.generation >= generation + 150);
	assert_int_equal(gw.applies, applies + 1);
	assert_int_equal(gw.deltas, deltas);
	assert_true(gw.applied_bytes - before < whole + 1024);
	print_message("150 changes away: one exchange of %zu bytes, the state has %zu\n",
		      gw.applied_bytes - before, whole);
}

/* ---- Network settings ---- */

static bool is_confirmed(void *context)
{
	(void)context;
	tg_report(&gw);
	return gw.confirmations > 0;
}

static bool shows(void *context)
{
	struct lab_answer answer;
	bool same;

	tg_report(&gw);
	lab_show_gateway(&lab, "gw", &answer);
	same = strcmp(lab_text(&answer, "network_state"), context) == 0;
	lab_forget(&answer);
	return same;
}

static bool has_network(void *context)
{
	(void)context;
	return gw.document && gw.document->network;
}

/* Confirmed only when the gateway says that this connection was made with them; what it rolled back
 * is shown with the reason. */
static void test_network_settings_are_confirmed_when_proved(void **state)
{
	Holdfast__AdminRequest request = HOLDFAST__ADMIN_REQUEST__INIT;
	Holdfast__AdminNetwork network = HOLDFAST__ADMIN_NETWORK__INIT;
	char *endpoints[] = {(char[]){"provider.example:4443"}};
	struct lab_answer answer;

	(void)state;
	network.gateway = (char[]){"gw"};
	network.endpoints = endpoints;
	network.n_endpoints = 1;
	network.proxy = (char[]){"http://proxy.example:3128"};
	network.confirm_s = 30;
	request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_GATEWAY_NETWORK;
	request.gateway_network = &network;
	lab_ask(&lab, &request, &answer);
	lab_wait_answer(&lab, &answer);
	assert_int_equal(answer.err, 0);
	lab_forget(&answer);
	lab_until(&lab, has_network, NULL, "the document has them");
	assert_string_equal(gw.document->network->endpoints[0], "provider.example:4443");
	assert_string_equal(gw.document->network->proxy, "http://proxy.example:3128");
	assert_int_equal(gw.document->network->confirm_ms, 30000);
	gw.network_state = HOLDFAST__NETWORK_STATE__NETWORK_PROVISIONAL;
	lab_until(&lab, shows, (char[]){"provisional"}, "they are being tried");
	assert_int_equal(gw.confirmations, 0);
	gw.network_proved = true;
	lab_until(&lab, is_confirmed, NULL, "a confirmation");
	lab_until(&lab, shows, (char[]){"confirmed"}, "they are confirmed");
	gw.network_state = HOLDFAST__NETWORK_STATE__NETWORK_ROLLED_BACK;
	lab_until(&lab, shows, (char[]){"rolled back"}, "they are rolled back");
	lab_show_gateway(&lab, "gw", &answer);
	assert_string_equal(lab_text(&answer, "network_reason"), "not?reached");
	lab_forget(&answer);
	network.proxy = (char[]){"socks://x:1"};
	lab_ask(&lab, &request, &answer);
	lab_wait_answer(&lab, &answer);
	assert_int_equal(answer.err, HF_EINVAL);
	lab_forget(&answer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VOLUME_TEST(test_done_once_and_forgotten),
		VOLUME_TEST(test_stored_while_away),
		VOLUME_TEST(test_too_late_is_never_sent),
		VOLUME_TEST(test_unknown_is_told_as_unknown),
		VOLUME_TEST(test_an_older_gateway_refuses),
		VOLUME_TEST(test_not_now_is_sent_again),
		VOLUME_TEST(test_a_passing_error_of_the_signer_ends_nothing),
		VOLUME_TEST(test_a_document_ahead_of_desired_state_is_overtaken),
		VOLUME_TEST(test_nonsense_is_refused),
		VOLUME_TEST(test_a_dry_run_changes_nothing),
		VOLUME_TEST(test_changes_travel_as_differences),
		VOLUME_TEST(test_away_for_long_costs_one_exchange),
		VOLUME_TEST(test_network_settings_are_confirmed_when_proved),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("actions", tests, NULL, NULL);
}
