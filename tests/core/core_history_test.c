/* One history a volume: what a gateway lost the right to upload never comes back (invariants 1, 2
 * and 5). */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "tests/core/core_world.h"

#define KIB   1024u
#define OTHER (WORLD_VOLUME + 1)
#define LOST  24u /* writes that a forced detach gives up */
#define ANEW  10u /* writes of the volume's next life */
#define BIG   (16 * KIB)

static int setup(void **state)
{
	struct core_world *world = world_create(5);

	world_boot(world, 0);
	HF_ASSERT(world_attach(world, 0, world_config(true)) == 0);
	HF_ASSERT(world_wait_state(world, 0, HF_VOLUME_ATTACHED));
	*state = world;
	return 0;
}

static struct hf_volume_config config_at(uint64_t epoch)
{
	struct hf_volume_config config = world_config(false);

	config.attach_epoch = epoch;
	return config;
}

/* ---- Two holders -------------------------------------------------------------------------------
 */

/* Host 0 has one write in the store and three that are not, and dies. */
static void host_0_dies_with_writes_of_its_own(struct core_world *world)
{
	assert_int_equal(world_write(world, 0, 0, 4096, 1), 0);
	assert_true(world_wait_uploaded(world, 0));
	sim_run(world->sim, 4 * HF_NS_PER_S);
	sim_store_outage(world->sim, true);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(world_write(world, 0, i * 4096ull, 4096, (uint8_t)(2 + i)), 0);
	world_die(world, 0, false);
	sim_run(world->sim, 30 * HF_NS_PER_S);
	sim_store_outage(world->sim, false);
	world_boot(world, 0);
}

/* The volume was elsewhere, wrote there less than host 0 had not uploaded, and comes back under a
 * higher epoch: host 0's writes are of another history, however well the sequences fit. */
static void test_histories_are_never_mixed(void **state)
{
	struct core_world *world = *state;

	host_0_dies_with_writes_of_its_own(world);
	world_boot(world, 1);
	assert_int_equal(world_attach(world, 1, config_at(2)), 0);
	assert_int_equal(world_write(world, 1, 32 * KIB, 4096, 9), 0);
	assert_int_equal(world_detach(world, 1, false), 0);
	assert_int_equal(world_attach(world, 0, config_at(3)), 0);
	assert_true(world_wait_state(world, 0, HF_VOLUME_FAILED));
	assert_non_null(strstr(world->last_alarm, "another holder wrote"));
	/* Also after the next start, which finds its own claim as the newest. */
	world_die(world, 0, true);
	world_boot(world, 0);
	assert_int_equal(world_attach(world, 0, config_at(3)), 0);
	assert_true(world_wait_state(world, 0, HF_VOLUME_FAILED));
	/* Until somebody says that host 0's own may go. */
	assert_int_equal(world_detach(world, 0, true), 0);
	assert_int_equal(world_attach(world, 0, config_at(4)), 0);
	assert_int_equal(world_expect(world, 0, 0, 4096, 1), 0);
	assert_int_equal(world_expect(world, 0, 4096, 4096, 0), 0);
	assert_int_equal(world_expect(world, 0, 32 * KIB, 4096, 9), 0);
}

/* A higher epoch alone says nothing: nobody else wrote. */
static void test_a_holder_goes_on_under_a_higher_epoch(void **state)
{
	struct core_world *world = *state;

	host_0_dies_with_writes_of_its_own(world);
	assert_int_equal(world_attach(world, 0, config_at(3)), 0);
	assert_true(world_wait_state(world, 0, HF_VOLUME_ATTACHED));
	assert_true(world_wait_uploaded(world, 0));
	/* What it uploaded under 3 is its own after a death that the log's UPLOADED did not outrun,
	 * and after one more epoch. */
	sim_store_fail_names(world->sim, "claims", HF_EACCES);
	assert_int_equal(world_write(world, 0, 64 * KIB, 4096, 7), 0);
	sim_run(world->sim, HF_NS_PER_S);
	world_die(world, 0, true);
	sim_store_fail_names(world->sim, NULL, 0);
	world_boot(world, 0);
	assert_int_equal(world_attach(world, 0, config_at(6)), 0);
	assert_true(world_wait_state(world, 0, HF_VOLUME_ATTACHED));
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(world_expect(world, 0, i * 4096ull, 4096, (uint8_t)(2 + i)), 0);
	assert_int_equal(world_expect(world, 0, 64 * KIB, 4096, 7), 0);
	assert_true(world_wait_uploaded(world, 0));
}

/* Invariant 5: a raised epoch is claimed at once, so that a gateway which was meant to have the
 * volume in between and never heard that it lost it cannot take it. */
static void test_a_raised_epoch_keeps_others_out(void **state)
{
	struct core_world *world = *state;

	assert_int_equal(world_write(world, 0, 0, 4096, 1), 0);
	assert_int_equal(world_attach(world, 0, config_at(3)), 0);
	assert_int_equal(world_write(world, 0, 4096, 4096, 2), 0);
	assert_true(world_wait_state(world, 0, HF_VOLUME_ATTACHED));
	world_boot(world, 1);
	assert_int_equal(world_attach(world, 1, config_at(2)), HF_EFENCED);
	assert_int_equal(world_write(world, 0, 8192, 4096, 3), 0);
	assert_true(world_wait_uploaded(world, 0));
	assert_int_equal(world_status(world, 0).state, HF_VOLUME_ATTACHED);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(world_expect(world, 0, i * 4096ull, 4096, (uint8_t)(1 + i)), 0);
}

/* The same while the store is away and the opening under the old epoch still tries. */
static void test_a_raised_epoch_replaces_an_opening(void **state)
{
	struct core_world *world = *state;

	host_0_dies_with_writes_of_its_own(world);
	sim_store_outage(world->sim, true);
	assert_int_equal(world_attach(world, 0, config_at(1)), 0);
	assert_int_equal(world_attach(world, 0, config_at(3)), 0);
	assert_int_equal(world_status(world, 0).state, HF_VOLUME_OPENING);
	sim_store_outage(world->sim, false);
	assert_true(world_wait_uploaded(world, 0));
	world_boot(world, 1);
	assert_int_equal(world_attach(world, 1, config_at(2)), HF_EFENCED);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(world_expect(world, 0, i * 4096ull, 4096, (uint8_t)(2 + i)), 0);
}

/* ---- Two lives in one log ----------------------------------------------------------------------
 */

static void write_at_once(struct core_world *world, unsigned count, uint8_t fill)
{
	struct world_request *requests[LOST];
	static uint8_t data[512];

	memset(data, fill, sizeof data);
	for (unsigned i = 0; i < count; i++)
		requests[i] = world_submit(world, 0, HF_OP_WRITE, i * 512ull, 512, data, 512, 0, 0);
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(world_wait(world, requests[i]), 0);
		sim_keep_free(requests[i]);
	}
}

static void pinned(struct hf_request *request)
{
	*(bool *)request->owner = request->status == 0;
}

/* A record of another volume, whose part of the store is away, keeps the segment. */
static void pin_segment(struct core_world *world)
{
	struct hf_volume_config config = world_config(true);
	struct hf_request *request = sim_keep_alloc(sizeof *request);
	bool *done = sim_keep_alloc(sizeof *done);
	static uint8_t data[512];

	config.volume = OTHER;
	assert_int_equal(world_attach(world, 0, config), 0);
	*request = (struct hf_request){.op = HF_OP_WRITE,
				       .volume = OTHER,
				       .length = 512,
				       .data = data,
				       .data_length = 512,
				       .done = pinned,
				       .owner = done};
	sim_store_fail_names(world->sim, "vol-0000000000000052/0", HF_EACCES);
	hf_core_submit(world->cores[0], request);
	assert_true(sim_wait_flag(world->sim, done, WORLD_PATIENCE));
	sim_keep_free(request);
	sim_keep_free(done);
}

/* Writes that a forced detach gave up stay away, though another volume keeps the segment that they
 * lie in and the one with the DETACH has been reused. */
static void test_what_was_given_up_stays_away(void **state)
{
	struct core_world *world = *state;

	pin_segment(world);
	sim_store_outage(world->sim, true);
	write_at_once(world, LOST, 0xee);
	for (unsigned i = 0; i < 4; i++) /* until the next segment is open */
		assert_int_equal(world_write(world, 0, (8 + i) * BIG, BIG, 0xee), 0);
	assert_int_equal(world_detach(world, 0, true), 0);
	sim_store_outage(world->sim, false);
	assert_int_equal(world_attach(world, 0, config_at(2)), 0);
	for (unsigned i = 0; i < ANEW; i++) {
		assert_int_equal(world_write(world, 0, (20 + i) * BIG, BIG, (uint8_t)(1 + i)), 0);
		assert_true(world_wait_uploaded(world, 0));
		sim_run(world->sim, 4 * HF_NS_PER_S);
	}
	world_die(world, 0, true);
	world_boot(world, 0);
	assert_int_equal(world_status(world, 0).last_sequence, ANEW);
	assert_int_equal(world_attach(world, 0, config_at(2)), 0);
	assert_true(world_wait_state(world, 0, HF_VOLUME_ATTACHED));
	assert_int_equal(world_expect(world, 0, 0, LOST * 512, 0), 0);
	assert_int_equal(world_expect(world, 0, 8 * BIG, 4 * BIG, 0), 0);
	for (unsigned i = 0; i < ANEW; i++)
		assert_int_equal(world_expect(world, 0, (20 + i) * BIG, BIG, (uint8_t)(1 + i)), 0);
}

/* ---- Once --------------------------------------------------------------------------------------
 */

/* After a start the record with which the volume came lies in a batch of a higher number, and what
 * a growth logs names the old one. That is no new coming: what requests were answered is known. */
static void test_growth_after_a_restart_forgets_no_result(void **state)
{
	struct hf_volume_config grown = world_config(false);
	struct core_world *world = *state;
	struct world_request *request;
	uint8_t bytes[4096];

	memset(bytes, 1, sizeof bytes);
	request = world_submit(world, 0, HF_OP_WRITE, 0, sizeof bytes, bytes, sizeof bytes, 77, 0);
	assert_int_equal(world_wait(world, request), 0);
	grown.size_bytes += 64 * KIB;
	for (unsigned life = 0; life < 2; life++) {
		world_die(world, 0, false);
		world_boot(world, 0);
		assert_int_equal(world_attach(world, 0, grown), 0);
	}
	memset(bytes, 2, sizeof bytes);
	request = world_submit(world, 0, HF_OP_WRITE, 0, sizeof bytes, bytes, sizeof bytes, 77, 0);
	assert_int_equal(world_wait(world, request), 0);
	assert_int_equal(world_expect(world, 0, 0, sizeof bytes, 1), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, world_teardown)
	const struct CMUnitTest tests[] = {
		T(test_histories_are_never_mixed),
		T(test_a_holder_goes_on_under_a_higher_epoch),
		T(test_a_raised_epoch_keeps_others_out),
		T(test_a_raised_epoch_replaces_an_opening),
		T(test_what_was_given_up_stays_away),
		T(test_growth_after_a_restart_forgets_no_result),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
