/* Table processes: who serves this registry now. Each process writes its own row once a second; a
 * row whose beat does not change any more belongs to a process that died or cannot reach the
 * database. Whether it changed is for the reader to see: clocks of two machines are not compared.
 * The registry's thread. */
#include "provider/registry/internal.h"

#include <string.h>

#define COLUMNS "id, name, endpoint, beat_ms, held, parked, capacity, draining"

int hf_registry_process_beat(struct hf_registry *reg, const struct hf_reg_process *p)
{
	return hf_db_run(reg->db, NULL, NULL,
			 "INSERT INTO processes (" COLUMNS
			 ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8) "
			 "ON CONFLICT (id) DO UPDATE SET beat_ms = excluded.beat_ms, "
			 "held = excluded.held, parked = excluded.parked, "
			 "capacity = excluded.capacity, draining = excluded.draining",
			 "ittiiiii", reg->process, p->name, p->endpoint, p->beat_ms, p->held,
			 p->parked, p->capacity, (uint64_t)p->draining);
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

int hf_registry_process_forget(struct hf_registry *reg, uint64_t id)
{
	bool own;
	int err = hf_db_enter(reg->db, &own);

	if (err)
		return err;
	err = hf_db_run(reg->db, NULL, NULL, "DELETE FROM processes WHERE id = $1", "i", id);
	if (!err)
		err = hf_db_run(reg->db, NULL, NULL,
				"UPDATE gateways SET process = 0 WHERE process = $1", "i", id);
	return hf_db_leave(reg->db, own, err);
}
