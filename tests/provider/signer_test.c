/* The signer's core (provider/signer/signer.h): what it refuses, what it remembers over a restart,
 * and that secrets reach only the key they are for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "net/identity.h"
#include "tests/provider/signer_fixture.h"

/* Every key lies in a file of mode 600, and is the same after a restart. */
static void test_keys_are_private_and_stay(void **state)
{
	static const char *const names[] = {"ca.key", "sign.key", "secrets.key", "ca.crt"};
	Holdfast__SignerRequest hello = HOLDFAST__SIGNER_REQUEST__INIT;
	Holdfast__SignerHello empty = HOLDFAST__SIGNER_HELLO__INIT;
	Holdfast__SignerAnswer *before, *after;
	char path[96];
	struct stat st;

	(void)state;
	for (int i = 0; i < 4; i++) {
		snprintf(path, sizeof path, "%s/%s", sf_folder, names[i]);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0600);
	}
	hello.kind_case = HOLDFAST__SIGNER_REQUEST__KIND_HELLO;
	hello.hello = &empty;
	before = sf_ask(&hello);
	hf_signer_close(sf_signer);
	sf_open_signer();
	after = sf_ask(&hello);
	assert_memory_equal(before->ca_key.data, after->ca_key.data, HF_KEY_BYTES);
	assert_memory_equal(before->signer_key.data, after->signer_key.data, HF_KEY_BYTES);
	assert_int_equal(before->ca_certificate.len, after->ca_certificate.len);
	sf_drop(before);
	sf_drop(after);
}

/* A folder that lost one of its keys is refused: a new key would lock out every gateway. */
static void test_lost_key_is_refused(void **state)
{
	struct hf_signer_config config = {sf_folder, 30, 30, true};
	struct hf_errmsg message = {""};
	char path[96], aside[96];

	(void)state;
	hf_signer_close(sf_signer);
	snprintf(path, sizeof path, "%s/sign.key", sf_folder);
	snprintf(aside, sizeof aside, "%s/aside", sf_folder);
	assert_int_equal(rename(path, aside), 0);
	sf_signer = NULL;
	assert_int_equal(hf_signer_open(&config, &sf_signer, &message), HF_ECORRUPT);
	assert_non_null(strstr(message.text, "sign.key"));
	assert_int_equal(rename(aside, path), 0);
	sf_open_signer();
}

/* A key that others can read is refused, not used. */
static void test_open_key_is_refused(void **state)
{
	struct hf_signer_config config = {sf_folder, 30, 30, true};
	struct hf_errmsg message = {""};
	char path[96];

	(void)state;
	hf_signer_close(sf_signer);
	snprintf(path, sizeof path, "%s/ca.key", sf_folder);
	assert_int_equal(chmod(path, 0644), 0);
	sf_signer = NULL;
	assert_int_not_equal(hf_signer_open(&config, &sf_signer, &message), 0);
	assert_non_null(strstr(message.text, "ca.key"));
	assert_int_equal(chmod(path, 0600), 0);
	sf_open_signer();
}

/* A certificate is for the key that its request proves, and chains to the authority. */
static void test_certificate(void **state)
{
	struct hf_certificate_info info;
	struct hf_errmsg message = {""};
	Holdfast__SignerAnswer *answer = sf_certify_with(
		TENANT, &sf_identity, sf_identity.public_key, sf_sealing.public_key);

	(void)state;
	assert_int_equal(answer->error, 0);
	assert_int_equal(hf_certificate_verify(answer->ca_certificate.data,
					       answer->ca_certificate.len, answer->certificate.data,
					       answer->certificate.len, &message),
			 0);
	assert_int_equal(
		hf_certificate_parse(answer->certificate.data, answer->certificate.len, &info), 0);
	assert_true(!info.server && info.tenant == TENANT && info.gateway == GATEWAY);
	assert_memory_equal(info.public_key, sf_identity.public_key, HF_KEY_BYTES);
	sf_drop(answer);
}

static void expect_certificate_refused(uint64_t tenant, const struct hf_sign_key *key,
				       const uint8_t *claimed, const uint8_t *seal, int err)
{
	Holdfast__SignerAnswer *answer = sf_certify_with(tenant, key, claimed, seal);

	assert_int_equal(-answer->error, err);
	assert_int_equal(answer->certificate.len, 0);
	assert_true(strlen(answer->reason) > 0);
	sf_drop(answer);
}

/* Invariant 7: a request for another key, another tenant, or other keys of a known gateway gets
 * nothing. */
static void test_certificate_refusals(void **state)
{
	struct hf_sign_key other;
	struct hf_seal_key other_seal;

	(void)state;
	hf_sign_key_make(&other);
	hf_seal_key_make(&other_seal);
	expect_certificate_refused(TENANT, &sf_identity, other.public_key, sf_sealing.public_key,
				   HF_EAUTH);
	expect_certificate_refused(0, &sf_identity, sf_identity.public_key, sf_sealing.public_key,
				   HF_EINVAL);
	sf_certify();
	expect_certificate_refused(TENANT, &other, other.public_key, sf_sealing.public_key,
				   HF_EAUTH);
	expect_certificate_refused(TENANT, &sf_identity, sf_identity.public_key,
				   other_seal.public_key, HF_EAUTH);
	expect_certificate_refused(TENANT + 1, &sf_identity, sf_identity.public_key,
				   sf_sealing.public_key, HF_EAUTH);
	sf_certify(); /* the same again is fine: a renewal */
}

/* Invariant 4: (incarnation, generation) only rises, also over a restart; the same question gets
 * the same answer, another under the same number none. */
static void test_generations_only_rise(void **state)
{
	Holdfast__SignerAnswer *first, *again;

	(void)state;
	assert_int_equal(sf_sign_error(5, 1, "dir:/a"), HF_ENOENT); /* never certified */
	sf_certify();
	assert_int_equal(sf_sign_error(5, 0, "dir:/a"), HF_EINVAL);
	assert_int_equal(sf_sign_error(5, 3, "dir:/a"), 0);
	assert_int_equal(sf_sign_error(5, 2, "dir:/a"), HF_ESTALE);
	assert_int_equal(sf_sign_error(4, 9, "dir:/a"), HF_ESTALE);
	assert_int_equal(sf_sign_error(5, 3, "dir:/b"), HF_ESTALE);
	first = sf_sign_for(TENANT, 5, 3, "dir:/a", sf_sealing.public_key, NULL);
	hf_signer_close(sf_signer);
	sf_open_signer();
	again = sf_sign_for(TENANT, 5, 3, "dir:/a", sf_sealing.public_key, NULL);
	assert_int_equal(first->signed_change.len, again->signed_change.len);
	assert_memory_equal(first->signed_change.data, again->signed_change.data,
			    first->signed_change.len);
	sf_drop(first);
	sf_drop(again);
	assert_int_equal(sf_sign_error(5, 2, "dir:/a"), HF_ESTALE);
	assert_int_equal(sf_sign_error(6, 1, "dir:/a"), 0);
}

/* The sequence counts every signed change, over restarts and incarnations. */
static void test_sequence_counts(void **state)
{
	Holdfast__SignerAnswer *answer;
	Holdfast__Change *change;

	(void)state;
	sf_certify();
	for (uint64_t i = 1; i <= 3; i++) {
		answer = sf_sign_for(TENANT, 10 - i % 2 + i, i, "dir:/a", sf_sealing.public_key,
				     NULL);
		assert_int_equal(answer->error, 0);
		change = sf_change_of(answer);
		assert_int_equal(change->sequence, i);
		holdfast__change__free_unpacked(change, NULL);
		sf_drop(answer);
		hf_signer_close(sf_signer);
		sf_open_signer();
	}
}

/* Secrets go to the key of the certificate: a provider that names another key, or asks for another
 * tenant, gets nothing. */
static void test_foreign_sealing_key_is_refused(void **state)
{
	struct hf_seal_key other;
	Holdfast__SignerAnswer *answer;

	(void)state;
	hf_seal_key_make(&other);
	sf_certify();
	answer = sf_sign_for(TENANT, 1, 1, "dir:/a", other.public_key, NULL);
	assert_int_equal(-answer->error, HF_EAUTH);
	assert_int_equal(answer->signed_change.len, 0);
	sf_drop(answer);
	answer = sf_sign_for(TENANT + 1, 1, 1, "dir:/a", sf_sealing.public_key, NULL);
	assert_int_equal(-answer->error, HF_EAUTH);
	sf_drop(answer);
}

/* What was encrypted for the registry opens with the gateway's key, for its version only. */
static void test_secrets_are_resealed(void **state)
{
	Holdfast__SignerAnswer *secret, *answer;
	Holdfast__Change *change;
	Holdfast__Document *document;
	Holdfast__VolumeSecrets *secrets;
	char purpose[HF_PURPOSE_MAX];
	uint8_t *plain;
	size_t length;

	(void)state;
	sf_certify();
	secret = sf_new_secret(TENANT, VOLUME);
	assert_int_equal(secret->error, 0);
	assert_null(memmem(secret->secret.data, secret->secret.len, "fourteen-chars", 14));
	answer = sf_sign_for(TENANT, 1, 7, "dir:/a", sf_sealing.public_key, &secret->secret);
	assert_int_equal(answer->error, 0);
	change = sf_change_of(answer);
	document = holdfast__document__unpack(NULL, change->document.len, change->document.data);
	assert_int_equal(document->n_volumes, 1);
	hf_purpose_volume(VOLUME, 6, purpose);
	assert_int_equal(hf_unseal(&sf_sealing, purpose, document->volumes[0]->sealed.data,
				   document->volumes[0]->sealed.len, &plain, &length),
			 HF_EAUTH);
	hf_purpose_volume(VOLUME, 7, purpose);
	assert_int_equal(hf_unseal(&sf_sealing, purpose, document->volumes[0]->sealed.data,
				   document->volumes[0]->sealed.len, &plain, &length),
			 0);
	secrets = holdfast__volume_secrets__unpack(NULL, length, plain);
	assert_string_equal(secrets->chap_secret, "fourteen-chars");
	assert_int_equal(secrets->wrap_key.len, 32);
	holdfast__volume_secrets__free_unpacked(secrets, NULL);
	hf_wipe_free(plain, length);
	holdfast__document__free_unpacked(document, NULL);
	holdfast__change__free_unpacked(change, NULL);
	sf_drop(answer);
	sf_drop(secret);
}

/* The volume's secrets as its gateway gets them. */
static Holdfast__VolumeSecrets *secrets_at_gateway(uint64_t generation,
						   const ProtobufCBinaryData *kept)
{
	Holdfast__SignerAnswer *answer =
		sf_sign_for(TENANT, 1, generation, "dir:/a", sf_sealing.public_key, kept);
	Holdfast__VolumeSecrets *secrets;
	Holdfast__Document *document;
	Holdfast__Change *change;
	char purpose[HF_PURPOSE_MAX];
	uint8_t *plain;
	size_t length;

	assert_int_equal(answer->error, 0);
	change = sf_change_of(answer);
	document = holdfast__document__unpack(NULL, change->document.len, change->document.data);
	hf_purpose_volume(VOLUME, generation, purpose);
	assert_int_equal(hf_unseal(&sf_sealing, purpose, document->volumes[0]->sealed.data,
				   document->volumes[0]->sealed.len, &plain, &length),
			 0);
	secrets = holdfast__volume_secrets__unpack(NULL, length, plain);
	hf_wipe_free(plain, length);
	holdfast__document__free_unpacked(document, NULL);
	holdfast__change__free_unpacked(change, NULL);
	sf_drop(answer);
	return secrets;
}

/* Another CHAP secret leaves the volume's key as it is, and takes nothing from another volume,
 * another tenant or a damaged row (invariants 2 and 7). */
static void test_another_chap_secret_keeps_the_key(void **state)
{
	Holdfast__SignerAnswer *first, *second, *wrong[3];
	Holdfast__VolumeSecrets *before, *after;

	(void)state;
	sf_certify();
	first = sf_new_secret(TENANT, VOLUME);
	before = secrets_at_gateway(1, &first->secret);
	second = sf_change_secret(TENANT, VOLUME, "another-secret", &first->secret);
	assert_int_equal(second->error, 0);
	after = secrets_at_gateway(2, &second->secret);
	assert_string_equal(after->chap_secret, "another-secret");
	assert_true(after->wrap_key.len == 32 && before->wrap_key.len == 32);
	assert_memory_equal(after->wrap_key.data, before->wrap_key.data, 32);
	wrong[0] = sf_change_secret(TENANT, VOLUME + 1, "another-secret", &first->secret);
	wrong[1] = sf_change_secret(TENANT + 1, VOLUME, "another-secret", &first->secret);
	first->secret.data[first->secret.len / 2] ^= 1;
	wrong[2] = sf_change_secret(TENANT, VOLUME, "another-secret", &first->secret);
	for (int i = 0; i < 3; i++) {
		assert_int_not_equal(wrong[i]->error, 0);
		assert_int_equal(wrong[i]->secret.len, 0);
		sf_drop(wrong[i]);
	}
	holdfast__volume_secrets__free_unpacked(before, NULL);
	holdfast__volume_secrets__free_unpacked(after, NULL);
	sf_drop(first);
	sf_drop(second);
}

/* A secret that was moved to another volume's row, another tenant's, or damaged does not open, and
 * the document is not signed. */
static void test_moved_secret_is_refused(void **state)
{
	Holdfast__SignerAnswer *wrong[3], *answer;

	(void)state;
	sf_certify();
	wrong[0] = sf_new_secret(TENANT, VOLUME + 1);
	wrong[1] = sf_new_secret(TENANT + 1, VOLUME);
	wrong[2] = sf_new_secret(TENANT, VOLUME);
	wrong[2]->secret.data[wrong[2]->secret.len / 2] ^= 1;
	for (int i = 0; i < 3; i++) {
		answer = sf_sign_for(TENANT, 1, 1, "dir:/a", sf_sealing.public_key,
				     &wrong[i]->secret);
		assert_int_not_equal(answer->error, 0);
		assert_int_equal(answer->signed_change.len, 0);
		sf_drop(answer);
		sf_drop(wrong[i]);
	}
	assert_int_equal(sf_sign_error(1, 1, "dir:/a"), 0); /* the number was not used up */
}

/* Invariant 9: what is no question gets an answer with a reason. */
static void test_nonsense_is_answered(void **state)
{
	static const uint8_t nonsense[] = {0xff, 0xff, 0xff, 0x01, 0x02};
	Holdfast__SignerRequest empty = HOLDFAST__SIGNER_REQUEST__INIT;
	Holdfast__SignerAnswer *answer = sf_ask(&empty);
	size_t length;
	uint8_t *bytes;

	(void)state;
	assert_int_equal(-answer->error, HF_EUNSUPPORTED);
	sf_drop(answer);
	bytes = hf_signer_answer(sf_signer, HF_SIGNER_PROVIDER, nonsense, sizeof nonsense, &length);
	answer = holdfast__signer_answer__unpack(NULL, length, bytes);
	assert_int_equal(-answer->error, HF_EPROTO);
	sf_drop(answer);
	free(bytes);
}

int main(void)
{
#define SIGNER_TEST(name) cmocka_unit_test_setup_teardown(name, sf_set_up, sf_tear_down)
	const struct CMUnitTest tests[] = {
		SIGNER_TEST(test_keys_are_private_and_stay),
		SIGNER_TEST(test_lost_key_is_refused),
		SIGNER_TEST(test_open_key_is_refused),
		SIGNER_TEST(test_certificate),
		SIGNER_TEST(test_certificate_refusals),
		SIGNER_TEST(test_generations_only_rise),
		SIGNER_TEST(test_sequence_counts),
		SIGNER_TEST(test_foreign_sealing_key_is_refused),
		SIGNER_TEST(test_secrets_are_resealed),
		SIGNER_TEST(test_another_chap_secret_keeps_the_key),
		SIGNER_TEST(test_moved_secret_is_refused),
		SIGNER_TEST(test_nonsense_is_answered),
	};

	return cmocka_run_group_tests_name("sf_signer", tests, NULL, NULL);
}
