/* Tables networks and network_secrets: how each gateway is to reach the provider, and with which
 * credentials of its proxy, encrypted by the signer. The registry's thread. */
#include "provider/registry/internal.h"

#include <string.h>

static int put_secret(struct hf_registry *reg, const struct hf_reg_network *network)
{
	int err = hf_db_run(reg->db, NULL, NULL, "DELETE FROM network_secrets WHERE gateway = $1",
			    "i", network->gateway);

	if (err || network->sealed_length == 0)
		return err;
	return hf_db_run(reg->db, NULL, NULL, "INSERT INTO network_secrets VALUES ($1, $2, $3)",
			 "iib", network->gateway, network->version, network->sealed,
			 network->sealed_length);
}

int hf_registry_network_put(struct hf_registry *reg, const struct hf_reg_network *network)
{
	bool own;
	int err = hf_db_enter(reg->db, &own);

	if (err)
		return err;
	err = hf_db_run(reg->db, NULL, NULL,
			"INSERT INTO networks (gateway, version, endpoints, proxy, confirm_ms) "
			"VALUES ($1, $2, $3, $4, $5) ON CONFLICT (gateway) DO UPDATE SET "
			"version = excluded.version, endpoints = excluded.endpoints, "
			"proxy = excluded.proxy, confirm_ms = excluded.confirm_ms",
			"iitti", network->gateway, network->version, network->endpoints,
			network->proxy, (uint64_t)network->confirm_ms);
	if (!err)
		err = put_secret(reg, network);
	return hf_db_leave(reg->db, own, err);
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

static int read_secret(void *context, struct hf_db_row *row)
{
	struct hf_reg_network *network = context;

	hf_db_blob(row, network->sealed, sizeof network->sealed, &network->sealed_length);
	return 0;
}

int hf_registry_network_get(struct hf_registry *reg, uint64_t gateway,
			    struct hf_reg_network *network)
{
	int err;

	memset(network, 0, sizeof *network);
	err = hf_db_one(reg->db, read_network, network,
			"SELECT gateway, version, endpoints, proxy, confirm_ms FROM networks "
			"WHERE gateway = $1",
			"i", gateway);
	if (err)
		return err;
	err = hf_db_one(reg->db, read_secret, network,
			"SELECT sealed FROM network_secrets WHERE gateway = $1 AND version = $2",
			"ii", gateway, network->version);
	return err == HF_ENOENT ? 0 : err;
}
