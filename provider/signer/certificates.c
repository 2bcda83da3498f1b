/* Certificates: of a gateway once it is confirmed (its sealing key is remembered from here), and
 * of the provider itself. Signer's thread. */
#include "provider/signer/signer_internal.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "net/identity.h"
#include "provider/signer/ledger.h"

#define NAMES_MAX     16u
#define SECONDS_A_DAY 86400
#define CLOCK_SLACK_S 3600 /* a certificate is good a little before it was made */

/* The first certificate binds a gateway's number to its keys; later ones must name the same. */
static int bind_keys(struct hf_signer *signer, const Holdfast__SignerCertificate *order,
		     struct hf_errmsg *reason)
{
	Holdfast__SignerLedger fresh = HOLDFAST__SIGNER_LEDGER__INIT;
	Holdfast__SignerLedger *known;
	bool same;
	int err = hf_ledger_load(signer->ledger, order->gateway, &known, reason);

	if (err == HF_ENOENT) {
		fresh.tenant = order->tenant;
		fresh.gateway = order->gateway;
		fresh.identity_key = order->identity_key;
		fresh.sealing_key = order->sealing_key;
		return hf_ledger_store(signer->ledger, &fresh, reason);
	}
	if (err)
		return err;
	same = known->tenant == order->tenant &&
	       memcmp(known->identity_key.data, order->identity_key.data, HF_KEY_BYTES) == 0 &&
	       memcmp(known->sealing_key.data, order->sealing_key.data, HF_KEY_BYTES) == 0;
	holdfast__signer_ledger__free_unpacked(known, NULL);
	if (!same)
		return hf_fail(reason, HF_EAUTH,
			       "sgw-%016" PRIx64 " is bound to another tenant or other keys",
			       order->gateway);
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

int hf_signer_certificate(struct hf_signer *signer, const Holdfast__SignerCertificate *order,
			  struct hf_signer_result *result)
{
	struct hf_certificate_order issue = {
		.authority_key = &signer->ca_key,
		.authority = signer->ca_certificate,
		.authority_length = signer->ca_certificate_length,
		.server = order->server,
	};
	uint64_t days = order->server ? signer->server_days : signer->gateway_days;
	struct hf_errmsg *reason = &result->reason;
	int err;

	if (order->identity_key.len != HF_KEY_BYTES)
		return hf_fail(reason, HF_EINVAL, "the identity key must have %u bytes",
			       HF_KEY_BYTES);
	err = hf_request_check(order->request.data, order->request.len, issue.public_key);
	if (err)
		return hf_fail(reason, err, "the certificate request does not prove its key");
	if (memcmp(issue.public_key, order->identity_key.data, HF_KEY_BYTES) != 0)
		return hf_fail(reason, HF_EAUTH, "the certificate request is for another key");
	err = order->server ? check_server(order, reason) : check_gateway(signer, order, reason);
	if (err)
		return err;
	issue.not_before_s = time(NULL) - CLOCK_SLACK_S;
	issue.not_after_s = time(NULL) + (int64_t)days * SECONDS_A_DAY;
	if (order->server) {
		issue.names = (const char *const *)order->names;
		issue.name_count = order->n_names;
	} else {
		issue.tenant = order->tenant;
		issue.gateway = order->gateway;
	}
	err = hf_certificate_issue(&issue, &result->certificate, &result->certificate_length,
				   reason);
	if (!err && order->server)
		hf_info("issued a certificate for the provider, %" PRIu64 " days", days);
	else if (!err)
		hf_info("issued a certificate for sgw-%016" PRIx64 ", %" PRIu64 " days",
			order->gateway, days);
	return err;
}
