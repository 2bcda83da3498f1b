/* The route over NATS. Every process of a registry publishes its hints on one subject and hears
 * those of all others; whoever does not hold the gateway ignores the hint. A subject for each
 * gateway would be a registration to be made for each connection, in a storm for thousands, and to
 * be taken back for one that went stale; a hint is eight bytes.
 *
 * libnats has threads of its own: what it delivers goes into a bounded set under a lock, and
 * uv_async_send wakes the loop. The part that both sides see lives until the last of them has let
 * go (loop, connection, subscription). A hint is published as numbers of 8 bytes, big endian, as
 * many as were made in one turn of the loop. */
#include <endian.h>
#include <inttypes.h>
#include <nats/nats.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "base/conf.h"
#include "base/file.h"
#include "base/log.h"
#include "provider/route/hints.h"
#include "provider/route/route.h"

#define NATS_ROUTE_MAGIC 0x6e726f75u
#define SERVERS_MAX      16
#define MESSAGE_IDS_MAX  1024u
#define PENDING_MAX      1024 /* messages that wait for the delivery thread */
#define CONNECT_MS       1000
#define BETWEEN_TRIES_MS 250
#define PING_MS          2000
#define WRITE_MS         250

/* What libnats' threads and the loop share. */
struct shared {
	atomic_uint holders;
	pthread_mutex_t mutex;
	uv_async_t *wake; /* NULL: the loop has let go */
	struct hf_hints heard;
};

struct nats_route {
	struct hf_route base;
	uint32_t magic;
	hf_route_hint hint;
	void *context;
	struct hf_route *local; /* hints to this process do not travel */
	uv_timer_t soon;
	uv_async_t wake;
	unsigned open_handles;
	struct shared *shared;
	struct hf_hints waiting;
	uint64_t told[HF_HINTS_MAX];
	natsConnection *connection;
	natsSubscription *subscription;
	char subject[64];
};

static struct nats_route *nats_of(struct hf_route *route)
{
	struct nats_route *r = (struct nats_route *)route;

	HF_CHECK_MAGIC(r, NATS_ROUTE_MAGIC);
	return r;
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
	if (s->wake)
		hf_error("NATS refuses us; hints do not travel until this process is restarted "
			 "with other credentials");
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

static void woken(uv_async_t *async)
{
	struct nats_route *r = async->data;

	unsigned count;

	HF_CHECK_MAGIC(r, NATS_ROUTE_MAGIC);
	pthread_mutex_lock(&r->shared->mutex);
	count = hf_hints_take(&r->shared->heard, r->told);
	pthread_mutex_unlock(&r->shared->mutex);
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
	return natsConnection_Status(nats_of(route)->connection) == NATS_CONN_STATUS_CONNECTED;
}

static void handle_closed(uv_handle_t *handle)
{
	struct nats_route *r = handle->data;

	if (--r->open_handles > 0)
		return;
	r->magic = 0;
	free(r);
}

static void nats_close(struct hf_route *route)
{
	struct nats_route *r = nats_of(route);

	pthread_mutex_lock(&r->shared->mutex);
	r->shared->wake = NULL;
	pthread_mutex_unlock(&r->shared->mutex);
	natsConnection_Close(r->connection);
	natsSubscription_Destroy(r->subscription);
	natsConnection_Destroy(r->connection);
	let_go(r->shared);
	hf_route_close(r->local);
	uv_close((uv_handle_t *)&r->soon, handle_closed);
	uv_close((uv_handle_t *)&r->wake, handle_closed);
}

static const struct hf_route_ops nats_ops = {
	.notify = nats_notify, .connected = nats_connected, .close = nats_close};

/* ---- Settings -------------------------------------------------------------------------------- */

struct credentials {
	char *user, *password, *nkey, *nkey_seed;
};

static const struct hf_conf_key credential_keys[] = {
	{"user", HF_CONF_TEXT, offsetof(struct credentials, user), "", "user"},
	{"password", HF_CONF_TEXT, offsetof(struct credentials, password), "", "password"},
	{"nkey", HF_CONF_TEXT, offsetof(struct credentials, nkey), "", "public NKey"},
	{"nkey_seed", HF_CONF_TEXT, offsetof(struct credentials, nkey_seed), "",
	 "file with the seed of the NKey"},
	{NULL},
};

static int refuse(struct hf_errmsg *message, natsStatus status, const char *what)
{
	const char *why = nats_GetLastError(NULL);

	return hf_fail(message, HF_EINVAL, "%s: %s", what,
		       why && why[0] ? why : natsStatus_GetText(status));
}

static int set_credentials(natsOptions *options, const char *path, struct hf_errmsg *message)
{
	struct credentials c = {NULL};
	struct stat st;
	natsStatus status;
	uint8_t *text;
	size_t length;
	int err;

	if (stat(path, &st) == 0 && (st.st_mode & 077) != 0)
		return hf_fail(message, HF_EACCES, "%s: others can read it; chmod 600", path);
	err = hf_file_read(path, 4096, &text, &length, message);
	if (err)
		return err;
	err = hf_conf_parse(path, (char *)text, credential_keys, &c, message);
	explicit_bzero(text, length);
	free(text);
	if (err)
		return err;
	if (c.nkey[0])
		status = natsOptions_SetNKeyFromSeed(options, c.nkey, c.nkey_seed);
	else
		status = natsOptions_SetUserInfo(options, c.user, c.password);
	if (status != NATS_OK)
		err = refuse(message, status, path);
	else if (!c.nkey[0] && (!c.user[0] || !c.password[0]))
		err = hf_fail(message, HF_EINVAL, "%s: user and password, or nkey and nkey_seed",
			      path);
	explicit_bzero(c.password, strlen(c.password));
	hf_conf_free(credential_keys, &c);
	return err;
}

static bool is_loopback(const char *server)
{
	return strncmp(server, "nats://127.", 11) == 0 ||
	       strncmp(server, "nats://[::1]", 12) == 0 ||
	       strncmp(server, "nats://localhost:", 17) == 0;
}

/* Splits `text`, which is changed, at its commas. */
static int split_servers(char *text, const char **servers, bool *tls, struct hf_errmsg *message)
{
	char *rest = NULL;
	int count = 0;

	*tls = strncmp(text, "tls://", 6) == 0;
	for (char *server = strtok_r(text, ", ", &rest); server;
	     server = strtok_r(NULL, ", ", &rest)) {
		if (count == SERVERS_MAX)
			return hf_fail(message, HF_ETOOBIG, "at most %d servers", SERVERS_MAX);
		if (strchr(server, '@') ||
		    (*tls ? strncmp(server, "tls://", 6) != 0 : !is_loopback(server)))
			return hf_fail(message, HF_EINVAL,
				       "a route is tls://HOST:PORT,… (or nats://HOST:PORT,… on "
				       "loopback), without user or password");
		servers[count++] = server;
	}
	return count > 0 ? count : hf_fail(message, HF_EINVAL, "a route needs a server");
}

static int set_tls(natsOptions *options, const struct hf_route_nats *settings,
		   struct hf_errmsg *message)
{
	natsStatus status;

	if (!settings->name[0] || !settings->ca[0])
		return hf_fail(message, HF_EINVAL,
			       "with tls:// `route_name` and `route_ca` say whose certificates "
			       "are trusted");
	status = natsOptions_SetSecure(options, true);
	if (status == NATS_OK)
		status = natsOptions_LoadCATrustedCertificates(options, settings->ca);
	if (status == NATS_OK)
		status = natsOptions_SetExpectedHostname(options, settings->name);
	return status == NATS_OK ? 0 : refuse(message, status, settings->ca);
}

static int set_servers(natsOptions *options, const struct hf_route_nats *settings,
		       struct hf_errmsg *message)
{
	const char *servers[SERVERS_MAX];
	char *text = strdup(settings->servers);
	natsStatus status;
	bool tls;
	int count, err = 0;

	if (!text)
		return hf_fail(message, HF_ENOMEM, "out of memory");
	count = split_servers(text, servers, &tls, message);
	if (count < 0) {
		err = count;
	} else {
		status = natsOptions_SetServers(options, servers, count);
		if (status != NATS_OK)
			err = refuse(message, status, settings->servers);
	}
	if (!err && tls)
		err = set_tls(options, settings, message);
	free(text);
	return err;
}

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

static int connect_and_listen(struct nats_route *r, natsOptions *options, struct hf_errmsg *message)
{
	natsStatus status = set_bounds(options, r->shared);

	if (status != NATS_OK)
		return refuse(message, status, "the route's settings");
	atomic_fetch_add(&r->shared->holders, 1);
	status = natsConnection_Connect(&r->connection, options);
	if (status != NATS_OK && status != NATS_NOT_YET_CONNECTED) {
		let_go(r->shared);
		return refuse(message, status, "connecting to NATS");
	}
	if (status == NATS_OK)
		connection_found(r->connection, NULL);
	else
		hf_warn("no NATS server answers yet; changes take up to a second longer");
	atomic_fetch_add(&r->shared->holders, 1);
	status = natsConnection_Subscribe(&r->subscription, r->connection, r->subject, delivered,
					  r->shared);
	if (status == NATS_OK)
		status = natsSubscription_SetOnCompleteCB(r->subscription, subscription_ended,
							  r->shared);
	if (status == NATS_OK)
		return 0;
	natsSubscription_Destroy(r->subscription);
	natsConnection_Destroy(r->connection);
	return refuse(message, status, "listening to hints");
}

static int open_route(struct nats_route *r, uv_loop_t *loop, const struct hf_route_nats *settings,
		      struct hf_errmsg *message)
{
	natsOptions *options = NULL;
	natsStatus status = natsOptions_Create(&options);
	int err;

	if (status != NATS_OK)
		return refuse(message, status, "NATS");
	err = set_servers(options, settings, message);
	if (!err && settings->credentials[0])
		err = set_credentials(options, settings->credentials, message);
	else if (!err)
		err = hf_fail(message, HF_EINVAL,
			      "`route_credentials` says who we are to the NATS servers");
	if (!err)
		err = hf_route_open_local(loop, r->hint, r->context, &r->local);
	if (!err)
		err = connect_and_listen(r, options, message);
	if (err && r->local)
		hf_route_close(r->local);
	natsOptions_Destroy(options);
	return err;
}

int hf_route_open_nats(uv_loop_t *loop, const struct hf_route_nats *settings, hf_route_hint hint,
		       void *context, struct hf_route **route, struct hf_errmsg *message)
{
	struct nats_route *r = calloc(1, sizeof *r);
	int err = HF_ENOMEM;

	if (r)
		r->shared = new_shared();
	if (!r || !r->shared) {
		free(r);
		return hf_fail(message, err, "out of memory");
	}
	r->base.ops = &nats_ops;
	r->magic = NATS_ROUTE_MAGIC;
	r->hint = hint;
	r->context = context;
	snprintf(r->subject, sizeof r->subject, "holdfast.%016" PRIx64 ".hint", settings->registry);
	err = open_route(r, loop, settings, message);
	if (err) {
		let_go(r->shared);
		free(r);
		return err;
	}
	uv_timer_init(loop, &r->soon);
	uv_async_init(loop, &r->wake, woken);
	r->soon.data = r->wake.data = r;
	r->open_handles = 2;
	pthread_mutex_lock(&r->shared->mutex);
	r->shared->wake = &r->wake;
	uv_async_send(&r->wake); /* for what was heard already */
	pthread_mutex_unlock(&r->shared->mutex);
	*route = &r->base;
	return 0;
}
