/* The connections of the uplink: an active one and, where the provider promotes standbys and has
 * more than one endpoint, a standby at another of them. What is wanted follows from proto/paths.h;
 * here it is done: dialling, ending, and telling the standby that the active one is lost.
 *
 *   stream → wire → session events → hf_paths_… → hf_uplink_settle
 *
 * Loop's thread. A dialler is made when its path is first wanted and then kept. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "gateway/agent/uplink_internal.h"

struct hf_uplink_path *hf_uplink_active(struct hf_uplink *uplink)
{
	int active = hf_paths_active(&uplink->paths);

	return active < 0 ? NULL : &uplink->path[active];
}

static void note_error(struct hf_uplink *uplink, const char *text)
{
	snprintf(uplink->last_error, sizeof uplink->last_error, "%s", text);
}

/* ---- Endpoints ---- */

static void add_endpoint(struct hf_uplink *uplink, const char *endpoint)
{
	if (uplink->endpoint_count == HF_DIAL_ENDPOINTS_MAX)
		return;
	for (size_t i = 0; i < uplink->endpoint_count; i++)
		if (strcmp(uplink->endpoints[i], endpoint) == 0)
			return;
	uplink->endpoints[uplink->endpoint_count] = strdup(endpoint);
	if (uplink->endpoints[uplink->endpoint_count])
		uplink->endpoint_count++;
}

static void forget_endpoints(struct hf_uplink *uplink)
{
	while (uplink->endpoint_count > 0)
		free(uplink->endpoints[--uplink->endpoint_count]);
}

/* What the configuration or the network settings name stands alone; true: they name some. */
static bool take_named_endpoints(struct hf_uplink *uplink)
{
	const char *list[HF_DIAL_ENDPOINTS_MAX];
	struct hf_endpoints configured;
	size_t count = 0;

	/* The agent checked it when it read its configuration. */
	if (uplink->config.provider[0] &&
	    hf_endpoints_parse(uplink->config.provider, &configured, NULL) == 0)
		count = hf_endpoints_list(&configured, list);
	else if (uplink->config.network)
		count = hf_network_endpoints(uplink->config.network, list);
	if (count == 0)
		return false;
	forget_endpoints(uplink);
	for (size_t i = 0; i < count; i++)
		add_endpoint(uplink, list[i]);
	return true;
}

/* Else it is where processes are now, as the holder says, and behind them what activation gave, for
 * which there is always room: the holder may only add, and whoever answers there must show a
 * certificate all the same. */
static void take_endpoints(struct hf_uplink *uplink)
{
	size_t kept = uplink->issued_count < HF_DIAL_ENDPOINTS_MAX / 2 ? uplink->issued_count
								       : HF_DIAL_ENDPOINTS_MAX / 2;

	if (!take_named_endpoints(uplink)) {
		forget_endpoints(uplink);
		for (size_t i = 0; i < uplink->told.count &&
				   uplink->endpoint_count < HF_DIAL_ENDPOINTS_MAX - kept;
		     i++)
			add_endpoint(uplink, uplink->told.text[i]);
		for (size_t i = 0; i < uplink->issued_count; i++)
			add_endpoint(uplink, uplink->issued[i]);
	}
	for (unsigned i = 0; i < HF_PATHS; i++)
		if (uplink->path[i].dialler)
			hf_dialler_set_endpoints(uplink->path[i].dialler,
						 (const char *const *)uplink->endpoints,
						 uplink->endpoint_count);
	uplink->paths.elsewhere = uplink->endpoint_count > 1;
}

static bool is_told(const struct hf_uplink *uplink, const char *endpoint)
{
	for (size_t i = 0; i < uplink->told.count; i++)
		if (strcmp(uplink->told.text[i], endpoint) == 0)
			return true;
	return false;
}

/* Kept when others than before are named, so that an agent that starts while the processes of its
 * activation are gone finds those that came since. */
static void learn_endpoints(struct hf_uplink *uplink, char **told, size_t told_count)
{
	struct hf_endpoints next = {.count = 0};
	struct hf_errmsg message;
	bool news = false;

	for (size_t i = 0; i < told_count && next.count < HF_DIAL_ENDPOINTS_MAX; i++) {
		if (strlen(told[i]) >= HF_ENDPOINT_MAX || !hf_uplink_path_can_leave(told[i]))
			continue;
		news |= !is_told(uplink, told[i]);
		snprintf(next.text[next.count++], HF_ENDPOINT_MAX, "%s", told[i]);
	}
	if (next.count == 0)
		return;
	news |= next.count != uplink->told.count;
	uplink->told = next;
	if (news && hf_kept_set_endpoints(uplink->config.kept, &next, &message) != 0)
		hf_warn("%s", message.text);
	take_endpoints(uplink);
}

static void use_network(struct hf_uplink_path *path)
{
	struct hf_errmsg message = {""};

	if (path->uplink->config.network && path->dialler &&
	    hf_network_use(path->uplink->config.network, path->dialler, &message) != 0)
		hf_warn("the network settings: %s", message.text);
}

/* ---- One path ---- */

static void path_ended(struct hf_uplink_path *path, const struct hf_session_event *event)
{
	struct hf_uplink *uplink = path->uplink;
	struct hf_wire *wire = path->wire;
	bool active = hf_uplink_active(uplink) == path;

	if (uplink->closing || !wire)
		return;
	path->wire = NULL;
	hf_wire_close(wire, true);
	if (active)
		hf_uplink_forget_requests(uplink);
	hf_paths_ended(&uplink->paths, path->index);
	path->lost = true;
	path->told = 0;
	note_error(uplink, event->reason);
	hf_warn("the management connection to %s ended: %s (%s)", path->endpoint, event->reason,
		event->status ? hf_err_name(event->status) : "orderly");
	hf_uplink_settle(uplink);
}

static void on_event(void *context, const struct hf_session_event *event)
{
	struct hf_uplink_path *path = context;

	HF_CHECK_MAGIC(path, HF_UPLINK_PATH_MAGIC);
	if (event->type == HF_EVENT_RETRY) {
		path->retry_ms = event->retry_ms;
		if (event->endpoint[0])
			hf_dialler_prefer(path->dialler, event->endpoint);
	} else if (event->type == HF_EVENT_ENDED) {
		path_ended(path, event);
	} else {
		hf_uplink_event(path, event);
	}
}

/* A holder may send us elsewhere, once; what is reached there says nothing of the settings. */
static bool is_ours(const struct hf_uplink *uplink, const char *endpoint)
{
	for (size_t i = 0; i < uplink->endpoint_count; i++)
		if (strcmp(uplink->endpoints[i], endpoint) == 0)
			return true;
	return false;
}

static void on_connected(void *context, struct hf_stream *stream)
{
	struct hf_uplink_path *path = context;
	struct hf_uplink *uplink = path->uplink;
	struct hf_wire_config config = {.kind = HF_SESSION_MANAGEMENT,
					.floor_epoch = uplink->paths.epoch,
					.event = on_event,
					.context = path};
	Holdfast__Role role;

	HF_CHECK_MAGIC(path, HF_UPLINK_PATH_MAGIC);
	role = hf_paths_connected(&uplink->paths, path->index);
	snprintf(path->endpoint, sizeof path->endpoint, "%s", hf_dialler_endpoint(path->dialler));
	if (uplink->config.network)
		path->made_with = is_ours(uplink, path->endpoint)
					  ? hf_network_serial(uplink->config.network)
					  : HF_PROVES_NOTHING;
	if (hf_wire_open(uplink->config.loop, stream, &config, &path->wire) != 0) {
		hf_paths_ended(&uplink->paths, path->index);
		path->lost = true;
		hf_uplink_settle(uplink);
		return;
	}
	if (hf_uplink_say_connect(path, role) != 0 && path->wire)
		hf_session_end(hf_wire_session(path->wire), HF_ENOMEM, "Connect cannot be sent");
}

static void on_waiting(void *context, uint32_t wait_ms, int err, const char *reason)
{
	struct hf_uplink_path *path = context;

	if (err)
		note_error(path->uplink, reason);
	hf_info("%s: %s; trying again in %u ms",
		hf_uplink_active(path->uplink) ? "no standby" : "the provider is not reached",
		reason, wait_ms);
}

static int open_dialler(struct hf_uplink_path *path, struct hf_errmsg *message)
{
	struct hf_dialler_callbacks callbacks = {
		.connected = on_connected, .waiting = on_waiting, .context = path};
	struct hf_uplink *uplink = path->uplink;
	int err = hf_dialler_open(uplink->config.loop, uplink->tls,
				  (const char *const *)uplink->endpoints, uplink->endpoint_count,
				  &callbacks, &path->dialler, message);

	if (err)
		return err;
	hf_dialler_set_proxy(path->dialler, uplink->proxied ? &uplink->proxy : NULL);
	use_network(path);
	hf_dialler_set_endpoints(path->dialler, (const char *const *)uplink->endpoints,
				 uplink->endpoint_count);
	return 0;
}

/* ---- What follows ---- */

static void dial(struct hf_uplink_path *path)
{
	struct hf_uplink *uplink = path->uplink;
	struct hf_uplink_path *active = hf_uplink_active(uplink);
	bool moving = uplink->paths.moving == (int)path->index;
	struct hf_errmsg message;

	hf_paths_dialling(&uplink->paths, path->index);
	if (!path->dialler && open_dialler(path, &message) != 0) {
		hf_error("%s", message.text); /* out of memory: the next event tries again */
		hf_paths_ended(&uplink->paths, path->index);
		return;
	}
	hf_dialler_avoid(path->dialler, active ? active->endpoint : "");
	if (path->lost && !moving)
		hf_dialler_again(path->dialler, path->retry_ms);
	else
		hf_dialler_now(path->dialler);
	path->lost = false;
	path->retry_ms = 0;
}

static void close_path(struct hf_uplink_path *path)
{
	if (path->wire) {
		hf_session_end(hf_wire_session(path->wire), HF_ECANCELED,
			       "the other connection is the active one");
		return; /* path_ended has settled */
	}
	hf_dialler_rest(path->dialler);
	hf_paths_ended(&path->uplink->paths, path->index);
	path->lost = true;
}

void hf_uplink_settle(struct hf_uplink *uplink)
{
	for (unsigned i = 0; i < HF_PATHS && !uplink->closing; i++)
		if (hf_paths_must_close(&uplink->paths, i))
			close_path(&uplink->path[i]);
	for (unsigned i = 0; i < HF_PATHS && !uplink->closing; i++) {
		struct hf_uplink_path *path = &uplink->path[i];

		if (hf_paths_wants_dial(&uplink->paths, i))
			dial(path);
		if (uplink->paths.path[i].phase == HF_PATHS_PARKED &&
		    uplink->paths.path[i].subscribed &&
		    path->told != (int)hf_paths_tells(&uplink->paths, i)) {
			path->told = (int)hf_paths_tells(&uplink->paths, i);
			hf_uplink_tell(path, hf_paths_tells(&uplink->paths, i));
		}
	}
}

static void on_standby_due(uv_timer_t *timer)
{
	struct hf_uplink *uplink = timer->data;

	HF_CHECK_MAGIC(uplink, HF_UPLINK_MAGIC);
	uplink->paths.standby_due = true;
	hf_uplink_settle(uplink);
}

/* When all come back at once, standbys must not take the places of those without any. */
static void expect_standby(struct hf_uplink *uplink, uint32_t within_ms)
{
	uint32_t random;

	hf_random(&random, sizeof random);
	uplink->paths.standby_due = false;
	uv_timer_start(&uplink->standby_timer, on_standby_due, within_ms ? random % within_ms : 0,
		       0);
}

void hf_uplink_path_peers(struct hf_uplink_path *path, const Holdfast__Peers *peers)
{
	struct hf_uplink *uplink = path->uplink;
	bool alone = !uplink->paths.elsewhere;

	if (hf_uplink_active(uplink) != path)
		return;
	learn_endpoints(uplink, peers->endpoints, peers->n_endpoints);
	if (alone)
		expect_standby(uplink, peers->standby_ms);
	hf_uplink_settle(uplink);
}

void hf_uplink_path_held(struct hf_uplink_path *path, const Holdfast__Held *held)
{
	struct hf_uplink *uplink = path->uplink;

	hf_uplink_forget_requests(uplink); /* of the connection before */
	hf_paths_held(&uplink->paths, path->index, held);
	for (unsigned i = 0; i < HF_PATHS; i++) {
		struct hf_uplink_path *two = &uplink->path[i];

		if (two == path)
			continue;
		if (two->wire)
			hf_session_raise_floor(hf_wire_session(two->wire), held->epoch);
		if (two->dialler) /* it may be on its way to this very endpoint */
			hf_dialler_avoid(two->dialler, path->endpoint);
	}
	uplink->last_error[0] = '\0';
	hf_dialler_good(path->dialler);
	learn_endpoints(uplink, held->endpoints, held->n_endpoints);
	hf_info("held by %s with epoch %" PRIu64 ", ping every %u ms", path->endpoint, held->epoch,
		held->ping_interval_ms);
	expect_standby(uplink, held->standby_ms);
	hf_uplink_settle(uplink);
}

void hf_uplink_path_parked(struct hf_uplink_path *path, const Holdfast__Parked *parked)
{
	hf_paths_parked(&path->uplink->paths, path->index, parked);
	if (!hf_paths_must_close(&path->uplink->paths, path->index)) {
		hf_dialler_good(path->dialler);
		hf_info("standby at %s", path->endpoint);
	}
	hf_uplink_settle(path->uplink);
}

/* ---- Drain ---- */

bool hf_uplink_path_can_leave(const char *endpoint)
{
	char host[256];
	uint16_t port;

	return hf_endpoint_parse(endpoint, host, sizeof host, &port) == 0;
}

void hf_uplink_path_leave(struct hf_uplink_path *path, const char *endpoint)
{
	struct hf_uplink *uplink = path->uplink;
	struct hf_uplink_path *two = &uplink->path[1 - path->index];
	bool there = !endpoint[0] || strcmp(two->endpoint, endpoint) == 0;
	struct hf_errmsg message;

	switch (hf_paths_drain(&uplink->paths, path->index, there)) {
	case HF_LEAVE_END:
		if (endpoint[0])
			hf_dialler_prefer(path->dialler, endpoint);
		if (path->wire)
			hf_session_end(hf_wire_session(path->wire), HF_EAGAIN,
				       "the provider asked to connect anew");
		return;
	case HF_LEAVE_DIAL:
		if (!two->dialler && open_dialler(two, &message) != 0)
			hf_error("%s", message.text);
		if (endpoint[0] && two->dialler)
			hf_dialler_prefer(two->dialler, endpoint);
		if (uplink->paths.path[two->index].phase == HF_PATHS_DIALLING) {
			hf_dialler_avoid(two->dialler, path->endpoint);
			hf_dialler_now(two->dialler);
		}
		break;
	case HF_LEAVE_PROMOTE:
		break;
	}
	hf_uplink_settle(uplink);
}

/* Both connect anew; the first that is dialled is the one that was active. */
void hf_uplink_network_changed(struct hf_uplink *uplink)
{
	HF_CHECK_MAGIC(uplink, HF_UPLINK_MAGIC);
	if (uplink->closing)
		return;
	for (unsigned i = 0; i < HF_PATHS; i++) {
		use_network(&uplink->path[i]);
		/* Where a holder sent us before may be nowhere in the new settings. */
		if (uplink->path[i].dialler)
			hf_dialler_prefer(uplink->path[i].dialler, "");
	}
	take_endpoints(uplink);
	for (unsigned n = 0, i = uplink->paths.lead; n < HF_PATHS; n++, i = 1 - i) {
		struct hf_uplink_path *path = &uplink->path[i];

		if (path->wire)
			hf_session_end(hf_wire_session(path->wire), HF_EAGAIN,
				       "the network settings changed");
		if (path->dialler && uplink->paths.path[i].phase == HF_PATHS_DIALLING) {
			/* A try under way is one with the settings before, and would prove the new
			 * ones. */
			hf_dialler_rest(path->dialler);
			hf_dialler_now(path->dialler);
		}
	}
}

/* ---- For people ---- */

static const char *phase_text(enum hf_paths_phase phase)
{
	static const char *const texts[] = {"waiting", "waiting", "connecting", "parked", "held"};

	return texts[phase];
}

void hf_uplink_status(const struct hf_uplink *uplink, struct hf_uplink_status *status)
{
	const struct hf_paths_path *path = uplink->paths.path;
	int active = hf_paths_active(&uplink->paths);
	unsigned shown = active >= 0 ? (unsigned)active : path[0].phase >= path[1].phase ? 0 : 1;

	HF_CHECK_MAGIC(uplink, HF_UPLINK_MAGIC);
	status->state = phase_text(path[shown].phase);
	status->epoch = active >= 0 ? uplink->paths.epoch : 0;
	status->endpoint = path[shown].phase >= HF_PATHS_ASKED ? uplink->path[shown].endpoint : "";
	status->standby =
		path[1 - shown].phase == HF_PATHS_PARKED ? uplink->path[1 - shown].endpoint : "";
	status->last_error = uplink->last_error;
	status->provider_clock_known = uplink->provider_clock_known;
	status->provider_ahead_ms = uplink->provider_ahead_ms;
}

/* ---- Opening and closing ---- */

static void forget(struct hf_uplink *uplink)
{
	hf_tls_destroy(uplink->tls);
	forget_endpoints(uplink);
	for (size_t i = 0; i < uplink->issued_count; i++)
		free(uplink->issued[i]);
	uplink->magic = 0;
	free(uplink);
}

static void part_closed(struct hf_uplink *uplink)
{
	void (*closed)(void *) = uplink->closed;
	void *closed_context = uplink->closed_context;

	HF_CHECK_MAGIC(uplink, HF_UPLINK_MAGIC);
	if (--uplink->open)
		return;
	forget(uplink);
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
	HF_CHECK_MAGIC(uplink, HF_UPLINK_MAGIC);
	HF_ASSERT(!uplink->closing);
	uplink->closing = true;
	uplink->closed = closed;
	uplink->closed_context = context;
	uplink->open = 2;
	for (unsigned i = 0; i < HF_PATHS; i++) {
		struct hf_uplink_path *path = &uplink->path[i];

		if (path->wire)
			hf_wire_close(path->wire, true);
		path->wire = NULL;
		if (!path->dialler)
			continue;
		uplink->open++;
		hf_dialler_close(path->dialler, on_dialler_closed, uplink);
	}
	uv_close((uv_handle_t *)&uplink->report_timer, on_timer_closed);
	uv_close((uv_handle_t *)&uplink->standby_timer, on_timer_closed);
}

static void take_issued(struct hf_uplink *uplink, const Holdfast__ActivateIssued *issued)
{
	for (size_t i = 0; i < issued->n_endpoints && i < HF_DIAL_ENDPOINTS_MAX; i++) {
		uplink->issued[i] = strdup(issued->endpoints[i]);
		if (!uplink->issued[i])
			break;
		uplink->issued_count++;
	}
	hf_kept_endpoints(uplink->config.kept, &uplink->told);
	take_endpoints(uplink);
}

static struct hf_uplink *make(const struct hf_uplink_config *config)
{
	struct hf_uplink *uplink = calloc(1, sizeof *uplink);

	if (!uplink)
		return NULL;
	uplink->magic = HF_UPLINK_MAGIC;
	uplink->config = *config;
	uplink->config.proxy = NULL;
	uplink->proxied = config->proxy != NULL;
	if (config->proxy)
		uplink->proxy = *config->proxy;
	uplink->tenant = config->trust->issued->tenant;
	uplink->gateway = config->trust->issued->gateway;
	hf_paths_init(&uplink->paths, hf_kept_epoch(config->kept));
	uplink->token_length = hf_kept_token(config->kept, uplink->token);
	for (unsigned i = 0; i < HF_PATHS; i++)
		uplink->path[i] = (struct hf_uplink_path){
			.magic = HF_UPLINK_PATH_MAGIC, .index = i, .uplink = uplink};
	hf_random(uplink->boot, sizeof uplink->boot);
	take_issued(uplink, config->trust->issued);
	return uplink;
}

int hf_uplink_renew_tls(struct hf_uplink *uplink, struct hf_errmsg *message)
{
	struct hf_tls *tls;
	int err = hf_trust_tls(uplink->config.trust, &tls, message);

	if (err)
		return err;
	for (unsigned i = 0; i < HF_PATHS; i++)
		if (uplink->path[i].dialler)
			hf_dialler_set_tls(uplink->path[i].dialler, tls);
	hf_tls_destroy(uplink->tls);
	uplink->tls = tls;
	return 0;
}

int hf_uplink_open(const struct hf_uplink_config *config, struct hf_uplink **out,
		   struct hf_errmsg *message)
{
	struct hf_uplink *uplink = make(config);
	int err;

	if (!uplink)
		return hf_fail(message, HF_ENOMEM, "out of memory");
	err = hf_trust_tls(config->trust, &uplink->tls, message);
	if (!err)
		err = open_dialler(&uplink->path[0], message);
	if (err) {
		forget(uplink);
		return err;
	}
	hf_paths_dialling(&uplink->paths, 0);
	uplink->report_timer.data = uplink->standby_timer.data = uplink;
	uv_timer_init(config->loop, &uplink->report_timer);
	uv_timer_init(config->loop, &uplink->standby_timer);
	*out = uplink;
	return 0;
}
