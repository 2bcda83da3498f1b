/* Table gateways of the SQLite registry. The registry's thread. */
#include "provider/registry/sqlite_internal.h"

#include <string.h>

#define COLUMNS                                                                                    \
	"id, tenant, name, state, reason, identity_key, sealing_key, epoch, generation, "          \
	"applied_incarnation, applied_generation, last_seen_ms, host, version, portal"

static void read_row(struct hf_sql_row *row, struct hf_reg_gateway *gateway)
{
	memset(gateway, 0, sizeof *gateway);
	gateway->id = hf_sql_u64(row);
	gateway->tenant = hf_sql_u64(row);
	hf_sql_text(row, gateway->name, sizeof gateway->name);
	gateway->state = (enum hf_reg_gateway_state)hf_sql_u64(row);
	hf_sql_text(row, gateway->reason, sizeof gateway->reason);
	hf_sql_fixed(row, gateway->identity_key, sizeof gateway->identity_key);
	hf_sql_fixed(row, gateway->sealing_key, sizeof gateway->sealing_key);
	gateway->epoch = hf_sql_u64(row);
	gateway->generation = hf_sql_u64(row);
	gateway->applied_incarnation = hf_sql_u64(row);
	gateway->applied_generation = hf_sql_u64(row);
	gateway->last_seen_ms = hf_sql_u64(row);
	hf_sql_text(row, gateway->host, sizeof gateway->host);
	hf_sql_text(row, gateway->version, sizeof gateway->version);
	hf_sql_text(row, gateway->portal, sizeof gateway->portal);
}

static int read_one(void *context, struct hf_sql_row *row)
{
	read_row(row, context);
	return 0;
}

struct visitor {
	hf_reg_gateway_visit visit;
	void *context;
};

static int read_each(void *context, struct hf_sql_row *row)
{
	struct visitor *visitor = context;
	struct hf_reg_gateway gateway;

	read_row(row, &gateway);
	return row->err ? row->err : visitor->visit(visitor->context, &gateway);
}

int hf_sqlite_gateway_insert(struct hf_registry *reg, const struct hf_reg_gateway *gateway)
{
	return hf_sql_run(sqlite_of(reg), NULL, NULL,
			  "INSERT INTO gateways (" COLUMNS
			  ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			  "iititbbiiiiittt", gateway->id, gateway->tenant, gateway->name,
			  (uint64_t)gateway->state, gateway->reason, gateway->identity_key,
			  sizeof gateway->identity_key, gateway->sealing_key,
			  sizeof gateway->sealing_key, gateway->epoch, gateway->generation,
			  gateway->applied_incarnation, gateway->applied_generation,
			  gateway->last_seen_ms, gateway->host, gateway->version, gateway->portal);
}

int hf_sqlite_gateway_get(struct hf_registry *reg, uint64_t id, struct hf_reg_gateway *gateway)
{
	return hf_sql_one(sqlite_of(reg), read_one, gateway,
			  "SELECT " COLUMNS " FROM gateways WHERE id = ?", "i", id);
}

int hf_sqlite_gateway_find(struct hf_registry *reg, uint64_t tenant, const char *name,
			   struct hf_reg_gateway *gateway)
{
	return hf_sql_one(sqlite_of(reg), read_one, gateway,
			  "SELECT " COLUMNS
			  " FROM gateways WHERE tenant = ? AND name = ? AND state != 4",
			  "it", tenant, name);
}

int hf_sqlite_gateway_visit(struct hf_registry *reg, hf_reg_gateway_visit visit, void *context)
{
	struct visitor visitor = {visit, context};

	return hf_sql_run(sqlite_of(reg), read_each, &visitor,
			  "SELECT " COLUMNS " FROM gateways ORDER BY name, id", "");
}

static int changed_or_absent(struct sqlite_registry *s, int err)
{
	return err ? err : hf_sql_changes(s) > 0 ? 0 : HF_ENOENT;
}

int hf_sqlite_gateway_set_state(struct hf_registry *reg, uint64_t id,
				enum hf_reg_gateway_state state, const char *reason)
{
	struct sqlite_registry *s = sqlite_of(reg);
	int err =
		hf_sql_run(s, NULL, NULL, "UPDATE gateways SET state = ?, reason = ? WHERE id = ?",
			   "iti", (uint64_t)state, reason, id);

	return changed_or_absent(s, err);
}

static int read_u64(void *context, struct hf_sql_row *row)
{
	*(uint64_t *)context = hf_sql_u64(row);
	return 0;
}

int hf_sqlite_gateway_grant(struct hf_registry *reg, uint64_t id, uint64_t at_least,
			    uint64_t now_ms, const char *version, uint64_t *epoch)
{
	struct hf_reg_gateway gateway;
	int err;

	/* Epochs are kept in a signed column; nobody gets there by counting connections. Nor does
	 * a database that was restored lack more than 2^32 of them: whoever holds a copy of the
	 * gateway's key cannot use them up. */
	if (at_least >= (uint64_t)INT64_MAX)
		return HF_ERANGE;
	err = hf_sql_one(sqlite_of(reg), read_u64, epoch,
			 "UPDATE gateways SET epoch = max(epoch, ?) + 1, last_seen_ms = ?, "
			 "version = ? WHERE id = ? AND ? - 4294967296 < epoch RETURNING epoch",
			 "iitii", at_least, now_ms, version, id, at_least);
	if (err == HF_ENOENT && hf_sqlite_gateway_get(reg, id, &gateway) == 0)
		return HF_ERANGE;
	return err;
}

/* A write that touched nothing: the gateway is unknown, or somebody else holds it by now. */
static int changed_or_fenced(struct sqlite_registry *s, uint64_t id, int err)
{
	struct hf_reg_gateway gateway;

	if (err || hf_sql_changes(s) > 0)
		return err;
	err = hf_sqlite_gateway_get(&s->base, id, &gateway);
	return err ? err : HF_EFENCED;
}

int hf_sqlite_gateway_seen(struct hf_registry *reg, uint64_t id, uint64_t epoch, uint64_t now_ms,
			   uint64_t applied_incarnation, uint64_t applied_generation)
{
	struct sqlite_registry *s = sqlite_of(reg);
	int err = hf_sql_run(s, NULL, NULL,
			     "UPDATE gateways SET last_seen_ms = ?, applied_incarnation = ?, "
			     "applied_generation = ? WHERE id = ? AND epoch = ?",
			     "iiiii", now_ms, applied_incarnation, applied_generation, id, epoch);

	return changed_or_fenced(s, id, err);
}

int hf_sqlite_gateway_bump(struct hf_registry *reg, uint64_t id, uint64_t *generation)
{
	return hf_sql_one(sqlite_of(reg), read_u64, generation,
			  "UPDATE gateways SET generation = generation + 1 WHERE id = ? "
			  "RETURNING generation",
			  "i", id);
}

int hf_sqlite_gateway_unsigned(struct hf_registry *reg, hf_reg_gateway_visit visit, void *context)
{
	struct visitor visitor = {visit, context};

	return hf_sql_run(
		sqlite_of(reg), read_each, &visitor,
		"SELECT " COLUMNS " FROM gateways g WHERE g.state = 3 AND g.generation > 0 "
		"AND NOT EXISTS (SELECT 1 FROM documents d, meta m WHERE d.gateway = g.id "
		"AND d.incarnation = m.incarnation AND d.generation = g.generation) "
		"ORDER BY g.id",
		"");
}
