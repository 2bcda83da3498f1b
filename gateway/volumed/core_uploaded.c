/* Telling the log what the store counts. An UPLOADED record takes a block of the log, and what it
 * is for is to give segments back; so one append tells for all volumes, and only
 *
 *   - when a segment then holds nothing that is needed: even of a full log, each such append frees
 *     more than it takes from the reserve, so that the log always empties;
 *   - when a volume that is leaving waits for it;
 *   - a second after the recovery point moved, while the log has plenty of room, so that a restart
 *     knows a recent one without the store.
 *
 * What an UPLOADED record covers leaves the overlay some at a time: tens of thousands of writes at
 * once would keep those waiting that are made meanwhile.
 *
 * Core's thread. */
#include "gateway/volumed/core_internal.h"

static void uploaded_done(struct hf_wlog_append *append);

static bool volume_is_told(const struct hf_core_volume *volume)
{
	return !volume->in_log || volume->detach_logged || volume->move || volume->copying ||
	       volume->counted_through <= volume->uploaded_through;
}

static unsigned uploaded_gather(struct hf_core_log *log)
{
	unsigned count = 0;

	hf_list_for_each (cursor, &log->core->volumes) {
		struct hf_core_volume *volume =
			hf_container_of(cursor, struct hf_core_volume, link);

		if (volume->home != log || volume_is_told(volume) ||
		    count == HF_WLOG_APPEND_RECORDS_MAX)
			continue;
		volume->uploaded_busy = true;
		log->uploaded_records[count++] =
			(struct hf_wlog_record){.type = HF_RECORD_UPLOADED,
						.volume = volume->config.volume,
						.sequence = volume->counted_through};
	}
	return count;
}

void hf_core_uploaded_now(struct hf_core_volume *volume)
{
	if (volume->home)
		volume->home->uploaded_now = true;
}

/* A volume tells the log that it is in, also for what it left in another. */
static void uploaded_want(struct hf_core_log *log)
{
	log->segments_counted = false;
	if (!hf_core_segments_want_uploaded(log))
		return;
	log->uploaded_now = true;
	hf_list_for_each (cursor, &log->core->volumes) {
		struct hf_core_volume *volume =
			hf_container_of(cursor, struct hf_core_volume, link);

		if (!volume_is_told(volume) && hf_core_volume_was_in(volume, log))
			hf_core_uploaded_now(volume);
	}
}

static void uploaded_step(struct hf_core_log *log)
{
	unsigned count;

	if (!log->uploaded_now || log->uploaded_busy)
		return;
	log->uploaded_now = false;
	count = uploaded_gather(log);
	if (count == 0)
		return;
	log->uploaded_busy = true;
	log->core->holds++;
	log->uploaded = (struct hf_wlog_append){.records = log->uploaded_records,
						.record_count = count,
						.durable = true,
						.reserve = true,
						.done = uploaded_done};
	hf_wlog_append(log->wlog, &log->uploaded);
}

void hf_core_uploaded_step(struct hf_core *core)
{
	if (core->closing || core->recovering)
		return;
	hf_core_for_each_log (log, core) {
		if (log->wlog && log->segments_counted && !log->uploaded_busy)
			uploaded_want(log);
	}
	hf_core_for_each_log (log, core) {
		if (log->wlog)
			uploaded_step(log);
	}
}

static void uploaded_one(struct hf_core_volume *volume, int status)
{
	volume->uploaded_busy = false;
	if (status != 0 && status != HF_ECANCELED)
		hf_core_volume_stop(volume, HF_VOLUME_FAILED, status, "the log cannot be written");
	hf_core_move_step(volume);
	hf_core_leave_step(volume);
}

static void uploaded_cover(struct hf_core_log *log);

static void uploaded_go_on(struct hf_timer *timer)
{
	struct hf_core_log *log = hf_container_of(timer, struct hf_core_log, cover_timer);
	struct hf_core *core = log->core;

	HF_CHECK_MAGIC(log, HF_CORE_LOG_MAGIC);
	hf_core_enter(core);
	uploaded_cover(log);
	hf_core_leave(core);
}

/* Volume after volume; the rest when others have had their turn. */
static void uploaded_cover(struct hf_core_log *log)
{
	const struct hf_wlog_append *append = &log->uploaded;
	unsigned entries = log->core->config.turn_records;

	while (log->covered_volumes < append->record_count) {
		const struct hf_wlog_record *record = &append->records[log->covered_volumes];
		struct hf_core_volume *volume = hf_core_volume_find(log->core, record->volume);

		HF_ASSERT(volume != NULL); /* busy, so it cannot have gone */
		if (append->status == 0 &&
		    !hf_core_upload_covered(volume, record->sequence, &entries)) {
			log->cover_timer.fired = uploaded_go_on;
			hf_env_timer_set(log->core->env, &log->cover_timer,
					 hf_env_now_ns(log->core->env));
			return;
		}
		log->covered_volumes++;
		uploaded_one(volume, append->status);
	}
	log->uploaded_busy = false;
	log->core->holds--;
	if (append->record_count == HF_WLOG_APPEND_RECORDS_MAX)
		log->uploaded_now = true; /* there may be more volumes */
}

static void uploaded_done(struct hf_wlog_append *append)
{
	struct hf_core_log *log = hf_container_of(append, struct hf_core_log, uploaded);
	struct hf_core *core = log->core;

	HF_CHECK_MAGIC(log, HF_CORE_LOG_MAGIC);
	hf_core_enter(core);
	if (append->status == 0) {
		hf_core_segment_note(log, append->records[0].place.source);
		hf_core_segment_durable(log, append->records[0].place.source);
	}
	log->covered_volumes = 0;
	uploaded_cover(log);
	hf_core_leave(core);
}

void hf_core_uploaded_due(struct hf_timer *timer)
{
	struct hf_core *core = hf_container_of(timer, struct hf_core, uploaded_timer);

	HF_CHECK_MAGIC(core, HF_CORE_MAGIC);
	hf_core_enter(core);
	hf_core_for_each_log (log, core) {
		if (log->wlog &&
		    hf_wlog_free_bytes(log->wlog) >= hf_wlog_total_bytes(log->wlog) / 2)
			log->uploaded_now = true;
	}
	hf_core_leave(core);
}
