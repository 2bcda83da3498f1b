/* base/extmap_leaf.h: loading, finding, replacing and checking runs. No memory is taken here.
 * Core's thread; the arrays are the caller's. */
#include "base/extmap_leaf.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "base/err.h"

#include <string.h>

#define START_BITS 14
#define START_MASK ((1u << START_BITS) - 1)
#define LOW_BITS   34 /* of the value that stand beside start, length and kind */

HF_STATIC_ASSERT(HF_EXTMAP_LEAF_UNITS == 1u << START_BITS, "a start fits its bits");
HF_STATIC_ASSERT(HF_EXTMAP_SOURCE_BITS + HF_EXTMAP_UNIT_BITS == HF_EXTMAP_TAG_BITS,
		 "a place fits where a tag does");
HF_STATIC_ASSERT(HF_EXTMAP_TAG_BITS == LOW_BITS + 16, "a run is 80 bits");

/* ---- One run --------------------------------------------------------------------------------- */

static uint32_t run_start(const uint8_t *runs, unsigned index)
{
	return hf_get_le16(runs + (size_t)index * HF_RUN_BYTES) & START_MASK;
}

struct hf_run hf_run_load(const uint8_t *runs, unsigned index)
{
	const uint8_t *at = runs + (size_t)index * HF_RUN_BYTES;
	uint64_t low = hf_get_le64(at);
	uint64_t high = hf_get_le16(at + 8);

	return (struct hf_run){
		.start = low & START_MASK,
		.length = (low >> START_BITS & START_MASK) + 1,
		.kind = low >> 2 * START_BITS & 3,
		.value = low >> (64 - LOW_BITS) | high << LOW_BITS,
	};
}

void hf_run_store(uint8_t *runs, unsigned index, const struct hf_run *run)
{
	uint8_t *at = runs + (size_t)index * HF_RUN_BYTES;

	hf_put_le64(at, run->start | (uint64_t)(run->length - 1) << START_BITS |
				(uint64_t)run->kind << 2 * START_BITS |
				run->value << (64 - LOW_BITS));
	hf_put_le16(at + 8, (uint16_t)(run->value >> LOW_BITS));
}

struct hf_run hf_run_part(const struct hf_run *run, uint32_t from, uint32_t to)
{
	struct hf_run part = *run;

	part.start = from;
	part.length = to - from;
	if (run->kind == HF_EXTENT_DATA)
		part.value += from - run->start;
	return part;
}

bool hf_run_continues(const struct hf_run *a, const struct hf_run *b)
{
	if (hf_run_end(a) != b->start || a->kind != b->kind)
		return false;
	if (a->kind != HF_EXTENT_DATA)
		return a->value == b->value;
	/* Unit 0 of the next source is no continuation of a source that is filled to its end. */
	return a->value + a->length == b->value && (b->value & HF_RUN_UNIT_MASK) != 0;
}

/* ---- Finding ----------------------------------------------------------------------------------
 */

/* How many runs start at `unit` or below. Extents of a leaf tend to lie evenly, so the search goes
 * out from where the run would lie then, in growing steps until it is enclosed: that touches one or
 * two cache lines where bisecting touches five. Never worse than twice bisecting. */
static unsigned starts_through(const uint8_t *runs, unsigned count, uint32_t unit)
{
	unsigned low = 0, high = count, step = 0;
	unsigned probe = (unsigned)((uint64_t)count * unit >> START_BITS);

	while (low < high) {
		unsigned half;

		if (run_start(runs, probe) <= unit)
			low = probe + 1;
		else
			high = probe;
		half = (high - low) / 2;
		if (high == count && half > step)
			probe = low + step;
		else if (low == 0 && half > step)
			probe = high - 1 - step;
		else
			probe = low + half;
		if (step < count)
			step = 4 * step + 1;
	}
	return low;
}

unsigned hf_leaf_find(const uint8_t *runs, unsigned count, uint32_t unit)
{
	unsigned after = starts_through(runs, count, unit);
	struct hf_run run;

	if (after == 0)
		return 0;
	run = hf_run_load(runs, after - 1);
	return hf_run_end(&run) > unit ? after - 1 : after;
}

/* ---- Replacing --------------------------------------------------------------------------------
 */

static void edit_add(struct hf_leaf_edit *edit, const struct hf_run *run)
{
	struct hf_run *before = edit->count ? &edit->fresh[edit->count - 1] : NULL;

	if (before && hf_run_continues(before, run))
		before->length += run->length;
	else
		edit->fresh[edit->count++] = *run;
}

/* What stays of the first run that the range cuts, or the run before it if `run` continues it. */
static void plan_before(const uint8_t *runs, uint32_t start, const struct hf_run *run,
			struct hf_leaf_edit *edit)
{
	struct hf_run before;

	if (edit->first < edit->last) {
		before = hf_run_load(runs, edit->first);
		if (before.start < start) {
			before = hf_run_part(&before, before.start, start);
			edit_add(edit, &before);
			return;
		}
	}
	if (!run || edit->first == 0)
		return;
	before = hf_run_load(runs, edit->first - 1);
	if (hf_run_continues(&before, run)) {
		edit->first--;
		edit_add(edit, &before);
	}
}

static void plan_after(const uint8_t *runs, unsigned count, uint32_t end, const struct hf_run *run,
		       bool cut, struct hf_leaf_edit *edit)
{
	struct hf_run after;

	if (cut) {
		after = hf_run_load(runs, edit->last - 1);
		if (hf_run_end(&after) > end) {
			after = hf_run_part(&after, end, hf_run_end(&after));
			edit_add(edit, &after);
			return;
		}
	}
	if (!run || edit->last == count)
		return;
	after = hf_run_load(runs, edit->last);
	if (hf_run_continues(&edit->fresh[edit->count - 1], &after)) {
		edit->last++;
		edit_add(edit, &after);
	}
}

void hf_leaf_plan(const uint8_t *runs, unsigned count, uint32_t start, uint32_t end,
		  const struct hf_run *run, struct hf_leaf_edit *edit)
{
	struct hf_run final;
	bool cut;

	edit->count = 0;
	edit->first = edit->last = count;
	if (count > 0) {
		final = hf_run_load(runs, count - 1);
		if (hf_run_end(&final) > start) { /* else: appending, which is common */
			edit->first = hf_leaf_find(runs, count, start);
			edit->last = starts_through(runs, count, end - 1);
		}
	}
	HF_ASSERT(edit->first <= edit->last);
	cut = edit->first < edit->last;
	plan_before(runs, start, run, edit);
	if (run)
		edit_add(edit, run);
	plan_after(runs, count, end, run, cut, edit);
}

void hf_leaf_apply(uint8_t *runs, unsigned count, const struct hf_leaf_edit *edit)
{
	unsigned to = edit->first + edit->count;

	if (to != edit->last && edit->last < count)
		memmove(runs + (size_t)to * HF_RUN_BYTES, runs + (size_t)edit->last * HF_RUN_BYTES,
			(size_t)(count - edit->last) * HF_RUN_BYTES);
	for (unsigned i = 0; i < edit->count; i++)
		hf_run_store(runs, edit->first + i, &edit->fresh[i]);
}

bool hf_leaf_is_full(const uint8_t *runs, unsigned count)
{
	uint32_t at = 0;

	if (count == 0 || run_start(runs, 0) != 0)
		return false;
	for (unsigned i = count; i > 0; i--) { /* the newest writes are often the last addresses */
		struct hf_run run = hf_run_load(runs, i - 1);

		if (hf_run_end(&run) != (i == count ? HF_EXTMAP_LEAF_UNITS : at))
			return false;
		at = run.start;
	}
	return true;
}

/* ---- Merging ----------------------------------------------------------------------------------
 */

struct merge {
	uint8_t *out;
	unsigned count;
	struct hf_run last; /* out's last; its length is 0 before the first */
};

static void merge_add(struct merge *merge, const struct hf_run *run)
{
	if (run->kind == HF_EXTENT_ZERO)
		return;
	if (merge->count > 0 && hf_run_continues(&merge->last, run)) {
		merge->last.length += run->length;
		hf_run_store(merge->out, merge->count - 1, &merge->last);
		return;
	}
	merge->last = *run;
	hf_run_store(merge->out, merge->count++, run);
}

/* What `base` has in [from, to). *at: its first run that may matter. */
static void merge_base(struct merge *merge, const uint8_t *base, unsigned count, unsigned *at,
		       uint32_t from, uint32_t to)
{
	for (; from < to && *at < count; ++*at) {
		struct hf_run run = hf_run_load(base, *at);
		uint32_t end = hf_run_end(&run);

		if (run.start >= to)
			return;
		if (end > from) {
			run = hf_run_part(&run, run.start > from ? run.start : from,
					  end < to ? end : to);
			merge_add(merge, &run);
		}
		if (end > to)
			return;
	}
}

unsigned hf_leaf_merge(const uint8_t *base, unsigned base_count, const uint8_t *newer,
		       unsigned newer_count, uint8_t *out)
{
	struct merge merge = {.out = out};
	unsigned at = 0;
	uint32_t from = 0;

	for (unsigned i = 0; i < newer_count; i++) {
		struct hf_run run = hf_run_load(newer, i);

		merge_base(&merge, base, base_count, &at, from, run.start);
		merge_add(&merge, &run);
		from = hf_run_end(&run);
	}
	merge_base(&merge, base, base_count, &at, from, HF_EXTMAP_LEAF_UNITS);
	return merge.count;
}

/* ---- Checking ---------------------------------------------------------------------------------
 */

static bool run_is_valid(const struct hf_run *run)
{
	if (hf_run_end(run) > HF_EXTMAP_LEAF_UNITS)
		return false;
	if (run->kind == HF_EXTENT_BAD)
		return run->value == 0;
	return run->kind == HF_EXTENT_DATA &&
	       (run->value & HF_RUN_UNIT_MASK) + run->length <= HF_RUN_UNIT_MASK + 1;
}

int hf_leaf_check(const uint8_t *bytes, size_t length_bytes, unsigned *count)
{
	struct hf_run before = {0}, run;
	unsigned runs;

	if (length_bytes < HF_LEAF_HEAD || bytes[0] != HF_LEAF_VERSION || bytes[1] != 0)
		return HF_ECORRUPT;
	runs = hf_get_le16(bytes + 2);
	if (runs == 0 || runs > HF_EXTMAP_LEAF_UNITS ||
	    length_bytes != HF_LEAF_HEAD + (size_t)runs * HF_RUN_BYTES)
		return HF_ECORRUPT;
	for (unsigned i = 0; i < runs; i++) {
		run = hf_run_load(bytes + HF_LEAF_HEAD, i);
		if (!run_is_valid(&run) || run.start < hf_run_end(&before) ||
		    hf_run_continues(&before, &run))
			return HF_ECORRUPT;
		before = run;
	}
	*count = runs;
	return 0;
}
