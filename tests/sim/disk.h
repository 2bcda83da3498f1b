/* One virtual disk: what reads see, and beneath it what a loss of power leaves. A write shows at
 * once when it completes and waits in the list of unsynced writes until a SYNC makes it stable.
 * Timing belongs to sim_env.c; this file has the effects. */
#ifndef HF_TESTS_SIM_DISK_H
#define HF_TESTS_SIM_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/env.h"
#include "tests/sim/rng.h"

struct sim_disk_fault {
	bool armed;
	unsigned countdown, count;
	int status;
};

struct sim_disk {
	uint64_t size_bytes;
	uint8_t *current; /* what reads see */
	uint8_t *stable;  /* what survives a loss of power */
	uint8_t *differs; /* by page: written since the last loss of power */
	struct hf_list unsynced;
	uint64_t writes_completed; /* the number a SYNC notes when it is submitted */
	struct sim_disk_fault faults[3];
};

void sim_disk_init(struct sim_disk *disk, uint64_t size_bytes);
void sim_disk_free(struct sim_disk *disk);
/* All zeros, all stable. */
void sim_disk_clear(struct sim_disk *disk);

void sim_disk_read(const struct sim_disk *disk, uint64_t offset, const struct iovec *iov,
		   unsigned iov_count);
void sim_disk_write(struct sim_disk *disk, uint64_t offset, const struct iovec *iov,
		    unsigned iov_count);
/* Any subset of the sectors: a write that failed, or was under way at a death. */
void sim_disk_write_part(struct sim_disk *disk, uint64_t offset, const struct iovec *iov,
			 unsigned iov_count, struct sim_rng *rng, bool whole_only);
/* Makes the first `through` completed writes stable. */
void sim_disk_sync(struct sim_disk *disk, uint64_t through);
/* As a failed SYNC: a subset becomes stable, the rest of them never will. */
void sim_disk_sync_fail(struct sim_disk *disk, uint64_t through, struct sim_rng *rng);
void sim_disk_power_cut(struct sim_disk *disk, struct sim_rng *rng, bool whole_only);
/* From outside: seen and stable at once. */
void sim_disk_damage(struct sim_disk *disk, uint64_t offset, const void *bytes, size_t length);
/* Counts one operation against the faults; the status it ends with. */
int sim_disk_fault_next(struct sim_disk *disk, enum hf_disk_op op);

#endif
