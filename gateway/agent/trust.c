/* gateway/agent/trust.h. A signer's key is followed link by link: the change that names the next
 * one is signed by the one that is pinned, for all gateways alike. What was pinned before stays
 * known, because the document on our disk may be signed with it; nothing that arrives is. */
#include "gateway/agent/trust.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/log.h"
#include "net/identity.h"
#include "proto/session.h"

#define FORMER_MAX   1024u
#define FLOOR_STEP_S 3600

/* ---- Opening ---- */

int hf_trust_open(struct hf_trust *trust, const struct hf_kept *kept,
		  const struct hf_sign_key *identity, struct hf_errmsg *message)
{
	int err = hf_kept_activated(kept, &trust->issued, message);

	if (err)
		return err;
	trust->kept = kept;
	trust->identity = identity;
	trust->floor_s = hf_kept_time(kept);
	if (trust->floor_s < HF_BUILD_TIME_S)
		trust->floor_s = HF_BUILD_TIME_S;
	if (trust->issued->signer_key.len == HF_KEY_BYTES)
		return 0;
	hf_trust_close(trust);
	return hf_fail(message, HF_ECORRUPT, "the signer's key is not kept whole");
}

void hf_trust_close(struct hf_trust *trust)
{
	if (trust->issued)
		holdfast__activate_issued__free_unpacked(trust->issued, NULL);
	trust->issued = NULL;
}

const uint8_t *hf_trust_signer_key(const struct hf_trust *trust)
{
	return trust->issued->signer_key.data;
}

uint64_t hf_trust_authorities(const struct hf_trust *trust)
{
	/* What activation gave is the first list, or the one that was in use then: whatever is told
	 * after it is later. */
	return trust->issued->authorities_version ? trust->issued->authorities_version : 1;
}

int hf_trust_tls(const struct hf_trust *trust, struct hf_tls **tls, struct hf_errmsg *message)
{
	const Holdfast__ActivateIssued *issued = trust->issued;
	struct hf_tls_options options = {.alpn = HF_ALPN_MANAGEMENT,
					 .key = trust->identity,
					 .certificate = issued->certificate.data,
					 .certificate_length = issued->certificate.len,
					 .authority = issued->ca_certificate.data,
					 .authority_length = issued->ca_certificate.len,
					 .floor_s = trust->floor_s};

	return hf_tls_create(&options, tls, message);
}

/* ---- Rotation ---- */

/* Keeps `next`; it is what counts from then on. Its changed parts are the caller's. */
static int keep(struct hf_trust *trust, const Holdfast__ActivateIssued *next,
		struct hf_errmsg *message)
{
	Holdfast__ActivateIssued *read;
	int err = hf_kept_set_activated(trust->kept, next, message);

	if (!err)
		err = hf_kept_activated(trust->kept, &read, message);
	if (err)
		return err;
	holdfast__activate_issued__free_unpacked(trust->issued, NULL);
	trust->issued = read;
	return 0;
}

static bool was_pinned(const Holdfast__ActivateIssued *issued, const uint8_t key[HF_KEY_BYTES])
{
	for (size_t i = 0; i < issued->n_former_signer_keys; i++)
		if (issued->former_signer_keys[i].len == HF_KEY_BYTES &&
		    memcmp(issued->former_signer_keys[i].data, key, HF_KEY_BYTES) == 0)
			return true;
	return memcmp(issued->signer_key.data, key, HF_KEY_BYTES) == 0;
}

static int pin(struct hf_trust *trust, const ProtobufCBinaryData *key, struct hf_errmsg *message)
{
	Holdfast__ActivateIssued next = *trust->issued;
	size_t count = next.n_former_signer_keys;
	int err;

	if (key->len != HF_KEY_BYTES || was_pinned(trust->issued, key->data))
		return hf_fail(message, HF_EINVAL, "the rotation names no new signer's key");
	if (count >= FORMER_MAX)
		return hf_fail(message, HF_ETOOBIG, "too many signer's keys in a row");
	next.former_signer_keys = calloc(count + 1, sizeof next.former_signer_keys[0]);
	if (!next.former_signer_keys)
		return hf_fail(message, HF_ENOMEM, "out of memory");
	if (count)
		memcpy(next.former_signer_keys, trust->issued->former_signer_keys,
		       count * sizeof next.former_signer_keys[0]);
	next.former_signer_keys[count] = trust->issued->signer_key;
	next.n_former_signer_keys = count + 1;
	next.signer_key = *key;
	err = keep(trust, &next, message);
	free(next.former_signer_keys);
	if (!err)
		hf_info("the signer's key was rotated; pinned the next one");
	return err;
}

/* Authorities stand oldest first. */
static int authority_of(const struct hf_trust *trust, const struct hf_certificate_info *info)
{
	const ProtobufCBinaryData *list = &trust->issued->ca_certificate;

	return hf_authorities_find(list->data, list->len, info->issuer);
}

static int check_certificate(const struct hf_trust *trust, const ProtobufCBinaryData *der,
			     struct hf_errmsg *message)
{
	const Holdfast__ActivateIssued *issued = trust->issued;
	struct hf_certificate_info next, now;
	int age;

	if (hf_certificate_parse(der->data, der->len, &next) != 0 || next.server ||
	    memcmp(next.public_key, trust->identity->public_key, HF_KEY_BYTES) != 0 ||
	    next.tenant != issued->tenant || next.gateway != issued->gateway)
		return hf_fail(message, HF_EAUTH, "the certificate is not for this gateway");
	/* By its own time: the signer vouches for it, and our clock may be wrong. */
	if (hf_certificate_verify_at(issued->ca_certificate.data, issued->ca_certificate.len,
				     der->data, der->len, next.not_before_s, message) != 0)
		return HF_EAUTH;
	if (hf_certificate_parse(issued->certificate.data, issued->certificate.len, &now) != 0)
		return 0;
	age = authority_of(trust, &next) - authority_of(trust, &now);
	if (age < 0)
		return hf_fail(message, HF_ESTALE,
			       "the certificate is of an older authority than the one in use");
	if (age == 0 && next.not_after_s <= now.not_after_s)
		return hf_fail(message, HF_ESTALE,
			       "the certificate does not last longer than the one in use");
	return 0;
}

static int take_certificate(struct hf_trust *trust, const ProtobufCBinaryData *der,
			    struct hf_errmsg *message)
{
	Holdfast__ActivateIssued next = *trust->issued;
	int err = check_certificate(trust, der, message);

	if (err)
		return err;
	next.certificate = *der;
	err = keep(trust, &next, message);
	if (!err)
		hf_info("the certificate was renewed");
	return err;
}

/* The list of authorities that counts from now on. That our own certificate may be of none of them
 * is no reason to refuse it: the next one comes over the connection that is there. */
static int take_authorities(struct hf_trust *trust, const Holdfast__Rotation *rotation,
			    enum hf_trust_news *news, struct hf_errmsg *message)
{
	const ProtobufCBinaryData *now = &trust->issued->ca_certificate;
	Holdfast__ActivateIssued next = *trust->issued;
	uint64_t version = hf_trust_authorities(trust);
	int err;

	if (rotation->authorities_version == version && now->len == rotation->authorities.len &&
	    memcmp(now->data, rotation->authorities.data, now->len) == 0)
		return 0;
	if (rotation->authorities_version <= version)
		return hf_fail(message, HF_ESTALE,
			       "the list of authorities is older than the one in use");
	if (hf_authorities_count(rotation->authorities.data, rotation->authorities.len, NULL) == 0)
		return hf_fail(message, HF_EINVAL, "the list of authorities is none");
	next.ca_certificate = rotation->authorities;
	next.authorities_version = rotation->authorities_version;
	err = keep(trust, &next, message);
	if (err)
		return err;
	*news = HF_TRUST_AUTHORITIES;
	hf_info("list %" PRIu64 " of the provider's authorities counts from now on",
		rotation->authorities_version);
	return 0;
}

static bool is_held(const struct hf_trust *trust, const ProtobufCBinaryData *der)
{
	const ProtobufCBinaryData *now = &trust->issued->certificate;

	return now->len == der->len && memcmp(now->data, der->data, der->len) == 0;
}

static int take(struct hf_trust *trust, const Holdfast__Rotation *rotation, bool for_all,
		enum hf_trust_news *news, struct hf_errmsg *message)
{
	int err;

	if (for_all && rotation->authorities.len > 0) {
		err = take_authorities(trust, rotation, news, message);
	} else if (for_all && rotation->signer_key.len > 0) {
		err = pin(trust, &rotation->signer_key, message);
		*news = err ? HF_TRUST_NOTHING : HF_TRUST_SIGNER;
	} else if (!for_all && rotation->certificate.len > 0) {
		if (is_held(trust, &rotation->certificate))
			return 0;
		err = take_certificate(trust, &rotation->certificate, message);
		*news = err ? HF_TRUST_NOTHING : HF_TRUST_CERTIFICATE;
	} else {
		err = hf_fail(message, HF_EINVAL, "a rotation of nothing that is known here");
	}
	return err;
}

int hf_trust_rotate(struct hf_trust *trust, const Holdfast__Signed *packet,
		    enum hf_trust_news *news, struct hf_errmsg *message)
{
	const uint8_t *key = hf_trust_signer_key(trust);
	Holdfast__Rotation *rotation = NULL;
	Holdfast__Change *change;
	bool for_all = true;
	int err = hf_change_verify(key, 0, 0, packet, &change, message);

	*news = HF_TRUST_NOTHING;
	if (err) {
		for_all = false;
		err = hf_change_verify(key, trust->issued->tenant, trust->issued->gateway, packet,
				       &change, message);
	}
	if (err)
		return err;
	if (change->kind_case == HOLDFAST__CHANGE__KIND_ROTATION)
		rotation = holdfast__rotation__unpack(NULL, change->rotation.len,
						      change->rotation.data);
	err = rotation ? take(trust, rotation, for_all, news, message)
		       : hf_fail(message, HF_EINVAL, "the change is no rotation");
	if (rotation)
		holdfast__rotation__free_unpacked(rotation, NULL);
	holdfast__change__free_unpacked(change, NULL);
	return err;
}

/* ---- The clock ---- */

void hf_trust_clock_good(struct hf_trust *trust)
{
	struct hf_errmsg message;
	int64_t now_s = time(NULL);

	if (now_s < trust->floor_s + FLOOR_STEP_S)
		return;
	if (hf_kept_set_time(trust->kept, now_s, &message) != 0)
		hf_warn("%s", message.text);
	else
		trust->floor_s = now_s;
}
