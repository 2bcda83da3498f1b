/* States and JSON for people (status.h). Reads registry and memory, changes nothing. */
#include "provider/control/status.h"
#include "provider/control/network.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/ids.h"
#include "net/fingerprint.h"
#include "provider/control/activation.h"
#include "provider/control/channel.h"
#include "provider/control/fleet.h"
#include "provider/control/events.h"
#include "provider/control/publish.h"
#include "provider/control/watch.h"
#include "provider/control/lookers.h"

static const char *const status_names[] = {
	[HF_STATUS_CREATING] = "creating",   [HF_STATUS_AVAILABLE] = "available",
	[HF_STATUS_ATTACHING] = "attaching", [HF_STATUS_DETACHING] = "detaching",
	[HF_STATUS_DETACHED] = "detached",   [HF_STATUS_DELETING] = "deleting",
	[HF_STATUS_FAILED] = "failed",
};

const char *hf_status_text(enum hf_status status)
{
	return status_names[status];
}

enum hf_status hf_status_derive(const struct hf_reg_placement *p, bool created)
{
	/* A report on an older version says nothing about what is desired now. */
	bool current = p->report.version >= p->version;

	if (current && p->report.state == HOLDFAST__VOLUME_STATE__VOLUME_FAILED)
		return HF_STATUS_FAILED;
	switch (p->desired) {
	case HF_REG_DELETED:
		return HF_STATUS_DELETING;
	case HF_REG_DETACHED:
		return current && p->report.state == HOLDFAST__VOLUME_STATE__VOLUME_DETACHED
			       ? HF_STATUS_DETACHED
			       : HF_STATUS_DETACHING;
	default:
		if (current && p->report.state == HOLDFAST__VOLUME_STATE__VOLUME_AVAILABLE)
			return HF_STATUS_AVAILABLE;
		return created ? HF_STATUS_ATTACHING : HF_STATUS_CREATING;
	}
}

/* To whichever process. */
static bool is_connected(struct hf_control *control, uint64_t id)
{
	struct hf_reg_gateway gateway;

	return hf_channel_find(control, id) ||
	       (hf_registry_gateway_get(control->reg, id, &gateway) == 0 &&
		hf_watch_connected(control, &gateway));
}

/* Why the gateway has not answered this version yet, the nearest cause first. */
static void explain_waiting(struct hf_control *control, const struct hf_reg_placement *p,
			    char *reason)
{
	struct hf_channel *channel = hf_channel_find(control, p->gateway);
	struct hf_reg_document head = {0};
	const char *obstacle = hf_publish_obstacle(control);

	hf_registry_document_head(control->reg, p->gateway, &head);
	if ((head.incarnation < control->info.incarnation || head.generation < p->version) &&
	    obstacle[0])
		snprintf(reason, HF_REG_REASON_MAX + 1, "%s", obstacle);
	else if (!is_connected(control, p->gateway))
		snprintf(reason, HF_REG_REASON_MAX + 1,
			 "the gateway is away; it gets the change when it comes back");
	else if (channel && channel->refused_reason)
		snprintf(reason, HF_REG_REASON_MAX + 1, "%s", channel->refused_reason);
	else
		snprintf(reason, HF_REG_REASON_MAX + 1, "%s",
			 p->report.version >= p->version ? p->report.reason : "");
}

int hf_status_of_volume(struct hf_control *control, const struct hf_reg_volume *volume,
			struct hf_reg_placement *p, enum hf_status *status, char *reason)
{
	int err = hf_registry_placement_get(control->reg, volume->id, volume->gateway, p);

	if (err)
		return err;
	hf_reports_newest(control, p);
	*status = hf_status_derive(p, volume->created);
	reason[0] = '\0';
	if (*status == HF_STATUS_FAILED || *status == HF_STATUS_DETACHED)
		snprintf(reason, HF_REG_REASON_MAX + 1, "%s", p->report.reason);
	else if (*status != HF_STATUS_AVAILABLE)
		explain_waiting(control, p, reason);
	else if (!is_connected(control, p->gateway))
		snprintf(reason, HF_REG_REASON_MAX + 1,
			 "the gateway is away; this is its last report");
	else
		snprintf(reason, HF_REG_REASON_MAX + 1, "%s", p->report.reason);
	return 0;
}

static void set_text(json_t *object, const char *key, const char *text)
{
	json_object_set_new(object, key, json_string(text));
}

static void set_number(json_t *object, const char *key, uint64_t number)
{
	json_object_set_new(object, key, json_integer((json_int_t)number));
}

void hf_status_set_time(json_t *object, const char *key, uint64_t at_ms)
{
	time_t seconds = (time_t)(at_ms / 1000);
	struct tm utc;
	char text[32];

	if (at_ms == 0) {
		json_object_set_new(object, key, json_null());
		return;
	}
	gmtime_r(&seconds, &utc);
	strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
	set_text(object, key, text);
}

static json_t *lines_json(const char *lines)
{
	json_t *list = json_array();

	while (*lines) {
		size_t length = strcspn(lines, "\n");

		if (length > 0)
			json_array_append_new(list, json_stringn(lines, length));
		lines += length + (lines[length] == '\n');
	}
	return list;
}

static void add_report(json_t *object, const struct hf_reg_report *report)
{
	uint64_t now_ms = hf_control_wall_ms(), silent_ms = 0;

	/* While nothing is reported, what was not uploaded grows older. */
	if (report->reported_ms > 0 && now_ms > report->reported_ms)
		silent_ms = now_ms - report->reported_ms;
	set_number(object, "recovery_point", report->recovery_point);
	set_number(object, "recovery_point_lag_bytes", report->lag_bytes);
	json_object_set_new(object, "recovery_point_age_seconds",
			    json_real(report->lag_bytes > 0
					      ? (double)(report->age_ms + silent_ms) / 1000.0
					      : 0.0));
	set_number(object, "sessions", report->sessions);
	hf_status_set_time(object, "reported_at", report->reported_ms);
	if (report->error)
		set_text(object, "error", hf_err_name(-report->error));
}

json_t *hf_status_volume_json(struct hf_control *control, const struct hf_reg_volume *v)
{
	char id[HF_ID_TEXT_MAX], reason[HF_REG_REASON_MAX + 1];
	struct hf_reg_placement placement;
	struct hf_reg_gateway gateway;
	enum hf_status status;
	json_t *object;

	if (hf_status_of_volume(control, v, &placement, &status, reason) != 0 ||
	    hf_registry_gateway_get(control->reg, v->gateway, &gateway) != 0)
		return NULL;
	object = json_object();
	set_text(object, "volume_id", hf_id_format(HF_ID_VOLUME, v->id, id));
	set_text(object, "name", v->name);
	set_text(object, "status", hf_status_text(status));
	set_text(object, "reason", reason);
	set_text(object, "gateway_id", hf_id_format(HF_ID_GATEWAY, gateway.id, id));
	set_text(object, "gateway_name", gateway.name);
	json_object_set_new(object, "gateway_connected",
			    json_boolean(hf_watch_connected(control, &gateway)));
	set_text(object, "target", v->target);
	set_text(object, "portal",
		 placement.report.portal[0] ? placement.report.portal : gateway.portal);
	set_number(object, "lun", v->lun);
	set_number(object, "size_bytes", v->size_bytes);
	set_number(object, "served_size_bytes", placement.report.size_bytes);
	set_number(object, "block_size", v->block_size);
	json_object_set_new(object, "write_cache", json_boolean(v->write_cache));
	set_text(object, "chap_user", v->chap_user);
	set_text(object, "mutual_user", v->mutual_user);
	json_object_set_new(object, "initiators", lines_json(v->initiators));
	set_number(object, "attach_epoch", v->attach_epoch);
	add_report(object, &placement.report);
	hf_status_set_time(object, "created_at", v->created_ms);
	return object;
}

static int count_volume(void *context, const struct hf_reg_placement *placement)
{
	*(uint64_t *)context += placement->desired != HF_REG_DELETED;
	return 0;
}

static const char *gateway_state_text(enum hf_reg_gateway_state state)
{
	switch (state) {
	case HF_REG_GATEWAY_PENDING:
		return "pending";
	case HF_REG_GATEWAY_CLAIMED:
		return "claimed";
	case HF_REG_GATEWAY_ACTIVE:
		return "active";
	case HF_REG_GATEWAY_REVOKED:
		return "revoked";
	default:
		return "refused";
	}
}

static void add_channel(json_t *object, const struct hf_channel *channel)
{
	set_text(object, "address", channel->address);
	set_number(object, "report_interval_ms", hf_lookers_interval_ms(channel));
	set_number(object, "buffer_total_bytes", channel->buffer_total_bytes);
	set_number(object, "buffer_used_bytes", channel->buffer_used_bytes);
	json_object_set_new(object, "volumed_running", json_boolean(channel->volumed_running));
	json_object_set_new(object, "target_running", json_boolean(channel->target_running));
	json_object_set_new(object, "alarms", lines_json(channel->alarms ? channel->alarms : ""));
	json_object_set_new(object, "events", hf_events_json(channel));
	set_number(object, "events_lost", channel->events_lost);
	if (channel->clock_known)
		json_object_set_new(object, "clock_ahead_ms",
				    json_integer((json_int_t)channel->clock_ahead_ms));
	set_text(object, "problem", channel->refused_reason ? channel->refused_reason : "");
}

/* Volumes that the gateway has and the registry does not know: it was restored from a backup. */
static void add_unknown(json_t *object, struct hf_control *control,
			const struct hf_channel *channel)
{
	json_t *list = json_array();
	struct hf_reg_placement p;
	char id[HF_ID_TEXT_MAX];

	for (size_t i = 0; i < channel->live_count; i++)
		if (hf_registry_placement_get(control->reg, channel->live[i].volume,
					      channel->gateway, &p) == HF_ENOENT)
			json_array_append_new(
				list, json_string(hf_id_format(HF_ID_VOLUME,
							       channel->live[i].volume, id)));
	json_object_set_new(object, "unknown_volumes", list);
}

static void set_process(struct hf_control *control, json_t *object, uint64_t process)
{
	char text[24];

	snprintf(text, sizeof text, "%016" PRIx64, process);
	set_text(object, "process", text);
	set_text(object, "process_endpoint", hf_watch_endpoint(control, process));
}

static void add_network(json_t *object, struct hf_control *control, const struct hf_reg_gateway *g,
			const struct hf_channel *channel)
{
	struct hf_reg_network network;
	bool reported;

	if (hf_registry_network_get(control->reg, g->id, &network) != 0)
		return;
	reported = channel && channel->network_version == network.version;
	set_text(object, "network_endpoints", network.endpoints);
	set_text(object, "network_proxy", network.proxy);
	json_object_set_new(object, "network_proxy_credentials",
			    json_boolean(network.sealed_length > 0));
	set_number(object, "network_version", network.version);
	set_text(object, "network_state",
		 hf_network_state_text(reported ? channel->network_state : 0));
	if (reported)
		set_text(object, "network_reason", channel->network_reason);
}

static int count_claimant(void *context, const struct hf_reg_claimant *claimant)
{
	*(uint64_t *)context += !claimant->rejected;
	return 0;
}

json_t *hf_status_gateway_json(struct hf_control *control, const struct hf_reg_gateway *g)
{
	struct hf_channel *channel = hf_channel_find(control, g->id);
	char id[HF_ID_TEXT_MAX], fingerprint[HF_FINGERPRINT_TEXT_MAX];
	struct hf_reg_document head = {0};
	uint64_t volumes = 0, claimants = 0;
	json_t *object = json_object();

	/* Another process was granted a higher one. */
	if (channel && channel->epoch < g->epoch)
		channel = NULL;
	hf_registry_document_head(control->reg, g->id, &head);
	hf_registry_placement_visit(control->reg, 0, g->id, count_volume, &volumes);
	set_text(object, "gateway_id", hf_id_format(HF_ID_GATEWAY, g->id, id));
	set_text(object, "name", g->name);
	set_text(object, "state", gateway_state_text(g->state));
	set_text(object, "reason", g->reason);
	json_object_set_new(object, "connected",
			    json_boolean(hf_watch_connected(control, g) ||
					 (g->state == HF_REG_GATEWAY_CLAIMED &&
					  hf_activation_connected(control, g->identity_key))));
	if (hf_watch_connected(control, g))
		set_process(control, object, channel ? control->process : g->process);
	else
		json_object_set_new(object, "process", json_null());
	set_text(object, "host", g->host);
	set_text(object, "version", g->version);
	set_text(object, "portal", g->portal);
	set_text(object, "fingerprint", hf_key_fingerprint(g->identity_key, fingerprint));
	set_number(object, "volumes", volumes);
	set_number(object, "connection_epoch", g->epoch);
	set_number(object, "incarnation", control->info.incarnation);
	set_number(object, "generation", g->generation);
	set_number(object, "signed_generation", head.generation);
	set_number(object, "applied_incarnation",
		   channel ? channel->applied_incarnation : g->applied_incarnation);
	set_number(object, "applied_generation",
		   channel ? channel->applied_generation : g->applied_generation);
	hf_status_set_time(object, "last_seen", channel ? hf_control_wall_ms() : g->last_seen_ms);
	add_network(object, control, g, channel);
	if (channel)
		add_unknown(object, control, channel);
	if (channel)
		add_channel(object, channel);
	else if (hf_registry_claimant_visit(control->reg, g->id, count_claimant, &claimants) == 0 &&
		 claimants > 0)
		set_text(object, "problem",
			 "two machines claim to be this gateway: holdfast gateway claimants");
	return object;
}

json_t *hf_status_info_json(struct hf_control *control)
{
	char id[HF_ID_TEXT_MAX], fingerprint[HF_FINGERPRINT_TEXT_MAX];
	char endpoint[HF_REG_PORTAL_MAX + 1];
	json_t *object = json_object();

	set_text(object, "version", HF_VERSION);
	set_process(control, object, control->process);
	json_object_set_new(object, "registry_away",
			    json_boolean(control->registry_away_since_ms > 0));
	json_object_set_new(object, "hints_travel",
			    json_boolean(hf_route_connected(control->route)));
	set_text(object, "tenant", hf_id_format(HF_ID_TENANT, control->info.tenant, id));
	set_number(object, "incarnation", control->info.incarnation);
	set_number(object, "schema", control->info.schema);
	json_object_set_new(object, "ready", json_boolean(control->trusted));
	json_object_set_new(object, "signer_away", json_boolean(control->signer_away_since_ms > 0));
	set_text(object, "authority_fingerprint",
		 hf_key_fingerprint(control->authority_key, fingerprint));
	set_text(object, "signer_fingerprint",
		 hf_key_fingerprint(control->signer_key, fingerprint));
	if (control->channel_listener)
		set_number(object, "channel_port", hf_listener_port(control->channel_listener));
	if (control->activation_listener)
		set_number(object, "activation_port",
			   hf_listener_port(control->activation_listener));
	hf_control_endpoint(control, endpoint, sizeof endpoint);
	set_text(object, "channel_advertise", endpoint);
	set_text(object, "store_url", control->config.store_url);
	set_number(object, "connections", control->channel_count);
	set_number(object, "held", control->held_count);
	json_object_set_new(object, "draining", json_boolean(control->draining));
	json_object_set_new(object, "processes", hf_fleet_json(control));
	set_number(object, "activations", control->activation_count);
	set_text(object, "problem", hf_publish_obstacle(control));
	return object;
}
