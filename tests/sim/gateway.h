/* A gateway in the simulated world: one process with a volume core on host 0, and a shim that
 * submits the model's requests and remembers, across deaths of the process, what it has not seen
 * the end of. */
#ifndef HF_TESTS_SIM_GATEWAY_H
#define HF_TESTS_SIM_GATEWAY_H

#include "tests/sim/model.h"
#include "tests/sim/sim_env.h"
#include "tests/sim/tier.h"

#define GATEWAY_DEPTH_MAX 24u /* requests that the shim has under way */

/* The disks of the host: the first log's, the read cache's, the other logs'. */
#define GATEWAY_CACHE_DISK 1u

static inline unsigned gateway_disk_of(unsigned log)
{
	return log < GATEWAY_CACHE_DISK ? log : log + 1;
}

struct gateway {
	struct sim *sim;
	struct model *model;
	struct hf_core *core; /* NULL between processes */
	struct hf_core_open open;
	bool opened;
	struct sim_tier tier;
	uint8_t ring[16], dead_ring[16]; /* dead_ring: to be forgotten at the next start */
	/* What the shim has submitted and not seen the end of, by id. */
	struct model_op *flight[GATEWAY_DEPTH_MAX];
	struct model_op *cancelling;            /* one of them, or NULL */
	uint32_t ahead_before[MODEL_UNITS_MAX]; /* of its volume, without it */
	unsigned flight_count;
	unsigned undelivered; /* of them have ended, and the shim has not looked yet */
	bool changes_done[MODEL_VOLUMES_MAX];
	struct hf_volume_change changes[MODEL_VOLUMES_MAX];
	bool expect_alarms, closing;
	unsigned log_count;
	bool leaving; /* a volume is being detached: it may be gone after a death */
	unsigned formats;
	struct hf_core_log_change drain;
	uint64_t drains;  /* logs that were removed */
	uint64_t cancels; /* that came in time */
};

void gateway_init(struct gateway *gateway, struct sim *sim, struct model *model);
void gateway_free(struct gateway *gateway);
/* A new, empty log on its disk. */
void gateway_format(struct gateway *gateway, unsigned log);
/* Starts the process and waits until its core is open. */
bool gateway_boot(struct gateway *gateway);
/* Attaches every volume and waits. `create`: they are new. */
bool gateway_attach(struct gateway *gateway, bool create);
/* Attaches one volume; what becomes of it. */
int gateway_attach_one(struct gateway *gateway, unsigned volume);
/* The volume goes to another log, if it may. */
void gateway_move(struct gateway *gateway, unsigned volume, unsigned log);
/* Which log the volume is in; UINT_MAX if none knows it. */
unsigned gateway_log_of(struct gateway *gateway, unsigned volume);
void gateway_attach_start(struct gateway *gateway, bool create);
void gateway_detach_start(struct gateway *gateway, unsigned volume, bool force);
bool gateway_detach_wait(struct gateway *gateway, unsigned volume);
/* False if the log does not know some volume: it has been detached. */
bool gateway_knows_all(const struct gateway *gateway);
/* Stops the process in good order; what was cancelled stays with the shim. No memory may be left.
 */
bool gateway_close(struct gateway *gateway);
/* The process is gone (sim_kill or sim_power_cut was called). `ring_dies`: the shim with it. */
void gateway_died(struct gateway *gateway, bool ring_dies);

void gateway_submit(struct gateway *gateway, struct model_op *op, bool survived);
/* READs that the memory tier alone answers, of every block, also while the process is dead: each is
 * checked as any other read. */
void gateway_check_tier(struct gateway *gateway);
/* Submits and cancels at once; nothing else may be submitted until it has ended: either as it
 * would have, or HF_ECANCELED and then not executed. */
void gateway_submit_cancelled(struct gateway *gateway, struct model_op *op);
/* The shim takes in some of the completions, in order; all: every one. */
void gateway_deliver(struct gateway *gateway, bool all);
/* After a boot: submits again what is unfinished, in order. */
void gateway_resubmit(struct gateway *gateway);
bool gateway_idle(struct gateway *gateway);
/* Waits until nothing is under way. */
bool gateway_settle(struct gateway *gateway);
/* Cuts the model to what survived, checks it against the promises. */
void gateway_check_survival(struct gateway *gateway);
void gateway_check_survival_of(struct gateway *gateway, unsigned volume);
/* Reads every volume through the core and compares it with the model; nothing is under way. */
void gateway_check_content(struct gateway *gateway);
void gateway_check_content_of(struct gateway *gateway, unsigned volume);
/* Drains and removes a log, however long that takes; the next process has it again. */
void gateway_drain(struct gateway *gateway, unsigned log);
/* After a death: this log's disk is gone. What is elsewhere must miss nothing, the rest is refused,
 * and opened from the store (`points`: what that held) when the log is given up. */
void gateway_lose_log(struct gateway *gateway, unsigned log, const uint64_t *points);
/* Notes recovery points as published. */
void gateway_note_points(struct gateway *gateway);

#endif
