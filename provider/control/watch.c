/* The registry as several processes share it (watch.h). Connections that ended are collected and
 * stored together once a second, so that a network that breaks for thousands costs a few
 * transactions. Without the registry everything that is held goes on being held; here is where that
 * is noticed and said. Loop's thread. */
#include "provider/control/watch.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "provider/control/admin.h"
#include "provider/control/channel.h"
#include "provider/control/lookers.h"

#define LEFT_MAX        HF_CHANNELS_MAX
#define LEFT_AT_ONCE    512u
#define PEERS_MAX       256u
#define PEER_SILENT_MS  5000u
#define RECLAIM_AT_ONCE 2000u
#define PEERS_AGAIN_MS  100u

struct hf_left {
	uint64_t gateway, epoch, at_ms;
};

/* Another process, as its row was seen to change. */
struct hf_peer_process {
	struct hf_reg_process row;
	uint64_t changed_ms; /* loop's clock */
	unsigned changes;
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
	if (control->registry_away_since_ms != 0) {
		hf_info("the registry answers again after %" PRIu64 " s",
			(hf_control_wall_ms() - control->registry_away_since_ms) / 1000);
		control->watching_ms = uv_now(control->loop);
	}
	control->registry_away_since_ms = 0;
	if (info->incarnation == control->info.incarnation)
		return;
	hf_warn("the registry has incarnation %" PRIu64 " now", info->incarnation);
	control->info = *info;
	hf_delivery_look_at_all(control);
}

uint64_t hf_watch_patience_ms(const struct hf_control *control)
{
	return control->config.ping_interval_ms * 9 / 4;
}

bool hf_watch_settled(struct hf_control *control)
{
	return control->registry_away_since_ms == 0 &&
	       uv_now(control->loop) >= control->watching_ms + hf_watch_patience_ms(control);
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

/* ---- The other processes ---- */

static struct hf_peer_process *find_peer(struct hf_control *control, uint64_t id)
{
	for (size_t i = 0; i < control->peer_count; i++)
		if (control->peers[i].row.id == id)
			return &control->peers[i];
	return NULL;
}

static int see_peer(void *context, const struct hf_reg_process *row)
{
	struct hf_control *control = context;
	struct hf_peer_process *peer = find_peer(control, row->id), *grown;

	if (row->id == control->process || (!peer && control->peer_count == PEERS_MAX))
		return 0;
	if (!peer) {
		grown = reallocarray(control->peers, control->peer_count + 1, sizeof *grown);
		if (!grown)
			return HF_ENOMEM;
		control->peers = grown;
		peer = &grown[control->peer_count++];
		memset(peer, 0, sizeof *peer);
	}
	if (peer->row.beat_ms != row->beat_ms) {
		peer->changed_ms = uv_now(control->loop);
		peer->changes++;
	}
	peer->row = *row;
	return 0;
}

static void forget_dead_peers(struct hf_control *control)
{
	uint64_t patience_ms = hf_watch_patience_ms(control);

	if (patience_ms < 2 * PEER_SILENT_MS)
		patience_ms = 2 * PEER_SILENT_MS;
	for (size_t i = control->peer_count; hf_watch_settled(control) && i-- > 0;) {
		struct hf_peer_process *peer = &control->peers[i];

		if (uv_now(control->loop) < peer->changed_ms + patience_ms ||
		    hf_registry_process_forget(control->reg, peer->row.id, 0) != 0)
			continue;
		hf_warn("process %s at %s has been silent for %" PRIu64 " s: it holds nothing",
			peer->row.name, peer->row.endpoint,
			(uv_now(control->loop) - peer->changed_ms) / 1000);
		*peer = control->peers[--control->peer_count];
	}
}

/* ---- Forgotten ourselves ---- */

static int reclaim_bucket(struct hf_control *control, struct hf_list *bucket, unsigned *said)
{
	hf_list_for_each_safe (cursor, bucket) {
		struct hf_channel *channel = hf_container_of(cursor, struct hf_channel, entry);
		int err = 0;

		HF_CHECK_MAGIC(channel, HF_CHANNEL_MAGIC);
		if (channel->epoch == 0 || channel->link.ended)
			continue;
		++*said;
		err = hf_registry_gateway_held(control->reg, channel->gateway, channel->epoch);
		/* Somebody else's by now: the next hint or write ends the channel. */
		if (err && err != HF_EFENCED && err != HF_ENOENT)
			return err;
	}
	return 0;
}

/* The others took this process for dead: the registry has to know again what it holds. A part at a
 * time, so that thousands do not keep the loop. */
static void reclaim(struct hf_control *control)
{
	unsigned next = control->reclaim_next, said = 0;
	int err;

	if (next == HF_CHANNEL_BUCKETS || hf_registry_begin(control->reg) != 0)
		return;
	for (err = 0; !err && next < HF_CHANNEL_BUCKETS && said < RECLAIM_AT_ONCE; next++)
		err = reclaim_bucket(control, &control->channels[next], &said);
	if (hf_registry_end(control->reg, err) != 0)
		return;
	control->reclaim_next = next;
	if (said)
		hf_info("the registry knows again that %u gateways are held here", said);
}

static void beat(struct hf_control *control)
{
	bool fresh = false;
	struct hf_reg_process self = {.beat_ms = hf_control_wall_ms(),
				      .held = control->held_count,
				      .parked = control->channel_count - control->held_count,
				      .capacity = control->config.capacity,
				      .draining = control->draining};

	if (control->config.process_name[0])
		snprintf(self.name, sizeof self.name, "%s", control->config.process_name);
	else
		gethostname(self.name, sizeof self.name - 1);
	hf_control_own_endpoint(control, self.endpoint, sizeof self.endpoint);
	if (hf_registry_process_beat(control->reg, &self, &fresh) != 0)
		return;
	if (fresh && control->held_count > 0)
		control->reclaim_next = 0;
	reclaim(control);
	if (hf_registry_process_visit(control->reg, see_peer, control) == 0) {
		control->peers_seen_ms = uv_now(control->loop);
		forget_dead_peers(control);
	}
}

static const struct hf_peer_process *living_peer(struct hf_control *control, uint64_t id)
{
	struct hf_peer_process *peer = find_peer(control, id);

	/* It may have begun within the last second. */
	if (!peer && id != 0 && id != control->process && !control->alone &&
	    uv_now(control->loop) >= control->peers_read_ms + PEERS_AGAIN_MS) {
		hf_registry_process_visit(control->reg, see_peer, control);
		control->peers_read_ms = uv_now(control->loop);
		peer = find_peer(control, id);
	}
	return peer && uv_now(control->loop) < peer->changed_ms + PEER_SILENT_MS ? peer : NULL;
}

void hf_watch_peers(struct hf_control *control,
		    void (*visit)(void *context, const struct hf_reg_process *row), void *context)
{
	uint64_t now_ms = uv_now(control->loop);

	/* Without the registry nobody is seen to change: they are taken to be as they were. */
	if (control->registry_away_since_ms != 0)
		now_ms = control->peers_seen_ms;
	for (size_t i = 0; i < control->peer_count; i++) {
		const struct hf_peer_process *peer = &control->peers[i];

		/* A row that was just read may be that of a process that died long ago. */
		if (peer->changes >= 2 && now_ms < peer->changed_ms + PEER_SILENT_MS)
			visit(context, &peer->row);
	}
}

/* ---- Once a second, and at the end ---- */

void hf_watch_tick(struct hf_control *control)
{
	struct hf_reg_info info;

	if (hf_registry_info(control->reg, &info) != 0) {
		note_away(control);
		return;
	}
	hf_control_time_is(info.now_ms);
	note_there(control, &info);
	store_all_left(control);
	if (!control->alone)
		beat(control);
}

int hf_watch_open(struct hf_control *control, struct hf_errmsg *message)
{
	(void)message;
	hf_watch_tick(control);
	return 0;
}

void hf_watch_close(struct hf_control *control)
{
	if (control->reg &&
	    hf_registry_process_forget(control->reg, control->process, hf_control_wall_ms()) != 0)
		hf_warn("that this process stops is not stored: %s", hf_registry_why(control->reg));
	free(control->left);
	free(control->peers);
	control->left = NULL;
	control->peers = NULL;
	control->left_count = control->peer_count = 0;
}

/* ---- Hints ---- */

/* The registry knows a newer holder than us: what we have is a connection that nobody told us is
 * dead, or a machine that claims to be the gateway. */
static bool is_overtaken(struct hf_channel *channel)
{
	struct hf_reg_gateway row;

	if (hf_registry_gateway_get(channel->control->reg, channel->gateway, &row) != 0)
		return false;
	if (row.epoch <= channel->epoch) {
		hf_lookers_counted(channel, row.looks);
		return false;
	}
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

	return (channel && channel->epoch >= gateway->epoch) ||
	       living_peer(control, gateway->process) != NULL;
}

const char *hf_watch_endpoint(struct hf_control *control, uint64_t process)
{
	const struct hf_peer_process *peer = find_peer(control, process);

	if (process == control->process)
		return control->config.channel_listen;
	return peer ? peer->row.endpoint : "";
}
