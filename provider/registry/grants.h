/* Connection epochs for many gateways at once, and the tokens that go with them: a part of the
 * registry's interface (registry.h) that a holder uses. The registry's thread. */
#ifndef HF_PROVIDER_REGISTRY_GRANTS_H
#define HF_PROVIDER_REGISTRY_GRANTS_H

#include "provider/registry/registry.h"

#define HF_REG_TOKENS_MAX 8u /* that may be the last one kept */

/* Every token that was given since one was known to be kept, and that one, may be the last that the
 * gateway kept: it may have crashed at any moment, and what an earlier run of it said may be heard
 * late. In the row they stand behind each other, the newest apart; a single byte at the end says
 * that the gateway may have none. */
struct hf_reg_ratchet {
	bool known; /* it was given one */
	uint8_t token[HF_REG_TOKEN_SIZE], others[HF_REG_TOKENS_MAX * HF_REG_TOKEN_SIZE + 1];
	size_t token_length, others_length;
	bool contested;
};

/* Many grants at once: of everybody who came in one turn of a holder's loop. Within one
 * transaction: hf_registry_grants_look, then hf_reg_grant_next for those that are to have one, then
 * hf_registry_grants_give. A gateway is in it once. */
struct hf_reg_grant {
	uint64_t gateway;
	/* What the registry has of it; `err`: HF_ENOENT, HF_ECORRUPT (its rows
	 * cannot be read, which is in the way of no other), or 0. */
	int err;
	uint64_t tenant, epoch;
	enum hf_reg_gateway_state state;
	uint8_t identity_key[HF_REG_KEY_SIZE];
	struct hf_reg_ratchet ratchet;
	/* What there may be to send: the newest document's head (`document_generation` 0: none),
	 * and whether there are actions to send or to be forgotten. Later news is work for the
	 * holder. */
	uint64_t document_incarnation, document_generation;
	uint8_t document_hash[32];
	bool has_actions;
	/* What it is given; `next_epoch` 0: nothing. */
	uint64_t next_epoch;
	const char *version;
	uint64_t applied_incarnation, applied_generation; /* as looked at, unless it said more */
	const uint8_t
		*next_token; /* HF_REG_TOKEN_SIZE bytes, as hf_registry_token_next; NULL: none */
};
int hf_registry_grants_look(struct hf_registry *reg, struct hf_reg_grant *grants, unsigned count);
/* By the rules of hf_registry_gateway_grant, or, for a standby, hf_registry_gateway_promote. */
int hf_reg_grant_next(struct hf_reg_grant *grant, uint64_t named_epoch, bool promotion);
/* As hf_registry_token_check. */
enum hf_reg_shown hf_reg_grant_shown(const struct hf_reg_grant *grant, const uint8_t *token,
				     size_t length);
/* This token is right, whatever was known, and stays so beside what is given now: of a gateway that
 * is ahead of a restored registry. `length` 0: it has none. */
void hf_reg_grant_believe(struct hf_reg_grant *grant, const uint8_t *token, size_t length);
int hf_registry_grants_give(struct hf_registry *reg, const struct hf_reg_grant *grants,
			    unsigned count, uint64_t now_ms);

#endif
