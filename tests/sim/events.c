/* See events.h. */
#include "tests/sim/events.h"
#include "base/assert.h"
#include "tests/sim/sim_env.h"

static bool before(const struct sim_event *a, const struct sim_event *b)
{
	return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

static void place(struct sim_events *events, unsigned index, struct sim_event *event)
{
	events->heap[index] = event;
	event->index = index;
}

static void sift_up(struct sim_events *events, unsigned index, struct sim_event *event)
{
	while (index > 0 && before(event, events->heap[(index - 1) / 2])) {
		place(events, index, events->heap[(index - 1) / 2]);
		index = (index - 1) / 2;
	}
	place(events, index, event);
}

static void sift_down(struct sim_events *events, unsigned index, struct sim_event *event)
{
	for (;;) {
		unsigned child = 2 * index + 1;

		if (child >= events->count)
			break;
		if (child + 1 < events->count &&
		    before(events->heap[child + 1], events->heap[child]))
			child++;
		if (!before(events->heap[child], event))
			break;
		place(events, index, events->heap[child]);
		index = child;
	}
	place(events, index, event);
}

struct sim_event *sim_events_add(struct sim_events *events, uint64_t due_ns)
{
	struct sim_event *event = events->free;

	if (event)
		events->free = event->next_free;
	else
		event = sim_keep_alloc(sizeof *event);
	event->due_ns = due_ns;
	event->order = ++events->made;
	if (events->count == events->capacity) {
		events->capacity = events->capacity ? 2 * events->capacity : 64;
		events->heap = sim_keep_resize(events->heap,
					       events->capacity * sizeof(struct sim_event *));
	}
	sift_up(events, events->count++, event);
	return event;
}

struct sim_event *sim_events_first(const struct sim_events *events)
{
	return events->count ? events->heap[0] : NULL;
}

void sim_events_take(struct sim_events *events, struct sim_event *event)
{
	unsigned index = event->index;
	struct sim_event *last = events->heap[--events->count];

	HF_ASSERT(index <= events->count && events->heap[index] == event);
	if (last == event)
		return;
	if (index > 0 && before(last, events->heap[(index - 1) / 2]))
		sift_up(events, index, last);
	else
		sift_down(events, index, last);
}

void sim_events_release(struct sim_events *events, struct sim_event *event)
{
	event->next_free = events->free;
	events->free = event;
}

void sim_events_drop_host(struct sim_events *events, unsigned host)
{
	unsigned count = events->count;

	events->count = 0;
	for (unsigned i = 0; i < count; i++) {
		struct sim_event *event = events->heap[i];

		if (event->host == host)
			sim_events_release(events, event);
		else
			sift_up(events, events->count++, event);
	}
}

void sim_events_free(struct sim_events *events)
{
	while (events->count > 0) {
		struct sim_event *event = events->heap[0];

		sim_events_take(events, event);
		sim_keep_free(event);
	}
	while (events->free) {
		struct sim_event *event = events->free;

		events->free = event->next_free;
		sim_keep_free(event);
	}
	sim_keep_free(events->heap);
}
