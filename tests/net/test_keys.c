/* Promises of keys, signatures, sealed secrets, certificates and activation keys (invariant 7):
 * what was changed, made by another key, or made for another purpose is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "net/activation_key.h"
#include "net/identity.h"
#include "net/key_file.h"
#include "net/seal.h"

static const uint8_t text[] = "some bytes";

/* RFC 8032, 7.1, test 1: the keys are the standard's. */
static void test_public_key_is_ed25519(void **state)
{
	struct hf_sign_key key;
	struct hf_errmsg message;
	char path[] = "/tmp/hf-key-XXXXXX", line[128];
	uint8_t expected[HF_KEY_BYTES];
	int fd = mkstemp(path);

	(void)state;
	snprintf(line, sizeof line, "holdfast-ed25519-1 %s\n",
		 "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
	assert_true(write(fd, line, strlen(line)) > 0);
	close(fd);
	assert_int_equal(hf_sign_key_file(path, &key, &message), 0);
	hf_hex_decode(expected, HF_KEY_BYTES,
		      "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
	assert_memory_equal(key.public_key, expected, HF_KEY_BYTES);
	unlink(path);
}

static void test_signature_holds_for_key_domain_and_bytes_only(void **state)
{
	struct hf_sign_key key, other;
	uint8_t signature[HF_SIGNATURE_BYTES];

	(void)state;
	assert_int_equal(hf_sign_key_make(&key), 0);
	assert_int_equal(hf_sign_key_make(&other), 0);
	assert_int_equal(hf_sign(&key, "a", text, sizeof text, signature), 0);
	assert_int_equal(hf_sign_verify(key.public_key, "a", text, sizeof text, signature), 0);
	assert_int_equal(hf_sign_verify(key.public_key, "b", text, sizeof text, signature),
			 HF_EAUTH);
	assert_int_equal(hf_sign_verify(other.public_key, "a", text, sizeof text, signature),
			 HF_EAUTH);
	assert_int_equal(hf_sign_verify(key.public_key, "a", text, sizeof text - 1, signature),
			 HF_EAUTH);
	signature[5] ^= 1;
	assert_int_equal(hf_sign_verify(key.public_key, "a", text, sizeof text, signature),
			 HF_EAUTH);
}

/* A key that was made ready signs as the key itself does, each time. */
static void test_ready_key_signs_the_same(void **state)
{
	uint8_t expected[HF_SIGNATURE_BYTES], signature[HF_SIGNATURE_BYTES];
	struct hf_signing *signing;
	struct hf_sign_key key;

	(void)state;
	assert_int_equal(hf_sign_key_make(&key), 0);
	assert_int_equal(hf_signing_open(&key, &signing), 0);
	for (size_t length = 1; length <= sizeof text; length++) {
		assert_int_equal(hf_sign(&key, "a", text, length, expected), 0);
		assert_int_equal(hf_signing_sign(signing, "a", text, length, signature), 0);
		assert_memory_equal(signature, expected, sizeof expected);
	}
	assert_int_equal(hf_signing_sign(signing, "b", text, sizeof text, signature), 0);
	assert_int_equal(hf_sign_verify(key.public_key, "b", text, sizeof text, signature), 0);
	hf_signing_close(signing);
}

static int verify_change(const struct hf_sign_key *key, uint64_t tenant, uint64_t gateway,
			 const uint8_t *bytes, size_t length)
{
	Holdfast__Signed *packet = holdfast__signed__unpack(NULL, length, bytes);
	Holdfast__Change *change = NULL;
	struct hf_errmsg message;
	int err;

	assert_non_null(packet);
	err = hf_change_verify(key->public_key, tenant, gateway, packet, &change, &message);
	if (!err) {
		assert_int_equal(change->document.len, sizeof text);
		assert_int_equal(change->sequence, 9);
		holdfast__change__free_unpacked(change, NULL);
	}
	holdfast__signed__free_unpacked(packet, NULL);
	return err;
}

static void test_signed_change_is_bound_to_signer_tenant_and_gateway(void **state)
{
	Holdfast__Change change = HOLDFAST__CHANGE__INIT;
	struct hf_sign_key key, other;
	uint8_t *bytes;
	size_t length;

	(void)state;
	hf_sign_key_make(&key);
	hf_sign_key_make(&other);
	change.tenant = 3;
	change.gateway = 4;
	change.sequence = 9;
	change.kind_case = HOLDFAST__CHANGE__KIND_DOCUMENT;
	change.document = (ProtobufCBinaryData){sizeof text, (uint8_t *)(uintptr_t)text};
	assert_int_equal(hf_change_sign(&key, &change, &bytes, &length), 0);
	assert_int_equal(verify_change(&key, 3, 4, bytes, length), 0);
	assert_int_equal(verify_change(&other, 3, 4, bytes, length), HF_EAUTH);
	assert_int_equal(verify_change(&key, 5, 4, bytes, length), HF_EAUTH);
	assert_int_equal(verify_change(&key, 3, 5, bytes, length), HF_EAUTH);
	bytes[12] ^= 1; /* in the signed body */
	assert_int_equal(verify_change(&key, 3, 4, bytes, length), HF_EAUTH);
	free(bytes);
}

/* A document that is built anew must have the same hash (deltas); nothing else may be equal. */
static void test_repeatable_seals_repeat(void **state)
{
	struct hf_seal_key sealer, other, to;
	uint8_t *first, *again, *plain;
	size_t length, again_length, plain_length;

	(void)state;
	hf_seal_key_make(&sealer);
	hf_seal_key_make(&other);
	hf_seal_key_make(&to);
	assert_int_equal(
		hf_seal_repeatable(&sealer, to.public_key, "p", text, sizeof text, &first, &length),
		0);
	for (int i = 0; i < 4; i++) {
		const struct hf_seal_key *from = i == 1 ? &other : &sealer;
		const char *purpose = i == 2 ? "q" : "p";
		size_t part = i == 3 ? sizeof text - 1 : sizeof text;

		assert_int_equal(hf_seal_repeatable(from, to.public_key, purpose, text, part,
						    &again, &again_length),
				 0);
		assert_int_equal(again_length == length && memcmp(first, again, length) == 0,
				 i == 0);
		assert_int_equal(
			hf_unseal(&to, purpose, again, again_length, &plain, &plain_length), 0);
		assert_int_equal(plain_length, part);
		hf_wipe_free(plain, plain_length);
		free(again);
	}
	free(first);
}

static void test_sealed_opens_for_its_key_and_purpose_only(void **state)
{
	struct hf_seal_key key, other;
	uint8_t *sealed, *plain;
	size_t sealed_length, plain_length;

	(void)state;
	assert_int_equal(hf_seal_key_make(&key), 0);
	assert_int_equal(hf_seal_key_make(&other), 0);
	assert_int_equal(hf_seal(key.public_key, "p", text, sizeof text, &sealed, &sealed_length),
			 0);
	assert_int_equal(hf_unseal(&key, "p", sealed, sealed_length, &plain, &plain_length), 0);
	assert_int_equal(plain_length, sizeof text);
	assert_memory_equal(plain, text, sizeof text);
	hf_wipe_free(plain, plain_length);
	assert_int_equal(hf_unseal(&other, "p", sealed, sealed_length, &plain, &plain_length),
			 HF_EAUTH);
	assert_int_equal(hf_unseal(&key, "q", sealed, sealed_length, &plain, &plain_length),
			 HF_EAUTH);
	/* Any single changed bit: refused, never another plain text. */
	for (size_t i = 0; i < sealed_length; i++) {
		sealed[i] ^= 0x10;
		assert_int_not_equal(
			hf_unseal(&key, "p", sealed, sealed_length, &plain, &plain_length), 0);
		sealed[i] ^= 0x10;
	}
	for (size_t length = 0; length < sealed_length; length++)
		assert_int_not_equal(hf_unseal(&key, "p", sealed, length, &plain, &plain_length),
				     0);
	free(sealed);
}

static void test_purpose_names_volume_and_version(void **state)
{
	char purpose[HF_PURPOSE_MAX];

	(void)state;
	hf_purpose_volume(0x1f, 18446744073709551615ull, purpose);
	assert_string_equal(purpose, "volume/vol-000000000000001f/18446744073709551615");
}

static void test_key_file_is_kept_and_private(void **state)
{
	char folder[] = "/tmp/hf-keys-XXXXXX", path[64];
	struct hf_sign_key first, again;
	struct hf_seal_key wrong_kind;
	struct hf_errmsg message;
	struct stat info;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/key", folder);
	assert_int_equal(hf_sign_key_file(path, &first, &message), 0);
	assert_int_equal(stat(path, &info), 0);
	assert_int_equal(info.st_mode & 0777, 0600);
	assert_int_equal(hf_sign_key_file(path, &again, &message), 0);
	assert_memory_equal(&first, &again, sizeof first);
	assert_int_equal(hf_seal_key_file(path, &wrong_kind, &message), HF_EINVAL);
	chmod(path, 0640);
	assert_int_equal(hf_sign_key_file(path, &again, &message), HF_EACCES);
	assert_non_null(strstr(message.text, path));
	unlink(path);
	rmdir(folder);
}

/* ---- Certificates ---- */

struct authority {
	struct hf_sign_key key;
	uint8_t *der;
	size_t length;
};

static void make_authority(struct authority *authority)
{
	assert_int_equal(hf_sign_key_make(&authority->key), 0);
	assert_int_equal(hf_authority_make(&authority->key, "test authority", 86400,
					   &authority->der, &authority->length),
			 0);
}

static int issue(const struct authority *authority, const struct hf_sign_key *subject,
		 struct hf_certificate_order *order, uint8_t **der, size_t *length)
{
	struct hf_errmsg message;

	order->authority_key = &authority->key;
	order->authority = authority->der;
	order->authority_length = authority->length;
	memcpy(order->public_key, subject->public_key, HF_KEY_BYTES);
	return hf_certificate_issue(order, der, length, &message);
}

static void test_certificate_names_the_gateway(void **state)
{
	struct hf_certificate_order order = {.tenant = 0xabc, .gateway = 0xdef};
	struct hf_certificate_info info;
	struct authority ours, theirs;
	struct hf_sign_key subject;
	struct hf_errmsg message;
	uint8_t *der;
	size_t length;

	(void)state;
	make_authority(&ours);
	make_authority(&theirs);
	hf_sign_key_make(&subject);
	assert_int_equal(issue(&ours, &subject, &order, &der, &length), 0);
	assert_int_equal(hf_certificate_parse(der, length, &info), 0);
	assert_int_equal(info.tenant, 0xabc);
	assert_int_equal(info.gateway, 0xdef);
	assert_false(info.server);
	assert_memory_equal(info.public_key, subject.public_key, HF_KEY_BYTES);
	assert_int_equal(hf_certificate_verify(ours.der, ours.length, der, length, &message), 0);
	assert_int_equal(hf_certificate_verify(theirs.der, theirs.length, der, length, &message),
			 HF_EAUTH);
	for (size_t cut = 0; cut < length; cut += 7)
		assert_int_not_equal(hf_certificate_parse(der, cut, &info), 0);
	free(der);
	free(ours.der);
	free(theirs.der);
}

static void test_expired_certificate_is_refused(void **state)
{
	int64_t now_s = (int64_t)time(NULL);
	struct hf_certificate_order order = {.tenant = 1,
					     .gateway = 2,
					     .not_before_s = now_s - 7200,
					     .not_after_s = now_s - 3600};
	struct authority ours;
	struct hf_sign_key subject;
	struct hf_errmsg message;
	uint8_t *der;
	size_t length;

	(void)state;
	make_authority(&ours);
	hf_sign_key_make(&subject);
	assert_int_equal(issue(&ours, &subject, &order, &der, &length), 0);
	assert_int_equal(hf_certificate_verify(ours.der, ours.length, der, length, &message),
			 HF_EAUTH);
	assert_non_null(strstr(message.text, "expired"));
	free(der);
	free(ours.der);
}

static void test_server_names_are_checked(void **state)
{
	const char *good[] = {"provider.example", "127.0.0.1", "::1"};
	const char *bad[] = {"a,URI:holdfast://x"};
	struct hf_certificate_order order = {.server = true, .names = good, .name_count = 3};
	struct hf_certificate_info info;
	struct authority ours;
	struct hf_sign_key subject;
	uint8_t *der;
	size_t length;

	(void)state;
	make_authority(&ours);
	hf_sign_key_make(&subject);
	assert_int_equal(issue(&ours, &subject, &order, &der, &length), 0);
	assert_int_equal(hf_certificate_parse(der, length, &info), 0);
	assert_true(info.server);
	assert_int_equal(info.gateway, 0);
	free(der);
	order.names = bad;
	order.name_count = 1;
	assert_int_equal(issue(&ours, &subject, &order, &der, &length), HF_EINVAL);
	order.name_count = 0;
	assert_int_equal(issue(&ours, &subject, &order, &der, &length), HF_EINVAL);
	free(ours.der);
}

static void test_request_proves_its_key(void **state)
{
	struct hf_sign_key key;
	uint8_t *der, public_key[HF_KEY_BYTES];
	size_t length;

	(void)state;
	hf_sign_key_make(&key);
	assert_int_equal(hf_request_make(&key, "gateway", &der, &length), 0);
	assert_int_equal(hf_request_check(der, length, public_key), 0);
	assert_memory_equal(public_key, key.public_key, HF_KEY_BYTES);
	der[length - 1] ^= 1;
	assert_int_equal(hf_request_check(der, length, public_key), HF_EAUTH);
	assert_int_equal(hf_request_check(der, length - 1, public_key), HF_EINVAL);
	free(der);
}

/* ---- Activation keys ---- */

static void fill_keys(struct hf_activation_keys *keys)
{
	memset(keys, 0, sizeof *keys);
	keys->identity[0] = 1;
	keys->sealing[0] = 2;
	keys->authority[0] = 3;
	keys->signer[0] = 4;
}

static void test_activation_hash_covers_every_key(void **state)
{
	uint8_t number[8] = {1, 2, 3}, hash[10], other[10];
	struct hf_activation_keys keys;

	(void)state;
	fill_keys(&keys);
	hf_activation_hash(number, &keys, hash);
	for (size_t i = 0; i < sizeof keys; i += HF_KEY_BYTES) {
		((uint8_t *)&keys)[i + 31] ^= 1;
		hf_activation_hash(number, &keys, other);
		assert_int_equal(hf_activation_hash_compare(hash, other), HF_EAUTH);
		((uint8_t *)&keys)[i + 31] ^= 1;
	}
	number[7] = 1;
	hf_activation_hash(number, &keys, other);
	assert_int_equal(hf_activation_hash_compare(hash, other), HF_EAUTH);
}

static void test_activation_key_text(void **state)
{
	uint8_t number[8], hash[10], number2[8], hash2[10];
	char key[HF_ACTIVATION_TEXT_MAX], sloppy[80];

	(void)state;
	for (int round = 0; round < 200; round++) {
		size_t used = 0;

		hf_random(number, sizeof number);
		hf_random(hash, sizeof hash);
		hf_activation_key_format(number, hash, key);
		assert_true(strlen(key) <= 50);
		assert_int_equal(hf_activation_key_parse(key, number2, hash2), 0);
		assert_memory_equal(number, number2, 8);
		assert_memory_equal(hash, hash2, 10);
		/* As people type it. */
		for (const char *at = key; *at; at++) {
			if (*at == '-')
				sloppy[used++] = ' ';
			else if (*at == '0')
				sloppy[used++] = 'o';
			else if (*at == '1')
				sloppy[used++] = 'l';
			else
				sloppy[used++] = (char)tolower((unsigned char)*at);
		}
		sloppy[used] = '\0';
		assert_int_equal(hf_activation_key_parse(sloppy, number2, hash2), 0);
		assert_memory_equal(number, number2, 8);
	}
}

static void test_mistyped_activation_key(void **state)
{
	uint8_t number[8] = {9}, hash[10] = {8};
	char key[HF_ACTIVATION_TEXT_MAX], longer[HF_ACTIVATION_TEXT_MAX + 1];
	unsigned accepted = 0;

	(void)state;
	hf_activation_key_format(number, hash, key);
	snprintf(longer, sizeof longer, "%s0", key);
	assert_int_equal(hf_activation_key_parse(longer, number, hash), HF_EINVAL);
	assert_int_equal(hf_activation_key_parse("", number, hash), HF_EINVAL);
	assert_int_equal(hf_activation_key_parse("hello", number, hash), HF_EINVAL);
	for (size_t i = 0; key[i]; i++) {
		char kept = key[i];

		if (kept == '-')
			continue;
		key[i] = kept == 'Z' ? 'Y' : 'Z';
		accepted += hf_activation_key_parse(key, number, hash) == 0;
		key[i] = '!';
		assert_int_equal(hf_activation_key_parse(key, number, hash), HF_EINVAL);
		key[i] = kept;
	}
	assert_true(accepted <= 3); /* 6 bits of check let one slip in 64 pass */
}

static void test_hello_is_proved(void **state)
{
	Holdfast__ActivateHello hello = HOLDFAST__ACTIVATE_HELLO__INIT;
	uint8_t proof[HF_SIGNATURE_BYTES], binding[HF_BINDING_BYTES] = {7};
	uint8_t *request, *other_request;
	struct hf_sign_key key, other;
	struct hf_seal_key seal;
	struct hf_errmsg message;
	size_t length, other_length;

	(void)state;
	hf_sign_key_make(&key);
	hf_sign_key_make(&other);
	hf_seal_key_make(&seal);
	hf_request_make(&key, "gateway", &request, &length);
	hf_request_make(&other, "gateway", &other_request, &other_length);
	hello.identity_key = (ProtobufCBinaryData){HF_KEY_BYTES, key.public_key};
	hello.sealing_key = (ProtobufCBinaryData){HF_KEY_BYTES, seal.public_key};
	hello.request = (ProtobufCBinaryData){length, request};
	assert_int_equal(hf_hello_prove(&key, &hello, binding, proof), 0);
	hello.proof = (ProtobufCBinaryData){sizeof proof, proof};
	assert_int_equal(hf_hello_check(&hello, binding, &message), 0);
	seal.public_key[3] ^= 1; /* a swapped sealing key */
	assert_int_equal(hf_hello_check(&hello, binding, &message), HF_EAUTH);
	seal.public_key[3] ^= 1;
	binding[0] ^= 1; /* heard on another connection */
	assert_int_equal(hf_hello_check(&hello, binding, &message), HF_EAUTH);
	binding[0] ^= 1;
	hello.request = (ProtobufCBinaryData){other_length, other_request};
	assert_int_equal(hf_hello_prove(&key, &hello, binding, proof), 0);
	assert_int_equal(hf_hello_check(&hello, binding, &message), HF_EAUTH);
	hello.proof.len = 3;
	assert_int_equal(hf_hello_check(&hello, binding, &message), HF_EINVAL);
	free(request);
	free(other_request);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_public_key_is_ed25519),
		cmocka_unit_test(test_signature_holds_for_key_domain_and_bytes_only),
		cmocka_unit_test(test_ready_key_signs_the_same),
		cmocka_unit_test(test_signed_change_is_bound_to_signer_tenant_and_gateway),
		cmocka_unit_test(test_repeatable_seals_repeat),
		cmocka_unit_test(test_sealed_opens_for_its_key_and_purpose_only),
		cmocka_unit_test(test_purpose_names_volume_and_version),
		cmocka_unit_test(test_key_file_is_kept_and_private),
		cmocka_unit_test(test_certificate_names_the_gateway),
		cmocka_unit_test(test_expired_certificate_is_refused),
		cmocka_unit_test(test_server_names_are_checked),
		cmocka_unit_test(test_request_proves_its_key),
		cmocka_unit_test(test_activation_hash_covers_every_key),
		cmocka_unit_test(test_activation_key_text),
		cmocka_unit_test(test_mistyped_activation_key),
		cmocka_unit_test(test_hello_is_proved),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
