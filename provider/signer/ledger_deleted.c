/* The ledger's table of volumes whose tombstones were signed (ledger.h): eight bytes and a key for
 * each volume that people delete. Signer's thread. */
#include "provider/signer/ledger_internal.h"

static int start(struct hf_ledger *ledger, const char *sql, uint64_t gateway, uint64_t volume,
		 sqlite3_stmt **stmt, struct hf_errmsg *message)
{
	int code = sqlite3_prepare_v2(ledger->db, sql, -1, stmt, NULL);

	HF_CHECK_MAGIC(ledger, LEDGER_MAGIC);
	if (code != SQLITE_OK)
		return hf_ledger_error(ledger, code, message);
	sqlite3_bind_int64(*stmt, 1, (int64_t)gateway);
	sqlite3_bind_int64(*stmt, 2, (int64_t)volume);
	return 0;
}

int hf_ledger_deleted_add(struct hf_ledger *ledger, uint64_t gateway, uint64_t volume,
			  struct hf_errmsg *message)
{
	sqlite3_stmt *stmt;
	int err = start(ledger, "INSERT OR IGNORE INTO deleted VALUES (?1, ?2)", gateway, volume,
			&stmt, message);
	int code;

	HF_ASSERT(ledger->in_transaction);
	if (err)
		return err;
	code = sqlite3_step(stmt);
	err = code == SQLITE_DONE ? 0 : hf_ledger_error(ledger, code, message);
	sqlite3_finalize(stmt);
	return err;
}

int hf_ledger_deleted_has(struct hf_ledger *ledger, uint64_t gateway, uint64_t volume, bool *has,
			  struct hf_errmsg *message)
{
	sqlite3_stmt *stmt;
	int err = start(ledger, "SELECT 1 FROM deleted WHERE gateway = ?1 AND volume = ?2", gateway,
			volume, &stmt, message);
	int code;

	if (err)
		return err;
	code = sqlite3_step(stmt);
	*has = code == SQLITE_ROW;
	err = code == SQLITE_ROW || code == SQLITE_DONE ? 0
							: hf_ledger_error(ledger, code, message);
	sqlite3_finalize(stmt);
	return err;
}
