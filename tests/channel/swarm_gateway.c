/* One simulated gateway's connections: dial, handshake, Connect, the back-off after an end, and, if
 * the swarm is to have standbys, the second one by the agent's own rules (proto/paths.h). */
#include "tests/channel/swarm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"

#define BOOT_BYTES 16u

void sim_enter(struct sim_path *path, enum sim_state state)
{
	struct swarm_counts *counts = &path->gateway->swarm->counts;

	counts->states[path->state]--;
	counts->states[state]++;
	path->state = state;
}

void sim_init(struct swarm *swarm, struct sim_gateway *g, uint32_t index)
{
	unsigned first = swarm->first >= 0 ? (unsigned)swarm->first : index;

	g->swarm = swarm;
	g->index = index;
	memcpy(g->signer_key, swarm->all.signer_key, sizeof g->signer_key);
	hf_paths_init(&g->paths, 0);
	g->paths.elsewhere = swarm->standby && swarm->endpoint_count > 1;
	for (unsigned i = 0; i < HF_PATHS; i++) {
		g->path[i].gateway = g;
		g->path[i].index = i;
		g->path[i].next_endpoint = (first + i) % swarm->endpoint_count;
		swarm->counts.states[SIM_RESTING]++;
	}
	identity_derive(swarm->all.seed, index, &g->identity);
}

static void recall_document(struct sim_gateway *g, const uint8_t *bytes, size_t length)
{
	struct hf_document *document;
	struct hf_errmsg why = {""};
	Holdfast__Signed *packet = holdfast__signed__unpack(NULL, length, bytes);

	if (!packet || hf_document_open(g->signer_key, g->swarm->all.tenant, g->identity.gateway,
					packet, &document, &why) != 0)
		die("a kept document does not open: %s", why.text);
	holdfast__signed__free_unpacked(packet, NULL);
	hf_document_free(g->current);
	g->current = document;
	g->incarnation = document->content->incarnation;
	g->generation = document->content->generation;
	memcpy(g->hash, document->hash, sizeof g->hash);
}

void sim_recall(struct sim_gateway *g, enum journal_kind kind, const uint8_t *bytes, size_t length)
{
	if (kind == JOURNAL_EPOCH && length == 8) {
		g->paths.epoch = hf_get_le64(bytes);
	} else if (kind == JOURNAL_TOKEN && length == sizeof g->token) {
		memcpy(g->token, bytes, sizeof g->token);
		g->token_length = sizeof g->token;
	} else if (kind == JOURNAL_SIGNER && length == sizeof g->signer_key) {
		memcpy(g->signer_key, bytes, sizeof g->signer_key);
	} else if (kind == JOURNAL_CERTIFICATE) {
		certificate_set(&g->renewed, bytes, length);
	} else if (kind == JOURNAL_DOCUMENT) {
		recall_document(g, bytes, length);
	} else {
		die("the journal holds what nobody wrote");
	}
}

struct sim_path *sim_active(struct sim_gateway *g)
{
	int active = hf_paths_active(&g->paths);

	return active < 0 ? NULL : &g->path[active];
}

struct sim_path *sim_path_of(struct sim_gateway *g, unsigned connection)
{
	for (unsigned i = 0; i < HF_PATHS; i++)
		if (g->path[i].wire && g->path[i].connection == connection)
			return &g->path[i];
	return NULL;
}

/* ---- What follows ---- */

static void wait_before_next(struct sim_path *path)
{
	uint32_t random, wait_ms;

	hf_random(&random, sizeof random);
	wait_ms = hf_backoff_next_ms(&path->backoff, random);
	if (wait_ms < path->retry_ms)
		wait_ms = path->retry_ms;
	path->retry_ms = 0;
	path->due_ms = uv_now(path->gateway->swarm->loop) + wait_ms;
	sim_enter(path, SIM_WAITING);
}

static void want(struct sim_path *path)
{
	struct hf_paths *paths = &path->gateway->paths;
	bool moving = paths->moving == (int)path->index;

	hf_paths_dialling(paths, path->index);
	if (path->lost && !moving) {
		wait_before_next(path);
	} else {
		path->due_ms = 0;
		sim_enter(path, SIM_WAITING);
	}
	path->lost = false;
}

static void close_path(struct sim_path *path)
{
	if (path->wire) {
		hf_session_end(hf_wire_session(path->wire), HF_ECANCELED,
			       "the other connection is the active one");
		return; /* `ended` has settled */
	}
	if (path->stream)
		hf_stream_close(path->stream, NULL, NULL);
	path->stream = NULL;
	hf_paths_ended(&path->gateway->paths, path->index);
	path->lost = true;
	sim_enter(path, SIM_RESTING);
}

void sim_settle(struct sim_gateway *g)
{
	for (unsigned i = 0; i < HF_PATHS && !g->swarm->stopping; i++)
		if (hf_paths_must_close(&g->paths, i))
			close_path(&g->path[i]);
	for (unsigned i = 0; i < HF_PATHS && !g->swarm->stopping; i++) {
		struct sim_path *path = &g->path[i];
		int tells = (int)hf_paths_tells(&g->paths, i);

		if (hf_paths_wants_dial(&g->paths, i))
			want(path);
		if (path->state == SIM_PARKED && g->paths.path[i].subscribed &&
		    path->told != tells) {
			path->told = tells;
			sim_tell(path, (Holdfast__PathState)tells);
		}
	}
}

/* ---- Drain ---- */

static int find_endpoint(const struct swarm *swarm, const char *text)
{
	char host[HF_ENDPOINT_MAX];
	uint16_t port;

	if (hf_endpoint_parse(text, host, sizeof host, &port) != 0)
		return -1;
	for (unsigned i = 0; i < swarm->endpoint_count; i++)
		if (strcmp(host, swarm->hosts[i]) == 0 &&
		    ntohs(swarm->endpoints[i].sin_port) == port)
			return (int)i;
	return -1;
}

static void prefer(struct sim_path *path, const char *endpoint)
{
	int found = find_endpoint(path->gateway->swarm, endpoint);

	if (found >= 0)
		path->next_endpoint = (unsigned)found;
}

void sim_leave(struct sim_path *path, const char *endpoint)
{
	struct sim_gateway *g = path->gateway;
	struct sim_path *two = &g->path[1 - path->index];
	bool there = !endpoint[0] || find_endpoint(g->swarm, endpoint) == (int)two->endpoint;
	enum hf_paths_leave how =
		g->swarm->standby ? hf_paths_drain(&g->paths, path->index, there) : HF_LEAVE_END;

	if (how == HF_LEAVE_END) {
		prefer(path, endpoint);
		hf_session_end(hf_wire_session(path->wire), HF_EAGAIN,
			       "the provider asked to connect anew");
		return;
	}
	if (how == HF_LEAVE_DIAL) {
		prefer(two, endpoint);
		if (two->state == SIM_WAITING)
			two->due_ms = 0;
	}
	sim_settle(g);
}

/* ---- A connection ---- */

static void ended(struct sim_path *path, const struct hf_session_event *event)
{
	struct sim_gateway *g = path->gateway;
	struct hf_wire *wire = path->wire;

	if (!wire)
		return;
	if (sim_active(g) == path)
		g->interval_ms = 0;
	path->wire = NULL;
	path->lost = true;
	path->told = 0;
	g->swarm->counts.ended++;
	hf_wire_close(wire, true);
	hf_paths_ended(&g->paths, path->index);
	sim_enter(path, SIM_RESTING);
	swarm_ledger(g, "ended", (uint64_t)-event->status, 0, 0, event->reason);
	sim_settle(g);
}

static void expect_standby(struct sim_gateway *g, uint32_t within_ms)
{
	uint32_t random;

	if (!g->paths.elsewhere)
		return;
	hf_random(&random, sizeof random);
	g->paths.standby_due = false;
	g->standby_due_ms = uv_now(g->swarm->loop) + 1 + (within_ms ? random % within_ms : 0);
}

struct keeping {
	struct sim_gateway *gateway;
	unsigned connection;
};

static void kept(void *context)
{
	struct keeping *keeping = context;
	struct sim_path *path = sim_path_of(keeping->gateway, keeping->connection);

	if (path) {
		path->unkept = false;
		swarm_ledger(keeping->gateway, "ready", 0, 0, 0, "");
	}
	free(keeping);
}

/* Epoch and token are durable before anything is answered: the provider takes the first answer for
 * the word that the token is. */
static void keep(struct sim_path *path, const Holdfast__Held *told)
{
	struct sim_gateway *g = path->gateway;
	struct keeping *keeping = malloc(sizeof *keeping);
	uint8_t bytes[8];

	if (!keeping)
		die("out of memory");
	*keeping = (struct keeping){g, path->connection};
	hf_put_le64(bytes, told->epoch);
	journal_add(g->swarm->journal, g->index, JOURNAL_EPOCH, bytes, sizeof bytes);
	if (told->token.len == sizeof g->token) {
		memcpy(g->token, told->token.data, sizeof g->token);
		g->token_length = sizeof g->token;
		journal_add(g->swarm->journal, g->index, JOURNAL_TOKEN, g->token, sizeof g->token);
	}
	path->unkept = true;
	journal_wait(g->swarm->journal, kept, keeping);
}

static void held(struct sim_path *path, const Holdfast__Held *told)
{
	struct sim_gateway *g = path->gateway;
	struct sim_path *two = &g->path[1 - path->index];

	keep(path, told);
	hf_paths_held(&g->paths, path->index, told);
	if (two->wire)
		hf_session_raise_floor(hf_wire_session(two->wire), told->epoch);
	g->interval_ms = 0; /* of the connection before */
	path->backoff.failures = 0;
	swarm_ledger(g, "held", path->state == SIM_PARKED, 0, 0, "");
	sim_enter(path, SIM_HELD);
	expect_standby(g, told->standby_ms);
	sim_settle(g);
}

static void parked(struct sim_path *path, const Holdfast__Parked *told)
{
	hf_paths_parked(&path->gateway->paths, path->index, told);
	path->backoff.failures = 0;
	sim_enter(path, SIM_PARKED);
	sim_settle(path->gateway);
}

static void on_event(void *context, const struct hf_session_event *event)
{
	struct sim_path *path = context;

	switch (event->type) {
	case HF_EVENT_HELD:
		held(path, event->held);
		break;
	case HF_EVENT_PARKED:
		parked(path, event->parked);
		break;
	case HF_EVENT_REQUEST:
		sim_requested(path, event);
		break;
	case HF_EVENT_RETRY:
		path->retry_ms = event->retry_ms;
		prefer(path, event->endpoint);
		path->gateway->swarm->counts.retried++;
		break;
	case HF_EVENT_ENDED:
		ended(path, event);
		break;
	default:
		break;
	}
}

/* ---- The start ---- */

static void say_connect(struct sim_path *path, Holdfast__Role role)
{
	struct sim_gateway *g = path->gateway;
	Holdfast__Connect connect = HOLDFAST__CONNECT__INIT;
	Holdfast__Applied applied = HOLDFAST__APPLIED__INIT;
	uint8_t boot[BOOT_BYTES] = {0}, key_id[HF_KEY_ID_BYTES];
	char version[] = "swarm";

	hf_put_le64(boot, (uint64_t)getpid());
	applied.incarnation = g->incarnation;
	applied.generation = g->generation;
	if (g->incarnation)
		applied.hash = (ProtobufCBinaryData){sizeof g->hash, g->hash};
	connect.gateway = g->identity.gateway;
	connect.role = role;
	connect.boot = (ProtobufCBinaryData){sizeof boot, boot};
	connect.capability = HF_CAPABILITY;
	connect.applied = &applied;
	connect.last_epoch = g->paths.epoch;
	connect.version = version;
	hf_sign_key_id(g->signer_key, key_id);
	connect.signer_key = (ProtobufCBinaryData){sizeof key_id, key_id};
	connect.token = (ProtobufCBinaryData){g->token_length, g->token};
	hf_session_connect(hf_wire_session(path->wire), hf_wire_now_ms(path->wire), &connect);
	if (path->wire)
		hf_wire_sent(path->wire);
}

static void opened(void *context, const struct hf_peer *peer)
{
	struct sim_path *path = context;
	struct sim_gateway *g = path->gateway;
	struct hf_wire_config config = {.kind = HF_SESSION_MANAGEMENT,
					.floor_epoch = g->paths.epoch,
					.event = on_event,
					.context = path};
	struct hf_stream *stream = path->stream;

	(void)peer;
	path->stream = NULL;
	path->connection = ++g->connections;
	if (hf_wire_open(g->swarm->loop, stream, &config, &path->wire) != 0)
		die("out of memory");
	sim_enter(path, SIM_ASKING);
	say_connect(path, hf_paths_connected(&g->paths, path->index));
}

static void failed(struct sim_path *path, const char *reason)
{
	path->gateway->swarm->counts.refused++;
	swarm_ledger(path->gateway, "failed", 0, 0, 0, reason);
	wait_before_next(path);
}

static void lost(void *context, int err, const char *reason)
{
	struct sim_path *path = context;

	(void)err;
	hf_stream_close(path->stream, NULL, NULL);
	path->stream = NULL;
	failed(path, reason);
}

static struct hf_tls *own_tls(struct sim_gateway *g)
{
	const struct identities *all = &g->swarm->all;
	const struct certificate *own = g->renewed.der ? &g->renewed : &all->certificates[g->index];
	struct hf_tls_options options = {
		.alpn = HF_ALPN_MANAGEMENT,
		.key = &g->identity.key,
		.certificate = own->der,
		.certificate_length = own->length,
		.authority = all->authority.der,
		.authority_length = all->authority.length,
	};
	struct hf_errmsg message = {""};
	struct hf_tls *tls;

	if (hf_tls_create(&options, &tls, &message) != 0)
		die("%s", message.text);
	return tls;
}

/* Not where the other connection is, if there is another place. */
static unsigned choose_endpoint(struct sim_path *path)
{
	struct sim_gateway *g = path->gateway;
	struct sim_path *active = sim_active(g);
	unsigned at = path->next_endpoint++ % g->swarm->endpoint_count;

	if (active && active != path && active->endpoint == at && g->swarm->endpoint_count > 1)
		at = path->next_endpoint++ % g->swarm->endpoint_count;
	return at;
}

void sim_dial(struct sim_path *path)
{
	struct hf_stream_callbacks callbacks = {.opened = opened, .lost = lost, .context = path};
	struct swarm *swarm = path->gateway->swarm;
	unsigned at = choose_endpoint(path);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct hf_tls *tls;

	swarm->counts.dialled++;
	sim_enter(path, SIM_DIALLING);
	path->endpoint = at;
	if (fd < 0 || (connect(fd, (struct sockaddr *)&swarm->endpoints[at],
			       sizeof swarm->endpoints[at]) != 0 &&
		       errno != EINPROGRESS)) {
		const char *reason = strerror(errno);

		if (fd >= 0)
			close(fd);
		failed(path, reason);
		return;
	}
	tls = own_tls(path->gateway);
	if (hf_stream_open(swarm->loop, tls, fd, swarm->hosts[at], &callbacks, &path->stream) != 0)
		die("out of memory");
	hf_tls_destroy(tls);
}

void sim_tick(struct sim_gateway *g, uint64_t now_ms)
{
	struct sim_path *active = sim_active(g);

	if (active && g->interval_ms && now_ms >= g->report_ms)
		sim_report(active);
	sim_actions_tick(g, now_ms);
	if (!g->standby_due_ms || now_ms < g->standby_due_ms)
		return;
	g->standby_due_ms = 0;
	g->paths.standby_due = true;
	sim_settle(g);
}

void sim_close(struct sim_gateway *g)
{
	for (unsigned i = 0; i < HF_PATHS; i++) {
		struct sim_path *path = &g->path[i];

		if (path->stream)
			hf_stream_close(path->stream, NULL, NULL);
		path->stream = NULL;
		if (path->wire)
			hf_wire_close(path->wire, false);
		path->wire = NULL;
	}
}

void sim_free(struct sim_gateway *g)
{
	hf_document_free(g->current);
	free(g->renewed.der);
	sim_actions_free(g);
}
