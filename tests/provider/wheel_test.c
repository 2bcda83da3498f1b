/* The wheel of deadlines: none is early, lost or served twice, whatever is set, moved and cleared
 * meanwhile. Time is the loop's own, moved by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "provider/control/wheel.h"
#include "tests/sim/rng.h"

#define ENTRIES 500u

struct deadline {
	struct hf_wheel_entry entry;
	unsigned served;
	uint64_t wanted_ms;
};

static struct hf_wheel wheel;
static uv_loop_t loop;
static struct deadline deadlines[ENTRIES];
static struct sim_rng rng;
static unsigned served;

static void due(struct hf_wheel_entry *entry)
{
	struct deadline *d = hf_container_of(entry, struct deadline, entry);
	struct deadline *other = &deadlines[sim_rng_below(&rng, ENTRIES)];

	uv_update_time(&loop);
	assert_true(uv_now(&loop) >= d->wanted_ms);
	assert_true(uv_now(&loop) < d->wanted_ms + 500); /* a busy machine */
	d->served++;
	served++;
	if (other != d && other->entry.set && sim_rng_below(&rng, 3) == 0) {
		hf_wheel_clear(&wheel, &other->entry);
		other->served++;
		served++;
	}
}

static void open_wheel(void)
{
	memset(deadlines, 0, sizeof deadlines);
	served = 0;
	uv_loop_init(&loop);
	hf_wheel_open(&wheel, &loop, due);
}

static void close_wheel(void)
{
	hf_wheel_close(&wheel);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
}

static void test_each_once_and_not_early(void **state)
{
	(void)state;
	open_wheel();
	for (unsigned i = 0; i < ENTRIES; i++) {
		struct deadline *d = &deadlines[i];

		d->wanted_ms = uv_now(&loop) + 2000;
		hf_wheel_set(&wheel, &d->entry, d->wanted_ms);
		d->wanted_ms = uv_now(&loop) + sim_rng_below(&rng, 300);
		hf_wheel_set(&wheel, &d->entry, d->wanted_ms);
	}
	while (served < ENTRIES)
		uv_run(&loop, UV_RUN_ONCE);
	for (unsigned i = 0; i < ENTRIES; i++)
		assert_int_equal(deadlines[i].served, 1);
	assert_false(uv_is_active((uv_handle_t *)&wheel.timer));
	close_wheel();
}

static void test_more_than_a_turn_away(void **state)
{
	uint64_t now_ms;

	(void)state;
	open_wheel();
	now_ms = uv_now(&loop);
	/* The same slot, a turn later: passed by. */
	deadlines[1].wanted_ms = now_ms + 100 + HF_WHEEL_TICK_MS * HF_WHEEL_SLOTS;
	hf_wheel_set(&wheel, &deadlines[1].entry, deadlines[1].wanted_ms);
	deadlines[0].wanted_ms = now_ms + 100;
	hf_wheel_set(&wheel, &deadlines[0].entry, deadlines[0].wanted_ms);
	while (deadlines[0].served == 0)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(deadlines[1].served, 0);
	assert_true(deadlines[1].entry.set);
	hf_wheel_clear(&wheel, &deadlines[1].entry);
	close_wheel();
}

/* The process may stop its links first and the wheel's owner later, or the other way round. */
static void test_closing_waits_for_the_last(void **state)
{
	(void)state;
	open_wheel();
	deadlines[0].wanted_ms = uv_now(&loop) + 50;
	hf_wheel_set(&wheel, &deadlines[0].entry, deadlines[0].wanted_ms);
	close_wheel();
	assert_int_equal(deadlines[0].served, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_once_and_not_early),
		cmocka_unit_test(test_more_than_a_turn_away),
		cmocka_unit_test(test_closing_waits_for_the_last),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
