/* Both ends of the real ring in the simulated world: the ring's host (gateway/volumed/ring_host*)
 * over a volume core on host 0's disks, and the ring's client (target/ring_*) as a process on host
 * 1. Sockets, eventfds and shared memory are the kernel's own, but everything runs on one thread,
 * whose turns are drawn from the seed, and the clocks are the world's: a seed replays.
 *
 * A process dies before any of its steps (the functions of tests/ring/kill_points.h, one store
 * each) by a long jump out of whatever it was doing: its heap, its mappings and its descriptors go,
 * as the kernel would see to. */
#ifndef HF_TESTS_SIM_RING_WORLD_H
#define HF_TESTS_SIM_RING_WORLD_H

#include "target/ring_client.h"
#include "tests/ring/kill_points.h"
#include "tests/sim/sim_env.h"

#define RING_WORLD_VOLUMES      2u
#define RING_WORLD_CACHED       1u /* index of the one whose write cache is on */
#define RING_WORLD_VOLUME_BYTES (1ull << 20)

enum ring_process { RING_NOBODY, RING_VOLUMED, RING_SHIM };

struct ring_world {
	struct sim *sim;
	uint32_t deadline_ms; /* of the shim's commands */
	bool created;         /* the volumes exist */
	struct hf_shim *shim;
	struct hf_shim_lun *luns[RING_WORLD_VOLUMES];
	struct volumed *volumed; /* NULL: no process */
	char problem[256];       /* what went wrong, "" */
	uint64_t boots, kills_at[KILL_POINTS];
};

void ring_world_init(struct ring_world *world, uint64_t seed, uint32_t deadline_ms);
void ring_world_free(struct ring_world *world);
void ring_world_fail(struct ring_world *world, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Starts volumed; it may die in the middle of its recovery. False: it did. */
bool ring_world_boot_volumed(struct ring_world *world);
void ring_world_boot_shim(struct ring_world *world);
/* The process dies before its `countdown`th step from now; 0: never. */
void ring_world_arm(enum ring_process process, unsigned countdown);
/* Somebody runs for a little: a turn of a loop, or an event of the world. Who died, if anybody. */
enum ring_process ring_world_turn(struct ring_world *world);
void ring_world_kill_volumed(struct ring_world *world);
void ring_world_kill_shim(struct ring_world *world);
/* Power fails: both are gone, and what no sync covers may be. */
void ring_world_power_cut(struct ring_world *world);

#endif
