/* provider/control/lookers.h. A gateway that is looked at stands in a list, so that thousands that
 * are not cost nothing. */
#include "provider/control/lookers.h"

#include "provider/control/channel.h"

uint32_t hf_lookers_interval_ms(const struct hf_channel *channel)
{
	const struct hf_control_config *config = &channel->control->config;
	uint64_t slow_ms = config->report_interval_ms, fast_ms = config->watch_interval_ms;

	return (uint32_t)(channel->watched_until_ms && fast_ms < slow_ms ? fast_ms : slow_ms);
}

static void watch(struct hf_channel *channel)
{
	bool watched = channel->watched_until_ms != 0;

	channel->watched_until_ms = hf_link_now_ms(&channel->link) + HF_LOOKER_MS;
	if (watched)
		return;
	hf_list_push_back(&channel->control->watched, &channel->watch_link);
	hf_delivery_look(channel);
}

/* Of two gateways that fall into one place the holder is told a little more often. */
static void tell_holder(struct hf_control *control, uint64_t gateway)
{
	struct hf_told_look *told = &control->told_looks[gateway % HF_TOLD_LOOKS];

	if (control->alone || (told->gateway == gateway && uv_now(control->loop) < told->until_ms))
		return;
	*told = (struct hf_told_look){gateway, uv_now(control->loop) + HF_TELL_LOOK_MS};
	if (hf_registry_gateway_look(control->reg, gateway) == 0)
		hf_route_notify_others(control->route, gateway);
}

void hf_lookers_add(struct hf_control *control, uint64_t gateway)
{
	struct hf_channel *channel = hf_channel_find(control, gateway);

	if (channel)
		watch(channel);
	else
		tell_holder(control, gateway);
}

void hf_lookers_counted(struct hf_channel *channel, uint64_t looks)
{
	if (channel->looks == looks || channel->epoch == 0 || channel->link.ended)
		return;
	channel->looks = looks;
	channel->shared_until_ms = hf_link_now_ms(&channel->link) + HF_LOOKER_MS;
	watch(channel);
}

bool hf_lookers_elsewhere(const struct hf_channel *channel)
{
	return hf_link_now_ms(&channel->link) < channel->shared_until_ms;
}

void hf_lookers_forget(struct hf_channel *channel)
{
	if (channel->watched_until_ms)
		hf_list_remove(&channel->watch_link);
	channel->watched_until_ms = 0;
}

void hf_lookers_tick(struct hf_control *control)
{
	hf_list_for_each_safe (at, &control->watched) {
		struct hf_channel *channel = hf_container_of(at, struct hf_channel, watch_link);

		HF_CHECK_MAGIC(channel, HF_CHANNEL_MAGIC);
		if (uv_now(control->loop) < channel->watched_until_ms)
			continue;
		hf_lookers_forget(channel);
		if (!channel->link.ended)
			hf_delivery_look(channel);
	}
}
