/* Statements with typed arguments and rows read column by column, for the SQLite registry. The
 * registry's thread. A statement lives only for one call, so no failure can leave one open. */
#include "provider/registry/sqlite_internal.h"

#include <stdarg.h>
#include <string.h>

int hf_sql_error(struct sqlite_registry *s, int code, const char *what)
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

uint64_t hf_sql_u64(struct hf_sql_row *row)
{
	return (uint64_t)sqlite3_column_int64(row->stmt, row->column++);
}

void hf_sql_text(struct hf_sql_row *row, char *text, size_t size)
{
	const char *value = (const char *)sqlite3_column_text(row->stmt, row->column);
	size_t length = (size_t)sqlite3_column_bytes(row->stmt, row->column);

	row->column++;
	if (length >= size) {
		row->err = HF_ECORRUPT;
		length = 0;
	}
	memcpy(text, value ? value : "", length);
	text[length] = '\0';
}

void hf_sql_blob(struct hf_sql_row *row, uint8_t *bytes, size_t size, size_t *length)
{
	const void *value = sqlite3_column_blob(row->stmt, row->column);

	*length = (size_t)sqlite3_column_bytes(row->stmt, row->column);
	row->column++;
	if (*length > size) {
		row->err = HF_ECORRUPT;
		*length = 0;
	}
	if (*length > 0)
		memcpy(bytes, value, *length);
}

void hf_sql_fixed(struct hf_sql_row *row, uint8_t *bytes, size_t size)
{
	size_t length;

	hf_sql_blob(row, bytes, size, &length);
	if (length != size)
		row->err = HF_ECORRUPT;
}

static int bind_all(sqlite3_stmt *stmt, const char *types, va_list args)
{
	int code = SQLITE_OK;
	const void *bytes;

	for (int i = 0; types[i] != '\0' && code == SQLITE_OK; i++) {
		switch (types[i]) {
		case 'i':
			code = sqlite3_bind_int64(stmt, i + 1,
						  (sqlite3_int64)va_arg(args, uint64_t));
			break;
		case 't':
			code = sqlite3_bind_text(stmt, i + 1, va_arg(args, const char *), -1,
						 SQLITE_TRANSIENT);
			break;
		default:
			HF_ASSERT(types[i] == 'b');
			bytes = va_arg(args, const void *);
			code = sqlite3_bind_blob64(stmt, i + 1, bytes ? bytes : "",
						   va_arg(args, size_t), SQLITE_TRANSIENT);
			break;
		}
	}
	return code;
}

static int run(struct sqlite_registry *s, hf_sql_visit visit, void *context, const char *sql,
	       unsigned *rows, bool first_only, const char *types, va_list args)
{
	sqlite3_stmt *stmt;
	int code, err = 0;

	code = sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL);
	if (code != SQLITE_OK)
		return hf_sql_error(s, code, sql);
	code = bind_all(stmt, types, args);
	while (code == SQLITE_OK || code == SQLITE_ROW) {
		struct hf_sql_row row = {.stmt = stmt};

		code = sqlite3_step(stmt);
		if (code != SQLITE_ROW)
			break;
		++*rows;
		if (!visit || (first_only && *rows > 1))
			continue;
		err = visit(context, &row);
		if (!err && row.err)
			err = hf_fail(&s->base.why, row.err, "%.60s: a value is out of bounds",
				      sql);
		if (err)
			break;
	}
	if (!err && code != SQLITE_DONE)
		err = hf_sql_error(s, code, sql);
	sqlite3_finalize(stmt);
	return err;
}

int hf_sql_run(struct sqlite_registry *s, hf_sql_visit visit, void *context, const char *sql,
	       const char *types, ...)
{
	unsigned rows = 0;
	va_list args;
	int err;

	va_start(args, types);
	err = run(s, visit, context, sql, &rows, false, types, args);
	va_end(args);
	return err;
}

int hf_sql_one(struct sqlite_registry *s, hf_sql_visit visit, void *context, const char *sql,
	       const char *types, ...)
{
	unsigned rows = 0;
	va_list args;
	int err;

	va_start(args, types);
	err = run(s, visit, context, sql, &rows, true, types, args);
	va_end(args);
	return err ? err : rows > 0 ? 0 : HF_ENOENT;
}

int hf_sql_changes(struct sqlite_registry *s)
{
	return sqlite3_changes(s->db);
}

int hf_sql_savepoint(struct sqlite_registry *s)
{
	return hf_sql_run(s, NULL, NULL, "SAVEPOINT part", "");
}

int hf_sql_release(struct sqlite_registry *s, int err)
{
	if (err)
		hf_sql_run(s, NULL, NULL, "ROLLBACK TO part", "");
	int released = hf_sql_run(s, NULL, NULL, "RELEASE part", "");

	return err ? err : released;
}
