/* The ledger's tables of signing keys that followed one another and of activation keys that an
 * administrator has entered (ledger.h). Rare, so statements live for one call. Signer's thread. */
#include "provider/signer/ledger_internal.h"

#include <string.h>

#include "net/activation_key.h"

static int start(struct hf_ledger *ledger, const char *sql, sqlite3_stmt **stmt,
		 struct hf_errmsg *message)
{
	int code = sqlite3_prepare_v2(ledger->db, sql, -1, stmt, NULL);

	HF_CHECK_MAGIC(ledger, LEDGER_MAGIC);
	return code == SQLITE_OK ? 0 : hf_ledger_error(ledger, code, message);
}

static void bind_bytes(sqlite3_stmt *stmt, int index, const uint8_t *bytes, size_t length)
{
	/* Fails only when memory is out; then the column's NOT NULL refuses the row. */
	sqlite3_bind_blob64(stmt, index, bytes, length, SQLITE_TRANSIENT);
}

/* Runs a statement without rows to its end. */
static int finish(struct hf_ledger *ledger, sqlite3_stmt *stmt, struct hf_errmsg *message)
{
	int code = sqlite3_step(stmt);
	int err = code == SQLITE_DONE ? 0 : hf_ledger_error(ledger, code, message);

	sqlite3_finalize(stmt);
	return err;
}

/* ---- Rotations ---- */

static int read_key(sqlite3_stmt *stmt, int column, uint8_t key[HF_KEY_BYTES])
{
	if (sqlite3_column_bytes(stmt, column) != HF_KEY_BYTES)
		return HF_ECORRUPT;
	memcpy(key, sqlite3_column_blob(stmt, column), HF_KEY_BYTES);
	return 0;
}

int hf_ledger_rotation_visit(struct hf_ledger *ledger,
			     int (*visit)(void *context, const struct hf_ledger_rotation *rotation),
			     void *context, struct hf_errmsg *message)
{
	struct hf_ledger_rotation rotation;
	sqlite3_stmt *stmt;
	int code = SQLITE_DONE;
	int err = start(ledger, "SELECT old_key, new_key, statement FROM rotations ORDER BY number",
			&stmt, message);

	if (err)
		return err;
	while (!err && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
		if (read_key(stmt, 0, rotation.old_key) || read_key(stmt, 1, rotation.new_key)) {
			err = hf_fail(message, HF_ECORRUPT, "the signer's ledger: a bad rotation");
			break;
		}
		rotation.statement = sqlite3_column_blob(stmt, 2);
		rotation.length = (size_t)sqlite3_column_bytes(stmt, 2);
		err = visit(context, &rotation);
	}
	if (!err && code != SQLITE_DONE)
		err = hf_ledger_error(ledger, code, message);
	sqlite3_finalize(stmt);
	return err;
}

int hf_ledger_rotation_add(struct hf_ledger *ledger, const struct hf_ledger_rotation *rotation,
			   struct hf_errmsg *message)
{
	sqlite3_stmt *stmt;
	int err = start(ledger,
			"INSERT INTO rotations (old_key, new_key, statement) VALUES (?1, ?2, ?3)",
			&stmt, message);

	HF_ASSERT(ledger->in_transaction);
	if (err)
		return err;
	bind_bytes(stmt, 1, rotation->old_key, HF_KEY_BYTES);
	bind_bytes(stmt, 2, rotation->new_key, HF_KEY_BYTES);
	bind_bytes(stmt, 3, rotation->statement, rotation->length);
	return finish(ledger, stmt, message);
}

/* ---- Authorities ---- */

int hf_ledger_authority_visit(struct hf_ledger *ledger,
			      int (*visit)(void *context,
					   const struct hf_ledger_authority *authority),
			      void *context, struct hf_errmsg *message)
{
	struct hf_ledger_authority authority;
	sqlite3_stmt *stmt;
	int code = SQLITE_DONE;
	int err = start(ledger,
			"SELECT number, retired, certificate FROM authorities ORDER BY number",
			&stmt, message);

	if (err)
		return err;
	while (!err && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
		authority.number = (uint64_t)sqlite3_column_int64(stmt, 0);
		authority.retired = sqlite3_column_int(stmt, 1) != 0;
		authority.certificate = sqlite3_column_blob(stmt, 2);
		authority.length = (size_t)sqlite3_column_bytes(stmt, 2);
		err = visit(context, &authority);
	}
	if (!err && code != SQLITE_DONE)
		err = hf_ledger_error(ledger, code, message);
	sqlite3_finalize(stmt);
	return err;
}

int hf_ledger_authority_add(struct hf_ledger *ledger, const struct hf_ledger_authority *authority,
			    struct hf_errmsg *message)
{
	sqlite3_stmt *stmt;
	int err = start(ledger, "INSERT INTO authorities VALUES (?1, ?2, 0)", &stmt, message);

	HF_ASSERT(ledger->in_transaction);
	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, (sqlite3_int64)authority->number);
	bind_bytes(stmt, 2, authority->certificate, authority->length);
	return finish(ledger, stmt, message);
}

int hf_ledger_authority_retire(struct hf_ledger *ledger, uint64_t number, struct hf_errmsg *message)
{
	sqlite3_stmt *stmt;
	int err = start(ledger, "UPDATE authorities SET retired = 1 WHERE number = ?1", &stmt,
			message);

	HF_ASSERT(ledger->in_transaction);
	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, (sqlite3_int64)number);
	return finish(ledger, stmt, message);
}

/* ---- Approvals ---- */

/* An unused approval from before is none any more, also while its row is still there. */
static int64_t oldest_s(int64_t now_s)
{
	return now_s - (int64_t)HF_APPROVAL_DAYS * 86400;
}

int hf_ledger_approve(struct hf_ledger *ledger, const uint8_t number[HF_ACTIVATION_NUMBER_BYTES],
		      const uint8_t hash[HF_ACTIVATION_HASH_BYTES], int64_t now_s,
		      struct hf_errmsg *message)
{
	sqlite3_stmt *stmt;
	int err = start(ledger, "DELETE FROM approvals WHERE gateway = 0 AND at_s < ?1", &stmt,
			message);

	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, oldest_s(now_s));
	err = finish(ledger, stmt, message);
	if (err)
		return err;
	/* One that was used stays with its gateway. */
	err = start(ledger,
		    "INSERT INTO approvals VALUES (?1, ?2, 0, ?3) ON CONFLICT (number, hash) "
		    "DO UPDATE SET at_s = ?3",
		    &stmt, message);
	if (err)
		return err;
	bind_bytes(stmt, 1, number, HF_ACTIVATION_NUMBER_BYTES);
	bind_bytes(stmt, 2, hash, HF_ACTIVATION_HASH_BYTES);
	sqlite3_bind_int64(stmt, 3, now_s);
	return finish(ledger, stmt, message);
}

int hf_ledger_use_approval(struct hf_ledger *ledger,
			   const uint8_t number[HF_ACTIVATION_NUMBER_BYTES],
			   const uint8_t hash[HF_ACTIVATION_HASH_BYTES], uint64_t gateway,
			   int64_t now_s, struct hf_errmsg *message)
{
	sqlite3_stmt *stmt;
	int err = start(ledger,
			"UPDATE approvals SET gateway = ?3 WHERE number = ?1 AND hash = ?2 "
			"AND (gateway = ?3 OR (gateway = 0 AND at_s >= ?4))",
			&stmt, message);

	HF_ASSERT(ledger->in_transaction);
	if (err)
		return err;
	bind_bytes(stmt, 1, number, HF_ACTIVATION_NUMBER_BYTES);
	bind_bytes(stmt, 2, hash, HF_ACTIVATION_HASH_BYTES);
	sqlite3_bind_int64(stmt, 3, (sqlite3_int64)gateway);
	sqlite3_bind_int64(stmt, 4, oldest_s(now_s));
	err = finish(ledger, stmt, message);
	if (err)
		return err;
	return sqlite3_changes(ledger->db) == 1
		       ? 0
		       : hf_fail(message, HF_EAUTH,
				 "no administrator has entered the activation key of this gateway");
}
