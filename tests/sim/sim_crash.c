/* Invariants 1 and 2 under thousands of deaths. Each seed is one world: a gateway with several
 * volumes on a small log whose segments are reused many times, a shim that keeps requests under
 * way (overlapping writes, COMPARE AND WRITE, UNMAP of several ranges, flushes, with and without
 * write cache), a store whose answers come out of order and fail now and then. A life ends by a
 * kill, by a loss of power at any event, or with the local disk lost for good. After each death:
 *
 *   - the volume came back with at least what was promised, no append cut in two, and holds exactly
 *     the writes that survived (1);
 *   - what the shim had not seen the end of is submitted again with the same ids and executed once;
 *   - the remote copy, read without the gateway, is exactly a prefix of the writes, which reaches
 *     the published recovery point and holds nothing that a sync had not covered (2).
 *
 * tests/sim/seeds.h has the command line. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "tests/sim/gateway.h"
#include "tests/sim/reader.h"
#include "tests/sim/seeds.h"
#include "tests/sim/store.h"

#define LIVES_MAX  20u
#define DISK_SIZE  (1536u << 10)
#define REFUSED_NS (100 * HF_NS_PER_S) /* below the deadline of reads */
#define CACHE_SIZE (448u << 10)

struct totals {
	uint64_t moves, copies, drains, recoveries, closes, kills, power_cuts, losses, detaches,
		requests, cancels, remote_checks, tier_hits, tier_held;
};

static bool lazy; /* a seed in which nothing asks for a sync */

static uint32_t below(struct sim *sim, uint32_t bound)
{
	return (uint32_t)sim_random_below(sim, bound);
}

/* ---- Requests ----------------------------------------------------------------------------------
 */

static struct model_range random_range(struct sim *sim, const struct model_volume *volume,
				       uint32_t length_max)
{
	struct model_range range;

	range.length = 1 + below(sim, length_max);
	/* Most of the time on a few hot units, so that writes overlap. */
	if (below(sim, 3) > 0)
		range.lba = below(sim, 24);
	else
		range.lba = below(sim, volume->units - range.length + 1);
	return range;
}

/* Half of the reads are of whole blocks, so that some come into the memory tier and are found
 * there. */
static struct model_range random_read(struct sim *sim, const struct model_volume *volume)
{
	struct model_range range = random_range(sim, volume, 20);

	if (below(sim, 2) == 0)
		return range;
	range.length = 8 * (1 + below(sim, 2));
	range.lba = 8 * below(sim, below(sim, 3) > 0 ? 3 : volume->units / 8 - 1);
	return range;
}

static void fill_write(struct model *model, struct model_op *op, uint8_t *bytes)
{
	for (uint32_t u = 0; u < op->ranges[0].length; u++)
		model_unit(model, op->stamp, op->ranges[0].lba + u, bytes + u * HF_UNIT);
}

/* Mostly what the volume will hold when its turn comes; else one byte is wrong. */
static void fill_compare(struct sim *sim, struct model *model, struct model_op *op)
{
	const struct model_volume *volume = &model->volumes[op->volume];
	uint32_t length = op->ranges[0].length;

	op->data_length = 2 * length * HF_UNIT;
	op->data = sim_keep_alloc(op->data_length);
	for (uint32_t u = 0; u < length; u++)
		model_unit(model, volume->ahead[op->ranges[0].lba + u], op->ranges[0].lba + u,
			   op->data + u * HF_UNIT);
	if (below(sim, 4) == 0)
		op->data[below(sim, length * HF_UNIT)] ^= 0x40;
	fill_write(model, op, op->data + length * HF_UNIT);
}

static void fill_unmap(struct sim *sim, struct model_op *op, const struct model_volume *volume)
{
	struct hf_ring_range *ranges;

	op->range_count = 1 + below(sim, MODEL_RANGES_MAX);
	op->data_length = op->range_count * (uint32_t)sizeof *ranges;
	op->data = sim_keep_alloc(op->data_length);
	ranges = (struct hf_ring_range *)(void *)op->data;
	for (unsigned i = 0; i < op->range_count; i++) {
		op->ranges[i] = random_range(sim, volume, 16);
		ranges[i].offset = (volume->first_lba + op->ranges[i].lba) * HF_UNIT;
		ranges[i].length = (uint64_t)op->ranges[i].length * HF_UNIT;
	}
}

static enum hf_op random_op(struct sim *sim)
{
	uint32_t draw = below(sim, 100);

	if (draw < 45)
		return HF_OP_WRITE;
	if (draw < 60)
		return HF_OP_READ;
	if (draw < 72)
		return HF_OP_COMPARE_AND_WRITE;
	if (draw < 82)
		return HF_OP_UNMAP;
	if (draw < 88)
		return HF_OP_WRITE_SAME;
	return draw < 92 || lazy ? HF_OP_ZERO : HF_OP_FLUSH;
}

static struct model_op *random_request(struct sim *sim, struct model *model)
{
	struct model_op *op = model_op_new(model);
	const struct model_volume *volume;

	op->volume = (uint8_t)below(sim, model->volume_count);
	volume = &model->volumes[op->volume];
	op->op = random_op(sim);
	op->fua = !lazy && below(sim, 4) == 0;
	op->range_count = 1;
	op->ranges[0] = random_range(sim, volume, op->op == HF_OP_COMPARE_AND_WRITE ? 8 : 20);
	op->data_length = op->ranges[0].length * HF_UNIT;
	switch (op->op) {
	case HF_OP_READ:
		op->ranges[0] = random_read(sim, volume);
		op->data_length = op->ranges[0].length * HF_UNIT;
		op->data = sim_keep_alloc(op->data_length);
		break;
	case HF_OP_WRITE:
		op->data = sim_keep_alloc(op->data_length);
		fill_write(model, op, op->data);
		break;
	case HF_OP_COMPARE_AND_WRITE:
		fill_compare(sim, model, op);
		break;
	case HF_OP_WRITE_SAME:
		op->zeros = below(sim, 3) == 0;
		op->data_length = HF_UNIT;
		op->data = sim_keep_alloc(HF_UNIT);
		if (!op->zeros)
			model_unit(model, op->stamp, op->ranges[0].lba, op->data);
		break;
	case HF_OP_UNMAP:
		fill_unmap(sim, op, volume);
		break;
	default:
		op->data_length = 0;
		if (op->op == HF_OP_FLUSH)
			op->range_count = 0;
		break;
	}
	return op;
}

/* ---- Lives -------------------------------------------------------------------------------------
 */

/* Works for a number of events; whatever is under way then stays so. */
static void live(struct gateway *gateway, struct totals *totals)
{
	struct sim *sim = gateway->sim;
	uint32_t steps = 10 + below(sim, below(sim, 10) == 0 ? 2000 : 200);
	uint32_t depth = 1 + below(sim, 16);
	bool outage = below(sim, 6) == 0, drains = below(sim, 8) == 0;
	uint64_t until_ns;
	char refused[18] = ""; /* a volume that the store refuses */

	if (outage)
		sim_store_outage(sim, true);
	else if (below(sim, 4) == 0)
		snprintf(refused, sizeof refused, "%016llx/",
			 (unsigned long long)gateway->model
				 ->volumes[below(sim, gateway->model->volume_count)]
				 .number);
	sim_store_fail_names(sim, refused[0] ? refused : NULL, HF_ECONN);
	until_ns = sim_now_ns(sim) + REFUSED_NS;
	while (steps-- > 0 && gateway->model->problem[0] == '\0') {
		if (gateway->flight_count < depth && !gateway->cancelling && below(sim, 2) == 0) {
			struct model_op *op = random_request(sim, gateway->model);

			gateway->flight[gateway->flight_count++] = op;
			if (below(sim, 30) == 0)
				gateway_submit_cancelled(gateway, op);
			else
				gateway_submit(gateway, op, false);
			totals->requests++;
		}
		sim_step(sim);
		if (sim_now_ns(sim) > until_ns)
			sim_store_fail_names(sim, NULL, 0);
		if (below(sim, 4) == 0)
			gateway_deliver(gateway, false);
		if (below(sim, 64) == 0)
			gateway_note_points(gateway);
		if (gateway->log_count > 1 && drains && below(sim, 50) == 0) {
			gateway_drain(gateway, below(sim, gateway->log_count));
			drains = false;
		}
		if (gateway->log_count > 1 && below(sim, 60) == 0) {
			gateway_move(gateway, below(sim, gateway->model->volume_count),
				     below(sim, gateway->log_count));
			totals->moves++;
		}
		if (below(sim, 128) == 0)
			gateway_check_tier(gateway);
	}
	gateway_note_points(gateway);
	sim_store_fail_names(sim, NULL, 0);
	if (outage && below(sim, 2) == 0)
		sim_store_outage(sim, false);
}

static void lose_disks(struct gateway *gateway, const uint64_t *points)
{
	struct model *model = gateway->model;

	for (unsigned i = 0; i < gateway->log_count; i++) {
		sim_disk_replace(gateway->sim, 0, gateway_disk_of(i));
		gateway_format(gateway, i);
	}
	for (unsigned i = 0; i < model->volume_count; i++) {
		struct model_volume *volume = &model->volumes[i];

		/* A PUT that was under way may still land, so it can be more, not less. */
		volume->promised = points[i];
	}
}

/* Back up, and everything as it must be. `points`: what the remote copy held at the death; `lost`:
 * the log with it. */
static void recover(struct gateway *gateway, const uint64_t *points, bool lost)
{
	struct model *model = gateway->model;
	bool away = !lost && below(gateway->sim, 8) == 0;

	if (!gateway_boot(gateway))
		return;
	for (unsigned i = 0; i < model->volume_count; i++)
		if (points[i] > model->volumes[i].promised)
			model->volumes[i].promised = points[i];
	if (gateway->leaving && !gateway_knows_all(gateway)) {
		lost = true; /* the store alone has it */
		away = false;
	}
	if (!lost)
		gateway_check_survival(gateway);
	sim_store_outage(gateway->sim, away);
	if (model->problem[0] != '\0' || !gateway_attach(gateway, false))
		return;
	if (lost)
		gateway_check_survival(gateway);
	if (!away)
		gateway_check_content(gateway);
	if (model->problem[0] != '\0')
		return;
	gateway_resubmit(gateway);
	if (below(gateway->sim, 4) > 0)
		return;
	sim_store_outage(gateway->sim, false);
	if (gateway_settle(gateway))
		gateway_check_content(gateway);
}

/* The cache's disk may hold anything at any time. */
static void rot_cache(struct sim *sim)
{
	uint64_t at = sim_random_below(sim, CACHE_SIZE / HF_UNIT) * HF_UNIT;
	uint8_t bytes[HF_UNIT];

	memcpy(bytes, sim_disk_bytes(sim, 0, GATEWAY_CACHE_DISK) + at, sizeof bytes);
	bytes[below(sim, HF_UNIT)] ^= (uint8_t)(1u << below(sim, 8));
	sim_disk_poke(sim, 0, GATEWAY_CACHE_DISK, at, bytes, sizeof bytes);
}

static void die(struct gateway *gateway, struct totals *totals)
{
	uint64_t points[MODEL_VOLUMES_MAX] = {0};
	struct sim *sim = gateway->sim;
	uint32_t how = below(sim, 100);
	bool check = below(sim, 3) == 0 || how >= 92;

	if (below(sim, 4) == 0)
		rot_cache(sim);
	if (how < 8)
		gateway_close(gateway);
	gateway_check_tier(gateway); /* the shim has not noticed yet */
	if (how < 40) {
		sim_kill(sim, 0);
		gateway_died(gateway, false);
		totals->closes += how < 8;
		totals->kills += how >= 8;
	} else {
		sim_power_cut(sim, 0);
		gateway_died(gateway, how >= 92 || below(sim, 2) == 0);
		totals->power_cuts++;
	}
	if (check) {
		reader_check(sim, gateway->model, points);
		totals->remote_checks++;
	}
	if (how >= 92 && gateway->log_count > 1 && below(sim, 2) == 0) {
		if (gateway->model->problem[0] == '\0')
			gateway_lose_log(gateway, below(sim, gateway->log_count), points);
		totals->recoveries += 2;
		return;
	}
	if (how >= 92 && gateway->model->problem[0] == '\0') {
		lose_disks(gateway, points);
		totals->losses++;
	}
	if (gateway->model->problem[0] == '\0')
		recover(gateway, points, how >= 92);
	totals->recoveries++;
}

static void die_leaving(struct gateway *gateway, struct totals *totals)
{
	for (uint32_t steps = below(gateway->sim, 120); steps > 0; steps--)
		sim_step(gateway->sim);
	gateway->leaving = true;
	die(gateway, totals);
	gateway->leaving = false;
}

/* Sometimes a volume leaves and comes back. In good order nothing may be missing; by force what the
 * store did not count may be, and then never returns. Some die on the way. */
static void leave_and_return(struct gateway *gateway, struct totals *totals)
{
	unsigned index = below(gateway->sim, gateway->model->volume_count);
	struct model_volume *volume = &gateway->model->volumes[index];
	bool force = below(gateway->sim, 2) == 0;
	uint32_t dies = below(gateway->sim, 4);

	sim_store_outage(gateway->sim, false);
	if (!gateway_settle(gateway))
		return;
	gateway_deliver(gateway, true);
	if (force)
		volume->promised = volume->published;
	gateway_detach_start(gateway, index, force);
	totals->detaches++;
	if (dies == 0) {
		die_leaving(gateway, totals);
		return;
	}
	if (!gateway_detach_wait(gateway, index))
		return;
	sim_tier_check_gone(&gateway->tier, index);
	if (!force) {
		volume->published = volume->promised = volume->base_sequence + volume->count;
		model_settle(volume, volume->published);
	}
	volume->epoch++;
	if (dies == 1) {
		gateway_attach_start(gateway, false);
		die_leaving(gateway, totals);
		return;
	}
	if (!gateway_attach(gateway, false))
		return;
	gateway_check_survival_of(gateway, index);
	gateway_check_content(gateway);
}

static void setup_volumes(struct sim *sim, struct model *model)
{
	model->volume_count = 2 + below(sim, 2);
	for (unsigned i = 0; i < model->volume_count; i++) {
		struct model_volume *volume = &model->volumes[i];

		volume->number = 0x1000 + i;
		volume->units = 8 * (8 + below(sim, 56));
		volume->window_bytes = (uint64_t)volume->units * HF_UNIT;
		/* The end of a leaf, now and then of a page of the index, among the hot units. */
		volume->first_lba =
			HF_EXTMAP_LEAF_UNITS * (below(sim, 2) ? 1024u : 3u) - 8 * below(sim, 4);
		volume->write_cache = lazy || below(sim, 2) == 0;
		volume->epoch = 1;
	}
}

static struct sim_config world_config(uint64_t seed)
{
	struct sim_config config = {.seed = seed,
				    .disk_size_bytes[GATEWAY_CACHE_DISK] = CACHE_SIZE};
	unsigned logs = 1 + seed % 3;

	config.disk_count = logs + 1;
	for (unsigned i = 0; i < logs; i++)
		config.disk_size_bytes[gateway_disk_of(i)] = DISK_SIZE;

	config.store_delay_ns = 5 * HF_NS_PER_MS;
	if (seed % 3 == 0)
		config.store_error_chance = 20000;
	if (seed % 4 == 1)
		config.write_error_chance = 500;
	if (seed % 4 == 2)
		config.sync_error_chance = 500;
	return config;
}

/* True if all went well. */
static bool run_seed(uint64_t seed, struct totals *totals)
{
	struct sim_config config = world_config(seed);
	struct sim *sim = sim_create(&config);
	struct model *model = sim_keep_alloc(sizeof *model);
	struct gateway *gateway = sim_keep_alloc(sizeof *gateway);
	bool good;

	lazy = seed % 5 == 0;
	model_init(model);
	gateway_init(gateway, sim, model);
	setup_volumes(sim, model);
	gateway->expect_alarms = config.write_error_chance > 0 || config.sync_error_chance > 0;
	gateway->log_count = config.disk_count - 1;
	for (unsigned i = 0; i < gateway->log_count; i++)
		gateway_format(gateway, i);
	if (gateway_boot(gateway) && gateway_attach(gateway, true))
		for (unsigned life = 0; life < LIVES_MAX && model->problem[0] == '\0'; life++) {
			live(gateway, totals);
			if (model->problem[0] == '\0' && below(sim, 20) == 0)
				leave_and_return(gateway, totals);
			if (model->problem[0] == '\0')
				die(gateway, totals);
		}
	good = model->problem[0] == '\0';
	totals->cancels += gateway->cancels;
	totals->copies += model->copies;
	totals->drains += gateway->drains;
	totals->tier_hits += gateway->tier.hits;
	totals->tier_held += gateway->tier.held;
	if (!good)
		printf("seed %llu: %s\n", (unsigned long long)seed, model->problem);
	sim_destroy(sim);
	gateway_free(gateway);
	model_free(model);
	sim_keep_free(model);
	sim_keep_free(gateway);
	return good;
}

/* ---- The program -------------------------------------------------------------------------------
 */

static struct totals totals;

static bool run(uint64_t seed, uint64_t *recoveries)
{
	uint64_t before = totals.recoveries;
	bool good = run_seed(seed, &totals);

	*recoveries += totals.recoveries - before;
	return good;
}

static void print(uint64_t seeds)
{
	printf("%" PRIu64 " seeds, %" PRIu64 " recoveries: %" PRIu64 " stops, %" PRIu64
	       " kills, %" PRIu64 " losses of power, %" PRIu64 " of them with the disk; %" PRIu64
	       " detaches, %" PRIu64 " moves asked for, %" PRIu64 " copies, %" PRIu64
	       " logs removed, %" PRIu64 " requests (%" PRIu64 " cancelled), %" PRIu64
	       " checks of the remote copy, %" PRIu64 " reads from the memory tier, %" PRIu64
	       " writes kept in it\n",
	       seeds, totals.recoveries, totals.closes, totals.kills, totals.power_cuts,
	       totals.losses, totals.detaches, totals.moves, totals.copies, totals.drains,
	       totals.requests, totals.cancels, totals.remote_checks, totals.tier_hits,
	       totals.tier_held);
	printf("  %" PRIu64 " checkpoints (%" PRIu64 " deleted), %" PRIu64 " parts of them read\n",
	       sim_store_maps.puts, sim_store_maps.deletes, sim_store_maps.block_gets);
}

int main(int argc, char **argv)
{
	return seeds_main(
		&(struct seeds){
			.name = "sim_crash", .recoveries = 20000, .run = run, .print = print},
		argc, argv);
}
