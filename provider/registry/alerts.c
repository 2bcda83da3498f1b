/* Tables lost and alerts: which gateways are lost, and what has to be told out of band about it. An
 * alert is written in the transaction that makes its reason true, so that it is told whatever
 * happens to the process, and by one process only. The registry's thread. */
#include "provider/registry/alerts.h"
#include "provider/registry/internal.h"

static const char raise_sql[] =
	"INSERT INTO alerts (gateway, kind, at_ms, detail, attempts, due_ms) "
	"VALUES ($1, $2, $3, $4, 0, $3)";

/* The oldest goes when there are more than HF_REG_ALERTS_MAX. Counted by what waits: numbers say
 * nothing of that, since those that were taken leave gaps. */
static int put_alert(struct hf_registry *reg, uint64_t gateway, enum hf_reg_alert_kind kind,
		     uint64_t now_ms, const char *detail, bool *dropped)
{
	int err = hf_db_run(reg->db, NULL, NULL, raise_sql, "iiit", gateway, (uint64_t)kind, now_ms,
			    detail);

	*dropped = false;
	if (err)
		return err;
	err = hf_db_change(reg->db,
			   "DELETE FROM alerts WHERE number <= "
			   "(SELECT number FROM alerts ORDER BY number DESC LIMIT 1 OFFSET $1)",
			   "i", (uint64_t)HF_REG_ALERTS_MAX);
	*dropped = err == 0;
	return err == HF_ENOENT ? 0 : err;
}

int hf_registry_gateway_lost(struct hf_registry *reg, uint64_t gateway, uint64_t epoch,
			     uint64_t now_ms, const char *detail, bool *dropped)
{
	bool own;
	int err = hf_db_enter(reg->db, &own);

	if (err)
		return err;
	err = hf_registry_fence(reg, gateway, epoch);
	if (!err) {
		err = hf_db_change(reg->db,
				   "INSERT INTO lost (gateway, at_ms) VALUES ($1, $2) "
				   "ON CONFLICT (gateway) DO NOTHING",
				   "ii", gateway, now_ms);
		err = err == HF_ENOENT ? HF_EEXIST : err;
	}
	if (!err)
		err = put_alert(reg, gateway, HF_REG_ALERT_LOST, now_ms, detail, dropped);
	return hf_db_leave(reg->db, own, err);
}

int hf_registry_gateway_found(struct hf_registry *reg, uint64_t gateway, uint64_t now_ms,
			      const char *detail, bool *dropped)
{
	bool own;
	int err = hf_db_enter(reg->db, &own);

	if (err)
		return err;
	err = hf_db_change(reg->db, "DELETE FROM lost WHERE gateway = $1", "i", gateway);
	if (!err)
		err = put_alert(reg, gateway, HF_REG_ALERT_FOUND, now_ms, detail, dropped);
	return hf_db_leave(reg->db, own, err);
}

int hf_registry_lost_since(struct hf_registry *reg, uint64_t gateway, uint64_t *at_ms)
{
	return hf_db_one(reg->db, hf_db_read_u64, at_ms,
			 "SELECT at_ms FROM lost WHERE gateway = $1", "i", gateway);
}

struct lost_visit {
	int (*visit)(void *context, uint64_t gateway);
	void *context;
};

static int visit_lost(void *context, struct hf_db_row *row)
{
	const struct lost_visit *visit = context;
	uint64_t gateway = hf_db_u64(row);

	return row->err ? row->err : visit->visit(visit->context, gateway);
}

int hf_registry_lost_visit(struct hf_registry *reg, int (*visit)(void *context, uint64_t gateway),
			   void *context)
{
	struct lost_visit wrapped = {visit, context};

	return hf_db_run(reg->db, visit_lost, &wrapped, "SELECT gateway FROM lost ORDER BY gateway",
			 "");
}

static int read_alert(void *context, struct hf_db_row *row)
{
	struct hf_reg_alert *alert = context;

	alert->number = hf_db_u64(row);
	alert->gateway = hf_db_u64(row);
	alert->kind = (enum hf_reg_alert_kind)hf_db_u64(row);
	alert->at_ms = hf_db_u64(row);
	hf_db_text(row, alert->detail, sizeof alert->detail);
	alert->attempts = hf_db_u64(row);
	alert->due_ms = hf_db_u64(row);
	return 0;
}

int hf_registry_alert_take(struct hf_registry *reg, uint64_t now_ms, uint64_t until_ms,
			   struct hf_reg_alert *alert)
{
	bool own;
	int err = hf_db_enter(reg->db, &own);

	if (err)
		return err;
	err = hf_db_one(reg->db, read_alert, alert,
			"SELECT number, gateway, kind, at_ms, detail, attempts, due_ms FROM alerts "
			"WHERE due_ms <= $1 ORDER BY number LIMIT 1",
			"i", now_ms);
	/* Another process may have taken it between the two. */
	if (!err)
		err = hf_db_change(reg->db,
				   "UPDATE alerts SET due_ms = $1, attempts = attempts + 1 "
				   "WHERE number = $2 AND due_ms = $3",
				   "iii", until_ms, alert->number, alert->due_ms);
	if (!err)
		alert->attempts++;
	return hf_db_leave(reg->db, own, err);
}

int hf_registry_alert_later(struct hf_registry *reg, uint64_t number, uint64_t due_ms)
{
	return hf_db_change(reg->db, "UPDATE alerts SET due_ms = $1 WHERE number = $2", "ii",
			    due_ms, number);
}

int hf_registry_alert_done(struct hf_registry *reg, uint64_t number)
{
	return hf_db_change(reg->db, "DELETE FROM alerts WHERE number = $1", "i", number);
}

int hf_registry_alert_count(struct hf_registry *reg, uint64_t *count)
{
	return hf_db_one(reg->db, hf_db_read_u64, count, "SELECT COUNT(*) FROM alerts", "");
}

struct unheld_visit {
	int (*visit)(void *context, uint64_t gateway, uint64_t epoch);
	void *context;
};

static int visit_unheld(void *context, struct hf_db_row *row)
{
	const struct unheld_visit *visit = context;
	uint64_t gateway = hf_db_u64(row), epoch = hf_db_u64(row);

	return row->err ? row->err : visit->visit(visit->context, gateway, epoch);
}

int hf_registry_unheld_visit(struct hf_registry *reg, uint64_t before_ms,
			     int (*visit)(void *context, uint64_t gateway, uint64_t epoch),
			     void *context)
{
	struct unheld_visit wrapped = {visit, context};

	return hf_db_run(reg->db, visit_unheld, &wrapped,
			 "SELECT id, epoch FROM gateways WHERE process = 0 AND state = $1 AND "
			 "epoch > 0 AND last_seen_ms < $2 AND NOT EXISTS "
			 "(SELECT 1 FROM lost WHERE lost.gateway = gateways.id) ORDER BY id",
			 "ii", (uint64_t)HF_REG_GATEWAY_ACTIVE, before_ms);
}
