/* The logs' owner: takes in what recovery finds, follows records that are written again, learns
 * what became durable, and gives control state to new segments. Core's thread.
 *
 * Each log is recovered by itself (core_found.c). When all are, one rule says what counts: a volume
 * is in the log that claims it with most moves, and of its records those that lie in that stay or
 * in one that it lists. They must be an unbroken run after what is uploaded. */
#include <stdlib.h>
#include <string.h>

#include "gateway/volumed/core_state.h"

/* ---- One log -----------------------------------------------------------------------------------
 */

static void recover_uploaded(struct hf_core_log *log, const struct hf_wlog_record *record)
{
	struct hf_core_found *found = hf_core_found_of(log->found, record->volume, false);

	if (found && found->claimed && found->says.uploaded_through < record->sequence)
		found->says.uploaded_through = record->sequence;
}

/* It came by a CONTROL record, which follows; or it went. */
static void recover_handover(struct hf_core_log *log, const struct hf_wlog_record *record)
{
	struct hf_core_found *found = hf_core_found_of(log->found, record->volume, false);

	if (record->lba == HF_CORE_HANDOVER_OUT_LBA && found) {
		found->claimed = false;
		hf_core_results_disown(log, record->volume);
	}
}

static void log_recovered(void *context, const struct hf_wlog_record *record, const void *payload)
{
	struct hf_core_log *log = context;

	if (!log->found) {
		log->found = hf_core_found_create();
		memcpy(log->uuid, log->open.uuid, sizeof log->uuid);
	}
	hf_core_segment_note(log, record->place.source);
	hf_core_segment_durable(log, record->place.source);
	switch (record->type) {
	case HF_RECORD_DATA:
	case HF_RECORD_ZERO:
	case HF_RECORD_BAD:
	case HF_RECORD_SNAPSHOT:
		hf_core_found_record(log, record);
		break;
	case HF_RECORD_STATE:
		hf_core_found_state(log, record, payload);
		break;
	case HF_RECORD_CONTROL:
		hf_core_found_control(log, record, payload);
		break;
	case HF_RECORD_DETACH:
		hf_core_found_detach(log, record->volume);
		break;
	case HF_RECORD_UPLOADED:
		recover_uploaded(log, record);
		break;
	case HF_RECORD_HANDOVER:
		recover_handover(log, record);
		break;
	case HF_RECORD_ATTACH: /* its CONTROL record follows */
		break;
	}
}

/* What a log that is written to would say from then on is what was understood of it. */
static bool log_accepts(void *context)
{
	const struct hf_core_log *log = context;

	return !log->damaged;
}

/* ---- All of them -------------------------------------------------------------------------------
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

static void recover_push(struct hf_core_volume *volume, uint64_t sequence,
			 const struct hf_core_entry *entry)
{
	struct hf_core_entry *before;

	if (sequence != volume->next_sequence) {
		volume->must_reach = sequence - 1;
		hf_core_volume_clear_log(volume);
	}
	before = hf_core_queue_at(&volume->queue, sequence - 1);
	if (before && entries_are_one_append(before, entry))
		before->ends_append = false;
	hf_core_queue_push(&volume->queue, sequence, entry);
	hf_core_overlay_insert(volume->overlay, sequence, entry);
	hf_core_segment_hold(volume->core, entry->place.source);
	volume->next_sequence = sequence + 1;
}

/* What lies in the log of one stay. Stays follow each other in sequences. */
static void recover_stay(struct hf_core_volume *volume, const struct hf_core_log *log,
			 const struct hf_core_stay *stay)
{
	struct hf_core_found *found =
		log && log->found ? hf_core_found_of(log->found, volume->config.volume, false)
				  : NULL;

	if (!found)
		return;
	hf_core_found_sort(found);
	for (size_t i = 0; i < found->count; i++) {
		const struct hf_core_found_record *record = &found->records[i];

		if (record->sequence > volume->uploaded_through &&
		    record->sequence >= stay->first && record->sequence <= stay->last &&
		    record->entry.batch >= stay->since_batch &&
		    record->sequence >= volume->next_sequence)
			recover_push(volume, record->sequence, &record->entry);
	}
}

static struct hf_core_volume *recover_volume(struct hf_core_log *home,
					     const struct hf_core_state_volume *says)
{
	struct hf_core *core = home->core;
	struct hf_volume_config config = {.volume = says->volume,
					  .tenant = says->tenant,
					  .size_bytes = says->size_bytes,
					  .attach_epoch = says->attach_epoch,
					  .write_cache = says->write_cache};
	struct hf_core_volume *volume = hf_core_volume_create(core, &config);

	volume->in_log = true;
	volume->since_batch = says->since_batch;
	volume->held_epoch = says->held_epoch;
	volume->moves = says->moves;
	volume->stay_first = says->stay_first;
	volume->stay_count = says->stay_count;
	memcpy(volume->stays, says->stays, sizeof volume->stays);
	volume->counted_through = volume->uploaded_through = says->uploaded_through;
	volume->next_sequence = says->uploaded_through + 1;
	hf_core_log_pin(volume, home);
	return volume;
}

static void recover_records(struct hf_core_volume *volume)
{
	struct hf_core_stay here = {.since_batch = volume->since_batch,
				    .first = volume->stay_first,
				    .last = UINT64_MAX};

	for (unsigned i = 0; i < volume->stay_count; i++) {
		const struct hf_core_stay *stay = &volume->stays[i];
		uint64_t missing = volume->must_reach;

		recover_stay(volume, hf_core_log_find(volume->core, stay->log), stay);
		/* A stay that is listed was durable to its end. */
		if (volume->next_sequence <= stay->last && stay->last > volume->uploaded_through &&
		    stay->last > missing)
			volume->must_reach = stay->last;
	}
	recover_stay(volume, volume->home, &here);
	hf_core_stays_trim(volume);
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
	hf_core_for_each_log (log, core) {
		if (log->wlog)
			log->keep_through = hf_wlog_active_segment(log->wlog);
	}
	hf_core_volume_stop(volume, HF_VOLUME_FAILED, HF_ECORRUPT,
			    "the log misses records that were not uploaded; it is kept");
}

/* Of one that two logs claim the one with most moves is right; the other has not been told. */
static void recover_claim(struct hf_core_log *home, struct hf_core_found *claim)
{
	struct hf_core *core = home->core;
	struct hf_core_volume *volume;

	hf_core_for_each_log (log, core) {
		const struct hf_core_found *other =
			log->found ? hf_core_found_of(log->found, claim->volume, false) : NULL;

		if (log != home && other && other->claimed &&
		    (other->says.moves > claim->says.moves ||
		     (other->says.moves == claim->says.moves && log->index < home->index)))
			return;
	}
	volume = recover_volume(home, &claim->says);
	recover_records(volume);
	recover_check(volume);
	hf_core_for_each_log (log, core) {
		const struct hf_core_found *other =
			log->found ? hf_core_found_of(log->found, claim->volume, false) : NULL;

		if (log != home && other && other->claimed)
			hf_core_move_tell_left(volume, log);
	}
}

/* The log that is missing may claim a volume with one move more than the log that has it, which
 * took no writes there. What it takes here from now on must win. */
static void recover_outbid(struct hf_core *core)
{
	if (!hf_core_logs_are_missing(core))
		return;
	hf_list_for_each (cursor, &core->volumes) {
		struct hf_core_volume *volume =
			hf_container_of(cursor, struct hf_core_volume, link);

		volume->moves += 2;
		volume->accepting = false;
		hf_core_attach_log(volume);
	}
}

void hf_core_recover_finish(struct hf_core *core)
{
	hf_core_for_each_log (log, core) {
		for (unsigned i = 0; log->found && i < HF_CORE_VOLUME_BUCKETS; i++)
			hf_list_for_each (cursor, &log->found->buckets[i]) {
				struct hf_core_found *found =
					hf_container_of(cursor, struct hf_core_found, bucket);

				if (found->claimed)
					recover_claim(log, found);
			}
	}
	hf_core_results_validate(core);
	hf_core_for_each_log (log, core) {
		hf_core_found_destroy(log->found);
		log->found = NULL;
		hf_core_segments_found(log);
	}
	recover_outbid(core);
}

/* ---- While it runs -----------------------------------------------------------------------------
 */

void hf_core_entry_move(struct hf_core_volume *volume, struct hf_core_entry *entry,
			const struct hf_core_log *log, const struct hf_wlog_record *record)
{
	struct hf_place to = {.source = hf_core_source(log, record->place.source),
			      .unit = record->place.unit};
	struct hf_core *core = volume->core;
	bool counted = record->sequence <= volume->counted_through;

	hf_core_segment_hold(core, to.source);
	hf_core_segment_counted(core, counted ? to.source : entry->place.source);
	hf_core_segment_release(core, entry->place.source);
	hf_core_overlay_move(volume->overlay, entry, to);
	entry->place = to;
	entry->batch = record->batch;
}

static bool record_is_of_requests(const struct hf_wlog_record *record)
{
	return record->type == HF_RECORD_DATA || record->type == HF_RECORD_ZERO ||
	       record->type == HF_RECORD_BAD || record->type == HF_RECORD_SNAPSHOT;
}

static void log_moved(void *context, const struct hf_wlog_record *record)
{
	struct hf_core_log *log = context;
	struct hf_core_volume *volume;
	struct hf_core_entry *entry;

	hf_core_segment_note(log, record->place.source);
	if (!record_is_of_requests(record))
		return;
	if (log->found) {
		hf_core_found_moved(log, record);
		return;
	}
	volume = hf_core_volume_find(log->core, record->volume);
	entry = volume ? hf_core_queue_at(&volume->queue, record->sequence) : NULL;
	if (entry && entry->logged_ns != 0 && hf_core_log_at(log->core, entry->place.source) == log)
		hf_core_entry_move(volume, entry, log, record);
}

static void log_durable(void *context, uint64_t batch)
{
	struct hf_core_log *log = context;
	struct hf_core *core = log->core;
	struct hf_list waiting;
	struct hf_list *entry;

	(void)batch;
	if (core->recovering || core->closing)
		return;
	hf_core_enter(core);
	hf_list_init(&waiting);
	hf_list_splice_back(&waiting, &core->unsynced);
	hf_core_pace_sample(log);
	while ((entry = hf_list_pop_front(&waiting)) != NULL)
		hf_core_volume_synced(hf_container_of(entry, struct hf_core_volume, unsynced));
	hf_core_upload_schedule(core);
	hf_core_copy_look(log);
	hf_core_leave(core);
}

static size_t log_state(void *context, void *buffer, size_t capacity)
{
	return hf_core_state_encode(context, buffer, capacity);
}

static void log_alarm(void *context, const char *text)
{
	const struct hf_core_log *log = context;

	hf_core_alarm(log->core, 0, "log %u: %s", log->index, text);
}

const struct hf_wlog_owner hf_core_log_owner = {
	.recovered = log_recovered,
	.accepts = log_accepts,
	.moved = log_moved,
	.durable = log_durable,
	.state = log_state,
	.alarm = log_alarm,
};
