/* tests/base/extmap_model.h. */
#include "tests/base/extmap_model.h"

#include <stdlib.h>

/* ---- Memory -----------------------------------------------------------------------------------
 */

int allocations_left = -1;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size);

static bool refuse(void)
{
	if (allocations_left > 0)
		allocations_left--;
	else if (allocations_left == 0)
		return true;
	return false;
}

void *__wrap_malloc(size_t size)
{
	return refuse() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return refuse() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
	return refuse() ? NULL : __real_realloc(memory, size);
}

/* ---- The model --------------------------------------------------------------------------------
 */

static uint64_t end_of(const struct hf_extent *extent)
{
	return extent->lba + extent->length;
}

static struct hf_extent part(const struct hf_extent *extent, uint64_t from, uint64_t to)
{
	struct hf_extent result = *extent;

	result.lba = from;
	result.length = to - from;
	if (extent->kind == HF_EXTENT_DATA)
		result.place.unit += from - extent->lba;
	return result;
}

static bool continues(const struct hf_extent *a, const struct hf_extent *b)
{
	if (end_of(a) != b->lba || a->kind != b->kind || a->place.source != b->place.source)
		return false;
	return a->kind != HF_EXTENT_DATA || a->place.unit + a->length == b->place.unit;
}

static void add(struct model *model, const struct hf_extent *extent)
{
	struct hf_extent *last = model->count ? &model->extents[model->count - 1] : NULL;

	if (last && continues(last, extent)) {
		last->length += extent->length;
		return;
	}
	if (model->count == model->capacity) {
		model->capacity = model->capacity ? 2 * model->capacity : 64;
		model->extents =
			__real_realloc(model->extents, model->capacity * sizeof *model->extents);
	}
	model->extents[model->count++] = *extent;
}

void model_replace(struct model *model, uint64_t lba, uint64_t end, const struct hf_extent *extent)
{
	struct model old = *model;
	bool added = !extent;

	*model = (struct model){NULL, 0, 0};
	for (size_t i = 0; i < old.count; i++) {
		const struct hf_extent *at = &old.extents[i];
		struct hf_extent piece;

		if (at->lba < lba) {
			piece = part(at, at->lba, end_of(at) < lba ? end_of(at) : lba);
			add(model, &piece);
		}
		if (end_of(at) <= end)
			continue;
		if (!added)
			add(model, extent);
		added = true;
		piece = part(at, at->lba > end ? at->lba : end, end_of(at));
		add(model, &piece);
	}
	if (!added)
		add(model, extent);
	free(old.extents);
}

bool model_find(const struct model *model, uint64_t lba, uint64_t end, struct hf_extent *found)
{
	for (size_t i = 0; i < model->count; i++) {
		const struct hf_extent *at = &model->extents[i];

		if (end_of(at) <= lba)
			continue;
		if (at->lba >= end)
			return false;
		*found = part(at, at->lba > lba ? at->lba : lba,
			      end_of(at) < end ? end_of(at) : end);
		return true;
	}
	return false;
}

void model_clear(struct model *model)
{
	free(model->extents);
	*model = (struct model){NULL, 0, 0};
}

/* ---- Drawing ----------------------------------------------------------------------------------
 */

uint64_t model_seed;

uint64_t draw(uint64_t bound)
{
	model_seed = model_seed * 6364136223846793005u + 1442695040888963407u;
	return (model_seed >> 11) % bound;
}

void ground_range(enum ground ground, uint64_t *lba, uint64_t *end)
{
	*lba = 0;
	*end = UINT64_MAX;
	if (ground == GROUND_SEAM) {
		*lba = (1ull << 40) - 100;
		*end = *lba + 200;
	} else if (ground == GROUND_LEAVES) {
		*lba = 62ull * HF_EXTMAP_LEAF_UNITS;
		*end = 68ull * HF_EXTMAP_LEAF_UNITS;
	}
}

/* Some leaf, often the first of one of the directory's nodes, and some unit close to its start. */
static uint64_t draw_wide(void)
{
	uint64_t bits = 6 * draw(9), leaf = draw(draw(2) ? 4 : 70) << bits;

	leaf += draw(3) == 0 ? draw(130) : 0;
	leaf %= 1ull << 50;
	return leaf * HF_EXTMAP_LEAF_UNITS + (draw(2) ? 0 : draw(HF_EXTMAP_LEAF_UNITS));
}

void draw_range(enum ground ground, uint64_t *lba, uint64_t *length)
{
	uint64_t low, end, most;

	ground_range(ground, &low, &end);
	if (ground == GROUND_WIDE) {
		uint64_t a = draw_wide(), b = draw(10) ? draw_wide() : UINT64_MAX;

		*lba = a < b ? a : b;
		*length = a == b ? 1 : a < b ? b - a : a - b;
		return;
	}
	*lba = low + draw(end - low);
	if (ground == GROUND_LEAVES && draw(4) == 0)
		*lba -= *lba % HF_EXTMAP_LEAF_UNITS;
	most = ground == GROUND_SEAM ? draw(8) ? 20 : 200
	       : draw(3)             ? 40
				     : 3ull * HF_EXTMAP_LEAF_UNITS;
	*length = 1 + draw(most);
	if (ground == GROUND_LEAVES && draw(6) == 0)
		*length = HF_EXTMAP_LEAF_UNITS * (1 + draw(2));
	if (*length > end - *lba)
		*length = end - *lba;
}

struct hf_extent draw_extent(enum ground ground, bool tags)
{
	const uint64_t most = 1ull << HF_EXTMAP_UNIT_BITS;
	struct hf_extent extent;
	uint64_t low, end;

	ground_range(ground, &low, &end);
	draw_range(ground, &extent.lba, &extent.length);
	extent.kind = draw(5) ? HF_EXTENT_DATA : draw(2) ? HF_EXTENT_ZERO : HF_EXTENT_BAD;
	extent.place = (struct hf_place){.unit = 0};
	if (extent.kind != HF_EXTENT_DATA) {
		extent.place.source = tags ? draw(3) + (draw(9) ? 0 : (1ull << 50) - 3) : 0;
		return extent;
	}
	extent.place.source = draw(3) + (draw(9) ? 0 : (1ull << 33) - 3);
	extent.place.unit = draw(2) ? (extent.lba - low) % most : draw(most);
	if (extent.length > most - extent.place.unit)
		extent.length = most - extent.place.unit;
	return extent;
}
