/* The signer's keys over time: new gateways need the word of an administrator, certificates are
 * renewed until the gateway is revoked, and the signing key is followed by others, also over a kill
 * between any two steps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "net/activation_key.h"
#include "net/identity.h"
#include "tests/provider/signer_fixture.h"

static time_t ahead_s;

/* The library's calls come here instead of libc's. */
time_t time(time_t *out)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	now.tv_sec += ahead_s;
	if (out)
		*out = now.tv_sec;
	return now.tv_sec;
}

static Holdfast__SignerAnswer *say(void (*fill)(Holdfast__SignerRequest *request))
{
	Holdfast__SignerRequest request = HOLDFAST__SIGNER_REQUEST__INIT;

	fill(&request);
	return sf_ask(&request);
}

/* ---- Approval ---- */

static uint8_t number[HF_ACTIVATION_NUMBER_BYTES] = {1, 2, 3, 4, 5, 6, 7, 8};

static void open_strict(void)
{
	struct hf_signer_config config = {sf_folder, 30, 30, false};
	struct hf_errmsg message = {""};

	hf_signer_close(sf_signer);
	assert_int_equal(hf_signer_open(&config, &sf_signer, &message), 0);
}

static void fill_hello(Holdfast__SignerRequest *request)
{
	static Holdfast__SignerHello hello = HOLDFAST__SIGNER_HELLO__INIT;

	request->kind_case = HOLDFAST__SIGNER_REQUEST__KIND_HELLO;
	request->hello = &hello;
}

/* What the console of a gateway with these keys shows. */
static void activation_key(char text[HF_ACTIVATION_TEXT_MAX])
{
	Holdfast__SignerAnswer *hello = say(fill_hello);
	uint8_t hash[HF_ACTIVATION_HASH_BYTES];
	struct hf_activation_keys keys;

	memcpy(keys.identity, sf_identity.public_key, HF_KEY_BYTES);
	memcpy(keys.sealing, sf_sealing.public_key, HF_KEY_BYTES);
	memcpy(keys.authority, hello->ca_key.data, HF_KEY_BYTES);
	memcpy(keys.signer, hello->signer_key.data, HF_KEY_BYTES);
	hf_activation_hash(number, &keys, hash);
	hf_activation_key_format(number, hash, text);
	sf_drop(hello);
}

static int ask_error(enum hf_signer_asker asker, const Holdfast__SignerRequest *request)
{
	uint8_t bytes[512], *answer;
	size_t length = holdfast__signer_request__pack(request, bytes);
	Holdfast__SignerAnswer *unpacked;
	int err;

	answer = hf_signer_answer(sf_signer, asker, bytes, length, &length);
	unpacked = holdfast__signer_answer__unpack(NULL, length, answer);
	err = -unpacked->error;
	assert_true(err == 0 || unpacked->reason[0]);
	sf_drop(unpacked);
	free(answer);
	return err;
}

static int approve(enum hf_signer_asker asker, char *key)
{
	Holdfast__SignerRequest request = HOLDFAST__SIGNER_REQUEST__INIT;
	Holdfast__SignerApproval approval = HOLDFAST__SIGNER_APPROVAL__INIT;

	approval.key = key;
	request.kind_case = HOLDFAST__SIGNER_REQUEST__KIND_APPROVAL;
	request.approval = &approval;
	return ask_error(asker, &request);
}

static int certify_new(uint64_t gateway, const struct hf_sign_key *identity,
		       const struct hf_seal_key *sealing)
{
	Holdfast__SignerRequest request = HOLDFAST__SIGNER_REQUEST__INIT;
	Holdfast__SignerCertificate order = HOLDFAST__SIGNER_CERTIFICATE__INIT;
	Holdfast__SignerAnswer *answer;
	int err;

	assert_int_equal(hf_request_make(identity, "gw", &order.request.data, &order.request.len),
			 0);
	order.tenant = TENANT;
	order.gateway = gateway;
	order.identity_key = sf_binary(identity->public_key, HF_KEY_BYTES);
	order.sealing_key = sf_binary(sealing->public_key, HF_KEY_BYTES);
	order.number = sf_binary(number, sizeof number);
	request.kind_case = HOLDFAST__SIGNER_REQUEST__KIND_CERTIFICATE;
	request.certificate = &order;
	answer = sf_ask(&request);
	err = -answer->error;
	assert_true((err == 0) == (answer->certificate.len > 0));
	sf_drop(answer);
	free(order.request.data);
	return err;
}

/* Invariant 7: a provider that was taken over cannot make up a gateway. The signer gives a
 * certificate only to the keys whose activation key an administrator entered, and hears of it from
 * the administrator alone; one entry is good for one gateway. */
static void test_new_gateways_need_a_person(void **state)
{
	char key[HF_ACTIVATION_TEXT_MAX], wrong[HF_ACTIVATION_TEXT_MAX] = "not a key";
	struct hf_sign_key other;
	struct hf_seal_key other_sealing;

	(void)state;
	open_strict();
	hf_sign_key_make(&other);
	hf_seal_key_make(&other_sealing);
	activation_key(key);
	assert_int_equal(certify_new(GATEWAY, &sf_identity, &sf_sealing), HF_EAUTH);
	assert_int_equal(approve(HF_SIGNER_PROVIDER, key), HF_EACCES);
	assert_int_equal(certify_new(GATEWAY, &sf_identity, &sf_sealing), HF_EAUTH);
	assert_int_equal(approve(HF_SIGNER_ADMINISTRATOR, wrong), HF_EINVAL);
	assert_int_equal(approve(HF_SIGNER_ADMINISTRATOR, key), 0);
	assert_int_equal(certify_new(GATEWAY, &other, &sf_sealing), HF_EAUTH);
	assert_int_equal(certify_new(GATEWAY, &sf_identity, &other_sealing), HF_EAUTH);
	assert_int_equal(certify_new(GATEWAY, &sf_identity, &sf_sealing), 0);
	assert_int_equal(certify_new(GATEWAY + 1, &sf_identity, &sf_sealing), HF_EAUTH);
	open_strict();
	assert_int_equal(certify_new(GATEWAY, &sf_identity, &sf_sealing), 0);
	assert_int_equal(certify_new(GATEWAY + 1, &sf_identity, &sf_sealing), HF_EAUTH);
}

/* An approval that nobody used in time is none any more, though no other came since. */
static void test_approvals_run_out(void **state)
{
	char key[HF_ACTIVATION_TEXT_MAX];

	(void)state;
	open_strict();
	activation_key(key);
	assert_int_equal(approve(HF_SIGNER_ADMINISTRATOR, key), 0);
	ahead_s = 2 * 86400 + 60;
	assert_int_equal(certify_new(GATEWAY, &sf_identity, &sf_sealing), HF_EAUTH);
	assert_int_equal(approve(HF_SIGNER_ADMINISTRATOR, key), 0);
	assert_int_equal(certify_new(GATEWAY, &sf_identity, &sf_sealing), 0);
	ahead_s = 0;
}

/* ---- Renewal and revocation ---- */

static void fill_renewal(Holdfast__SignerRequest *request)
{
	static Holdfast__SignerRenewal renewal = HOLDFAST__SIGNER_RENEWAL__INIT;

	renewal.tenant = TENANT;
	renewal.gateway = GATEWAY;
	request->kind_case = HOLDFAST__SIGNER_REQUEST__KIND_RENEWAL;
	request->renewal = &renewal;
}

static void fill_revocation(Holdfast__SignerRequest *request)
{
	static Holdfast__SignerRevocation revocation = HOLDFAST__SIGNER_REVOCATION__INIT;

	revocation.tenant = TENANT;
	revocation.gateway = GATEWAY;
	request->kind_case = HOLDFAST__SIGNER_REQUEST__KIND_REVOCATION;
	request->revocation = &revocation;
}

static int say_error(void (*fill)(Holdfast__SignerRequest *request))
{
	Holdfast__SignerAnswer *answer = say(fill);
	int err = -answer->error;

	sf_drop(answer);
	return err;
}

/* A renewed certificate is for the same keys, has a bounded life, and comes as a signed change of
 * this gateway that counts in its sequence. */
static void test_renewal(void **state)
{
	struct hf_certificate_info info;
	Holdfast__SignerAnswer *answer;
	Holdfast__Rotation *rotation;
	Holdfast__Change *change;

	(void)state;
	assert_int_equal(say_error(fill_renewal), HF_ENOENT);
	sf_certify();
	assert_int_equal(sf_sign_error(1, 1, "dir:/a"), 0);
	answer = say(fill_renewal);
	change = sf_change_of(answer);
	assert_int_equal(change->sequence, 2);
	assert_int_equal(change->kind_case, HOLDFAST__CHANGE__KIND_ROTATION);
	rotation = holdfast__rotation__unpack(NULL, change->rotation.len, change->rotation.data);
	assert_int_equal(
		hf_certificate_parse(rotation->certificate.data, rotation->certificate.len, &info),
		0);
	assert_memory_equal(info.public_key, sf_identity.public_key, HF_KEY_BYTES);
	assert_true(info.tenant == TENANT && info.gateway == GATEWAY && !info.server);
	assert_in_range(info.not_after_s - time(NULL), 29 * 86400, 30 * 86400);
	holdfast__rotation__free_unpacked(rotation, NULL);
	holdfast__change__free_unpacked(change, NULL);
	sf_drop(answer);
	assert_int_equal(sf_sign_error(1, 2, "dir:/a"), 0); /* sequence 3 */
}

/* An action, as a provider would have it done. */
static int act_error(void)
{
	Holdfast__SignerRequest request = HOLDFAST__SIGNER_REQUEST__INIT;
	Holdfast__SignerBatch batch = HOLDFAST__SIGNER_BATCH__INIT;
	Holdfast__SignerOrder order = HOLDFAST__SIGNER_ORDER__INIT, *orders[] = {&order};
	Holdfast__SignerAction part = HOLDFAST__SIGNER_ACTION__INIT;
	uint8_t bytes[] = {0x08, 0x01}; /* an Action with number 1 */
	Holdfast__SignerAnswer *answer;
	int err;

	part.tenant = TENANT;
	part.gateway = GATEWAY;
	part.kind_case = HOLDFAST__SIGNER_ACTION__KIND_ACTION;
	part.action = sf_binary(bytes, sizeof bytes);
	order.kind_case = HOLDFAST__SIGNER_ORDER__KIND_ACTION;
	order.action = &part;
	batch.orders = orders;
	batch.n_orders = 1;
	request.kind_case = HOLDFAST__SIGNER_REQUEST__KIND_BATCH;
	request.batch = &batch;
	answer = sf_ask(&request);
	assert_int_equal(answer->n_results, 1);
	err = -answer->results[0]->error;
	sf_drop(answer);
	return err;
}

/* Nothing is signed for a revoked gateway, whatever a provider asks, and over a restart. */
static void test_revocation(void **state)
{
	(void)state;
	assert_int_equal(say_error(fill_revocation), HF_ENOENT);
	sf_certify();
	assert_int_equal(sf_sign_error(1, 1, "dir:/a"), 0);
	assert_int_equal(act_error(), 0);
	assert_int_equal(say_error(fill_revocation), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(say_error(fill_renewal), HF_EACCES);
		assert_int_equal(act_error(), HF_EACCES);
		assert_int_equal(sf_sign_error(1, 1, "dir:/a"), HF_EACCES);
		assert_int_equal(sf_sign_error(1, 2, "dir:/a"), HF_EACCES);
		assert_int_equal(certify_new(GATEWAY, &sf_identity, &sf_sealing), HF_EACCES);
		assert_int_equal(say_error(fill_revocation), 0);
		open_strict();
	}
}

/* ---- The signing key ---- */

static void fill_rotation(Holdfast__SignerRequest *request)
{
	static Holdfast__SignerRotation rotation = HOLDFAST__SIGNER_ROTATION__INIT;

	request->kind_case = HOLDFAST__SIGNER_REQUEST__KIND_ROTATION;
	request->rotation = &rotation;
}

static void key_now(uint8_t key[HF_KEY_BYTES])
{
	Holdfast__SignerAnswer *hello = say(fill_hello);

	memcpy(key, hello->signer_key.data, HF_KEY_BYTES);
	sf_drop(hello);
}

/* Follows the links from `key` as a gateway does; the number of links, `key` becomes the last. */
static unsigned follow(uint8_t key[HF_KEY_BYTES])
{
	Holdfast__SignerAnswer *hello = say(fill_hello);
	struct hf_errmsg message;
	unsigned followed = 0;

	for (size_t i = 0; i < hello->n_rotations; i++) {
		Holdfast__Signed *packet = holdfast__signed__unpack(NULL, hello->rotations[i].len,
								    hello->rotations[i].data);
		Holdfast__Rotation *rotation;
		Holdfast__Change *change;

		if (hf_change_verify(key, 0, 0, packet, &change, &message) == 0) {
			rotation = holdfast__rotation__unpack(NULL, change->rotation.len,
							      change->rotation.data);
			assert_int_equal(rotation->signer_key.len, HF_KEY_BYTES);
			memcpy(key, rotation->signer_key.data, HF_KEY_BYTES);
			holdfast__rotation__free_unpacked(rotation, NULL);
			holdfast__change__free_unpacked(change, NULL);
			followed++;
		}
		holdfast__signed__free_unpacked(packet, NULL);
	}
	sf_drop(hello);
	return followed;
}

/* Each key signs the next; whoever pinned any of them arrives at the one in use, and what is signed
 * from then on is signed with that. Only an administrator may ask for it. */
static void test_keys_follow_one_another(void **state)
{
	Holdfast__SignerRequest request = HOLDFAST__SIGNER_REQUEST__INIT;
	uint8_t first[HF_KEY_BYTES], second[HF_KEY_BYTES], now[HF_KEY_BYTES];

	(void)state;
	sf_certify();
	fill_rotation(&request);
	assert_int_equal(ask_error(HF_SIGNER_PROVIDER, &request), HF_EACCES);
	key_now(first);
	assert_int_equal(say_error(fill_rotation), 0);
	key_now(second);
	assert_memory_not_equal(first, second, HF_KEY_BYTES);
	assert_int_equal(say_error(fill_rotation), 0);
	hf_signer_close(sf_signer);
	sf_open_signer();
	assert_int_equal(say_error(fill_rotation), 0);
	key_now(now);
	assert_int_equal(follow(second), 2);
	assert_memory_equal(second, now, HF_KEY_BYTES);
	assert_int_equal(follow(first), 3);
	assert_memory_equal(first, now, HF_KEY_BYTES);
	assert_int_equal(follow(now), 0);
	assert_int_equal(sf_sign_error(1, 1, "dir:/a"), 0); /* checked with the key in the answer */
}

/* The same question after a rotation gets the same document, signed with the key in use. */
static void test_an_answer_is_signed_again(void **state)
{
	Holdfast__SignerAnswer *before, *after;
	Holdfast__Change *one, *two;

	(void)state;
	sf_certify();
	before = sf_sign_for(TENANT, 1, 1, "dir:/a", sf_sealing.public_key, NULL);
	one = sf_change_of(before);
	assert_int_equal(say_error(fill_rotation), 0);
	after = sf_sign_for(TENANT, 1, 1, "dir:/a", sf_sealing.public_key, NULL);
	assert_int_equal(after->error, 0);
	two = sf_change_of(after);
	assert_int_equal(two->sequence, one->sequence + 1);
	assert_int_equal(two->hash.len, one->hash.len);
	assert_memory_equal(two->hash.data, one->hash.data, one->hash.len);
	holdfast__change__free_unpacked(one, NULL);
	holdfast__change__free_unpacked(two, NULL);
	sf_drop(before);
	sf_drop(after);
}

static void in_folder(const char *name, char path[96])
{
	snprintf(path, 96, "%s/%s", sf_folder, name);
}

static void copy(const char *from, const char *to)
{
	char source[96], target[96], bytes[256];
	size_t length;
	FILE *file;

	in_folder(from, source);
	in_folder(to, target);
	file = fopen(source, "re");
	assert_non_null(file);
	length = fread(bytes, 1, sizeof bytes, file);
	fclose(file);
	unlink(target);
	file = fopen(target, "wxe");
	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, length, file), length);
	assert_int_equal(fchmod(fileno(file), 0600), 0);
	fclose(file);
}

/* Killed after the link was committed and before the key had its name: the next start ends it.
 * Killed before the link: the next start throws the key away. With neither key it is refused. */
static void test_a_rotation_cut_short(void **state)
{
	struct hf_signer_config config = {sf_folder, 30, 30, true};
	struct hf_errmsg message = {""};
	uint8_t first[HF_KEY_BYTES], second[HF_KEY_BYTES], now[HF_KEY_BYTES];
	char next[96], old[96];

	(void)state;
	in_folder("sign.key.next", next);
	in_folder("old", old);
	key_now(first);
	copy("sign.key", "old");
	assert_int_equal(say_error(fill_rotation), 0);
	key_now(second);
	hf_signer_close(sf_signer);
	copy("sign.key", "sign.key.next");
	copy("old", "sign.key");
	sf_open_signer();
	assert_int_not_equal(access(next, F_OK), 0);
	key_now(now);
	assert_memory_equal(now, second, HF_KEY_BYTES);
	hf_signer_close(sf_signer);
	copy("old", "sign.key.next"); /* any key that has no link */
	sf_open_signer();
	assert_int_not_equal(access(next, F_OK), 0);
	key_now(now);
	assert_memory_equal(now, second, HF_KEY_BYTES);
	assert_int_equal(follow(first), 1);
	hf_signer_close(sf_signer);
	copy("old", "sign.key");
	sf_signer = NULL;
	assert_int_equal(hf_signer_open(&config, &sf_signer, &message), HF_ECORRUPT);
	assert_non_null(strstr(message.text, "sign.key"));
}

int main(void)
{
#define KEYS_TEST(name) cmocka_unit_test_setup_teardown(name, sf_set_up, sf_tear_down)
	const struct CMUnitTest tests[] = {
		KEYS_TEST(test_new_gateways_need_a_person),
		KEYS_TEST(test_approvals_run_out),
		KEYS_TEST(test_renewal),
		KEYS_TEST(test_revocation),
		KEYS_TEST(test_keys_follow_one_another),
		KEYS_TEST(test_an_answer_is_signed_again),
		KEYS_TEST(test_a_rotation_cut_short),
	};

	return cmocka_run_group_tests_name("signer_keys", tests, NULL, NULL);
}
