/* Who is given an epoch. A copy of a gateway's disk that does not keep to the protocol is asked for
 * the token that only the machine which was held last has, whatever way it comes; and one gateway
 * whose row is damaged keeps no other one out (invariants 5, 7). Against the real provider and
 * signer. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <sqlite3.h>

#include "tests/provider/test_gateway.h"

static struct lab lab;
static struct test_gateway gw, copy, damaged;

/* As a machine that has a copy of its disk. */
static void copy_disk(struct test_gateway *to, const struct test_gateway *from)
{
	*to = *from;
	to->stream = NULL;
	to->session = NULL;
	to->document = NULL;
	to->sequence = 0;
	to->closed = true;
}

/* The registry knows that the newest token was kept: no other one is good any more. */
static bool is_token_kept(void *context)
{
	sqlite3_stmt *stmt;
	char path[128];
	sqlite3 *db;
	bool kept;

	(void)context;
	snprintf(path, sizeof path, "%s/provider/registry.db", lab.folder);
	assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	sqlite3_busy_timeout(db, 5000);
	assert_int_equal(
		sqlite3_prepare_v2(db, "SELECT length(previous) FROM ratchets", -1, &stmt, NULL),
		SQLITE_OK);
	kept = sqlite3_step(stmt) == SQLITE_ROW && sqlite3_column_int(stmt, 0) == 0;
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	return kept;
}

static int set_up(void **state)
{
	(void)state;
	lab_up(&lab, "ping_interval_ms = 20000\n");
	tg_init(&gw, &lab);
	tg_init(&damaged, &lab);
	tg_join(&gw, "gw");
	lab_until(&lab, is_token_kept, NULL, "its first token is known to be kept");
	copy_disk(&copy, &gw);
	tg_connect(&gw);
	tg_wait_held(&gw);
	lab_until(&lab, is_token_kept, NULL, "its second token is known to be kept");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	tg_free(&gw);
	tg_free(&damaged);
	tg_drop(&copy);
	lab_down(&lab);
	return 0;
}

static size_t claimants(void)
{
	Holdfast__AdminRequest request = HOLDFAST__ADMIN_REQUEST__INIT;
	Holdfast__AdminGatewayName name = HOLDFAST__ADMIN_GATEWAY_NAME__INIT;
	struct lab_answer answer;
	size_t found;

	name.gateway = (char *)(uintptr_t) "gw";
	request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_GATEWAY_CLAIMANTS;
	request.gateway_claimants = &name;
	lab_ask(&lab, &request, &answer);
	lab_wait_answer(&lab, &answer);
	assert_int_equal(answer.err, 0);
	found = json_array_size(answer.json);
	lab_forget(&answer);
	return found;
}

static bool is_parked(void *context)
{
	struct test_gateway *g = context;

	return g->session && hf_session_state(g->session) == HF_SESSION_PARKED &&
	       g->subscription > 0;
}

static void stand_by(void)
{
	tg_connect_as(&copy, HOLDFAST__ROLE__ROLE_STANDBY);
	lab_until(&lab, is_parked, &copy, "parked, and asked about the other path");
}

/* The copy is noted, the gateway is turned away too, and once it is back it is noted beside it. */
static void expect_both_marked(void)
{
	tg_wait_ended(&copy);
	assert_int_equal(copy.epoch, 0);
	assert_non_null(strstr(copy.retry_reason, "two machines"));
	tg_wait_ended(&gw);
	assert_int_equal(claimants(), 1);
	tg_connect(&gw);
	tg_wait_ended(&gw);
	assert_int_equal(gw.epoch, 0);
	assert_int_equal(claimants(), 2);
}

/* It stands by and says that the other connection is lost, which is alive. */
static void test_a_standby_shows_its_token(void **state)
{
	(void)state;
	stand_by();
	tg_report_path(&copy, HOLDFAST__PATH_STATE__PATH_LOST, gw.epoch);
	expect_both_marked();
}

/* To name an epoch that the registry does not know takes a token that was given with it: that a
 * copy says so makes it no gateway of a registry that was restored, whichever way it comes. */
static void test_an_epoch_beyond_the_registrys_is_proved(void **state)
{
	(void)state;
	stand_by();
	tg_report_path(&copy, HOLDFAST__PATH_STATE__PATH_LOST, gw.epoch + 5);
	expect_both_marked();
}

static void test_a_last_epoch_beyond_the_registrys_is_proved(void **state)
{
	(void)state;
	copy.last_epoch = gw.epoch + 5;
	tg_connect(&copy);
	expect_both_marked();
}

/* The same while nobody holds the gateway: it is not given away in its absence. */
static void test_a_standby_shows_its_token_while_the_gateway_is_away(void **state)
{
	(void)state;
	stand_by();
	tg_drop(&gw);
	tg_report_path(&copy, HOLDFAST__PATH_STATE__PATH_LOST, gw.epoch);
	expect_both_marked();
}

/* An older gateway does not say its token then. What it showed when it connected may be too old to
 * tell anything: it is asked to come anew, and the one that is held stays so. */
static void test_a_standby_that_shows_none_comes_anew(void **state)
{
	(void)state;
	copy.keeps_token_back = true;
	stand_by();
	tg_report_path(&copy, HOLDFAST__PATH_STATE__PATH_LOST, gw.epoch);
	tg_wait_ended(&copy);
	assert_int_equal(copy.epoch, 0);
	assert_non_null(strstr(copy.retry_reason, "connect anew"));
	assert_false(gw.ended);
	assert_int_equal(claimants(), 0);
	tg_connect(&copy);
	expect_both_marked();
}

/* Nor does it speak against an older gateway whose token is the right one. */
static void test_an_older_standby_is_promoted(void **state)
{
	uint64_t lost = gw.epoch;

	(void)state;
	copy_disk(&copy, &gw);
	copy.keeps_token_back = true;
	stand_by();
	tg_drop(&gw);
	tg_report_path(&copy, HOLDFAST__PATH_STATE__PATH_LOST, lost);
	tg_wait_held(&copy);
	assert_true(copy.epoch == lost + 1);
	assert_int_equal(claimants(), 0);
}

/* A loss that was told late, when the same gateway is held again with a newer token, is no sign of
 * a copy. */
static void test_a_late_loss_is_no_claim(void **state)
{
	(void)state;
	stand_by();
	tg_report_path(&copy, HOLDFAST__PATH_STATE__PATH_LOST, gw.epoch - 1);
	tg_wait_ended(&copy);
	assert_non_null(strstr(copy.retry_reason, "higher epoch"));
	assert_false(gw.ended);
	assert_int_equal(claimants(), 0);
}

/* ---- A damaged row ---- */

static void registry_run(const char *sql)
{
	char path[128];
	sqlite3 *db;

	snprintf(path, sizeof path, "%s/provider/registry.db", lab.folder);
	assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
	sqlite3_busy_timeout(db, 5000);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

/* Both wait for an epoch, and are tried again together each second: the one whose row cannot be
 * read must not fail the other. */
static void test_a_damaged_row_keeps_nobody_else_out(void **state)
{
	uint64_t lost = gw.epoch;

	(void)state;
	tg_join(&damaged, "damaged");
	tg_connect_as(&damaged, HOLDFAST__ROLE__ROLE_STANDBY);
	lab_until(&lab, is_parked, &damaged, "it stands by");
	copy_disk(&copy, &gw);
	stand_by();
	tg_drop(&gw);
	registry_run("UPDATE gateways SET identity_key = x'00' WHERE name = 'damaged';"
		     "BEGIN EXCLUSIVE; COMMIT");
	assert_int_equal(kill(lab.provider, SIGSTOP), 0);
	tg_report_path(&damaged, HOLDFAST__PATH_STATE__PATH_LOST, damaged.last_epoch);
	tg_report_path(&copy, HOLDFAST__PATH_STATE__PATH_LOST, lost);
	lab_turn(&lab);
	assert_int_equal(kill(lab.provider, SIGCONT), 0);
	tg_wait_held(&copy);
	assert_int_equal(damaged.epoch, 0);
	assert_false(damaged.ended); /* it goes on waiting */
	registry_run("UPDATE gateways SET identity_key = "
		     "(SELECT identity_key FROM activations a WHERE a.gateway = gateways.id) "
		     "WHERE name = 'damaged'");
	tg_wait_held(&damaged);
}

int main(void)
{
#define CLAIM_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CLAIM_TEST(test_a_standby_shows_its_token),
		CLAIM_TEST(test_an_epoch_beyond_the_registrys_is_proved),
		CLAIM_TEST(test_a_last_epoch_beyond_the_registrys_is_proved),
		CLAIM_TEST(test_a_standby_shows_its_token_while_the_gateway_is_away),
		CLAIM_TEST(test_a_standby_that_shows_none_comes_anew),
		CLAIM_TEST(test_an_older_standby_is_promoted),
		CLAIM_TEST(test_a_late_loss_is_no_claim),
		CLAIM_TEST(test_a_damaged_row_keeps_nobody_else_out),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("claimants", tests, NULL, NULL);
}
