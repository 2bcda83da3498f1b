/* Sending gateways away (drain.h).
 *
 * A drain: no more connections are accepted; the table of processes says so; each channel draws a
 * moment of the window at which it is told where to go, the least loaded processes first. A gateway
 * that can be promoted or held elsewhere is, before it leaves, so nothing here has to be waited for
 * but requests under way: their channels are told last. Who has not left when the window and
 * AFTER_MS are over is dismissed. */
#include "provider/control/drain.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/log.h"
#include "provider/control/fleet.h"
#include "provider/control/process.h"
#include "provider/control/watch.h"

#define TURN_MS         50u
#define AFTER_MS        5000u /* after the window: until the last have left */
#define DRAIN_ANSWER_MS 10000u
#define SETTLED_MS      10000u /* so long is left alone who has just come */
#define DISMISS_MS      500u

/* ---- One channel ---- */

static bool is_there(const struct hf_channel *channel)
{
	enum hf_session_state state = hf_session_state(channel->link.session);

	return !channel->link.ended && (state == HF_SESSION_HELD || state == HF_SESSION_PARKED);
}

static void tell(struct hf_channel *channel, const char *endpoint, uint32_t within_ms)
{
	Holdfast__Request request = HOLDFAST__REQUEST__INIT;
	Holdfast__Drain drain = HOLDFAST__DRAIN__INIT;
	uint64_t number;

	drain.endpoint = (char *)(uintptr_t)endpoint;
	drain.within_ms = within_ms;
	request.remaining_ms = DRAIN_ANSWER_MS;
	request.kind_case = HOLDFAST__REQUEST__KIND_DRAIN;
	request.drain = &drain;
	if (hf_session_request(channel->link.session, hf_link_now_ms(&channel->link), &request,
			       &number) == 0)
		channel->told_to_leave = true;
	hf_link_rearm(&channel->link);
}

/* ---- All of them ---- */

static uint32_t random_below(uint64_t bound)
{
	uint32_t random;

	hf_random(&random, sizeof random);
	return bound ? (uint32_t)(random % bound) : 0;
}

void hf_drain_dismiss_all(struct hf_control *control, const char *reason)
{
	uint64_t per_s = control->config.accept_per_s ? control->config.accept_per_s : UINT32_MAX;
	uint64_t spread_ms = control->channel_count * 1000ull / per_s;

	for (unsigned i = 0; i < HF_CHANNEL_BUCKETS; i++)
		hf_list_for_each_safe (cursor, &control->channels[i]) {
			struct hf_channel *channel =
				hf_container_of(cursor, struct hf_channel, entry);
			const char *to = is_there(channel) ? hf_fleet_elsewhere(control) : NULL;

			if (channel->link.ended)
				continue;
			if (hf_channel_retry(channel, DISMISS_MS + random_below(spread_ms), reason,
					     to ? to : "") != 0)
				hf_link_end(&channel->link, HF_ECANCELED, reason);
		}
}

static void draw_moments(struct hf_control *control, uint64_t window_ms)
{
	for (unsigned i = 0; i < HF_CHANNEL_BUCKETS; i++)
		hf_list_for_each (cursor, &control->channels[i]) {
			struct hf_channel *channel =
				hf_container_of(cursor, struct hf_channel, entry);

			channel->leave_ms = control->drain_ms + random_below(window_ms);
			channel->told_to_leave = false;
		}
}

/* How many are still there. */
static unsigned tell_due(struct hf_control *control, uint64_t now_ms, uint64_t end_ms)
{
	unsigned left = 0;

	for (unsigned i = 0; i < HF_CHANNEL_BUCKETS; i++)
		hf_list_for_each_safe (cursor, &control->channels[i]) {
			struct hf_channel *channel =
				hf_container_of(cursor, struct hf_channel, entry);
			const char *to;

			if (!is_there(channel))
				continue;
			left++;
			if (channel->told_to_leave || now_ms < channel->leave_ms ||
			    (channel->apply_request && now_ms < end_ms))
				continue;
			to = hf_fleet_elsewhere(control);
			if (to)
				tell(channel, to, (uint32_t)(end_ms + AFTER_MS - now_ms));
		}
	return left;
}

static void turn(uv_timer_t *timer)
{
	struct hf_control *control = timer->data;
	uint64_t now_ms = uv_now(control->loop);
	uint64_t end_ms = control->drain_ms + control->config.drain_window_ms;

	HF_CHECK_MAGIC(control, HF_CONTROL_MAGIC);
	if (now_ms < end_ms + AFTER_MS && tell_due(control, now_ms, end_ms) > 0)
		return;
	hf_info("drained, %u connections are left", control->channel_count);
	hf_control_stop(control);
}

static void stop_accepting(struct hf_control *control)
{
	if (control->channel_listener)
		hf_listener_close(control->channel_listener, NULL, NULL);
	if (control->activation_listener)
		hf_listener_close(control->activation_listener, NULL, NULL);
	control->channel_listener = control->activation_listener = NULL;
}

void hf_drain_begin(struct hf_control *control)
{
	HF_CHECK_MAGIC(control, HF_CONTROL_MAGIC);
	if (control->stopping || control->draining)
		return;
	control->draining = true;
	hf_watch_tick(control); /* tells the others */
	hf_fleet_tick(control);
	if (control->config.drain_window_ms == 0 || control->channel_count == 0 ||
	    !hf_fleet_elsewhere(control)) {
		hf_control_stop(control);
		return;
	}
	stop_accepting(control);
	control->drain_ms = uv_now(control->loop);
	draw_moments(control, control->config.drain_window_ms);
	hf_info("draining %u connections within %" PRIu64 " ms", control->channel_count,
		control->config.drain_window_ms);
	uv_timer_init(control->loop, &control->drain_timer);
	control->drain_timer.data = control;
	uv_timer_start(&control->drain_timer, turn, 0, TURN_MS);
}

void hf_drain_close(struct hf_control *control)
{
	if (control->drain_timer.data)
		uv_close((uv_handle_t *)&control->drain_timer, NULL);
}

/* ---- A few ---- */

/* From a random place on, so that not always the same are asked to move. */
void hf_drain_rebalance(struct hf_control *control)
{
	unsigned count = control->draining ? 0 : hf_fleet_excess(control);
	unsigned first = random_below(HF_CHANNEL_BUCKETS), moved = 0;
	uint64_t now_ms = uv_now(control->loop);

	for (unsigned i = 0; i < HF_CHANNEL_BUCKETS && moved < count; i++)
		hf_list_for_each_safe (cursor,
				       &control->channels[(first + i) % HF_CHANNEL_BUCKETS]) {
			struct hf_channel *channel =
				hf_container_of(cursor, struct hf_channel, entry);
			const char *to;

			if (channel->epoch == 0 || !is_there(channel) || channel->told_to_leave ||
			    channel->apply_request || now_ms < channel->held_ms + SETTLED_MS)
				continue;
			to = moved < count ? hf_fleet_elsewhere(control) : NULL;
			if (!to)
				break;
			tell(channel, to, DRAIN_ANSWER_MS);
			moved++;
		}
	if (moved)
		hf_info("%u gateways were sent to processes that hold fewer", moved);
}
