/* Stream, session and deadline of a connection (link.h). The order of an end: the session ends (by
 * a rule, by its owner, or because the stream was lost) → the owner learns it → what is queued is
 * sent, for at most FLUSH_MS → the stream is closed → the owner frees. */
#include "provider/control/link.h"

#include "base/assert.h"

#define LINK_MAGIC 0x6c696e6bu
#define FLUSH_MS   2000u

static void stream_closed(void *context)
{
	struct hf_link *link = context;

	HF_CHECK_MAGIC(link, LINK_MAGIC);
	hf_session_destroy(link->session);
	link->magic = 0;
	link->closed(link->context);
}

static void close_now(struct hf_link *link)
{
	if (link->closing)
		return;
	link->closing = true;
	hf_wheel_clear(link->wheel, &link->due);
	hf_stream_close(link->stream, stream_closed, link);
}

void hf_link_due(struct hf_wheel_entry *entry)
{
	struct hf_link *link = hf_container_of(entry, struct hf_link, due);

	HF_CHECK_MAGIC(link, LINK_MAGIC);
	if (link->ended) {
		close_now(link);
		return;
	}
	hf_session_tick(link->session, hf_link_now_ms(link));
	hf_link_rearm(link);
}

void hf_link_rearm(struct hf_link *link)
{
	uint64_t due_ms;

	if (link->ended || link->closing)
		return;
	due_ms = hf_session_due_ms(link->session);
	if (due_ms == UINT64_MAX)
		hf_wheel_clear(link->wheel, &link->due);
	else
		hf_wheel_set(link->wheel, &link->due, due_ms);
}

static void session_event(void *context, const struct hf_session_event *event)
{
	struct hf_link *link = context;

	HF_CHECK_MAGIC(link, LINK_MAGIC);
	if (event->type == HF_EVENT_ENDED) {
		link->ended = true;
		hf_wheel_set(link->wheel, &link->due, hf_link_now_ms(link) + FLUSH_MS);
		hf_stream_finish(link->stream);
	}
	link->event(link->context, event);
}

static int session_output(void *context, const uint8_t *bytes, size_t length)
{
	struct hf_link *link = context;

	return hf_stream_write(link->stream, bytes, length);
}

static void stream_received(void *context, const uint8_t *bytes, size_t length)
{
	struct hf_link *link = context;

	HF_CHECK_MAGIC(link, LINK_MAGIC);
	if (link->ended)
		return;
	hf_session_input(link->session, hf_link_now_ms(link), bytes, length);
	hf_link_rearm(link);
}

static void stream_lost(void *context, int err, const char *reason)
{
	struct hf_link *link = context;

	HF_CHECK_MAGIC(link, LINK_MAGIC);
	if (!link->ended)
		hf_session_end(link->session, err ? err : HF_ECONN,
			       err ? reason : "the gateway closed the connection");
	close_now(link);
}

int hf_link_open(struct hf_link *link, struct hf_wheel *wheel, struct hf_stream *stream,
		 struct hf_session_config *config)
{
	struct hf_stream_callbacks callbacks = {
		.received = stream_received, .lost = stream_lost, .context = link};

	config->side = HF_SIDE_PROVIDER;
	config->output = session_output;
	config->event = session_event;
	config->context = link;
	link->session = hf_session_create(config, uv_now(wheel->timer.loop));
	if (!link->session) {
		hf_stream_close(stream, NULL, NULL);
		return HF_ENOMEM;
	}
	link->magic = LINK_MAGIC;
	link->wheel = wheel;
	link->stream = stream;
	hf_stream_set_callbacks(stream, &callbacks);
	hf_link_rearm(link);
	return 0;
}

void hf_link_end(struct hf_link *link, int err, const char *reason)
{
	HF_CHECK_MAGIC(link, LINK_MAGIC);
	if (!link->ended)
		hf_session_end(link->session, err, reason);
}
