/* tests/provider/signer_fixture.h. */
#include "tests/provider/signer_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "net/identity.h"
#include "provider/signer/purpose.h"
#include "tests/lib/folder.h"

char sf_folder[64];
struct hf_signer *sf_signer;
struct hf_sign_key sf_identity;
struct hf_seal_key sf_sealing;

void sf_open_signer(void)
{
	struct hf_signer_config config = {sf_folder, 30, 30, true};
	struct hf_errmsg message = {""};

	assert_int_equal(hf_signer_open(&config, &sf_signer, &message), 0);
}

int sf_set_up(void **state)
{
	(void)state;
	snprintf(sf_folder, sizeof sf_folder, "/tmp/hf-signer-XXXXXX");
	assert_non_null(mkdtemp(sf_folder));
	assert_int_equal(hf_sign_key_make(&sf_identity), 0);
	assert_int_equal(hf_seal_key_make(&sf_sealing), 0);
	sf_open_signer();
	return 0;
}

int sf_tear_down(void **state)
{
	(void)state;
	hf_signer_close(sf_signer);
	folder_remove(sf_folder);
	return 0;
}

Holdfast__SignerAnswer *sf_ask(const Holdfast__SignerRequest *request)
{
	size_t length = holdfast__signer_request__get_packed_size(request), answer_length;
	uint8_t *bytes = malloc(length + 1), *answer;
	Holdfast__SignerAnswer *unpacked;

	assert_non_null(bytes);
	holdfast__signer_request__pack(request, bytes);
	answer =
		hf_signer_answer(sf_signer, HF_SIGNER_ADMINISTRATOR, bytes, length, &answer_length);
	free(bytes);
	assert_non_null(answer);
	unpacked = holdfast__signer_answer__unpack(NULL, answer_length, answer);
	assert_non_null(unpacked);
	free(answer);
	return unpacked;
}

void sf_drop(Holdfast__SignerAnswer *answer)
{
	holdfast__signer_answer__free_unpacked(answer, NULL);
}

ProtobufCBinaryData sf_binary(const void *bytes, size_t length)
{
	return (ProtobufCBinaryData){.len = length, .data = (uint8_t *)(uintptr_t)bytes};
}

Holdfast__SignerAnswer *sf_certify_with(uint64_t tenant, const struct hf_sign_key *key,
					const uint8_t *claimed_key, const uint8_t *sealing_key)
{
	return sf_certify_gateway(tenant, GATEWAY, key, claimed_key, sealing_key);
}

Holdfast__SignerAnswer *sf_certify_gateway(uint64_t tenant, uint64_t gateway,
					   const struct hf_sign_key *key,
					   const uint8_t *claimed_key, const uint8_t *sealing_key)
{
	Holdfast__SignerRequest request = HOLDFAST__SIGNER_REQUEST__INIT;
	Holdfast__SignerCertificate order = HOLDFAST__SIGNER_CERTIFICATE__INIT;
	Holdfast__SignerAnswer *answer;

	assert_int_equal(hf_request_make(key, "gw", &order.request.data, &order.request.len), 0);
	order.tenant = tenant;
	order.gateway = gateway;
	order.identity_key = sf_binary(claimed_key, HF_KEY_BYTES);
	order.sealing_key = sf_binary(sealing_key, HF_KEY_BYTES);
	request.kind_case = HOLDFAST__SIGNER_REQUEST__KIND_CERTIFICATE;
	request.certificate = &order;
	answer = sf_ask(&request);
	free(order.request.data);
	return answer;
}

void sf_certify(void)
{
	Holdfast__SignerAnswer *answer = sf_certify_with(
		TENANT, &sf_identity, sf_identity.public_key, sf_sealing.public_key);

	assert_int_equal(answer->error, 0);
	sf_drop(answer);
}

/* Encrypts CHAP secrets for a volume, as the provider keeps them. */
Holdfast__SignerAnswer *sf_new_secret(uint64_t tenant, uint64_t volume)
{
	return sf_change_secret(tenant, volume, "fourteen-chars", NULL);
}

Holdfast__SignerAnswer *sf_change_secret(uint64_t tenant, uint64_t volume, const char *chap,
					 const ProtobufCBinaryData *keeps)
{
	Holdfast__SignerRequest request = HOLDFAST__SIGNER_REQUEST__INIT;
	Holdfast__SignerNewSecret order = HOLDFAST__SIGNER_NEW_SECRET__INIT;
	Holdfast__VolumeSecrets secrets = HOLDFAST__VOLUME_SECRETS__INIT;
	char purpose[HF_PURPOSE_MAX];
	uint8_t plain[256];

	hf_signer_purpose_volume(tenant, volume, purpose);
	secrets.chap_secret = (char *)(uintptr_t)chap;
	order.plain = sf_binary(plain, holdfast__volume_secrets__pack(&secrets, plain));
	order.make_wrap_key = !keeps;
	if (keeps)
		order.keeps = *keeps;
	order.purpose = purpose;
	request.kind_case = HOLDFAST__SIGNER_REQUEST__KIND_NEW_SECRET;
	request.new_secret = &order;
	return sf_ask(&request);
}

Holdfast__SignerAnswer *sf_sign_for(uint64_t tenant, uint64_t incarnation, uint64_t generation,
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
	order.sealing_key = sf_binary(sealing_key, HF_KEY_BYTES);
	order.document = sf_binary(bytes, holdfast__document__pack(&document, bytes));
	request.kind_case = HOLDFAST__SIGNER_REQUEST__KIND_DOCUMENT;
	request.document = &order;
	return sf_ask(&request);
}

int sf_sign_error(uint64_t incarnation, uint64_t generation, const char *url)
{
	Holdfast__SignerAnswer *answer =
		sf_sign_for(TENANT, incarnation, generation, url, sf_sealing.public_key, NULL);
	int err = -answer->error;

	assert_true((err == 0) == (answer->signed_change.len > 0));
	sf_drop(answer);
	return err;
}

Holdfast__Change *sf_change_in(const ProtobufCBinaryData *packet, const uint8_t *signer_key,
			       uint64_t gateway)
{
	Holdfast__Signed *outer = holdfast__signed__unpack(NULL, packet->len, packet->data);
	Holdfast__Change *change = NULL;
	struct hf_errmsg message = {""};

	assert_non_null(outer);
	assert_int_equal(hf_change_verify(signer_key, TENANT, gateway, outer, &change, &message),
			 0);
	holdfast__signed__free_unpacked(outer, NULL);
	return change;
}

Holdfast__Change *sf_change_of(const Holdfast__SignerAnswer *answer)
{
	return sf_change_in(&answer->signed_change, answer->signer_key.data, GATEWAY);
}
