/* Sealing (net/seal.h) over OpenSSL's EVP. No state; secrets are wiped where they lay. */
#include "net/seal.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/ids.h"
#include "net/key_file.h"
#include "proto/document.pb-c.h"

#define NONCE_BYTES 12
#define TAG_BYTES   16
#define SEAL_INFO   "holdfast-seal-1"
#define REPEATABLE  "holdfast-seal-repeatable-1"

void hf_wipe_free(void *bytes, size_t length)
{
	if (bytes)
		explicit_bzero(bytes, length);
	free(bytes);
}

void hf_purpose_volume(uint64_t volume, uint64_t version, char purpose[HF_PURPOSE_MAX])
{
	char id[HF_ID_TEXT_MAX];

	snprintf(purpose, HF_PURPOSE_MAX, "volume/%s/%llu", hf_id_format(HF_ID_VOLUME, volume, id),
		 (unsigned long long)version);
}

void hf_purpose_network(uint64_t version, char purpose[HF_PURPOSE_MAX])
{
	snprintf(purpose, HF_PURPOSE_MAX, "network/%" PRIu64, version);
}

int hf_seal_key_public(struct hf_seal_key *key)
{
	return hf_key_public(EVP_PKEY_X25519, key->secret, key->public_key);
}

int hf_seal_key_make(struct hf_seal_key *key)
{
	hf_random(key->secret, sizeof key->secret);
	return hf_seal_key_public(key);
}

int hf_seal_key_file(const char *path, struct hf_seal_key *key, struct hf_errmsg *message)
{
	int err = hf_key_file(path, "holdfast-x25519-1", key->secret, message);

	return err ? err : hf_seal_key_public(key);
}

static int shared_secret(const uint8_t secret[HF_KEY_BYTES], const uint8_t peer[HF_KEY_BYTES],
			 uint8_t shared[HF_KEY_BYTES])
{
	EVP_PKEY *own = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, secret, HF_KEY_BYTES);
	EVP_PKEY *other = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, peer, HF_KEY_BYTES);
	EVP_PKEY_CTX *context = own ? EVP_PKEY_CTX_new(own, NULL) : NULL;
	size_t length = HF_KEY_BYTES;
	/* A derive to all zeros (a key of low order) fails inside. */
	int ok = other && context && EVP_PKEY_derive_init(context) == 1 &&
		 EVP_PKEY_derive_set_peer(context, other) == 1 &&
		 EVP_PKEY_derive(context, shared, &length) == 1;

	EVP_PKEY_CTX_free(context);
	EVP_PKEY_free(other);
	EVP_PKEY_free(own);
	return ok ? 0 : HF_EAUTH;
}

/* HKDF-SHA-256: salt = ephemeral public key, recipient's public key; info = SEAL_INFO. */
static int derive_key(const uint8_t shared[HF_KEY_BYTES], const uint8_t ephemeral[HF_KEY_BYTES],
		      const uint8_t recipient[HF_KEY_BYTES], uint8_t key[HF_KEY_BYTES])
{
	uint8_t salt[2 * HF_KEY_BYTES], ikm[HF_KEY_BYTES];
	EVP_KDF *hkdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *context = hkdf ? EVP_KDF_CTX_new(hkdf) : NULL;
	char digest[] = "SHA256", info[] = SEAL_INFO;
	int ok;

	memcpy(salt, ephemeral, HF_KEY_BYTES);
	memcpy(salt + HF_KEY_BYTES, recipient, HF_KEY_BYTES);
	memcpy(ikm, shared, HF_KEY_BYTES);
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, ikm, sizeof ikm),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, salt, sizeof salt),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, sizeof info - 1),
		OSSL_PARAM_construct_end(),
	};
	ok = context && EVP_KDF_derive(context, key, HF_KEY_BYTES, params) == 1;
	EVP_KDF_CTX_free(context);
	EVP_KDF_free(hkdf);
	explicit_bzero(ikm, sizeof ikm);
	return ok ? 0 : HF_ENOMEM;
}

static int encrypt(const uint8_t key[HF_KEY_BYTES], const uint8_t nonce[NONCE_BYTES],
		   const char *purpose, const void *plain, size_t length, uint8_t *out)
{
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	int n = 0, ok;

	ok = context && EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
	     EVP_EncryptUpdate(context, NULL, &n, (const uint8_t *)purpose, (int)strlen(purpose)) ==
		     1 &&
	     EVP_EncryptUpdate(context, out, &n, plain, (int)length) == 1 &&
	     EVP_EncryptFinal_ex(context, out + n, &n) == 1 &&
	     EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, out + length) == 1;
	EVP_CIPHER_CTX_free(context);
	return ok ? 0 : HF_ENOMEM;
}

static int decrypt(const uint8_t key[HF_KEY_BYTES], const uint8_t nonce[NONCE_BYTES],
		   const char *purpose, uint8_t *cipher, size_t length, uint8_t *out)
{
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	int n = 0, ok;

	ok = context && EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
	     EVP_DecryptUpdate(context, NULL, &n, (const uint8_t *)purpose, (int)strlen(purpose)) ==
		     1 &&
	     EVP_DecryptUpdate(context, out, &n, cipher, (int)length) == 1 &&
	     EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, cipher + length) == 1 &&
	     EVP_DecryptFinal_ex(context, out + n, &n) == 1;
	EVP_CIPHER_CTX_free(context);
	return ok ? 0 : HF_EAUTH;
}

static int pack_sealed(const uint8_t *ephemeral, const uint8_t *nonce, uint8_t *cipher,
		       size_t cipher_length, const char *purpose, uint8_t **sealed,
		       size_t *sealed_length)
{
	Holdfast__Sealed packet = HOLDFAST__SEALED__INIT;

	packet.ephemeral = (ProtobufCBinaryData){HF_KEY_BYTES, (uint8_t *)(uintptr_t)ephemeral};
	packet.nonce = (ProtobufCBinaryData){NONCE_BYTES, (uint8_t *)(uintptr_t)nonce};
	packet.ciphertext = (ProtobufCBinaryData){cipher_length, cipher};
	packet.purpose = (char *)(uintptr_t)purpose;
	*sealed_length = holdfast__sealed__get_packed_size(&packet);
	*sealed = malloc(*sealed_length);
	if (!*sealed)
		return HF_ENOMEM;
	holdfast__sealed__pack(&packet, *sealed);
	return 0;
}

/* With this ephemeral key, which is wiped, and nonce. */
static int seal_with(struct hf_seal_key *ephemeral, const uint8_t nonce[NONCE_BYTES],
		     const uint8_t public_key[HF_KEY_BYTES], const char *purpose, const void *plain,
		     size_t plain_length, uint8_t **sealed, size_t *sealed_length)
{
	uint8_t shared[HF_KEY_BYTES], key[HF_KEY_BYTES];
	uint8_t *cipher;
	int err;

	if (plain_length > INT32_MAX / 2)
		return HF_ETOOBIG;
	cipher = malloc(plain_length + TAG_BYTES);
	if (!cipher)
		return HF_ENOMEM;
	err = hf_seal_key_public(ephemeral);
	if (!err)
		err = shared_secret(ephemeral->secret, public_key, shared);
	if (!err)
		err = derive_key(shared, ephemeral->public_key, public_key, key);
	if (!err)
		err = encrypt(key, nonce, purpose, plain, plain_length, cipher);
	if (!err)
		err = pack_sealed(ephemeral->public_key, nonce, cipher, plain_length + TAG_BYTES,
				  purpose, sealed, sealed_length);
	free(cipher);
	explicit_bzero(ephemeral, sizeof *ephemeral);
	explicit_bzero(shared, sizeof shared);
	explicit_bzero(key, sizeof key);
	return err;
}

int hf_seal(const uint8_t public_key[HF_KEY_BYTES], const char *purpose, const void *plain,
	    size_t plain_length, uint8_t **sealed, size_t *sealed_length)
{
	struct hf_seal_key ephemeral;
	uint8_t nonce[NONCE_BYTES];

	hf_random(nonce, sizeof nonce);
	hf_random(ephemeral.secret, sizeof ephemeral.secret);
	return seal_with(&ephemeral, nonce, public_key, purpose, plain, plain_length, sealed,
			 sealed_length);
}

/* HMAC-SHA-512 under the sealer's secret key of all that decides about the result. */
static int derive_ephemeral(const struct hf_seal_key *sealer, const uint8_t *public_key,
			    const char *purpose, const void *plain, size_t plain_length,
			    uint8_t out[EVP_MAX_MD_SIZE])
{
	size_t purpose_length = strlen(purpose) + 1;
	size_t length = sizeof REPEATABLE + HF_KEY_BYTES + purpose_length + plain_length;
	uint8_t *input = malloc(length), *at = input, *made;
	unsigned size = 0;

	if (!input)
		return HF_ENOMEM;
	at = mempcpy(at, REPEATABLE, sizeof REPEATABLE);
	at = mempcpy(at, public_key, HF_KEY_BYTES);
	at = mempcpy(at, purpose, purpose_length);
	memcpy(at, plain, plain_length);
	made = HMAC(EVP_sha512(), sealer->secret, HF_KEY_BYTES, input, length, out, &size);
	hf_wipe_free(input, length);
	return made && size >= HF_KEY_BYTES + NONCE_BYTES ? 0 : HF_ENOMEM;
}

int hf_seal_repeatable(const struct hf_seal_key *sealer, const uint8_t public_key[HF_KEY_BYTES],
		       const char *purpose, const void *plain, size_t plain_length,
		       uint8_t **sealed, size_t *sealed_length)
{
	uint8_t drawn[EVP_MAX_MD_SIZE];
	struct hf_seal_key ephemeral;
	int err = derive_ephemeral(sealer, public_key, purpose, plain, plain_length, drawn);

	if (err)
		return err;
	memcpy(ephemeral.secret, drawn, HF_KEY_BYTES);
	err = seal_with(&ephemeral, drawn + HF_KEY_BYTES, public_key, purpose, plain, plain_length,
			sealed, sealed_length);
	explicit_bzero(drawn, sizeof drawn);
	return err;
}

static int open_packet(const struct hf_seal_key *own, const Holdfast__Sealed *packet,
		       uint8_t *plain, size_t plain_length)
{
	uint8_t shared[HF_KEY_BYTES], key[HF_KEY_BYTES];
	int err = shared_secret(own->secret, packet->ephemeral.data, shared);

	if (!err)
		err = derive_key(shared, packet->ephemeral.data, own->public_key, key);
	if (!err)
		err = decrypt(key, packet->nonce.data, packet->purpose, packet->ciphertext.data,
			      plain_length, plain);
	explicit_bzero(shared, sizeof shared);
	explicit_bzero(key, sizeof key);
	return err;
}

int hf_unseal(const struct hf_seal_key *key, const char *purpose, const uint8_t *sealed,
	      size_t sealed_length, uint8_t **plain, size_t *plain_length)
{
	Holdfast__Sealed *packet = holdfast__sealed__unpack(NULL, sealed_length, sealed);
	uint8_t *out = NULL;
	size_t length = 0;
	int err = 0;

	if (!packet || packet->ephemeral.len != HF_KEY_BYTES || packet->nonce.len != NONCE_BYTES ||
	    packet->ciphertext.len < TAG_BYTES || packet->ciphertext.len > INT32_MAX / 2)
		err = HF_EINVAL;
	else if (strcmp(packet->purpose, purpose) != 0)
		err = HF_EAUTH;
	if (!err) {
		length = packet->ciphertext.len - TAG_BYTES;
		out = malloc(length + 1);
		err = out ? open_packet(key, packet, out, length) : HF_ENOMEM;
	}
	holdfast__sealed__free_unpacked(packet, NULL);
	if (err) {
		hf_wipe_free(out, length);
		return err;
	}
	out[length] = '\0';
	*plain = out;
	*plain_length = length;
	return 0;
}
