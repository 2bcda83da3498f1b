/* Any bytes as a superblock or as index pages: decoded or refused, never a crash or a read out of
 * bounds; what is accepted is consistent and can be restored. The first byte's high bit asks for
 * magic, name and checksum to be made good. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "cache/rcache_format.h"

#define SLOTS 40u /* the second page is not full */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void take(const uint8_t *data, size_t size, uint8_t *block)
{
	memset(block, 0, HF_RCACHEFMT_BLOCK);
	memcpy(block, data, size < HF_RCACHEFMT_BLOCK ? size : HF_RCACHEFMT_BLOCK);
}

static void fuzz_super(const uint8_t *data, size_t size, bool mend)
{
	uint8_t *block = malloc(HF_RCACHEFMT_BLOCK), again[HF_RCACHEFMT_BLOCK];
	struct hf_rcachefmt_super super;

	HF_ASSERT(block);
	take(data, size, block);
	if (mend) {
		memcpy(block, "HFRCSUP1", 8);
		hf_put_le32(block + HF_RCACHEFMT_BLOCK - 4,
			    hf_crc32c(0, block, HF_RCACHEFMT_BLOCK - 4));
	}
	if (hf_rcachefmt_super_decode(&super, block) == 0) {
		HF_ASSERT(super.slot_count > 0 && super.page_count > 0);
		HF_ASSERT(super.slots_offset >= (1ull + super.page_count) * HF_RCACHEFMT_BLOCK);
		hf_rcachefmt_super_encode(&super, again);
		HF_ASSERT(hf_rcachefmt_super_decode(&super, again) == 0);
	}
	free(block);
}

static void none(void *context, uint32_t number)
{
	(void)context;
	(void)number;
}

static void fuzz_pages(const uint8_t *data, size_t size, bool mend)
{
	struct hf_rcachefmt_super super = {.uuid = "0123456789abcde"};
	struct hf_rcache_index indx = {.evicted = none};
	uint32_t *crcs = calloc((size_t)SLOTS * HF_RCACHEFMT_SLOT_BLOCKS, sizeof *crcs);
	uint8_t *block = malloc(HF_RCACHEFMT_BLOCK);

	HF_ASSERT(crcs && block && hf_rcache_index_init(&indx, SLOTS * 65536ull, SLOTS) == 0);
	HF_ASSERT(hf_rcachefmt_layout(&super, (SLOTS + 1) * 65536ull) == 0 &&
		  super.slot_count == SLOTS && super.page_count == 2);
	for (uint32_t page = 0; page < 2; page++) {
		take(data, size, block);
		if (mend) {
			memcpy(block, "HFRCIDX1", 8);
			hf_put_le32(block + 8, 1);
			hf_put_le32(block + 12, page);
			memcpy(block + 16, super.uuid, 16);
			memset(block + 124, 0, 4);
			hf_put_le32(block + 124, hf_crc32c(0, block, HF_RCACHEFMT_BLOCK));
		}
		HF_ASSERT(hf_rcachefmt_page_decode(&super, page, indx.entries, crcs, block) == 0 ||
			  !mend);
	}
	HF_ASSERT(hf_rcache_index_restore(&indx, 12345) == 0);
	for (uint32_t i = 0; i < SLOTS; i++) {
		const struct hf_rcache_entry *entry = &indx.entries[i];

		if (entry->queue == HF_RCACHE_FREE)
			continue;
		HF_ASSERT(entry->length > 0 && entry->length <= HF_RCACHEFMT_SLOT_BYTES);
		HF_ASSERT(hf_rcache_index_find(&indx, &entry->key) == i);
	}
	for (uint32_t i = 0; i < 3 * SLOTS; i++) {
		const struct hf_read_cache_key key = {.chunk = i, .class = HF_READ_CACHE_DATA};

		if (hf_rcache_index_find(&indx, &key) == HF_RCACHE_NONE)
			hf_rcache_index_insert(&indx, &key, 65536, 12345 + i);
	}
	HF_ASSERT(indx.count <= SLOTS);
	hf_rcache_index_free(&indx);
	free(crcs);
	free(block);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	if (data[0] & 1)
		fuzz_super(data + 1, size - 1, data[0] & 0x80);
	else
		fuzz_pages(data + 1, size - 1, data[0] & 0x80);
	return 0;
}
