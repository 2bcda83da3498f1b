/* Start-up and shutdown as an array of named steps: each goes up, asynchronously if it needs to,
 * and has an undo; the journal tells how long each took. A step that fails, or a wish to stop,
 * undoes the steps below it in reverse. One thread: the loop's. */
#ifndef HF_GATEWAY_VOLUMED_STEPS_H
#define HF_GATEWAY_VOLUMED_STEPS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct hf_steps;

struct hf_step {
	const char *name;
	/* Each ends by one call of hf_steps_next, from inside or later. `up` that fails has cleaned
	 * up after itself. `down` NULL: nothing to undo; its status is ignored. */
	void (*up)(struct hf_steps *steps, void *context);
	void (*down)(struct hf_steps *steps, void *context);
};

struct hf_steps {
	const struct hf_step *table;
	unsigned count;
	void *context;
	void (*all_up)(void *context);
	/* Everything is undone; `status` is why: 0 for a wish, else the failure of a step, which
	 * has been logged. Called once. */
	void (*all_down)(void *context, int status);

	enum { HF_STEPS_RISING = 1, HF_STEPS_UP, HF_STEPS_FALLING, HF_STEPS_DOWN } phase;
	unsigned level; /* steps that are up */
	bool stop_wanted;
	int status;
	uint64_t started_ns, began_ns; /* of all, of the step under way */
};

void hf_steps_up(struct hf_steps *steps);
/* Goes down, at once or when the step that is going up has ended. Harmless when repeated. */
void hf_steps_down(struct hf_steps *steps);
/* The step under way has ended. `message` (may be NULL) says why it failed. */
void hf_steps_next(struct hf_steps *steps, int status, const struct hf_errmsg *message);

#endif
