/* Table activations of the SQLite registry. The registry's thread. */
#include "provider/registry/sqlite_internal.h"

#include <string.h>

#define COLUMNS                                                                                    \
	"number, digest, state, identity_key, sealing_key, expires_ms, wrong_tries, gateway, "     \
	"host, version, portal, request, certificate"

static int read_one(void *context, struct hf_sql_row *row)
{
	struct hf_reg_activation *a = context;

	memset(a, 0, sizeof *a);
	hf_sql_fixed(row, a->number, sizeof a->number);
	hf_sql_fixed(row, a->check, sizeof a->check);
	a->state = (enum hf_reg_activation_state)hf_sql_u64(row);
	hf_sql_fixed(row, a->identity_key, sizeof a->identity_key);
	hf_sql_fixed(row, a->sealing_key, sizeof a->sealing_key);
	a->expires_ms = hf_sql_u64(row);
	a->wrong_tries = (uint32_t)hf_sql_u64(row);
	a->gateway = hf_sql_u64(row);
	hf_sql_text(row, a->host, sizeof a->host);
	hf_sql_text(row, a->version, sizeof a->version);
	hf_sql_text(row, a->portal, sizeof a->portal);
	hf_sql_blob(row, a->request, sizeof a->request, &a->request_length);
	hf_sql_blob(row, a->certificate, sizeof a->certificate, &a->certificate_length);
	return 0;
}

int hf_sqlite_activation_put(struct hf_registry *reg, const struct hf_reg_activation *a)
{
	return hf_sql_run(
		sqlite_of(reg), NULL, NULL,
		"INSERT INTO activations (" COLUMNS
		") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
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

int hf_sqlite_activation_get(struct hf_registry *reg, const uint8_t *number,
			     struct hf_reg_activation *activation)
{
	return hf_sql_one(sqlite_of(reg), read_one, activation,
			  "SELECT " COLUMNS " FROM activations WHERE number = ?", "b", number,
			  (size_t)HF_REG_NUMBER_SIZE);
}

int hf_sqlite_activation_by_identity(struct hf_registry *reg, const uint8_t *identity_key,
				     struct hf_reg_activation *activation)
{
	return hf_sql_one(sqlite_of(reg), read_one, activation,
			  "SELECT " COLUMNS " FROM activations WHERE identity_key = ?", "b",
			  identity_key, (size_t)HF_REG_KEY_SIZE);
}

int hf_sqlite_activation_by_gateway(struct hf_registry *reg, uint64_t gateway,
				    struct hf_reg_activation *activation)
{
	return hf_sql_one(sqlite_of(reg), read_one, activation,
			  "SELECT " COLUMNS " FROM activations WHERE gateway = ?", "i", gateway);
}

static int read_count(void *context, struct hf_sql_row *row)
{
	*(unsigned *)context = (unsigned)hf_sql_u64(row);
	return 0;
}

int hf_sqlite_activation_purge(struct hf_registry *reg, uint64_t now_ms, unsigned *offered)
{
	struct sqlite_registry *s = sqlite_of(reg);
	int err = hf_sql_savepoint(s);

	if (err)
		return err;
	err = hf_sql_run(
		s, NULL, NULL,
		"UPDATE gateways SET state = 4, reason = 'the activation key ran out before "
		"it was confirmed' WHERE state = 2 AND id IN (SELECT gateway FROM "
		"activations WHERE state = 2 AND expires_ms <= ?)",
		"i", now_ms);
	if (!err)
		err = hf_sql_run(s, NULL, NULL,
				 "DELETE FROM activations WHERE state != 3 AND expires_ms <= ?",
				 "i", now_ms);
	if (!err)
		err = hf_sql_one(s, read_count, offered,
				 "SELECT count(*) FROM activations WHERE state = 1", "");
	return hf_sql_release(s, err);
}
