/* Listening, and which ring holds which volume.
 *
 * A volume is on one ring. A session's binding waits while the volume is unknown to the core or
 * another session, also a dead one that still drains, holds it. A ring whose connection is gone may
 * come back under its name (volumed hung up, or the shim did); when other rings hold every volume
 * it had, it is dead for good and the core can forget its results. */
#include "gateway/volumed/ring_host_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/log.h"

#define RINGS_MAX 64u /* names remembered */
HF_STATIC_ASSERT(RINGS_MAX > HF_RING_SESSIONS_MAX + HF_RING_DRAINS_MAX, "a name for each session");
#define BIND_RETRY_MS  250u /* the core says when a volume appears; this is only the belt */
#define ACCEPTS_A_TURN 16u
#define HELD_BUCKETS   256u

/* A ring's name and the volumes it has, or had when it was last connected. */
struct ring {
	bool used, connected;
	bool had_volumes; /* else those of the last volumed may still wait for it */
	uint8_t uuid[16];
	unsigned volume_count;
	uint64_t volumes[HF_RING_VOLUMES_MAX];
};

struct hf_ring_host {
	uv_loop_t *loop;
	struct hf_core *core;
	const struct hf_ring_keeper *keeper;
	uid_t tgt_uid;
	unsigned tgtds;
	uint32_t (*tgtd_of)(void *context, uint64_t volume);
	void *tgtd_context;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	int socket;
	uv_poll_t listen_poll;
	uv_prepare_t prepare;
	uv_check_t check;
	uv_idle_t idle; /* active: something is to be taken */
	uv_timer_t bind_timer;
	unsigned handles_open;
	struct hf_list sessions; /* oldest first */
	unsigned session_count;
	bool something_changed, bind_owed;
	struct hf_list held[HELD_BUCKETS]; /* bindings, also of those that drain, by volume */
	struct hf_ring_tiers *tiers;
	struct ring rings[RINGS_MAX];
	void (*closed)(void *context); /* set while closing */
	void *closed_context;
};

struct hf_core *hf_ring_host_core(struct hf_ring_host *host)
{
	return host->core;
}

struct hf_ring_tiers *hf_ring_host_tiers(const struct hf_ring_host *host)
{
	return host->tiers;
}

const struct hf_ring_keeper *hf_ring_host_keeper(struct hf_ring_host *host)
{
	return host->keeper;
}

uv_loop_t *hf_ring_host_loop(struct hf_ring_host *host)
{
	return host->loop;
}

static struct hf_ring_session *session_at(struct hf_ring_host *host, struct hf_list *link)
{
	return link == &host->sessions ? NULL : hf_container_of(link, struct hf_ring_session, link);
}

static struct hf_ring_session *first_session(struct hf_ring_host *host)
{
	return session_at(host, host->sessions.next);
}

static struct hf_ring_session *next_session(struct hf_ring_host *host,
					    struct hf_ring_session *session)
{
	return session_at(host, session->link.next);
}

/* ---- Names of rings ---- */

static struct ring *ring_named(struct hf_ring_host *host, const uint8_t uuid[16])
{
	for (unsigned i = 0; i < RINGS_MAX; i++) {
		if (host->rings[i].used && memcmp(host->rings[i].uuid, uuid, 16) == 0)
			return &host->rings[i];
	}
	return NULL;
}

static struct ring *ring_add(struct hf_ring_host *host, const uint8_t uuid[16])
{
	struct ring *place = NULL;

	for (unsigned i = 0; i < RINGS_MAX; i++) {
		if (!host->rings[i].used) {
			place = &host->rings[i];
			break;
		}
		if (!host->rings[i].connected && !place)
			place = &host->rings[i]; /* the core keeps its results: only memory */
	}
	HF_ASSERT(place != NULL); /* there are more names than sessions */
	*place = (struct ring){.used = true};
	memcpy(place->uuid, uuid, 16);
	return place;
}

static void ring_lose_volume(struct hf_ring_host *host, struct ring *ring, uint64_t volume)
{
	for (unsigned i = 0; i < ring->volume_count; i++) {
		if (ring->volumes[i] == volume) {
			ring->volumes[i] = ring->volumes[--ring->volume_count];
			break;
		}
	}
	if (ring->connected || ring->volume_count > 0 || !ring->had_volumes)
		return;
	hf_core_ring_forget(host->core, ring->uuid);
	ring->used = false;
}

static void ring_gain_volume(struct hf_ring_host *host, const uint8_t uuid[16], uint64_t volume)
{
	struct ring *owner = ring_named(host, uuid);
	bool known = false;

	for (unsigned i = 0; i < RINGS_MAX; i++) {
		if (host->rings[i].used && &host->rings[i] != owner)
			ring_lose_volume(host, &host->rings[i], volume);
	}
	owner->had_volumes = true;
	for (unsigned i = 0; i < owner->volume_count; i++)
		known |= owner->volumes[i] == volume;
	if (!known && owner->volume_count < HF_RING_VOLUMES_MAX)
		owner->volumes[owner->volume_count++] = volume;
}

int hf_ring_host_greet(struct hf_ring_host *host, struct hf_ring_session *session)
{
	struct ring *ring;

	for (struct hf_ring_session *other = first_session(host); other;
	     other = next_session(host, other)) {
		if (other == session || other->state != HF_RING_SERVING ||
		    memcmp(other->uuid, session->uuid, 16) != 0)
			continue;
		if (other->pid != session->pid)
			return HF_EBUSY;
		hf_ring_session_drop(other, "its shim connected again");
	}
	ring = ring_named(host, session->uuid);
	if (!ring)
		ring = ring_add(host, session->uuid);
	ring->connected = true;
	return 0;
}

void hf_ring_host_unbound(struct hf_ring_host *host, const struct hf_ring_session *session,
			  uint64_t volume)
{
	ring_lose_volume(host, ring_named(host, session->uuid), volume);
}

/* ---- Bindings ---- */

static bool is_held(struct hf_ring_host *host, uint64_t volume)
{
	hf_list_for_each (link, &host->held[volume % HELD_BUCKETS]) {
		if (hf_container_of(link, struct hf_ring_binding, held)->volume == volume)
			return true;
	}
	return false;
}

static void let_go(struct hf_ring_session *session)
{
	for (unsigned i = 0; i < HF_RING_VOLUMES_MAX; i++) {
		if (session->bindings[i].state == HF_RING_HELD)
			hf_list_remove(&session->bindings[i].held);
	}
}

static bool may_bind(const struct hf_ring_host *host, const struct hf_ring_session *session,
		     uint64_t volume)
{
	return session->tgtd == HF_RING_TRUSTED || !host->tgtd_of ||
	       host->tgtd_of(host->tgtd_context, volume) == (uint32_t)session->tgtd;
}

/* A volume that opens from the store alone takes no requests until the log has its ATTACH record:
 * its shim waits for BOUND, up to the commands' own deadline, instead of failing them at once. */
static bool is_coming(const struct hf_volume_status *status)
{
	return !status->accepting &&
	       (status->state == HF_VOLUME_OPENING || status->state == HF_VOLUME_ATTACHED);
}

/* Binds what can be bound in one session; true if something still waits. */
static bool bind_session(struct hf_ring_host *host, struct hf_ring_session *session)
{
	bool waiting = false;

	for (uint32_t i = 0; i < HF_RING_VOLUMES_MAX; i++) {
		struct hf_ring_binding *binding = &session->bindings[i];
		struct hf_volume_status status;

		if (session->state != HF_RING_SERVING)
			return false;
		if (binding->state != HF_RING_WAITING)
			continue;
		if (!may_bind(host, session, binding->volume) || is_held(host, binding->volume) ||
		    hf_core_volume_status(host->core, binding->volume, &status) != 0 ||
		    is_coming(&status)) {
			waiting = true;
			continue;
		}
		ring_gain_volume(host, session->uuid, binding->volume);
		hf_list_init(&binding->held);
		hf_list_push_back(&host->held[binding->volume % HELD_BUCKETS], &binding->held);
		hf_ring_session_bound(session, i, &status);
	}
	return waiting;
}

static void bind_retry(uv_timer_t *timer);

static void bind_now(struct hf_ring_host *host)
{
	bool waiting = false;

	host->bind_owed = false;
	if (host->closed)
		return;
	for (struct hf_ring_session *session = first_session(host); session;
	     session = next_session(host, session))
		waiting |= bind_session(host, session);
	if (waiting)
		uv_timer_start(&host->bind_timer, bind_retry, BIND_RETRY_MS, 0);
	else
		uv_timer_stop(&host->bind_timer);
}

static void bind_retry(uv_timer_t *timer)
{
	bind_now(timer->data);
}

void hf_ring_host_bind(struct hf_ring_host *host)
{
	host->bind_owed = true;
}

void hf_ring_host_volume_changed(struct hf_ring_host *host, uint64_t volume)
{
	host->something_changed = true;
	hf_ring_tier_volume_changed(host->tiers, volume);
	for (struct hf_ring_session *session = first_session(host); session;
	     session = next_session(host, session)) {
		for (unsigned i = 0; i < HF_RING_VOLUMES_MAX; i++) {
			if (session->bindings[i].volume == volume)
				session->bindings[i].changed = true;
		}
	}
}

/* ---- Once a turn: one wake a shim, whatever was completed ---- */

static void flush(struct hf_ring_host *host)
{
	if (host->something_changed) {
		host->something_changed = false;
		for (struct hf_ring_session *session = first_session(host); session;
		     session = next_session(host, session))
			hf_ring_session_tell_changes(session);
		host->bind_owed = true;
	}
	if (host->bind_owed)
		bind_now(host);
	for (struct hf_ring_session *session = first_session(host); session;
	     session = next_session(host, session)) {
		if (session->requests)
			hf_ring_requests_look(session);
		hf_ring_requests_wake(session);
	}
}

static void not_waiting(uv_idle_t *idle)
{
	(void)idle; /* it is there so that the loop only looks and does not wait */
}

static void before_waiting(uv_prepare_t *prepare)
{
	struct hf_ring_host *host = prepare->data;

	flush(host);
	for (struct hf_ring_session *session = first_session(host); session;
	     session = next_session(host, session)) {
		if (session->state == HF_RING_SERVING && hf_ring_requests_be_quiet(session))
			uv_idle_start(&host->idle, not_waiting);
	}
}

/* Takes what came without a wake. */
static void after_waiting(uv_check_t *check)
{
	struct hf_ring_host *host = check->data;

	uv_idle_stop(&host->idle);
	for (struct hf_ring_session *session = first_session(host); session;
	     session = next_session(host, session)) {
		if (session->state == HF_RING_SERVING)
			hf_ring_requests_take(session);
	}
	flush(host);
}

/* ---- Sessions ---- */

unsigned hf_ring_host_rings(const struct hf_ring_host *host)
{
	unsigned count = 0;

	hf_list_for_each (link, &host->sessions) {
		if (hf_container_of(link, struct hf_ring_session, link)->state == HF_RING_SERVING)
			count++;
	}
	return count;
}

/* Whose connection makes room: of the tgtd that has the most, the first that has said nothing, or
 * its oldest. So neither who connects and says nothing nor who takes all there are keeps others
 * out. */
static struct hf_ring_session *too_much(struct hf_ring_host *host)
{
	unsigned counts[HF_RING_TGTDS_MAX + 1] = {0}, most = 0; /* the first: HF_RING_TRUSTED */
	struct hf_ring_session *oldest = NULL;

	for (struct hf_ring_session *session = first_session(host); session;
	     session = next_session(host, session)) {
		unsigned number = (unsigned)(session->tgtd - HF_RING_TRUSTED);

		if (session->state < HF_RING_DRAINING && ++counts[number] > counts[most])
			most = number;
	}
	for (struct hf_ring_session *session = first_session(host); session;
	     session = next_session(host, session)) {
		if ((unsigned)(session->tgtd - HF_RING_TRUSTED) != most ||
		    session->state >= HF_RING_DRAINING)
			continue;
		if (session->state == HF_RING_GREETING)
			return session;
		oldest = oldest ? oldest : session;
	}
	return oldest;
}

/* A tgtd has one ring. Each session can have a data area's worth of payload under way, so they are
 * counted for as long as they hold it. */
static bool has_enough(struct hf_ring_host *host, int tgtd)
{
	unsigned count = 0;

	for (struct hf_ring_session *session = first_session(host); session;
	     session = next_session(host, session))
		count += session->tgtd == tgtd;
	return tgtd != HF_RING_TRUSTED && count >= HF_RING_TGTD_SESSIONS_MAX;
}

int hf_ring_host_accepted(struct hf_ring_host *host, struct hf_ring_session *session)
{
	struct hf_ring_session *leaves = session;
	bool one_too_many = has_enough(host, session->tgtd);

	hf_list_push_back(&host->sessions, &session->link);
	if (++host->session_count <= HF_RING_SESSIONS_MAX && !one_too_many)
		return 0;
	/* Those that drain still have their places. */
	if (!one_too_many && host->session_count <= HF_RING_SESSIONS_MAX + HF_RING_DRAINS_MAX)
		leaves = too_much(host);
	if (leaves)
		hf_ring_session_drop(leaves, "too many connections");
	return 0;
}

static void finish_closing(struct hf_ring_host *host)
{
	if (!host->closed || host->handles_open > 0 || host->session_count > 0)
		return;
	host->closed(host->closed_context);
	hf_ring_tiers_destroy(host->tiers);
	free(host);
}

void hf_ring_host_gone(struct hf_ring_host *host, struct hf_ring_session *session)
{
	struct ring *ring = session->state == HF_RING_CLOSING && !hf_is_zero(session->uuid, 16)
				    ? ring_named(host, session->uuid)
				    : NULL;

	let_go(session);
	hf_list_remove(&session->link);
	host->session_count--;
	if (ring) {
		ring->connected = false;
		for (struct hf_ring_session *other = first_session(host); other;
		     other = next_session(host, other)) {
			if (other->state == HF_RING_SERVING &&
			    memcmp(other->uuid, session->uuid, 16) == 0)
				ring->connected = true;
		}
		if (ring->volume_count == 0)
			ring_lose_volume(host, ring, 0);
	}
	hf_ring_host_bind(host);
	finish_closing(host);
}

static void accept_one(struct hf_ring_host *host, int socket)
{
	struct ucred peer;
	socklen_t length = sizeof peer;
	int tgtd = HF_RING_TRUSTED;
	int err = getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length);

	if (!err && host->tgt_uid != HF_RING_HOST_NO_UID && peer.uid >= host->tgt_uid &&
	    peer.uid - host->tgt_uid < host->tgtds)
		tgtd = (int)(peer.uid - host->tgt_uid);
	if (err || (tgtd == HF_RING_TRUSTED && peer.uid != 0 && peer.uid != geteuid())) {
		hf_warn("ring refused: uid=%u may not connect", (unsigned)peer.uid);
		close(socket);
		return;
	}
	if (hf_ring_session_accept(host, socket, peer.pid, tgtd) != 0)
		close(socket);
}

static void listen_ready(uv_poll_t *poll, int status, int events)
{
	struct hf_ring_host *host = poll->data;

	(void)events;
	for (unsigned i = 0; status == 0 && i < ACCEPTS_A_TURN; i++) {
		int socket = accept4(host->socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (socket < 0)
			return;
		accept_one(host, socket);
	}
}

/* ---- Opening and closing ---- */

static int open_socket(struct hf_ring_host *host, struct hf_errmsg *message)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int probe;

	memcpy(address.sun_path, host->path, sizeof host->path);
	probe = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (probe >= 0 && connect(probe, (struct sockaddr *)&address, sizeof address) == 0) {
		close(probe);
		return hf_fail(message, HF_EBUSY, "%s: another process listens", host->path);
	}
	close(probe);
	unlink(host->path);
	host->socket = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (host->socket < 0)
		return hf_fail(message, HF_EIO, "socket: %s", strerror(errno));
	/* Anybody may knock where the directory lets him; the uid decides. */
	if (bind(host->socket, (struct sockaddr *)&address, sizeof address) != 0 ||
	    chmod(host->path, host->tgt_uid == HF_RING_HOST_NO_UID ? 0600 : 0666) != 0 ||
	    listen(host->socket, 64) != 0) {
		close(host->socket);
		return hf_fail(message, HF_EIO, "%s: %s", host->path, strerror(errno));
	}
	return 0;
}

static void open_handles(struct hf_ring_host *host)
{
	uv_poll_init(host->loop, &host->listen_poll, host->socket);
	uv_prepare_init(host->loop, &host->prepare);
	uv_check_init(host->loop, &host->check);
	uv_idle_init(host->loop, &host->idle);
	uv_timer_init(host->loop, &host->bind_timer);
	host->listen_poll.data = host->prepare.data = host->check.data = host->idle.data =
		host->bind_timer.data = host;
	host->handles_open = 5;
	uv_poll_start(&host->listen_poll, UV_READABLE, listen_ready);
	uv_prepare_start(&host->prepare, before_waiting);
	uv_check_start(&host->check, after_waiting);
	uv_unref((uv_handle_t *)&host->prepare);
	uv_unref((uv_handle_t *)&host->check);
	uv_unref((uv_handle_t *)&host->bind_timer);
}

int hf_ring_host_open(const struct hf_ring_host_config *config, struct hf_ring_host **out,
		      struct hf_errmsg *message)
{
	struct hf_ring_host *host;
	int err;

	if (strlen(config->path) >= sizeof host->path)
		return hf_fail(message, HF_EINVAL, "%s: longer than a socket's path may be",
			       config->path);
	host = calloc(1, sizeof *host);
	if (!host)
		return hf_fail(message, HF_ENOMEM, "no memory for the ring's host");
	host->loop = config->loop;
	host->core = config->core;
	host->keeper = config->keeper;
	host->tgt_uid = config->tgt_uid;
	HF_ASSERT(config->tgtds <= HF_RING_TGTDS_MAX);
	host->tgtds = config->tgtds ? config->tgtds : 1;
	host->tgtd_of = config->tgtd_of;
	host->tgtd_context = config->tgtd_context;
	strcpy(host->path, config->path);
	hf_list_init(&host->sessions);
	for (unsigned i = 0; i < HELD_BUCKETS; i++)
		hf_list_init(&host->held[i]);
	host->tiers = hf_ring_tiers_create(config->tier_bytes, config->tier_rings);
	err = host->tiers ? open_socket(host, message)
			  : hf_fail(message, HF_ENOMEM, "no memory for the ring's host");
	if (err) {
		if (host->tiers)
			hf_ring_tiers_destroy(host->tiers);
		free(host);
		return err;
	}
	open_handles(host);
	*out = host;
	return 0;
}

static void host_handle_closed(uv_handle_t *handle)
{
	struct hf_ring_host *host = handle->data;

	if (--host->handles_open == 0)
		close(host->socket);
	finish_closing(host);
}

void hf_ring_host_close(struct hf_ring_host *host, void (*closed)(void *context), void *context)
{
	host->closed = closed;
	host->closed_context = context;
	unlink(host->path);
	for (struct hf_ring_session *session = first_session(host); session;
	     session = next_session(host, session))
		hf_ring_session_drop(session, "volumed stops");
	uv_close((uv_handle_t *)&host->listen_poll, host_handle_closed);
	uv_close((uv_handle_t *)&host->prepare, host_handle_closed);
	uv_close((uv_handle_t *)&host->check, host_handle_closed);
	uv_close((uv_handle_t *)&host->idle, host_handle_closed);
	uv_close((uv_handle_t *)&host->bind_timer, host_handle_closed);
}
