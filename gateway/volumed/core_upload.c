/* When records go into the store, and what follows when the store counts them. Core's thread.
 *
 *   durable records → gathered → an object (core_object.c) → PUT → counted by a look at the claims
 *   (`advanced`) → UPLOADED record durable → overlay entries dropped, segments released
 *
 * An object closes when it is full, when its first record has waited long enough, at a SNAPSHOT and
 * when the volume is leaving. It ends only where an append ends: no write is cut in two. Several
 * are under way at once, of one volume or of many; volumes take turns. */
#include "gateway/volumed/core_internal.h"

#define UPLOADED_AFTER_NS HF_NS_PER_S

/* ---- Gathering ---------------------------------------------------------------------------------
 */

static void gather_reset(struct hf_core_volume *volume)
{
	volume->gather_next = volume->next_upload;
	volume->gather_last = 0;
	volume->gather_bytes = 0;
	volume->gather_records = 0;
	volume->gather_full = false;
}

static void gather_one(struct hf_core_volume *volume, const struct hf_core_entry *entry)
{
	if (entry->type == HF_RECORD_DATA)
		volume->gather_bytes += entry->length * HF_UNIT;
	volume->gather_records++;
	if (entry->ends_append) {
		volume->gather_last = volume->gather_next;
		volume->gather_full =
			volume->gather_bytes >= volume->core->config.object_bytes ||
			volume->gather_records >= volume->core->config.object_records ||
			entry->type == HF_RECORD_SNAPSHOT;
	}
	volume->gather_next++;
}

/* Takes in what became durable since the last look. */
static void gather(struct hf_core_volume *volume)
{
	if (volume->gather_next < volume->next_upload)
		gather_reset(volume);
	while (!volume->gather_full && volume->gather_next <= volume->durable_sequence) {
		struct hf_core_entry *entry = hf_core_queue_at(&volume->queue, volume->gather_next);

		HF_ASSERT(entry != NULL);
		gather_one(volume, entry);
	}
}

static bool upload_is_due(struct hf_core_volume *volume)
{
	struct hf_core *core = volume->core;
	uint64_t due_ns;

	if (!volume->remote || volume->closing_remote ||
	    (volume->state != HF_VOLUME_ATTACHED && volume->state != HF_VOLUME_DETACHING))
		return false;
	gather(volume);
	if (volume->gather_last == 0)
		return false;
	if (volume->gather_full || volume->state == HF_VOLUME_DETACHING)
		return true;
	due_ns = hf_core_queue_at(&volume->queue, volume->next_upload)->logged_ns +
		 core->config.object_timer_ms * HF_NS_PER_MS;
	if (due_ns <= hf_env_now_ns(core->env))
		return true;
	if (!volume->upload_timer.armed || volume->upload_timer.due_ns > due_ns)
		hf_env_timer_set(core->env, &volume->upload_timer, due_ns);
	return false;
}

static bool has_trouble(const struct hf_core_volume *volume)
{
	return volume->remote && hf_remote_trouble(volume->remote) != 0;
}

/* Objects under way of volumes that the store takes, or that it does not take now. */
static unsigned uploads_of(const struct hf_core *core, bool trouble)
{
	unsigned count = 0;

	hf_list_for_each (cursor, &core->volumes) {
		const struct hf_core_volume *volume =
			hf_container_of(cursor, struct hf_core_volume, link);

		if (volume->uploads > 0 && has_trouble(volume) == trouble)
			count += volume->uploads;
	}
	return count;
}

/* One whose objects the store refuses takes no place from the others: it has one attempt under way
 * beside them. */
static bool may_upload(const struct hf_core_volume *volume)
{
	const struct hf_core *core = volume->core;

	if (core->uploads == 0)
		return true;
	if (has_trouble(volume))
		return volume->uploads == 0 && uploads_of(core, true) < core->config.uploads_max;
	return core->uploads < core->config.uploads_max ||
	       uploads_of(core, false) < core->config.uploads_max;
}

static bool upload_start_one(struct hf_core *core)
{
	hf_list_for_each (cursor, &core->volumes) {
		struct hf_core_volume *volume =
			hf_container_of(cursor, struct hf_core_volume, link);
		uint64_t first = volume->next_upload;

		if (!upload_is_due(volume) || !may_upload(volume))
			continue;
		volume->next_upload = volume->gather_last + 1;
		volume->uploads++;
		core->uploads++;
		hf_core_object_start(volume, first, volume->gather_last);
		gather_reset(volume);
		hf_list_remove(&volume->link);
		hf_list_push_back(&core->volumes, &volume->link);
		return true;
	}
	return false;
}

void hf_core_upload_schedule(struct hf_core *core)
{
	if (core->closing || core->recovering)
		return;
	while (core->uploads < 2 * core->config.uploads_max && upload_start_one(core))
		continue;
}

void hf_core_object_ended(struct hf_core_volume *volume)
{
	HF_ASSERT(volume->uploads > 0 && volume->core->uploads > 0);
	volume->uploads--;
	volume->core->uploads--;
	hf_core_upload_schedule(volume->core);
	hf_core_remote_open_again(volume);
	hf_core_leave_step(volume);
}

/* ---- What the store counts ---------------------------------------------------------------------
 */

/* The recovery point moves: what it passes is lag no more. */
void hf_core_upload_counted(struct hf_core_volume *volume, uint64_t through)
{
	const struct hf_core_queue *queue = &volume->queue;

	while (volume->counted_through < through) {
		uint64_t sequence = volume->counted_through + 1;
		struct hf_core_entry *entry = hf_core_queue_at(queue, sequence);

		if (entry) {
			volume->drained_bytes += hf_core_entry_lag_bytes(entry);
			if (sequence <= volume->durable_sequence)
				volume->lag_bytes -= hf_core_entry_lag_bytes(entry);
			hf_core_segment_counted(volume->core, entry->place.source);
		} else if (queue->count > 0 && queue->first_sequence > sequence &&
			   queue->first_sequence <= through) {
			sequence = queue->first_sequence - 1;
		} else {
			sequence = through;
		}
		volume->counted_through = sequence;
	}
}

bool hf_core_upload_covered(struct hf_core_volume *volume, uint64_t through, unsigned *entries)
{
	struct hf_core_queue *queue = &volume->queue;

	hf_core_upload_counted(volume, through);
	while (queue->count > 0 && queue->first_sequence <= through) {
		uint64_t sequence = queue->first_sequence;
		struct hf_core_entry *entry = hf_core_queue_at(queue, sequence);

		if (*entries == 0)
			return false;
		--*entries;
		hf_core_overlay_drop(volume->overlay, sequence, entry,
				     volume->core->config.keep_bytes ? volume->clean : NULL);
		hf_core_segment_release(volume->core, entry->place.source);
		hf_core_queue_pop(queue);
	}
	if (volume->uploaded_through < through)
		volume->uploaded_through = through;
	if (volume->stay_count > 0 && !volume->move && !volume->copying)
		hf_core_stays_trim(volume);
	if (volume->next_sequence <= through)
		volume->next_sequence = through + 1;
	return true;
}

void hf_core_upload_advanced(void *context, uint64_t recovery_point)
{
	struct hf_core_volume *volume = context;
	struct hf_core *core;

	HF_CHECK_MAGIC(volume, HF_CORE_VOLUME_MAGIC);
	core = volume->core;
	hf_core_enter(core);
	if (recovery_point >= volume->next_upload) {
		hf_core_volume_stop(volume, HF_VOLUME_FAILED, HF_ECORRUPT,
				    "the store counts what was not uploaded from here");
	} else {
		hf_core_upload_counted(volume, recovery_point);
		if (volume->state == HF_VOLUME_DETACHING)
			hf_core_uploaded_now(volume);
		else if (!core->uploaded_timer.armed)
			hf_env_timer_set(core->env, &core->uploaded_timer,
					 hf_env_now_ns(core->env) + UPLOADED_AFTER_NS);
	}
	hf_core_leave(core);
}
