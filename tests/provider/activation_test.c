/* Activation against the real provider and signer (docs/protocol/provider.md): a key is good for
 * one gateway with these keys, once and for a while, and a gateway that nobody confirmed gets
 * nothing (invariant 7). */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "net/fingerprint.h"
#include "net/identity.h"
#include "tests/provider/test_gateway.h"

static struct lab lab;
static struct test_gateway gw, other;

static int set_up_with(const char *extra)
{
	lab_up(&lab, extra);
	tg_init(&gw, &lab);
	tg_init(&other, &lab);
	return 0;
}

static int set_up(void **state)
{
	(void)state;
	return set_up_with("");
}

static int set_up_short_keys(void **state)
{
	(void)state;
	return set_up_with("activation_key_s = 1\n");
}

static int tear_down(void **state)
{
	(void)state;
	tg_free(&gw);
	tg_free(&other);
	lab_down(&lab);
	return 0;
}

static void expect_activate(const char *key, const char *name, int err)
{
	struct lab_answer answer;

	lab_activate(&lab, key, name, &answer);
	assert_int_equal(answer.err, err);
	lab_forget(&answer);
}

static void expect_gateway_state(const char *gateway, const char *wanted)
{
	struct lab_answer answer;

	lab_show_gateway(&lab, gateway, &answer);
	assert_int_equal(answer.err, 0);
	assert_string_equal(lab_text(&answer, "state"), wanted);
	lab_forget(&answer);
}

static bool is_claimed(void *context)
{
	return ((struct test_gateway *)context)->claimed;
}

static bool is_issued(void *context)
{
	return ((struct test_gateway *)context)->issued;
}

/* The whole way: key, claim with metadata and fingerprint, confirm, certificate over the held
 * connection, and the management connection with it. */
static void test_whole_way(void **state)
{
	struct lab_answer answer;
	struct hf_errmsg message = {""};
	char fingerprint[HF_FINGERPRINT_TEXT_MAX], id[64];

	(void)state;
	tg_hello(&gw);
	tg_wait_offer(&gw);
	lab_activate(&lab, gw.key, "paris", &answer);
	assert_int_equal(answer.err, 0);
	assert_string_equal(lab_text(&answer, "name"), "paris");
	assert_string_equal(lab_text(&answer, "state"), "claimed");
	assert_string_equal(lab_text(&answer, "host"), "gw.example");
	assert_string_equal(lab_text(&answer, "portal"), "192.0.2.10:3260");
	assert_string_equal(lab_text(&answer, "fingerprint"),
			    hf_key_fingerprint(gw.identity.public_key, fingerprint));
	snprintf(id, sizeof id, "%s", lab_text(&answer, "gateway_id"));
	lab_forget(&answer);
	lab_until(&lab, is_claimed, &gw, "the gateway learns of the claim");
	assert_false(gw.issued);
	lab_confirm(&lab, id, &answer);
	assert_int_equal(answer.err, 0);
	lab_forget(&answer);
	lab_until(&lab, is_issued, &gw, "the certificate");
	assert_int_equal(hf_certificate_verify(gw.authority, gw.authority_length, gw.certificate,
					       gw.certificate_length, &message),
			 0);
	tg_connect(&gw);
	tg_wait_held(&gw);
	expect_gateway_state("paris", "active");
}

/* A key that no gateway shows, a mistyped one, and a bad name. */
static void test_wrong_keys(void **state)
{
	uint8_t number[HF_ACTIVATION_NUMBER_BYTES] = {1}, hash[HF_ACTIVATION_HASH_BYTES] = {2};
	char key[HF_ACTIVATION_TEXT_MAX];

	(void)state;
	tg_hello(&gw);
	tg_wait_offer(&gw);
	hf_activation_key_format(number, hash, key);
	expect_activate(key, "a", HF_ENOENT);
	expect_activate("", "a", HF_EINVAL);
	expect_activate("not a key", "a", HF_EINVAL);
	/* Six bits of check let one slip in 64 pass; that one belongs to nobody. */
	snprintf(key, sizeof key, "%s", gw.key);
	for (key[0] = '0'; hf_activation_key_parse(key, number, hash) == 0; key[0]++)
		;
	expect_activate(key, "a", HF_EINVAL);
	expect_activate(gw.key, "bad name", HF_EINVAL);
	expect_activate(gw.key, "", HF_EINVAL);
	assert_false(gw.claimed);
	expect_activate(gw.key, "good", 0);
}

/* A key that was used, by name or by number, is used; so is the name. */
static void test_reused_key(void **state)
{
	(void)state;
	tg_hello(&gw);
	tg_wait_offer(&gw);
	tg_hello(&other);
	tg_wait_offer(&other);
	expect_activate(gw.key, "one", 0);
	expect_activate(gw.key, "two", HF_EEXIST);
	expect_activate(other.key, "one", HF_EEXIST);
	expect_activate(other.key, "two", 0);
	assert_string_not_equal(gw.key, other.key);
}

/* A claim that was made is out of the reach of wrong tries: they neither void it nor its
 * certificate. */
static void test_wrong_tries_after_the_claim(void **state)
{
	uint8_t number[HF_ACTIVATION_NUMBER_BYTES], hash[HF_ACTIVATION_HASH_BYTES];
	char key[HF_ACTIVATION_TEXT_MAX];
	struct lab_answer answer;

	(void)state;
	tg_hello(&gw);
	tg_wait_offer(&gw);
	assert_int_equal(hf_activation_key_parse(gw.key, number, hash), 0);
	hash[0] ^= 1;
	hf_activation_key_format(number, hash, key);
	expect_activate(gw.key, "mine", 0);
	for (int i = 0; i < 4; i++)
		expect_activate(key, "yours", HF_EAUTH);
	lab_until(&lab, is_claimed, &gw, "the claim");
	lab_confirm(&lab, "mine", &answer);
	assert_int_equal(answer.err, 0);
	lab_forget(&answer);
	lab_until(&lab, is_issued, &gw, "the certificate");
}

static bool key_expired(void *context)
{
	struct test_gateway *g = context;

	return g->ended && g->retry_reason[0] != '\0';
}

/* An expired key is refused, the gateway is told, and gets another. */
static void test_expired_key(void **state)
{
	char first[HF_ACTIVATION_TEXT_MAX];

	(void)state;
	tg_hello(&gw);
	tg_wait_offer(&gw);
	snprintf(first, sizeof first, "%s", gw.key);
	lab_until(&lab, key_expired, &gw, "the key runs out");
	expect_activate(first, "late", HF_ENOENT);
	tg_hello(&gw);
	tg_wait_offer(&gw);
	assert_string_not_equal(first, gw.key);
}

static bool is_refused(void *context)
{
	struct lab_answer answer;
	bool refused;

	lab_show_gateway(&lab, context, &answer);
	refused = strcmp(lab_text(&answer, "state"), "refused") == 0;
	lab_forget(&answer);
	return refused;
}

/* A claim that nobody confirms ends with its key; confirm afterwards gives nothing. */
static void test_unconfirmed_claim_expires(void **state)
{
	struct lab_answer answer;
	char id[64];

	(void)state;
	tg_hello(&gw);
	tg_wait_offer(&gw);
	lab_activate(&lab, gw.key, "slow", &answer);
	snprintf(id, sizeof id, "%s", lab_text(&answer, "gateway_id"));
	lab_forget(&answer);
	lab_until(&lab, is_refused, id, "the claim runs out");
	lab_confirm(&lab, id, &answer);
	assert_int_equal(answer.err, HF_EACCES);
	lab_forget(&answer);
	assert_false(gw.issued);
}

/* Somebody between swaps the provider's root key: the gateway's hash differs, and after three tries
 * the offer is void. */
static void test_swapped_public_key(void **state)
{
	struct lab_answer answer;

	(void)state;
	gw.swap_authority = true;
	tg_hello(&gw);
	tg_wait_offer(&gw);
	lab_activate(&lab, gw.key, "m", &answer);
	assert_int_equal(answer.err, HF_EAUTH);
	assert_non_null(strstr(answer.reason, "swapped"));
	lab_forget(&answer);
	expect_activate(gw.key, "m", HF_EAUTH);
	expect_activate(gw.key, "m", HF_EAUTH);
	lab_until(&lab, key_expired, &gw, "the offer is void");
	assert_false(gw.claimed);
	assert_false(gw.issued);
}

/* Somebody between shows the provider keys of its own: the true gateway's key does not fit them. */
static void test_swapped_gateway_key(void **state)
{
	struct hf_activation_keys keys = {{0}};
	uint8_t hash[HF_ACTIVATION_HASH_BYTES];
	char key[HF_ACTIVATION_TEXT_MAX];

	(void)state;
	tg_hello(&other); /* the one between */
	tg_wait_offer(&other);
	memcpy(keys.identity, gw.identity.public_key, HF_KEY_BYTES);
	memcpy(keys.sealing, gw.sealing.public_key, HF_KEY_BYTES);
	hf_activation_hash(other.number, &keys, hash);
	hf_activation_key_format(other.number, hash, key);
	expect_activate(key, "m", HF_EAUTH);
	assert_false(other.claimed);
}

/* The owner refuses in between: shown with the reason, confirm gives nothing, the name is free. */
static void test_refused_by_the_gateway(void **state)
{
	struct lab_answer answer;
	char id[64];

	(void)state;
	tg_hello(&gw);
	tg_wait_offer(&gw);
	lab_activate(&lab, gw.key, "mine", &answer);
	snprintf(id, sizeof id, "%s", lab_text(&answer, "gateway_id"));
	lab_forget(&answer);
	lab_until(&lab, is_claimed, &gw, "the claim");
	tg_refuse(&gw, "who are you?");
	lab_until(&lab, is_refused, id, "the refusal arrives");
	lab_show_gateway(&lab, id, &answer);
	assert_non_null(strstr(lab_text(&answer, "reason"), "who are you?"));
	lab_forget(&answer);
	lab_confirm(&lab, id, &answer);
	assert_int_equal(answer.err, HF_EACCES);
	assert_non_null(strstr(answer.reason, "who are you?"));
	lab_forget(&answer);
	assert_false(gw.issued);
	tg_hello(&gw);
	tg_wait_offer(&gw);
	expect_activate(gw.key, "mine", 0);
}

/* A gateway that is claimed but not confirmed has no certificate, and none of its own making opens
 * the management connection. */
static void test_unconfirmed_gets_nothing(void **state)
{
	struct hf_sign_key own;

	(void)state;
	tg_hello(&gw);
	tg_wait_offer(&gw);
	expect_activate(gw.key, "early", 0);
	lab_until(&lab, is_claimed, &gw, "the claim");
	lab_turn(&lab);
	assert_false(gw.issued);
	assert_int_equal(gw.certificate_length, 0);
	assert_int_equal(hf_sign_key_make(&own), 0);
	gw.tenant = gw.id = 1;
	tg_forge(&gw, &own, time(NULL) - 60, time(NULL) + 3600);
	tg_connect(&gw);
	tg_wait_ended(&gw);
	assert_int_equal(gw.epoch, 0);
	expect_gateway_state("early", "claimed");
}

/* The connection drops between claim and confirm: the same key, the same claim, then the
 * certificate, also when the confirmation came while it was away, and once more when asked. */
static void test_dropped_connection_continues(void **state)
{
	struct lab_answer answer;
	char key[HF_ACTIVATION_TEXT_MAX];

	(void)state;
	tg_hello(&gw);
	tg_wait_offer(&gw);
	snprintf(key, sizeof key, "%s", gw.key);
	tg_drop(&gw);
	tg_hello(&gw);
	tg_wait_offer(&gw);
	assert_string_equal(key, gw.key);
	expect_activate(gw.key, "again", 0);
	tg_drop(&gw);
	tg_hello(&gw);
	tg_wait_offer(&gw);
	assert_string_equal(key, gw.key);
	lab_until(&lab, is_claimed, &gw, "the claim is told again");
	tg_drop(&gw);
	lab_confirm(&lab, "again", &answer);
	assert_int_equal(answer.err, 0);
	lab_forget(&answer);
	for (int i = 0; i < 2; i++) {
		gw.issued = false;
		tg_hello(&gw);
		lab_until(&lab, is_issued, &gw, "the certificate waits for it");
	}
	tg_connect(&gw);
	tg_wait_held(&gw);
}

/* The same over a restart of the provider: what was offered and claimed is in the registry. */
static void test_restart_in_between(void **state)
{
	struct lab_answer answer;

	(void)state;
	tg_hello(&gw);
	tg_wait_offer(&gw);
	expect_activate(gw.key, "steady", 0);
	lab_stop(&lab.provider, SIGKILL);
	tg_wait_ended(&gw);
	lab_start_provider(&lab);
	lab_wait_ready(&lab);
	tg_hello(&gw);
	lab_until(&lab, is_claimed, &gw, "the claim survived");
	lab_confirm(&lab, "steady", &answer);
	assert_int_equal(answer.err, 0);
	lab_forget(&answer);
	lab_until(&lab, is_issued, &gw, "the certificate");
}

/* Another sealing key under a claimed identity is turned away: secrets would go to it. */
static void test_changed_sealing_key(void **state)
{
	(void)state;
	tg_hello(&gw);
	tg_wait_offer(&gw);
	expect_activate(gw.key, "seal", 0);
	tg_drop(&gw);
	assert_int_equal(hf_seal_key_make(&gw.sealing), 0);
	tg_hello(&gw);
	tg_wait_ended(&gw);
	assert_non_null(strstr(gw.retry_reason, "sealing key"));
}

/* Invariant 7: a hello that somebody heard (in between, or because the gateway was once sent to
 * him) is worth nothing on his own connection; he could else refuse in the gateway's name for ever.
 */
static void test_copied_hello(void **state)
{
	struct lab_answer answer;

	(void)state;
	tg_hello(&gw);
	tg_wait_offer(&gw);
	expect_activate(gw.key, "mine", 0);
	lab_until(&lab, is_claimed, &gw, "the claim");
	lab_confirm(&lab, "mine", &answer);
	assert_int_equal(answer.err, 0);
	lab_forget(&answer);
	lab_until(&lab, is_issued, &gw, "the certificate");
	tg_drop(&gw);
	gw.issued = gw.claimed = false;
	gw.key[0] = '\0';
	gw.copy_proof = true;
	tg_hello(&gw);
	tg_wait_ended(&gw);
	assert_string_equal(gw.key, "");
	assert_false(gw.claimed);
	assert_non_null(strstr(gw.retry_reason, "not proved"));
	expect_gateway_state("mine", "active");
}

/* While the signer is away a confirmation changes nothing and says why; later it works. */
static void test_confirm_without_signer(void **state)
{
	struct lab_answer answer;

	(void)state;
	tg_hello(&gw);
	tg_wait_offer(&gw);
	expect_activate(gw.key, "wait", 0);
	lab_stop(&lab.signer, SIGTERM);
	lab_confirm(&lab, "wait", &answer);
	assert_int_not_equal(answer.err, 0);
	assert_non_null(strstr(answer.reason, "signer"));
	lab_forget(&answer);
	expect_gateway_state("wait", "claimed");
	lab_start_signer(&lab);
	for (int err = 1; err;) {
		lab_confirm(&lab, "wait", &answer);
		err = answer.err;
		assert_true(err == 0 || err == HF_ECONN || err == HF_ETIMEDOUT);
		lab_forget(&answer);
	}
	lab_until(&lab, is_issued, &gw, "the certificate");
}

int main(void)
{
#define ACTIVATION_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		ACTIVATION_TEST(test_whole_way),
		ACTIVATION_TEST(test_wrong_keys),
		ACTIVATION_TEST(test_reused_key),
		ACTIVATION_TEST(test_wrong_tries_after_the_claim),
		cmocka_unit_test_setup_teardown(test_expired_key, set_up_short_keys, tear_down),
		cmocka_unit_test_setup_teardown(test_unconfirmed_claim_expires, set_up_short_keys,
						tear_down),
		ACTIVATION_TEST(test_swapped_public_key),
		ACTIVATION_TEST(test_swapped_gateway_key),
		ACTIVATION_TEST(test_refused_by_the_gateway),
		ACTIVATION_TEST(test_unconfirmed_gets_nothing),
		ACTIVATION_TEST(test_dropped_connection_continues),
		ACTIVATION_TEST(test_restart_in_between),
		ACTIVATION_TEST(test_changed_sealing_key),
		ACTIVATION_TEST(test_copied_hello),
		ACTIVATION_TEST(test_confirm_without_signer),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("activation", tests, NULL, NULL);
}
