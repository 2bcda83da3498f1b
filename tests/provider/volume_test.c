/* Volumes from the administrator's side, through the real provider, signer and held connection:
 * desired state reaches the gateway once (invariant 4), what it reports is what people see, and
 * whoever is away delays and loses nothing. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <sqlite3.h>

#include "tests/provider/test_gateway.h"

#define GIB (1ull << 30)

static struct lab lab;
static struct test_gateway gw, other;

static int set_up(void **state)
{
	(void)state;
	lab_up(&lab, "");
	tg_init(&gw, &lab);
	tg_init(&other, &lab);
	tg_join(&gw, "gw");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	tg_free(&gw);
	tg_free(&other);
	lab_down(&lab);
	return 0;
}

/* ---- Questions ---- */

static void ask_create(const char *gateway, const char *name, uint32_t wait_ms,
		       struct lab_answer *answer)
{
	Holdfast__AdminRequest request = HOLDFAST__ADMIN_REQUEST__INIT;
	Holdfast__AdminVolumeCreate create = HOLDFAST__ADMIN_VOLUME_CREATE__INIT;
	char user[] = "alice", secret[] = "correct-horse", initiator[] = "192.0.2.0/24";
	char *initiators[] = {initiator};

	create.gateway = (char *)(uintptr_t)gateway;
	create.name = (char *)(uintptr_t)name;
	create.size_bytes = GIB;
	create.chap_user = user;
	create.chap_secret = secret;
	create.initiators = initiators;
	create.n_initiators = 1;
	request.wait_ms = wait_ms;
	request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_CREATE;
	request.volume_create = &create;
	lab_ask(&lab, &request, answer);
}

static int create(const char *gateway, const char *name, uint32_t wait_ms)
{
	struct lab_answer answer;
	int err;

	ask_create(gateway, name, wait_ms, &answer);
	lab_wait_answer(&lab, &answer);
	err = answer.err;
	lab_forget(&answer);
	return err;
}

static void ask_detach(const char *volume, uint32_t wait_ms, struct lab_answer *answer)
{
	Holdfast__AdminRequest request = HOLDFAST__ADMIN_REQUEST__INIT;
	Holdfast__AdminVolumeName name = HOLDFAST__ADMIN_VOLUME_NAME__INIT;

	name.volume = (char *)(uintptr_t)volume;
	request.wait_ms = wait_ms;
	request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_DETACH;
	request.volume_detach = &name;
	lab_ask(&lab, &request, answer);
}

static void ask_confirm(const char *gateway, struct lab_answer *answer)
{
	Holdfast__AdminRequest request = HOLDFAST__ADMIN_REQUEST__INIT;
	Holdfast__AdminConfirm confirm = HOLDFAST__ADMIN_CONFIRM__INIT;

	confirm.gateway = (char *)(uintptr_t)gateway;
	request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_CONFIRM;
	request.confirm = &confirm;
	lab_ask(&lab, &request, answer);
}

static int change(int kind, const char *volume, const char *gateway, bool force, uint32_t wait_ms,
		  struct lab_answer *answer)
{
	Holdfast__AdminRequest request = HOLDFAST__ADMIN_REQUEST__INIT;
	Holdfast__AdminVolumeName name = HOLDFAST__ADMIN_VOLUME_NAME__INIT;
	Holdfast__AdminAttach attach = HOLDFAST__ADMIN_ATTACH__INIT;

	name.volume = attach.volume = (char *)(uintptr_t)volume;
	name.force = force;
	attach.gateway = (char *)(uintptr_t)gateway;
	request.wait_ms = wait_ms;
	request.kind_case = kind;
	if (kind == HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_ATTACH)
		request.volume_attach = &attach;
	else
		request.volume_detach = &name;
	lab_ask(&lab, &request, answer);
	lab_wait_answer(&lab, answer);
	return answer->err;
}

static int attach(const char *volume, const char *gateway)
{
	struct lab_answer answer;
	int err = change(HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_ATTACH, volume, gateway, false, 10000,
			 &answer);

	lab_forget(&answer);
	return err;
}

static int detach(const char *volume)
{
	struct lab_answer answer;
	int err = change(HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_DETACH, volume, "", false, 10000,
			 &answer);

	lab_forget(&answer);
	return err;
}

static int remove_volume(const char *volume, bool force)
{
	struct lab_answer answer;
	int err = change(HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_DELETE, volume, "", force, 10000,
			 &answer);

	lab_forget(&answer);
	return err;
}

struct wanted {
	const char *volume, *status;
};

static bool has_status(void *context)
{
	struct wanted *wanted = context;
	struct lab_answer answer;
	bool found;

	lab_show_volume(&lab, wanted->volume, &answer);
	found = strcmp(lab_text(&answer, "status"), wanted->status) == 0;
	lab_forget(&answer);
	return found;
}

static void expect_status(const char *volume, const char *status)
{
	struct wanted wanted = {volume, status};

	lab_until(&lab, has_status, &wanted, status);
}

/* ---- Tests ---- */

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
	assert_int_equal(lab_number(&answer, "size_bytes"), GIB);
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

/* The gateway's document has at least so many volumes and tombstones. */
static size_t wanted_volumes, wanted_tombstones;

static bool has_entries(void *context)
{
	struct test_gateway *g = context;

	return g->document && g->document->n_volumes >= wanted_volumes &&
	       g->document->n_tombstones >= wanted_tombstones;
}

static void wait_entries(size_t volumes, size_t tombstones)
{
	wanted_volumes = volumes;
	wanted_tombstones = tombstones;
	lab_until(&lab, has_entries, &gw, "the entries of a document");
}

static bool is_created(void *context)
{
	struct test_gateway *g = context;

	return g->document && g->document->n_volumes == 1 && !g->document->volumes[0]->create;
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

static bool all_signed(void *context)
{
	struct lab_answer answer;
	bool equal;

	(void)context;
	lab_show_gateway(&lab, "gw", &answer);
	equal = lab_number(&answer, "generation") == lab_number(&answer, "signed_generation");
	lab_forget(&answer);
	return equal;
}

/* A gateway that is away gets the newest state when it comes back, once (invariant 4). */
static void test_gateway_away(void **state)
{
	struct lab_answer answer;
	unsigned applies;

	(void)state;
	tg_drop(&gw);
	ask_create("gw", "one", 100, &answer);
	lab_wait_answer(&lab, &answer);
	assert_int_equal(answer.err, HF_ETIMEDOUT);
	assert_non_null(strstr(answer.reason, "away"));
	lab_forget(&answer);
	assert_int_equal(create("gw", "two", 0), 0);
	assert_int_equal(create("gw", "three", 0), 0);
	gw.mute_volumes = true;
	lab_until(&lab, all_signed, NULL, "the newest document is signed");
	applies = gw.applies;
	tg_connect(&gw);
	wait_entries(3, 0);
	assert_int_equal(gw.applies, applies + 1);
	gw.mute_volumes = false;
	expect_status("three", "available");
}

/* A connection with the document in force gets no Apply at all. */
static void test_equal_document_is_not_sent(void **state)
{
	unsigned applies;

	(void)state;
	assert_int_equal(create("gw", "data", 10000), 0);
	lab_until(&lab, is_created, &gw, "the last document");
	lab_turn(&lab);
	applies = gw.applies;
	tg_connect(&gw);
	tg_wait_held(&gw);
	for (int i = 0; i < 10; i++)
		expect_status("data", "available");
	assert_int_equal(gw.applies, applies);
}

/* A document that the gateway refuses is shown as the reason. */
static void test_refused_document(void **state)
{
	struct lab_answer answer;

	(void)state;
	gw.refuse_applies = true;
	ask_create("gw", "data", 1500, &answer);
	lab_wait_answer(&lab, &answer);
	assert_int_equal(answer.err, HF_ETIMEDOUT);
	assert_non_null(strstr(answer.reason, "not today"));
	lab_forget(&answer);
}

/* While the signer is away: nothing is created without its secrets, a change of what exists waits
 * and says so, everything else goes on, and the change arrives when the signer is back. */
static void test_signer_away(void **state)
{
	struct lab_answer answer;

	(void)state;
	assert_int_equal(create("gw", "data", 10000), 0);
	lab_until(&lab, is_created, &gw, "the last document");
	lab_stop(&lab.signer, SIGKILL);
	assert_int_equal(create("gw", "no", 0), HF_ENOTREADY);
	change(HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_DETACH, "data", "", false, 300, &answer);
	assert_int_equal(answer.err, HF_ETIMEDOUT);
	assert_non_null(strstr(answer.reason, "signer"));
	assert_string_equal(lab_text(&answer, "status"), "detaching");
	lab_forget(&answer);
	assert_int_equal(gw.document->volumes[0]->attachment, HOLDFAST__ATTACHMENT__ATTACHED);
	lab_start_signer(&lab);
	expect_status("data", "detached");
}

/* Killed at any moment, the provider comes back with everything; epochs rise (invariant 5). */
static void test_provider_killed(void **state)
{
	uint64_t epoch = gw.epoch;

	(void)state;
	assert_int_equal(create("gw", "data", 10000), 0);
	assert_int_equal(create("gw", "late", 0), 0);
	lab_stop(&lab.provider, SIGKILL);
	tg_wait_ended(&gw);
	lab_start_provider(&lab);
	lab_wait_ready(&lab);
	tg_connect(&gw);
	tg_wait_held(&gw);
	assert_true(gw.epoch > epoch);
	expect_status("data", "available");
	expect_status("late", "available");
}

/* Told to stop while questions wait and the signer does not answer: everybody gets an answer, and
 * the process ends in order. */
static void test_stop_with_work_under_way(void **state)
{
	struct lab_answer answers[3];

	(void)state;
	assert_int_equal(create("gw", "data", 10000), 0);
	tg_hello(&other);
	tg_wait_offer(&other);
	lab_activate(&lab, other.key, "other", &answers[0]);
	lab_forget(&answers[0]);
	assert_int_equal(kill(lab.signer, SIGSTOP), 0);
	ask_create("gw", "more", 10000, &answers[0]);
	ask_detach("data", 10000, &answers[1]);
	ask_confirm("other", &answers[2]);
	lab_turn(&lab);
	lab_stop(&lab.provider, SIGTERM);
	for (int i = 0; i < 3; i++) {
		lab_wait_answer(&lab, &answers[i]);
		assert_int_not_equal(answers[i].err, 0);
		lab_forget(&answers[i]);
	}
	assert_int_equal(kill(lab.signer, SIGCONT), 0);
	lab_start_provider(&lab);
	lab_wait_ready(&lab);
	tg_connect(&gw);
	tg_wait_held(&gw);
	expect_status("data", "detached"); /* it was accepted */
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

static void registry_path(char path[128], const char *suffix)
{
	snprintf(path, 128, "%s/provider/registry.db%s", lab.folder, suffix);
}

/* A holder that has lost the registry goes on holding; what cannot be stored says so, and works
 * again afterwards. */
static void test_registry_locked(void **state)
{
	struct lab_answer answer;
	char path[128];
	sqlite3 *db;

	(void)state;
	assert_int_equal(create("gw", "data", 10000), 0);
	registry_path(path, "");
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	sqlite3_busy_timeout(db, 5000);
	assert_int_equal(sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
	change(HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_DETACH, "data", "", false, 0, &answer);
	assert_int_equal(answer.err, HF_EBUSY);
	assert_non_null(strstr(answer.reason, "locked"));
	lab_forget(&answer);
	lab_show_volume(&lab, "data", &answer);
	assert_string_equal(lab_text(&answer, "status"), "available");
	lab_forget(&answer);
	assert_false(gw.ended);
	sqlite3_close(db);
	assert_int_equal(detach("data"), 0);
	assert_false(gw.ended);
}

static void copy_file(const char *from, const char *to)
{
	char command[300];

	snprintf(command, sizeof command, "cp %s %s", from, to);
	assert_int_equal(system(command), 0);
}

static bool has_problem(void *context)
{
	struct lab_answer answer;
	bool found;

	lab_show_gateway(&lab, "gw", &answer);
	found = strstr(lab_text(&answer, "problem"), context) != NULL;
	lab_forget(&answer);
	return found;
}

static bool is_attached(void *context)
{
	struct test_gateway *g = context;

	return g->document->volumes[0]->attachment == HOLDFAST__ATTACHMENT__ATTACHED;
}

static void restart_provider(const char *option)
{
	lab_stop(&lab.provider, SIGTERM);
	tg_wait_ended(&gw);
	lab_start_provider_with(&lab, option);
	lab_wait_ready(&lab);
	tg_connect(&gw);
	tg_wait_held(&gw);
}

/* Invariants 4, 5: a registry restored from a backup bricks nothing. Epochs go on above what the
 * gateway knows; its older documents are not sent, and said to be old; a new incarnation makes the
 * restored state the newest. */
static void test_restored_registry(void **state)
{
	char path[128], backup[128];
	uint64_t epoch;

	(void)state;
	assert_int_equal(create("gw", "data", 10000), 0);
	lab_until(&lab, is_created, &gw, "the last document");
	lab_stop(&lab.provider, SIGTERM);
	tg_wait_ended(&gw);
	registry_path(path, "");
	registry_path(backup, ".backup");
	copy_file(path, backup);
	lab_start_provider(&lab);
	lab_wait_ready(&lab);
	for (int i = 0; i < 3; i++) {
		tg_connect(&gw);
		tg_wait_held(&gw);
	}
	epoch = gw.epoch;
	assert_int_equal(detach("data"), 0);
	assert_int_equal(gw.document->volumes[0]->attachment, HOLDFAST__ATTACHMENT__DETACHED);
	lab_stop(&lab.provider, SIGTERM);
	tg_wait_ended(&gw);
	copy_file(backup, path);
	lab_start_provider(&lab);
	lab_wait_ready(&lab);
	tg_connect(&gw);
	tg_wait_held(&gw);
	assert_true(gw.epoch > epoch);
	lab_until(&lab, has_problem, (void *)(uintptr_t) "--new-incarnation",
		  "the problem is shown");
	assert_int_equal(gw.document->volumes[0]->attachment, HOLDFAST__ATTACHMENT__DETACHED);
	restart_provider("--new-incarnation");
	lab_until(&lab, is_attached, &gw, "the restored state arrives");
	expect_status("data", "available");
}

int main(void)
{
#define VOLUME_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		VOLUME_TEST(test_create),
		VOLUME_TEST(test_create_is_said_once),
		VOLUME_TEST(test_show_tells_the_recovery_point),
		VOLUME_TEST(test_detach_attach_delete),
		VOLUME_TEST(test_tombstone_stays_until_reported),
		VOLUME_TEST(test_move_to_another_gateway),
		VOLUME_TEST(test_delete_of_a_used_volume),
		VOLUME_TEST(test_failure_is_reported),
		VOLUME_TEST(test_refusals),
		VOLUME_TEST(test_gateway_away),
		VOLUME_TEST(test_equal_document_is_not_sent),
		VOLUME_TEST(test_refused_document),
		VOLUME_TEST(test_signer_away),
		VOLUME_TEST(test_provider_killed),
		VOLUME_TEST(test_stop_with_work_under_way),
		VOLUME_TEST(test_racing_creates),
		VOLUME_TEST(test_registry_locked),
		VOLUME_TEST(test_restored_registry),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("volumes", tests, NULL, NULL);
}
