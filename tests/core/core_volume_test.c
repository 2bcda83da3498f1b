/* How volumes come, go and fail: attach, detach, delete, growth, fencing, a store that is away, bad
 * extents (invariants 2, 5, 6 and 8). */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "tests/core/core_world.h"

#define KIB 1024u

static int setup(void **state)
{
	struct core_world *world = world_create(2);

	world_boot(world, 0);
	HF_ASSERT(world_attach(world, 0, world_config(true)) == 0);
	*state = world;
	return 0;
}

static void test_attach_is_idempotent_and_only_grows(void **state)
{
	struct core_world *world = *state;
	struct hf_volume_config config = world_config(false);

	assert_int_equal(world_attach(world, 0, config), 0);
	config.size_bytes = 2 * WORLD_SIZE;
	config.attach_epoch = 3;
	assert_int_equal(world_attach(world, 0, config), 0);
	assert_int_equal(world_write(world, 0, WORLD_SIZE, 4096, 1), 0);
	assert_int_equal(world_status(world, 0).size_bytes, 2 * WORLD_SIZE);
	config.size_bytes = WORLD_SIZE;
	assert_int_equal(world_attach(world, 0, config), HF_EINVAL);
	config.size_bytes = 2 * WORLD_SIZE;
	config.attach_epoch = 2;
	assert_int_equal(world_attach(world, 0, config), HF_ESTALE);
	config.attach_epoch = 3;
	config.tenant++;
	assert_int_equal(world_attach(world, 0, config), HF_EINVAL);
	world_die(world, 0, true);
	world_boot(world, 0);
	assert_int_equal(world_status(world, 0).size_bytes, 2 * WORLD_SIZE);
	assert_int_equal(world_status(world, 0).attach_epoch, 3);
	config.tenant--;
	assert_int_equal(world_attach(world, 0, config), 0);
	assert_int_equal(world_expect(world, 0, WORLD_SIZE, 4096, 1), 0);
}

static void test_what_does_not_exist_is_not_attached(void **state)
{
	struct core_world *world = *state;
	struct hf_volume_config config = world_config(false);

	config.volume++;
	assert_int_equal(world_attach(world, 0, config), HF_ENOENT);
	assert_int_equal(hf_core_volumes(world->cores[0], NULL, 0), 1);
	config = world_config(false);
	assert_int_equal(world_detach(world, 0, false), 0);
	config.wrap_key[0] ^= 1;
	assert_int_equal(world_attach(world, 0, config), HF_EAUTH);
	config.wrap_key[0] ^= 1;
	assert_int_equal(world_attach(world, 0, config), 0);
}

/* Invariant 2: a detach leaves nothing behind; the volume opens elsewhere from the store alone. */
static void test_detach_drains_and_the_volume_moves(void **state)
{
	struct core_world *world = *state;
	struct hf_volume_config config = world_config(false);

	assert_int_equal(world_write(world, 0, 0, 16 * KIB, 1), 0);
	assert_int_equal(world_write(world, 0, 16 * KIB, 8 * KIB, 2), 0);
	assert_int_equal(world_detach(world, 0, false), 0);
	assert_int_equal(world_detach(world, 0, false), 0);
	assert_int_equal(world_write(world, 0, 0, 512, 3), HF_ENOTREADY);
	world_boot(world, 1);
	config.attach_epoch = 2;
	assert_int_equal(world_attach(world, 1, config), 0);
	assert_int_equal(world_expect(world, 1, 0, 16 * KIB, 1), 0);
	assert_int_equal(world_expect(world, 1, 16 * KIB, 8 * KIB, 2), 0);
	assert_int_equal(world_status(world, 1).last_sequence, 2);
	assert_int_equal(world_write(world, 1, 0, 512, 3), 0);
	assert_int_equal(world_status(world, 1).last_sequence, 3);
	world_die(world, 0, false);
	world_boot(world, 0);
	assert_int_equal(hf_core_volumes(world->cores[0], NULL, 0), 0);
}

static void test_detach_waits_for_the_store_and_force_does_not(void **state)
{
	struct core_world *world = *state;
	struct hf_volume_change *change;
	bool done;

	assert_true(world_wait_state(world, 0, HF_VOLUME_ATTACHED));
	sim_store_outage(world->sim, true);
	assert_int_equal(world_write(world, 0, 0, 4096, 1), 0);
	change = world_detach_start(world, 0, &done);
	sim_run(world->sim, 20 * HF_NS_PER_S);
	assert_false(done);
	assert_int_equal(world_status(world, 0).state, HF_VOLUME_DETACHING);
	assert_int_equal(world_attach(world, 0, world_config(false)), HF_EBUSY);
	sim_store_outage(world->sim, false);
	assert_true(sim_wait_flag(world->sim, &done, WORLD_PATIENCE));
	assert_int_equal(change->status, 0);
	sim_keep_free(change);
	assert_int_equal(world_attach(world, 0, world_config(false)), 0);
	assert_int_equal(world_expect(world, 0, 0, 4096, 1), 0);
	sim_store_outage(world->sim, true);
	assert_int_equal(world_write(world, 0, 0, 4096, 2), 0);
	change = world_detach_start(world, 0, &done);
	sim_run(world->sim, 4 * HF_NS_PER_S);
	assert_false(done);
	assert_int_equal(world_detach(world, 0, true), 0);
	assert_true(done);
	assert_non_null(strstr(change->message.text, "4096 bytes"));
	sim_keep_free(change);
	sim_store_outage(world->sim, false);
	assert_int_equal(world_attach(world, 0, world_config(false)), 0);
	assert_int_equal(world_expect(world, 0, 0, 4096, 1), 0);
}

/* A store that is away holds a deletion up and does not end it. */
static void test_delete_waits_for_the_store(void **state)
{
	struct core_world *world = *state;
	uint64_t events;
	struct sim_counts counts;

	assert_int_equal(world_write(world, 0, 0, 16 * KIB, 1), 0);
	assert_true(world_wait_uploaded(world, 0));
	sim_store_fail_names(world->sim, "vol-", HF_EACCES);
	sim_counts(world->sim, &counts);
	events = counts.events;
	world_delete_start(world, 0);
	sim_run(world->sim, 60 * HF_NS_PER_S);
	assert_int_equal(world_status(world, 0).state, HF_VOLUME_DELETING);
	assert_int_equal(world_write(world, 0, 0, 512, 1), HF_ENOTREADY);
	sim_counts(world->sim, &counts);
	assert_true(counts.events - events < 20000); /* it waits between attempts */
	sim_store_fail_names(world->sim, NULL, 0);
	assert_int_equal(world_delete(world, 0), 0);
	assert_null(sim_store_at(world->sim, 0));
}

/* Invariant 1: what may be in a log that is missing was not uploaded for all one knows. */
static void test_what_may_be_in_a_missing_log_is_given_up_by_force_alone(void **state)
{
	struct core_world *world = *state;

	world->misses_a_log = true;
	world_boot(world, 1);
	assert_int_equal(world_detach(world, 1, false), HF_ENOTREADY);
	assert_int_equal(world_detach(world, 1, true), 0);
}

/* Invariant 1: an older copy of a log does not become the log by being tried again and again, as a
 * service that fails is. */
static void test_an_older_copy_of_a_log_stays_one(void **state)
{
	struct core_world *world = *state;
	struct hf_core_log_status logs[HF_CORE_LOGS_MAX];

	assert_int_equal(hf_core_logs(world->cores[0], logs), 1);
	world_die(world, 0, false);
	world->least_version = logs[0].version + 2;
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(world_try_boot(world, 0), HF_ESTALE);
	assert_int_equal(sim_heap_count(world->sim, 0), 0);
	world->least_version = logs[0].version + 1; /* the other copy of the table was damaged */
	assert_int_equal(world_try_boot(world, 0), 0);
}

/* ---- A log of somebody else's -----------------------------------------------------------------
 */

struct stranger {
	struct hf_wlog_open open;
	bool opened, closed;
};

static size_t stranger_state(void *context, void *buffer, size_t capacity)
{
	(void)context;
	(void)capacity;
	memset(buffer, 0x5a, 64);
	return 64;
}

static void stranger_recovered(void *context, const struct hf_wlog_record *record,
			       const void *payload)
{
	(void)context;
	(void)record;
	(void)payload;
}

static void stranger_moved(void *context, const struct hf_wlog_record *record)
{
	(void)context;
	(void)record;
}

static void stranger_durable(void *context, uint64_t batch)
{
	(void)context;
	(void)batch;
}

static void stranger_opened(struct hf_wlog_open *open)
{
	hf_container_of(open, struct stranger, open)->opened = true;
}

static void stranger_closed(void *context)
{
	*(bool *)context = true;
}

/* Invariant 1: what a log says is not written over by who does not understand it, say after a
 * downgrade, however often that is tried. */
static void test_control_state_that_is_not_understood_stays_refused(void **state)
{
	static const struct hf_wlog_owner owner = {
		.recovered = stranger_recovered,
		.moved = stranger_moved,
		.durable = stranger_durable,
		.state = stranger_state,
	};
	struct core_world *world = *state;
	struct stranger *stranger = sim_keep_alloc(sizeof *stranger);

	stranger->open.config.env = sim_env(world->sim, 1);
	stranger->open.config.owner = &owner;
	stranger->open.opened = stranger_opened;
	sim_select(world->sim, 1);
	hf_wlog_open_start(&stranger->open);
	assert_true(sim_wait_flag(world->sim, &stranger->opened, WORLD_PATIENCE));
	assert_int_equal(stranger->open.status, 0);
	hf_wlog_close(stranger->open.wlog, stranger_closed, &stranger->closed);
	assert_true(sim_wait_flag(world->sim, &stranger->closed, WORLD_PATIENCE));
	sim_keep_free(stranger);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(world_try_boot(world, 1), HF_ECORRUPT);
	assert_int_equal(sim_heap_count(world->sim, 1), 0);
}

static void test_delete_leaves_nothing(void **state)
{
	struct core_world *world = *state;

	assert_int_equal(world_write(world, 0, 0, 16 * KIB, 1), 0);
	assert_true(world_wait_uploaded(world, 0));
	assert_non_null(sim_store_at(world->sim, 0));
	assert_int_equal(world_delete(world, 0), 0);
	assert_null(sim_store_at(world->sim, 0));
	assert_int_equal(hf_core_volumes(world->cores[0], NULL, 0), 0);
	assert_int_equal(world_delete(world, 0), 0);
	assert_int_equal(world_attach(world, 0, world_config(true)), 0);
	assert_int_equal(world_expect(world, 0, 0, 16 * KIB, 0), 0);
}

/* Invariant 5: one holder. */
static void test_the_old_holder_is_fenced(void **state)
{
	struct core_world *world = *state;
	struct hf_volume_config config = world_config(false);

	assert_int_equal(world_write(world, 0, 0, 4096, 1), 0);
	assert_true(world_wait_uploaded(world, 0));
	world_boot(world, 1);
	config.attach_epoch = 2;
	assert_int_equal(world_attach(world, 1, config), 0);
	assert_int_equal(world_write(world, 0, 0, 4096, 9), 0);
	assert_true(world_wait_state(world, 0, HF_VOLUME_FENCED));
	assert_int_equal(world_write(world, 0, 0, 4096, 9), HF_EFENCED);
	assert_int_equal(world_expect(world, 0, 0, 4096, 9), HF_EFENCED);
	assert_true(world->alarms > 0);
	assert_int_equal(world_detach(world, 0, false), HF_EFENCED);
	assert_int_equal(world_attach(world, 0, world_config(false)), HF_EFENCED);
	/* Its log is kept, also over a death, until somebody says that it may go. */
	world_die(world, 0, true);
	world_boot(world, 0);
	assert_int_equal(world_status(world, 0).last_sequence, 2);
	assert_int_equal(world_attach(world, 0, world_config(false)), 0);
	assert_true(world_wait_state(world, 0, HF_VOLUME_FENCED));
	assert_int_equal(world_detach(world, 0, true), 0);
	assert_int_equal(world_expect(world, 1, 0, 4096, 1), 0);
}

/* Invariant 6: with the store away, writes and reads of what is here go on. */
static void test_a_store_that_is_away_stops_only_what_needs_it(void **state)
{
	struct core_world *world = *state;
	struct world_request *cold, *cancelled;
	static uint8_t data[4096], more[4096];

	assert_int_equal(world_write(world, 0, 0, 4096, 1), 0);
	assert_true(world_wait_uploaded(world, 0));
	sim_run(world->sim, 4 * HF_NS_PER_S);
	world_die(world, 0, true);
	sim_store_outage(world->sim, true);
	world_boot(world, 0);
	assert_int_equal(world_attach(world, 0, world_config(false)), 0);
	assert_int_equal(world_status(world, 0).state, HF_VOLUME_OPENING);
	assert_int_equal(world_write(world, 0, 8192, 4096, 2), 0);
	assert_int_equal(world_expect(world, 0, 8192, 4096, 2), 0);
	assert_int_equal(world_expect(world, 0, 0, 4096, 1), HF_ENOTREADY);
	cold = world_submit(world, 0, HF_OP_READ, 0, 4096, data, 4096, 0, 0);
	cancelled = world_submit(world, 0, HF_OP_READ, 0, 4096, more, 4096, 0, 0);
	sim_run(world->sim, 100 * HF_NS_PER_MS);
	assert_false(cold->done);
	hf_core_cancel(world->cores[0], &cancelled->request);
	assert_int_equal(world_wait(world, cancelled), HF_ECANCELED);
	sim_store_outage(world->sim, false);
	assert_int_equal(world_wait(world, cold), 0);
	assert_int_equal(data[77], 1);
	sim_keep_free(cold);
	sim_keep_free(cancelled);
	assert_true(world_wait_state(world, 0, HF_VOLUME_ATTACHED));
	assert_true(world_wait_uploaded(world, 0));
}

/* Invariant 6: a full log waits, never fails, and holds up no read. */
static void test_a_full_log_waits_for_the_store(void **state)
{
	struct core_world *world = *state;
	static uint8_t data[64][16 * KIB];
	struct world_request *requests[64];
	unsigned waiting = 0;

	assert_true(world_wait_state(world, 0, HF_VOLUME_ATTACHED));
	sim_store_outage(world->sim, true);
	for (unsigned i = 0; i < 64; i++) {
		memset(data[i], (int)i, sizeof data[i]);
		requests[i] = world_submit(world, 0, HF_OP_WRITE, (uint64_t)i * 16 * KIB, 16 * KIB,
					   data[i], 16 * KIB, 0, 0);
	}
	sim_run(world->sim, 10 * HF_NS_PER_S);
	for (unsigned i = 0; i < 64; i++)
		waiting += !requests[i]->done;
	assert_in_range(waiting, 10, 63);
	assert_int_equal(world_expect(world, 0, 0, 16 * KIB, 0), 0);
	assert_int_equal(world_expect(world, 0, 16 * KIB, 16 * KIB, 1), 0);
	assert_true(world_status(world, 0).lag_bytes > 0);
	assert_true(world_status(world, 0).age_ms >= 9000);
	sim_store_outage(world->sim, false);
	for (unsigned i = 0; i < 64; i++) {
		assert_int_equal(world_wait(world, requests[i]), 0);
		sim_keep_free(requests[i]);
	}
	assert_true(world_wait_uploaded(world, 0));
	assert_int_equal(world_status(world, 0).age_ms, 0);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(
			world_expect(world, 0, (uint64_t)i * 16 * KIB, 16 * KIB, (uint8_t)i), 0);
}

/* What waits for room in a full log does not keep the volume from being given up, by force or by a
 * deletion that waits for the store; the log has room at once. */
static void give_up_a_full_log(struct core_world *world, bool by_deletion)
{
	struct hf_volume_config config = world_config(false);
	static uint8_t data[64][16 * KIB];
	struct world_request *requests[64];

	assert_true(world_wait_state(world, 0, HF_VOLUME_ATTACHED));
	sim_store_outage(world->sim, true);
	for (unsigned i = 0; i < 64; i++) {
		memset(data[i], 0xee, sizeof data[i]);
		requests[i] = world_submit(world, 0, HF_OP_WRITE, (uint64_t)i * 16 * KIB, 16 * KIB,
					   data[i], 16 * KIB, 1 + i, 0);
	}
	sim_run(world->sim, 10 * HF_NS_PER_S);
	assert_false(requests[63]->done);
	if (by_deletion)
		world_delete_start(world, 0);
	else
		assert_int_equal(world_detach(world, 0, true), 0);
	for (unsigned i = 0; i < 64; i++) {
		assert_int_not_equal(world_wait(world, requests[i]), -1000);
		sim_keep_free(requests[i]);
	}
	sim_run(world->sim, 10 * HF_NS_PER_S);
	sim_store_outage(world->sim, false);
	if (by_deletion)
		assert_int_equal(world_delete(world, 0), 0);
	config.attach_epoch = 2;
	config.create = by_deletion;
	assert_int_equal(world_attach(world, 0, config), 0);
	assert_int_equal(world_write(world, 0, 0, 4096, 5), 0);
	world_die(world, 0, true);
	world_boot(world, 0);
	assert_int_equal(world_attach(world, 0, config), 0);
	assert_true(world_wait_state(world, 0, HF_VOLUME_ATTACHED));
	assert_int_equal(world_status(world, 0).last_sequence, 1);
	assert_int_equal(world_expect(world, 0, 0, 4096, 5), 0);
	assert_int_equal(world_expect(world, 0, 4096, WORLD_SIZE - 4096, 0), 0);
}

static void test_a_full_log_is_given_up_by_force(void **state)
{
	give_up_a_full_log(*state, false);
}

static void test_a_full_log_is_given_up_by_deletion(void **state)
{
	give_up_a_full_log(*state, true);
}

static uint64_t find_on_disk(struct core_world *world, uint8_t fill)
{
	const uint8_t *disk = sim_disk_bytes(world->sim, 0, 0);
	uint8_t pattern[512];

	memset(pattern, fill, sizeof pattern);
	for (uint64_t at = 0; at < (1u << 20); at += 512)
		if (memcmp(disk + at, pattern, sizeof pattern) == 0)
			return at;
	return 0;
}

/* Invariant 8: a detach leaves a checkpoint, from which the next attach opens. A leaf of it that is
 * damaged is an alarm; the map is built from the objects meanwhile, and the read waits for that. */
static void test_a_damaged_checkpoint_costs_an_alarm(void **state)
{
	struct core_world *world = *state;
	struct sim_object part = {.length = 0};
	const struct sim_object *object;
	uint8_t *bytes;

	assert_true(world_wait_state(world, 0, HF_VOLUME_ATTACHED));
	assert_int_equal(world_write(world, 0, 8192, 4096, 0xc1), 0);
	assert_int_equal(world_detach(world, 0, false), 0);
	for (unsigned i = 0; (object = sim_store_at(world->sim, i)) != NULL; i++)
		if (strstr(object->name, "/map/"))
			part = *object;
	assert_true(part.length > 0);
	world_close(world, 0); /* what the read cache has of it is in memory */
	world_boot(world, 0);
	assert_int_equal(world_attach(world, 0, world_config(false)), 0);
	assert_true(world_wait_state(world, 0, HF_VOLUME_ATTACHED));
	assert_int_equal(world_status(world, 0).fetched_bytes, 0);
	assert_int_equal(world->alarms, 0);
	bytes = malloc(part.length);
	memcpy(bytes, part.bytes, part.length);
	bytes[part.length - 1] ^= 1; /* of the last block, the page */
	sim_store_poke(world->sim, part.name, bytes, part.length);
	free(bytes);
	assert_int_equal(world_expect(world, 0, 8192, 4096, 0xc1), 0);
	assert_int_equal(world->alarms, 1);
	assert_non_null(strstr(world->last_alarm, "checkpoint"));
	assert_true(world_wait_state(world, 0, HF_VOLUME_ATTACHED));
	assert_int_equal(world_expect(world, 0, 0, 4096, 0), 0);
}

/* Invariant 8: a dirty block that is lost becomes a bad extent; the rest moves on. */
static void test_a_lost_dirty_block_becomes_a_bad_extent(void **state)
{
	struct core_world *world = *state;
	uint64_t at;

	assert_true(world_wait_state(world, 0, HF_VOLUME_ATTACHED));
	assert_int_equal(world_write(world, 0, 0, 4096, 0xa1), 0);
	assert_int_equal(world_write(world, 0, 4096, 4096, 0xb2), 0);
	assert_int_equal(world_write(world, 0, 8192, 4096, 0xa3), 0);
	at = find_on_disk(world, 0xb2); /* before it is read back for upload */
	assert_true(at > 0);
	sim_disk_poke(world->sim, 0, 0, at + 100, "x", 1);
	assert_int_equal(world_expect(world, 0, 4096, 4096, 0xb2), HF_ECORRUPT);
	assert_int_equal(world_do(world, 0, HF_OP_VERIFY, 0, 16 * KIB, NULL, 0), HF_ECORRUPT);
	assert_true(world_wait_uploaded(world, 0));
	sim_run(world->sim, 4 * HF_NS_PER_S);
	assert_true(world->alarms > 0);
	assert_int_equal(world_status(world, 0).bad_extents, 1);
	assert_int_equal(world_expect(world, 0, 4096, 4096, 0xb2), HF_EBADEXTENT);
	assert_int_equal(world_expect(world, 0, 0, 4096, 0xa1), 0);
	assert_int_equal(world_expect(world, 0, 8192, 4096, 0xa3), 0);
	assert_int_equal(world_write(world, 0, 4096, 4096, 0xb4), 0);
	assert_true(world_wait_uploaded(world, 0));
	assert_int_equal(world_expect(world, 0, 0, 4096, 0xa1), 0);
	assert_int_equal(world_expect(world, 0, 4096, 4096, 0xb4), 0);
}

/* Never silently go on: a store that lost what it had confirmed is an alarm and FAILED. */
static void test_a_store_that_lost_objects_fails_the_volume(void **state)
{
	struct core_world *world = *state;
	char name[HF_STORE_NAME_MAX + 1];

	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(world_write(world, 0, 0, 16 * KIB, (uint8_t)(1 + i)), 0);
		assert_true(world_wait_uploaded(world, 0));
	}
	sim_run(world->sim, 4 * HF_NS_PER_S);
	world_die(world, 0, false);
	sim_run(world->sim, 30 * HF_NS_PER_S);
	world_object_name(world, name);
	sim_store_poke(world->sim, name, NULL, 0);
	world_boot(world, 0);
	assert_int_equal(world_attach(world, 0, world_config(false)), 0);
	assert_true(world_wait_state(world, 0, HF_VOLUME_FAILED));
	assert_true(world->alarms > 0);
	assert_true(world_status(world, 0).reason[0] != '\0');
	assert_int_equal(world_write(world, 0, 0, 512, 1), HF_ENOTREADY);
}

/* The same while the log has not been told yet what the store confirmed. */
static void test_a_store_that_lost_what_was_just_confirmed_fails_the_volume(void **state)
{
	struct core_world *world = *state;
	struct hf_volume_config config = world_config(false);
	char name[HF_STORE_NAME_MAX + 1];

	assert_int_equal(world_write(world, 0, 0, 4096, 1), 0);
	assert_true(world_wait_uploaded(world, 0));
	sim_run(world->sim, 4 * HF_NS_PER_S);
	assert_int_equal(world_write(world, 0, 0, 4096, 2), 0);
	assert_true(world_wait_uploaded(world, 0));
	world_object_name(world, name);
	sim_store_poke(world->sim, name, NULL, 0);
	config.attach_epoch++;
	assert_int_equal(world_attach(world, 0, config), 0);
	assert_true(world_wait_state(world, 0, HF_VOLUME_FAILED));
}

static void test_status_reports_lag_and_traffic(void **state)
{
	struct core_world *world = *state;
	struct hf_volume_status status;

	assert_true(world_wait_state(world, 0, HF_VOLUME_ATTACHED));
	sim_store_outage(world->sim, true);
	assert_int_equal(world_write(world, 0, 0, 8192, 1), 0);
	assert_int_equal(world_expect(world, 0, 0, 4096, 1), 0);
	sim_run(world->sim, 5 * HF_NS_PER_S);
	status = world_status(world, 0);
	assert_int_equal(status.lag_bytes, 8192);
	assert_in_range(status.age_ms, 4900, 5100);
	assert_int_equal(status.write_ops, 1);
	assert_int_equal(status.write_bytes, 8192);
	assert_int_equal(status.read_bytes, 4096);
	assert_int_equal(status.last_sequence, 1);
	assert_int_equal(status.recovery_point, 0);
	sim_store_outage(world->sim, false);
	assert_true(world_wait_uploaded(world, 0));
	status = world_status(world, 0);
	assert_int_equal(status.recovery_point, 1);
	assert_true(status.uploaded_objects >= 1 && status.uploaded_bytes > 0);
	assert_int_equal(status.start, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, world_teardown)
	const struct CMUnitTest tests[] = {
		T(test_attach_is_idempotent_and_only_grows),
		T(test_what_does_not_exist_is_not_attached),
		T(test_detach_drains_and_the_volume_moves),
		T(test_detach_waits_for_the_store_and_force_does_not),
		T(test_what_may_be_in_a_missing_log_is_given_up_by_force_alone),
		T(test_an_older_copy_of_a_log_stays_one),
		T(test_delete_leaves_nothing),
		T(test_delete_waits_for_the_store),
		T(test_the_old_holder_is_fenced),
		T(test_a_store_that_is_away_stops_only_what_needs_it),
		T(test_a_full_log_waits_for_the_store),
		T(test_a_full_log_is_given_up_by_force),
		T(test_a_full_log_is_given_up_by_deletion),
		T(test_a_damaged_checkpoint_costs_an_alarm),
		T(test_a_lost_dirty_block_becomes_a_bad_extent),
		T(test_a_store_that_lost_objects_fails_the_volume),
		T(test_a_store_that_lost_what_was_just_confirmed_fails_the_volume),
		T(test_control_state_that_is_not_understood_stays_refused),
		T(test_status_reports_lag_and_traffic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
