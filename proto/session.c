/* The life of a session: bytes to frames to messages, the table of rules, epochs, and time. What
 * the messages mean is in session_gateway.c and session_provider.c. Pure and single-threaded; the
 * owner of the connection owns the session.
 *
 * Memory: the struct itself; a frame or a message only while it is incomplete; a decoded message
 * only during its event; the list of requests only while one is not answered. */
#include "proto/session_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/budget.h"

#define PENDING_FIRST 4u
#define PING_MISSED_HALVES                                                                         \
	5u /* the gateway gives up after 2.5 intervals: two missed, and slack                      \
	    */

static const char *const state_texts[] = {"new",     "asked",   "parked", "held",
					  "offered", "claimed", "issued", "ended"};

const char *hf_session_state_text(enum hf_session_state state)
{
	HF_ASSERT(state <= HF_SESSION_ENDED);
	return state_texts[state];
}

/* What `from` may say in one message. */
static size_t message_max(const struct hf_session *session, enum hf_session_side from)
{
	if (session->config.kind == HF_SESSION_ACTIVATION)
		return HF_SESSION_UNKNOWN_PEER;
	return from == HF_SIDE_GATEWAY ? HF_SESSION_FROM_GATEWAY : HF_SESSION_FROM_PROVIDER;
}

struct hf_session *hf_session_create(const struct hf_session_config *config, uint64_t now_ms)
{
	struct hf_session *session = calloc(1, sizeof *session);

	if (!session)
		return NULL;
	HF_ASSERT(config->output && config->event);
	session->magic = HF_SESSION_MAGIC;
	session->config = *config;
	if (!session->config.ping_interval_ms)
		session->config.ping_interval_ms = HF_PING_INTERVAL_MS;
	if (!session->config.asking_ms)
		session->config.asking_ms = HF_SESSION_ASKING_MS;
	session->now_ms = session->state_ms = session->heard_ms = now_ms;
	session->messages.message_max_bytes = message_max(
		session, config->side == HF_SIDE_GATEWAY ? HF_SIDE_PROVIDER : HF_SIDE_GATEWAY);
	return session;
}

static void release_input(struct hf_session *session)
{
	hf_frame_reader_end(&session->frames);
	hf_message_reader_end(&session->messages);
}

static void release_pending(struct hf_session *session)
{
	free(session->pending);
	session->pending = NULL;
	session->pending_room = 0;
}

void hf_session_destroy(struct hf_session *session)
{
	if (!session)
		return;
	HF_CHECK_MAGIC(session, HF_SESSION_MAGIC);
	release_input(session);
	release_pending(session);
	session->magic = 0;
	free(session);
}

enum hf_session_state hf_session_state(const struct hf_session *session)
{
	return session->state;
}

uint64_t hf_session_heard_ms(const struct hf_session *session)
{
	return session->heard_ms;
}

uint64_t hf_session_epoch(const struct hf_session *session)
{
	return session->epoch;
}

void hf_session_raise_floor(struct hf_session *session, uint64_t epoch)
{
	if (epoch > session->config.floor_epoch)
		session->config.floor_epoch = epoch;
}

void hf_session_enter(struct hf_session *session, enum hf_session_state state)
{
	session->state = state;
	session->state_ms = session->now_ms;
}

void hf_session_raise(struct hf_session *session, const struct hf_session_event *event)
{
	session->config.event(session->config.context, event);
}

/* ---- The end ---- */

void hf_session_end(struct hf_session *session, int err, const char *reason)
{
	struct hf_session_event event = {.type = HF_EVENT_ANSWER, .status = HF_ECONN};
	bool answers_wanted = session->config.side == HF_SIDE_PROVIDER;

	HF_CHECK_MAGIC(session, HF_SESSION_MAGIC);
	if (session->state == HF_SESSION_ENDED)
		return;
	hf_session_enter(session, HF_SESSION_ENDED);
	for (unsigned i = 0; i < session->pending_room; i++) {
		struct hf_session_pending pending = session->pending[i];

		session->pending[i].number = 0;
		event.request = pending.number;
		if (answers_wanted && pending.number && !pending.abandoned)
			hf_session_raise(session, &event);
	}
	release_pending(session);
	event.type = HF_EVENT_ENDED;
	event.status = err;
	event.reason = reason;
	event.request = 0;
	hf_session_raise(session, &event);
}

void hf_session_violation(struct hf_session *session, const char *reason)
{
	hf_session_end(session, HF_EPROTO, reason);
}

/* ---- The table ---- */

static const struct hf_session_rule *find_rule(const struct hf_session *session,
					       enum hf_session_side from, unsigned tag)
{
	for (unsigned i = 0; i < hf_session_rule_count; i++) {
		const struct hf_session_rule *rule = &hf_session_rules[i];

		if (rule->from == from && rule->kind == session->config.kind && rule->tag == tag)
			return rule;
	}
	return NULL;
}

static bool fenced(const struct hf_session *session)
{
	return session->epoch && session->epoch < session->config.floor_epoch;
}

int hf_session_send(struct hf_session *session, unsigned tag, const ProtobufCMessage *message)
{
	const struct hf_session_rule *rule = find_rule(session, session->config.side, tag);
	size_t length;
	uint8_t *body;
	int err;

	HF_CHECK_MAGIC(session, HF_SESSION_MAGIC);
	if (session->state == HF_SESSION_ENDED)
		return HF_ECONN;
	if (!rule || !(rule->states & (1u << session->state)))
		return HF_EPROTO;
	if (fenced(session))
		return HF_ESTALE;
	length = protobuf_c_message_get_packed_size(message);
	if (length > message_max(session, session->config.side))
		return HF_ETOOBIG;
	body = malloc(length + 1);
	if (!body)
		return HF_ENOMEM;
	protobuf_c_message_pack(message, body);
	err = hf_message_write(session->epoch, ++session->sent_messages, body, length,
			       session->config.output, session->config.context);
	free(body);
	if (err) {
		hf_session_end(session, err, "the message cannot be sent");
		return err;
	}
	if (rule->next == HF_SESSION_ENDED)
		hf_session_end(session, 0, rule->message);
	else if (rule->next >= 0)
		hf_session_enter(session, (enum hf_session_state)rule->next);
	return 0;
}

/* ---- Input ---- */

/* True if a message of this kind may arrive now; else the session has ended. */
static bool may_arrive(struct hf_session *session, unsigned tag)
{
	enum hf_session_side from =
		session->config.side == HF_SIDE_GATEWAY ? HF_SIDE_PROVIDER : HF_SIDE_GATEWAY;
	const struct hf_session_rule *rule = find_rule(session, from, tag);
	char reason[96];

	if (rule && (rule->states & (1u << session->state)))
		return true;
	snprintf(reason, sizeof reason, "%s may not come while the session is %s",
		 rule ? rule->message : "an unknown message",
		 hf_session_state_text(session->state));
	hf_session_violation(session, reason);
	return false;
}

static void handle_message(struct hf_session *session, const uint8_t *body, size_t length)
{
	struct hf_budget budget;
	ProtobufCMessage *message;
	bool gateway = session->config.side == HF_SIDE_GATEWAY;

	hf_budget_init(&budget, length);
	message = protobuf_c_message_unpack(gateway ? &holdfast__to_gateway__descriptor
						    : &holdfast__to_provider__descriptor,
					    &budget.allocator, length, body);
	if (!message) {
		hf_session_violation(session, "a message that cannot be decoded");
		return;
	}
	if (gateway) {
		const Holdfast__ToGateway *to_gateway = (const void *)message;

		if (may_arrive(session, (unsigned)to_gateway->kind_case))
			hf_session_from_provider(session, to_gateway);
	} else {
		const Holdfast__ToProvider *to_provider = (const void *)message;

		if (may_arrive(session, (unsigned)to_provider->kind_case))
			hf_session_from_gateway(session, to_provider);
	}
	protobuf_c_message_free_unpacked(message, &budget.allocator);
}

static void handle_frame(struct hf_session *session, const Holdfast__Frame *frame)
{
	const uint8_t *body;
	const char *reason;
	size_t length;
	int found = hf_message_read(&session->messages, frame, &body, &length, &reason);

	if (found < 0) {
		hf_session_end(session, found, reason);
		return;
	}
	session->heard = true;
	session->heard_ms = session->now_ms;
	session->missed = 0;
	if (frame->epoch > session->epoch) {
		hf_session_violation(session, "an epoch that was not given");
		return;
	}
	/* Invariant 5: what a lower epoch says has no effect. */
	if (found == 1 && frame->epoch == session->epoch && !fenced(session))
		handle_message(session, body, length);
	if (found == 1 && session->messages.body_capacity)
		hf_message_reader_end(&session->messages);
}

void hf_session_input(struct hf_session *session, uint64_t now_ms, const uint8_t *bytes,
		      size_t length)
{
	Holdfast__Frame *frame;
	size_t taken;
	int found = 0;

	HF_CHECK_MAGIC(session, HF_SESSION_MAGIC);
	session->now_ms = now_ms;
	while (length && session->state != HF_SESSION_ENDED) {
		found = hf_frame_read(&session->frames, bytes, length, &taken, &frame);
		bytes += taken;
		length -= taken;
		if (found < 0)
			hf_session_end(session, found,
				       found == HF_EPROTO ? "bytes that are not a frame"
							  : "out of memory");
		if (found != 1)
			break;
		handle_frame(session, frame);
		hf_frame_free(frame);
	}
	if (session->state == HF_SESSION_ENDED)
		release_input(session);
}

/* ---- Time ---- */

void hf_session_start_pings(struct hf_session *session, uint32_t interval_ms)
{
	session->ping_interval_ms = interval_ms;
	session->ping_due_ms = session->now_ms + interval_ms;
	session->heard_ms = session->now_ms;
	session->heard = true;
	session->missed = 0;
}

static bool pinging(const struct hf_session *session)
{
	return session->state >= HF_SESSION_PARKED && session->state <= HF_SESSION_CLAIMED;
}

static uint64_t gateway_dead_ms(const struct hf_session *session)
{
	return session->heard_ms + (uint64_t)session->ping_interval_ms * PING_MISSED_HALVES / 2;
}

uint64_t hf_session_due_ms(const struct hf_session *session)
{
	uint64_t due_ms;

	if (session->state == HF_SESSION_ENDED)
		return UINT64_MAX;
	if (!pinging(session))
		return session->state_ms + session->config.asking_ms;
	if (session->config.side == HF_SIDE_GATEWAY)
		return gateway_dead_ms(session);
	due_ms = session->ping_due_ms;
	for (unsigned i = 0; i < session->pending_room; i++) {
		const struct hf_session_pending *pending = &session->pending[i];

		if (pending->number && !pending->abandoned && pending->due_ms < due_ms)
			due_ms = pending->due_ms;
	}
	return due_ms;
}

void hf_session_tick(struct hf_session *session, uint64_t now_ms)
{
	HF_CHECK_MAGIC(session, HF_SESSION_MAGIC);
	session->now_ms = now_ms;
	if (session->state == HF_SESSION_ENDED)
		return;
	if (!pinging(session)) {
		if (now_ms >= session->state_ms + session->config.asking_ms)
			hf_session_end(session, HF_ETIMEDOUT, "the peer did not speak in time");
	} else if (session->config.side == HF_SIDE_PROVIDER) {
		hf_session_provider_tick(session);
	} else if (now_ms >= gateway_dead_ms(session)) {
		hf_session_end(session, HF_ETIMEDOUT, "two pings of the provider are missing");
	}
}

/* ---- Requests under way ---- */

struct hf_session_pending *hf_session_find_pending(struct hf_session *session, uint64_t number)
{
	for (unsigned i = 0; number && i < session->pending_room; i++)
		if (session->pending[i].number == number)
			return &session->pending[i];
	return NULL;
}

static struct hf_session_pending *grow_pending(struct hf_session *session)
{
	unsigned room = session->pending_room, wanted = room ? 2 * room : PENDING_FIRST;
	struct hf_session_pending *grown;

	if (room == HF_SESSION_REQUESTS_MAX)
		return NULL;
	grown = reallocarray(session->pending, wanted, sizeof *grown);
	if (!grown)
		return NULL;
	memset(grown + room, 0, (wanted - room) * sizeof *grown);
	session->pending = grown;
	session->pending_room = wanted;
	return grown + room;
}

struct hf_session_pending *hf_session_new_pending(struct hf_session *session)
{
	for (unsigned i = 0; i < session->pending_room; i++)
		if (session->pending[i].number == 0)
			return &session->pending[i];
	return grow_pending(session);
}

void hf_session_free_pending(struct hf_session *session, struct hf_session_pending *pending)
{
	memset(pending, 0, sizeof *pending);
	for (unsigned i = 0; i < session->pending_room; i++)
		if (session->pending[i].number)
			return;
	release_pending(session);
}
