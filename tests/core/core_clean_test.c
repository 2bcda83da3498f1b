/* Promises of uploaded segments: they serve reads without a fetch until their room is wanted, they
 * count as free, what they give is what the store would give (also after somebody else wrote, and
 * when they are damaged), and a log full of them takes writes as an empty one does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "remote/keyring.h"
#include "remote/names.h"
#include "remote/object.h"
#include "tests/core/core_world.h"

#define KIB 1024u

static int setup_keeping(void **state, uint64_t keep_bytes)
{
	struct core_world *world = world_create(1);

	world->keep_bytes = keep_bytes;
	world_boot(world, 0);
	assert_int_equal(world_attach(world, 0, world_config(true)), 0);
	*state = world;
	return 0;
}

static int setup(void **state)
{
	return setup_keeping(state, 1u << 30);
}

static int setup_without(void **state)
{
	return setup_keeping(state, 0);
}

/* In writes that a small segment takes. */
static void fill(struct core_world *world, uint64_t length, uint8_t with)
{
	for (uint64_t at = 0; at < length; at += 16 * KIB)
		assert_int_equal(world_write(world, 0, at, 16 * KIB, with), 0);
}

/* Until the log knows that the store has everything. */
static void settle(struct core_world *world, unsigned host)
{
	assert_true(world_wait_uploaded(world, host));
	sim_run(world->sim, 4 * HF_NS_PER_S);
}

static uint64_t fetched(struct core_world *world)
{
	return world_status(world, 0).fetched_bytes;
}

static uint64_t free_bytes(struct core_world *world)
{
	struct hf_core_status status;

	hf_core_status(world->cores[0], &status);
	return status.log_free_bytes;
}

static void a_read_after_upload_costs_no_fetch(void **state)
{
	struct core_world *world = *state;

	for (unsigned i = 0; i < 12; i++)
		assert_int_equal(world_write(world, 0, i * 16 * KIB, 16 * KIB, (uint8_t)(i + 1)),
				 0);
	settle(world, 0);
	sim_store_outage(world->sim, true);
	for (unsigned i = 0; i < 12; i++)
		assert_int_equal(world_expect(world, 0, i * 16 * KIB, 16 * KIB, (uint8_t)(i + 1)),
				 0);
	assert_int_equal(fetched(world), 0);
}

static void without_keeping_it_does(void **state)
{
	struct core_world *world = *state;

	for (unsigned i = 0; i < 12; i++)
		assert_int_equal(world_write(world, 0, i * 16 * KIB, 16 * KIB, (uint8_t)(i + 1)),
				 0);
	settle(world, 0);
	assert_int_equal(world_expect(world, 0, 0, 16 * KIB, 1), 0);
	assert_true(fetched(world) > 0);
}

/* Part of it is overwritten, by data, by zeros, by what is not uploaded yet. */
static void what_came_over_it_counts(void **state)
{
	struct core_world *world = *state;

	fill(world, 64 * KIB, 1);
	settle(world, 0);
	assert_int_equal(world_write(world, 0, 8 * KIB, 8 * KIB, 2), 0);
	assert_int_equal(world_do(world, 0, HF_OP_ZERO, 32 * KIB, 8 * KIB, NULL, 0), 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(world_expect(world, 0, 0, 8 * KIB, 1), 0);
		assert_int_equal(world_expect(world, 0, 8 * KIB, 8 * KIB, 2), 0);
		assert_int_equal(world_expect(world, 0, 16 * KIB, 16 * KIB, 1), 0);
		assert_int_equal(world_expect(world, 0, 32 * KIB, 8 * KIB, 0), 0);
		assert_int_equal(world_expect(world, 0, 40 * KIB, 24 * KIB, 1), 0);
		settle(world, 0);
	}
	assert_int_equal(fetched(world), 0);
}

/* Ten times the log goes through it; what was kept counted as free all the time. */
static void room_is_given_back(void **state)
{
	struct core_world *world = *state;
	struct hf_core_status status;

	for (unsigned i = 0; i < 640; i++) {
		assert_int_equal(world_write(world, 0, i % 60 * 16 * KIB, 16 * KIB, (uint8_t)i), 0);
		if (i % 20 == 19)
			settle(world, 0);
	}
	hf_core_status(world->cores[0], &status);
	assert_true(free_bytes(world) > status.log_total_bytes * 8 / 10);
	for (unsigned i = 580; i < 640; i++)
		assert_int_equal(world_expect(world, 0, i % 60 * 16 * KIB, 16 * KIB, (uint8_t)i),
				 0);
	assert_true(fetched(world) > 0);
	assert_true(fetched(world) < 60 * 16 * KIB / 2);
}

/* Invariant 8: a clean block that fails is fetched again. */
static void damage_is_fetched_again(void **state)
{
	struct core_world *world = *state;
	unsigned alarms;

	fill(world, 32 * KIB, 5);
	settle(world, 0);
	alarms = world->alarms;
	for (uint32_t at = 0; at < 1u << 20; at += 512)
		if (sim_disk_bytes(world->sim, 0, 0)[at + 7] == 5)
			sim_disk_poke(world->sim, 0, 0, at + 7, "x", 1);
	assert_int_equal(world_expect(world, 0, 0, 32 * KIB, 5), 0);
	assert_true(fetched(world) > 0 && world->alarms > alarms);
}

static void a_disk_that_cannot_be_read_costs_a_fetch(void **state)
{
	struct core_world *world = *state;

	fill(world, 32 * KIB, 5);
	settle(world, 0);
	sim_fail_disk(world->sim, 0, 0, HF_DISK_READ, 0, 1000, HF_EIO);
	assert_int_equal(world_expect(world, 0, 0, 32 * KIB, 5), 0);
	assert_true(fetched(world) > 0);
}

/* The volume was elsewhere for a moment, shorter than this gateway could notice, and is given back
 * under a higher epoch: invariant 5. */
static void what_somebody_else_wrote_counts(void **state)
{
	struct core_world *world = *state;
	struct hf_volume_config config = world_config(false);

	fill(world, 64 * KIB, 1);
	settle(world, 0);
	assert_int_equal(world_expect(world, 0, 0, 64 * KIB, 1), 0);
	world_boot(world, 1);
	config.attach_epoch = 2;
	assert_int_equal(world_attach(world, 1, config), 0);
	assert_int_equal(world_write(world, 1, 16 * KIB, 16 * KIB, 2), 0);
	assert_int_equal(world_detach(world, 1, false), 0);
	assert_int_equal(world_status(world, 0).state, HF_VOLUME_ATTACHED);
	config.attach_epoch = 3;
	assert_int_equal(world_attach(world, 0, config), 0);
	assert_true(world_wait_state(world, 0, HF_VOLUME_ATTACHED));
	assert_int_equal(world_expect(world, 0, 0, 16 * KIB, 1), 0);
	assert_int_equal(world_expect(world, 0, 16 * KIB, 16 * KIB, 2), 0);
	assert_int_equal(world_expect(world, 0, 32 * KIB, 32 * KIB, 1), 0);
}

/* After a restart the log begins without them, and everything is right. */
static void a_restart_begins_without(void **state)
{
	struct core_world *world = *state;

	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(world_write(world, 0, i * 16 * KIB, 16 * KIB, (uint8_t)(i + 1)),
				 0);
	settle(world, 0);
	world_die(world, 0, true);
	world_boot(world, 0);
	assert_int_equal(world_attach(world, 0, world_config(false)), 0);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(world_expect(world, 0, i * 16 * KIB, 16 * KIB, (uint8_t)(i + 1)),
				 0);
	for (unsigned i = 0; i < 120; i++)
		assert_int_equal(world_write(world, 0, i % 60 * 16 * KIB, 16 * KIB, (uint8_t)i), 0);
	settle(world, 0);
	world_close(world, 0);
}

/* The header of the newest object, opened with the volume's own key. */
static struct hf_object_header newest_header(struct core_world *world)
{
	struct hf_volume_config config = world_config(false);
	uint8_t data_key[HF_KEY_BYTES];
	char name[HF_STORE_NAME_MAX + 1];
	const struct sim_object *found;
	struct hf_object_header header;
	struct hf_object object;
	struct hf_object_id id;
	struct hf_errmsg why;

	hf_name_keyring(name, WORLD_TENANT, WORLD_VOLUME);
	found = sim_store_find(world->sim, name);
	assert_int_equal(hf_keyring_read(WORLD_TENANT, WORLD_VOLUME, config.wrap_key, found->bytes,
					 found->length, data_key, &why),
			 0);
	world_object_name(world, name);
	found = sim_store_find(world->sim, name);
	id = (struct hf_object_id){.tenant = WORLD_TENANT,
				   .volume = WORLD_VOLUME,
				   .epoch = hf_get_le64(found->bytes + 32),
				   .start = hf_get_le64(found->bytes + 40),
				   .sequence = hf_get_le64(found->bytes + 48)};
	assert_int_equal(hf_object_decode_header(&id, data_key, found->bytes, found->length,
						 &header, &object, &why),
			 0);
	free(header.extents);
	free(object.chunks);
	return header;
}

/* For people with a log and an object in hand: which batches it came from, later ones each time. */
static void an_object_tells_which_batches_it_came_from(void **state)
{
	struct core_world *world = *state;
	struct hf_object_header before, after;

	fill(world, 16 * KIB, 1);
	settle(world, 0);
	before = newest_header(world);
	assert_true(before.log_first > 0 && before.log_last >= before.log_first);
	fill(world, 16 * KIB, 2);
	settle(world, 0);
	after = newest_header(world);
	assert_true(after.log_first > before.log_last && after.log_last >= after.log_first);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_read_after_upload_costs_no_fetch),
		cmocka_unit_test_setup_teardown(without_keeping_it_does, setup_without,
						world_teardown),
		TEST(what_came_over_it_counts),
		TEST(room_is_given_back),
		TEST(damage_is_fetched_again),
		TEST(a_disk_that_cannot_be_read_costs_a_fetch),
		TEST(what_somebody_else_wrote_counts),
		TEST(a_restart_begins_without),
		TEST(an_object_tells_which_batches_it_came_from),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
