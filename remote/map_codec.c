/* Blocks and headers of map objects in bytes: compressed, encrypted, checked; behind
 * remote/map_root.h. No state, any thread; writing is run by workers. */
#include "remote/map_root.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "base/crc32c.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define ZSTD_LEVEL 1

/* The header's body: these, then {leaves, root} compressed. */
enum { AT_NUMBER = 0, AT_HAS_ROOT = 4, AT_PLAIN_BYTES = 8, AT_LEAF_COUNT = 12, AT_REST = 16 };

static int object_key(const struct hf_map_object *object, const uint8_t *data_key, uint8_t *key)
{
	struct hf_sealed sealed = {.kind = HF_SEALED_MAP};

	memcpy(sealed.salt, object->salt, HF_SALT_BYTES);
	return hf_sealed_key(&sealed, data_key, key);
}

static uint32_t block_crc(uint64_t volume, uint64_t what, const void *plain, size_t length)
{
	uint8_t who[16];

	hf_put_le64(who, volume);
	hf_put_le64(who + 8, what);
	return hf_crc32c(hf_crc32c(0, who, sizeof who), plain, length);
}

/* ---- Writing --------------------------------------------------------------------------------- */

int hf_map_writer_begin(struct hf_map_writer *writer, const struct hf_map_object *object,
			const uint8_t data_key[HF_KEY_BYTES])
{
	*writer = (struct hf_map_writer){.object = *object};
	writer->object.block_bytes = 0;
	return object_key(object, data_key, writer->key);
}

void hf_map_writer_free(struct hf_map_writer *writer)
{
	hf_crypt_wipe(writer->key, sizeof writer->key);
	free(writer->bytes);
	free(writer->leaves);
	writer->bytes = NULL;
	writer->leaves = NULL;
}

static int reserve(struct hf_map_writer *writer, size_t more)
{
	size_t need = writer->object.block_bytes + more;
	size_t capacity = writer->capacity ? writer->capacity : 64u << 10;
	uint8_t *bytes;

	while (capacity < need)
		capacity *= 2;
	if (capacity == writer->capacity)
		return 0;
	bytes = realloc(writer->bytes, capacity);
	if (!bytes)
		return HF_ENOMEM;
	writer->bytes = bytes;
	writer->capacity = capacity;
	return 0;
}

static int note_leaf(struct hf_map_writer *writer, uint64_t leaf)
{
	uint32_t capacity = writer->leaf_capacity ? writer->leaf_capacity * 2 : 64;
	uint64_t *leaves;

	if (writer->leaf_count == writer->leaf_capacity) {
		leaves = realloc(writer->leaves, capacity * sizeof *leaves);
		if (!leaves)
			return HF_ENOMEM;
		writer->leaves = leaves;
		writer->leaf_capacity = capacity;
	}
	writer->leaves[writer->leaf_count++] = leaf;
	return 0;
}

int hf_map_writer_add(struct hf_map_writer *writer, uint64_t what, const void *plain, size_t length,
		      struct hf_map_spot *spot)
{
	const struct hf_map_object *object = &writer->object;
	uint8_t associated[HF_PART_ASSOCIATED_BYTES], *out;
	struct hf_cipher cipher = hf_sealed_part_cipher(&object->id, what, object->block_bytes,
							writer->key, associated);
	size_t size;
	int err = reserve(writer, length + HF_TAG_BYTES);

	HF_ASSERT(length > 0 && length <= HF_MAP_BLOCK_MAX);
	if (!err && !(what & HF_MAP_IS_PAGE))
		err = note_leaf(writer, what);
	if (err)
		return err;
	out = writer->bytes + object->block_bytes;
	size = ZSTD_compress(out, length - length / 10, plain, length, ZSTD_LEVEL);
	*spot = (struct hf_map_spot){
		.object = object->number,
		.offset = object->block_bytes,
		.kind = ZSTD_isError(size) ? HF_MAP_BLOCK_RAW : HF_MAP_BLOCK_ZSTD,
		.crc = block_crc(object->id.volume, what, plain, length),
	};
	if (spot->kind == HF_MAP_BLOCK_RAW)
		err = hf_crypt_seal(&cipher, plain, size = length, out, out + length);
	else
		err = hf_crypt_seal(&cipher, out, size, out, out + size);
	spot->stored_bytes = (uint32_t)(size + HF_TAG_BYTES) & 0xffffffu;
	writer->object.block_bytes += spot->stored_bytes;
	return err;
}

/* The header's body. */
static int make_body(const struct hf_map_writer *writer, const struct hf_map_root *root,
		     uint8_t **body, size_t *body_bytes)
{
	size_t leaf_bytes = (size_t)writer->leaf_count * 8;
	size_t plain_bytes = leaf_bytes + (root ? hf_map_root_bytes(root) : 0);
	size_t bound = ZSTD_compressBound(plain_bytes), size = 0;
	uint8_t *plain = malloc(plain_bytes + 1), *out = malloc(AT_REST + bound);
	int err = !plain || !out ? HF_ENOMEM : plain_bytes > HF_MAP_HEADER_MAX ? HF_ETOOBIG : 0;

	if (err)
		goto err_after_alloc;
	for (uint32_t i = 0; i < writer->leaf_count; i++)
		hf_put_le64(plain + (size_t)i * 8, writer->leaves[i]);
	if (root)
		hf_map_root_write(root, plain + leaf_bytes);
	hf_put_le32(out + AT_NUMBER, writer->object.number);
	hf_put_le32(out + AT_HAS_ROOT, root != NULL);
	hf_put_le32(out + AT_PLAIN_BYTES, (uint32_t)plain_bytes);
	hf_put_le32(out + AT_LEAF_COUNT, writer->leaf_count);
	size = ZSTD_compress(out + AT_REST, bound, plain, plain_bytes, ZSTD_LEVEL);
	err = ZSTD_isError(size) ? HF_ENOMEM : AT_REST + size > HF_SEALED_BODY_MAX ? HF_ETOOBIG : 0;
err_after_alloc:
	free(plain);
	if (err)
		free(out);
	else
		*body = out;
	*body_bytes = AT_REST + size;
	return err;
}

int hf_map_writer_finish(struct hf_map_writer *writer, const struct hf_map_root *root,
			 uint8_t **bytes, size_t *length)
{
	struct hf_sealed sealed = {.kind = HF_SEALED_MAP, .id = writer->object.id};
	uint8_t *body, *out;
	size_t body_bytes;
	int err = make_body(writer, root, &body, &body_bytes);

	if (err)
		return err;
	writer->object.data_offset = (uint32_t)(HF_SEALED_PREFIX_BYTES + body_bytes);
	*length = writer->object.data_offset + writer->object.block_bytes;
	out = malloc(*length);
	memcpy(sealed.salt, writer->object.salt, HF_SALT_BYTES);
	sealed.body_bytes = (uint32_t)body_bytes;
	err = out ? hf_sealed_write(&sealed, writer->key, body, out) : HF_ENOMEM;
	free(body);
	if (err) {
		free(out);
		return err;
	}
	if (writer->object.block_bytes)
		memcpy(out + writer->object.data_offset, writer->bytes, writer->object.block_bytes);
	*bytes = out;
	return 0;
}

/* ---- Reading --------------------------------------------------------------------------------- */

int hf_map_block_decode(const struct hf_map_object *object, const uint8_t data_key[HF_KEY_BYTES],
			uint64_t what, const struct hf_map_spot *spot, const uint8_t *stored,
			size_t stored_length, uint8_t *plain, size_t *length)
{
	uint8_t key[HF_KEY_BYTES] = {0}, associated[HF_PART_ASSOCIATED_BYTES];
	struct hf_cipher cipher =
		hf_sealed_part_cipher(&object->id, what, spot->offset, key, associated);
	size_t size = spot->stored_bytes - HF_TAG_BYTES;
	bool raw = spot->kind == HF_MAP_BLOCK_RAW;
	uint8_t *packed;
	int err;

	HF_ASSERT(spot->stored_bytes > HF_TAG_BYTES && size <= HF_MAP_BLOCK_MAX);
	if (stored_length != spot->stored_bytes)
		return HF_ECORRUPT;
	packed = raw ? plain : malloc(size);
	err = packed ? object_key(object, data_key, key) : HF_ENOMEM;
	if (!err)
		err = hf_crypt_open(&cipher, stored, size, packed, stored + size);
	*length = size;
	if (!err && !raw) {
		*length = ZSTD_decompress(plain, HF_MAP_BLOCK_MAX, packed, size);
		err = ZSTD_isError(*length) ? HF_ECORRUPT : 0;
	}
	hf_crypt_wipe(key, sizeof key);
	if (!raw)
		free(packed);
	if (err == HF_EAUTH ||
	    (!err && block_crc(object->id.volume, what, plain, *length) != spot->crc))
		err = HF_ECORRUPT;
	return err;
}

/* The compressed rest of the body, malloc'ed. */
static int inflate_rest(const uint8_t *body, size_t body_bytes, uint8_t **plain,
			struct hf_errmsg *message)
{
	size_t plain_bytes = body_bytes >= AT_REST ? hf_get_le32(body + AT_PLAIN_BYTES) : 0;
	uint8_t *out;

	if (body_bytes < AT_REST || plain_bytes > HF_MAP_HEADER_MAX ||
	    (uint64_t)hf_get_le32(body + AT_LEAF_COUNT) * 8 > plain_bytes ||
	    hf_get_le32(body + AT_HAS_ROOT) > 1)
		return hf_fail(message, HF_ECORRUPT, "its counts do not fit its size");
	out = malloc(plain_bytes + 1);
	if (!out)
		return HF_ENOMEM;
	if (ZSTD_decompress(out, plain_bytes, body + AT_REST, body_bytes - AT_REST) !=
	    plain_bytes) {
		free(out);
		return hf_fail(message, HF_ECORRUPT, "its header cannot be unpacked");
	}
	*plain = out;
	return 0;
}

static int read_leaves(const uint8_t *body, const uint8_t *plain, uint64_t **leaves,
		       uint32_t *leaf_count)
{
	uint32_t count = hf_get_le32(body + AT_LEAF_COUNT);
	uint64_t *read = malloc((count + (size_t)1) * sizeof *read);

	if (!read)
		return HF_ENOMEM;
	for (uint32_t i = 0; i < count; i++)
		read[i] = hf_get_le64(plain + (size_t)i * 8);
	*leaves = read;
	*leaf_count = count;
	return 0;
}

int hf_map_body_read(struct hf_map_object *self, const uint8_t *body, size_t body_bytes,
		     struct hf_map_root **root, uint64_t **leaves, uint32_t *leaf_count,
		     struct hf_errmsg *message)
{
	uint8_t *plain = NULL;
	int err = inflate_rest(body, body_bytes, &plain, message);
	size_t leaf_bytes;

	if (err)
		return err;
	self->number = hf_get_le32(body + AT_NUMBER);
	self->data_offset = (uint32_t)(HF_SEALED_PREFIX_BYTES + body_bytes);
	leaf_bytes = (size_t)hf_get_le32(body + AT_LEAF_COUNT) * 8;
	*root = NULL;
	if (hf_get_le32(body + AT_HAS_ROOT))
		err = hf_map_root_read(self, plain + leaf_bytes,
				       hf_get_le32(body + AT_PLAIN_BYTES) - leaf_bytes, root,
				       message);
	if (!err && leaves && (err = read_leaves(body, plain, leaves, leaf_count)) != 0) {
		hf_map_root_free(*root);
		*root = NULL;
	}
	free(plain);
	return err;
}

int hf_map_header_decode(const struct hf_object_id *id, const uint8_t data_key[HF_KEY_BYTES],
			 const uint8_t *bytes, size_t length, struct hf_map_root **root,
			 uint64_t **leaves, uint32_t *leaf_count, struct hf_errmsg *message)
{
	struct hf_map_object self = {.id = *id};
	struct hf_sealed sealed;
	uint8_t key[HF_KEY_BYTES], *body;
	int err = hf_sealed_read_prefix(bytes, length, HF_SEALED_MAP, &sealed, message);

	if (!err)
		err = hf_sealed_check_id(&sealed, id, message);
	if (err)
		return err;
	body = malloc(sealed.body_bytes + 1);
	if (!body)
		return HF_ENOMEM;
	memcpy(self.salt, sealed.salt, HF_SALT_BYTES);
	err = hf_sealed_key(&sealed, data_key, key);
	if (!err)
		err = hf_sealed_open(&sealed, key, bytes, length, body, message);
	if (!err)
		err = hf_map_body_read(&self, body, sealed.body_bytes, root, leaves, leaf_count,
				       message);
	hf_crypt_wipe(key, sizeof key);
	free(body);
	return err;
}
