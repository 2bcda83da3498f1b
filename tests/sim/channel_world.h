/* The world of sim_channel: several provider processes on one registry, a few gateways, and
 * connections between them, in virtual time drawn from a seed. Real are the session (both sides),
 * the agent's rules for documents and the registry on SQLite; what stands between them here (dial,
 * grant, deliver, keep) is written once more, small and pure, because the product's own is tied to
 * sockets and disks. One thread.
 *
 * A connection is two pipes of bytes that arrive late, in pieces, or never. Processes die between
 * any two of their steps. What a gateway did is noted in the world, out of its own reach; that is
 * what is checked (channel_check.c). */
#ifndef HF_TESTS_SIM_CHANNEL_WORLD_H
#define HF_TESTS_SIM_CHANNEL_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "gateway/agent/document.h"
#include "gateway/agent/kept.h"
#include "net/dial.h"
#include "proto/session.h"
#include "provider/registry/registry.h"
#include "tests/sim/rng.h"

#define GATEWAYS    4u
#define PROVIDERS   3u
#define CONNECTIONS 48u
#define TENANT      7u
#define NEVER       UINT64_MAX
#define PING_MS     2000u
#define REMEMBERED  8u /* packets of a gateway that a holder may send again */

enum { AT_GATEWAY, AT_PROVIDER };

/* Bytes on their way from one side. */
struct pipe {
	uint8_t *bytes;
	size_t used, capacity;
	uint64_t due_ms; /* when some arrive; NEVER: none are on their way */
	bool closed;     /* the other side learns of the end after the last byte */
};

struct conn {
	bool used, silent; /* nothing arrives any more, and nobody is told */
	unsigned gateway, provider;
	uint32_t delay_ms[2]; /* at most, of each piece, from each side */
	struct hf_session *sides[2];
	bool ended[2];
	struct pipe from[2];

	/* The provider's side: what delivery.c knows of a channel. */
	uint64_t epoch;
	uint64_t applied_incarnation, applied_generation;
	uint64_t apply_request, apply_incarnation, apply_generation, not_before_ms;
	bool look_again;
	bool lied;   /* what was sent is not the newest */
	bool untold; /* the registry does not know what it has applied */
};

struct sim_provider {
	bool up, has_database;
	uint64_t due_ms; /* of its next tick, or of its start */
	bool dying;      /* at the end of the call under way */
};

/* What the signer remembers. */
struct sim_signer {
	uint64_t sequence, incarnation, generation;
	uint8_t *packet;
	size_t length;
	uint8_t hash[HF_HASH_BYTES];
	/* What was signed before, in no order. */
	uint8_t *old[REMEMBERED];
	size_t old_length[REMEMBERED];
};

struct sim_gateway {
	uint64_t id;
	bool up, dying;
	uint64_t due_ms;   /* when it dials or starts; NEVER while connected */
	struct conn *conn; /* the newest; older ones may still be open */
	struct hf_backoff backoff;
	struct hf_document *current;
	/* Its disk. */
	uint64_t epoch;
	struct hf_kept_newest newest;
	uint8_t *packet;
	size_t packet_length;
	/* Out of its reach: what it did, and what it was ever told. */
	uint64_t took_incarnation, took_generation, took_sequence, took_epoch;
	uint64_t held_epoch;
	uint64_t applies; /* that reached it */
	size_t apply_bytes;
};

struct world {
	struct sim_rng rng;
	uint64_t seed, now_ms;
	int64_t wall_skew_ms; /* of the providers' clocks */
	char path[64];
	struct hf_registry *reg;
	uint64_t incarnation;
	struct hf_sign_key key;
	struct sim_provider providers[PROVIDERS];
	struct sim_gateway gateways[GATEWAYS];
	struct sim_signer signers[GATEWAYS];
	struct conn conns[CONNECTIONS];
	uint64_t granted[GATEWAYS]; /* newest, since the database was restored */
	uint64_t commands;
	bool calm; /* nothing goes wrong any more */
	bool failed;
	bool backed_up;
};

/* ---- channel_world.c ---- */

void world_open(struct world *world, uint64_t seed);
void world_close(struct world *world);
/* One moment further: everything that is due. */
void world_step(struct world *world);
uint64_t world_wall_ms(const struct world *world);
/* Out of a million. */
bool world_chance(struct world *world, uint32_t per_million);
uint64_t world_below(struct world *world, uint64_t bound);
/* Says what is wrong, once a seed. */
void world_fail(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
int world_conn_index(const struct world *world, const struct conn *conn);

/* ---- channel_pipes.c ---- */

struct conn *conn_open(struct world *world, unsigned gateway, unsigned provider);
/* For the session's output. */
int conn_send(struct world *world, struct conn *conn, unsigned side, const uint8_t *bytes,
	      size_t length);
/* One side leaves. `rudely`: what it has sent and did not arrive is lost. */
void conn_leave(struct world *world, struct conn *conn, unsigned side, bool rudely);
void conn_deliver(struct world *world, struct conn *conn, unsigned side);
void conn_tick(struct world *world, struct conn *conn, unsigned side);
/* When something happens on it next. */
uint64_t conn_due_ms(const struct conn *conn);
/* Both sides are gone and nothing is on its way. */
void conn_collect(struct conn *conn);

/* ---- channel_gateway.c ---- */

void gateway_event(struct world *world, struct conn *conn, const struct hf_session_event *event);
void gateway_due(struct world *world, unsigned index);
void gateway_die(struct world *world, unsigned index);
/* Dials although it is connected: what a gateway does that doubts its connection. */
void gateway_doubt(struct world *world, unsigned index);
void gateway_close(struct sim_gateway *gateway);

/* ---- channel_provider.c ---- */

void provider_event(struct world *world, struct conn *conn, const struct hf_session_event *event);
void provider_due(struct world *world, unsigned index);
void provider_die(struct world *world, unsigned index, bool silently);
/* An administrator changes the desired state of a gateway at this provider. */
void provider_change(struct world *world, unsigned index, unsigned gateway);
/* The database of some time ago, as a new incarnation. */
void provider_restore(struct world *world);
void provider_backup(struct world *world);

/* ---- channel_check.c ---- */

/* The gateway takes a document that came on this connection; NULL: from its disk, after a start. */
void check_took(struct world *world, struct sim_gateway *gateway, const struct conn *conn,
		const struct hf_document *document);
/* A holder's write of this epoch returned `err`. */
void check_fenced(struct world *world, unsigned gateway, uint64_t epoch, int err);
/* At the end, when all is calm: false while something is still to come. */
bool check_settled(struct world *world, bool say);

#endif
