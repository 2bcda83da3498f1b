/* Promises of the decisions about who gives gateways to whom (provider/control/balance.h), in
 * virtual time: after a process joined, holders differ by less than a tenth; nothing moves twice,
 * back and forth, or faster than allowed, however old the figures of the others are; a process that
 * drains spreads what it has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "provider/control/balance.h"

#define PROCESSES_MAX 24u
#define STEPS_MAX     600u
#define ON_THE_WAY    4u /* steps that a move may take, and age of a figure at most */

static uint64_t seed;

static uint32_t draw(void)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33);
}

struct world {
	unsigned count, rate;
	struct hf_balance_process now[PROCESSES_MAX];
	struct hf_balance_process told[ON_THE_WAY][PROCESSES_MAX]; /* figures of the last steps */
	struct hf_balance balance[PROCESSES_MAX];
	unsigned coming[ON_THE_WAY][PROCESSES_MAX]; /* arrive in so many steps */
	unsigned moves, step;
};

/* What process `own` sees: itself as it is, the others as they said a while ago. */
static void view(const struct world *world, unsigned own, struct hf_balance_process *list)
{
	for (unsigned i = 0; i < world->count; i++)
		list[i] = world->told[draw() % ON_THE_WAY][i];
	list[own] = world->now[own];
}

static void one_step(struct world *world)
{
	struct hf_balance_process list[PROCESSES_MAX];
	unsigned at = world->step++ % ON_THE_WAY;

	for (unsigned i = 0; i < world->count; i++) {
		world->now[i].held += world->coming[at][i];
		world->coming[at][i] = 0;
	}
	memcpy(world->told[at], world->now, sizeof world->now);
	for (unsigned own = 0; own < world->count; own++) {
		unsigned shed;

		view(world, own, list);
		shed = hf_balance_step(&world->balance[own], list, world->count, own, world->rate);
		assert_true(shed <= world->rate && shed <= world->now[own].held);
		for (unsigned n = 0; n < shed; n++) {
			int target = hf_balance_target(list, world->count, own, draw());

			assert_true(target >= 0 && target != (int)own);
			assert_false(world->now[target].draining);
			world->now[own].held--;
			world->coming[(at + 1 + draw() % (ON_THE_WAY - 1)) % ON_THE_WAY][target]++;
			world->moves++;
		}
	}
}

static void start(struct world *world, const unsigned *held, unsigned count, unsigned rate)
{
	memset(world, 0, sizeof *world);
	world->count = count;
	world->rate = rate;
	for (unsigned i = 0; i < count; i++)
		world->now[i] = (struct hf_balance_process){.held = held[i], .capacity = 16000};
	for (unsigned i = 0; i < ON_THE_WAY; i++)
		memcpy(world->told[i], world->now, sizeof world->now);
}

static void extremes(const struct world *world, unsigned *least, unsigned *most)
{
	*least = UINT32_MAX;
	*most = 0;
	for (unsigned i = 0; i < world->count; i++) {
		if (world->now[i].draining)
			continue;
		if (world->now[i].held < *least)
			*least = world->now[i].held;
		if (world->now[i].held > *most)
			*most = world->now[i].held;
	}
}

/* What has to move at least, so that all are at the mean. */
static unsigned excess(const struct world *world)
{
	uint64_t total = 0;
	unsigned over = 0, mean;

	for (unsigned i = 0; i < world->count; i++)
		total += world->now[i].held;
	mean = (unsigned)(total / world->count);
	for (unsigned i = 0; i < world->count; i++)
		over += world->now[i].held > mean ? world->now[i].held - mean : 0;
	return over;
}

static void run_to_rest(const unsigned *held, unsigned count, unsigned rate)
{
	struct world world;
	unsigned least, most, needed, moves;

	start(&world, held, count, rate);
	needed = excess(&world);
	for (unsigned i = 0; i < STEPS_MAX; i++)
		one_step(&world);
	extremes(&world, &least, &most);
	assert_true(most < least + 2 || (uint64_t)(most - least) * 10 < most);
	/* None knows what the others have sent in the last seconds. */
	assert_true(world.moves <= needed + needed / 5 + ON_THE_WAY * rate + count);
	moves = world.moves;
	for (unsigned i = 0; i < 100; i++) /* and it stays so */
		one_step(&world);
	assert_int_equal(world.moves, moves);
}

static void test_a_process_joins(void **state)
{
	static const unsigned two[] = {7500, 7500, 0}, one[] = {9000, 0}, small[] = {3, 3, 0},
			      tiny[] = {1, 0}, equal[] = {100, 96, 93},
			      many[] = {400, 410, 390, 405, 0};

	(void)state;
	for (seed = 1; seed < 30; seed++) {
		run_to_rest(two, 3, 50);
		run_to_rest(one, 2, 100);
		run_to_rest(small, 3, 50);
		run_to_rest(tiny, 2, 50);
		run_to_rest(equal, 3, 50);
		run_to_rest(many, 5, 7);
	}
}

static void test_any_fleet(void **state)
{
	unsigned held[PROCESSES_MAX];

	(void)state;
	for (unsigned round = 1; round <= 300; round++) {
		unsigned count;

		seed = round;
		count = 2 + draw() % (PROCESSES_MAX - 1);
		for (unsigned i = 0; i < count; i++)
			held[i] = draw() % 3 ? 500 + draw() % 4000 : draw() % 50;
		run_to_rest(held, count, 20 + draw() % 100);
	}
}

/* A moment's difference, such as after a death, moves nobody. */
static void test_short_differences_move_nobody(void **state)
{
	static const unsigned held[] = {1000, 1000};
	struct world world;

	(void)state;
	seed = 1;
	start(&world, held, 2, 50);
	for (unsigned i = 0; i < 5; i++)
		one_step(&world);
	for (unsigned round = 0; round < 10; round++) {
		struct hf_balance_process list[2] = {
			{.held = 1000, .capacity = 2000},
			{.held = round % 3 ? 700 : 1000, .capacity = 2000}};

		assert_int_equal(hf_balance_step(&world.balance[0], list, 2, 0, 50), 0);
	}
}

static void test_a_draining_process_spreads_what_it_has(void **state)
{
	struct hf_balance_process list[] = {{.held = 3000, .capacity = 9000, .draining = true},
					    {.held = 1000, .capacity = 9000},
					    {.held = 2000, .capacity = 9000},
					    {.held = 100, .parked = 100, .capacity = 200},
					    {.held = 5000, .capacity = 9000, .draining = true}};
	struct hf_balance balance = {0};

	(void)state;
	seed = 5;
	assert_int_equal(hf_balance_step(&balance, list, 5, 0, 100), 0);
	for (unsigned n = 0; n < 3000; n++)
		assert_in_range(hf_balance_target(list, 5, 0, draw()), 1, 2);
	assert_in_range(list[1].held, 2900, 3100);
	assert_int_equal(list[3].held, 100); /* full */
	assert_int_equal(list[4].held, 5000);
	list[1].capacity = list[2].capacity = 0;
	assert_int_equal(hf_balance_target(list, 5, 0, 1), -1);
	assert_int_equal(hf_balance_target(list, 1, 0, 1), -1); /* alone */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_process_joins),
		cmocka_unit_test(test_any_fleet),
		cmocka_unit_test(test_short_differences_move_nobody),
		cmocka_unit_test(test_a_draining_process_spreads_what_it_has),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
