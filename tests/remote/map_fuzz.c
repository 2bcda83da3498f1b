/* Any bytes as a map object, its header unsealed, a root and a page: refused or read, never a crash
 * (invariant 9). What is authenticated in real life is fed unsealed, since whoever holds the key
 * can seal anything; what was read is walked as a reader would. */
#include "remote/map_root.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t key[HF_KEY_BYTES] = {4, 5, 6};
static const struct hf_object_id id = {
	.tenant = 0x11, .volume = 0x22, .epoch = 3, .start = 4, .sequence = 5};

static void read_blocks(const struct hf_map_root *root, const uint8_t *data, size_t size)
{
	static uint8_t plain[HF_MAP_BLOCK_MAX];

	for (uint32_t i = 0; i < root->page_count && i < 8; i++) {
		const struct hf_map_page_ref *ref = &root->pages[i];
		const struct hf_map_object *object = hf_map_root_object(root, ref->spot.object);
		size_t at = object->data_offset + (size_t)ref->spot.offset, length;
		struct hf_map_page *page;

		if (at > size || size - at < ref->spot.stored_bytes ||
		    hf_map_block_decode(object, key, ref->number | HF_MAP_IS_PAGE, &ref->spot,
					data + at, ref->spot.stored_bytes, plain, &length))
			continue;
		if (!hf_map_page_decode(root, ref, plain, length, &page))
			free(page);
	}
}

static void read_page(const struct hf_map_root *root, const uint8_t *data, size_t size)
{
	struct hf_map_page_ref ref = {.number = 1};
	struct hf_map_page *page;

	if (size < sizeof ref.leaves)
		return;
	memcpy(ref.leaves, data, sizeof ref.leaves);
	if (hf_map_page_decode(root, &ref, data + sizeof ref.leaves, size - sizeof ref.leaves,
			       &page))
		return;
	for (uint64_t leaf = 0; leaf < HF_MAP_PAGE_LEAVES; leaf++)
		if (!hf_map_page_entry(page, leaf) != !(ref.leaves[leaf / 64] >> leaf % 64 & 1))
			abort();
	free(page);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hf_map_object object = {.number = 1, .block_bytes = 1 << 20, .live_bytes = 1};
	struct hf_map_root page_root = {.number = 1, .objects = &object, .object_refs = 1};
	struct hf_map_object self = {.id = id, .number = 7};
	struct hf_map_root *root = NULL;
	struct hf_errmsg message;
	uint64_t *leaves;
	uint32_t count;

	if (!hf_map_header_decode(&id, key, data, size, &root, &leaves, &count, &message)) {
		if (root)
			read_blocks(root, data, size);
		hf_map_root_free(root);
		free(leaves);
	}
	if (!hf_map_body_read(&self, data, size, &root, NULL, NULL, &message))
		hf_map_root_free(root);
	self = (struct hf_map_object){.id = id, .number = 7};
	if (!hf_map_root_read(&self, data, size, &root, &message))
		hf_map_root_free(root);
	read_page(&page_root, data, size);
	return 0;
}
