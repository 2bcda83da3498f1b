/* Promise: over any time, a listener begins no more handshakes than its burst and its rate allow,
 * and not fewer when there is a queue (net/admission.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "net/admission.h"

/* All that wait are taken as soon as they may be; how many within `span_ms`. */
static unsigned rush(uint32_t per_s, uint32_t burst, uint64_t span_ms, uint32_t late_ms)
{
	struct hf_admission admission;
	uint64_t start_ms = 5000, now_ms = start_ms;
	unsigned taken = 0;

	hf_admission_init(&admission, per_s, burst, now_ms);
	while (now_ms < start_ms + span_ms) {
		uint32_t wait_ms = hf_admission_wait_ms(&admission, now_ms);

		if (wait_ms == 0) {
			hf_admission_take(&admission);
			taken++;
		} else {
			assert_true(hf_admission_busy(&admission));
			now_ms += wait_ms + late_ms;
		}
	}
	return taken;
}

static void test_rate_and_burst(void **state)
{
	static const uint32_t rates[] = {1, 7, 50, 300, 999, 1000, 5000};

	(void)state;
	for (unsigned i = 0; i < sizeof rates / sizeof rates[0]; i++)
		for (uint32_t burst = 20; burst < 70; burst += 23) {
			unsigned taken = rush(rates[i], burst, 10000, 0);

			assert_in_range(taken, rates[i] * 10 * 99 / 100, burst + rates[i] * 10 + 1);
		}
	/* A loop that comes back late loses nothing while the burst covers it. */
	assert_in_range(rush(300, 32, 10000, 40), 2950, 3033);
}

static void test_idle_time_earns_one_burst(void **state)
{
	struct hf_admission admission;
	unsigned taken = 0;

	(void)state;
	hf_admission_init(&admission, 100, 20, 0);
	while (hf_admission_wait_ms(&admission, 0) == 0) {
		hf_admission_take(&admission);
		taken++;
	}
	assert_int_equal(taken, 20);
	assert_int_equal(hf_admission_wait_ms(&admission, 0), 10);
	assert_int_equal(hf_admission_wait_ms(&admission, UINT64_MAX / 2), 0);
	for (taken = 0; hf_admission_wait_ms(&admission, UINT64_MAX / 2) == 0; taken++)
		hf_admission_take(&admission);
	assert_int_equal(taken, 20);
}

static void test_no_rate_is_no_bound(void **state)
{
	struct hf_admission admission;

	(void)state;
	hf_admission_init(&admission, 0, 0, 0);
	for (int i = 0; i < 100000; i++) {
		assert_int_equal(hf_admission_wait_ms(&admission, 0), 0);
		hf_admission_take(&admission);
	}
	assert_false(hf_admission_busy(&admission));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rate_and_burst),
		cmocka_unit_test(test_idle_time_earns_one_burst),
		cmocka_unit_test(test_no_rate_is_no_bound),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
