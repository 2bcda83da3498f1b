/* The simulated world keeps its own promises: virtual time, timers in order, writes that are lost
 * without a SYNC and kept with one, a store with late and unanswered effects, a heap that dies with
 * its process, and the same run for the same seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/sim/sim_env.h"

static uint8_t page[4096] __attribute__((aligned(4096)));
static struct iovec page_iov = {page, sizeof page};

static void disk_done(struct hf_disk_io *io)
{
	io->link.next = NULL; /* marks it done for this test */
}

static int disk_run(struct sim *sim, enum hf_disk_op op, uint64_t offset, uint8_t fill)
{
	struct hf_disk_io io = {.op = op, .offset = offset, .iov = &page_iov, .iov_count = 1};

	io.done = disk_done;
	io.link.next = &io.link;
	if (op == HF_DISK_WRITE)
		memset(page, fill, sizeof page);
	hf_env_disk_submit(sim_env(sim, 0), &io);
	while (io.link.next)
		assert_true(sim_step(sim));
	return io.status;
}

static void test_sync_decides_what_power_leaves(void **state)
{
	unsigned kept = 0, lost = 0, torn = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 200; seed++) {
		struct sim *sim = sim_create(&(struct sim_config){.seed = seed});

		assert_int_equal(disk_run(sim, HF_DISK_WRITE, 0, 1), 0);
		assert_int_equal(disk_run(sim, HF_DISK_SYNC, 0, 0), 0);
		assert_int_equal(disk_run(sim, HF_DISK_WRITE, 4096, 2), 0);
		sim_kill(sim, 0);
		assert_int_equal(sim_disk_bytes(sim, 0, 0)[4096], 2);
		sim_power_cut(sim, 0);
		for (unsigned i = 0; i < 4096; i++)
			assert_int_equal(sim_disk_bytes(sim, 0, 0)[i], 1);
		if (sim_disk_bytes(sim, 0, 0)[4096] != sim_disk_bytes(sim, 0, 0)[8191])
			torn++;
		else if (sim_disk_bytes(sim, 0, 0)[4096])
			kept++;
		else
			lost++;
		sim_destroy(sim);
	}
	assert_true(kept > 10 && lost > 10 && torn > 10);
}

static void test_failed_sync_is_not_made_good_by_the_next(void **state)
{
	unsigned lost = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 100; seed++) {
		struct sim *sim = sim_create(&(struct sim_config){.seed = seed});

		sim_fail_disk(sim, 0, 0, HF_DISK_SYNC, 0, 1, HF_EIO);
		assert_int_equal(disk_run(sim, HF_DISK_WRITE, 0, 7), 0);
		assert_int_equal(disk_run(sim, HF_DISK_SYNC, 0, 0), HF_EIO);
		assert_int_equal(disk_run(sim, HF_DISK_SYNC, 0, 0), 0);
		assert_int_equal(disk_run(sim, HF_DISK_READ, 0, 0), 0);
		assert_int_equal(page[0], 7);
		sim_power_cut(sim, 0);
		lost += sim_disk_bytes(sim, 0, 0)[0] == 0;
		sim_destroy(sim);
	}
	assert_true(lost > 10 && lost < 100);
}

struct tick {
	struct hf_timer timer;
	unsigned *order;
	unsigned place;
};

static void tick_fired(struct hf_timer *timer)
{
	struct tick *tick = hf_container_of(timer, struct tick, timer);

	tick->place = ++*tick->order;
}

static void test_timers_fire_in_order_unless_cancelled(void **state)
{
	struct sim *sim = sim_create(&(struct sim_config){.seed = 5});
	struct hf_env *env = sim_env(sim, 0);
	unsigned order = 0;
	struct tick ticks[3] = {{.order = &order}, {.order = &order}, {.order = &order}};
	uint64_t now_ns = hf_env_now_ns(env);

	(void)state;
	for (int i = 0; i < 3; i++) {
		ticks[i].timer.fired = tick_fired;
		hf_env_timer_set(env, &ticks[i].timer, now_ns + (3 - i) * HF_NS_PER_S);
	}
	hf_env_timer_cancel(env, &ticks[1].timer);
	sim_run(sim, 10 * HF_NS_PER_S);
	assert_int_equal(hf_env_now_ns(env), now_ns + 10 * HF_NS_PER_S);
	assert_int_equal(ticks[2].place, 1);
	assert_int_equal(ticks[1].place, 0);
	assert_int_equal(ticks[0].place, 2);
	sim_destroy(sim);
}

static void store_done(struct hf_store_io *io)
{
	io->link.next = NULL;
}

static void store_start(struct sim *sim, struct hf_store_io *io)
{
	io->done = store_done;
	io->link.next = &io->link;
	hf_env_store_submit(sim_env(sim, 0), io);
}

static int store_run(struct sim *sim, struct hf_store_io *io)
{
	store_start(sim, io);
	while (io->link.next)
		assert_true(sim_step(sim));
	return io->status;
}

static void test_store_answers_as_the_contract_says(void **state)
{
	struct sim *sim = sim_create(&(struct sim_config){.seed = 9});
	struct hf_store_io io = {.op = HF_STORE_PUT, .name = "a/b", .data = "hello", .length = 5};

	(void)state;
	io.if_absent = true;
	assert_int_equal(store_run(sim, &io), 0);
	assert_int_equal(store_run(sim, &io), HF_EEXIST);
	io = (struct hf_store_io){.op = HF_STORE_PUT, .name = "a/c", .data = "", .length = 0};
	assert_int_equal(store_run(sim, &io), 0);
	io = (struct hf_store_io){.op = HF_STORE_GET, .name = "a/b", .range_start = 1};
	io.range_length = 100;
	assert_int_equal(store_run(sim, &io), 0);
	assert_int_equal(io.body_length, 4);
	assert_memory_equal(io.body, "ello", 4);
	free(io.body);
	io.range_start = 5;
	assert_int_equal(store_run(sim, &io), HF_ERANGE);
	io = (struct hf_store_io){.op = HF_STORE_LIST, .name = "a/", .limit = 1};
	assert_int_equal(store_run(sim, &io), 0);
	assert_true(io.more && io.name_count == 1);
	assert_string_equal(io.names[0].name, "a/b");
	free(io.names);
	strcpy(io.after, "a/b");
	assert_int_equal(store_run(sim, &io), 0);
	assert_true(!io.more && io.name_count == 1);
	assert_string_equal(io.names[0].name, "a/c");
	free(io.names);
	io = (struct hf_store_io){.op = HF_STORE_DELETE, .name = "a/b"};
	assert_int_equal(store_run(sim, &io), 0);
	io.op = HF_STORE_GET;
	assert_int_equal(store_run(sim, &io), HF_ENOENT);
	assert_int_equal(sim_heap_count(sim, 0), 0);
	sim_destroy(sim);
}

static void test_outage_waits_for_the_deadline_or_the_return(void **state)
{
	struct sim *sim = sim_create(&(struct sim_config){.seed = 11});
	struct hf_store_io io = {.op = HF_STORE_PUT, .name = "x", .data = "1", .length = 1};
	uint64_t began_ns = sim_now_ns(sim);

	(void)state;
	io.deadline_ns = hf_env_now_ns(sim_env(sim, 0)) + 2 * HF_NS_PER_S;
	sim_store_outage(sim, true);
	assert_int_equal(store_run(sim, &io), HF_ETIMEDOUT);
	assert_true(sim_now_ns(sim) - began_ns >= 2 * HF_NS_PER_S);
	assert_true(sim_now_ns(sim) - began_ns < 4 * HF_NS_PER_S);
	io.deadline_ns = 0;
	store_start(sim, &io);
	sim_run(sim, HF_NS_PER_S);
	sim_store_outage(sim, false);
	sim_run(sim, HF_NS_PER_S);
	assert_null(io.link.next);
	assert_int_equal(io.status, 0);
	sim_destroy(sim);
}

static void test_put_of_a_dead_process_may_land_late(void **state)
{
	unsigned landed = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct sim *sim = sim_create(&(struct sim_config){.seed = seed});
		struct hf_store_io *io = calloc(1, sizeof *io);

		io->op = HF_STORE_PUT;
		strcpy(io->name, "late");
		io->data = memset(malloc(100), 7, 100);
		io->length = 100;
		store_start(sim, io);
		sim_kill(sim, 0); /* frees io and its data */
		assert_null(sim_store_find(sim, "late"));
		sim_run(sim, 10 * HF_NS_PER_S);
		landed += sim_store_find(sim, "late") != NULL;
		sim_destroy(sim);
	}
	assert_true(landed > 10 && landed < 50);
}

static void test_death_frees_the_heap(void **state)
{
	struct sim *sim = sim_create(&(struct sim_config){.seed = 3});
	char *kept = sim_keep_alloc(10), *moved;
	void *many[5000];

	(void)state;
	for (int i = 0; i < 5000; i++)
		many[i] = malloc((size_t)i + 1);
	for (int i = 0; i < 5000; i += 2)
		free(many[i]);
	moved = realloc(many[1], 9000);
	assert_non_null(moved);
	assert_int_equal(sim_heap_count(sim, 0), 2500);
	sim_kill(sim, 0);
	assert_int_equal(sim_heap_count(sim, 0), 0);
	strcpy(kept, "here");
	sim_keep_free(kept);
	sim_destroy(sim);
}

static uint64_t digest_of_run(uint64_t seed)
{
	struct sim_config config = {.seed = seed, .write_error_chance = 200000};
	struct sim *sim = sim_create(&config);
	uint64_t digest = 0;

	for (int i = 0; i < 50; i++) {
		digest = digest * 31 + (uint64_t)disk_run(sim, HF_DISK_WRITE,
							  4096 * sim_random_below(sim, 64),
							  (uint8_t)i);
		if (sim_random_below(sim, 5) == 0)
			sim_power_cut(sim, 0);
	}
	for (unsigned i = 0; i < 64 * 4096; i++)
		digest = digest * 31 + sim_disk_bytes(sim, 0, 0)[i];
	digest += sim_now_ns(sim);
	sim_destroy(sim);
	return digest;
}

static void test_a_seed_replays_its_run(void **state)
{
	(void)state;
	assert_int_equal(digest_of_run(17), digest_of_run(17));
	assert_int_not_equal(digest_of_run(17), digest_of_run(18));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sync_decides_what_power_leaves),
		cmocka_unit_test(test_failed_sync_is_not_made_good_by_the_next),
		cmocka_unit_test(test_timers_fire_in_order_unless_cancelled),
		cmocka_unit_test(test_store_answers_as_the_contract_says),
		cmocka_unit_test(test_outage_waits_for_the_deadline_or_the_return),
		cmocka_unit_test(test_put_of_a_dead_process_may_land_late),
		cmocka_unit_test(test_death_frees_the_heap),
		cmocka_unit_test(test_a_seed_replays_its_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
