/* Which wakes a shim may leave out (docs/protocol/ring.md, "Quiet"): WRITEs that volumed would only
 * let gather need none, everything else does, and nothing that came without a wake is overlooked.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/log.h"
#include "tests/ring/ring_fixture.h"

static struct hostile shim; /* the honest kind, led by hand */

static int setup(void **state)
{
	int err = ring_fixture_setup(state);

	hostile_open(&shim);
	return err;
}

static int teardown(void **state)
{
	memory_core_hold(ring_fixture_core(), false);
	memory_core_set_appetite(ring_fixture_core(), 0);
	hostile_close(&shim);
	return ring_fixture_teardown(state);
}

/* Publishes one request; true if it has to wake volumed for it. */
static bool publish(enum hf_op op)
{
	hf_shim_memory_place(&shim.memory, &(struct hf_ring_submission){
						   .id = shim.next_id++,
						   .op = op,
						   .volume = shim.handle,
						   .length = 4096,
						   .data_length = 4096,
					   });
	hf_shim_memory_publish(&shim.memory);
	return hf_shim_memory_needs_wake(&shim.memory);
}

static bool are_done(void *context)
{
	return hf_shim_memory_completed(&shim.memory) == *(int *)context;
}

static void an_idle_core_is_woken_for_each(void **state)
{
	(void)state;
	ring_fixture_turn();
	assert_true(publish(HF_OP_WRITE));
	ring_fixture_turn();
	assert_true(publish(HF_OP_READ));
}

static void a_commit_under_way_is_not_disturbed_by_writes(void **state)
{
	int count = 3;

	(void)state;
	memory_core_set_appetite(ring_fixture_core(), HF_WLOG_BUSY);
	ring_fixture_turn();
	assert_false(publish(HF_OP_WRITE));
	assert_false(publish(HF_OP_WRITE));
	assert_true(publish(HF_OP_READ));
	hf_shim_memory_wake(&shim.memory);
	assert_true(ring_fixture_wait(are_done, &count));
}

static void a_batch_that_fills_is_woken_when_it_is_full(void **state)
{
	int count = 4;

	(void)state;
	memory_core_set_appetite(ring_fixture_core(), 4);
	ring_fixture_turn();
	assert_false(publish(HF_OP_WRITE));
	assert_false(publish(HF_OP_WRITE));
	assert_false(publish(HF_OP_WRITE));
	assert_true(publish(HF_OP_WRITE));
	hf_shim_memory_wake(&shim.memory);
	assert_true(ring_fixture_wait(are_done, &count));
}

/* Between its last look and its sleep volumed looks once more: what was published without a wake is
 * taken though nothing wakes it. */
static void what_came_without_a_wake_is_taken(void **state)
{
	int count = 2;

	(void)state;
	memory_core_set_appetite(ring_fixture_core(), HF_WLOG_BUSY);
	ring_fixture_turn();
	assert_false(publish(HF_OP_WRITE));
	assert_false(publish(HF_OP_WRITE));
	memory_core_set_appetite(ring_fixture_core(), 0);
	assert_true(ring_fixture_wait(are_done, &count));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(an_idle_core_is_woken_for_each),
		TEST(a_commit_under_way_is_not_disturbed_by_writes),
		TEST(a_batch_that_fills_is_woken_when_it_is_full),
		TEST(what_came_without_a_wake_is_taken),
	};

	if (!getenv("HOLDFAST_LOG"))
		setenv("HOLDFAST_LOG", "error", 1);
	hf_log_init("quiet_test");
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
