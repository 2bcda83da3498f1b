/* What happened at the gateway, as a bounded row of numbered events: found by comparing how things
 * stand with how they stood, told with reports (docs/protocol/channel.md, Events). Pure; the agent
 * looks once a second. */
#ifndef HF_GATEWAY_AGENT_EVENTS_H
#define HF_GATEWAY_AGENT_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/channel.pb-c.h"

#define HF_EVENTS_MAX     128u /* kept; the oldest makes room, and is counted if it was not told */
#define HF_EVENTS_AT_ONCE 64u  /* in one report */
#define HF_EVENT_TEXT_MAX 200u
#define HF_EVENT_ALARMS   16u
#define HF_EVENT_VOLUMES  512u

struct hf_event {
	uint64_t number, at_ms; /* since 1970 */
	const char *kind;       /* static */
	uint64_t volume;        /* 0: none */
	char text[HF_EVENT_TEXT_MAX];
};

struct hf_events {
	uint64_t run;  /* random, of this run of the agent: numbers begin anew with it */
	uint64_t last; /* number of the newest; 0: none yet */
	uint64_t told; /* up to which the provider was told on this connection, or has them */
	uint64_t lost; /* made room before they were told */
	struct hf_event ring[HF_EVENTS_MAX]; /* number n at n % HF_EVENTS_MAX */
	/* How things stood. */
	bool looked, volumed_running, target_running;
	uint64_t volumed_pid;
	char alarms[HF_EVENT_ALARMS][HF_EVENT_TEXT_MAX];
	size_t alarm_count;
	struct hf_event_volume {
		uint64_t volume;
		int state;
		int32_t error;
	} volumes[HF_EVENT_VOLUMES];
	size_t volume_count;
	/* Of a report, filled in by hf_events_fill. */
	Holdfast__Event messages[HF_EVENTS_AT_ONCE], *pointers[HF_EVENTS_AT_ONCE];
};

void hf_events_open(struct hf_events *events);
/* Compares; true if something happened since. `report`: how things stand; `volumed_pid`: 0 if it is
 * not known. */
bool hf_events_look(struct hf_events *events, const Holdfast__Report *report, uint64_t volumed_pid,
		    uint64_t now_ms);
/* A subscription says what the provider has: those of this run up to a number, or none. */
void hf_events_subscribed(struct hf_events *events, const Holdfast__Subscribe *subscribe);
/* Is there something that was not told? */
bool hf_events_waiting(const struct hf_events *events);
/* Puts what was not told into the report, oldest first, as much as fits. The report borrows from
 * `events` until the next call. */
void hf_events_fill(struct hf_events *events, Holdfast__Report *report);
/* This report, the last that was filled, was sent: what is in it counts as told. */
void hf_events_told(struct hf_events *events, const Holdfast__Report *report);

#endif
