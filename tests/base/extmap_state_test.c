/* base/extmap.h as a stored map, against the naive model: random changes while leaves are written
 * to checkpoints, dropped, loaded and lost with the process. What the map says is always what was
 * put in, or that a leaf has to be loaded first; no change ever waits. A failure prints the seed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/extmap.h"
#include "tests/base/extmap_model.h"

#define FIRST  62u /* the leaves of GROUND_LEAVES */
#define LEAVES 6u

struct bytes {
	uint8_t *bytes;
	size_t length;
};

struct world {
	struct hf_extmap *map;
	struct model now;
	/* The checkpoint in force and the one being written. */
	struct bytes durable[LEAVES], fresh[LEAVES];
	bool writing, is_fresh[LEAVES];
	unsigned loads;
};

static uint8_t buffer[HF_EXTMAP_LEAF_BYTES_MAX];

static void bytes_take(struct bytes *to, const void *bytes, size_t length)
{
	free(to->bytes);
	to->bytes = NULL;
	to->length = length;
	if (length == 0)
		return;
	to->bytes = malloc(length);
	memcpy(to->bytes, bytes, length);
}

static void load(struct world *world, uint64_t leaf)
{
	const struct bytes *bytes = &world->durable[leaf - FIRST];
	enum hf_extmap_state before = hf_extmap_leaf_state(world->map, leaf);

	assert_true(before == HF_EXTMAP_LEAF_ABSENT || before == HF_EXTMAP_LEAF_PARTIAL);
	assert_int_equal(hf_extmap_leaf_install(world->map, leaf, bytes->bytes, bytes->length), 0);
	assert_int_equal(hf_extmap_leaf_state(world->map, leaf), before == HF_EXTMAP_LEAF_ABSENT
									 ? HF_EXTMAP_LEAF_CLEAN
									 : HF_EXTMAP_LEAF_DIRTY);
	world->loads++;
}

static bool hides(const struct hf_extmap *map, uint64_t lba)
{
	enum hf_extmap_state state = hf_extmap_leaf_state(map, hf_extmap_leaf_of(lba));

	return state == HF_EXTMAP_LEAF_ABSENT || state == HF_EXTMAP_LEAF_PARTIAL;
}

/* Walks [lba, end) with look, loading what it asks for; or without loading, skipping those. */
static void compare(struct world *world, uint64_t lba, uint64_t end, bool loading)
{
	struct hf_extent found, expected;

	while (lba < end) {
		uint64_t leaf = 0;
		bool any = model_find(&world->now, lba, end, &expected);
		enum hf_extmap_found result =
			hf_extmap_look(world->map, lba, end - lba, &found, &leaf);

		if (result == HF_EXTMAP_NONE) {
			assert_false(any);
			return;
		}
		if (result == HF_EXTMAP_ABSENT) {
			/* Nothing lies before it, and it lies in the range. */
			uint64_t base = leaf * HF_EXTMAP_LEAF_UNITS;

			assert_true(base < end && base + HF_EXTMAP_LEAF_UNITS > lba);
			assert_true(!any || base <= expected.lba ||
				    expected.lba >= base + HF_EXTMAP_LEAF_UNITS || lba >= base);
			if (loading) {
				load(world, leaf);
				continue;
			}
			assert_true(lba >= base || !any || expected.lba >= base);
			lba = base + HF_EXTMAP_LEAF_UNITS;
			continue;
		}
		if (found.kind == HF_EXTENT_ZERO) { /* a hole over an absent base */
			assert_true(!any || expected.lba >= found.lba + found.length);
			lba = found.lba + found.length;
			continue;
		}
		assert_true(any && found.lba == expected.lba && found.kind == expected.kind);
		assert_true(found.place.source == expected.place.source &&
			    found.place.unit == expected.place.unit);
		/* An absent leaf, or an absent base, may hide that it goes on. */
		assert_true(found.length == expected.length ||
			    (found.length < expected.length &&
			     hides(world->map, found.lba + found.length)));
		lba = found.lba + found.length;
	}
}

static void change(struct world *world)
{
	struct hf_extent extent = draw_extent(GROUND_LEAVES, false);
	bool removing = draw(8) == 0;
	int err;

	allocations_left = draw(3) ? -1 : (int)draw(4);
	err = removing ? hf_extmap_remove(world->map, extent.lba, extent.length)
		       : hf_extmap_insert(world->map, &extent);
	if (err)
		assert_true(err == HF_ENOMEM && allocations_left == 0);
	else
		model_replace(&world->now, extent.lba, extent.lba + extent.length,
			      removing || extent.kind == HF_EXTENT_ZERO ? NULL : &extent);
	allocations_left = -1;
}

static void begin_checkpoint(struct world *world)
{
	uint64_t leaf = 0;
	bool partial;

	while (hf_extmap_leaf_next_dirty(world->map, leaf, &leaf, &partial)) {
		size_t length;

		assert_int_equal(partial,
				 hf_extmap_leaf_state(world->map, leaf) == HF_EXTMAP_LEAF_PARTIAL);
		if (partial)
			load(world, leaf);
		length = hf_extmap_leaf_encode(world->map, leaf, buffer, sizeof buffer);
		bytes_take(&world->fresh[leaf - FIRST], buffer, length);
		world->is_fresh[leaf - FIRST] = true;
		hf_extmap_leaf_begin_write(world->map, leaf);
		leaf++;
	}
	world->writing = true;
}

static void end_checkpoint(struct world *world, bool durable)
{
	for (unsigned i = 0; i < LEAVES; i++) {
		if (!world->is_fresh[i])
			continue;
		world->is_fresh[i] = false;
		hf_extmap_leaf_end_write(world->map, FIRST + i, durable);
		if (durable)
			bytes_take(&world->durable[i], world->fresh[i].bytes,
				   world->fresh[i].length);
	}
	world->writing = false;
}

/* Dropped or not, a clean leaf is the checkpoint's; a stored one that is not clean is newer. */
static void drop(struct world *world)
{
	uint64_t leaf = FIRST + draw(LEAVES);
	bool clean = hf_extmap_leaf_state(world->map, leaf) == HF_EXTMAP_LEAF_CLEAN;

	if (clean)
		assert_int_equal(hf_extmap_leaf_encode(world->map, leaf, buffer, sizeof buffer),
				 world->durable[leaf - FIRST].length);
	if (clean)
		assert_memory_equal(buffer, world->durable[leaf - FIRST].bytes,
				    world->durable[leaf - FIRST].length);
	assert_int_equal(hf_extmap_leaf_drop(world->map, leaf), clean);
}

/* The process ends; a new one knows the checkpoint only, and is given the content again as the
 * objects after it would. */
static void restart(struct world *world)
{
	end_checkpoint(world, false);
	begin_checkpoint(world);
	end_checkpoint(world, true);
	hf_extmap_destroy(world->map);
	world->map = hf_extmap_create_stored();
	for (unsigned i = 0; i < LEAVES; i++)
		if (world->durable[i].length > 0)
			assert_int_equal(hf_extmap_leaf_mark_absent(world->map, FIRST + i), 0);
}

static void late_load(struct world *world)
{
	uint64_t leaf = FIRST + draw(LEAVES);
	const struct bytes *bytes = &world->durable[leaf - FIRST];
	enum hf_extmap_state before = hf_extmap_leaf_state(world->map, leaf);
	int err;

	if (bytes->length == 0)
		return;
	allocations_left = (int)draw(3);
	err = hf_extmap_leaf_install(world->map, leaf, bytes->bytes, bytes->length);
	allocations_left = -1;
	if (err) {
		assert_int_equal(err, HF_ENOMEM);
		assert_int_equal(hf_extmap_leaf_state(world->map, leaf), before);
	}
}

static void step(struct world *world)
{
	uint64_t lba, length;

	switch (draw(12)) {
	case 0:
		drop(world);
		break;
	case 1:
		hf_extmap_shrink(world->map, draw(2) ? 0 : draw(20000));
		break;
	case 2:
	case 3:
		if (world->writing)
			end_checkpoint(world, draw(4) != 0);
		else
			begin_checkpoint(world);
		break;
	case 4:
		late_load(world);
		break;
	case 5:
		draw_range(GROUND_LEAVES, &lba, &length);
		compare(world, lba, lba + length, true);
		break;
	case 6:
		if (draw(8) == 0)
			restart(world);
		break;
	default:
		change(world);
	}
}

static void world_free(struct world *world)
{
	hf_extmap_destroy(world->map);
	model_clear(&world->now);
	for (unsigned i = 0; i < LEAVES; i++) {
		free(world->durable[i].bytes);
		free(world->fresh[i].bytes);
	}
}

static void test_content_survives_every_way_a_leaf_can_go(void **state)
{
	uint64_t low, end;
	unsigned loads = 0;

	(void)state;
	ground_range(GROUND_LEAVES, &low, &end);
	for (unsigned round = 1; round <= 1500; round++) {
		struct world world = {.map = hf_extmap_create_stored()};

		model_seed = round;
		for (unsigned i = 0; i < 200; i++) {
			step(&world);
			compare(&world, low, end, false);
		}
		compare(&world, low, end, true);
		loads += world.loads;
		world_free(&world);
	}
	assert_true(loads > 1000);
}

/* However a content came about, its bytes are the same: what a checkpoint is compared by. */
static void test_equal_content_has_equal_bytes(void **state)
{
	(void)state;
	for (unsigned round = 1; round <= 400; round++) {
		struct world world = {.map = hf_extmap_create_stored()};
		struct hf_extmap *plain = hf_extmap_create_stored();
		static uint8_t other[HF_EXTMAP_LEAF_BYTES_MAX];

		model_seed = round;
		for (unsigned i = 0; i < 60; i++)
			step(&world);
		restart(&world);
		for (size_t i = 0; i < world.now.count; i++) {
			struct hf_extent *extent = &world.now.extents[i];
			uint64_t left = extent->length, most = 1u << HF_EXTMAP_UNIT_BITS;

			/* What continues was put in by pieces that start inside their source. */
			assert_true(left <= most);
			assert_int_equal(hf_extmap_insert(plain, extent), 0);
		}
		for (unsigned i = 0; i < LEAVES; i++) {
			size_t length =
				hf_extmap_leaf_encode(plain, FIRST + i, other, sizeof other);

			assert_int_equal(length, world.durable[i].length);
			assert_memory_equal(other, world.durable[i].bytes, length);
		}
		hf_extmap_destroy(plain);
		world_free(&world);
	}
}

static void put(struct hf_extmap *map, enum hf_extent_kind kind, uint64_t lba, uint64_t length)
{
	const struct hf_extent extent = {.lba = lba, .length = length, .kind = kind};

	assert_int_equal(hf_extmap_insert(map, &extent), 0);
}

static struct hf_extmap *absent_map(uint64_t leaves)
{
	struct hf_extmap *map = hf_extmap_create_stored();

	for (uint64_t leaf = 0; leaf < leaves; leaf++)
		assert_int_equal(hf_extmap_leaf_mark_absent(map, leaf), 0);
	return map;
}

/* What overwrites a leaf to its last unit needs the base no more, in one piece or in many. */
static void test_overwritten_leaf_needs_no_base(void **state)
{
	struct hf_extmap *map = absent_map(3);
	struct hf_extent found;
	uint64_t leaf;

	(void)state;
	put(map, HF_EXTENT_DATA, 0, HF_EXTMAP_LEAF_UNITS);
	assert_int_equal(hf_extmap_leaf_state(map, 0), HF_EXTMAP_LEAF_DIRTY);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(hf_extmap_leaf_state(map, 1),
				 i ? HF_EXTMAP_LEAF_PARTIAL : HF_EXTMAP_LEAF_ABSENT);
		put(map, i == 2 ? HF_EXTENT_ZERO : HF_EXTENT_BAD,
		    HF_EXTMAP_LEAF_UNITS + i * (HF_EXTMAP_LEAF_UNITS / 4),
		    HF_EXTMAP_LEAF_UNITS / 4);
	}
	assert_int_equal(hf_extmap_leaf_state(map, 1), HF_EXTMAP_LEAF_DIRTY);
	assert_int_equal(hf_extmap_look(map, HF_EXTMAP_LEAF_UNITS + HF_EXTMAP_LEAF_UNITS / 2,
					HF_EXTMAP_LEAF_UNITS / 4, &found, &leaf),
			 HF_EXTMAP_NONE);
	assert_int_equal(hf_extmap_look(map, 0, UINT64_MAX, &found, &leaf), HF_EXTMAP_FOUND);
	assert_int_equal(hf_extmap_look(map, 2u * HF_EXTMAP_LEAF_UNITS, 1, &found, &leaf),
			 HF_EXTMAP_ABSENT);
	assert_int_equal(leaf, 2);
	hf_extmap_destroy(map);
}

/* UNMAP of a whole volume whose leaves are all absent: nothing is loaded, no run is made, and the
 * next checkpoint learns of each leaf that it is empty. */
static void test_hole_over_absent_leaves(void **state)
{
	const uint64_t leaves = 100000;
	struct hf_extmap *map = absent_map(leaves);
	size_t before = hf_extmap_memory_bytes(map);
	struct hf_extent found;
	uint64_t leaf = 0, count = 0;
	bool partial;

	(void)state;
	put(map, HF_EXTENT_ZERO, 8, (1ull << 50) - 8);
	assert_true(hf_extmap_memory_bytes(map) <= before);
	assert_int_equal(hf_extmap_count(map), 1); /* over the base of leaf 0 */
	assert_int_equal(hf_extmap_look(map, 0, 8, &found, &leaf), HF_EXTMAP_ABSENT);
	assert_int_equal(hf_extmap_look(map, HF_EXTMAP_LEAF_UNITS, UINT64_MAX, &found, &leaf),
			 HF_EXTMAP_NONE);
	put(map, HF_EXTENT_ZERO, 0, 8);
	assert_int_equal(hf_extmap_count(map), 0);
	for (leaf = 0; hf_extmap_leaf_next_dirty(map, leaf, &leaf, &partial); leaf++, count++) {
		assert_false(partial);
		assert_int_equal(hf_extmap_leaf_encode(map, leaf, NULL, 0), 0);
		hf_extmap_leaf_begin_write(map, leaf);
		hf_extmap_leaf_end_write(map, leaf, true);
		assert_int_equal(hf_extmap_leaf_state(map, leaf), HF_EXTMAP_LEAF_NONE);
	}
	assert_int_equal(count, leaves);
	assert_true(hf_extmap_memory_bytes(map) < 100);
	hf_extmap_destroy(map);
}

/* The clock keeps what is looked at. */
static void test_shrink_spares_what_is_used(void **state)
{
	struct hf_extmap *map = hf_extmap_create_stored();
	struct hf_extent found;
	uint64_t leaf = 0;
	unsigned kept = 0;
	size_t full;
	bool partial;

	(void)state;
	for (unsigned i = 0; i < 40 * 64; i++)
		put(map, HF_EXTENT_BAD, i * (HF_EXTMAP_LEAF_UNITS / 64), 8);
	full = hf_extmap_memory_bytes(map);
	hf_extmap_shrink(map, 0);
	assert_int_equal(hf_extmap_memory_bytes(map), full); /* all are dirty */
	while (hf_extmap_leaf_next_dirty(map, leaf, &leaf, &partial)) {
		hf_extmap_leaf_begin_write(map, leaf);
		assert_false(hf_extmap_leaf_drop(map, leaf));
		hf_extmap_leaf_end_write(map, leaf, true);
	}
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(
			hf_extmap_look(map, 4ull * i * HF_EXTMAP_LEAF_UNITS, 1, &found, &leaf),
			HF_EXTMAP_FOUND);
	hf_extmap_shrink(map, full / 2);
	assert_true(hf_extmap_memory_bytes(map) <= full / 2);
	for (unsigned i = 0; i < 10; i++)
		kept += hf_extmap_leaf_state(map, 4 * i) == HF_EXTMAP_LEAF_CLEAN;
	assert_int_equal(kept, 10);
	hf_extmap_shrink(map, 0);
	assert_int_equal(hf_extmap_count(map), 0);
	assert_true(hf_extmap_memory_bytes(map) < 2048);
	hf_extmap_destroy(map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_content_survives_every_way_a_leaf_can_go),
		cmocka_unit_test(test_equal_content_has_equal_bytes),
		cmocka_unit_test(test_overwritten_leaf_needs_no_base),
		cmocka_unit_test(test_hole_over_absent_leaves),
		cmocka_unit_test(test_shrink_spares_what_is_used),
	};
	int failures = cmocka_run_group_tests(tests, NULL, NULL);

	if (failures)
		fprintf(stderr, "last seed state %llu\n", (unsigned long long)model_seed);
	return failures;
}
