/* SQLite under the registry: one file, one process. Write-ahead log with synchronous=FULL, so that
 * a committed change survives the loss of power. Statements are prepared once and kept; one that is
 * in use by a visit further up is prepared again for the moment. The registry's thread. */
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "provider/registry/db.h"

#define SQLITE_MAGIC 0x72656731u
/* A backup or a shell may hold the lock; the loop that waits for it also answers pings. */
#define BUSY_MS   250
#define KEPT_SIZE 256u /* a power of two, well above the statements there are */

struct kept {
	const char *sql; /* NULL: free */
	sqlite3_stmt *stmt;
	bool in_use;
};

struct sqlite_db {
	struct hf_db base;
	uint32_t magic;
	sqlite3 *db;
	struct kept kept[KEPT_SIZE];
};

static struct sqlite_db *sqlite_of(struct hf_db *db)
{
	struct sqlite_db *s = (struct sqlite_db *)db;

	HF_CHECK_MAGIC(s, SQLITE_MAGIC);
	return s;
}

static int failed(struct sqlite_db *s, int code, const char *what)
{
	int err;

	switch (code & 0xff) {
	case SQLITE_CONSTRAINT:
		err = code == SQLITE_CONSTRAINT_FOREIGNKEY ? HF_ENOENT : HF_EEXIST;
		break;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		err = HF_EBUSY;
		break;
	case SQLITE_FULL:
		err = HF_ENOSPC;
		break;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		err = HF_ECORRUPT;
		break;
	case SQLITE_NOMEM:
		err = HF_ENOMEM;
		break;
	default:
		err = HF_EIO;
		break;
	}
	return hf_fail(&s->base.why, err, "%.60s: %.160s", what, sqlite3_errmsg(s->db));
}

/* ---- Statements ------------------------------------------------------------------------------ */

static int prepare(struct sqlite_db *s, const char *sql, sqlite3_stmt **stmt)
{
	int code = sqlite3_prepare_v2(s->db, sql, -1, stmt, NULL);

	if (code != SQLITE_OK)
		return failed(s, code, sql);
	/* To SQLite `$2` is a name; it gets the place in which it appears. */
	for (int i = 1; i <= sqlite3_bind_parameter_count(*stmt); i++)
		HF_ASSERT(strtol(sqlite3_bind_parameter_name(*stmt, i) + 1, NULL, 10) == i);
	return 0;
}

/* The place of this statement in the table, which never fills: statements are literals. */
static struct kept *place_of(struct sqlite_db *s, const char *sql)
{
	uintptr_t slot = ((uintptr_t)sql >> 3) * 0x9e3779b97f4a7c15u >> 40;

	for (unsigned tries = 0; tries < KEPT_SIZE; tries++, slot++) {
		struct kept *kept = &s->kept[slot % KEPT_SIZE];

		if (!kept->sql || kept->sql == sql)
			return kept;
	}
	HF_ASSERT(false);
	return NULL;
}

static int take(struct sqlite_db *s, const char *sql, sqlite3_stmt **stmt)
{
	struct kept *kept = place_of(s, sql);
	int err = 0;

	if (kept->in_use)
		return prepare(s, sql, stmt);
	if (!kept->sql)
		err = prepare(s, sql, &kept->stmt);
	if (err)
		return err;
	kept->sql = sql;
	kept->in_use = true;
	*stmt = kept->stmt;
	return 0;
}

static void give_back(struct sqlite_db *s, const char *sql, sqlite3_stmt *stmt)
{
	struct kept *kept = place_of(s, sql);

	if (stmt != kept->stmt) {
		sqlite3_finalize(stmt);
		return;
	}
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
	kept->in_use = false;
}

/* The values outlive the statement's use, which ends before `run` returns. */
static int bind(sqlite3_stmt *stmt, const struct hf_db_value *values, unsigned count)
{
	int code = SQLITE_OK;

	HF_ASSERT((int)count == sqlite3_bind_parameter_count(stmt));
	for (unsigned i = 0; i < count && code == SQLITE_OK; i++) {
		const struct hf_db_value *v = &values[i];
		int place = (int)i + 1;

		if (v->type == 'i')
			code = sqlite3_bind_int64(stmt, place, (sqlite3_int64)v->number);
		else if (v->type == 't')
			code = sqlite3_bind_text64(stmt, place, v->bytes, v->length, SQLITE_STATIC,
						   SQLITE_UTF8);
		else
			code = sqlite3_bind_blob64(stmt, place, v->bytes ? v->bytes : "", v->length,
						   SQLITE_STATIC);
	}
	return code;
}

static int step_all(struct sqlite_db *s, sqlite3_stmt *stmt, const char *sql, hf_db_visit visit,
		    void *context, uint64_t *rows)
{
	int code, err = 0;

	while ((code = sqlite3_step(stmt)) == SQLITE_ROW) {
		struct hf_db_row row = {.db = &s->base, .result = stmt};

		++*rows;
		if (!visit)
			continue;
		err = visit(context, &row);
		if (!err && row.err)
			err = hf_fail(&s->base.why, row.err, "%.60s: a value is out of bounds",
				      sql);
		if (err)
			return err;
	}
	if (code != SQLITE_DONE)
		return failed(s, code, sql);
	if (sqlite3_column_count(stmt) == 0)
		*rows = (uint64_t)sqlite3_changes64(s->db);
	return 0;
}

static int sqlite_run(struct hf_db *db, const char *sql, const struct hf_db_value *values,
		      unsigned count, hf_db_visit visit, void *context, uint64_t *rows)
{
	struct sqlite_db *s = sqlite_of(db);
	sqlite3_stmt *stmt;
	int code, err = take(s, sql, &stmt);

	if (err)
		return err;
	code = bind(stmt, values, count);
	err = code == SQLITE_OK ? step_all(s, stmt, sql, visit, context, rows)
				: failed(s, code, sql);
	give_back(s, sql, stmt);
	return err;
}

static int sqlite_script(struct hf_db *db, const char *sql)
{
	struct sqlite_db *s = sqlite_of(db);
	int code = sqlite3_exec(s->db, sql, NULL, NULL, NULL);

	return code == SQLITE_OK ? 0 : failed(s, code, sql);
}

static uint64_t sqlite_number(struct hf_db_row *row)
{
	return (uint64_t)sqlite3_column_int64(row->result, row->column++);
}

static const void *sqlite_bytes(struct hf_db_row *row, size_t *length)
{
	const void *value = sqlite3_column_blob(row->result, row->column);

	*length = (size_t)sqlite3_column_bytes(row->result, row->column++);
	return value;
}

/* ---- Transactions, opening, closing ---------------------------------------------------------- */

static int sqlite_begin(struct hf_db *db)
{
	return sqlite_script(db, "BEGIN IMMEDIATE");
}

static void sqlite_rollback(struct hf_db *db)
{
	struct sqlite_db *s = sqlite_of(db);

	/* After some errors SQLite has already undone it. `why` stays that of the error. */
	if (!sqlite3_get_autocommit(s->db))
		sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
}

static int sqlite_commit(struct hf_db *db)
{
	int err = sqlite_script(db, "COMMIT");

	if (err)
		sqlite_rollback(db);
	return err;
}

static bool sqlite_ready(struct hf_db *db)
{
	(void)db;
	return true;
}

static void sqlite_close(struct hf_db *db)
{
	struct sqlite_db *s = sqlite_of(db);

	HF_ASSERT(!db->in_transaction);
	for (unsigned i = 0; i < KEPT_SIZE; i++)
		sqlite3_finalize(s->kept[i].stmt);
	sqlite3_close(s->db);
	s->magic = 0;
	free(s);
}

static const struct hf_db_driver sqlite_driver = {
	.dialect = {.integer = "INTEGER",
		    .bytes = "BLOB",
		    .counter = "INTEGER PRIMARY KEY AUTOINCREMENT",
		    .strict = " STRICT",
		    .count_meta = "SELECT count(*) FROM sqlite_master WHERE name = 'meta'",
		    .now_ms = "0"},
	.close = sqlite_close,
	.ready = sqlite_ready,
	.begin = sqlite_begin,
	.commit = sqlite_commit,
	.rollback = sqlite_rollback,
	.run = sqlite_run,
	.script = sqlite_script,
	.number = sqlite_number,
	.bytes = sqlite_bytes,
};

int hf_db_open_sqlite(const char *path, struct hf_db **db, struct hf_errmsg *message)
{
	struct sqlite_db *s = calloc(1, sizeof *s);
	int fd, code, err;

	if (!s)
		return hf_fail(message, HF_ENOMEM, "%s: out of memory", path);
	s->base.driver = &sqlite_driver;
	s->magic = SQLITE_MAGIC;
	/* SQLite would create it with the umask's mode; its -wal and -shm files copy this one's. */
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0) {
		err = hf_fail(message, hf_err_from_errno(errno), "%s: %s", path, strerror(errno));
		goto err_after_alloc;
	}
	close(fd);
	code = sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
	if (code != SQLITE_OK) {
		err = hf_fail(message, HF_EIO, "%s: %s", path, sqlite3_errstr(code));
		goto err_after_open;
	}
	sqlite3_busy_timeout(s->db, BUSY_MS);
	sqlite3_extended_result_codes(s->db, 1);
	err = sqlite_script(&s->base, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
				      "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF");
	if (err) {
		hf_fail(message, err, "%s: %.180s", path, s->base.why.text);
		goto err_after_open;
	}
	*db = &s->base;
	return 0;
err_after_open:
	sqlite3_close(s->db);
err_after_alloc:
	free(s);
	return err;
}
