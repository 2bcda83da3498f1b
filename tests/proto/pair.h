/* Two sessions that talk to each other through byte queues, for tests: what each side sent and
 * which events it raised is kept, bytes are delivered in pieces of a chosen size, time is a number.
 */
#ifndef HF_TESTS_PROTO_PAIR_H
#define HF_TESTS_PROTO_PAIR_H

#include "proto/session.h"

#define PAIR_EVENTS_MAX 64u

struct kept_event {
	enum hf_session_event_type type;
	int status;
	uint64_t request;
	char reason[120];
};

struct side {
	struct hf_session *session;
	struct side *peer;
	uint8_t *sent; /* not yet delivered */
	size_t sent_length;
	struct kept_event events[PAIR_EVENTS_MAX];
	unsigned event_count;
	bool refuse_output;      /* as if the queue were full */
	bool answer_at_once;     /* gateway: answers each request inside the event */
	uint64_t hold_epoch;     /* provider: holds inside the event; 0: not */
	size_t last_body_length; /* gateway: of the last Apply */
};

struct pair {
	struct side gateway, provider;
	uint64_t now_ms;
	size_t piece; /* bytes delivered at once; 0: all */
};

void pair_open(struct pair *pair, enum hf_session_kind kind);
void pair_close(struct pair *pair);
/* Delivers until both are silent. */
void pair_run(struct pair *pair);
void pair_tick(struct pair *pair, uint64_t forward_ms);
/* Connect, hold with `epoch`, deliver. */
void pair_hold(struct pair *pair, uint64_t epoch);
int pair_connect(struct pair *pair);
/* The last event of a side, or type -1 if there was none. */
const struct kept_event *last_event(const struct side *side);
unsigned count_events(const struct side *side, enum hf_session_event_type type);
/* Takes everything a side has sent and not yet delivered; malloc'ed. */
uint8_t *pair_take(struct side *side, size_t *length);
/* Held and Parked with nothing but their epoch. */
int say_held(struct hf_session *session, uint64_t now_ms, uint64_t epoch);
int say_parked(struct hf_session *session, uint64_t now_ms);
int pair_subscribe(struct pair *pair, uint64_t subscription, uint32_t interval_ms,
		   uint64_t *number);
int pair_report(struct pair *pair, uint64_t subscription);
int pair_apply(struct pair *pair, size_t body_length, uint64_t *number);
int pair_answer(struct pair *pair, uint64_t number);

#endif
