/* Table actions: what is to be done once at a gateway, and what became of it. Of one gateway they
 * are signed and sent in the order of their numbers. The registry's thread. */
#include "provider/registry/internal.h"

#include <stdlib.h>
#include <string.h>

#define COLUMNS                                                                                    \
	"number, gateway, kind, tgtd, state, who, created_ms, expires_ms, ended_ms, sent, "        \
	"forgotten, outcome, error, reason"

void hf_reg_action_free(struct hf_reg_action *action)
{
	free(action->document);
	free(action->packet);
	free(action->report);
	action->document = action->packet = action->report = NULL;
}

static void read_row(struct hf_db_row *row, struct hf_reg_action *action)
{
	memset(action, 0, sizeof *action);
	action->number = hf_db_u64(row);
	action->gateway = hf_db_u64(row);
	action->kind = (uint32_t)hf_db_u64(row);
	action->tgtd = (uint32_t)hf_db_u64(row);
	action->state = (enum hf_reg_action_state)hf_db_u64(row);
	hf_db_text(row, action->who, sizeof action->who);
	action->created_ms = hf_db_u64(row);
	action->expires_ms = hf_db_u64(row);
	action->ended_ms = hf_db_u64(row);
	action->sent = hf_db_u64(row);
	action->forgotten = hf_db_u64(row) != 0;
	action->outcome = (uint32_t)hf_db_u64(row);
	action->error = (int32_t)hf_db_u64(row);
	hf_db_text(row, action->reason, sizeof action->reason);
}

static int read_whole(void *context, struct hf_db_row *row)
{
	struct hf_reg_action *action = context;

	read_row(row, action);
	action->document = hf_db_copy(row, &action->document_length);
	action->packet = hf_db_copy(row, &action->packet_length);
	action->report = hf_db_copy(row, &action->report_length);
	return 0;
}

/* Frees what an error left behind. */
static int whole(struct hf_reg_action *action, int err)
{
	if (err)
		hf_reg_action_free(action);
	return err;
}

/* ---- Requesting ---- */

static int insert(struct hf_registry *reg, struct hf_reg_action *action, uint64_t now_ms)
{
	uint64_t open, last;
	int err = hf_db_one(reg->db, hf_db_read_u64, &open,
			    "SELECT COUNT(*) FROM actions WHERE gateway = $1 AND state < 3", "i",
			    action->gateway);

	if (!err && open >= HF_REG_ACTIONS_OPEN_MAX)
		err = HF_EBUSY;
	/* The newest of all is never removed, so that its number is not given again; and a database
	 * that was restored goes on above what it forgot, by the clock. */
	if (!err)
		err = hf_db_one(reg->db, hf_db_read_u64, &last,
				"SELECT COALESCE(MAX(number), 0) FROM actions", "");
	if (err)
		return err;
	action->number = last + 1 > now_ms ? last + 1 : now_ms;
	return hf_db_run(
		reg->db, NULL, NULL,
		"INSERT INTO actions (number, gateway, kind, tgtd, state, who, created_ms, "
		"expires_ms, document, packet, report) "
		"VALUES ($1, $2, $3, $4, 1, $5, $6, $7, $8, $9, $10)",
		"iiiitiibbb", action->number, action->gateway, (uint64_t)action->kind,
		(uint64_t)action->tgtd, action->who, now_ms, action->expires_ms,
		action->document_length ? action->document : (const uint8_t *)"",
		action->document_length, "", (size_t)0, "", (size_t)0);
}

int hf_registry_action_add(struct hf_registry *reg, struct hf_reg_action *action, uint64_t now_ms)
{
	bool own;
	int err = hf_db_enter(reg->db, &own);

	if (err)
		return err;
	err = insert(reg, action, now_ms);
	if (!err)
		err = hf_db_run(reg->db, NULL, NULL,
				"DELETE FROM actions WHERE gateway = $1 AND state = 3 AND "
				"forgotten = 1 AND number <= (SELECT number FROM actions WHERE "
				"gateway = $1 ORDER BY number DESC LIMIT 1 OFFSET $2)",
				"ii", action->gateway, (uint64_t)HF_REG_ACTIONS_KEPT);
	return hf_db_leave(reg->db, own, err);
}

/* ---- Looking ---- */

int hf_registry_action_get(struct hf_registry *reg, uint64_t number, struct hf_reg_action *action)
{
	memset(action, 0, sizeof *action);
	return whole(action, hf_db_one(reg->db, read_whole, action,
				       "SELECT " COLUMNS ", document, packet, report "
				       "FROM actions WHERE number = $1",
				       "i", number));
}

struct visitor {
	hf_reg_action_visit visit;
	void *context;
};

static int read_each(void *context, struct hf_db_row *row)
{
	struct visitor *visitor = context;
	struct hf_reg_action action;

	read_row(row, &action);
	return row->err ? row->err : visitor->visit(visitor->context, &action);
}

int hf_registry_action_visit(struct hf_registry *reg, uint64_t gateway, uint64_t limit,
			     hf_reg_action_visit visit, void *context)
{
	struct visitor visitor = {visit, context};

	if (gateway == 0)
		return hf_db_run(reg->db, read_each, &visitor,
				 "SELECT " COLUMNS " FROM actions ORDER BY number DESC LIMIT $1",
				 "i", limit);
	return hf_db_run(reg->db, read_each, &visitor,
			 "SELECT " COLUMNS
			 " FROM actions WHERE gateway = $1 ORDER BY number DESC LIMIT $2",
			 "ii", gateway, limit);
}

/* ---- Signing ---- */

static int read_unsigned(void *context, struct hf_db_row *row)
{
	struct visitor *visitor = context;
	struct hf_reg_action action;
	int err;

	read_row(row, &action);
	action.document = hf_db_copy(row, &action.document_length);
	err = row->err ? row->err : visitor->visit(visitor->context, &action);
	hf_reg_action_free(&action);
	return err;
}

int hf_registry_action_unsigned(struct hf_registry *reg, uint64_t limit, hf_reg_action_visit visit,
				void *context)
{
	struct visitor visitor = {visit, context};

	/* `state < 3` is that of the index actions_open. */
	return hf_db_run(reg->db, read_unsigned, &visitor,
			 "SELECT " COLUMNS
			 ", document FROM actions WHERE number IN (SELECT MIN(number) FROM actions "
			 "WHERE state < 3 AND state = 1 GROUP BY gateway) ORDER BY number LIMIT $1",
			 "i", limit);
}

/* The gateway of an action that has this state, locked until the transaction ends: what is signed
 * and what is to be signed anew is judged by one process at a time. */
static int lock_gateway_of(struct hf_registry *reg, uint64_t number, uint64_t state,
			   uint64_t *gateway)
{
	int err = hf_db_one(reg->db, hf_db_read_u64, gateway,
			    "SELECT gateway FROM actions WHERE number = $1 AND state = $2", "ii",
			    number, state);

	return err ? err : hf_registry_work_add(reg, *gateway);
}

static int store_signed(struct hf_registry *reg, uint64_t number, uint64_t sequence,
			const uint8_t *packet, size_t length)
{
	uint64_t gateway, state;
	int err = lock_gateway_of(reg, number, HF_REG_ACTION_REQUESTED, &gateway);

	if (err)
		return err;
	err = hf_db_change(reg->db,
			   "UPDATE actions SET packet = $1, state = 2, sequence = $2 "
			   "WHERE number = $3 AND state = 1 AND NOT EXISTS "
			   "(SELECT 1 FROM actions b WHERE b.gateway = $4 AND "
			   "(b.sequence >= $2 OR (b.number < $3 AND b.state = 1)))",
			   "biii", packet, length, sequence, number, gateway);
	if (err != HF_ENOENT)
		return err;
	err = hf_db_one(reg->db, hf_db_read_u64, &state,
			"SELECT state FROM actions WHERE number = $1", "i", number);
	if (err || state != HF_REG_ACTION_REQUESTED)
		return err ? err : HF_ENOENT;
	/* The signer's ledger may have been restored: it goes on above all that was signed. */
	err = hf_db_run(reg->db, NULL, NULL,
			"UPDATE gateways SET sequence = (SELECT MAX(sequence) FROM actions WHERE "
			"gateway = $1) WHERE id = $1 AND sequence < (SELECT MAX(sequence) FROM "
			"actions WHERE gateway = $1)",
			"i", gateway);
	return err ? err : HF_ESTALE;
}

int hf_registry_action_signed(struct hf_registry *reg, uint64_t number, uint64_t sequence,
			      const uint8_t *packet, size_t length)
{
	bool own;
	int err = hf_db_enter(reg->db, &own);

	if (err)
		return err;
	err = store_signed(reg, number, sequence, packet, length);
	return hf_db_leave(reg->db, own, err);
}

/* ---- Sending ---- */

int hf_registry_action_next(struct hf_registry *reg, uint64_t gateway, struct hf_reg_action *action)
{
	memset(action, 0, sizeof *action);
	return whole(action, hf_db_one(reg->db, read_whole, action,
				       "SELECT " COLUMNS ", document, packet, report FROM actions "
				       "WHERE gateway = $1 AND state < 3 ORDER BY number LIMIT 1",
				       "i", gateway));
}

int hf_registry_action_sent(struct hf_registry *reg, uint64_t number, uint64_t gateway,
			    uint64_t epoch)
{
	bool own;
	int err = hf_db_enter(reg->db, &own);

	if (err)
		return err;
	err = hf_registry_fence(reg, gateway, epoch);
	if (!err)
		err = hf_db_change(reg->db,
				   "UPDATE actions SET sent = sent + 1 WHERE number = $1 AND "
				   "state = 2",
				   "i", number);
	return hf_db_leave(reg->db, own, err);
}

int hf_registry_action_unsign(struct hf_registry *reg, uint64_t number)
{
	uint64_t gateway;
	bool own;
	int err = hf_db_enter(reg->db, &own);

	if (err)
		return err;
	err = lock_gateway_of(reg, number, HF_REG_ACTION_READY, &gateway);
	/* Those behind it too: signed before it, they would come with a sequence that is past. */
	if (!err)
		err = hf_db_change(reg->db,
				   "UPDATE actions SET state = 1 WHERE number >= $1 AND "
				   "state = 2 AND gateway = $2",
				   "ii", number, gateway);
	return hf_db_leave(reg->db, own, err);
}

/* ---- Ending ---- */

int hf_registry_action_end(struct hf_registry *reg, uint64_t epoch,
			   const struct hf_reg_action *action, uint64_t now_ms)
{
	bool own;
	int err = hf_db_enter(reg->db, &own);

	if (err)
		return err;
	if (epoch)
		err = hf_registry_fence(reg, action->gateway, epoch);
	if (!err)
		err = hf_db_change(
			reg->db,
			"UPDATE actions SET state = 3, outcome = $1, error = $2, reason = $3, "
			"report = $4, forgotten = $5, ended_ms = $6, document = $7, packet = $8 "
			"WHERE number = $9 AND state < 3",
			"iitbiibbi", (uint64_t)action->outcome, (uint64_t)action->error,
			action->reason,
			action->report_length ? action->report : (const uint8_t *)"",
			action->report_length, (uint64_t)action->forgotten, now_ms, "", (size_t)0,
			"", (size_t)0, action->number);
	return hf_db_leave(reg->db, own, err);
}

int hf_registry_action_expire(struct hf_registry *reg, uint64_t now_ms, uint32_t outcome,
			      int32_t error, const char *reason)
{
	return hf_db_run(reg->db, NULL, NULL,
			 "UPDATE actions SET state = 3, outcome = $1, error = $2, reason = $3, "
			 "forgotten = 1, ended_ms = $4 WHERE state < 3 AND sent = 0 AND "
			 "expires_ms > 0 AND expires_ms <= $4",
			 "iiti", (uint64_t)outcome, (uint64_t)error, reason, now_ms);
}

/* ---- Forgetting ---- */

int hf_registry_action_forgettable(struct hf_registry *reg, uint64_t gateway, uint64_t *number)
{
	/* Never past one that has not ended. */
	return hf_db_one(reg->db, hf_db_read_u64, number,
			 "SELECT COALESCE(MAX(number), 0) FROM actions WHERE gateway = $1 AND "
			 "state = 3 AND forgotten = 0 AND number < COALESCE((SELECT MIN(number) "
			 "FROM actions WHERE gateway = $1 AND state < 3), 9223372036854775807)",
			 "i", gateway);
}

int hf_registry_action_forgotten(struct hf_registry *reg, uint64_t gateway, uint64_t number)
{
	return hf_db_run(reg->db, NULL, NULL,
			 "UPDATE actions SET forgotten = 1 WHERE gateway = $1 AND number <= $2 AND "
			 "state = 3 AND forgotten = 0",
			 "ii", gateway, number);
}
