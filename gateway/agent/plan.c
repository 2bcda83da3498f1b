/* The planner of plan.h. Pure: no socket, no clock, no memory of its own. */
#include "gateway/agent/plan.h"

#include <string.h>

#include "base/assert.h"
#include "gateway/agent/access.h"
#include "gateway/agent/document.h"
#include "gateway/volumed/core.h"

#define TARGETS_MAX 4096u /* that are looked at; a broker lists no more */

static const struct {
	const char *text;
	enum hf_step undo;
} steps[] = {
	[HF_STEP_NONE] = {"none", HF_STEP_NONE},
	[HF_STEP_ATTACH] = {"attach", HF_STEP_NONE},
	[HF_STEP_CREATE_TARGET] = {"create target", HF_STEP_DELETE_TARGET},
	[HF_STEP_SET_ACCESS] = {"set access", HF_STEP_NONE},
	[HF_STEP_ADD_LUN] = {"add LUN", HF_STEP_REMOVE_LUN},
	[HF_STEP_REMOVE_LUN] = {"remove LUN", HF_STEP_NONE},
	[HF_STEP_DELETE_TARGET] = {"delete target", HF_STEP_NONE},
	[HF_STEP_DETACH] = {"detach", HF_STEP_NONE},
	[HF_STEP_REMOVE] = {"remove", HF_STEP_NONE},
};

const char *hf_step_text(enum hf_step step)
{
	HF_ASSERT(step <= HF_STEP_REMOVE);
	return steps[step].text;
}

enum hf_step hf_step_undo(enum hf_step step)
{
	HF_ASSERT(step <= HF_STEP_REMOVE);
	return steps[step].undo;
}

/* ---- What is there ---- */

const Holdfast__VolumedVolume *hf_actual_volume(const struct hf_actual *actual, uint64_t volume)
{
	size_t low = 0, high = actual->volumed ? actual->volumed->n_volumes : 0;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const Holdfast__VolumedVolume *found = actual->volumed->volumes[middle];

		if (found->volume == volume)
			return found;
		if (found->volume < volume)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* n_targets if there is none of this name. */
static size_t target_index(const Holdfast__BrokerState *state, const char *iqn)
{
	size_t low = 0, high = state->n_targets;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(state->targets[middle]->iqn, iqn);

		if (order == 0)
			return middle;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return state->n_targets;
}

const Holdfast__BrokerTargetState *hf_actual_target(const struct hf_actual *actual, const char *iqn)
{
	size_t index = actual->target ? target_index(actual->target, iqn) : 0;

	return actual->target && index < actual->target->n_targets ? actual->target->targets[index]
								   : NULL;
}

const Holdfast__BrokerLunState *hf_target_lun(const Holdfast__BrokerTargetState *target,
					      uint64_t volume)
{
	for (size_t i = 0; i < target->n_luns; i++)
		if (target->luns[i]->volume == volume)
			return target->luns[i];
	return NULL;
}

const Holdfast__BrokerTargetState *hf_actual_target_of(const struct hf_actual *actual,
						       uint64_t volume)
{
	for (size_t i = 0; actual->target && i < actual->target->n_targets; i++)
		if (hf_target_lun(actual->target->targets[i], volume))
			return actual->target->targets[i];
	return NULL;
}

/* tgt 1.0.85, print_disksize(). */
static uint64_t tgt_megabytes(uint64_t size_bytes)
{
	uint64_t sectors = size_bytes / 512;

	return (sectors - (sectors / 625 - 974)) / 1950;
}

bool hf_lun_has_size(const Holdfast__BrokerLunState *lun, uint64_t size_bytes)
{
	return lun->block_size == 0 /* a broker that does not tell */ ||
	       lun->size_mb >= tgt_megabytes(size_bytes);
}

/* ---- Steps ---- */

static void add(struct hf_plan *plan, enum hf_step step)
{
	HF_ASSERT(plan->count < HF_PLAN_MAX);
	plan->steps[plan->count++] = step;
}

static bool attach_is_done(const Holdfast__Volume *entry, const struct hf_done *done,
			   const struct hf_actual *actual)
{
	const Holdfast__VolumedVolume *volume = hf_actual_volume(actual, entry->volume);

	return volume && done->attached_version == entry->version &&
	       done->attached_pid == actual->volumed->pid && volume->state != HF_VOLUME_DETACHED &&
	       volume->attach_epoch == entry->attach_epoch;
}

static bool access_is_done(const Holdfast__Volume *entry, const struct hf_done *done,
			   const struct hf_actual *actual,
			   const Holdfast__BrokerTargetState *target)
{
	return target && done->access_version == entry->version &&
	       done->access_boot_length == actual->target->boot.len &&
	       (done->access_boot_length == 0 ||
		memcmp(done->access_boot, actual->target->boot.data, done->access_boot_length) ==
			0) &&
	       hf_access_matches(entry, target);
}

/* A target with a LUN that should not be there, or with ours at another number, is made anew: it
 * can only come from a document that is no longer in force. */
static bool target_is_wrong(const Holdfast__Volume *entry,
			    const Holdfast__BrokerTargetState *target)
{
	for (size_t i = 0; i < target->n_luns; i++)
		if (target->luns[i]->lun != 0 && (target->luns[i]->lun != entry->lun ||
						  target->luns[i]->volume != entry->volume))
			return true;
	return false;
}

static void plan_target(const Holdfast__Volume *entry, const struct hf_done *done,
			const struct hf_actual *actual, struct hf_plan *plan)
{
	const Holdfast__BrokerTargetState *target = hf_actual_target(actual, entry->target);
	const Holdfast__BrokerLunState *lun;

	if (target && target_is_wrong(entry, target)) {
		add(plan, HF_STEP_DELETE_TARGET);
		target = NULL;
	}
	if (!target)
		add(plan, HF_STEP_CREATE_TARGET);
	if (!access_is_done(entry, done, actual, target))
		add(plan, HF_STEP_SET_ACCESS);
	lun = target ? hf_target_lun(target, entry->volume) : NULL;
	if (!lun)
		add(plan, HF_STEP_ADD_LUN);
	else if (!hf_lun_has_size(lun, entry->size_bytes))
		plan->waiting = true; /* volumed tells the shim, which tells initiators */
}

static void plan_attached(const Holdfast__Volume *entry, const struct hf_done *done,
			  const struct hf_actual *actual, struct hf_plan *plan)
{
	if (actual->volumed_known && !attach_is_done(entry, done, actual))
		add(plan, HF_STEP_ATTACH);
	/* A LUN opens while volumed is away, and its commands wait; but a volume that was never
	 * made must not be shown. */
	if (!actual->volumed_known) {
		plan->waiting = true;
		if (entry->create)
			return;
	}
	if (actual->target_known)
		plan_target(entry, done, actual, plan);
	else
		plan->waiting = true;
}

/* Takes the volume's LUN and target away; false if that cannot be known to be done. */
static bool plan_hide(const Holdfast__BrokerTargetState *target, uint64_t volume,
		      const struct hf_actual *actual, struct hf_plan *plan)
{
	if (!actual->target_known) {
		plan->waiting = true;
		return false;
	}
	if (target && hf_target_lun(target, volume))
		add(plan, HF_STEP_REMOVE_LUN);
	if (target)
		add(plan, HF_STEP_DELETE_TARGET);
	return true;
}

static void plan_detached(const Holdfast__Volume *entry, const struct hf_actual *actual,
			  struct hf_plan *plan)
{
	const Holdfast__VolumedVolume *volume = hf_actual_volume(actual, entry->volume);

	if (!plan_hide(hf_actual_target(actual, entry->target), entry->volume, actual, plan))
		return;
	if (!actual->volumed_known)
		plan->waiting = true;
	else if (volume && volume->state != HF_VOLUME_DETACHED)
		add(plan, HF_STEP_DETACH);
}

void hf_plan_volume(const Holdfast__Volume *entry, const struct hf_done *done,
		    const struct hf_actual *actual, struct hf_plan *plan)
{
	memset(plan, 0, sizeof *plan);
	if (entry->attachment == HOLDFAST__ATTACHMENT__ATTACHED)
		plan_attached(entry, done, actual, plan);
	else
		plan_detached(entry, actual, plan);
}

void hf_plan_tombstone(const Holdfast__Tombstone *tombstone, const struct hf_done *done,
		       const struct hf_actual *actual, struct hf_plan *plan)
{
	memset(plan, 0, sizeof *plan);
	if (!plan_hide(hf_actual_target_of(actual, tombstone->volume), tombstone->volume, actual,
		       plan))
		return;
	if (done->removed_version == tombstone->version)
		return;
	if (actual->volumed_known)
		add(plan, HF_STEP_REMOVE);
	else
		plan->waiting = true;
}

const char *hf_plan_stray_target(const Holdfast__Document *document, const struct hf_actual *actual,
				 bool (*is_here)(void *context, uint64_t volume), void *context)
{
	const Holdfast__BrokerState *state = actual->target;
	bool wanted[TARGETS_MAX] = {false};

	if (!state)
		return NULL;
	for (size_t i = 0; i < document->n_volumes; i++) {
		size_t index = target_index(state, document->volumes[i]->target);

		if (index < TARGETS_MAX &&
		    (!is_here || is_here(context, document->volumes[i]->volume)))
			wanted[index] = true;
	}
	for (size_t i = 0; i < state->n_targets && i < TARGETS_MAX; i++) {
		bool leaving = false;

		for (size_t j = 0; j < document->n_tombstones && !wanted[i] && !leaving; j++)
			leaving = hf_target_lun(state->targets[i],
						document->tombstones[j]->volume) != NULL;
		if (!wanted[i] && !leaving)
			return state->targets[i]->iqn;
	}
	return NULL;
}

/* ---- Portals ---- */

bool hf_portal_is(const char *listed, const char *portal)
{
	size_t length = strcspn(listed, ",");

	return strlen(portal) == length && strncmp(listed, portal, length) == 0;
}

const char *hf_plan_stray_portal(const struct hf_actual *actual, const char *portal)
{
	for (size_t i = 0; actual->target && i < actual->target->n_portals; i++)
		if (!hf_portal_is(actual->target->portals[i], portal))
			return actual->target->portals[i];
	return NULL;
}

bool hf_portal_is_open(const struct hf_actual *actual, const char *portal)
{
	for (size_t i = 0; actual->target && i < actual->target->n_portals; i++)
		if (hf_portal_is(actual->target->portals[i], portal))
			return true;
	return false;
}
