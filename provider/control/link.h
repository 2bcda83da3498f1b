/* One connection of a gateway as the provider sees it: a TLS stream, the session on it and the
 * session's deadline, opened and closed as one. Embedded in its owner (channel, activation). Loop's
 * thread. */
#ifndef HF_PROVIDER_CONTROL_LINK_H
#define HF_PROVIDER_CONTROL_LINK_H

#include <stdbool.h>
#include <uv.h>

#include "net/stream.h"
#include "proto/session.h"
#include "provider/control/wheel.h"

struct hf_link {
	uint32_t magic;
	struct hf_stream *stream;
	struct hf_session *session;
	struct hf_wheel *wheel;
	struct hf_wheel_entry due;
	bool ended;   /* the session is over; what is queued is still being sent */
	bool closing; /* nothing more happens but `closed` */
	/* The session's events. HF_EVENT_ENDED comes exactly once, while the link is still whole.
	 */
	void (*event)(void *context, const struct hf_session_event *event);
	/* Last; the owner may free the link. */
	void (*closed)(void *context);
	void *context;
};

/* Takes the stream over, also on failure (then `closed` is not called). `event`, `closed` and
 * `context` are set by the caller before; of `config` output, event and context are filled in. */
int hf_link_open(struct hf_link *link, struct hf_wheel *wheel, struct hf_stream *stream,
		 struct hf_session_config *config);
/* What the wheel of all links calls. */
void hf_link_due(struct hf_wheel_entry *entry);
/* After anything that was sent: the session may want its tick at another time. */
void hf_link_rearm(struct hf_link *link);
static inline uint64_t hf_link_now_ms(const struct hf_link *link)
{
	return uv_now(link->wheel->timer.loop);
}
/* Ends the session with this error and reason (for the log). Harmless when it has ended. */
void hf_link_end(struct hf_link *link, int err, const char *reason);

#endif
