/* The ring's client under load and trouble: quotas, order, full queues, LUNs that come and go, a
 * volumed that breaks the rules, deadlines that race with answers. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "target/ring_client_impl.h"
#include "tests/ring/ring_fixture.h"

#define MIB (1u << 20)

static struct hf_core *core(void)
{
	return ring_fixture_core();
}

/* ---- Requests of a test ---- */

#define RECORDED 2048u

static unsigned answered_count;
static struct {
	uintptr_t number;
	int status;
} answers[RECORDED];

static void answered(struct hf_shim_request *request)
{
	assert_true(answered_count < RECORDED);
	answers[answered_count].number = (uintptr_t)request->owner;
	answers[answered_count++].status = request->status;
}

static void fill(struct hf_shim_request *request, void *slot)
{
	memset(slot, (int)(uintptr_t)request->owner, request->data_length);
}

static bool submit(struct hf_shim_lun *lun, enum hf_op op, uintptr_t number, uint32_t bytes)
{
	struct hf_shim_request *request = hf_shim_request_get(lun);

	if (!request)
		return false;
	request->op = op;
	request->length = request->data_length = bytes;
	request->fill = op == HF_OP_WRITE ? fill : NULL;
	request->done = answered;
	request->owner = (void *)number;
	hf_shim_submit(request);
	return true;
}

static bool all_answered(void *context)
{
	return answered_count == *(unsigned *)context;
}

static void wait_for(unsigned count)
{
	assert_true(ring_fixture_wait(all_answered, &count));
}

static void turn_much(void)
{
	for (unsigned i = 0; i < 50; i++)
		ring_fixture_turn();
}

static void nothing_changed(void *owner, uint64_t size_bytes, uint32_t flags)
{
	(void)owner;
	(void)size_bytes;
	(void)flags;
}

static bool lun_is_bound(void *context)
{
	return ((struct hf_shim_lun *)context)->state == HF_SHIM_BOUND;
}

static struct hf_shim_lun *open_second(void)
{
	struct hf_shim_lun *lun;

	assert_int_equal(
		hf_shim_lun_open(ring_fixture_shim(), HOSTILE_VOLUME, nothing_changed, NULL, &lun),
		0);
	assert_true(ring_fixture_wait(lun_is_bound, lun));
	return lun;
}

/* ---- Quotas ---- */

/* A LUN uses a quarter of the data area at most; the rest waits, in order. */
static void a_quota_holds_and_keeps_the_order(void **state)
{
	struct hf_shim_lun *lun = ring_fixture_lun();

	(void)state;
	answered_count = 0;
	memory_core_hold(core(), true);
	for (uintptr_t i = 1; i <= 10; i++)
		assert_true(submit(lun, HF_OP_WRITE, i, 8 * MIB));
	turn_much();
	assert_int_equal(lun->used_pages, HF_SHIM_LUN_PAGES_MAX);
	assert_int_equal(memory_core_waiting(core()), 4);
	memory_core_hold(core(), false);
	wait_for(10);
	for (uintptr_t i = 0; i < 10; i++) {
		assert_int_equal(answers[i].number, i + 1);
		assert_int_equal(answers[i].status, 0);
	}
	assert_int_equal(lun->used_pages, 0);
	assert_int_equal(ring_fixture_shim()->slots.used_pages, 0);
}

/* A LUN at its quota does not keep another one waiting. */
static void a_full_lun_holds_up_nobody(void **state)
{
	struct hf_shim_lun *second = open_second();

	(void)state;
	answered_count = 0;
	memory_core_hold(core(), true);
	for (uintptr_t i = 0; i < 10; i++)
		assert_true(submit(ring_fixture_lun(), HF_OP_WRITE, i, 8 * MIB));
	assert_true(submit(second, HF_OP_WRITE, 99, 4096));
	turn_much();
	assert_int_equal(memory_core_waiting(core()), 5);
	memory_core_hold(core(), false);
	wait_for(11);
	hf_shim_lun_close(second);
}

/* Queues are bounded: what is too much is refused, what was taken is answered. */
static void a_full_queue_says_so(void **state)
{
	struct hf_shim_lun *second = open_second();
	unsigned taken = 0;

	(void)state;
	answered_count = 0;
	memory_core_hold(core(), true);
	while (submit(ring_fixture_lun(), HF_OP_FLUSH, taken, 0))
		taken++;
	assert_int_equal(taken, HF_SHIM_LUN_REQUESTS_MAX);
	turn_much();
	assert_int_equal(memory_core_waiting(core()), HF_SHIM_FLYING_MAX);
	assert_true(submit(second, HF_OP_FLUSH, taken, 0)); /* another LUN's queue has room */
	memory_core_hold(core(), false);
	wait_for(taken + 1);
	hf_shim_lun_close(second);
}

/* ---- LUNs come and go ---- */

static void a_volume_is_one_lun(void **state)
{
	struct hf_shim_lun *lun;

	(void)state;
	assert_int_equal(
		hf_shim_lun_open(ring_fixture_shim(), HONEST_VOLUME, nothing_changed, NULL, &lun),
		HF_EEXIST);
}

/* Closed and opened faster than volumed answers: the last one is bound, with its own handle. */
static void a_lun_opened_and_closed_in_haste(void **state)
{
	struct hf_shim_lun *lun;

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(hf_shim_lun_open(ring_fixture_shim(), HOSTILE_VOLUME,
						  nothing_changed, NULL, &lun),
				 0);
		for (unsigned turns = 0; turns < i % 4; turns++)
			shim_loop_turn(0);
		if (i % 3 == 0)
			ring_fixture_turn();
		hf_shim_lun_close(lun);
	}
	lun = open_second();
	answered_count = 0;
	assert_true(submit(lun, HF_OP_WRITE, 1, 4096));
	wait_for(1);
	assert_int_equal(answers[0].status, 0);
	assert_int_equal(hf_ring_host_rings(ring_fixture_host()), 1);
	hf_shim_lun_close(lun);
}

/* Closed with requests under way: they are answered, then the volume is free. */
static void a_lun_closed_under_load(void **state)
{
	struct hf_shim_lun *lun = open_second(), *again;

	(void)state;
	answered_count = 0;
	memory_core_hold(core(), true);
	for (uintptr_t i = 0; i < 6; i++)
		assert_true(submit(lun, HF_OP_WRITE, i, 8 * MIB));
	turn_much();
	hf_shim_lun_close(lun);
	assert_int_equal(hf_shim_lun_open(ring_fixture_shim(), HOSTILE_VOLUME, nothing_changed,
					  NULL, &again),
			 HF_EEXIST);
	memory_core_hold(core(), false);
	wait_for(6);
	hf_shim_lun_close(open_second());
}

/* ---- volumed breaks the rules ---- */

/* Whatever lies in the completions: the shim connects anew and asks again. */
static void completions_that_lie(void **state)
{
	struct hf_shim *shim = ring_fixture_shim();

	(void)state;
	for (unsigned lie = 0; lie < 4; lie++) {
		struct hf_ring_header *header;
		uint64_t one = 1;

		assert_true(ring_fixture_honest_is_served());
		header = (struct hf_ring_header *)shim->memory.base;
		answered_count = 0;
		memory_core_hold(core(), true);
		assert_true(submit(ring_fixture_lun(), HF_OP_WRITE, 7, 4096));
		turn_much();
		switch (lie) {
		case 0:
			header->complete_tail += HF_RING_ENTRIES + 1;
			break;
		case 1:
			header->complete_tail = UINT64_MAX;
			break;
		default: { /* an answer to what was not asked, or longer than its room */
			struct hf_ring_completion *completion =
				(struct hf_ring_completion *)(shim->memory.base +
							      HF_RING_COMPLETIONS_OFFSET) +
				header->complete_tail % HF_RING_ENTRIES;

			completion->id = lie == 2 ? 123456789 : shim->next_id - 1;
			completion->status = 0;
			completion->data_length = 4097;
			header->complete_tail++;
		}
		}
		(void)!write(shim->memory.wake_shim_fd, &one, sizeof one);
		memory_core_hold(core(), false);
		wait_for(1);
		assert_int_equal(answers[0].status, 0);
	}
	assert_int_equal(memory_core_disk(core())->executed,
			 4 /* of the test */ + 4 /* honest ones before */);
}

/* ---- Deadlines ---- */

static void let_deadlines_pass(struct hf_shim *shim)
{
	hf_list_for_each (link, &shim->aged) {
		hf_container_of(link, struct hf_shim_request, aged)->since_ms -= shim->deadline_ms;
	}
}

/* At the deadline a CANCEL; the answer is volumed's. */
static void a_deadline_is_a_cancel(void **state)
{
	(void)state;
	answered_count = 0;
	memory_core_hold(core(), true);
	assert_true(submit(ring_fixture_lun(), HF_OP_WRITE, 1, 4096));
	turn_much();
	let_deadlines_pass(ring_fixture_shim());
	wait_for(1);
	assert_int_equal(answers[0].status, HF_ETIMEDOUT);
	assert_int_equal(memory_core_disk(core())->executed, 0);
	memory_core_hold(core(), false);
}

/* What was executed when the CANCEL arrives is answered with its result. */
static void a_cancel_that_comes_too_late(void **state)
{
	struct hf_shim *shim = ring_fixture_shim();

	(void)state;
	answered_count = 0;
	assert_true(submit(ring_fixture_lun(), HF_OP_WRITE, 1, 4096));
	let_deadlines_pass(shim);
	hf_shim_requests_expire(shim); /* request and CANCEL arrive together */
	assert_int_equal(shim->cancels, 1);
	wait_for(1);
	turn_much();
	assert_int_equal(shim->cancels, 0);
	assert_int_equal(memory_core_disk(core())->executed, answers[0].status == 0 ? 1 : 0);
}

/* What waits for a place is answered at its deadline, and never submitted. */
static void a_deadline_in_the_queue(void **state)
{
	(void)state;
	answered_count = 0;
	memory_core_hold(core(), true);
	for (uintptr_t i = 0; i < 6; i++)
		assert_true(submit(ring_fixture_lun(), HF_OP_WRITE, i, 8 * MIB));
	turn_much();
	let_deadlines_pass(ring_fixture_shim());
	wait_for(6);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(answers[i].status, HF_ETIMEDOUT);
	memory_core_hold(core(), false);
	turn_much();
	assert_int_equal(memory_core_disk(core())->executed, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, ring_fixture_setup, ring_fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_quota_holds_and_keeps_the_order),
		TEST(a_full_lun_holds_up_nobody),
		TEST(a_full_queue_says_so),
		TEST(a_volume_is_one_lun),
		TEST(a_lun_opened_and_closed_in_haste),
		TEST(a_lun_closed_under_load),
		TEST(completions_that_lie),
		TEST(a_deadline_is_a_cancel),
		TEST(a_cancel_that_comes_too_late),
		TEST(a_deadline_in_the_queue),
	};

	if (!getenv("HOLDFAST_LOG"))
		setenv("HOLDFAST_LOG", "error", 1);
	hf_log_init("client_test");
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
