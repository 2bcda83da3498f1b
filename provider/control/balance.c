/* The decisions of balance.h. Pure. */
#include "provider/control/balance.h"

#include "base/assert.h"

#define LEAST_DIFFERENCE 2u /* of one gateway more or less nobody makes anything */
#define SKEWED_PART      10u

/* Of those that stay; what a draining `own` holds has to find room there too, and so has what is on
 * its way. Rounded up. */
static unsigned mean_of(const struct hf_balance_process *list, unsigned count, unsigned own,
			unsigned on_the_way)
{
	uint64_t total = on_the_way + (uint64_t)(list[own].draining ? list[own].held : 0);
	unsigned staying = 0;

	for (unsigned i = 0; i < count; i++) {
		if (list[i].draining)
			continue;
		total += list[i].held;
		staying++;
	}
	return staying ? (unsigned)((total + staying - 1) / staying) : 0;
}

static unsigned fewest(const struct hf_balance_process *list, unsigned count)
{
	unsigned least = UINT32_MAX;

	for (unsigned i = 0; i < count; i++)
		if (!list[i].draining && list[i].held < least)
			least = list[i].held;
	return least;
}

static bool skewed(unsigned held, unsigned least)
{
	return held >= least + LEAST_DIFFERENCE && (uint64_t)(held - least) * SKEWED_PART >= held;
}

unsigned hf_balance_step(struct hf_balance *balance, const struct hf_balance_process *list,
			 unsigned count, unsigned own, unsigned rate)
{
	unsigned held = list[own].held, sent = 0, mean, excess = 0;
	unsigned *now = &balance->sent[balance->step++ % HF_BALANCE_LATE_STEPS];

	HF_ASSERT(own < count);
	*now = 0;
	for (unsigned i = 0; i < HF_BALANCE_LATE_STEPS; i++)
		sent += balance->sent[i];
	if (list[own].draining || held <= mean_of(list, count, own, 0)) {
		balance->shedding = false;
		balance->skewed = 0;
		return 0;
	}
	if (!balance->shedding) {
		balance->skewed = skewed(held, fewest(list, count)) ? balance->skewed + 1 : 0;
		balance->shedding = balance->skewed >= HF_BALANCE_SKEWED_STEPS;
	}
	if (!balance->shedding)
		return 0;
	mean = mean_of(list, count, own, sent);
	if (held > mean)
		excess = held - mean;
	*now = excess < rate ? excess : rate;
	return *now;
}

static bool has_room(const struct hf_balance_process *process)
{
	return !process->draining && process->held + process->parked < process->capacity;
}

int hf_balance_target(struct hf_balance_process *list, unsigned count, unsigned own,
		      uint32_t random)
{
	unsigned mean = mean_of(list, count, own, 0), at;
	uint64_t missing = 0;
	int chosen = -1;

	for (unsigned i = 0; i < count; i++) {
		if (i == own || !has_room(&list[i]))
			continue;
		if (list[i].held < mean)
			missing += mean - list[i].held;
		if (chosen < 0 || list[i].held < list[chosen].held)
			chosen = (int)i;
	}
	at = missing ? (unsigned)(random % missing) : 0;
	for (unsigned i = 0; missing && i < count; i++) {
		if (i == own || !has_room(&list[i]) || list[i].held >= mean)
			continue;
		if (at < mean - list[i].held) {
			chosen = (int)i;
			break;
		}
		at -= mean - list[i].held;
	}
	if (chosen >= 0)
		list[chosen].held++;
	return chosen;
}
