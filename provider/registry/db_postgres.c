/* PostgreSQL under the registry, for several processes. Statements are prepared at first use and
 * travel with their parameters in binary; a result is complete when the first row is visited, so
 * visits may ask further. The registry's thread.
 *
 * Transactions shut each other out as SQLite's do, by one advisory lock that each takes when it
 * begins. Callers read, decide and write; with locks on rows each of them would have to know which
 * rows its decision rests on, and serializable isolation would have each be written as a loop. What
 * is changed by people and batched by holders leaves the one lock idle. READ COMMITTED, so that
 * each statement sees what was committed before the lock was had.
 *
 * Nothing here waits longer than HF_PG_ANSWER_MS. A connection that breaks, or does not answer by
 * then, is closed; until another is made in the background, calls fail at once. */
#include <endian.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "provider/registry/db.h"
#include "provider/registry/pg_connect.h"

#define POSTGRES_MAGIC 0x72656770u
#define PREPARED_SIZE  256u /* well above the statements there are */
#define NAME_MAX_BYTES 16
#define PIPELINE_MAX                                                                               \
	32u /* statements on their way: they and their answers fit a socket's buffers */

/* Types of parameters, from PostgreSQL's pg_type.dat: they never change. */
#define OID_INT8  20u
#define OID_TEXT  25u
#define OID_BYTEA 17u

struct postgres_db {
	struct hf_db base;
	uint32_t magic;
	struct hf_pg_connector *connector;
	PGconn *conn;                        /* NULL while lost */
	bool spoiled;                        /* lost inside the transaction under way */
	const char *prepared[PREPARED_SIZE]; /* statements that `conn` knows, by place */
};

static struct postgres_db *postgres_of(struct hf_db *db)
{
	struct postgres_db *p = (struct postgres_db *)db;

	HF_CHECK_MAGIC(p, POSTGRES_MAGIC);
	return p;
}

/* ---- The connection -------------------------------------------------------------------------- */

static void lose(struct postgres_db *p)
{
	struct hf_errmsg ignored;

	PQfinish(p->conn);
	p->conn = NULL;
	p->spoiled = p->base.in_transaction;
	memset(p->prepared, 0, sizeof p->prepared);
	hf_pg_connect_soon(p->connector, &ignored);
}

/* 0 with a connection; a transaction never goes on over a new one. */
static int have_connection(struct postgres_db *p)
{
	if (!p->conn && !p->spoiled)
		p->conn = hf_pg_connect_soon(p->connector, &p->base.why);
	return p->conn ? 0 : HF_ENOTREADY;
}

static bool postgres_ready(struct hf_db *db)
{
	return have_connection(postgres_of(db)) == 0;
}

/* What was sent last has no answer. `writes`: it may have been done all the same. */
static int lost(struct postgres_db *p, int err, bool writes)
{
	char reason[128];

	if (err == HF_ETIMEDOUT)
		snprintf(reason, sizeof reason, "no answer within %u ms", HF_PG_ANSWER_MS);
	else
		hf_pg_reason(PQerrorMessage(p->conn), reason, sizeof reason);
	writes = writes && !p->base.in_transaction;
	lose(p);
	return hf_fail(&p->base.why, writes ? HF_EUNKNOWN : HF_ENOTREADY,
		       "the connection to the database was lost (%s); %s", reason,
		       writes ? "whether the change was made is not known" : "nothing was changed");
}

/* ---- Errors ---------------------------------------------------------------------------------- */

static int error_of(const char *state)
{
	static const struct {
		const char *state;
		int err;
	} list[] = {
		/* PostgreSQL's manual, appendix A */
		{"23505", HF_EEXIST}, /* unique_violation */
		{"23503", HF_ENOENT}, /* foreign_key_violation */
		{"23", HF_EINVAL},    /* other constraints */
		{"22", HF_EINVAL},    /* data exception: text that is not UTF-8 */
		{"55P03", HF_EBUSY},  /* lock_not_available */
		{"57014", HF_EBUSY},  /* query_canceled: it took too long */
		{"40", HF_EBUSY},     /* deadlock, serialization */
		{"53100", HF_ENOSPC}, /* disk_full */
		{"53200", HF_ENOMEM}, {"XX001", HF_ECORRUPT}, {"XX002", HF_ECORRUPT},
	};

	for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
		if (strncmp(state, list[i].state, strlen(list[i].state)) == 0)
			return list[i].err;
	return HF_EIO;
}

/* Another server than before answers, or this one has become a standby. */
static bool needs_other_connection(const char *state)
{
	return strcmp(state, "25006") == 0 || /* read_only_sql_transaction */
	       strcmp(state, "26000") == 0;   /* invalid_sql_statement_name: not prepared */
}

static int refused(struct postgres_db *p, const PGresult *result, const char *what)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	int err = error_of(state ? state : "");

	hf_fail(&p->base.why, err, "%.60s: %.160s", what, text ? text : "failed");
	if (state && needs_other_connection(state))
		lose(p);
	return err;
}

/* ---- Statements ------------------------------------------------------------------------------ */

/* The result of what was sent (0: it could not be), checked; the caller clears it. */
static int answer(struct postgres_db *p, int sent, const char *what, bool writes, PGresult **result)
{
	int err = sent ? hf_pg_await(p->conn, result) : HF_ECONN;

	if (err)
		return lost(p, err, writes);
	if (PQresultStatus(*result) == PGRES_COMMAND_OK ||
	    PQresultStatus(*result) == PGRES_TUPLES_OK)
		return 0;
	err = refused(p, *result, what);
	PQclear(*result);
	return err;
}

static int simple(struct postgres_db *p, const char *sql, bool writes)
{
	PGresult *result;
	int err = have_connection(p);

	if (!err)
		err = answer(p, PQsendQuery(p->conn, sql), sql, writes, &result);
	if (!err)
		PQclear(result);
	return err;
}

static Oid oid_of(char type)
{
	return type == 'i' ? OID_INT8 : type == 't' ? OID_TEXT : OID_BYTEA;
}

/* Makes the statement known to the connection; its name is that of its place. */
static int prepare(struct postgres_db *p, const char *sql, const struct hf_db_value *values,
		   unsigned count, char *name)
{
	uintptr_t slot = ((uintptr_t)sql >> 3) * 0x9e3779b97f4a7c15u >> 40;
	Oid types[HF_DB_VALUES_MAX];
	const char **place;
	PGresult *result;
	unsigned tries = 0;
	int err;

	do {
		HF_ASSERT(tries++ < PREPARED_SIZE);
		place = &p->prepared[slot++ % PREPARED_SIZE];
	} while (*place && *place != sql);
	snprintf(name, NAME_MAX_BYTES, "s%u", (unsigned)(place - p->prepared));
	if (*place)
		return 0;
	for (unsigned i = 0; i < count; i++)
		types[i] = oid_of(values[i].type);
	err = answer(p, PQsendPrepare(p->conn, name, sql, (int)count, types), sql, false, &result);
	if (err)
		return err;
	PQclear(result);
	*place = sql;
	return 0;
}

static int send_prepared(struct postgres_db *p, const char *name, const struct hf_db_value *values,
			 unsigned count)
{
	const char *bytes[HF_DB_VALUES_MAX];
	int lengths[HF_DB_VALUES_MAX], formats[HF_DB_VALUES_MAX];
	uint64_t numbers[HF_DB_VALUES_MAX];

	for (unsigned i = 0; i < count; i++) {
		numbers[i] = htobe64(values[i].number);
		formats[i] = 1;
		bytes[i] = values[i].type == 'i' ? (const char *)&numbers[i]
			   : values[i].bytes     ? values[i].bytes
						 : "";
		lengths[i] = values[i].type == 'i' ? (int)sizeof numbers[i] : (int)values[i].length;
	}
	return PQsendQueryPrepared(p->conn, name, (int)count, bytes, lengths, formats, 1);
}

static int visit_all(struct postgres_db *p, PGresult *result, const char *sql, hf_db_visit visit,
		     void *context)
{
	int err = 0;

	for (int i = 0; i < PQntuples(result) && !err; i++) {
		struct hf_db_row row = {.db = &p->base, .result = result, .index = i};

		err = visit(context, &row);
		if (!err && row.err)
			err = hf_fail(&p->base.why, row.err, "%.60s: a value is out of bounds",
				      sql);
	}
	return err;
}

static int postgres_run(struct hf_db *db, const char *sql, const struct hf_db_value *values,
			unsigned count, hf_db_visit visit, void *context, uint64_t *rows)
{
	struct postgres_db *p = postgres_of(db);
	bool writes = strncmp(sql, "SELECT", 6) != 0;
	char name[NAME_MAX_BYTES];
	PGresult *result;
	int err = have_connection(p);

	if (!err)
		err = prepare(p, sql, values, count, name);
	if (!err)
		err = answer(p, send_prepared(p, name, values, count), sql, writes, &result);
	if (err)
		return err;
	*rows = PQresultStatus(result) == PGRES_TUPLES_OK ? (uint64_t)PQntuples(result)
							  : strtoull(PQcmdTuples(result), NULL, 10);
	if (visit)
		err = visit_all(p, result, sql, visit, context);
	PQclear(result);
	return err;
}

/* ---- Many at once ---------------------------------------------------------------------------- */

static int visit_answer(struct postgres_db *p, const struct hf_db_each *each, unsigned index,
			PGresult *result)
{
	int err = 0;

	for (int i = 0; each->visit && i < PQntuples(result) && !err; i++) {
		struct hf_db_row row = {.db = &p->base, .result = result, .index = i};

		err = each->visit(each->context, index, &row);
		if (!err && row.err)
			err = hf_fail(&p->base.why, row.err, "%.60s: a value is out of bounds",
				      each->sql);
	}
	return err;
}

/* The answers to what was sent; behind the first error they say only that nothing was done. The
 * connection may be gone afterwards. */
static int take_answers(struct postgres_db *p, const struct hf_db_each *each, unsigned from,
			unsigned count)
{
	PGresult *result;
	int err = 0;

	for (unsigned i = 0; i < count && p->conn; i++) {
		if (err) {
			if (hf_pg_await(p->conn, &result) != 0)
				return lost(p, HF_ECONN, true);
			PQclear(result);
			continue;
		}
		err = answer(p, 1, each->sql, true, &result);
		if (!err) {
			err = visit_answer(p, each, from + i, result);
			PQclear(result);
		}
	}
	return err;
}

static int run_some(struct postgres_db *p, const struct hf_db_each *each, unsigned from,
		    unsigned until)
{
	struct hf_db_value values[HF_DB_VALUES_MAX];
	char name[NAME_MAX_BYTES];
	PGresult *result = NULL;
	unsigned count;
	int err, sent;

	hf_db_each_values(each, from, values, &count);
	err = prepare(p, each->sql, values, count, name);
	if (err)
		return err;
	sent = PQenterPipelineMode(p->conn);
	for (unsigned i = from; i < until && sent; i++) {
		hf_db_each_values(each, i, values, &count);
		sent = send_prepared(p, name, values, count);
	}
	if (!sent || !PQpipelineSync(p->conn))
		return lost(p, HF_ECONN, true);
	err = take_answers(p, each, from, until - from);
	if (!p->conn)
		return err;
	if (hf_pg_await(p->conn, &result) != 0 || PQresultStatus(result) != PGRES_PIPELINE_SYNC ||
	    !PQexitPipelineMode(p->conn))
		err = lost(p, HF_ECONN, true);
	PQclear(result);
	return err;
}

static int postgres_each(struct hf_db *db, const struct hf_db_each *each)
{
	struct postgres_db *p = postgres_of(db);
	int err = have_connection(p);

	for (unsigned from = 0; from < each->count && !err; from += PIPELINE_MAX)
		err = run_some(p, each, from,
			       each->count - from > PIPELINE_MAX ? from + PIPELINE_MAX
								 : each->count);
	return err;
}

static int postgres_script(struct hf_db *db, const char *sql)
{
	return simple(postgres_of(db), sql, true);
}

static const void *postgres_bytes(struct hf_db_row *row, size_t *length)
{
	*length = (size_t)PQgetlength(row->result, row->index, row->column);
	return PQgetvalue(row->result, row->index, row->column++);
}

static uint64_t postgres_number(struct hf_db_row *row)
{
	uint64_t value = 0;
	size_t length;
	const void *bytes = postgres_bytes(row, &length);

	if (length == sizeof value)
		memcpy(&value, bytes, sizeof value);
	else
		row->err = HF_ECORRUPT;
	return be64toh(value);
}

/* ---- Transactions ---------------------------------------------------------------------------- */

static int postgres_begin(struct hf_db *db)
{
	struct postgres_db *p = postgres_of(db);
	/* The key: "holdfast" in ASCII. A process that dies lets go of it; one that hangs loses it
	 * with idle_in_transaction_session_timeout. */
	int err = simple(p,
			 "BEGIN ISOLATION LEVEL READ COMMITTED; "
			 "SELECT pg_advisory_xact_lock(7525352680829580148)",
			 false);

	if (err && p->conn) {
		struct hf_errmsg why = p->base.why;

		simple(p, "ROLLBACK", false);
		p->base.why = why;
	}
	return err;
}

/* `why` stays that of the error that led here. */
static void postgres_rollback(struct hf_db *db)
{
	struct postgres_db *p = postgres_of(db);
	struct hf_errmsg why = db->why;

	if (!p->spoiled)
		simple(p, "ROLLBACK", false);
	p->spoiled = false;
	db->why = why;
}

static int postgres_commit(struct hf_db *db)
{
	struct postgres_db *p = postgres_of(db);
	PGresult *result;
	int err = have_connection(p);

	/* PostgreSQL undoes a transaction with a failed statement, and its COMMIT succeeds. */
	if (!err && PQtransactionStatus(p->conn) != PQTRANS_INTRANS) {
		postgres_rollback(db);
		return HF_EIO;
	}
	db->in_transaction = false;
	if (!err)
		err = answer(p, PQsendQuery(p->conn, "COMMIT"), "COMMIT", true, &result);
	if (!err)
		PQclear(result);
	p->spoiled = false;
	return err;
}

/* ---- Opening, closing ------------------------------------------------------------------------ */

static void postgres_close(struct hf_db *db)
{
	struct postgres_db *p = postgres_of(db);

	HF_ASSERT(!db->in_transaction);
	PQfinish(p->conn);
	hf_pg_connector_close(p->connector);
	p->magic = 0;
	free(p);
}

static const struct hf_db_driver postgres_driver = {
	.dialect = {.integer = "BIGINT",
		    .bytes = "BYTEA",
		    .counter = "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
		    .strict = "",
		    .count_meta = "SELECT count(*) FROM information_schema.tables WHERE "
				  "table_schema = current_schema() AND table_name = 'meta'",
		    .now_ms = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"},
	.locks_rows = true,
	.close = postgres_close,
	.ready = postgres_ready,
	.begin = postgres_begin,
	.commit = postgres_commit,
	.rollback = postgres_rollback,
	.run = postgres_run,
	.each = postgres_each,
	.script = postgres_script,
	.number = postgres_number,
	.bytes = postgres_bytes,
};

int hf_db_open_postgres(const char *where, struct hf_db **db, struct hf_errmsg *message)
{
	struct postgres_db *p = calloc(1, sizeof *p);
	int err;

	if (!p)
		return hf_fail(message, HF_ENOMEM, "the registry: out of memory");
	p->base.driver = &postgres_driver;
	p->magic = POSTGRES_MAGIC;
	err = hf_pg_connector_open(where, &p->connector, message);
	if (err)
		goto err_after_alloc;
	err = hf_pg_connect(p->connector, &p->conn, message);
	if (err)
		goto err_after_connector;
	*db = &p->base;
	return 0;
err_after_connector:
	hf_pg_connector_close(p->connector);
err_after_alloc:
	free(p);
	return err;
}
