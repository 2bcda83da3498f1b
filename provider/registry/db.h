/* The database under the registry: a small table of functions that each kind fills (db_sqlite.c,
 * db_postgres.c), and the calls above it that the registry's files use. SQL is written once, in
 * what both understand: parameters `$1`, `$2` …, which appear first in the order of their numbers;
 * three types, a number of 64 bits (stored signed: order only what stays below 2^63), text, bytes;
 * `ON CONFLICT … DO UPDATE`, `RETURNING`, partial indexes. The text of a statement is a literal: it
 * is prepared once and found again by its address.
 *
 * One connection, one thread. A statement that fails inside a transaction spoils it: the only way
 * on is hf_db_end with the error. */
#ifndef HF_PROVIDER_REGISTRY_DB_H
#define HF_PROVIDER_REGISTRY_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define HF_DB_VALUES_MAX 32u

struct hf_db;

/* A parameter. */
struct hf_db_value {
	char type; /* i, t or b, as in hf_db_run */
	uint64_t number;
	const void *bytes; /* text: `length` leaves the terminator out, which is there */
	size_t length;
};

/* One row, read from the left. A text or blob that does not fit its place is HF_ECORRUPT in `err`.
 */
struct hf_db_row {
	struct hf_db *db;
	void *result; /* the driver's */
	int index;    /* of the row in it, where the driver counts */
	int column;
	int err;
};

/* 0 goes on; anything else ends the statement and is returned. Other statements may read meanwhile,
 * but not write. */
typedef int (*hf_db_visit)(void *context, struct hf_db_row *row);

/* One statement for many sets of parameters, in a transaction. */
struct hf_db_each {
	const char *sql;
	const char *types; /* as in hf_db_run */
	unsigned count;
	/* Sets the values of one: number, or bytes and length. Pointers stay valid to the end. */
	void (*fill)(void *context, unsigned index, struct hf_db_value *values);
	/* A row that it gave; NULL ignores rows. */
	int (*visit)(void *context, unsigned index, struct hf_db_row *row);
	void *context;
};

/* What `{int}`, `{bytes}`, `{counter}` and `{strict}` stand for in the schema. */
struct hf_db_dialect {
	const char *integer, *bytes, *counter, *strict;
	const char *count_meta; /* query: 1 if table meta exists, else 0 */
	const char *now_ms;     /* expression: milliseconds since 1970; 0: the asker's clock */
};

struct hf_db_driver {
	struct hf_db_dialect dialect;
	bool locks_rows; /* others write between the statements of a transaction */
	void (*close)(struct hf_db *db);
	/* False while the connection is lost; then every call fails at once with HF_ENOTREADY. */
	bool (*ready)(struct hf_db *db);
	/* A transaction shuts out every other one, also of other processes. */
	int (*begin)(struct hf_db *db);
	/* HF_EUNKNOWN: the connection was lost before the answer came. */
	int (*commit)(struct hf_db *db);
	void (*rollback)(struct hf_db *db);
	/* *rows gets how many rows the statement gave or, if it gives none, changed. */
	int (*run)(struct hf_db *db, const char *sql, const struct hf_db_value *values,
		   unsigned count, hf_db_visit visit, void *context, uint64_t *rows);
	/* hf_db_each in one go; NULL: one after the other is as good. */
	int (*each)(struct hf_db *db, const struct hf_db_each *each);
	/* Several statements without parameters. */
	int (*script)(struct hf_db *db, const char *sql);
	/* The next column. Bytes are valid during the visit. */
	uint64_t (*number)(struct hf_db_row *row);
	const void *(*bytes)(struct hf_db_row *row, size_t *length);
};

struct hf_db {
	const struct hf_db_driver *driver;
	bool in_transaction;
	uint64_t errors;      /* statements and transactions that failed, for figures */
	struct hf_errmsg why; /* of the last error, for the log; no secrets */
};

/* One file; write-ahead log, synced at each commit. Creates it for its owner only. */
int hf_db_open_sqlite(const char *path, struct hf_db **db, struct hf_errmsg *message);

/* `where` as in pg_connect.h. HF_ENOTREADY: it does not answer; HF_EUNSUPPORTED: what is committed
 * there may be lost. */
int hf_db_open_postgres(const char *where, struct hf_db **db, struct hf_errmsg *message);

static inline void hf_db_close(struct hf_db *db)
{
	db->driver->close(db);
}

/* ---- Transactions ---------------------------------------------------------------------------- */

int hf_db_begin(struct hf_db *db);
/* Commits if `err` is 0, else undoes everything. Returns the first error. */
int hf_db_end(struct hf_db *db, int err);
/* For a call that needs several statements: a transaction of its own, or part of the caller's.
 * *own is for hf_db_leave. */
int hf_db_enter(struct hf_db *db, bool *own);
int hf_db_leave(struct hf_db *db, bool own, int err);

/* ---- Statements ------------------------------------------------------------------------------ */

/* Runs one statement. `types` has a letter for each parameter: i (uint64_t), t (const char *),
 * b (const void *, size_t). `visit` is called for each row; NULL ignores rows. HF_EEXIST: a key is
 * taken; HF_ENOENT: a row that is referred to does not exist. */
int hf_db_run(struct hf_db *db, hf_db_visit visit, void *context, const char *sql,
	      const char *types, ...);
/* Only the first row is visited; HF_ENOENT if there was none. */
int hf_db_one(struct hf_db *db, hf_db_visit visit, void *context, const char *sql,
	      const char *types, ...);
/* HF_ENOENT if no row was changed. */
int hf_db_change(struct hf_db *db, const char *sql, const char *types, ...);
/* Each of them as hf_db_run does, in order, but without a journey to the database for every one.
 * The first error, or what `visit` returned, ends it; no visit may ask further. */
int hf_db_each(struct hf_db *db, const struct hf_db_each *each);
/* For drivers: the values of one of them. */
void hf_db_each_values(const struct hf_db_each *each, unsigned index, struct hf_db_value *values,
		       unsigned *count);

/* ---- Columns --------------------------------------------------------------------------------- */

uint64_t hf_db_u64(struct hf_db_row *row);
void hf_db_text(struct hf_db_row *row, char *text, size_t size);
/* At most `size` bytes; how many in *length. */
void hf_db_blob(struct hf_db_row *row, uint8_t *bytes, size_t size, size_t *length);
/* Exactly `size` bytes. */
void hf_db_fixed(struct hf_db_row *row, uint8_t *bytes, size_t size);
/* Bytes of any length, copied; the caller frees. HF_ENOMEM in `err`, then NULL. */
uint8_t *hf_db_copy(struct hf_db_row *row, size_t *length);
/* A visit whose context is a uint64_t. */
int hf_db_read_u64(void *context, struct hf_db_row *row);

#endif
