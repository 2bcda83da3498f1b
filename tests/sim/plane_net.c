/* The network of sim_plane: listeners, paths and streams (net/stream.h, net/path.h) without sockets
 * and TLS. A connection is two streams; bytes arrive late and in pieces, or never. Who is at the
 * other end is what the certificate says that was given to hf_tls_create. */
#include <stdlib.h>
#include <string.h>

#include "net/identity.h"
#include "net/path.h"
#include "net/tls_internal.h"
#include "tests/sim/plane.h"

#define LISTENERS_MAX 16u
#define CONNS_MAX     256u
#define SLOW_MS       3000u
#define TIMEOUT_MS    10000u

struct hf_listener {
	char address[64];
	struct hf_listener_config config;
	struct sim_process *owner;
};

struct hf_tls {
	unsigned users;
	struct hf_certificate_info info;
	bool certified;
};

struct hf_path {
	struct hf_path_config config;
	char endpoint[64];
	struct sim_process *owner;
	uv_timer_t timer;
	bool reached;
};

struct hf_stream {
	struct conn *conn;
	struct sim_process *owner;
	struct hf_stream_callbacks callbacks;
	struct hf_peer peer;
	/* On its way to here. */
	uint8_t *bytes;
	size_t used, room;
	bool ending, rude;
	uint32_t delay_ms;
	uv_timer_t arrival;
	bool lost, closed, gone;
	void (*on_closed)(void *context);
	void *closed_context;
};

/* [0] is the gateway's. */
struct conn {
	bool used, silent;
	uint64_t epoch;
	struct hf_stream sides[2];
};

static struct hf_listener *listeners[LISTENERS_MAX];
static struct conn *conns[CONNS_MAX];

/* ---- TLS ---- */

int hf_tls_create(const struct hf_tls_options *options, struct hf_tls **out,
		  struct hf_errmsg *message)
{
	struct hf_tls *tls = calloc(1, sizeof *tls);

	HF_ASSERT(tls);
	tls->users = 1;
	tls->certified = options->certificate_length > 0;
	if (tls->certified && hf_certificate_parse(options->certificate,
						   options->certificate_length, &tls->info) != 0) {
		free(tls);
		return hf_fail(message, HF_EINVAL, "the certificate is none");
	}
	*out = tls;
	return 0;
}

struct hf_tls *hf_tls_hold(struct hf_tls *tls)
{
	if (tls)
		tls->users++;
	return tls;
}

void hf_tls_destroy(struct hf_tls *tls)
{
	if (tls && --tls->users == 0)
		free(tls);
}

/* ---- Listening ---- */

int hf_listener_open(uv_loop_t *loop, const struct hf_listener_config *config,
		     struct hf_listener **out, struct hf_errmsg *message)
{
	struct hf_listener *listener = calloc(1, sizeof *listener);

	(void)loop;
	(void)message;
	HF_ASSERT(listener);
	listener->config = *config;
	listener->owner = sim_world.current;
	snprintf(listener->address, sizeof listener->address, "%s", config->address);
	for (unsigned i = 0; i < LISTENERS_MAX; i++)
		if (!listeners[i]) {
			listeners[i] = *out = listener;
			return 0;
		}
	HF_ASSERT(!"too many listeners");
	return HF_EBUSY;
}

bool hf_listener_busy(const struct hf_listener *listener)
{
	(void)listener;
	return false;
}

uint16_t hf_listener_port(const struct hf_listener *listener)
{
	(void)listener;
	return 1;
}

void hf_listener_counts(const struct hf_listener *listener, struct hf_listener_counts *counts)
{
	(void)listener;
	memset(counts, 0, sizeof *counts);
}

void hf_listener_set_tls(struct hf_listener *listener, struct hf_tls *tls)
{
	(void)listener;
	(void)tls;
}

void hf_listener_close(struct hf_listener *listener, void (*closed)(void *context), void *context)
{
	for (unsigned i = 0; i < LISTENERS_MAX; i++)
		if (listeners[i] == listener)
			listeners[i] = NULL;
	if (closed)
		sim_post(&listener->owner->loop, closed, context);
	free(listener);
}

static struct hf_listener *find_listener(const char *address)
{
	for (unsigned i = 0; i < LISTENERS_MAX; i++)
		if (listeners[i] && !listeners[i]->owner->dead &&
		    strcmp(listeners[i]->address, address) == 0)
			return listeners[i];
	return NULL;
}

/* ---- Streams ---- */

static struct hf_stream *other(const struct hf_stream *stream)
{
	struct conn *conn = stream->conn;

	return &conn->sides[stream == &conn->sides[0]];
}

static void on_arrival(uv_timer_t *timer);

static void expect(struct hf_stream *to)
{
	if (!uv_is_active((uv_handle_t *)&to->arrival))
		sim_after(&to->arrival, sim_below(to->delay_ms + 1), on_arrival, to);
}

static void lose(struct hf_stream *stream, int err, const char *reason)
{
	if (stream->lost || stream->closed)
		return;
	stream->lost = true;
	stream->callbacks.lost(stream->callbacks.context, err, reason);
}

static void receive(struct hf_stream *to)
{
	uint8_t piece[4096];
	size_t length = to->used < sizeof piece ? to->used : sizeof piece;

	if (!sim_chance(800000))
		length = sim_world.calm ? length : 1 + sim_below(length);
	memcpy(piece, to->bytes, length);
	to->used -= length;
	memmove(to->bytes, to->bytes + length, to->used);
	if (to->owner->kind == SIM_AGENT)
		sim_world.delivering = to->conn;
	to->callbacks.received(to->callbacks.context, piece, length);
	sim_world.delivering = NULL;
}

static void on_arrival(uv_timer_t *timer)
{
	struct hf_stream *to = timer->data;
	struct sim_process *was;

	if (to->conn->silent || to->closed || to->owner->dead)
		return;
	was = sim_enter(to->owner);
	if (to->used)
		receive(to);
	else if (to->ending)
		lose(to, to->rude ? HF_ECONN : 0, "the other side is gone");
	sim_leave(was);
	if (!to->closed && (to->used || (to->ending && !to->lost)))
		expect(to);
}

void hf_stream_set_callbacks(struct hf_stream *stream, const struct hf_stream_callbacks *callbacks)
{
	stream->callbacks = *callbacks;
}

const struct hf_peer *hf_stream_peer(const struct hf_stream *stream)
{
	return &stream->peer;
}

enum hf_hop hf_stream_lost_at(const struct hf_stream *stream)
{
	(void)stream;
	return HF_HOP_PROVIDER;
}

int hf_stream_binding(const struct hf_stream *stream, uint8_t binding[HF_BINDING_BYTES])
{
	(void)stream;
	memset(binding, 0, HF_BINDING_BYTES);
	return 0;
}

int hf_stream_write(struct hf_stream *stream, const uint8_t *bytes, size_t length)
{
	struct hf_stream *to = other(stream);

	if (sim_step_dies())
		return 0;
	if (stream->lost || stream->closed || to->ending)
		return HF_ECONN;
	if (to->closed)
		return 0; /* on its way to nobody; the end comes back */
	if (to->used + length > to->room) {
		to->room = 2 * (to->used + length);
		to->bytes = realloc(to->bytes, to->room);
		HF_ASSERT(to->bytes);
	}
	memcpy(to->bytes + to->used, bytes, length);
	to->used += length;
	expect(to);
	sim_step_dies();
	return 0;
}

/* The other side learns of the end after the last byte; of a death, without what did not arrive. */
static void end_to(struct hf_stream *stream)
{
	struct hf_stream *to = other(stream);
	bool dead = stream->owner->dead;

	if (to->ending || to->closed)
		return;
	to->ending = true;
	to->rude = dead;
	if (dead)
		to->used = 0;
	expect(to);
}

static void finished(void *context)
{
	lose(context, 0, "finished");
}

void hf_stream_finish(struct hf_stream *stream)
{
	end_to(stream);
	sim_post(&stream->owner->loop, finished, stream);
}

static void collect(struct conn *conn)
{
	if (!conn->sides[0].gone || !conn->sides[1].gone)
		return;
	for (unsigned i = 0; i < CONNS_MAX; i++)
		if (conns[i] == conn)
			conns[i] = NULL;
	for (unsigned i = 0; i < 2; i++) {
		uv_timer_stop(&conn->sides[i].arrival);
		free(conn->sides[i].bytes);
	}
	free(conn);
}

static void stream_closed(void *context)
{
	struct hf_stream *stream = context;

	stream->gone = true;
	if (stream->on_closed)
		stream->on_closed(stream->closed_context);
	collect(stream->conn);
}

void hf_stream_close(struct hf_stream *stream, void (*closed)(void *context), void *context)
{
	HF_ASSERT(!stream->closed);
	end_to(stream);
	stream->closed = true;
	stream->on_closed = closed;
	stream->closed_context = context;
	sim_post(&stream->owner->loop, stream_closed, stream);
}

/* ---- Paths ---- */

static struct conn *conn_open(struct hf_path *path, struct hf_listener *listener)
{
	struct conn *conn = calloc(1, sizeof *conn);
	struct hf_certificate_info *info = &path->config.tls->info;
	struct hf_peer *peer = &conn->sides[1].peer;
	unsigned at = 0;

	HF_ASSERT(conn);
	while (at < CONNS_MAX && conns[at])
		at++;
	HF_ASSERT(at < CONNS_MAX);
	conns[at] = conn;
	conn->used = true;
	for (unsigned i = 0; i < 2; i++) {
		conn->sides[i].conn = conn;
		uv_timer_init(&sim_world.loop.uv, &conn->sides[i].arrival);
		/* Most are quick; some are so slow that a later connection overtakes them. */
		conn->sides[i].delay_ms = sim_chance(60000) ? SLOW_MS : 8;
	}
	conn->sides[0].owner = path->owner;
	conn->sides[1].owner = listener->owner;
	snprintf(peer->address, sizeof peer->address, "10.1.0.%u:1", path->owner->index + 1);
	peer->certified = path->config.tls->certified;
	peer->tenant = info->tenant;
	peer->gateway = info->gateway;
	peer->not_before_s = info->not_before_s;
	peer->not_after_s = info->not_after_s;
	memcpy(peer->public_key, info->public_key, HF_KEY_BYTES);
	conn->sides[0].peer.server = conn->sides[0].peer.certified = true;
	return conn;
}

static void fail_path(struct hf_path *path, int err, const char *reason)
{
	struct hf_path_failure failure = {.hop = HF_HOP_TCP, .err = err};

	snprintf(failure.reason, sizeof failure.reason, "%s", reason);
	path->config.failed(path->config.context, &failure);
}

static void on_path(uv_timer_t *timer)
{
	struct hf_path *path = timer->data;
	struct hf_listener *listener = find_listener(path->endpoint);
	struct sim_process *was = sim_enter(path->owner);
	struct conn *conn;

	if (!path->reached) {
		fail_path(path, HF_ETIMEDOUT, "nobody answers");
	} else if (!listener) {
		fail_path(path, HF_ECONN, "connection refused");
	} else {
		conn = conn_open(path, listener);
		sim_enter(listener->owner);
		listener->config.accepted(listener->config.context, &conn->sides[1]);
		sim_enter(path->owner);
		path->config.opened(path->config.context, &conn->sides[0]);
	}
	sim_leave(was);
}

int hf_path_open(const struct hf_path_config *config, struct hf_path **out,
		 struct hf_errmsg *message)
{
	struct hf_path *path = calloc(1, sizeof *path);
	struct sim_process *provider = sim_provider_of(config->endpoint);

	(void)message;
	HF_ASSERT(path);
	path->config = *config;
	path->owner = sim_world.current;
	snprintf(path->endpoint, sizeof path->endpoint, "%s", config->endpoint);
	path->reached = provider && !sim_world.silent_path[path->owner->index][provider->index] &&
			!sim_chance(10000);
	sim_after(&path->timer, path->reached ? 1 + sim_below(20) : TIMEOUT_MS, on_path, path);
	*out = path;
	return 0;
}

int64_t hf_path_proxy_date_s(const struct hf_path *path)
{
	(void)path;
	return 0;
}

void hf_path_close(struct hf_path *path)
{
	uv_timer_stop(&path->timer);
	free(path);
}

/* ---- The world's hand ---- */

uint64_t sim_conn_epoch(const struct conn *conn)
{
	return conn->epoch;
}

void sim_conn_held(struct conn *conn, uint64_t epoch)
{
	conn->epoch = epoch;
}

struct sim_process *sim_conn_provider(const struct conn *conn)
{
	return conn->sides[1].owner;
}

void sim_net_trouble(void)
{
	struct conn *conn = conns[sim_below(32)];

	if (!conn)
		return;
	if (sim_below(2)) {
		conn->silent = true; /* until somebody misses a ping */
		return;
	}
	for (unsigned i = 0; i < 2; i++) {
		conn->sides[i].used = 0;
		conn->sides[i].ending = conn->sides[i].rude = true;
		if (!conn->sides[i].closed)
			expect(&conn->sides[i]);
	}
}

void sim_net_silence(unsigned gateway, unsigned provider)
{
	for (unsigned i = 0; i < CONNS_MAX; i++)
		if (conns[i] && conns[i]->sides[0].owner->index == gateway &&
		    conns[i]->sides[1].owner->index == provider)
			conns[i]->silent = true;
}

void sim_net_open(void)
{
	memset(listeners, 0, sizeof listeners);
	memset(conns, 0, sizeof conns);
}

void sim_net_close(void)
{
	for (unsigned i = 0; i < LISTENERS_MAX; i++)
		HF_ASSERT(!listeners[i]);
	for (unsigned i = 0; i < CONNS_MAX; i++)
		HF_ASSERT(!conns[i]);
}
