/* The registry as several processes share it (watch.h). Connections that ended are collected and
 * stored together once a second, so that a network that breaks for thousands costs a few
 * transactions. Without the registry everything that is held goes on being held; here is where that
 * is noticed and said. Loop's thread. */
#include "provider/control/watch.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "provider/control/admin.h"
#include "provider/control/channel.h"

#define LEFT_MAX     HF_CHANNELS_MAX
#define LEFT_AT_ONCE 512u

struct hf_left {
	uint64_t gateway, epoch, at_ms;
};

/* ---- The registry's presence ---- */

static void note_away(struct hf_control *control)
{
	if (control->registry_away_since_ms != 0)
		return;
	control->registry_away_since_ms = hf_control_wall_ms();
	hf_error("the registry is away: %s; connections are held, changes wait",
		 hf_registry_why(control->reg));
}

static void note_there(struct hf_control *control, const struct hf_reg_info *info)
{
	if (control->registry_away_since_ms != 0)
		hf_info("the registry answers again after %" PRIu64 " s",
			(hf_control_wall_ms() - control->registry_away_since_ms) / 1000);
	control->registry_away_since_ms = 0;
	if (info->incarnation == control->info.incarnation)
		return;
	hf_warn("the registry has incarnation %" PRIu64 " now", info->incarnation);
	control->info = *info;
	hf_delivery_look_at_all(control);
}

/* ---- Connections that ended ---- */

void hf_watch_left(struct hf_control *control, uint64_t gateway, uint64_t epoch)
{
	struct hf_left *grown;

	if (control->stopping || control->left_count == LEFT_MAX)
		return; /* `last seen` grows old by itself */
	grown = reallocarray(control->left, control->left_count + 1, sizeof *grown);
	if (!grown)
		return;
	control->left = grown;
	grown[control->left_count++] = (struct hf_left){gateway, epoch, hf_control_wall_ms()};
}

static int store_left(struct hf_control *control, size_t count)
{
	int err = hf_registry_begin(control->reg);

	if (err)
		return err;
	for (size_t i = 0; i < count && !err; i++) {
		const struct hf_left *left = &control->left[control->left_count - 1 - i];

		err = hf_registry_gateway_left(control->reg, left->gateway, left->epoch,
					       left->at_ms);
		/* Somebody else holds it by now. */
		if (err == HF_EFENCED || err == HF_ENOENT)
			err = 0;
	}
	return hf_registry_end(control->reg, err);
}

static void store_all_left(struct hf_control *control)
{
	while (control->left_count > 0) {
		size_t count =
			control->left_count < LEFT_AT_ONCE ? control->left_count : LEFT_AT_ONCE;

		if (store_left(control, count) != 0)
			return;
		control->left_count -= count;
	}
}

void hf_watch_tick(struct hf_control *control)
{
	struct hf_reg_info info;

	if (hf_registry_info(control->reg, &info) != 0) {
		note_away(control);
		return;
	}
	note_there(control, &info);
	store_all_left(control);
}

void hf_watch_close(struct hf_control *control)
{
	if (control->reg && hf_registry_process_left(control->reg, hf_control_wall_ms()) != 0)
		hf_warn("that this process stops is not stored: %s", hf_registry_why(control->reg));
	free(control->left);
	control->left = NULL;
	control->left_count = 0;
}

/* ---- Hints ---- */

/* The registry knows a newer holder than us: what we have is a connection that nobody told us is
 * dead, or a machine that claims to be the gateway. */
static bool is_overtaken(struct hf_channel *channel)
{
	struct hf_reg_gateway row;

	if (hf_registry_gateway_get(channel->control->reg, channel->gateway, &row) != 0 ||
	    row.epoch <= channel->epoch)
		return false;
	hf_session_raise_floor(channel->link.session, row.epoch);
	hf_channel_fenced(channel);
	return true;
}

void hf_watch_hinted(void *context, uint64_t gateway)
{
	struct hf_control *control = context;
	struct hf_channel *channel = hf_channel_find(control, gateway);

	if (channel && !is_overtaken(channel))
		hf_delivery_check(channel);
	hf_admin_changed(control, 0, gateway);
}

bool hf_watch_connected(struct hf_control *control, const struct hf_reg_gateway *gateway)
{
	struct hf_channel *channel = hf_channel_find(control, gateway->id);

	if (channel && channel->epoch >= gateway->epoch)
		return true;
	return gateway->process != 0 && gateway->process != control->process &&
	       hf_control_wall_ms() < gateway->last_seen_ms + HF_HOLDERS_WORD_MS;
}
