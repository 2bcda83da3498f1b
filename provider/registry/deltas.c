/* Table deltas: how each gateway's newest document differs from the one before it. The registry's
 * thread. */
#include "provider/registry/internal.h"

#include <string.h>

int hf_registry_delta_put(struct hf_registry *reg, const struct hf_reg_delta *d)
{
	return hf_db_run(reg->db, NULL, NULL,
			 "INSERT INTO deltas (gateway, incarnation, generation, base_incarnation, "
			 "base_generation, base_hash, bytes) VALUES ($1, $2, $3, $4, $5, $6, $7) "
			 "ON CONFLICT (gateway) DO UPDATE SET incarnation = excluded.incarnation, "
			 "generation = excluded.generation, "
			 "base_incarnation = excluded.base_incarnation, "
			 "base_generation = excluded.base_generation, "
			 "base_hash = excluded.base_hash, bytes = excluded.bytes",
			 "iiiiibb", d->gateway, d->incarnation, d->generation, d->base_incarnation,
			 d->base_generation, d->base_hash, sizeof d->base_hash, d->bytes,
			 d->length);
}

static int read_delta(void *context, struct hf_db_row *row)
{
	struct hf_reg_delta *d = context;

	d->gateway = hf_db_u64(row);
	d->incarnation = hf_db_u64(row);
	d->generation = hf_db_u64(row);
	d->base_incarnation = hf_db_u64(row);
	d->base_generation = hf_db_u64(row);
	hf_db_fixed(row, d->base_hash, sizeof d->base_hash);
	d->bytes = hf_db_copy(row, &d->length);
	return 0;
}

int hf_registry_delta_get(struct hf_registry *reg, uint64_t gateway, struct hf_reg_delta *delta)
{
	memset(delta, 0, sizeof *delta);
	return hf_db_one(reg->db, read_delta, delta,
			 "SELECT gateway, incarnation, generation, base_incarnation, "
			 "base_generation, base_hash, bytes FROM deltas WHERE gateway = $1",
			 "i", gateway);
}
