/* The inside of a simulated world, shared by sim_env.c (clock, events, death), sim_io.c (the env
 * table's disk and work operations) and sim_store_io.c (its store operations). */
#ifndef HF_TESTS_SIM_WORLD_H
#define HF_TESTS_SIM_WORLD_H

#include "tests/sim/disk.h"
#include "tests/sim/events.h"
#include "tests/sim/heap.h"
#include "tests/sim/sim_env.h"
#include "tests/sim/store.h"

struct sim_host {
	struct hf_env env;
	struct sim *sim;
	unsigned index;
	uint64_t boot_ns; /* the world's time minus the process's */
	struct sim_heap heap;
	struct sim_disk disks[SIM_DISKS_MAX];
	struct hf_list disk_ios;  /* under way: struct sim_disk_job */
	struct hf_list store_ios; /* under way: struct sim_store_job */
};

struct sim {
	struct sim_config config;
	uint64_t now_ns;
	int64_t wall_jump_ms;
	struct sim_events events;
	struct sim_event *running; /* NULL: nothing; nobody dies inside one */
	struct sim_rng world_rng, process_rng, test_rng;
	struct sim_store store;
	bool store_away;
	const char *store_fail_part;
	int store_fail_status;
	struct sim_counts counts;
	unsigned host_count;
	struct sim_host hosts[SIM_HOSTS_MAX];
};

static inline struct sim_host *sim_host_of(struct hf_env *env)
{
	return hf_container_of(env, struct sim_host, env);
}

/* A delay around `mean_ns`, now and then ten times as long. */
uint64_t sim_delay_ns(struct sim *sim, uint64_t mean_ns);
/* An event of the host's process (or, with `host` NULL, of nobody's) after `delay_ns`. */
struct sim_event *sim_schedule(struct sim *sim, struct sim_host *host, uint64_t delay_ns,
			       void (*run)(struct sim_event *), void *object);

/* The env table's rows in sim_io.c and sim_store_io.c. */
void sim_disk_submit(struct hf_env *env, struct hf_disk_io *io);
void sim_work_submit(struct hf_env *env, struct hf_work *work);
void sim_store_submit(struct hf_env *env, struct hf_store_io *io);

/* What becomes of the operations under way when their process dies. */
void sim_disk_ios_die(struct sim_host *host);
void sim_store_ios_die(struct sim_host *host);

#endif
