/* sim_channel: lives of a few gateways and provider processes in virtual time, in which connections
 * break, fall silent and overtake each other, processes die between any two steps, the database
 * goes away or comes back as it was some time ago, and clocks jump; then calm, and everything must
 * settle (invariants 4 and 5):
 *
 *   - no change is lost: each gateway ends with the newest document, and the registry knows;
 *   - none is applied twice or out of order, and none that came under an old epoch has an effect;
 *   - no holder writes to the registry once another epoch was granted;
 *   - who was away for thirty days gets one document, of the size of the state.
 *
 * --recoveries counts commands here. */
#include "tests/sim/channel_world.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "tests/sim/seeds.h"

#define COMMANDS_A_LIFE 2000u
#define SETTLE_MS       600000u /* with every wait and back-off */
#define AWAY_MS         (30ull * 86400 * 1000)
#define AWAY_COMMANDS   500u
#define MOMENTS_MAX     2000000u /* a life; more: time stands still */

static struct {
	uint64_t commands, lives, moments, restores;
} total;

/* ---- What goes wrong ---- */

static void break_a_connection(struct world *world)
{
	struct conn *conn = &world->conns[world_below(world, CONNECTIONS)];
	unsigned side = (unsigned)world_below(world, 2);

	if (!conn->used)
		return;
	if (world_below(world, 2)) {
		conn->silent = true; /* until somebody misses a ping */
		return;
	}
	for (unsigned s = 0; s < 2; s++)
		conn->from[s].used = 0;
	if (conn->sides[side] && !conn->ended[side])
		hf_session_end(conn->sides[side], HF_ECONN, "cut");
}

static void something_goes_wrong(struct world *world)
{
	unsigned provider = (unsigned)world_below(world, PROVIDERS);

	switch (world_below(world, 14)) {
	case 0:
		world->providers[provider].dying = world->providers[provider].up;
		break;
	case 1:
		world->gateways[world_below(world, GATEWAYS)].dying = true;
		break;
	case 2:
		world->providers[provider].has_database ^= true;
		break;
	case 3:
		/* Hours, to either side. */
		world->wall_skew_ms = (int64_t)world_below(world, 20000000) - 10000000;
		break;
	case 4:
		if (!world->backed_up || world_below(world, 20) == 0)
			provider_backup(world);
		break;
	case 5:
		if (world->backed_up && world_below(world, 20) == 0) {
			provider_restore(world);
			total.restores++;
		}
		break;
	case 6:
	case 7:
		gateway_doubt(world, (unsigned)world_below(world, GATEWAYS));
		break;
	default:
		break_a_connection(world);
	}
}

/* ---- A life ---- */

static void run_until(struct world *world, uint64_t until_ms, bool (*done)(struct world *, bool))
{
	unsigned moments = 0;

	while (!world->failed && world->now_ms < until_ms && !(done && done(world, false))) {
		world_step(world);
		if (++moments > MOMENTS_MAX)
			world_fail(world, "time stands still");
	}
	total.moments += moments;
}

static void calm_down(struct world *world)
{
	world->calm = true;
	for (unsigned i = 0; i < PROVIDERS; i++)
		world->providers[i].has_database = true;
	run_until(world, world->now_ms + SETTLE_MS, check_settled);
	if (!world->failed)
		check_settled(world, true);
}

static void live(struct world *world)
{
	unsigned burst_ms = 1u << world_below(world, 10); /* between changes */

	while (world->commands < COMMANDS_A_LIFE && !world->failed) {
		provider_change(world, (unsigned)world_below(world, PROVIDERS),
				(unsigned)world_below(world, GATEWAYS));
		if (world_chance(world, 150000))
			something_goes_wrong(world);
		run_until(world, world->now_ms + 1 + world_below(world, burst_ms), NULL);
	}
}

/* One gateway is away while its state changes hundreds of times. */
static void be_away(struct world *world)
{
	struct sim_gateway *g = &world->gateways[0];
	uint64_t applies, back_ms = world->now_ms + AWAY_MS;
	size_t bytes;

	gateway_die(world, 0);
	g->due_ms = back_ms;
	for (unsigned i = 0; i < AWAY_COMMANDS; i++) {
		provider_change(world, i % PROVIDERS, 0);
		world_step(world);
	}
	applies = g->applies;
	bytes = g->apply_bytes;
	/* Nobody needs to see each ping of a month. */
	world->now_ms = back_ms;
	run_until(world, back_ms + SETTLE_MS, check_settled);
	if (!world->failed)
		check_settled(world, true);
	if (g->applies != applies + 1 || g->apply_bytes - bytes > world->signers[0].length)
		world_fail(world, "after thirty days %" PRIu64 " documents of %zu bytes came",
			   g->applies - applies, g->apply_bytes - bytes);
}

static bool run(uint64_t seed, uint64_t *commands)
{
	static struct world world;

	world_open(&world, seed);
	live(&world);
	if (!world.failed)
		calm_down(&world);
	if (!world.failed && seed % 16 == 0)
		be_away(&world);
	*commands += world.commands;
	total.commands += world.commands;
	total.lives++;
	world_close(&world);
	return !world.failed;
}

static void print(uint64_t seeds)
{
	printf("%" PRIu64 " commands in %" PRIu64 " lives, %" PRIu64 " moments, %" PRIu64
	       " databases restored\n",
	       total.commands, seeds, total.moments, total.restores);
}

int main(int argc, char **argv)
{
	const struct seeds seeds = {
		.name = "sim_channel", .recoveries = 1000000, .run = run, .print = print};

	return seeds_main(&seeds, argc, argv);
}
