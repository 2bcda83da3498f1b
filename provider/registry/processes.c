/* Table processes: who serves this registry now. Each process writes its own row once a second; a
 * row whose beat does not change any more belongs to a process that died or cannot reach the
 * database. Whether it changed is for the reader to see: clocks of two machines are not compared.
 * The registry's thread. */
#include "provider/registry/internal.h"

#include <string.h>

#define COLUMNS "id, name, endpoint, beat_ms, held, parked, capacity, draining"

int hf_registry_process_beat(struct hf_registry *reg, const struct hf_reg_process *p, bool *fresh)
{
	int err = hf_db_change(reg->db,
			       "UPDATE processes SET beat_ms = $1, held = $2, parked = $3, "
			       "capacity = $4, draining = $5 WHERE id = $6",
			       "iiiiii", p->beat_ms, p->held, p->parked, p->capacity,
			       (uint64_t)p->draining, reg->process);

	*fresh = err == HF_ENOENT;
	return *fresh ? hf_db_run(reg->db, NULL, NULL,
				  "INSERT INTO processes (" COLUMNS
				  ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
				  "ittiiiii", reg->process, p->name, p->endpoint, p->beat_ms,
				  p->held, p->parked, p->capacity, (uint64_t)p->draining)
		      : err;
}

struct visitor {
	hf_reg_process_visit visit;
	void *context;
};

static int read_each(void *context, struct hf_db_row *row)
{
	struct visitor *visitor = context;
	struct hf_reg_process p;

	memset(&p, 0, sizeof p);
	p.id = hf_db_u64(row);
	hf_db_text(row, p.name, sizeof p.name);
	hf_db_text(row, p.endpoint, sizeof p.endpoint);
	p.beat_ms = hf_db_u64(row);
	p.held = hf_db_u64(row);
	p.parked = hf_db_u64(row);
	p.capacity = hf_db_u64(row);
	p.draining = hf_db_u64(row) != 0;
	return row->err ? row->err : visitor->visit(visitor->context, &p);
}

int hf_registry_process_visit(struct hf_registry *reg, hf_reg_process_visit visit, void *context)
{
	struct visitor visitor = {visit, context};

	return hf_db_run(reg->db, read_each, &visitor,
			 "SELECT " COLUMNS " FROM processes ORDER BY endpoint, id", "");
}

int hf_registry_process_forget(struct hf_registry *reg, uint64_t id, uint64_t seen_ms)
{
	bool own;
	int err = hf_db_enter(reg->db, &own);

	if (err)
		return err;
	err = hf_db_run(reg->db, NULL, NULL, "DELETE FROM processes WHERE id = $1", "i", id);
	if (!err)
		err = hf_db_run(reg->db, NULL, NULL,
				"UPDATE gateways SET process = 0, last_seen_ms = CASE WHEN "
				"last_seen_ms > $1 THEN last_seen_ms ELSE $1 END "
				"WHERE process = $2",
				"ii", seen_ms, id);
	return hf_db_leave(reg->db, own, err);
}
