/* From difference to steps, pure: what is to be done for one volume so that tgtd and volumed become
 * what the document says. The same difference gives the same steps; no difference gives none.
 *
 *   attached    attach → create target → set access → add LUN
 *   detached    remove LUN → delete target → detach
 *   tombstone   remove LUN → delete target → remove
 *
 * Only what is missing is planned. Steps that need a process that does not answer are left out, and
 * `waiting` says so: the volume is planned again when it is back. */
#ifndef HF_GATEWAY_AGENT_PLAN_H
#define HF_GATEWAY_AGENT_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "proto/document.pb-c.h"
#include "proto/local.pb-c.h"

#define HF_BOOT_MAX 32u /* bytes of tgtd's boot identity */

enum hf_step {
	HF_STEP_NONE = 0,
	HF_STEP_ATTACH,
	HF_STEP_CREATE_TARGET,
	HF_STEP_SET_ACCESS,
	HF_STEP_ADD_LUN,
	HF_STEP_REMOVE_LUN,
	HF_STEP_DELETE_TARGET,
	HF_STEP_DETACH,
	HF_STEP_REMOVE,
};
#define HF_PLAN_MAX 6u

const char *hf_step_text(enum hf_step step);
/* What takes a step back when a later one of the same plan fails; HF_STEP_NONE: it stays. An attach
 * stays: undoing it would upload and forget the volume, and without a LUN nobody can reach it.
 * Access goes with its target. What takes something away is not taken back: trying again is the
 * only way forward. */
enum hf_step hf_step_undo(enum hf_step step);

/* What was done for a volume, as far as it cannot be seen. */
struct hf_done {
	uint64_t attached_version, attached_pid; /* of volumed, then */
	uint64_t access_version;                 /* in this run of tgtd: */
	uint8_t access_boot[HF_BOOT_MAX];
	size_t access_boot_length;
	uint64_t removed_version;
};

/* What is there, of volumed and of one tgtd: volumes by number, targets by name (sources.h). */
struct hf_actual {
	bool volumed_known, target_known; /* else the rest of it is the last that was seen */
	const Holdfast__VolumedStatus *volumed;
	const Holdfast__BrokerState *target;
};

const Holdfast__VolumedVolume *hf_actual_volume(const struct hf_actual *actual, uint64_t volume);
const Holdfast__BrokerTargetState *hf_actual_target(const struct hf_actual *actual,
						    const char *iqn);
/* The target that has a LUN of this volume, or NULL. */
const Holdfast__BrokerTargetState *hf_actual_target_of(const struct hf_actual *actual,
						       uint64_t volume);

/* Has tgtd's LUN at least this size? It tells sizes only in its own rounding, to the megabyte. */
bool hf_lun_has_size(const Holdfast__BrokerLunState *lun, uint64_t size_bytes);
const Holdfast__BrokerLunState *hf_target_lun(const Holdfast__BrokerTargetState *target,
					      uint64_t volume);

struct hf_plan {
	enum hf_step steps[HF_PLAN_MAX];
	unsigned count;
	bool waiting;
};

/* `entry` passed hf_document_check_entry. */
void hf_plan_volume(const Holdfast__Volume *entry, const struct hf_done *done,
		    const struct hf_actual *actual, struct hf_plan *plan);
void hf_plan_tombstone(const Holdfast__Tombstone *tombstone, const struct hf_done *done,
		       const struct hf_actual *actual, struct hf_plan *plan);

/* A target that is in tgtd and belongs to no entry whose place is there (`is_here`; NULL: all are):
 * its name, or NULL. One whose LUN is of a tombstone is not among them: it goes by that volume's
 * plan. */
const char *hf_plan_stray_target(const Holdfast__Document *document, const struct hf_actual *actual,
				 bool (*is_here)(void *context, uint64_t volume), void *context);

/* ---- Portals ---- */

/* Is this the portal of tgtd's list? "host:port" and "host:port,group" are the same. */
bool hf_portal_is(const char *listed, const char *portal);
/* A portal that is open and is not `portal`, or NULL. */
const char *hf_plan_stray_portal(const struct hf_actual *actual, const char *portal);
bool hf_portal_is_open(const struct hf_actual *actual, const char *portal);

#endif
