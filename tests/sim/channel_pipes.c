/* Connections of sim_channel: bytes that are late, cut and lost. */
#include "tests/sim/channel_world.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

struct side {
	struct world *world;
	struct conn *conn;
};

static struct side sides[CONNECTIONS][2]; /* contexts of the sessions */

static int gateway_output(void *context, const uint8_t *bytes, size_t length)
{
	struct side *side = context;

	return conn_send(side->world, side->conn, AT_GATEWAY, bytes, length);
}

static int provider_output(void *context, const uint8_t *bytes, size_t length)
{
	struct side *side = context;

	return conn_send(side->world, side->conn, AT_PROVIDER, bytes, length);
}

static void on_gateway_event(void *context, const struct hf_session_event *event)
{
	struct side *side = context;

	if (event->type == HF_EVENT_ENDED)
		side->conn->ended[AT_GATEWAY] = true;
	if (side->conn->sides[AT_GATEWAY])
		gateway_event(side->world, side->conn, event);
}

static void on_provider_event(void *context, const struct hf_session_event *event)
{
	struct side *side = context;

	if (event->type == HF_EVENT_ENDED)
		side->conn->ended[AT_PROVIDER] = true;
	if (side->conn->sides[AT_PROVIDER])
		provider_event(side->world, side->conn, event);
}

struct conn *conn_open(struct world *world, unsigned gateway, unsigned provider)
{
	struct hf_session_config config = {.kind = HF_SESSION_MANAGEMENT,
					   .gateway = world->gateways[gateway].id,
					   .ping_interval_ms = PING_MS};
	struct conn *conn = NULL;

	for (unsigned i = 0; i < CONNECTIONS && !conn; i++)
		if (!world->conns[i].used)
			conn = &world->conns[i];
	if (!conn)
		return NULL;
	memset(conn, 0, sizeof *conn);
	conn->used = true;
	conn->gateway = gateway;
	conn->provider = provider;
	for (unsigned s = 0; s < 2; s++) {
		struct side *side = &sides[conn - world->conns][s];

		*side = (struct side){world, conn};
		conn->from[s].due_ms = NEVER;
		/* Most are quick; some are so slow that a later connection overtakes them. */
		conn->delay_ms[s] = world_chance(world, 100000) ? 3000 : 20;
		config.side = s == AT_GATEWAY ? HF_SIDE_GATEWAY : HF_SIDE_PROVIDER;
		config.floor_epoch = s == AT_GATEWAY ? world->gateways[gateway].epoch : 0;
		config.output = s == AT_GATEWAY ? gateway_output : provider_output;
		config.event = s == AT_GATEWAY ? on_gateway_event : on_provider_event;
		config.context = side;
		conn->sides[s] = hf_session_create(&config, world->now_ms);
		HF_ASSERT(conn->sides[s]);
	}
	return conn;
}

int conn_send(struct world *world, struct conn *conn, unsigned side, const uint8_t *bytes,
	      size_t length)
{
	struct pipe *pipe = &conn->from[side];

	if (pipe->closed || !conn->sides[side])
		return HF_ECONN;
	if (pipe->used + length > pipe->capacity) {
		pipe->capacity = 2 * (pipe->used + length);
		pipe->bytes = realloc(pipe->bytes, pipe->capacity);
		HF_ASSERT(pipe->bytes);
	}
	memcpy(pipe->bytes + pipe->used, bytes, length);
	pipe->used += length;
	if (pipe->due_ms == NEVER)
		pipe->due_ms = world->now_ms + world_below(world, conn->delay_ms[side] + 1);
	return 0;
}

void conn_leave(struct world *world, struct conn *conn, unsigned side, bool rudely)
{
	struct pipe *pipe = &conn->from[side];

	if (!conn->sides[side])
		return;
	hf_session_destroy(conn->sides[side]);
	conn->sides[side] = NULL;
	pipe->closed = true;
	if (rudely)
		pipe->used = 0;
	if (pipe->due_ms == NEVER)
		pipe->due_ms = world->now_ms + world_below(world, conn->delay_ms[side] + 1);
	/* What the other one has sent reaches nobody. */
	conn->from[!side].used = 0;
}

void conn_deliver(struct world *world, struct conn *conn, unsigned side)
{
	struct pipe *pipe = &conn->from[side];
	struct hf_session *to = conn->sides[!side];
	uint8_t piece[4096];
	size_t length = pipe->used < sizeof piece ? pipe->used : sizeof piece;

	pipe->due_ms = NEVER;
	if (!to || conn->silent)
		return;
	if (length == 0) {
		if (pipe->closed)
			hf_session_end(to, HF_ECONN, "the other side is gone");
		return;
	}
	if (!world_chance(world, 700000))
		length = 1 + world_below(world, length);
	memcpy(piece, pipe->bytes, length);
	pipe->used -= length;
	memmove(pipe->bytes, pipe->bytes + length, pipe->used);
	if (pipe->used || pipe->closed)
		pipe->due_ms = world->now_ms + world_below(world, conn->delay_ms[side] + 1);
	hf_session_input(to, world->now_ms, piece, length);
}

void conn_tick(struct world *world, struct conn *conn, unsigned side)
{
	if (conn->sides[side] && !conn->ended[side] &&
	    hf_session_due_ms(conn->sides[side]) <= world->now_ms)
		hf_session_tick(conn->sides[side], world->now_ms);
}

uint64_t conn_due_ms(const struct conn *conn)
{
	uint64_t due_ms = NEVER;

	for (unsigned s = 0; s < 2; s++) {
		if (conn->from[s].due_ms < due_ms)
			due_ms = conn->from[s].due_ms;
		if (conn->sides[s] && !conn->ended[s] && hf_session_due_ms(conn->sides[s]) < due_ms)
			due_ms = hf_session_due_ms(conn->sides[s]);
	}
	return due_ms;
}

void conn_collect(struct conn *conn)
{
	if (!conn->used || conn->sides[0] || conn->sides[1])
		return;
	free(conn->from[0].bytes);
	free(conn->from[1].bytes);
	conn->used = false;
}
