/* What a gateway may have been told (column told of gateways: up to which generation), and what it
 * told of itself that a registry restored from a backup does not know. So nothing has to be said
 * about a volume that came and went while its gateway was away. The registry's thread. */
#include "provider/registry/internal.h"
#include "provider/registry/told.h"

#define ABOVE_MAX "4294967296" /* nobody counts that far; more is not believed */

int hf_registry_gateway_told(struct hf_registry *reg, uint64_t id, uint64_t epoch,
			     uint64_t generation)
{
	struct hf_reg_gateway gateway;
	/* The conditions are on the row itself: a statement that waited for its lock looks again.
	 */
	int err = hf_db_change(reg->db,
			       "UPDATE gateways SET told = CASE WHEN told > $1 THEN told ELSE $1 "
			       "END WHERE id = $2 AND epoch = $3 AND least <= $1",
			       "iii", generation, id, epoch);

	if (err != HF_ENOENT)
		return err;
	err = hf_registry_gateway_get(reg, id, &gateway);
	if (err)
		return err;
	return gateway.epoch != epoch ? HF_EFENCED : HF_ESTALE;
}

int hf_registry_gateway_untold(struct hf_registry *reg, uint64_t id, uint64_t generation)
{
	int err = hf_db_change(reg->db, "UPDATE gateways SET least = $1 WHERE id = $2", "ii",
			       generation, id);

	HF_ASSERT(reg->db->in_transaction);
	if (!err)
		err = hf_db_run(reg->db, NULL, NULL, "DELETE FROM deltas WHERE gateway = $1", "i",
				id);
	if (!err)
		err = hf_db_run(reg->db, NULL, NULL, "DELETE FROM documents WHERE gateway = $1",
				"i", id);
	return err;
}

int hf_registry_gateway_sequence(struct hf_registry *reg, uint64_t id, uint64_t sequence)
{
	int err = hf_db_change(reg->db,
			       "UPDATE gateways SET sequence = $1 WHERE id = $2 AND sequence < $1",
			       "ii", sequence, id);

	return err == HF_ENOENT ? 0 : err;
}

int hf_registry_volume_epoch(struct hf_registry *reg, uint64_t id, uint64_t tenant,
			     uint64_t attach_epoch)
{
	int err;

	if (attach_epoch >= (uint64_t)INT64_MAX)
		return 0;
	err = hf_db_change(reg->db,
			   "UPDATE volumes SET attach_epoch = $1 WHERE id = $2 AND tenant = $3 "
			   "AND attach_epoch < $1 AND $1 - " ABOVE_MAX " < attach_epoch",
			   "iii", attach_epoch, id, tenant);
	return err == HF_ENOENT ? 0 : err;
}
