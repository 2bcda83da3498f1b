/* What a gateway was told, and what it says of itself that a restored registry does not know: part
 * of registry.h, whose rules hold for these calls too. */
#ifndef HF_PROVIDER_REGISTRY_TOLD_H
#define HF_PROVIDER_REGISTRY_TOLD_H

#include "provider/registry/registry.h"

/* Before a document of this generation is sent: the gateway may know of what is in it from now on.
 * (One that is stored while it is held counts as told.) HF_EFENCED; HF_ESTALE: not to be sent. */
int hf_registry_gateway_told(struct hf_registry *reg, uint64_t id, uint64_t epoch,
			     uint64_t generation);
/* In the transaction that takes away what came after `told`: documents below this generation, which
 * may have it, are never sent. */
int hf_registry_gateway_untold(struct hf_registry *reg, uint64_t id, uint64_t generation);
/* The gateway took changes up to this sequence, which the signer did not expect: its ledger was
 * restored. Never goes back. */
int hf_registry_gateway_sequence(struct hf_registry *reg, uint64_t id, uint64_t sequence);
/* A gateway has the volume with this attach epoch: none that is not above is granted. */
int hf_registry_volume_epoch(struct hf_registry *reg, uint64_t id, uint64_t tenant,
			     uint64_t attach_epoch);

#endif
