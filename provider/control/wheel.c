/* The wheel of wheel.h. A deadline lies in the slot of the first tick at or after it, so that one
 * look is enough unless it is more than a turn away. */
#include "provider/control/wheel.h"

#include "base/assert.h"

static struct hf_list *slot_of(struct hf_wheel *wheel, uint64_t tick)
{
	return &wheel->slots[tick % HF_WHEEL_SLOTS];
}

static void place(struct hf_wheel *wheel, struct hf_wheel_entry *entry)
{
	uint64_t tick = (entry->due_ms + HF_WHEEL_TICK_MS - 1) / HF_WHEEL_TICK_MS;

	if (tick <= wheel->turned)
		tick = wheel->turned + 1;
	hf_list_push_back(slot_of(wheel, tick), &entry->link);
}

static void serve(struct hf_wheel *wheel, uint64_t tick, uint64_t now_ms)
{
	struct hf_list ready, *first;

	hf_list_init(&ready);
	hf_list_splice_back(&ready, slot_of(wheel, tick));
	wheel->turned = tick;
	while ((first = hf_list_pop_front(&ready)) != NULL) {
		struct hf_wheel_entry *entry = hf_container_of(first, struct hf_wheel_entry, link);

		if (entry->due_ms > now_ms) {
			place(wheel, entry);
			continue;
		}
		hf_wheel_clear(wheel, entry);
		wheel->due(entry);
	}
}

static void on_tick(uv_timer_t *timer)
{
	struct hf_wheel *wheel = timer->data;
	uint64_t now_ms = uv_now(timer->loop), until = now_ms / HF_WHEEL_TICK_MS;

	/* After a long stop of the process one turn sees everything. */
	if (until > wheel->turned + HF_WHEEL_SLOTS)
		wheel->turned = until - HF_WHEEL_SLOTS;
	while (wheel->turned < until)
		serve(wheel, wheel->turned + 1, now_ms);
}

void hf_wheel_open(struct hf_wheel *wheel, uv_loop_t *loop,
		   void (*due)(struct hf_wheel_entry *entry))
{
	for (unsigned i = 0; i < HF_WHEEL_SLOTS; i++)
		hf_list_init(&wheel->slots[i]);
	wheel->due = due;
	wheel->count = 0;
	wheel->closing = false;
	uv_timer_init(loop, &wheel->timer);
	wheel->timer.data = wheel;
}

static void rest(struct hf_wheel *wheel)
{
	uv_timer_stop(&wheel->timer);
	if (wheel->closing && !uv_is_closing((uv_handle_t *)&wheel->timer))
		uv_close((uv_handle_t *)&wheel->timer, NULL);
}

void hf_wheel_close(struct hf_wheel *wheel)
{
	wheel->closing = true;
	if (wheel->count == 0)
		rest(wheel);
}

void hf_wheel_set(struct hf_wheel *wheel, struct hf_wheel_entry *entry, uint64_t due_ms)
{
	HF_ASSERT(!uv_is_closing((uv_handle_t *)&wheel->timer));
	if (entry->set && entry->due_ms == due_ms)
		return;
	if (entry->set)
		hf_list_remove(&entry->link);
	else if (wheel->count++ == 0)
		wheel->turned = uv_now(wheel->timer.loop) / HF_WHEEL_TICK_MS;
	if (!uv_is_active((uv_handle_t *)&wheel->timer))
		uv_timer_start(&wheel->timer, on_tick, HF_WHEEL_TICK_MS, HF_WHEEL_TICK_MS);
	entry->set = true;
	entry->due_ms = due_ms;
	place(wheel, entry);
}

void hf_wheel_clear(struct hf_wheel *wheel, struct hf_wheel_entry *entry)
{
	if (!entry->set)
		return;
	hf_list_remove(&entry->link);
	entry->set = false;
	if (--wheel->count == 0)
		rest(wheel);
}
