/* What will happen, ordered by time: a binary heap whose entries know their index, so that any of
 * them can be taken out. Events that are due at the same time run in the order of their making. */
#ifndef HF_TESTS_SIM_EVENTS_H
#define HF_TESTS_SIM_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

struct sim_event {
	uint64_t due_ns, order;
	unsigned index; /* in the heap */
	unsigned host;
	void (*run)(struct sim_event *event); /* frees nothing: the event is given back after */
	void *world, *object;
	struct sim_event *next_free;
};

struct sim_events {
	struct sim_event **heap;
	unsigned count, capacity;
	uint64_t made;
	struct sim_event *free;
};

/* A new event in the queue; the caller fills in run, world, object and host. */
struct sim_event *sim_events_add(struct sim_events *events, uint64_t due_ns);
/* The earliest; NULL if there is none. */
struct sim_event *sim_events_first(const struct sim_events *events);
/* Takes it out without giving it back. */
void sim_events_take(struct sim_events *events, struct sim_event *event);
/* Gives back one that was taken out. */
void sim_events_release(struct sim_events *events, struct sim_event *event);
/* Takes out and gives back every event of the host. */
void sim_events_drop_host(struct sim_events *events, unsigned host);
void sim_events_free(struct sim_events *events);

#endif
