/* Promises about what is not there any more (invariant 4): a gateway that was away gets the state
 * and not the history, however much came and went meanwhile; a registry, or a whole machine, that
 * was restored from a backup goes on from what the gateways know. Against the real provider and
 * signer. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <sqlite3.h>

#include "tests/provider/volume_fixture.h"

/* The registry knows that nobody holds it. */
static bool is_away(void *context)
{
	sqlite3_stmt *stmt = NULL;
	char path[128];
	sqlite3 *db;
	bool away = false;

	(void)context;
	snprintf(path, sizeof path, "%s/provider/registry.db", lab.folder);
	assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	sqlite3_busy_timeout(db, 5000);
	if (sqlite3_prepare_v2(db, "SELECT process FROM gateways WHERE id = ?1", -1, &stmt, NULL) ==
	    SQLITE_OK) {
		sqlite3_bind_int64(stmt, 1, (int64_t)gw.id);
		away = sqlite3_step(stmt) == SQLITE_ROW && sqlite3_column_int64(stmt, 0) == 0;
	}
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	return away;
}

static bool all_applied(void *context)
{
	struct lab_answer answer;
	bool equal;

	(void)context;
	lab_show_gateway(&lab, "gw", &answer);
	equal = lab_number(&answer, "generation") == lab_number(&answer, "applied_generation");
	lab_forget(&answer);
	return equal;
}

static void go_away(void)
{
	tg_drop(&gw);
	lab_until(&lab, is_away, NULL, "the gateway is away");
}

static void come_back(void)
{
	tg_connect(&gw);
	tg_wait_held(&gw);
	lab_until(&lab, all_applied, NULL, "the newest document is applied");
}

static void restart_provider(void)
{
	lab_stop(&lab.provider, SIGKILL);
	lab_start_provider(&lab);
	lab_wait_ready(&lab);
}

/* Deleted without waiting. */
static void drop_volume(const char *name, bool gone)
{
	struct lab_answer answer;
	int err = change(HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_DELETE, name, "", false, 0, &answer);

	if (err)
		print_message("%s: %s\n", name, answer.reason);
	assert_int_equal(err, 0);
	assert_string_equal(lab_text(&answer, "status"), gone ? "deleted" : "deleting");
	lab_forget(&answer);
}

#define COMINGS 600 /* more than a gateway may have volumes, tombstones included */

/* A month of volumes that come and go while the gateway is away: one exchange, of the size of the
 * state. Also over a kill of the provider, and with the signer away in between. */
static void test_a_month_of_history_is_one_exchange(void **state)
{
	unsigned applies;
	size_t bytes;
	char name[32];

	(void)state;
	assert_int_equal(create("gw", "stays", 10000), 0);
	lab_until(&lab, is_created, &gw, "the last document");
	go_away();
	applies = gw.applies + gw.deltas;
	bytes = gw.applied_bytes;
	for (int i = 0; i < COMINGS; i++) {
		snprintf(name, sizeof name, "day-%d", i);
		assert_int_equal(create("gw", name, 0), 0);
		if (i % 100 == 50) /* also what was signed already */
			lab_until(&lab, all_signed, NULL, "the newest document is signed");
		if (i % 250 == 100)
			restart_provider();
		drop_volume(name, true);
	}
	lab_until(&lab, all_signed, NULL, "the newest document is signed");
	come_back();
	assert_int_equal(gw.applies + gw.deltas, applies + 1);
	assert_true(gw.applied_bytes - bytes < 2000);
	assert_int_equal(gw.document->n_volumes, 1);
	assert_int_equal(gw.document->n_tombstones, 0);
	expect_status("stays", "available");
}

/* What the gateway may have heard of, it must be told the end of: also when it did not answer. */
static void test_what_was_sent_gets_its_tombstone(void **state)
{
	size_t before;

	(void)state;
	assert_int_equal(create("gw", "stays", 10000), 0);
	lab_until(&lab, is_created, &gw, "the last document");
	gw.silent = true; /* takes nothing, and says nothing */
	assert_int_equal(create("gw", "sent", 0), 0);
	lab_until(&lab, all_signed, NULL, "it is signed");
	lab_turn(&lab);
	go_away();
	drop_volume("sent", false);
	lab_until(&lab, all_signed, NULL, "its tombstone is signed");
	gw.silent = false;
	gw.mute_volumes = true;
	before = gw.document->n_tombstones;
	tg_connect(&gw);
	wait_entries(1, before + 1);
}

static bool is_unsigned(void *context)
{
	return !all_signed(context);
}

/* A document that has a volume which is gone is not sent any more, signed or not: the gateway would
 * keep it, and miss its tombstone. */
static void test_what_is_gone_is_not_told_late(void **state)
{
	unsigned applies;

	(void)state;
	assert_int_equal(create("gw", "stays", 10000), 0);
	lab_until(&lab, is_created, &gw, "the last document");
	go_away();
	assert_int_equal(create("gw", "late", 0), 0);
	lab_until(&lab, all_signed, NULL, "it is signed");
	lab_stop(&lab.signer, SIGKILL);
	drop_volume("late", true);
	lab_until(&lab, is_unsigned, NULL, "the end of it is not signed");
	applies = gw.applies;
	tg_connect(&gw);
	tg_wait_held(&gw);
	for (int i = 0; i < 20; i++)
		expect_status("stays", "available");
	assert_int_equal(gw.applies, applies);
	lab_start_signer(&lab);
	lab_until(&lab, all_applied, NULL, "the newest document is applied");
	assert_int_equal(gw.document->n_volumes, 1);
}

/* ---- Restored from a backup ---- */

static void stop_all(void)
{
	lab_stop(&lab.provider, SIGTERM);
	tg_wait_ended(&gw);
	lab_stop(&lab.signer, SIGTERM);
}

static void start_all(const char *option)
{
	lab_start_signer(&lab);
	if (option)
		lab_start_provider_with(&lab, option);
	else
		lab_start_provider(&lab);
	lab_wait_ready(&lab);
	tg_connect(&gw);
	tg_wait_held(&gw);
}

static bool knows_one_unknown(void *context)
{
	struct lab_answer answer;
	bool found;

	(void)context;
	lab_show_gateway(&lab, "gw", &answer);
	found = json_array_size(json_object_get(answer.json, "unknown_volumes")) == 1;
	lab_forget(&answer);
	return found;
}

/* Puts back what was copied, as an administrator does after a loss. */
static void restore(const char *folder)
{
	char command[300];

	snprintf(command, sizeof command, "rm -r %s/%s && cp -r %s/%s.backup %s/%s", lab.folder,
		 folder, lab.folder, folder, lab.folder, folder);
	assert_int_equal(system(command), 0);
}

static void back_up(const char *folder)
{
	char command[300];

	snprintf(command, sizeof command, "cp -r %s/%s %s/%s.backup", lab.folder, folder,
		 lab.folder, folder);
	assert_int_equal(system(command), 0);
}

static uint64_t attach_epoch_of(const char *volume)
{
	struct lab_answer answer;
	uint64_t epoch;

	lab_show_volume(&lab, volume, &answer);
	epoch = lab_number(&answer, "attach_epoch");
	lab_forget(&answer);
	return epoch;
}

static bool has_epoch_four(void *context)
{
	return attach_epoch_of(context) >= 4;
}

/* The registry alone: what it forgot is shown, and attach epochs go on above those of now. */
static void test_a_restored_registry_takes_up_what_gateways_have(void **state)
{
	char name[] = "old";

	(void)state;
	assert_int_equal(create("gw", name, 10000), 0);
	lab_until(&lab, is_created, &gw, "the last document");
	stop_all();
	back_up("provider");
	start_all(NULL);
	assert_int_equal(create("gw", "since", 10000), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(detach(name), 0);
		assert_int_equal(attach(name, "gw"), 0);
	}
	assert_int_equal(attach_epoch_of(name), 4);
	stop_all();
	restore("provider");
	gw.attach_epoch = 4; /* as it has them */
	gw.keep_left_out = true;
	start_all("--new-incarnation");
	lab_until(&lab, knows_one_unknown, NULL, "the unknown volume is shown");
	lab_until(&lab, has_epoch_four, name, "the attach epoch is taken up");
	assert_int_equal(detach(name), 0);
	assert_int_equal(attach(name, "gw"), 0);
	assert_int_equal(attach_epoch_of(name), 5);
}

static int act(void)
{
	Holdfast__AdminRequest request = HOLDFAST__ADMIN_REQUEST__INIT;
	Holdfast__AdminAct message = HOLDFAST__ADMIN_ACT__INIT;
	struct lab_answer answer;
	char gateway[] = "gw";
	int err;

	message.gateway = gateway;
	message.kind = HOLDFAST__ACTION_KIND__ACTION_RESTART_TARGET;
	request.wait_ms = 10000;
	request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_ACT;
	request.act = &message;
	lab_ask(&lab, &request, &answer);
	lab_wait_answer(&lab, &answer);
	err = answer.err;
	lab_forget(&answer);
	return err;
}

/* The whole machine, the signer's ledger with it: what it signs next the gateway has seen already,
 * says so, and gets the same above what it has. Documents and actions, each by itself. */
static void test_a_restored_machine_goes_on_above_the_gateways(void **state)
{
	uint64_t sequence;

	(void)state;
	gw.refuse_replays = true;
	assert_int_equal(create("gw", "old", 10000), 0);
	lab_until(&lab, is_created, &gw, "the last document");
	stop_all();
	back_up("provider");
	back_up("signer");
	for (int round = 0; round < 2; round++) {
		start_all(round ? "--new-incarnation" : NULL);
		for (int i = 0; i < 4; i++) {
			assert_int_equal(detach("old"), 0);
			assert_int_equal(act(), 0);
			assert_int_equal(attach("old", "gw"), 0);
		}
		sequence = gw.sequence;
		stop_all();
		restore("provider");
		restore("signer");
	}
	start_all(NULL);
	assert_int_equal(act(), 0); /* needs no new incarnation */
	assert_true(gw.sequence > sequence);
	stop_all();
	start_all("--new-incarnation");
	lab_until(&lab, all_applied, NULL, "the newest document is applied");
	assert_int_equal(detach("old"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VOLUME_TEST(test_a_month_of_history_is_one_exchange),
		VOLUME_TEST(test_what_was_sent_gets_its_tombstone),
		VOLUME_TEST(test_what_is_gone_is_not_told_late),
		VOLUME_TEST(test_a_restored_registry_takes_up_what_gateways_have),
		VOLUME_TEST(test_a_restored_machine_goes_on_above_the_gateways),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("history", tests, NULL, NULL);
}
