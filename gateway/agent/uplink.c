/* What is said on the management connection (uplink.h): Connect, answers, reports. Which
 * connections there are is in uplink_paths.c. Loop's thread. */
#include "gateway/agent/uplink.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/log.h"
#include "gateway/agent/uplink_internal.h"

#define REPORT_MIN_MS    100u
#define REPORT_MAX_MS    3600000u
#define LOOK_MS          500u /* volumed has this long to say how things stand for a first report */
#define CLOCKS_DIFFER_MS 120000 /* more than this is worth a word */
#define CHANGE_REPORT_MS 20u    /* several changes of one moment make one report */

/* ---- Reports ---- */

static uint64_t wall_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static bool fill_network(struct hf_uplink *uplink, Holdfast__NetworkReport *network)
{
	const struct hf_uplink_path *path = hf_uplink_active(uplink);

	if (!uplink->config.network || !hf_network_report(uplink->config.network, network))
		return false;
	network->proved = path && hf_network_proves(uplink->config.network, path->made_with);
	return true;
}

static void send_report(struct hf_uplink *uplink)
{
	struct hf_uplink_path *path = hf_uplink_active(uplink);
	Holdfast__Report report = HOLDFAST__REPORT__INIT;
	Holdfast__NetworkReport network;
	Holdfast__Applied applied;
	int err;

	if (!path || !path->wire || !uplink->interval_ms)
		return;
	hf_desired_applied(uplink->config.desired, &applied);
	hf_reconciler_report(uplink->config.desired->reconciler, &report);
	report.subscription = uplink->subscription;
	report.applied = &applied;
	report.clock_ms = wall_ms();
	report.network = fill_network(uplink, &network) ? &network : NULL;
	hf_events_fill(uplink->config.events, &report);
	err = hf_session_report(hf_wire_session(path->wire), &report);
	if (!err)
		hf_events_told(uplink->config.events, &report);
	else if (path->wire)
		hf_warn("a report cannot be sent: %s", hf_err_text(err));
	hf_reconciler_report_free(&report);
	if (path->wire)
		hf_wire_sent(path->wire);
}

void hf_uplink_tell(struct hf_uplink_path *path, Holdfast__PathState state)
{
	Holdfast__Report report = HOLDFAST__REPORT__INIT;
	const struct hf_paths *paths = &path->uplink->paths;
	Holdfast__Applied applied;
	int err;

	hf_desired_applied(path->uplink->config.desired, &applied);
	report.applied = &applied; /* so that a promotion need not send what is here */
	report.subscription = paths->path[path->index].subscribed;
	report.path = state;
	report.path_epoch = paths->epoch;
	if (state == HOLDFAST__PATH_STATE__PATH_LOST)
		report.token =
			(ProtobufCBinaryData){path->uplink->token_length, path->uplink->token};
	err = hf_session_report(hf_wire_session(path->wire), &report);
	if (err && path->wire)
		hf_warn("the standby cannot be told: %s", hf_err_text(err));
	if (path->wire)
		hf_wire_sent(path->wire);
}

static void on_report_timer(uv_timer_t *timer)
{
	struct hf_uplink *uplink = timer->data;

	HF_CHECK_MAGIC(uplink, HF_UPLINK_MAGIC);
	uplink->looking = false;
	send_report(uplink);
}

static void report_after(struct hf_uplink *uplink, uint32_t wait_ms)
{
	if (uplink->interval_ms && !uplink->closing)
		uv_timer_start(&uplink->report_timer, on_report_timer, wait_ms,
			       uplink->interval_ms);
}

void hf_uplink_changed(struct hf_uplink *uplink)
{
	HF_CHECK_MAGIC(uplink, HF_UPLINK_MAGIC);
	if (!uplink->looking)
		report_after(uplink, CHANGE_REPORT_MS);
}

void hf_uplink_looked(struct hf_uplink *uplink)
{
	HF_CHECK_MAGIC(uplink, HF_UPLINK_MAGIC);
	if (uplink->looking)
		report_after(uplink, 0);
}

void hf_uplink_forget_requests(struct hf_uplink *uplink)
{
	uplink->interval_ms = 0;
	uplink->looking = false;
	memset(uplink->waiters, 0, sizeof uplink->waiters);
	uv_timer_stop(&uplink->report_timer);
}

static void subscribe(struct hf_uplink *uplink, const Holdfast__Subscribe *request)
{
	uplink->subscription = request->subscription;
	uplink->interval_ms = request->interval_ms;
	uplink->looking = false;
	hf_events_subscribed(uplink->config.events, request);
	if (!uplink->interval_ms) {
		uv_timer_stop(&uplink->report_timer);
		return;
	}
	if (uplink->interval_ms < REPORT_MIN_MS)
		uplink->interval_ms = REPORT_MIN_MS;
	if (uplink->interval_ms > REPORT_MAX_MS)
		uplink->interval_ms = REPORT_MAX_MS;
	/* Whoever subscribes anew wants to know how things stand now. */
	uplink->looking = true;
	report_after(uplink, LOOK_MS);
	hf_reconciler_look(uplink->config.desired->reconciler);
}

/* ---- Requests ---- */

static uint64_t highest_sequence(const struct hf_uplink *uplink)
{
	uint64_t documents = uplink->config.desired->newest.sequence, actions = 0;

	if (uplink->config.actions)
		actions = hf_actions_sequence(uplink->config.actions);
	return documents > actions ? documents : actions;
}

static void answer(struct hf_uplink_path *path, Holdfast__Answer *message, uint64_t request,
		   int err, const char *reason)
{
	message->request = request;
	message->error = -err;
	if (err)
		message->reason = (char *)(uintptr_t)reason;
	if (err == HF_ESTALE)
		message->sequence = highest_sequence(path->uplink);
	if (path->wire)
		hf_session_answer(hf_wire_session(path->wire), message);
}

static void answer_plainly(struct hf_uplink_path *path, uint64_t request, int err,
			   const char *reason)
{
	Holdfast__Answer message = HOLDFAST__ANSWER__INIT;

	answer(path, &message, request, err, reason);
}

/* Answered when the document is checked and kept; what becomes of each volume is reported. */
static void answer_applied(struct hf_uplink_path *path, uint64_t request)
{
	Holdfast__Answer message = HOLDFAST__ANSWER__INIT;
	Holdfast__ApplyResult result = HOLDFAST__APPLY_RESULT__INIT;
	Holdfast__Report report = HOLDFAST__REPORT__INIT;
	Holdfast__Applied applied;

	hf_desired_applied(path->uplink->config.desired, &applied);
	hf_reconciler_report(path->uplink->config.desired->reconciler, &report);
	result.observed = &applied;
	result.volumes = report.volumes;
	result.n_volumes = report.n_volumes;
	message.result_case = HOLDFAST__ANSWER__RESULT_APPLY;
	message.apply = &result;
	answer(path, &message, request, 0, NULL);
	hf_reconciler_report_free(&report);
}

static void apply(struct hf_uplink_path *path, uint64_t request, const Holdfast__Signed *packet)
{
	struct hf_errmsg why = {""};
	int err = hf_desired_apply(path->uplink->config.desired, packet, &why);

	if (!err) {
		answer_applied(path, request);
		return;
	}
	hf_warn("a change was refused: %s (%s)", why.text, hf_err_name(err));
	answer_plainly(path, request, err, why.text);
}

static void apply_delta(struct hf_uplink_path *path, uint64_t request,
			const Holdfast__ApplyDelta *delta)
{
	Holdfast__Answer message = HOLDFAST__ANSWER__INIT;
	struct hf_errmsg why = {""};
	bool full_wanted;
	int err = hf_desired_apply_delta(path->uplink->config.desired, delta, &full_wanted, &why);

	if (!err) {
		answer_applied(path, request);
		return;
	}
	message.full_wanted = full_wanted;
	hf_warn("a change was refused: %s (%s)", why.text, hf_err_name(err));
	answer(path, &message, request, err, why.text);
}

/* ---- Actions ---- */

static void answer_action(struct hf_uplink_path *path, uint64_t request,
			  const Holdfast__ActionResult *result)
{
	Holdfast__Answer message = HOLDFAST__ANSWER__INIT;
	size_t length = holdfast__action_result__get_packed_size(result);
	uint8_t *bytes = malloc(length + 1);

	HF_ASSERT(bytes);
	holdfast__action_result__pack(result, bytes);
	message.result_case = HOLDFAST__ANSWER__RESULT_ACT;
	message.act = (ProtobufCBinaryData){.len = length, .data = bytes};
	answer(path, &message, request, 0, NULL);
	free(bytes);
}

static void act(struct hf_uplink_path *path, uint64_t request, const Holdfast__Signed *packet,
		const Holdfast__ActionTerms *terms)
{
	Holdfast__ActionResult result;
	struct hf_errmsg why = {""};
	uint64_t number;
	int err;

	if (!path->uplink->config.actions) {
		answer_plainly(path, request, HF_EIO, "the journal cannot be used");
		return;
	}
	err = hf_actions_act(path->uplink->config.actions, packet, terms, &number, &result, &why);

	if (err == 0)
		answer_action(path, request, &result);
	if (err < 0)
		answer_plainly(path, request, err, why.text);
	for (unsigned i = 0; err == 1 && i < HF_SESSION_REQUESTS_MAX; i++)
		if (path->uplink->waiters[i].request == 0) {
			path->uplink->waiters[i] = (struct hf_uplink_waiter){request, number};
			break;
		}
}

void hf_uplink_action_ended(struct hf_uplink *uplink, const Holdfast__ActionResult *result)
{
	struct hf_uplink_path *path = hf_uplink_active(uplink);

	HF_CHECK_MAGIC(uplink, HF_UPLINK_MAGIC);
	for (unsigned i = 0; i < HF_SESSION_REQUESTS_MAX; i++) {
		struct hf_uplink_waiter waiter = uplink->waiters[i];

		if (!path || waiter.request == 0 || waiter.action != result->action)
			continue;
		uplink->waiters[i].request = 0;
		answer_action(path, waiter.request, result);
	}
	if (path && path->wire)
		hf_wire_sent(path->wire);
}

static void confirm(struct hf_uplink_path *path, uint64_t request, const Holdfast__Signed *packet)
{
	struct hf_errmsg why = {""};
	int err = hf_desired_confirm(path->uplink->config.desired, packet, &why);

	answer_plainly(path, request, err, why.text);
	if (!err)
		report_after(path->uplink, CHANGE_REPORT_MS);
}

static void forget(struct hf_uplink_path *path, uint64_t request, uint64_t number)
{
	struct hf_errmsg why = {"the journal cannot be used"};
	int err = path->uplink->config.actions
			  ? hf_actions_forget(path->uplink->config.actions, number, &why)
			  : HF_EIO;

	answer_plainly(path, request, err, why.text);
}

static void drain(struct hf_uplink_path *path, uint64_t request, const Holdfast__Drain *message)
{
	if (message->endpoint[0] && !hf_uplink_path_can_leave(message->endpoint)) {
		answer_plainly(path, request, HF_EINVAL, "the endpoint is not host:port");
		return;
	}
	answer_plainly(path, request, 0, NULL);
	hf_uplink_path_leave(path, message->endpoint);
}

static void subscribe_path(struct hf_uplink_path *path, uint64_t request,
			   const Holdfast__Subscribe *message)
{
	struct hf_uplink *uplink = path->uplink;

	answer_plainly(path, request, 0, NULL);
	if (hf_uplink_active(uplink) == path) {
		subscribe(uplink, message);
		return;
	}
	hf_paths_subscribed(&uplink->paths, path->index,
			    message->interval_ms ? message->subscription : 0);
	path->told = 0; /* whoever subscribes anew wants to know how things stand now */
	hf_uplink_settle(uplink);
}

/* A standby connection carries no changes before it is promoted (invariant 5). */
static bool needs_epoch(const Holdfast__Request *request)
{
	return request->kind_case == HOLDFAST__REQUEST__KIND_APPLY ||
	       request->kind_case == HOLDFAST__REQUEST__KIND_APPLY_DELTA ||
	       request->kind_case == HOLDFAST__REQUEST__KIND_ACT ||
	       request->kind_case == HOLDFAST__REQUEST__KIND_FORGET ||
	       request->kind_case == HOLDFAST__REQUEST__KIND_CONFIRM;
}

static void rotate(struct hf_uplink_path *path, uint64_t request, const Holdfast__Signed *packet)
{
	struct hf_uplink *uplink = path->uplink;
	struct hf_errmsg why = {""};
	enum hf_trust_news news;
	int err = hf_trust_rotate(uplink->config.trust, packet, &news, &why);

	if (err)
		hf_warn("a rotation was refused: %s (%s)", why.text, hf_err_name(err));
	if (news == HF_TRUST_SIGNER)
		hf_desired_pin(uplink->config.desired, hf_trust_signer_key(uplink->config.trust));
	/* Kept already: should this fail, the next start uses it. */
	if ((news == HF_TRUST_CERTIFICATE || news == HF_TRUST_AUTHORITIES) &&
	    hf_uplink_renew_tls(uplink, &why) != 0)
		hf_error("the new certificate cannot be used yet: %s", why.text);
	answer_plainly(path, request, err, why.text);
}

static void requested(struct hf_uplink_path *path, const struct hf_session_event *event)
{
	const Holdfast__Request *request = event->requested;

	if (needs_epoch(request) && hf_uplink_active(path->uplink) != path) {
		answer_plainly(path, event->request, HF_EACCES,
			       "a standby connection carries no changes");
		return;
	}
	switch (request->kind_case) {
	case HOLDFAST__REQUEST__KIND_APPLY:
		apply(path, event->request, request->apply);
		break;
	case HOLDFAST__REQUEST__KIND_SUBSCRIBE:
		subscribe_path(path, event->request, request->subscribe);
		break;
	case HOLDFAST__REQUEST__KIND_APPLY_DELTA:
		apply_delta(path, event->request, request->apply_delta);
		break;
	case HOLDFAST__REQUEST__KIND_ACT:
		act(path, event->request, request->act, request->terms);
		break;
	case HOLDFAST__REQUEST__KIND_CONFIRM:
		confirm(path, event->request, request->confirm);
		break;
	case HOLDFAST__REQUEST__KIND_FORGET:
		forget(path, event->request, request->forget);
		break;
	case HOLDFAST__REQUEST__KIND_PEERS:
		answer_plainly(path, event->request, 0, NULL);
		hf_uplink_path_peers(path, request->peers);
		break;
	case HOLDFAST__REQUEST__KIND_DRAIN:
		drain(path, event->request, request->drain);
		break;
	case HOLDFAST__REQUEST__KIND_ROTATE:
		rotate(path, event->request, request->rotate);
		break;
	default:
		answer_plainly(path, event->request, HF_EUNSUPPORTED,
			       "this software does not serve the request");
		break;
	}
}

/* ---- The session ---- */

/* Before anything is answered: the provider takes the first answer for the word that it is kept. */
static int keep_token(struct hf_uplink *uplink, const Holdfast__Held *message,
		      struct hf_errmsg *why)
{
	int err;

	if (message->token.len != HF_KEPT_TOKEN_BYTES)
		return 0;
	err = hf_kept_set_token(uplink->config.kept, message->token.data, why);
	if (err)
		return err;
	memcpy(uplink->token, message->token.data, HF_KEPT_TOKEN_BYTES);
	uplink->token_length = HF_KEPT_TOKEN_BYTES;
	return 0;
}

static void compare_clocks(struct hf_uplink *uplink, uint64_t provider_ms)
{
	int64_t ahead_ms = (int64_t)(provider_ms - wall_ms());

	if (provider_ms == 0)
		return;
	uplink->provider_clock_known = true;
	uplink->provider_ahead_ms = ahead_ms;
	if (ahead_ms > CLOCKS_DIFFER_MS || ahead_ms < -CLOCKS_DIFFER_MS)
		hf_warn("the provider's clock is %" PRId64 " s %s this machine's: one is wrong",
			(ahead_ms < 0 ? -ahead_ms : ahead_ms) / 1000,
			ahead_ms < 0 ? "behind" : "ahead of");
}

static void held(struct hf_uplink_path *path, const Holdfast__Held *message)
{
	struct hf_uplink *uplink = path->uplink;
	struct hf_errmsg why;

	if (keep_token(uplink, message, &why) != 0 ||
	    hf_kept_set_epoch(uplink->config.kept, message->epoch, &why) != 0) {
		/* After a restart an older connection could be taken for the newest (invariant 5).
		 */
		hf_error("the connection's epoch or token cannot be kept, so it is not used: %s",
			 why.text);
		hf_session_end(hf_wire_session(path->wire), HF_EIO, why.text);
		return;
	}
	hf_trust_clock_good(uplink->config.trust);
	compare_clocks(uplink, message->clock_ms);
	hf_uplink_path_held(path, message);
}

void hf_uplink_event(struct hf_uplink_path *path, const struct hf_session_event *event)
{
	switch (event->type) {
	case HF_EVENT_HELD:
		held(path, event->held);
		break;
	case HF_EVENT_PARKED:
		hf_uplink_path_parked(path, event->parked);
		break;
	case HF_EVENT_REQUEST:
		requested(path, event);
		break;
	default:
		break;
	}
}

int hf_uplink_say_connect(struct hf_uplink_path *path, Holdfast__Role role)
{
	Holdfast__Connect connect = HOLDFAST__CONNECT__INIT;
	struct hf_uplink *uplink = path->uplink;
	Holdfast__Applied applied;
	uint8_t key_id[HF_KEY_ID_BYTES];
	char version[] = HF_VERSION;
	int err;

	hf_desired_applied(uplink->config.desired, &applied);
	connect.gateway = uplink->gateway;
	connect.role = role;
	connect.boot = (ProtobufCBinaryData){sizeof uplink->boot, uplink->boot};
	connect.capability = HF_CAPABILITY;
	connect.applied = &applied;
	connect.last_epoch = uplink->paths.epoch;
	connect.version = version;
	hf_sign_key_id(hf_trust_signer_key(uplink->config.trust), key_id);
	connect.signer_key = (ProtobufCBinaryData){sizeof key_id, key_id};
	connect.authorities = hf_trust_authorities(uplink->config.trust);
	connect.token = (ProtobufCBinaryData){uplink->token_length, uplink->token};
	err = hf_session_connect(hf_wire_session(path->wire), hf_wire_now_ms(path->wire), &connect);
	if (path->wire)
		hf_wire_sent(path->wire);
	return err;
}
