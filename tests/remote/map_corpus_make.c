/* Writes the first inputs of map_fuzz's corpus, and what golden-2 keeps: a map object with a leaf,
 * a page and a root, and a base that names it. Usage: map_corpus_make DIR. Run by hand when the
 * format changes; its output is kept. */
#include "remote/map_root.h"

#include <string.h>

#include "tests/remote/corpus_file.h"

static size_t make_leaf(uint8_t *bytes)
{
	struct hf_extmap *map = hf_extmap_create_stored();
	const struct hf_extent data = {.lba = 1025 * 16384ull + 8,
				       .length = 100,
				       .kind = HF_EXTENT_DATA,
				       .place = {.source = 1, .unit = 40}};
	const struct hf_extent bad = {
		.lba = 1025 * 16384ull + 500, .length = 3, .kind = HF_EXTENT_BAD};
	size_t length;

	if (!map || hf_extmap_insert(map, &data) || hf_extmap_insert(map, &bad))
		exit(1);
	length = hf_extmap_leaf_encode(map, 1025, bytes, HF_EXTMAP_LEAF_BYTES_MAX);
	hf_extmap_destroy(map);
	return length;
}

static void make_root(struct hf_map_root *root, const struct hf_map_object *object)
{
	root->number = object->number;
	root->size_bytes = 1ull << 40;
	root->recovery_point = 9;
	root->object_count = 3;
	root->stored_bytes = 12345;
	root->links = calloc(2, sizeof *root->links);
	root->link_count = 2;
	root->links[0] = (struct hf_chain_link){1, 1, 1, 2, 6};
	root->links[1] = (struct hf_chain_link){3, 4, 1, 1, 9};
	if (hf_map_root_add_object(root, object) || !hf_map_root_add_page(root, 1))
		exit(1);
}

int main(int argc, char **argv)
{
	static uint8_t leaf[HF_EXTMAP_LEAF_BYTES_MAX], plain[HF_MAP_PAGE_BYTES_MAX];
	struct hf_map_object object = {.number = 7, .id = id};
	struct hf_map_root *root = hf_map_root_new();
	struct hf_map_page *page = calloc(1, sizeof *page + sizeof page->entries[0]);
	struct hf_base base = {.id = id, .size_bytes = 1 << 20, .checkpoint = id};
	struct hf_map_writer writer;
	uint8_t *bytes, unsealed[4096];
	size_t length;

	if (argc != 2 || !root || !page)
		return 2;
	folder = argv[1];
	memcpy(object.salt, salt, sizeof salt);
	make_root(root, &object);
	page->count = 1;
	page->entries[0].leaf = 1;
	root->pages[0].leaves[0] = 2;
	if (hf_map_writer_begin(&writer, &object, key) ||
	    hf_map_writer_add(&writer, 1025, leaf, make_leaf(leaf), &page->entries[0].spot))
		return 1;
	length = hf_map_page_encode(page, plain);
	write_file("page-behind-bits", plain, length);
	if (hf_map_writer_add(&writer, 1 | HF_MAP_IS_PAGE, plain, length, &root->pages[0].spot))
		return 1;
	root->objects[0].block_bytes = writer.object.block_bytes;
	root->objects[0].live_bytes = writer.object.block_bytes;
	if (hf_map_writer_finish(&writer, root, &bytes, &length))
		return 1;
	write_file("map", bytes, length);
	write_file("map-cut", bytes, length - 3);
	bytes[140] ^= 1;
	write_file("map-flipped", bytes, length);
	hf_map_root_write(root, unsealed);
	write_file("root", unsealed, hf_map_root_bytes(root));
	memset(unsealed + 48, 0xff, 8);
	write_file("root-huge-counts", unsealed, hf_map_root_bytes(root));
	free(bytes);
	base.id.start = 5;
	base.recovery_point = 9;
	if (hf_base_add_link(&base, &root->links[0]) || hf_base_add_link(&base, &root->links[1]) ||
	    hf_base_write(&base, key, salt, &bytes, &length))
		return 1;
	write_file("base", bytes, length);
	free(bytes);
	hf_base_free(&base);
	hf_map_writer_free(&writer);
	hf_map_root_free(root);
	free(page);
	return 0;
}
