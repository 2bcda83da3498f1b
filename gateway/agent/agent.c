/* Start, activation, service and stop of the agent (agent.h). The reconciler runs from the kept
 * document before the provider is heard of, so that a gateway serves after a reboot without it. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/metrics.h"
#include "gateway/agent/agent_internal.h"
#include "gateway/agent/metrics.h"
#include "gateway/agent/reconcile_internal.h"
#include "gateway/agent/sources.h"
#include "net/daemon.h"
#include "net/dial.h"

#define KEY(field, value, text)                                                                    \
	{                                                                                          \
		.name = #field, .type = HF_CONF_TEXT,                                              \
		.offset = offsetof(struct hf_agent_config, field), .initial = (value),             \
		.help = (text),                                                                    \
	}

const struct hf_conf_key hf_agent_keys[] = {
	KEY(run_dir, NULL, "folder of the sockets agent.sock, volumed.sock and broker.sock"),
	KEY(state_dir, NULL, "folder of keys, certificate and the last document; private"),
	KEY(activation, NULL,
	    "host:port of the provider's activation endpoint (several: host:port, …)"),
	KEY(portal, NULL, "addr:port of the iSCSI portal; of several tgtd: addr:port, addr:port …"),
	KEY(provider, "",
	    "host:port of the provider (several: host:port, …), instead of those it named"),
	KEY(proxy, "", "http://host:port of the HTTP proxy to the provider"),
	KEY(metrics_listen, "",
	    "addr:port or :port (loopback) of the page for Prometheus (empty: none)"),
	KEY(proxy_credentials, "", "file (0600) with one line user:password for the proxy"),
	{.name = "local_uid",
	 .type = HF_CONF_NUMBER,
	 .offset = offsetof(struct hf_agent_config, local_uid),
	 .initial = "0",
	 .help = "may serve volumed.sock and broker.sock beside root and our own uid",
	 .most = UINT32_MAX - 1},
	{NULL},
};

#define LOCK_TRIES      100u
#define EVENTS_FIRST_MS 2000u /* the sources have answered by then */
#define EVENTS_MS       1000u
#define LOCK_WAIT_US    20000u
#define RUN_DIR_MAX     94u /* a Unix socket's path has at most 107 bytes */

static int check_endpoint(const char *key, const char *text, struct hf_errmsg *message)
{
	char host[256];
	uint16_t port;

	if (hf_endpoint_parse(text, host, sizeof host, &port) != 0 || port == 0)
		return hf_fail(message, HF_EINVAL, "%s = `%.60s` is not host:port", key, text);
	return 0;
}

static int check_endpoints(const char *key, const char *text, struct hf_errmsg *message)
{
	struct hf_endpoints endpoints;
	int err = hf_endpoints_parse(text, &endpoints, message);

	return err ? hf_fail_in(message, err, "%s", key) : 0;
}

static int check_portals(const char *portals, struct hf_errmsg *message)
{
	char *copy = strdup(portals), *rest = copy, *portal;
	unsigned count = 0;
	int err = copy ? 0 : hf_fail(message, HF_ENOMEM, "out of memory");

	while (!err && (portal = strsep(&rest, ", ")) != NULL) {
		if (!*portal)
			continue;
		err = check_endpoint("portal", portal, message);
		if (!err && ++count > HF_TGTDS_MAX)
			err = hf_fail(message, HF_EINVAL, "portal names more than %u",
				      HF_TGTDS_MAX);
	}
	free(copy);
	if (!err && count == 0)
		err = hf_fail(message, HF_EINVAL, "portal names none");
	return err;
}

int hf_agent_check_config(const struct hf_agent_config *config, struct hf_errmsg *message)
{
	struct hf_proxy proxy;
	int err = 0;

	if (config->run_dir[0] != '/' || config->state_dir[0] != '/')
		return hf_fail(message, HF_EINVAL, "run_dir and state_dir must be absolute");
	if (strlen(config->run_dir) > RUN_DIR_MAX)
		return hf_fail(message, HF_EINVAL, "run_dir is longer than %u bytes", RUN_DIR_MAX);
	if (strlen(config->state_dir) > PATH_MAX - 64)
		return hf_fail(message, HF_EINVAL, "state_dir is too long");
	err = check_endpoints("activation", config->activation, message);
	if (!err)
		err = check_portals(config->portal, message);
	if (!err && config->provider[0])
		err = check_endpoints("provider", config->provider, message);
	if (!err && config->proxy[0])
		err = hf_proxy_parse(config->proxy, config->proxy_credentials, &proxy, message);
	else if (!err && config->proxy_credentials[0])
		err = hf_fail(message, HF_EINVAL, "`proxy_credentials` without `proxy`");
	return err;
}

bool hf_agent_proxy(const struct hf_agent_config *config, struct hf_proxy *proxy)
{
	return config->proxy[0] &&
	       hf_proxy_parse(config->proxy, config->proxy_credentials, proxy, NULL) == 0;
}

/* ---- Activated ---- */

static void on_action_ended(void *context, const Holdfast__ActionResult *result)
{
	struct hf_agent *agent = context;

	HF_CHECK_MAGIC(agent, HF_AGENT_MAGIC);
	if (agent->uplink)
		hf_uplink_action_ended(agent->uplink, result);
}

static void on_network_changed(void *context)
{
	struct hf_agent *agent = context;

	HF_CHECK_MAGIC(agent, HF_AGENT_MAGIC);
	if (agent->uplink)
		hf_uplink_network_changed(agent->uplink);
}

static void describe(void *context, FILE *out)
{
	struct hf_agent *agent = context;
	struct hf_uplink_status status;

	HF_CHECK_MAGIC(agent, HF_AGENT_MAGIC);
	if (!agent->uplink)
		return;
	hf_uplink_status(agent->uplink, &status);
	fprintf(out, "connection: %s, epoch %" PRIu64 "%s%s\n", status.state, status.epoch,
		status.last_error[0] ? ", last error: " : "", status.last_error);
}

static int start_uplink(struct hf_agent *agent, struct hf_errmsg *message)
{
	struct hf_uplink_config config = {.loop = agent->loop,
					  .kept = &agent->kept,
					  .trust = &agent->trust,
					  .provider = agent->config->provider,
					  .proxy = agent->proxied ? &agent->proxy : NULL,
					  .events = &agent->events,
					  .desired = &agent->desired};
	struct hf_actions_config actions = {.loop = agent->loop,
					    .desired = &agent->desired,
					    .ended = on_action_ended,
					    .describe = describe,
					    .context = agent};
	const Holdfast__ActivateIssued *issued = agent->trust.issued;
	struct hf_network_config network = {.loop = agent->loop,
					    .kept = &agent->kept,
					    .sealing = &agent->sealing,
					    .issued = issued,
					    .provider = agent->config->provider,
					    .proxy = agent->proxied ? &agent->proxy : NULL,
					    .changed = on_network_changed,
					    .context = agent};
	char id[HF_ID_TEXT_MAX];
	int err;

	agent->desired.tenant = issued->tenant;
	agent->desired.gateway = issued->gateway;
	hf_desired_pin(&agent->desired, hf_trust_signer_key(&agent->trust));
	hf_info("this is %s", hf_id_format(HF_ID_GATEWAY, issued->gateway, id));
	err = hf_network_open(&network, &agent->network, message);
	if (err)
		return err;
	agent->desired.network = config.network = agent->network;
	agent->desired.issued = issued;
	hf_desired_load(&agent->desired);
	agent->desired.issued = NULL;
	/* Volumes are served without it, and actions refused. */
	if (hf_actions_open(&actions, &agent->actions, message) != 0)
		hf_error("no actions are taken: %s", message->text);
	config.actions = agent->actions;
	return hf_uplink_open(&config, &agent->uplink, message);
}

static int start_from_kept(struct hf_agent *agent, struct hf_errmsg *message)
{
	int err = hf_trust_open(&agent->trust, &agent->kept, &agent->identity, message);

	return err ? err : start_uplink(agent, message);
}

static void on_issued(void *context)
{
	struct hf_agent *agent = context;
	struct hf_activation *activation = agent->activation;
	struct hf_errmsg message;

	HF_CHECK_MAGIC(agent, HF_AGENT_MAGIC);
	agent->activation = NULL;
	hf_activation_close(activation, NULL, NULL);
	/* It was written a moment ago; if it cannot be read now the disk is not to be trusted. */
	if (start_from_kept(agent, &message) != 0) {
		hf_error("%s", message.text);
		abort();
	}
}

static int start_activation(struct hf_agent *agent, struct hf_errmsg *message)
{
	struct hf_activation_config config = {.loop = agent->loop,
					      .endpoints = agent->config->activation,
					      .proxy = agent->proxied ? &agent->proxy : NULL,
					      .portal = agent->config->portal,
					      .kept = &agent->kept,
					      .identity = &agent->identity,
					      .sealing = &agent->sealing,
					      .issued = on_issued,
					      .context = agent};

	return hf_activation_open(&config, &agent->activation, message);
}

/* ---- Opening and closing ---- */

static void on_volumes_changed(void *context)
{
	struct hf_agent *agent = context;

	HF_CHECK_MAGIC(agent, HF_AGENT_MAGIC);
	if (agent->uplink)
		hf_uplink_changed(agent->uplink);
}

static void on_volumes_looked(void *context)
{
	struct hf_agent *agent = context;

	HF_CHECK_MAGIC(agent, HF_AGENT_MAGIC);
	if (agent->uplink)
		hf_uplink_looked(agent->uplink);
}

static uint64_t wall_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* What happened since the last look is reported soon, whatever the interval. */
static void on_event_timer(uv_timer_t *timer)
{
	struct hf_agent *agent = timer->data;
	Holdfast__Report report = HOLDFAST__REPORT__INIT;
	const Holdfast__VolumedStatus *volumed;
	bool news;

	HF_CHECK_MAGIC(agent, HF_AGENT_MAGIC);
	volumed = agent->reconciler->sources.status;
	hf_reconciler_report(agent->reconciler, &report);
	news = hf_events_look(&agent->events, &report,
			      report.volumed_running && volumed ? volumed->pid : 0, wall_ms());
	hf_reconciler_report_free(&report);
	/* What did not fit into one report goes with the next. */
	if ((news || hf_events_waiting(&agent->events)) && agent->uplink)
		hf_uplink_changed(agent->uplink);
}

static void watch_events(struct hf_agent *agent)
{
	hf_events_open(&agent->events);
	agent->event_timer.data = agent;
	uv_timer_init(agent->loop, &agent->event_timer);
	agent->event_timer_open = true;
	uv_timer_start(&agent->event_timer, on_event_timer, EVENTS_FIRST_MS, EVENTS_MS);
}

/* One agent a state folder. One that was killed holds the lock until the kernel has cleared it
 * away, and its supervisor starts the next one at once: wait a moment. */
static int lock_state(struct hf_agent *agent, struct hf_errmsg *message)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/lock", agent->config->state_dir);
	agent->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (agent->lock_fd < 0)
		return hf_fail(message, hf_err_from_errno(errno), "%s: %s", path, strerror(errno));
	for (unsigned tries = 0; tries < LOCK_TRIES; tries++) {
		if (flock(agent->lock_fd, LOCK_EX | LOCK_NB) == 0)
			return 0;
		usleep(LOCK_WAIT_US);
	}
	return hf_fail(message, HF_EBUSY, "%s: another holdfast-agent uses it",
		       agent->config->state_dir);
}

static int open_parts(struct hf_agent *agent, struct hf_errmsg *message)
{
	struct hf_reconciler_config reconciler = {.loop = agent->loop,
						  .run_dir = agent->config->run_dir,
						  .local_uid = (uid_t)agent->config->local_uid,
						  .portals = agent->config->portal,
						  .kept = &agent->kept,
						  .sealing = &agent->sealing,
						  .deleted = &agent->desired.deleted,
						  .changed = on_volumes_changed,
						  .looked = on_volumes_looked,
						  .context = agent};
	struct hf_http_config metrics = {.address = agent->config->metrics_listen,
					 .get = hf_agent_metrics_page,
					 .content_type = HF_METRICS_CONTENT_TYPE,
					 .context = agent};
	int err = hf_daemon_private_folder(agent->config->state_dir, message);

	if (!err)
		err = lock_state(agent, message);
	if (!err)
		err = hf_kept_keys(&agent->kept, &agent->identity, &agent->sealing, message);
	if (!err)
		err = hf_console_open(agent, message);
	if (!err)
		err = hf_reconciler_open(&reconciler, &agent->reconciler, message);
	if (!err && agent->config->metrics_listen[0])
		err = hf_http_open(agent->loop, &metrics, &agent->metrics, message);
	if (err)
		return err;
	watch_events(agent);
	agent->desired.kept = &agent->kept;
	agent->desired.reconciler = agent->reconciler;
	err = start_from_kept(agent, message);
	return err == HF_ENOENT ? start_activation(agent, message) : err;
}

static void part_closed(void *context)
{
	struct hf_agent *agent = context;
	void (*closed)(void *) = agent->closed;
	void *closed_context = agent->closed_context;

	HF_CHECK_MAGIC(agent, HF_AGENT_MAGIC);
	if (--agent->open)
		return;
	hf_desired_end(&agent->desired);
	hf_trust_close(&agent->trust);
	if (agent->lock_fd >= 0)
		close(agent->lock_fd);
	explicit_bzero(agent, sizeof *agent);
	free(agent);
	if (closed)
		closed(closed_context);
}

static void on_event_timer_closed(uv_handle_t *handle)
{
	part_closed(handle->data);
}

void hf_agent_close(struct hf_agent *agent, void (*closed)(void *context), void *context)
{
	HF_CHECK_MAGIC(agent, HF_AGENT_MAGIC);
	HF_ASSERT(!agent->closing);
	agent->closing = true;
	agent->closed = closed;
	agent->closed_context = context;
	agent->open = 1;
	if (agent->metrics)
		hf_http_close(agent->metrics);
	if (agent->event_timer_open) {
		agent->open++;
		uv_close((uv_handle_t *)&agent->event_timer, on_event_timer_closed);
	}
	if (agent->console) {
		agent->open++;
		hf_local_server_close(agent->console, part_closed, agent);
	}
	if (agent->activation) {
		agent->open++;
		hf_activation_close(agent->activation, part_closed, agent);
	}
	if (agent->uplink) {
		agent->open++;
		hf_uplink_close(agent->uplink, part_closed, agent);
	}
	if (agent->network) {
		agent->open++;
		hf_network_close(agent->network, part_closed, agent);
	}
	if (agent->actions) {
		agent->open++;
		hf_actions_close(agent->actions, part_closed, agent);
	}
	if (agent->reconciler) {
		agent->open++;
		hf_reconciler_close(agent->reconciler, part_closed, agent);
	}
	part_closed(agent);
}

int hf_agent_open(uv_loop_t *loop, const struct hf_agent_config *config, struct hf_agent **out,
		  struct hf_errmsg *message)
{
	struct hf_agent *agent = calloc(1, sizeof *agent);
	int err;

	if (!agent)
		return hf_fail(message, HF_ENOMEM, "out of memory");
	agent->magic = HF_AGENT_MAGIC;
	agent->loop = loop;
	agent->config = config;
	agent->kept.folder = config->state_dir;
	agent->proxied = hf_agent_proxy(config, &agent->proxy);
	agent->lock_fd = -1;
	err = open_parts(agent, message);
	if (err) {
		hf_agent_close(agent, NULL, NULL);
		return err;
	}
	*out = agent;
	return 0;
}
