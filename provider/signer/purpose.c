/* provider/signer/purpose.h. No state. */
#include "provider/signer/purpose.h"

#include <inttypes.h>
#include <stdio.h>

void hf_signer_purpose_volume(uint64_t tenant, uint64_t volume, char purpose[HF_PURPOSE_MAX])
{
	snprintf(purpose, HF_PURPOSE_MAX, "volume/t-%016" PRIx64 "/vol-%016" PRIx64, tenant,
		 volume);
}

void hf_signer_purpose_network(uint64_t tenant, uint64_t gateway, char purpose[HF_PURPOSE_MAX])
{
	snprintf(purpose, HF_PURPOSE_MAX, "network/t-%016" PRIx64 "/sgw-%016" PRIx64, tenant,
		 gateway);
}

void hf_signer_purpose_store(uint64_t tenant, char purpose[HF_PURPOSE_MAX])
{
	snprintf(purpose, HF_PURPOSE_MAX, "store/t-%016" PRIx64, tenant);
}
