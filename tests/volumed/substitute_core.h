/* A substitute for the volume core where only the order of changes is under test: it notes what it
 * is asked for and ends it when the test says so. */
#ifndef HF_TESTS_VOLUMED_SUBSTITUTE_CORE_H
#define HF_TESTS_VOLUMED_SUBSTITUTE_CORE_H

#include "gateway/volumed/core.h"

#define SUBSTITUTE_MAX 16u

struct substitute_call {
	char verb; /* 'a'ttach, 'd'etach, 'r'emove */
	struct hf_volume_change *change;
};

extern struct substitute_call substitute_calls[SUBSTITUTE_MAX];
extern unsigned substitute_count;

/* Ends call `index`. */
void substitute_end(unsigned index, int status);
void substitute_reset(void);

#endif
