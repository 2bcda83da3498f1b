/* Volumes from the administrator's side, through the real provider, signer and held connection:
 * desired state reaches the gateway, and what it reports is what people see. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "tests/provider/volume_fixture.h"

/* create --wait answers when the gateway reported it available, with what a client needs; the
 * secrets arrived sealed to this gateway. */
static void test_create(void **state)
{
	struct lab_answer answer;

	(void)state;
	ask_create("gw", "data", 10000, &answer);
	lab_wait_answer(&lab, &answer);
	assert_int_equal(answer.err, 0);
	assert_string_equal(lab_text(&answer, "status"), "available");
	assert_string_equal(lab_text(&answer, "name"), "data");
	assert_string_equal(lab_text(&answer, "portal"), "192.0.2.10:3260");
	assert_int_equal(lab_number(&answer, "lun"), 1);
	assert_int_equal(lab_number(&answer, "size_bytes"), VOLUME_BYTES);
	assert_int_equal(strncmp(lab_text(&answer, "target"), "iqn.2026-11.net.holdfast:vol-", 29),
			 0);
	assert_int_equal(strncmp(lab_text(&answer, "volume_id"), "vol-", 4), 0);
	assert_string_equal(gw.document->volumes[0]->target, lab_text(&answer, "target"));
	assert_string_equal(gw.document->volumes[0]->chap_user, "alice");
	assert_string_equal(gw.document->volumes[0]->initiators[0], "192.0.2.0/24");
	assert_int_equal(gw.document->volumes[0]->attach_epoch, 1);
	assert_string_equal(gw.chap_secret, "correct-horse");
	lab_forget(&answer);
}

/* Once its objects exist, no later document says "create" for a volume: a gateway that lost its
 * disk must not make an empty one. The entry's version stays. */
static void test_create_is_said_once(void **state)
{
	uint64_t version;

	(void)state;
	gw.mute_volumes = true;
	assert_int_equal(create("gw", "data", 0), 0);
	expect_status("data", "creating");
	wait_entries(1, 0);
	assert_true(gw.document->volumes[0]->create);
	version = gw.document->volumes[0]->version;
	gw.mute_volumes = false;
	lab_until(&lab, is_created, &gw, "a document without create");
	assert_int_equal(gw.document->volumes[0]->version, version);
}

/* Recovery point, its lag and its age are what the gateway reported. */
static void test_show_tells_the_recovery_point(void **state)
{
	struct lab_answer answer;
	json_t *age;

	(void)state;
	gw.lag_bytes = 4096;
	assert_int_equal(create("gw", "data", 10000), 0);
	lab_show_volume(&lab, "data", &answer);
	assert_int_equal(lab_number(&answer, "recovery_point"), 42);
	assert_int_equal(lab_number(&answer, "recovery_point_lag_bytes"), 4096);
	age = json_object_get(answer.json, "recovery_point_age_seconds");
	assert_true(json_is_real(age) && json_real_value(age) >= 1.5);
	lab_forget(&answer);
}

/* Detach, attach (a higher epoch each time), delete: each waits for its report. */
static void test_detach_attach_delete(void **state)
{
	struct lab_answer answer;

	(void)state;
	assert_int_equal(create("gw", "data", 10000), 0);
	assert_int_equal(attach("data", "gw"), HF_EBUSY);
	assert_int_equal(detach("data"), 0);
	expect_status("data", "detached");
	assert_int_equal(detach("data"), 0);
	assert_int_equal(attach("data", "gw"), 0);
	assert_int_equal(gw.document->volumes[0]->attach_epoch, 2);
	assert_int_equal(remove_volume("data", false), 0);
	lab_show_volume(&lab, "data", &answer);
	assert_int_equal(answer.err, HF_ENOENT);
	lab_forget(&answer);
	assert_int_equal(create("gw", "data", 10000), 0); /* the name is free */
}

static bool no_tombstones(void *context)
{
	struct test_gateway *g = context;

	return g->document->n_tombstones == 0 && g->document->n_volumes == 0;
}

/* Invariant 4: a volume leaves by a tombstone, which stays in every document until it is reported
 * deleted, also over a restart of the gateway. */
static void test_tombstone_stays_until_reported(void **state)
{
	struct lab_answer answer;

	(void)state;
	assert_int_equal(create("gw", "data", 10000), 0);
	gw.mute_volumes = true;
	assert_int_equal(
		change(HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_DELETE, "data", "", false, 0, &answer),
		0);
	assert_string_equal(lab_text(&answer, "status"), "deleting");
	lab_forget(&answer);
	wait_entries(0, 1);
	assert_int_equal(gw.document->n_volumes, 0);
	assert_int_equal(create("gw", "more", 0), 0);
	wait_entries(1, 1);
	assert_int_equal(gw.document->n_tombstones, 1);
	expect_status("data", "deleting");
	tg_connect(&gw);
	tg_wait_held(&gw);
	gw.mute_volumes = false;
	expect_status("more", "available");
	assert_int_equal(remove_volume("more", false), 0);
	lab_until(&lab, no_tombstones, &gw, "the tombstones are gone");
}

/* A move: detached here, attached there with a higher epoch; the old gateway keeps it as detached
 * until it is deleted, then both forget it. */
static void test_move_to_another_gateway(void **state)
{
	(void)state;
	tg_join(&other, "other");
	assert_int_equal(create("gw", "data", 10000), 0);
	assert_int_equal(attach("data", "other"), HF_EBUSY);
	assert_int_equal(detach("data"), 0);
	assert_int_equal(attach("data", "other"), 0);
	assert_int_equal(other.document->volumes[0]->attach_epoch, 2);
	assert_false(other.document->volumes[0]->create);
	assert_int_equal(gw.document->volumes[0]->attachment, HOLDFAST__ATTACHMENT__DETACHED);
	assert_int_equal(gw.document->volumes[0]->attach_epoch, 1);
	assert_memory_equal(gw.wrap_key, other.wrap_key, sizeof gw.wrap_key);
	assert_int_equal(remove_volume("data", false), 0);
	lab_until(&lab, no_tombstones, &gw, "the old gateway forgot it");
	lab_until(&lab, no_tombstones, &other, "the new gateway forgot it");
}

/* A volume in use is not deleted by mistake. */
static bool has_lag(void *context)
{
	struct lab_answer answer;
	bool shown;

	(void)context;
	lab_show_volume(&lab, "data", &answer);
	shown = lab_number(&answer, "recovery_point_lag_bytes") == 123456;
	lab_forget(&answer);
	return shown;
}

/* The volume of a gateway that was revoked goes elsewhere only by force: what is lost then was
 * said, and before the revocation not even force takes it away. */
static void test_attach_away_from_a_revoked_gateway(void **state)
{
	Holdfast__AdminRequest request = HOLDFAST__ADMIN_REQUEST__INIT;
	Holdfast__AdminGatewayName name = HOLDFAST__ADMIN_GATEWAY_NAME__INIT;
	const int attach_kind = HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_ATTACH;
	struct lab_answer answer;

	(void)state;
	tg_join(&other, "other");
	gw.lag_bytes = 123456;
	assert_int_equal(create("gw", "data", 10000), 0);
	lab_until(&lab, has_lag, NULL, "what is not uploaded is known");
	assert_int_equal(change(attach_kind, "data", "other", true, 0, &answer), HF_EBUSY);
	assert_non_null(strstr(answer.reason, "detach it first"));
	lab_forget(&answer);
	name.gateway = (char[]){"gw"};
	request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_GATEWAY_REVOKE;
	request.gateway_revoke = &name;
	lab_ask(&lab, &request, &answer);
	lab_wait_answer(&lab, &answer);
	assert_int_equal(answer.err, 0);
	lab_forget(&answer);
	assert_int_equal(change(attach_kind, "data", "other", false, 0, &answer), HF_EBUSY);
	assert_non_null(strstr(answer.reason, "123456 bytes"));
	assert_non_null(strstr(answer.reason, "--force"));
	lab_forget(&answer);
	assert_int_equal(other.document->n_volumes, 0);
	assert_int_equal(change(attach_kind, "data", "other", true, 10000, &answer), 0);
	assert_string_equal(lab_text(&answer, "gateway_name"), "other");
	assert_int_equal(lab_number(&answer, "attach_epoch"), 2);
	lab_forget(&answer);
}

static void test_delete_of_a_used_volume(void **state)
{
	(void)state;
	gw.sessions = 2;
	assert_int_equal(create("gw", "data", 10000), 0);
	assert_int_equal(remove_volume("data", false), HF_EBUSY);
	expect_status("data", "available");
	assert_int_equal(remove_volume("data", true), 0);
}

/* What the gateway cannot do is shown with its reason, --wait ends with its error, and the state
 * recovers with the gateway. */
static void test_failure_is_reported(void **state)
{
	struct lab_answer answer;

	(void)state;
	gw.fail_volumes = true;
	ask_create("gw", "data", 10000, &answer);
	lab_wait_answer(&lab, &answer);
	assert_int_equal(answer.err, HF_EIO);
	assert_non_null(strstr(answer.reason, "disk on fire"));
	assert_string_equal(lab_text(&answer, "status"), "failed");
	lab_forget(&answer);
	gw.fail_volumes = false;
	expect_status("data", "available");
}

/* Names are unique, gateways must exist; each answer says what to do. */
static void test_refusals(void **state)
{
	(void)state;
	assert_int_equal(create("gw", "data", 10000), 0);
	assert_int_equal(create("gw", "data", 0), HF_EEXIST);
	assert_int_equal(create("nobody", "x", 0), HF_ENOENT);
	assert_int_equal(detach("nothing"), HF_ENOENT);
	assert_int_equal(remove_volume("vol-0000000000000001", false), HF_ENOENT);
	assert_int_equal(attach("data", "nobody"), HF_ENOENT);
}

/* Two at once under one name: one gets it. */
static void test_racing_creates(void **state)
{
	struct lab_answer answers[2];

	(void)state;
	ask_create("gw", "data", 10000, &answers[0]);
	ask_create("gw", "data", 10000, &answers[1]);
	lab_wait_answer(&lab, &answers[0]);
	lab_wait_answer(&lab, &answers[1]);
	assert_true((answers[0].err == 0 && answers[1].err == HF_EEXIST) ||
		    (answers[1].err == 0 && answers[0].err == HF_EEXIST));
	lab_forget(&answers[0]);
	lab_forget(&answers[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VOLUME_TEST(test_create),
		VOLUME_TEST(test_create_is_said_once),
		VOLUME_TEST(test_show_tells_the_recovery_point),
		VOLUME_TEST(test_detach_attach_delete),
		VOLUME_TEST(test_tombstone_stays_until_reported),
		VOLUME_TEST(test_move_to_another_gateway),
		VOLUME_TEST(test_attach_away_from_a_revoked_gateway),
		VOLUME_TEST(test_delete_of_a_used_volume),
		VOLUME_TEST(test_failure_is_reported),
		VOLUME_TEST(test_refusals),
		VOLUME_TEST(test_racing_creates),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("volumes", tests, NULL, NULL);
}
