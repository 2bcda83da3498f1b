/* Shared by the files of the SQLite implementation of registry.h: running a statement with typed
 * arguments and reading its rows column by column. One connection, one thread. */
#ifndef HF_PROVIDER_REGISTRY_SQLITE_INTERNAL_H
#define HF_PROVIDER_REGISTRY_SQLITE_INTERNAL_H

#include <sqlite3.h>

#include "base/assert.h"
#include "provider/registry/registry.h"

#define SQLITE_REGISTRY_MAGIC 0x72656731u

struct sqlite_registry {
	struct hf_registry base;
	uint32_t magic;
	sqlite3 *db;
	bool in_transaction;
};

static inline struct sqlite_registry *sqlite_of(struct hf_registry *reg)
{
	struct sqlite_registry *s = (struct sqlite_registry *)reg;

	HF_CHECK_MAGIC(s, SQLITE_REGISTRY_MAGIC);
	return s;
}

/* One row, read from the left. A text or blob longer than its place is HF_ECORRUPT in `err`. */
struct hf_sql_row {
	sqlite3_stmt *stmt;
	int column;
	int err;
};

uint64_t hf_sql_u64(struct hf_sql_row *row);
void hf_sql_text(struct hf_sql_row *row, char *text, size_t size);
/* A blob of at most `size` bytes; its length in *length. */
void hf_sql_blob(struct hf_sql_row *row, uint8_t *bytes, size_t size, size_t *length);
/* A blob of exactly `size` bytes. */
void hf_sql_fixed(struct hf_sql_row *row, uint8_t *bytes, size_t size);

typedef int (*hf_sql_visit)(void *context, struct hf_sql_row *row);

/* Runs one statement. `types` has a letter for each `?`: i (uint64_t), t (const char *),
 * b (const void *, size_t). `visit` is called for each row, NULL ignores rows. Returns the error,
 * or what a visit returned. */
int hf_sql_run(struct sqlite_registry *s, hf_sql_visit visit, void *context, const char *sql,
	       const char *types, ...);
/* The same, but HF_ENOENT if there was no row, and only the first is visited. */
int hf_sql_one(struct sqlite_registry *s, hf_sql_visit visit, void *context, const char *sql,
	       const char *types, ...);
/* Rows changed by the last INSERT, UPDATE or DELETE. */
int hf_sql_changes(struct sqlite_registry *s);
/* A nested atomic part of a call that needs several statements. */
int hf_sql_savepoint(struct sqlite_registry *s);
int hf_sql_release(struct sqlite_registry *s, int err);
/* The error of the connection's last result code, with its text kept in base.why. */
int hf_sql_error(struct sqlite_registry *s, int code, const char *what);

/* The schema: creates it or brings an older one up to date (sqlite_schema.c). */
int hf_sqlite_migrate(struct sqlite_registry *s, uint64_t now_ms, struct hf_errmsg *message);

/* The parts of the operation table. */
int hf_sqlite_gateway_insert(struct hf_registry *reg, const struct hf_reg_gateway *gateway);
int hf_sqlite_gateway_get(struct hf_registry *reg, uint64_t id, struct hf_reg_gateway *gateway);
int hf_sqlite_gateway_find(struct hf_registry *reg, uint64_t tenant, const char *name,
			   struct hf_reg_gateway *gateway);
int hf_sqlite_gateway_visit(struct hf_registry *reg, hf_reg_gateway_visit visit, void *context);
int hf_sqlite_gateway_set_state(struct hf_registry *reg, uint64_t id,
				enum hf_reg_gateway_state state, const char *reason);
int hf_sqlite_gateway_grant(struct hf_registry *reg, uint64_t id, uint64_t at_least,
			    uint64_t now_ms, const char *version, uint64_t *epoch);
int hf_sqlite_gateway_seen(struct hf_registry *reg, uint64_t id, uint64_t epoch, uint64_t now_ms,
			   uint64_t applied_incarnation, uint64_t applied_generation);
int hf_sqlite_gateway_bump(struct hf_registry *reg, uint64_t id, uint64_t *generation);
int hf_sqlite_gateway_unsigned(struct hf_registry *reg, hf_reg_gateway_visit visit, void *context);

int hf_sqlite_activation_put(struct hf_registry *reg, const struct hf_reg_activation *activation);
int hf_sqlite_activation_get(struct hf_registry *reg, const uint8_t *number,
			     struct hf_reg_activation *activation);
int hf_sqlite_activation_by_identity(struct hf_registry *reg, const uint8_t *identity_key,
				     struct hf_reg_activation *activation);
int hf_sqlite_activation_by_gateway(struct hf_registry *reg, uint64_t gateway,
				    struct hf_reg_activation *activation);
int hf_sqlite_activation_purge(struct hf_registry *reg, uint64_t now_ms, unsigned *offered);

int hf_sqlite_volume_insert(struct hf_registry *reg, const struct hf_reg_volume *volume);
int hf_sqlite_volume_update(struct hf_registry *reg, const struct hf_reg_volume *volume);
int hf_sqlite_volume_get(struct hf_registry *reg, uint64_t id, struct hf_reg_volume *volume);
int hf_sqlite_volume_find(struct hf_registry *reg, uint64_t tenant, const char *name,
			  struct hf_reg_volume *volume);
int hf_sqlite_volume_visit(struct hf_registry *reg, hf_reg_volume_visit visit, void *context);
int hf_sqlite_volume_remove(struct hf_registry *reg, uint64_t id);

int hf_sqlite_placement_put(struct hf_registry *reg, const struct hf_reg_placement *placement);
int hf_sqlite_placement_get(struct hf_registry *reg, uint64_t volume, uint64_t gateway,
			    struct hf_reg_placement *placement);
int hf_sqlite_placement_visit(struct hf_registry *reg, uint64_t volume, uint64_t gateway,
			      hf_reg_placement_visit visit, void *context);
int hf_sqlite_placement_report(struct hf_registry *reg, uint64_t epoch,
			       const struct hf_reg_placement *placement);
int hf_sqlite_placement_remove(struct hf_registry *reg, uint64_t volume, uint64_t gateway);

int hf_sqlite_document_put(struct hf_registry *reg, const struct hf_reg_document *document);
int hf_sqlite_document_get(struct hf_registry *reg, uint64_t gateway,
			   struct hf_reg_document *document);

int hf_sqlite_document_head(struct hf_registry *reg, uint64_t gateway,
			    struct hf_reg_document *document);

#endif
