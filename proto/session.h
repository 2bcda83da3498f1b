/* The session on a management connection or an activation connection, as a pure state machine for
 * both sides: bytes and ticks in, bytes and events out. It knows no socket, no clock and no thread;
 * tests, fuzzers, the agent and the provider drive it the same way.
 *
 * Which message may travel when, and where it leads, stands in one table (session_rules.c) that
 * both sides obey, the sender as well as the receiver; docs/protocol/channel.md shows that table.
 * What breaks a rule ends the session with a reason. Invariant 3: the provider's machine accepts
 * Connect, answers to requests it made, reports of a subscription it opened, and pongs.
 *
 * Time: `now_ms` is any monotonic clock of the caller, the same in all calls of a session. */
#ifndef HF_PROTO_SESSION_H
#define HF_PROTO_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "proto/channel.pb-c.h"

#define HF_CAPABILITY            2u
#define HF_CAPABILITY_STANDBY    2u /* parked connections are promoted, drains told ahead */
#define HF_ALPN_MANAGEMENT       "holdfast/1"
#define HF_ALPN_ACTIVATION       "holdfast-activate/1"
#define HF_PING_INTERVAL_MS      20000u
#define HF_RETRY_MIN_MS          500u
#define HF_RETRY_MAX_MS          300000u
#define HF_SESSION_REQUESTS_MAX  32u        /* unanswered at once */
#define HF_SESSION_FROM_GATEWAY  (1u << 20) /* bytes of a message, at most */
#define HF_SESSION_FROM_PROVIDER (4u << 20)
#define HF_SESSION_UNKNOWN_PEER  (64u << 10) /* either way on the activation connection */

struct hf_session;

enum hf_session_side { HF_SIDE_GATEWAY, HF_SIDE_PROVIDER };
enum hf_session_kind { HF_SESSION_MANAGEMENT, HF_SESSION_ACTIVATION };

enum hf_session_state {
	HF_SESSION_NEW = 0, /* nothing was said; the gateway speaks first */
	HF_SESSION_ASKED,   /* Connect or ActivateHello was said; the provider decides */
	HF_SESSION_PARKED,  /* standby: no epoch */
	HF_SESSION_HELD,    /* active: has the epoch */
	HF_SESSION_OFFERED, /* activation: the key is shown, nobody has entered it */
	HF_SESSION_CLAIMED, /* somebody entered it; the owner may refuse */
	HF_SESSION_ISSUED,  /* the certificate was given; only the end follows */
	HF_SESSION_ENDED,
};
const char *hf_session_state_text(enum hf_session_state state);

enum hf_session_event_type {
	/* At the provider */
	HF_EVENT_CONNECT, /* answer with hf_session_hold, _park or _retry, now or later */
	HF_EVENT_ANSWER,  /* exactly once for each hf_session_request that returned 0 */
	HF_EVENT_REPORT,
	HF_EVENT_HELLO, /* answer with hf_session_offer or _retry */
	HF_EVENT_REFUSE,
	/* At the gateway */
	HF_EVENT_HELD,
	HF_EVENT_PARKED,
	HF_EVENT_REQUEST, /* answer exactly once with hf_session_answer, now or later */
	HF_EVENT_RETRY,   /* retry_ms, reason; HF_EVENT_ENDED follows */
	HF_EVENT_OFFER,
	HF_EVENT_CLAIMED,
	HF_EVENT_ISSUED,
	/* At both: exactly once, last. Close the transport; nothing more may be sent. */
	HF_EVENT_ENDED,
};

/* Everything a pointer names is valid only during the call. */
struct hf_session_event {
	enum hf_session_event_type type;
	int status;            /* ANSWER: 0, HF_ETIMEDOUT, HF_ECONN, HF_ECANCELED; ENDED: why */
	const char *reason;    /* RETRY, REFUSE, ENDED: for people */
	uint64_t request;      /* ANSWER: its number */
	uint64_t remaining_ms; /* REQUEST: until the provider stops waiting */
	uint32_t retry_ms;     /* RETRY: already within HF_RETRY_MIN_MS … HF_RETRY_MAX_MS */
	const char *endpoint;  /* RETRY: to try first then; "": any */
	union {
		const Holdfast__Connect *connect;
		const Holdfast__Answer *answer; /* NULL unless status is 0 */
		const Holdfast__Report *report;
		const Holdfast__ActivateHello *hello;
		const Holdfast__Held *held;
		const Holdfast__Parked *parked;
		const Holdfast__Request *requested;
		const Holdfast__ActivateOffer *offer;
		const Holdfast__ActivateClaimed *claimed;
		const Holdfast__ActivateIssued *issued;
	};
};

struct hf_session_config {
	enum hf_session_side side;
	enum hf_session_kind kind;
	uint64_t gateway;          /* provider: of the certificate; Connect must name it */
	uint32_t ping_interval_ms; /* provider; 0: HF_PING_INTERVAL_MS */
	uint32_t asking_ms;        /* how long NEW and ASKED may last; 0: 30000 */
	uint64_t floor_epoch;      /* highest epoch known; Held must be above, 0: none */
	/* Bytes to send, copied by the callee, in order. Non-zero: they cannot be sent (the queue
	 * is full); the session ends with that error. Must not call back into the session. */
	int (*output)(void *context, const uint8_t *bytes, size_t length);
	/* May call everything here but hf_session_destroy. */
	void (*event)(void *context, const struct hf_session_event *event);
	void *context;
};

/* `config` is copied. NULL: out of memory. */
struct hf_session *hf_session_create(const struct hf_session_config *config, uint64_t now_ms);
/* No events. Not from inside an event. */
void hf_session_destroy(struct hf_session *session);

/* Bytes that arrived, in any pieces. */
void hf_session_input(struct hf_session *session, uint64_t now_ms, const uint8_t *bytes,
		      size_t length);
/* Time went by. To be called at or after hf_session_due_ms; early calls are harmless. */
void hf_session_tick(struct hf_session *session, uint64_t now_ms);
/* When the next tick is wanted; UINT64_MAX: not at all. */
uint64_t hf_session_due_ms(const struct hf_session *session);
/* The transport is lost, or the owner wants no more: HF_EVENT_ENDED with `err` and `reason`, now.
 * Harmless when it has ended. */
void hf_session_end(struct hf_session *session, int err, const char *reason);

enum hf_session_state hf_session_state(const struct hf_session *session);
/* When anything was last heard, on the clock of hf_session_receive and hf_session_tick. */
uint64_t hf_session_heard_ms(const struct hf_session *session);
uint64_t hf_session_epoch(const struct hf_session *session); /* 0 unless HELD */
/* Another connection of this gateway has this epoch: frames of a lower one have no effect from now
 * on, in either direction. */
void hf_session_raise_floor(struct hf_session *session, uint64_t epoch);

/* ---- Sending. 0; HF_ECONN when the session has ended; HF_ESTALE below the floor; HF_EPROTO when
 * the state does not allow it; HF_EBUSY; HF_ETOOBIG; HF_ENOMEM. Messages are copied. ---- */

/* Gateway */
int hf_session_connect(struct hf_session *session, uint64_t now_ms,
		       const Holdfast__Connect *connect);
/* `answer->request` as in the event. HF_ENOENT: not asked, or answered already. */
int hf_session_answer(struct hf_session *session, const Holdfast__Answer *answer);
/* `report->subscription` must be the newest one and not ended, else HF_ENOENT; `report->number`
 * is filled in on the wire. */
int hf_session_report(struct hf_session *session, const Holdfast__Report *report);
int hf_session_hello(struct hf_session *session, uint64_t now_ms,
		     const Holdfast__ActivateHello *hello);
/* Ends the session. */
int hf_session_refuse(struct hf_session *session, const char *reason);

/* Provider */
/* From ASKED, and from PARKED as a promotion. `held->epoch` > 0 and above the floor; its ping
 * interval and capability are filled in on the wire, likewise in hf_session_park. */
int hf_session_hold(struct hf_session *session, uint64_t now_ms, const Holdfast__Held *held);
int hf_session_park(struct hf_session *session, uint64_t now_ms, const Holdfast__Parked *parked);
/* Ends the session. `endpoint`: where to try first then; "": anywhere. */
int hf_session_retry(struct hf_session *session, uint32_t after_ms, const char *reason,
		     const char *endpoint);
/* `request->request` is filled in on the wire and returned in *number; `request->remaining_ms`
 * (> 0) is the deadline, after which the event says HF_ETIMEDOUT and a late answer is dropped.
 * HF_EBUSY: HF_SESSION_REQUESTS_MAX are unanswered. */
int hf_session_request(struct hf_session *session, uint64_t now_ms,
		       const Holdfast__Request *request, uint64_t *number);
/* `offer->ping_interval_ms` is filled in on the wire. */
int hf_session_offer(struct hf_session *session, uint64_t now_ms,
		     const Holdfast__ActivateOffer *offer);
int hf_session_claimed(struct hf_session *session, const Holdfast__ActivateClaimed *claimed);
int hf_session_issued(struct hf_session *session, const Holdfast__ActivateIssued *issued);

/* ---- The table, for the test that compares it with the document ---- */

struct hf_session_rule {
	const char *message;
	enum hf_session_side from;
	enum hf_session_kind kind;
	unsigned tag;    /* of the oneof in ToProvider or ToGateway */
	unsigned states; /* bit 1 << state: where it may travel */
	int next;        /* state afterwards; -1: the same */
};
extern const struct hf_session_rule hf_session_rules[];
extern const unsigned hf_session_rule_count;

#endif
