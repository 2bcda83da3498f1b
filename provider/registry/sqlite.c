/* The registry in one SQLite file: opening, transactions, meta, settings, audit; the tables of
 * gateways, activations and volumes have their own files. The provider's thread. Write-ahead log
 * with synchronous=FULL, so that a committed change survives the loss of power. */
#include "provider/registry/sqlite_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A backup or a shell may hold the lock; the loop that waits for it also answers pings. */
#define BUSY_MS 250

static int sqlite_begin(struct hf_registry *reg)
{
	struct sqlite_registry *s = sqlite_of(reg);
	int err;

	HF_ASSERT(!s->in_transaction);
	err = hf_sql_run(s, NULL, NULL, "BEGIN IMMEDIATE", "");
	s->in_transaction = err == 0;
	return err;
}

static void sqlite_rollback(struct hf_registry *reg)
{
	struct sqlite_registry *s = sqlite_of(reg);

	HF_ASSERT(s->in_transaction);
	s->in_transaction = false;
	/* After some errors SQLite has already undone it. */
	if (!sqlite3_get_autocommit(s->db))
		sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
}

static int sqlite_commit(struct hf_registry *reg)
{
	struct sqlite_registry *s = sqlite_of(reg);
	int err;

	HF_ASSERT(s->in_transaction);
	err = hf_sql_run(s, NULL, NULL, "COMMIT", "");
	if (err)
		sqlite_rollback(reg);
	s->in_transaction = false;
	return err;
}

static void sqlite_close(struct hf_registry *reg)
{
	struct sqlite_registry *s = sqlite_of(reg);

	HF_ASSERT(!s->in_transaction);
	sqlite3_close(s->db);
	s->magic = 0;
	free(s);
}

static int read_info(void *context, struct hf_sql_row *row)
{
	struct hf_reg_info *info = context;

	info->schema = (uint32_t)hf_sql_u64(row);
	info->incarnation = hf_sql_u64(row);
	info->tenant = hf_sql_u64(row);
	return 0;
}

static int sqlite_info(struct hf_registry *reg, struct hf_reg_info *info)
{
	return hf_sql_one(sqlite_of(reg), read_info, info,
			  "SELECT schema, incarnation, tenant FROM meta", "");
}

/* Far above what the gateways may have seen after the backup was made. */
#define GENERATION_LEAP "1048576"

static int sqlite_new_incarnation(struct hf_registry *reg, uint64_t at_least)
{
	static const char *const leaps[] = {
		"UPDATE gateways SET generation = generation + " GENERATION_LEAP
		" WHERE generation > 0",
		"UPDATE placements SET version = (SELECT generation FROM gateways WHERE "
		"id = placements.gateway)",
	};
	struct sqlite_registry *s = sqlite_of(reg);
	int err = hf_sql_savepoint(s);

	if (err)
		return err;
	err = hf_sql_run(s, NULL, NULL, "UPDATE meta SET incarnation = max(incarnation + 1, ?)",
			 "i", at_least);
	for (size_t i = 0; !err && i < sizeof leaps / sizeof leaps[0]; i++)
		err = hf_sql_run(s, NULL, NULL, leaps[i], "");
	return hf_sql_release(s, err);
}

struct value_place {
	char *value;
	size_t size;
};

static int read_value(void *context, struct hf_sql_row *row)
{
	struct value_place *place = context;

	hf_sql_text(row, place->value, place->size);
	return 0;
}

static int sqlite_setting_get(struct hf_registry *reg, const char *key, char *value, size_t size)
{
	struct value_place place = {value, size};

	return hf_sql_one(sqlite_of(reg), read_value, &place,
			  "SELECT value FROM settings WHERE key = ?", "t", key);
}

static int sqlite_setting_put(struct hf_registry *reg, const char *key, const char *value)
{
	return hf_sql_run(sqlite_of(reg), NULL, NULL,
			  "INSERT INTO settings VALUES (?, ?) "
			  "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
			  "tt", key, value);
}

static int sqlite_audit_add(struct hf_registry *reg, const struct hf_reg_audit *entry)
{
	return hf_sql_run(sqlite_of(reg), NULL, NULL,
			  "INSERT INTO audit (at_ms, who, action, object, detail) "
			  "VALUES (?, ?, ?, ?, ?)",
			  "itttt", entry->at_ms, entry->who, entry->action, entry->object,
			  entry->detail);
}

static int read_u64(void *context, struct hf_sql_row *row)
{
	*(uint64_t *)context = hf_sql_u64(row);
	return 0;
}

static int sqlite_audit_count(struct hf_registry *reg, uint64_t *count)
{
	return hf_sql_one(sqlite_of(reg), read_u64, count, "SELECT count(*) FROM audit", "");
}

static const struct hf_registry_ops sqlite_ops = {
	.close = sqlite_close,
	.begin = sqlite_begin,
	.commit = sqlite_commit,
	.rollback = sqlite_rollback,
	.info = sqlite_info,
	.new_incarnation = sqlite_new_incarnation,
	.setting_get = sqlite_setting_get,
	.setting_put = sqlite_setting_put,
	.gateway_insert = hf_sqlite_gateway_insert,
	.gateway_get = hf_sqlite_gateway_get,
	.gateway_find = hf_sqlite_gateway_find,
	.gateway_visit = hf_sqlite_gateway_visit,
	.gateway_set_state = hf_sqlite_gateway_set_state,
	.gateway_grant = hf_sqlite_gateway_grant,
	.gateway_seen = hf_sqlite_gateway_seen,
	.gateway_bump = hf_sqlite_gateway_bump,
	.gateway_unsigned = hf_sqlite_gateway_unsigned,
	.activation_put = hf_sqlite_activation_put,
	.activation_get = hf_sqlite_activation_get,
	.activation_by_identity = hf_sqlite_activation_by_identity,
	.activation_by_gateway = hf_sqlite_activation_by_gateway,
	.activation_purge = hf_sqlite_activation_purge,
	.volume_insert = hf_sqlite_volume_insert,
	.volume_update = hf_sqlite_volume_update,
	.volume_get = hf_sqlite_volume_get,
	.volume_find = hf_sqlite_volume_find,
	.volume_visit = hf_sqlite_volume_visit,
	.volume_remove = hf_sqlite_volume_remove,
	.placement_put = hf_sqlite_placement_put,
	.placement_get = hf_sqlite_placement_get,
	.placement_visit = hf_sqlite_placement_visit,
	.placement_report = hf_sqlite_placement_report,
	.placement_remove = hf_sqlite_placement_remove,
	.document_put = hf_sqlite_document_put,
	.document_get = hf_sqlite_document_get,
	.document_head = hf_sqlite_document_head,
	.audit_add = sqlite_audit_add,
	.audit_count = sqlite_audit_count,
};

static int prepare_connection(struct sqlite_registry *s)
{
	static const char *const settings[] = {
		"PRAGMA journal_mode = WAL",
		"PRAGMA synchronous = FULL",
		"PRAGMA foreign_keys = ON",
		"PRAGMA trusted_schema = OFF",
	};
	int err = 0;

	sqlite3_busy_timeout(s->db, BUSY_MS);
	sqlite3_extended_result_codes(s->db, 1);
	for (size_t i = 0; !err && i < sizeof settings / sizeof settings[0]; i++)
		err = hf_sql_run(s, NULL, NULL, settings[i], "");
	return err;
}

int hf_registry_open_sqlite(const char *path, uint64_t now_ms, struct hf_registry **reg,
			    struct hf_errmsg *message)
{
	struct sqlite_registry *s = calloc(1, sizeof *s);
	int fd, code, err;

	if (!s)
		return hf_fail(message, HF_ENOMEM, "%s: out of memory", path);
	s->base.ops = &sqlite_ops;
	s->magic = SQLITE_REGISTRY_MAGIC;
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
	err = prepare_connection(s);
	if (err) {
		hf_fail(message, err, "%s: %.180s", path, s->base.why.text);
		goto err_after_open;
	}
	err = hf_sqlite_migrate(s, now_ms, message);
	if (err)
		goto err_after_open;
	*reg = &s->base;
	return 0;
err_after_open:
	sqlite3_close(s->db);
err_after_alloc:
	free(s);
	return err;
}
