/* Whoever is away delays and loses nothing: gateway, signer, provider, registry (invariants 4, 5,
 * 6). Against the real provider and signer. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <sqlite3.h>

#include "tests/provider/volume_fixture.h"

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

/* It is held, and never hears of it: it comes again with the token and the epoch of before, and is
 * no copy of itself. */
static void lose_held(void)
{
	uint64_t last_epoch = gw.last_epoch;
	uint8_t token[sizeof gw.token];

	memcpy(token, gw.token, sizeof token);
	gw.silent = true;
	tg_connect(&gw);
	tg_wait_held(&gw);
	tg_drop(&gw);
	gw.silent = false;
	gw.last_epoch = last_epoch;
	memcpy(gw.token, token, sizeof token);
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
	lose_held();
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
	const struct CMUnitTest tests[] = {
		VOLUME_TEST(test_gateway_away),     VOLUME_TEST(test_equal_document_is_not_sent),
		VOLUME_TEST(test_refused_document), VOLUME_TEST(test_signer_away),
		VOLUME_TEST(test_provider_killed),  VOLUME_TEST(test_stop_with_work_under_way),
		VOLUME_TEST(test_registry_locked),  VOLUME_TEST(test_restored_registry),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("away", tests, NULL, NULL);
}
