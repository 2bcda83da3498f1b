/* The gateway's side of a session: one Connect (or ActivateHello), then only answers, reports of
 * the newest subscription, and pongs (invariant 3). */
#include "proto/session_internal.h"

#include <string.h>

#define TAG(name) HOLDFAST__TO_PROVIDER__KIND_##name

/* Epochs count connections, also past those that a restored database has forgotten. A holder that
 * was taken over could else name the last number there is, which the gateway keeps for ever. */
#define EPOCH_LEAP_MAX (1ull << 32)

static int send_kind(struct hf_session *session, Holdfast__ToProvider *message, unsigned tag)
{
	HF_ASSERT(session->config.side == HF_SIDE_GATEWAY);
	message->kind_case = tag;
	return hf_session_send(session, tag, &message->base);
}

int hf_session_connect(struct hf_session *session, uint64_t now_ms,
		       const Holdfast__Connect *connect)
{
	Holdfast__ToProvider message = HOLDFAST__TO_PROVIDER__INIT;

	session->now_ms = now_ms;
	message.connect = (Holdfast__Connect *)(uintptr_t)connect;
	return send_kind(session, &message, TAG(CONNECT));
}

int hf_session_hello(struct hf_session *session, uint64_t now_ms,
		     const Holdfast__ActivateHello *hello)
{
	Holdfast__ToProvider message = HOLDFAST__TO_PROVIDER__INIT;

	session->now_ms = now_ms;
	message.activate_hello = (Holdfast__ActivateHello *)(uintptr_t)hello;
	return send_kind(session, &message, TAG(ACTIVATE_HELLO));
}

int hf_session_refuse(struct hf_session *session, const char *reason)
{
	Holdfast__ToProvider message = HOLDFAST__TO_PROVIDER__INIT;
	Holdfast__ActivateRefuse refuse = HOLDFAST__ACTIVATE_REFUSE__INIT;

	refuse.reason = (char *)(uintptr_t)reason;
	message.activate_refuse = &refuse;
	return send_kind(session, &message, TAG(ACTIVATE_REFUSE));
}

int hf_session_answer(struct hf_session *session, const Holdfast__Answer *answer)
{
	Holdfast__ToProvider message = HOLDFAST__TO_PROVIDER__INIT;
	struct hf_session_pending *pending;

	if (session->state == HF_SESSION_ENDED)
		return HF_ECONN;
	pending = hf_session_find_pending(session, answer->request);
	if (!pending)
		return HF_ENOENT;
	hf_session_free_pending(session, pending);
	message.answer = (Holdfast__Answer *)(uintptr_t)answer;
	return send_kind(session, &message, TAG(ANSWER));
}

int hf_session_report(struct hf_session *session, const Holdfast__Report *report)
{
	Holdfast__ToProvider message = HOLDFAST__TO_PROVIDER__INIT;
	Holdfast__Report numbered = *report;
	int err;

	if (session->state == HF_SESSION_ENDED)
		return HF_ECONN;
	if (!session->subscribed || report->subscription != session->subscription)
		return HF_ENOENT;
	numbered.number = session->report_number + 1;
	message.report = &numbered;
	err = send_kind(session, &message, TAG(REPORT));
	if (!err)
		session->report_number++;
	return err;
}

/* ---- What the provider says ---- */

static bool take_interval(struct hf_session *session, uint32_t interval_ms)
{
	if (interval_ms == 0 || interval_ms > HF_PING_INTERVAL_MAX_MS) {
		hf_session_violation(session, "a ping interval out of bounds");
		return false;
	}
	hf_session_start_pings(session, interval_ms);
	return true;
}

static void hear_held(struct hf_session *session, const Holdfast__Held *held)
{
	struct hf_session_event event = {.type = HF_EVENT_HELD, .held = held};

	if (held->epoch == 0 || held->epoch <= session->config.floor_epoch) {
		hf_session_end(session, HF_ESTALE,
			       "the provider held it with an epoch that is not above the last one");
		return;
	}
	if (held->epoch - session->config.floor_epoch > EPOCH_LEAP_MAX) {
		hf_session_violation(session, "an epoch that nobody can have counted to");
		return;
	}
	if (!take_interval(session, held->ping_interval_ms))
		return;
	session->epoch = session->config.floor_epoch = held->epoch;
	hf_session_enter(session, HF_SESSION_HELD);
	hf_session_raise(session, &event);
}

static void hear_parked(struct hf_session *session, const Holdfast__Parked *parked)
{
	struct hf_session_event event = {.type = HF_EVENT_PARKED, .parked = parked};

	if (!take_interval(session, parked->ping_interval_ms))
		return;
	hf_session_enter(session, HF_SESSION_PARKED);
	hf_session_raise(session, &event);
}

static void hear_ping(struct hf_session *session, const Holdfast__Ping *ping)
{
	Holdfast__ToProvider message = HOLDFAST__TO_PROVIDER__INIT;
	Holdfast__Pong pong = HOLDFAST__PONG__INIT;

	if (ping->number != session->ping_number + 1) {
		hf_session_violation(session, "a ping out of order");
		return;
	}
	session->ping_number = pong.number = ping->number;
	message.pong = &pong;
	send_kind(session, &message, TAG(PONG));
}

static bool take_subscription(struct hf_session *session, const Holdfast__Subscribe *subscribe)
{
	if (!subscribe || subscribe->subscription == 0 ||
	    subscribe->subscription < session->subscription)
		return false;
	if (subscribe->subscription > session->subscription)
		session->report_number = 0;
	session->subscription = subscribe->subscription;
	session->subscribed = subscribe->interval_ms != 0;
	return true;
}

static void refuse_unknown(struct hf_session *session, uint64_t number)
{
	Holdfast__Answer answer = HOLDFAST__ANSWER__INIT;

	answer.request = number;
	answer.error = -HF_EUNSUPPORTED;
	answer.reason = (char *)(uintptr_t) "this software does not know the request";
	hf_session_answer(session, &answer);
}

static void hear_request(struct hf_session *session, const Holdfast__Request *request)
{
	struct hf_session_event event = {.type = HF_EVENT_REQUEST,
					 .request = request->request,
					 .remaining_ms = request->remaining_ms,
					 .requested = request};
	struct hf_session_pending *pending = hf_session_new_pending(session);

	if (request->request <= session->last_request) {
		hf_session_violation(session, "a request's number was used before");
		return;
	}
	if (!pending) {
		hf_session_violation(session, "too many requests at once");
		return;
	}
	session->last_request = pending->number = request->request;
	pending->due_ms = session->now_ms + request->remaining_ms;
	if (request->kind_case == HOLDFAST__REQUEST__KIND_SUBSCRIBE &&
	    !take_subscription(session, request->subscribe))
		hf_session_violation(session, "a subscription's number went back");
	else if (request->kind_case == HOLDFAST__REQUEST__KIND__NOT_SET)
		refuse_unknown(session, request->request);
	else
		hf_session_raise(session, &event);
}

static void hear_retry(struct hf_session *session, const Holdfast__Retry *retry)
{
	struct hf_session_event event = {
		.type = HF_EVENT_RETRY, .reason = retry->reason, .endpoint = retry->endpoint};

	event.retry_ms = retry->after_ms;
	if (event.retry_ms < HF_RETRY_MIN_MS)
		event.retry_ms = HF_RETRY_MIN_MS;
	if (event.retry_ms > HF_RETRY_MAX_MS)
		event.retry_ms = HF_RETRY_MAX_MS;
	hf_session_raise(session, &event);
	hf_session_end(session, HF_EAGAIN, retry->reason);
}

static void hear_offer(struct hf_session *session, const Holdfast__ActivateOffer *offer)
{
	struct hf_session_event event = {.type = HF_EVENT_OFFER, .offer = offer};

	if (!take_interval(session, offer->ping_interval_ms))
		return;
	hf_session_enter(session, HF_SESSION_OFFERED);
	hf_session_raise(session, &event);
}

void hf_session_from_provider(struct hf_session *session, const Holdfast__ToGateway *message)
{
	struct hf_session_event event = {0};

	switch (message->kind_case) {
	case HOLDFAST__TO_GATEWAY__KIND_HELD:
		hear_held(session, message->held);
		break;
	case HOLDFAST__TO_GATEWAY__KIND_PARKED:
		hear_parked(session, message->parked);
		break;
	case HOLDFAST__TO_GATEWAY__KIND_REQUEST:
		hear_request(session, message->request);
		break;
	case HOLDFAST__TO_GATEWAY__KIND_PING:
		hear_ping(session, message->ping);
		break;
	case HOLDFAST__TO_GATEWAY__KIND_RETRY:
		hear_retry(session, message->retry);
		break;
	case HOLDFAST__TO_GATEWAY__KIND_ACTIVATE_OFFER:
		hear_offer(session, message->activate_offer);
		break;
	case HOLDFAST__TO_GATEWAY__KIND_ACTIVATE_CLAIMED:
		hf_session_enter(session, HF_SESSION_CLAIMED);
		event.type = HF_EVENT_CLAIMED;
		event.claimed = message->activate_claimed;
		hf_session_raise(session, &event);
		break;
	case HOLDFAST__TO_GATEWAY__KIND_ACTIVATE_ISSUED:
		hf_session_enter(session, HF_SESSION_ISSUED);
		event.type = HF_EVENT_ISSUED;
		event.issued = message->activate_issued;
		hf_session_raise(session, &event);
		break;
	default:
		HF_ASSERT(!"a message that the table does not know came through");
	}
}
