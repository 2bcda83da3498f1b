/* Activation keys and the proof in a hello (net/activation_key.h). No state. */
#include "net/activation_key.h"

#include <openssl/crypto.h>
#include <string.h>

#include "base/assert.h"
#include "net/identity.h"

#define SYMBOLS     30u
#define GROUP       5u
#define CHECK_BITS  6u
#define KEY_BYTES   (HF_ACTIVATION_NUMBER_BYTES + HF_ACTIVATION_HASH_BYTES)
#define HASH_DOMAIN "holdfast-activation-1"
#define HELLO_BYTES (2 * HF_KEY_BYTES + HF_HASH_BYTES + HF_BINDING_BYTES)

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

HF_STATIC_ASSERT(KEY_BYTES * 8 + CHECK_BITS == SYMBOLS * 5, "the symbols hold number, hash, check");

void hf_activation_hash(const uint8_t number[HF_ACTIVATION_NUMBER_BYTES],
			const struct hf_activation_keys *keys,
			uint8_t hash[HF_ACTIVATION_HASH_BYTES])
{
	uint8_t text[sizeof HASH_DOMAIN + HF_ACTIVATION_NUMBER_BYTES + 4 * HF_KEY_BYTES];
	uint8_t full[HF_HASH_BYTES], *at = text;

	at = mempcpy(at, HASH_DOMAIN, sizeof HASH_DOMAIN); /* with its NUL */
	at = mempcpy(at, number, HF_ACTIVATION_NUMBER_BYTES);
	at = mempcpy(at, keys->identity, HF_KEY_BYTES);
	at = mempcpy(at, keys->sealing, HF_KEY_BYTES);
	at = mempcpy(at, keys->authority, HF_KEY_BYTES);
	at = mempcpy(at, keys->signer, HF_KEY_BYTES);
	HF_ASSERT(at == text + sizeof text);
	hf_sha256(text, sizeof text, full);
	memcpy(hash, full, HF_ACTIVATION_HASH_BYTES);
}

int hf_activation_hash_compare(const uint8_t a[HF_ACTIVATION_HASH_BYTES],
			       const uint8_t b[HF_ACTIVATION_HASH_BYTES])
{
	return CRYPTO_memcmp(a, b, HF_ACTIVATION_HASH_BYTES) == 0 ? 0 : HF_EAUTH;
}

/* ---- Text: number, hash and check as one row of bits, five to a symbol ---- */

static uint8_t check_of(const uint8_t key[KEY_BYTES])
{
	uint8_t hash[HF_HASH_BYTES];

	hf_sha256(key, KEY_BYTES, hash);
	return hash[0] >> (8 - CHECK_BITS);
}

void hf_activation_key_format(const uint8_t number[HF_ACTIVATION_NUMBER_BYTES],
			      const uint8_t hash[HF_ACTIVATION_HASH_BYTES],
			      char text[HF_ACTIVATION_TEXT_MAX])
{
	uint8_t bits[KEY_BYTES + 1];
	unsigned at = 0;

	memcpy(bits, number, HF_ACTIVATION_NUMBER_BYTES);
	memcpy(bits + HF_ACTIVATION_NUMBER_BYTES, hash, HF_ACTIVATION_HASH_BYTES);
	bits[KEY_BYTES] = (uint8_t)(check_of(bits) << (8 - CHECK_BITS));
	for (unsigned i = 0; i < SYMBOLS; i++) {
		unsigned value = 0;

		for (unsigned bit = i * 5; bit < i * 5 + 5; bit++)
			value = value << 1 | (bits[bit / 8] >> (7 - bit % 8) & 1u);
		if (i && i % GROUP == 0)
			text[at++] = '-';
		text[at++] = alphabet[value];
	}
	text[at++] = '\0';
	HF_ASSERT(at == HF_ACTIVATION_TEXT_MAX);
}

static int symbol_value(char symbol)
{
	const char *found;

	if (symbol >= 'a' && symbol <= 'z')
		symbol = (char)(symbol - 'a' + 'A');
	if (symbol == 'O')
		symbol = '0';
	if (symbol == 'I' || symbol == 'L')
		symbol = '1';
	found = symbol ? strchr(alphabet, symbol) : NULL;
	return found ? (int)(found - alphabet) : -1;
}

int hf_activation_key_parse(const char *text, uint8_t number[HF_ACTIVATION_NUMBER_BYTES],
			    uint8_t hash[HF_ACTIVATION_HASH_BYTES])
{
	uint8_t bits[KEY_BYTES + 1] = {0};
	unsigned used = 0;

	for (; *text; text++) {
		int value = symbol_value(*text);

		if (*text == '-' || *text == ' ')
			continue;
		if (value < 0 || used == SYMBOLS)
			return HF_EINVAL;
		for (unsigned i = 0; i < 5; i++) {
			unsigned bit = used * 5 + i;

			if (value >> (4 - i) & 1)
				bits[bit / 8] |= (uint8_t)(1u << (7 - bit % 8));
		}
		used++;
	}
	if (used != SYMBOLS || bits[KEY_BYTES] >> (8 - CHECK_BITS) != check_of(bits))
		return HF_EINVAL;
	memcpy(number, bits, HF_ACTIVATION_NUMBER_BYTES);
	memcpy(hash, bits + HF_ACTIVATION_NUMBER_BYTES, HF_ACTIVATION_HASH_BYTES);
	return 0;
}

/* ---- The hello ---- */

static void hello_text(const Holdfast__ActivateHello *hello,
		       const uint8_t binding[HF_BINDING_BYTES], uint8_t text[HELLO_BYTES])
{
	memcpy(text, hello->identity_key.data, HF_KEY_BYTES);
	memcpy(text + HF_KEY_BYTES, hello->sealing_key.data, HF_KEY_BYTES);
	hf_sha256(hello->request.data, hello->request.len, text + 2 * HF_KEY_BYTES);
	memcpy(text + 2 * HF_KEY_BYTES + HF_HASH_BYTES, binding, HF_BINDING_BYTES);
}

int hf_hello_prove(const struct hf_sign_key *key, const Holdfast__ActivateHello *hello,
		   const uint8_t binding[HF_BINDING_BYTES], uint8_t proof[HF_SIGNATURE_BYTES])
{
	uint8_t text[HELLO_BYTES];

	HF_ASSERT(hello->identity_key.len == HF_KEY_BYTES &&
		  hello->sealing_key.len == HF_KEY_BYTES);
	hello_text(hello, binding, text);
	return hf_sign(key, HF_DOMAIN_ACTIVATE, text, sizeof text, proof);
}

int hf_hello_check(const Holdfast__ActivateHello *hello, const uint8_t binding[HF_BINDING_BYTES],
		   struct hf_errmsg *message)
{
	uint8_t text[HELLO_BYTES], requested[HF_KEY_BYTES];

	if (hello->identity_key.len != HF_KEY_BYTES || hello->sealing_key.len != HF_KEY_BYTES ||
	    hello->proof.len != HF_SIGNATURE_BYTES || hello->request.len > HF_CERTIFICATE_MAX)
		return hf_fail(message, HF_EINVAL, "a hello with fields of wrong size");
	hello_text(hello, binding, text);
	if (hf_sign_verify(hello->identity_key.data, HF_DOMAIN_ACTIVATE, text, sizeof text,
			   hello->proof.data) != 0)
		return hf_fail(message, HF_EAUTH, "the hello is not proved by its identity key");
	if (hf_request_check(hello->request.data, hello->request.len, requested) != 0 ||
	    memcmp(requested, hello->identity_key.data, HF_KEY_BYTES) != 0)
		return hf_fail(message, HF_EAUTH,
			       "the certificate request is not for the identity key");
	return 0;
}
