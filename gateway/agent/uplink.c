/* The management connection (uplink.h): dialler → stream → session → requests. One connection at a
 * time; when it ends the dialler makes the next one after its back-off.
 *
 *   connecting → (Held) held | (Parked) parked → (end) waiting → connecting … */
#include "gateway/agent/uplink.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "gateway/agent/wire.h"
#include "net/dial.h"

#define UPLINK_MAGIC     0x55504c4eu
#define BOOT_BYTES       16u
#define REPORT_MIN_MS    100u
#define REPORT_MAX_MS    3600000u
#define LOOK_MS          500u /* volumed has this long to say how things stand for a first report */
#define CHANGE_REPORT_MS 20u  /* several changes of one moment make one report */

/* A request that waits for the end of an action. */
struct waiter {
	uint64_t request, action; /* 0: free */
};

struct hf_uplink {
	uint32_t magic;
	struct hf_uplink_config config;
	struct hf_tls *tls;
	struct hf_dialler *dialler;
	struct hf_wire *wire; /* NULL: not connected */
	const char *state;
	char last_error[200];
	uint64_t tenant, gateway, epoch, highest_epoch;
	uint8_t boot[BOOT_BYTES]; /* of this run of the agent */
	uint32_t retry_ms;
	uv_timer_t report_timer;
	uint64_t subscription;
	uint32_t interval_ms; /* 0: no subscription */
	struct waiter waiters[HF_SESSION_REQUESTS_MAX];
	uint64_t made_with; /* serial of the network settings of this connection */
	bool looking;       /* its first report waits for how things stand now */
	unsigned open;      /* parts not yet closed */
	bool closing;
	void (*closed)(void *context);
	void *closed_context;
};

static void note_error(struct hf_uplink *uplink, const char *text)
{
	snprintf(uplink->last_error, sizeof uplink->last_error, "%s", text);
}

/* ---- Reports ---- */

static bool fill_network(const struct hf_uplink *uplink, Holdfast__NetworkReport *network)
{
	if (!uplink->config.network || !hf_network_report(uplink->config.network, network))
		return false;
	network->proved = uplink->epoch != 0 &&
			  uplink->made_with == hf_network_serial(uplink->config.network);
	return true;
}

static void send_report(struct hf_uplink *uplink)
{
	Holdfast__Report report = HOLDFAST__REPORT__INIT;
	Holdfast__NetworkReport network;
	Holdfast__Applied applied;
	int err;

	if (!uplink->wire || !uplink->interval_ms)
		return;
	hf_desired_applied(uplink->config.desired, &applied);
	hf_reconciler_report(uplink->config.desired->reconciler, &report);
	report.subscription = uplink->subscription;
	report.applied = &applied;
	report.network = fill_network(uplink, &network) ? &network : NULL;
	hf_events_fill(uplink->config.events, &report);
	err = hf_session_report(hf_wire_session(uplink->wire), &report);
	if (err && uplink->wire)
		hf_warn("a report cannot be sent: %s", hf_err_text(err));
	hf_reconciler_report_free(&report);
	if (uplink->wire)
		hf_wire_sent(uplink->wire);
}

static void on_report_timer(uv_timer_t *timer)
{
	struct hf_uplink *uplink = timer->data;

	HF_CHECK_MAGIC(uplink, UPLINK_MAGIC);
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
	HF_CHECK_MAGIC(uplink, UPLINK_MAGIC);
	if (!uplink->looking)
		report_after(uplink, CHANGE_REPORT_MS);
}

void hf_uplink_looked(struct hf_uplink *uplink)
{
	HF_CHECK_MAGIC(uplink, UPLINK_MAGIC);
	if (uplink->looking)
		report_after(uplink, 0);
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

static void answer(struct hf_uplink *uplink, Holdfast__Answer *message, uint64_t request, int err,
		   const char *reason)
{
	message->request = request;
	message->error = -err;
	if (err)
		message->reason = (char *)(uintptr_t)reason;
	if (uplink->wire)
		hf_session_answer(hf_wire_session(uplink->wire), message);
}

static void answer_plainly(struct hf_uplink *uplink, uint64_t request, int err, const char *reason)
{
	Holdfast__Answer message = HOLDFAST__ANSWER__INIT;

	answer(uplink, &message, request, err, reason);
}

/* Answered when the document is checked and kept; what becomes of each volume is reported. */
static void answer_applied(struct hf_uplink *uplink, uint64_t request)
{
	Holdfast__Answer message = HOLDFAST__ANSWER__INIT;
	Holdfast__ApplyResult result = HOLDFAST__APPLY_RESULT__INIT;
	Holdfast__Report report = HOLDFAST__REPORT__INIT;
	Holdfast__Applied applied;

	hf_desired_applied(uplink->config.desired, &applied);
	hf_reconciler_report(uplink->config.desired->reconciler, &report);
	result.observed = &applied;
	result.volumes = report.volumes;
	result.n_volumes = report.n_volumes;
	message.result_case = HOLDFAST__ANSWER__RESULT_APPLY;
	message.apply = &result;
	answer(uplink, &message, request, 0, NULL);
	hf_reconciler_report_free(&report);
}

static void apply(struct hf_uplink *uplink, uint64_t request, const Holdfast__Signed *packet)
{
	struct hf_errmsg why = {""};
	int err = hf_desired_apply(uplink->config.desired, packet, &why);

	if (!err) {
		answer_applied(uplink, request);
		return;
	}
	hf_warn("a change was refused: %s (%s)", why.text, hf_err_name(err));
	answer_plainly(uplink, request, err, why.text);
}

static void apply_delta(struct hf_uplink *uplink, uint64_t request,
			const Holdfast__ApplyDelta *delta)
{
	Holdfast__Answer message = HOLDFAST__ANSWER__INIT;
	struct hf_errmsg why = {""};
	bool full_wanted;
	int err = hf_desired_apply_delta(uplink->config.desired, delta, &full_wanted, &why);

	if (!err) {
		answer_applied(uplink, request);
		return;
	}
	message.full_wanted = full_wanted;
	hf_warn("a change was refused: %s (%s)", why.text, hf_err_name(err));
	answer(uplink, &message, request, err, why.text);
}

/* ---- Actions ---- */

static void answer_action(struct hf_uplink *uplink, uint64_t request,
			  const Holdfast__ActionResult *result)
{
	Holdfast__Answer message = HOLDFAST__ANSWER__INIT;
	size_t length = holdfast__action_result__get_packed_size(result);
	uint8_t *bytes = malloc(length + 1);

	HF_ASSERT(bytes);
	holdfast__action_result__pack(result, bytes);
	message.result_case = HOLDFAST__ANSWER__RESULT_ACT;
	message.act = (ProtobufCBinaryData){.len = length, .data = bytes};
	answer(uplink, &message, request, 0, NULL);
	free(bytes);
}

static void act(struct hf_uplink *uplink, uint64_t request, const Holdfast__Signed *packet,
		const Holdfast__ActionTerms *terms)
{
	Holdfast__ActionResult result;
	struct hf_errmsg why = {""};
	uint64_t number;
	int err;

	if (!uplink->config.actions) {
		answer_plainly(uplink, request, HF_EIO, "the journal cannot be used");
		return;
	}
	err = hf_actions_act(uplink->config.actions, packet, terms, &number, &result, &why);

	if (err == 0)
		answer_action(uplink, request, &result);
	if (err < 0)
		answer_plainly(uplink, request, err, why.text);
	for (unsigned i = 0; err == 1 && i < HF_SESSION_REQUESTS_MAX; i++)
		if (uplink->waiters[i].request == 0) {
			uplink->waiters[i] = (struct waiter){request, number};
			break;
		}
}

void hf_uplink_action_ended(struct hf_uplink *uplink, const Holdfast__ActionResult *result)
{
	HF_CHECK_MAGIC(uplink, UPLINK_MAGIC);
	for (unsigned i = 0; i < HF_SESSION_REQUESTS_MAX; i++) {
		struct waiter waiter = uplink->waiters[i];

		if (waiter.request == 0 || waiter.action != result->action)
			continue;
		uplink->waiters[i].request = 0;
		answer_action(uplink, waiter.request, result);
	}
	if (uplink->wire)
		hf_wire_sent(uplink->wire);
}

static void confirm(struct hf_uplink *uplink, uint64_t request, const Holdfast__Signed *packet)
{
	struct hf_errmsg why = {""};
	int err = hf_desired_confirm(uplink->config.desired, packet, &why);

	answer_plainly(uplink, request, err, why.text);
	if (!err)
		report_after(uplink, CHANGE_REPORT_MS);
}

static void forget(struct hf_uplink *uplink, uint64_t request, uint64_t number)
{
	struct hf_errmsg why = {"the journal cannot be used"};
	int err = uplink->config.actions ? hf_actions_forget(uplink->config.actions, number, &why)
					 : HF_EIO;

	answer_plainly(uplink, request, err, why.text);
}

static void drain(struct hf_uplink *uplink, uint64_t request, const Holdfast__Drain *message)
{
	if (message->endpoint[0] && hf_dialler_prefer(uplink->dialler, message->endpoint) != 0) {
		answer_plainly(uplink, request, HF_EINVAL, "the endpoint is not host:port");
		return;
	}
	answer_plainly(uplink, request, 0, NULL);
	if (uplink->wire)
		hf_session_end(hf_wire_session(uplink->wire), HF_EAGAIN,
			       "the provider asked to connect anew");
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

static void requested(struct hf_uplink *uplink, const struct hf_session_event *event)
{
	const Holdfast__Request *request = event->requested;

	if (needs_epoch(request) && hf_session_epoch(hf_wire_session(uplink->wire)) == 0) {
		answer_plainly(uplink, event->request, HF_EACCES,
			       "a standby connection carries no changes");
		return;
	}
	switch (request->kind_case) {
	case HOLDFAST__REQUEST__KIND_APPLY:
		apply(uplink, event->request, request->apply);
		break;
	case HOLDFAST__REQUEST__KIND_SUBSCRIBE:
		answer_plainly(uplink, event->request, 0, NULL);
		subscribe(uplink, request->subscribe);
		break;
	case HOLDFAST__REQUEST__KIND_APPLY_DELTA:
		apply_delta(uplink, event->request, request->apply_delta);
		break;
	case HOLDFAST__REQUEST__KIND_ACT:
		act(uplink, event->request, request->act, request->terms);
		break;
	case HOLDFAST__REQUEST__KIND_CONFIRM:
		confirm(uplink, event->request, request->confirm);
		break;
	case HOLDFAST__REQUEST__KIND_FORGET:
		forget(uplink, event->request, request->forget);
		break;
	case HOLDFAST__REQUEST__KIND_DRAIN:
		drain(uplink, event->request, request->drain);
		break;
	default:
		answer_plainly(uplink, event->request, HF_EUNSUPPORTED,
			       "this software does not serve the request");
		break;
	}
}

/* ---- The session ---- */

static void held(struct hf_uplink *uplink, const Holdfast__Held *message)
{
	struct hf_errmsg why;

	if (hf_kept_set_epoch(uplink->config.kept, message->epoch, &why) != 0) {
		/* After a restart an older connection could be taken for the newest (invariant 5).
		 */
		hf_error("the connection's epoch cannot be kept, so it is not used: %s", why.text);
		hf_session_end(hf_wire_session(uplink->wire), HF_EIO, why.text);
		return;
	}
	uplink->epoch = uplink->highest_epoch = message->epoch;
	uplink->state = "held";
	uplink->last_error[0] = '\0';
	hf_dialler_good(uplink->dialler);
	hf_info("held with epoch %" PRIu64 ", ping every %u ms", message->epoch,
		message->ping_interval_ms);
}

static void ended(struct hf_uplink *uplink, const struct hf_session_event *event)
{
	struct hf_wire *wire = uplink->wire;

	if (uplink->closing || !wire)
		return;
	uplink->wire = NULL;
	hf_wire_close(wire, true);
	uplink->interval_ms = 0;
	uplink->looking = false;
	memset(uplink->waiters, 0, sizeof uplink->waiters);
	uv_timer_stop(&uplink->report_timer);
	uplink->state = "waiting";
	uplink->epoch = 0;
	note_error(uplink, event->reason);
	hf_warn("the management connection ended: %s (%s)", event->reason,
		event->status ? hf_err_name(event->status) : "orderly");
	hf_dialler_again(uplink->dialler, uplink->retry_ms);
	uplink->retry_ms = 0;
}

static void on_event(void *context, const struct hf_session_event *event)
{
	struct hf_uplink *uplink = context;

	HF_CHECK_MAGIC(uplink, UPLINK_MAGIC);
	switch (event->type) {
	case HF_EVENT_HELD:
		held(uplink, event->held);
		break;
	case HF_EVENT_PARKED:
		uplink->state = "parked";
		hf_dialler_good(uplink->dialler);
		break;
	case HF_EVENT_REQUEST:
		requested(uplink, event);
		break;
	case HF_EVENT_RETRY:
		uplink->retry_ms = event->retry_ms;
		break;
	case HF_EVENT_ENDED:
		ended(uplink, event);
		break;
	default:
		break;
	}
}

static int say_connect(struct hf_uplink *uplink)
{
	Holdfast__Connect connect = HOLDFAST__CONNECT__INIT;
	Holdfast__Applied applied;
	char version[] = HF_VERSION;
	int err;

	hf_desired_applied(uplink->config.desired, &applied);
	connect.gateway = uplink->gateway;
	connect.role = HOLDFAST__ROLE__ROLE_ACTIVE;
	connect.boot = (ProtobufCBinaryData){sizeof uplink->boot, uplink->boot};
	connect.capability = HF_CAPABILITY;
	connect.applied = &applied;
	connect.last_epoch = uplink->highest_epoch;
	connect.version = version;
	err = hf_session_connect(hf_wire_session(uplink->wire), hf_wire_now_ms(uplink->wire),
				 &connect);
	if (uplink->wire)
		hf_wire_sent(uplink->wire);
	return err;
}

static void on_connected(void *context, struct hf_stream *stream)
{
	struct hf_uplink *uplink = context;
	struct hf_wire_config config = {.kind = HF_SESSION_MANAGEMENT,
					.floor_epoch = uplink->highest_epoch,
					.event = on_event,
					.context = uplink};

	HF_CHECK_MAGIC(uplink, UPLINK_MAGIC);
	uplink->state = "connecting";
	if (uplink->config.network)
		uplink->made_with = hf_network_serial(uplink->config.network);
	if (hf_wire_open(uplink->config.loop, stream, &config, &uplink->wire) != 0) {
		hf_dialler_again(uplink->dialler, 0);
		return;
	}
	if (say_connect(uplink) != 0 && uplink->wire)
		hf_session_end(hf_wire_session(uplink->wire), HF_ENOMEM, "Connect cannot be sent");
}

static void on_waiting(void *context, uint32_t wait_ms, int err, const char *reason)
{
	struct hf_uplink *uplink = context;

	uplink->state = "waiting";
	if (err)
		note_error(uplink, reason);
	hf_info("the provider is not reached: %s; trying again in %u ms", reason, wait_ms);
}

void hf_uplink_status(const struct hf_uplink *uplink, struct hf_uplink_status *status)
{
	HF_CHECK_MAGIC(uplink, UPLINK_MAGIC);
	status->state = uplink->state;
	status->epoch = uplink->epoch;
	status->last_error = uplink->last_error;
}

/* ---- Opening and closing ---- */

static void part_closed(struct hf_uplink *uplink)
{
	void (*closed)(void *) = uplink->closed;
	void *closed_context = uplink->closed_context;

	if (--uplink->open)
		return;
	hf_tls_destroy(uplink->tls);
	uplink->magic = 0;
	free(uplink);
	if (closed)
		closed(closed_context);
}

static void on_dialler_closed(void *context)
{
	part_closed(context);
}

static void on_timer_closed(uv_handle_t *handle)
{
	part_closed(handle->data);
}

void hf_uplink_close(struct hf_uplink *uplink, void (*closed)(void *context), void *context)
{
	HF_CHECK_MAGIC(uplink, UPLINK_MAGIC);
	HF_ASSERT(!uplink->closing);
	uplink->closing = true;
	uplink->closed = closed;
	uplink->closed_context = context;
	if (uplink->wire)
		hf_wire_close(uplink->wire, true);
	uplink->wire = NULL;
	uplink->open = 2;
	hf_dialler_close(uplink->dialler, on_dialler_closed, uplink);
	uv_close((uv_handle_t *)&uplink->report_timer, on_timer_closed);
}

static void use_network(struct hf_uplink *uplink)
{
	struct hf_errmsg message = {""};

	if (uplink->config.network &&
	    hf_network_use(uplink->config.network, uplink->dialler, &message) != 0)
		hf_warn("the network settings: %s", message.text);
}

void hf_uplink_network_changed(struct hf_uplink *uplink)
{
	HF_CHECK_MAGIC(uplink, UPLINK_MAGIC);
	if (uplink->closing)
		return;
	use_network(uplink);
	if (uplink->wire)
		hf_session_end(hf_wire_session(uplink->wire), HF_EAGAIN,
			       "the network settings changed");
	hf_dialler_now(uplink->dialler);
}

static int open_dialler(struct hf_uplink *uplink, struct hf_errmsg *message)
{
	struct hf_dialler_callbacks callbacks = {
		.connected = on_connected, .waiting = on_waiting, .context = uplink};
	const Holdfast__ActivateIssued *issued = uplink->config.issued;
	const char *override[HF_DIAL_ENDPOINTS_MAX];
	struct hf_endpoints endpoints = {.count = 0};
	int err = 0;

	if (uplink->config.provider[0])
		err = hf_endpoints_parse(uplink->config.provider, &endpoints, message);
	if (!err && endpoints.count)
		err = hf_dialler_open(uplink->config.loop, uplink->tls, override,
				      hf_endpoints_list(&endpoints, override), &callbacks,
				      &uplink->dialler, message);
	else if (!err)
		err = hf_dialler_open(uplink->config.loop, uplink->tls,
				      (const char *const *)issued->endpoints, issued->n_endpoints,
				      &callbacks, &uplink->dialler, message);
	if (!err)
		hf_dialler_set_proxy(uplink->dialler, uplink->config.proxy);
	if (!err)
		use_network(uplink);
	return err;
}

int hf_uplink_open(const struct hf_uplink_config *config, struct hf_uplink **out,
		   struct hf_errmsg *message)
{
	const Holdfast__ActivateIssued *issued = config->issued;
	struct hf_tls_options tls = {.alpn = HF_ALPN_MANAGEMENT,
				     .key = config->identity,
				     .certificate = issued->certificate.data,
				     .certificate_length = issued->certificate.len,
				     .authority = issued->ca_certificate.data,
				     .authority_length = issued->ca_certificate.len};
	struct hf_uplink *uplink = calloc(1, sizeof *uplink);
	int err;

	if (!uplink)
		return hf_fail(message, HF_ENOMEM, "out of memory");
	uplink->magic = UPLINK_MAGIC;
	uplink->config = *config;
	uplink->state = "connecting";
	uplink->tenant = issued->tenant;
	uplink->gateway = issued->gateway;
	uplink->highest_epoch = hf_kept_epoch(config->kept);
	hf_random(uplink->boot, sizeof uplink->boot);
	err = hf_tls_create(&tls, &uplink->tls, message);
	if (!err)
		err = open_dialler(uplink, message);
	if (err) {
		hf_tls_destroy(uplink->tls);
		free(uplink);
		return err;
	}
	uplink->config.issued = NULL;
	uplink->config.proxy = NULL;
	uplink->report_timer.data = uplink;
	uv_timer_init(config->loop, &uplink->report_timer);
	*out = uplink;
	return 0;
}
