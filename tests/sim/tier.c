/* The tier of tests/sim/tier.h. A volume's handle is its index. */
#include <string.h>

#include "cache/ring_layout.h"
#include "tests/sim/sim_env.h"
#include "tests/sim/tier.h"

#define TIER_BYTES (128u << 10) /* 24 blocks: fewer than the volumes have */

void sim_tier_init(struct sim_tier *tier, struct model *model)
{
	memset(tier, 0, sizeof *tier);
	tier->model = model;
	tier->memory = sim_keep_alloc(TIER_BYTES);
	tier->ring = sim_keep_alloc(HF_RING_DATA_OFFSET);
}

void sim_tier_free(struct sim_tier *tier)
{
	sim_keep_free(tier->memory);
	sim_keep_free(tier->ring);
}

void sim_tier_start(struct sim_tier *tier)
{
	memset(tier->memory, 0, TIER_BYTES);
	memset(tier->ring, 0, HF_RING_DATA_OFFSET);
	tier->content = hf_tier_create(tier->memory, TIER_BYTES);
	hf_tier_use_marks(tier->content, tier->ring + HF_RING_TIER_MARKS_OFFSET,
			  HF_RING_TIER_MARKS);
	tier->reader = (struct hf_shim_tier){
		.base = tier->memory,
		.bytes = TIER_BYTES,
		.sets = hf_tier_sets_of(TIER_BYTES),
		.blocks_offset = hf_tier_blocks_offset(hf_tier_sets_of(TIER_BYTES)),
		.marks = tier->ring + HF_RING_TIER_MARKS_OFFSET,
		.hits = (uint64_t *)(void *)(tier->ring + HF_RING_TIER_HITS_OFFSET),
	};
}

void sim_tier_stop(struct sim_tier *tier)
{
	hf_tier_destroy(tier->content);
	tier->content = NULL;
}

void sim_tier_died(struct sim_tier *tier)
{
	tier->content = NULL;
}

static uint32_t handle_of(const struct sim_tier *tier, uint64_t volume)
{
	return (uint32_t)(model_find(tier->model, volume) - tier->model->volumes);
}

bool sim_tier_range_changed(struct sim_tier *tier, uint64_t volume, uint64_t offset,
			    uint64_t length)
{
	return tier->content &&
	       hf_tier_changed(tier->content, handle_of(tier, volume), offset, length);
}

void sim_tier_range_holds(struct sim_tier *tier, uint64_t volume, uint64_t offset, uint64_t length,
			  const void *bytes)
{
	hf_tier_filled(tier->content, handle_of(tier, volume), offset, length,
		       hf_tier_moment(tier->content), bytes);
	tier->held++;
}

void sim_tier_volume_changed(struct sim_tier *tier, uint64_t volume)
{
	if (tier->content)
		hf_tier_forget(tier->content, handle_of(tier, volume));
}

void sim_tier_begin(struct sim_tier *tier, struct model_op *op)
{
	op->tier_moment = hf_tier_moment(tier->content);
}

void sim_tier_verified(struct sim_tier *tier, const struct model_op *op, const void *bytes)
{
	/* Twice, so that it comes in: reads are few here, and what would be worth it is not the
	 * question. */
	for (unsigned i = 0; tier->content && i < 2; i++)
		hf_tier_filled(tier->content, op->volume, op->request.offset, op->request.length,
			       op->tier_moment, bytes);
}

bool sim_tier_read(struct sim_tier *tier, struct model_op *op)
{
	uint64_t lba = tier->model->volumes[op->volume].first_lba + op->ranges[0].lba;

	if (!hf_shim_tier_read(&tier->reader, op->volume, lba * HF_UNIT,
			       (uint64_t)op->ranges[0].length * HF_UNIT, op->data))
		return false;
	tier->hits++;
	return true;
}

void sim_tier_check_gone(struct sim_tier *tier, unsigned volume)
{
	uint8_t unit[HF_UNIT];

	uint64_t first = tier->model->volumes[volume].first_lba;

	for (uint32_t lba = 0; lba < tier->model->volumes[volume].units; lba++)
		if (hf_shim_tier_read(&tier->reader, volume, (first + lba) * HF_UNIT, HF_UNIT,
				      unit))
			model_fail(tier->model, "volume %u has left and is in the memory tier",
				   volume);
}
