/* Promises of a gateway's two connections (proto/paths.h), invariant 5: there is at most one active
 * one; a standby says at once that it is lost and is promoted only if nobody was in between;
 * however connections end, cross and are drained, the gateway comes back to one active and one
 * standby; and providers without standbys get one connection, as before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/paths.h"
#include "proto/session.h"

static Holdfast__Held held_of(uint64_t epoch, uint32_t capability)
{
	Holdfast__Held held = HOLDFAST__HELD__INIT;

	held.epoch = epoch;
	held.capability = capability;
	return held;
}

static void say_held(struct hf_paths *paths, unsigned i, uint64_t epoch, uint32_t capability)
{
	Holdfast__Held held = held_of(epoch, capability);

	hf_paths_held(paths, i, &held);
}

static void say_parked(struct hf_paths *paths, unsigned i, uint32_t capability)
{
	Holdfast__Parked parked = HOLDFAST__PARKED__INIT;

	parked.capability = capability;
	hf_paths_parked(paths, i, &parked);
	hf_paths_subscribed(paths, i, 1);
}

static Holdfast__Role dial(struct hf_paths *paths, unsigned i)
{
	assert_true(hf_paths_wants_dial(paths, i));
	hf_paths_dialling(paths, i);
	return hf_paths_connected(paths, i);
}

/* Path 0 held with epoch 1, path 1 parked. */
static void both(struct hf_paths *paths)
{
	hf_paths_init(paths, 0);
	paths->elsewhere = paths->standby_due = true;
	assert_false(hf_paths_wants_dial(paths, 1));
	assert_int_equal(dial(paths, 0), HOLDFAST__ROLE__ROLE_ACTIVE);
	assert_false(hf_paths_wants_dial(paths, 1));
	say_held(paths, 0, 1, 2);
	assert_int_equal(dial(paths, 1), HOLDFAST__ROLE__ROLE_STANDBY);
	say_parked(paths, 1, 2);
	assert_int_equal(hf_paths_tells(paths, 1), HOLDFAST__PATH_STATE__PATH_HELD);
}

static void test_the_standby_takes_over(void **state)
{
	struct hf_paths paths;

	(void)state;
	both(&paths);
	hf_paths_ended(&paths, 0);
	assert_int_equal(hf_paths_tells(&paths, 1), HOLDFAST__PATH_STATE__PATH_LOST);
	assert_int_equal(hf_paths_active(&paths), -1);
	say_held(&paths, 1, 2, 2);
	assert_int_equal(hf_paths_active(&paths), 1);
	assert_int_equal(dial(&paths, 0), HOLDFAST__ROLE__ROLE_STANDBY);
}

/* The standby is promoted while the lost path has asked to be active again: what that one's Connect
 * showed (token, epoch) is of before, so it ends, and comes back as the standby. */
static void test_an_overtaken_one_ends(void **state)
{
	struct hf_paths paths;

	(void)state;
	both(&paths);
	hf_paths_ended(&paths, 0);
	assert_int_equal(dial(&paths, 0), HOLDFAST__ROLE__ROLE_ACTIVE);
	assert_false(hf_paths_must_close(&paths, 0));
	say_held(&paths, 1, 2, 2);
	assert_true(hf_paths_must_close(&paths, 0));
	hf_paths_ended(&paths, 0);
	assert_int_equal(dial(&paths, 0), HOLDFAST__ROLE__ROLE_STANDBY);
	assert_false(hf_paths_must_close(&paths, 0));
	/* One that is dialled to become active elsewhere asked afterwards. */
	say_parked(&paths, 0, 2);
	hf_paths_ended(&paths, 0);
	assert_int_equal(hf_paths_drain(&paths, 1, false), HF_LEAVE_DIAL);
	assert_int_equal(dial(&paths, 0), HOLDFAST__ROLE__ROLE_ACTIVE);
	assert_false(hf_paths_must_close(&paths, 0));
}

/* Nothing was promoted by the time it connects again: it does not wait for ever. */
static void test_without_promotion_it_comes_back_active(void **state)
{
	struct hf_paths paths;

	(void)state;
	both(&paths);
	hf_paths_ended(&paths, 0);
	assert_int_equal(dial(&paths, 0), HOLDFAST__ROLE__ROLE_ACTIVE);
	/* The promotion crosses it and loses. */
	say_held(&paths, 1, 2, 2);
	assert_int_equal(hf_paths_active(&paths), 1);
	say_held(&paths, 0, 3, 2);
	assert_int_equal(hf_paths_active(&paths), 0);
	assert_true(hf_paths_must_close(&paths, 1));
	assert_false(hf_paths_must_close(&paths, 0));
}

static void test_capability_1_gets_one_connection(void **state)
{
	struct hf_paths paths;

	(void)state;
	hf_paths_init(&paths, 0);
	paths.elsewhere = paths.standby_due = true;
	dial(&paths, 0);
	say_held(&paths, 0, 1, 0);
	assert_false(hf_paths_wants_dial(&paths, 1));
	assert_int_equal(hf_paths_drain(&paths, 0, true), HF_LEAVE_END);
	hf_paths_ended(&paths, 0);
	assert_true(hf_paths_wants_dial(&paths, 0));
	assert_false(hf_paths_wants_dial(&paths, 1));
	/* During an upgrade: the holder promotes standbys, the other process does not. */
	both(&paths);
	hf_paths_ended(&paths, 1);
	dial(&paths, 1);
	say_parked(&paths, 1, 0);
	assert_true(hf_paths_must_close(&paths, 1));
}

static void test_one_endpoint_gets_one_connection(void **state)
{
	struct hf_paths paths;

	(void)state;
	both(&paths);
	hf_paths_ended(&paths, 1);
	paths.elsewhere = false;
	assert_false(hf_paths_wants_dial(&paths, 1));
	paths.elsewhere = true;
	paths.standby_due = false;
	assert_false(hf_paths_wants_dial(&paths, 1));
}

/* Behind one address for several, or because the other one was promoted while it dialled. */
static void test_a_standby_is_at_another_process(void **state)
{
	struct hf_paths paths;

	(void)state;
	both(&paths);
	paths.path[0].process = paths.path[1].process = 7;
	assert_true(hf_paths_must_close(&paths, 1));
	paths.elsewhere = false;
	assert_false(hf_paths_must_close(&paths, 1));
	paths.elsewhere = true;
	paths.path[1].process = 8;
	assert_false(hf_paths_must_close(&paths, 1));
	hf_paths_ended(&paths, 0);
	assert_false(hf_paths_must_close(&paths, 1));
}

static void test_drained_to_the_standby(void **state)
{
	struct hf_paths paths;

	(void)state;
	both(&paths);
	assert_int_equal(hf_paths_drain(&paths, 0, true), HF_LEAVE_PROMOTE);
	assert_int_equal(hf_paths_active(&paths), 0); /* until the other one is */
	assert_int_equal(hf_paths_tells(&paths, 1), HOLDFAST__PATH_STATE__PATH_LOST);
	say_held(&paths, 1, 2, 2);
	assert_true(hf_paths_must_close(&paths, 0));
	hf_paths_ended(&paths, 0);
	assert_int_equal(dial(&paths, 0), HOLDFAST__ROLE__ROLE_STANDBY);
}

/* It is commandable all the time: the new one is held before the old one ends. */
static void test_drained_elsewhere(void **state)
{
	struct hf_paths paths;

	(void)state;
	both(&paths);
	assert_int_equal(hf_paths_drain(&paths, 0, false), HF_LEAVE_DIAL);
	assert_true(hf_paths_must_close(&paths, 1));
	hf_paths_ended(&paths, 1);
	assert_int_equal(dial(&paths, 1), HOLDFAST__ROLE__ROLE_ACTIVE);
	assert_int_equal(hf_paths_active(&paths), 0);
	say_held(&paths, 1, 2, 2);
	assert_true(hf_paths_must_close(&paths, 0));
	/* A drained standby just goes elsewhere. */
	both(&paths);
	assert_int_equal(hf_paths_drain(&paths, 1, false), HF_LEAVE_END);
}

static void test_the_old_one_ends_while_it_moves(void **state)
{
	struct hf_paths paths;

	(void)state;
	both(&paths);
	hf_paths_drain(&paths, 0, false);
	hf_paths_ended(&paths, 1);
	hf_paths_dialling(&paths, 1);
	hf_paths_ended(&paths, 0);
	assert_int_equal(hf_paths_connected(&paths, 1), HOLDFAST__ROLE__ROLE_ACTIVE);
	say_held(&paths, 1, 2, 2);
	assert_int_equal(dial(&paths, 0), HOLDFAST__ROLE__ROLE_STANDBY);
}

/* ---- Any order of events ---- */

/* A registry with one gateway: grants as the provider's do. What was granted may be lost. */
struct world {
	struct hf_paths paths;
	uint64_t epoch;
	uint64_t on_the_way[HF_PATHS]; /* Held that was granted and not yet heard; 0: none */
	Holdfast__Role role[HF_PATHS];
	uint64_t seed;
	uint32_t capability;
};

static unsigned draw(struct world *world, unsigned below)
{
	world->seed = world->seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(world->seed >> 33) % below;
}

static void end(struct world *world, unsigned i)
{
	world->on_the_way[i] = 0;
	hf_paths_ended(&world->paths, i);
}

/* What the owner does after every event. */
static void settle(struct world *world)
{
	for (unsigned i = 0; i < HF_PATHS; i++)
		if (hf_paths_must_close(&world->paths, i))
			end(world, i);
	for (unsigned i = 0; i < HF_PATHS; i++)
		if (hf_paths_wants_dial(&world->paths, i))
			hf_paths_dialling(&world->paths, i);
}

/* A standby says LOST: promoted if nobody was granted anything since, else sent away. */
static void promote(struct world *world, unsigned i)
{
	if (!world->paths.path[i].capable || world->on_the_way[i] ||
	    hf_paths_tells(&world->paths, i) != HOLDFAST__PATH_STATE__PATH_LOST)
		return;
	if (world->epoch > world->paths.epoch)
		end(world, i);
	else
		world->on_the_way[i] = ++world->epoch;
}

static void hear_held(struct world *world, unsigned i)
{
	uint64_t epoch = world->on_the_way[i];

	world->on_the_way[i] = 0;
	if (epoch > world->paths.epoch) /* else the session ends: its floor was raised */
		say_held(&world->paths, i, epoch, world->capability);
	else
		end(world, i);
}

static void go_on(struct world *world, unsigned i)
{
	struct hf_paths_path *path = &world->paths.path[i];

	if (world->on_the_way[i]) {
		hear_held(world, i);
	} else if (path->phase == HF_PATHS_DIALLING) {
		world->role[i] = hf_paths_connected(&world->paths, i);
	} else if (path->phase == HF_PATHS_ASKED) {
		if (world->role[i] == HOLDFAST__ROLE__ROLE_ACTIVE)
			world->on_the_way[i] = ++world->epoch;
		else
			say_parked(&world->paths, i, world->capability);
	} else if (path->phase == HF_PATHS_PARKED) {
		promote(world, i);
	}
}

static void disturb(struct world *world, unsigned i)
{
	struct hf_paths_path *path = &world->paths.path[i];

	switch (draw(world, 6)) {
	case 0:
	case 1:
		if (path->phase >= HF_PATHS_ASKED)
			end(world, i);
		break;
	case 2:
		if (path->phase >= HF_PATHS_PARKED &&
		    hf_paths_drain(&world->paths, i, draw(world, 2)) == HF_LEAVE_END)
			end(world, i);
		break;
	case 3:
		world->paths.standby_due = draw(world, 4) > 0;
		break;
	case 4:
		world->paths.elsewhere = draw(world, 8) > 0;
		break;
	default:
		world->capability = draw(world, 8) ? 2 : 1;
		break;
	}
}

static void check(const struct world *world)
{
	unsigned active = 0;

	for (unsigned i = 0; i < HF_PATHS; i++)
		active += world->paths.path[i].phase == HF_PATHS_HELD &&
			  world->paths.path[i].epoch == world->paths.epoch;
	assert_true(active <= 1);
	assert_true(world->paths.epoch <= world->epoch);
}

/* A holder that drains, or that somebody was granted an epoch above, ends the connection itself. */
static void end_the_outdated(struct world *world)
{
	int active = hf_paths_active(&world->paths);

	if (active >= 0 &&
	    (world->paths.path[active].leaving ||
	     (world->paths.epoch < world->epoch && !world->on_the_way[0] && !world->on_the_way[1])))
		end(world, (unsigned)active);
	settle(world);
}

static void run(uint64_t seed)
{
	struct world world = {.seed = seed, .capability = 2};
	int active;

	hf_paths_init(&world.paths, 0);
	world.paths.elsewhere = true;
	settle(&world);
	for (int step = 0; step < 400; step++) {
		if (draw(&world, 3))
			go_on(&world, draw(&world, HF_PATHS));
		else
			disturb(&world, draw(&world, HF_PATHS));
		settle(&world);
		check(&world);
	}
	/* Left alone, it comes to rest with one active and one standby. */
	world.capability = 2;
	world.paths.elsewhere = world.paths.standby_due = true;
	active = hf_paths_active(&world.paths);
	if (active >= 0)
		world.paths.path[active].capable = true;
	for (int step = 0; step < 200; step++) {
		settle(&world);
		end_the_outdated(&world);
		go_on(&world, draw(&world, HF_PATHS));
		check(&world);
	}
	settle(&world);
	active = hf_paths_active(&world.paths);
	if (active < 0 || world.paths.path[1 - active].phase != HF_PATHS_PARKED ||
	    hf_paths_tells(&world.paths, (unsigned)(1 - active)) != HOLDFAST__PATH_STATE__PATH_HELD)
		fail_msg("seed %llu: active %d, phases %d %d", (unsigned long long)seed, active,
			 (int)world.paths.path[0].phase, (int)world.paths.path[1].phase);
}

static void test_any_order_ends_well(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 3000; seed++)
		run(seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_standby_takes_over),
		cmocka_unit_test(test_an_overtaken_one_ends),
		cmocka_unit_test(test_without_promotion_it_comes_back_active),
		cmocka_unit_test(test_capability_1_gets_one_connection),
		cmocka_unit_test(test_one_endpoint_gets_one_connection),
		cmocka_unit_test(test_a_standby_is_at_another_process),
		cmocka_unit_test(test_drained_to_the_standby),
		cmocka_unit_test(test_drained_elsewhere),
		cmocka_unit_test(test_the_old_one_ends_while_it_moves),
		cmocka_unit_test(test_any_order_ends_well),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
