/* Start, one second's work, and stop of holdfast-provider. The start is a list of named steps; the
 * stop closes what they opened, in reverse, and the loop ends when nothing is left on it. */
#include "provider/control/process.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "net/daemon.h"
#include "provider/control/actions.h"
#include "provider/control/activation.h"
#include "provider/control/admin.h"
#include "provider/control/channel.h"
#include "provider/control/lost.h"
#include "provider/control/claimants.h"
#include "provider/control/drain.h"
#include "provider/control/flaps.h"
#include "provider/control/fleet.h"
#include "provider/control/publish.h"
#include "provider/control/watch.h"
#include "provider/control/lookers.h"
#include "provider/control/webhook.h"

/* The database's time when it was told, and this machine's monotonic clock then; 0: never. One for
 * the program, as its clock is. */
static uint64_t told_ms, told_at_ms;

static uint64_t clock_ms(clockid_t which)
{
	struct timespec now;

	clock_gettime(which, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t hf_control_wall_ms(void)
{
	if (told_ms == 0)
		return clock_ms(CLOCK_REALTIME);
	return told_ms + clock_ms(CLOCK_MONOTONIC) - told_at_ms;
}

void hf_control_time_is(uint64_t now_ms)
{
	told_ms = now_ms;
	told_at_ms = clock_ms(CLOCK_MONOTONIC);
}

void hf_control_endpoint(const struct hf_control *control, char *text, size_t size)
{
	const struct hf_control_config *config = &control->config;
	const char *colon = strrchr(config->channel_listen, ':');

	if (config->channel_advertise[0])
		snprintf(text, size, "%s", config->channel_advertise);
	else if (control->channel_listener && strcmp(colon, ":0") == 0)
		snprintf(text, size, "%.*s:%u", (int)(colon - config->channel_listen),
			 config->channel_listen, hf_listener_port(control->channel_listener));
	else
		snprintf(text, size, "%s", config->channel_listen);
}

void hf_control_own_endpoint(const struct hf_control *control, char *text, size_t size)
{
	const struct hf_control_config *config = &control->config;
	const char *listen = config->channel_listen;
	bool anywhere = strncmp(listen, "0.0.0.0:", 8) == 0 || strncmp(listen, "[::]:", 5) == 0;

	if (config->process_endpoint[0])
		snprintf(text, size, "%s", config->process_endpoint);
	else if (strpbrk(config->channel_advertise, ", ") && !anywhere)
		snprintf(text, size, "%s", listen);
	else
		hf_control_endpoint(control, text, size);
	text[strcspn(text, ", ")] = '\0'; /* of a single process with several names: the first */
}

void hf_control_audit(struct hf_control *control, const char *who, const char *action,
		      const char *object, const char *detail)
{
	struct hf_reg_audit entry = {hf_control_wall_ms(), who, action, object, detail};

	hf_info("%s: %s %s %s", who, action, object, detail);
	if (hf_registry_audit_add(control->reg, &entry) != 0)
		hf_error("the audit trail cannot be written: %s", hf_registry_why(control->reg));
}

bool hf_bucket_has(struct hf_bucket *bucket, uint64_t now_ms)
{
	bucket->tokens += (double)(now_ms - bucket->last_ms) * bucket->per_minute / 60000.0;
	bucket->last_ms = now_ms;
	if (bucket->tokens > bucket->burst)
		bucket->tokens = bucket->burst;
	return bucket->tokens >= 1;
}

bool hf_bucket_take(struct hf_bucket *bucket, uint64_t now_ms)
{
	if (!hf_bucket_has(bucket, now_ms))
		return false;
	bucket->tokens -= 1;
	return true;
}

/* ---- Steps of the start ---- */

static int prepare_registry(struct hf_control *control)
{
	int err = hf_registry_info(control->reg, &control->info);

	if (!err)
		hf_control_time_is(control->info.now_ms);
	if (!err && control->alone)
		err = hf_registry_forget_holders(control->reg);
	do
		hf_random(&control->process, sizeof control->process);
	while (control->process == 0);
	hf_registry_set_process(control->reg, control->process);
	if (!err && control->new_incarnation) {
		err = hf_registry_new_incarnation(control->reg, hf_control_wall_ms());
		hf_warn("the registry starts a new incarnation");
	}
	return err ? err : hf_registry_info(control->reg, &control->info);
}

static int open_registry(struct hf_control *control, struct hf_errmsg *message)
{
	uint64_t now_ms = hf_control_wall_ms();
	char path[PATH_MAX];
	int err = hf_daemon_private_folder(control->config.state_dir, message);

	if (err)
		return err;
	control->alone = strcmp(control->config.registry, "sqlite") == 0;
	snprintf(path, sizeof path, "%s/registry.db", control->config.state_dir);
	err = hf_registry_open(control->alone ? path : control->config.registry, now_ms,
			       &control->reg, message);
	if (err)
		return err;
	err = prepare_registry(control);
	return err ? hf_fail(message, err, "the registry: %.200s", hf_registry_why(control->reg))
		   : 0;
}

static int open_signer(struct hf_control *control, struct hf_errmsg *message)
{
	const struct hf_control_config *config = &control->config;
	const char *folder = config->signer_dir[0] ? config->signer_dir : config->run_dir;
	int err = hf_signer_client_open(control->loop, folder, (uid_t)config->signer_uid,
					&control->signer);

	return err ? hf_fail(message, err, "the signer's socket in %s", folder) : 0;
}

static int open_route(struct hf_control *control, struct hf_errmsg *message)
{
	struct hf_route_nats nats = {.servers = control->config.route,
				     .name = control->config.route_name,
				     .ca = control->config.route_ca,
				     .credentials = control->config.route_credentials,
				     .registry = control->info.tenant};

	if (strcmp(control->config.route, "local") != 0)
		return hf_route_open_nats(control->loop, &nats, hf_watch_hinted, control,
					  &control->route, message);
	return hf_route_open_local(control->loop, hf_watch_hinted, control, &control->route);
}

static int open_metrics(struct hf_control *control, struct hf_errmsg *message)
{
	struct hf_http_config config = {.address = control->config.metrics_listen,
					.get = hf_control_metrics_page,
					.content_type = HF_METRICS_CONTENT_TYPE,
					.context = control};

	return config.address[0] ? hf_http_open(control->loop, &config, &control->metrics, message)
				 : 0;
}

static const struct {
	const char *name;
	int (*open)(struct hf_control *control, struct hf_errmsg *message);
} steps[] = {
	{"registry", open_registry},
	{"signer", open_signer},
	{"tokens", hf_tokens_open},
	{"processes", hf_fleet_open},
	{"flapping gateways", hf_flaps_open},
	{"route", open_route},
	{"store", hf_store_settings_open},
	{"presence", hf_watch_open},
	{"connections", hf_control_trust_open},
	{"administrator's socket", hf_admin_open},
	{"metrics", open_metrics},
	{"webhook", hf_webhook_open},
};

/* ---- Once a second ---- */

static void second_passed(uv_timer_t *timer)
{
	struct hf_control *control = timer->data;

	HF_CHECK_MAGIC(control, HF_CONTROL_MAGIC);
	hf_watch_tick(control);
	hf_control_trust_tick(control);
	hf_store_settings_tick(control);
	hf_publish_tick(control);
	hf_rotation_tick(control);
	hf_authorities_tick(control);
	hf_actions_tick(control);
	hf_delivery_tick(control);
	hf_claimants_tick(control);
	if (control->trusted)
		hf_activation_tick(control);
	hf_creating_tick(control);
	hf_waiting_tick(control);
	hf_lookers_tick(control);
	hf_lost_tick(control);
	hf_webhook_tick(control);
	hf_fleet_tick(control);
	hf_drain_rebalance(control);
}

/* ---- Start and stop ---- */

static void prepare(struct hf_control *control, uv_loop_t *loop)
{
	control->magic = HF_CONTROL_MAGIC;
	control->loop = loop;
	for (unsigned i = 0; i < HF_CHANNEL_BUCKETS; i++)
		hf_list_init(&control->channels[i]);
	hf_list_init(&control->activations);
	hf_list_init(&control->publishing);
	hf_list_init(&control->waiters);
	hf_list_init(&control->missing);
	hf_list_init(&control->watched);
	control->watching_ms = uv_now(loop);
	control->reclaim_next = HF_CHANNEL_BUCKETS;
	control->publish_after = HF_REG_BEFORE_ALL;
	hf_list_init(&control->creating);
	hf_list_init(&control->network_settings);
	hf_grants_open(control);
	control->offers = (struct hf_bucket){60, 60, 120, uv_now(loop)};
	control->wrong_keys = (struct hf_bucket){10, 10, 10, uv_now(loop)};
	hf_wheel_open(&control->wheel, loop, hf_link_due);
	hf_seen_open(control);
	uv_timer_init(loop, &control->second);
	control->second.data = control;
	uv_timer_start(&control->second, second_passed, 1000, 1000);
}

int hf_control_start(struct hf_control *control, uv_loop_t *loop, struct hf_errmsg *message)
{
	int err = 0;

	prepare(control, loop);
	for (size_t i = 0; !err && i < sizeof steps / sizeof steps[0]; i++) {
		err = steps[i].open(control, message);
		if (err)
			hf_fail_in(message, err, "%s", steps[i].name);
	}
	return err;
}

void hf_control_stop(struct hf_control *control)
{
	HF_CHECK_MAGIC(control, HF_CONTROL_MAGIC);
	if (control->stopping)
		return;
	control->stopping = true;
	uv_close((uv_handle_t *)&control->second, NULL);
	hf_drain_close(control);
	hf_grants_close(control);
	if (control->metrics)
		hf_http_close(control->metrics);
	hf_webhook_close(control);
	hf_admin_close(control);
	hf_channel_close_all(control);
	hf_activation_close_all(control);
	if (control->channel_listener)
		hf_listener_close(control->channel_listener, NULL, NULL);
	if (control->activation_listener)
		hf_listener_close(control->activation_listener, NULL, NULL);
	hf_seen_close(control);
	hf_wheel_close(&control->wheel);
	if (control->signer)
		hf_signer_client_close(control->signer, NULL, NULL);
	if (control->route)
		hf_route_close(control->route);
}

void hf_control_free(struct hf_control *control)
{
	HF_CHECK_MAGIC(control, HF_CONTROL_MAGIC);
	HF_ASSERT(control->channel_count == 0 && control->activation_count == 0);
	hf_publish_close(control);
	hf_watch_close(control);
	hf_lost_close(control);
	hf_rotation_close(control);
	hf_authorities_close(control);
	hf_fleet_close(control);
	hf_flaps_close(control);
	hf_registry_close(control->reg);
	hf_store_settings_close(control);
	hf_control_trust_close(control);
	control->magic = 0;
}
