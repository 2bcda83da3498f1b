/* One leaf's runs: a sorted packed array of 10 bytes a run, in memory as in a checkpoint
 * (docs/format/map-leaf.md). Pure functions on the caller's bytes; only base/extmap*.c use them.
 *
 * Runs do not overlap, lie inside the leaf, and two that touch do not continue one another. */
#ifndef HF_BASE_EXTMAP_LEAF_H
#define HF_BASE_EXTMAP_LEAF_H

#include "base/extmap.h"

#define HF_RUN_BYTES     10u
#define HF_LEAF_HEAD     4u /* bytes before the runs of an encoded leaf */
#define HF_LEAF_VERSION  1u
#define HF_RUN_UNIT_MASK ((1ull << HF_EXTMAP_UNIT_BITS) - 1)

struct hf_run {
	uint32_t start, length; /* units; start is counted from the leaf's first */
	enum hf_extent_kind kind;
	uint64_t value; /* 50 bits. DATA: source << 17 | unit; else the tag */
};

/* What replacing a range by a run does to an array: runs [first, last) give way to fresh[count]. */
struct hf_leaf_edit {
	unsigned first, last, count;
	struct hf_run fresh[3];
};

static inline uint32_t hf_run_end(const struct hf_run *run)
{
	return run->start + run->length;
}

struct hf_run hf_run_load(const uint8_t *runs, unsigned index);
void hf_run_store(uint8_t *runs, unsigned index, const struct hf_run *run);
/* The part of a run from `from` to `to`, which it contains. */
struct hf_run hf_run_part(const struct hf_run *run, uint32_t from, uint32_t to);
/* True if `b` goes on where `a` ends, in address and place. */
bool hf_run_continues(const struct hf_run *a, const struct hf_run *b);

/* Index of the first run that ends past `unit`; `count` if none does. */
unsigned hf_leaf_find(const uint8_t *runs, unsigned count, uint32_t unit);
/* What has to be done so that [start, end) holds `run` (which is that range), or nothing if NULL.
 * The array then has hf_leaf_edit_count runs, and needs room for so many. */
void hf_leaf_plan(const uint8_t *runs, unsigned count, uint32_t start, uint32_t end,
		  const struct hf_run *run, struct hf_leaf_edit *edit);
static inline unsigned hf_leaf_edit_count(unsigned count, const struct hf_leaf_edit *edit)
{
	return count + edit->count - (edit->last - edit->first);
}
void hf_leaf_apply(uint8_t *runs, unsigned count, const struct hf_leaf_edit *edit);
/* True if the runs leave no gap. */
bool hf_leaf_is_full(const uint8_t *runs, unsigned count);
/* `newer` over `base`, without ZERO, to `out`, which has room for base_count + 2 * newer_count
 * runs (or HF_EXTMAP_LEAF_UNITS, if that is less). Returns their number. */
unsigned hf_leaf_merge(const uint8_t *base, unsigned base_count, const uint8_t *newer,
		       unsigned newer_count, uint8_t *out);

/* Checks an encoded leaf: 0 and the runs' number, or HF_ECORRUPT. */
int hf_leaf_check(const uint8_t *bytes, size_t length_bytes, unsigned *count);

#endif
