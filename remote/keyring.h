/* A volume's key ring: the random data key that seals everything else of the volume, itself sealed
 * with the wrap key that the gateway (or the customer, in a key file) holds. No state, any thread.
 * docs/format/objects.md, "Key ring". */
#ifndef HF_REMOTE_KEYRING_H
#define HF_REMOTE_KEYRING_H

#include "remote/sealed.h"

#define HF_KEYRING_BODY_BYTES 48u
#define HF_KEYRING_BYTES      (HF_SEALED_PREFIX_BYTES + HF_KEYRING_BODY_BYTES)

/* Writes HF_KEYRING_BYTES to `out`. 0 or HF_ENOMEM. */
int hf_keyring_write(uint64_t tenant, uint64_t volume, const uint8_t wrap_key[HF_KEY_BYTES],
		     const uint8_t salt[HF_SALT_BYTES], const uint8_t data_key[HF_KEY_BYTES],
		     uint8_t *out);
/* Reads any bytes. 0; HF_ECORRUPT, HF_EUNSUPPORTED; HF_EAUTH: intact, but the wrap key is not the
 * one it was sealed with; HF_ENOMEM. */
int hf_keyring_read(uint64_t tenant, uint64_t volume, const uint8_t wrap_key[HF_KEY_BYTES],
		    const uint8_t *bytes, size_t length, uint8_t data_key[HF_KEY_BYTES],
		    struct hf_errmsg *message);

#endif
