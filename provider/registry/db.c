/* What all databases share (db.h): typed arguments, columns with bounds, the nesting of calls in
 * transactions. The registry's thread. */
#include "provider/registry/db.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

/* What says that the database did not do as asked; a visit's own end, a key that is taken and a row
 * that is not there are answers. */
static int counted(struct hf_db *db, int err)
{
	if (err < 0 && err != HF_EEXIST && err != HF_ENOENT)
		db->errors++;
	return err;
}

int hf_db_begin(struct hf_db *db)
{
	int err;

	HF_ASSERT(!db->in_transaction);
	err = counted(db, db->driver->begin(db));
	db->in_transaction = err == 0;
	return err;
}

int hf_db_end(struct hf_db *db, int err)
{
	HF_ASSERT(db->in_transaction);
	if (err)
		db->driver->rollback(db);
	else
		err = counted(db, db->driver->commit(db));
	db->in_transaction = false;
	return err;
}

int hf_db_enter(struct hf_db *db, bool *own)
{
	*own = !db->in_transaction;
	return *own ? hf_db_begin(db) : 0;
}

int hf_db_leave(struct hf_db *db, bool own, int err)
{
	return own ? hf_db_end(db, err) : err;
}

/* ---- Statements ------------------------------------------------------------------------------ */

static void gather(struct hf_db_value *values, unsigned *count, const char *types, va_list args)
{
	unsigned n = 0;

	for (; types[n] != '\0'; n++) {
		struct hf_db_value *value = &values[n];

		HF_ASSERT(n < HF_DB_VALUES_MAX);
		value->type = types[n];
		switch (types[n]) {
		case 'i':
			value->number = va_arg(args, uint64_t);
			break;
		case 't':
			value->bytes = va_arg(args, const char *);
			value->length = strlen(value->bytes);
			break;
		default:
			HF_ASSERT(types[n] == 'b');
			value->bytes = va_arg(args, const void *);
			value->length = va_arg(args, size_t);
			break;
		}
	}
	*count = n;
}

static int run(struct hf_db *db, hf_db_visit visit, void *context, uint64_t *rows, const char *sql,
	       const char *types, va_list args)
{
	struct hf_db_value values[HF_DB_VALUES_MAX];
	unsigned count;

	gather(values, &count, types, args);
	*rows = 0;
	return counted(db, db->driver->run(db, sql, values, count, visit, context, rows));
}

int hf_db_run(struct hf_db *db, hf_db_visit visit, void *context, const char *sql,
	      const char *types, ...)
{
	uint64_t rows;
	va_list args;
	int err;

	va_start(args, types);
	err = run(db, visit, context, &rows, sql, types, args);
	va_end(args);
	return err;
}

struct first {
	hf_db_visit visit;
	void *context;
	bool done;
};

static int visit_first(void *context, struct hf_db_row *row)
{
	struct first *first = context;

	if (first->done)
		return 0;
	first->done = true;
	return first->visit(first->context, row);
}

int hf_db_one(struct hf_db *db, hf_db_visit visit, void *context, const char *sql,
	      const char *types, ...)
{
	struct first first = {visit, context, false};
	uint64_t rows;
	va_list args;
	int err;

	va_start(args, types);
	err = run(db, visit_first, &first, &rows, sql, types, args);
	va_end(args);
	return err ? err : first.done ? 0 : HF_ENOENT;
}

int hf_db_change(struct hf_db *db, const char *sql, const char *types, ...)
{
	uint64_t rows;
	va_list args;
	int err;

	va_start(args, types);
	err = run(db, NULL, NULL, &rows, sql, types, args);
	va_end(args);
	return err ? err : rows > 0 ? 0 : HF_ENOENT;
}

void hf_db_each_values(const struct hf_db_each *each, unsigned index, struct hf_db_value *values,
		       unsigned *count)
{
	*count = 0;
	for (; each->types[*count] != '\0'; ++*count) {
		HF_ASSERT(*count < HF_DB_VALUES_MAX);
		values[*count] = (struct hf_db_value){.type = each->types[*count]};
	}
	each->fill(each->context, index, values);
}

struct indexed {
	const struct hf_db_each *each;
	unsigned index;
};

static int visit_indexed(void *context, struct hf_db_row *row)
{
	const struct indexed *at = context;

	return at->each->visit(at->each->context, at->index, row);
}

int hf_db_each(struct hf_db *db, const struct hf_db_each *each)
{
	struct hf_db_value values[HF_DB_VALUES_MAX];
	unsigned count;
	uint64_t rows;
	int err = 0;

	HF_ASSERT(db->in_transaction);
	if (db->driver->each)
		return counted(db, each->count ? db->driver->each(db, each) : 0);
	for (struct indexed at = {each, 0}; at.index < each->count && !err; at.index++) {
		hf_db_each_values(each, at.index, values, &count);
		err = db->driver->run(db, each->sql, values, count,
				      each->visit ? visit_indexed : NULL, &at, &rows);
	}
	return counted(db, err);
}

/* ---- Columns --------------------------------------------------------------------------------- */

uint64_t hf_db_u64(struct hf_db_row *row)
{
	return row->db->driver->number(row);
}

void hf_db_text(struct hf_db_row *row, char *text, size_t size)
{
	size_t length;
	const void *value = row->db->driver->bytes(row, &length);

	if (length >= size) {
		row->err = HF_ECORRUPT;
		length = 0;
	}
	if (length > 0)
		memcpy(text, value, length);
	text[length] = '\0';
}

void hf_db_blob(struct hf_db_row *row, uint8_t *bytes, size_t size, size_t *length)
{
	const void *value = row->db->driver->bytes(row, length);

	if (*length > size) {
		row->err = HF_ECORRUPT;
		*length = 0;
	}
	if (*length > 0)
		memcpy(bytes, value, *length);
}

void hf_db_fixed(struct hf_db_row *row, uint8_t *bytes, size_t size)
{
	size_t length;

	hf_db_blob(row, bytes, size, &length);
	if (length != size)
		row->err = HF_ECORRUPT;
}

uint8_t *hf_db_copy(struct hf_db_row *row, size_t *length)
{
	const void *value = row->db->driver->bytes(row, length);
	uint8_t *copy = malloc(*length + 1);

	if (!copy)
		row->err = HF_ENOMEM;
	else if (*length > 0)
		memcpy(copy, value, *length);
	return copy;
}

int hf_db_read_u64(void *context, struct hf_db_row *row)
{
	*(uint64_t *)context = hf_db_u64(row);
	return 0;
}
