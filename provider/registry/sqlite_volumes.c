/* Tables volumes, placements and documents of the SQLite registry. The registry's thread. */
#include "provider/registry/sqlite_internal.h"

#include <stdlib.h>
#include <string.h>

#define VOLUME_COLUMNS                                                                             \
	"id, tenant, name, size_bytes, gateway, attach_epoch, lun, write_cache, created, gone, "   \
	"created_ms, target, chap_user, mutual_user, initiators, secrets, block_size"
#define PLACEMENT_COLUMNS                                                                          \
	"volume, gateway, desired, attach_epoch, version, state, state_version, error, reason, "   \
	"recovery_point, lag_bytes, age_ms, sessions, reported_ms, size_bytes, portal"

static void read_volume(struct hf_sql_row *row, struct hf_reg_volume *v)
{
	memset(v, 0, sizeof *v);
	v->id = hf_sql_u64(row);
	v->tenant = hf_sql_u64(row);
	hf_sql_text(row, v->name, sizeof v->name);
	v->size_bytes = hf_sql_u64(row);
	v->gateway = hf_sql_u64(row);
	v->attach_epoch = hf_sql_u64(row);
	v->lun = (uint32_t)hf_sql_u64(row);
	v->write_cache = hf_sql_u64(row) != 0;
	v->created = hf_sql_u64(row) != 0;
	v->gone = hf_sql_u64(row) != 0;
	v->created_ms = hf_sql_u64(row);
	hf_sql_text(row, v->target, sizeof v->target);
	hf_sql_text(row, v->chap_user, sizeof v->chap_user);
	hf_sql_text(row, v->mutual_user, sizeof v->mutual_user);
	hf_sql_text(row, v->initiators, sizeof v->initiators);
	hf_sql_blob(row, v->secrets, sizeof v->secrets, &v->secrets_length);
	v->block_size = (uint32_t)hf_sql_u64(row);
}

static int read_one_volume(void *context, struct hf_sql_row *row)
{
	read_volume(row, context);
	return 0;
}

struct volume_visitor {
	hf_reg_volume_visit visit;
	void *context;
};

static int read_each_volume(void *context, struct hf_sql_row *row)
{
	struct volume_visitor *visitor = context;
	struct hf_reg_volume volume;

	read_volume(row, &volume);
	return row->err ? row->err : visitor->visit(visitor->context, &volume);
}

int hf_sqlite_volume_insert(struct hf_registry *reg, const struct hf_reg_volume *v)
{
	return hf_sql_run(sqlite_of(reg), NULL, NULL,
			  "INSERT INTO volumes (" VOLUME_COLUMNS
			  ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			  "iitiiiiiiiittttbi", v->id, v->tenant, v->name, v->size_bytes, v->gateway,
			  v->attach_epoch, (uint64_t)v->lun, (uint64_t)v->write_cache,
			  (uint64_t)v->created, (uint64_t)v->gone, v->created_ms, v->target,
			  v->chap_user, v->mutual_user, v->initiators, v->secrets,
			  v->secrets_length, (uint64_t)v->block_size);
}

static int changed_or_absent(struct sqlite_registry *s, int err)
{
	return err ? err : hf_sql_changes(s) > 0 ? 0 : HF_ENOENT;
}

int hf_sqlite_volume_update(struct hf_registry *reg, const struct hf_reg_volume *v)
{
	struct sqlite_registry *s = sqlite_of(reg);
	int err = hf_sql_run(s, NULL, NULL,
			     "UPDATE volumes SET name = ?, size_bytes = ?, gateway = ?, "
			     "attach_epoch = ?, lun = ?, write_cache = ?, created = ?, gone = ?, "
			     "target = ?, chap_user = ?, mutual_user = ?, initiators = ?, "
			     "secrets = ? WHERE id = ?",
			     "tiiiiiiittttbi", v->name, v->size_bytes, v->gateway, v->attach_epoch,
			     (uint64_t)v->lun, (uint64_t)v->write_cache, (uint64_t)v->created,
			     (uint64_t)v->gone, v->target, v->chap_user, v->mutual_user,
			     v->initiators, v->secrets, v->secrets_length, v->id);

	return changed_or_absent(s, err);
}

int hf_sqlite_volume_get(struct hf_registry *reg, uint64_t id, struct hf_reg_volume *volume)
{
	return hf_sql_one(sqlite_of(reg), read_one_volume, volume,
			  "SELECT " VOLUME_COLUMNS " FROM volumes WHERE id = ?", "i", id);
}

int hf_sqlite_volume_find(struct hf_registry *reg, uint64_t tenant, const char *name,
			  struct hf_reg_volume *volume)
{
	return hf_sql_one(sqlite_of(reg), read_one_volume, volume,
			  "SELECT " VOLUME_COLUMNS
			  " FROM volumes WHERE tenant = ? AND name = ? AND gone = 0",
			  "it", tenant, name);
}

int hf_sqlite_volume_visit(struct hf_registry *reg, hf_reg_volume_visit visit, void *context)
{
	struct volume_visitor visitor = {visit, context};

	return hf_sql_run(sqlite_of(reg), read_each_volume, &visitor,
			  "SELECT " VOLUME_COLUMNS " FROM volumes WHERE gone = 0 ORDER BY name",
			  "");
}

int hf_sqlite_volume_remove(struct hf_registry *reg, uint64_t id)
{
	struct sqlite_registry *s = sqlite_of(reg);
	int err = hf_sql_run(s, NULL, NULL, "DELETE FROM volumes WHERE id = ?", "i", id);

	/* The only constraint on a deletion is the placements' reference. */
	return err == HF_ENOENT ? HF_EBUSY : changed_or_absent(s, err);
}

/* ---- Placements ------------------------------------------------------------------------------ */

static void read_placement(struct hf_sql_row *row, struct hf_reg_placement *p)
{
	memset(p, 0, sizeof *p);
	p->volume = hf_sql_u64(row);
	p->gateway = hf_sql_u64(row);
	p->desired = (enum hf_reg_desired)hf_sql_u64(row);
	p->attach_epoch = hf_sql_u64(row);
	p->version = hf_sql_u64(row);
	p->report.state = (uint32_t)hf_sql_u64(row);
	p->report.version = hf_sql_u64(row);
	p->report.error = (int32_t)hf_sql_u64(row);
	hf_sql_text(row, p->report.reason, sizeof p->report.reason);
	p->report.recovery_point = hf_sql_u64(row);
	p->report.lag_bytes = hf_sql_u64(row);
	p->report.age_ms = hf_sql_u64(row);
	p->report.sessions = hf_sql_u64(row);
	p->report.reported_ms = hf_sql_u64(row);
	p->report.size_bytes = hf_sql_u64(row);
	hf_sql_text(row, p->report.portal, sizeof p->report.portal);
}

static int read_one_placement(void *context, struct hf_sql_row *row)
{
	read_placement(row, context);
	return 0;
}

struct placement_visitor {
	hf_reg_placement_visit visit;
	void *context;
};

static int read_each_placement(void *context, struct hf_sql_row *row)
{
	struct placement_visitor *visitor = context;
	struct hf_reg_placement placement;

	read_placement(row, &placement);
	return row->err ? row->err : visitor->visit(visitor->context, &placement);
}

int hf_sqlite_placement_put(struct hf_registry *reg, const struct hf_reg_placement *p)
{
	return hf_sql_run(
		sqlite_of(reg), NULL, NULL,
		"INSERT INTO placements (volume, gateway, desired, attach_epoch, version) "
		"VALUES (?, ?, ?, ?, ?) ON CONFLICT (volume, gateway) DO UPDATE SET "
		"desired = excluded.desired, attach_epoch = excluded.attach_epoch, "
		"version = excluded.version",
		"iiiii", p->volume, p->gateway, (uint64_t)p->desired, p->attach_epoch, p->version);
}

int hf_sqlite_placement_get(struct hf_registry *reg, uint64_t volume, uint64_t gateway,
			    struct hf_reg_placement *placement)
{
	return hf_sql_one(sqlite_of(reg), read_one_placement, placement,
			  "SELECT " PLACEMENT_COLUMNS
			  " FROM placements WHERE volume = ? AND gateway = ?",
			  "ii", volume, gateway);
}

int hf_sqlite_placement_visit(struct hf_registry *reg, uint64_t volume, uint64_t gateway,
			      hf_reg_placement_visit visit, void *context)
{
	struct placement_visitor visitor = {visit, context};

	return hf_sql_run(sqlite_of(reg), read_each_placement, &visitor,
			  "SELECT " PLACEMENT_COLUMNS
			  " FROM placements WHERE (?1 = 0 OR volume = ?1) "
			  "AND (?2 = 0 OR gateway = ?2) ORDER BY volume, gateway",
			  "ii", volume, gateway);
}

int hf_sqlite_placement_report(struct hf_registry *reg, uint64_t epoch,
			       const struct hf_reg_placement *p)
{
	struct sqlite_registry *s = sqlite_of(reg);
	const struct hf_reg_report *r = &p->report;
	struct hf_reg_placement placement;
	int err =
		hf_sql_run(s, NULL, NULL,
			   "UPDATE placements SET state = ?, state_version = ?, error = ?, "
			   "reason = ?, recovery_point = ?, lag_bytes = ?, age_ms = ?, "
			   "sessions = ?, reported_ms = ?, size_bytes = ?, portal = ? "
			   "WHERE volume = ? AND gateway = ? AND "
			   "(SELECT epoch FROM gateways WHERE id = placements.gateway) = ?",
			   "iiitiiiiiitiii", (uint64_t)r->state, r->version, (uint64_t)r->error,
			   r->reason, r->recovery_point, r->lag_bytes, r->age_ms, r->sessions,
			   r->reported_ms, r->size_bytes, r->portal, p->volume, p->gateway, epoch);

	if (err || hf_sql_changes(s) > 0)
		return err;
	err = hf_sqlite_placement_get(reg, p->volume, p->gateway, &placement);
	return err ? err : HF_EFENCED;
}

int hf_sqlite_placement_remove(struct hf_registry *reg, uint64_t volume, uint64_t gateway)
{
	struct sqlite_registry *s = sqlite_of(reg);
	int err =
		hf_sql_run(s, NULL, NULL, "DELETE FROM placements WHERE volume = ? AND gateway = ?",
			   "ii", volume, gateway);

	return changed_or_absent(s, err);
}

/* ---- Documents ------------------------------------------------------------------------------- */

int hf_sqlite_document_put(struct hf_registry *reg, const struct hf_reg_document *d)
{
	struct sqlite_registry *s = sqlite_of(reg);
	int err =
		hf_sql_run(s, NULL, NULL,
			   "INSERT INTO documents (gateway, incarnation, generation, hash, bytes) "
			   "VALUES (?, ?, ?, ?, ?) ON CONFLICT (gateway) DO UPDATE SET "
			   "incarnation = excluded.incarnation, "
			   "generation = excluded.generation, hash = excluded.hash, "
			   "bytes = excluded.bytes WHERE (excluded.incarnation, "
			   "excluded.generation) > (documents.incarnation, documents.generation)",
			   "iiibb", d->gateway, d->incarnation, d->generation, d->hash,
			   sizeof d->hash, d->bytes, d->length);

	return err ? err : hf_sql_changes(s) > 0 ? 0 : HF_ESTALE;
}

static int read_head(void *context, struct hf_sql_row *row)
{
	struct hf_reg_document *d = context;

	d->gateway = hf_sql_u64(row);
	d->incarnation = hf_sql_u64(row);
	d->generation = hf_sql_u64(row);
	hf_sql_fixed(row, d->hash, sizeof d->hash);
	return 0;
}

static int read_document(void *context, struct hf_sql_row *row)
{
	struct hf_reg_document *d = context;
	size_t length;
	uint8_t *copy;

	read_head(context, row);
	length = (size_t)sqlite3_column_bytes(row->stmt, row->column);
	copy = malloc(length + 1);
	if (!copy)
		return HF_ENOMEM;
	hf_sql_blob(row, copy, length, &d->length);
	d->bytes = copy;
	return 0;
}

int hf_sqlite_document_get(struct hf_registry *reg, uint64_t gateway,
			   struct hf_reg_document *document)
{
	int err;

	memset(document, 0, sizeof *document);
	err = hf_sql_one(sqlite_of(reg), read_document, document,
			 "SELECT gateway, incarnation, generation, hash, bytes FROM documents "
			 "WHERE gateway = ?",
			 "i", gateway);
	if (err && document->bytes) {
		free((void *)(uintptr_t)document->bytes);
		document->bytes = NULL;
	}
	return err;
}

int hf_sqlite_document_head(struct hf_registry *reg, uint64_t gateway,
			    struct hf_reg_document *document)
{
	memset(document, 0, sizeof *document);
	return hf_sql_one(sqlite_of(reg), read_head, document,
			  "SELECT gateway, incarnation, generation, hash FROM documents "
			  "WHERE gateway = ?",
			  "i", gateway);
}
