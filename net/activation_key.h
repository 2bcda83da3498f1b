/* The activation key that an administrator carries from the gateway's console to the provider:
 * 8 random bytes of the provider (the number) and an 80-bit hash that the gateway computes over its
 * own keys and the provider's root keys. Nobody in the middle can swap either. Any thread.
 *
 * Text: 30 symbols of Crockford's base32 in six groups, "XXXXX-XXXXX-…", 35 characters: 64 bits of
 * number, 80 of hash, 6 of check against slips of the pen. Reading takes either case, spaces for
 * dashes or none, O for 0, I and L for 1. */
#ifndef HF_NET_ACTIVATION_KEY_H
#define HF_NET_ACTIVATION_KEY_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/sign.h"
#include "proto/channel.pb-c.h"

#define HF_ACTIVATION_NUMBER_BYTES 8u
#define HF_ACTIVATION_HASH_BYTES   10u
#define HF_ACTIVATION_TEXT_MAX     36u /* bytes, with the terminator */

struct hf_activation_keys {
	uint8_t identity[HF_KEY_BYTES];  /* gateway's, Ed25519 */
	uint8_t sealing[HF_KEY_BYTES];   /* gateway's, X25519 */
	uint8_t authority[HF_KEY_BYTES]; /* provider's root, Ed25519 */
	uint8_t signer[HF_KEY_BYTES];    /* provider's signer of changes, Ed25519 */
};

/* The first 80 bits of SHA-256("holdfast-activation-1" NUL number identity sealing authority
 * signer). */
void hf_activation_hash(const uint8_t number[HF_ACTIVATION_NUMBER_BYTES],
			const struct hf_activation_keys *keys,
			uint8_t hash[HF_ACTIVATION_HASH_BYTES]);
void hf_activation_key_format(const uint8_t number[HF_ACTIVATION_NUMBER_BYTES],
			      const uint8_t hash[HF_ACTIVATION_HASH_BYTES],
			      char text[HF_ACTIVATION_TEXT_MAX]);
/* 0 or HF_EINVAL: not a key, or mistyped. */
int hf_activation_key_parse(const char *text, uint8_t number[HF_ACTIVATION_NUMBER_BYTES],
			    uint8_t hash[HF_ACTIVATION_HASH_BYTES]);
/* 0 or HF_EAUTH, in constant time. */
int hf_activation_hash_compare(const uint8_t a[HF_ACTIVATION_HASH_BYTES],
			       const uint8_t b[HF_ACTIVATION_HASH_BYTES]);

/* The proof in a hello: a signature of the identity key (domain HF_DOMAIN_ACTIVATE) over
 * identity_key, sealing_key, the SHA-256 of `request` and the binding of the connection it travels
 * on (hf_stream_binding), so that whoever heard it cannot say it again. */
int hf_hello_prove(const struct hf_sign_key *key, const Holdfast__ActivateHello *hello,
		   const uint8_t binding[HF_BINDING_BYTES], uint8_t proof[HF_SIGNATURE_BYTES]);
/* Checks sizes, the proof, and that `request` is for identity_key; HF_EINVAL or HF_EAUTH with why.
 */
int hf_hello_check(const Holdfast__ActivateHello *hello, const uint8_t binding[HF_BINDING_BYTES],
		   struct hf_errmsg *message);

#endif
