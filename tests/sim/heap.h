/* The heap of a simulated process: every allocation of the linked program is noted in the current
 * heap, so that the death of the process can free them all. See tests/sim/sim_env.h. */
#ifndef HF_TESTS_SIM_HEAP_H
#define HF_TESTS_SIM_HEAP_H

#include <stddef.h>

#define SIM_HEAPS_MAX 16u /* in all worlds that live at once */

struct sim_heap {
	void **slots; /* open addressing, NULL is free */
	size_t capacity, count;
};

void sim_heap_init(struct sim_heap *heap);
/* Frees everything that was allocated on it and not freed. */
void sim_heap_reset(struct sim_heap *heap);
void sim_heap_destroy(struct sim_heap *heap);
/* Later allocations belong to this heap; NULL: to nobody. */
void sim_heap_select(struct sim_heap *heap);

#endif
