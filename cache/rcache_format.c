/* See rcache_format.h. */
#include "cache/rcache_format.h"

#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/err.h"

#define VERSION     1u
#define PAGE_HEAD   128u
#define ENTRY_BYTES 128u
#define KEY_BYTES   32u
#define SUPER_CRC   (HF_RCACHEFMT_BLOCK - 4)
#define PAGE_CRC    (PAGE_HEAD - 4)

static const char super_magic[8] = {'H', 'F', 'R', 'C', 'S', 'U', 'P', '1'};
static const char page_magic[8] = {'H', 'F', 'R', 'C', 'I', 'D', 'X', '1'};

static void lay_out(struct hf_rcachefmt_super *super, uint32_t slot_count)
{
	uint64_t head;

	super->slot_count = slot_count;
	super->page_count =
		(slot_count + HF_RCACHEFMT_PAGE_ENTRIES - 1) / HF_RCACHEFMT_PAGE_ENTRIES;
	head = (1 + (uint64_t)super->page_count) * HF_RCACHEFMT_BLOCK;
	super->slots_offset =
		(head + HF_RCACHEFMT_SLOT_BYTES - 1) & ~(uint64_t)(HF_RCACHEFMT_SLOT_BYTES - 1);
}

static uint64_t end_of(const struct hf_rcachefmt_super *super)
{
	return super->slots_offset + (uint64_t)super->slot_count * HF_RCACHEFMT_SLOT_BYTES;
}

int hf_rcachefmt_layout(struct hf_rcachefmt_super *super, uint64_t disk_bytes)
{
	uint64_t slots = disk_bytes / HF_RCACHEFMT_SLOT_BYTES;

	if (slots > HF_RCACHEFMT_SLOTS_MAX)
		slots = HF_RCACHEFMT_SLOTS_MAX;
	while (slots > 0) {
		lay_out(super, (uint32_t)slots);
		if (end_of(super) <= disk_bytes)
			return 0;
		slots -= (end_of(super) - disk_bytes + HF_RCACHEFMT_SLOT_BYTES - 1) /
			 HF_RCACHEFMT_SLOT_BYTES;
	}
	return HF_ENOSPC;
}

void hf_rcachefmt_super_encode(const struct hf_rcachefmt_super *super, uint8_t *block)
{
	memset(block, 0, HF_RCACHEFMT_BLOCK);
	memcpy(block, super_magic, sizeof super_magic);
	hf_put_le32(block + 8, VERSION);
	hf_put_le32(block + 12, HF_RCACHEFMT_SLOT_BYTES);
	memcpy(block + 16, super->uuid, 16);
	hf_put_le32(block + 32, super->slot_count);
	hf_put_le64(block + 40, super->slots_offset);
	hf_put_le32(block + SUPER_CRC, hf_crc32c(0, block, SUPER_CRC));
}

int hf_rcachefmt_super_decode(struct hf_rcachefmt_super *super, const uint8_t *block)
{
	uint32_t slots = hf_get_le32(block + 32);

	if (memcmp(block, super_magic, sizeof super_magic) != 0 ||
	    hf_get_le32(block + SUPER_CRC) != hf_crc32c(0, block, SUPER_CRC) ||
	    hf_get_le32(block + 8) != VERSION ||
	    hf_get_le32(block + 12) != HF_RCACHEFMT_SLOT_BYTES || slots == 0 ||
	    slots > HF_RCACHEFMT_SLOTS_MAX)
		return HF_ECORRUPT;
	lay_out(super, slots);
	memcpy(super->uuid, block + 16, 16);
	return hf_get_le64(block + 40) == super->slots_offset ? 0 : HF_ECORRUPT;
}

/* ---- Index pages ----------------------------------------------------------------------------- */

static uint32_t entries_of(const struct hf_rcachefmt_super *super, uint32_t page)
{
	uint32_t rest = super->slot_count - page * HF_RCACHEFMT_PAGE_ENTRIES;

	return rest < HF_RCACHEFMT_PAGE_ENTRIES ? rest : HF_RCACHEFMT_PAGE_ENTRIES;
}

static void key_encode(const struct hf_read_cache_key *key, uint8_t *at)
{
	memcpy(at, key->tag, 16);
	hf_put_le64(at + 16, key->volume);
	hf_put_le32(at + 24, key->chunk);
	hf_put_le32(at + 28, key->class);
}

static void entry_encode(const struct hf_rcache_entry *entry, const uint32_t *crcs, uint8_t *at)
{
	key_encode(&entry->key, at);
	hf_put_le32(at + 32, entry->length);
	at[36] = entry->queue;
	at[37] = entry->uses;
	hf_put_le32(at + 40, entry->stamp);
	for (unsigned i = 0; i < HF_RCACHEFMT_SLOT_BLOCKS; i++)
		hf_put_le32(at + 64 + 4 * i, crcs[i]);
}

static void entry_decode(struct hf_rcache_entry *entry, uint32_t *crcs, const uint8_t *at)
{
	uint32_t length = hf_get_le32(at + 32), class = hf_get_le32(at + 28);

	*entry = (struct hf_rcache_entry){0};
	if (length == 0 || length > HF_RCACHEFMT_SLOT_BYTES ||
	    (class != HF_READ_CACHE_DATA && class != HF_READ_CACHE_MAP) ||
	    (at[36] != HF_RCACHE_SMALL && at[36] != HF_RCACHE_MAIN) || at[37] > 3)
		return;
	memcpy(entry->key.tag, at, 16);
	entry->key.volume = hf_get_le64(at + 16);
	entry->key.chunk = hf_get_le32(at + 24);
	entry->key.class = class;
	entry->length = length;
	entry->queue = at[36];
	entry->uses = at[37];
	entry->stamp = hf_get_le32(at + 40);
	for (unsigned i = 0; i < HF_RCACHEFMT_SLOT_BLOCKS; i++)
		crcs[i] = hf_get_le32(at + 64 + 4 * i);
}

void hf_rcachefmt_page_encode(const struct hf_rcachefmt_super *super, uint32_t page,
			      const struct hf_rcache_entry *entries, const uint32_t *crcs,
			      uint8_t *block)
{
	uint32_t first = page * HF_RCACHEFMT_PAGE_ENTRIES, count = entries_of(super, page);

	memset(block, 0, HF_RCACHEFMT_BLOCK);
	memcpy(block, page_magic, sizeof page_magic);
	hf_put_le32(block + 8, VERSION);
	hf_put_le32(block + 12, page);
	memcpy(block + 16, super->uuid, 16);
	for (uint32_t i = 0; i < count; i++) {
		const struct hf_rcache_entry *entry = &entries[first + i];

		if (entry->queue != HF_RCACHE_FREE && !entry->locked)
			entry_encode(entry, crcs + (size_t)(first + i) * HF_RCACHEFMT_SLOT_BLOCKS,
				     block + PAGE_HEAD + i * ENTRY_BYTES);
	}
	hf_put_le32(block + PAGE_CRC, hf_crc32c(0, block, HF_RCACHEFMT_BLOCK));
}

static bool page_is_good(const struct hf_rcachefmt_super *super, uint32_t page,
			 const uint8_t *block)
{
	static const uint8_t none[4];
	uint32_t crc = hf_crc32c(0, block, PAGE_CRC);

	crc = hf_crc32c(crc, none, sizeof none);
	crc = hf_crc32c(crc, block + PAGE_HEAD, HF_RCACHEFMT_BLOCK - PAGE_HEAD);
	return memcmp(block, page_magic, sizeof page_magic) == 0 &&
	       hf_get_le32(block + PAGE_CRC) == crc && hf_get_le32(block + 8) == VERSION &&
	       hf_get_le32(block + 12) == page && memcmp(block + 16, super->uuid, 16) == 0;
}

int hf_rcachefmt_page_decode(const struct hf_rcachefmt_super *super, uint32_t page,
			     struct hf_rcache_entry *entries, uint32_t *crcs, const uint8_t *block)
{
	uint32_t first = page * HF_RCACHEFMT_PAGE_ENTRIES, count = entries_of(super, page);

	if (!page_is_good(super, page, block))
		return HF_ECORRUPT;
	for (uint32_t i = 0; i < count; i++)
		entry_decode(&entries[first + i],
			     crcs + (size_t)(first + i) * HF_RCACHEFMT_SLOT_BLOCKS,
			     block + PAGE_HEAD + i * ENTRY_BYTES);
	return 0;
}

uint32_t hf_rcachefmt_crc(const struct hf_read_cache_key *key, uint32_t number,
			  const uint8_t *block)
{
	uint8_t seed[KEY_BYTES + 4];

	key_encode(key, seed);
	hf_put_le32(seed + KEY_BYTES, number);
	return hf_crc32c(hf_crc32c(0, seed, sizeof seed), block, HF_RCACHEFMT_BLOCK);
}
