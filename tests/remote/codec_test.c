/* Promise: what is sealed comes back, and anything else is refused (invariants 7, 8, 9): every
 * single flipped bit, every cut, the wrong key, the wrong name. */
#include "remote/chain.h"
#include "remote/keyring.h"
#include "remote/object.h"
#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const uint8_t wrap_key[HF_KEY_BYTES] = {1, 2, 3};
static const uint8_t data_key[HF_KEY_BYTES] = {4, 5, 6};
static const uint8_t other_key[HF_KEY_BYTES] = {7, 8, 9};
static const uint8_t salt[HF_SALT_BYTES] = {10, 11, 12};
static const struct hf_object_id id = {
	.tenant = 0x11, .volume = 0x22, .epoch = 3, .start = 4, .sequence = 5};

/* ---- Ciphers --------------------------------------------------------------------------------- */

/* The vectors of RFC 5869 have secrets of other lengths; the expected value was computed from
 * section 2 with another implementation of HMAC. */
static void derivation_is_hkdf(void **state)
{
	uint8_t secret[HF_KEY_BYTES], input_salt[HF_SALT_BYTES], key[HF_KEY_BYTES];
	char text[2 * HF_KEY_BYTES + 1];

	(void)state;
	for (unsigned i = 0; i < HF_KEY_BYTES; i++) {
		secret[i] = (uint8_t)i;
		input_salt[i] = (uint8_t)(0x80 + i);
	}
	assert_int_equal(hf_crypt_derive(secret, input_salt, "holdfast 1 object", key), 0);
	hf_hex_encode(text, key, sizeof key);
	assert_string_equal(text, "e444bdbecdcdcd8893f0ecf4b52942f0"
				  "e40413e06cef5a533c64a2ef6cb3505c");
}

/* The GCM specification's test case 14 (McGrew, Viega): zero key, zero nonce, one zero block. */
static void cipher_is_aes_256_gcm(void **state)
{
	const uint8_t zeros[32] = {0};
	const struct hf_cipher cipher = {.key = zeros, .domain = 0, .number = 0};
	uint8_t sealed[16], tag[HF_TAG_BYTES];
	char text[33];

	(void)state;
	assert_int_equal(hf_crypt_seal(&cipher, zeros, 16, sealed, tag), 0);
	hf_hex_encode(text, sealed, 16);
	assert_string_equal(text, "cea7403d4d606b6e074ec5d3baf39d18");
	hf_hex_encode(text, tag, 16);
	assert_string_equal(text, "d0d1c8a799996bf0265b98b5d48ab919");
}

/* ---- Key ring, claim, base ------------------------------------------------------------------- */

static void keyring_opens_with_its_key_only(void **state)
{
	uint8_t bytes[HF_KEYRING_BYTES], key[HF_KEY_BYTES];
	struct hf_errmsg message;

	(void)state;
	assert_int_equal(hf_keyring_write(1, 2, wrap_key, salt, data_key, bytes), 0);
	assert_int_equal(hf_keyring_read(1, 2, wrap_key, bytes, sizeof bytes, key, &message), 0);
	assert_memory_equal(key, data_key, sizeof key);
	assert_int_equal(hf_keyring_read(1, 2, other_key, bytes, sizeof bytes, key, &message),
			 HF_EAUTH);
	assert_int_equal(hf_keyring_read(1, 3, wrap_key, bytes, sizeof bytes, key, &message),
			 HF_ECORRUPT);
	assert_int_equal(hf_keyring_read(2, 2, wrap_key, bytes, sizeof bytes, key, &message),
			 HF_ECORRUPT);
}

static void keyring_refuses_every_flip_and_cut(void **state)
{
	uint8_t bytes[HF_KEYRING_BYTES], key[HF_KEY_BYTES];

	(void)state;
	assert_int_equal(hf_keyring_write(1, 2, wrap_key, salt, data_key, bytes), 0);
	for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(hf_keyring_read(1, 2, wrap_key, bytes, sizeof bytes, key, NULL),
				 HF_ECORRUPT);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	for (size_t length = 0; length < sizeof bytes; length++)
		assert_int_equal(hf_keyring_read(1, 2, wrap_key, bytes, length, key, NULL),
				 HF_ECORRUPT);
}

static void claim_refuses_every_flip_and_cut(void **state)
{
	struct hf_claim claim = {.id = {.tenant = 1, .volume = 2, .epoch = 3, .start = 4},
				 .nonce = {42},
				 .wall_ms = 99},
			back;
	uint8_t bytes[HF_CLAIM_BYTES];

	(void)state;
	assert_int_equal(hf_claim_write(&claim, data_key, salt, bytes), 0);
	assert_int_equal(hf_claim_read(1, 2, 4, data_key, bytes, sizeof bytes, &back, NULL), 0);
	assert_int_equal(back.id.epoch, 3);
	assert_int_equal(back.wall_ms, 99);
	assert_memory_equal(back.nonce, claim.nonce, sizeof back.nonce);
	assert_int_equal(hf_claim_read(1, 2, 5, data_key, bytes, sizeof bytes, &back, NULL),
			 HF_ECORRUPT);
	assert_int_equal(hf_claim_read(1, 2, 4, other_key, bytes, sizeof bytes, &back, NULL),
			 HF_EAUTH);
	for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(hf_claim_read(1, 2, 4, data_key, bytes, sizeof bytes, &back, NULL),
				 HF_ECORRUPT);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	for (size_t length = 0; length < sizeof bytes; length++)
		assert_int_equal(hf_claim_read(1, 2, 4, data_key, bytes, length, &back, NULL),
				 HF_ECORRUPT);
}

static void make_base(struct hf_base *base, uint8_t **bytes, size_t *length)
{
	const struct hf_chain_link links[] = {
		{.epoch = 1, .start = 1, .first_object = 1, .last_object = 9, .last_sequence = 90},
		{.epoch = 1, .start = 3, .first_object = 1, .last_object = 1, .last_sequence = 91},
	};

	*base = (struct hf_base){
		.id = {.tenant = 1, .volume = 2, .epoch = 2, .start = 5},
		.size_bytes = 1 << 20,
		.recovery_point = 91,
	};
	assert_int_equal(hf_base_add_link(base, &links[0]), 0);
	assert_int_equal(hf_base_add_link(base, &links[1]), 0);
	assert_int_equal(hf_base_write(base, data_key, salt, bytes, length), 0);
}

static void base_comes_back_and_refuses_the_rest(void **state)
{
	struct hf_base base, back;
	uint8_t *bytes;
	size_t length;

	(void)state;
	make_base(&base, &bytes, &length);
	assert_int_equal(hf_base_read(&base.id, data_key, bytes, length, &back, NULL), 0);
	assert_int_equal(back.link_count, 2);
	assert_memory_equal(back.links, base.links, 2 * sizeof *base.links);
	assert_int_equal(back.recovery_point, 91);
	assert_int_equal(back.size_bytes, 1 << 20);
	hf_base_free(&back);
	for (size_t bit = 0; bit < 8 * length; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(hf_base_read(&base.id, data_key, bytes, length, &back, NULL),
				 HF_ECORRUPT);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	for (size_t cut = 0; cut < length; cut++)
		assert_int_equal(hf_base_read(&base.id, data_key, bytes, cut, &back, NULL),
				 HF_ECORRUPT);
	free(bytes);
	hf_base_free(&base);
}

/* A chain that contradicts itself is refused even when it is sealed with the right key. */
static void impossible_chains_are_refused(void **state)
{
	struct hf_base base, back;
	uint8_t *bytes;
	size_t length;

	(void)state;
	for (int what = 0; what < 6; what++) {
		make_base(&base, &bytes, &length);
		free(bytes);
		if (what == 0)
			base.recovery_point = 92;
		else if (what == 1)
			base.links[1].start = 1;
		else if (what == 2)
			base.links[1].start = 5;
		else if (what == 3)
			base.links[0].last_object = 0;
		else if (what == 4)
			base.links[1].epoch = 3;
		else
			base.links[1].last_sequence = base.recovery_point = 90;
		assert_int_equal(hf_base_write(&base, data_key, salt, &bytes, &length), 0);
		assert_int_equal(hf_base_read(&base.id, data_key, bytes, length, &back, NULL),
				 HF_ECORRUPT);
		free(bytes);
		hf_base_free(&base);
	}
}

/* ---- Objects --------------------------------------------------------------------------------- */

static uint8_t *random_bytes(size_t length)
{
	uint8_t *bytes = malloc(length);
	uint32_t x = 12345;

	for (size_t i = 0; i < length; i++)
		bytes[i] = (uint8_t)((x = x * 1103515245 + 12345) >> 16);
	return bytes;
}

struct made {
	struct hf_object object;
	struct hf_object_header header;
	uint8_t *bytes;
};

static struct made make_object(const struct hf_object_extent *extents, uint32_t count,
			       const void *payload, size_t payload_bytes)
{
	struct made made = {
		.header = {.first_sequence = 7,
			   .last_sequence = 9,
			   .wall_ms = 1,
			   .volume_size_bytes = 1 << 30,
			   .payload_bytes = payload_bytes,
			   .extents = (struct hf_object_extent *)(uintptr_t)extents,
			   .extent_count = count},
	};

	assert_int_equal(hf_object_encode(&id, data_key, salt, &made.header, payload, &made.bytes,
					  &made.object),
			 0);
	return made;
}

/* Decodes everything there is; 0 only if header and all chunks are good. */
static int decode_all(const uint8_t *bytes, size_t length, uint8_t *payload, size_t payload_bytes)
{
	uint8_t chunk[HF_CHUNK_BYTES];
	struct hf_object_header header;
	struct hf_object object;
	int err = hf_object_decode_header(&id, data_key, bytes, length, &header, &object, NULL);

	if (err)
		return err;
	assert_int_equal(object.payload_bytes, payload_bytes);
	for (uint32_t i = 0; i < object.chunk_count && !err; i++) {
		const struct hf_chunk *at = &object.chunks[i];

		if (object.data_offset + at->offset + at->stored_bytes > length)
			err = HF_ECORRUPT;
		else
			err = hf_chunk_decode(&object, data_key, i,
					      bytes + object.data_offset + at->offset, chunk);
		if (!err)
			memcpy(payload + (size_t)i * HF_CHUNK_BYTES, chunk,
			       hf_chunk_plain_bytes(payload_bytes, i));
	}
	free(header.extents);
	free(object.chunks);
	return err;
}

/* Zeros are elided, text is packed, noise stays raw, and a payload ends in a short chunk. */
static void every_kind_of_chunk_comes_back(void **state)
{
	const size_t length = 3 * HF_CHUNK_BYTES + 5 * HF_OBJECT_UNIT;
	const struct hf_object_extent extents[] = {
		{.lba = 8, .length = 128, .kind = HF_EXTENT_DATA, .payload_unit = 200},
		{.lba = 136, .length = 8, .kind = HF_EXTENT_ZERO},
		{.lba = 144, .length = 200, .kind = HF_EXTENT_DATA, .payload_unit = 0},
		{.lba = 1000, .length = 1, .kind = HF_EXTENT_BAD},
		{.lba = 5000, .length = 61, .kind = HF_EXTENT_DATA, .payload_unit = 328},
	};
	uint8_t *payload = random_bytes(length), *back = malloc(length);
	struct hf_object_header header;
	struct hf_object object;
	struct made made;

	(void)state;
	memset(payload, 0, HF_CHUNK_BYTES);
	memset(payload + HF_CHUNK_BYTES, 'x', HF_CHUNK_BYTES);
	made = make_object(extents, 5, payload, length);
	assert_int_equal(made.object.chunk_count, 4);
	assert_int_equal(made.object.chunks[0].kind, HF_CHUNK_ZERO);
	assert_int_equal(made.object.chunks[1].kind, HF_CHUNK_ZSTD);
	assert_int_equal(made.object.chunks[2].kind, HF_CHUNK_RAW);
	assert_int_equal(decode_all(made.bytes, made.object.stored_bytes, back, length), 0);
	assert_memory_equal(back, payload, length);
	assert_int_equal(hf_object_decode_header(&id, data_key, made.bytes,
						 made.object.stored_bytes, &header, &object, NULL),
			 0);
	assert_int_equal(header.extent_count, 5);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(header.extents[i].lba, extents[i].lba);
		assert_int_equal(header.extents[i].length, extents[i].length);
		assert_int_equal(header.extents[i].kind, extents[i].kind);
		assert_int_equal(header.extents[i].payload_unit, extents[i].payload_unit);
	}
	assert_int_equal(header.last_sequence, 9);
	assert_int_equal(object.stored_bytes, made.object.stored_bytes);
	free(header.extents);
	free(object.chunks);
	free(made.object.chunks);
	free(made.bytes);
	free(payload);
	free(back);
}

/* After noise only what does not look like noise is tried at once, and the rest now and then: noise
 * that repeats itself is found at the ninth chunk at the latest. */
static void noise_is_tried_now_and_then(void **state)
{
	const size_t chunks = 12, length = chunks * HF_CHUNK_BYTES;
	const struct hf_object_extent extents[] = {
		{.lba = 0, .length = length / HF_OBJECT_UNIT, .kind = HF_EXTENT_DATA}};
	uint8_t *payload = random_bytes(length), *back = malloc(length);
	struct made made;

	(void)state;
	memset(payload + 2 * HF_CHUNK_BYTES, 'x', HF_CHUNK_BYTES);
	for (size_t at = 4 * HF_CHUNK_BYTES; at < length; at++)
		payload[at] = payload[at - 5001];
	made = make_object(extents, 1, payload, length);
	for (unsigned i = 0; i < chunks; i++)
		assert_int_equal(made.object.chunks[i].kind,
				 i == 2 || i == 11 ? HF_CHUNK_ZSTD : HF_CHUNK_RAW);
	assert_int_equal(decode_all(made.bytes, made.object.stored_bytes, back, length), 0);
	assert_memory_equal(back, payload, length);
	free(made.object.chunks);
	free(made.bytes);
	free(payload);
	free(back);
}

static struct made make_small(uint8_t *payload)
{
	static const struct hf_object_extent extents[] = {
		{.lba = 0, .length = 1, .kind = HF_EXTENT_DATA, .payload_unit = 1},
		{.lba = 9, .length = 1, .kind = HF_EXTENT_DATA, .payload_unit = 0},
		{.lba = 10, .length = 70, .kind = HF_EXTENT_ZERO},
	};

	for (unsigned i = 0; i < 2 * HF_OBJECT_UNIT; i++)
		payload[i] = (uint8_t)(i / 7);
	return make_object(extents, 3, payload, 2 * HF_OBJECT_UNIT);
}

static void object_refuses_every_flip_and_cut(void **state)
{
	uint8_t payload[2 * HF_OBJECT_UNIT], back[2 * HF_OBJECT_UNIT];
	struct made made = make_small(payload);
	size_t length = made.object.stored_bytes;

	(void)state;
	assert_int_equal(decode_all(made.bytes, length, back, sizeof back), 0);
	assert_memory_equal(back, payload, sizeof back);
	for (size_t bit = 0; bit < 8 * length; bit++) {
		made.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(decode_all(made.bytes, length, back, sizeof back), HF_ECORRUPT);
		made.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	for (size_t cut = 0; cut < length; cut++)
		assert_int_equal(decode_all(made.bytes, cut, back, sizeof back), HF_ECORRUPT);
	free(made.object.chunks);
	free(made.bytes);
}

/* An object copied to another name, volume or tenant is not taken for what belongs there. */
static void object_is_refused_under_another_name(void **state)
{
	uint8_t payload[2 * HF_OBJECT_UNIT];
	struct made made = make_small(payload);
	struct hf_object_header header;
	struct hf_object object;

	(void)state;
	for (int field = 0; field < 5; field++) {
		struct hf_object_id other = id;
		uint64_t *fields[] = {&other.tenant, &other.volume, &other.epoch, &other.start,
				      &other.sequence};

		++*fields[field];
		assert_int_equal(hf_object_decode_header(&other, data_key, made.bytes,
							 made.object.stored_bytes, &header, &object,
							 NULL),
				 HF_ECORRUPT);
	}
	assert_int_equal(hf_object_decode_header(&id, other_key, made.bytes,
						 made.object.stored_bytes, &header, &object, NULL),
			 HF_EAUTH);
	free(made.object.chunks);
	free(made.bytes);
}

/* Chunks of one object do not stand in for each other, nor for those of another object. */
static void chunks_cannot_be_swapped(void **state)
{
	const struct hf_object_extent extent = {
		.lba = 0, .length = 2 * HF_CHUNK_UNITS, .kind = HF_EXTENT_DATA};
	uint8_t *payload = random_bytes(2 * HF_CHUNK_BYTES), *plain = malloc(HF_CHUNK_BYTES);
	struct made made = make_object(&extent, 1, payload, 2 * HF_CHUNK_BYTES);
	const uint8_t *data = made.bytes + made.object.data_offset;
	const struct hf_chunk *chunks = made.object.chunks;

	(void)state;
	assert_int_equal(chunks[0].stored_bytes, chunks[1].stored_bytes);
	assert_int_equal(hf_chunk_decode(&made.object, data_key, 0, data, plain), 0);
	assert_int_equal(hf_chunk_decode(&made.object, data_key, 0, data + chunks[1].offset, plain),
			 HF_ECORRUPT);
	made.object.id.sequence++;
	assert_int_equal(hf_chunk_decode(&made.object, data_key, 0, data, plain), HF_ECORRUPT);
	free(made.object.chunks);
	free(made.bytes);
	free(payload);
	free(plain);
}

/* The checksum is bound to volume and LBA: the same bytes elsewhere are another checksum. */
static void checksum_knows_volume_and_lba(void **state)
{
	struct hf_object_extent extent = {.lba = 0, .length = 1, .kind = HF_EXTENT_DATA};
	struct hf_chunk chunk = {0};
	struct hf_object_header header = {
		.extents = &extent, .extent_count = 1, .chunks = &chunk, .chunk_count = 1};
	uint32_t first;

	(void)state;
	hf_object_seed_chunks(1, &header);
	first = chunk.seed;
	hf_object_seed_chunks(2, &header);
	assert_int_not_equal(chunk.seed, first);
	extent.lba = 1;
	hf_object_seed_chunks(1, &header);
	assert_int_not_equal(chunk.seed, first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(derivation_is_hkdf),
		cmocka_unit_test(cipher_is_aes_256_gcm),
		cmocka_unit_test(keyring_opens_with_its_key_only),
		cmocka_unit_test(keyring_refuses_every_flip_and_cut),
		cmocka_unit_test(claim_refuses_every_flip_and_cut),
		cmocka_unit_test(base_comes_back_and_refuses_the_rest),
		cmocka_unit_test(impossible_chains_are_refused),
		cmocka_unit_test(every_kind_of_chunk_comes_back),
		cmocka_unit_test(noise_is_tried_now_and_then),
		cmocka_unit_test(object_refuses_every_flip_and_cut),
		cmocka_unit_test(object_is_refused_under_another_name),
		cmocka_unit_test(chunks_cannot_be_swapped),
		cmocka_unit_test(checksum_knows_volume_and_lba),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
