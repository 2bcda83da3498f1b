/* The signer: sole owner of the authority's key, the key that signs changes, and the key under
 * which secrets lie in the registry. Its core, without a socket: one question in, one answer out.
 * One thread; blocks for the disk. Nothing that it logs or puts into a reason is a secret.
 *
 * In its state folder (0700, files 0600): ca.key, ca.crt, sign.key, secrets.key, and ledger.db
 * (ledger.h), made at the first start; ca-N.key of an authority that followed. */
#ifndef HF_PROVIDER_SIGNER_SIGNER_H
#define HF_PROVIDER_SIGNER_SIGNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/seal.h"
#include "net/sign.h"
#include "proto/provider.pb-c.h"

#define HF_SIGNER_VOLUMES_MAX 4096u /* in one document, tombstones included */
#define HF_SIGNER_BATCH_MAX   1024u /* orders in one question */

#define HF_SIGNER_AUTHORITY_SECONDS (20ull * 365 * 86400) /* life of an authority */

struct hf_signer;

struct hf_signer_config {
	const char *state_dir;
	uint64_t gateway_days; /* life of a gateway's certificate */
	uint64_t server_days;  /* life of the provider's own */
	bool no_approval;      /* new gateways get certificates without an administrator's word */
};

enum hf_signer_asker {
	HF_SIGNER_PROVIDER,      /* whatever a provider that was taken over may ask as well */
	HF_SIGNER_ADMINISTRATOR, /* and approvals, rotations, retirement by force: it may not */
};

/* Opens the keys, or makes them when the folder has none at all. A folder in which one is missing
 * is refused (HF_ECORRUPT): a new one would lock out every gateway. */
int hf_signer_open(const struct hf_signer_config *config, struct hf_signer **signer,
		   struct hf_errmsg *message);
void hf_signer_close(struct hf_signer *signer);

/* Answers an encoded SignerRequest with a malloc'ed encoded SignerAnswer; NULL only when memory is
 * out. What the answer reports as signed is remembered durably. */
uint8_t *hf_signer_answer(struct hf_signer *signer, enum hf_signer_asker asker,
			  const uint8_t *request, size_t request_length, size_t *answer_length);

#endif
