/* What must hold in sim_channel, judged from what the world noted and not from what anybody under
 * test remembers (invariants 4 and 5). */
#include "tests/sim/channel_world.h"

#include <inttypes.h>

static bool newer(uint64_t incarnation, uint64_t generation, const struct sim_gateway *g)
{
	return incarnation != g->took_incarnation ? incarnation > g->took_incarnation
						  : generation > g->took_generation;
}

void check_took(struct world *world, struct sim_gateway *g, const struct conn *conn,
		const struct hf_document *document)
{
	uint64_t incarnation = document->content->incarnation;
	uint64_t generation = document->content->generation;
	uint64_t epoch = conn ? hf_session_epoch(conn->sides[AT_GATEWAY]) : 0;

	/* From its own disk: what it took last, or what it had kept and did not get to take. */
	if (!conn && incarnation == g->took_incarnation && generation == g->took_generation)
		return;
	if (!newer(incarnation, generation, g))
		world_fail(world,
			   "(%" PRIu64 ", %" PRIu64 ") was taken after (%" PRIu64 ", %" PRIu64 ")",
			   incarnation, generation, g->took_incarnation, g->took_generation);
	if (document->sequence <= g->took_sequence)
		world_fail(world, "sequence %" PRIu64 " was taken after %" PRIu64,
			   document->sequence, g->took_sequence);
	if (conn && epoch != g->held_epoch)
		world_fail(world,
			   "a change of epoch %" PRIu64 " had an effect after epoch %" PRIu64,
			   epoch, g->held_epoch);
	g->took_incarnation = incarnation;
	g->took_generation = generation;
	g->took_sequence = document->sequence;
	if (conn)
		g->took_epoch = epoch;
}

void check_fenced(struct world *world, unsigned gateway, uint64_t epoch, int err)
{
	if (err == 0 && epoch != world->granted[gateway])
		world_fail(world, "epoch %" PRIu64 " wrote to the registry after %" PRIu64, epoch,
			   world->granted[gateway]);
	if (err == HF_EFENCED && epoch == world->granted[gateway])
		world_fail(world, "the holder of epoch %" PRIu64 " was fenced", epoch);
}

bool check_settled(struct world *world, bool say)
{
	for (unsigned i = 0; i < GATEWAYS; i++) {
		const struct sim_gateway *g = &world->gateways[i];
		struct hf_reg_gateway row;
		bool settled =
			hf_registry_gateway_get(world->reg, g->id, &row) == 0 && g->conn &&
			hf_session_state(g->conn->sides[AT_GATEWAY]) == HF_SESSION_HELD &&
			(row.generation == 0 || (g->took_incarnation == world->incarnation &&
						 g->took_generation == row.generation &&
						 row.applied_incarnation == world->incarnation &&
						 row.applied_generation == row.generation));

		if (settled)
			continue;
		if (say)
			world_fail(world,
				   "gateway %u: generation %" PRIu64 " is wanted, %" PRIu64
				   " was taken, %" PRIu64 " is known to be, %s",
				   i, row.generation, g->took_generation, row.applied_generation,
				   g->conn ? hf_session_state_text(
						     hf_session_state(g->conn->sides[AT_GATEWAY]))
					   : "not connected");
		return false;
	}
	return true;
}
