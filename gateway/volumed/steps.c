/* The machine of steps.h. Transitions: RISING → UP → FALLING → DOWN, and RISING → FALLING when a
 * step fails or a stop is wanted. */
#include "gateway/volumed/steps.h"

#include <uv.h>

#include "base/assert.h"
#include "base/log.h"

static unsigned long long since_ms(uint64_t start_ns)
{
	return (uv_hrtime() - start_ns) / 1000000;
}

static void fall(struct hf_steps *steps)
{
	steps->phase = HF_STEPS_FALLING;
	while (steps->level > 0 && !steps->table[steps->level - 1].down)
		steps->level--;
	if (steps->level == 0) {
		steps->phase = HF_STEPS_DOWN;
		hf_info("stopped after %llu ms", since_ms(steps->started_ns));
		steps->all_down(steps->context, steps->status);
		return;
	}
	steps->began_ns = uv_hrtime();
	steps->table[steps->level - 1].down(steps, steps->context);
}

static void rise(struct hf_steps *steps)
{
	if (steps->stop_wanted) {
		fall(steps);
	} else if (steps->level == steps->count) {
		steps->phase = HF_STEPS_UP;
		hf_info("ready after %llu ms", since_ms(steps->started_ns));
		steps->all_up(steps->context);
	} else {
		steps->began_ns = uv_hrtime();
		steps->table[steps->level].up(steps, steps->context);
	}
}

void hf_steps_up(struct hf_steps *steps)
{
	HF_ASSERT(steps->phase == 0 && steps->count > 0);
	steps->phase = HF_STEPS_RISING;
	steps->started_ns = uv_hrtime();
	rise(steps);
}

void hf_steps_down(struct hf_steps *steps)
{
	if (steps->stop_wanted || steps->phase > HF_STEPS_UP)
		return;
	steps->stop_wanted = true;
	if (steps->phase != HF_STEPS_UP)
		return;
	steps->started_ns = uv_hrtime();
	fall(steps);
}

void hf_steps_next(struct hf_steps *steps, int status, const struct hf_errmsg *message)
{
	HF_ASSERT(steps->phase == HF_STEPS_RISING || steps->phase == HF_STEPS_FALLING);
	if (steps->phase == HF_STEPS_FALLING) {
		hf_info("undone: %s, %llu ms", steps->table[--steps->level].name,
			since_ms(steps->began_ns));
		fall(steps);
	} else if (status) {
		hf_error("%s: %s", steps->table[steps->level].name,
			 message && message->text[0] ? message->text : hf_err_text(status));
		steps->status = status;
		fall(steps);
	} else {
		hf_info("done: %s, %llu ms", steps->table[steps->level++].name,
			since_ms(steps->began_ns));
		rise(steps);
	}
}
