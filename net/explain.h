/* What a failed TLS connection means, for people: OpenSSL's verdicts and the alerts of RFC 8446 6
 * put into the words of somebody who has to act, with the hop at which to look. Any thread. */
#ifndef HF_NET_EXPLAIN_H
#define HF_NET_EXPLAIN_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "net/hop.h"

/* The validity of the certificate that was judged wrong; the stream keeps it as its SSL's app data,
 * because OpenSSL does not keep a certificate that it refused. */
struct hf_tls_refused {
	int64_t not_before_s, not_after_s; /* since 1970; 0: none was refused */
};
/* For a verify callback: notes what is refused. */
void hf_tls_note_refused(X509_STORE_CTX *context);

struct hf_tls_trouble {
	const SSL *ssl;
	bool server, judges; /* of our side */
	bool opened;         /* the handshake was done here */
	int ssl_error;       /* SSL_get_error */
	unsigned long error; /* ERR_peek_error; 0: none */
	int number;          /* errno */
	int64_t now_s;       /* by which certificates were judged */
};

/* The HF_E… it ends with; *hop and the text tell the rest. */
int hf_tls_explain(const struct hf_tls_trouble *trouble, enum hf_hop *hop,
		   struct hf_errmsg *message);

#endif
