/* Under which purpose the secrets of a volume, and of a tenant's store, are kept in the registry:
 * a secret that was moved to another row or another tenant does not open. Pure. */
#ifndef HF_PROVIDER_SIGNER_PURPOSE_H
#define HF_PROVIDER_SIGNER_PURPOSE_H

#include <stdint.h>

#include "net/seal.h"

void hf_signer_purpose_volume(uint64_t tenant, uint64_t volume, char purpose[HF_PURPOSE_MAX]);
/* Of the credentials for its proxy: of one gateway. */
void hf_signer_purpose_network(uint64_t tenant, uint64_t gateway, char purpose[HF_PURPOSE_MAX]);
void hf_signer_purpose_store(uint64_t tenant, char purpose[HF_PURPOSE_MAX]);

#endif
