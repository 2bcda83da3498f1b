/* Signed changes (net/sign.h): an encoded Change, signed by the provider's signer for one gateway.
 * No state. */
#include "net/sign.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "proto/budget.h"

/* What the hash of a change covers: the bytes of its one kind. */
static const ProtobufCBinaryData *content_of(const Holdfast__Change *change)
{
	switch (change->kind_case) {
	case HOLDFAST__CHANGE__KIND_DOCUMENT:
		return &change->document;
	case HOLDFAST__CHANGE__KIND_ACTION:
		return &change->action;
	case HOLDFAST__CHANGE__KIND_ROTATION:
		return &change->rotation;
	case HOLDFAST__CHANGE__KIND_CONFIRMATION:
		return &change->confirmation;
	default:
		return NULL;
	}
}

/* Who signs: a key, or one that was made ready. */
struct by {
	const struct hf_sign_key *key;
	struct hf_signing *signing;
};

static int sign_body(struct by by, const uint8_t *body, size_t length,
		     uint8_t signature[HF_SIGNATURE_BYTES], uint8_t id[HF_KEY_ID_BYTES])
{
	if (by.key) {
		hf_sign_key_id(by.key->public_key, id);
		return hf_sign(by.key, HF_DOMAIN_CHANGE, body, length, signature);
	}
	hf_signing_id(by.signing, id);
	return hf_signing_sign(by.signing, HF_DOMAIN_CHANGE, body, length, signature);
}

static int pack_signed(struct by by, uint8_t *body, size_t body_length, uint8_t **encoded,
		       size_t *encoded_length)
{
	Holdfast__Signed packet = HOLDFAST__SIGNED__INIT;
	uint8_t signature[HF_SIGNATURE_BYTES], id[HF_KEY_ID_BYTES];
	int err = sign_body(by, body, body_length, signature, id);

	if (err)
		return err;
	packet.body = (ProtobufCBinaryData){.len = body_length, .data = body};
	packet.signature = (ProtobufCBinaryData){.len = sizeof signature, .data = signature};
	packet.key = (ProtobufCBinaryData){.len = sizeof id, .data = id};
	*encoded_length = holdfast__signed__get_packed_size(&packet);
	*encoded = malloc(*encoded_length);
	if (!*encoded)
		return HF_ENOMEM;
	holdfast__signed__pack(&packet, *encoded);
	return 0;
}

static int sign(struct by by, const Holdfast__Change *change, uint8_t **encoded,
		size_t *encoded_length)
{
	const ProtobufCBinaryData *content = content_of(change);
	Holdfast__Change hashed = *change;
	uint8_t hash[HF_HASH_BYTES], *body;
	size_t length;
	int err;

	HF_ASSERT(content);
	hf_sha256(content->data, content->len, hash);
	hashed.hash = (ProtobufCBinaryData){.len = sizeof hash, .data = hash};
	length = holdfast__change__get_packed_size(&hashed);
	body = malloc(length);
	if (!body)
		return HF_ENOMEM;
	holdfast__change__pack(&hashed, body);
	err = pack_signed(by, body, length, encoded, encoded_length);
	free(body);
	return err;
}

int hf_change_sign(const struct hf_sign_key *key, const Holdfast__Change *change, uint8_t **encoded,
		   size_t *encoded_length)
{
	return sign((struct by){.key = key}, change, encoded, encoded_length);
}

int hf_change_sign_with(struct hf_signing *signing, const Holdfast__Change *change,
			uint8_t **encoded, size_t *encoded_length)
{
	return sign((struct by){.signing = signing}, change, encoded, encoded_length);
}

static int check_change(uint64_t tenant, uint64_t gateway, const Holdfast__Change *change,
			struct hf_errmsg *message)
{
	const ProtobufCBinaryData *content = content_of(change);
	uint8_t hash[HF_HASH_BYTES];

	if (change->tenant != tenant || change->gateway != gateway)
		return hf_fail(message, HF_EAUTH, "the change is for another gateway");
	if (!content)
		return hf_fail(message, HF_EINVAL, "the change holds nothing that is known here");
	hf_sha256(content->data, content->len, hash);
	if (change->hash.len != sizeof hash || memcmp(change->hash.data, hash, sizeof hash) != 0)
		return hf_fail(message, HF_EINVAL, "the change does not match its hash");
	return 0;
}

int hf_change_verify(const uint8_t signer_key[HF_KEY_BYTES], uint64_t tenant, uint64_t gateway,
		     const Holdfast__Signed *packet, Holdfast__Change **out,
		     struct hf_errmsg *message)
{
	uint8_t id[HF_KEY_ID_BYTES];
	Holdfast__Change *change;
	int err;

	hf_sign_key_id(signer_key, id);
	if (packet->signature.len != HF_SIGNATURE_BYTES || packet->key.len != sizeof id ||
	    memcmp(packet->key.data, id, sizeof id) != 0)
		return hf_fail(message, HF_EAUTH, "the change is not signed by the known signer");
	if (hf_sign_verify(signer_key, HF_DOMAIN_CHANGE, packet->body.data, packet->body.len,
			   packet->signature.data) != 0)
		return hf_fail(message, HF_EAUTH, "the signature of the change is wrong");
	change = holdfast__change__unpack(NULL, packet->body.len, packet->body.data);
	if (!change)
		return hf_fail(message, HF_EINVAL, "the change cannot be decoded");
	err = check_change(tenant, gateway, change, message);
	if (err) {
		holdfast__change__free_unpacked(change, NULL);
		return err;
	}
	*out = change;
	return 0;
}

/* ---- With a delta ---- */

/* The packet with another body; whatever else it carries stays. */
static int with_body(const Holdfast__Signed *packet, const Holdfast__Change *change,
		     Holdfast__Signed **out)
{
	Holdfast__Signed next = *packet;
	size_t length = holdfast__change__get_packed_size(change), encoded_length;
	uint8_t *body = malloc(length + 1), *encoded = NULL;
	int err = HF_ENOMEM;

	if (!body)
		return err;
	holdfast__change__pack(change, body);
	next.body = (ProtobufCBinaryData){.len = length, .data = body};
	encoded_length = holdfast__signed__get_packed_size(&next);
	encoded = malloc(encoded_length + 1);
	if (encoded) {
		holdfast__signed__pack(&next, encoded);
		*out = holdfast__signed__unpack(NULL, encoded_length, encoded);
		err = *out ? 0 : HF_ENOMEM;
	}
	free(encoded);
	free(body);
	return err;
}

static Holdfast__Change *change_in(const Holdfast__Signed *packet, struct hf_budget *budget)
{
	hf_budget_init(budget, packet->body.len);
	return holdfast__change__unpack(&budget->allocator, packet->body.len, packet->body.data);
}

uint64_t hf_change_sequence(const uint8_t *encoded, size_t length)
{
	Holdfast__Signed *packet = holdfast__signed__unpack(NULL, length, encoded);
	Holdfast__Change *change = NULL;
	struct hf_budget budget;
	uint64_t sequence = 0;

	if (packet)
		change = change_in(packet, &budget);
	if (change) {
		sequence = change->sequence;
		holdfast__change__free_unpacked(change, &budget.allocator);
	}
	holdfast__signed__free_unpacked(packet, NULL);
	return sequence;
}

int hf_change_without_document(const uint8_t *encoded, size_t length, Holdfast__Signed **lacking)
{
	Holdfast__Signed *packet = holdfast__signed__unpack(NULL, length, encoded);
	Holdfast__Change *change, without;
	struct hf_budget budget;
	int err = HF_EINVAL;

	if (!packet)
		return err;
	change = change_in(packet, &budget);
	if (change && change->kind_case == HOLDFAST__CHANGE__KIND_DOCUMENT) {
		without = *change;
		without.kind_case = HOLDFAST__CHANGE__KIND__NOT_SET;
		err = with_body(packet, &without, lacking);
	}
	if (change)
		holdfast__change__free_unpacked(change, &budget.allocator);
	holdfast__signed__free_unpacked(packet, NULL);
	return err;
}

int hf_change_with_document(const Holdfast__Signed *lacking, const uint8_t *document, size_t length,
			    Holdfast__Signed **packet)
{
	uint8_t hash[HF_HASH_BYTES];
	struct hf_budget budget;
	Holdfast__Change *change = change_in(lacking, &budget), with;
	int err = HF_EINVAL;

	if (!change)
		return err;
	hf_sha256(document, length, hash);
	if (change->kind_case == HOLDFAST__CHANGE__KIND__NOT_SET &&
	    change->hash.len == sizeof hash) {
		with = *change;
		with.kind_case = HOLDFAST__CHANGE__KIND_DOCUMENT;
		with.document = (ProtobufCBinaryData){.len = length,
						      .data = (uint8_t *)(uintptr_t)document};
		err = memcmp(change->hash.data, hash, sizeof hash) == 0
			      ? with_body(lacking, &with, packet)
			      : HF_ESTALE;
	}
	holdfast__change__free_unpacked(change, &budget.allocator);
	return err;
}
