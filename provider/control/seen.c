/* What the registry is told of held gateways: when they were seen and what they have applied. Of
 * fifteen thousand some hundred have something to tell each second; a commit is a sync of the disk,
 * so what comes within FLUSH_MS goes into one. Nothing waits for it: a gateway says again what it
 * has, with its next report or its next connection. Loop's thread. */
#include "provider/control/channel.h"

#define FLUSH_MS 20u

/* 0 also if somebody else holds the gateway by now; then `*fenced`. */
static int write_one(struct hf_channel *channel, bool *fenced)
{
	int err = hf_registry_gateway_seen(channel->control->reg, channel->gateway, channel->epoch,
					   hf_control_wall_ms(), channel->applied_incarnation,
					   channel->applied_generation);

	*fenced = err == HF_EFENCED;
	return *fenced || err == HF_ENOENT ? 0 : err;
}

void hf_seen_flush(struct hf_control *control)
{
	struct hf_list batch, fenced, *first;
	bool lost;
	int err, begun;

	uv_timer_stop(&control->seen_timer);
	if (hf_list_empty(&control->seen))
		return;
	hf_list_init(&batch);
	hf_list_init(&fenced);
	hf_list_splice_back(&batch, &control->seen);
	begun = err = hf_registry_begin(control->reg);
	while ((first = hf_list_pop_front(&batch)) != NULL) {
		struct hf_channel *channel = hf_container_of(first, struct hf_channel, seen);

		HF_CHECK_MAGIC(channel, HF_CHANNEL_MAGIC);
		if (err)
			continue;
		err = write_one(channel, &lost);
		if (lost)
			hf_list_push_back(&fenced, &channel->seen);
	}
	if (begun == 0)
		hf_registry_end(control->reg, err);
	/* Last: the end of a channel may note and flush others. */
	while ((first = hf_list_pop_front(&fenced)) != NULL)
		hf_channel_fenced(hf_container_of(first, struct hf_channel, seen));
}

static void flush(uv_timer_t *timer)
{
	hf_seen_flush(timer->data);
}

void hf_seen_note(struct hf_channel *channel)
{
	struct hf_control *control = channel->control;

	if (channel->epoch == 0 || !hf_list_empty(&channel->seen))
		return;
	hf_list_push_back(&control->seen, &channel->seen);
	if (!uv_is_active((uv_handle_t *)&control->seen_timer) && !control->stopping)
		uv_timer_start(&control->seen_timer, flush, FLUSH_MS, 0);
}

void hf_seen_open(struct hf_control *control)
{
	hf_list_init(&control->seen);
	uv_timer_init(control->loop, &control->seen_timer);
	control->seen_timer.data = control;
}

void hf_seen_close(struct hf_control *control)
{
	hf_seen_flush(control);
	uv_close((uv_handle_t *)&control->seen_timer, NULL);
}
