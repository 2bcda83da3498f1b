/* Reads the remote copy of every volume as `export` would, without the gateway and its disk, and
 * holds it against the model (invariant 2). */
#ifndef HF_TESTS_SIM_READER_H
#define HF_TESTS_SIM_READER_H

#include "tests/sim/model.h"
#include "tests/sim/sim_env.h"

/* What the store holds at this moment must be a prefix of the volume's writes that reaches what was
 * published. `points` (by volume): the prefix that was found. */
void reader_check(struct sim *sim, struct model *model, uint64_t *points);

#endif
