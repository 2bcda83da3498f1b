/* Who a gateway is: revocation, the tokens that tell it from a copy of its disk, and the claimants
 * of one identity until somebody decides. The registry's thread. */
#include "provider/registry/internal.h"

#include <string.h>

int hf_registry_gateway_bump_all(struct hf_registry *reg)
{
	return hf_db_run(reg->db, NULL, NULL,
			 "UPDATE gateways SET generation = generation + 1 "
			 "WHERE state = 3 AND generation > 0",
			 "");
}

int hf_registry_activation_void(struct hf_registry *reg)
{
	return hf_db_run(reg->db, NULL, NULL,
			 "UPDATE activations SET expires_ms = 0 WHERE state IN (1, 2)", "");
}

int hf_registry_gateway_revoke(struct hf_registry *reg, uint64_t id, const char *reason,
			       uint64_t now_ms)
{
	return hf_db_change(reg->db,
			    "UPDATE gateways SET state = 5, reason = $1, barred_ms = $2 "
			    "WHERE id = $3",
			    "tii", reason, now_ms, id);
}

struct barred_visitor {
	int (*visit)(void *context, uint64_t gateway);
	void *context;
};

static int read_barred(void *context, struct hf_db_row *row)
{
	struct barred_visitor *visitor = context;

	return visitor->visit(visitor->context, hf_db_u64(row));
}

int hf_registry_barred_visit(struct hf_registry *reg, uint64_t since_ms,
			     int (*visit)(void *context, uint64_t gateway), void *context)
{
	struct barred_visitor visitor = {visit, context};

	return hf_db_run(reg->db, read_barred, &visitor,
			 "SELECT id FROM gateways WHERE barred_ms >= $1 AND barred_ms > 0", "i",
			 since_ms);
}

/* ---- Tokens ---- */

int hf_registry_ratchet_read(struct hf_db_row *row, struct hf_reg_ratchet *r)
{
	hf_db_blob(row, r->token, sizeof r->token, &r->token_length);
	hf_db_blob(row, r->others, sizeof r->others, &r->others_length);
	r->contested = hf_db_u64(row) != 0;
	r->known = true;
	return 0;
}

static int read_ratchet(void *context, struct hf_db_row *row)
{
	return hf_registry_ratchet_read(row, context);
}

static int get_ratchet(struct hf_registry *reg, uint64_t gateway, struct hf_reg_ratchet *r)
{
	return hf_db_one(reg->db, read_ratchet, r,
			 "SELECT token, previous, contested FROM ratchets WHERE gateway = $1", "i",
			 gateway);
}

static bool same(const uint8_t *a, size_t a_length, const uint8_t *b, size_t b_length)
{
	return a_length == b_length && (a_length == 0 || memcmp(a, b, a_length) == 0);
}

static bool is_candidate(const struct hf_reg_ratchet *r, const uint8_t *token, size_t length)
{
	if (same(token, length, r->token, r->token_length))
		return true;
	if (length == 0)
		return r->others_length % HF_REG_TOKEN_SIZE == 1;
	for (size_t at = 0; at + HF_REG_TOKEN_SIZE <= r->others_length; at += HF_REG_TOKEN_SIZE)
		if (same(token, length, r->others + at, HF_REG_TOKEN_SIZE))
			return true;
	return false;
}

enum hf_reg_shown hf_registry_ratchet_judge(const struct hf_reg_ratchet *r, const uint8_t *token,
					    size_t length)
{
	if (!r->known)
		return HF_REG_SHOWN_RIGHT;
	if (r->contested)
		return HF_REG_SHOWN_CONTESTED;
	return is_candidate(r, token, length) ? HF_REG_SHOWN_RIGHT : HF_REG_SHOWN_OTHER;
}

int hf_registry_token_check(struct hf_registry *reg, uint64_t gateway, const uint8_t *token,
			    size_t length, enum hf_reg_shown *shown)
{
	struct hf_reg_ratchet r = {.known = false};
	int err = get_ratchet(reg, gateway, &r);

	*shown = hf_registry_ratchet_judge(&r, token, length);
	return err == HF_ENOENT ? 0 : err;
}

/* The newest becomes one of the others; beyond the bound the oldest but one goes: the oldest is the
 * one that was known to be kept. */
static void push(struct hf_reg_ratchet *r)
{
	size_t none = r->others_length % HF_REG_TOKEN_SIZE, tokens = r->others_length - none;

	if (tokens == HF_REG_TOKENS_MAX * HF_REG_TOKEN_SIZE) {
		memmove(r->others + HF_REG_TOKEN_SIZE, r->others + 2 * HF_REG_TOKEN_SIZE,
			tokens - 2 * HF_REG_TOKEN_SIZE);
		tokens -= HF_REG_TOKEN_SIZE;
	}
	memcpy(r->others + tokens, r->token, r->token_length);
	tokens += r->token_length;
	memset(r->others + tokens, 0, none);
	r->others_length = tokens + none;
}

void hf_registry_ratchet_turn(struct hf_reg_ratchet *r, const uint8_t next[HF_REG_TOKEN_SIZE])
{
	if (r->known) {
		push(r);
	} else {
		r->others[0] = 0;
		r->others_length = 1;
	}
	r->known = true;
	memcpy(r->token, next, HF_REG_TOKEN_SIZE);
	r->token_length = HF_REG_TOKEN_SIZE;
}

int hf_registry_token_next(struct hf_registry *reg, uint64_t gateway,
			   const uint8_t next[HF_REG_TOKEN_SIZE])
{
	struct hf_reg_ratchet r = {.known = false};
	int err = get_ratchet(reg, gateway, &r);

	if (err && err != HF_ENOENT)
		return err;
	hf_registry_ratchet_turn(&r, next);
	return hf_db_run(reg->db, NULL, NULL, HF_REGISTRY_RATCHET_PUT, "ibb", gateway, r.token,
			 r.token_length, r.others, r.others_length);
}

int hf_registry_token_kept(struct hf_registry *reg, uint64_t gateway, uint64_t epoch)
{
	uint8_t none = 0;
	int err = hf_db_change(reg->db,
			       "UPDATE ratchets SET previous = $1 WHERE gateway = $2 AND EXISTS "
			       "(SELECT 1 FROM gateways WHERE id = $2 AND epoch = $3)",
			       "bii", &none, (size_t)0, gateway, epoch);

	return err == HF_ENOENT ? HF_EFENCED : err;
}

/* ---- Claimants ---- */

#define COLUMNS "gateway, number, token, boot, address, version, rejected, first_ms, last_ms"

struct claimants {
	struct hf_reg_claimant all[HF_REG_CLAIMANTS_MAX];
	unsigned count;
};

static int read_claimant(void *context, struct hf_db_row *row)
{
	struct claimants *claimants = context;
	struct hf_reg_claimant *c = &claimants->all[claimants->count];
	size_t boot_length;

	if (claimants->count == HF_REG_CLAIMANTS_MAX)
		return HF_ECORRUPT;
	memset(c, 0, sizeof *c);
	c->gateway = hf_db_u64(row);
	c->number = hf_db_u64(row);
	hf_db_blob(row, c->token, sizeof c->token, &c->token_length);
	hf_db_blob(row, c->boot, sizeof c->boot, &boot_length);
	hf_db_text(row, c->address, sizeof c->address);
	hf_db_text(row, c->version, sizeof c->version);
	c->rejected = hf_db_u64(row) != 0;
	c->first_ms = hf_db_u64(row);
	c->last_ms = hf_db_u64(row);
	claimants->count++;
	return 0;
}

static int read_all(struct hf_registry *reg, uint64_t gateway, struct claimants *claimants)
{
	claimants->count = 0;
	return hf_db_run(reg->db, read_claimant, claimants,
			 "SELECT " COLUMNS " FROM claimants WHERE gateway = $1 ORDER BY number",
			 "i", gateway);
}

static int put(struct hf_registry *reg, const struct hf_reg_claimant *c, uint64_t number)
{
	return hf_db_run(reg->db, NULL, NULL,
			 "INSERT INTO claimants (" COLUMNS
			 ") VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8) "
			 "ON CONFLICT (gateway, number) DO UPDATE SET boot = excluded.boot, "
			 "address = excluded.address, version = excluded.version, "
			 "last_ms = excluded.last_ms",
			 "iibbttii", c->gateway, number, c->token, c->token_length, c->boot,
			 sizeof c->boot, c->address, c->version, c->last_ms, c->last_ms);
}

/* From now on every process turns the gateway away; what was barred already stays so. */
static int contest(struct hf_registry *reg, uint64_t gateway, uint64_t now_ms)
{
	int err = hf_db_run(reg->db, NULL, NULL,
			    "UPDATE gateways SET barred_ms = $1 WHERE id = $2 AND EXISTS "
			    "(SELECT 1 FROM ratchets WHERE gateway = $2 AND contested = 0)",
			    "ii", now_ms, gateway);

	return err ? err
		   : hf_db_run(reg->db, NULL, NULL,
			       "UPDATE ratchets SET contested = 1 WHERE gateway = $1", "i",
			       gateway);
}

static int note(struct hf_registry *reg, const struct hf_reg_claimant *claimant)
{
	struct claimants known;
	uint64_t number = 0, highest = 0;
	int err = read_all(reg, claimant->gateway, &known);

	for (unsigned i = 0; !err && i < known.count; i++) {
		const struct hf_reg_claimant *c = &known.all[i];

		highest = c->number;
		if (!same(c->token, c->token_length, claimant->token, claimant->token_length))
			continue;
		if (c->rejected)
			return HF_EACCES;
		number = c->number;
	}
	if (!err)
		err = contest(reg, claimant->gateway, claimant->last_ms);
	if (!err && number == 0 && known.count == HF_REG_CLAIMANTS_MAX)
		return 0; /* contested all the same; the list is full */
	return err ? err : put(reg, claimant, number ? number : highest + 1);
}

int hf_registry_claimant_note(struct hf_registry *reg, const struct hf_reg_claimant *claimant)
{
	bool own;
	int err = hf_db_enter(reg->db, &own);

	if (err)
		return err;
	err = note(reg, claimant);
	return hf_db_leave(reg->db, own, err);
}

int hf_registry_claimant_visit(struct hf_registry *reg, uint64_t gateway,
			       int (*visit)(void *context, const struct hf_reg_claimant *claimant),
			       void *context)
{
	struct claimants known;
	int err = read_all(reg, gateway, &known);

	for (unsigned i = 0; !err && i < known.count; i++)
		err = visit(context, &known.all[i]);
	return err;
}

static int accept_claimant(struct hf_registry *reg, uint64_t gateway, uint64_t number)
{
	const struct hf_reg_claimant *chosen = NULL;
	struct claimants known;
	uint8_t none = 0;
	int err = read_all(reg, gateway, &known);

	for (unsigned i = 0; !err && i < known.count; i++)
		if (known.all[i].number == number)
			chosen = &known.all[i];
	if (err || !chosen)
		return err ? err : HF_ENOENT;
	err = hf_db_change(reg->db,
			   "UPDATE ratchets SET token = $1, previous = $2, contested = 0 "
			   "WHERE gateway = $3",
			   "bbi", chosen->token, chosen->token_length, &none, (size_t)0, gateway);
	if (!err)
		err = hf_db_run(reg->db, NULL, NULL,
				"DELETE FROM claimants WHERE gateway = $1 AND number = $2", "ii",
				gateway, number);
	if (!err)
		err = hf_db_run(reg->db, NULL, NULL,
				"UPDATE claimants SET rejected = 1 WHERE gateway = $1", "i",
				gateway);
	if (!err)
		err = hf_db_run(reg->db, NULL, NULL,
				"UPDATE gateways SET barred_ms = 0 WHERE id = $1", "i", gateway);
	return err;
}

int hf_registry_claimant_accept(struct hf_registry *reg, uint64_t gateway, uint64_t number)
{
	bool own;
	int err = hf_db_enter(reg->db, &own);

	if (err)
		return err;
	err = accept_claimant(reg, gateway, number);
	return hf_db_leave(reg->db, own, err);
}
