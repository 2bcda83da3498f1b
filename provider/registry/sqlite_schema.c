/* The schema of the SQLite registry as a list of migrations: `schema` in table meta counts how many
 * have run; each runs in one transaction with the count, so that a crash leaves the old or the new
 * schema. A migration that was released is never changed, only followed by another. */
#include "provider/registry/sqlite_internal.h"

#include <inttypes.h>
#include <sys/random.h>

static const char *const migrations[] = {
	"CREATE TABLE meta (one INTEGER PRIMARY KEY CHECK (one = 1), schema INTEGER NOT NULL,"
	" incarnation INTEGER NOT NULL, tenant INTEGER NOT NULL) STRICT;"
	"CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;"
	"CREATE TABLE tenants (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;"
	"CREATE TABLE gateways (id INTEGER PRIMARY KEY, tenant INTEGER NOT NULL REFERENCES tenants,"
	" name TEXT NOT NULL, state INTEGER NOT NULL, reason TEXT NOT NULL,"
	" identity_key BLOB NOT NULL, sealing_key BLOB NOT NULL, epoch INTEGER NOT NULL,"
	" generation INTEGER NOT NULL, applied_incarnation INTEGER NOT NULL,"
	" applied_generation INTEGER NOT NULL, last_seen_ms INTEGER NOT NULL, host TEXT NOT NULL,"
	" version TEXT NOT NULL, portal TEXT NOT NULL) STRICT;"
	"CREATE UNIQUE INDEX gateways_name ON gateways (tenant, name) WHERE state != 4;"
	"CREATE UNIQUE INDEX gateways_key ON gateways (identity_key) WHERE state != 4;"
	"CREATE TABLE activations (number BLOB PRIMARY KEY, digest BLOB NOT NULL,"
	" state INTEGER NOT NULL, identity_key BLOB NOT NULL UNIQUE, sealing_key BLOB NOT NULL,"
	" expires_ms INTEGER NOT NULL, wrong_tries INTEGER NOT NULL, gateway INTEGER NOT NULL,"
	" host TEXT NOT NULL, version TEXT NOT NULL, portal TEXT NOT NULL, request BLOB NOT NULL,"
	" certificate BLOB NOT NULL) STRICT;"
	"CREATE TABLE volumes (id INTEGER PRIMARY KEY, tenant INTEGER NOT NULL REFERENCES tenants,"
	" name TEXT NOT NULL, size_bytes INTEGER NOT NULL, gateway INTEGER NOT NULL,"
	" attach_epoch INTEGER NOT NULL, lun INTEGER NOT NULL, write_cache INTEGER NOT NULL,"
	" created INTEGER NOT NULL, gone INTEGER NOT NULL, created_ms INTEGER NOT NULL,"
	" target TEXT NOT NULL, chap_user TEXT NOT NULL, mutual_user TEXT NOT NULL,"
	" initiators TEXT NOT NULL, secrets BLOB NOT NULL) STRICT;"
	"CREATE UNIQUE INDEX volumes_name ON volumes (tenant, name) WHERE gone = 0;"
	"CREATE TABLE placements (volume INTEGER NOT NULL REFERENCES volumes,"
	" gateway INTEGER NOT NULL REFERENCES gateways, desired INTEGER NOT NULL,"
	" attach_epoch INTEGER NOT NULL, version INTEGER NOT NULL,"
	" state INTEGER NOT NULL DEFAULT 0, state_version INTEGER NOT NULL DEFAULT 0,"
	" error INTEGER NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '',"
	" recovery_point INTEGER NOT NULL DEFAULT 0, lag_bytes INTEGER NOT NULL DEFAULT 0,"
	" age_ms INTEGER NOT NULL DEFAULT 0, sessions INTEGER NOT NULL DEFAULT 0,"
	" reported_ms INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (volume, gateway)) STRICT;"
	"CREATE INDEX placements_gateway ON placements (gateway);"
	"CREATE TABLE documents (gateway INTEGER PRIMARY KEY REFERENCES gateways,"
	" incarnation INTEGER NOT NULL, generation INTEGER NOT NULL, hash BLOB NOT NULL,"
	" bytes BLOB NOT NULL) STRICT;"
	"CREATE TABLE audit (number INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL,"
	" who TEXT NOT NULL, action TEXT NOT NULL, object TEXT NOT NULL, detail TEXT NOT NULL)"
	" STRICT;",
	"ALTER TABLE volumes ADD COLUMN block_size INTEGER NOT NULL DEFAULT 512;"
	"ALTER TABLE placements ADD COLUMN size_bytes INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE placements ADD COLUMN portal TEXT NOT NULL DEFAULT '';",
};

#define MIGRATION_COUNT (sizeof migrations / sizeof migrations[0])

static int execute(struct sqlite_registry *s, const char *sql)
{
	int code = sqlite3_exec(s->db, sql, NULL, NULL, NULL);

	return code == SQLITE_OK ? 0 : hf_sql_error(s, code, sql);
}

static int read_count(void *context, struct hf_sql_row *row)
{
	*(uint64_t *)context = hf_sql_u64(row);
	return 0;
}

static int schema_version(struct sqlite_registry *s, uint64_t *version)
{
	uint64_t tables;
	int err;

	*version = 0;
	err = hf_sql_one(s, read_count, &tables,
			 "SELECT count(*) FROM sqlite_master WHERE name = 'meta'", "");
	if (err || tables == 0)
		return err;
	return hf_sql_one(s, read_count, version, "SELECT schema FROM meta", "");
}

/* A new registry has one tenant and an incarnation that no earlier database had. */
static int first_rows(struct sqlite_registry *s, uint64_t now_ms)
{
	uint64_t tenant;
	int err;

	do
		if (getrandom(&tenant, sizeof tenant, 0) != (ssize_t)sizeof tenant)
			return HF_EIO;
	while (tenant == 0);
	err = hf_sql_run(s, NULL, NULL, "INSERT INTO tenants VALUES (?, 'default')", "i", tenant);
	if (!err)
		err = hf_sql_run(s, NULL, NULL, "INSERT INTO meta VALUES (1, 0, ?, ?)", "ii",
				 now_ms, tenant);
	return err;
}

static int migrate_one(struct sqlite_registry *s, uint64_t from, uint64_t now_ms)
{
	int err = hf_registry_begin(&s->base);

	if (err)
		return err;
	err = execute(s, migrations[from]);
	if (!err && from == 0)
		err = first_rows(s, now_ms);
	if (!err)
		err = hf_sql_run(s, NULL, NULL, "UPDATE meta SET schema = ?", "i", from + 1);
	return hf_registry_end(&s->base, err);
}

int hf_sqlite_migrate(struct sqlite_registry *s, uint64_t now_ms, struct hf_errmsg *message)
{
	uint64_t version;
	int err = schema_version(s, &version);

	if (!err && version > MIGRATION_COUNT)
		return hf_fail(message, HF_EUNSUPPORTED,
			       "the registry has schema %" PRIu64
			       ", this program knows %zu: use the "
			       "newer program",
			       version, MIGRATION_COUNT);
	while (!err && version < MIGRATION_COUNT)
		err = migrate_one(s, version++, now_ms);
	if (err)
		return hf_fail(message, err, "the registry's schema: %.200s", s->base.why.text);
	return 0;
}
