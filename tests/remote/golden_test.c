/* Promise: what format 1 put into a store is read for ever. golden-1/ was written by corpus_make
 * when the format was fixed and is never written again. */
#include "remote/chain.h"
#include "remote/keyring.h"
#include "remote/object.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define FILE_MAX (64u << 10)

static const uint8_t key[HF_KEY_BYTES] = {4, 5, 6};
static const struct hf_object_id id = {
	.tenant = 0x11, .volume = 0x22, .epoch = 3, .start = 4, .sequence = 5};
static const char *folder;
static uint8_t bytes[FILE_MAX];

static size_t read_file(const char *name)
{
	char path[4096];
	FILE *file;
	size_t length;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	file = fopen(path, "rb");
	assert_non_null(file);
	length = fread(bytes, 1, sizeof bytes, file);
	fclose(file);
	return length;
}

static void keyring_of_format_1(void **state)
{
	uint8_t data_key[HF_KEY_BYTES];
	size_t length = read_file("keyring");

	(void)state;
	assert_int_equal(length, HF_KEYRING_BYTES);
	assert_int_equal(hf_keyring_read(0x11, 0x22, key, bytes, length, data_key, NULL), 0);
	assert_memory_equal(data_key, key, sizeof key);
}

static void claim_of_format_1(void **state)
{
	struct hf_claim claim;
	size_t length = read_file("claim");

	(void)state;
	assert_int_equal(hf_claim_read(0x11, 0x22, 4, key, bytes, length, &claim, NULL), 0);
	assert_int_equal(claim.id.epoch, 3);
}

static void base_of_format_1(void **state)
{
	struct hf_base base;
	size_t length = read_file("base");

	(void)state;
	assert_int_equal(hf_base_read(&id, key, bytes, length, &base, NULL), 0);
	assert_int_equal(base.size_bytes, 1 << 20);
	assert_int_equal(base.recovery_point, 9);
	assert_int_equal(base.link_count, 1);
	assert_int_equal(base.links[0].last_object, 2);
	hf_base_free(&base);
}

static void object_of_format_1(void **state)
{
	static uint8_t plain[HF_CHUNK_BYTES];
	struct hf_object_header header;
	struct hf_object object;
	size_t length = read_file("object");

	(void)state;
	assert_int_equal(hf_object_decode_header(&id, key, bytes, length, &header, &object, NULL),
			 0);
	assert_int_equal(header.extent_count, 4);
	assert_int_equal(header.extents[0].payload_unit, 100);
	assert_int_equal(header.extents[3].kind, HF_EXTENT_BAD);
	assert_int_equal(header.last_sequence, 4);
	assert_int_equal(object.chunk_count, 3);
	assert_int_equal(object.stored_bytes, length);
	assert_int_equal(object.chunks[0].kind, HF_CHUNK_ZSTD);
	assert_int_equal(object.chunks[1].kind, HF_CHUNK_ZERO);
	assert_int_equal(hf_chunk_decode(&object, key, 0, bytes + object.data_offset, plain), 0);
	for (size_t i = 0; i < sizeof plain; i++)
		assert_int_equal(plain[i], 'a');
	free(header.extents);
	free(object.chunks);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keyring_of_format_1),
		cmocka_unit_test(claim_of_format_1),
		cmocka_unit_test(base_of_format_1),
		cmocka_unit_test(object_of_format_1),
	};

	if (argc != 2)
		return 2;
	folder = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
