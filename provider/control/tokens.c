/* Tokens of Held: 8 random bytes, and the start of an HMAC over them, the gateway and the epoch.
 * The random part makes each another one; the MAC proves to a provider whose registry was restored
 * that a gateway really was held with an epoch that the registry has forgotten, which a copy of an
 * older disk cannot show. Its key is the signer's and outlives the registry, whose backups must not
 * have it; here it is kept in the state folder, for a start without the signer. Loop's thread. */
#include "provider/control/control.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/log.h"
#include "net/seal.h"

#define RANDOM_BYTES 8u

static void path_of(const struct hf_control *control, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/token.key", control->config.state_dir);
}

int hf_tokens_open(struct hf_control *control, struct hf_errmsg *message)
{
	char path[PATH_MAX];
	uint8_t *key;
	size_t length;

	(void)message;
	path_of(control, path);
	if (hf_file_read(path, HF_KEY_BYTES, &key, &length, NULL) != 0)
		return 0; /* the signer says it */
	control->token_key_known = length == HF_KEY_BYTES;
	if (control->token_key_known)
		memcpy(control->token_key, key, HF_KEY_BYTES);
	hf_wipe_free(key, length);
	return 0;
}

void hf_tokens_learn(struct hf_control *control, const Holdfast__SignerAnswer *answer)
{
	struct hf_errmsg message;
	char path[PATH_MAX];

	if (answer->token_key.len != HF_KEY_BYTES ||
	    (control->token_key_known &&
	     memcmp(control->token_key, answer->token_key.data, HF_KEY_BYTES) == 0))
		return;
	memcpy(control->token_key, answer->token_key.data, HF_KEY_BYTES);
	control->token_key_known = true;
	path_of(control, path);
	if (hf_file_replace(path, control->token_key, HF_KEY_BYTES, 0600, &message) != 0)
		hf_warn("the key of tokens is not kept: %s", message.text);
}

static void mac(const struct hf_control *control, uint64_t gateway, uint64_t epoch,
		const uint8_t random[RANDOM_BYTES], uint8_t out[HF_HASH_BYTES])
{
	uint8_t text[16 + RANDOM_BYTES];

	hf_put_be64(text, gateway);
	hf_put_be64(text + 8, epoch);
	memcpy(text + 16, random, RANDOM_BYTES);
	hf_mac(control->token_key, text, sizeof text, out);
}

void hf_tokens_make(const struct hf_control *control, uint64_t gateway, uint64_t epoch,
		    uint8_t token[HF_REG_TOKEN_SIZE])
{
	uint8_t made[HF_HASH_BYTES];

	hf_random(token, HF_REG_TOKEN_SIZE);
	if (!control->token_key_known)
		return;
	mac(control, gateway, epoch, token, made);
	memcpy(token + RANDOM_BYTES, made, HF_REG_TOKEN_SIZE - RANDOM_BYTES);
}

int hf_tokens_check(const struct hf_control *control, uint64_t gateway, uint64_t epoch,
		    const uint8_t *token, size_t length)
{
	uint8_t made[HF_HASH_BYTES];

	if (!control->token_key_known)
		return HF_ENOTREADY;
	if (length != HF_REG_TOKEN_SIZE)
		return HF_EAUTH;
	/* A gateway keeps the token before the epoch that comes with it, and may be killed then. */
	for (uint64_t e = epoch; e <= epoch + 1; e++) {
		mac(control, gateway, e, token, made);
		if (memcmp(token + RANDOM_BYTES, made, HF_REG_TOKEN_SIZE - RANDOM_BYTES) == 0)
			return 0;
	}
	return HF_EAUTH;
}
