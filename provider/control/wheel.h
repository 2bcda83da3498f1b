/* Deadlines by the thousand on one timer: a hashed timing wheel. Setting, moving and clearing one
 * costs a list operation and no memory; what is due comes within HF_WHEEL_TICK_MS. Loop's thread.
 */
#ifndef HF_PROVIDER_CONTROL_WHEEL_H
#define HF_PROVIDER_CONTROL_WHEEL_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/list.h"

#define HF_WHEEL_TICK_MS 20u
#define HF_WHEEL_SLOTS   1024u /* a turn: 20.5 s; what is due later is passed by */

/* Embedded in what has the deadline; zero it first. */
struct hf_wheel_entry {
	struct hf_list link;
	uint64_t due_ms;
	bool set;
};

struct hf_wheel {
	uv_timer_t timer; /* runs while anything is set */
	void (*due)(struct hf_wheel_entry *entry);
	uint64_t turned; /* the last tick that was served */
	unsigned count;
	bool closing;
	struct hf_list slots[HF_WHEEL_SLOTS];
};

/* `due` is called once for an entry, which is cleared before; it may set and clear any. */
void hf_wheel_open(struct hf_wheel *wheel, uv_loop_t *loop,
		   void (*due)(struct hf_wheel_entry *entry));
/* Serves what is still set, then leaves the loop. */
void hf_wheel_close(struct hf_wheel *wheel);
/* `due_ms` on the loop's clock; moves the one that is set. */
void hf_wheel_set(struct hf_wheel *wheel, struct hf_wheel_entry *entry, uint64_t due_ms);
void hf_wheel_clear(struct hf_wheel *wheel, struct hf_wheel_entry *entry);

#endif
