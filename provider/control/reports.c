/* Reports of a subscription: the newest stays in memory with the connection; the registry gets what
 * changed, and the rest every STORE_MS. What a report completes (a volume exists now, a volume is
 * gone) becomes part of the desired state in the same transaction. Loop's thread. */
#include "provider/control/channel.h"
#include "provider/control/network.h"

#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/log.h"
#include "provider/control/admin.h"
#include "provider/control/events.h"
#include "provider/control/lookers.h"
#include "provider/control/publish.h"
#include "provider/registry/told.h"

#define STORE_MS   30000u
#define SHARE_MS   900u /* while somebody looks through another process */
#define ALARMS_MAX 16u

/* A gateway's text may hold anything; what is kept is printable ASCII. */
static void copy_printable(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", from);
	for (char *c = to; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
}

static struct hf_live_volume *find_live(struct hf_channel *channel, uint64_t volume)
{
	for (size_t i = 0; i < channel->live_count; i++)
		if (channel->live[i].volume == volume)
			return &channel->live[i];
	return NULL;
}

static struct hf_live_volume *add_live(struct hf_channel *channel, uint64_t volume)
{
	struct hf_live_volume *grown;

	if (channel->live_count == HF_VOLUMES_PER_GATEWAY_MAX)
		return NULL;
	grown = reallocarray(channel->live, channel->live_count + 1, sizeof *grown);
	if (!grown)
		return NULL;
	channel->live = grown;
	grown += channel->live_count++;
	memset(grown, 0, sizeof *grown);
	grown->volume = volume;
	return grown;
}

static void remove_live(struct hf_channel *channel, uint64_t volume)
{
	struct hf_live_volume *live = find_live(channel, volume);

	if (live)
		*live = channel->live[--channel->live_count];
}

static void fill_report(struct hf_reg_report *to, const Holdfast__VolumeReport *from)
{
	to->state = from->state;
	to->version = from->version;
	to->error = from->error;
	copy_printable(to->reason, sizeof to->reason, from->reason);
	to->recovery_point = from->recovery_point;
	to->lag_bytes = from->recovery_point_lag_bytes;
	to->age_ms = from->recovery_point_age_ms;
	to->sessions = from->sessions;
	to->size_bytes = from->size_bytes;
	copy_printable(to->portal, sizeof to->portal, from->portal);
	to->reported_ms = hf_control_wall_ms();
}

/* What somebody at another process may wait for, or decide upon. */
static bool is_news(const struct hf_live_volume *live)
{
	return live->stored_ms == 0 || live->report.state != live->stored_state ||
	       live->report.version != live->stored_version ||
	       live->report.error != live->stored_error ||
	       live->report.size_bytes != live->stored_size ||
	       (live->report.sessions > 0) != live->stored_used;
}

static bool worth_storing(const struct hf_channel *channel, const struct hf_live_volume *live)
{
	uint64_t store_ms = hf_lookers_elsewhere(channel) ? SHARE_MS : STORE_MS;

	return is_news(live) || live->report.reported_ms >= live->stored_ms + store_ms;
}

/* Gone at this gateway: forget the placement; the volume goes with its last one. */
static int complete_delete(struct hf_control *control, const struct hf_reg_placement *p)
{
	struct hf_reg_volume volume;
	uint64_t generation;
	char id[HF_ID_TEXT_MAX];
	int err = hf_registry_volume_get(control->reg, p->volume, &volume);

	if (!err)
		err = hf_registry_placement_remove(control->reg, p->volume, p->gateway);
	if (!err)
		err = hf_registry_gateway_bump(control->reg, p->gateway, &generation);
	if (!err && volume.gateway == p->gateway) {
		volume.gone = true;
		err = hf_registry_volume_update(control->reg, &volume);
	}
	if (!err) {
		err = hf_registry_volume_remove(control->reg, p->volume);
		err = err == HF_EBUSY ? 0 : err;
	}
	if (!err)
		hf_info("%s is deleted", hf_id_format(HF_ID_VOLUME, p->volume, id));
	return err;
}

/* Its objects exist from now on: later documents do not say "create" any more. */
static int complete_create(struct hf_control *control, const struct hf_reg_placement *p)
{
	struct hf_reg_volume volume;
	uint64_t generation;
	int err = hf_registry_volume_get(control->reg, p->volume, &volume);

	if (err || volume.created)
		return err;
	volume.created = true;
	err = hf_registry_volume_update(control->reg, &volume);
	if (!err)
		err = hf_registry_gateway_bump(control->reg, p->gateway, &generation);
	return err;
}

/* A registry that was restored may not know of the last attachments. */
static int learn_epoch(struct hf_channel *channel, const struct hf_live_volume *live,
		       const struct hf_reg_placement *p)
{
	return !live->attach_epoch || (p && p->attach_epoch >= live->attach_epoch)
		       ? 0
		       : hf_registry_volume_epoch(channel->control->reg, live->volume,
						  channel->tenant, live->attach_epoch);
}

/* 1: desired state changed too; 0 or an error. Within a transaction. */
static int store_report(struct hf_channel *channel, const struct hf_live_volume *live)
{
	struct hf_control *control = channel->control;
	struct hf_reg_placement p;
	int err = hf_registry_placement_get(control->reg, live->volume, channel->gateway, &p);

	if (err == HF_ENOENT)
		return learn_epoch(channel, live, NULL);
	p.report = live->report;
	if (!err)
		err = learn_epoch(channel, live, &p);
	if (!err)
		err = hf_registry_placement_report(control->reg, channel->epoch, &p);
	if (err || live->report.version < p.version)
		return err;
	if (p.desired == HF_REG_DELETED &&
	    live->report.state == HOLDFAST__VOLUME_STATE__VOLUME_DELETED)
		err = complete_delete(control, &p);
	else if (p.desired == HF_REG_ATTACHED &&
		 live->report.state == HOLDFAST__VOLUME_STATE__VOLUME_AVAILABLE)
		err = complete_create(control, &p);
	else
		return 0;
	return err ? err : 1;
}

static int store_all(struct hf_channel *channel)
{
	struct hf_control *control = channel->control;
	int changed = 0, err = hf_registry_begin(control->reg);

	if (err)
		return err;
	for (size_t i = 0; err >= 0 && i < channel->live_count; i++) {
		if (!worth_storing(channel, &channel->live[i]))
			continue;
		err = store_report(channel, &channel->live[i]);
		changed |= err == 1;
	}
	err = hf_registry_end(control->reg, err < 0 ? err : 0);
	return err ? err : changed;
}

static void mark_stored(struct hf_channel *channel)
{
	bool news = false;

	for (size_t i = 0; i < channel->live_count; i++) {
		struct hf_live_volume *live = &channel->live[i];

		if (!worth_storing(channel, live))
			continue;
		news |= is_news(live);
		live->stored_state = live->report.state;
		live->stored_version = live->report.version;
		live->stored_error = live->report.error;
		live->stored_size = live->report.size_bytes;
		live->stored_used = live->report.sessions > 0;
		live->stored_ms = live->report.reported_ms;
	}
	if (news)
		hf_route_notify_others(channel->control->route, channel->gateway);
}

static bool anything_to_store(const struct hf_channel *channel)
{
	for (size_t i = 0; i < channel->live_count; i++)
		if (worth_storing(channel, &channel->live[i]))
			return true;
	return false;
}

static void store_changes(struct hf_channel *channel)
{
	struct hf_control *control = channel->control;
	int err;

	/* What finds no room now is still there with the next report. */
	if (!anything_to_store(channel) ||
	    !hf_bucket_take(&channel->writes, hf_link_now_ms(&channel->link)))
		return;
	err = store_all(channel);
	if (err == HF_EFENCED) {
		hf_channel_fenced(channel);
		return;
	}
	if (err < 0) {
		/* That it is away was said (watch.c). */
		if (hf_registry_ready(control->reg))
			hf_warn("reports cannot be stored: %s", hf_registry_why(control->reg));
		return;
	}
	mark_stored(channel);
	if (err == 1)
		hf_publish_gateway(control, channel->gateway);
}

void hf_reports_take_volumes(struct hf_channel *channel, Holdfast__VolumeReport **volumes,
			     size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct hf_live_volume *live = find_live(channel, volumes[i]->volume);

		if (!live)
			live = add_live(channel, volumes[i]->volume);
		if (!live)
			continue;
		live->attach_epoch = volumes[i]->attach_epoch;
		fill_report(&live->report, volumes[i]);
	}
	store_changes(channel);
	for (size_t i = 0; i < count; i++) {
		hf_admin_changed(channel->control, volumes[i]->volume, 0);
		if (volumes[i]->state == HOLDFAST__VOLUME_STATE__VOLUME_DELETED)
			remove_live(channel, volumes[i]->volume);
	}
}

static void take_alarms(struct hf_channel *channel, char **alarms, size_t count)
{
	char *end;

	free(channel->alarms);
	channel->alarms = NULL;
	if (count > ALARMS_MAX)
		count = ALARMS_MAX;
	if (count > 0)
		channel->alarms = calloc(count, HF_REG_REASON_MAX + 1);
	end = channel->alarms;
	for (size_t i = 0; end && i < count; i++) {
		copy_printable(end, HF_REG_REASON_MAX, alarms[i]);
		end += strlen(end);
		*end++ = '\n';
	}
}

void hf_reports_take(struct hf_channel *channel, const Holdfast__Report *report)
{
	uint64_t now_ms = hf_link_now_ms(&channel->link);

	if (channel->epoch == 0) {
		hf_grants_reported(channel, report);
		return;
	}
	channel->reported_ms = now_ms;
	channel->control->counts.reports++;
	channel->reported_subscription = report->subscription;
	channel->clock_known = report->clock_ms != 0;
	channel->clock_ahead_ms = (int64_t)(report->clock_ms - hf_control_wall_ms());
	channel->buffer_total_bytes = report->buffer_total_bytes;
	channel->buffer_used_bytes = report->buffer_used_bytes;
	channel->volumed_running = report->volumed_running;
	channel->target_running = report->target_running;
	take_alarms(channel, report->alarms, report->n_alarms);
	hf_events_take(channel, report);
	if (report->applied)
		hf_delivery_applied(channel, report->applied);
	if (now_ms >= channel->seen_stored_ms + STORE_MS) {
		channel->seen_stored_ms = now_ms;
		hf_seen_note(channel);
	}
	hf_network_reported(channel, report->network);
	hf_reports_take_volumes(channel, report->volumes, report->n_volumes);
	hf_admin_changed(channel->control, 0, channel->gateway);
}

void hf_reports_newest(struct hf_control *control, struct hf_reg_placement *placement)
{
	struct hf_channel *channel = hf_channel_find(control, placement->gateway);
	struct hf_live_volume *live = channel ? find_live(channel, placement->volume) : NULL;

	if (live)
		placement->report = live->report;
}

void hf_reports_free(struct hf_channel *channel)
{
	free(channel->live);
	free(channel->alarms);
	hf_events_free(channel);
}
