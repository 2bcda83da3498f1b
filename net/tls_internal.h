/* What tls.c and identity.c give to stream.c. */
#ifndef HF_NET_TLS_INTERNAL_H
#define HF_NET_TLS_INTERNAL_H

#include <openssl/ssl.h>

#include "net/identity.h"
#include "net/tls.h"

struct hf_tls *hf_tls_hold(struct hf_tls *tls); /* one more user; ended by hf_tls_destroy */
SSL *hf_tls_new_ssl(struct hf_tls *tls, const char *name);
bool hf_tls_is_server(const struct hf_tls *tls);
/* The peer must have shown a certificate of ours. */
bool hf_tls_judges(const struct hf_tls *tls);
/* The handshake is done and the owner knows its peer: lets a server's connection forget the peer's
 * certificate and the session, a quarter of what it holds. Does nothing where hf_stream_binding may
 * still be asked for. */
void hf_tls_forget_handshake(struct hf_tls *tls, SSL *ssl);
bool hf_tls_alpn_agreed(const struct hf_tls *tls, const SSL *ssl);
/* As hf_certificate_parse, of a certificate that is decoded already: to decode one takes longer
 * than to verify it. Its fingerprint is left empty. */
int hf_certificate_read(X509 *certificate, struct hf_certificate_info *info);
/* Each of these authorities is trusted by the store; HF_EINVAL: they are none. */
int hf_authorities_trust(X509_STORE *store, const uint8_t *authorities, size_t length);

#endif
