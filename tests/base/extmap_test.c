/* base/extmap.h against a model that notes for every unit of a small address space what it holds:
 * random operations, the whole map compared after each of them. Prints the seed that fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/extmap.h"

#define UNITS 200u
#define BASE  (1ull << 40) /* where the model's address space starts */

struct cell {
	enum hf_extent_kind kind; /* 0: nothing */
	struct hf_place place;
};

static struct cell model[UNITS];
static uint64_t seed;

static unsigned draw(unsigned bound)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(seed >> 33) % bound;
}

/* ---- Running out of memory ------------------------------------------------------------------- */

static int mallocs_left = -1; /* negative: no end */

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

void *__wrap_malloc(size_t size)
{
	if (mallocs_left == 0)
		return NULL;
	if (mallocs_left > 0)
		mallocs_left--;
	return __real_malloc(size);
}

/* ---- The model ------------------------------------------------------------------------------- */

static int cells_continue(const struct cell *a, const struct cell *b)
{
	if (a->kind != b->kind)
		return 0;
	return a->kind != HF_EXTENT_DATA ||
	       (a->place.source == b->place.source && a->place.unit + 1 == b->place.unit);
}

static void compare(const struct hf_extmap *map)
{
	uint64_t at = BASE;
	struct hf_extent found;
	size_t extents = 0;
	unsigned i = 0;

	while (i < UNITS) {
		unsigned end = i + 1;

		if (model[i].kind == 0) {
			i++;
			continue;
		}
		while (end < UNITS && cells_continue(&model[end - 1], &model[end]))
			end++;
		assert_true(hf_extmap_find(map, at, BASE + UNITS - at, &found));
		assert_true(found.lba == BASE + i && found.length == end - i);
		assert_int_equal(found.kind, model[i].kind);
		if (found.kind == HF_EXTENT_DATA) {
			assert_true(found.place.source == model[i].place.source);
			assert_true(found.place.unit == model[i].place.unit);
		}
		extents++;
		at = found.lba + found.length;
		i = end;
	}
	assert_false(at < BASE + UNITS && hf_extmap_find(map, at, BASE + UNITS - at, &found));
	assert_int_equal(hf_extmap_count(map), extents);
}

static void check_find(const struct hf_extmap *map)
{
	unsigned from = draw(UNITS), length = 1 + draw(UNITS - from), i = from;
	struct hf_extent found;
	int any = hf_extmap_find(map, BASE + from, length, &found);

	while (i < from + length && model[i].kind == 0)
		i++;
	assert_int_equal(any, i < from + length);
	if (!any)
		return;
	assert_true(found.lba == BASE + i && found.lba + found.length <= BASE + from + length);
	assert_int_equal(found.kind, model[i].kind);
	if (found.kind == HF_EXTENT_DATA)
		assert_true(found.place.unit == model[i].place.unit);
}

static void random_insert(struct hf_extmap *map)
{
	unsigned from = draw(UNITS), room = UNITS - from;
	unsigned length = 1 + draw(room < 20 ? room : draw(8) ? 20 : room);
	struct hf_extent extent = {.lba = BASE + from, .length = length};

	extent.kind = draw(5) ? HF_EXTENT_DATA : draw(2) ? HF_EXTENT_ZERO : HF_EXTENT_BAD;
	extent.place.source = draw(3);
	/* Often where the neighbour would continue. */
	extent.place.unit = draw(2) ? 1000 + from : draw(500);
	assert_int_equal(hf_extmap_insert(map, &extent), 0);
	for (unsigned i = 0; i < length; i++) {
		model[from + i].kind = extent.kind;
		model[from + i].place.source = extent.place.source;
		model[from + i].place.unit = extent.place.unit + i;
	}
}

static void random_remove(struct hf_extmap *map)
{
	unsigned from = draw(UNITS), length = 1 + draw(UNITS - from);

	assert_int_equal(hf_extmap_remove(map, BASE + from, length), 0);
	memset(model + from, 0, length * sizeof model[0]);
}

static void test_against_the_model(void **state)
{
	(void)state;
	for (unsigned round = 1; round <= 300; round++) {
		struct hf_extmap *map = hf_extmap_create();

		seed = round;
		memset(model, 0, sizeof model);
		for (unsigned step = 0; step < 150; step++) {
			if (draw(5) == 0)
				random_remove(map);
			else
				random_insert(map);
			check_find(map);
			compare(map);
		}
		hf_extmap_destroy(map);
	}
}

static void test_out_of_memory_changes_nothing(void **state)
{
	unsigned refused = 0;

	(void)state;
	for (unsigned round = 1; round <= 500; round++) {
		struct hf_extmap *map = hf_extmap_create();
		struct hf_extent extent = {.kind = HF_EXTENT_DATA};

		seed = round;
		memset(model, 0, sizeof model);
		for (unsigned step = 0; step < 20; step++)
			random_insert(map);
		mallocs_left = (int)draw(2);
		extent.lba = BASE + draw(UNITS - 1);
		extent.length = 1;
		if (hf_extmap_insert(map, &extent) == HF_ENOMEM) {
			refused++;
			compare(map);
		}
		mallocs_left = -1;
		hf_extmap_destroy(map);
	}
	assert_true(refused > 10);
}

static void test_ends_of_the_address_space(void **state)
{
	struct hf_extmap *map = hf_extmap_create();
	struct hf_extent extent = {.lba = 0, .length = UINT64_MAX, .kind = HF_EXTENT_ZERO}, found;

	(void)state;
	assert_false(hf_extmap_find(map, 0, UINT64_MAX, &found));
	assert_int_equal(hf_extmap_insert(map, &extent), 0);
	extent = (struct hf_extent){.lba = 5, .length = 1, .kind = HF_EXTENT_DATA, .place = {1, 2}};
	assert_int_equal(hf_extmap_insert(map, &extent), 0);
	assert_int_equal(hf_extmap_count(map), 3);
	assert_true(hf_extmap_find(map, 6, UINT64_MAX, &found));
	assert_true(found.lba == 6 && found.length == UINT64_MAX - 6);
	assert_int_equal(hf_extmap_remove(map, 0, UINT64_MAX), 0);
	assert_int_equal(hf_extmap_count(map), 0);
	hf_extmap_destroy(map);
	hf_extmap_destroy(NULL);
}

/* Ascending, descending and scattered: the tree stays shallow enough for recursion in
 * destroy, and quick. */
static void test_many_extents(void **state)
{
	struct hf_extmap *map = hf_extmap_create();
	struct hf_extent extent = {.length = 1, .kind = HF_EXTENT_DATA}, found;

	(void)state;
	for (uint64_t i = 0; i < 200000; i++) {
		extent.lba = 4 * i;
		extent.place.unit = 8 * i;
		assert_int_equal(hf_extmap_insert(map, &extent), 0);
		extent.lba = (1u << 30) - 4 * i;
		extent.place.source = 1;
		assert_int_equal(hf_extmap_insert(map, &extent), 0);
		extent.place.source = 0;
	}
	assert_int_equal(hf_extmap_count(map), 400000);
	for (uint64_t i = 0; i < 200000; i += 1000) {
		assert_true(hf_extmap_find(map, 4 * i, 4, &found));
		assert_true(found.lba == 4 * i && found.place.unit == 8 * i);
		assert_false(hf_extmap_find(map, 4 * i + 1, 3, &found));
	}
	hf_extmap_destroy(map);
}

static void print_seed(void)
{
	fprintf(stderr, "last seed state %llu\n", (unsigned long long)seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_the_model),
		cmocka_unit_test(test_out_of_memory_changes_nothing),
		cmocka_unit_test(test_ends_of_the_address_space),
		cmocka_unit_test(test_many_extents),
	};
	int failures = cmocka_run_group_tests(tests, NULL, NULL);

	if (failures)
		print_seed();
	return failures;
}
