/* One simulated gateway's connection: dial, handshake, Connect, and the back-off after its end. */
#include "tests/channel/swarm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"

#define BOOT_BYTES 16u

void sim_enter(struct sim_gateway *g, enum sim_state state)
{
	g->swarm->counts.states[g->state]--;
	g->swarm->counts.states[state]++;
	g->state = state;
}

void sim_init(struct swarm *swarm, struct sim_gateway *g, uint32_t index)
{
	g->swarm = swarm;
	g->index = index;
	g->next_endpoint = index % swarm->endpoint_count;
	swarm->counts.states[SIM_WAITING]++;
	identity_derive(swarm->all.seed, index, &g->identity);
}

void sim_recall(struct sim_gateway *g, enum journal_kind kind, const uint8_t *bytes, size_t length)
{
	struct hf_document *document;
	struct hf_errmsg why = {""};
	Holdfast__Signed *packet;

	if (kind == JOURNAL_EPOCH && length == 8) {
		g->highest_epoch = hf_get_le64(bytes);
		return;
	}
	packet = holdfast__signed__unpack(NULL, length, bytes);
	if (!packet || hf_document_open(g->swarm->all.signer_key, g->swarm->all.tenant,
					g->identity.gateway, packet, &document, &why) != 0)
		die("a kept document does not open: %s", why.text);
	holdfast__signed__free_unpacked(packet, NULL);
	hf_document_free(g->current);
	g->current = document;
	g->incarnation = document->content->incarnation;
	g->generation = document->content->generation;
	memcpy(g->hash, document->hash, sizeof g->hash);
}

/* ---- The end of a connection ---- */

static void wait_before_next(struct sim_gateway *g)
{
	uint32_t random, wait_ms;

	hf_random(&random, sizeof random);
	wait_ms = hf_backoff_next_ms(&g->backoff, random);
	if (wait_ms < g->retry_ms)
		wait_ms = g->retry_ms;
	g->retry_ms = 0;
	g->due_ms = uv_now(g->swarm->loop) + wait_ms;
	sim_enter(g, SIM_WAITING);
}

static void ended(struct sim_gateway *g, const struct hf_session_event *event)
{
	struct hf_wire *wire = g->wire;

	if (!wire)
		return;
	g->wire = NULL;
	g->epoch = g->interval_ms = 0;
	g->swarm->counts.ended++;
	hf_wire_close(wire, true);
	swarm_ledger(g, "ended", (uint64_t)-event->status, 0, 0, event->reason);
	wait_before_next(g);
}

static void held(struct sim_gateway *g, uint64_t epoch)
{
	uint8_t bytes[8];

	hf_put_le64(bytes, epoch);
	journal_add(g->swarm->journal, g->index, JOURNAL_EPOCH, bytes, sizeof bytes);
	g->epoch = g->highest_epoch = epoch;
	g->backoff.failures = 0;
	sim_enter(g, SIM_HELD);
	swarm_ledger(g, "held", 0, 0, 0, "");
}

static void on_event(void *context, const struct hf_session_event *event)
{
	struct sim_gateway *g = context;

	switch (event->type) {
	case HF_EVENT_HELD:
		held(g, event->held->epoch);
		break;
	case HF_EVENT_PARKED:
		g->backoff.failures = 0;
		sim_enter(g, SIM_PARKED);
		break;
	case HF_EVENT_REQUEST:
		sim_requested(g, event);
		break;
	case HF_EVENT_RETRY:
		g->retry_ms = event->retry_ms;
		g->swarm->counts.retried++;
		break;
	case HF_EVENT_ENDED:
		ended(g, event);
		break;
	default:
		break;
	}
}

/* ---- The start ---- */

static void say_connect(struct sim_gateway *g)
{
	Holdfast__Connect connect = HOLDFAST__CONNECT__INIT;
	Holdfast__Applied applied = HOLDFAST__APPLIED__INIT;
	uint8_t boot[BOOT_BYTES] = {0};
	char version[] = "swarm";

	hf_put_le64(boot, (uint64_t)getpid());
	applied.incarnation = g->incarnation;
	applied.generation = g->generation;
	if (g->incarnation)
		applied.hash = (ProtobufCBinaryData){sizeof g->hash, g->hash};
	connect.gateway = g->identity.gateway;
	connect.role =
		g->swarm->standby ? HOLDFAST__ROLE__ROLE_STANDBY : HOLDFAST__ROLE__ROLE_ACTIVE;
	connect.boot = (ProtobufCBinaryData){sizeof boot, boot};
	connect.capability = HF_CAPABILITY;
	connect.applied = &applied;
	connect.last_epoch = g->highest_epoch;
	connect.version = version;
	hf_session_connect(hf_wire_session(g->wire), hf_wire_now_ms(g->wire), &connect);
	if (g->wire)
		hf_wire_sent(g->wire);
}

static void opened(void *context, const struct hf_peer *peer)
{
	struct sim_gateway *g = context;
	struct hf_wire_config config = {.kind = HF_SESSION_MANAGEMENT,
					.floor_epoch = g->highest_epoch,
					.event = on_event,
					.context = g};
	struct hf_stream *stream = g->stream;

	(void)peer;
	g->stream = NULL;
	g->connections++;
	if (hf_wire_open(g->swarm->loop, stream, &config, &g->wire) != 0)
		die("out of memory");
	sim_enter(g, SIM_ASKING);
	say_connect(g);
}

static void failed(struct sim_gateway *g, const char *reason)
{
	g->swarm->counts.refused++;
	swarm_ledger(g, "failed", 0, 0, 0, reason);
	wait_before_next(g);
}

static void lost(void *context, int err, const char *reason)
{
	struct sim_gateway *g = context;

	(void)err;
	hf_stream_close(g->stream, NULL, NULL);
	g->stream = NULL;
	failed(g, reason);
}

static struct hf_tls *own_tls(struct sim_gateway *g)
{
	const struct identities *all = &g->swarm->all;
	struct hf_tls_options options = {
		.alpn = HF_ALPN_MANAGEMENT,
		.key = &g->identity.key,
		.certificate = all->certificates[g->index].der,
		.certificate_length = all->certificates[g->index].length,
		.authority = all->authority.der,
		.authority_length = all->authority.length,
	};
	struct hf_errmsg message = {""};
	struct hf_tls *tls;

	if (hf_tls_create(&options, &tls, &message) != 0)
		die("%s", message.text);
	return tls;
}

void sim_dial(struct sim_gateway *g)
{
	struct hf_stream_callbacks callbacks = {.opened = opened, .lost = lost, .context = g};
	struct swarm *swarm = g->swarm;
	unsigned at = g->next_endpoint++ % swarm->endpoint_count;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct hf_tls *tls;

	swarm->counts.dialled++;
	sim_enter(g, SIM_DIALLING);
	if (fd < 0 || (connect(fd, (struct sockaddr *)&swarm->endpoints[at],
			       sizeof swarm->endpoints[at]) != 0 &&
		       errno != EINPROGRESS)) {
		const char *reason = strerror(errno);

		if (fd >= 0)
			close(fd);
		failed(g, reason);
		return;
	}
	tls = own_tls(g);
	if (hf_stream_open(swarm->loop, tls, fd, swarm->hosts[at], &callbacks, &g->stream) != 0)
		die("out of memory");
	hf_tls_destroy(tls);
}

void sim_tick(struct sim_gateway *g, uint64_t now_ms)
{
	if (g->wire && g->interval_ms && now_ms >= g->report_ms)
		sim_report(g);
	sim_actions_tick(g, now_ms);
}

void sim_close(struct sim_gateway *g)
{
	if (g->stream)
		hf_stream_close(g->stream, NULL, NULL);
	g->stream = NULL;
	if (g->wire)
		hf_wire_close(g->wire, false);
	g->wire = NULL;
}

void sim_free(struct sim_gateway *g)
{
	hf_document_free(g->current);
	sim_actions_free(g);
}
