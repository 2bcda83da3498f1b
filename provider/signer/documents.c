/* Signing a gateway's document: what is kept encrypted in the registry is opened, sealed to the
 * gateway's own key, and the whole is numbered and signed. Order of generations and the sequence
 * are the ledger's (durable before the answer). Signer's thread. */
#include "provider/signer/signer_internal.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proto/delta.h"
#include "proto/document.pb-c.h"
#include "provider/signer/ledger.h"
#include "provider/signer/purpose.h"

struct signing {
	struct hf_signer *signer;
	const Holdfast__SignerDocument *order;
	Holdfast__SignerLedger *ledger;
	Holdfast__Document *document;
	struct hf_errmsg *reason;
	uint8_t asked_hash[HF_HASH_BYTES];
};

/* Opens what the registry kept under `kept_as` and seals it to the gateway for `purpose`. */
static int reseal(struct signing *s, ProtobufCBinaryData *field, const char *kept_as,
		  const char *purpose)
{
	uint8_t *plain, *sealed;
	size_t plain_length, sealed_length;
	int err = hf_unseal(&s->signer->secrets_key, kept_as, field->data, field->len, &plain,
			    &plain_length);

	if (err)
		return hf_fail(s->reason, err, "the secret kept for %s does not open", kept_as);
	err = hf_seal_repeatable(&s->signer->secrets_key, s->ledger->sealing_key.data, purpose,
				 plain, plain_length, &sealed, &sealed_length);
	hf_wipe_free(plain, plain_length);
	if (err)
		return hf_fail(s->reason, err, "sealing %s", purpose);
	free(field->data);
	field->data = sealed;
	field->len = sealed_length;
	return 0;
}

static int reseal_volume(struct signing *s, uint64_t volume, uint64_t version,
			 ProtobufCBinaryData *field)
{
	char kept_as[HF_PURPOSE_MAX], purpose[HF_PURPOSE_MAX];

	hf_signer_purpose_volume(s->order->tenant, volume, kept_as);
	hf_purpose_volume(volume, version, purpose);
	return reseal(s, field, kept_as, purpose);
}

static int reseal_network(struct signing *s, Holdfast__Network *network)
{
	char kept_as[HF_PURPOSE_MAX], purpose[HF_PURPOSE_MAX];

	hf_signer_purpose_network(s->order->tenant, s->order->gateway, kept_as);
	hf_purpose_network(network->version, purpose);
	return reseal(s, &network->sealed, kept_as, purpose);
}

static int reseal_all(struct signing *s)
{
	Holdfast__Document *d = s->document;
	char kept_as[HF_PURPOSE_MAX];
	int err = 0;

	for (size_t i = 0; !err && i < d->n_volumes; i++)
		err = reseal_volume(s, d->volumes[i]->volume, d->volumes[i]->version,
				    &d->volumes[i]->sealed);
	for (size_t i = 0; !err && i < d->n_tombstones; i++)
		err = reseal_volume(s, d->tombstones[i]->volume, d->tombstones[i]->version,
				    &d->tombstones[i]->sealed);
	if (!err && d->network && d->network->sealed.len > 0)
		err = reseal_network(s, d->network);
	if (err || !d->store || d->store->sealed.len == 0)
		return err;
	hf_signer_purpose_store(s->order->tenant, kept_as);
	return reseal(s, &d->store->sealed, kept_as, HF_PURPOSE_STORE);
}

/* Who asks for whom: the ledger, not the provider, says to which key secrets go. */
static int check_gateway(struct signing *s)
{
	const Holdfast__SignerDocument *order = s->order;

	if (s->ledger->revoked)
		return hf_fail(s->reason, HF_EACCES, "sgw-%016" PRIx64 " was revoked",
			       order->gateway);
	if (s->ledger->tenant != order->tenant)
		return hf_fail(s->reason, HF_EAUTH, "sgw-%016" PRIx64 " is another tenant's",
			       order->gateway);
	if (order->sealing_key.len != HF_KEY_BYTES ||
	    memcmp(order->sealing_key.data, s->ledger->sealing_key.data, HF_KEY_BYTES) != 0)
		return hf_fail(s->reason, HF_EAUTH,
			       "sgw-%016" PRIx64 " was certified with another sealing key",
			       order->gateway);
	return 0;
}

/* 0: newer. 1: the same question again. HF_ESTALE: backwards, or the number is used. */
static int check_order(struct signing *s)
{
	const Holdfast__Document *d = s->document;
	const Holdfast__SignerLedger *l = s->ledger;

	if (d->incarnation == 0 || d->generation == 0)
		return hf_fail(s->reason, HF_EINVAL, "a document needs incarnation and generation");
	if (d->incarnation > l->incarnation ||
	    (d->incarnation == l->incarnation && d->generation > l->generation))
		return 0;
	if (d->incarnation == l->incarnation && d->generation == l->generation) {
		if (l->asked_hash.len == HF_HASH_BYTES &&
		    memcmp(l->asked_hash.data, s->asked_hash, HF_HASH_BYTES) == 0)
			return 1;
		return hf_fail(s->reason, HF_ESTALE,
			       "generation %" PRIu64 " was signed already with other content",
			       d->generation);
	}
	return hf_fail(s->reason, HF_ESTALE,
		       "(%" PRIu64 ", %" PRIu64 ") is older than the signed (%" PRIu64 ", %" PRIu64
		       "); was the registry restored? see --new-incarnation",
		       d->incarnation, d->generation, l->incarnation, l->generation);
}

/* Puts the answer into the ledger with the rest; it leaves when the transaction has ended. */
static int sign_and_remember(struct signing *s, const uint8_t *bytes, size_t length,
			     struct hf_signer_result *result)
{
	Holdfast__SignerLedger next = *s->ledger;
	Holdfast__Change change = HOLDFAST__CHANGE__INIT;
	int err;

	change.tenant = s->order->tenant;
	change.gateway = s->order->gateway;
	change.sequence = hf_signer_next_sequence(s->ledger->sequence, s->order->sequence_floor);
	change.kind_case = HOLDFAST__CHANGE__KIND_DOCUMENT;
	change.document.data = (uint8_t *)(uintptr_t)bytes;
	change.document.len = length;
	err = hf_change_sign_with(s->signer->signing, &change, &result->signed_change,
				  &result->signed_change_length);
	if (err)
		return hf_fail(s->reason, err, "signing the document");
	next.sequence = change.sequence;
	next.incarnation = s->document->incarnation;
	next.generation = s->document->generation;
	next.asked_hash.data = s->asked_hash;
	next.asked_hash.len = sizeof s->asked_hash;
	next.signed_change.data = result->signed_change;
	next.signed_change.len = result->signed_change_length;
	return hf_ledger_store(s->signer->ledger, &next, s->reason);
}

static int sign_new(struct signing *s, struct hf_signer_result *result)
{
	uint8_t *bytes;
	size_t length;
	int err = hf_signer_may_follow(s->signer, s->ledger, s->document, s->reason);

	if (!err)
		err = hf_signer_followed(s->signer, s->order->gateway, s->document, s->reason);
	if (!err)
		err = reseal_all(s);
	if (err)
		return err;
	hf_document_sort(s->document);
	length = holdfast__document__get_packed_size(s->document);
	bytes = malloc(length + 1);
	if (!bytes)
		return HF_ENOMEM;
	holdfast__document__pack(s->document, bytes);
	err = sign_and_remember(s, bytes, length, result);
	free(bytes);
	return err;
}

/* The document of the last answer once more, under the key that has followed the one it was signed
 * with: the same bytes, so that a gateway that has it already finds nothing new. */
static int sign_again(struct signing *s, struct hf_signer_result *result)
{
	const ProtobufCBinaryData *kept = &s->ledger->signed_change;
	Holdfast__Signed *packet = holdfast__signed__unpack(NULL, kept->len, kept->data);
	Holdfast__Change *change =
		packet ? holdfast__change__unpack(NULL, packet->body.len, packet->body.data) : NULL;
	int err = HF_ECORRUPT;

	if (change && change->kind_case == HOLDFAST__CHANGE__KIND_DOCUMENT)
		err = sign_and_remember(s, change->document.data, change->document.len, result);
	if (change)
		holdfast__change__free_unpacked(change, NULL);
	if (packet)
		holdfast__signed__free_unpacked(packet, NULL);
	return err;
}

static bool signed_by_this_key(const struct signing *s)
{
	const ProtobufCBinaryData *kept = &s->ledger->signed_change;
	Holdfast__Signed *packet = holdfast__signed__unpack(NULL, kept->len, kept->data);
	uint8_t id[HF_KEY_ID_BYTES];
	bool same;

	hf_sign_key_id(s->signer->sign_key.public_key, id);
	same = packet && packet->key.len == sizeof id &&
	       memcmp(packet->key.data, id, sizeof id) == 0;
	if (packet)
		holdfast__signed__free_unpacked(packet, NULL);
	return same;
}

static int give_again(struct signing *s, struct hf_signer_result *result)
{
	if (!signed_by_this_key(s))
		return sign_again(s, result);
	result->signed_change = malloc(s->ledger->signed_change.len + 1);
	if (!result->signed_change)
		return HF_ENOMEM;
	memcpy(result->signed_change, s->ledger->signed_change.data, s->ledger->signed_change.len);
	result->signed_change_length = s->ledger->signed_change.len;
	return 0;
}

static int sign_for_gateway(struct signing *s, struct hf_signer_result *result)
{
	int err = check_gateway(s);

	if (err)
		return err;
	s->document =
		holdfast__document__unpack(NULL, s->order->document.len, s->order->document.data);
	if (!s->document)
		return hf_fail(s->reason, HF_EPROTO, "not a document");
	if (s->document->n_volumes + s->document->n_tombstones > HF_SIGNER_VOLUMES_MAX)
		err = hf_fail(s->reason, HF_ETOOBIG, "more than %u volumes", HF_SIGNER_VOLUMES_MAX);
	else
		err = check_order(s);
	if (err == 0)
		err = sign_new(s, result);
	else if (err == 1)
		err = give_again(s, result);
	holdfast__document__free_unpacked(s->document, NULL);
	return err;
}

int hf_signer_document(struct hf_signer *signer, const Holdfast__SignerDocument *order,
		       struct hf_signer_result *result)
{
	struct signing s = {.signer = signer, .order = order, .reason = &result->reason};
	int err;

	hf_sha256(order->document.data, order->document.len, s.asked_hash);
	err = hf_ledger_load(signer->ledger, order->gateway, &s.ledger, &result->reason);
	if (err == HF_ENOENT)
		return hf_fail(&result->reason, err,
			       "no certificate was ever issued to sgw-%016" PRIx64, order->gateway);
	if (err)
		return err;
	err = sign_for_gateway(&s, result);
	holdfast__signer_ledger__free_unpacked(s.ledger, NULL);
	return err;
}

/* ---- Secrets for keeping ---- */

static int set_wrap_key(Holdfast__VolumeSecrets *secrets, const uint8_t *key, size_t length)
{
	uint8_t *copy = malloc(length + 1);

	if (!copy)
		return HF_ENOMEM;
	memcpy(copy, key, length);
	hf_wipe_free(secrets->wrap_key.data, secrets->wrap_key.len);
	secrets->wrap_key.data = copy;
	secrets->wrap_key.len = length;
	return 0;
}

static int make_wrap_key(Holdfast__VolumeSecrets *secrets)
{
	uint8_t key[HF_KEY_BYTES];
	int err;

	hf_random(key, sizeof key);
	err = set_wrap_key(secrets, key, sizeof key);
	explicit_bzero(key, sizeof key);
	return err;
}

static void wipe_volume_secrets(Holdfast__VolumeSecrets *secrets)
{
	explicit_bzero(secrets->wrap_key.data, secrets->wrap_key.len);
	explicit_bzero(secrets->chap_secret, strlen(secrets->chap_secret));
	explicit_bzero(secrets->mutual_secret, strlen(secrets->mutual_secret));
	holdfast__volume_secrets__free_unpacked(secrets, NULL);
}

/* Exchanges the two texts if the first is empty. */
static void keep_text(char **text, char **kept)
{
	char *other = *kept;

	if ((*text)[0])
		return;
	*kept = *text;
	*text = other;
}

static int keep_volume_secrets(struct hf_signer *signer, const Holdfast__SignerNewSecret *order,
			       Holdfast__VolumeSecrets *secrets, struct hf_errmsg *message)
{
	Holdfast__VolumeSecrets *kept;
	size_t length = 0;
	uint8_t *plain = NULL;
	int err = hf_unseal(&signer->secrets_key, order->purpose, order->keeps.data,
			    order->keeps.len, &plain, &length);

	if (err)
		return hf_fail(message, err, "what is to be kept is no secret of this volume");
	kept = holdfast__volume_secrets__unpack(NULL, length, plain);
	hf_wipe_free(plain, length);
	if (!kept)
		return hf_fail(message, HF_EPROTO, "what is to be kept are no volume's secrets");
	err = set_wrap_key(secrets, kept->wrap_key.data, kept->wrap_key.len);
	keep_text(&secrets->chap_secret, &kept->chap_secret);
	keep_text(&secrets->mutual_secret, &kept->mutual_secret);
	wipe_volume_secrets(kept);
	if (!err && secrets->mutual_secret[0] &&
	    strcmp(secrets->chap_secret, secrets->mutual_secret) == 0)
		err = hf_fail(message, HF_EINVAL, "the two CHAP secrets must differ");
	return err;
}

static int seal_volume_secrets(struct hf_signer *signer, const char *purpose,
			       const Holdfast__VolumeSecrets *secrets,
			       struct hf_signer_result *result)
{
	size_t length = holdfast__volume_secrets__get_packed_size(secrets);
	uint8_t *plain = malloc(length + 1);
	int err;

	if (!plain)
		return HF_ENOMEM;
	holdfast__volume_secrets__pack(secrets, plain);
	err = hf_seal(signer->secrets_key.public_key, purpose, plain, length, &result->secret,
		      &result->secret_length);
	hf_wipe_free(plain, length);
	return err;
}

int hf_signer_new_secret(struct hf_signer *signer, const Holdfast__SignerNewSecret *order,
			 struct hf_signer_result *result)
{
	Holdfast__VolumeSecrets *secrets;
	int err;

	if (strlen(order->purpose) == 0 || strlen(order->purpose) >= HF_PURPOSE_MAX)
		return hf_fail(&result->reason, HF_EINVAL, "a secret needs a purpose");
	if (!order->make_wrap_key && order->keeps.len == 0)
		return hf_seal(signer->secrets_key.public_key, order->purpose, order->plain.data,
			       order->plain.len, &result->secret, &result->secret_length);
	if (order->make_wrap_key && order->keeps.len > 0)
		return hf_fail(&result->reason, HF_EINVAL, "a wrap key is kept or made");
	secrets = holdfast__volume_secrets__unpack(NULL, order->plain.len, order->plain.data);
	if (!secrets)
		return hf_fail(&result->reason, HF_EPROTO, "not the secrets of a volume");
	err = order->make_wrap_key ? make_wrap_key(secrets)
				   : keep_volume_secrets(signer, order, secrets, &result->reason);
	if (!err)
		err = seal_volume_secrets(signer, order->purpose, secrets, result);
	wipe_volume_secrets(secrets);
	return err;
}
