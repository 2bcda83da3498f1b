/* Shared by the files of the ledger: its database. */
#ifndef HF_PROVIDER_SIGNER_LEDGER_INTERNAL_H
#define HF_PROVIDER_SIGNER_LEDGER_INTERNAL_H

#include <sqlite3.h>
#include <stdbool.h>

#include "base/assert.h"
#include "provider/signer/ledger.h"

#define LEDGER_MAGIC 0x6c646772u

struct hf_ledger {
	uint32_t magic;
	sqlite3 *db;
	sqlite3_stmt *select, *upsert;
	bool in_transaction;
};

/* What SQLite said, as an error with its text. */
int hf_ledger_error(struct hf_ledger *ledger, int code, struct hf_errmsg *message);
int hf_ledger_run(struct hf_ledger *ledger, const char *sql, struct hf_errmsg *message);
/* An entry as its bytes and checksum, over one that is there. In a transaction. */
int hf_ledger_put(struct hf_ledger *ledger, uint64_t gateway, uint32_t crc, const uint8_t *bytes,
		  size_t length, struct hf_errmsg *message);
/* Takes over the files of earlier versions (ledger_import.c). */
int hf_ledger_import(struct hf_ledger *ledger, const char *state_dir, struct hf_errmsg *message);

#endif
