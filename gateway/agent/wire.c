/* The wire of wire.h. Freed when the stream and the timer have closed; until then the session only
 * waits. An ended session is never fed again. */
#include "gateway/agent/wire.h"

#include <stdlib.h>

#include "base/assert.h"

#define WIRE_MAGIC 0x57495245u

struct hf_wire {
	uint32_t magic;
	struct hf_wire_config config;
	struct hf_stream *stream; /* NULL once closing */
	struct hf_session *session;
	uv_timer_t timer;
	unsigned handles; /* not yet closed: stream, timer */
	bool closing;     /* hf_wire_close was called */
	bool lost;        /* the stream has said its last word */
};

static int on_output(void *context, const uint8_t *bytes, size_t length)
{
	struct hf_wire *wire = context;

	HF_CHECK_MAGIC(wire, WIRE_MAGIC);
	return wire->stream ? hf_stream_write(wire->stream, bytes, length) : HF_ECONN;
}

static void on_event(void *context, const struct hf_session_event *event)
{
	struct hf_wire *wire = context;

	HF_CHECK_MAGIC(wire, WIRE_MAGIC);
	if (!wire->closing)
		wire->config.event(wire->config.context, event);
}

static void on_part_closed(struct hf_wire *wire)
{
	if (--wire->handles)
		return;
	hf_session_destroy(wire->session);
	wire->magic = 0;
	free(wire);
}

static void on_stream_closed(void *context)
{
	on_part_closed(context);
}

static void on_timer_closed(uv_handle_t *handle)
{
	on_part_closed(handle->data);
}

static void close_stream(struct hf_wire *wire)
{
	struct hf_stream *stream = wire->stream;

	if (!stream)
		return;
	wire->stream = NULL;
	hf_stream_close(stream, on_stream_closed, wire);
}

static void on_timer(uv_timer_t *timer)
{
	struct hf_wire *wire = timer->data;

	HF_CHECK_MAGIC(wire, WIRE_MAGIC);
	hf_session_tick(wire->session, uv_now(timer->loop));
	hf_wire_sent(wire);
}

void hf_wire_sent(struct hf_wire *wire)
{
	uint64_t now_ms = uv_now(wire->timer.loop), due_ms = hf_session_due_ms(wire->session);

	if (wire->closing)
		return;
	if (due_ms == UINT64_MAX)
		uv_timer_stop(&wire->timer);
	else
		uv_timer_start(&wire->timer, on_timer, due_ms > now_ms ? due_ms - now_ms : 0, 0);
}

static void on_received(void *context, const uint8_t *bytes, size_t length)
{
	struct hf_wire *wire = context;

	HF_CHECK_MAGIC(wire, WIRE_MAGIC);
	if (wire->closing)
		return;
	hf_session_input(wire->session, uv_now(wire->timer.loop), bytes, length);
	hf_wire_sent(wire);
}

static void on_lost(void *context, int err, const char *reason)
{
	struct hf_wire *wire = context;

	HF_CHECK_MAGIC(wire, WIRE_MAGIC);
	wire->lost = true;
	if (wire->closing)
		close_stream(wire); /* what was queued has gone out, or cannot */
	else
		hf_session_end(wire->session, err ? err : HF_ECONN, reason);
}

int hf_wire_open(uv_loop_t *loop, struct hf_stream *stream, const struct hf_wire_config *config,
		 struct hf_wire **out)
{
	struct hf_stream_callbacks callbacks = {.received = on_received, .lost = on_lost};
	struct hf_session_config session = {.side = HF_SIDE_GATEWAY,
					    .kind = config->kind,
					    .floor_epoch = config->floor_epoch,
					    .output = on_output,
					    .event = on_event};
	struct hf_wire *wire = calloc(1, sizeof *wire);

	session.context = wire;
	if (wire)
		wire->session = hf_session_create(&session, uv_now(loop));
	if (!wire || !wire->session) {
		free(wire);
		hf_stream_close(stream, NULL, NULL);
		return HF_ENOMEM;
	}
	wire->magic = WIRE_MAGIC;
	wire->config = *config;
	wire->stream = stream;
	wire->handles = 2;
	wire->timer.data = wire;
	uv_timer_init(loop, &wire->timer);
	callbacks.context = wire;
	hf_stream_set_callbacks(stream, &callbacks);
	hf_wire_sent(wire);
	*out = wire;
	return 0;
}

struct hf_session *hf_wire_session(struct hf_wire *wire)
{
	HF_CHECK_MAGIC(wire, WIRE_MAGIC);
	return wire->session;
}

uint64_t hf_wire_now_ms(const struct hf_wire *wire)
{
	return uv_now(wire->timer.loop);
}

void hf_wire_close(struct hf_wire *wire, bool finish)
{
	HF_CHECK_MAGIC(wire, WIRE_MAGIC);
	HF_ASSERT(!wire->closing);
	wire->closing = true;
	hf_session_end(wire->session, HF_ECANCELED, "closed");
	uv_close((uv_handle_t *)&wire->timer, on_timer_closed);
	if (finish && !wire->lost)
		hf_stream_finish(wire->stream);
	else
		close_stream(wire);
}
