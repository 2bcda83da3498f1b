/* Damage to a write log at rest (invariants 8 and 9): one flipped bit anywhere, sectors of zeros,
 * and a sector that holds another's content. The log opens with every record that was durable,
 * whose payload then reads right or fails as HF_ECORRUPT, or it refuses to open and names the
 * place. Never is a durable record silently missing, never is wrong data given.
 *
 * The log under test holds several segments (all but the newest closed by footers) and a marked
 * end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "cache/wlog_format.h"
#include "tests/cache/wlog_world.h"

#define RECORDS  12u
#define SEGMENTS 8u
#define DISK     (4 * 4096 + SEGMENTS * WORLD_SEGMENT)

static uint8_t image[DISK];
static uint64_t newest; /* serial */
static unsigned opened_well, refused, reads_refused;

static void build_image(void)
{
	static struct world_append appends[RECORDS];
	struct world world;

	world_begin(&world, 77, SEGMENTS);
	world_open(&world);
	for (unsigned i = 0; i < RECORDS; i++) {
		world_append(&world, &appends[i], 1000 * i, 1 + i * 13 % 24, WORLD_DURABLE);
		world_wait(&world, &appends[i].done);
	}
	sim_run(world.sim, HF_NS_PER_S);
	newest = hf_wlog_active_segment(world.log);
	assert_true(newest >= 3);
	sim_power_cut(world.sim, 0);
	memcpy(image, sim_disk_bytes(world.sim, 0, 0), DISK);
	world_end(&world);
}

static void check_opened(struct world *world)
{
	assert_int_equal(world->recovered, RECORDS);
	for (unsigned i = 0; i < RECORDS; i++) {
		int status;

		assert_true(world->records[i].lba == 1000 * i &&
			    world->records[i].length == 1 + i * 13 % 24);
		status = world_read(world, world->records[i].lba, world->records[i].place, 0,
				    world->records[i].length);
		if (status) {
			assert_int_equal(status, HF_ECORRUPT);
			assert_true(world->alarms > 0);
			reads_refused++;
		}
	}
	opened_well++;
}

static void try_damage(uint64_t offset, const uint8_t *bytes, size_t length)
{
	struct world world;

	world_begin_blank(&world, offset, SEGMENTS);
	sim_disk_poke(world.sim, 0, 0, 0, image, DISK);
	sim_disk_poke(world.sim, 0, 0, offset, bytes, length);
	if (world_try_open(&world) == 0) {
		check_opened(&world);
	} else {
		assert_true(world.status == HF_ECORRUPT || world.status == HF_EUNSUPPORTED);
		assert_true(strstr(world.message.text, "offset") ||
			    strstr(world.message.text, "superblock"));
		assert_int_equal(sim_heap_count(world.sim, 0), 0);
		refused++;
	}
	world_end(&world);
}

/* What matters: superblocks and tables whole, headers, footers; of payload and padding a sample. */
static bool is_metadata(uint64_t at)
{
	uint64_t block = at / 4096 * 4096;
	struct hf_wlogfmt_head head;
	struct hf_wlogfmt_footer footer;

	if (at < 4 * 4096)
		return at % 4096 < 200 || at % 4096 >= 4092;
	return (hf_wlogfmt_head_peek(&head, image + block) == 0 && at - block < head.used_bytes) ||
	       (hf_wlogfmt_footer_decode(&footer, WORLD_SEGMENT, image + block) == 0 &&
		(at - block < 80 || at - block >= 4092));
}

static void test_no_flipped_bit_gives_wrong_data(void **state)
{
	(void)state;
	build_image();
	opened_well = refused = reads_refused = 0;
	for (uint64_t at = 0; at < DISK; at++) {
		uint8_t byte = image[at] ^ (uint8_t)(1 << at % 8);

		if (is_metadata(at) ? at % 3 == 0 : at % 401 == 0)
			try_damage(at, &byte, 1);
	}
	printf("%u opened whole, %u refused by name, %u reads refused\n", opened_well, refused,
	       reads_refused);
	assert_true(opened_well > 100 && refused > 100 && reads_refused > 50);
}

static void test_no_lost_or_misplaced_sector_gives_wrong_data(void **state)
{
	static const uint8_t zeros[512];

	(void)state;
	build_image();
	opened_well = refused = reads_refused = 0;
	for (uint64_t at = 0; at < DISK; at += 512) {
		if (hf_is_zero(image + at, 512))
			continue;
		try_damage(at, zeros, 512);
		try_damage(at, image + (at + 512) % DISK, 512);
	}
	assert_true(opened_well > 50 && refused > 5 && reads_refused > 50);
}

/* A whole header of the same log, with a good CRC, but in the place of another. */
static void test_no_misplaced_header_is_taken(void **state)
{
	unsigned tried = 0;

	(void)state;
	build_image();
	for (uint64_t to = 4 * 4096; to < DISK; to += 4096)
		for (uint64_t from = to + 4096; from < DISK && from < to + 10 * 4096;
		     from += 4096) {
			struct hf_wlogfmt_head head;

			if (hf_wlogfmt_head_peek(&head, image + to) != 0 ||
			    hf_wlogfmt_head_peek(&head, image + from) != 0)
				continue;
			try_damage(to, image + from, 4096);
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
	for (uint64_t at = 4 * 4096; at < DISK; at += 4096)
		if (hf_wlogfmt_head_peek(&head, image + at) == 0 && head.serial == newest) {
			last = mark;
			mark = at;
		}
	assert_true(last > 0);
	world_begin_blank(&world, 1, SEGMENTS);
	sim_disk_poke(world.sim, 0, 0, 0, image, DISK);
	sim_disk_poke(world.sim, 0, 0, last, zeros, sizeof zeros);
	assert_int_equal(world_try_open(&world), HF_ECORRUPT);
	assert_non_null(strstr(world.message.text, "segment "));
	assert_non_null(strstr(world.message.text, "a batch that was durable is missing"));
	/* Without the mark the same would be a torn end. */
	sim_disk_poke(world.sim, 0, 0, mark, zeros, sizeof zeros);
	assert_int_equal(world_try_open(&world), 0);
	assert_int_equal(world.recovered, RECORDS - 1);
	world_end(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_flipped_bit_gives_wrong_data),
		cmocka_unit_test(test_no_lost_or_misplaced_sector_gives_wrong_data),
		cmocka_unit_test(test_no_misplaced_header_is_taken),
		cmocka_unit_test(test_a_missing_end_below_durable_through_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
