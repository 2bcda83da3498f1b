/* What the fuzz targets of both sides of a session share: outputs go nowhere, the session ends at
 * most once, and after that it says nothing more. */
#ifndef HF_TESTS_PROTO_FUZZ_SESSION_H
#define HF_TESTS_PROTO_FUZZ_SESSION_H

#include "base/assert.h"
#include "proto/session.h"

struct fuzz {
	struct hf_session *session;
	uint64_t now_ms;
	unsigned ended;
	uint8_t choices; /* from the input: how the owner behaves */
};

static inline int fuzz_output(void *context, const uint8_t *bytes, size_t length)
{
	struct fuzz *fuzz = context;

	HF_ASSERT(!fuzz->ended && bytes && length > 0);
	return 0;
}

/* Feeds the rest of the input, each piece led by its length; some time goes by between pieces. */
static inline void fuzz_feed(struct fuzz *fuzz, const uint8_t *data, size_t size)
{
	while (size > 0) {
		size_t piece = data[0] ? data[0] : size - 1;

		data++;
		size--;
		if (piece > size)
			piece = size;
		hf_session_input(fuzz->session, fuzz->now_ms, data, piece);
		data += piece;
		size -= piece;
		fuzz->now_ms += fuzz->choices & 0x40 ? 300 : 1;
		hf_session_tick(fuzz->session, fuzz->now_ms);
	}
}

#endif
