/* The registry itself: opening, transactions, meta, settings, audit; the tables of gateways,
 * activations, volumes and documents have their own files. The provider's thread. */
#include "provider/registry/internal.h"

#include <stdlib.h>
#include <string.h>

/* Takes the database over, also on failure. */
static int open_on(struct hf_db *db, uint64_t now_ms, struct hf_registry **reg,
		   struct hf_errmsg *message)
{
	struct hf_registry *r = calloc(1, sizeof *r);
	int err;

	if (!r) {
		hf_db_close(db);
		return hf_fail(message, HF_ENOMEM, "the registry: out of memory");
	}
	r->magic = REGISTRY_MAGIC;
	r->db = db;
	r->process = 1;
	err = hf_registry_migrate(r, now_ms, message);
	if (err)
		hf_registry_close(r);
	else
		*reg = r;
	return err;
}

int hf_registry_open_sqlite(const char *path, uint64_t now_ms, struct hf_registry **reg,
			    struct hf_errmsg *message)
{
	struct hf_db *db;
	int err = hf_db_open_sqlite(path, &db, message);

	return err ? err : open_on(db, now_ms, reg, message);
}

int hf_registry_open_postgres(const char *where, uint64_t now_ms, struct hf_registry **reg,
			      struct hf_errmsg *message)
{
	struct hf_db *db;
	int err = hf_db_open_postgres(where, &db, message);

	return err ? err : open_on(db, now_ms, reg, message);
}

int hf_registry_open(const char *where, uint64_t now_ms, struct hf_registry **reg,
		     struct hf_errmsg *message)
{
	if (strncmp(where, "postgres:/", 10) == 0)
		return hf_registry_open_postgres(where, now_ms, reg, message);
	return hf_registry_open_sqlite(where, now_ms, reg, message);
}

void hf_registry_close(struct hf_registry *reg)
{
	if (!reg)
		return;
	HF_CHECK_MAGIC(reg, REGISTRY_MAGIC);
	hf_db_close(reg->db);
	reg->magic = 0;
	free(reg);
}

uint64_t hf_registry_process(const struct hf_registry *reg)
{
	return reg->process;
}

void hf_registry_set_process(struct hf_registry *reg, uint64_t process)
{
	HF_ASSERT(process != 0);
	reg->process = process;
}

bool hf_registry_ready(struct hf_registry *reg)
{
	return reg->db->driver->ready(reg->db);
}

const char *hf_registry_why(const struct hf_registry *reg)
{
	return reg->db->why.text;
}

uint64_t hf_registry_errors(const struct hf_registry *reg)
{
	return reg->db->errors;
}

int hf_registry_begin(struct hf_registry *reg)
{
	HF_CHECK_MAGIC(reg, REGISTRY_MAGIC);
	return hf_db_begin(reg->db);
}

int hf_registry_end(struct hf_registry *reg, int err)
{
	return hf_db_end(reg->db, err);
}

static int read_info(void *context, struct hf_db_row *row)
{
	struct hf_reg_info *info = context;

	info->schema = (uint32_t)hf_db_u64(row);
	info->incarnation = hf_db_u64(row);
	info->tenant = hf_db_u64(row);
	info->now_ms = hf_db_u64(row);
	return 0;
}

int hf_registry_info(struct hf_registry *reg, struct hf_reg_info *info)
{
	char sql[200];

	snprintf(sql, sizeof sql, "SELECT schema, incarnation, tenant, %s FROM meta",
		 reg->db->driver->dialect.now_ms);
	return hf_db_one(reg->db, read_info, info, sql, "");
}

/* Far above what the gateways may have seen after the backup was made; and, when the same backup
 * is restored twice, above what followed the first time: nobody changes a gateway a thousand times
 * a second. */
#define GENERATION_LEAP "1048576"

int hf_registry_new_incarnation(struct hf_registry *reg, uint64_t at_least)
{
	bool own;
	int err = hf_db_enter(reg->db, &own);

	if (err)
		return err;
	err = hf_db_run(reg->db, NULL, NULL,
			"UPDATE meta SET incarnation = "
			"CASE WHEN incarnation >= $1 THEN incarnation + 1 ELSE $1 END",
			"i", at_least);
	if (!err)
		err = hf_db_run(reg->db, NULL, NULL,
				"UPDATE gateways SET generation = CASE WHEN generation "
				"+ " GENERATION_LEAP " >= $1 THEN generation + " GENERATION_LEAP
				" ELSE $1 END WHERE generation > 0",
				"i", at_least);
	/* What it was told after the backup is not known. */
	if (!err)
		err = hf_db_run(reg->db, NULL, NULL, "UPDATE gateways SET told = generation", "");
	if (!err)
		err = hf_db_run(reg->db, NULL, NULL,
				"UPDATE placements SET version = (SELECT generation FROM gateways "
				"WHERE id = placements.gateway)",
				"");
	/* What the backup says of sending is of before: an action may have been sent since. */
	if (!err)
		err = hf_db_run(reg->db, NULL, NULL,
				"UPDATE actions SET sent = sent + 1 WHERE state < 3", "");
	return hf_db_leave(reg->db, own, err);
}

struct value_place {
	char *value;
	size_t size;
};

static int read_value(void *context, struct hf_db_row *row)
{
	struct value_place *place = context;

	hf_db_text(row, place->value, place->size);
	return 0;
}

int hf_registry_setting_get(struct hf_registry *reg, const char *key, char *value, size_t size)
{
	struct value_place place = {value, size};

	return hf_db_one(reg->db, read_value, &place, "SELECT value FROM settings WHERE key = $1",
			 "t", key);
}

int hf_registry_setting_put(struct hf_registry *reg, const char *key, const char *value)
{
	return hf_db_run(reg->db, NULL, NULL,
			 "INSERT INTO settings VALUES ($1, $2) "
			 "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
			 "tt", key, value);
}

int hf_registry_audit_add(struct hf_registry *reg, const struct hf_reg_audit *entry)
{
	return hf_db_run(reg->db, NULL, NULL,
			 "INSERT INTO audit (at_ms, who, action, object, detail) "
			 "VALUES ($1, $2, $3, $4, $5)",
			 "itttt", entry->at_ms, entry->who, entry->action, entry->object,
			 entry->detail);
}

int hf_registry_audit_count(struct hf_registry *reg, uint64_t *count)
{
	return hf_db_one(reg->db, hf_db_read_u64, count, "SELECT count(*) FROM audit", "");
}
