/* The log's owner: takes in what recovery finds, follows records that are written again, learns
 * what became durable, and gives control state to new segments. Core's thread. */
#include <string.h>

#include "gateway/volumed/core_internal.h"

/* ---- Volumes as the log tells them ------------------------------------------------------------
 */

static void recover_forget(struct hf_core_volume *volume)
{
	hf_core_results_forget_volume(volume->core, volume->config.volume);
	hf_core_volume_clear_log(volume);
	hf_core_volume_free(volume);
}

/* Records from before it was last attached were given up by a detach whose record may have been
 * recycled, while another volume keeps the segment that they lie in. */
static bool is_of_a_life_before(const struct hf_core_volume *volume, uint64_t since_batch)
{
	const struct hf_core_entry *oldest =
		hf_core_queue_at(&volume->queue, volume->queue.first_sequence);

	return oldest && oldest->batch < since_batch;
}

/* `batch` is that of the record that says so. */
static void recover_volume(struct hf_core *core, const struct hf_core_state_volume *from,
			   uint64_t batch)
{
	struct hf_core_volume *volume = hf_core_volume_find(core, from->volume);
	uint64_t since_batch = from->since_batch == HF_CORE_SINCE_HERE ? batch : from->since_batch;

	if (volume && is_of_a_life_before(volume, since_batch)) {
		recover_forget(volume);
		volume = NULL;
	}
	if (!volume) {
		struct hf_volume_config config = {.volume = from->volume, .tenant = from->tenant};

		volume = hf_core_volume_create(core, &config);
		volume->counted_through = volume->uploaded_through = from->uploaded_through;
		volume->next_sequence = from->uploaded_through + 1;
		volume->in_log = true;
	}
	volume->config.size_bytes = from->size_bytes;
	volume->config.attach_epoch = from->attach_epoch;
	volume->config.write_cache = from->write_cache;
	volume->since_batch = since_batch;
	volume->held_epoch = from->held_epoch;
	hf_core_upload_covered(volume, from->uploaded_through);
}

struct recover_state {
	struct hf_core *core;
	uint64_t batch;
	const uint8_t *uuid;
};

static void state_volume(void *context, const struct hf_core_state_volume *from)
{
	struct recover_state *state = context;

	recover_volume(state->core, from, state->batch);
	hf_core_volume_find(state->core, from->volume)->accepting = true;
}

static void state_ring(void *context, const uint8_t uuid[16], uint64_t oldest_unfinished)
{
	struct recover_state *state = context;

	hf_core_ring_progress(state->core, uuid, oldest_unfinished);
}

static void state_result(void *context, const uint8_t uuid[16], const struct hf_core_result *result)
{
	struct recover_state *state = context;
	struct hf_request_id id = {.id = result->id};

	memcpy(id.ring, uuid, sizeof id.ring);
	hf_core_results_recovered(state->core, &id, result->volume, result->sequence,
				  result->result);
}

/* A STATE is the whole truth of its moment: a volume that it does not name had been detached. */
static void recover_state(struct hf_core *core, const struct hf_wlog_record *record,
			  const void *payload)
{
	struct recover_state state = {.core = core, .batch = record->batch};
	const struct hf_core_state_visitor visitor = {.context = &state,
						      .volume = state_volume,
						      .ring = state_ring,
						      .result = state_result};

	hf_list_for_each (cursor, &core->volumes) {
		hf_container_of(cursor, struct hf_core_volume, link)->accepting = false;
	}
	if (hf_core_state_decode(payload, record->length, &visitor) != 0) {
		hf_core_alarm(core, 0, "the log holds control state that cannot be read");
		core->damaged = true;
		return;
	}
	hf_list_for_each_safe (cursor, &core->volumes) {
		struct hf_core_volume *volume =
			hf_container_of(cursor, struct hf_core_volume, link);

		if (!volume->accepting)
			recover_forget(volume);
	}
}

/* ---- Records ----------------------------------------------------------------------------------
 */

/* The records of one UNMAP have one request, or none and one batch; the store must not cut between
 * them. Joining more than belongs together does no harm. */
static bool entries_are_one_append(const struct hf_core_entry *a, const struct hf_core_entry *b)
{
	if (a->type != HF_RECORD_ZERO || b->type != HF_RECORD_ZERO ||
	    memcmp(&a->request, &b->request, sizeof a->request) != 0)
		return false;
	return hf_core_request_id_is_set(&a->request) || a->batch == b->batch;
}

static void recover_push(struct hf_core_volume *volume, const struct hf_wlog_record *record,
			 const struct hf_core_entry *entry)
{
	struct hf_core_entry *before;

	if (record->sequence != volume->next_sequence) {
		/* What is missing was recycled, so an UPLOADED or a STATE further on covers it. */
		volume->must_reach = record->sequence - 1;
		hf_core_volume_clear_log(volume);
	}
	before = hf_core_queue_at(&volume->queue, record->sequence - 1);
	if (before && entries_are_one_append(before, entry))
		before->ends_append = false;
	hf_core_queue_push(&volume->queue, record->sequence, entry);
	hf_core_overlay_insert(volume->overlay, record->sequence, entry);
	hf_core_segment_note(volume->core, record->place.source, true);
	volume->next_sequence = record->sequence + 1;
}

static void entry_move(struct hf_core_volume *volume, struct hf_core_entry *entry,
		       const struct hf_wlog_record *record)
{
	struct hf_core *core = volume->core;
	bool counted = record->sequence <= volume->counted_through;

	hf_core_segment_note(core, record->place.source, true);
	hf_core_segment_counted(core, counted ? record->place.source : entry->place.source);
	hf_core_segment_release(core, entry->place.source);
	hf_core_overlay_move(volume->overlay, entry, record->place);
	entry->place = record->place;
	entry->batch = record->batch;
}

static void recover_record(struct hf_core *core, const struct hf_wlog_record *record)
{
	struct hf_core_volume *volume = hf_core_volume_find(core, record->volume);
	struct hf_core_entry *entry;
	struct hf_core_entry fresh = {.lba = record->lba,
				      .length = record->length,
				      .place = record->place,
				      .batch = record->batch,
				      .logged_ns = hf_env_now_ns(core->env),
				      .request = record->request,
				      .type = record->type,
				      .ends_append = true};

	if (!volume)
		return; /* detached since */
	hf_core_results_recovered(core, &record->request, record->volume, record->sequence,
				  record->result);
	if (record->sequence <= volume->uploaded_through)
		return;
	entry = hf_core_queue_at(&volume->queue, record->sequence);
	if (entry)
		entry_move(volume, entry, record);
	else if (record->sequence >= volume->next_sequence)
		recover_push(volume, record, &fresh);
}

static void log_recovered(void *context, const struct hf_wlog_record *record, const void *payload)
{
	struct hf_core *core = context;
	struct hf_core_state_volume config;
	struct hf_core_volume *volume;

	hf_core_segment_note(core, record->place.source, false);
	hf_core_segment_durable(core, record->place.source);
	switch (record->type) {
	case HF_RECORD_DATA:
	case HF_RECORD_ZERO:
	case HF_RECORD_BAD:
	case HF_RECORD_SNAPSHOT:
		recover_record(core, record);
		break;
	case HF_RECORD_STATE:
		recover_state(core, record, payload);
		break;
	case HF_RECORD_CONTROL:
		if (hf_core_control_decode(payload, record->length, &config) == 0) {
			recover_volume(core, &config, record->batch);
		} else {
			hf_core_alarm(core, record->volume, "a control record cannot be read");
			core->damaged = true;
		}
		break;
	case HF_RECORD_DETACH:
		volume = hf_core_volume_find(core, record->volume);
		if (volume)
			recover_forget(volume);
		break;
	case HF_RECORD_UPLOADED:
		volume = hf_core_volume_find(core, record->volume);
		if (volume)
			hf_core_upload_covered(volume, record->sequence);
		break;
	case HF_RECORD_ATTACH:   /* its CONTROL record follows */
	case HF_RECORD_HANDOVER: /* one log: nobody hands over */
		break;
	}
}

/* What came back must be the unbroken run of records after what is uploaded. */
static void recover_check(struct hf_core_volume *volume)
{
	struct hf_core *core = volume->core;

	volume->accepting = true;
	volume->next_upload = volume->uploaded_through + 1;
	hf_core_volume_synced(volume);
	if (volume->must_reach <= volume->uploaded_through)
		return;
	core->keep_through = hf_wlog_active_segment(core->log);
	hf_core_volume_stop(volume, HF_VOLUME_FAILED, HF_ECORRUPT,
			    "the log misses records that were not uploaded; it is kept");
}

void hf_core_recover_finish(struct hf_core *core)
{
	hf_core_results_validate(core);
	hf_list_for_each (cursor, &core->volumes) {
		recover_check(hf_container_of(cursor, struct hf_core_volume, link));
	}
}

/* ---- While it runs -----------------------------------------------------------------------------
 */

static void log_moved(void *context, const struct hf_wlog_record *record)
{
	struct hf_core *core = context;
	struct hf_core_volume *volume = hf_core_volume_find(core, record->volume);
	struct hf_core_entry *entry;

	hf_core_segment_note(core, record->place.source, false);
	if (!volume || record->type == HF_RECORD_ATTACH || record->type == HF_RECORD_DETACH ||
	    record->type == HF_RECORD_UPLOADED || record->type == HF_RECORD_CONTROL ||
	    record->type == HF_RECORD_STATE)
		return;
	entry = hf_core_queue_at(&volume->queue, record->sequence);
	if (entry && entry->logged_ns != 0)
		entry_move(volume, entry, record);
}

static void log_durable(void *context, uint64_t batch)
{
	struct hf_core *core = context;
	struct hf_list waiting;
	struct hf_list *entry;

	(void)batch;
	if (core->recovering)
		return;
	hf_core_enter(core);
	hf_list_init(&waiting);
	hf_list_splice_back(&waiting, &core->unsynced);
	while ((entry = hf_list_pop_front(&waiting)) != NULL)
		hf_core_volume_synced(hf_container_of(entry, struct hf_core_volume, unsynced));
	hf_core_upload_schedule(core);
	hf_core_leave(core);
}

static size_t log_state(void *context, void *buffer, size_t capacity)
{
	return hf_core_state_encode(context, buffer, capacity);
}

static void log_alarm(void *context, const char *text)
{
	hf_core_alarm(context, 0, "%s", text);
}

const struct hf_wlog_owner hf_core_log_owner = {
	.recovered = log_recovered,
	.moved = log_moved,
	.durable = log_durable,
	.state = log_state,
	.alarm = log_alarm,
};
