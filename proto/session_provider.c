/* The provider's side of a session: decides over the one Connect (or ActivateHello), then asks, and
 * takes nothing that it did not ask for (invariant 3). */
#include "proto/session_internal.h"

#include <string.h>

#define TAG(name)  HOLDFAST__TO_GATEWAY__KIND_##name
#define MISSED_MAX 2u
#define BOOT_BYTES 16u

static int send_kind(struct hf_session *session, Holdfast__ToGateway *message, unsigned tag)
{
	HF_ASSERT(session->config.side == HF_SIDE_PROVIDER);
	message->kind_case = tag;
	return hf_session_send(session, tag, &message->base);
}

int hf_session_hold(struct hf_session *session, uint64_t now_ms, const Holdfast__Held *held)
{
	Holdfast__ToGateway message = HOLDFAST__TO_GATEWAY__INIT;
	Holdfast__Held timed = *held;
	int err;

	session->now_ms = now_ms;
	if (session->state == HF_SESSION_ENDED)
		return HF_ECONN;
	if (held->epoch == 0 || held->epoch <= session->config.floor_epoch)
		return HF_ESTALE;
	timed.ping_interval_ms = session->config.ping_interval_ms;
	timed.capability = HF_CAPABILITY;
	message.held = &timed;
	err = send_kind(session, &message, TAG(HELD));
	if (err)
		return err;
	session->epoch = session->config.floor_epoch = held->epoch;
	hf_session_start_pings(session, session->config.ping_interval_ms);
	return 0;
}

int hf_session_park(struct hf_session *session, uint64_t now_ms, const Holdfast__Parked *parked)
{
	Holdfast__ToGateway message = HOLDFAST__TO_GATEWAY__INIT;
	Holdfast__Parked timed = *parked;
	int err;

	session->now_ms = now_ms;
	timed.ping_interval_ms = session->config.ping_interval_ms;
	timed.capability = HF_CAPABILITY;
	message.parked = &timed;
	err = send_kind(session, &message, TAG(PARKED));
	if (!err)
		hf_session_start_pings(session, session->config.ping_interval_ms);
	return err;
}

int hf_session_retry(struct hf_session *session, uint32_t after_ms, const char *reason,
		     const char *endpoint)
{
	Holdfast__ToGateway message = HOLDFAST__TO_GATEWAY__INIT;
	Holdfast__Retry retry = HOLDFAST__RETRY__INIT;

	retry.after_ms = after_ms;
	retry.reason = (char *)(uintptr_t)reason;
	retry.endpoint = (char *)(uintptr_t)endpoint;
	message.retry = &retry;
	return send_kind(session, &message, TAG(RETRY));
}

int hf_session_offer(struct hf_session *session, uint64_t now_ms,
		     const Holdfast__ActivateOffer *offer)
{
	Holdfast__ToGateway message = HOLDFAST__TO_GATEWAY__INIT;
	Holdfast__ActivateOffer timed = *offer;
	int err;

	session->now_ms = now_ms;
	timed.ping_interval_ms = session->config.ping_interval_ms;
	message.activate_offer = &timed;
	err = send_kind(session, &message, TAG(ACTIVATE_OFFER));
	if (!err)
		hf_session_start_pings(session, session->config.ping_interval_ms);
	return err;
}

int hf_session_claimed(struct hf_session *session, const Holdfast__ActivateClaimed *claimed)
{
	Holdfast__ToGateway message = HOLDFAST__TO_GATEWAY__INIT;

	message.activate_claimed = (Holdfast__ActivateClaimed *)(uintptr_t)claimed;
	return send_kind(session, &message, TAG(ACTIVATE_CLAIMED));
}

int hf_session_issued(struct hf_session *session, const Holdfast__ActivateIssued *issued)
{
	Holdfast__ToGateway message = HOLDFAST__TO_GATEWAY__INIT;

	message.activate_issued = (Holdfast__ActivateIssued *)(uintptr_t)issued;
	return send_kind(session, &message, TAG(ACTIVATE_ISSUED));
}

/* ---- Requests ---- */

static bool all_abandoned(const struct hf_session *session)
{
	for (unsigned i = 0; i < session->pending_room; i++)
		if (!session->pending[i].abandoned)
			return false;
	return session->pending_room == HF_SESSION_REQUESTS_MAX;
}

static bool subscription_fits(const struct hf_session *session, const Holdfast__Request *request)
{
	return request->kind_case != HOLDFAST__REQUEST__KIND_SUBSCRIBE ||
	       (request->subscribe && request->subscribe->subscription > 0 &&
		request->subscribe->subscription >= session->subscription);
}

static void note_subscription(struct hf_session *session, const Holdfast__Subscribe *subscribe)
{
	if (subscribe->subscription > session->subscription)
		session->report_number = 0;
	session->subscription = subscribe->subscription;
	session->subscribed = subscribe->interval_ms != 0;
}

int hf_session_request(struct hf_session *session, uint64_t now_ms,
		       const Holdfast__Request *request, uint64_t *number)
{
	Holdfast__ToGateway message = HOLDFAST__TO_GATEWAY__INIT;
	Holdfast__Request numbered = *request;
	struct hf_session_pending *pending;
	int err;

	session->now_ms = now_ms;
	if (session->state == HF_SESSION_ENDED)
		return HF_ECONN;
	HF_ASSERT(request->remaining_ms > 0 && subscription_fits(session, request));
	pending = hf_session_new_pending(session);
	if (!pending && all_abandoned(session)) {
		hf_session_end(session, HF_ETIMEDOUT, "the gateway answers no requests");
		return HF_ECONN;
	}
	if (!pending)
		return HF_EBUSY;
	numbered.request = session->last_request + 1;
	message.request = &numbered;
	err = send_kind(session, &message, TAG(REQUEST));
	if (err)
		return err;
	*number = session->last_request = pending->number = numbered.request;
	pending->due_ms = now_ms + request->remaining_ms;
	pending->abandoned = false;
	if (request->kind_case == HOLDFAST__REQUEST__KIND_SUBSCRIBE)
		note_subscription(session, request->subscribe);
	return 0;
}

static void give_up_requests(struct hf_session *session)
{
	struct hf_session_event event = {.type = HF_EVENT_ANSWER, .status = HF_ETIMEDOUT};

	for (unsigned i = 0; i < session->pending_room; i++) {
		struct hf_session_pending *pending = &session->pending[i];

		if (!pending->number || pending->abandoned || pending->due_ms > session->now_ms)
			continue;
		pending->abandoned = true;
		event.request = pending->number;
		hf_session_raise(session, &event);
	}
}

static void ping(struct hf_session *session)
{
	Holdfast__ToGateway message = HOLDFAST__TO_GATEWAY__INIT;
	Holdfast__Ping next = HOLDFAST__PING__INIT;

	if (!session->heard && ++session->missed >= MISSED_MAX) {
		hf_session_end(session, HF_ETIMEDOUT, "the gateway missed two pings");
		return;
	}
	session->heard = false;
	session->ping_due_ms = session->now_ms + session->ping_interval_ms;
	next.number = ++session->ping_number;
	message.ping = &next;
	send_kind(session, &message, TAG(PING));
}

void hf_session_provider_tick(struct hf_session *session)
{
	give_up_requests(session);
	if (session->state != HF_SESSION_ENDED && session->now_ms >= session->ping_due_ms)
		ping(session);
}

/* ---- What the gateway says ---- */

static void hear_connect(struct hf_session *session, const Holdfast__Connect *connect)
{
	struct hf_session_event event = {.type = HF_EVENT_CONNECT, .connect = connect};

	if (session->config.gateway && connect->gateway != session->config.gateway) {
		hf_session_end(session, HF_EAUTH,
			       "the gateway names itself otherwise than its certificate");
		return;
	}
	if (connect->boot.len != BOOT_BYTES || connect->capability == 0 ||
	    (connect->role != HOLDFAST__ROLE__ROLE_ACTIVE &&
	     connect->role != HOLDFAST__ROLE__ROLE_STANDBY)) {
		hf_session_violation(session, "a Connect that is not complete");
		return;
	}
	hf_session_enter(session, HF_SESSION_ASKED);
	hf_session_raise(session, &event);
}

static void hear_answer(struct hf_session *session, const Holdfast__Answer *answer)
{
	struct hf_session_event event = {
		.type = HF_EVENT_ANSWER, .request = answer->request, .answer = answer};
	struct hf_session_pending *pending = hf_session_find_pending(session, answer->request);
	bool wanted;

	if (!pending) {
		hf_session_violation(session, "an answer to a request that is not open");
		return;
	}
	wanted = !pending->abandoned;
	hf_session_free_pending(session, pending);
	if (wanted)
		hf_session_raise(session, &event);
}

static void hear_report(struct hf_session *session, const Holdfast__Report *report)
{
	struct hf_session_event event = {.type = HF_EVENT_REPORT, .report = report};

	if (report->subscription == 0 || report->subscription > session->subscription) {
		hf_session_violation(session, "a report that nobody subscribed to");
		return;
	}
	if (report->subscription < session->subscription)
		return; /* was under way when the newer one was opened */
	/* Not always the next one: reports of before a promotion were dropped with their epoch. */
	if (report->number <= session->report_number) {
		hf_session_violation(session, "a report out of order");
		return;
	}
	session->report_number = report->number;
	if (session->subscribed)
		hf_session_raise(session, &event);
}

static void hear_pong(struct hf_session *session, const Holdfast__Pong *pong)
{
	if (pong->number <= session->pong_number || pong->number > session->ping_number)
		hf_session_violation(session, "a pong to a ping that was not sent");
	else
		session->pong_number = pong->number;
}

void hf_session_from_gateway(struct hf_session *session, const Holdfast__ToProvider *message)
{
	struct hf_session_event event = {0};

	switch (message->kind_case) {
	case HOLDFAST__TO_PROVIDER__KIND_CONNECT:
		hear_connect(session, message->connect);
		break;
	case HOLDFAST__TO_PROVIDER__KIND_ANSWER:
		hear_answer(session, message->answer);
		break;
	case HOLDFAST__TO_PROVIDER__KIND_REPORT:
		hear_report(session, message->report);
		break;
	case HOLDFAST__TO_PROVIDER__KIND_PONG:
		hear_pong(session, message->pong);
		break;
	case HOLDFAST__TO_PROVIDER__KIND_ACTIVATE_HELLO:
		hf_session_enter(session, HF_SESSION_ASKED);
		event.type = HF_EVENT_HELLO;
		event.hello = message->activate_hello;
		hf_session_raise(session, &event);
		break;
	case HOLDFAST__TO_PROVIDER__KIND_ACTIVATE_REFUSE:
		event.type = HF_EVENT_REFUSE;
		event.reason = message->activate_refuse->reason;
		hf_session_raise(session, &event);
		hf_session_end(session, HF_EACCES, "the gateway's owner refused");
		break;
	default:
		HF_ASSERT(!"a message that the table does not know came through");
	}
}
