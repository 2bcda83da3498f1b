/* Sealing secrets to an X25519 key (proto/document.proto, Sealed): an ephemeral key pair, HKDF-
 * SHA-256 of the shared secret with both public keys as salt and "holdfast-seal-1" as info, and
 * AES-256-GCM with the purpose as associated data. A secret sealed for one purpose does not open
 * for another. Any thread. */
#ifndef HF_NET_SEAL_H
#define HF_NET_SEAL_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/sign.h"

struct hf_seal_key {
	uint8_t secret[HF_KEY_BYTES];
	uint8_t public_key[HF_KEY_BYTES];
};

#define HF_PURPOSE_MAX   64u /* bytes, with the terminator */
#define HF_PURPOSE_STORE "store"

int hf_seal_key_make(struct hf_seal_key *key);
/* Computes the public key of the secret one. */
int hf_seal_key_public(struct hf_seal_key *key);
/* Reads the key file (0600, one line `holdfast-x25519-1 <64 hex>`) or makes it with a new key. */
int hf_seal_key_file(const char *path, struct hf_seal_key *key, struct hf_errmsg *message);

/* A malloc'ed encoded Sealed. */
int hf_seal(const uint8_t public_key[HF_KEY_BYTES], const char *purpose, const void *plain,
	    size_t plain_length, uint8_t **sealed, size_t *sealed_length);
/* The same, and the same secret for the same purpose and key gives the same bytes again, so that a
 * document that is built anew has the same hash: ephemeral key and nonce are drawn from all of it
 * under the sealer's own secret key. Whoever sees both learns that they are equal, no more. */
int hf_seal_repeatable(const struct hf_seal_key *sealer, const uint8_t public_key[HF_KEY_BYTES],
		       const char *purpose, const void *plain, size_t plain_length,
		       uint8_t **sealed, size_t *sealed_length);
/* The malloc'ed plain bytes, to be wiped by the caller (hf_wipe_free). HF_EAUTH: another key,
 * another purpose, or changed; HF_EINVAL: no Sealed at all. */
int hf_unseal(const struct hf_seal_key *key, const char *purpose, const uint8_t *sealed,
	      size_t sealed_length, uint8_t **plain, size_t *plain_length);
/* Purpose of the secrets of a volume's entry or tombstone: "volume/vol-…/<version>". */
void hf_purpose_volume(uint64_t volume, uint64_t version, char purpose[HF_PURPOSE_MAX]);
/* Of the proxy's credentials in network settings: "network/<version>". */
void hf_purpose_network(uint64_t version, char purpose[HF_PURPOSE_MAX]);

/* Wipes and frees; NULL is harmless. */
void hf_wipe_free(void *bytes, size_t length);

#endif
