/* Ed25519 over OpenSSL's EVP, and signed changes (net/sign.h). No state. */
#include "net/sign.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "net/key_file.h"

#define DOMAIN_MAX 64u

void hf_random(void *bytes, size_t length)
{
	HF_ASSERT(RAND_bytes(bytes, (int)length) == 1);
}

void hf_sha256(const void *bytes, size_t length, uint8_t hash[HF_HASH_BYTES])
{
	HF_ASSERT(EVP_Digest(bytes, length, hash, NULL, EVP_sha256(), NULL) == 1);
}

void hf_mac(const uint8_t key[HF_KEY_BYTES], const void *bytes, size_t length,
	    uint8_t mac[HF_HASH_BYTES])
{
	HF_ASSERT(HMAC(EVP_sha256(), key, HF_KEY_BYTES, bytes, length, mac, NULL));
}

void hf_sign_key_id(const uint8_t public_key[HF_KEY_BYTES], uint8_t id[HF_KEY_ID_BYTES])
{
	uint8_t hash[HF_HASH_BYTES];

	hf_sha256(public_key, HF_KEY_BYTES, hash);
	memcpy(id, hash, HF_KEY_ID_BYTES);
}

int hf_key_public(int type, const uint8_t secret[HF_KEY_BYTES], uint8_t public_key[HF_KEY_BYTES])
{
	EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key(type, NULL, secret, HF_KEY_BYTES);
	size_t length = HF_KEY_BYTES;
	int ok = pkey && EVP_PKEY_get_raw_public_key(pkey, public_key, &length) == 1;

	EVP_PKEY_free(pkey);
	return ok ? 0 : HF_ENOMEM;
}

int hf_sign_key_public(struct hf_sign_key *key)
{
	return hf_key_public(EVP_PKEY_ED25519, key->secret, key->public_key);
}

int hf_sign_key_make(struct hf_sign_key *key)
{
	hf_random(key->secret, sizeof key->secret);
	return hf_sign_key_public(key);
}

int hf_sign_key_file(const char *path, struct hf_sign_key *key, struct hf_errmsg *message)
{
	int err = hf_key_file(path, "holdfast-ed25519-1", key->secret, message);

	return err ? err : hf_sign_key_public(key);
}

/* domain NUL bytes, malloc'ed. */
static uint8_t *with_domain(const char *domain, const void *bytes, size_t length, size_t *total)
{
	size_t domain_length = strlen(domain) + 1;
	uint8_t *text;

	HF_ASSERT(domain_length <= DOMAIN_MAX);
	text = malloc(domain_length + length);
	if (!text)
		return NULL;
	memcpy(text, domain, domain_length);
	if (length)
		memcpy(text + domain_length, bytes, length);
	*total = domain_length + length;
	return text;
}

int hf_sign(const struct hf_sign_key *key, const char *domain, const void *bytes, size_t length,
	    uint8_t signature[HF_SIGNATURE_BYTES])
{
	EVP_PKEY *pkey =
		EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key->secret, HF_KEY_BYTES);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	size_t total = 0, signature_length = HF_SIGNATURE_BYTES;
	uint8_t *text = with_domain(domain, bytes, length, &total);
	int ok = pkey && context && text &&
		 EVP_DigestSignInit(context, NULL, NULL, NULL, pkey) == 1 &&
		 EVP_DigestSign(context, signature, &signature_length, text, total) == 1;

	free(text);
	EVP_MD_CTX_free(context);
	EVP_PKEY_free(pkey);
	return ok ? 0 : HF_ENOMEM;
}

/* ---- A key made ready ---- */

struct hf_signing {
	uint8_t id[HF_KEY_ID_BYTES];
	EVP_MD_CTX *ready; /* set up with the key, never used itself */
	EVP_MD_CTX *one;   /* a copy of it, for one signature */
};

int hf_signing_open(const struct hf_sign_key *key, struct hf_signing **out)
{
	struct hf_signing *signing = calloc(1, sizeof *signing);
	EVP_PKEY *pkey =
		EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key->secret, HF_KEY_BYTES);
	int ok = signing && pkey;

	if (ok) {
		hf_sign_key_id(key->public_key, signing->id);
		signing->ready = EVP_MD_CTX_new();
		signing->one = EVP_MD_CTX_new();
		ok = signing->ready && signing->one &&
		     EVP_DigestSignInit(signing->ready, NULL, NULL, NULL, pkey) == 1;
	}
	EVP_PKEY_free(pkey);
	if (!ok) {
		hf_signing_close(signing);
		return HF_ENOMEM;
	}
	*out = signing;
	return 0;
}

void hf_signing_close(struct hf_signing *signing)
{
	if (!signing)
		return;
	EVP_MD_CTX_free(signing->one);
	EVP_MD_CTX_free(signing->ready);
	free(signing);
}

void hf_signing_id(const struct hf_signing *signing, uint8_t id[HF_KEY_ID_BYTES])
{
	memcpy(id, signing->id, HF_KEY_ID_BYTES);
}

int hf_signing_sign(struct hf_signing *signing, const char *domain, const void *bytes,
		    size_t length, uint8_t signature[HF_SIGNATURE_BYTES])
{
	size_t total = 0, signature_length = HF_SIGNATURE_BYTES;
	uint8_t *text = with_domain(domain, bytes, length, &total);
	int ok = text && EVP_MD_CTX_copy_ex(signing->one, signing->ready) == 1 &&
		 EVP_DigestSign(signing->one, signature, &signature_length, text, total) == 1;

	free(text);
	return ok ? 0 : HF_ENOMEM;
}

int hf_sign_verify(const uint8_t public_key[HF_KEY_BYTES], const char *domain, const void *bytes,
		   size_t length, const uint8_t signature[HF_SIGNATURE_BYTES])
{
	EVP_PKEY *pkey =
		EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_key, HF_KEY_BYTES);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	size_t total = 0;
	uint8_t *text = with_domain(domain, bytes, length, &total);
	int ok = pkey && context && text &&
		 EVP_DigestVerifyInit(context, NULL, NULL, NULL, pkey) == 1 &&
		 EVP_DigestVerify(context, signature, HF_SIGNATURE_BYTES, text, total) == 1;

	free(text);
	EVP_MD_CTX_free(context);
	EVP_PKEY_free(pkey);
	return ok ? 0 : HF_EAUTH;
}
