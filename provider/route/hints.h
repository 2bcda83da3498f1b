/* A bounded set of gateways that somebody is to look at: each is in it once. What finds no room is
 * dropped, as the route's contract allows. The owner's thread or lock. */
#ifndef HF_PROVIDER_ROUTE_HINTS_H
#define HF_PROVIDER_ROUTE_HINTS_H

#include <stdbool.h>
#include <stdint.h>

#define HF_HINTS_MAX 16384u

struct hf_hints {
	unsigned count;
	uint64_t list[HF_HINTS_MAX];       /* in the order of their coming */
	uint16_t places[2 * HF_HINTS_MAX]; /* hash table: index into `list` + 1, 0: free */
};

/* Zeroed is empty. False: no room. */
bool hf_hints_add(struct hf_hints *hints, uint64_t gateway);
/* Takes everything out; returns how many were put into `list` (HF_HINTS_MAX). */
unsigned hf_hints_take(struct hf_hints *hints, uint64_t *list);

#endif
