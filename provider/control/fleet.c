/* The table of processes as one of them sees it (fleet.h). */
#include "provider/control/fleet.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "net/dial.h"
#include "provider/control/channel.h"
#include "provider/control/watch.h"

#define MEMBERS_MAX     256u
#define MEMBERS_STAY_MS 2000u
#define TOLD_AT_ONCE    2000u /* gateways in one second */
#define PEERS_MS        10000u
#define STANDBY_BUSY_MS 60000u /* so late may standbys come while handshakes wait */

struct hf_fleet {
	struct hf_balance balance;
	/* Of the last look: [0] is this process. */
	struct hf_balance_process loads[1 + MEMBERS_MAX];
	struct hf_reg_process rows[1 + MEMBERS_MAX]; /* [0] is not used */
	unsigned load_count;
	char own_endpoint[HF_REG_PORTAL_MAX + 1];
	/* Which set of processes it is that gateways are told of: a sum over their numbers, and how
	 * long it has been so. */
	uint64_t members_sum, members_since_ms;
	unsigned version;
};

int hf_fleet_open(struct hf_control *control, struct hf_errmsg *message)
{
	control->fleet = calloc(1, sizeof *control->fleet);
	return control->fleet ? 0 : hf_fail(message, HF_ENOMEM, "out of memory");
}

bool hf_fleet_full(struct hf_control *control)
{
	/* Who asks is among them. */
	return control->channel_count > control->config.capacity;
}

/* ---- Looking ---- */

/* A process that was away for a moment is not worth a word to every gateway. */
static void note_members(struct hf_control *control)
{
	struct hf_fleet *fleet = control->fleet;
	uint64_t sum = 0, now_ms = uv_now(control->loop);

	for (unsigned i = 1; i < fleet->load_count; i++)
		if (!fleet->loads[i].draining)
			sum += fleet->rows[i].id;
	if (sum != fleet->members_sum) {
		fleet->members_sum = sum;
		fleet->members_since_ms = now_ms;
	} else if (fleet->members_since_ms && now_ms >= fleet->members_since_ms + MEMBERS_STAY_MS) {
		fleet->members_since_ms = 0;
		fleet->version++;
	}
}

static void add_peer(void *context, const struct hf_reg_process *row)
{
	struct hf_fleet *fleet = context;

	if (fleet->load_count > MEMBERS_MAX || !row->endpoint[0])
		return;
	fleet->loads[fleet->load_count] =
		(struct hf_balance_process){.held = (unsigned)row->held,
					    .parked = (unsigned)row->parked,
					    .capacity = (unsigned)row->capacity,
					    .draining = row->draining};
	fleet->rows[fleet->load_count++] = *row;
}

/* What is sent to others is counted from here on. */
static void note_loads(struct hf_control *control)
{
	struct hf_fleet *fleet = control->fleet;

	fleet->loads[0] =
		(struct hf_balance_process){.held = control->held_count,
					    .parked = control->channel_count - control->held_count,
					    .capacity = (unsigned)control->config.capacity,
					    .draining = control->draining};
	fleet->load_count = 1;
	hf_watch_peers(control, add_peer, fleet);
	note_members(control);
}

/* ---- Asking ---- */

const char *hf_fleet_elsewhere(struct hf_control *control)
{
	struct hf_fleet *fleet = control->fleet;
	uint32_t random;
	int at = -1;

	hf_random(&random, sizeof random);
	if (fleet->load_count > 1)
		at = hf_balance_target(fleet->loads, fleet->load_count, 0, random);
	return at < 0 ? NULL : fleet->rows[at].endpoint;
}

unsigned hf_fleet_excess(struct hf_control *control)
{
	struct hf_fleet *fleet = control->fleet;

	if (fleet->load_count < 2)
		return 0;
	return hf_balance_step(&fleet->balance, fleet->loads, fleet->load_count, 0,
			       (unsigned)control->config.rebalance_per_s);
}

/* Of more than fit, some; this one always. */
static unsigned list_endpoints(const struct hf_fleet *fleet, char *list[HF_DIAL_ENDPOINTS_MAX])
{
	unsigned first = 1, count = 0;
	uint32_t random;

	if (fleet->load_count < 2)
		return 0;
	hf_random(&random, sizeof random);
	list[count++] = (char *)(uintptr_t)fleet->own_endpoint;
	if (fleet->load_count > HF_DIAL_ENDPOINTS_MAX)
		first = 1 + random % (fleet->load_count - 1);
	for (unsigned i = 1; i < fleet->load_count; i++) {
		unsigned at = 1 + (first - 1 + i - 1) % (fleet->load_count - 1);

		if (!fleet->loads[at].draining && count < HF_DIAL_ENDPOINTS_MAX)
			list[count++] = (char *)(uintptr_t)fleet->rows[at].endpoint;
	}
	return count;
}

static uint32_t standby_ms(const struct hf_control *control)
{
	uint32_t within_ms = (uint32_t)control->config.standby_spread_ms;

	return hf_listener_busy(control->channel_listener) && within_ms < STANDBY_BUSY_MS
		       ? STANDBY_BUSY_MS
		       : within_ms;
}

void hf_fleet_fill_held(struct hf_channel *channel, Holdfast__Held *held)
{
	static char *endpoints[HF_DIAL_ENDPOINTS_MAX]; /* loop's thread; until the next call */
	struct hf_control *control = channel->control;

	channel->told_fleet = control->fleet->version;
	held->process = control->process;
	held->standby_ms = standby_ms(control);
	held->endpoints = endpoints;
	held->n_endpoints = list_endpoints(control->fleet, endpoints);
}

/* Who was held when the processes were others. */
static void tell_peers(struct hf_channel *channel)
{
	Holdfast__Request request = HOLDFAST__REQUEST__INIT;
	Holdfast__Peers peers = HOLDFAST__PEERS__INIT;
	char *endpoints[HF_DIAL_ENDPOINTS_MAX];
	uint64_t number;

	peers.endpoints = endpoints;
	peers.n_endpoints = list_endpoints(channel->control->fleet, endpoints);
	peers.standby_ms = standby_ms(channel->control);
	request.remaining_ms = PEERS_MS;
	request.kind_case = HOLDFAST__REQUEST__KIND_PEERS;
	request.peers = &peers;
	if (hf_session_request(channel->link.session, hf_link_now_ms(&channel->link), &request,
			       &number) == 0)
		channel->told_fleet = channel->control->fleet->version;
	hf_link_rearm(&channel->link);
}

static void tell_some(struct hf_control *control)
{
	unsigned told = 0;

	for (unsigned i = 0; i < HF_CHANNEL_BUCKETS && told < TOLD_AT_ONCE; i++)
		hf_list_for_each_safe (cursor, &control->channels[i]) {
			struct hf_channel *channel =
				hf_container_of(cursor, struct hf_channel, entry);

			if (channel->epoch == 0 || channel->link.ended ||
			    channel->told_fleet == control->fleet->version ||
			    channel->capability < HF_CAPABILITY_STANDBY)
				continue;
			tell_peers(channel);
			told++;
		}
}

void hf_fleet_tick(struct hf_control *control)
{
	struct hf_fleet *fleet = control->fleet;

	/* Without a listener its own endpoint may not be known yet. */
	if (!control->channel_listener && !control->draining)
		return;
	if (!fleet->own_endpoint[0])
		hf_control_own_endpoint(control, fleet->own_endpoint, sizeof fleet->own_endpoint);
	note_loads(control);
	tell_some(control);
}

void hf_fleet_fill_parked(struct hf_control *control, Holdfast__Parked *parked)
{
	parked->process = control->process;
}

json_t *hf_fleet_json(const struct hf_control *control)
{
	const struct hf_fleet *fleet = control->fleet;
	json_t *list = json_array();

	for (unsigned i = 1; i < fleet->load_count; i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:I, s:b}", "name",
						      fleet->rows[i].name, "endpoint",
						      fleet->rows[i].endpoint, "held",
						      (json_int_t)fleet->rows[i].held, "parked",
						      (json_int_t)fleet->rows[i].parked, "draining",
						      fleet->rows[i].draining));
	return list;
}

void hf_fleet_close(struct hf_control *control)
{
	free(control->fleet);
	control->fleet = NULL;
}
