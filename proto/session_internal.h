/* What the files of the session share: session.c (life, bytes, time), session_gateway.c and
 * session_provider.c (what each side says and hears). Nobody else includes this. */
#ifndef HF_PROTO_SESSION_INTERNAL_H
#define HF_PROTO_SESSION_INTERNAL_H

#include "base/assert.h"
#include "proto/frame.h"
#include "proto/session.h"

#define HF_SESSION_MAGIC        0x53455353u
#define HF_SESSION_ASKING_MS    30000u
#define HF_PING_INTERVAL_MAX_MS 600000u

/* A request that was not answered. */
struct hf_session_pending {
	uint64_t number; /* 0: free */
	uint64_t due_ms;
	bool abandoned; /* provider: nobody waits any more; the answer, if it comes, is dropped */
};

struct hf_session {
	uint32_t magic;
	struct hf_session_config config;
	enum hf_session_state state;
	uint64_t epoch;         /* 0 unless HELD */
	uint64_t now_ms;        /* of the call under way */
	uint64_t state_ms;      /* when the state was entered */
	uint64_t sent_messages; /* number of the last message sent */
	struct hf_frame_reader frames;
	struct hf_message_reader messages;

	/* Pings. Provider: number sent, whether anything was heard since, how many were missed.
	 * Gateway: number received, when anything was last heard. */
	uint32_t ping_interval_ms;
	uint64_t ping_number, pong_number, ping_due_ms, heard_ms;
	bool heard;
	unsigned missed;

	struct hf_session_pending *pending; /* pending_room of them; NULL while there is none */
	unsigned pending_room;
	uint64_t last_request;

	/* The newest subscription of this connection; `subscribed` until it is ended. */
	uint64_t subscription, report_number;
	bool subscribed;
};

/* Sends a message of the kind `tag` if the table allows it, and takes the transition. `message` is
 * the ToProvider or ToGateway. */
int hf_session_send(struct hf_session *session, unsigned tag, const ProtobufCMessage *message);
void hf_session_raise(struct hf_session *session, const struct hf_session_event *event);
/* Ends the session because the peer broke a rule. */
void hf_session_violation(struct hf_session *session, const char *reason);
void hf_session_enter(struct hf_session *session, enum hf_session_state state);
void hf_session_start_pings(struct hf_session *session, uint32_t interval_ms);

/* A decoded message, of a kind that the table allowed; the state has not changed yet. */
void hf_session_from_provider(struct hf_session *session, const Holdfast__ToGateway *message);
void hf_session_from_gateway(struct hf_session *session, const Holdfast__ToProvider *message);

/* Provider: pings that are due, requests nobody will answer any more. */
void hf_session_provider_tick(struct hf_session *session);

struct hf_session_pending *hf_session_find_pending(struct hf_session *session, uint64_t number);
/* A free slot, or NULL. It counts as free until it has a number. */
struct hf_session_pending *hf_session_new_pending(struct hf_session *session);
/* The slot is free again; with the last one the memory goes, so do not use it afterwards. */
void hf_session_free_pending(struct hf_session *session, struct hf_session_pending *pending);

#endif
