/* The key ring's body behind remote/keyring.h: a count and numbered keys, of which this version
 * knows one. No state, any thread. */
#include "remote/keyring.h"
#include "base/bytes.h"

#include <string.h>

enum { AT_COUNT = 0, AT_RESERVED = 4, AT_NUMBER = 8, AT_KEY = 16 };

int hf_keyring_write(uint64_t tenant, uint64_t volume, const uint8_t wrap_key[HF_KEY_BYTES],
		     const uint8_t salt[HF_SALT_BYTES], const uint8_t data_key[HF_KEY_BYTES],
		     uint8_t *out)
{
	struct hf_sealed sealed = {
		.kind = HF_SEALED_KEYRING,
		.id = {.tenant = tenant, .volume = volume},
		.body_bytes = HF_KEYRING_BODY_BYTES,
	};
	uint8_t key[HF_KEY_BYTES], body[HF_KEYRING_BODY_BYTES] = {0};
	int err;

	memcpy(sealed.salt, salt, HF_SALT_BYTES);
	hf_put_le32(body + AT_COUNT, 1);
	hf_put_le64(body + AT_NUMBER, 1);
	memcpy(body + AT_KEY, data_key, HF_KEY_BYTES);
	err = hf_sealed_key(&sealed, wrap_key, key);
	if (!err)
		err = hf_sealed_write(&sealed, key, body, out);
	hf_crypt_wipe(body, sizeof body);
	hf_crypt_wipe(key, sizeof key);
	return err;
}

static int read_body(const struct hf_sealed *sealed, const uint8_t wrap_key[HF_KEY_BYTES],
		     const uint8_t *bytes, size_t length, uint8_t data_key[HF_KEY_BYTES],
		     struct hf_errmsg *message)
{
	uint8_t key[HF_KEY_BYTES], body[HF_KEYRING_BODY_BYTES];
	int err = hf_sealed_key(sealed, wrap_key, key);

	if (!err)
		err = hf_sealed_open(sealed, key, bytes, length, body, message);
	if (!err && (hf_get_le32(body + AT_COUNT) != 1 || hf_get_le64(body + AT_NUMBER) != 1))
		err = hf_fail(message, HF_EUNSUPPORTED, "a key ring of a newer version");
	if (!err)
		memcpy(data_key, body + AT_KEY, HF_KEY_BYTES);
	hf_crypt_wipe(body, sizeof body);
	hf_crypt_wipe(key, sizeof key);
	return err;
}

int hf_keyring_read(uint64_t tenant, uint64_t volume, const uint8_t wrap_key[HF_KEY_BYTES],
		    const uint8_t *bytes, size_t length, uint8_t data_key[HF_KEY_BYTES],
		    struct hf_errmsg *message)
{
	const struct hf_object_id expected = {.tenant = tenant, .volume = volume};
	struct hf_sealed sealed;
	int err = hf_sealed_read_prefix(bytes, length, HF_SEALED_KEYRING, &sealed, message);

	if (!err)
		err = hf_sealed_check_id(&sealed, &expected, message);
	if (err)
		return err;
	if (sealed.body_bytes != HF_KEYRING_BODY_BYTES)
		return hf_fail(message, HF_EUNSUPPORTED, "a key ring of a newer version");
	return read_body(&sealed, wrap_key, bytes, length, data_key, message);
}
