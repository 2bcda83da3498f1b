/* The database of sim_plane: one SQLite in memory under a driver of the world's own, which every
 * provider process opens where the product would open PostgreSQL. The SQL and all that stands above
 * the driver are the product's. A process that dies, or that the database does not answer, loses
 * its transaction; the answer to a commit may be lost, with the commit or without. */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "provider/registry/db.h"
#include "tests/sim/plane.h"

static struct hf_db *shared;
static sqlite3 *handle, *backup;
static bool opening;

/* The registry's view of one process. */
struct process_db {
	struct hf_db base;
	struct sim_process *owner;
};

int __real_sqlite3_open_v2(const char *path, sqlite3 **db, int flags, const char *vfs);
int __wrap_sqlite3_open_v2(const char *path, sqlite3 **db, int flags, const char *vfs);

int __wrap_sqlite3_open_v2(const char *path, sqlite3 **db, int flags, const char *vfs)
{
	int code = __real_sqlite3_open_v2(path, db, flags, vfs);

	if (opening)
		handle = *db;
	return code;
}

static bool answers(const struct hf_db *db)
{
	const struct sim_process *owner = ((const struct process_db *)db)->owner;

	return !owner ||
	       (!owner->dead && (sim_world.calm || sim_world.now_ms >= owner->base_back_ms));
}

/* The connection breaks, and is made again in a while. */
static void lose_it(struct hf_db *db)
{
	struct sim_process *owner = ((struct process_db *)db)->owner;

	if (owner)
		owner->base_back_ms = sim_world.now_ms + 1 + sim_below(4000);
}

static bool answers_now(struct hf_db *db)
{
	if (sim_chance(60))
		lose_it(db);
	return answers(db);
}

static int away(struct hf_db *db)
{
	return hf_fail(&db->why, HF_ENOTREADY, "the database does not answer");
}

static int told(struct hf_db *db, int err)
{
	if (err)
		db->why = shared->why;
	return err;
}

static void roll_back(struct hf_db *db)
{
	(void)db;
	if (!sqlite3_get_autocommit(handle))
		shared->driver->rollback(shared);
}

static int begin(struct hf_db *db)
{
	sim_step_dies();
	return answers_now(db) ? told(db, shared->driver->begin(shared)) : away(db);
}

/* 0: it happens. Else what is told instead, after it happened or not. */
static int trouble(struct hf_db *db, bool *happens)
{
	struct process_db *p = (struct process_db *)db;

	*happens = true;
	if (sim_step_dies() || !answers(db)) {
		*happens = false;
		return away(db);
	}
	if (!p->owner || !sim_chance(600))
		return 0;
	*happens = sim_below(2);
	lose_it(db);
	return hf_fail(&db->why, HF_EUNKNOWN, "the connection was lost, what happened is unknown");
}

static int commit(struct hf_db *db)
{
	bool happens;
	int instead = trouble(db, &happens), err;

	if (!happens) {
		roll_back(db);
		return instead;
	}
	err = told(db, shared->driver->commit(shared));
	sim_step_dies();
	return instead ? instead : err;
}

static bool reads(const char *sql)
{
	return strncmp(sql, "SELECT", 6) == 0;
}

static int run(struct hf_db *db, const char *sql, const struct hf_db_value *values, unsigned count,
	       hf_db_visit visit, void *context, uint64_t *rows)
{
	bool happens = true;
	int instead = 0, err;

	if (!db->in_transaction && !reads(sql))
		instead = trouble(db, &happens);
	else if (!answers_now(db))
		return away(db);
	if (!happens)
		return instead;
	err = told(db, shared->driver->run(shared, sql, values, count, visit, context, rows));
	if (!db->in_transaction && !reads(sql))
		sim_step_dies();
	return instead ? instead : err;
}

static int script(struct hf_db *db, const char *sql)
{
	return answers(db) ? told(db, shared->driver->script(shared, sql)) : away(db);
}

static uint64_t number(struct hf_db_row *row)
{
	return shared->driver->number(row);
}

static const void *bytes(struct hf_db_row *row, size_t *length)
{
	return shared->driver->bytes(row, length);
}

static void close_db(struct hf_db *db)
{
	free(db);
}

static struct hf_db_driver driver = {
	.close = close_db,
	.ready = NULL,
	.begin = begin,
	.commit = commit,
	.rollback = roll_back,
	.run = run,
	.script = script,
	.number = number,
	.bytes = bytes,
};

static bool ready(struct hf_db *db)
{
	return answers(db);
}

int hf_db_open_postgres(const char *where, struct hf_db **db, struct hf_errmsg *message)
{
	struct process_db *p = calloc(1, sizeof *p);

	(void)where;
	HF_ASSERT(p);
	p->base.driver = &driver;
	p->owner = sim_world.current;
	if (!answers(&p->base)) {
		free(p);
		return hf_fail(message, HF_ENOTREADY, "the database does not answer");
	}
	*db = &p->base;
	return 0;
}

/* ---- The world's hand ---- */

#define LOOKS_MAX 16u

static struct {
	const char *sql; /* a literal, found again by its address */
	sqlite3_stmt *statement;
} looks[LOOKS_MAX];

static sqlite3_stmt *prepared(const char *sql)
{
	unsigned i = 0;

	while (i < LOOKS_MAX && looks[i].sql && looks[i].sql != sql)
		i++;
	HF_ASSERT(i < LOOKS_MAX);
	if (!looks[i].sql)
		HF_ASSERT(sqlite3_prepare_v2(handle, sql, -1, &looks[i].statement, NULL) ==
			  SQLITE_OK);
	looks[i].sql = sql;
	return looks[i].statement;
}

bool sim_db_look(const char *sql, uint64_t key, const char *text, uint64_t *numbers, unsigned count)
{
	sqlite3_stmt *statement = prepared(sql);
	bool found;

	sqlite3_bind_int64(statement, 1, (sqlite3_int64)key);
	if (text)
		sqlite3_bind_text(statement, 2, text, -1, SQLITE_TRANSIENT);
	found = sqlite3_step(statement) == SQLITE_ROW;
	for (unsigned i = 0; found && i < count; i++)
		numbers[i] = (uint64_t)sqlite3_column_int64(statement, (int)i);
	sqlite3_reset(statement);
	return found;
}

static void copy(sqlite3 *to, sqlite3 *from)
{
	sqlite3_backup *copying = sqlite3_backup_init(to, "main", from, "main");

	HF_ASSERT(copying && sqlite3_backup_step(copying, -1) == SQLITE_DONE);
	HF_ASSERT(sqlite3_backup_finish(copying) == SQLITE_OK);
}

void sim_db_backup(void)
{
	copy(backup, handle);
}

void sim_db_restore(void)
{
	copy(handle, backup);
}

void sim_db_open(void)
{
	struct hf_errmsg message;

	driver.dialect = (struct hf_db_dialect){.integer = ""};
	opening = true;
	HF_ASSERT(hf_db_open_sqlite(":memory:", &shared, &message) == 0);
	opening = false;
	driver.dialect = shared->driver->dialect;
	driver.ready = ready;
	HF_ASSERT(sqlite3_open(":memory:", &backup) == SQLITE_OK);
}

void sim_db_close(void)
{
	for (unsigned i = 0; i < LOOKS_MAX; i++)
		sqlite3_finalize(looks[i].statement);
	memset(looks, 0, sizeof looks);
	hf_db_close(shared);
	sqlite3_close(backup);
	handle = NULL;
}
