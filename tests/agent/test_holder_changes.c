/* What a holder that was taken over can do with changes other than documents (invariants 4, 5, 7):
 * actions, deltas, confirmations, lists of authorities. Forged, replayed, reordered, passed on from
 * others or spoilt, they take no effect; test_holder.c has the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "net/identity.h"
#include "proto/action.pb-c.h"
#include "proto/delta.h"
#include "tests/agent/holder.h"

static int send_and_free(struct holder *h, Holdfast__Request__KindCase kind,
			 Holdfast__Signed *packet)
{
	int err = holder_send(h, kind, packet);

	holdfast__signed__free_unpacked(packet, NULL);
	return err;
}

/* ---- Actions ---- */

static Holdfast__Signed *sign_action(uint64_t number, uint64_t sequence, uint64_t gateway,
				     const struct hf_sign_key *key)
{
	Holdfast__Action action = HOLDFAST__ACTION__INIT;
	Holdfast__Change change = HOLDFAST__CHANGE__INIT;
	uint8_t bytes[64];

	action.action = number;
	action.kind = HOLDFAST__ACTION_KIND__ACTION_DIAGNOSE;
	change.tenant = FAKE_TENANT;
	change.gateway = gateway;
	change.sequence = sequence;
	change.kind_case = HOLDFAST__CHANGE__KIND_ACTION;
	change.action.data = bytes;
	change.action.len = holdfast__action__pack(&action, bytes);
	return holder_sign(&change, key);
}

static int act(struct holder *h, Holdfast__Signed *packet)
{
	return send_and_free(h, HOLDFAST__REQUEST__KIND_ACT, packet);
}

static void test_actions(void **state)
{
	struct holder *h = *state;
	const struct hf_sign_key *signer = &h->child.provider.signer;
	Holdfast__Signed *packet;
	struct snapshot before;

	holder_look(h, &before);
	assert_int_equal(act(h, sign_action(10, 10, FAKE_GATEWAY, &h->own)), HF_EAUTH);
	assert_int_equal(act(h, sign_action(10, 10, FAKE_GATEWAY + 1, signer)), HF_EAUTH);
	packet = sign_action(10, 10, FAKE_GATEWAY, signer);
	for (size_t i = 0; i < packet->body.len; i++) {
		packet->body.data[i] ^= 0x40;
		assert_int_equal(holder_send(h, HOLDFAST__REQUEST__KIND_ACT, packet), HF_EAUTH);
		packet->body.data[i] ^= 0x40;
	}
	assert_int_not_equal(holder_send(h, HOLDFAST__REQUEST__KIND_APPLY, packet), 0);
	assert_int_not_equal(holder_send(h, HOLDFAST__REQUEST__KIND_CONFIRM, packet), 0);
	assert_int_not_equal(holder_send(h, HOLDFAST__REQUEST__KIND_ROTATE, packet), 0);
	holder_unchanged(h, &before);
	assert_int_equal(send_and_free(h, HOLDFAST__REQUEST__KIND_ACT, packet), 0);
	/* From here on every older one is past, and its number is taken. */
	holder_look(h, &before);
	assert_int_equal(act(h, sign_action(9, 9, FAKE_GATEWAY, signer)), HF_ESTALE);
	assert_int_equal(act(h, sign_action(11, 10, FAKE_GATEWAY, signer)), HF_ESTALE);
	assert_int_equal(act(h, sign_action(10, 10, FAKE_GATEWAY, signer)), 0); /* as it was */
	agent_child_kill(&h->child);
	agent_child_start(&h->child, NULL);
	assert_int_equal(act(h, sign_action(9, 9, FAKE_GATEWAY, signer)), HF_ESTALE);
	assert_int_equal(act(h, sign_action(10, 10, FAKE_GATEWAY, signer)), 0);
	holder_unchanged(h, &before);
	holder_expect_well(h, IN_FORCE + 1);
}

/* ---- Deltas ---- */

static Holdfast__Document *document_in(const Holdfast__Signed *packet, uint8_t hash[HF_HASH_BYTES],
				       ProtobufCBinaryData *bytes)
{
	Holdfast__Change *change =
		holdfast__change__unpack(NULL, packet->body.len, packet->body.data);
	Holdfast__Document *document =
		holdfast__document__unpack(NULL, change->document.len, change->document.data);

	hf_sha256(change->document.data, change->document.len, hash);
	bytes->len = change->document.len;
	bytes->data = malloc(bytes->len);
	memcpy(bytes->data, change->document.data, bytes->len);
	holdfast__change__free_unpacked(change, NULL);
	return document;
}

/* The difference between what two packets hold. */
static ProtobufCBinaryData difference(const Holdfast__Signed *from, const Holdfast__Signed *to)
{
	uint8_t base_hash[HF_HASH_BYTES], next_hash[HF_HASH_BYTES];
	ProtobufCBinaryData base_bytes, next_bytes, delta;
	Holdfast__Document *base = document_in(from, base_hash, &base_bytes);
	Holdfast__Document *next = document_in(to, next_hash, &next_bytes);

	assert_int_equal(hf_delta_make(base, base_hash, next, next_bytes.data, next_bytes.len,
				       &delta.data, &delta.len),
			 0);
	holdfast__document__free_unpacked(base, NULL);
	holdfast__document__free_unpacked(next, NULL);
	free(base_bytes.data);
	free(next_bytes.data);
	return delta;
}

static int apply_delta(struct holder *h, const Holdfast__Signed *whole,
		       const ProtobufCBinaryData *delta)
{
	Holdfast__Request request = HOLDFAST__REQUEST__INIT;
	Holdfast__ApplyDelta message = HOLDFAST__APPLY_DELTA__INIT;
	size_t length = holdfast__signed__get_packed_size(whole);
	uint8_t *bytes = malloc(length);
	int err;

	holdfast__signed__pack(whole, bytes);
	assert_int_equal(hf_change_without_document(bytes, length, &message.change), 0);
	message.delta = *delta;
	request.kind_case = HOLDFAST__REQUEST__KIND_APPLY_DELTA;
	request.apply_delta = &message;
	err = agent_child_answer(&h->child, fake_provider_ask(&h->child.provider, &request));
	holdfast__signed__free_unpacked(message.change, NULL);
	free(bytes);
	return err;
}

static void test_deltas(void **state)
{
	struct holder *h = *state;
	struct forgery base = holder_honest(h, IN_FORCE + 1), f, own, later;
	Holdfast__Signed *from, *to, *forged, *other;
	ProtobufCBinaryData delta, spoilt;
	struct snapshot before;
	char url[180];

	/* What stays has to be longer than what a delta says of it. */
	memset(url, 'a', sizeof url);
	memcpy(url, "dir:/", 5);
	url[sizeof url - 1] = '\0';
	f = holder_honest(h, IN_FORCE + 2);
	later = holder_honest(h, IN_FORCE + 3);
	base.url = f.url = later.url = url;
	own = f;
	own.key = &h->own;
	from = holder_document(&base);
	to = holder_document(&f);
	forged = holder_document(&own);
	other = holder_document(&later);
	delta = difference(from, to);
	spoilt = difference(from, other);
	assert_int_equal(holder_apply(h, holder_document(&base)), 0);
	holder_look(h, &before);
	assert_int_equal(apply_delta(h, forged, &delta), HF_EAUTH);
	/* Another difference under a true signature. */
	assert_int_not_equal(apply_delta(h, to, &spoilt), 0);
	holder_unchanged(h, &before);
	/* Each byte of the right one: it makes what was signed, or nothing. */
	for (size_t i = 0; i < delta.len; i++) {
		delta.data[i] ^= 0x01;
		if (apply_delta(h, to, &delta) == 0)
			assert_int_equal(h->child.provider.observed_generation, IN_FORCE + 2);
		delta.data[i] ^= 0x01;
	}
	if (h->child.provider.observed_generation != IN_FORCE + 2)
		assert_int_equal(apply_delta(h, to, &delta), 0);
	assert_int_equal(h->child.provider.observed_generation, IN_FORCE + 2);
	holder_look(h, &before);
	assert_int_not_equal(apply_delta(h, to, &delta), 0); /* replayed: of another base */
	holder_unchanged(h, &before);
	holder_expect_well(h, IN_FORCE + 4);
	free(delta.data);
	free(spoilt.data);
	holdfast__signed__free_unpacked(from, NULL);
	holdfast__signed__free_unpacked(to, NULL);
	holdfast__signed__free_unpacked(forged, NULL);
	holdfast__signed__free_unpacked(other, NULL);
}

/* ---- Confirmations ---- */

static Holdfast__Signed *sign_confirmation(uint64_t gateway, const struct hf_sign_key *key)
{
	Holdfast__Confirmation confirmation = HOLDFAST__CONFIRMATION__INIT;
	Holdfast__Change change = HOLDFAST__CHANGE__INIT;
	uint8_t bytes[128], hash[HF_HASH_BYTES] = {1};

	confirmation.incarnation = 1;
	confirmation.version = IN_FORCE;
	confirmation.hash = (ProtobufCBinaryData){sizeof hash, hash};
	change.tenant = FAKE_TENANT;
	change.gateway = gateway;
	change.sequence = 100;
	change.kind_case = HOLDFAST__CHANGE__KIND_CONFIRMATION;
	change.confirmation.data = bytes;
	change.confirmation.len = holdfast__confirmation__pack(&confirmation, bytes);
	return holder_sign(&change, key);
}

static int confirm(struct holder *h, Holdfast__Signed *packet)
{
	return send_and_free(h, HOLDFAST__REQUEST__KIND_CONFIRM, packet);
}

/* What they do to settings that are being tried is in test_network.c. */
static void test_confirmations(void **state)
{
	struct holder *h = *state;
	const struct hf_sign_key *signer = &h->child.provider.signer;
	struct snapshot before;

	holder_look(h, &before);
	assert_int_equal(confirm(h, sign_confirmation(FAKE_GATEWAY, &h->own)), HF_EAUTH);
	assert_int_equal(confirm(h, sign_confirmation(FAKE_GATEWAY + 1, signer)), HF_EAUTH);
	assert_int_equal(confirm(h, sign_confirmation(FAKE_GATEWAY, signer)), HF_ESTALE);
	holder_unchanged(h, &before);
	holder_expect_well(h, IN_FORCE + 1);
}

/* ---- Authorities ---- */

struct authority {
	struct hf_sign_key key;
	uint8_t *der;
	size_t length;
};

static void make_authority(struct authority *authority)
{
	assert_int_equal(hf_sign_key_make(&authority->key), 0);
	assert_int_equal(hf_authority_make(&authority->key, "another", 86400, &authority->der,
					   &authority->length),
			 0);
}

struct list {
	uint64_t version, tenant, gateway;
	const struct authority *first, *second; /* NULL: the fake provider's own; none */
	const struct hf_sign_key *key;
};

static int tell(struct holder *h, struct list list)
{
	struct fake_provider *p = &h->child.provider;
	Holdfast__Rotation rotation = HOLDFAST__ROTATION__INIT;
	uint8_t bytes[2 * HF_CERTIFICATE_MAX];
	size_t length = list.first ? list.first->length : p->authority_length;

	memcpy(bytes, list.first ? list.first->der : p->authority, length);
	if (list.second) {
		memcpy(bytes + length, list.second->der, list.second->length);
		length += list.second->length;
	}
	rotation.authorities = (ProtobufCBinaryData){length, bytes};
	rotation.authorities_version = list.version;
	return holder_rotate(h, holder_rotation(&rotation, list.tenant, list.gateway, list.key));
}

static int certify(struct holder *h, const struct authority *by, int64_t until_s)
{
	struct fake_provider *p = &h->child.provider;
	struct hf_certificate_order order = {.authority_key = by ? &by->key : &p->authority_key,
					     .authority = by ? by->der : p->authority,
					     .authority_length =
						     by ? by->length : p->authority_length,
					     .tenant = FAKE_TENANT,
					     .gateway = FAKE_GATEWAY,
					     .not_before_s = time(NULL) - 3000,
					     .not_after_s = time(NULL) + until_s};
	Holdfast__Rotation rotation = HOLDFAST__ROTATION__INIT;
	struct hf_errmsg message;
	Holdfast__Signed *packet;

	memcpy(order.public_key, p->keys.identity, HF_KEY_BYTES);
	assert_int_equal(hf_certificate_issue(&order, &rotation.certificate.data,
					      &rotation.certificate.len, &message),
			 0);
	packet = holder_rotation(&rotation, FAKE_TENANT, FAKE_GATEWAY, &p->signer);
	free(rotation.certificate.data);
	return holder_rotate(h, packet);
}

/* Whom the gateway trusts changes only by its signer's word for all gateways, and only forwards;
 * nor can a certificate of an authority that went bring it back. */
static void test_lists_of_authorities(void **state)
{
	struct holder *h = *state;
	const struct hf_sign_key *signer = &h->child.provider.signer;
	struct authority next, mine;
	struct snapshot before;

	make_authority(&next);
	make_authority(&mine);
	holder_look(h, &before);
	assert_int_equal(tell(h, (struct list){2, 0, 0, &mine, NULL, &h->own}), HF_EAUTH);
	assert_int_equal(tell(h, (struct list){2, FAKE_TENANT, FAKE_GATEWAY, &mine, NULL, signer}),
			 HF_EINVAL);
	assert_int_equal(
		tell(h, (struct list){2, FAKE_TENANT, FAKE_GATEWAY + 1, &mine, NULL, signer}),
		HF_EAUTH);
	assert_int_equal(tell(h, (struct list){1, 0, 0, &mine, NULL, signer}), HF_ESTALE);
	assert_int_equal(certify(h, &next, 86400), HF_EAUTH);
	holder_unchanged(h, &before);
	assert_int_equal(tell(h, (struct list){2, 0, 0, NULL, &next, signer}), 0);
	assert_int_equal(tell(h, (struct list){2, 0, 0, NULL, &next, signer}), 0); /* again */
	assert_int_equal(certify(h, &next, 3600), 0); /* it may end before the one in use */
	holder_look(h, &before);
	assert_int_equal(tell(h, (struct list){1, 0, 0, NULL, NULL, signer}), HF_ESTALE);
	assert_int_equal(tell(h, (struct list){2, 0, 0, NULL, NULL, signer}), HF_ESTALE);
	assert_int_equal(certify(h, NULL, 900 * 86400), HF_ESTALE); /* of the older one */
	holder_unchanged(h, &before);
	assert_int_equal(tell(h, (struct list){3, 0, 0, &next, NULL, signer}), 0);
	holder_look(h, &before);
	assert_int_equal(tell(h, (struct list){2, 0, 0, NULL, &next, signer}), HF_ESTALE);
	assert_int_equal(certify(h, NULL, 900 * 86400), HF_EAUTH);
	holder_unchanged(h, &before);
	holder_expect_well(h, IN_FORCE + 1);
	free(next.der);
	free(mine.der);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, holder_setup, holder_teardown)
	const struct CMUnitTest tests[] = {
		T(test_actions),
		T(test_deltas),
		T(test_confirmations),
		T(test_lists_of_authorities),
	};

	return cmocka_run_group_tests_name("holder", tests, NULL, NULL);
}
