/* A gateway of sim_channel: dials, keeps, takes. Its steps are the agent's (uplink.c, desired.c):
 * the epoch is kept before it is used, the newest document's number before the document, the
 * document before it has an effect. It may die after each. */
#include "tests/sim/channel_world.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define DIES_PER_MILLION 4000u /* after each step */

/* True: it dies here; what follows does not happen. */
static bool dies(struct world *world, struct sim_gateway *g)
{
	if (!g->dying && world_chance(world, DIES_PER_MILLION))
		g->dying = true;
	return g->dying;
}

static void answer(struct world *world, struct conn *conn, uint64_t request, int err,
		   const char *why)
{
	Holdfast__Answer message = HOLDFAST__ANSWER__INIT;

	(void)world;
	message.request = request;
	message.error = -err;
	message.reason = (char *)(uintptr_t)(err ? why : "");
	hf_session_answer(conn->sides[AT_GATEWAY], &message);
}

static void keep_packet(struct sim_gateway *g, const Holdfast__Signed *packet)
{
	free(g->packet);
	g->packet_length = holdfast__signed__get_packed_size(packet);
	g->packet = malloc(g->packet_length + 1);
	HF_ASSERT(g->packet);
	holdfast__signed__pack(packet, g->packet);
}

static void take(struct world *world, struct conn *conn, struct hf_document *document)
{
	struct sim_gateway *g = &world->gateways[conn->gateway];

	check_took(world, g, conn, document);
	hf_document_free(g->current);
	g->current = document;
}

static void apply(struct world *world, struct conn *conn, const struct hf_session_event *event)
{
	struct sim_gateway *g = &world->gateways[conn->gateway];
	struct hf_document *document;
	struct hf_errmsg why = {""};
	int err = hf_document_open(world->key.public_key, TENANT, g->id, event->requested->apply,
				   &document, &why);

	g->applies++;
	g->apply_bytes += holdfast__signed__get_packed_size(event->requested->apply);
	if (!err) {
		err = hf_document_check(g->current, document, &why);
		if (!err)
			err = hf_document_check_newest(&g->newest, document, &why);
		if (err)
			hf_document_free(document);
	}
	if (err) {
		answer(world, conn, event->request, err == HF_EEXIST ? 0 : err, why.text);
		return;
	}
	g->newest = (struct hf_kept_newest){.incarnation = document->content->incarnation,
					    .generation = document->content->generation,
					    .sequence = document->sequence};
	memcpy(g->newest.hash, document->hash, HF_HASH_BYTES);
	if (dies(world, g))
		goto out;
	keep_packet(g, event->requested->apply);
	if (dies(world, g))
		goto out;
	take(world, conn, document);
	if (!dies(world, g))
		answer(world, conn, event->request, 0, NULL);
	return;
out:
	hf_document_free(document);
}

static void wait_before_dialling(struct world *world, struct sim_gateway *g, uint32_t least_ms)
{
	uint32_t wait_ms = hf_backoff_next_ms(&g->backoff, (uint32_t)world_below(world, 1u << 31));

	g->conn = NULL;
	g->due_ms = world->now_ms + (wait_ms < least_ms ? least_ms : wait_ms);
}

/* The epoch is kept; what older connections still say has no effect. */
static void held(struct world *world, struct conn *conn, uint64_t epoch)
{
	struct sim_gateway *g = &world->gateways[conn->gateway];

	if (epoch <= g->held_epoch)
		world_fail(world, "held with epoch %llu after %llu", (unsigned long long)epoch,
			   (unsigned long long)g->held_epoch);
	if (dies(world, g))
		return; /* never kept and never used; a database that is restored may grant it anew
			 */
	g->epoch = g->held_epoch = epoch;
	g->backoff.failures = 0;
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		struct conn *older = &world->conns[i];

		if (older->used && older != conn && older->gateway == conn->gateway &&
		    older->sides[AT_GATEWAY])
			hf_session_raise_floor(older->sides[AT_GATEWAY], epoch);
	}
	dies(world, g);
}

void gateway_event(struct world *world, struct conn *conn, const struct hf_session_event *event)
{
	struct sim_gateway *g = &world->gateways[conn->gateway];
	bool mine = g->conn == conn;

	if (g->dying)
		return;
	switch (event->type) {
	case HF_EVENT_HELD:
		held(world, conn, event->held->epoch);
		break;
	case HF_EVENT_REQUEST:
		if (event->requested->kind_case == HOLDFAST__REQUEST__KIND_APPLY)
			apply(world, conn, event);
		else
			answer(world, conn, event->request, 0, NULL);
		break;
	case HF_EVENT_ENDED:
		if (mine)
			wait_before_dialling(world, g, 0);
		break;
	default:
		break;
	}
}

/* ---- Life and death ---- */

static void start(struct world *world, struct sim_gateway *g)
{
	struct hf_document *document;
	Holdfast__Signed *packet;
	struct hf_errmsg why = {""};
	int err;

	g->up = true;
	if (!g->packet)
		return;
	packet = holdfast__signed__unpack(NULL, g->packet_length, g->packet);
	HF_ASSERT(packet);
	err = hf_document_open(world->key.public_key, TENANT, g->id, packet, &document, &why);
	holdfast__signed__free_unpacked(packet, NULL);
	if (err) {
		world_fail(world, "a kept document does not open: %s", why.text);
		return;
	}
	check_took(world, g, NULL, document);
	g->current = document;
}

static void dial(struct world *world, unsigned index)
{
	struct sim_gateway *g = &world->gateways[index];
	struct conn *conn = NULL;
	unsigned provider = (unsigned)world_below(world, PROVIDERS);
	Holdfast__Connect connect = HOLDFAST__CONNECT__INIT;
	Holdfast__Applied applied = HOLDFAST__APPLIED__INIT;
	uint8_t boot[16] = {1};

	if (world->providers[provider].up)
		conn = conn_open(world, index, provider);
	if (!conn) {
		if (!g->conn)
			wait_before_dialling(world, g, 0);
		return;
	}
	g->conn = conn;
	g->due_ms = NEVER;
	if (g->current) {
		applied.incarnation = g->current->content->incarnation;
		applied.generation = g->current->content->generation;
		applied.hash = (ProtobufCBinaryData){HF_HASH_BYTES, g->current->hash};
	}
	connect.gateway = g->id;
	connect.role = HOLDFAST__ROLE__ROLE_ACTIVE;
	connect.boot = (ProtobufCBinaryData){sizeof boot, boot};
	connect.capability = HF_CAPABILITY;
	connect.applied = &applied;
	connect.last_epoch = g->epoch;
	hf_session_connect(g->conn->sides[AT_GATEWAY], world->now_ms, &connect);
}

void gateway_due(struct world *world, unsigned index)
{
	struct sim_gateway *g = &world->gateways[index];

	g->due_ms = NEVER;
	if (!g->up)
		start(world, g);
	dial(world, index);
	/* Two at once overtake each other on the way. */
	if (world_chance(world, 150000))
		gateway_doubt(world, index);
}

void gateway_doubt(struct world *world, unsigned index)
{
	struct sim_gateway *g = &world->gateways[index];

	if (g->up && g->conn)
		dial(world, index);
}

void gateway_die(struct world *world, unsigned index)
{
	struct sim_gateway *g = &world->gateways[index];

	for (unsigned i = 0; i < CONNECTIONS; i++)
		if (world->conns[i].used && world->conns[i].gateway == index)
			conn_leave(world, &world->conns[i], AT_GATEWAY, true);
	g->conn = NULL;
	g->up = g->dying = false;
	hf_document_free(g->current);
	g->current = NULL;
	g->backoff.failures = 0;
	g->due_ms = world->now_ms + 100 + world_below(world, 5000);
}

void gateway_close(struct sim_gateway *g)
{
	hf_document_free(g->current);
	free(g->packet);
}
