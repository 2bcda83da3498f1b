/* Promise: what was put into a store is read for ever. golden-1/ was written by corpus_make when
 * format 1 was fixed, golden-2/ by map_corpus_make when checkpoints came; neither is ever written
 * again. */
#include "remote/chain.h"
#include "remote/keyring.h"
#include "remote/map_root.h"
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
static const char *folder, *folder_2;
static uint8_t bytes[FILE_MAX];

static size_t read_in(const char *where, const char *name)
{
	char path[4096];
	FILE *file;
	size_t length;

	snprintf(path, sizeof path, "%s/%s", where, name);
	file = fopen(path, "rb");
	assert_non_null(file);
	length = fread(bytes, 1, sizeof bytes, file);
	fclose(file);
	return length;
}

static size_t read_file(const char *name)
{
	return read_in(folder, name);
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

static void base_of_format_2(void **state)
{
	struct hf_object_id base_id = id;
	struct hf_base base;
	size_t length = read_in(folder_2, "base");

	(void)state;
	base_id.start = 5;
	assert_int_equal(hf_base_read(&base_id, key, bytes, length, &base, NULL), 0);
	assert_int_equal(base.recovery_point, 9);
	assert_int_equal(base.link_count, 2);
	assert_int_equal(base.checkpoint.start, 4);
	assert_int_equal(base.checkpoint.sequence, 5);
	hf_base_free(&base);
}

static const uint8_t *block_at(const struct hf_map_object *object, const struct hf_map_spot *spot)
{
	return bytes + object->data_offset + spot->offset;
}

static void checkpoint_of_format_1(void **state)
{
	static uint8_t plain[HF_MAP_BLOCK_MAX];
	size_t length = read_in(folder_2, "map");
	struct hf_extmap *map = hf_extmap_create_stored();
	const struct hf_map_object *object;
	const struct hf_map_spot *spot;
	struct hf_map_root *root;
	struct hf_map_page *page;
	struct hf_extent extent;
	uint32_t leaf_count;
	uint64_t *leaves;

	(void)state;
	assert_int_equal(
		hf_map_header_decode(&id, key, bytes, length, &root, &leaves, &leaf_count, NULL),
		0);
	assert_int_equal(leaf_count, 1);
	assert_int_equal(leaves[0], 1025);
	assert_int_equal(root->recovery_point, 9);
	assert_int_equal(root->object_count, 3);
	assert_int_equal(root->links[0].last_object, 2);
	assert_int_equal(root->page_count, 1);
	object = hf_map_root_object(root, 7);
	assert_non_null(object);
	spot = &root->pages[0].spot;
	assert_int_equal(hf_map_block_decode(object, key, 1 | HF_MAP_IS_PAGE, spot,
					     block_at(object, spot), spot->stored_bytes, plain,
					     &length),
			 0);
	assert_int_equal(hf_map_page_decode(root, &root->pages[0], plain, length, &page), 0);
	spot = &hf_map_page_entry(page, 1025)->spot;
	assert_int_equal(hf_map_block_decode(object, key, 1025, spot, block_at(object, spot),
					     spot->stored_bytes, plain, &length),
			 0);
	assert_int_equal(hf_extmap_leaf_mark_absent(map, 1025), 0);
	assert_int_equal(hf_extmap_leaf_install(map, 1025, plain, length), 0);
	assert_true(hf_extmap_find(map, 1025 * 16384ull, 16384, &extent));
	assert_int_equal(extent.lba, 1025 * 16384ull + 8);
	assert_int_equal(extent.length, 100);
	assert_int_equal(extent.place.source, 1);
	assert_int_equal(extent.place.unit, 40);
	hf_extmap_destroy(map);
	hf_map_root_free(root);
	free(leaves);
	free(page);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keyring_of_format_1), cmocka_unit_test(claim_of_format_1),
		cmocka_unit_test(base_of_format_1),    cmocka_unit_test(object_of_format_1),
		cmocka_unit_test(base_of_format_2),    cmocka_unit_test(checkpoint_of_format_1),
	};

	if (argc != 3)
		return 2;
	folder = argv[1];
	folder_2 = argv[2];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
