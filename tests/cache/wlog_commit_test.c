/* Group commit: what shares a commit, what waits for more and how long, and what is synced before
 * it is asked for. Each test is one promise of cache/wlog.h or of docs/design/write-log.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "cache/wlog.h"
#include "tests/cache/wlog_world.h"

#define IDLE_NS (49 * HF_NS_PER_MS) /* of the world: 50 ms */

/* Syncs are counted: group commit means one for all that gathered while a batch was under way. */
static void test_what_gathers_is_committed_together(void **state)
{
	struct world world;
	struct world_append appends[32];
	struct sim_counts before, after;

	(void)state;
	world_begin(&world, 1, 16);
	world_open(&world);
	sim_counts(world.sim, &before);
	for (int i = 0; i < 32; i++)
		world_append(&world, &appends[i], 10 + i, 1, WORLD_DURABLE);
	for (int i = 0; i < 32; i++)
		assert_false(appends[i].done);
	world_wait(&world, &appends[31].done);
	for (int i = 0; i < 32; i++)
		assert_true(appends[i].done && appends[i].append.status == 0);
	sim_counts(world.sim, &after);
	assert_int_equal(after.syncs - before.syncs, 3); /* the first alone, 16 KiB in a batch */
	assert_true(appends[31].record.batch <= hf_wlog_durable_through(world.log));
	world_end(&world);
}

/* Between hold and release appends only gather: those at hand share the first commit. */
static void test_what_is_held_goes_out_together(void **state)
{
	struct world world;
	struct world_append appends[8];
	struct sim_counts before, after;

	(void)state;
	world_begin(&world, 1, 16);
	world_open(&world);
	sim_counts(world.sim, &before);
	hf_wlog_hold(world.log);
	for (int i = 0; i < 8; i++)
		world_append(&world, &appends[i], 10 + i, 1, WORLD_DURABLE);
	sim_run(world.sim, HF_NS_PER_S);
	assert_false(appends[0].done);
	assert_int_equal(hf_wlog_appetite(world.log), 0);
	hf_wlog_release(world.log);
	assert_int_equal(hf_wlog_appetite(world.log), HF_WLOG_BUSY);
	world_wait(&world, &appends[7].done);
	sim_counts(world.sim, &after);
	assert_int_equal(after.syncs - before.syncs, 1);
	assert_int_equal(appends[0].record.batch, appends[7].record.batch);
	world_end(&world);
}

/* After a commit of eight the next waits for six: what comes late goes with what came early, but
 * what never comes is not waited for longer than a commit takes. */
static void test_a_batch_waits_to_fill_but_not_long(void **state)
{
	struct world world;
	struct world_append first[8], second[6], last;
	struct sim_counts before, after;

	(void)state;
	world_begin(&world, 1, 16);
	world_open(&world);
	hf_wlog_hold(world.log);
	for (int i = 0; i < 8; i++)
		world_append(&world, &first[i], 10 + i, 1, WORLD_DURABLE);
	hf_wlog_release(world.log);
	world_wait(&world, &first[7].done);
	sim_counts(world.sim, &before);
	sim_run(world.sim, 50000); /* what comes at once would count as under way */
	for (int i = 0; i < 6; i++) {
		assert_int_equal(hf_wlog_appetite(world.log), i ? 6 - i : 0);
		world_append(&world, &second[i], 30 + i, 1, WORLD_DURABLE);
	}
	assert_int_equal(hf_wlog_appetite(world.log), HF_WLOG_BUSY);
	world_wait(&world, &second[5].done);
	assert_int_equal(second[0].record.batch, second[5].record.batch);
	world_append(&world, &last, 50, 1, WORLD_DURABLE);
	assert_true(hf_wlog_appetite(world.log) > 0);
	assert_true(hf_wlog_appetite(world.log) < HF_WLOG_BUSY);
	world_wait(&world, &last.done);
	sim_counts(world.sim, &after);
	assert_int_equal(after.syncs - before.syncs, 2);
	world_end(&world);
}

/* One after the other, as an initiator that waits for each answer: none is held back. */
static void test_a_lone_append_never_waits(void **state)
{
	struct world world;
	struct world_append append;

	(void)state;
	world_begin(&world, 1, 16);
	world_open(&world);
	for (int i = 0; i < 20; i++) {
		world_append(&world, &append, 10 + i, 1, WORLD_DURABLE);
		assert_int_equal(hf_wlog_appetite(world.log), HF_WLOG_BUSY);
		world_wait(&world, &append.done);
	}
	world_end(&world);
}

/* Write, flush, write, flush, as a journal does: from the second on the sync does not wait for the
 * flush. Several writes to a flush: it does. */
static void test_a_flush_that_always_follows_is_not_waited_for(void **state)
{
	struct sim_counts before, after;
	struct world_append append;
	struct world world;

	(void)state;
	world_begin(&world, 5, 16);
	world_open(&world);
	for (int i = 0; i < 2; i++) {
		sim_counts(world.sim, &before);
		world_append(&world, &append, 10 + i, 8, 0);
		world_wait(&world, &append.done);
		sim_run(world.sim, 2 * HF_NS_PER_MS);
		sim_counts(world.sim, &after);
		assert_int_equal(after.syncs - before.syncs, i > 0);
		world_flush(&world);
		sim_counts(world.sim, &after);
		assert_int_equal(after.syncs - before.syncs, 1);
		assert_true(append.record.batch <= hf_wlog_durable_through(world.log));
	}
	sim_counts(world.sim, &before);
	for (int i = 0; i < 4; i++) {
		world_append(&world, &append, 20 + i, 8, 0);
		world_wait(&world, &append.done);
		sim_run(world.sim, 2 * HF_NS_PER_MS);
		if (i == 2)
			world_flush(&world);
	}
	sim_counts(world.sim, &after);
	assert_int_equal(after.syncs - before.syncs, 2); /* one for nothing, one for the flush */
	world_end(&world);
}

/* An idle log notes in its table what is durable if its segment is full: a flush that comes while
 * only that is written ends, at whichever moment it comes. */
static void test_a_flush_while_the_table_is_written_ends(void **state)
{
	struct world_append append;
	struct world world;

	(void)state;
	for (unsigned fill = 1; fill <= 16; fill++) {
		for (uint64_t late = 0; late < 40; late++) {
			world_begin(&world, fill, 16);
			world_open(&world);
			for (unsigned i = 0; i < fill; i++) {
				world_append(&world, &append, 8ull * i, 8, WORLD_DURABLE);
				world_wait(&world, &append.done);
			}
			sim_run(world.sim, IDLE_NS + late * (HF_NS_PER_MS / 10));
			world_flush(&world);
			world_end(&world);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_gathers_is_committed_together),
		cmocka_unit_test(test_what_is_held_goes_out_together),
		cmocka_unit_test(test_a_batch_waits_to_fill_but_not_long),
		cmocka_unit_test(test_a_lone_append_never_waits),
		cmocka_unit_test(test_a_flush_that_always_follows_is_not_waited_for),
		cmocka_unit_test(test_a_flush_while_the_table_is_written_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
