/* Table gateways. The registry's thread. */
#include "provider/registry/internal.h"

#include <string.h>

#define COLUMNS                                                                                    \
	"id, tenant, name, state, reason, identity_key, sealing_key, epoch, generation, "          \
	"applied_incarnation, applied_generation, last_seen_ms, host, version, portal, process, "  \
	"work, work_done, looks, told, least, sequence"

static void read_row(struct hf_db_row *row, struct hf_reg_gateway *gateway)
{
	memset(gateway, 0, sizeof *gateway);
	gateway->id = hf_db_u64(row);
	gateway->tenant = hf_db_u64(row);
	hf_db_text(row, gateway->name, sizeof gateway->name);
	gateway->state = (enum hf_reg_gateway_state)hf_db_u64(row);
	hf_db_text(row, gateway->reason, sizeof gateway->reason);
	hf_db_fixed(row, gateway->identity_key, sizeof gateway->identity_key);
	hf_db_fixed(row, gateway->sealing_key, sizeof gateway->sealing_key);
	gateway->epoch = hf_db_u64(row);
	gateway->generation = hf_db_u64(row);
	gateway->applied_incarnation = hf_db_u64(row);
	gateway->applied_generation = hf_db_u64(row);
	gateway->last_seen_ms = hf_db_u64(row);
	hf_db_text(row, gateway->host, sizeof gateway->host);
	hf_db_text(row, gateway->version, sizeof gateway->version);
	hf_db_text(row, gateway->portal, sizeof gateway->portal);
	gateway->process = hf_db_u64(row);
	gateway->work = hf_db_u64(row);
	gateway->work_done = hf_db_u64(row);
	gateway->looks = hf_db_u64(row);
	gateway->told = hf_db_u64(row);
	gateway->least = hf_db_u64(row);
	gateway->sequence = hf_db_u64(row);
}

static int read_one(void *context, struct hf_db_row *row)
{
	read_row(row, context);
	return 0;
}

struct visitor {
	hf_reg_gateway_visit visit;
	void *context;
};

static int read_each(void *context, struct hf_db_row *row)
{
	struct visitor *visitor = context;
	struct hf_reg_gateway gateway;

	read_row(row, &gateway);
	return row->err ? row->err : visitor->visit(visitor->context, &gateway);
}

int hf_registry_gateway_insert(struct hf_registry *reg, const struct hf_reg_gateway *gateway)
{
	return hf_db_run(
		reg->db, NULL, NULL,
		"INSERT INTO gateways (" COLUMNS
		") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, "
		"$16, $17, $18, $19, $20, $21, $22)",
		"iititbbiiiiitttiiiiiii", gateway->id, gateway->tenant, gateway->name,
		(uint64_t)gateway->state, gateway->reason, gateway->identity_key,
		sizeof gateway->identity_key, gateway->sealing_key, sizeof gateway->sealing_key,
		gateway->epoch, gateway->generation, gateway->applied_incarnation,
		gateway->applied_generation, gateway->last_seen_ms, gateway->host, gateway->version,
		gateway->portal, gateway->process, gateway->work, gateway->work_done,
		gateway->looks, gateway->told, gateway->least, gateway->sequence);
}

int hf_registry_gateway_get(struct hf_registry *reg, uint64_t id, struct hf_reg_gateway *gateway)
{
	return hf_db_one(reg->db, read_one, gateway,
			 "SELECT " COLUMNS " FROM gateways WHERE id = $1", "i", id);
}

int hf_registry_gateway_find(struct hf_registry *reg, uint64_t tenant, const char *name,
			     struct hf_reg_gateway *gateway)
{
	return hf_db_one(reg->db, read_one, gateway,
			 "SELECT " COLUMNS
			 " FROM gateways WHERE tenant = $1 AND name = $2 AND state != 4",
			 "it", tenant, name);
}

int hf_registry_gateway_visit(struct hf_registry *reg, hf_reg_gateway_visit visit, void *context)
{
	struct visitor visitor = {visit, context};

	return hf_db_run(reg->db, read_each, &visitor,
			 "SELECT " COLUMNS " FROM gateways ORDER BY name, id", "");
}

int hf_registry_gateway_set_state(struct hf_registry *reg, uint64_t id,
				  enum hf_reg_gateway_state state, const char *reason)
{
	return hf_db_change(reg->db, "UPDATE gateways SET state = $1, reason = $2 WHERE id = $3",
			    "iti", (uint64_t)state, reason, id);
}

static int matches(void *context, struct hf_db_row *row)
{
	return hf_db_u64(row) == *(const uint64_t *)context ? 0 : HF_EFENCED;
}

int hf_registry_fence(struct hf_registry *reg, uint64_t gateway, uint64_t epoch)
{
	HF_ASSERT(reg->db->in_transaction);
	return hf_db_one(reg->db, matches, &epoch,
			 reg->db->driver->locks_rows
				 ? "SELECT epoch FROM gateways WHERE id = $1 FOR NO KEY UPDATE"
				 : "SELECT epoch FROM gateways WHERE id = $1",
			 "i", gateway);
}

/* A holder's write that touched nothing: the gateway is unknown, or somebody else holds it. */
static int absent_or_fenced(struct hf_registry *reg, uint64_t id, int err)
{
	struct hf_reg_gateway gateway;

	if (err != HF_ENOENT)
		return err;
	err = hf_registry_gateway_get(reg, id, &gateway);
	return err ? err : HF_EFENCED;
}

int hf_registry_gateway_seen(struct hf_registry *reg, uint64_t id, uint64_t epoch, uint64_t now_ms,
			     uint64_t applied_incarnation, uint64_t applied_generation)
{
	int err = hf_db_change(reg->db,
			       "UPDATE gateways SET last_seen_ms = $1, applied_incarnation = $2, "
			       "applied_generation = $3 WHERE id = $4 AND epoch = $5",
			       "iiiii", now_ms, applied_incarnation, applied_generation, id, epoch);

	return absent_or_fenced(reg, id, err);
}

int hf_registry_gateway_left(struct hf_registry *reg, uint64_t id, uint64_t epoch, uint64_t now_ms)
{
	int err = hf_db_change(reg->db,
			       "UPDATE gateways SET process = 0, last_seen_ms = $1 "
			       "WHERE id = $2 AND epoch = $3",
			       "iii", now_ms, id, epoch);

	return absent_or_fenced(reg, id, err);
}

int hf_registry_gateway_held(struct hf_registry *reg, uint64_t id, uint64_t epoch)
{
	int err = hf_db_change(reg->db,
			       "UPDATE gateways SET process = $1 WHERE id = $2 AND epoch = $3",
			       "iii", reg->process, id, epoch);

	return absent_or_fenced(reg, id, err);
}

int hf_registry_forget_holders(struct hf_registry *reg)
{
	return hf_db_run(reg->db, NULL, NULL, "UPDATE gateways SET process = 0 WHERE process != 0",
			 "");
}

int hf_registry_gateway_bump(struct hf_registry *reg, uint64_t id, uint64_t *generation)
{
	return hf_db_one(reg->db, hf_db_read_u64, generation,
			 "UPDATE gateways SET generation = generation + 1 WHERE id = $1 "
			 "RETURNING generation",
			 "i", id);
}

int hf_registry_gateway_leap(struct hf_registry *reg, uint64_t id, uint64_t generation)
{
	return hf_db_change(reg->db,
			    "UPDATE gateways SET generation = $1 + 1 WHERE id = $2 AND "
			    "generation < $1",
			    "ii", generation, id);
}

static int read_id(void *context, struct hf_db_row *row)
{
	struct visitor *visitor = context;
	struct hf_reg_gateway gateway = {.id = hf_db_u64(row)};

	gateway.generation = hf_db_u64(row);
	return row->err ? row->err : visitor->visit(visitor->context, &gateway);
}

int hf_registry_gateway_unsigned(struct hf_registry *reg, uint64_t after,
				 hf_reg_gateway_visit visit, void *context)
{
	struct visitor visitor = {visit, context};

	return hf_db_run(reg->db, read_id, &visitor,
			 "SELECT g.id, g.generation "
			 "FROM gateways g WHERE g.id > $1 AND g.state = 3 AND g.generation > 0 "
			 "AND (g.process = 0 OR g.process = $2) "
			 "AND NOT EXISTS (SELECT 1 FROM documents d, meta m WHERE d.gateway = g.id "
			 "AND d.incarnation = m.incarnation AND d.generation = g.generation) "
			 "ORDER BY g.id LIMIT 1024",
			 "ii", after, reg->process);
}

/* ---- Work for holders ------------------------------------------------------------------------ */

int hf_registry_work_add(struct hf_registry *reg, uint64_t gateway)
{
	return hf_db_change(reg->db, "UPDATE gateways SET work = work + 1 WHERE id = $1", "i",
			    gateway);
}

int hf_registry_gateway_look(struct hf_registry *reg, uint64_t gateway)
{
	return hf_db_change(reg->db,
			    "UPDATE gateways SET looks = looks + 1, work = work + 1 "
			    "WHERE id = $1 AND process != 0 AND process != $2",
			    "ii", gateway, reg->process);
}

struct work_visitor {
	hf_reg_work_visit visit;
	void *context;
};

static int read_work(void *context, struct hf_db_row *row)
{
	struct work_visitor *visitor = context;
	struct hf_reg_work work;

	work.gateway = hf_db_u64(row);
	work.epoch = hf_db_u64(row);
	work.work = hf_db_u64(row);
	work.looks = hf_db_u64(row);
	return visitor->visit(visitor->context, &work);
}

int hf_registry_work_visit(struct hf_registry *reg, hf_reg_work_visit visit, void *context)
{
	struct work_visitor visitor = {visit, context};

	/* The last term is that of the index gateways_work. */
	return hf_db_run(reg->db, read_work, &visitor,
			 "SELECT id, epoch, work, looks FROM gateways WHERE process = $1 "
			 "AND work > work_done",
			 "i", reg->process);
}

int hf_registry_work_done(struct hf_registry *reg, const struct hf_reg_work *work)
{
	int err = hf_db_change(reg->db,
			       "UPDATE gateways SET work_done = CASE WHEN work_done > $1 THEN "
			       "work_done ELSE $1 END WHERE id = $2 AND epoch = $3",
			       "iii", work->work, work->gateway, work->epoch);

	return absent_or_fenced(reg, work->gateway, err);
}
