/* Fuzz target: any bytes as a file of STATE_DIR. Promise: damage is refused, never followed. */
#include "base/assert.h"
#include "gateway/agent/kept.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *body;
	size_t length;

	for (int kind = HF_KEPT_ACTIVATED; kind <= HF_KEPT_ACCESS; kind++) {
		if (hf_kept_parse(data, size, (enum hf_kept_kind)kind, &body, &length) != 0)
			continue;
		HF_ASSERT(body >= data && body + length == data + size);
		if (kind == HF_KEPT_DOCUMENT)
			holdfast__signed__free_unpacked(
				holdfast__signed__unpack(NULL, length, body), NULL);
		if (kind == HF_KEPT_ACTIVATED)
			holdfast__activate_issued__free_unpacked(
				holdfast__activate_issued__unpack(NULL, length, body), NULL);
	}
	return 0;
}
