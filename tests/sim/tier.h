/* The memory tier of the simulated gateway: volumed's side is driven by the core's own calls, the
 * shim's reader is the product's. The memory outlives the process, as a shim's mapping does, until
 * the shim has a new session. */
#ifndef HF_TESTS_SIM_TIER_H
#define HF_TESTS_SIM_TIER_H

#include "cache/tier.h"
#include "target/tier.h"
#include "tests/sim/model.h"

struct sim_tier {
	uint8_t *memory, *ring;  /* the tier's; the ring's, for marks and hits */
	struct hf_tier *content; /* the process's; NULL when it is dead */
	struct hf_shim_tier reader;
	struct model *model;
	uint64_t hits, held; /* reads answered; changes that brought their content with them */
};

void sim_tier_init(struct sim_tier *tier, struct model *model);
void sim_tier_free(struct sim_tier *tier);
/* A new session of a new process, which is selected. */
void sim_tier_start(struct sim_tier *tier);
/* The process goes in good order; it is selected. */
void sim_tier_stop(struct sim_tier *tier);
/* The process is dead, and the shim has not noticed. */
void sim_tier_died(struct sim_tier *tier);

/* For the core's configuration. */
bool sim_tier_range_changed(struct sim_tier *tier, uint64_t volume, uint64_t offset,
			    uint64_t length);
void sim_tier_range_holds(struct sim_tier *tier, uint64_t volume, uint64_t offset, uint64_t length,
			  const void *bytes);
void sim_tier_volume_changed(struct sim_tier *tier, uint64_t volume);

/* A READ that is given to the core: what it reads may come into the tier. */
void sim_tier_begin(struct sim_tier *tier, struct model_op *op);
void sim_tier_verified(struct sim_tier *tier, const struct model_op *op, const void *bytes);
/* True if the tier answered the READ, as the shim would, inline. */
bool sim_tier_read(struct sim_tier *tier, struct model_op *op);
/* The volume has left: nothing of it may be found. */
void sim_tier_check_gone(struct sim_tier *tier, unsigned volume);

#endif
