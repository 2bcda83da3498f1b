/* The write log's calls one by one, in the simulated world: each test is one promise of
 * cache/wlog.h. Random histories are in wlog_sim_test.c, damage in wlog_damage_test.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "cache/wlog.h"
#include "tests/cache/wlog_world.h"

static void test_write_cache_is_done_before_the_sync_and_kept_by_a_flush(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 40; seed++) {
		struct sim_counts before, after;
		struct world_append first, second;
		struct world world;

		world_begin(&world, seed, 16);
		world_open(&world);
		sim_counts(world.sim, &before);
		world_append(&world, &first, 1, 8, 0);
		world_wait(&world, &first.done);
		sim_counts(world.sim, &after);
		assert_int_equal(after.syncs, before.syncs);
		assert_true(hf_wlog_durable_through(world.log) < first.record.batch);
		world_flush(&world);
		assert_true(hf_wlog_durable_through(world.log) >= first.record.batch);
		world_append(&world, &second, 2, 8, 0);
		world_wait(&world, &second.done);
		if (seed % 2)
			sim_kill(world.sim, 0);
		else
			sim_power_cut(world.sim, 0);
		world_open(&world);
		assert_true(world.recovered >= 1); /* power may or may not have kept the second */
		if (seed % 2)
			assert_int_equal(world.recovered, 2);
		world_end(&world);
	}
}

static void test_idle_log_syncs_and_then_marks_what_is_durable(void **state)
{
	struct sim_counts before, after;
	struct world_append append;
	struct world world;
	uint64_t written;

	(void)state;
	world_begin(&world, 3, 16);
	world_open(&world);
	world_append(&world, &append, 1, 8, 0);
	world_wait(&world, &append.done);
	sim_run(world.sim, HF_NS_PER_S / 2);
	assert_true(hf_wlog_durable_through(world.log) >= append.record.batch);
	assert_true(hf_wlog_durable_through(world.log) > append.record.batch); /* the mark */
	written = hf_wlog_written_bytes(world.log);
	sim_counts(world.sim, &before);
	sim_run(world.sim, 60 * HF_NS_PER_S); /* and then it rests */
	sim_counts(world.sim, &after);
	assert_int_equal(after.syncs, before.syncs);
	assert_true(written == hf_wlog_written_bytes(world.log));
	world_end(&world);
}

static void test_reads_give_any_part_and_neighbours_as_one(void **state)
{
	struct world_append appends[3];
	struct world world;

	(void)state;
	world_begin(&world, 4, 16);
	world_open(&world);
	/* The first goes alone; the other two gather, their LBAs and places continue. */
	world_append(&world, &appends[0], 500, 1, WORLD_DURABLE);
	world_append(&world, &appends[1], 100, 11, WORLD_DURABLE);
	world_append(&world, &appends[2], 111, 7, WORLD_DURABLE);
	world_wait(&world, &appends[2].done);
	assert_true(appends[1].record.place.unit + 11 == appends[2].record.place.unit);
	for (uint64_t from = 0; from < 18; from++)
		for (uint64_t length = 1; from + length <= 18; length++)
			assert_int_equal(world_read(&world, 100 + from, appends[1].record.place,
						    from, length),
					 0);
	/* A place that is not this address's is not given. */
	assert_int_equal(world_read(&world, 101, appends[1].record.place, 0, 4), HF_ENOENT);
	assert_int_equal(world_read(&world, 100, appends[1].record.place, 0, 19), HF_ENOENT);
	appends[1].record.place.source += 100;
	assert_int_equal(world_read(&world, 100, appends[1].record.place, 0, 4), HF_ENOENT);
	world_end(&world);
}

static uint64_t disk_reads(struct world *world)
{
	struct sim_counts counts;

	sim_counts(world->sim, &counts);
	return counts.reads;
}

/* What was logged last is read without the disk, what left the memory from the disk, and what was
 * recycled not at all. */
static void test_recent_payload_is_read_from_memory(void **state)
{
	enum { COUNT = 40, UNITS = 16 };
	struct world_append appends[COUNT];
	struct world world;
	uint64_t before;

	(void)state;
	world_begin(&world, 4, 40);
	world.keep_bytes = 64u << 10;
	world_open(&world);
	for (int i = 0; i < COUNT; i++) {
		world_append(&world, &appends[i], 1000 + 100 * i, UNITS, WORLD_DURABLE);
		world_wait(&world, &appends[i].done);
	}
	before = disk_reads(&world);
	for (int i = COUNT - 7; i < COUNT; i++)
		for (unsigned from = 0; from < UNITS; from += 5)
			assert_int_equal(world_read(&world, 1000 + 100 * i + from,
						    appends[i].record.place, from, UNITS - from),
					 0);
	assert_int_equal(disk_reads(&world), before);
	assert_int_equal(world_read(&world, 7, appends[COUNT - 1].record.place, 0, 1), HF_ENOENT);
	for (int i = 0; i < COUNT - 8; i++)
		assert_int_equal(
			world_read(&world, 1000 + 100 * i, appends[i].record.place, 0, UNITS), 0);
	assert_int_equal(disk_reads(&world), before + COUNT - 8);
	world_end(&world);
}

static void test_recycling_waits_for_readers_and_frees_space(void **state)
{
	static struct world_append appends[60];
	struct world_reading reading;
	struct world world;
	uint64_t serial, free_bytes;

	(void)state;
	world_begin(&world, 5, 16);
	world_open(&world);
	for (int i = 0; i < 20; i++) {
		world_append(&world, &appends[i], 100 + i, 24, WORLD_DURABLE);
		world_wait(&world, &appends[i].done);
	}
	serial = appends[0].record.place.source;
	assert_true(serial < hf_wlog_active_segment(world.log));
	free_bytes = hf_wlog_free_bytes(world.log);
	world_read_start(&world, &reading, 100, appends[0].record.place, 0, 24);
	hf_wlog_recycle(world.log, serial);
	assert_true(hf_wlog_free_bytes(world.log) == free_bytes);
	assert_int_equal(world_read(&world, 100, appends[0].record.place, 0, 24), HF_ENOENT);
	assert_true(reading.done || sim_wait_flag(world.sim, &reading.done, HF_NS_PER_S));
	assert_int_equal(reading.read.status, 0);
	assert_true(hf_wlog_free_bytes(world.log) == free_bytes + WORLD_SEGMENT);
	hf_wlog_recycle(world.log, serial);
	hf_wlog_recycle(world.log, 999);
	hf_wlog_recycle(world.log, hf_wlog_active_segment(world.log));
	assert_true(hf_wlog_free_bytes(world.log) == free_bytes + WORLD_SEGMENT);
	world_end(&world);
}

static int fill_log(struct world *world, struct world_append *appends, int count)
{
	int last = 0;

	for (; last < count; last++) {
		world_append(world, &appends[last], 100 + last, 24, WORLD_DURABLE);
		if (!sim_wait_flag(world->sim, &appends[last].done, 10 * HF_NS_PER_S))
			break;
	}
	return last;
}

static void test_full_log_makes_appends_wait_but_records_control(void **state)
{
	static struct world_append appends[100];
	struct world_append control;
	struct world world;
	int last;

	(void)state;
	world_begin(&world, 6, 8);
	world_open(&world);
	last = fill_log(&world, appends, 100);
	assert_in_range(last, 10, 60);
	for (int i = 0; i < 5; i++) { /* the reserve is for these */
		world_append(&world, &control, 0, 4, WORLD_DURABLE | WORLD_RESERVE);
		world_wait(&world, &control.done);
		assert_int_equal(control.append.status, 0);
		assert_false(appends[last].done);
	}
	hf_wlog_recycle(world.log, appends[0].record.place.source);
	hf_wlog_recycle(world.log, appends[8].record.place.source);
	hf_wlog_recycle(world.log, appends[12].record.place.source);
	world_wait(&world, &appends[last].done);
	assert_int_equal(appends[last].append.status, 0);
	world_end(&world);
}

/* A full log that is restarted over and over without emptying still opens and still takes control
 * records, also when syncs fail. */
static void test_full_log_survives_restarts(void **state)
{
	static struct world_append appends[100];

	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct world_append control;
		struct world world;
		int last;

		world_begin(&world, seed, 8);
		world_open(&world);
		last = fill_log(&world, appends, 100);
		for (int life = 0; life < 6; life++) {
			if (life % 2)
				sim_kill(world.sim, 0);
			else
				sim_power_cut(world.sim, 0);
			world_open(&world);
			assert_true(world.recovered >= (unsigned)last);
			sim_fail_disk(world.sim, 0, 0, life % 3 ? HF_DISK_SYNC : HF_DISK_WRITE, 0,
				      life % 4, HF_EIO);
			world_append(&world, &control, 0, 1, WORLD_DURABLE | WORLD_RESERVE);
			world_wait(&world, &control.done);
			assert_int_equal(control.append.status, 0);
			sim_fail_disk(world.sim, 0, 0, HF_DISK_SYNC, 0, 0, 0);
			sim_fail_disk(world.sim, 0, 0, HF_DISK_WRITE, 0, 0, 0);
		}
		world_end(&world);
	}
}

/* Recovery reads no closed segment from end to end, however often the process died: a start closes
 * the segment that was open, and gives it its footer. Nothing is lost by it. */
static void test_a_segment_that_a_death_left_open_gets_its_footer(void **state)
{
	(void)state;
	for (unsigned lives = 1; lives <= 5; lives++) {
		struct world_append append;
		struct world world;

		world_begin(&world, lives, 12);
		for (unsigned life = 0; life < lives; life++) {
			world_open(&world);
			for (unsigned i = 0; i < 3; i++) { /* more than half of it */
				world_append(&world, &append, 100 * life + 30 * i, 24,
					     WORLD_DURABLE);
				world_wait(&world, &append.done);
			}
			if (life % 2)
				sim_kill(world.sim, 0);
			else
				sim_power_cut(world.sim, 0);
		}
		world_open(&world);
		assert_int_equal(world.recovered, 3 * lives);
		assert_int_equal(world.whole_segments, 0);
		for (unsigned i = 0; i < world.recovered; i++)
			assert_int_equal(world_read(&world, world.records[i].lba,
						    world.records[i].place, 0,
						    world.records[i].length),
					 0);
		sim_kill(world.sim, 0);
		world_open(&world);
		assert_int_equal(world.recovered, 3 * lives);
		assert_int_equal(world.whole_segments, 0);
		world_end(&world);
	}
}

/* A process dies between writing and syncing something, the next one builds on it, and then power
 * fails: at every event of both. */
static void kill_then_cut(unsigned killed_at, unsigned cut_at, uint64_t seed)
{
	struct world_append append;
	struct world world;

	world_begin(&world, seed, 8);
	world_open(&world);
	world_append(&world, &append, 5, 8, WORLD_DURABLE);
	world_wait(&world, &append.done);
	sim_kill(world.sim, 0);
	world_open_cut(&world, killed_at);
	sim_kill(world.sim, 0);
	world_open_cut(&world, cut_at);
	sim_power_cut(world.sim, 0);
	world_open(&world);
	assert_int_equal(world.recovered, 1);
	world_end(&world);
}

static void test_a_kill_in_an_open_and_a_power_cut_in_the_next(void **state)
{
	(void)state;
	for (unsigned killed_at = 0; killed_at < 20; killed_at++)
		for (unsigned cut_at = 0; cut_at < 14; cut_at++)
			for (uint64_t seed = 1; seed <= 24; seed++)
				kill_then_cut(killed_at, cut_at, 1000 * seed + killed_at);
}

/* The same where the next open finds no free segment and goes on in the newest. */
static void kill_full_then_cut(unsigned killed_at, uint64_t seed)
{
	static struct world_append appends[100];
	struct world_append control;
	struct world world;

	world_begin(&world, seed, 8);
	world_open(&world);
	fill_log(&world, appends, 100);
	for (int i = 0; i < 4; i++) { /* more than half of the last segment they may take */
		world_append(&world, &control, 1, 16, WORLD_DURABLE | WORLD_RESERVE);
		world_wait(&world, &control.done);
	}
	sim_kill(world.sim, 0);
	world_open_cut(&world, killed_at);
	sim_kill(world.sim, 0);
	world_open(&world);
	world_append(&world, &control, 2, 1, WORLD_DURABLE | WORLD_RESERVE);
	world_wait(&world, &control.done);
	sim_power_cut(world.sim, 0);
	world_open(&world);
	assert_true(world.recovered > 0);
	assert_int_equal(world.records[world.recovered - 1].lba, 2);
	world_end(&world);
}

static void test_a_kill_in_an_open_of_a_full_log_and_a_power_cut(void **state)
{
	(void)state;
	for (unsigned killed_at = 10; killed_at < 50; killed_at++)
		for (uint64_t seed = 1; seed <= 24; seed++)
			kill_full_then_cut(killed_at, 1000 * seed + killed_at);
}

/* Invariant 1: after a failed sync nothing is acknowledged before it was written elsewhere. */
static void test_failed_sync_moves_what_it_should_have_covered(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct world_append cached, durable;
		struct world world;
		uint64_t segment;

		world_begin(&world, seed, 16);
		world_open(&world);
		world_append(&world, &cached, 1, 8, 0);
		world_wait(&world, &cached.done);
		segment = cached.record.place.source;
		sim_fail_disk(world.sim, 0, 0, seed % 2 ? HF_DISK_SYNC : HF_DISK_WRITE, 0,
			      1 + (unsigned)seed % 3, HF_EIO);
		world_append(&world, &durable, 2, 8, WORLD_DURABLE);
		world_wait(&world, &durable.done);
		assert_true(durable.record.place.source > segment);
		assert_true(world.moved >= 1 && world.last_moved.source > segment);
		assert_true(world.alarms >= 1);
		assert_int_equal(world_read(&world, 2, durable.record.place, 0, 8), 0);
		assert_int_equal(world_read(&world, 1, cached.record.place, 0, 8), HF_ENOENT);
		sim_power_cut(world.sim, 0);
		world_open(&world);
		assert_int_equal(world.recovered, 2);
		world_end(&world);
	}
}

static void test_close_cancels_what_was_not_written(void **state)
{
	static struct world_append appends[20];
	struct world world;
	unsigned cancelled = 0;

	(void)state;
	world_begin(&world, 8, 16);
	world_open(&world);
	for (int i = 0; i < 20; i++)
		world_append(&world, &appends[i], 100 + i, 16, i % 2 ? WORLD_DURABLE : 0);
	world_close(&world);
	for (int i = 0; i < 20; i++) {
		assert_true(appends[i].done);
		cancelled += appends[i].append.status == HF_ECANCELED;
	}
	assert_in_range(cancelled, 1, 19);
	assert_int_equal(sim_heap_count(world.sim, 0), 0);
	sim_power_cut(world.sim, 0);
	world_open(&world);
	assert_int_equal(world.recovered, 20 - cancelled);
	world_end(&world);
}

static void test_too_large_is_refused_and_the_largest_is_not(void **state)
{
	struct world_append append;
	struct world world;

	(void)state;
	world_begin(&world, 9, 16);
	world_open(&world);
	world_append(&world, &append, 1, WORLD_SEGMENT / 2 / HF_UNIT, WORLD_DURABLE);
	assert_false(append.done);
	world_wait(&world, &append.done);
	assert_int_equal(append.append.status, HF_ETOOBIG);
	for (int i = 0; i < 10; i++) {
		world_append(&world, &append, 1, (WORLD_SEGMENT / 2 - 4096) / HF_UNIT,
			     WORLD_DURABLE);
		world_wait(&world, &append.done);
		assert_int_equal(append.append.status, 0);
	}
	world_end(&world);
}

static void test_format_keeps_a_log_that_is_there(void **state)
{
	struct world_append append;
	struct world world;

	(void)state;
	world_begin(&world, 10, 16);
	world_open(&world);
	world_append(&world, &append, 1, 8, WORLD_DURABLE);
	world_wait(&world, &append.done);
	world_close(&world);
	assert_int_equal(world_format(&world, WORLD_SEGMENT, false), HF_EEXIST);
	assert_int_equal(world_format(&world, 5000, true), HF_EINVAL);
	world_open(&world);
	assert_int_equal(world.recovered, 1);
	world_close(&world);
	assert_int_equal(world_format(&world, WORLD_SEGMENT, true), 0);
	world_open(&world);
	assert_int_equal(world.recovered, 0);
	world_end(&world);
}

static void test_a_format_cut_short_leaves_no_log(void **state)
{
	unsigned none = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 100; seed++) {
		struct world world;

		world_begin_blank(&world, seed, 8);
		if (!world_format_cut(&world, 1 + seed % 12)) {
			sim_power_cut(world.sim, 0);
			none += world_try_open(&world) != 0;
		} else {
			sim_power_cut(world.sim, 0);
			assert_int_equal(world_try_open(&world), 0);
		}
		world_end(&world);
	}
	assert_true(none > 20);
}

static void test_a_disk_without_a_log_says_so(void **state)
{
	struct world world;

	(void)state;
	world_begin_blank(&world, 11, 8);
	assert_int_equal(world_try_open(&world), HF_ENOENT);
	assert_non_null(strstr(world.message.text, "superblock"));
	assert_int_equal(sim_heap_count(world.sim, 0), 0);
	world_end(&world);
}

/* A device that fails for good: opening gives up with a reason, closing ends. */
static void test_a_dead_disk_ends_open_and_close(void **state)
{
	struct world_append append;
	struct world world;

	(void)state;
	world_begin(&world, 12, 8);
	sim_fail_disk(world.sim, 0, 0, HF_DISK_SYNC, 0, 100000, HF_EIO);
	assert_int_equal(world_try_open(&world), HF_EIO);
	assert_int_equal(sim_heap_count(world.sim, 0), 0);
	sim_fail_disk(world.sim, 0, 0, HF_DISK_SYNC, 0, 0, 0);
	world_open(&world);
	sim_fail_disk(world.sim, 0, 0, HF_DISK_WRITE, 0, 100000, HF_EIO);
	world_append(&world, &append, 1, 8, WORLD_DURABLE);
	sim_run(world.sim, 10 * HF_NS_PER_S);
	assert_false(append.done);
	world_close(&world);
	assert_int_equal(append.append.status, HF_ECANCELED);
	world_end(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_write_cache_is_done_before_the_sync_and_kept_by_a_flush),
		cmocka_unit_test(test_idle_log_syncs_and_then_marks_what_is_durable),
		cmocka_unit_test(test_reads_give_any_part_and_neighbours_as_one),
		cmocka_unit_test(test_recent_payload_is_read_from_memory),
		cmocka_unit_test(test_recycling_waits_for_readers_and_frees_space),
		cmocka_unit_test(test_full_log_makes_appends_wait_but_records_control),
		cmocka_unit_test(test_full_log_survives_restarts),
		cmocka_unit_test(test_a_segment_that_a_death_left_open_gets_its_footer),
		cmocka_unit_test(test_a_kill_in_an_open_and_a_power_cut_in_the_next),
		cmocka_unit_test(test_a_kill_in_an_open_of_a_full_log_and_a_power_cut),
		cmocka_unit_test(test_failed_sync_moves_what_it_should_have_covered),
		cmocka_unit_test(test_close_cancels_what_was_not_written),
		cmocka_unit_test(test_too_large_is_refused_and_the_largest_is_not),
		cmocka_unit_test(test_format_keeps_a_log_that_is_there),
		cmocka_unit_test(test_a_format_cut_short_leaves_no_log),
		cmocka_unit_test(test_a_disk_without_a_log_says_so),
		cmocka_unit_test(test_a_dead_disk_ends_open_and_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
