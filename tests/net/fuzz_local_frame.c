/* Fuzz target: any bytes as frames of a local socket. Promise: cut into frames the same way in
 * whatever pieces they arrive, or refused; never a crash or memory beyond what arrived
 * (invariant 9). The first byte says in what pieces. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "net/local.h"
#include "net/local_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Frames found, and whether it ended in a refusal. */
static unsigned cut(const uint8_t *data, size_t size, size_t piece, int *last)
{
	struct hf_local_buffer buffer = {0};
	unsigned frames = 0;
	int found = 0;

	for (size_t at = 0; at < size && found >= 0;) {
		size_t length = size - at < piece ? size - at : piece;
		const uint8_t *bytes;
		uint32_t number;

		HF_ASSERT(hf_local_buffer_append(&buffer, data + at, length) == 0);
		at += length;
		while ((found = hf_local_buffer_next(&buffer, &number, &bytes, &length)) == 1) {
			HF_ASSERT(length <= size);
			frames++;
		}
	}
	HF_ASSERT(buffer.capacity <= 4 * (size + 4096));
	hf_local_buffer_free(&buffer);
	*last = found;
	return frames;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int whole, pieces;

	if (size < 2)
		return 0;
	HF_ASSERT(cut(data + 1, size - 1, size, &whole) ==
		  cut(data + 1, size - 1, data[0] ? data[0] : 1, &pieces));
	HF_ASSERT(whole == pieces);
	return 0;
}
