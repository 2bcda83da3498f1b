/* Ed25519 keys and signatures (RFC 8032) with a domain: what is signed is domain NUL bytes, so that
 * a signature made for one purpose is worth nothing for another. May be called on any thread. */
#ifndef HF_NET_SIGN_H
#define HF_NET_SIGN_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "proto/channel.pb-c.h"

#define HF_KEY_BYTES       32u /* of a public or secret key, Ed25519 and X25519 */
#define HF_SIGNATURE_BYTES 64u
#define HF_KEY_ID_BYTES    8u
#define HF_HASH_BYTES      32u
#define HF_BINDING_BYTES   32u /* of a TLS connection, hf_stream_binding */

#define HF_DOMAIN_CHANGE   "holdfast-change-1"
#define HF_DOMAIN_ACTIVATE "holdfast-activate-1"

struct hf_sign_key {
	uint8_t secret[HF_KEY_BYTES];
	uint8_t public_key[HF_KEY_BYTES];
};

int hf_sign_key_make(struct hf_sign_key *key);
/* Computes the public key of the secret one. */
int hf_sign_key_public(struct hf_sign_key *key);
/* Reads the key file (0600, one line `holdfast-ed25519-1 <64 hex>`) or makes it with a new key. */
int hf_sign_key_file(const char *path, struct hf_sign_key *key, struct hf_errmsg *message);
int hf_sign(const struct hf_sign_key *key, const char *domain, const void *bytes, size_t length,
	    uint8_t signature[HF_SIGNATURE_BYTES]);
/* A key made ready once, for who signs much: a third of the time for each. One thread at a time. */
struct hf_signing;
/* 0 or HF_ENOMEM. The key is copied. */
int hf_signing_open(const struct hf_sign_key *key, struct hf_signing **signing);
/* NULL is harmless. */
void hf_signing_close(struct hf_signing *signing);
/* The same signature as hf_sign with its key. */
int hf_signing_sign(struct hf_signing *signing, const char *domain, const void *bytes,
		    size_t length, uint8_t signature[HF_SIGNATURE_BYTES]);
/* Of its public key. */
void hf_signing_id(const struct hf_signing *signing, uint8_t id[HF_KEY_ID_BYTES]);
/* 0 or HF_EAUTH. */
int hf_sign_verify(const uint8_t public_key[HF_KEY_BYTES], const char *domain, const void *bytes,
		   size_t length, const uint8_t signature[HF_SIGNATURE_BYTES]);
/* First 8 bytes of the SHA-256 of the public key. */
void hf_sign_key_id(const uint8_t public_key[HF_KEY_BYTES], uint8_t id[HF_KEY_ID_BYTES]);
/* The public key of a secret one; `type` is EVP_PKEY_ED25519 or EVP_PKEY_X25519. 0 or HF_ENOMEM. */
int hf_key_public(int type, const uint8_t secret[HF_KEY_BYTES], uint8_t public_key[HF_KEY_BYTES]);
void hf_sha256(const void *bytes, size_t length, uint8_t hash[HF_HASH_BYTES]);
/* HMAC-SHA-256 (RFC 2104). */
void hf_mac(const uint8_t key[HF_KEY_BYTES], const void *bytes, size_t length,
	    uint8_t mac[HF_HASH_BYTES]);
/* Strong random bytes; ends the process if the system has none. */
void hf_random(void *bytes, size_t length);

/* ---- Signed changes (proto/channel.proto, Signed and Change) ---- */

/* Fills in `change->hash` on the wire (of its document, action …), signs, and gives a malloc'ed
 * encoded Signed. */
int hf_change_sign(const struct hf_sign_key *key, const Holdfast__Change *change, uint8_t **encoded,
		   size_t *encoded_length);
/* The same, with a key made ready. */
int hf_change_sign_with(struct hf_signing *signing, const Holdfast__Change *change,
			uint8_t **encoded, size_t *encoded_length);
/* Checks key, signature, tenant, gateway and hash. 0 and `*change`, freed with
 * holdfast__change__free_unpacked(change, NULL); HF_EAUTH or HF_EINVAL and why in `message`. The
 * sequence is the caller's to check. */
int hf_change_verify(const uint8_t signer_key[HF_KEY_BYTES], uint64_t tenant, uint64_t gateway,
		     const Holdfast__Signed *signed_change, Holdfast__Change **change,
		     struct hf_errmsg *message);

/* The sequence of an encoded Signed, which nobody has verified here; 0: it is none. */
uint64_t hf_change_sequence(const uint8_t *encoded, size_t length);

/* The same change without its document, for travelling with a delta (proto/delta.h), of an encoded
 * Signed; freed with holdfast__signed__free_unpacked(…, NULL). HF_EINVAL: it holds no document. */
int hf_change_without_document(const uint8_t *encoded, size_t length, Holdfast__Signed **lacking);
/* And whole again, to be verified like any other. HF_ESTALE: the bytes are not those of its hash;
 * HF_EINVAL: no such change. */
int hf_change_with_document(const Holdfast__Signed *lacking, const uint8_t *document, size_t length,
			    Holdfast__Signed **packet);

#endif
