/* The history of each block, a short array in the order of issues; see model.h. */
#include "tests/crash/model.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"

struct value {
	uint64_t id, issued, answered; /* answered 0: under way */
};

struct block {
	struct value values[MODEL_VALUES_MAX];
	unsigned count;
};

struct model {
	uint64_t now;
	struct block blocks[MODEL_BLOCKS];
};

struct model *model_create(void)
{
	struct model *model = calloc(1, sizeof *model);

	HF_ASSERT(model != NULL);
	/* Value 0, zeros, was there before the first tick. */
	model->now = 1;
	for (unsigned i = 0; i < MODEL_BLOCKS; i++) {
		model->blocks[i].values[0] = (struct value){0, 0, 1};
		model->blocks[i].count = 1;
	}
	return model;
}

void model_destroy(struct model *model)
{
	free(model);
}

uint64_t model_tick(struct model *model)
{
	return ++model->now;
}

void model_issued(struct model *model, unsigned block, uint64_t id, uint64_t now)
{
	struct block *b = &model->blocks[block];

	HF_ASSERT(b->count < MODEL_VALUES_MAX);
	b->values[b->count++] = (struct value){id, now, 0};
}

void model_answered(struct model *model, unsigned block, uint64_t id, uint64_t now)
{
	struct block *b = &model->blocks[block];

	for (unsigned i = 0; i < b->count; i++)
		if (b->values[i].id == id)
			b->values[i].answered = now;
}

static bool replaced(const struct block *b, const struct value *v, uint64_t read_issued)
{
	if (v->answered == 0)
		return false;
	for (unsigned i = 0; i < b->count; i++) {
		const struct value *w = &b->values[i];

		if (w->issued > v->answered && w->answered != 0 && w->answered < read_issued)
			return true;
	}
	return false;
}

bool model_admits(const struct model *model, unsigned block, uint64_t id, uint64_t issued)
{
	const struct block *b = &model->blocks[block];

	for (unsigned i = 0; i < b->count; i++)
		if (b->values[i].id == id)
			return !replaced(b, &b->values[i], issued);
	return false;
}

void model_settle(struct model *model, unsigned block, uint64_t id)
{
	struct block *b = &model->blocks[block];

	for (unsigned i = 0; i < b->count; i++)
		if (b->values[i].id == id)
			b->values[0] = b->values[i];
	HF_ASSERT(b->values[0].id == id);
	b->count = 1;
}

void model_prune(struct model *model, uint64_t oldest_read)
{
	for (unsigned n = 0; n < MODEL_BLOCKS; n++) {
		struct block *b = &model->blocks[n];
		struct block old = *b;

		b->count = 0;
		for (unsigned i = 0; i < old.count; i++)
			if (!replaced(&old, &old.values[i], oldest_read))
				b->values[b->count++] = old.values[i];
	}
}

void model_fill(uint8_t *bytes, unsigned block, uint64_t id)
{
	for (unsigned i = 0; i < MODEL_BLOCK_BYTES; i += 16) {
		hf_put_le64(bytes + i, id);
		hf_put_le64(bytes + i + 8, id ? block + 1 : 0);
	}
}

bool model_value(const uint8_t *bytes, unsigned block, uint64_t *id)
{
	*id = hf_get_le64(bytes);
	for (unsigned i = 0; i < MODEL_BLOCK_BYTES; i += 16)
		if (hf_get_le64(bytes + i) != *id ||
		    hf_get_le64(bytes + i + 8) != (*id ? block + 1 : 0))
			return false;
	return true;
}
