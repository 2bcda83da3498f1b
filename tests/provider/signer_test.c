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

#include "base/ids.h"
#include "net/identity.h"
#include "proto/document.pb-c.h"
#include "provider/signer/purpose.h"
#include "provider/signer/signer.h"
#include "tests/lib/folder.h"

#define TENANT  0x11u
#define GATEWAY 0x22u
#define VOLUME  0x33u

static char folder[64];
static struct hf_signer *signer;
static struct hf_sign_key identity;
static struct hf_seal_key sealing;

static void open_signer(void)
{
	struct hf_signer_config config = {folder, 30, 30};
	struct hf_errmsg message = {""};

	assert_int_equal(hf_signer_open(&config, &signer, &message), 0);
}

static int set_up(void **state)
{
	(void)state;
	snprintf(folder, sizeof folder, "/tmp/hf-signer-XXXXXX");
	assert_non_null(mkdtemp(folder));
	assert_int_equal(hf_sign_key_make(&identity), 0);
	assert_int_equal(hf_seal_key_make(&sealing), 0);
	open_signer();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	hf_signer_close(signer);
	folder_remove(folder);
	return 0;
}

static Holdfast__SignerAnswer *ask(const Holdfast__SignerRequest *request)
{
	uint8_t bytes[65536];
	size_t length = holdfast__signer_request__pack(request, bytes), answer_length;
	uint8_t *answer = hf_signer_answer(signer, bytes, length, &answer_length);
	Holdfast__SignerAnswer *unpacked;

	assert_non_null(answer);
	unpacked = holdfast__signer_answer__unpack(NULL, answer_length, answer);
	assert_non_null(unpacked);
	free(answer);
	return unpacked;
}

static void drop(Holdfast__SignerAnswer *answer)
{
	holdfast__signer_answer__free_unpacked(answer, NULL);
}

static ProtobufCBinaryData binary(const void *bytes, size_t length)
{
	return (ProtobufCBinaryData){.len = length, .data = (uint8_t *)(uintptr_t)bytes};
}

static Holdfast__SignerAnswer *certify_with(uint64_t tenant, const struct hf_sign_key *key,
					    const uint8_t *claimed_key, const uint8_t *sealing_key)
{
	Holdfast__SignerRequest request = HOLDFAST__SIGNER_REQUEST__INIT;
	Holdfast__SignerCertificate order = HOLDFAST__SIGNER_CERTIFICATE__INIT;
	Holdfast__SignerAnswer *answer;

	assert_int_equal(hf_request_make(key, "gw", &order.request.data, &order.request.len), 0);
	order.tenant = tenant;
	order.gateway = GATEWAY;
	order.identity_key = binary(claimed_key, HF_KEY_BYTES);
	order.sealing_key = binary(sealing_key, HF_KEY_BYTES);
	request.kind_case = HOLDFAST__SIGNER_REQUEST__KIND_CERTIFICATE;
	request.certificate = &order;
	answer = ask(&request);
	free(order.request.data);
	return answer;
}

static void certify(void)
{
	Holdfast__SignerAnswer *answer =
		certify_with(TENANT, &identity, identity.public_key, sealing.public_key);

	assert_int_equal(answer->error, 0);
	drop(answer);
}

/* Encrypts CHAP secrets for a volume, as the provider keeps them. */
static Holdfast__SignerAnswer *new_secret(uint64_t tenant, uint64_t volume)
{
	Holdfast__SignerRequest request = HOLDFAST__SIGNER_REQUEST__INIT;
	Holdfast__SignerNewSecret order = HOLDFAST__SIGNER_NEW_SECRET__INIT;
	Holdfast__VolumeSecrets secrets = HOLDFAST__VOLUME_SECRETS__INIT;
	char purpose[HF_PURPOSE_MAX], chap[] = "fourteen-chars";
	uint8_t plain[256];

	hf_signer_purpose_volume(tenant, volume, purpose);
	secrets.chap_secret = chap;
	order.plain = binary(plain, holdfast__volume_secrets__pack(&secrets, plain));
	order.make_wrap_key = true;
	order.purpose = purpose;
	request.kind_case = HOLDFAST__SIGNER_REQUEST__KIND_NEW_SECRET;
	request.new_secret = &order;
	return ask(&request);
}

static Holdfast__SignerAnswer *sign_for(uint64_t tenant, uint64_t incarnation, uint64_t generation,
					const char *url, const uint8_t *sealing_key,
					const ProtobufCBinaryData *secret)
{
	Holdfast__SignerRequest request = HOLDFAST__SIGNER_REQUEST__INIT;
	Holdfast__SignerDocument order = HOLDFAST__SIGNER_DOCUMENT__INIT;
	Holdfast__Document document = HOLDFAST__DOCUMENT__INIT;
	Holdfast__Volume volume = HOLDFAST__VOLUME__INIT, *volumes = &volume;
	Holdfast__Store store = HOLDFAST__STORE__INIT;
	uint8_t bytes[4096];

	document.incarnation = incarnation;
	document.generation = generation;
	document.store = &store;
	store.url = (char *)(uintptr_t)url;
	if (secret) {
		volume.volume = VOLUME;
		volume.version = generation;
		volume.sealed = *secret;
		document.volumes = &volumes;
		document.n_volumes = 1;
	}
	order.tenant = tenant;
	order.gateway = GATEWAY;
	order.sealing_key = binary(sealing_key, HF_KEY_BYTES);
	order.document = binary(bytes, holdfast__document__pack(&document, bytes));
	request.kind_case = HOLDFAST__SIGNER_REQUEST__KIND_DOCUMENT;
	request.document = &order;
	return ask(&request);
}

static int sign_error(uint64_t incarnation, uint64_t generation, const char *url)
{
	Holdfast__SignerAnswer *answer =
		sign_for(TENANT, incarnation, generation, url, sealing.public_key, NULL);
	int err = -answer->error;

	assert_true((err == 0) == (answer->signed_change.len > 0));
	drop(answer);
	return err;
}

/* The verified change inside an answer; the caller frees it. */
static Holdfast__Change *change_of(const Holdfast__SignerAnswer *answer)
{
	Holdfast__Signed *outer = holdfast__signed__unpack(NULL, answer->signed_change.len,
							   answer->signed_change.data);
	Holdfast__Change *change = NULL;
	struct hf_errmsg message = {""};

	assert_non_null(outer);
	assert_int_equal(hf_change_verify(answer->signer_key.data, TENANT, GATEWAY, outer, &change,
					  &message),
			 0);
	holdfast__signed__free_unpacked(outer, NULL);
	return change;
}

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
		snprintf(path, sizeof path, "%s/%s", folder, names[i]);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0600);
	}
	hello.kind_case = HOLDFAST__SIGNER_REQUEST__KIND_HELLO;
	hello.hello = &empty;
	before = ask(&hello);
	hf_signer_close(signer);
	open_signer();
	after = ask(&hello);
	assert_memory_equal(before->ca_key.data, after->ca_key.data, HF_KEY_BYTES);
	assert_memory_equal(before->signer_key.data, after->signer_key.data, HF_KEY_BYTES);
	assert_int_equal(before->ca_certificate.len, after->ca_certificate.len);
	drop(before);
	drop(after);
}

/* A folder that lost one of its keys is refused: a new key would lock out every gateway. */
static void test_lost_key_is_refused(void **state)
{
	struct hf_signer_config config = {folder, 30, 30};
	struct hf_errmsg message = {""};
	char path[96], aside[96];

	(void)state;
	hf_signer_close(signer);
	snprintf(path, sizeof path, "%s/sign.key", folder);
	snprintf(aside, sizeof aside, "%s/aside", folder);
	assert_int_equal(rename(path, aside), 0);
	signer = NULL;
	assert_int_equal(hf_signer_open(&config, &signer, &message), HF_ECORRUPT);
	assert_non_null(strstr(message.text, "sign.key"));
	assert_int_equal(rename(aside, path), 0);
	open_signer();
}

/* A key that others can read is refused, not used. */
static void test_open_key_is_refused(void **state)
{
	struct hf_signer_config config = {folder, 30, 30};
	struct hf_errmsg message = {""};
	char path[96];

	(void)state;
	hf_signer_close(signer);
	snprintf(path, sizeof path, "%s/ca.key", folder);
	assert_int_equal(chmod(path, 0644), 0);
	signer = NULL;
	assert_int_not_equal(hf_signer_open(&config, &signer, &message), 0);
	assert_non_null(strstr(message.text, "ca.key"));
	assert_int_equal(chmod(path, 0600), 0);
	open_signer();
}

/* A certificate is for the key that its request proves, and chains to the authority. */
static void test_certificate(void **state)
{
	struct hf_certificate_info info;
	struct hf_errmsg message = {""};
	Holdfast__SignerAnswer *answer =
		certify_with(TENANT, &identity, identity.public_key, sealing.public_key);

	(void)state;
	assert_int_equal(answer->error, 0);
	assert_int_equal(hf_certificate_verify(answer->ca_certificate.data,
					       answer->ca_certificate.len, answer->certificate.data,
					       answer->certificate.len, &message),
			 0);
	assert_int_equal(
		hf_certificate_parse(answer->certificate.data, answer->certificate.len, &info), 0);
	assert_true(!info.server && info.tenant == TENANT && info.gateway == GATEWAY);
	assert_memory_equal(info.public_key, identity.public_key, HF_KEY_BYTES);
	drop(answer);
}

static void expect_certificate_refused(uint64_t tenant, const struct hf_sign_key *key,
				       const uint8_t *claimed, const uint8_t *seal, int err)
{
	Holdfast__SignerAnswer *answer = certify_with(tenant, key, claimed, seal);

	assert_int_equal(-answer->error, err);
	assert_int_equal(answer->certificate.len, 0);
	assert_true(strlen(answer->reason) > 0);
	drop(answer);
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
	expect_certificate_refused(TENANT, &identity, other.public_key, sealing.public_key,
				   HF_EAUTH);
	expect_certificate_refused(0, &identity, identity.public_key, sealing.public_key,
				   HF_EINVAL);
	certify();
	expect_certificate_refused(TENANT, &other, other.public_key, sealing.public_key, HF_EAUTH);
	expect_certificate_refused(TENANT, &identity, identity.public_key, other_seal.public_key,
				   HF_EAUTH);
	expect_certificate_refused(TENANT + 1, &identity, identity.public_key, sealing.public_key,
				   HF_EAUTH);
	certify(); /* the same again is fine: a renewal */
}

/* Invariant 4: (incarnation, generation) only rises, also over a restart; the same question gets
 * the same answer, another under the same number none. */
static void test_generations_only_rise(void **state)
{
	Holdfast__SignerAnswer *first, *again;

	(void)state;
	assert_int_equal(sign_error(5, 1, "dir:/a"), HF_ENOENT); /* never certified */
	certify();
	assert_int_equal(sign_error(5, 0, "dir:/a"), HF_EINVAL);
	assert_int_equal(sign_error(5, 3, "dir:/a"), 0);
	assert_int_equal(sign_error(5, 2, "dir:/a"), HF_ESTALE);
	assert_int_equal(sign_error(4, 9, "dir:/a"), HF_ESTALE);
	assert_int_equal(sign_error(5, 3, "dir:/b"), HF_ESTALE);
	first = sign_for(TENANT, 5, 3, "dir:/a", sealing.public_key, NULL);
	hf_signer_close(signer);
	open_signer();
	again = sign_for(TENANT, 5, 3, "dir:/a", sealing.public_key, NULL);
	assert_int_equal(first->signed_change.len, again->signed_change.len);
	assert_memory_equal(first->signed_change.data, again->signed_change.data,
			    first->signed_change.len);
	drop(first);
	drop(again);
	assert_int_equal(sign_error(5, 2, "dir:/a"), HF_ESTALE);
	assert_int_equal(sign_error(6, 1, "dir:/a"), 0);
}

/* The sequence counts every signed change, over restarts and incarnations. */
static void test_sequence_counts(void **state)
{
	Holdfast__SignerAnswer *answer;
	Holdfast__Change *change;

	(void)state;
	certify();
	for (uint64_t i = 1; i <= 3; i++) {
		answer = sign_for(TENANT, 10 - i % 2 + i, i, "dir:/a", sealing.public_key, NULL);
		assert_int_equal(answer->error, 0);
		change = change_of(answer);
		assert_int_equal(change->sequence, i);
		holdfast__change__free_unpacked(change, NULL);
		drop(answer);
		hf_signer_close(signer);
		open_signer();
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
	certify();
	answer = sign_for(TENANT, 1, 1, "dir:/a", other.public_key, NULL);
	assert_int_equal(-answer->error, HF_EAUTH);
	assert_int_equal(answer->signed_change.len, 0);
	drop(answer);
	answer = sign_for(TENANT + 1, 1, 1, "dir:/a", sealing.public_key, NULL);
	assert_int_equal(-answer->error, HF_EAUTH);
	drop(answer);
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
	certify();
	secret = new_secret(TENANT, VOLUME);
	assert_int_equal(secret->error, 0);
	assert_null(memmem(secret->secret.data, secret->secret.len, "fourteen-chars", 14));
	answer = sign_for(TENANT, 1, 7, "dir:/a", sealing.public_key, &secret->secret);
	assert_int_equal(answer->error, 0);
	change = change_of(answer);
	document = holdfast__document__unpack(NULL, change->document.len, change->document.data);
	assert_int_equal(document->n_volumes, 1);
	hf_purpose_volume(VOLUME, 6, purpose);
	assert_int_equal(hf_unseal(&sealing, purpose, document->volumes[0]->sealed.data,
				   document->volumes[0]->sealed.len, &plain, &length),
			 HF_EAUTH);
	hf_purpose_volume(VOLUME, 7, purpose);
	assert_int_equal(hf_unseal(&sealing, purpose, document->volumes[0]->sealed.data,
				   document->volumes[0]->sealed.len, &plain, &length),
			 0);
	secrets = holdfast__volume_secrets__unpack(NULL, length, plain);
	assert_string_equal(secrets->chap_secret, "fourteen-chars");
	assert_int_equal(secrets->wrap_key.len, 32);
	holdfast__volume_secrets__free_unpacked(secrets, NULL);
	hf_wipe_free(plain, length);
	holdfast__document__free_unpacked(document, NULL);
	holdfast__change__free_unpacked(change, NULL);
	drop(answer);
	drop(secret);
}

/* A secret that was moved to another volume's row, another tenant's, or damaged does not open, and
 * the document is not signed. */
static void test_moved_secret_is_refused(void **state)
{
	Holdfast__SignerAnswer *wrong[3], *answer;

	(void)state;
	certify();
	wrong[0] = new_secret(TENANT, VOLUME + 1);
	wrong[1] = new_secret(TENANT + 1, VOLUME);
	wrong[2] = new_secret(TENANT, VOLUME);
	wrong[2]->secret.data[wrong[2]->secret.len / 2] ^= 1;
	for (int i = 0; i < 3; i++) {
		answer = sign_for(TENANT, 1, 1, "dir:/a", sealing.public_key, &wrong[i]->secret);
		assert_int_not_equal(answer->error, 0);
		assert_int_equal(answer->signed_change.len, 0);
		drop(answer);
		drop(wrong[i]);
	}
	assert_int_equal(sign_error(1, 1, "dir:/a"), 0); /* the number was not used up */
}

/* A ledger that was damaged stops that gateway with the file's name, and is never guessed. */
static void test_damaged_ledger_is_refused(void **state)
{
	char path[128], id[HF_ID_TEXT_MAX];
	Holdfast__SignerAnswer *answer;
	FILE *file;

	(void)state;
	certify();
	hf_id_format(HF_ID_GATEWAY, GATEWAY, id);
	snprintf(path, sizeof path, "%s/gateways/%s", folder, id);
	file = fopen(path, "r+e");
	assert_non_null(file);
	fseek(file, 30, SEEK_SET);
	fputc(0xee, file);
	fclose(file);
	answer = sign_for(TENANT, 1, 1, "dir:/a", sealing.public_key, NULL);
	assert_int_equal(-answer->error, HF_ECORRUPT);
	assert_non_null(strstr(answer->reason, id));
	drop(answer);
}

/* Invariant 9: what is no question gets an answer with a reason. */
static void test_nonsense_is_answered(void **state)
{
	static const uint8_t nonsense[] = {0xff, 0xff, 0xff, 0x01, 0x02};
	Holdfast__SignerRequest empty = HOLDFAST__SIGNER_REQUEST__INIT;
	Holdfast__SignerAnswer *answer = ask(&empty);
	size_t length;
	uint8_t *bytes;

	(void)state;
	assert_int_equal(-answer->error, HF_EUNSUPPORTED);
	drop(answer);
	bytes = hf_signer_answer(signer, nonsense, sizeof nonsense, &length);
	answer = holdfast__signer_answer__unpack(NULL, length, bytes);
	assert_int_equal(-answer->error, HF_EPROTO);
	drop(answer);
	free(bytes);
}

int main(void)
{
#define SIGNER_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
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
		SIGNER_TEST(test_moved_secret_is_refused),
		SIGNER_TEST(test_damaged_ledger_is_refused),
		SIGNER_TEST(test_nonsense_is_answered),
	};

	return cmocka_run_group_tests_name("signer", tests, NULL, NULL);
}
