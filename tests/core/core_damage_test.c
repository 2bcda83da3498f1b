/* Promises about a log's disk that lost something of a volume that cannot upload (invariant 8): it
 * is told, nothing wrong is read, what is whole stays readable, and it holds up nobody's space. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "tests/core/core_world.h"

#define KIB  1024u
#define DISK (1u << 20)

static int setup(void **state)
{
	struct core_world *world = world_create(3);

	world_boot(world, 0);
	assert_int_equal(world_attach(world, 0, world_config(true)), 0);
	*state = world;
	return 0;
}

/* Where on the disk 8 KiB of this lie, from byte `from` on; 0: nowhere. */
static uint64_t find(const struct core_world *world, uint8_t fill, uint64_t from)
{
	const uint8_t *bytes = sim_disk_bytes(world->sim, 0, 0);

	for (uint64_t at = from; at + 8 * KIB <= DISK; at += 512) {
		uint64_t length = 0;

		while (length < 8 * KIB && bytes[at + length] == fill)
			length++;
		if (length == 8 * KIB)
			return at;
	}
	return 0;
}

/* Nothing of the original is needed any more. */
static void break_original(struct core_world *world, uint64_t at)
{
	static const uint8_t junk[12 * KIB];

	assert_true(find(world, 0xb2, at + 16 * KIB) != 0);
	if (find(world, 0xb2, at) < at + 16 * KIB)
		sim_disk_poke(world->sim, 0, 0, at, junk, sizeof junk);
}

/* A segment with one record that the store does not take, beside what it has; then half of the log
 * is filled with more that it does not take. Where that record lies. */
static uint64_t one_record_pins_a_segment(struct core_world *world)
{
	uint64_t at;

	assert_true(world_wait_state(world, 0, HF_VOLUME_ATTACHED));
	assert_int_equal(world_write(world, 0, 0, 16 * KIB, 1), 0);
	assert_true(world_wait_uploaded(world, 0));
	sim_store_outage(world->sim, true);
	assert_int_equal(world_write(world, 0, 32 * KIB, 16 * KIB, 0xb2), 0);
	sim_run(world->sim, 100 * HF_NS_PER_S); /* the upload has failed once */
	at = find(world, 0xb2, 4096);
	assert_true(at > 0);
	return at;
}

static void fill_half(struct core_world *world)
{
	for (unsigned i = 0; i < 22; i++)
		assert_int_equal(
			world_write(world, 0, (64 + 16 * i) * KIB, 16 * KIB, (uint8_t)(0x10 + i)),
			0);
}

static void expect_all_but(struct core_world *world, uint64_t lost, int status)
{
	for (uint64_t at = 32 * KIB; at < 48 * KIB; at += 4096)
		assert_int_equal(world_expect(world, 0, at, 4096, 0xb2), at == lost ? status : 0);
	for (unsigned i = 0; i < 22; i++)
		assert_int_equal(
			world_expect(world, 0, (64 + 16 * i) * KIB, 16 * KIB, (uint8_t)(0x10 + i)),
			0);
}

/* The record is written again elsewhere, but for the block that is lost; its segment is free. */
static void what_cannot_be_read_pins_nothing(void **state)
{
	struct core_world *world = *state;
	uint64_t at = one_record_pins_a_segment(world);

	sim_disk_poke(world->sim, 0, 0, at + 4096 + 100, "x", 1);
	fill_half(world);
	sim_run(world->sim, 10 * HF_NS_PER_S);
	assert_int_equal(world_write(world, 0, 1008 * KIB, 4096, 9), 0); /* something durable */
	sim_run(world->sim, 10 * HF_NS_PER_S);
	assert_non_null(strstr(world->last_alarm, "1 blocks of writes"));
	break_original(world, at);
	expect_all_but(world, 36 * KIB, HF_ECORRUPT);
	/* A start takes it as it is, and damage elsewhere for damage. */
	world_die(world, 0, true);
	world_boot(world, 0);
	assert_int_equal(world_attach(world, 0, world_config(false)), 0);
	expect_all_but(world, 36 * KIB, HF_ECORRUPT);
	sim_store_outage(world->sim, false);
	assert_true(world_wait_uploaded(world, 0));
	sim_run(world->sim, 4 * HF_NS_PER_S);
	assert_int_equal(world_status(world, 0).bad_extents, 1);
	expect_all_but(world, 36 * KIB, HF_EBADEXTENT);
	assert_int_equal(world_write(world, 0, 36 * KIB, 4096, 0xb2), 0);
	expect_all_but(world, 0, 0);
}

/* A disk that cannot be read for a moment has lost nothing. */
static void what_can_be_read_a_second_later_is_not_lost(void **state)
{
	struct core_world *world = *state;

	uint64_t at = one_record_pins_a_segment(world);

	sim_fail_disk(world->sim, 0, 0, HF_DISK_READ, 0, 4, HF_EIO);
	fill_half(world);
	sim_run(world->sim, 10 * HF_NS_PER_S);
	assert_int_equal(world_write(world, 0, 1008 * KIB, 4096, 9), 0);
	sim_run(world->sim, 10 * HF_NS_PER_S);
	sim_fail_disk(world->sim, 0, 0, HF_DISK_READ, 0, 0, 0);
	assert_null(strstr(world->last_alarm, "lost"));
	break_original(world, at);
	expect_all_but(world, 0, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_cannot_be_read_pins_nothing),
		TEST(what_can_be_read_a_second_later_is_not_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
