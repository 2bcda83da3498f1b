/* The ghosts of a tier: fingerprints of as many evicted keys as the tier holds chunks, in sets of
 * four of which the oldest goes. Two keys with one fingerprint cost a better place in the queues
 * than was earned, nothing else. */
#include "cache/rcache_index.h"

#include <stdlib.h>

#include "base/err.h"

#define WAYS 4u

int hf_rcache_ghost_init(struct hf_rcache_ghost *ghost, uint64_t keys)
{
	uint64_t sets = 16;

	while (sets * WAYS < keys && sets < (1u << 28))
		sets *= 2;
	ghost->marks = calloc(sets * WAYS * 2, sizeof *ghost->marks);
	ghost->set_mask = (uint32_t)(sets - 1);
	ghost->window = (uint32_t)(sets * WAYS);
	/* Empty marks are of time 0, which is then long ago. */
	ghost->now = ghost->window;
	return ghost->marks ? 0 : HF_ENOMEM;
}

void hf_rcache_ghost_free(struct hf_rcache_ghost *ghost)
{
	free(ghost->marks);
}

static uint32_t *set_of(const struct hf_rcache_ghost *ghost, uint64_t hash)
{
	return ghost->marks + (size_t)((uint32_t)hash & ghost->set_mask) * WAYS * 2;
}

void hf_rcache_ghost_add(struct hf_rcache_ghost *ghost, uint64_t hash)
{
	uint32_t *set = set_of(ghost, hash), *oldest = set;

	for (unsigned i = 1; i < WAYS; i++)
		if (ghost->now - set[2 * i + 1] > ghost->now - oldest[1])
			oldest = &set[2 * i];
	ghost->now++;
	oldest[0] = (uint32_t)(hash >> 32);
	oldest[1] = ghost->now;
}

bool hf_rcache_ghost_take(struct hf_rcache_ghost *ghost, uint64_t hash)
{
	uint32_t *set = set_of(ghost, hash);

	for (unsigned i = 0; i < WAYS; i++) {
		uint32_t *mark = &set[2 * i];

		if (mark[0] != (uint32_t)(hash >> 32) || ghost->now - mark[1] >= ghost->window)
			continue;
		mark[1] = ghost->now - ghost->window;
		return true;
	}
	return false;
}
