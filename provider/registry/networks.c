/* Table networks: how each gateway is to reach the provider. The registry's thread. */
#include "provider/registry/internal.h"

#include <string.h>

int hf_registry_network_put(struct hf_registry *reg, const struct hf_reg_network *network)
{
	return hf_db_run(reg->db, NULL, NULL,
			 "INSERT INTO networks (gateway, version, endpoints, proxy, confirm_ms) "
			 "VALUES ($1, $2, $3, $4, $5) ON CONFLICT (gateway) DO UPDATE SET "
			 "version = excluded.version, endpoints = excluded.endpoints, "
			 "proxy = excluded.proxy, confirm_ms = excluded.confirm_ms",
			 "iitti", network->gateway, network->version, network->endpoints,
			 network->proxy, (uint64_t)network->confirm_ms);
}

static int read_network(void *context, struct hf_db_row *row)
{
	struct hf_reg_network *network = context;

	network->gateway = hf_db_u64(row);
	network->version = hf_db_u64(row);
	hf_db_text(row, network->endpoints, sizeof network->endpoints);
	hf_db_text(row, network->proxy, sizeof network->proxy);
	network->confirm_ms = (uint32_t)hf_db_u64(row);
	return 0;
}

int hf_registry_network_get(struct hf_registry *reg, uint64_t gateway,
			    struct hf_reg_network *network)
{
	memset(network, 0, sizeof *network);
	return hf_db_one(reg->db, read_network, network,
			 "SELECT gateway, version, endpoints, proxy, confirm_ms FROM networks "
			 "WHERE gateway = $1",
			 "i", gateway);
}
