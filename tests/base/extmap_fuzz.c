/* Any bytes as an encoded leaf, over nothing and under newer runs: refused as corrupt, or a leaf
 * whose runs are sorted, apart, inside it and canonical (invariant 9). The first byte of the input
 * says what is put in before. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/extmap.h"

#define LEAF 5u
#define BASE (LEAF * HF_EXTMAP_LEAF_UNITS)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put(struct hf_extmap *map, enum hf_extent_kind kind, unsigned start, unsigned length)
{
	const struct hf_extent extent = {.lba = BASE + start, .length = length, .kind = kind};

	HF_ASSERT(hf_extmap_insert(map, &extent) == 0);
}

/* Every extent lies in the leaf and past the one before; returns how many units they have. */
static uint64_t walk(const struct hf_extmap *map)
{
	uint64_t at = 0, units = 0;
	struct hf_extent found;

	while (hf_extmap_find(map, at, UINT64_MAX - at, &found)) {
		HF_ASSERT(found.lba >= at && found.lba >= BASE && found.length > 0);
		at = found.lba + found.length;
		HF_ASSERT(at <= BASE + HF_EXTMAP_LEAF_UNITS);
		HF_ASSERT(found.kind == HF_EXTENT_DATA || found.kind == HF_EXTENT_BAD);
		HF_ASSERT(found.place.unit + found.length <= 1u << HF_EXTMAP_UNIT_BITS);
		units += found.length;
	}
	return units;
}

static void check_installed(struct hf_extmap *map, bool under, const uint8_t *data, size_t size)
{
	static uint8_t encoded[HF_EXTMAP_LEAF_BYTES_MAX];
	struct hf_extmap *again = hf_extmap_create_stored();
	size_t length = hf_extmap_leaf_encode(map, LEAF, encoded, sizeof encoded);

	HF_ASSERT(under || (length == size && memcmp(encoded, data, size) == 0));
	if (length > 0) {
		HF_ASSERT(hf_extmap_leaf_mark_absent(again, LEAF) == 0);
		HF_ASSERT(hf_extmap_leaf_install(again, LEAF, encoded, length) == 0);
	}
	HF_ASSERT(walk(again) == walk(map));
	hf_extmap_destroy(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hf_extmap *map = hf_extmap_create_stored();
	enum hf_extmap_state before;
	bool under;
	int err;

	if (size == 0) {
		hf_extmap_destroy(map);
		return 0;
	}
	under = data[0] & 7;
	HF_ASSERT(hf_extmap_leaf_mark_absent(map, LEAF) == 0);
	if (data[0] & 1)
		put(map, HF_EXTENT_DATA, data[0], 100);
	if (data[0] & 2)
		put(map, HF_EXTENT_ZERO, 50u * data[0], 1000);
	if (data[0] & 4)
		put(map, HF_EXTENT_BAD, HF_EXTMAP_LEAF_UNITS - 3, 3);
	before = hf_extmap_leaf_state(map, LEAF);
	err = hf_extmap_leaf_install(map, LEAF, data + 1, size - 1);
	if (err == 0) {
		check_installed(map, under, data + 1, size - 1);
	} else {
		HF_ASSERT(err == HF_ECORRUPT);
		HF_ASSERT(hf_extmap_leaf_state(map, LEAF) == before);
	}
	hf_extmap_destroy(map);
	return 0;
}
