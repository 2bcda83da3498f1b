/* What requests do, seen from the initiator's side (invariants 1, 8 and 9, "Once"). */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "tests/core/core_world.h"

#define KIB     1024u
#define FILLERS 2400u /* of 28 KiB: more than appends may hold in memory */

static int setup(void **state)
{
	struct core_world *world = world_create(1);

	world_boot(world, 0);
	HF_ASSERT(world_attach(world, 0, world_config(true)) == 0);
	*state = world;
	return 0;
}

/* Invariant 9: a bad request gets a clear error and changes nothing. */
static void test_bad_requests_are_refused(void **state)
{
	struct core_world *world = *state;
	static uint8_t data[16 * KIB];

	assert_int_equal(world_do(world, 0, HF_OP_READ, 100, 512, data, 512), HF_EINVAL);
	assert_int_equal(world_do(world, 0, HF_OP_READ, 0, 100, data, 512), HF_EINVAL);
	assert_int_equal(world_do(world, 0, HF_OP_READ, WORLD_SIZE, 512, data, 512), HF_ERANGE);
	assert_int_equal(world_do(world, 0, HF_OP_WRITE, WORLD_SIZE - 512, 1024, data, 1024),
			 HF_ERANGE);
	assert_int_equal(world_do(world, 0, HF_OP_ZERO, UINT64_MAX - 511, 512, NULL, 0), HF_ERANGE);
	assert_int_equal(world_do(world, 0, HF_OP_ZERO, 512, UINT64_MAX - 511, NULL, 0), HF_ERANGE);
	assert_int_equal(world_do(world, 0, HF_OP_WRITE, 0, 1024, data, 512), HF_EINVAL);
	assert_int_equal(world_do(world, 0, HF_OP_WRITE, 0, 512, NULL, 512), HF_EINVAL);
	assert_int_equal(world_do(world, 0, HF_OP_WRITE, 0, 16u << 20, data, 16u << 20),
			 HF_ETOOBIG);
	assert_int_equal(world_do(world, 0, HF_OP_COMPARE_AND_WRITE, 0, 512, data, 512), HF_EINVAL);
	assert_int_equal(world_do(world, 0, HF_OP_WRITE_SAME, 0, 1024, data, 768), HF_EINVAL);
	assert_int_equal(world_do(world, 0, HF_OP_UNMAP, 0, 0, data, 15), HF_EINVAL);
	assert_int_equal(world_do(world, 0, HF_OP_UNMAP, 0, 0, data, 257 * 16), HF_ETOOBIG);
	assert_int_equal(world_do(world, 0, (enum hf_op)77, 0, 0, NULL, 0), HF_EUNSUPPORTED);
	assert_int_equal(world_status(world, 0).last_sequence, 0);
}

/* More than the log's segments can take is refused, and the volume lives on. */
static void test_a_write_too_large_for_the_log_is_refused(void **state)
{
	struct core_world *world = *state;

	assert_int_equal(world_write(world, 0, 0, 512 * KIB, 1), HF_ETOOBIG);
	assert_int_equal(world_write(world, 0, 0, 32 * KIB, 1), HF_ETOOBIG);
	assert_int_equal(world_write(world, 0, 0, 16 * KIB, 1), 0);
	assert_int_equal(world_expect(world, 0, 0, 16 * KIB, 1), 0);
	assert_int_equal(world_status(world, 0).last_sequence, 1);
}

static void test_nothing_is_nothing(void **state)
{
	struct core_world *world = *state;

	assert_int_equal(world_do(world, 0, HF_OP_READ, 0, 0, NULL, 0), 0);
	assert_int_equal(world_do(world, 0, HF_OP_WRITE, 512, 0, NULL, 0), 0);
	assert_int_equal(world_do(world, 0, HF_OP_UNMAP, 0, 0, NULL, 0), 0);
	assert_int_equal(world_do(world, 0, HF_OP_FLUSH, 0, 0, NULL, 0), 0);
	assert_int_equal(world_expect(world, 0, 0, 64 * KIB, 0), 0);
}

/* A read joins the overlay, the store and zeros. */
static void test_reads_join_all_layers(void **state)
{
	struct core_world *world = *state;

	assert_int_equal(world_write(world, 0, 4 * KIB, 8 * KIB, 1), 0);
	assert_true(world_wait_uploaded(world, 0));
	sim_run(world->sim, 4 * HF_NS_PER_S);
	assert_int_equal(world_write(world, 0, 8 * KIB, 8 * KIB, 2), 0);
	assert_int_equal(world_do(world, 0, HF_OP_ZERO, 10 * KIB, KIB, NULL, 0), 0);
	assert_int_equal(world_expect(world, 0, 0, 4 * KIB, 0), 0);
	assert_int_equal(world_expect(world, 0, 4 * KIB, 4 * KIB, 1), 0);
	assert_int_equal(world_expect(world, 0, 8 * KIB, 2 * KIB, 2), 0);
	assert_int_equal(world_expect(world, 0, 10 * KIB, KIB, 0), 0);
	assert_int_equal(world_expect(world, 0, 11 * KIB, 5 * KIB, 2), 0);
	assert_int_equal(world_do(world, 0, HF_OP_VERIFY, 0, WORLD_SIZE, NULL, 0), 0);
}

static void test_write_same_repeats_its_block(void **state)
{
	struct core_world *world = *state;
	uint8_t block[1024];

	memset(block, 5, sizeof block);
	assert_int_equal(world_do(world, 0, HF_OP_WRITE_SAME, 0, 16 * KIB, block, sizeof block), 0);
	assert_int_equal(world_expect(world, 0, 0, 16 * KIB, 5), 0);
	memset(block, 0, sizeof block);
	assert_int_equal(world_do(world, 0, HF_OP_WRITE_SAME, 0, 8 * KIB, block, sizeof block), 0);
	assert_int_equal(world_expect(world, 0, 0, 8 * KIB, 0), 0);
	assert_int_equal(world_expect(world, 0, 8 * KIB, 8 * KIB, 5), 0);
}

static void test_compare_and_write_says_where_it_differs(void **state)
{
	struct core_world *world = *state;
	struct world_request *request;
	uint8_t data[2048];

	assert_int_equal(world_write(world, 0, 512, 1024, 3), 0);
	memset(data, 3, 1024);
	memset(data + 1024, 4, 1024);
	assert_int_equal(world_do(world, 0, HF_OP_COMPARE_AND_WRITE, 512, 1024, data, 2048), 0);
	assert_int_equal(world_expect(world, 0, 512, 1024, 4), 0);
	memset(data, 4, 1024);
	data[700] = 9;
	request = world_submit(world, 0, HF_OP_COMPARE_AND_WRITE, 512, 1024, data, 2048, 0, 0);
	assert_int_equal(world_wait(world, request), HF_EMISCOMPARE);
	assert_int_equal(request->request.info, 700);
	sim_keep_free(request);
	assert_int_equal(world_expect(world, 0, 512, 1024, 4), 0);
}

/* Overlapping requests happen in the order of their submission. */
static void test_overlapping_requests_keep_their_order(void **state)
{
	struct core_world *world = *state;
	static uint8_t first[4096], chain[8][1024];
	struct world_request *requests[9];

	memset(first, 10, sizeof first);
	requests[0] = world_submit(world, 0, HF_OP_WRITE, 0, 4096, first, 4096, 0, 0);
	for (unsigned i = 0; i < 8; i++) {
		memset(chain[i], (int)(10 + i), 512);
		memset(chain[i] + 512, (int)(11 + i), 512);
		requests[i + 1] = world_submit(world, 0, HF_OP_COMPARE_AND_WRITE, 1024, 512,
					       chain[i], 1024, 0, 0);
	}
	for (unsigned i = 0; i < 9; i++) {
		assert_int_equal(world_wait(world, requests[i]), 0);
		sim_keep_free(requests[i]);
	}
	assert_int_equal(world_expect(world, 0, 1024, 512, 18), 0);
	assert_int_equal(world_expect(world, 0, 1536, 512, 10), 0);
}

static void test_unmap_is_all_or_none(void **state)
{
	struct core_world *world = *state;
	struct hf_ring_range ranges[3] = {{0, 4096}, {8192, 4096}, {WORLD_SIZE, 512}};

	assert_int_equal(world_write(world, 0, 0, 16 * KIB, 6), 0);
	assert_int_equal(world_do(world, 0, HF_OP_UNMAP, 0, 0, ranges, sizeof ranges), HF_ERANGE);
	assert_int_equal(world_expect(world, 0, 0, 16 * KIB, 6), 0);
	assert_int_equal(world_do(world, 0, HF_OP_UNMAP, 0, 0, ranges, 2 * sizeof ranges[0]), 0);
	assert_int_equal(world_expect(world, 0, 0, 4 * KIB, 0), 0);
	assert_int_equal(world_expect(world, 0, 4 * KIB, 4 * KIB, 6), 0);
	assert_int_equal(world_expect(world, 0, 8 * KIB, 4 * KIB, 0), 0);
}

/* In whatever order its ranges come, and however they overlap. */
static void test_unmap_of_ranges_that_overlap(void **state)
{
	struct core_world *world = *state;
	struct hf_ring_range ranges[] = {{12288, 4096}, {0, 4096}, {20480, 512}, {512, 512},
					 {2048, 8192},  {0, 512},  {12288, 512}};

	assert_int_equal(world_write(world, 0, 0, 24 * KIB, 6), 0);
	assert_int_equal(world_do(world, 0, HF_OP_UNMAP, 0, 0, ranges, sizeof ranges), 0);
	assert_int_equal(world_expect(world, 0, 0, 10 * KIB, 0), 0);
	assert_int_equal(world_expect(world, 0, 10 * KIB, 2 * KIB, 6), 0);
	assert_int_equal(world_expect(world, 0, 12 * KIB, 4 * KIB, 0), 0);
	assert_int_equal(world_expect(world, 0, 16 * KIB, 4 * KIB, 6), 0);
	assert_int_equal(world_expect(world, 0, 20 * KIB, 512, 0), 0);
	assert_int_equal(world_expect(world, 0, 20 * KIB + 512, 3584, 6), 0);
}

static void test_lba_status_tells_mapped_from_unmapped(void **state)
{
	struct core_world *world = *state;
	struct hf_ring_lba_status found[8];
	struct world_request *request;

	assert_int_equal(world_write(world, 0, 8 * KIB, 8 * KIB, 1), 0);
	assert_true(world_wait_uploaded(world, 0));
	sim_run(world->sim, 4 * HF_NS_PER_S);
	assert_int_equal(world_write(world, 0, 16 * KIB, 4 * KIB, 1), 0);
	assert_int_equal(world_do(world, 0, HF_OP_ZERO, 12 * KIB, 2 * KIB, NULL, 0), 0);
	request = world_submit(world, 0, HF_OP_LBA_STATUS, 4 * KIB, 0, found, sizeof found, 0, 0);
	assert_int_equal(world_wait(world, request), 0);
	assert_int_equal(request->request.data_given, 5 * sizeof found[0]);
	sim_keep_free(request);
	assert_int_equal(found[0].provisioning, 1);
	assert_int_equal(found[0].offset, 4 * KIB);
	assert_int_equal(found[0].length, 4 * KIB);
	assert_int_equal(found[1].provisioning, 0);
	assert_int_equal(found[1].length, 4 * KIB);
	assert_int_equal(found[2].provisioning, 1);
	assert_int_equal(found[2].length, 2 * KIB);
	assert_int_equal(found[3].provisioning, 0);
	assert_int_equal(found[3].length, 6 * KIB);
	assert_int_equal(found[4].provisioning, 1);
	assert_int_equal(found[4].offset + found[4].length, WORLD_SIZE);
}

/* Once: the same id while the first is under way joins it, later it is answered. */
static void test_a_request_is_executed_once(void **state)
{
	struct core_world *world = *state;
	struct world_request *first, *again;
	uint8_t data[1024], other[512];
	uint64_t sequence;

	memset(data, 0, 512);
	memset(data + 512, 7, 512);
	first = world_submit(world, 0, HF_OP_COMPARE_AND_WRITE, 0, 512, data, 1024, 1, 0);
	again = world_submit(world, 0, HF_OP_COMPARE_AND_WRITE, 0, 512, data, 1024, 1, 0);
	assert_int_equal(world_wait(world, first), 0);
	assert_int_equal(world_wait(world, again), 0);
	sim_keep_free(again);
	sequence = world_status(world, 0).last_sequence;
	assert_int_equal(sequence, 1);
	memset(other, 8, sizeof other);
	assert_int_equal(world_write(world, 0, 0, 512, 8), 0);
	world_die(world, 0, false);
	world_boot(world, 0);
	assert_int_equal(world_attach(world, 0, world_config(false)), 0);
	again = world_submit(world, 0, HF_OP_COMPARE_AND_WRITE, 0, 512, data, 1024, 1, 0);
	assert_int_equal(world_wait(world, again), 0);
	assert_int_equal(world_expect(world, 0, 0, 512, 8), 0);
	sim_keep_free(again);
	sim_keep_free(first);
	hf_core_ring_progress(world->cores[0], (const uint8_t[16]){9}, 2);
	again = world_submit(world, 0, HF_OP_WRITE, 0, 512, other, 512, 1, 0);
	assert_int_equal(world_wait(world, again), HF_EINVAL);
	sim_keep_free(again);
}

/* Once, though one request waits long and thousands of later ones end meanwhile. */
static void test_ids_may_run_far_ahead(void **state)
{
	struct core_world *world = *state;
	struct world_request *old, *request;
	static uint8_t expected[1024], data[512];
	char name[HF_STORE_NAME_MAX + 1];
	uint64_t last, id;

	assert_int_equal(world_write(world, 0, 0, 512, 7), 0);
	assert_true(world_wait_uploaded(world, 0));
	sim_run(world->sim, 4 * HF_NS_PER_S);
	world_die(world, 0, false);
	world->read_deadline_ms = 3600000;
	world_boot(world, 0);
	assert_int_equal(world_attach(world, 0, world_config(false)), 0);
	assert_true(world_wait_state(world, 0, HF_VOLUME_ATTACHED));
	world_object_name(world, name);
	sim_store_fail_names(world->sim, name, HF_EAGAIN);
	memset(expected, 7, 512);
	old = world_submit(world, 0, HF_OP_COMPARE_AND_WRITE, 0, 512, expected, 1024, 5, 0);
	for (id = 6; id < 6 + 3 * HF_RING_ENTRIES; id++) {
		memset(data, (int)(id % 100), sizeof data);
		request = world_submit(world, 0, HF_OP_WRITE, 4096, 512, data, 512, id, 0);
		assert_int_equal(world_wait(world, request), 0);
		sim_keep_free(request);
	}
	assert_false(old->done);
	sim_store_fail_names(world->sim, NULL, 0);
	assert_int_equal(world_wait(world, old), 0);
	last = world_status(world, 0).last_sequence;
	request = world_submit(world, 0, HF_OP_WRITE, 4096, 512, data, 512, id - 1000, 0);
	assert_int_equal(world_wait(world, request), 0);
	sim_keep_free(request);
	request = world_submit(world, 0, HF_OP_COMPARE_AND_WRITE, 0, 512, expected, 1024, 5, 0);
	assert_int_equal(world_wait(world, request), 0);
	sim_keep_free(request);
	sim_keep_free(old);
	assert_int_equal(world_status(world, 0).last_sequence, last);
}

/* No zombies: what was cancelled in time is never executed. */
static void test_cancel_before_the_log(void **state)
{
	struct core_world *world = *state;
	struct world_request *first, *second, *twin;
	uint8_t one[512], two[512];

	memset(one, 1, sizeof one);
	memset(two, 2, sizeof two);
	first = world_submit(world, 0, HF_OP_WRITE, 0, 512, one, 512, 1, 0);
	second = world_submit(world, 0, HF_OP_WRITE, 0, 512, two, 512, 2, 0);
	hf_core_cancel(world->cores[0], &second->request);
	hf_core_cancel(world->cores[0], &first->request);
	assert_int_equal(world_wait(world, second), HF_ECANCELED);
	assert_int_equal(world_wait(world, first), 0); /* it was in the log */
	assert_int_equal(world_expect(world, 0, 0, 512, 1), 0);
	sim_keep_free(first);
	sim_keep_free(second);
	/* The first of two with one id is not wanted any more; the second one is. */
	first = world_submit(world, 0, HF_OP_WRITE, 0, 512, one, 512, 3, 0);
	second = world_submit(world, 0, HF_OP_WRITE, 0, 512, two, 512, 4, 0);
	twin = world_submit(world, 0, HF_OP_WRITE, 0, 512, two, 512, 4, 0);
	hf_core_cancel(world->cores[0], &second->request);
	assert_int_equal(world_wait(world, second), HF_ECANCELED);
	assert_int_equal(world_wait(world, twin), 0);
	assert_int_equal(world_wait(world, first), 0);
	assert_int_equal(world_expect(world, 0, 0, 512, 2), 0);
	sim_keep_free(first);
	sim_keep_free(second);
	sim_keep_free(twin);
}

/* A write that waits for memory and is handed to the request that came again takes that one's data:
 * the first one's may be gone. */
static void test_what_comes_again_brings_its_data(void **state)
{
	struct core_world *world = *state;
	struct hf_volume_config config = world_config(false);
	static struct world_request *fillers[FILLERS];
	struct world_request *first, *again, *other;
	static uint8_t filler[28 * KIB], gone[512], data[512];
	uint64_t end = (uint64_t)FILLERS * sizeof filler;

	config.size_bytes = 128 << 20;
	assert_int_equal(world_attach(world, 0, config), 0);
	memset(gone, 3, sizeof gone);
	memset(data, 3, sizeof data);
	for (unsigned i = 0; i < FILLERS; i++)
		fillers[i] = world_submit(world, 0, HF_OP_WRITE, (uint64_t)i * sizeof filler,
					  sizeof filler, filler, sizeof filler, 0, 0);
	first = world_submit(world, 0, HF_OP_WRITE, end, 512, gone, 512, 1, 0);
	again = world_submit(world, 0, HF_OP_WRITE, end, 512, data, 512, 1, 0);
	other = world_submit(world, 0, HF_OP_WRITE, end, 512, data, 1024, 1, 0);
	assert_int_equal(world_wait(world, other), HF_EINVAL);
	sim_keep_free(other);
	hf_core_cancel(world->cores[0], &first->request);
	assert_int_equal(world_wait(world, first), HF_ECANCELED);
	memset(gone, 0xdd, sizeof gone);
	assert_int_equal(world_wait(world, again), 0);
	assert_int_equal(world_expect(world, 0, end, 512, 3), 0);
	for (unsigned i = 0; i < FILLERS; i++) {
		assert_int_equal(world_wait(world, fillers[i]), 0);
		sim_keep_free(fillers[i]);
	}
	sim_keep_free(first);
	sim_keep_free(again);
}

/* Invariant 1: FUA and FLUSH make durable with write-cache=on. */
static void test_flush_and_fua_survive_power_loss(void **state)
{
	struct core_world *world = *state;
	struct hf_volume_config config = world_config(false);
	struct world_request *request;
	uint8_t data[512];

	config.write_cache = true;
	assert_int_equal(world_attach(world, 0, config), 0);
	assert_int_equal(world_write(world, 0, 0, 512, 1), 0);
	assert_int_equal(world_do(world, 0, HF_OP_FLUSH, 0, 0, NULL, 0), 0);
	memset(data, 2, sizeof data);
	request = world_submit(world, 0, HF_OP_WRITE, 512, 512, data, 512, 0, HF_REQUEST_FUA);
	assert_int_equal(world_wait(world, request), 0);
	sim_keep_free(request);
	world_die(world, 0, true);
	world_boot(world, 0);
	assert_true(world_status(world, 0).write_cache);
	assert_int_equal(world_attach(world, 0, config), 0);
	assert_int_equal(world_expect(world, 0, 0, 512, 1), 0);
	assert_int_equal(world_expect(world, 0, 512, 512, 2), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, world_teardown)
	const struct CMUnitTest tests[] = {
		T(test_bad_requests_are_refused),
		T(test_a_write_too_large_for_the_log_is_refused),
		T(test_nothing_is_nothing),
		T(test_reads_join_all_layers),
		T(test_write_same_repeats_its_block),
		T(test_compare_and_write_says_where_it_differs),
		T(test_overlapping_requests_keep_their_order),
		T(test_unmap_is_all_or_none),
		T(test_unmap_of_ranges_that_overlap),
		T(test_lba_status_tells_mapped_from_unmapped),
		T(test_a_request_is_executed_once),
		T(test_ids_may_run_far_ahead),
		T(test_cancel_before_the_log),
		T(test_what_comes_again_brings_its_data),
		T(test_flush_and_fua_survive_power_loss),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
