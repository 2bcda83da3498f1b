/* A swarm: thousands of simulated gateways in one process on one libuv loop. Real are TLS, session
 * (the agent's own wire), identity, the check of documents and the sync before an answer; simulated
 * are the volumes. What each gateway did goes to a ledger, an append-only file that nothing under
 * test reads: tests are judged by it. Loop's thread. */
#ifndef HF_TESTS_CHANNEL_SWARM_H
#define HF_TESTS_CHANNEL_SWARM_H

#include <limits.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <uv.h>

#include "gateway/agent/document.h"
#include "gateway/agent/wire.h"
#include "net/dial.h"
#include "proto/paths.h"
#include "tests/channel/identities.h"
#include "tests/channel/shared_journal.h"

#define ENDPOINTS_MAX   16u
#define SIM_TOKEN_BYTES 16u

/* Of a connection; RESTING: not wanted, WAITING: dialled when it is due. */
enum sim_state { SIM_RESTING, SIM_WAITING, SIM_DIALLING, SIM_ASKING, SIM_HELD, SIM_PARKED };

/* One of the two connections of a gateway; what it is for stands in hf_paths. */
struct sim_path {
	struct sim_gateway *gateway;
	unsigned index;
	enum sim_state state;
	struct hf_stream *stream; /* in its handshake */
	struct hf_wire *wire;
	struct hf_backoff backoff;
	uint64_t due_ms; /* WAITING: when to dial; loop's clock */
	uint32_t retry_ms;
	unsigned next_endpoint;
	unsigned endpoint;   /* of the stream or wire */
	unsigned connection; /* number of the wire: an answer belongs to one of them */
	bool lost;           /* its last connection was: dial after the back-off */
	int told;            /* PARKED: PathState of the last report; 0: none */
	bool unkept;         /* what came with Held is not durable yet, so nothing is answered */
};

struct sim_gateway {
	struct swarm *swarm;
	struct identity identity;
	uint32_t index; /* of its certificate */
	struct hf_paths paths;
	struct sim_path path[HF_PATHS];
	unsigned connections;    /* so far */
	uint64_t standby_due_ms; /* 0: it was, or none is wanted */
	uint64_t subscription;
	uint32_t interval_ms; /* 0: no reports */
	uint64_t report_ms;
	struct hf_document *current; /* the newest taken; durable once `applied` names it */
	uint64_t incarnation, generation;
	uint8_t hash[HF_HASH_BYTES];
	uint8_t signer_key[HF_KEY_BYTES]; /* that it has pinned */
	struct certificate renewed;       /* in place of the first one */
	uint8_t token[SIM_TOKEN_BYTES];   /* of the newest Held */
	size_t token_length;
	struct sim_actions *actions; /* NULL: it never got one */
};

struct swarm_counts {
	uint64_t states[SIM_PARKED + 1];
	uint64_t dialled, refused, retried, ended, applied, deltas, stale, failed, reports;
};

struct swarm {
	uv_loop_t *loop;
	struct identities all;
	unsigned from, count;
	struct sockaddr_in endpoints[ENDPOINTS_MAX];
	char hosts[ENDPOINTS_MAX][64];
	unsigned endpoint_count;
	unsigned in_flight_max; /* dialling at once */
	bool standby; /* each keeps a second connection, as docs/protocol/channel.md says */
	int first;    /* the endpoint that all dial first; -1: each another one */
	struct shared_journal *journal;
	char actions[PATH_MAX - 16]; /* folder of their journals */
	int ledger;
	char *lines; /* of the ledger, not yet written */
	size_t lines_used;
	struct sim_gateway *gateways;
	struct swarm_counts counts;
	unsigned cursor; /* where dialling goes on */
	bool stopping;
};

/* ---- swarm_gateway.c ---- */

void sim_init(struct swarm *swarm, struct sim_gateway *gateway, uint32_t index);
/* What the journal kept of it. */
void sim_recall(struct sim_gateway *gateway, enum journal_kind kind, const uint8_t *bytes,
		size_t length);
void sim_dial(struct sim_path *path);
/* Does what follows from the state of its connections. */
void sim_settle(struct sim_gateway *gateway);
/* Drain came; "": no place was named. After the answer. */
void sim_leave(struct sim_path *path, const char *endpoint);
/* The active connection; NULL: none. */
struct sim_path *sim_active(struct sim_gateway *gateway);
/* The connection of this number; NULL: it has ended. */
struct sim_path *sim_path_of(struct sim_gateway *gateway, unsigned connection);
/* Whatever is due: a standby, a report, the effect of an action. */
void sim_tick(struct sim_gateway *gateway, uint64_t now_ms);
void sim_close(struct sim_gateway *gateway);
void sim_free(struct sim_gateway *gateway);
void sim_enter(struct sim_path *path, enum sim_state state);

/* ---- swarm_requests.c ---- */

void sim_requested(struct sim_path *path, const struct hf_session_event *event);
/* On the active connection. */
void sim_report(struct sim_path *path);
/* A standby says how the active connection is. */
void sim_tell(struct sim_path *path, Holdfast__PathState state);
/* NULL: it has ended, and nothing is said. */
void sim_answer(struct sim_path *path, Holdfast__Answer *message, uint64_t request, int err,
		const char *reason);
void sim_answer_plainly(struct sim_path *path, uint64_t request, int err, const char *reason);

void sim_refuse(struct sim_path *path, uint64_t request, int err, const char *reason,
		bool full_wanted);

/* ---- swarm_keys.c ---- */

void sim_rotate(struct sim_path *path, uint64_t request, const Holdfast__Signed *packet);
void sim_confirm(struct sim_path *path, uint64_t request, const Holdfast__Signed *packet);

/* ---- swarm_actions.c ---- */

/* What its folder kept, if there is one. */
void sim_actions_recall(struct sim_gateway *gateway);
void sim_act(struct sim_path *path, const struct hf_session_event *event);
void sim_forget(struct sim_path *path, const struct hf_session_event *event);
void sim_actions_tick(struct sim_gateway *gateway, uint64_t now_ms);
void sim_actions_free(struct sim_gateway *gateway);

/* ---- swarm.c ---- */

/* One line of the ledger: time in µs since 1970, kind, gateway, epoch, three numbers, text. */
void swarm_ledger(struct sim_gateway *gateway, const char *kind, uint64_t a, uint64_t b, uint64_t c,
		  const char *text);

#endif
