/* How a volume goes. Detach: no new requests, those under way end, everything durable is uploaded
 * and counted, the remote side closes, a DETACH record is logged, the volume is forgotten. By force
 * and for a deletion: the remote side closes, DETACH is logged, requests end; then, deleting, every
 * object goes. hf_core_leave_step takes the next step whenever something has ended. Core's thread.
 */
#include <stdio.h>

#include "gateway/volumed/core_map.h"
#include "gateway/volumed/core_state.h"

#define DELETE_DEADLINE_S 10u /* of one attempt */
#define DELETE_AGAIN_S    2u  /* after one that failed */

static uint64_t volume_unsaved_bytes(const struct hf_core_volume *volume)
{
	uint64_t sequence = volume->counted_through + 1, bytes = 0;
	struct hf_core_entry *entry;

	while ((entry = hf_core_queue_at(&volume->queue, sequence++)) != NULL)
		bytes += hf_core_entry_lag_bytes(entry);
	return bytes;
}

static void leave_finish(struct hf_core_volume *volume)
{
	struct hf_core *core = volume->core;
	char text[96] = "";

	if (volume->lost_bytes > 0)
		snprintf(text, sizeof text, "%llu bytes of writes were not uploaded and are lost",
			 (unsigned long long)volume->lost_bytes);
	hf_core_volume_set_state(volume, HF_VOLUME_DETACHED, 0, "%s", text);
	hf_core_changes_done(core, &volume->leaving, 0, text);
	hf_core_volume_free(volume);
}

/* ---- Steps -------------------------------------------------------------------------------------
 */

static void detach_logged(struct hf_core_volume *volume, struct hf_core_log *log, uint64_t batch,
			  int status)
{
	(void)log;
	(void)batch;
	if (status != 0) {
		hf_core_changes_done(volume->core, &volume->leaving, status,
				     "the log cannot be written");
		return;
	}
	volume->detach_durable = true;
	hf_core_leave_step(volume);
}

static void deleted(struct hf_remote_delete *deletion);

static void delete_start(struct hf_core_volume *volume)
{
	struct hf_core *core = volume->core;

	core->holds++;
	volume->deletion = (struct hf_remote_delete){.env = core->env,
						     .tenant = volume->config.tenant,
						     .volume = volume->config.volume,
						     .deadline_ns = hf_env_now_ns(core->env) +
								    DELETE_DEADLINE_S * HF_NS_PER_S,
						     .done = deleted};
	volume->deleting_now = true;
	hf_remote_delete_start(&volume->deletion);
}

void hf_core_delete_go_on(struct hf_core_volume *volume)
{
	volume->deleting_now = false;
	hf_core_leave_step(volume);
}

static void deleted(struct hf_remote_delete *deletion)
{
	struct hf_core_volume *volume = hf_container_of(deletion, struct hf_core_volume, deletion);
	struct hf_core *core = volume->core;

	HF_CHECK_MAGIC(volume, HF_CORE_VOLUME_MAGIC);
	hf_core_enter(core);
	core->holds--;
	volume->deleted = deletion->status == 0;
	if (volume->deleted)
		hf_core_delete_go_on(volume);
	else
		hf_env_timer_set(core->env, &volume->upload_timer,
				 hf_env_now_ns(core->env) + DELETE_AGAIN_S * HF_NS_PER_S);
	hf_core_leave(core);
}

static void flushed(struct hf_wlog_flush *flush)
{
	struct hf_core_volume *volume = hf_container_of(flush, struct hf_core_volume, flush);
	struct hf_core *core = volume->core;

	HF_CHECK_MAGIC(volume, HF_CORE_VOLUME_MAGIC);
	hf_core_enter(core);
	core->holds--;
	volume->flushing = false;
	volume->flushed = true;
	hf_core_upload_schedule(core);
	hf_core_leave_step(volume);
	hf_core_leave(core);
}

/* True when every write is in the store and the log says so; until then sees to it. */
static bool leave_is_drained(struct hf_core_volume *volume)
{
	struct hf_core *core = volume->core;

	if (!volume->flushed && volume->home) {
		if (!volume->flushing) {
			volume->flushing = true;
			core->holds++;
			volume->flush.done = flushed;
			hf_wlog_flush(volume->home->wlog, &volume->flush);
		}
		return false;
	}
	if (volume->queue.count == 0 && !volume->opening)
		return hf_core_map_is_checkpointed(volume);
	if (volume->counted_through > volume->uploaded_through)
		hf_core_uploaded_now(volume);
	hf_core_upload_schedule(core);
	if (volume->uploads == 0 && volume->remote && !volume->closing_remote &&
	    volume->counted_through + 1 < volume->next_upload)
		hf_remote_look(volume->remote);
	return false;
}

/* Its records in the log are needed no more. Those that still wait for room there come later, after
 * the DETACH, and go as soon as they are written. */
static void leave_drop_logged(struct hf_core_volume *volume)
{
	struct hf_core_queue *queue = &volume->queue;
	struct hf_core_entry *entry;

	while ((entry = hf_core_queue_at(queue, queue->first_sequence)) != NULL &&
	       entry->logged_ns != 0) {
		hf_core_overlay_drop(volume->overlay, queue->first_sequence, entry, NULL);
		if (queue->first_sequence > volume->counted_through)
			hf_core_segment_counted(volume->core, entry->place.source);
		hf_core_segment_release(volume->core, entry->place.source);
		hf_core_queue_pop(queue);
	}
	volume->lag_bytes = 0;
}

/* What is given up waits for nobody: its requests may wait for room in the log that only the DETACH
 * makes. */
static bool leave_may_go(struct hf_core_volume *volume)
{
	if (hf_core_volume_is_given_up(volume))
		return true;
	return volume->jobs == 0 && !volume->flushing && leave_is_drained(volume);
}

void hf_core_leave_step(struct hf_core_volume *volume)
{
	struct hf_core *core = volume->core;

	if ((volume->state != HF_VOLUME_DETACHING && volume->state != HF_VOLUME_DELETING) ||
	    core->closing || !leave_may_go(volume))
		return;
	if (volume->remote || volume->opening) {
		hf_core_remote_close(volume);
		return;
	}
	if (volume->uploads > 0 || volume->uploaded_busy || volume->attach_records > 0 ||
	    volume->move || volume->copying)
		return;
	if (!volume->detach_logged) {
		volume->lost_bytes = volume_unsaved_bytes(volume);
		volume->detach_logged = true;
		volume->in_log = false;
		if (volume->home) {
			hf_core_control_append(volume->home, HF_RECORD_DETACH, 0, volume, NULL,
					       detach_logged);
			return;
		}
		volume->detach_durable = true;
	}
	if (!volume->detach_durable || volume->deleting_now)
		return;
	leave_drop_logged(volume);
	if (volume->jobs > 0 || volume->flushing)
		return;
	hf_core_results_forget_volume(core, volume->config.volume);
	if (volume->state == HF_VOLUME_DELETING && !volume->deleted)
		delete_start(volume);
	else
		leave_finish(volume);
}

/* ---- Asked -------------------------------------------------------------------------------------
 */

static void leave_start(struct hf_core_volume *volume, enum hf_volume_state state)
{
	struct hf_core *core = volume->core;

	if (volume->state != state) {
		hf_core_volume_set_state(volume, state, 0, "%s", "");
		volume->flushed = false;
		volume->checkpointed = false;
	}
	hf_core_changes_done(core, &volume->attaching, HF_ECANCELED,
			     "the volume was detached meanwhile");
	hf_core_unpark_all(volume, HF_ENOTREADY);
	hf_core_move_abort(volume);
	hf_core_pace_run(volume);
	hf_core_leave_step(volume);
}

static void leave_refuse(struct hf_core *core, struct hf_volume_change *change, int status,
			 const char *text)
{
	change->status = hf_fail(&change->message, status, "%s", text);
	hf_core_change_ended(core, change);
}

static const char *detach_problem(const struct hf_core_volume *volume, int *status)
{
	*status = volume->state == HF_VOLUME_FENCED ? HF_EFENCED : HF_ENOTREADY;
	if (volume->state == HF_VOLUME_DELETING) {
		*status = HF_EBUSY;
		return "the volume is being deleted";
	}
	if (volume->state == HF_VOLUME_FENCED || volume->state == HF_VOLUME_FAILED)
		return volume->queue.count > 0
			       ? "what the log holds cannot be uploaded; detach by force loses it"
			       : NULL;
	if (!volume->has_key && volume->queue.count > 0)
		return "the volume's key is not known yet, so nothing can be uploaded";
	return NULL;
}

void hf_core_detach(struct hf_core *core, struct hf_volume_change *change)
{
	struct hf_core_volume *volume;
	const char *problem;
	int status;

	hf_core_enter(core);
	volume = hf_core_volume_find(core, change->config.volume);
	if (core->closing) {
		leave_refuse(core, change, HF_ECANCELED, "closing");
	} else if (!volume && !change->force && hf_core_logs_are_missing(core)) {
		leave_refuse(core, change, HF_ENOTREADY,
			     "a write log is missing, and what it may hold of the volume was not "
			     "uploaded; detach by force loses it");
	} else if (!volume) {
		change->status = 0;
		hf_core_change_ended(core, change);
	} else if ((problem = detach_problem(volume, &status)) != NULL &&
		   (!change->force || status == HF_EBUSY)) {
		leave_refuse(core, change, status, problem);
	} else {
		volume->force |= change->force;
		hf_list_push_back(&volume->leaving, &change->link);
		leave_start(volume, HF_VOLUME_DETACHING);
	}
	hf_core_leave_later(core);
}

void hf_core_delete(struct hf_core *core, struct hf_volume_change *change)
{
	struct hf_core_volume *volume;

	hf_core_enter(core);
	volume = hf_core_volume_find(core, change->config.volume);
	if (core->closing) {
		leave_refuse(core, change, HF_ECANCELED, "closing");
	} else if (change->config.volume == 0 || (!volume && change->config.tenant == 0)) {
		leave_refuse(core, change, HF_EINVAL,
			     "deleting needs the volume's number and its tenant's");
	} else {
		if (!volume) {
			volume = hf_core_volume_create(core, &change->config);
			volume->detach_logged = volume->detach_durable = true;
		}
		hf_list_push_back(&volume->leaving, &change->link);
		leave_start(volume, HF_VOLUME_DELETING);
	}
	hf_core_leave_later(core);
}
