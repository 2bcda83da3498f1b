/* Connections that are there: accepted, found, bounded, ended. Which of them holds its gateway is
 * decided in grants.c. Loop's thread. */
#include "provider/control/channel.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/log.h"
#include "provider/control/admin.h"
#include "provider/control/drain.h"
#include "provider/control/watch.h"
#include "provider/control/lost.h"
#include "provider/control/lookers.h"

static struct hf_list *bucket_of(struct hf_control *control, uint64_t gateway)
{
	return &control->channels[(gateway ^ gateway >> 32) % HF_CHANNEL_BUCKETS];
}

struct hf_channel *hf_channel_find(struct hf_control *control, uint64_t gateway)
{
	hf_list_for_each (cursor, bucket_of(control, gateway)) {
		struct hf_channel *channel = hf_container_of(cursor, struct hf_channel, entry);

		HF_CHECK_MAGIC(channel, HF_CHANNEL_MAGIC);
		if (channel->gateway == gateway && channel->epoch > 0 && !channel->link.ended)
			return channel;
	}
	return NULL;
}

int hf_channel_retry(struct hf_channel *channel, uint32_t after_ms, const char *reason,
		     const char *endpoint)
{
	int err = hf_session_retry(channel->link.session, after_ms, reason, endpoint);

	if (!err)
		channel->control->counts.turned_away++;
	return err;
}

void hf_channel_fenced(struct hf_channel *channel)
{
	hf_link_end(&channel->link, HF_EFENCED, "another connection of this gateway is active");
}

void hf_channel_drop(struct hf_control *control, uint64_t gateway, const char *reason)
{
	struct hf_channel *channel = hf_channel_find(control, gateway);

	if (channel)
		hf_link_end(&channel->link, HF_EACCES, reason);
}

bool hf_channel_any(struct hf_control *control, uint64_t gateway)
{
	hf_list_for_each (cursor, bucket_of(control, gateway))
		if (hf_container_of(cursor, struct hf_channel, entry)->gateway == gateway)
			return true;
	return false;
}

void hf_channel_drop_all(struct hf_control *control, uint64_t gateway, uint32_t after_ms,
			 const char *reason)
{
	hf_list_for_each_safe (cursor, bucket_of(control, gateway)) {
		struct hf_channel *channel = hf_container_of(cursor, struct hf_channel, entry);

		HF_CHECK_MAGIC(channel, HF_CHANNEL_MAGIC);
		if (channel->gateway != gateway || channel->link.ended)
			continue;
		/* One that has said nothing yet cannot be told. */
		if (hf_channel_retry(channel, after_ms, reason, "") != 0)
			hf_link_end(&channel->link, HF_EACCES, reason);
	}
}

static void channel_closed(void *context)
{
	struct hf_channel *channel = context;

	HF_CHECK_MAGIC(channel, HF_CHANNEL_MAGIC);
	hf_list_remove(&channel->entry);
	hf_list_remove(&channel->seen);
	hf_lookers_forget(channel);
	hf_list_remove(&channel->granting);
	channel->control->channel_count--;
	hf_reports_free(channel);
	free(channel->refused_reason);
	hf_renewal_close(channel);
	channel->magic = 0;
	free(channel);
}

static void channel_event(void *context, const struct hf_session_event *event)
{
	struct hf_channel *channel = context;
	char id[HF_ID_TEXT_MAX];

	HF_CHECK_MAGIC(channel, HF_CHANNEL_MAGIC);
	switch (event->type) {
	case HF_EVENT_CONNECT:
		hf_grants_connected(channel, event->connect);
		break;
	case HF_EVENT_ANSWER:
		hf_counts_answered(channel, event);
		hf_delivery_answered(channel, event);
		break;
	case HF_EVENT_REPORT:
		hf_reports_take(channel, event->report);
		break;
	case HF_EVENT_ENDED:
		if (channel->counted)
			channel->control->held_count--;
		channel->counted = false;
		if (!hf_list_empty(&channel->seen))
			hf_seen_flush(channel->control);
		if (channel->epoch > 0)
			hf_lost_gone(channel->control, channel->gateway, channel->epoch,
				     event->reason ? event->reason : "");
		hf_info("%s from %s gone: %s", hf_id_format(HF_ID_GATEWAY, channel->gateway, id),
			channel->address, event->reason ? event->reason : "");
		if (channel->epoch > 0)
			hf_watch_left(channel->control, channel->gateway, channel->epoch);
		break;
	default:
		break;
	}
}

/* One gateway cannot take the places of all: the oldest of its connections that is not the active
 * one goes. What of a gateway ended a moment ago still counts, so the bound is a loose one. */
static void bound_connections(struct hf_control *control, uint64_t gateway)
{
	struct hf_channel *oldest = NULL;
	unsigned count = 0;

	hf_list_for_each (cursor, bucket_of(control, gateway)) {
		struct hf_channel *channel = hf_container_of(cursor, struct hf_channel, entry);

		HF_CHECK_MAGIC(channel, HF_CHANNEL_MAGIC);
		if (channel->gateway != gateway || channel->link.ended)
			continue;
		count++;
		if (!oldest && channel->epoch == 0)
			oldest = channel;
	}
	if (count >= HF_CHANNELS_PER_GATEWAY_MAX && oldest)
		hf_link_end(&oldest->link, HF_EBUSY, "too many connections of one gateway");
}

static void channel_accepted(void *context, struct hf_stream *stream)
{
	struct hf_control *control = context;
	const struct hf_peer *peer = hf_stream_peer(stream);
	struct hf_session_config config = {.kind = HF_SESSION_MANAGEMENT};
	struct hf_channel *channel;

	HF_CHECK_MAGIC(control, HF_CONTROL_MAGIC);
	channel = control->stopping || !peer->certified || peer->server
			  ? NULL
			  : calloc(1, sizeof *channel);
	if (!channel) {
		hf_stream_close(stream, NULL, NULL);
		return;
	}
	bound_connections(control, peer->gateway);
	channel->magic = HF_CHANNEL_MAGIC;
	channel->control = control;
	hf_list_init(&channel->seen);
	hf_list_init(&channel->granting);
	channel->writes = (struct hf_bucket){40, 40, 1200, uv_now(control->loop)};
	channel->tenant = peer->tenant;
	channel->gateway = peer->gateway;
	snprintf(channel->address, sizeof channel->address, "%s", peer->address);
	channel->link.event = channel_event;
	channel->link.closed = channel_closed;
	channel->link.context = channel;
	config.gateway = peer->gateway;
	config.ping_interval_ms = (uint32_t)control->config.ping_interval_ms;
	if (hf_link_open(&channel->link, &control->wheel, stream, &config) != 0) {
		free(channel);
		return;
	}
	hf_renewal_open(channel);
	channel->renewal_only = peer->expired;
	hf_list_push_back(bucket_of(control, channel->gateway), &channel->entry);
	control->channel_count++;
}

int hf_channel_listen(struct hf_control *control, struct hf_tls *tls, struct hf_errmsg *message)
{
	struct hf_listener_config config = {
		.address = control->config.channel_listen,
		.tls = tls,
		.streams_max = HF_CHANNELS_MAX,
		.accept_per_s = (uint32_t)control->config.accept_per_s,
		.accept_burst = (uint32_t)control->config.accept_burst,
		.handshakes_max = (uint32_t)control->config.handshakes_max,
		.accepted = channel_accepted,
		.context = control,
	};

	if (control->draining)
		return 0;
	if (control->channel_listener) {
		hf_listener_set_tls(control->channel_listener, tls);
		return 0;
	}
	return hf_listener_open(control->loop, &config, &control->channel_listener, message);
}

void hf_channel_close_all(struct hf_control *control)
{
	hf_drain_dismiss_all(control, "the provider stops");
}
