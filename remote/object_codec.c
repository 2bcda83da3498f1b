/* Compressing, encrypting and checking chunks, and putting an object together, behind
 * remote/object.h. No state, any thread; run by workers. */
#include "remote/object.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "base/crc32c.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define PAGE        4096u /* a store that writes directly takes aligned memory as it is */
#define ZSTD_LEVEL  1
#define TRY_EVERY   8u    /* chunks, whatever the bytes look like */
#define SAMPLES     2048u /* of a chunk's bytes */
#define SAMPLE_RUN  64u   /* of them side by side */
#define FLAT_NUMBER 5u    /* flat: collisions below 5/4 of what random bytes have */
#define FLAT_DENOM  4u

/* ---- Encoding -------------------------------------------------------------------------------- */

struct encoder {
	const struct hf_object_id *id;
	struct hf_object_header *header;
	uint8_t key[HF_KEY_BYTES];
	ZSTD_CCtx *zstd;
	unsigned untried; /* chunks since one did not get smaller; 0: the last one did */
	uint8_t *bytes;   /* of the object */
	size_t used;
};

/* Do some of its bytes occur as evenly as those of encrypted or compressed data do? Random ones
 * have SAMPLES * (SAMPLES / 256 + 1) pairs of equal bytes, give or take one in a hundred; bytes
 * that an entropy coder makes a tenth smaller have half as many again. */
static bool looks_random(const uint8_t *plain, size_t length)
{
	uint32_t counts[256] = {0}, pairs = 0;
	size_t step = length / (SAMPLES / SAMPLE_RUN);

	if (step < SAMPLE_RUN)
		return false;
	for (size_t run = 0; run < SAMPLES / SAMPLE_RUN; run++)
		for (size_t i = 0; i < SAMPLE_RUN; i++)
			counts[plain[run * step + i]]++;
	for (unsigned i = 0; i < 256; i++)
		pairs += counts[i] * counts[i];
	return pairs < SAMPLES * (SAMPLES / 256 + 1) / FLAT_DENOM * FLAT_NUMBER;
}

/* Takes 90 % of the raw size or less, or the chunk stays raw. A try that fails takes longer than
 * encryption and checksum together, so after one only those are tried that do not look random, and
 * every eighth, since random bytes that repeat themselves may look random, too. */
static size_t compress(struct encoder *encoder, const uint8_t *plain, size_t length, uint8_t *out)
{
	size_t limit = length - length / 10, size;

	if (encoder->untried > 0 && encoder->untried < TRY_EVERY && looks_random(plain, length)) {
		encoder->untried++;
		return 0;
	}
	size = ZSTD_compressCCtx(encoder->zstd, out, limit, plain, length, ZSTD_LEVEL);
	if (ZSTD_isError(size))
		size = 0;
	encoder->untried = size == 0;
	return size;
}

static int encode_chunk(struct encoder *encoder, const uint8_t *plain, uint32_t number)
{
	struct hf_chunk *chunk = &encoder->header->chunks[number];
	size_t length = hf_chunk_plain_bytes(encoder->header->payload_bytes, number), size;
	uint8_t *out = encoder->bytes + encoder->used, associated[HF_PART_ASSOCIATED_BYTES];
	struct hf_cipher cipher =
		hf_sealed_part_cipher(encoder->id, number, number, encoder->key, associated);
	int err;

	chunk->crc = hf_crc32c(chunk->seed, plain, length);
	if (hf_is_zero(plain, length)) {
		chunk->kind = HF_CHUNK_ZERO;
		return 0;
	}
	size = compress(encoder, plain, length, out);
	chunk->kind = size ? HF_CHUNK_ZSTD : HF_CHUNK_RAW;
	if (size)
		err = hf_crypt_seal(&cipher, out, size, out, out + size);
	else
		err = hf_crypt_seal(&cipher, plain, size = length, out, out + length);
	chunk->stored_bytes = (uint32_t)(size + HF_TAG_BYTES);
	encoder->used += size + HF_TAG_BYTES;
	return err;
}

static int encode_chunks(struct encoder *encoder, const uint8_t *payload)
{
	struct hf_object_header *header = encoder->header;
	uint32_t offset = 0;

	for (uint32_t i = 0; i < header->chunk_count; i++) {
		int err = encode_chunk(encoder, payload + (size_t)i * HF_CHUNK_BYTES, i);

		if (err)
			return err;
		header->chunks[i].offset = offset;
		offset += header->chunks[i].stored_bytes;
	}
	return 0;
}

static int encode_header(struct encoder *encoder, struct hf_sealed *sealed)
{
	uint8_t *body = malloc(sealed->body_bytes);
	int err;

	if (!body)
		return HF_ENOMEM;
	hf_object_write_body(encoder->header, body);
	err = hf_sealed_write(sealed, encoder->key, body, encoder->bytes);
	free(body);
	return err;
}

static void keep(struct hf_object *object, const struct hf_sealed *sealed,
		 const struct hf_object_header *header)
{
	const struct hf_chunk *last =
		header->chunk_count ? &header->chunks[header->chunk_count - 1] : NULL;

	*object = (struct hf_object){
		.id = sealed->id,
		.payload_bytes = header->payload_bytes,
		.last_sequence = header->last_sequence,
		.data_offset = HF_SEALED_PREFIX_BYTES + sealed->body_bytes,
		.chunk_count = header->chunk_count,
		.chunks = header->chunks,
	};
	object->stored_bytes = object->data_offset + (last ? last->offset + last->stored_bytes : 0);
	memcpy(object->salt, sealed->salt, HF_SALT_BYTES);
	memcpy(object->tag, sealed->tag, HF_TAG_BYTES);
}

/* What the programmer promised about an upload (struct hf_remote_upload). */
static void check_promises(const struct hf_object_header *header)
{
	uint64_t units = header->payload_bytes / HF_OBJECT_UNIT, data_units = 0;

	HF_ASSERT(header->payload_bytes <= HF_OBJECT_PAYLOAD_MAX);
	HF_ASSERT(header->payload_bytes % HF_OBJECT_UNIT == 0);
	HF_ASSERT(header->extent_count <= HF_OBJECT_EXTENTS_MAX);
	for (uint32_t i = 0; i < header->extent_count; i++) {
		const struct hf_object_extent *extent = &header->extents[i];

		HF_ASSERT(extent->length > 0);
		HF_ASSERT(i == 0 || extent->lba >= extent[-1].lba + extent[-1].length);
		if (extent->kind != HF_EXTENT_DATA)
			continue;
		HF_ASSERT(extent->payload_unit + extent->length <= units);
		data_units += extent->length;
	}
	HF_ASSERT(data_units <= units);
}

static int prepare(struct encoder *encoder, struct hf_sealed *sealed, const uint8_t *data_key)
{
	struct hf_object_header *header = encoder->header;
	uint64_t payload = header->payload_bytes;
	size_t worst;

	header->chunk_count = (uint32_t)((payload + HF_CHUNK_BYTES - 1) / HF_CHUNK_BYTES);
	sealed->body_bytes =
		(uint32_t)hf_object_body_bytes(header->extent_count, header->chunk_count);
	worst = HF_SEALED_PREFIX_BYTES + sealed->body_bytes + payload +
		(size_t)header->chunk_count * HF_TAG_BYTES;
	header->chunks = calloc(header->chunk_count + 1, sizeof *header->chunks);
	encoder->bytes = aligned_alloc(PAGE, (worst + PAGE - 1) / PAGE * PAGE);
	encoder->zstd = ZSTD_createCCtx();
	encoder->used = HF_SEALED_PREFIX_BYTES + sealed->body_bytes;
	if (!header->chunks || !encoder->bytes || !encoder->zstd)
		return HF_ENOMEM;
	return hf_sealed_key(sealed, data_key, encoder->key);
}

int hf_object_encode(const struct hf_object_id *id, const uint8_t data_key[HF_KEY_BYTES],
		     const uint8_t salt[HF_SALT_BYTES], struct hf_object_header *header,
		     const void *payload, uint8_t **bytes, struct hf_object *object)
{
	struct encoder encoder = {.id = id, .header = header};
	struct hf_sealed sealed = {.kind = HF_SEALED_OBJECT, .id = *id};
	int err;

	check_promises(header);
	memcpy(sealed.salt, salt, HF_SALT_BYTES);
	err = prepare(&encoder, &sealed, data_key);
	if (!err) {
		hf_object_seed_chunks(id->volume, header);
		err = encode_chunks(&encoder, payload);
	}
	if (!err)
		err = encode_header(&encoder, &sealed);
	hf_crypt_wipe(encoder.key, sizeof encoder.key);
	ZSTD_freeCCtx(encoder.zstd);
	if (err) {
		free(encoder.bytes);
		free(header->chunks);
		header->chunks = NULL;
		return err;
	}
	keep(object, &sealed, header);
	HF_ASSERT(object->stored_bytes == encoder.used);
	*bytes = realloc(encoder.bytes, encoder.used);
	if (!*bytes)
		*bytes = encoder.bytes;
	return 0;
}

/* ---- Decoding -------------------------------------------------------------------------------- */

int hf_object_decode_header(const struct hf_object_id *id, const uint8_t data_key[HF_KEY_BYTES],
			    const uint8_t *bytes, size_t length, struct hf_object_header *header,
			    struct hf_object *object, struct hf_errmsg *message)
{
	uint8_t key[HF_KEY_BYTES], *body;
	struct hf_sealed sealed;
	int err = hf_sealed_read_prefix(bytes, length, HF_SEALED_OBJECT, &sealed, message);

	if (!err)
		err = hf_sealed_check_id(&sealed, id, message);
	if (err)
		return err;
	body = malloc(sealed.body_bytes + 1);
	if (!body)
		return HF_ENOMEM;
	err = hf_sealed_key(&sealed, data_key, key);
	if (!err)
		err = hf_sealed_open(&sealed, key, bytes, length, body, message);
	if (!err)
		err = hf_object_read_body(id->volume, body, sealed.body_bytes, header, message);
	if (!err)
		keep(object, &sealed, header);
	hf_crypt_wipe(key, sizeof key);
	free(body);
	return err;
}

static int open_chunk(const struct hf_object *object, const uint8_t *data_key, uint32_t number,
		      const uint8_t *stored, uint8_t *out)
{
	struct hf_sealed sealed = {.kind = HF_SEALED_OBJECT};
	uint8_t key[HF_KEY_BYTES] = {0}, associated[HF_PART_ASSOCIATED_BYTES];
	struct hf_cipher cipher =
		hf_sealed_part_cipher(&object->id, number, number, key, associated);
	size_t size = object->chunks[number].stored_bytes - HF_TAG_BYTES;
	int err;

	memcpy(sealed.salt, object->salt, HF_SALT_BYTES);
	err = hf_sealed_key(&sealed, data_key, key);
	if (!err)
		err = hf_crypt_open(&cipher, stored, size, out, stored + size);
	hf_crypt_wipe(key, sizeof key);
	return err == HF_EAUTH ? HF_ECORRUPT : err;
}

static int inflate_chunk(const struct hf_object *object, const uint8_t *data_key, uint32_t number,
			 const uint8_t *stored, uint8_t *plain, size_t plain_bytes)
{
	size_t size = object->chunks[number].stored_bytes - HF_TAG_BYTES;
	uint8_t *packed = malloc(size);
	int err = packed ? open_chunk(object, data_key, number, stored, packed) : HF_ENOMEM;

	if (!err && ZSTD_decompress(plain, plain_bytes, packed, size) != plain_bytes)
		err = HF_ECORRUPT;
	free(packed);
	return err;
}

int hf_chunk_decode(const struct hf_object *object, const uint8_t data_key[HF_KEY_BYTES],
		    uint32_t number, const uint8_t *stored, void *plain)
{
	const struct hf_chunk *chunk = &object->chunks[number];
	size_t plain_bytes = hf_chunk_plain_bytes(object->payload_bytes, number);
	int err = 0;

	HF_ASSERT(number < object->chunk_count);
	if (chunk->kind == HF_CHUNK_ZERO)
		memset(plain, 0, plain_bytes);
	else if (chunk->kind == HF_CHUNK_RAW)
		err = open_chunk(object, data_key, number, stored, plain);
	else
		err = inflate_chunk(object, data_key, number, stored, plain, plain_bytes);
	if (!err && hf_crc32c(chunk->seed, plain, plain_bytes) != chunk->crc)
		err = HF_ECORRUPT;
	return err;
}
