/* Keys and ciphers of the remote copy: HKDF-SHA-256 (RFC 5869) and AES-256-GCM (NIST SP 800-38D),
 * from libcrypto. No state, any thread. */
#ifndef HF_REMOTE_CRYPT_H
#define HF_REMOTE_CRYPT_H

#include <stddef.h>
#include <stdint.h>

#define HF_KEY_BYTES  32u
#define HF_SALT_BYTES 32u
#define HF_TAG_BYTES  16u

/* A nonce is unique per key: every key is derived for one object, and numbers what it seals. */
enum hf_nonce_domain { HF_NONCE_CHUNK = 0, HF_NONCE_BODY = 1 };

struct hf_cipher {
	const uint8_t *key; /* HF_KEY_BYTES */
	enum hf_nonce_domain domain;
	uint64_t number;
	const void *associated;
	size_t associated_bytes;
};

/* Key for `purpose` (text, at most 64 bytes) out of `secret` and `salt`. 0 or HF_ENOMEM. */
int hf_crypt_derive(const uint8_t secret[HF_KEY_BYTES], const uint8_t salt[HF_SALT_BYTES],
		    const char *purpose, uint8_t key[HF_KEY_BYTES]);
/* Encrypts `length` bytes (at most 1 GiB) from `plain` to `sealed`, which may be the same. 0 or
 * HF_ENOMEM. */
int hf_crypt_seal(const struct hf_cipher *cipher, const void *plain, size_t length, void *sealed,
		  uint8_t tag[HF_TAG_BYTES]);
/* The reverse; HF_EAUTH if anything differs from what was sealed (then `plain` is undefined). */
int hf_crypt_open(const struct hf_cipher *cipher, const void *sealed, size_t length, void *plain,
		  const uint8_t tag[HF_TAG_BYTES]);
/* Overwrites a secret before its memory is given back. */
void hf_crypt_wipe(void *secret, size_t length);

#endif
