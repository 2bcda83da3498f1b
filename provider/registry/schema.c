/* The schema as a list of migrations: `schema` in table meta counts how many have run; each runs in
 * one transaction with the count, so that a crash leaves the old or the new schema, and of several
 * processes that start at once one does it. A migration that was released is never changed, only
 * followed by another. Words in braces are the database's own (struct hf_db_dialect). */
#include "provider/registry/internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static const char *const migrations[] = {
	"CREATE TABLE meta (one {int} PRIMARY KEY CHECK (one = 1), schema {int} NOT NULL,"
	" incarnation {int} NOT NULL, tenant {int} NOT NULL){strict};"
	"CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL){strict};"
	"CREATE TABLE tenants (id {int} PRIMARY KEY, name TEXT NOT NULL UNIQUE){strict};"
	"CREATE TABLE gateways (id {int} PRIMARY KEY, tenant {int} NOT NULL REFERENCES tenants,"
	" name TEXT NOT NULL, state {int} NOT NULL, reason TEXT NOT NULL,"
	" identity_key {bytes} NOT NULL, sealing_key {bytes} NOT NULL, epoch {int} NOT NULL,"
	" generation {int} NOT NULL, applied_incarnation {int} NOT NULL,"
	" applied_generation {int} NOT NULL, last_seen_ms {int} NOT NULL, host TEXT NOT NULL,"
	" version TEXT NOT NULL, portal TEXT NOT NULL){strict};"
	"CREATE UNIQUE INDEX gateways_name ON gateways (tenant, name) WHERE state != 4;"
	"CREATE UNIQUE INDEX gateways_key ON gateways (identity_key) WHERE state != 4;"
	"CREATE TABLE activations (number {bytes} PRIMARY KEY, digest {bytes} NOT NULL,"
	" state {int} NOT NULL, identity_key {bytes} NOT NULL UNIQUE, sealing_key {bytes} NOT NULL,"
	" expires_ms {int} NOT NULL, wrong_tries {int} NOT NULL, gateway {int} NOT NULL,"
	" host TEXT NOT NULL, version TEXT NOT NULL, portal TEXT NOT NULL, request {bytes} NOT "
	"NULL,"
	" certificate {bytes} NOT NULL){strict};"
	"CREATE TABLE volumes (id {int} PRIMARY KEY, tenant {int} NOT NULL REFERENCES tenants,"
	" name TEXT NOT NULL, size_bytes {int} NOT NULL, gateway {int} NOT NULL,"
	" attach_epoch {int} NOT NULL, lun {int} NOT NULL, write_cache {int} NOT NULL,"
	" created {int} NOT NULL, gone {int} NOT NULL, created_ms {int} NOT NULL,"
	" target TEXT NOT NULL, chap_user TEXT NOT NULL, mutual_user TEXT NOT NULL,"
	" initiators TEXT NOT NULL, secrets {bytes} NOT NULL){strict};"
	"CREATE UNIQUE INDEX volumes_name ON volumes (tenant, name) WHERE gone = 0;"
	"CREATE TABLE placements (volume {int} NOT NULL REFERENCES volumes,"
	" gateway {int} NOT NULL REFERENCES gateways, desired {int} NOT NULL,"
	" attach_epoch {int} NOT NULL, version {int} NOT NULL,"
	" state {int} NOT NULL DEFAULT 0, state_version {int} NOT NULL DEFAULT 0,"
	" error {int} NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '',"
	" recovery_point {int} NOT NULL DEFAULT 0, lag_bytes {int} NOT NULL DEFAULT 0,"
	" age_ms {int} NOT NULL DEFAULT 0, sessions {int} NOT NULL DEFAULT 0,"
	" reported_ms {int} NOT NULL DEFAULT 0, PRIMARY KEY (volume, gateway)){strict};"
	"CREATE INDEX placements_gateway ON placements (gateway);"
	"CREATE TABLE documents (gateway {int} PRIMARY KEY REFERENCES gateways,"
	" incarnation {int} NOT NULL, generation {int} NOT NULL, hash {bytes} NOT NULL,"
	" bytes {bytes} NOT NULL){strict};"
	"CREATE TABLE audit (number {counter}, at_ms {int} NOT NULL,"
	" who TEXT NOT NULL, action TEXT NOT NULL, object TEXT NOT NULL, detail TEXT NOT NULL)"
	"{strict};",
	"ALTER TABLE volumes ADD COLUMN block_size {int} NOT NULL DEFAULT 512;"
	"ALTER TABLE placements ADD COLUMN size_bytes {int} NOT NULL DEFAULT 0;"
	"ALTER TABLE placements ADD COLUMN portal TEXT NOT NULL DEFAULT '';",
	"ALTER TABLE gateways ADD COLUMN process {int} NOT NULL DEFAULT 0;"
	"ALTER TABLE gateways ADD COLUMN work {int} NOT NULL DEFAULT 0;"
	"ALTER TABLE gateways ADD COLUMN work_done {int} NOT NULL DEFAULT 0;"
	"CREATE INDEX gateways_work ON gateways (process) WHERE work > work_done;",
	"CREATE TABLE lost (gateway {int} PRIMARY KEY REFERENCES gateways, at_ms {int} NOT NULL)"
	"{strict};"
	"CREATE TABLE alerts (number {counter}, gateway {int} NOT NULL, kind {int} NOT NULL,"
	" at_ms {int} NOT NULL, detail TEXT NOT NULL, attempts {int} NOT NULL,"
	" due_ms {int} NOT NULL){strict};",
	"CREATE TABLE actions (number {int} PRIMARY KEY,"
	" gateway {int} NOT NULL REFERENCES gateways, kind {int} NOT NULL, tgtd {int} NOT NULL,"
	" state {int} NOT NULL, who TEXT NOT NULL, created_ms {int} NOT NULL,"
	" expires_ms {int} NOT NULL, ended_ms {int} NOT NULL DEFAULT 0,"
	" sent {int} NOT NULL DEFAULT 0, forgotten {int} NOT NULL DEFAULT 0,"
	" outcome {int} NOT NULL DEFAULT 0, error {int} NOT NULL DEFAULT 0,"
	" reason TEXT NOT NULL DEFAULT '', document {bytes} NOT NULL, packet {bytes} NOT NULL,"
	" report {bytes} NOT NULL){strict};"
	"CREATE INDEX actions_gateway ON actions (gateway, number);"
	"CREATE INDEX actions_open ON actions (gateway, number) WHERE state < 3;"
	"CREATE TABLE deltas (gateway {int} PRIMARY KEY REFERENCES gateways,"
	" incarnation {int} NOT NULL, generation {int} NOT NULL,"
	" base_incarnation {int} NOT NULL, base_generation {int} NOT NULL,"
	" base_hash {bytes} NOT NULL, bytes {bytes} NOT NULL){strict};",
	"CREATE TABLE networks (gateway {int} PRIMARY KEY REFERENCES gateways,"
	" version {int} NOT NULL, endpoints TEXT NOT NULL, proxy TEXT NOT NULL,"
	" confirm_ms {int} NOT NULL){strict};",
	"CREATE TABLE processes (id {int} PRIMARY KEY, name TEXT NOT NULL, endpoint TEXT NOT NULL,"
	" beat_ms {int} NOT NULL, held {int} NOT NULL, parked {int} NOT NULL,"
	" capacity {int} NOT NULL, draining {int} NOT NULL){strict};",
	"ALTER TABLE gateways ADD COLUMN barred_ms {int} NOT NULL DEFAULT 0;"
	"CREATE INDEX gateways_barred ON gateways (barred_ms) WHERE barred_ms > 0;"
	"CREATE TABLE ratchets (gateway {int} PRIMARY KEY REFERENCES gateways,"
	" token {bytes} NOT NULL, previous {bytes} NOT NULL, contested {int} NOT NULL){strict};"
	"CREATE TABLE claimants (gateway {int} NOT NULL REFERENCES gateways,"
	" number {int} NOT NULL, token {bytes} NOT NULL, boot {bytes} NOT NULL,"
	" address TEXT NOT NULL, version TEXT NOT NULL, rejected {int} NOT NULL,"
	" first_ms {int} NOT NULL, last_ms {int} NOT NULL, PRIMARY KEY (gateway, number)){strict};",
	("ALTER TABLE gateways ADD COLUMN looks {int} NOT NULL DEFAULT 0;"
	 "CREATE INDEX gateways_unheld ON gateways (id) WHERE process = 0;"),
	/* Of what was there before, everything may have been told. */
	"ALTER TABLE gateways ADD COLUMN told {int} NOT NULL DEFAULT 0;"
	"ALTER TABLE gateways ADD COLUMN least {int} NOT NULL DEFAULT 0;"
	"ALTER TABLE gateways ADD COLUMN sequence {int} NOT NULL DEFAULT 0;"
	"UPDATE gateways SET told = generation;"
	"ALTER TABLE placements ADD COLUMN since {int} NOT NULL DEFAULT 0;"
	"CREATE TABLE network_secrets (gateway {int} PRIMARY KEY REFERENCES gateways,"
	" version {int} NOT NULL, sealed {bytes} NOT NULL){strict};",
	"ALTER TABLE actions ADD COLUMN sequence {int} NOT NULL DEFAULT 0;",
	"CREATE TABLE issuers"
	" (gateway {int} PRIMARY KEY REFERENCES gateways,"
	" authority {bytes} NOT NULL){strict};",
};

#define MIGRATION_COUNT (sizeof migrations / sizeof migrations[0])

static const char *word_of(const struct hf_db_dialect *dialect, const char *brace)
{
	const struct {
		const char *name, *word;
	} words[] = {{"{int}", dialect->integer},
		     {"{bytes}", dialect->bytes},
		     {"{counter}", dialect->counter},
		     {"{strict}", dialect->strict}};

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (strncmp(brace, words[i].name, strlen(words[i].name)) == 0)
			return words[i].word;
	HF_ASSERT(false);
	return "";
}

/* The text with the database's own words, malloc'ed; NULL: out of memory. */
static char *translate(const struct hf_db_dialect *dialect, const char *text)
{
	/* A word of the database is at most eight times as long as its name in braces. */
	char *out = calloc(8, strlen(text) + 1);

	for (char *end = out; out && *text;) {
		if (*text != '{') {
			*end++ = *text++;
			continue;
		}
		end = stpcpy(end, word_of(dialect, text));
		text = strchr(text, '}') + 1;
	}
	return out;
}

static int execute(struct hf_db *db, const char *text)
{
	char *sql = translate(&db->driver->dialect, text);
	int err = sql ? db->driver->script(db, sql) : HF_ENOMEM;

	free(sql);
	return err;
}

static int schema_version(struct hf_db *db, uint64_t *version)
{
	uint64_t tables;
	int err;

	*version = 0;
	err = hf_db_one(db, hf_db_read_u64, &tables, db->driver->dialect.count_meta, "");
	if (err || tables == 0)
		return err;
	return hf_db_one(db, hf_db_read_u64, version, "SELECT schema FROM meta", "");
}

/* A new registry has one tenant and an incarnation that no earlier database had. */
static int first_rows(struct hf_db *db, uint64_t now_ms)
{
	uint64_t tenant;
	int err;

	do
		if (getrandom(&tenant, sizeof tenant, 0) != (ssize_t)sizeof tenant)
			return HF_EIO;
	while (tenant == 0);
	err = hf_db_run(db, NULL, NULL, "INSERT INTO tenants VALUES ($1, 'default')", "i", tenant);
	if (!err)
		err = hf_db_run(db, NULL, NULL, "INSERT INTO meta VALUES (1, 0, $1, $2)", "ii",
				now_ms, tenant);
	return err;
}

/* One step, if nobody else has done it meanwhile. */
static int migrate_one(struct hf_db *db, uint64_t *version, uint64_t now_ms)
{
	uint64_t from = *version;
	int err = hf_db_begin(db);

	if (err)
		return err;
	err = schema_version(db, version);
	if (err || *version != from)
		return hf_db_end(db, err);
	err = execute(db, migrations[from]);
	if (!err && from == 0)
		err = first_rows(db, now_ms);
	if (!err)
		err = hf_db_run(db, NULL, NULL, "UPDATE meta SET schema = $1", "i", from + 1);
	*version = from + 1;
	return hf_db_end(db, err);
}

int hf_registry_migrate(struct hf_registry *reg, uint64_t now_ms, struct hf_errmsg *message)
{
	struct hf_db *db = reg->db;
	uint64_t version;
	int err = schema_version(db, &version);

	while (!err && version < MIGRATION_COUNT)
		err = migrate_one(db, &version, now_ms);
	if (!err && version > MIGRATION_COUNT)
		return hf_fail(message, HF_EUNSUPPORTED,
			       "the registry has schema %" PRIu64
			       ", this program knows %zu: use the "
			       "newer program",
			       version, MIGRATION_COUNT);
	if (err)
		return hf_fail(message, err, "the registry's schema: %.200s", db->why.text);
	return 0;
}
