/* Who gives gateways to whom, as pure decisions over a table of processes: how many a process sheds
 * now, and where the next one goes. No clock, no state but the hysteresis; tests run it in virtual
 * time (tests/provider/balance_test.c).
 *
 * A process sheds only what it has above the mean, so that whoever is below is never brought above
 * it, however old the figures are that the others decide on: nothing goes back and forth. */
#ifndef HF_PROVIDER_CONTROL_BALANCE_H
#define HF_PROVIDER_CONTROL_BALANCE_H

#include <stdbool.h>
#include <stdint.h>

#define HF_BALANCE_SKEWED_STEPS 3u /* as long must it last before gateways are moved */
#define HF_BALANCE_LATE_STEPS   4u /* what was sent away counts nowhere for about as long */

/* A process that can be seen, as one of a list. */
struct hf_balance_process {
	unsigned held, parked, capacity;
	bool draining;
};

struct hf_balance {
	bool shedding;
	unsigned skewed; /* steps in a row in which there was a reason */
	unsigned sent[HF_BALANCE_LATE_STEPS], step;
};

/* A step (one a second): how many of its gateways `own` is to send away now, at most `rate`. Begins
 * when it holds at least a tenth more than the one with the fewest, for HF_BALANCE_SKEWED_STEPS;
 * ends when it has no more than the mean. */
unsigned hf_balance_step(struct hf_balance *balance, const struct hf_balance_process *list,
			 unsigned count, unsigned own, unsigned rate);

/* Where one of `own`'s gateways goes: one below the mean, drawn by how much it is below (so that
 * several that shed do not all choose the same), else the one with the fewest. Counts it there.
 * -1: nowhere. */
int hf_balance_target(struct hf_balance_process *list, unsigned count, unsigned own,
		      uint32_t random);

#endif
