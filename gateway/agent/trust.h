/* Whom the gateway trusts and what it shows of itself: the signer's key that it has pinned, the
 * authority, its own certificate, and the time below which its clock is wrong. Kept in one file, so
 * that a rotation is there or not. Loop's thread; blocks for small files. */
#ifndef HF_GATEWAY_AGENT_TRUST_H
#define HF_GATEWAY_AGENT_TRUST_H

#include "gateway/agent/kept.h"
#include "net/tls.h"

struct hf_trust {
	const struct hf_kept *kept;
	const struct hf_sign_key *identity;
	Holdfast__ActivateIssued *issued; /* as it is kept now */
	int64_t floor_s;                  /* since 1970 */
};

/* Reads what is kept. HF_ENOENT: not activated; HF_ECORRUPT. */
int hf_trust_open(struct hf_trust *trust, const struct hf_kept *kept,
		  const struct hf_sign_key *identity, struct hf_errmsg *message);
void hf_trust_close(struct hf_trust *trust);

const uint8_t *hf_trust_signer_key(const struct hf_trust *trust);
/* Which list of the provider's authorities it has, from 1. */
uint64_t hf_trust_authorities(const struct hf_trust *trust);
/* For the management connection, with the certificate of now. */
int hf_trust_tls(const struct hf_trust *trust, struct hf_tls **tls, struct hf_errmsg *message);

enum hf_trust_news {
	HF_TRUST_NOTHING, /* it is so already */
	HF_TRUST_SIGNER,
	HF_TRUST_CERTIFICATE,
	HF_TRUST_AUTHORITIES,
};
/* Takes what Rotate brought and keeps it. Refused, and nothing changed: HF_EAUTH (not of the pinned
 * signer, or for another gateway), HF_EINVAL, HF_ESTALE (a certificate that does not last longer
 * than the one in use, or is of an older authority; an older list of authorities). */
int hf_trust_rotate(struct hf_trust *trust, const Holdfast__Signed *packet,
		    enum hf_trust_news *news, struct hf_errmsg *message);

/* The provider has just proved itself with a certificate that is valid by our clock, so the clock
 * is not far off: from now on it was at least this late, over restarts too. Kept once an hour. */
void hf_trust_clock_good(struct hf_trust *trust);

#endif
