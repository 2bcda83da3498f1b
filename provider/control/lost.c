/* provider/control/lost.h. One question to the registry a second, whatever the number of gateways;
 * writes only when something is lost or found. */
#include "provider/control/lost.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/log.h"
#include "provider/control/channel.h"
#include "provider/control/watch.h"
#include "provider/registry/alerts.h"

#define LOOK_TICKS    5u
#define FOUND_AT_ONCE 64u
#define LOST_AT_ONCE  256u

/* A gateway whose connection ended, until it is known to be lost or elsewhere. */
struct missing {
	struct hf_list link;
	uint64_t gateway, epoch, due_ms; /* loop's clock */
	char why[160];
};

static bool is_silent(struct hf_control *control, struct hf_channel *channel)
{
	uint64_t heard_ms = hf_session_heard_ms(channel->link.session);
	uint64_t now_ms = uv_now(control->loop);

	return now_ms > heard_ms && now_ms - heard_ms > hf_watch_patience_ms(control);
}

static struct hf_channel *find_hearing(struct hf_control *control, uint64_t gateway)
{
	struct hf_channel *channel = hf_channel_find(control, gateway);

	return channel && !channel->link.ended && !is_silent(control, channel) ? channel : NULL;
}

static void forget(struct missing *missing)
{
	hf_list_remove(&missing->link);
	free(missing);
}

/* At `due_ms` it is lost, unless it is heard again by then. */
static void add_missing(struct hf_control *control, uint64_t gateway, uint64_t epoch,
			uint64_t due_ms, const char *why)
{
	struct missing *missing = control->stopping ? NULL : calloc(1, sizeof *missing);

	if (!missing)
		return;
	missing->gateway = gateway;
	missing->epoch = epoch;
	missing->due_ms = due_ms;
	snprintf(missing->why, sizeof missing->why, "%s", why);
	for (char *c = missing->why; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	hf_list_push_back(&control->missing, &missing->link);
}

void hf_lost_gone(struct hf_control *control, uint64_t gateway, uint64_t epoch, const char *why)
{
	char text[sizeof((struct missing *)0)->why];

	HF_CHECK_MAGIC(control, HF_CONTROL_MAGIC);
	snprintf(text, sizeof text, "its connection ended: %s", why);
	add_missing(control, gateway, epoch, uv_now(control->loop) + control->config.lost_after_ms,
		    text);
}

struct due {
	struct missing *missing[LOST_AT_ONCE];
	int errors[LOST_AT_ONCE];
	bool dropped[LOST_AT_ONCE];
	unsigned count;
};

static void collect_due(struct hf_control *control, struct due *due)
{
	uint64_t now_ms = uv_now(control->loop);

	hf_list_for_each_safe (at, &control->missing) {
		struct missing *missing = hf_container_of(at, struct missing, link);

		if (find_hearing(control, missing->gateway))
			forget(missing);
		else if (now_ms >= missing->due_ms && due->count < LOST_AT_ONCE)
			due->missing[due->count++] = missing;
	}
}

/* All in one transaction: when a network breaks for thousands, each commit of its own would keep
 * the loop from those that are still there. */
static int store_due(struct hf_control *control, struct due *due)
{
	int err = hf_registry_begin(control->reg);

	if (err)
		return err;
	for (unsigned i = 0; i < due->count && !err; i++) {
		const struct missing *missing = due->missing[i];

		err = hf_registry_gateway_lost(control->reg, missing->gateway, missing->epoch,
					       hf_control_wall_ms(), missing->why,
					       &due->dropped[i]);
		due->errors[i] = err;
		/* Held elsewhere, known to be lost, or no gateway any more. */
		if (err == HF_EFENCED || err == HF_EEXIST || err == HF_ENOENT)
			err = 0;
	}
	return hf_registry_end(control->reg, err);
}

static void look_at_missing(struct hf_control *control)
{
	struct due due = {.count = 0};
	char id[HF_ID_TEXT_MAX];

	collect_due(control, &due);
	if (due.count == 0 || store_due(control, &due) != 0)
		return;
	for (unsigned i = 0; i < due.count; i++) {
		if (due.errors[i] == 0) {
			control->counts.alarms_dropped += due.dropped[i];
			control->counts.alarms_raised++;
			hf_warn("%s is lost: %s",
				hf_id_format(HF_ID_GATEWAY, due.missing[i]->gateway, id),
				due.missing[i]->why);
		}
		forget(due.missing[i]);
	}
}

static void look_for_silent(struct hf_control *control)
{
	uint64_t now_ms = uv_now(control->loop);
	char why[80];

	for (unsigned i = 0; i < HF_CHANNEL_BUCKETS; i++)
		hf_list_for_each_safe (at, &control->channels[i]) {
			struct hf_channel *channel = hf_container_of(at, struct hf_channel, entry);
			bool silent = channel->epoch > 0 && !channel->link.ended &&
				      is_silent(control, channel);

			if (silent && !channel->told_silent) {
				snprintf(why, sizeof why, "nothing was heard for %" PRIu64 " s",
					 (now_ms - hf_session_heard_ms(channel->link.session)) /
						 1000);
				add_missing(control, channel->gateway, channel->epoch, now_ms, why);
			}
			channel->told_silent = silent;
		}
}

/* ---- Back again ---- */

struct found {
	struct hf_control *control;
	unsigned count;
	uint64_t gateways[FOUND_AT_ONCE];
};

static int note_found(void *context, uint64_t gateway)
{
	struct found *found = context;

	if (find_hearing(found->control, gateway))
		found->gateways[found->count++] = gateway;
	return found->count == FOUND_AT_ONCE;
}

static void look_for_found(struct hf_control *control)
{
	struct found found = {.control = control};
	char id[HF_ID_TEXT_MAX];
	bool dropped;

	if (hf_registry_lost_visit(control->reg, note_found, &found) < 0)
		return;
	for (unsigned i = 0; i < found.count; i++) {
		if (hf_registry_gateway_found(control->reg, found.gateways[i], hf_control_wall_ms(),
					      "it is connected again", &dropped) != 0)
			continue;
		control->counts.alarms_dropped += dropped;
		hf_info("%s is back", hf_id_format(HF_ID_GATEWAY, found.gateways[i], id));
	}
}

/* ---- Gateways that nobody holds: their holder died or stopped, and they came to nobody ---- */

struct unheld {
	struct hf_control *control;
	unsigned count;
	char why[80];
};

static int note_unheld(void *context, uint64_t gateway, uint64_t epoch)
{
	struct unheld *unheld = context;
	struct hf_control *control = unheld->control;

	if (find_hearing(control, gateway))
		return 0;
	add_missing(control, gateway, epoch, uv_now(control->loop), unheld->why);
	return ++unheld->count == LOST_AT_ONCE;
}

static bool any_due(struct hf_control *control)
{
	hf_list_for_each (at, &control->missing)
		if (uv_now(control->loop) >= hf_container_of(at, struct missing, link)->due_ms)
			return true;
	return false;
}

/* Whoever ended the connection tells it, if it lives; what it did not tell, every other process
 * finds here, and the registry takes it from one. */
static void look_for_unheld(struct hf_control *control)
{
	uint64_t patience_ms = hf_watch_patience_ms(control);
	struct unheld unheld = {.control = control};

	if (!hf_watch_settled(control) || any_due(control))
		return;
	snprintf(unheld.why, sizeof unheld.why, "no process has held it for %" PRIu64 " s",
		 patience_ms / 1000);
	control->more_unheld =
		hf_registry_unheld_visit(control->reg, hf_control_wall_ms() - patience_ms,
					 note_unheld, &unheld) == 1;
}

void hf_lost_tick(struct hf_control *control)
{
	bool due = control->lost_ticks % LOOK_TICKS == 0;

	HF_CHECK_MAGIC(control, HF_CONTROL_MAGIC);
	if (!control->trusted || !hf_registry_ready(control->reg))
		return;
	control->lost_ticks++;
	if (due || control->more_unheld)
		look_for_unheld(control);
	if (due)
		look_for_silent(control);
	look_at_missing(control);
	look_for_found(control);
}

void hf_lost_close(struct hf_control *control)
{
	hf_list_for_each_safe (at, &control->missing)
		forget(hf_container_of(at, struct missing, link));
}
