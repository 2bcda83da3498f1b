/* Connections to PostgreSQL: what a provider asks of one before it is used, and making a new one in
 * the background while the old one is lost. The registry's thread but where a function says
 * otherwise; the connector has one thread of its own, only while it is connecting. */
#ifndef HF_PROVIDER_REGISTRY_PG_CONNECT_H
#define HF_PROVIDER_REGISTRY_PG_CONNECT_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* The longest that one statement may take at the server, and an answer from it. */
#define HF_PG_STATEMENT_MS 1500
#define HF_PG_LOCK_MS      1000
#define HF_PG_ANSWER_MS    2000u

/* Waits for what was sent: the last result (NULL: none), or the first that is an error; the caller
 * clears it. HF_ETIMEDOUT, HF_ECONN: the connection is of no use any more. Any thread. */
int hf_pg_await(PGconn *conn, PGresult **result);
/* "first line of libpq's text", for messages. Any thread. */
void hf_pg_reason(const char *text, char *reason, size_t size);

struct hf_pg_connector;

/* `where` is a URL of libpq (postgres://…) or `postgres:` and the path of a file, readable by its
 * owner only, that holds one or a string of key=value. Nothing of it gets into messages but host,
 * user and database. */
int hf_pg_connector_open(const char *where, struct hf_pg_connector **connector,
			 struct hf_errmsg *message);
/* Connects now, bounded by a few seconds, and checks that what is committed there is durable. */
int hf_pg_connect(struct hf_pg_connector *connector, PGconn **conn, struct hf_errmsg *message);
/* The same in the background: starts it, or takes the connection once it is there (then the
 * caller's), else NULL at once, with why the last try failed in `message`. */
PGconn *hf_pg_connect_soon(struct hf_pg_connector *connector, struct hf_errmsg *message);
/* Waits for a try under way. */
void hf_pg_connector_close(struct hf_pg_connector *connector);

#endif
