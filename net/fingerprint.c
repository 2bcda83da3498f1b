/* net/fingerprint.h. No state. */
#include "net/fingerprint.h"

#include "base/bytes.h"

#define GROUPS 8u

char *hf_key_fingerprint(const uint8_t public_key[HF_KEY_BYTES], char text[HF_FINGERPRINT_TEXT_MAX])
{
	uint8_t hash[HF_HASH_BYTES];

	hf_sha256(public_key, HF_KEY_BYTES, hash);
	for (unsigned i = 0; i < GROUPS; i++) {
		hf_hex_encode(text + 5 * i, hash + 2 * i, 2);
		text[5 * i + 4] = ':';
	}
	text[5 * GROUPS - 1] = '\0';
	return text;
}
