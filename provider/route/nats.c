/* The route over NATS. Every process of a registry publishes its hints on one subject and hears
 * those of all others; whoever does not hold the gateway ignores the hint. A subject for each
 * gateway would be a registration to be made for each connection, in a storm for thousands, and to
 * be taken back for one that went stale; a hint is eight bytes.
 *
 * libnats has threads of its own: what it delivers goes into a bounded set under a lock, and
 * uv_async_send wakes the loop. The part that both sides see lives until the last of them has let
 * go (loop, connection, subscription). A hint is published as numbers of 8 bytes, big endian, as
 * many as were made in one turn of the loop.
 *
 * Connecting blocks and reads files, so a worker of libuv does it. libnats looks for a server for
 * ever, but for one that refuses our credentials: then, and when none was found for ten seconds,
 * everything is made anew, from what the files say by then. */
#include <endian.h>
#include <inttypes.h>
#include <nats/nats.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "provider/route/hints.h"
#include "provider/route/nats_options.h"
#include "provider/route/route.h"

#define NATS_ROUTE_MAGIC 0x6e726f75u
#define MESSAGE_IDS_MAX  1024u
#define PENDING_MAX      1024 /* messages that wait for the delivery thread */
#define CONNECT_MS       1000
#define BETWEEN_TRIES_MS 250
#define PING_MS          2000
#define WRITE_MS         250
#define AGAIN_MS         2000 /* after a refusal */
#define AWAY_LOOKS       5    /* so many of them without a server: everything anew */

/* What libnats' threads and the loop share. */
struct shared {
	atomic_uint holders;
	pthread_mutex_t mutex;
	uv_async_t *wake; /* NULL: the loop has let go */
	bool refused;     /* libnats has given up */
	struct hf_hints heard;
};

struct nats_route {
	struct hf_route base;
	uint32_t magic;
	hf_route_hint hint;
	void *context;
	struct hf_route *local; /* hints to this process do not travel */
	uv_timer_t soon, again;
	uv_async_t wake;
	unsigned open_parts;   /* handles, and the worker */
	bool closing, working; /* working: a worker connects */
	unsigned away_looks;   /* without a server, since the connection was made */
	struct shared *shared;
	struct hf_hints waiting;
	uint64_t told[HF_HINTS_MAX];
	natsConnection *connection;
	natsSubscription *subscription;
	char subject[64];

	/* Of a try to connect: the worker's while it runs. */
	struct hf_route_nats settings; /* owns its texts */
	uv_work_t work;
	natsConnection *made, *old;
	natsSubscription *made_subscription, *old_subscription;
	int err;
	struct hf_errmsg why, told_why; /* of this try; what was logged last */
};

static struct nats_route *nats_of(struct hf_route *route)
{
	struct nats_route *r = (struct nats_route *)route;

	HF_CHECK_MAGIC(r, NATS_ROUTE_MAGIC);
	return r;
}

static bool nats_connected(struct hf_route *route);

static void free_settings(struct hf_route_nats *settings)
{
	free((char *)(uintptr_t)settings->servers);
	free((char *)(uintptr_t)settings->name);
	free((char *)(uintptr_t)settings->ca);
	free((char *)(uintptr_t)settings->credentials);
}

static void let_go(struct shared *s)
{
	if (atomic_fetch_sub(&s->holders, 1) > 1)
		return;
	pthread_mutex_destroy(&s->mutex);
	free(s);
}

/* ---- On libnats' threads --------------------------------------------------------------------- */

static void delivered(natsConnection *connection, natsSubscription *subscription, natsMsg *msg,
		      void *closure)
{
	struct shared *s = closure;
	const char *data = natsMsg_GetData(msg);
	int length = natsMsg_GetDataLength(msg);
	uint64_t gateway;

	(void)connection;
	(void)subscription;
	pthread_mutex_lock(&s->mutex);
	for (int at = 0; at + (int)sizeof gateway <= length; at += (int)sizeof gateway) {
		memcpy(&gateway, data + at, sizeof gateway);
		hf_hints_add(&s->heard, be64toh(gateway));
	}
	if (s->wake)
		uv_async_send(s->wake);
	pthread_mutex_unlock(&s->mutex);
	natsMsg_Destroy(msg);
}

static void subscription_ended(void *closure)
{
	let_go(closure);
}

/* libnats gives up only when we close, or a server refuses our credentials twice. */
static void connection_closed(natsConnection *connection, void *closure)
{
	struct shared *s = closure;

	(void)connection;
	pthread_mutex_lock(&s->mutex);
	s->refused = true;
	if (s->wake)
		uv_async_send(s->wake);
	pthread_mutex_unlock(&s->mutex);
	let_go(s);
}

static void connection_found(natsConnection *connection, void *closure)
{
	char server[256] = "";

	(void)closure;
	natsConnection_GetConnectedUrl(connection, server, sizeof server);
	hf_info("hints travel over %s", server);
}

static void connection_lost(natsConnection *connection, void *closure)
{
	struct shared *s = closure;
	const char *why = NULL;

	natsConnection_GetLastError(connection, &why);
	pthread_mutex_lock(&s->mutex);
	if (s->wake)
		hf_warn("hints do not travel, changes take up to a second longer: %s",
			why && why[0] ? why : "the connection to NATS was lost");
	pthread_mutex_unlock(&s->mutex);
}

/* Slow consumers and the like: what was lost are hints. */
static void connection_trouble(natsConnection *connection, natsSubscription *subscription,
			       natsStatus status, void *closure)
{
	(void)connection;
	(void)subscription;
	(void)closure;
	hf_debug("NATS: %s", natsStatus_GetText(status));
}

/* ---- On the loop ----------------------------------------------------------------------------- */

/* Closing waits for libnats' threads, also for one that looks for a server: up to a second for each
 * that does not answer, and as long as names take. So one that is not closed yet is the worker's to
 * close, but when the route ends. */
static void end_connection(natsConnection *connection, natsSubscription *subscription)
{
	natsConnection_Close(connection);
	natsSubscription_Destroy(subscription);
	natsConnection_Destroy(connection);
}

static void drop_connection(struct nats_route *r)
{
	end_connection(r->connection, r->subscription);
	r->connection = NULL;
	r->subscription = NULL;
}

static void note_refused(struct nats_route *r, const char *why)
{
	/* The same again and again is said once. */
	if (strcmp(r->told_why.text, why) != 0)
		hf_error("hints do not travel, changes take up to a second longer: %s; the "
			 "credentials' file is read again until they do",
			 why);
	snprintf(r->told_why.text, sizeof r->told_why.text, "%s", why);
}

static void woken(uv_async_t *async)
{
	struct nats_route *r = async->data;
	bool refused;
	unsigned count;

	HF_CHECK_MAGIC(r, NATS_ROUTE_MAGIC);
	pthread_mutex_lock(&r->shared->mutex);
	count = hf_hints_take(&r->shared->heard, r->told);
	/* It may have been said of the one before. */
	refused = r->shared->refused && r->connection && natsConnection_IsClosed(r->connection);
	pthread_mutex_unlock(&r->shared->mutex);
	if (refused) {
		drop_connection(r);
		note_refused(r, "NATS refuses our credentials");
	}
	for (unsigned i = 0; i < count; i++)
		r->hint(r->context, r->told[i]);
}

static void publish(uv_timer_t *timer)
{
	struct nats_route *r = timer->data;
	uint64_t all[HF_HINTS_MAX], ids[MESSAGE_IDS_MAX];
	unsigned waiting;

	HF_CHECK_MAGIC(r, NATS_ROUTE_MAGIC);
	waiting = hf_hints_take(&r->waiting, all);
	for (unsigned at = 0; at < waiting; at += MESSAGE_IDS_MAX) {
		unsigned count = 0;

		for (; count < MESSAGE_IDS_MAX && at + count < waiting; count++)
			ids[count] = htobe64(all[at + count]);
		/* Without a connection, or room in the buffer of one: it was only a hint. */
		if (r->connection)
			natsConnection_Publish(r->connection, r->subject, ids,
					       (int)(count * sizeof ids[0]));
	}
}

static void nats_notify(struct hf_route *route, uint64_t gateway, bool here_too)
{
	struct nats_route *r = nats_of(route);

	if (here_too)
		hf_route_notify(r->local, gateway);
	hf_hints_add(&r->waiting, gateway);
	uv_timer_start(&r->soon, publish, 0, 0);
}

static bool nats_connected(struct hf_route *route)
{
	struct nats_route *r = nats_of(route);

	return r->connection && natsConnection_Status(r->connection) == NATS_CONN_STATUS_CONNECTED;
}

static void part_closed(struct nats_route *r)
{
	HF_CHECK_MAGIC(r, NATS_ROUTE_MAGIC);
	if (--r->open_parts > 0)
		return;
	let_go(r->shared);
	free_settings(&r->settings);
	r->magic = 0;
	free(r);
}

static void handle_closed(uv_handle_t *handle)
{
	part_closed(handle->data);
}

static void nats_close(struct hf_route *route)
{
	struct nats_route *r = nats_of(route);

	pthread_mutex_lock(&r->shared->mutex);
	r->shared->wake = NULL;
	pthread_mutex_unlock(&r->shared->mutex);
	r->closing = true;
	drop_connection(r);
	hf_route_close(r->local);
	uv_close((uv_handle_t *)&r->soon, handle_closed);
	uv_close((uv_handle_t *)&r->again, handle_closed);
	uv_close((uv_handle_t *)&r->wake, handle_closed);
}

static const struct hf_route_ops nats_ops = {
	.notify = nats_notify, .connected = nats_connected, .close = nats_close};

/* ---- Connecting, on a worker ----------------------------------------------------------------- */

/* Tries for ever, bounds every buffer and every wait. */
static natsStatus set_bounds(natsOptions *options, struct shared *shared)
{
	natsStatus status = natsOptions_SetMaxReconnect(options, -1);

	natsOptions_SetName(options, "holdfast-provider");
	natsOptions_SetTimeout(options, CONNECT_MS);
	natsOptions_SetReconnectWait(options, BETWEEN_TRIES_MS);
	natsOptions_SetReconnectJitter(options, BETWEEN_TRIES_MS, BETWEEN_TRIES_MS);
	natsOptions_SetReconnectBufSize(options, (int)(MESSAGE_IDS_MAX * sizeof(uint64_t) * 4));
	natsOptions_SetMaxPendingMsgs(options, PENDING_MAX);
	natsOptions_SetPingInterval(options, PING_MS);
	natsOptions_SetMaxPingsOut(options, 2);
	natsOptions_SetWriteDeadline(options, WRITE_MS);
	natsOptions_SetNoEcho(options, true);
	natsOptions_SetErrorHandler(options, connection_trouble, NULL);
	natsOptions_SetDisconnectedCB(options, connection_lost, shared);
	natsOptions_SetReconnectedCB(options, connection_found, NULL);
	natsOptions_SetClosedCB(options, connection_closed, shared);
	if (status == NATS_OK)
		status = natsOptions_SetRetryOnFailedConnect(options, true, connection_found, NULL);
	return status;
}

/* Each of connection and subscription holds what is shared until libnats says that it ended. */
static int listen_on(struct nats_route *r)
{
	natsStatus status;

	atomic_fetch_add(&r->shared->holders, 1);
	status = natsConnection_Subscribe(&r->made_subscription, r->made, r->subject, delivered,
					  r->shared);
	if (status == NATS_OK)
		status = natsSubscription_SetOnCompleteCB(r->made_subscription, subscription_ended,
							  r->shared);
	if (status == NATS_OK)
		return 0;
	hf_nats_refuse(&r->why, status, "listening to hints");
	natsConnection_Close(r->made);
	natsSubscription_Destroy(r->made_subscription);
	natsConnection_Destroy(r->made);
	let_go(r->shared);
	return HF_ENOTREADY;
}

static int connect_now(struct nats_route *r, natsOptions *options)
{
	natsStatus status = set_bounds(options, r->shared);

	if (status != NATS_OK)
		return hf_nats_refuse(&r->why, status, "the route's settings");
	atomic_fetch_add(&r->shared->holders, 1);
	status = natsConnection_Connect(&r->made, options);
	if (status != NATS_OK && status != NATS_NOT_YET_CONNECTED) {
		let_go(r->shared);
		return hf_nats_refuse(&r->why, status, "connecting to NATS");
	}
	if (status == NATS_OK)
		connection_found(r->made, NULL);
	else if (!r->told_why.text[0])
		hf_warn("no NATS server answers yet; changes take up to a second longer");
	return listen_on(r);
}

static void connect_work(uv_work_t *work)
{
	struct nats_route *r = work->data;
	natsOptions *options;

	end_connection(r->old, r->old_subscription);
	r->old = NULL;
	r->old_subscription = NULL;
	r->made = NULL;
	r->made_subscription = NULL;
	r->err = hf_nats_options(&r->settings, &options, &r->why);
	if (r->err)
		return;
	r->err = connect_now(r, options);
	natsOptions_Destroy(options);
}

static void connect_done(uv_work_t *work, int status)
{
	struct nats_route *r = work->data;

	HF_CHECK_MAGIC(r, NATS_ROUTE_MAGIC);
	if (status == 0 && r->err == 0) {
		r->connection = r->made;
		r->subscription = r->made_subscription;
	}
	r->working = false;
	if (r->closing) {
		drop_connection(r);
	} else if (status != 0 || r->err) {
		note_refused(r, r->why.text);
	} else {
		uv_async_send(&r->wake); /* it may have been refused meanwhile */
	}
	part_closed(r);
}

static void connect_anew(struct nats_route *r)
{
	pthread_mutex_lock(&r->shared->mutex);
	r->shared->refused = false;
	pthread_mutex_unlock(&r->shared->mutex);
	r->away_looks = 0;
	r->old = r->connection;
	r->old_subscription = r->subscription;
	r->connection = NULL;
	r->subscription = NULL;
	r->working = uv_queue_work(r->again.loop, &r->work, connect_work, connect_done) == 0;
	r->open_parts += r->working;
}

/* A server that refuses a certificate looks to libnats like one that is not there. */
static void look_again(uv_timer_t *timer)
{
	struct nats_route *r = timer->data;

	HF_CHECK_MAGIC(r, NATS_ROUTE_MAGIC);
	if (r->working)
		return;
	if (nats_connected(&r->base)) {
		r->away_looks = 0;
		r->told_why.text[0] = '\0';
	} else if (!r->connection || ++r->away_looks >= AWAY_LOOKS) {
		connect_anew(r);
	}
}

/* ---- Opening --------------------------------------------------------------------------------- */

static struct shared *new_shared(void)
{
	struct shared *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	atomic_init(&s->holders, 1);
	pthread_mutex_init(&s->mutex, NULL);
	return s;
}

static bool copy_settings(struct hf_route_nats *to, const struct hf_route_nats *from)
{
	to->servers = strdup(from->servers);
	to->name = strdup(from->name);
	to->ca = strdup(from->ca);
	to->credentials = strdup(from->credentials);
	to->registry = from->registry;
	return to->servers && to->name && to->ca && to->credentials;
}

/* What is wrong with them is said before anything begins. */
static int check_settings(const struct hf_route_nats *settings, struct hf_errmsg *message)
{
	natsOptions *options;
	int err = hf_nats_options(settings, &options, message);

	if (!err)
		natsOptions_Destroy(options);
	return err;
}

static int make(struct hf_route_nats const *settings, hf_route_hint hint, void *context,
		struct nats_route **route, struct hf_errmsg *message)
{
	struct nats_route *r = calloc(1, sizeof *r);

	if (!r)
		return hf_fail(message, HF_ENOMEM, "out of memory");
	r->base.ops = &nats_ops;
	r->magic = NATS_ROUTE_MAGIC;
	r->hint = hint;
	r->context = context;
	snprintf(r->subject, sizeof r->subject, "holdfast.%016" PRIx64 ".hint", settings->registry);
	r->shared = new_shared();
	if (!r->shared || !copy_settings(&r->settings, settings)) {
		free_settings(&r->settings);
		free(r->shared);
		free(r);
		return hf_fail(message, HF_ENOMEM, "out of memory");
	}
	*route = r;
	return 0;
}

int hf_route_open_nats(uv_loop_t *loop, const struct hf_route_nats *settings, hf_route_hint hint,
		       void *context, struct hf_route **route, struct hf_errmsg *message)
{
	struct nats_route *r = NULL;
	int err = check_settings(settings, message);

	if (!err)
		err = make(settings, hint, context, &r, message);
	if (err)
		return err;
	if (hf_route_open_local(loop, hint, context, &r->local) != 0) {
		free_settings(&r->settings);
		let_go(r->shared);
		free(r);
		return hf_fail(message, HF_ENOMEM, "out of memory");
	}
	uv_timer_init(loop, &r->soon);
	uv_timer_init(loop, &r->again);
	uv_async_init(loop, &r->wake, woken);
	r->soon.data = r->again.data = r->wake.data = r->work.data = r;
	r->open_parts = 3;
	r->shared->wake = &r->wake;
	connect_anew(r);
	uv_timer_start(&r->again, look_again, AGAIN_MS, AGAIN_MS);
	*route = &r->base;
	return 0;
}
