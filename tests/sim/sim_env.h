/* The simulator's world: a deterministic implementation of base/env.h in virtual time. A world
 * holds one object store and one or more hosts; a host has disks that survive its processes, and
 * at any moment one process, whose environment is sim_env(). Everything that could go either way
 * (delays, order of completions, what a power cut leaves) is drawn from the seed, so that a seed
 * replays a run exactly. Single-threaded; nothing happens but inside sim_step and its relatives.
 *
 * The death of a process. sim_kill and sim_power_cut end the process of a host: nothing it had
 * under way is ever `done`, its timers never fire, and everything that was allocated on its heap
 * is freed, as an operating system does. To that end a program that links hf_sim has malloc,
 * calloc, realloc, free, strdup, posix_memalign and aligned_alloc wrapped: memory belongs to the
 * host that is selected (the one whose event runs; sim_select for calls from outside). Memory of
 * the test itself, which must outlive a process, comes from sim_keep_*. Pointers of the product
 * (logs, cores) are dangling after a death: drop them. The next process boots with sim_env() again,
 * over what the disks and the store hold. */
#ifndef HF_TESTS_SIM_ENV_H
#define HF_TESTS_SIM_ENV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"

#define SIM_HOSTS_MAX 4u
#define SIM_DISKS_MAX 4u

struct sim;

/* Zero means the default in brackets. Chances are per million operations. */
struct sim_config {
	uint64_t seed;
	unsigned host_count;                     /* [1] */
	unsigned disk_count;                     /* of each host [1] */
	uint64_t disk_size_bytes[SIM_DISKS_MAX]; /* multiple of 4096 [4 MiB] */
	uint64_t disk_delay_ns;                  /* mean of a disk operation [100 us] */
	uint64_t store_delay_ns;                 /* mean of a store operation [20 ms] */
	uint64_t work_delay_ns;                  /* mean of a work job [200 us] */
	uint64_t store_deadline_ns;              /* where an operation names none [60 s] */
	uint32_t write_error_chance;             /* HF_EIO, any subset of the sectors written */
	uint32_t sync_error_chance;              /* HF_EIO, see sim_fail_disk */
	uint32_t store_error_chance;             /* HF_EAGAIN, HF_ECONN or HF_ETIMEDOUT; a PUT or
						    DELETE may have had its effect, or have it later */
	bool keep_torn_whole; /* power cuts lose or keep whole writes, never parts (for finding out
				 whether a failure needs tearing) */
};

struct sim *sim_create(const struct sim_config *config);
/* A world whose store starts with what `other`'s store holds now (shared, not copied). */
struct sim *sim_create_with_store(const struct sim_config *config, const struct sim *other);
void sim_destroy(struct sim *sim);

/* ---- Running --------------------------------------------------------------------------------- */

/* The environment of the host's process; the same pointer until the process dies. */
struct hf_env *sim_env(struct sim *sim, unsigned host);
/* Whose heap calls from outside events allocate on; 0 at first. */
void sim_select(struct sim *sim, unsigned host);

/* Runs the next event, whatever time it is due; false if there is none. */
bool sim_step(struct sim *sim);
/* Steps until `until(context)` is true; false if `limit_ns` of virtual time passed or nothing is
 * left to happen. */
bool sim_wait(struct sim *sim, bool (*until)(void *context), void *context, uint64_t limit_ns);
/* The same for a flag that a callback sets. */
bool sim_wait_flag(struct sim *sim, const bool *flag, uint64_t limit_ns);
/* Everything that is due within `duration_ns`. */
void sim_run(struct sim *sim, uint64_t duration_ns);
/* Nanoseconds since the world began. A process sees another clock: it starts anew at a boot. */
uint64_t sim_now_ns(const struct sim *sim);
/* The wall clock jumps (it also runs). */
void sim_wall_jump(struct sim *sim, int64_t jump_ms);

/* The test's own draws, from the same seed but a stream of their own. */
uint64_t sim_random(struct sim *sim);
/* 0 … bound - 1; bound > 0. */
uint64_t sim_random_below(struct sim *sim, uint64_t bound);

/* ---- Death (never called from inside an event) ----------------------------------------------- */

/* The process dies, the machine stays: completed writes are there, those under way in any part,
 * none of them durable yet. PUTs under way may still land, even seconds later. */
void sim_kill(struct sim *sim, unsigned host);
/* Power fails: as sim_kill, and of what no SYNC covers any subset of sectors is lost. */
void sim_power_cut(struct sim *sim, unsigned host);
/* For a test that leaves an event by a long jump, because its process dies in the middle of it:
 * nothing runs any more. sim_kill or sim_power_cut of that process follows. Harmless outside. */
void sim_abandon_event(struct sim *sim);
/* The disk is replaced by an empty one (zeros). Between processes only. */
void sim_disk_replace(struct sim *sim, unsigned host, unsigned disk);

/* ---- Faults ---------------------------------------------------------------------------------- */

/* After `countdown` more operations of this kind, the next `count` fail with `status` (HF_EIO,
 * HF_ENOSPC). A failed WRITE leaves any subset of its sectors. A failed SYNC makes any subset of
 * what it covers durable, and the rest never will be, though reads still show it and later SYNCs
 * succeed: what Linux does. */
void sim_fail_disk(struct sim *sim, unsigned host, unsigned disk, enum hf_disk_op op,
		   unsigned countdown, unsigned count, int status);
/* The store is away (true): operations wait for its return or their deadline. */
void sim_store_outage(struct sim *sim, bool away);
/* Operations on names that contain `part` fail with `status` until NULL is set. The text is kept
 * by reference. */
void sim_store_fail_names(struct sim *sim, const char *part, int status);
/* Changes the chances of the configuration from now on. */
void sim_chances(struct sim *sim, uint32_t write_error, uint32_t sync_error, uint32_t store_error);

/* ---- Looking and touching from outside ------------------------------------------------------- */

/* What a read of the disk would give now; `size_bytes` of it. Writing there damages the media. */
const uint8_t *sim_disk_bytes(const struct sim *sim, unsigned host, unsigned disk);
void sim_disk_poke(struct sim *sim, unsigned host, unsigned disk, uint64_t offset,
		   const void *bytes, size_t length);

struct sim_counts {
	uint64_t reads, writes, syncs, read_bytes, written_bytes;
	uint64_t puts, gets, lists, deletes;
	uint64_t events;
};
void sim_counts(const struct sim *sim, struct sim_counts *counts);

/* The store's objects in byte order of their names; NULL past the end. Valid until the next
 * event. */
struct sim_object {
	char name[HF_STORE_NAME_MAX + 1];
	const uint8_t *bytes;
	size_t length;
};
const struct sim_object *sim_store_at(const struct sim *sim, unsigned index);
const struct sim_object *sim_store_find(const struct sim *sim, const char *name);
/* Replaces or creates (length > 0 or not), or deletes (bytes NULL) an object. */
void sim_store_poke(struct sim *sim, const char *name, const void *bytes, size_t length);

/* ---- Memory of the test ---------------------------------------------------------------------- */

void *sim_keep_alloc(size_t size); /* zeroed, never NULL */
void *sim_keep_resize(void *memory, size_t size);
void sim_keep_free(void *memory);
/* Bytes that the selected host's process has allocated now (for leak checks). */
size_t sim_heap_count(const struct sim *sim, unsigned host);

#endif
