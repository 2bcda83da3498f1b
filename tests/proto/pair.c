/* Two sessions face to face (pair.h). */
#include "tests/proto/pair.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

int say_held(struct hf_session *session, uint64_t now_ms, uint64_t epoch)
{
	Holdfast__Held held = HOLDFAST__HELD__INIT;

	held.epoch = epoch;
	return hf_session_hold(session, now_ms, &held);
}

int say_parked(struct hf_session *session, uint64_t now_ms)
{
	Holdfast__Parked parked = HOLDFAST__PARKED__INIT;

	return hf_session_park(session, now_ms, &parked);
}

static int keep_output(void *context, const uint8_t *bytes, size_t length)
{
	struct side *side = context;

	if (side->refuse_output)
		return HF_EBUSY;
	side->sent = realloc(side->sent, side->sent_length + length);
	HF_ASSERT(side->sent);
	memcpy(side->sent + side->sent_length, bytes, length);
	side->sent_length += length;
	return 0;
}

static void react(struct side *side, const struct hf_session_event *event)
{
	Holdfast__Answer answer = HOLDFAST__ANSWER__INIT;

	if (event->type == HF_EVENT_CONNECT && side->hold_epoch)
		HF_ASSERT(say_held(side->session, 0, side->hold_epoch) == 0);
	if (event->type == HF_EVENT_REQUEST &&
	    event->requested->kind_case == HOLDFAST__REQUEST__KIND_APPLY)
		side->last_body_length = event->requested->apply->body.len;
	if (event->type == HF_EVENT_REQUEST && side->answer_at_once) {
		answer.request = event->request;
		HF_ASSERT(hf_session_answer(side->session, &answer) == 0);
	}
}

static void keep_event(void *context, const struct hf_session_event *event)
{
	struct side *side = context;
	struct kept_event *kept;

	HF_ASSERT(side->event_count < PAIR_EVENTS_MAX);
	kept = &side->events[side->event_count++];
	memset(kept, 0, sizeof *kept);
	kept->type = event->type;
	kept->status = event->status;
	kept->request = event->request;
	if (event->reason)
		snprintf(kept->reason, sizeof kept->reason, "%s", event->reason);
	react(side, event);
}

static void open_side(struct pair *pair, struct side *side, enum hf_session_side which,
		      enum hf_session_kind kind)
{
	struct hf_session_config config = {.side = which,
					   .kind = kind,
					   .gateway = which == HF_SIDE_PROVIDER ? 8 : 0,
					   .ping_interval_ms = 1000,
					   .output = keep_output,
					   .event = keep_event,
					   .context = side};

	side->session = hf_session_create(&config, pair->now_ms);
	HF_ASSERT(side->session);
}

void pair_open(struct pair *pair, enum hf_session_kind kind)
{
	memset(pair, 0, sizeof *pair);
	pair->now_ms = 1000000;
	pair->gateway.peer = &pair->provider;
	pair->provider.peer = &pair->gateway;
	open_side(pair, &pair->gateway, HF_SIDE_GATEWAY, kind);
	open_side(pair, &pair->provider, HF_SIDE_PROVIDER, kind);
}

void pair_close(struct pair *pair)
{
	hf_session_destroy(pair->gateway.session);
	hf_session_destroy(pair->provider.session);
	free(pair->gateway.sent);
	free(pair->provider.sent);
}

uint8_t *pair_take(struct side *side, size_t *length)
{
	uint8_t *bytes = side->sent;

	*length = side->sent_length;
	side->sent = NULL;
	side->sent_length = 0;
	return bytes;
}

static bool deliver(struct pair *pair, struct side *from)
{
	size_t length, at = 0;
	uint8_t *bytes = pair_take(from, &length);

	while (at < length) {
		size_t piece = pair->piece && pair->piece < length - at ? pair->piece : length - at;
		/* Its own allocation, so that a sanitizer sees a read past the piece. */
		uint8_t *copy = malloc(piece);

		HF_ASSERT(copy);
		memcpy(copy, bytes + at, piece);
		hf_session_input(from->peer->session, pair->now_ms, copy, piece);
		free(copy);
		at += piece;
	}
	free(bytes);
	return length > 0;
}

void pair_run(struct pair *pair)
{
	bool moved = true;

	while (moved) {
		moved = deliver(pair, &pair->gateway);
		moved = deliver(pair, &pair->provider) || moved;
	}
}

void pair_tick(struct pair *pair, uint64_t forward_ms)
{
	pair->now_ms += forward_ms;
	hf_session_tick(pair->gateway.session, pair->now_ms);
	hf_session_tick(pair->provider.session, pair->now_ms);
}

int pair_connect(struct pair *pair)
{
	Holdfast__Connect connect = HOLDFAST__CONNECT__INIT;
	uint8_t boot[16] = {1};

	connect.gateway = 8;
	connect.role = HOLDFAST__ROLE__ROLE_ACTIVE;
	connect.boot = (ProtobufCBinaryData){sizeof boot, boot};
	connect.capability = HF_CAPABILITY;
	return hf_session_connect(pair->gateway.session, pair->now_ms, &connect);
}

void pair_hold(struct pair *pair, uint64_t epoch)
{
	HF_ASSERT(pair_connect(pair) == 0);
	pair_run(pair);
	HF_ASSERT(say_held(pair->provider.session, pair->now_ms, epoch) == 0);
	pair_run(pair);
	HF_ASSERT(hf_session_state(pair->gateway.session) == HF_SESSION_HELD);
}

const struct kept_event *last_event(const struct side *side)
{
	static const struct kept_event none = {.type = (enum hf_session_event_type) - 1};

	return side->event_count ? &side->events[side->event_count - 1] : &none;
}

unsigned count_events(const struct side *side, enum hf_session_event_type type)
{
	unsigned count = 0;

	for (unsigned i = 0; i < side->event_count; i++)
		count += side->events[i].type == type;
	return count;
}

int pair_subscribe(struct pair *pair, uint64_t subscription, uint32_t interval_ms, uint64_t *number)
{
	Holdfast__Request request = HOLDFAST__REQUEST__INIT;
	Holdfast__Subscribe subscribe = HOLDFAST__SUBSCRIBE__INIT;

	subscribe.subscription = subscription;
	subscribe.interval_ms = interval_ms;
	request.remaining_ms = 5000;
	request.kind_case = HOLDFAST__REQUEST__KIND_SUBSCRIBE;
	request.subscribe = &subscribe;
	return hf_session_request(pair->provider.session, pair->now_ms, &request, number);
}

int pair_report(struct pair *pair, uint64_t subscription)
{
	Holdfast__Report report = HOLDFAST__REPORT__INIT;

	report.subscription = subscription;
	return hf_session_report(pair->gateway.session, &report);
}

int pair_apply(struct pair *pair, size_t body_length, uint64_t *number)
{
	Holdfast__Request request = HOLDFAST__REQUEST__INIT;
	Holdfast__Signed packet = HOLDFAST__SIGNED__INIT;
	uint8_t *body = calloc(1, body_length + 1);
	int err;

	HF_ASSERT(body);
	packet.body = (ProtobufCBinaryData){body_length, body};
	request.remaining_ms = 5000;
	request.kind_case = HOLDFAST__REQUEST__KIND_APPLY;
	request.apply = &packet;
	err = hf_session_request(pair->provider.session, pair->now_ms, &request, number);
	free(body);
	return err;
}

int pair_answer(struct pair *pair, uint64_t number)
{
	Holdfast__Answer answer = HOLDFAST__ANSWER__INIT;

	answer.request = number;
	return hf_session_answer(pair->gateway.session, &answer);
}
