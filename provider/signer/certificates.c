/* Certificates: of a gateway whose activation key an administrator has entered (its sealing key is
 * remembered from here), its next ones until it is revoked, and those of the provider itself.
 * Signer's thread. */
#include "provider/signer/signer_internal.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "net/activation_key.h"
#include "net/identity.h"
#include "provider/signer/ledger.h"

#define NAMES_MAX     16u
#define SECONDS_A_DAY 86400
#define CLOCK_SLACK_S 3600 /* a certificate is good a little before it was made */

/* Has an administrator entered the key that the gateway with these keys shows? The provider is not
 * asked: it could have made the gateway up. */
static int check_approval(struct hf_signer *signer, const Holdfast__SignerCertificate *order,
			  struct hf_errmsg *reason)
{
	uint8_t hash[HF_ACTIVATION_HASH_BYTES];
	struct hf_activation_keys keys;

	if (!signer->approval)
		return 0;
	if (order->number.len != HF_ACTIVATION_NUMBER_BYTES)
		return hf_fail(reason, HF_EAUTH,
			       "a new gateway needs the number of its activation");
	memcpy(keys.identity, order->identity_key.data, HF_KEY_BYTES);
	memcpy(keys.sealing, order->sealing_key.data, HF_KEY_BYTES);
	memcpy(keys.authority, signer->authority.key.public_key, HF_KEY_BYTES);
	memcpy(keys.signer, signer->sign_key.public_key, HF_KEY_BYTES);
	hf_activation_hash(order->number.data, &keys, hash);
	return hf_ledger_use_approval(signer->ledger, order->number.data, hash, order->gateway,
				      time(NULL), reason);
}

static ProtobufCBinaryData id_of(const struct hf_signer_authority *authority)
{
	return (ProtobufCBinaryData){.len = sizeof authority->id,
				     .data = (uint8_t *)(uintptr_t)authority->id};
}

/* The first certificate binds a gateway's number to its keys; later ones must name the same. */
static int bind_keys(struct hf_signer *signer, const Holdfast__SignerCertificate *order,
		     struct hf_errmsg *reason)
{
	Holdfast__SignerLedger fresh = HOLDFAST__SIGNER_LEDGER__INIT;
	Holdfast__SignerLedger *known;
	ProtobufCBinaryData issued_by;
	bool same, revoked;
	int err = hf_ledger_load(signer->ledger, order->gateway, &known, reason);

	if (err == HF_ENOENT) {
		fresh.tenant = order->tenant;
		fresh.gateway = order->gateway;
		fresh.identity_key = order->identity_key;
		fresh.sealing_key = order->sealing_key;
		fresh.authority = id_of(&signer->authority);
		err = check_approval(signer, order, reason);
		return err ? err : hf_ledger_store(signer->ledger, &fresh, reason);
	}
	if (err)
		return err;
	same = known->tenant == order->tenant &&
	       memcmp(known->identity_key.data, order->identity_key.data, HF_KEY_BYTES) == 0 &&
	       memcmp(known->sealing_key.data, order->sealing_key.data, HF_KEY_BYTES) == 0;
	revoked = known->revoked;
	if (same && !revoked) {
		issued_by = known->authority;
		known->authority = id_of(&signer->authority);
		err = hf_ledger_store(signer->ledger, known, reason);
		known->authority = issued_by;
	}
	holdfast__signer_ledger__free_unpacked(known, NULL);
	if (err)
		return err;
	if (!same)
		return hf_fail(reason, HF_EAUTH,
			       "sgw-%016" PRIx64 " is bound to another tenant or other keys",
			       order->gateway);
	if (revoked)
		return hf_fail(reason, HF_EACCES, "sgw-%016" PRIx64 " was revoked", order->gateway);
	return 0;
}

static int check_gateway(struct hf_signer *signer, const Holdfast__SignerCertificate *order,
			 struct hf_errmsg *reason)
{
	if (order->tenant == 0 || order->gateway == 0)
		return hf_fail(reason, HF_EINVAL, "a certificate needs tenant and gateway");
	if (order->sealing_key.len != HF_KEY_BYTES)
		return hf_fail(reason, HF_EINVAL, "the sealing key must have %u bytes",
			       HF_KEY_BYTES);
	return bind_keys(signer, order, reason);
}

static int check_server(const Holdfast__SignerCertificate *order, struct hf_errmsg *reason)
{
	if (order->n_names == 0 || order->n_names > NAMES_MAX)
		return hf_fail(reason, HF_EINVAL, "a server's certificate needs 1 to %u names",
			       NAMES_MAX);
	for (size_t i = 0; i < order->n_names; i++)
		if (order->names[i][0] == '\0' || strlen(order->names[i]) > 253)
			return hf_fail(reason, HF_EINVAL, "a server's name is empty or too long");
	return 0;
}

static int issue(struct hf_signer *signer, const struct hf_signer_authority *authority,
		 struct hf_certificate_order *order, struct hf_signer_result *result)
{
	uint64_t days = order->server ? signer->server_days : signer->gateway_days;
	int err;

	order->authority_key = &authority->key;
	order->authority = authority->certificate;
	order->authority_length = authority->length;
	order->not_before_s = time(NULL) - CLOCK_SLACK_S;
	order->not_after_s = time(NULL) + (int64_t)days * SECONDS_A_DAY;
	err = hf_certificate_issue(order, &result->certificate, &result->certificate_length,
				   &result->reason);
	if (!err && order->server)
		hf_info("issued a certificate for the provider, %" PRIu64 " days", days);
	else if (!err)
		hf_info("issued a certificate for sgw-%016" PRIx64 ", %" PRIu64 " days",
			order->gateway, days);
	return err;
}

int hf_signer_certificate(struct hf_signer *signer, const Holdfast__SignerCertificate *order,
			  struct hf_signer_result *result)
{
	struct hf_certificate_order wanted = {.server = order->server};
	struct hf_errmsg *reason = &result->reason;
	int err;

	if (order->identity_key.len != HF_KEY_BYTES)
		return hf_fail(reason, HF_EINVAL, "the identity key must have %u bytes",
			       HF_KEY_BYTES);
	err = hf_request_check(order->request.data, order->request.len, wanted.public_key);
	if (err)
		return hf_fail(reason, err, "the certificate request does not prove its key");
	if (memcmp(wanted.public_key, order->identity_key.data, HF_KEY_BYTES) != 0)
		return hf_fail(reason, HF_EAUTH, "the certificate request is for another key");
	err = order->server ? check_server(order, reason) : check_gateway(signer, order, reason);
	if (err)
		return err;
	if (order->server) {
		wanted.names = (const char *const *)order->names;
		wanted.name_count = order->n_names;
	} else {
		wanted.tenant = order->tenant;
		wanted.gateway = order->gateway;
	}
	return issue(signer, &signer->authority, &wanted, result);
}

/* ---- Of gateways that are known ---- */

static int load_known(struct hf_signer *signer, uint64_t tenant, uint64_t gateway,
		      Holdfast__SignerLedger **entry, struct hf_errmsg *reason)
{
	int err = hf_ledger_load(signer->ledger, gateway, entry, reason);

	if (err || (*entry)->tenant == tenant)
		return err;
	holdfast__signer_ledger__free_unpacked(*entry, NULL);
	return hf_fail(reason, HF_EAUTH, "sgw-%016" PRIx64 " is another tenant's", gateway);
}

/* The certificate in a change for that gateway; counts in its sequence. */
static int wrap(struct hf_signer *signer, const struct hf_signer_authority *authority,
		Holdfast__SignerLedger *entry, struct hf_signer_result *result)
{
	ProtobufCBinaryData issued_by = entry->authority;
	Holdfast__Rotation rotation = HOLDFAST__ROTATION__INIT;
	Holdfast__Change change = HOLDFAST__CHANGE__INIT;
	uint8_t bytes[HF_CERTIFICATE_MAX + 64];
	int err;

	if (result->certificate_length > HF_CERTIFICATE_MAX)
		return HF_ETOOBIG;
	rotation.certificate.data = result->certificate;
	rotation.certificate.len = result->certificate_length;
	change.tenant = entry->tenant;
	change.gateway = entry->gateway;
	change.sequence = ++entry->sequence;
	change.kind_case = HOLDFAST__CHANGE__KIND_ROTATION;
	change.rotation.data = bytes;
	change.rotation.len = holdfast__rotation__pack(&rotation, bytes);
	err = hf_change_sign_with(signer->signing, &change, &result->signed_change,
				  &result->signed_change_length);
	if (err)
		return err;
	entry->authority = id_of(authority);
	err = hf_ledger_store(signer->ledger, entry, &result->reason);
	entry->authority = issued_by;
	return err;
}

/* The one to follow, for a gateway that trusts it already; else that in use. */
static const struct hf_signer_authority *authority_for(const struct hf_signer *signer,
						       const Holdfast__SignerRenewal *order)
{
	const struct hf_signer_authority *next = &signer->next;

	return next->number && order->authority.len == sizeof next->id &&
			       memcmp(order->authority.data, next->id, sizeof next->id) == 0
		       ? next
		       : &signer->authority;
}

int hf_signer_renewal(struct hf_signer *signer, const Holdfast__SignerRenewal *order,
		      struct hf_signer_result *result)
{
	struct hf_certificate_order wanted = {.tenant = order->tenant, .gateway = order->gateway};
	const struct hf_signer_authority *authority = authority_for(signer, order);
	Holdfast__SignerLedger *entry;
	int err = load_known(signer, order->tenant, order->gateway, &entry, &result->reason);

	if (err)
		return err;
	memcpy(wanted.public_key, entry->identity_key.data, HF_KEY_BYTES);
	if (entry->revoked)
		err = hf_fail(&result->reason, HF_EACCES, "sgw-%016" PRIx64 " was revoked",
			      order->gateway);
	else
		err = issue(signer, authority, &wanted, result);
	if (!err)
		err = wrap(signer, authority, entry, result);
	holdfast__signer_ledger__free_unpacked(entry, NULL);
	return err;
}

int hf_signer_revocation(struct hf_signer *signer, const Holdfast__SignerRevocation *order,
			 struct hf_signer_result *result)
{
	Holdfast__SignerLedger *entry;
	int err = load_known(signer, order->tenant, order->gateway, &entry, &result->reason);

	if (err)
		return err;
	entry->revoked = true;
	err = hf_ledger_store(signer->ledger, entry, &result->reason);
	if (!err)
		hf_info("sgw-%016" PRIx64 " is revoked", order->gateway);
	holdfast__signer_ledger__free_unpacked(entry, NULL);
	return err;
}

int hf_signer_approval(struct hf_signer *signer, const Holdfast__SignerApproval *order,
		       struct hf_signer_result *result)
{
	uint8_t number[HF_ACTIVATION_NUMBER_BYTES], hash[HF_ACTIVATION_HASH_BYTES];

	if (hf_activation_key_parse(order->key, number, hash) != 0)
		return hf_fail(&result->reason, HF_EINVAL,
			       "this is not an activation key, or it is mistyped");
	return hf_ledger_approve(signer->ledger, number, hash, time(NULL), &result->reason);
}
