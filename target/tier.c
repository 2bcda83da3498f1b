/* SPDX-License-Identifier: GPL-2.0-only
 * Part of the Holdfast backing store, which tgtd loads; see docs/LICENSING.md. */
/* See tier.h. The versions of all blocks of a read are taken first and compared again after the
 * last byte was copied, so that there was a moment at which all of them were so. The copy is
 * ordered before the second look: if one word of a newer content was seen, so is the version that
 * was changed before it (cache/tier.c). */
#include "target/tier.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "cache/ring_layout.h"

#define SEALS_NEEDED (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

/* ---- Opening ---- */

static bool is_sound(const struct hf_tier_header *header, uint64_t bytes)
{
	return header->magic == HF_TIER_MAGIC && header->version == HF_TIER_VERSION &&
	       header->ways == HF_TIER_WAYS && header->bytes == bytes && header->sets > 0 &&
	       header->sets == hf_tier_sets_of(bytes) &&
	       header->blocks_offset == hf_tier_blocks_offset(header->sets);
}

int hf_shim_tier_open(struct hf_shim_tier *tier, int fd, uint8_t *ring)
{
	struct hf_tier_header header;
	struct stat stat;
	int seals = fcntl(fd, F_GET_SEALS);
	void *base;

	*tier = (struct hf_shim_tier){0};
	if (seals < 0 || (seals & SEALS_NEEDED) != SEALS_NEEDED || fstat(fd, &stat) != 0 ||
	    stat.st_size < HF_TIER_BYTES_MIN || (uint64_t)stat.st_size > HF_TIER_BYTES_MAX)
		return HF_EPROTO;
	base = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (base == MAP_FAILED)
		return HF_ENOMEM;
	memcpy(&header, base, sizeof header);
	if (!is_sound(&header, (uint64_t)stat.st_size)) {
		munmap(base, (size_t)stat.st_size);
		return HF_EPROTO;
	}
	tier->base = base;
	tier->bytes = header.bytes;
	tier->sets = header.sets;
	tier->blocks_offset = header.blocks_offset;
	tier->marks = ring + HF_RING_TIER_MARKS_OFFSET;
	tier->hits = (uint64_t *)(void *)(ring + HF_RING_TIER_HITS_OFFSET);
	return 0;
}

void hf_shim_tier_close(struct hf_shim_tier *tier)
{
	if (tier->base)
		munmap((void *)(uintptr_t)tier->base, tier->bytes);
	*tier = (struct hf_shim_tier){0};
}

void hf_shim_tier_begin(const struct hf_shim_tier *tier, uint32_t handle)
{
	if (tier->base && handle < HF_RING_VOLUMES_MAX)
		__atomic_store_n(&tier->hits[handle], 0, __ATOMIC_RELAXED);
}

/* ---- Reading ---- */

struct held {
	uint64_t entry, version;
};

static const struct hf_tier_entry *entry_at(const struct hf_shim_tier *tier, uint64_t entry)
{
	return (const struct hf_tier_entry *)(const void *)(tier->base + HF_TIER_TABLE_OFFSET) +
	       entry;
}

static uint64_t version_of(const struct hf_shim_tier *tier, uint64_t entry)
{
	return __atomic_load_n(&entry_at(tier, entry)->version, __ATOMIC_ACQUIRE);
}

static bool find(const struct hf_shim_tier *tier, uint64_t key, struct held *held)
{
	uint64_t first = hf_tier_set(key, tier->sets) * HF_TIER_WAYS;

	for (uint64_t entry = first; entry < first + HF_TIER_WAYS; entry++) {
		if (__atomic_load_n(&entry_at(tier, entry)->key, __ATOMIC_RELAXED) != key)
			continue;
		held->entry = entry;
		held->version = version_of(tier, entry);
		return held->version != 0 && held->version % 2 == 0 &&
		       __atomic_load_n(&entry_at(tier, entry)->key, __ATOMIC_ACQUIRE) == key;
	}
	return false;
}

/* The blocks are seldom in the processor's cache; the string move keeps the most lines under way (a
 * third to a half of the time of word by word), and the fence keeps the look at the versions behind
 * it. The thread sanitizer knows atomic words only; any machine would do with those. */
static void copy(uint8_t *to, const uint8_t *from, size_t length)
{
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
	__asm__ volatile("rep movsb\n\tlfence" : "+D"(to), "+S"(from), "+c"(length) : : "memory");
#else
	const uint64_t *words = (const uint64_t *)(const void *)from;

	for (size_t i = 0; i < length / sizeof *words; i++) {
		uint64_t word = __atomic_load_n(&words[i], __ATOMIC_ACQUIRE);

		memcpy(to + i * sizeof word, &word, sizeof word);
	}
#endif
}

static const uint8_t *block_at(const struct hf_shim_tier *tier, uint64_t entry)
{
	return tier->base + tier->blocks_offset + entry * HF_TIER_BLOCK;
}

static void mark(const struct hf_shim_tier *tier, uint64_t entry)
{
	uint32_t bit = (uint32_t)(entry % HF_RING_TIER_MARKS);
	uint8_t mask = (uint8_t)(1u << bit % 8), *byte = &tier->marks[bit / 8];

	if (!(__atomic_load_n(byte, __ATOMIC_RELAXED) & mask))
		__atomic_fetch_or(byte, mask, __ATOMIC_RELAXED);
}

bool hf_shim_tier_read(const struct hf_shim_tier *tier, uint32_t handle, uint64_t offset,
		       uint64_t length, void *to)
{
	uint64_t first = offset / HF_TIER_BLOCK, start = offset % HF_TIER_BLOCK;
	struct held held[HF_TIER_READ_BLOCKS];
	uint64_t count, done = 0;

	if (!tier->base || length == 0 || handle >= HF_RING_VOLUMES_MAX || (offset | length) % 8 ||
	    length > (uint64_t)HF_TIER_READ_BLOCKS * HF_TIER_BLOCK)
		return false;
	count = (start + length + HF_TIER_BLOCK - 1) / HF_TIER_BLOCK;
	if (count > HF_TIER_READ_BLOCKS)
		return false;
	for (uint64_t i = 0; i < count; i++)
		if (!find(tier, hf_tier_key(handle, first + i), &held[i]))
			return false;
	for (uint64_t i = 0; i < count; i++) {
		uint64_t at = i == 0 ? start : 0;
		uint64_t part =
			HF_TIER_BLOCK - at < length - done ? HF_TIER_BLOCK - at : length - done;

		copy((uint8_t *)to + done, block_at(tier, held[i].entry) + at, part);
		done += part;
	}
	for (uint64_t i = 0; i < count; i++)
		if (version_of(tier, held[i].entry) != held[i].version)
			return false;
	for (uint64_t i = 0; i < count; i++)
		mark(tier, held[i].entry);
	__atomic_store_n(&tier->hits[handle], tier->hits[handle] + 1, __ATOMIC_RELAXED);
	return true;
}
