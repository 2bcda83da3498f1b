/* The states of volume_state.h. Pure. */
#include "gateway/agent/volume_state.h"

#include "gateway/volumed/core.h"

/* Is it a matter of time (a process or the store is away), and no failure of the volume? */
static bool error_passes(int error)
{
	switch (error) {
	case HF_ECONN:
	case HF_ETIMEDOUT:
	case HF_EAGAIN:
	case HF_ENOTREADY:
	case HF_EBUSY:
	case HF_ECANCELED:
		return true;
	default:
		return false;
	}
}

static void set_error(Holdfast__VolumeReport *report, int error, const char *reason)
{
	report->error = -error;
	report->reason = (char *)(uintptr_t)reason;
}

static void copy_numbers(const Holdfast__VolumedVolume *volume, Holdfast__VolumeReport *report)
{
	report->size_bytes = volume->size_bytes;
	report->recovery_point = volume->recovery_point;
	report->recovery_point_lag_bytes = volume->lag_bytes;
	report->recovery_point_age_ms = volume->age_ms;
	report->bytes_read = volume->read_bytes;
	report->bytes_written = volume->write_bytes;
}

/* True if volumed itself says that the volume cannot be served. */
static bool is_broken(const Holdfast__VolumedVolume *volume)
{
	return volume && (volume->state == HF_VOLUME_FAILED || volume->state == HF_VOLUME_FENCED);
}

static void state_of_attached(const Holdfast__Volume *entry, const struct hf_done *done,
			      const Holdfast__VolumedVolume *volume, const struct hf_actual *actual,
			      const struct hf_plan *plan, const char *portal,
			      Holdfast__VolumeReport *report)
{
	const Holdfast__BrokerTargetState *target = hf_actual_target(actual, entry->target);
	const Holdfast__BrokerLunState *lun = target ? hf_target_lun(target, entry->volume) : NULL;

	if (is_broken(volume) && done->attached_version == entry->version) {
		report->state = HOLDFAST__VOLUME_STATE__VOLUME_FAILED;
		set_error(report, volume->error ? -volume->error : HF_EFENCED, volume->reason);
	} else if (plan->count == 0 && !plan->waiting && volume && target && portal) {
		report->state = HOLDFAST__VOLUME_STATE__VOLUME_AVAILABLE;
		if (volume->error) /* such as: the store is away */
			set_error(report, -volume->error, volume->reason);
	} else {
		report->state = entry->create ? HOLDFAST__VOLUME_STATE__VOLUME_CREATING
					      : HOLDFAST__VOLUME_STATE__VOLUME_ATTACHING;
		if (lun && !hf_lun_has_size(lun, entry->size_bytes))
			report->size_bytes = 0; /* the volume has it, its LUN not yet */
		if (!actual->volumed_known)
			set_error(report, HF_ENOTREADY, "volumed does not answer");
		else if (!actual->target_known)
			set_error(report, HF_ENOTREADY, "the iSCSI target does not answer");
	}
}

static void state_of_going(bool tombstone, const struct hf_plan *plan,
			   Holdfast__VolumeReport *report)
{
	bool gone = plan->count == 0 && !plan->waiting;

	if (tombstone)
		report->state = gone ? HOLDFAST__VOLUME_STATE__VOLUME_DELETED
				     : HOLDFAST__VOLUME_STATE__VOLUME_DELETING;
	else
		report->state = gone ? HOLDFAST__VOLUME_STATE__VOLUME_DETACHED
				     : HOLDFAST__VOLUME_STATE__VOLUME_DETACHING;
}

void hf_volume_state_of(const Holdfast__Volume *entry, const Holdfast__Tombstone *tombstone,
			const struct hf_done *done, const struct hf_actual *actual,
			const struct hf_plan *plan, const char *portal,
			const struct hf_trouble *trouble, Holdfast__VolumeReport *report)
{
	const Holdfast__BrokerTargetState *target;
	const Holdfast__VolumedVolume *volume;

	holdfast__volume_report__init(report);
	report->volume = entry ? entry->volume : tombstone->volume;
	report->version = entry ? entry->version : tombstone->version;
	report->attach_epoch = entry ? entry->attach_epoch : 0;
	volume = hf_actual_volume(actual, report->volume);
	target = entry ? hf_actual_target(actual, entry->target)
		       : hf_actual_target_of(actual, report->volume);
	if (volume)
		copy_numbers(volume, report);
	if (target && hf_target_lun(target, report->volume))
		report->sessions = target->sessions;
	if (portal && entry && entry->attachment == HOLDFAST__ATTACHMENT__ATTACHED)
		report->portal = (char *)(uintptr_t)portal;
	if (entry && entry->attachment == HOLDFAST__ATTACHMENT__ATTACHED)
		state_of_attached(entry, done, volume, actual, plan, portal, report);
	else
		state_of_going(entry == NULL, plan, report);
	if (!trouble->error)
		return;
	set_error(report, trouble->error, trouble->reason);
	if (!error_passes(trouble->error))
		report->state = HOLDFAST__VOLUME_STATE__VOLUME_FAILED;
}
