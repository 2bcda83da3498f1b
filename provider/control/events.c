/* provider/control/events.h. Each event is one allocation of just its size: most gateways have few.
 */
#include "provider/control/events.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/ids.h"
#include "provider/control/channel.h"

struct hf_kept_event {
	struct hf_kept_event *next;
	uint64_t number, at_ms, volume;
	char kind[24];
	char text[];
};

/* A gateway's text may hold anything; what is kept is printable ASCII. */
static void copy_printable(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", from);
	for (char *c = to; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
}

static void drop_oldest(struct hf_channel *channel)
{
	struct hf_kept_event *oldest = channel->events;

	channel->events = oldest->next;
	channel->event_count--;
	free(oldest);
}

static void keep(struct hf_channel *channel, const Holdfast__Event *from)
{
	size_t length = strnlen(from->text, HF_EVENT_TEXT_KEPT);
	struct hf_kept_event *event = malloc(sizeof *event + length + 1), **end = &channel->events;

	if (!event)
		return;
	event->next = NULL;
	event->number = from->number;
	event->at_ms = from->at_ms;
	event->volume = from->volume;
	copy_printable(event->kind, sizeof event->kind, from->kind);
	copy_printable(event->text, length + 1, from->text);
	while (*end)
		end = &(*end)->next;
	*end = event;
	if (++channel->event_count > HF_EVENTS_KEPT) {
		drop_oldest(channel);
		channel->control->counts.events_dropped++;
	}
}

void hf_events_take(struct hf_channel *channel, const Holdfast__Report *report)
{
	if (report->events_run != channel->events_run) { /* another run of the agent */
		hf_events_free(channel);
		channel->events_run = report->events_run;
		channel->events_last = 0;
	}
	channel->events_lost = report->events_lost;
	for (size_t i = 0; i < report->n_events; i++) {
		if (report->events[i]->number <= channel->events_last)
			continue;
		channel->events_last = report->events[i]->number;
		channel->control->counts.events++;
		keep(channel, report->events[i]);
	}
}

void hf_events_ask(const struct hf_channel *channel, Holdfast__Subscribe *subscribe)
{
	subscribe->events_run = channel->events_run;
	subscribe->events_after = channel->events_last;
}

json_t *hf_events_json(const struct hf_channel *channel)
{
	json_t *list = json_array();
	char at[32], id[HF_ID_TEXT_MAX];

	for (const struct hf_kept_event *e = channel->events; e; e = e->next) {
		time_t seconds = (time_t)(e->at_ms / 1000);
		struct tm utc;

		if (!gmtime_r(&seconds, &utc) ||
		    strftime(at, sizeof at, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
			snprintf(at, sizeof at, "?");
		json_array_append_new(
			list,
			json_pack("{s:I, s:s, s:s, s:s, s:s}", "number", (json_int_t)e->number,
				  "at", at, "kind", e->kind, "volume_id",
				  e->volume ? hf_id_format(HF_ID_VOLUME, e->volume, id) : "",
				  "text", e->text));
	}
	return list;
}

void hf_events_free(struct hf_channel *channel)
{
	while (channel->events)
		drop_oldest(channel);
}
