/* What anybody may do at the activation port of the real provider, who knows nothing and proves
 * nothing: guess keys, crowd in, say hello again and again, lie. It is bounded, and answered with a
 * reason (invariants 7, 9). */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "tests/provider/test_gateway.h"

static struct lab lab;
static struct test_gateway gw;

static int set_up(void **state)
{
	(void)state;
	lab_up(&lab, "");
	tg_init(&gw, &lab);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	tg_free(&gw);
	lab_down(&lab);
	return 0;
}

/* Guessing is slowed down: after ten wrong keys the next is not even looked at. */
static void test_guessing_is_bounded(void **state)
{
	uint8_t number[HF_ACTIVATION_NUMBER_BYTES], hash[HF_ACTIVATION_HASH_BYTES];
	char key[HF_ACTIVATION_TEXT_MAX];
	struct lab_answer answer;
	int err = 0, tries = 0;

	(void)state;
	for (; tries < 15 && err != HF_EAGAIN; tries++) {
		hf_random(number, sizeof number);
		hf_random(hash, sizeof hash);
		hf_activation_key_format(number, hash, key);
		lab_activate(&lab, key, "guess", &answer);
		err = answer.err;
		assert_true(err == HF_ENOENT || err == HF_EAGAIN);
		lab_forget(&answer);
	}
	assert_int_equal(err, HF_EAGAIN);
	assert_true(tries >= 10);
}

static bool offered_or_ended(void *context)
{
	struct test_gateway *g = context;

	return g->ended || g->key[0] != '\0';
}

/* One address cannot take all the room for activations. */
static void test_connections_are_bounded(void **state)
{
	static struct test_gateway crowd[20];
	unsigned offered = 0;

	(void)state;
	for (int i = 0; i < 20; i++) {
		tg_init(&crowd[i], &lab);
		tg_hello(&crowd[i]);
	}
	for (int i = 0; i < 20; i++)
		lab_until(&lab, offered_or_ended, &crowd[i], "an offer or the end");
	for (int i = 0; i < 20; i++) {
		offered += crowd[i].key[0] != '\0';
		tg_free(&crowd[i]);
	}
	assert_int_equal(offered, 16);
}

static off_t wal_bytes(void)
{
	struct stat info;
	char path[128];

	snprintf(path, sizeof path, "%s/provider/registry.db-wal", lab.folder);
	assert_int_equal(stat(path, &info), 0);
	return info.st_size;
}

/* Invariant 7: who connects again and again costs no writes; a hello that says something new each
 * time is turned away when it has used up its share. */
static void test_hellos_again_cost_no_writes(void **state)
{
	char host[32];
	off_t before;
	int said = 0;

	(void)state;
	tg_hello(&gw);
	tg_wait_offer(&gw);
	before = wal_bytes();
	for (int i = 0; i < 10; i++) {
		tg_drop(&gw);
		tg_hello(&gw);
		tg_wait_offer(&gw);
	}
	assert_int_equal(wal_bytes(), before);
	gw.host = host;
	for (bool turned_away = false; !turned_away; said++) {
		assert_true(said < 200);
		snprintf(host, sizeof host, "host%d", said);
		tg_drop(&gw);
		gw.key[0] = '\0';
		tg_hello(&gw);
		lab_until(&lab, offered_or_ended, &gw, "an offer or the end");
		turned_away = gw.ended;
	}
	assert_true(said > 20);
	assert_non_null(strstr(gw.retry_reason, "too many"));
}

/* Invariant 9: a hello that lies or is misshapen gets a reason and no key. */
static void expect_hello_refused(const char *host, const char *portal, bool break_proof)
{
	gw.host = host;
	gw.portal = portal;
	gw.break_proof = break_proof;
	tg_hello(&gw);
	tg_wait_ended(&gw);
	assert_string_equal(gw.key, "");
	assert_true(gw.retry_reason[0] != '\0');
}

static void test_bad_hellos(void **state)
{
	static char long_host[300];

	(void)state;
	memset(long_host, 'h', sizeof long_host - 1);
	expect_hello_refused(NULL, NULL, true);
	expect_hello_refused("\033[2Jhost", NULL, false);
	expect_hello_refused(long_host, NULL, false);
	expect_hello_refused(NULL, "", false);
	expect_hello_refused(NULL, "no port", false);
	expect_hello_refused(NULL, "192.0.2.1:99999", false);
	gw.host = gw.portal = NULL;
	gw.break_proof = false;
	tg_hello(&gw);
	tg_wait_offer(&gw);
}

/* New keys are rationed: a flood of gateways is told to come later, and costs no more rows. */
static void test_offers_are_rationed(void **state)
{
	int offered = 0;

	(void)state;
	for (bool turned_away = false; !turned_away; offered++) {
		assert_true(offered < 200);
		tg_free(&gw);
		tg_init(&gw, &lab);
		tg_hello(&gw);
		lab_until(&lab, offered_or_ended, &gw, "an offer or the end");
		turned_away = gw.ended;
	}
	assert_true(offered > 60);
	assert_non_null(strstr(gw.retry_reason, "too many"));
}

int main(void)
{
#define STRANGER_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		STRANGER_TEST(test_guessing_is_bounded),
		STRANGER_TEST(test_connections_are_bounded),
		STRANGER_TEST(test_hellos_again_cost_no_writes),
		STRANGER_TEST(test_bad_hellos),
		STRANGER_TEST(test_offers_are_rationed),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("stranger", tests, NULL, NULL);
}
