/* OpenSSL's SSL_CTX with the settings of net/tls.h. Counted, because the ALPN callback of a stream
 * may come after the owner replaced it by a renewed one. Loop's thread. */
#include "net/tls_internal.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "net/explain.h"

#define TLS_MAGIC 0x544c5343u
#define ALPN_MAX  64u

struct hf_tls {
	uint32_t magic;
	unsigned users;
	SSL_CTX *context;
	SSL_CTX *settled; /* of connections whose handshake is done; NULL until the first */
	bool server, judges;
	int64_t floor_s;
	uint8_t alpn[1 + ALPN_MAX]; /* with its length in front, as on the wire */
};

static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_length,
		       const unsigned char *in, unsigned in_length, void *arg)
{
	const struct hf_tls *tls = arg;

	(void)ssl;
	HF_CHECK_MAGIC(tls, TLS_MAGIC);
	for (unsigned at = 0; at < in_length; at += 1u + in[at])
		if (at + 1u + in[at] <= in_length && memcmp(in + at, tls->alpn, 1u + in[at]) == 0) {
			*out = in + at + 1;
			*out_length = in[at];
			return SSL_TLSEXT_ERR_OK;
		}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int note_refused(int ok, X509_STORE_CTX *context)
{
	if (!ok)
		hf_tls_note_refused(context);
	return ok;
}

/* Lets an expired certificate of a gateway through: it gets a session that can only renew. */
static int forgive_expiry(int ok, X509_STORE_CTX *context)
{
	if (!ok && X509_STORE_CTX_get_error(context) == X509_V_ERR_CERT_HAS_EXPIRED &&
	    X509_STORE_CTX_get_error_depth(context) == 0) {
		X509_STORE_CTX_set_error(context, X509_V_OK);
		return 1;
	}
	return note_refused(ok, context);
}

static int use_certificate(SSL_CTX *context, const struct hf_tls_options *options)
{
	EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, options->key->secret,
						      HF_KEY_BYTES);
	int ok = pkey &&
		 SSL_CTX_use_certificate_ASN1(context, (int)options->certificate_length,
					      options->certificate) == 1 &&
		 SSL_CTX_use_PrivateKey(context, pkey) == 1 &&
		 SSL_CTX_check_private_key(context) == 1;

	EVP_PKEY_free(pkey);
	return ok ? 0 : HF_EINVAL;
}

static int trust_authority(SSL_CTX *context, const struct hf_tls_options *options)
{
	int mode = SSL_VERIFY_PEER | (options->server ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);

	SSL_CTX_set_verify(context, mode,
			   options->server && options->allow_expired ? forgive_expiry
								     : note_refused);
	return hf_authorities_trust(SSL_CTX_get_cert_store(context), options->authority,
				    options->authority_length);
}

static int configure(struct hf_tls *tls, const struct hf_tls_options *options)
{
	SSL_CTX *context = tls->context;

	if (SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_set1_sigalgs_list(context, "ed25519") != 1 ||
	    SSL_CTX_set_num_tickets(context, 0) != 1)
		return HF_ENOMEM;
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
					  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	tls->alpn[0] = (uint8_t)strlen(options->alpn);
	memcpy(tls->alpn + 1, options->alpn, tls->alpn[0]);
	if (options->server)
		SSL_CTX_set_alpn_select_cb(context, choose_alpn, tls);
	else if (SSL_CTX_set_alpn_protos(context, tls->alpn, 1u + tls->alpn[0]) != 0)
		return HF_ENOMEM;
	return 0;
}

int hf_tls_create(const struct hf_tls_options *options, struct hf_tls **out,
		  struct hf_errmsg *message)
{
	struct hf_tls *tls = calloc(1, sizeof *tls);
	int err;

	HF_ASSERT(strlen(options->alpn) <= ALPN_MAX && (options->key || !options->server));
	if (!tls)
		return hf_fail(message, HF_ENOMEM, "TLS: out of memory");
	tls->magic = TLS_MAGIC;
	tls->users = 1;
	tls->server = options->server;
	tls->judges = options->authority != NULL;
	tls->floor_s = options->floor_s;
	tls->context = SSL_CTX_new(options->server ? TLS_server_method() : TLS_client_method());
	err = tls->context ? configure(tls, options) : HF_ENOMEM;
	if (err)
		err = hf_fail(message, err, "TLS: cannot be set up");
	else if (options->key && use_certificate(tls->context, options) != 0)
		err = hf_fail(message, HF_EINVAL, "TLS: certificate and key do not fit");
	else if (options->authority && trust_authority(tls->context, options) != 0)
		err = hf_fail(message, HF_EINVAL, "TLS: the authority's certificate is not one");
	ERR_clear_error();
	if (err) {
		hf_tls_destroy(tls);
		return err;
	}
	*out = tls;
	return 0;
}

struct hf_tls *hf_tls_hold(struct hf_tls *tls)
{
	HF_CHECK_MAGIC(tls, TLS_MAGIC);
	tls->users++;
	return tls;
}

void hf_tls_destroy(struct hf_tls *tls)
{
	if (!tls)
		return;
	HF_CHECK_MAGIC(tls, TLS_MAGIC);
	if (--tls->users)
		return;
	SSL_CTX_free(tls->settled);
	SSL_CTX_free(tls->context);
	tls->magic = 0;
	free(tls);
}

static int expect_name(SSL *ssl, const char *name)
{
	uint8_t address[16];

	if (inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name);
	return SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

SSL *hf_tls_new_ssl(struct hf_tls *tls, const char *name)
{
	SSL *ssl = SSL_new(tls->context);

	if (!ssl)
		return NULL;
	if (tls->server)
		SSL_set_accept_state(ssl);
	else
		SSL_set_connect_state(ssl);
	if (tls->floor_s > (int64_t)time(NULL))
		X509_VERIFY_PARAM_set_time(SSL_get0_param(ssl), tls->floor_s);
	if (!tls->server && tls->judges && (!name || expect_name(ssl, name) != 1)) {
		SSL_free(ssl);
		return NULL;
	}
	return ssl;
}

/* A connection lets its session go only while its method is that of its context: our context's
 * method still negotiates the version, so it moves to a context of the version agreed. Nothing of
 * TLS 1.3 after the handshake asks for the session: there are no tickets, and keys are updated from
 * secrets that the connection itself has. Only hf_stream_binding would: so those that ask for no
 * certificate, the activations, stay as they are. test_net_lean holds this against the library. */
void hf_tls_forget_handshake(struct hf_tls *tls, SSL *ssl)
{
	const SSL_METHOD *agreed = SSL_get_ssl_method(ssl);

	if (!tls->server || !tls->judges || SSL_version(ssl) != TLS1_3_VERSION)
		return;
	if (!tls->settled)
		tls->settled = SSL_CTX_new(agreed);
	if (tls->settled && SSL_CTX_get_ssl_method(tls->settled) == agreed &&
	    SSL_set_SSL_CTX(ssl, tls->settled) == tls->settled)
		SSL_set_session(ssl, NULL);
	ERR_clear_error();
}

bool hf_tls_is_server(const struct hf_tls *tls)
{
	return tls->server;
}

bool hf_tls_judges(const struct hf_tls *tls)
{
	return tls->judges;
}

bool hf_tls_alpn_agreed(const struct hf_tls *tls, const SSL *ssl)
{
	const unsigned char *selected;
	unsigned length;

	SSL_get0_alpn_selected(ssl, &selected, &length);
	return length == tls->alpn[0] && memcmp(selected, tls->alpn + 1, length) == 0;
}
