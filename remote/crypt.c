/* HKDF and AES-GCM over libcrypto, behind remote/crypt.h. No state, any thread. */
#include "remote/crypt.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "base/err.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

#define NONCE_BYTES   12u
#define LENGTH_MAX    (1u << 30)
#define PURPOSE_BYTES 64u

int hf_crypt_derive(const uint8_t secret[HF_KEY_BYTES], const uint8_t salt[HF_SALT_BYTES],
		    const char *purpose, uint8_t key[HF_KEY_BYTES])
{
	uint8_t extracted[EVP_MAX_MD_SIZE], info[PURPOSE_BYTES + 1];
	int length = snprintf((char *)info, sizeof info, "%s", purpose), err = HF_ENOMEM;

	HF_ASSERT(length >= 0 && length <= (int)PURPOSE_BYTES);
	info[length] = 1; /* RFC 5869 2.3: one block of output is one block of SHA-256 */
	if (HMAC(EVP_sha256(), salt, HF_SALT_BYTES, secret, HF_KEY_BYTES, extracted, NULL) &&
	    HMAC(EVP_sha256(), extracted, HF_KEY_BYTES, info, (size_t)length + 1, key, NULL))
		err = 0;
	OPENSSL_cleanse(extracted, sizeof extracted);
	return err;
}

static void make_nonce(const struct hf_cipher *cipher, uint8_t nonce[NONCE_BYTES])
{
	hf_put_le32(nonce, cipher->domain);
	hf_put_le64(nonce + 4, cipher->number);
}

int hf_crypt_seal(const struct hf_cipher *cipher, const void *plain, size_t length, void *sealed,
		  uint8_t tag[HF_TAG_BYTES])
{
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	uint8_t nonce[NONCE_BYTES];
	int given = 0, err = HF_ENOMEM;

	HF_ASSERT(length <= LENGTH_MAX && cipher->associated_bytes <= LENGTH_MAX);
	make_nonce(cipher, nonce);
	if (context && EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, cipher->key, nonce) &&
	    EVP_EncryptUpdate(context, NULL, &given, cipher->associated,
			      (int)cipher->associated_bytes) &&
	    (length == 0 || EVP_EncryptUpdate(context, sealed, &given, plain, (int)length)) &&
	    EVP_EncryptFinal_ex(context, tag, &given) &&
	    EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, HF_TAG_BYTES, tag))
		err = 0;
	EVP_CIPHER_CTX_free(context);
	return err;
}

int hf_crypt_open(const struct hf_cipher *cipher, const void *sealed, size_t length, void *plain,
		  const uint8_t tag[HF_TAG_BYTES])
{
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	uint8_t nonce[NONCE_BYTES], expected[HF_TAG_BYTES], rest[HF_TAG_BYTES];
	int given = 0, err = HF_ENOMEM;

	HF_ASSERT(length <= LENGTH_MAX && cipher->associated_bytes <= LENGTH_MAX);
	make_nonce(cipher, nonce);
	memcpy(expected, tag, sizeof expected);
	if (context && EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), NULL, cipher->key, nonce) &&
	    EVP_DecryptUpdate(context, NULL, &given, cipher->associated,
			      (int)cipher->associated_bytes) &&
	    (length == 0 || EVP_DecryptUpdate(context, plain, &given, sealed, (int)length)) &&
	    EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, HF_TAG_BYTES, expected))
		err = EVP_DecryptFinal_ex(context, rest, &given) == 1 ? 0 : HF_EAUTH;
	EVP_CIPHER_CTX_free(context);
	return err;
}

void hf_crypt_wipe(void *secret, size_t length)
{
	OPENSSL_cleanse(secret, length);
}
