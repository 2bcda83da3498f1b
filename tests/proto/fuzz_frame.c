/* Fuzz target: any bytes as frames and parts. Promise: refused or taken, never a crash, a leak or
 * memory beyond the bounds (invariant 9). The first byte says in what pieces the rest arrives. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "proto/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hf_message_reader messages = {.message_max_bytes = 100000};
	struct hf_frame_reader frames = {0};
	size_t piece, at = 1;
	int found = 0;

	if (size == 0)
		return 0;
	piece = data[0] ? data[0] : size;
	while (at < size && found >= 0) {
		size_t length = size - at < piece ? size - at : piece, taken;
		Holdfast__Frame *frame;
		const uint8_t *body;
		const char *reason = NULL;
		size_t body_length;

		found = hf_frame_read(&frames, data + at, length, &taken, &frame);
		HF_ASSERT(taken <= length && (found != 0 || taken == length));
		at += taken;
		if (found != 1)
			continue;
		found = hf_message_read(&messages, frame, &body, &body_length, &reason);
		HF_ASSERT(found >= 0 || reason);
		HF_ASSERT(found != 1 || body_length <= messages.message_max_bytes);
		hf_frame_free(frame);
	}
	hf_frame_reader_end(&frames);
	hf_message_reader_end(&messages);
	return 0;
}
