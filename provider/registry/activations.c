/* Table activations. The registry's thread. */
#include "provider/registry/internal.h"

#include <string.h>

#define COLUMNS                                                                                    \
	"number, digest, state, identity_key, sealing_key, expires_ms, wrong_tries, gateway, "     \
	"host, version, portal, request, certificate"

static int read_one(void *context, struct hf_db_row *row)
{
	struct hf_reg_activation *a = context;

	memset(a, 0, sizeof *a);
	hf_db_fixed(row, a->number, sizeof a->number);
	hf_db_fixed(row, a->check, sizeof a->check);
	a->state = (enum hf_reg_activation_state)hf_db_u64(row);
	hf_db_fixed(row, a->identity_key, sizeof a->identity_key);
	hf_db_fixed(row, a->sealing_key, sizeof a->sealing_key);
	a->expires_ms = hf_db_u64(row);
	a->wrong_tries = (uint32_t)hf_db_u64(row);
	a->gateway = hf_db_u64(row);
	hf_db_text(row, a->host, sizeof a->host);
	hf_db_text(row, a->version, sizeof a->version);
	hf_db_text(row, a->portal, sizeof a->portal);
	hf_db_blob(row, a->request, sizeof a->request, &a->request_length);
	hf_db_blob(row, a->certificate, sizeof a->certificate, &a->certificate_length);
	return 0;
}

int hf_registry_activation_put(struct hf_registry *reg, const struct hf_reg_activation *a)
{
	return hf_db_run(
		reg->db, NULL, NULL,
		"INSERT INTO activations (" COLUMNS
		") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) "
		"ON CONFLICT (number) DO UPDATE SET state = excluded.state, "
		"expires_ms = excluded.expires_ms, wrong_tries = excluded.wrong_tries, "
		"gateway = excluded.gateway, host = excluded.host, version = excluded.version, "
		"portal = excluded.portal, certificate = excluded.certificate",
		"bbibbiiitttbb", a->number, sizeof a->number, a->check, sizeof a->check,
		(uint64_t)a->state, a->identity_key, sizeof a->identity_key, a->sealing_key,
		sizeof a->sealing_key, a->expires_ms, (uint64_t)a->wrong_tries, a->gateway, a->host,
		a->version, a->portal, a->request, a->request_length, a->certificate,
		a->certificate_length);
}

int hf_registry_activation_get(struct hf_registry *reg, const uint8_t *number,
			       struct hf_reg_activation *activation)
{
	return hf_db_one(reg->db, read_one, activation,
			 "SELECT " COLUMNS " FROM activations WHERE number = $1", "b", number,
			 (size_t)HF_REG_NUMBER_SIZE);
}

int hf_registry_activation_by_identity(struct hf_registry *reg, const uint8_t *identity_key,
				       struct hf_reg_activation *activation)
{
	return hf_db_one(reg->db, read_one, activation,
			 "SELECT " COLUMNS " FROM activations WHERE identity_key = $1", "b",
			 identity_key, (size_t)HF_REG_KEY_SIZE);
}

int hf_registry_activation_by_gateway(struct hf_registry *reg, uint64_t gateway,
				      struct hf_reg_activation *activation)
{
	return hf_db_one(reg->db, read_one, activation,
			 "SELECT " COLUMNS " FROM activations WHERE gateway = $1", "i", gateway);
}

int hf_registry_activation_purge(struct hf_registry *reg, uint64_t now_ms, unsigned *offered)
{
	uint64_t count = 0;
	bool own;
	int err = hf_db_enter(reg->db, &own);

	if (err)
		return err;
	err = hf_db_run(reg->db, NULL, NULL,
			"UPDATE gateways SET state = 4, reason = 'the activation key ran out "
			"before it was confirmed' WHERE state = 2 AND id IN (SELECT gateway FROM "
			"activations WHERE state = 2 AND expires_ms <= $1)",
			"i", now_ms);
	if (!err)
		err = hf_db_run(reg->db, NULL, NULL,
				"DELETE FROM activations WHERE state != 3 AND expires_ms <= $1",
				"i", now_ms);
	if (!err)
		err = hf_db_one(reg->db, hf_db_read_u64, &count,
				"SELECT count(*) FROM activations WHERE state = 1", "");
	*offered = (unsigned)count;
	return hf_db_leave(reg->db, own, err);
}
