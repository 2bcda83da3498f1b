/* base/extmap.h as a plain map, against the naive model: random changes where leaves meet, over
 * several leaves and over the whole address space, the map compared after each. A failure prints
 * the seed. */
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

static void assert_same(const struct hf_extent *a, const struct hf_extent *b)
{
	assert_true(a->lba == b->lba && a->length == b->length && a->kind == b->kind);
	assert_true(a->place.source == b->place.source && a->place.unit == b->place.unit);
}

static void compare(const struct hf_extmap *map, const struct model *model, uint64_t lba,
		    uint64_t end)
{
	struct hf_extent found, expected;

	while (lba < end && model_find(model, lba, end, &expected)) {
		assert_true(hf_extmap_find(map, lba, end - lba, &found));
		assert_same(&found, &expected);
		lba = found.lba + found.length;
	}
	assert_false(lba < end && hf_extmap_find(map, lba, end - lba, &found));
}

static void random_change(struct hf_extmap *map, struct model *model, enum ground ground)
{
	struct hf_extent extent;
	uint64_t lba, length;

	if (draw(5) == 0) {
		draw_range(ground, &lba, &length);
		assert_int_equal(hf_extmap_remove(map, lba, length), 0);
		model_replace(model, lba, lba + length, NULL);
	} else {
		extent = draw_extent(ground, true);
		assert_int_equal(hf_extmap_insert(map, &extent), 0);
		model_replace(model, extent.lba, extent.lba + extent.length, &extent);
	}
}

static void play(enum ground ground, unsigned rounds, unsigned steps)
{
	uint64_t low, end, lba, length;

	ground_range(ground, &low, &end);
	for (unsigned round = 1; round <= rounds; round++) {
		struct hf_extmap *map = hf_extmap_create();
		struct model model = {NULL, 0, 0};

		model_seed = round;
		for (unsigned step = 0; step < steps; step++) {
			random_change(map, &model, ground);
			draw_range(ground, &lba, &length);
			compare(map, &model, lba, lba + length);
			compare(map, &model, low, end);
		}
		/* Nothing is left of it once everything is forgotten. */
		assert_int_equal(hf_extmap_remove(map, 0, UINT64_MAX), 0);
		assert_int_equal(hf_extmap_count(map), 0);
		assert_true(hf_extmap_memory_bytes(map) < 100);
		hf_extmap_destroy(map);
		model_clear(&model);
	}
}

static void test_where_leaves_meet(void **state)
{
	(void)state;
	play(GROUND_SEAM, 150, 150);
}

static void test_over_several_leaves(void **state)
{
	(void)state;
	play(GROUND_LEAVES, 150, 150);
}

static void test_over_the_whole_address_space(void **state)
{
	(void)state;
	play(GROUND_WIDE, 200, 100);
}

static void out_of_memory(enum ground ground)
{
	uint64_t low, end;
	unsigned refused = 0;

	ground_range(ground, &low, &end);
	for (unsigned round = 1; round <= 200; round++) {
		struct hf_extmap *map = hf_extmap_create();
		struct model model = {NULL, 0, 0};

		model_seed = round;
		for (unsigned step = 0; step < 30; step++) {
			struct hf_extent extent = draw_extent(ground, true);
			bool removing = draw(4) == 0;
			int err;

			allocations_left = (int)draw(5);
			err = removing ? hf_extmap_remove(map, extent.lba, extent.length)
				       : hf_extmap_insert(map, &extent);
			allocations_left = -1;
			if (err == 0)
				model_replace(&model, extent.lba, extent.lba + extent.length,
					      removing ? NULL : &extent);
			else
				assert_int_equal(err, HF_ENOMEM);
			refused += err != 0;
			compare(map, &model, low, end);
		}
		assert_int_equal(hf_extmap_remove(map, 0, UINT64_MAX), 0);
		assert_true(hf_extmap_memory_bytes(map) < 100);
		hf_extmap_destroy(map);
		model_clear(&model);
	}
	assert_true(refused > 100);
}

static void test_out_of_memory_changes_nothing(void **state)
{
	(void)state;
	out_of_memory(GROUND_SEAM);
	out_of_memory(GROUND_LEAVES);
	out_of_memory(GROUND_WIDE);
}

static void test_ends_of_the_address_space(void **state)
{
	struct hf_extmap *map = hf_extmap_create();
	struct hf_extent extent = {.lba = 0, .length = UINT64_MAX, .kind = HF_EXTENT_ZERO}, found;

	(void)state;
	assert_false(hf_extmap_find(map, 0, UINT64_MAX, &found));
	assert_int_equal(hf_extmap_insert(map, &extent), 0);
	assert_true(hf_extmap_find(map, 0, UINT64_MAX, &found));
	assert_true(found.lba == 0 && found.length == UINT64_MAX);
	extent = (struct hf_extent){.lba = 5, .length = 1, .kind = HF_EXTENT_DATA, .place = {1, 2}};
	assert_int_equal(hf_extmap_insert(map, &extent), 0);
	assert_true(hf_extmap_find(map, 6, UINT64_MAX, &found));
	assert_true(found.lba == 6 && found.length == UINT64_MAX - 6);
	assert_true(hf_extmap_find(map, UINT64_MAX - 1, 1, &found));
	assert_true(found.lba == UINT64_MAX - 1 && found.length == 1);
	assert_int_equal(hf_extmap_remove(map, 0, UINT64_MAX), 0);
	assert_int_equal(hf_extmap_count(map), 0);
	hf_extmap_destroy(map);
	hf_extmap_destroy(NULL);
}

/* Data that ends where its source ends is not continued by the start of the next source. */
static void test_sources_stay_apart(void **state)
{
	struct hf_extmap *map = hf_extmap_create();
	struct hf_extent extent = {
		.lba = 10, .length = 4, .kind = HF_EXTENT_DATA, .place = {7, (1u << 17) - 4}};
	struct hf_extent found;

	(void)state;
	assert_int_equal(hf_extmap_insert(map, &extent), 0);
	extent.lba = 14;
	extent.place = (struct hf_place){8, 0};
	assert_int_equal(hf_extmap_insert(map, &extent), 0);
	assert_int_equal(hf_extmap_count(map), 2);
	assert_true(hf_extmap_find(map, 0, 100, &found));
	assert_true(found.length == 4 && found.place.source == 7);
	hf_extmap_destroy(map);
}

/* Ascending, descending and scattered, in leaves that fill up. */
static void test_many_extents(void **state)
{
	struct hf_extmap *map = hf_extmap_create();
	struct hf_extent extent = {.length = 1, .kind = HF_EXTENT_DATA}, found;

	(void)state;
	for (uint64_t i = 0; i < 200000; i++) {
		extent.lba = 4 * i;
		extent.place.unit = i % 16384 * 8;
		assert_int_equal(hf_extmap_insert(map, &extent), 0);
		extent.lba = (1u << 30) - 4 * i;
		extent.place.source = 1;
		assert_int_equal(hf_extmap_insert(map, &extent), 0);
		extent.place.source = 0;
	}
	assert_int_equal(hf_extmap_count(map), 400000);
	for (uint64_t i = 0; i < 200000; i += 1000) {
		assert_true(hf_extmap_find(map, 4 * i, 4, &found));
		assert_true(found.lba == 4 * i && found.place.unit == i % 16384 * 8);
		assert_false(hf_extmap_find(map, 4 * i + 1, 3, &found));
	}
	hf_extmap_destroy(map);
}

/* A range of any length costs a few hundred slots, wherever its ends lie, and what is written into
 * it afterwards does not take it apart. */
static void test_wide_zeros_are_small(void **state)
{
	const uint64_t units = 32ull << 40 >> 9;
	struct hf_extmap *map = hf_extmap_create();
	struct hf_extent zero = {
		.lba = 5, .length = units - 10, .kind = HF_EXTENT_ZERO, .place = {.source = 1}};
	struct hf_extent data = {.length = 8, .kind = HF_EXTENT_DATA}, found;

	(void)state;
	assert_int_equal(hf_extmap_insert(map, &zero), 0);
	assert_true(hf_extmap_memory_bytes(map) < 16384);
	for (unsigned i = 0; i < 1000; i++) {
		data.lba = units / 1000 * i + 1000;
		assert_int_equal(hf_extmap_insert(map, &data), 0);
	}
	assert_true(hf_extmap_memory_bytes(map) < 16384 + 1000 * 300);
	assert_true(hf_extmap_find(map, 5, units, &found));
	assert_true(found.lba == 5 && found.length == 995);
	assert_int_equal(hf_extmap_remove(map, 0, units), 0);
	assert_true(hf_extmap_memory_bytes(map) < 100);
	hf_extmap_destroy(map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_where_leaves_meet),
		cmocka_unit_test(test_over_several_leaves),
		cmocka_unit_test(test_over_the_whole_address_space),
		cmocka_unit_test(test_out_of_memory_changes_nothing),
		cmocka_unit_test(test_ends_of_the_address_space),
		cmocka_unit_test(test_sources_stay_apart),
		cmocka_unit_test(test_many_extents),
		cmocka_unit_test(test_wide_zeros_are_small),
	};
	int failures = cmocka_run_group_tests(tests, NULL, NULL);

	if (failures)
		fprintf(stderr, "last seed state %llu\n", (unsigned long long)model_seed);
	return failures;
}
