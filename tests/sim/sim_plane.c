/* sim_plane: lives of the management plane in virtual time. Three provider processes on one
 * database, four gateways, one signer, all of it the product's own code (plane.h), while commands
 * arrive at any process, connections break, fall silent and overtake each other, processes die
 * between any two steps, disks and databases fail or come back as they were some time ago, and
 * clocks jump; then calm, and everything must settle (invariants 4 and 5):
 *
 *   - no command that was accepted is lost, none that was refused is done, none is done twice;
 *   - nothing that comes under an old epoch has an effect;
 *   - every action is answered, by what became of it;
 *   - gateways end as the registry wants them, and the registry knows;
 *   - who was away for thirty days gets one document, of the size of the state.
 *
 * --recoveries counts commands here. */
#include "tests/sim/plane.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/seeds.h"

#define COMMANDS_A_LIFE 2000u
#define TRIES_A_LIFE    (20u * COMMANDS_A_LIFE)
#define SETTLE_MS       1200000u          /* with every wait and back-off */
#define MOMENTS_MAX     4000000u          /* a life; more: time stands still */
#define DAY_MS          (86000ull * 1000) /* a process that is silent for a whole one is forgotten */
#define AWAY_DAYS       31u
#define AWAY_MS         (AWAY_DAYS * DAY_MS)
#define AWAY_COMMANDS   500u
#define SIGNED_BY_MS    60000u

static struct {
	uint64_t commands, accepted, refused, unknown, effects, restores, deaths, moments, actions;
	uint64_t away, missed;
} total;

/* ---- What goes wrong ---- */

static void database_trouble(void)
{
	if (sim_world.backed_up && !sim_world.structure_changed && sim_world.restores < 3 &&
	    sim_below(3) == 0) {
		sim_world.restore_due = true;
	} else if (sim_below(5) == 0) {
		sim_db_backup();
		sim_world.backed_up = true;
		sim_world.structure_changed = false;
		sim_world.commands_at_backup = sim_world.commands;
	} else {
		sim_world.providers[sim_below(SIM_PROVIDERS)].base_back_ms =
			sim_world.now_ms + sim_below(1u << sim_below(16));
	}
}

static void something_goes_wrong(void)
{
	struct sim_process *provider = &sim_world.providers[sim_below(SIM_PROVIDERS)];
	struct sim_process *agent = &sim_world.agents[sim_below(SIM_GATEWAYS)];
	struct sim_process *any = sim_below(2) ? provider : agent;

	switch (sim_below(16)) {
	case 0:
		sim_kill(provider);
		break;
	case 1:
		sim_kill(agent);
		break;
	case 2:
		sim_stop(provider);
		break;
	case 3:
		/* Hours, to either side. */
		any->skew_ms = (int64_t)sim_below(20000000) - 10000000;
		break;
	case 4:
	case 5:
		database_trouble();
		break;
	case 6:
		sim_world.signer_away ^= true;
		break;
	case 7:
		sim_machine_trouble(sim_world.gateways[agent->index].machine);
		break;
	case 8:
		sim_world.silent_path[agent->index][provider->index] ^= true;
		if (sim_world.silent_path[agent->index][provider->index])
			sim_net_silence(agent->index, provider->index);
		break;
	case 9:
		if (sim_below(8) == 0) {
			sim_kill(agent);
			sim_world.damage_due[agent->index] = true;
		}
		break;
	default:
		sim_net_trouble();
	}
}

/* ---- A life ---- */

static void run_until(uint64_t until_ms, bool (*done)(bool say))
{
	unsigned moments = 0;
	uint64_t look_ms = 0;

	while (!sim_world.failed && sim_world.now_ms < until_ms) {
		if (done && sim_world.now_ms >= look_ms) {
			if (done(false))
				break;
			look_ms = sim_world.now_ms + (done == sim_check_settled ? 100 : 0);
		}
		sim_step();
		if (++moments > MOMENTS_MAX)
			sim_fail("time stands still");
	}
	total.moments += moments;
}

static void settle(void)
{
	run_until(sim_world.now_ms + SETTLE_MS, sim_check_settled);
	if (!sim_world.failed)
		sim_check_settled(true);
}

static void calm_down(void)
{
	sim_world.calm = true;
	sim_world.signer_away = false;
	for (unsigned g = 0; g < SIM_GATEWAYS; g++)
		for (unsigned p = 0; p < SIM_PROVIDERS; p++)
			sim_world.silent_path[g][p] = false;
	settle();
}

static void live(void)
{
	unsigned burst_ms = 1u << sim_below(9); /* between commands */

	for (unsigned tries = 0;
	     tries < TRIES_A_LIFE && !sim_world.failed && sim_world.commands < COMMANDS_A_LIFE;
	     tries++) {
		sim_command();
		if (sim_chance(20000))
			something_goes_wrong();
		run_until(sim_world.now_ms + 1 + sim_below(burst_ms), NULL);
	}
}

/* ---- Thirty days ---- */

static uint64_t awaited_generation;

static bool has_come_back(bool say)
{
	(void)say;
	return sim_world.gateways[0].took_generation >= awaited_generation;
}

/* One gateway is away while its state changes again and again. What it then gets in one exchange is
 * the newest, no larger than that; what follows from its own reports is not counted. */
static void be_away(void)
{
	struct sim_gateway *g = &sim_world.gateways[0];
	uint64_t back_ms = sim_world.now_ms + AWAY_MS, changes = g->asked_changes;
	uint64_t bytes = g->asked_bytes, newest[2] = {0}, before = g->took_generation;

	sim_away(0, back_ms);
	for (unsigned i = 0; i < AWAY_COMMANDS; i++) {
		sim_command();
		run_until(sim_world.now_ms + 1 + sim_below(8), NULL);
	}
	run_until(sim_world.now_ms + SIGNED_BY_MS, NULL);
	sim_db_look("SELECT length(bytes), generation FROM documents WHERE gateway = $1", g->id,
		    NULL, newest, 2);
	awaited_generation = newest[1];
	/* Nobody needs to see each ping of a month: a few seconds of each day are enough. */
	for (unsigned day = 1; day <= AWAY_DAYS && !sim_world.failed; day++) {
		sim_world.now_ms = back_ms - (AWAY_DAYS - day) * DAY_MS;
		run_until(sim_world.now_ms + 3000, day == AWAY_DAYS ? has_come_back : NULL);
	}
	run_until(back_ms + SETTLE_MS, has_come_back);
	total.away++;
	total.missed += newest[1] - before;
	if (!sim_world.failed &&
	    (g->asked_changes != changes + 1 || g->asked_bytes - bytes > newest[0]))
		sim_fail("after thirty days and %" PRIu64 " changes %" PRIu64
			 " documents of %" PRIu64 " bytes came, the newest has %" PRIu64,
			 newest[1] - before, g->asked_changes - changes, g->asked_bytes - bytes,
			 newest[0]);
	settle();
}

static bool run(uint64_t seed, uint64_t *commands)
{
	sim_open(seed);
	live();
	if (!sim_world.failed)
		calm_down();
	if (!sim_world.failed && seed % 8 == 0)
		be_away();
	*commands += sim_world.commands;
	total.commands += sim_world.commands;
	total.accepted += sim_world.accepted;
	total.refused += sim_world.refused;
	total.unknown += sim_world.unknown;
	total.effects += sim_world.effects;
	total.restores += sim_world.restores;
	total.deaths += sim_world.deaths;
	total.actions += sim_world.action_count;
	if (!sim_world.failed)
		sim_close();
	return !sim_world.failed;
}

static void print(uint64_t seeds)
{
	printf("%" PRIu64 " commands in %" PRIu64 " lives: %" PRIu64 " accepted, %" PRIu64
	       " refused, %" PRIu64 " unanswered; %" PRIu64 " actions; %" PRIu64
	       " effects; %" PRIu64 " deaths, %" PRIu64 " databases restored, %" PRIu64
	       " moments\n",
	       total.commands, seeds, total.accepted, total.refused, total.unknown, total.actions,
	       total.effects, total.deaths, total.restores, total.moments);
}

int main(int argc, char **argv)
{
	const struct seeds seeds = {
		.name = "sim_plane", .recoveries = 1000000, .run = run, .print = print};

	return seeds_main(&seeds, argc, argv);
}
