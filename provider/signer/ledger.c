/* The ledger in its database (ledger.h). Write-ahead log with synchronous=FULL: a commit is one
 * sync, for one entry as for a thousand. */
#include "provider/signer/ledger_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/ids.h"
#include "net/sign.h"

#define BUSY_MS 250 /* a backup may hold the lock */

/* `schema` counts the migrations that have run; one that was released is only followed by another.
 */
static const char *const migrations[] = {
	"CREATE TABLE meta (one INTEGER PRIMARY KEY CHECK (one = 1), schema INTEGER NOT NULL) "
	"STRICT;"
	"INSERT INTO meta VALUES (1, 0);"
	"CREATE TABLE gateways (gateway INTEGER PRIMARY KEY, crc INTEGER NOT NULL,"
	" entry BLOB NOT NULL) STRICT;",
	"CREATE TABLE rotations (number INTEGER PRIMARY KEY AUTOINCREMENT, old_key BLOB NOT NULL,"
	" new_key BLOB NOT NULL, statement BLOB NOT NULL) STRICT;"
	"CREATE TABLE approvals (number BLOB NOT NULL, hash BLOB NOT NULL,"
	" gateway INTEGER NOT NULL, at_s INTEGER NOT NULL, PRIMARY KEY (number, hash)) STRICT;",
	"CREATE TABLE deleted (gateway INTEGER NOT NULL, volume INTEGER NOT NULL,"
	" PRIMARY KEY (gateway, volume)) STRICT, WITHOUT ROWID;",
	"CREATE TABLE authorities"
	" (number INTEGER PRIMARY KEY, certificate BLOB NOT NULL,"
	" retired INTEGER NOT NULL) STRICT;",
};
#define MIGRATION_COUNT (sizeof migrations / sizeof migrations[0])

int hf_ledger_error(struct hf_ledger *ledger, int code, struct hf_errmsg *message)
{
	int err = HF_EIO;

	switch (code & 0xff) {
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
		break;
	}
	return hf_fail(message, err, "the signer's ledger: %.200s", sqlite3_errmsg(ledger->db));
}

int hf_ledger_run(struct hf_ledger *ledger, const char *sql, struct hf_errmsg *message)
{
	int code = sqlite3_exec(ledger->db, sql, NULL, NULL, NULL);

	return code == SQLITE_OK ? 0 : hf_ledger_error(ledger, code, message);
}

/* ---- Opening ---- */

/* 0: there is none yet. */
static int read_schema(struct hf_ledger *ledger, size_t *schema, struct hf_errmsg *message)
{
	sqlite3_stmt *stmt;
	int code = sqlite3_prepare_v2(ledger->db,
				      "SELECT count(*) FROM sqlite_master WHERE name = 'meta'", -1,
				      &stmt, NULL);
	bool made = false;

	*schema = 0;
	if (code == SQLITE_OK) {
		code = sqlite3_step(stmt);
		made = code == SQLITE_ROW && sqlite3_column_int(stmt, 0) > 0;
		sqlite3_finalize(stmt);
	}
	if (code == SQLITE_ROW && !made)
		return 0;
	if (code == SQLITE_ROW)
		code = sqlite3_prepare_v2(ledger->db, "SELECT schema FROM meta", -1, &stmt, NULL);
	if (code != SQLITE_OK)
		return hf_ledger_error(ledger, code, message);
	code = sqlite3_step(stmt);
	if (code == SQLITE_ROW)
		*schema = (size_t)sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	return code == SQLITE_ROW ? 0 : hf_ledger_error(ledger, code, message);
}

static int migrate(struct hf_ledger *ledger, struct hf_errmsg *message)
{
	char count[64];
	size_t schema;
	int err = read_schema(ledger, &schema, message);

	if (!err && schema > MIGRATION_COUNT)
		return hf_fail(message, HF_EUNSUPPORTED,
			       "the signer's ledger has schema %zu, this program knows %zu: use "
			       "the newer program",
			       schema, MIGRATION_COUNT);
	while (!err && schema < MIGRATION_COUNT) {
		err = hf_ledger_begin(ledger, message);
		if (err)
			break;
		err = hf_ledger_run(ledger, migrations[schema++], message);
		snprintf(count, sizeof count, "UPDATE meta SET schema = %zu", schema);
		if (!err)
			err = hf_ledger_run(ledger, count, message);
		err = hf_ledger_end(ledger, err, message);
	}
	return err;
}

static int prepare(struct hf_ledger *ledger, const char *sql, sqlite3_stmt **stmt,
		   struct hf_errmsg *message)
{
	int code = sqlite3_prepare_v3(ledger->db, sql, -1, SQLITE_PREPARE_PERSISTENT, stmt, NULL);

	return code == SQLITE_OK ? 0 : hf_ledger_error(ledger, code, message);
}

static int open_database(struct hf_ledger *ledger, const char *path, struct hf_errmsg *message)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600), code;

	if (fd < 0)
		return hf_fail(message, hf_err_from_errno(errno), "%s: %s", path, strerror(errno));
	close(fd);
	code = sqlite3_open_v2(path, &ledger->db, SQLITE_OPEN_READWRITE, NULL);
	if (code != SQLITE_OK)
		return hf_ledger_error(ledger, code, message);
	sqlite3_extended_result_codes(ledger->db, 1);
	sqlite3_busy_timeout(ledger->db, BUSY_MS);
	/* One signer a folder: two would sign with the same sequence. */
	return hf_ledger_run(ledger,
			     "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;"
			     "PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF;"
			     "BEGIN IMMEDIATE; COMMIT;",
			     message);
}

int hf_ledger_open(const char *state_dir, struct hf_ledger **out, struct hf_errmsg *message)
{
	struct hf_ledger *ledger = calloc(1, sizeof *ledger);
	char path[PATH_MAX];
	int err = 0;

	if (!ledger)
		return hf_fail(message, HF_ENOMEM, "out of memory");
	ledger->magic = LEDGER_MAGIC;
	if (snprintf(path, sizeof path, "%s/ledger.db", state_dir) >= PATH_MAX)
		err = hf_fail(message, HF_ETOOBIG, "%.100s…: path is too long", state_dir);
	if (!err)
		err = open_database(ledger, path, message);
	if (!err)
		err = migrate(ledger, message);
	if (!err)
		err = prepare(ledger, "SELECT crc, entry FROM gateways WHERE gateway = ?1",
			      &ledger->select, message);
	if (!err)
		err = prepare(ledger,
			      "INSERT INTO gateways VALUES (?1, ?2, ?3) ON CONFLICT (gateway) "
			      "DO UPDATE SET crc = ?2, entry = ?3",
			      &ledger->upsert, message);
	if (!err)
		err = hf_ledger_import(ledger, state_dir, message);
	if (err) {
		hf_ledger_close(ledger);
		return err;
	}
	*out = ledger;
	return 0;
}

void hf_ledger_close(struct hf_ledger *ledger)
{
	if (!ledger)
		return;
	HF_CHECK_MAGIC(ledger, LEDGER_MAGIC);
	HF_ASSERT(!ledger->in_transaction);
	sqlite3_finalize(ledger->select);
	sqlite3_finalize(ledger->upsert);
	sqlite3_close(ledger->db);
	ledger->magic = 0;
	free(ledger);
}

/* ---- Transactions ---- */

int hf_ledger_begin(struct hf_ledger *ledger, struct hf_errmsg *message)
{
	int err;

	HF_CHECK_MAGIC(ledger, LEDGER_MAGIC);
	HF_ASSERT(!ledger->in_transaction);
	err = hf_ledger_run(ledger, "BEGIN IMMEDIATE", message);
	ledger->in_transaction = err == 0;
	return err;
}

int hf_ledger_end(struct hf_ledger *ledger, int err, struct hf_errmsg *message)
{
	HF_CHECK_MAGIC(ledger, LEDGER_MAGIC);
	HF_ASSERT(ledger->in_transaction);
	ledger->in_transaction = false;
	if (!err)
		err = hf_ledger_run(ledger, "COMMIT", message);
	/* After some errors SQLite has already undone it. */
	if (err && !sqlite3_get_autocommit(ledger->db))
		sqlite3_exec(ledger->db, "ROLLBACK", NULL, NULL, NULL);
	return err;
}

/* ---- Entries ---- */

static int damaged(uint64_t gateway, struct hf_errmsg *message)
{
	char id[HF_ID_TEXT_MAX];

	return hf_fail(message, HF_ECORRUPT, "the signer's ledger: the entry of %s fails its check",
		       hf_id_format(HF_ID_GATEWAY, gateway, id));
}

static int decode(const uint8_t *bytes, size_t length, uint32_t crc, uint64_t gateway,
		  Holdfast__SignerLedger **out)
{
	Holdfast__SignerLedger *entry;

	if (hf_crc32c(0, bytes, length) != crc)
		return HF_ECORRUPT;
	entry = holdfast__signer_ledger__unpack(NULL, length, bytes);
	if (!entry)
		return HF_ECORRUPT;
	if (entry->gateway == gateway && entry->sealing_key.len == HF_KEY_BYTES &&
	    entry->identity_key.len == HF_KEY_BYTES) {
		*out = entry;
		return 0;
	}
	holdfast__signer_ledger__free_unpacked(entry, NULL);
	return HF_ECORRUPT;
}

int hf_ledger_load(struct hf_ledger *ledger, uint64_t gateway, Holdfast__SignerLedger **entry,
		   struct hf_errmsg *message)
{
	sqlite3_stmt *stmt = ledger->select;
	int code, err;

	HF_CHECK_MAGIC(ledger, LEDGER_MAGIC);
	sqlite3_bind_int64(stmt, 1, (sqlite3_int64)gateway);
	code = sqlite3_step(stmt);
	if (code == SQLITE_DONE)
		err = hf_fail(message, HF_ENOENT, "this gateway was never certified here");
	else if (code != SQLITE_ROW)
		err = hf_ledger_error(ledger, code, message);
	else if (decode(sqlite3_column_blob(stmt, 1), (size_t)sqlite3_column_bytes(stmt, 1),
			(uint32_t)sqlite3_column_int64(stmt, 0), gateway, entry) != 0)
		err = damaged(gateway, message);
	else
		err = 0;
	sqlite3_reset(stmt);
	return err;
}

int hf_ledger_put(struct hf_ledger *ledger, uint64_t gateway, uint32_t crc, const uint8_t *bytes,
		  size_t length, struct hf_errmsg *message)
{
	sqlite3_stmt *stmt = ledger->upsert;
	int code;

	HF_CHECK_MAGIC(ledger, LEDGER_MAGIC);
	HF_ASSERT(ledger->in_transaction);
	sqlite3_bind_int64(stmt, 1, (sqlite3_int64)gateway);
	sqlite3_bind_int64(stmt, 2, crc);
	code = sqlite3_bind_blob64(stmt, 3, bytes, length, SQLITE_STATIC);
	if (code == SQLITE_OK)
		code = sqlite3_step(stmt);
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
	return code == SQLITE_DONE ? 0 : hf_ledger_error(ledger, code, message);
}

int hf_ledger_store(struct hf_ledger *ledger, const Holdfast__SignerLedger *entry,
		    struct hf_errmsg *message)
{
	size_t length = holdfast__signer_ledger__get_packed_size(entry);
	uint8_t *bytes = malloc(length);
	int err;

	if (!bytes)
		return hf_fail(message, HF_ENOMEM, "out of memory");
	holdfast__signer_ledger__pack(entry, bytes);
	err = hf_ledger_put(ledger, entry->gateway, hf_crc32c(0, bytes, length), bytes, length,
			    message);
	free(bytes);
	return err;
}

int hf_ledger_visit(struct hf_ledger *ledger,
		    int (*visit)(void *context, uint64_t gateway,
				 const Holdfast__SignerLedger *entry),
		    void *context, struct hf_errmsg *message)
{
	sqlite3_stmt *stmt;
	int err = prepare(ledger, "SELECT gateway, crc, entry FROM gateways ORDER BY gateway",
			  &stmt, message);
	int code = SQLITE_DONE;

	if (err)
		return err;
	while (!err && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
		uint64_t gateway = (uint64_t)sqlite3_column_int64(stmt, 0);
		Holdfast__SignerLedger *entry = NULL;

		decode(sqlite3_column_blob(stmt, 2), (size_t)sqlite3_column_bytes(stmt, 2),
		       (uint32_t)sqlite3_column_int64(stmt, 1), gateway, &entry);
		err = visit(context, gateway, entry);
		holdfast__signer_ledger__free_unpacked(entry, NULL);
	}
	if (!err && code != SQLITE_DONE)
		err = hf_ledger_error(ledger, code, message);
	sqlite3_finalize(stmt);
	return err;
}
