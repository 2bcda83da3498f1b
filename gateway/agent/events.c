/* gateway/agent/events.h. */
#include "gateway/agent/events.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "net/sign.h"

static const char *const state_names[] = {"",          "creating",  "available",
					  "attaching", "detaching", "detached",
					  "deleting",  "deleted",   "failed"};

__attribute__((format(printf, 5, 6))) static void add(struct hf_events *events, uint64_t now_ms,
						      const char *kind, uint64_t volume,
						      const char *format, ...)
{
	struct hf_event *event;
	va_list args;

	events->last++;
	event = &events->ring[events->last % HF_EVENTS_MAX];
	if (event->number > events->told) {
		events->lost++;
		events->told = event->number;
	}
	event->number = events->last;
	event->at_ms = now_ms;
	event->kind = kind;
	event->volume = volume;
	va_start(args, format);
	vsnprintf(event->text, sizeof event->text, format, args);
	va_end(args);
}

void hf_events_open(struct hf_events *events)
{
	memset(events, 0, sizeof *events);
	do
		hf_random(&events->run, sizeof events->run);
	while (events->run == 0);
}

/* ---- Comparing ---- */

static void compare_processes(struct hf_events *events, const Holdfast__Report *report,
			      uint64_t volumed_pid, uint64_t now_ms)
{
	if (!events->looked) {
		add(events, now_ms, "agent.started", 0, "the agent has started");
	} else {
		if (events->volumed_running != (bool)report->volumed_running)
			add(events, now_ms,
			    report->volumed_running ? "volumed.back" : "volumed.away", 0,
			    "volumed %s", report->volumed_running ? "answers" : "does not answer");
		if (events->volumed_pid && volumed_pid && events->volumed_pid != volumed_pid)
			add(events, now_ms, "volumed.restarted", 0, "volumed was started again");
		if (events->target_running != (bool)report->target_running)
			add(events, now_ms, report->target_running ? "target.back" : "target.away",
			    0, "the iSCSI target %s",
			    report->target_running ? "answers" : "does not answer");
	}
	events->looked = true;
	events->volumed_running = report->volumed_running;
	events->target_running = report->target_running;
	if (volumed_pid)
		events->volumed_pid = volumed_pid;
}

static bool has_alarm(char (*alarms)[HF_EVENT_TEXT_MAX], size_t count, const char *text)
{
	for (size_t i = 0; i < count; i++)
		if (strncmp(alarms[i], text, HF_EVENT_TEXT_MAX - 1) == 0)
			return true;
	return false;
}

/* A full list has no room for older ones: that they left it does not say that they are over. */
static void compare_alarms(struct hf_events *events, const Holdfast__Report *report,
			   uint64_t now_ms)
{
	char now[HF_EVENT_ALARMS][HF_EVENT_TEXT_MAX];
	size_t count = report->n_alarms < HF_EVENT_ALARMS ? report->n_alarms : HF_EVENT_ALARMS;

	for (size_t i = 0; i < count; i++) {
		snprintf(now[i], sizeof now[i], "%s", report->alarms[i]);
		if (!has_alarm(events->alarms, events->alarm_count, now[i]))
			add(events, now_ms, "alarm.raised", 0, "%s", now[i]);
	}
	for (size_t i = 0; count < HF_EVENT_ALARMS && i < events->alarm_count; i++)
		if (!has_alarm(now, count, events->alarms[i]))
			add(events, now_ms, "alarm.cleared", 0, "%s", events->alarms[i]);
	memcpy(events->alarms, now, count * sizeof now[0]);
	events->alarm_count = count;
}

static const struct hf_event_volume *find(const struct hf_events *events, uint64_t volume)
{
	for (size_t i = 0; i < events->volume_count; i++)
		if (events->volumes[i].volume == volume)
			return &events->volumes[i];
	return NULL;
}

static const char *name_of(int state)
{
	return state >= 0 && (size_t)state < sizeof state_names / sizeof state_names[0]
		       ? state_names[state]
		       : "?";
}

static void compare_volumes(struct hf_events *events, const Holdfast__Report *report,
			    uint64_t now_ms)
{
	size_t count = 0;

	for (size_t i = 0; i < report->n_volumes && i < HF_EVENT_VOLUMES; i++) {
		const Holdfast__VolumeReport *volume = report->volumes[i];
		const struct hf_event_volume *before = find(events, volume->volume);

		if (!before || before->state != (int)volume->state ||
		    before->error != volume->error)
			add(events, now_ms, "volume.state", volume->volume, "%s%s%s%s%s",
			    before ? name_of(before->state) : "", before ? " -> " : "",
			    name_of((int)volume->state), volume->reason[0] ? ": " : "",
			    volume->reason);
	}
	for (size_t i = 0; i < report->n_volumes && count < HF_EVENT_VOLUMES; i++)
		events->volumes[count++] = (struct hf_event_volume){report->volumes[i]->volume,
								    (int)report->volumes[i]->state,
								    report->volumes[i]->error};
	events->volume_count = count;
}

bool hf_events_look(struct hf_events *events, const Holdfast__Report *report, uint64_t volumed_pid,
		    uint64_t now_ms)
{
	uint64_t before = events->last;

	compare_processes(events, report, volumed_pid, now_ms);
	compare_alarms(events, report, now_ms);
	compare_volumes(events, report, now_ms);
	return events->last != before;
}

/* ---- Telling ---- */

void hf_events_subscribed(struct hf_events *events, const Holdfast__Subscribe *subscribe)
{
	uint64_t oldest = events->last < HF_EVENTS_MAX ? 1 : events->last - HF_EVENTS_MAX + 1;

	events->told =
		subscribe->events_run == events->run && subscribe->events_after <= events->last
			? subscribe->events_after
			: 0;
	if (events->told + 1 < oldest)
		events->told = oldest - 1;
}

bool hf_events_waiting(const struct hf_events *events)
{
	return events->told < events->last;
}

void hf_events_fill(struct hf_events *events, Holdfast__Report *report)
{
	uint64_t next = events->told;
	size_t count = 0;

	report->events_run = events->run;
	report->events_lost = events->lost;
	while (next < events->last && count < HF_EVENTS_AT_ONCE) {
		struct hf_event *event = &events->ring[++next % HF_EVENTS_MAX];
		Holdfast__Event *message = &events->messages[count];

		holdfast__event__init(message);
		message->number = event->number;
		message->at_ms = event->at_ms;
		message->kind = (char *)(uintptr_t)event->kind;
		message->volume = event->volume;
		message->text = event->text;
		events->pointers[count++] = message;
	}
	report->events = events->pointers;
	report->n_events = count;
}

void hf_events_told(struct hf_events *events, const Holdfast__Report *report)
{
	events->told += report->n_events;
}
