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

static void test_no_lost_or_misplaced_sector_gives_wrong_data(void **state)
{
	static const uint8_t zeros[512];

	(void)state;
	build_image();
	for (uint64_t at = 0; at < image.length; at += 512) {
		if (hf_is_zero(image.bytes + at, 512))
			continue;
		image_try(&image, at, zeros, 512);
		image_try(&image, at, image.bytes + (at + 512) % image.length, 512);
	}
	assert_true(image.opened_whole > 50 && image.refused > 5 && image.reads_refused > 50);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_lost_or_misplaced_sector_gives_wrong_data),
		cmocka_unit_test(test_no_misplaced_header_is_taken),
		cmocka_unit_test(test_a_missing_end_below_durable_through_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
