/* The sealed form behind remote/sealed.h. No state, any thread. */
#include "remote/sealed.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "base/crc32c.h"

#include <inttypes.h>
#include <string.h>

/* Offsets in the prefix; everything before the tag is the body's associated data. */
enum {
	AT_MAGIC = 0,
	AT_KIND = 8,
	AT_VERSION = 10,
	AT_BODY_BYTES = 12,
	AT_TENANT = 16,
	AT_VOLUME = 24,
	AT_EPOCH = 32,
	AT_START = 40,
	AT_SEQUENCE = 48,
	AT_SALT = 56,
	AT_RESERVED = 88,
	AT_TAG = 104,
	AT_BODY_CRC = 120,
	AT_PREFIX_CRC = 124,
};
HF_STATIC_ASSERT(AT_PREFIX_CRC + 4 == HF_SEALED_PREFIX_BYTES, "prefix layout");
HF_STATIC_ASSERT(AT_TAG + HF_TAG_BYTES == AT_BODY_CRC, "prefix layout");
HF_STATIC_ASSERT(AT_SALT + HF_SALT_BYTES == AT_RESERVED, "prefix layout");

static const char magic[8] = {'H', 'O', 'L', 'D', 'F', 'A', 'S', 'T'};

static const char *const purposes[] = {
	[HF_SEALED_KEYRING] = "holdfast 1 keyring", [HF_SEALED_CLAIM] = "holdfast 1 claim",
	[HF_SEALED_BASE] = "holdfast 1 base",       [HF_SEALED_OBJECT] = "holdfast 1 object",
	[HF_SEALED_MAP] = "holdfast 1 map",
};

int hf_sealed_key(const struct hf_sealed *sealed, const uint8_t secret[HF_KEY_BYTES],
		  uint8_t key[HF_KEY_BYTES])
{
	return hf_crypt_derive(secret, sealed->salt, purposes[sealed->kind], key);
}

static void put_associated(const struct hf_sealed *sealed, uint8_t *out)
{
	memcpy(out + AT_MAGIC, magic, sizeof magic);
	hf_put_le16(out + AT_KIND, (uint16_t)sealed->kind);
	hf_put_le16(out + AT_VERSION,
		    (uint16_t)(sealed->version ? sealed->version : HF_SEALED_VERSION));
	hf_put_le32(out + AT_BODY_BYTES, sealed->body_bytes);
	hf_put_le64(out + AT_TENANT, sealed->id.tenant);
	hf_put_le64(out + AT_VOLUME, sealed->id.volume);
	hf_put_le64(out + AT_EPOCH, sealed->id.epoch);
	hf_put_le64(out + AT_START, sealed->id.start);
	hf_put_le64(out + AT_SEQUENCE, sealed->id.sequence);
	memcpy(out + AT_SALT, sealed->salt, HF_SALT_BYTES);
	memset(out + AT_RESERVED, 0, AT_TAG - AT_RESERVED);
}

int hf_sealed_write(struct hf_sealed *sealed, const uint8_t key[HF_KEY_BYTES], const void *body,
		    uint8_t *out)
{
	const struct hf_cipher cipher = {
		.key = key,
		.domain = HF_NONCE_BODY,
		.associated = out,
		.associated_bytes = AT_TAG,
	};
	uint8_t *stored = out + HF_SEALED_PREFIX_BYTES;
	int err;

	HF_ASSERT(sealed->body_bytes <= HF_SEALED_BODY_MAX);
	put_associated(sealed, out);
	err = hf_crypt_seal(&cipher, body, sealed->body_bytes, stored, sealed->tag);
	if (err)
		return err;
	sealed->body_crc = hf_crc32c(0, stored, sealed->body_bytes);
	memcpy(out + AT_TAG, sealed->tag, HF_TAG_BYTES);
	hf_put_le32(out + AT_BODY_CRC, sealed->body_crc);
	hf_put_le32(out + AT_PREFIX_CRC, hf_crc32c(0, out, AT_PREFIX_CRC));
	return 0;
}

int hf_sealed_read_prefix(const uint8_t *bytes, size_t length, enum hf_sealed_kind kind,
			  struct hf_sealed *sealed, struct hf_errmsg *message)
{
	unsigned version;

	if (length < HF_SEALED_PREFIX_BYTES)
		return hf_fail(message, HF_ECORRUPT, "cut off at byte %zu, within its prefix",
			       length);
	if (memcmp(bytes + AT_MAGIC, magic, sizeof magic) != 0)
		return hf_fail(message, HF_ECORRUPT, "not a Holdfast object");
	if (hf_crc32c(0, bytes, AT_PREFIX_CRC) != hf_get_le32(bytes + AT_PREFIX_CRC))
		return hf_fail(message, HF_ECORRUPT, "prefix fails its checksum");
	version = hf_get_le16(bytes + AT_VERSION);
	if (version < HF_SEALED_VERSION || version > HF_SEALED_VERSION_MAX)
		return hf_fail(message, HF_EUNSUPPORTED,
			       "format version %u, this program reads %u to %u", version,
			       HF_SEALED_VERSION, HF_SEALED_VERSION_MAX);
	if (hf_get_le16(bytes + AT_KIND) != kind)
		return hf_fail(message, HF_ECORRUPT, "kind %u where %u belongs",
			       hf_get_le16(bytes + AT_KIND), kind);
	*sealed = (struct hf_sealed){
		.kind = kind,
		.version = version,
		.id = {.tenant = hf_get_le64(bytes + AT_TENANT),
		       .volume = hf_get_le64(bytes + AT_VOLUME),
		       .epoch = hf_get_le64(bytes + AT_EPOCH),
		       .start = hf_get_le64(bytes + AT_START),
		       .sequence = hf_get_le64(bytes + AT_SEQUENCE)},
		.body_bytes = hf_get_le32(bytes + AT_BODY_BYTES),
		.body_crc = hf_get_le32(bytes + AT_BODY_CRC),
	};
	memcpy(sealed->salt, bytes + AT_SALT, HF_SALT_BYTES);
	memcpy(sealed->tag, bytes + AT_TAG, HF_TAG_BYTES);
	if (sealed->body_bytes > HF_SEALED_BODY_MAX)
		return hf_fail(message, HF_ECORRUPT, "a body of %u bytes", sealed->body_bytes);
	return 0;
}

int hf_sealed_check_id(const struct hf_sealed *sealed, const struct hf_object_id *expected,
		       struct hf_errmsg *message)
{
	const struct hf_object_id *id = &sealed->id;

	if (id->tenant == expected->tenant && id->volume == expected->volume &&
	    id->epoch == expected->epoch && id->start == expected->start &&
	    id->sequence == expected->sequence)
		return 0;
	return hf_fail(message, HF_ECORRUPT,
		       "belongs elsewhere (tenant %" PRIx64 ", volume %" PRIx64 ", %" PRIx64
		       ".%" PRIx64 "/%" PRIx64 ")",
		       id->tenant, id->volume, id->epoch, id->start, id->sequence);
}

int hf_sealed_header_bytes(const struct hf_object_id *id, enum hf_sealed_kind kind,
			   const uint8_t *bytes, size_t length, size_t *header_bytes,
			   struct hf_errmsg *message)
{
	struct hf_sealed sealed;
	int err = hf_sealed_read_prefix(bytes, length, kind, &sealed, message);

	if (!err)
		err = hf_sealed_check_id(&sealed, id, message);
	if (!err)
		*header_bytes = HF_SEALED_PREFIX_BYTES + (size_t)sealed.body_bytes;
	return err;
}

int hf_sealed_open(const struct hf_sealed *sealed, const uint8_t key[HF_KEY_BYTES],
		   const uint8_t *bytes, size_t length, uint8_t *body, struct hf_errmsg *message)
{
	const struct hf_cipher cipher = {
		.key = key,
		.domain = HF_NONCE_BODY,
		.associated = bytes,
		.associated_bytes = AT_TAG,
	};
	const uint8_t *stored = bytes + HF_SEALED_PREFIX_BYTES;
	int err;

	if (length < HF_SEALED_PREFIX_BYTES + (size_t)sealed->body_bytes)
		return hf_fail(message, HF_ECORRUPT, "cut off at byte %zu, within its body",
			       length);
	if (hf_crc32c(0, stored, sealed->body_bytes) != sealed->body_crc)
		return hf_fail(message, HF_ECORRUPT, "body fails its checksum");
	err = hf_crypt_open(&cipher, stored, sealed->body_bytes, body, sealed->tag);
	if (err == HF_EAUTH)
		return hf_fail(message, HF_EAUTH, "not sealed with this key");
	return err;
}

struct hf_cipher hf_sealed_part_cipher(const struct hf_object_id *id, uint64_t what,
				       uint64_t number, const uint8_t *key,
				       uint8_t associated[HF_PART_ASSOCIATED_BYTES])
{
	hf_put_le64(associated, id->tenant);
	hf_put_le64(associated + 8, id->volume);
	hf_put_le64(associated + 16, id->epoch);
	hf_put_le64(associated + 24, id->start);
	hf_put_le64(associated + 32, id->sequence);
	hf_put_le64(associated + 40, what);
	return (struct hf_cipher){
		.key = key,
		.domain = HF_NONCE_CHUNK,
		.number = number,
		.associated = associated,
		.associated_bytes = HF_PART_ASSOCIATED_BYTES,
	};
}
