/* Control state of the log decodes from any bytes without harm (invariant 9). */
#include "gateway/volumed/core_state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void see_volume(void *context, const struct hf_core_state_volume *volume)
{
	(void)context;
	HF_ASSERT(volume->volume != 0 && volume->size_bytes % 4096 == 0);
}

static void see_ring(void *context, const uint8_t uuid[16], uint64_t oldest_unfinished)
{
	(void)oldest_unfinished;
	*(unsigned *)context += uuid[15];
}

static void see_result(void *context, const uint8_t uuid[16], const struct hf_core_result *result)
{
	*(unsigned *)context += uuid[0];
	HF_ASSERT(result->id != 0 && result->sequence != 0 && !result->job);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned sum = 0;
	const struct hf_core_state_visitor visitor = {&sum, see_volume, see_ring, see_result};

	hf_core_state_decode(data, size, &visitor);
	hf_core_control_decode(data, size, &visitor);
	return 0;
}
