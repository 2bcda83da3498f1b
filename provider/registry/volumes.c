/* Tables volumes and placements. The registry's thread. */
#include "provider/registry/internal.h"

#include <string.h>

#define VOLUME_COLUMNS                                                                             \
	"id, tenant, name, size_bytes, gateway, attach_epoch, lun, write_cache, created, gone, "   \
	"created_ms, target, chap_user, mutual_user, initiators, secrets, block_size"
#define PLACEMENT_COLUMNS                                                                          \
	"volume, gateway, desired, attach_epoch, version, state, state_version, error, reason, "   \
	"recovery_point, lag_bytes, age_ms, sessions, reported_ms, size_bytes, portal, since"

static void read_volume(struct hf_db_row *row, struct hf_reg_volume *v)
{
	memset(v, 0, sizeof *v);
	v->id = hf_db_u64(row);
	v->tenant = hf_db_u64(row);
	hf_db_text(row, v->name, sizeof v->name);
	v->size_bytes = hf_db_u64(row);
	v->gateway = hf_db_u64(row);
	v->attach_epoch = hf_db_u64(row);
	v->lun = (uint32_t)hf_db_u64(row);
	v->write_cache = hf_db_u64(row) != 0;
	v->created = hf_db_u64(row) != 0;
	v->gone = hf_db_u64(row) != 0;
	v->created_ms = hf_db_u64(row);
	hf_db_text(row, v->target, sizeof v->target);
	hf_db_text(row, v->chap_user, sizeof v->chap_user);
	hf_db_text(row, v->mutual_user, sizeof v->mutual_user);
	hf_db_text(row, v->initiators, sizeof v->initiators);
	hf_db_blob(row, v->secrets, sizeof v->secrets, &v->secrets_length);
	v->block_size = (uint32_t)hf_db_u64(row);
}

static int read_one_volume(void *context, struct hf_db_row *row)
{
	read_volume(row, context);
	return 0;
}

struct volume_visitor {
	hf_reg_volume_visit visit;
	void *context;
};

static int read_each_volume(void *context, struct hf_db_row *row)
{
	struct volume_visitor *visitor = context;
	struct hf_reg_volume volume;

	read_volume(row, &volume);
	return row->err ? row->err : visitor->visit(visitor->context, &volume);
}

int hf_registry_volume_insert(struct hf_registry *reg, const struct hf_reg_volume *v)
{
	return hf_db_run(reg->db, NULL, NULL,
			 "INSERT INTO volumes (" VOLUME_COLUMNS
			 ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, "
			 "$15, $16, $17)",
			 "iitiiiiiiiittttbi", v->id, v->tenant, v->name, v->size_bytes, v->gateway,
			 v->attach_epoch, (uint64_t)v->lun, (uint64_t)v->write_cache,
			 (uint64_t)v->created, (uint64_t)v->gone, v->created_ms, v->target,
			 v->chap_user, v->mutual_user, v->initiators, v->secrets, v->secrets_length,
			 (uint64_t)v->block_size);
}

int hf_registry_volume_update(struct hf_registry *reg, const struct hf_reg_volume *v)
{
	return hf_db_change(reg->db,
			    "UPDATE volumes SET name = $1, size_bytes = $2, gateway = $3, "
			    "attach_epoch = $4, lun = $5, write_cache = $6, created = $7, "
			    "gone = $8, target = $9, chap_user = $10, mutual_user = $11, "
			    "initiators = $12, secrets = $13 WHERE id = $14",
			    "tiiiiiiittttbi", v->name, v->size_bytes, v->gateway, v->attach_epoch,
			    (uint64_t)v->lun, (uint64_t)v->write_cache, (uint64_t)v->created,
			    (uint64_t)v->gone, v->target, v->chap_user, v->mutual_user,
			    v->initiators, v->secrets, v->secrets_length, v->id);
}

int hf_registry_volume_get(struct hf_registry *reg, uint64_t id, struct hf_reg_volume *volume)
{
	return hf_db_one(reg->db, read_one_volume, volume,
			 "SELECT " VOLUME_COLUMNS " FROM volumes WHERE id = $1", "i", id);
}

int hf_registry_volume_find(struct hf_registry *reg, uint64_t tenant, const char *name,
			    struct hf_reg_volume *volume)
{
	return hf_db_one(reg->db, read_one_volume, volume,
			 "SELECT " VOLUME_COLUMNS
			 " FROM volumes WHERE tenant = $1 AND name = $2 AND gone = 0",
			 "it", tenant, name);
}

int hf_registry_volume_visit(struct hf_registry *reg, hf_reg_volume_visit visit, void *context)
{
	struct volume_visitor visitor = {visit, context};

	return hf_db_run(reg->db, read_each_volume, &visitor,
			 "SELECT " VOLUME_COLUMNS " FROM volumes WHERE gone = 0 ORDER BY name", "");
}

int hf_registry_volume_remove(struct hf_registry *reg, uint64_t id)
{
	struct hf_reg_volume volume;
	int err = hf_db_change(reg->db,
			       "DELETE FROM volumes WHERE id = $1 AND NOT EXISTS "
			       "(SELECT 1 FROM placements WHERE volume = $1)",
			       "i", id);

	return err == HF_ENOENT && hf_registry_volume_get(reg, id, &volume) == 0 ? HF_EBUSY : err;
}

/* ---- Placements ------------------------------------------------------------------------------ */

static void read_placement(struct hf_db_row *row, struct hf_reg_placement *p)
{
	memset(p, 0, sizeof *p);
	p->volume = hf_db_u64(row);
	p->gateway = hf_db_u64(row);
	p->desired = (enum hf_reg_desired)hf_db_u64(row);
	p->attach_epoch = hf_db_u64(row);
	p->version = hf_db_u64(row);
	p->report.state = (uint32_t)hf_db_u64(row);
	p->report.version = hf_db_u64(row);
	p->report.error = (int32_t)hf_db_u64(row);
	hf_db_text(row, p->report.reason, sizeof p->report.reason);
	p->report.recovery_point = hf_db_u64(row);
	p->report.lag_bytes = hf_db_u64(row);
	p->report.age_ms = hf_db_u64(row);
	p->report.sessions = hf_db_u64(row);
	p->report.reported_ms = hf_db_u64(row);
	p->report.size_bytes = hf_db_u64(row);
	hf_db_text(row, p->report.portal, sizeof p->report.portal);
	p->since = hf_db_u64(row);
}

static int read_one_placement(void *context, struct hf_db_row *row)
{
	read_placement(row, context);
	return 0;
}

struct placement_visitor {
	hf_reg_placement_visit visit;
	void *context;
};

static int read_each_placement(void *context, struct hf_db_row *row)
{
	struct placement_visitor *visitor = context;
	struct hf_reg_placement placement;

	read_placement(row, &placement);
	return row->err ? row->err : visitor->visit(visitor->context, &placement);
}

int hf_registry_placement_put(struct hf_registry *reg, const struct hf_reg_placement *p)
{
	return hf_db_run(reg->db, NULL, NULL,
			 "INSERT INTO placements (volume, gateway, desired, attach_epoch, version, "
			 "since) VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT (volume, gateway) DO "
			 "UPDATE SET "
			 "desired = excluded.desired, attach_epoch = excluded.attach_epoch, "
			 "version = excluded.version",
			 "iiiii", p->volume, p->gateway, (uint64_t)p->desired, p->attach_epoch,
			 p->version);
}

int hf_registry_placement_get(struct hf_registry *reg, uint64_t volume, uint64_t gateway,
			      struct hf_reg_placement *placement)
{
	return hf_db_one(reg->db, read_one_placement, placement,
			 "SELECT " PLACEMENT_COLUMNS
			 " FROM placements WHERE volume = $1 AND gateway = $2",
			 "ii", volume, gateway);
}

int hf_registry_placement_visit(struct hf_registry *reg, uint64_t volume, uint64_t gateway,
				hf_reg_placement_visit visit, void *context)
{
	struct placement_visitor visitor = {visit, context};

	return hf_db_run(reg->db, read_each_placement, &visitor,
			 "SELECT " PLACEMENT_COLUMNS
			 " FROM placements WHERE ($1 = 0 OR volume = $1) "
			 "AND ($2 = 0 OR gateway = $2) ORDER BY volume, gateway",
			 "ii", volume, gateway);
}

int hf_registry_placement_report(struct hf_registry *reg, uint64_t epoch,
				 const struct hf_reg_placement *p)
{
	const struct hf_reg_report *r = &p->report;
	bool own;
	int err = hf_db_enter(reg->db, &own);

	if (err)
		return err;
	err = hf_registry_fence(reg, p->gateway, epoch);
	if (!err)
		err = hf_db_change(
			reg->db,
			"UPDATE placements SET state = $1, state_version = $2, "
			"error = $3, reason = $4, recovery_point = $5, lag_bytes = $6, "
			"age_ms = $7, sessions = $8, reported_ms = $9, size_bytes = $10, "
			"portal = $11 WHERE volume = $12 AND gateway = $13",
			"iiitiiiiiitii", (uint64_t)r->state, r->version, (uint64_t)r->error,
			r->reason, r->recovery_point, r->lag_bytes, r->age_ms, r->sessions,
			r->reported_ms, r->size_bytes, r->portal, p->volume, p->gateway);
	return hf_db_leave(reg->db, own, err);
}

int hf_registry_placement_remove(struct hf_registry *reg, uint64_t volume, uint64_t gateway)
{
	return hf_db_change(reg->db, "DELETE FROM placements WHERE volume = $1 AND gateway = $2",
			    "ii", volume, gateway);
}
