/* "Once" and "No zombies" (docs/protocol/ring.md) under thousands of deaths between any two steps
 * of the ring, on either side, with the real ring's two ends, the real core and the real log: see
 * ring_world.h. The initiator keeps requests under way, at most one to a page, so at every moment
 * it is known what each page holds:
 *
 *   - volumed dies: every request is answered once, and was executed once. A COMPARE AND WRITE that
 *     was executed twice would miscompare with itself, a write would destroy a later one;
 *   - tgtd dies: what was answered holds; what was under way happened whole or not at all, and from
 *     the first look by the next tgtd on, whatever it saw stays (nothing of a dead ring lands
 * late);
 *   - power fails: what was answered holds (invariant 1); where the write cache is on, what was
 *     answered before a flush was asked for, whoever answered the flush;
 *   - a command that is answered as not in time happened before, or never does;
 *   - the memory tier shows what a read through the ring would, at any moment.
 *
 * tests/sim/seeds.h has the command line. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/ring_world.h"
#include "tests/sim/seeds.h"

#define LIVES       20u
#define PAGES       24u /* of each volume, in use */
#define PAGE_BYTES  4096u
#define WORDS       (PAGE_BYTES / sizeof(uint64_t))
#define SETTLE_MAX  2000000u /* turns; what takes longer hangs */
#define DEADLINE_MS 3600000u
#define PAST_MAX    8u

/* What a page may hold: one stamp, or several as long as nobody has looked. 0 is zeros. With a
 * write cache also what it held: a loss of power may bring that back until a flush that was asked
 * for after `since`. */
struct page {
	uint32_t stamps[2 + PAST_MAX];
	unsigned stamp_count;
	struct {
		uint32_t stamp;
		uint64_t since;
	} past[PAST_MAX];
	unsigned past_count;
	bool recovered; /* since the last look */
	bool busy, writing;
	uint32_t next_stamp; /* writing: what it will hold */
};

struct op {
	struct initiator *initiator;
	struct page *page; /* NULL: FLUSH */
	enum hf_op op;
	unsigned volume, number;
	uint32_t from, to; /* stamps: what the page held, what it will hold */
	uint32_t got;      /* READ */
	uint64_t asked;    /* FLUSH: the moment */
	bool torn;         /* READ: the page held parts of two */
};

struct initiator {
	struct ring_world *world;
	struct page pages[RING_WORLD_VOLUMES][PAGES];
	uint32_t next_stamp;
	unsigned under_way, depth;
	bool cut;        /* power fails right after a flush */
	uint64_t moment; /* counts answers that change a page */
	uint64_t requests, late, inline_reads, inline_flushes;
};

static uint64_t below(struct initiator *initiator, uint64_t bound)
{
	return sim_random_below(initiator->world->sim, bound);
}

/* ---- Payload --------------------------------------------------------------------------------- */

static uint64_t word(unsigned volume, unsigned number, uint32_t stamp, size_t index)
{
	if (stamp == 0)
		return 0;
	return (uint64_t)stamp << 32 | (uint64_t)volume << 28 | (uint64_t)number << 16 | index;
}

static void fill_page(const struct op *op, uint32_t stamp, uint64_t *to)
{
	for (size_t i = 0; i < WORDS; i++)
		to[i] = word(op->volume, op->number, stamp, i);
}

/* The page's one stamp; false: parts of several. */
static bool stamp_of(unsigned volume, unsigned number, const uint64_t *words, uint32_t *stamp)
{
	*stamp = (uint32_t)(words[0] >> 32);
	for (size_t i = 0; i < WORDS; i++)
		if (words[i] != word(volume, number, *stamp, i))
			return false;
	return true;
}

static void fill(struct hf_shim_request *request, void *slot)
{
	struct op *op = request->owner;
	struct hf_ring_range range = {request->offset, PAGE_BYTES};

	switch (op->op) {
	case HF_OP_WRITE:
		fill_page(op, op->to, slot);
		return;
	case HF_OP_COMPARE_AND_WRITE:
		fill_page(op, op->from, slot);
		fill_page(op, op->to, (uint64_t *)slot + WORDS);
		return;
	default:
		range.offset = (uint64_t)op->number * PAGE_BYTES;
		memcpy(slot, &range, sizeof range); /* UNMAP */
	}
}

static void take(struct hf_shim_request *request, const void *slot)
{
	struct op *op = request->owner;
	uint64_t words[WORDS];

	memcpy(words, slot, sizeof words);
	op->torn = !stamp_of(op->volume, op->number, words, &op->got);
}

/* ---- Answers --------------------------------------------------------------------------------- */

static bool is_cached(const struct initiator *initiator, const struct page *page)
{
	return page >= initiator->pages[RING_WORLD_CACHED] &&
	       page < initiator->pages[RING_WORLD_CACHED] + PAGES;
}

static void page_holds(struct initiator *initiator, struct page *page, uint32_t stamp)
{
	initiator->moment++;
	for (unsigned i = 0;
	     is_cached(initiator, page) && !page->recovered && i < page->stamp_count; i++) {
		if (page->stamps[i] == stamp || page->past_count == PAST_MAX)
			continue;
		page->past[page->past_count].stamp = page->stamps[i];
		page->past[page->past_count++].since = initiator->moment;
	}
	page->recovered = false;
	page->stamps[0] = stamp;
	page->stamp_count = 1;
}

static bool page_may_hold(const struct page *page, uint32_t stamp)
{
	for (unsigned i = 0; i < page->stamp_count; i++)
		if (page->stamps[i] == stamp)
			return true;
	return page->busy && page->writing && page->next_stamp == stamp;
}

/* A look at a page; from now on it holds what was seen. */
static void page_seen(struct initiator *initiator, unsigned volume, unsigned number, bool whole,
		      uint32_t stamp)
{
	struct page *page = &initiator->pages[volume][number];

	if (!whole)
		ring_world_fail(initiator->world, "page %u of volume %u holds parts of two writes",
				number, volume);
	else if (!page_may_hold(page, stamp))
		ring_world_fail(initiator->world, "page %u of volume %u holds %u, not %u", number,
				volume, stamp, page->stamps[0]);
	page_holds(initiator, page, stamp);
}

/* What was answered before `asked` is durable. */
static void flushed(struct initiator *initiator, unsigned volume, uint64_t asked)
{
	for (unsigned i = 0; i < PAGES; i++) {
		struct page *page = &initiator->pages[volume][i];
		unsigned kept = 0;

		for (unsigned j = 0; j < page->past_count; j++)
			if (page->past[j].since > asked)
				page->past[kept++] = page->past[j];
		page->past_count = kept;
	}
}

/* What was under way happened or it did not: the next look tells. */
static void page_open(struct page *page)
{
	if (!page->writing)
		return;
	page->stamps[page->stamp_count++] = page->next_stamp;
}

static bool is_late(const struct initiator *initiator, int status)
{
	return initiator->world->deadline_ms < DEADLINE_MS &&
	       (status == HF_ETIMEDOUT || status == HF_ECANCELED);
}

static void answered(struct hf_shim_request *request)
{
	struct op *op = request->owner;
	struct initiator *initiator = op->initiator;

	initiator->under_way--;
	if (op->page)
		op->page->busy = false;
	if (is_late(initiator, request->status)) {
		initiator->late++;
		if (op->page)
			page_open(op->page);
	} else if (request->status != 0) {
		ring_world_fail(initiator->world, "operation %d on page %u of volume %u: %s",
				op->op, op->number, op->volume, hf_err_name(request->status));
	} else if (op->op == HF_OP_READ) {
		page_seen(initiator, op->volume, op->number, !op->torn, op->got);
	} else if (op->page) {
		page_holds(initiator, op->page, op->to);
	} else {
		flushed(initiator, op->volume, op->asked);
	}
	free(op);
}

/* ---- Requests -------------------------------------------------------------------------------- */

static enum hf_op random_op(struct initiator *initiator, const struct page *page)
{
	static const enum hf_op choice[] = {
		HF_OP_WRITE,
		HF_OP_WRITE,
		HF_OP_WRITE,
		HF_OP_READ,
		HF_OP_COMPARE_AND_WRITE,
		HF_OP_COMPARE_AND_WRITE,
		HF_OP_UNMAP,
		HF_OP_ZERO,
	};

	/* So there is always room for one more in the past. */
	if (page->stamp_count > 1 || page->past_count + 2 > PAST_MAX)
		return HF_OP_READ;
	return choice[below(initiator, sizeof choice / sizeof choice[0])];
}

static uint32_t payload_bytes(enum hf_op op)
{
	switch (op) {
	case HF_OP_READ:
	case HF_OP_WRITE:
		return PAGE_BYTES;
	case HF_OP_COMPARE_AND_WRITE:
		return 2 * PAGE_BYTES;
	case HF_OP_UNMAP:
		return sizeof(struct hf_ring_range);
	default:
		return 0;
	}
}

static struct op *op_new(struct initiator *initiator, unsigned volume, struct page *page)
{
	struct op *op = calloc(1, sizeof *op); /* the shim's memory: goes with it */

	op->initiator = initiator;
	op->volume = volume;
	op->page = page;
	op->op = page ? random_op(initiator, page) : HF_OP_FLUSH;
	op->asked = initiator->moment;
	if (!page)
		return op;
	page->busy = true;
	op->number = (unsigned)(page - initiator->pages[volume]);
	op->from = page->stamps[0];
	if (op->op == HF_OP_WRITE || op->op == HF_OP_COMPARE_AND_WRITE)
		op->to = ++initiator->next_stamp;
	page->writing = op->op != HF_OP_READ;
	page->next_stamp = op->to;
	return op;
}

static void submit_to(struct initiator *initiator, unsigned volume, struct page *page)
{
	struct hf_shim_request *request = hf_shim_request_get(initiator->world->luns[volume]);
	struct op *op;

	if (!request)
		return;
	op = op_new(initiator, volume, page);
	request->op = op->op;
	request->owner = op;
	request->data_length = payload_bytes(op->op);
	if (op->page && op->op != HF_OP_UNMAP) {
		request->offset = (uint64_t)op->number * PAGE_BYTES;
		request->length = PAGE_BYTES;
	}
	request->fill = request->data_length && op->op != HF_OP_READ ? fill : NULL;
	request->take = op->op == HF_OP_READ ? take : NULL;
	request->done = answered;
	initiator->under_way++;
	initiator->requests++;
	hf_shim_submit(request);
}

/* The memory tier, if it has the page: as good as any read, also while a write is under way. */
static void look_inline(struct initiator *initiator, unsigned volume, unsigned number)
{
	uint64_t words[WORDS];
	uint32_t stamp;
	bool whole;

	if (!hf_shim_read_inline(initiator->world->luns[volume], (uint64_t)number * PAGE_BYTES,
				 PAGE_BYTES, words))
		return;
	initiator->inline_reads++;
	whole = stamp_of(volume, number, words, &stamp);
	page_seen(initiator, volume, number, whole, stamp);
}

/* A flush that the shim answers by itself. */
static void flush_inline(struct initiator *initiator, unsigned volume)
{
	if (below(initiator, 8) > 0 || !hf_shim_flush_inline(initiator->world->luns[volume]))
		return;
	initiator->inline_flushes++;
	flushed(initiator, volume, initiator->moment);
	initiator->cut = below(initiator, 64) == 0;
}

static void submit(struct initiator *initiator)
{
	unsigned volume = (unsigned)below(initiator, RING_WORLD_VOLUMES);
	unsigned hot = below(initiator, 2) ? PAGES : 3;
	struct page *page = &initiator->pages[volume][below(initiator, hot)];

	if (!initiator->world->shim)
		return;
	sim_select(initiator->world->sim, 1);
	look_inline(initiator, volume, (unsigned)(page - initiator->pages[volume]));
	flush_inline(initiator, volume);
	if (initiator->under_way >= initiator->depth || page->busy)
		return;
	submit_to(initiator, volume, below(initiator, 24) == 0 ? NULL : page);
}

/* ---- Lives ----------------------------------------------------------------------------------- */

/* The initiator of a dead tgtd knows nothing of what was under way. */
static void shim_died(struct initiator *initiator)
{
	for (unsigned i = 0; i < RING_WORLD_VOLUMES * PAGES; i++) {
		struct page *page = &initiator->pages[i / PAGES][i % PAGES];

		if (page->busy)
			page_open(page);
		page->busy = false;
	}
	initiator->under_way = 0;
}

/* After the initiator's death: what no flush covers may be as it was. What comes back then is there
 * to stay. */
static void power_failed(struct initiator *initiator)
{
	for (unsigned i = 0; i < PAGES; i++) {
		struct page *page = &initiator->pages[RING_WORLD_CACHED][i];

		while (page->past_count > 0 && page->stamp_count < 2 + PAST_MAX)
			page->stamps[page->stamp_count++] = page->past[--page->past_count].stamp;
		page->recovered = page->stamp_count > 1;
	}
}

/* Whoever is dead may come back. */
static void revive(struct initiator *initiator, unsigned one_in)
{
	struct ring_world *world = initiator->world;

	if (!world->volumed && below(initiator, one_in) == 0)
		ring_world_boot_volumed(world);
	if (!world->shim && below(initiator, one_in) == 0)
		ring_world_boot_shim(world);
}

/* Runs until somebody dies, at most so many turns. */
static bool live(struct initiator *initiator, unsigned turns)
{
	struct ring_world *world = initiator->world;

	while (turns-- > 0 && !world->problem[0]) {
		enum ring_process dead;

		revive(initiator, 50);
		submit(initiator);
		if (initiator->cut)
			return false;
		dead = ring_world_turn(world);
		if (dead == RING_SHIM)
			shim_died(initiator);
		if (dead != RING_NOBODY)
			return true;
	}
	return false;
}

static void arm(struct initiator *initiator)
{
	unsigned countdown = 1 + (unsigned)below(initiator, 400);

	ring_world_arm(RING_VOLUMED, 0);
	ring_world_arm(RING_SHIM, 0);
	ring_world_arm(below(initiator, 3) > 0 ? RING_VOLUMED : RING_SHIM, countdown);
}

static void die(struct initiator *initiator)
{
	struct ring_world *world = initiator->world;
	uint64_t how = initiator->cut ? 0 : below(initiator, 4);

	initiator->cut = false;
	if (how == 0) {
		ring_world_power_cut(world);
		shim_died(initiator);
		power_failed(initiator);
	} else if (how == 1 && world->shim) {
		ring_world_kill_shim(world);
		shim_died(initiator);
	} else if (world->volumed) {
		ring_world_kill_volumed(world);
	}
}

/* Everything that is under way ends, with nobody dying. */
static void settle(struct initiator *initiator)
{
	struct ring_world *world = initiator->world;

	ring_world_arm(RING_VOLUMED, 0);
	ring_world_arm(RING_SHIM, 0);
	for (unsigned turns = 0; turns < SETTLE_MAX && !world->problem[0]; turns++) {
		revive(initiator, 1);
		if (initiator->under_way == 0)
			return;
		ring_world_turn(world);
	}
	if (!world->problem[0])
		ring_world_fail(world, "%u requests hang", initiator->under_way);
}

static void look_at_all(struct initiator *initiator)
{
	for (unsigned i = 0; i < RING_WORLD_VOLUMES * PAGES; i++) {
		struct page *page = &initiator->pages[i / PAGES][i % PAGES];

		if (page->stamp_count == 1) /* so that it is read */
			page->stamps[page->stamp_count++] = page->stamps[0];
		sim_select(initiator->world->sim, 1);
		submit_to(initiator, i / PAGES, page);
		settle(initiator);
	}
}

/* ---- The program ----------------------------------------------------------------------------- */

static struct {
	uint64_t boots, requests, late, inline_reads, inline_flushes, kills_at[KILL_POINTS];
} totals;

static void add_totals(const struct initiator *initiator)
{
	totals.boots += initiator->world->boots;
	totals.requests += initiator->requests;
	totals.late += initiator->late;
	totals.inline_reads += initiator->inline_reads;
	totals.inline_flushes += initiator->inline_flushes;
	for (unsigned i = 0; i < KILL_POINTS; i++)
		totals.kills_at[i] += initiator->world->kills_at[i];
}

static bool run(uint64_t seed, uint64_t *recoveries)
{
	struct ring_world *world = sim_keep_alloc(sizeof *world);
	struct initiator *initiator = sim_keep_alloc(sizeof *initiator);
	bool good;

	ring_world_init(world, seed, seed % 4 == 0 ? 300 : DEADLINE_MS);
	initiator->world = world;
	initiator->depth = 1 + (unsigned)below(initiator, 24);
	for (unsigned i = 0; i < RING_WORLD_VOLUMES * PAGES; i++)
		initiator->pages[i / PAGES][i % PAGES].stamp_count = 1;
	for (unsigned life = 0; life < LIVES && !world->problem[0]; life++) {
		arm(initiator);
		if (!live(initiator, 20 + (unsigned)below(initiator, 1500)) && !world->problem[0])
			die(initiator);
		if (below(initiator, 4) == 0)
			settle(initiator);
	}
	settle(initiator);
	if (!world->problem[0])
		look_at_all(initiator);
	good = !world->problem[0];
	if (!good)
		printf("seed %llu: %s\n", (unsigned long long)seed, world->problem);
	*recoveries += world->boots;
	add_totals(initiator);
	ring_world_free(world);
	sim_keep_free(initiator);
	sim_keep_free(world);
	return good;
}

static void print(uint64_t seeds)
{
	printf("%" PRIu64 " seeds, %" PRIu64 " recoveries, %" PRIu64 " requests (%" PRIu64
	       " late), %" PRIu64 " reads and %" PRIu64
	       " flushes inline; deaths before a step of volumed:",
	       seeds, totals.boots, totals.requests, totals.late, totals.inline_reads,
	       totals.inline_flushes);
	for (unsigned i = V_WELCOMES; i < KILL_POINTS; i++)
		printf("%s %" PRIu64, i == S_PLACES ? "; of the shim:" : "", totals.kills_at[i]);
	printf("\n");
}

int main(int argc, char **argv)
{
	return seeds_main(
		&(struct seeds){
			.name = "sim_ring", .recoveries = 10000, .run = run, .print = print},
		argc, argv);
}
