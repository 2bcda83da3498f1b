/* The set of hints (hints.h): open addressing, never more than half full. */
#include "provider/route/hints.h"

#include <string.h>

bool hf_hints_add(struct hf_hints *hints, uint64_t gateway)
{
	uint64_t place = gateway * 0x9e3779b97f4a7c15u >> 32;

	for (;; place++) {
		uint16_t *found = &hints->places[place % (2 * HF_HINTS_MAX)];

		if (*found && hints->list[*found - 1] == gateway)
			return true;
		if (*found)
			continue;
		if (hints->count == HF_HINTS_MAX)
			return false;
		hints->list[hints->count++] = gateway;
		*found = (uint16_t)hints->count;
		return true;
	}
}

unsigned hf_hints_take(struct hf_hints *hints, uint64_t *list)
{
	unsigned count = hints->count;

	if (count == 0)
		return 0;
	memcpy(list, hints->list, count * sizeof list[0]);
	memset(hints->places, 0, sizeof hints->places);
	hints->count = 0;
	return count;
}
