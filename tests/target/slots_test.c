/* target/slots.h: runs never overlap, what was given back can be taken again, and a full area says
 * so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "target/slots.h"

static struct hf_slots slots;

static int setup(void **state)
{
	(void)state;
	hf_slots_reset(&slots);
	return 0;
}

static void a_full_area_says_so(void **state)
{
	uint32_t first;

	(void)state;
	assert_true(hf_slots_take(&slots, HF_SLOTS_PAGES, &first));
	assert_int_equal(first, 0);
	assert_false(hf_slots_take(&slots, 1, &first));
	hf_slots_give(&slots, 100, 1);
	assert_true(hf_slots_take(&slots, 1, &first));
	assert_int_equal(first, 100);
}

static void a_run_is_not_pieced_together(void **state)
{
	uint32_t first;

	(void)state;
	assert_true(hf_slots_take(&slots, HF_SLOTS_PAGES, &first));
	hf_slots_give(&slots, 10, 5);
	hf_slots_give(&slots, 16, 5);
	assert_false(hf_slots_take(&slots, 6, &first));
	hf_slots_give(&slots, 15, 1);
	assert_true(hf_slots_take(&slots, 11, &first));
	assert_int_equal(first, 10);
}

static void it_does_not_wrap_around_the_end(void **state)
{
	uint32_t first;

	(void)state;
	assert_true(hf_slots_take(&slots, HF_SLOTS_PAGES - 1, &first));
	hf_slots_give(&slots, 0, 1);
	assert_false(hf_slots_take(&slots, 2, &first));
	assert_true(hf_slots_take(&slots, 1, &first));
	assert_int_equal(first, 0);
	assert_true(hf_slots_take(&slots, 1, &first));
	assert_int_equal(first, HF_SLOTS_PAGES - 1);
}

static void the_lowest_free_run_is_taken(void **state)
{
	uint32_t first;

	(void)state;
	assert_true(hf_slots_take(&slots, 1000, &first));
	hf_slots_give(&slots, 700, 2);
	hf_slots_give(&slots, 300, 1);
	assert_true(hf_slots_take(&slots, 2, &first));
	assert_int_equal(first, 700);
	assert_true(hf_slots_take(&slots, 1, &first));
	assert_int_equal(first, 300);
	assert_true(hf_slots_take(&slots, 2048, &first));
	assert_int_equal(first, 1000);
}

/* Against a plain map of bytes, with the sizes that commands have. */
static void runs_never_overlap(void **state)
{
	static uint8_t model[HF_SLOTS_PAGES];
	static struct {
		uint32_t first, pages;
	} taken[512];
	unsigned count = 0;

	(void)state;
	srand(1);
	for (unsigned round = 0; round < 20000; round++) {
		uint32_t pages = rand() % 4 ? 1 + (uint32_t)rand() % 32 : 2048, first;

		if (count < 512 && rand() % 2 && hf_slots_take(&slots, pages, &first)) {
			assert_true(first + pages <= HF_SLOTS_PAGES);
			for (uint32_t i = first; i < first + pages; i++)
				assert_int_equal(model[i]++, 0);
			taken[count].first = first;
			taken[count++].pages = pages;
		} else if (count > 0) {
			unsigned which = (unsigned)rand() % count;

			memset(model + taken[which].first, 0, taken[which].pages);
			hf_slots_give(&slots, taken[which].first, taken[which].pages);
			taken[which] = taken[--count];
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_full_area_says_so, setup),
		cmocka_unit_test_setup(a_run_is_not_pieced_together, setup),
		cmocka_unit_test_setup(the_lowest_free_run_is_taken, setup),
		cmocka_unit_test_setup(it_does_not_wrap_around_the_end, setup),
		cmocka_unit_test_setup(runs_never_overlap, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
