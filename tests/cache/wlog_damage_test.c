/* Damage to a write log at rest (invariants 8 and 9): sectors of zeros, a sector that holds
 * another's content, a batch in the place of another, a missing end. wlog_image.h says what must
 * come of it; wlog_bits_test flips single bits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "cache/wlog_format.h"
#include "tests/cache/wlog_image.h"
#include "tests/cache/wlog_world.h"

static struct image image;

static void build_image(void)
{
	image.records = 12;
	image.segments = 8;
	image.units_max = 24;
	image_build(&image);
	assert_true(image.newest >= 3);
}

static void no_sector_gives_wrong_data(uint64_t keep_bytes)
{
	static const uint8_t zeros[512];

	build_image();
	image.keep_bytes = keep_bytes;
	for (uint64_t at = 0; at < image.length; at += 512) {
		if (hf_is_zero(image.bytes + at, 512))
			continue;
		image_try(&image, at, zeros, 512);
		image_try(&image, at, image.bytes + (at + 512) % image.length, 512);
	}
	assert_true(image.opened_whole > 50 && image.refused > 2 && image.reads_refused > 50);
}

static void test_no_lost_or_misplaced_sector_gives_wrong_data(void **state)
{
	(void)state;
	no_sector_gives_wrong_data(0);
}

/* What a start writes again is not trusted for having been in memory. */
static void test_nor_does_memory_make_it_right(void **state)
{
	(void)state;
	no_sector_gives_wrong_data(256u << 10);
	image.keep_bytes = 0;
}

/* A whole header of the same log, with a good CRC, but in the place of another. */
static void test_no_misplaced_header_is_taken(void **state)
{
	unsigned tried = 0;

	(void)state;
	build_image();
	for (uint64_t to = 4 * 4096; to < image.length; to += 4096)
		for (uint64_t from = to + 4096; from < image.length && from < to + 10 * 4096;
		     from += 4096) {
			struct hf_wlogfmt_head head;

			if (hf_wlogfmt_head_peek(&head, image.bytes + to) != 0 ||
			    hf_wlogfmt_head_peek(&head, image.bytes + from) != 0)
				continue;
			image_try(&image, to, image.bytes + from, 4096);
			tried++;
		}
	assert_true(tried > 20);
}

/* The last batch before the mark is durable, and the mark says so: without it the log is damaged,
 * not short. */
static void test_a_missing_end_below_durable_through_is_refused(void **state)
{
	static const uint8_t zeros[4096];
	uint64_t last = 0, mark = 0;
	struct hf_wlogfmt_head head;
	struct world world;

	(void)state;
	build_image();
	for (uint64_t at = 4 * 4096; at < image.length; at += 4096)
		if (hf_wlogfmt_head_peek(&head, image.bytes + at) == 0 &&
		    head.serial == image.newest) {
			last = mark;
			mark = at;
		}
	assert_true(last > 0);
	world_begin_blank(&world, 1, image.segments);
	sim_disk_poke(world.sim, 0, 0, 0, image.bytes, image.length);
	sim_disk_poke(world.sim, 0, 0, last, zeros, sizeof zeros);
	assert_int_equal(world_try_open(&world), HF_ECORRUPT);
	assert_non_null(strstr(world.message.text, "segment "));
	assert_non_null(strstr(world.message.text, "a batch that was durable is missing"));
	/* Without the mark the same would be a torn end. */
	sim_disk_poke(world.sim, 0, 0, mark, zeros, sizeof zeros);
	assert_int_equal(world_try_open(&world), 0);
	assert_int_equal(world.recovered, image.records - 1);
	world_end(&world);
}

/* ---- Control state ---------------------------------------------------------------------------
 */

struct states {
	unsigned count;
	uint64_t serial[16];
	uint64_t at[16][2]; /* where its copies lie on the disk; 0: it has only one */
};

/* Every STATE of the image, by ascending serial. */
static void find_states(struct states *states)
{
	struct hf_wlogfmt_record record;
	struct hf_wlogfmt_head head;

	memset(states, 0, sizeof *states);
	for (uint64_t at = 4 * 4096; at < image.length; at += WORLD_SEGMENT) {
		const uint8_t *header = image.bytes + at;
		size_t from = HF_WLOGFMT_HEAD;
		unsigned i;

		if (hf_wlogfmt_head_decode(&head, header, WORLD_SEGMENT) != 0 || head.batch == 0)
			continue;
		for (i = states->count++; i > 0 && states->serial[i - 1] > head.serial; i--) {
			states->serial[i] = states->serial[i - 1];
			memcpy(states->at[i], states->at[i - 1], sizeof states->at[i]);
		}
		states->serial[i] = head.serial;
		states->at[i][1] = 0;
		for (unsigned copy = 0; hf_wlogfmt_record_next(&head, header, &from, &record);) {
			assert_true(record.type == HF_RECORD_STATE && copy < 2);
			states->at[i][copy++] =
				at + head.header_bytes + (uint64_t)record.payload_unit * HF_UNIT;
		}
	}
}

/* Opens the image without the named copies; the world lives on for the caller. */
static int open_without(struct world *world, const uint64_t *places, unsigned count)
{
	static const uint8_t zeros[512];

	world_begin_blank(world, 5, image.segments);
	sim_disk_poke(world->sim, 0, 0, 0, image.bytes, image.length);
	for (unsigned i = 0; i < count; i++)
		sim_disk_poke(world->sim, 0, 0, places[i], zeros, sizeof zeros);
	return world_try_open(world);
}

/* Invariants 2 and 8: one bad place never costs the log its control state, and is told. */
static void test_each_copy_of_a_state_stands_for_the_other(void **state)
{
	struct states states;
	struct world world;

	(void)state;
	build_image();
	find_states(&states);
	assert_true(states.count >= 3 && states.serial[states.count - 1] == image.newest);
	for (unsigned i = 0; i < states.count; i++)
		for (unsigned copy = 0; copy < 2; copy++) {
			assert_true(states.at[i][copy] != 0);
			assert_int_equal(open_without(&world, &states.at[i][copy], 1), 0);
			assert_int_equal(world.recovered, image.records);
			assert_true(copy == 1 || world.alarms > 0);
			world_end(&world);
		}
}

/* A log that an earlier version wrote has one copy. Where the segment before is there, and nothing
 * was ever written between, its STATE and records say all that the lost one did. */
static void test_a_lost_state_is_what_was_written_before_it(void **state)
{
	struct states states;
	struct world world;

	(void)state;
	build_image();
	find_states(&states);
	assert_int_equal(open_without(&world, states.at[states.count - 1], 2), 0);
	assert_int_equal(world.recovered, image.records);
	assert_true(world.alarms > 0);
	/* It was written anew before anything could go that stood for it. */
	world_close(&world);
	for (unsigned i = 0; i < states.count; i++)
		for (unsigned copy = 0; copy < 2; copy++)
			sim_disk_poke(world.sim, 0, 0, states.at[i][copy], "lost", 4);
	assert_int_equal(world_try_open(&world), 0);
	assert_int_equal(world.recovered, image.records);
	world_end(&world);
}

/* Else nothing tells what the log's volumes are: it is refused with the place, and opens again,
 * with all it had, when the disk gives one of them back. */
static void test_a_log_without_its_control_state_is_refused(void **state)
{
	struct states states;
	struct world world;

	(void)state;
	build_image();
	find_states(&states);
	assert_int_equal(open_without(&world, states.at[0], 2 * states.count), HF_ECORRUPT);
	assert_non_null(strstr(world.message.text, "control state fails its checksum"));
	assert_non_null(strstr(world.message.text, "segment "));
	assert_int_equal(sim_heap_count(world.sim, 0), 0);
	sim_disk_poke(world.sim, 0, 0, states.at[states.count - 1][1],
		      image.bytes + states.at[states.count - 1][1], 512);
	assert_int_equal(world_try_open(&world), 0);
	assert_int_equal(world.recovered, image.records);
	world_end(&world);
}

/* Opened once more the newest segment moved: batches between it and the one before went with it, so
 * that the STATE before proves nothing. */
static void test_an_older_state_does_not_stand_for_a_newer_with_a_gap_between(void **state)
{
	struct states states;
	struct world world;

	(void)state;
	build_image();
	world_begin_blank(&world, 6, image.segments);
	sim_disk_poke(world.sim, 0, 0, 0, image.bytes, image.length);
	world_open(&world);
	image.newest = hf_wlog_active_segment(world.log);
	sim_power_cut(world.sim, 0);
	memcpy(image.bytes, sim_disk_bytes(world.sim, 0, 0), image.length);
	world_end(&world);
	find_states(&states);
	while (states.serial[states.count - 1] > image.newest)
		states.count--;
	assert_true(states.serial[states.count - 1] == image.newest);
	assert_int_equal(open_without(&world, states.at[states.count - 1], 2), HF_ECORRUPT);
	assert_non_null(strstr(world.message.text, "what was written before it is not all there"));
	world_end(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_lost_or_misplaced_sector_gives_wrong_data),
		cmocka_unit_test(test_nor_does_memory_make_it_right),
		cmocka_unit_test(test_no_misplaced_header_is_taken),
		cmocka_unit_test(test_a_missing_end_below_durable_through_is_refused),
		cmocka_unit_test(test_each_copy_of_a_state_stands_for_the_other),
		cmocka_unit_test(test_a_lost_state_is_what_was_written_before_it),
		cmocka_unit_test(test_a_log_without_its_control_state_is_refused),
		cmocka_unit_test(test_an_older_state_does_not_stand_for_a_newer_with_a_gap_between),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
