/* Certificate requests and certificates (net/identity.h), made with OpenSSL's X509. No state. */
#include "net/identity.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "base/ids.h"
#include "net/tls_internal.h"

#define NAMES_TEXT_MAX  2048u
#define SERIAL_BYTES    16
#define VALID_DEFAULT_S (90 * 86400)
#define BACKDATED_S     3600

static EVP_PKEY *private_key(const struct hf_sign_key *key)
{
	return EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key->secret, HF_KEY_BYTES);
}

static int public_bytes(EVP_PKEY *pkey, uint8_t public_key[HF_KEY_BYTES])
{
	size_t length = HF_KEY_BYTES;

	if (!pkey || EVP_PKEY_get_base_id(pkey) != EVP_PKEY_ED25519 ||
	    EVP_PKEY_get_raw_public_key(pkey, public_key, &length) != 1)
		return HF_EINVAL;
	return 0;
}

/* OpenSSL's encoders allocate with its own allocator; callers free(). */
static int give_copy(uint8_t *encoded, int length, uint8_t **der, size_t *der_length)
{
	int err = HF_ENOMEM;

	if (encoded && length > 0 && (*der = malloc((size_t)length)) != NULL) {
		memcpy(*der, encoded, (size_t)length);
		*der_length = (size_t)length;
		err = 0;
	}
	OPENSSL_free(encoded);
	return err;
}

static int give_certificate(X509 *certificate, uint8_t **der, size_t *der_length)
{
	uint8_t *encoded = NULL;
	int length = i2d_X509(certificate, &encoded);

	return give_copy(encoded, length, der, der_length);
}

static X509 *decode(const uint8_t *der, size_t der_length)
{
	const uint8_t *at = der;
	X509 *certificate;

	if (der_length == 0 || der_length > HF_CERTIFICATE_MAX)
		return NULL;
	certificate = d2i_X509(NULL, &at, (long)der_length);
	if (certificate && at != der + der_length) {
		X509_free(certificate);
		return NULL;
	}
	return certificate;
}

static int set_name(X509_NAME *name, const char *common_name)
{
	return name &&
	       X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
					  (const unsigned char *)common_name, -1, -1, 0) == 1;
}

/* ---- Requests ---- */

int hf_request_make(const struct hf_sign_key *key, const char *common_name, uint8_t **der,
		    size_t *der_length)
{
	EVP_PKEY *pkey = private_key(key);
	X509_REQ *request = X509_REQ_new();
	uint8_t *encoded = NULL;
	int length = 0;

	if (pkey && request && X509_REQ_set_version(request, X509_REQ_VERSION_1) == 1 &&
	    set_name(X509_REQ_get_subject_name(request), common_name) &&
	    X509_REQ_set_pubkey(request, pkey) == 1 && X509_REQ_sign(request, pkey, NULL) > 0)
		length = i2d_X509_REQ(request, &encoded);
	X509_REQ_free(request);
	EVP_PKEY_free(pkey);
	return give_copy(encoded, length, der, der_length);
}

int hf_request_check(const uint8_t *der, size_t der_length, uint8_t public_key[HF_KEY_BYTES])
{
	const uint8_t *at = der;
	X509_REQ *request;
	int err;

	if (der_length == 0 || der_length > HF_CERTIFICATE_MAX)
		return HF_EINVAL;
	request = d2i_X509_REQ(NULL, &at, (long)der_length);
	if (!request || at != der + der_length) {
		X509_REQ_free(request);
		return HF_EINVAL;
	}
	err = public_bytes(X509_REQ_get0_pubkey(request), public_key);
	if (!err && X509_REQ_verify(request, X509_REQ_get0_pubkey(request)) != 1)
		err = HF_EAUTH;
	X509_REQ_free(request);
	return err;
}

/* ---- Issuing ---- */

static int add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
	X509_EXTENSION *extension;
	X509V3_CTX context;
	int ok;

	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	ok = extension && X509_add_ext(certificate, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	return ok;
}

static int set_serial(X509 *certificate)
{
	uint8_t bytes[SERIAL_BYTES];
	BIGNUM *number;
	int ok;

	hf_random(bytes, sizeof bytes);
	bytes[0] = (bytes[0] & 0x7f) | 0x40; /* positive, of full length */
	number = BN_bin2bn(bytes, sizeof bytes, NULL);
	ok = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
	BN_free(number);
	return ok;
}

static int set_times(X509 *certificate, int64_t not_before_s, int64_t not_after_s)
{
	return ASN1_TIME_set(X509_getm_notBefore(certificate), (time_t)not_before_s) &&
	       ASN1_TIME_set(X509_getm_notAfter(certificate), (time_t)not_after_s);
}

int hf_authority_make(const struct hf_sign_key *key, const char *common_name,
		      uint64_t valid_seconds, uint8_t **der, size_t *der_length)
{
	EVP_PKEY *pkey = private_key(key);
	X509 *authority = X509_new();
	int64_t now_s = (int64_t)time(NULL);
	int err = HF_ENOMEM;

	if (pkey && authority && X509_set_version(authority, X509_VERSION_3) == 1 &&
	    set_serial(authority) &&
	    set_times(authority, now_s - BACKDATED_S, now_s + (int64_t)valid_seconds) &&
	    set_name(X509_get_subject_name(authority), common_name) &&
	    X509_set_issuer_name(authority, X509_get_subject_name(authority)) == 1 &&
	    X509_set_pubkey(authority, pkey) == 1 &&
	    add_extension(authority, authority, NID_basic_constraints,
			  "critical,CA:TRUE,pathlen:0") &&
	    add_extension(authority, authority, NID_key_usage, "critical,keyCertSign,cRLSign") &&
	    add_extension(authority, authority, NID_subject_key_identifier, "hash") &&
	    X509_sign(authority, pkey, NULL) > 0)
		err = give_certificate(authority, der, der_length);
	X509_free(authority);
	EVP_PKEY_free(pkey);
	return err;
}

/* A name goes into OpenSSL's extension syntax, so it may hold nothing that means something there.
 */
static bool plain_name(const char *name)
{
	size_t length = strlen(name);

	return length > 0 && length < 254 &&
	       strspn(name,
		      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:*") ==
		       length;
}

static bool is_address(const char *name)
{
	uint8_t address[16];

	return inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
}

static int alternative_names(const struct hf_certificate_order *order, char text[NAMES_TEXT_MAX],
			     struct hf_errmsg *message)
{
	char tenant[HF_ID_TEXT_MAX], gateway[HF_ID_TEXT_MAX];
	size_t used = 0;

	if (!order->server) {
		snprintf(text, NAMES_TEXT_MAX, "URI:holdfast://%s/%s",
			 hf_id_format(HF_ID_TENANT, order->tenant, tenant),
			 hf_id_format(HF_ID_GATEWAY, order->gateway, gateway));
		return 0;
	}
	for (size_t i = 0; i < order->name_count; i++) {
		const char *name = order->names[i];
		int n;

		if (!plain_name(name))
			return hf_fail(message, HF_EINVAL, "`%.60s` is no host name or address",
				       name);
		n = snprintf(text + used, NAMES_TEXT_MAX - used, "%s%s:%s", used ? "," : "",
			     is_address(name) ? "IP" : "DNS", name);
		used += (size_t)n;
		if (used >= NAMES_TEXT_MAX)
			return hf_fail(message, HF_ETOOBIG, "too many names for one certificate");
	}
	return used ? 0 : hf_fail(message, HF_EINVAL, "a server's certificate needs a name");
}

static int fill_certificate(const struct hf_certificate_order *order, const char *names,
			    X509 *authority, X509 *certificate)
{
	EVP_PKEY *subject = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, order->public_key,
							HF_KEY_BYTES);
	int64_t from_s = order->not_before_s, until_s = order->not_after_s;
	char id[HF_ID_TEXT_MAX];
	int ok;

	if (!from_s && !until_s) {
		from_s = (int64_t)time(NULL) - BACKDATED_S;
		until_s = from_s + VALID_DEFAULT_S;
	}
	ok = subject && X509_set_version(certificate, X509_VERSION_3) == 1 &&
	     set_serial(certificate) && set_times(certificate, from_s, until_s) &&
	     set_name(X509_get_subject_name(certificate),
		      order->server ? "holdfast-provider"
				    : hf_id_format(HF_ID_GATEWAY, order->gateway, id)) &&
	     X509_set_issuer_name(certificate, X509_get_subject_name(authority)) == 1 &&
	     X509_set_pubkey(certificate, subject) == 1 &&
	     add_extension(certificate, authority, NID_basic_constraints, "critical,CA:FALSE") &&
	     add_extension(certificate, authority, NID_key_usage, "critical,digitalSignature") &&
	     add_extension(certificate, authority, NID_ext_key_usage,
			   order->server ? "serverAuth" : "clientAuth") &&
	     add_extension(certificate, authority, NID_authority_key_identifier, "keyid") &&
	     add_extension(certificate, authority, NID_subject_alt_name, names);
	EVP_PKEY_free(subject);
	return ok ? 0 : HF_EINVAL;
}

int hf_certificate_issue(const struct hf_certificate_order *order, uint8_t **der,
			 size_t *der_length, struct hf_errmsg *message)
{
	char names[NAMES_TEXT_MAX];
	EVP_PKEY *pkey = private_key(order->authority_key);
	X509 *authority = decode(order->authority, order->authority_length);
	X509 *certificate = X509_new();
	int err = alternative_names(order, names, message);

	if (!err && (!pkey || !authority || !certificate))
		err = hf_fail(message, HF_EINVAL, "the authority's certificate cannot be read");
	if (!err && fill_certificate(order, names, authority, certificate) != 0)
		err = hf_fail(message, HF_EINVAL, "the certificate cannot be made");
	if (!err && X509_sign(certificate, pkey, NULL) <= 0)
		err = hf_fail(message, HF_EINVAL, "the certificate cannot be signed");
	if (!err)
		err = give_certificate(certificate, der, der_length);
	X509_free(certificate);
	X509_free(authority);
	EVP_PKEY_free(pkey);
	return err;
}

/* ---- Reading ---- */

int hf_certificate_key(const uint8_t *der, size_t der_length, uint8_t public_key[HF_KEY_BYTES])
{
	X509 *certificate = decode(der, der_length);
	int err = certificate ? public_bytes(X509_get0_pubkey(certificate), public_key) : HF_EINVAL;

	X509_free(certificate);
	return err;
}

/* The start of a key identifier (RFC 5280 4.2.1.1, 4.2.1.2). */
static int read_id(const ASN1_OCTET_STRING *from, uint8_t id[HF_AUTHORITY_ID_BYTES])
{
	if (!from || ASN1_STRING_length(from) < (int)HF_AUTHORITY_ID_BYTES)
		return HF_EINVAL;
	memcpy(id, ASN1_STRING_get0_data(from), HF_AUTHORITY_ID_BYTES);
	return 0;
}

size_t hf_authority_first(const uint8_t *authorities, size_t length,
			  uint8_t id[HF_AUTHORITY_ID_BYTES])
{
	const uint8_t *at = authorities;
	X509 *authority = length > 0 && length <= HF_AUTHORITIES_BYTES_MAX
				  ? d2i_X509(NULL, &at, (long)length)
				  : NULL;
	uint8_t key[HF_KEY_BYTES];
	bool good = authority && at - authorities <= (long)HF_CERTIFICATE_MAX &&
		    X509_check_ca(authority) == 1 &&
		    public_bytes(X509_get0_pubkey(authority), key) == 0 &&
		    read_id(X509_get0_subject_key_id(authority), id) == 0;

	X509_free(authority);
	ERR_clear_error();
	return good ? (size_t)(at - authorities) : 0;
}

unsigned hf_authorities_count(const uint8_t *authorities, size_t length,
			      uint8_t last[HF_AUTHORITY_ID_BYTES])
{
	uint8_t id[HF_AUTHORITY_ID_BYTES];
	unsigned count = 0;

	for (size_t at = 0; at < length; count++) {
		size_t one = hf_authority_first(authorities + at, length - at, id);

		if (one == 0 || count == HF_AUTHORITIES_MAX)
			return 0;
		at += one;
	}
	if (last && count > 0)
		memcpy(last, id, sizeof id);
	return count;
}

int hf_authorities_find(const uint8_t *authorities, size_t length,
			const uint8_t id[HF_AUTHORITY_ID_BYTES])
{
	uint8_t found[HF_AUTHORITY_ID_BYTES];
	size_t one;
	int index = 0;

	for (size_t at = 0; at < length; at += one, index++) {
		one = hf_authority_first(authorities + at, length - at, found);
		if (one == 0)
			return -1;
		if (memcmp(found, id, sizeof found) == 0)
			return index;
	}
	return -1;
}

/* "holdfast://t-<16>/sgw-<16>" */
static int parse_uri(const char *uri, size_t length, struct hf_certificate_info *info)
{
	static const char scheme[] = "holdfast://";
	char text[64], *slash;

	if (length >= sizeof text || memchr(uri, '\0', length))
		return HF_EINVAL;
	memcpy(text, uri, length);
	text[length] = '\0';
	if (strncmp(text, scheme, sizeof scheme - 1) != 0)
		return HF_EINVAL;
	slash = strchr(text + sizeof scheme - 1, '/');
	if (!slash)
		return HF_EINVAL;
	*slash = '\0';
	if (hf_id_parse(HF_ID_TENANT, text + sizeof scheme - 1, &info->tenant) != 0 ||
	    hf_id_parse(HF_ID_GATEWAY, slash + 1, &info->gateway) != 0)
		return HF_EINVAL;
	return 0;
}

static int read_names(X509 *certificate, struct hf_certificate_info *info)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	int err = names ? 0 : HF_EINVAL, uris = 0;

	for (int i = 0; !err && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (name->type != GEN_URI)
			continue;
		uris++;
		err = parse_uri(
			(const char *)ASN1_STRING_get0_data(name->d.uniformResourceIdentifier),
			(size_t)ASN1_STRING_length(name->d.uniformResourceIdentifier), info);
	}
	GENERAL_NAMES_free(names);
	if (!err && uris != (info->server ? 0 : 1))
		err = HF_EINVAL;
	return err;
}

static int64_t seconds_of(const ASN1_TIME *when)
{
	struct tm utc;

	return ASN1_TIME_to_tm(when, &utc) == 1 ? (int64_t)timegm(&utc) : 0;
}

int hf_certificate_read(X509 *certificate, struct hf_certificate_info *info)
{
	uint32_t usage = X509_get_extended_key_usage(certificate);
	int err;

	memset(info, 0, sizeof *info);
	info->server = usage != UINT32_MAX && (usage & XKU_SSL_SERVER);
	info->not_before_s = seconds_of(X509_get0_notBefore(certificate));
	info->not_after_s = seconds_of(X509_get0_notAfter(certificate));
	err = public_bytes(X509_get0_pubkey(certificate), info->public_key);
	if (!err)
		err = read_id(X509_get0_authority_key_id(certificate), info->issuer);
	return err ? err : read_names(certificate, info);
}

int hf_certificate_parse(const uint8_t *der, size_t der_length, struct hf_certificate_info *info)
{
	X509 *certificate = decode(der, der_length);
	uint8_t hash[HF_HASH_BYTES];
	int err;

	if (!certificate) {
		memset(info, 0, sizeof *info);
		return HF_EINVAL;
	}
	err = hf_certificate_read(certificate, info);
	hf_sha256(der, der_length, hash);
	hf_hex_encode(info->fingerprint, hash, sizeof hash);
	X509_free(certificate);
	return err;
}

int hf_authorities_trust(X509_STORE *store, const uint8_t *authorities, size_t length)
{
	const uint8_t *at = authorities;
	int err = length > 0 ? 0 : HF_EINVAL;

	while (!err && at < authorities + length) {
		X509 *authority = d2i_X509(NULL, &at, authorities + length - at);

		if (!authority || X509_STORE_add_cert(store, authority) != 1)
			err = HF_EINVAL;
		X509_free(authority);
	}
	return err;
}

int hf_certificate_verify(const uint8_t *authority_der, size_t authority_length, const uint8_t *der,
			  size_t der_length, struct hf_errmsg *message)
{
	return hf_certificate_verify_at(authority_der, authority_length, der, der_length,
					(int64_t)time(NULL), message);
}

int hf_certificate_verify_at(const uint8_t *authority_der, size_t authority_length,
			     const uint8_t *der, size_t der_length, int64_t at_s,
			     struct hf_errmsg *message)
{
	X509 *certificate = decode(der, der_length);
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *context = X509_STORE_CTX_new();
	int err = 0;

	if (!certificate || !store || !context)
		err = hf_fail(message, HF_EAUTH, "not a certificate");
	else if (hf_authorities_trust(store, authority_der, authority_length) != 0)
		err = hf_fail(message, HF_EAUTH, "not an authority's certificate");
	else if (X509_STORE_CTX_init(context, store, certificate, NULL) != 1)
		err = hf_fail(message, HF_ENOMEM, "out of memory");
	else if (X509_STORE_CTX_set_time(context, 0, at_s), X509_verify_cert(context) != 1)
		err = hf_fail(message, HF_EAUTH, "certificate: %s",
			      X509_verify_cert_error_string(X509_STORE_CTX_get_error(context)));
	X509_STORE_CTX_free(context);
	X509_STORE_free(store);
	X509_free(certificate);
	return err;
}
