/* What a map has to say, kept the naive way: a sorted array of extents, rebuilt by every change.
 * And a generator of addresses and extents that meet where maps have their seams. */
#ifndef HF_TESTS_BASE_EXTMAP_MODEL_H
#define HF_TESTS_BASE_EXTMAP_MODEL_H

#include "base/extmap.h"

struct model {
	struct hf_extent *extents;
	size_t count, capacity;
};

/* [lba, end) holds `extent` (which is that range), or nothing if NULL. */
void model_replace(struct model *model, uint64_t lba, uint64_t end, const struct hf_extent *extent);
/* As hf_extmap_find. */
bool model_find(const struct model *model, uint64_t lba, uint64_t end, struct hf_extent *found);
void model_clear(struct model *model);

/* The seed of the next draws. */
extern uint64_t model_seed;
uint64_t draw(uint64_t bound);

/* Where a test plays. */
enum ground {
	GROUND_SEAM, /* 200 units around the end of a leaf */
	GROUND_LEAVES /* six leaves */,
	GROUND_WIDE /* the whole address space, near the ends of what the directory's levels hold */
};
/* A range to change or to look at. */
void draw_range(enum ground ground, uint64_t *lba, uint64_t *length);
/* An extent to insert; tags only where `tags`. Often one that continues its neighbours. */
struct hf_extent draw_extent(enum ground ground, bool tags);
/* The range a ground has. */
void ground_range(enum ground ground, uint64_t *lba, uint64_t *end);

/* Memory that is refused: after so many allocations every one fails; negative: never. The test's
 * program is linked with --wrap for malloc, calloc and realloc. */
extern int allocations_left;

#endif
