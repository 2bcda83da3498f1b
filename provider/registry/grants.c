/* Connection epochs (invariant 5): looked at, decided, and given, for many gateways at once. A
 * storm brings hundreds in one turn of a holder's loop; what is a statement each here travels as
 * one. The registry's thread. */
#include "provider/registry/internal.h"

#include <string.h>

#define LOOK                                                                                       \
	"SELECT g.tenant, g.state, g.epoch, g.identity_key, g.applied_incarnation, "               \
	"g.applied_generation, COALESCE(d.incarnation, 0), COALESCE(d.generation, 0), d.hash, "    \
	"(SELECT count(*) FROM (SELECT 1 FROM actions a WHERE a.gateway = g.id AND "               \
	"(a.state < 3 OR a.forgotten = 0) LIMIT 1) one), COALESCE(r.gateway, 0), r.token, "        \
	"r.previous, COALESCE(r.contested, 0) FROM gateways g "                                    \
	"LEFT JOIN documents d ON d.gateway = g.id LEFT JOIN ratchets r ON r.gateway = g.id "      \
	"WHERE g.id = $1"

static void fill_look(void *context, unsigned index, struct hf_db_value *values)
{
	struct hf_reg_grant *grants = context;

	values[0].number = grants[index].gateway;
}

static int read_look(void *context, unsigned index, struct hf_db_row *row)
{
	struct hf_reg_grant *grant = (struct hf_reg_grant *)context + index;
	size_t hash_length;
	bool known;

	grant->err = 0;
	grant->tenant = hf_db_u64(row);
	grant->state = (enum hf_reg_gateway_state)hf_db_u64(row);
	grant->epoch = hf_db_u64(row);
	hf_db_fixed(row, grant->identity_key, sizeof grant->identity_key);
	grant->applied_incarnation = hf_db_u64(row);
	grant->applied_generation = hf_db_u64(row);
	grant->document_incarnation = hf_db_u64(row);
	grant->document_generation = hf_db_u64(row);
	hf_db_blob(row, grant->document_hash, sizeof grant->document_hash, &hash_length);
	grant->has_actions = hf_db_u64(row) != 0;
	known = hf_db_u64(row) != 0;
	hf_registry_ratchet_read(row, &grant->ratchet);
	grant->ratchet.known = known;
	/* What is wrong with one gateway's rows must not keep the others out. */
	if (row->err == HF_ECORRUPT) {
		grant->err = row->err;
		row->err = 0;
	}
	return 0;
}

int hf_registry_grants_look(struct hf_registry *reg, struct hf_reg_grant *grants, unsigned count)
{
	struct hf_db_each each = {
		.sql = reg->db->driver->locks_rows ? LOOK " FOR NO KEY UPDATE OF g" : LOOK,
		.types = "i",
		.count = count,
		.fill = fill_look,
		.visit = read_look,
		.context = grants,
	};

	for (unsigned i = 0; i < count; i++) {
		grants[i].err = HF_ENOENT;
		grants[i].next_epoch = 0;
		grants[i].next_token = NULL;
	}
	return hf_db_each(reg->db, &each);
}

/* Epochs are kept in a signed column; nobody gets there by counting connections. Nor does a
 * database that was restored lack more than 2^32 of them: whoever holds a copy of the gateway's key
 * cannot use them up. */
static bool within_bounds(uint64_t named, uint64_t epoch)
{
	return named < (uint64_t)INT64_MAX && (named < epoch || named - epoch < 1ull << 32);
}

int hf_reg_grant_next(struct hf_reg_grant *grant, uint64_t named_epoch, bool promotion)
{
	if (grant->err)
		return grant->err;
	if (!within_bounds(named_epoch, grant->epoch))
		return HF_ERANGE;
	if (promotion && grant->epoch > named_epoch)
		return HF_EFENCED;
	grant->next_epoch = (grant->epoch > named_epoch ? grant->epoch : named_epoch) + 1;
	return 0;
}

enum hf_reg_shown hf_reg_grant_shown(const struct hf_reg_grant *grant, const uint8_t *token,
				     size_t length)
{
	return hf_registry_ratchet_judge(&grant->ratchet, token, length);
}

void hf_reg_grant_believe(struct hf_reg_grant *grant, const uint8_t *token, size_t length)
{
	struct hf_reg_ratchet *r = &grant->ratchet;

	HF_ASSERT(length <= sizeof r->token);
	if (length)
		memcpy(r->token, token, length);
	r->token_length = length;
	r->others_length = length == 0;
	r->others[0] = 0;
}

/* ---- Giving ---- */

#define GIVEN_AT_ONCE 256u

struct giving {
	const struct hf_reg_grant *given[GIVEN_AT_ONCE];
	struct hf_reg_ratchet ratchets[GIVEN_AT_ONCE];
	unsigned count;
	uint64_t now_ms, process;
};

static void fill_epoch(void *context, unsigned index, struct hf_db_value *values)
{
	const struct giving *giving = context;
	const struct hf_reg_grant *grant = giving->given[index];

	values[0].number = grant->next_epoch;
	values[1].number = giving->now_ms;
	values[2].bytes = grant->version;
	values[2].length = strlen(grant->version);
	values[3].number = giving->process;
	values[4].number = grant->applied_incarnation;
	values[5].number = grant->applied_generation;
	values[6].number = grant->gateway;
}

static void fill_token(void *context, unsigned index, struct hf_db_value *values)
{
	const struct giving *giving = context;
	const struct hf_reg_ratchet *ratchet = &giving->ratchets[index];

	values[0].number = giving->given[index]->gateway;
	values[1].bytes = ratchet->token;
	values[1].length = ratchet->token_length;
	values[2].bytes = ratchet->others;
	values[2].length = ratchet->others_length;
}

static int give_epochs(struct hf_registry *reg, struct giving *giving)
{
	/* Not RETURNING: SQLite gathers that in a table of its own, which costs more than all else
	 * of a grant. */
	struct hf_db_each each = {
		.sql = "UPDATE gateways SET epoch = $1, last_seen_ms = $2, version = $3, "
		       "process = $4, applied_incarnation = $5, applied_generation = $6, "
		       "work_done = work, looks = 0 WHERE id = $7",
		.types = "iitiiii",
		.count = giving->count,
		.fill = fill_epoch,
		.context = giving,
	};

	return hf_db_each(reg->db, &each);
}

static int give_tokens(struct hf_registry *reg, struct giving *giving)
{
	struct hf_db_each each = {.sql = HF_REGISTRY_RATCHET_PUT,
				  .types = "ibb",
				  .fill = fill_token,
				  .context = giving};

	for (unsigned i = 0; i < giving->count; i++) {
		const struct hf_reg_grant *grant = giving->given[i];

		if (!grant->next_token)
			continue;
		giving->given[each.count] = grant;
		giving->ratchets[each.count] = grant->ratchet;
		hf_registry_ratchet_turn(&giving->ratchets[each.count++], grant->next_token);
	}
	return hf_db_each(reg->db, &each);
}

static int give_some(struct hf_registry *reg, struct giving *giving)
{
	int err = give_epochs(reg, giving);

	if (!err)
		err = give_tokens(reg, giving);
	giving->count = 0;
	return err;
}

int hf_registry_grants_give(struct hf_registry *reg, const struct hf_reg_grant *grants,
			    unsigned count, uint64_t now_ms)
{
	struct giving giving = {.now_ms = now_ms, .process = reg->process};
	int err = 0;

	for (unsigned i = 0; i < count && !err; i++) {
		if (grants[i].next_epoch == 0)
			continue;
		giving.given[giving.count++] = &grants[i];
		if (giving.count == GIVEN_AT_ONCE)
			err = give_some(reg, &giving);
	}
	return err ? err : give_some(reg, &giving);
}

/* ---- One ---- */

static int give_one(struct hf_registry *reg, struct hf_reg_grant *grant, uint64_t named_epoch,
		    bool promotion, uint64_t now_ms)
{
	bool own;
	int err = hf_db_enter(reg->db, &own);

	if (err)
		return err;
	err = hf_registry_grants_look(reg, grant, 1);
	if (!err)
		err = hf_reg_grant_next(grant, named_epoch, promotion);
	if (!err)
		err = hf_registry_grants_give(reg, grant, 1, now_ms);
	return hf_db_leave(reg->db, own, err);
}

int hf_registry_gateway_grant(struct hf_registry *reg, uint64_t id, uint64_t at_least,
			      uint64_t now_ms, const char *version, uint64_t *epoch)
{
	struct hf_reg_grant grant = {.gateway = id, .version = version};
	int err = give_one(reg, &grant, at_least, false, now_ms);

	*epoch = grant.next_epoch;
	return err;
}

int hf_registry_gateway_promote(struct hf_registry *reg, uint64_t id, uint64_t known,
				uint64_t now_ms, const char *version, uint64_t *epoch)
{
	struct hf_reg_grant grant = {.gateway = id, .version = version};
	int err = give_one(reg, &grant, known, true, now_ms);

	*epoch = grant.next_epoch;
	return err;
}
