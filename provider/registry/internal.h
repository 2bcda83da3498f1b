/* Shared by the files of the registry. */
#ifndef HF_PROVIDER_REGISTRY_INTERNAL_H
#define HF_PROVIDER_REGISTRY_INTERNAL_H

#include "base/assert.h"
#include "provider/registry/db.h"
#include "provider/registry/grants.h"
#include "provider/registry/registry.h"

#define REGISTRY_MAGIC 0x72656779u

struct hf_registry {
	uint32_t magic;
	struct hf_db *db;
	uint64_t process;
};

/* The schema: creates it or brings an older one up to date. */
int hf_registry_migrate(struct hf_registry *reg, uint64_t now_ms, struct hf_errmsg *message);

/* For the rest of a transaction nobody else is granted an epoch of this gateway. HF_EFENCED if
 * `epoch` is not its highest, HF_ENOENT. */
int hf_registry_fence(struct hf_registry *reg, uint64_t gateway, uint64_t epoch);

/* ---- Tokens (identity.c) ---- */

/* Columns token, previous, contested. */
int hf_registry_ratchet_read(struct hf_db_row *row, struct hf_reg_ratchet *ratchet);
enum hf_reg_shown hf_registry_ratchet_judge(const struct hf_reg_ratchet *ratchet,
					    const uint8_t *token, size_t length);
/* `next` is given. */
void hf_registry_ratchet_turn(struct hf_reg_ratchet *ratchet,
			      const uint8_t next[HF_REG_TOKEN_SIZE]);
/* Parameters: gateway, token, others. */
#define HF_REGISTRY_RATCHET_PUT                                                                    \
	"INSERT INTO ratchets (gateway, token, previous, contested) VALUES ($1, $2, $3, 0) "       \
	"ON CONFLICT (gateway) DO UPDATE SET token = excluded.token, "                             \
	"previous = excluded.previous"

#endif
