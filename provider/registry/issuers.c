/* Table issuers: while one authority takes the place of another, which gateways are known to have a
 * certificate of which. The registry's thread. */
#include "provider/registry/internal.h"

int hf_registry_issuer_note(struct hf_registry *reg, uint64_t gateway,
			    const uint8_t authority[HF_REG_AUTHORITY_SIZE])
{
	return hf_db_run(reg->db, NULL, NULL,
			 "INSERT INTO issuers (gateway, authority) VALUES ($1, $2) "
			 "ON CONFLICT (gateway) DO UPDATE SET authority = excluded.authority "
			 "WHERE issuers.authority != excluded.authority",
			 "ib", gateway, authority, (size_t)HF_REG_AUTHORITY_SIZE);
}

struct visitor {
	hf_reg_gateway_visit visit;
	void *context;
};

static int read_dependent(void *context, struct hf_db_row *row)
{
	struct visitor *visitor = context;
	struct hf_reg_gateway gateway = {.id = hf_db_u64(row)};

	hf_db_text(row, gateway.name, sizeof gateway.name);
	return row->err ? row->err : visitor->visit(visitor->context, &gateway);
}

int hf_registry_issuer_visit_others(struct hf_registry *reg,
				    const uint8_t authority[HF_REG_AUTHORITY_SIZE],
				    hf_reg_gateway_visit visit, void *context)
{
	struct visitor visitor = {visit, context};

	return hf_db_run(reg->db, read_dependent, &visitor,
			 "SELECT g.id, g.name FROM gateways g WHERE g.state = 3 AND NOT EXISTS "
			 "(SELECT 1 FROM issuers i WHERE i.gateway = g.id AND i.authority = $1) "
			 "ORDER BY g.name, g.id",
			 "b", authority, (size_t)HF_REG_AUTHORITY_SIZE);
}
