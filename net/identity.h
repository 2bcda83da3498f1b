/* Certificates: one authority, Ed25519 throughout. A gateway's certificate names it in a URI of
 * its subject alternative names, "holdfast://t-<16 hex>/sgw-<16 hex>", and is good for clients
 * only; the provider's has DNS names and addresses and is good for servers only. DER everywhere.
 * Any thread. */
#ifndef HF_NET_IDENTITY_H
#define HF_NET_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/sign.h"

#define HF_CERTIFICATE_MAX 8192u /* bytes, DER; longer ones are refused */

#define HF_AUTHORITY_ID_BYTES 8u
/* Authorities stand in one array behind each other, oldest first; each is self-signed DER. */
#define HF_AUTHORITIES_MAX       4u
#define HF_AUTHORITIES_BYTES_MAX (HF_AUTHORITIES_MAX * HF_CERTIFICATE_MAX)

/* A PKCS#10 request for `key`. malloc'ed. */
int hf_request_make(const struct hf_sign_key *key, const char *common_name, uint8_t **der,
		    size_t *der_length);
/* Checks its own signature (the requester holds the key) and gives the public key; HF_EAUTH,
 * HF_EINVAL. */
int hf_request_check(const uint8_t *der, size_t der_length, uint8_t public_key[HF_KEY_BYTES]);

/* A self-signed authority. malloc'ed. */
int hf_authority_make(const struct hf_sign_key *key, const char *common_name,
		      uint64_t valid_seconds, uint8_t **der, size_t *der_length);

/* The length of the first one and its id, which is that of its key; 0: there is none, or what
 * stands there is no authority. */
size_t hf_authority_first(const uint8_t *authorities, size_t length,
			  uint8_t id[HF_AUTHORITY_ID_BYTES]);
/* How many there are; 0: these are not 1 to HF_AUTHORITIES_MAX of them. `last`, if not NULL: the id
 * of the last. */
unsigned hf_authorities_count(const uint8_t *authorities, size_t length,
			      uint8_t last[HF_AUTHORITY_ID_BYTES]);
/* Which of them it is, from 0; -1: none. */
int hf_authorities_find(const uint8_t *authorities, size_t length,
			const uint8_t id[HF_AUTHORITY_ID_BYTES]);

struct hf_certificate_order {
	const struct hf_sign_key *authority_key;
	const uint8_t *authority; /* its certificate */
	size_t authority_length;
	uint8_t public_key[HF_KEY_BYTES]; /* of the subject */
	uint64_t tenant, gateway;         /* of a gateway */
	bool server;                      /* or: of the provider, with these names */
	const char *const *names;         /* host names or addresses */
	size_t name_count;
	int64_t not_before_s, not_after_s; /* since 1970; 0, 0: from an hour ago for 90 days */
};
int hf_certificate_issue(const struct hf_certificate_order *order, uint8_t **der,
			 size_t *der_length, struct hf_errmsg *message);

struct hf_certificate_info {
	bool server;
	uint64_t tenant, gateway; /* 0 for a server's */
	uint8_t issuer[HF_AUTHORITY_ID_BYTES];
	uint8_t public_key[HF_KEY_BYTES];
	int64_t not_before_s, not_after_s;
	char fingerprint[2 * HF_HASH_BYTES + 1]; /* SHA-256 of the DER, hexadecimal */
};
/* Reads without judging trust; HF_EINVAL if it is not one of ours. */
int hf_certificate_parse(const uint8_t *der, size_t der_length, struct hf_certificate_info *info);
/* The public key of any Ed25519 certificate, such as an authority's. */
int hf_certificate_key(const uint8_t *der, size_t der_length, uint8_t public_key[HF_KEY_BYTES]);
/* Issued by one of these authorities and valid now: 0 or HF_EAUTH with the reason. */
int hf_certificate_verify(const uint8_t *authority, size_t authority_length, const uint8_t *der,
			  size_t der_length, struct hf_errmsg *message);
/* The same, valid at that time, since 1970. */
int hf_certificate_verify_at(const uint8_t *authority, size_t authority_length, const uint8_t *der,
			     size_t der_length, int64_t at_s, struct hf_errmsg *message);

#endif
