/* What one side of the TLS connections needs, made once and shared by its streams: TLS 1.3 only,
 * Ed25519 certificates, one ALPN protocol, no session tickets, buffers released when idle. */
#ifndef HF_NET_TLS_H
#define HF_NET_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/sign.h"

struct hf_tls;

struct hf_tls_options {
	bool server;
	const char *alpn; /* such as HF_ALPN_MANAGEMENT; peers without it are refused */
	const struct hf_sign_key *key; /* with certificate; NULL: a client without one */
	const uint8_t *certificate;    /* DER */
	size_t certificate_length;
	/* DER, one or several behind each other; one of them must have issued the peer's
	 * certificate. NULL: a client does not judge the
	 * server's certificate (activation: the key's hash binds it), a server asks for none. */
	const uint8_t *authority;
	size_t authority_length;
	/* Server with authority: an expired certificate is let through and told in the peer
	 * (renewal). */
	bool allow_expired;
	/* Client: certificates are judged by a time that is never below this, since 1970; for a
	 * machine whose clock starts in the past. 0: by the clock. */
	int64_t floor_s;
};

/* Everything is copied. */
int hf_tls_create(const struct hf_tls_options *options, struct hf_tls **tls,
		  struct hf_errmsg *message);
/* Streams made from it keep what they need. NULL is harmless. */
void hf_tls_destroy(struct hf_tls *tls);

#endif
