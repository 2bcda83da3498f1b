/* What the signer remembers of each gateway, so that neither its restart nor a provider with a
 * restored database makes it sign backwards: one file a gateway, replaced and synced before the
 * answer leaves (docs/protocol/provider.md, "The signer's ledger"). Signer's thread; blocks. */
#ifndef HF_PROVIDER_SIGNER_LEDGER_H
#define HF_PROVIDER_SIGNER_LEDGER_H

#include "base/err.h"
#include "proto/provider.pb-c.h"

/* Reads the entry of a gateway: 0 and `*entry`, freed with
 * holdfast__signer_ledger__free_unpacked(entry, NULL); HF_ENOENT; HF_ECORRUPT. */
int hf_ledger_load(const char *folder, uint64_t gateway, Holdfast__SignerLedger **entry,
		   struct hf_errmsg *message);
/* Durable when it returns 0. */
int hf_ledger_store(const char *folder, const Holdfast__SignerLedger *entry,
		    struct hf_errmsg *message);

#endif
