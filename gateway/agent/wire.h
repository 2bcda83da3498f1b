/* A session on a TLS stream: bytes and time carried between the two, and the order in which they
 * end. Loop's thread. */
#ifndef HF_GATEWAY_AGENT_WIRE_H
#define HF_GATEWAY_AGENT_WIRE_H

#include "net/stream.h"
#include "proto/session.h"

struct hf_wire;

struct hf_wire_config {
	enum hf_session_kind kind;
	uint64_t floor_epoch;
	/* As in proto/session.h; HF_EVENT_ENDED is the last. The session is usable in it. */
	void (*event)(void *context, const struct hf_session_event *event);
	void *context;
};

/* Takes the stream over, also on failure. */
int hf_wire_open(uv_loop_t *loop, struct hf_stream *stream, const struct hf_wire_config *config,
		 struct hf_wire **wire);
struct hf_session *hf_wire_session(struct hf_wire *wire);
uint64_t hf_wire_now_ms(const struct hf_wire *wire);
/* To be called after sending something, so that the session's next tick is known. */
void hf_wire_sent(struct hf_wire *wire);
/* No more events; sends what is queued in the background if `finish`, and frees itself. */
void hf_wire_close(struct hf_wire *wire, bool finish);

#endif
