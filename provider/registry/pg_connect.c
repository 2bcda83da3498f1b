/* Parameters, checks and background connecting for PostgreSQL (pg_connect.h). libpq resolves names
 * and connects blocking, so that runs on a thread, which ends with the first connection made; the
 * mutex guards what the two share. */
#include "provider/registry/pg_connect.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/assert.h"
#include "base/file.h"

#define PG_CONNECTOR_MAGIC 0x7067636eu
#define BETWEEN_TRIES_MS   500
#define PARAMETERS_MAX     64
#define WHERE_MAX          4096
#define OLDEST_SERVER      130000 /* what is maintained */
#define TEXT(x)            #x
#define NUMBER(x)          TEXT(x)

struct hf_pg_connector {
	uint32_t magic;
	PQconninfoOption *options; /* owns what keys and values point to */
	const char *keys[PARAMETERS_MAX], *values[PARAMETERS_MAX];
	int count;

	pthread_mutex_t mutex;
	pthread_cond_t wake; /* `stop` */
	pthread_t thread;
	bool running, done, stop; /* the thread exists; has a connection; shall end */
	PGconn *fresh;
	struct hf_errmsg why;
};

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void hf_pg_reason(const char *text, char *reason, size_t size)
{
	snprintf(reason, size, "%s", text);
	reason[strcspn(reason, "\n")] = '\0';
}

/* ---- Answers --------------------------------------------------------------------------------- */

/* Until the connection has something, or room for more. */
static int wait_for(PGconn *conn, bool writing, uint64_t deadline_ms)
{
	struct pollfd fd = {.fd = PQsocket(conn), .events = writing ? POLLIN | POLLOUT : POLLIN};
	uint64_t now = now_ms();
	int ready;

	if (fd.fd < 0)
		return HF_ECONN;
	if (now >= deadline_ms)
		return HF_ETIMEDOUT;
	ready = poll(&fd, 1, (int)(deadline_ms - now));
	return ready > 0 || (ready < 0 && errno == EINTR) ? 0 : HF_ETIMEDOUT;
}

static int await_one(PGconn *conn, uint64_t deadline_ms, PGresult **result)
{
	int err = 0, unsent;

	while ((unsent = PQflush(conn)) > 0 || PQisBusy(conn)) {
		err = wait_for(conn, unsent > 0, deadline_ms);
		if (!err && !PQconsumeInput(conn))
			err = HF_ECONN;
		if (err)
			return err;
	}
	if (unsent < 0)
		return HF_ECONN;
	*result = PQgetResult(conn);
	return 0;
}

static bool is_error(const PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);

	return status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK;
}

int hf_pg_await(PGconn *conn, PGresult **result)
{
	uint64_t deadline_ms = now_ms() + HF_PG_ANSWER_MS;
	PGresult *next;
	int err;

	*result = NULL;
	while ((err = await_one(conn, deadline_ms, &next)) == 0 && next) {
		if (*result && is_error(*result)) {
			PQclear(next);
			continue;
		}
		PQclear(*result);
		*result = next;
	}
	if (!err && PQstatus(conn) == CONNECTION_BAD)
		err = HF_ECONN;
	if (err) {
		PQclear(*result);
		*result = NULL;
	}
	return err;
}

/* ---- Parameters ------------------------------------------------------------------------------ */

/* The file's one line. Secrets may be in it: others must not read it. */
static int read_file(const char *path, char *text, size_t size, struct hf_errmsg *message)
{
	struct stat st;
	uint8_t *bytes;
	size_t length;
	int err;

	if (stat(path, &st) == 0 && (st.st_mode & 077) != 0)
		return hf_fail(message, HF_EACCES, "%.150s: others can read it; chmod 600", path);
	err = hf_file_read(path, size - 1, &bytes, &length, message);
	if (err)
		return err;
	memcpy(text, bytes, length);
	text[length] = '\0';
	text[strcspn(text, "\n")] = '\0';
	explicit_bzero(bytes, length);
	free(bytes);
	return 0;
}

static void set(struct hf_pg_connector *c, const char *key, const char *value)
{
	for (int i = 0; i < c->count; i++)
		if (strcmp(c->keys[i], key) == 0)
			return;
	HF_ASSERT(c->count < PARAMETERS_MAX - 1);
	c->keys[c->count] = key;
	c->values[c->count++] = value;
}

static const char *get(const struct hf_pg_connector *c, const char *key)
{
	for (int i = 0; i < c->count; i++)
		if (strcmp(c->keys[i], key) == 0)
			return c->values[i];
	return "";
}

/* A socket of this machine, or its loopback: nobody is in between. */
static bool is_local(const struct hf_pg_connector *c)
{
	const char *host = get(c, "host"), *address = get(c, "hostaddr");

	if (strchr(host, ',') || strchr(address, ','))
		return false;
	if (*address)
		return strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0;
	return *host == '\0' || *host == '/' || *host == '@' || strncmp(host, "127.", 4) == 0 ||
	       strcmp(host, "::1") == 0 || strcmp(host, "localhost") == 0;
}

/* Where the administrator said nothing. */
static void set_defaults(struct hf_pg_connector *c)
{
	/* Over a network the server's certificate is checked. */
	set(c, "sslmode", is_local(c) ? "prefer" : "verify-full");
	set(c, "gssencmode", "disable");
	set(c, "target_session_attrs", "read-write");
	set(c, "connect_timeout", "2");
	/* A peer that vanished is noticed by the kernel too. */
	set(c, "tcp_user_timeout", "5000");
	set(c, "keepalives_idle", "5");
	set(c, "keepalives_interval", "2");
	set(c, "keepalives_count", "3");
	set(c, "application_name", "holdfast-provider");
	set(c, "client_encoding", "UTF8");
}

static int parse(struct hf_pg_connector *c, const char *where, struct hf_errmsg *message)
{
	char text[WHERE_MAX];
	char *problem = NULL;
	int err = 0;

	if (strncmp(where, "postgres:/", 10) == 0 && where[10] != '/')
		err = read_file(where + strlen("postgres:"), text, sizeof text, message);
	else
		snprintf(text, sizeof text, "%s", where);
	if (err)
		return err;
	c->options = PQconninfoParse(text, &problem);
	explicit_bzero(text, sizeof text);
	/* What libpq has to say quotes the text, and that may hold a password. */
	PQfreemem(problem);
	for (PQconninfoOption *o = c->options; o && o->keyword; o++)
		if (o->val)
			set(c, o->keyword, o->val);
	/* A password with a slash in it would end up as a part of the port, and in libpq's text. */
	if (!c->options || get(c, "port")[strspn(get(c, "port"), "0123456789,")] != '\0') {
		PQconninfoFree(c->options);
		return hf_fail(message, HF_EINVAL,
			       "the registry's address is not one of PostgreSQL "
			       "(postgres://USER@HOST:PORT/DATABASE or key=value …)");
	}
	set_defaults(c);
	return 0;
}

int hf_pg_connector_open(const char *where, struct hf_pg_connector **connector,
			 struct hf_errmsg *message)
{
	struct hf_pg_connector *c = calloc(1, sizeof *c);
	int err;

	if (!c)
		return hf_fail(message, HF_ENOMEM, "the registry: out of memory");
	c->magic = PG_CONNECTOR_MAGIC;
	err = parse(c, where, message);
	if (err) {
		free(c);
		return err;
	}
	pthread_mutex_init(&c->mutex, NULL);
	pthread_cond_init(&c->wake, NULL);
	*connector = c;
	return 0;
}

/* ---- One connection -------------------------------------------------------------------------- */

static int ask(PGconn *conn, const char *sql, PGresult **result, struct hf_errmsg *message)
{
	char reason[128];
	int err;

	if (!PQsendQuery(conn, sql))
		err = HF_ECONN;
	else
		err = hf_pg_await(conn, result);
	if (!err && !is_error(*result))
		return 0;
	hf_pg_reason(err ? PQerrorMessage(conn) : PQresultErrorMessage(*result), reason,
		     sizeof reason);
	if (!err)
		PQclear(*result);
	return hf_fail(message, HF_ENOTREADY, "%s",
		       err == HF_ETIMEDOUT ? "the server does not answer" : reason);
}

/* What is reported as done must be on disk there. */
static int check_durable(PGconn *conn, struct hf_errmsg *message)
{
	static const char *const durable[] = {"fsync", "synchronous_commit", "full_page_writes"};
	PGresult *result;
	int err = ask(conn,
		      "SELECT current_setting('fsync'), current_setting('synchronous_commit'), "
		      "current_setting('full_page_writes')",
		      &result, message);

	if (err)
		return err;
	for (int i = 0; i < 3 && !err; i++)
		if (strcmp(PQgetvalue(result, 0, i), "off") == 0)
			err = hf_fail(message, HF_EUNSUPPORTED,
				      "PostgreSQL runs with %s = off: a change could be lost after "
				      "it was reported as done; set it to on",
				      durable[i]);
	PQclear(result);
	return err;
}

static void ignore_notice(void *context, const char *text)
{
	(void)context;
	(void)text;
}

/* Our statements are short. A plan that the server takes for costly, be it only because we told it
 * to use indexes, would be compiled for a tenth of a second, each time. */
static int compile_nothing(PGconn *conn, struct hf_errmsg *message)
{
	PGresult *result;
	int err = ask(conn, "SET jit = off", &result, message);

	if (!err)
		PQclear(result);
	return err;
}

static int settle(PGconn *conn, struct hf_errmsg *message)
{
	PGresult *result;
	int err;

	if (PQserverVersion(conn) < OLDEST_SERVER)
		return hf_fail(message, HF_EUNSUPPORTED, "PostgreSQL 13 or newer is needed, not %d",
			       PQserverVersion(conn) / 10000);
	PQsetnonblocking(conn, 1);
	PQsetNoticeProcessor(conn, ignore_notice, NULL);
	err = check_durable(conn, message);
	/* A plan is kept that was made while tables were empty, when reading all of one was as good
	 * as its index; thousands of gateways later it still reads all of it for each. */
	if (!err)
		err = ask(
			conn,
			"SET statement_timeout = " NUMBER(
				HF_PG_STATEMENT_MS) "; SET lock_timeout = " NUMBER(HF_PG_LOCK_MS) "; SET idle_in_transaction_session_timeout = 5000; SET enable_seqscan = off",
			&result, message);
	if (!err)
		PQclear(result);
	return err ? err : compile_nothing(conn, message);
}

int hf_pg_connect(struct hf_pg_connector *c, PGconn **conn, struct hf_errmsg *message)
{
	char reason[160];
	int err;

	HF_CHECK_MAGIC(c, PG_CONNECTOR_MAGIC);
	*conn = PQconnectdbParams(c->keys, c->values, 0);
	if (*conn && PQstatus(*conn) == CONNECTION_OK) {
		err = settle(*conn, message);
	} else {
		hf_pg_reason(*conn ? PQerrorMessage(*conn) : "out of memory", reason,
			     sizeof reason);
		err = hf_fail(message, HF_ENOTREADY, "%s", reason);
	}
	if (err) {
		hf_fail_in(message, err, "PostgreSQL");
		PQfinish(*conn);
		*conn = NULL;
	}
	return err;
}

/* ---- In the background ----------------------------------------------------------------------- */

static void pause_between_tries(struct hf_pg_connector *c)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += BETWEEN_TRIES_MS * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	while (!c->stop && pthread_cond_timedwait(&c->wake, &c->mutex, &until) != ETIMEDOUT)
		;
}

static void *connect_thread(void *context)
{
	struct hf_pg_connector *c = context;
	struct hf_errmsg message;
	PGconn *conn = NULL;

	pthread_mutex_lock(&c->mutex);
	while (!c->stop && !conn) {
		pthread_mutex_unlock(&c->mutex);
		hf_pg_connect(c, &conn, &message);
		pthread_mutex_lock(&c->mutex);
		if (conn)
			break;
		c->why = message;
		pause_between_tries(c);
	}
	c->fresh = conn;
	c->done = true;
	pthread_mutex_unlock(&c->mutex);
	return NULL;
}

static PGconn *finish_thread(struct hf_pg_connector *c)
{
	PGconn *conn;

	pthread_join(c->thread, NULL);
	conn = c->fresh;
	c->fresh = NULL;
	c->running = c->done = false;
	return conn;
}

PGconn *hf_pg_connect_soon(struct hf_pg_connector *c, struct hf_errmsg *message)
{
	bool done;

	HF_CHECK_MAGIC(c, PG_CONNECTOR_MAGIC);
	if (!c->running) {
		c->why.text[0] = '\0';
		c->running = pthread_create(&c->thread, NULL, connect_thread, c) == 0;
	}
	pthread_mutex_lock(&c->mutex);
	done = c->done;
	if (!done)
		hf_fail(message, HF_ENOTREADY, "the registry's database is away%s%.180s",
			c->why.text[0] ? ": " : "", c->why.text);
	pthread_mutex_unlock(&c->mutex);
	return done ? finish_thread(c) : NULL;
}

void hf_pg_connector_close(struct hf_pg_connector *c)
{
	HF_CHECK_MAGIC(c, PG_CONNECTOR_MAGIC);
	if (c->running) {
		pthread_mutex_lock(&c->mutex);
		c->stop = true;
		pthread_cond_signal(&c->wake);
		pthread_mutex_unlock(&c->mutex);
		PQfinish(finish_thread(c));
	}
	pthread_cond_destroy(&c->wake);
	pthread_mutex_destroy(&c->mutex);
	PQconninfoFree(c->options);
	c->magic = 0;
	free(c);
}
