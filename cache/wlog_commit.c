/* The committer of the write log: what the lane does next, group commit, rolling to the next
 * segment, syncs on demand and when idle. See wlog_private.h for the order of things.
 *
 * What a sync covers. Writes and syncs never overlap, so a sync covers everything in `unsynced`.
 * After a failed write or sync nothing there is trusted: it is written again elsewhere
 * (wlog_relocate.c) before any of it is reported durable. */
#include "cache/wlog_private.h"

#include <stdlib.h>
#include <string.h>

#define RETRY_FIRST_MS 10u
#define RETRY_LAST_MS  2000u

/* ---- The lane -------------------------------------------------------------------------------- */

static void lane_done(struct hf_disk_io *io)
{
	struct hf_wlog *log = hf_container_of(io, struct hf_wlog, lane);

	HF_CHECK_MAGIC(log, WLOG_MAGIC);
	log->lane_next(log, io->status);
}

static void lane_write(struct hf_wlog *log, uint64_t offset, const struct iovec *iov,
		       unsigned iov_count, bool sync, void (*written)(struct hf_disk_io *io),
		       void (*next)(struct hf_wlog *log, int status))
{
	HF_ASSERT(log->busy);
	log->lane.op = HF_DISK_WRITE;
	log->lane.sync = sync;
	log->lane.written = written;
	log->lane.disk = log->config.disk;
	log->lane.offset = offset;
	log->lane.iov = iov;
	log->lane.iov_count = iov_count;
	log->lane.done = lane_done;
	log->lane_next = next;
	for (unsigned i = 0; i < iov_count; i++)
		log->written_bytes += iov[i].iov_len;
	hf_env_disk_submit(log->env, &log->lane);
}

void hf_wlog_lane_write(struct hf_wlog *log, uint64_t offset, const struct iovec *iov,
			unsigned iov_count, void (*next)(struct hf_wlog *log, int status))
{
	lane_write(log, offset, iov, iov_count, false, NULL, next);
}

void hf_wlog_lane_sync(struct hf_wlog *log, void (*next)(struct hf_wlog *log, int status))
{
	HF_ASSERT(log->busy);
	log->lane.op = HF_DISK_SYNC;
	log->lane.disk = log->config.disk;
	log->lane.done = lane_done;
	log->lane_next = next;
	hf_env_disk_submit(log->env, &log->lane);
}

void hf_wlog_lane_free(struct hf_wlog *log)
{
	log->busy = false;
	hf_wlog_pump(log);
}

static void retry_fired(struct hf_timer *timer)
{
	struct hf_wlog *log = hf_container_of(timer, struct hf_wlog, retry_timer);

	HF_CHECK_MAGIC(log, WLOG_MAGIC);
	log->retry_next(log);
}

void hf_wlog_retry_later(struct hf_wlog *log, unsigned tries, void (*next)(struct hf_wlog *log))
{
	uint64_t wait_ms = RETRY_FIRST_MS << (tries < 8 ? tries : 8);

	if (wait_ms > RETRY_LAST_MS)
		wait_ms = RETRY_LAST_MS;
	log->retry_next = next;
	log->retry_timer.fired = retry_fired;
	hf_env_timer_set(log->env, &log->retry_timer,
			 hf_env_now_ns(log->env) + wait_ms * HF_NS_PER_MS);
}

/* ---- Done ------------------------------------------------------------------------------------ */

void hf_wlog_batch_done(struct wlog_batch *batch, bool all, int status)
{
	hf_list_for_each_safe (link, &batch->appends) {
		struct hf_wlog_append *append = hf_container_of(link, struct hf_wlog_append, link);

		if (append->durable && !all)
			continue;
		hf_list_remove(&append->link);
		append->status = status;
		append->done(append);
	}
}

static bool holds_before(const struct hf_list *batches, uint64_t ordinal)
{
	hf_list_for_each (link, batches)
		if (hf_container_of(link, struct wlog_batch, link)->ordinal < ordinal)
			return true;
	return false;
}

/* A flush waits for everything that was there when it came: batches are made in order, so for
 * those of an ordinal below its own. */
bool hf_wlog_covers(const struct hf_wlog *log, const struct hf_wlog_flush *flush)
{
	return !holds_before(&log->unsynced, flush->through) &&
	       !holds_before(&log->queue, flush->through) &&
	       (!log->writing || log->writing->ordinal >= flush->through);
}

void hf_wlog_end_flushes(struct hf_wlog *log)
{
	struct hf_list ready;

	hf_list_init(&ready);
	hf_list_for_each_safe (link, &log->flushes) {
		if (!hf_wlog_covers(log, hf_container_of(link, struct hf_wlog_flush, link)))
			continue;
		hf_list_remove(link);
		hf_list_push_back(&ready, link);
	}
	for (struct hf_list *link; (link = hf_list_pop_front(&ready)) != NULL;) {
		struct hf_wlog_flush *flush = hf_container_of(link, struct hf_wlog_flush, link);

		flush->status = 0;
		flush->done(flush);
	}
}

void hf_wlog_became_durable(struct hf_wlog *log, uint64_t through)
{
	struct hf_list covered;
	struct hf_list *link;

	if (log->active->first_batch > log->keep_through && log->active->first_batch <= through)
		hf_wlog_drop_old_states(log);
	hf_list_init(&covered);
	hf_list_splice_back(&covered, &log->unsynced);
	log->durable_through = log->keep_through = through;
	log->want_sync = false;
	log->tries = 0;
	if (!log->opening)
		log->config.owner->durable(log->config.owner->context, through);
	while ((link = hf_list_pop_front(&covered)) != NULL) {
		struct wlog_batch *batch = hf_container_of(link, struct wlog_batch, link);

		hf_wlog_keep_put(&log->keep, batch);
		hf_wlog_batch_done(batch, true, 0);
		hf_wlog_batch_put(log, batch);
	}
	hf_wlog_end_flushes(log);
}

/* ---- Writing a batch ------------------------------------------------------------------------- */

static void batches_synced(struct hf_wlog *log, int status)
{
	if (status) {
		hf_wlog_alarm(log, "sync of segment %llu failed: %s",
			      (unsigned long long)log->active->serial, hf_err_text(status));
		log->must_relocate = true;
	} else
		hf_wlog_became_durable(log, log->next_batch - 1);
	hf_wlog_lane_free(log);
}

/* Who flushed after a single batch the last time (a journal, a database's log) is about to flush
 * this one: it is synced while the answer is still on its way, if nobody waits to write. Should no
 * flush follow, then only this one sync was for nothing. */
static bool flush_follows(const struct hf_wlog *log)
{
	return log->since_flush == 0 && log->flush_follows && hf_list_empty(&log->queue);
}

/* The batch lies where it was meant to, whether or not it is durable there. */
static void batch_landed(struct hf_wlog *log, struct wlog_batch *batch)
{
	struct hf_wlogfmt_head head;

	HF_ASSERT(hf_wlogfmt_head_decode(&head, batch->header, batch->used_bytes) == 0);
	hf_wlog_segment_add(log->active, &head, batch->header);
	log->prev_crc = head.crc;
	hf_wlog_batch_settle(batch, &batch->new_spot);
	log->last_was_mark = batch->record_count == 0;
}

/* It is where it was meant to be, and who does not wait for the sync is told so. */
static void batch_shown(struct hf_wlog *log, struct wlog_batch *batch)
{
	log->since_flush++;
	batch_landed(log, batch);
	hf_wlog_batch_done(batch, false, 0);
}

static struct wlog_batch *batch_take_back(struct hf_wlog *log)
{
	struct wlog_batch *batch = log->writing;

	log->writing = NULL;
	hf_list_push_back(&log->unsynced, &batch->link);
	hf_wlog_fill_note(log, batch);
	return batch;
}

/* The lane goes on with the sync. */
static void batch_written_ahead(struct hf_disk_io *io)
{
	struct hf_wlog *log = hf_container_of(io, struct hf_wlog, lane);

	HF_CHECK_MAGIC(log, WLOG_MAGIC);
	batch_shown(log, batch_take_back(log));
}

static void batch_written(struct hf_wlog *log, int status)
{
	struct wlog_batch *batch;
	bool synced = log->lane.sync;

	if (!log->writing) { /* shown when it was written */
		batches_synced(log, status);
		return;
	}
	batch = batch_take_back(log);
	if (status && !(synced && log->lane.wrote)) {
		hf_wlog_alarm(log, "write of batch %llu to segment %llu failed: %s",
			      (unsigned long long)batch->new_spot.batch,
			      (unsigned long long)batch->new_spot.serial, hf_err_text(status));
		log->must_relocate = true;
		hf_wlog_lane_free(log);
		return;
	}
	if (synced) {
		batch_landed(log, batch);
		batches_synced(log, status);
		return;
	}
	batch_shown(log, batch);
	hf_wlog_lane_free(log);
}

/* An append that waits for a sync takes it along: one hand-off to the disk and back a commit. So
 * does an empty batch, which is there for its sync. */
static void batch_write(struct hf_wlog *log, struct wlog_batch *batch)
{
	bool sync = batch->durable || batch->record_count == 0, ahead;
	struct hf_wlogfmt_head head;

	log->busy = true;
	log->fill.started_ns = hf_env_now_ns(log->env);
	hf_wlog_fill_stop(log);
	hf_list_remove(&batch->link);
	ahead = !sync && flush_follows(log);
	log->writing = batch;
	batch->new_spot.serial = log->active->serial;
	batch->new_spot.batch = log->next_batch++;
	batch->new_spot.offset = log->active->used_bytes;
	hf_wlog_batch_seal(log, batch, &batch->new_spot, &head);
	lane_write(log, hf_wlog_slot_offset(log, log->active->slot) + batch->new_spot.offset,
		   batch->iov, hf_wlog_batch_pad(batch), sync || ahead,
		   ahead ? batch_written_ahead : NULL, batch_written);
}

/* ---- Syncing --------------------------------------------------------------------------------- */

static void sync_start(struct hf_wlog *log)
{
	log->busy = true;
	hf_wlog_lane_sync(log, batches_synced);
}

/* ---- Rolling to the next segment ------------------------------------------------------------- */

static void roll_committed(struct hf_wlog *log, int status)
{
	struct wlog_batch *state;

	if (status) { /* the disk is gone and the log is closing */
		hf_wlog_segment_drop(log, log->fresh);
		log->fresh = NULL;
		hf_wlog_lane_free(log);
		return;
	}
	hf_wlog_segment_commit(log, log->fresh, log->next_batch);
	log->fresh = NULL;
	state = hf_wlog_state_batch(log);
	hf_list_push_front(&log->queue, &state->link);
	hf_wlog_lane_free(log);
}

static void footer_done(struct hf_wlog *log, int status)
{
	free(log->active->body);
	log->active->body = NULL;
	log->active->body_bytes = log->active->body_capacity = 0;
	/* A footer saves time and may be missing; the device's trouble shows in the next write. */
	(void)status;
	log->active->open = false;
	log->fresh = hf_wlog_segment_new(log);
	log->fresh->first_batch = log->next_batch;
	log->fresh->open = true;
	hf_wlog_table_write(log, roll_committed);
}

static void roll(struct hf_wlog *log)
{
	struct wlog_segment *segment = log->active;

	log->busy = true;
	hf_wlog_footer_write(log, segment, segment->body, segment->body_bytes, segment->used_bytes,
			     footer_done);
}

/* ---- What next ------------------------------------------------------------------------------- */

/* With room left for the footer that the segment needs afterwards; a segment that holds only its
 * STATE takes any batch, footer or not. */
static bool fits(const struct hf_wlog *log, const struct wlog_batch *batch)
{
	const struct wlog_segment *segment = log->active;
	uint64_t end = (uint64_t)segment->used_bytes + hf_wlog_batch_total_bytes(batch);
	uint64_t body = (uint64_t)segment->body_bytes + batch->used_bytes;

	if (segment->other_records == 0)
		return end <= log->super.segment_bytes;
	return end + hf_wlogfmt_block_up(body) + HF_WLOG_BLOCK <= log->super.segment_bytes;
}

/* Ordinary appends leave the reserve alone: they neither take its segments nor fill one that a
 * control record had to open. */
static bool may_go(const struct hf_wlog *log, const struct wlog_batch *batch)
{
	uint32_t least = batch->reserve ? WLOG_LIVE_MIN_FREE : log->config.reserve_segments;

	if (batch->state)
		return true;
	if (fits(log, batch))
		return batch->reserve || log->free_count >= least;
	return log->free_count > least;
}

static struct wlog_batch *next_batch(const struct hf_wlog *log)
{
	bool first = true;

	hf_list_for_each (link, &log->queue) {
		struct wlog_batch *batch = hf_container_of(link, struct wlog_batch, link);

		if ((first || batch->reserve) && may_go(log, batch))
			return batch;
		first = false;
	}
	return NULL;
}

/* What is unsynced always fits one segment beside its STATE, should it have to move. */
static bool too_much_unsynced(const struct hf_wlog *log, const struct wlog_batch *batch)
{
	uint64_t bytes = hf_wlog_batch_total_bytes(batch);
	unsigned count = 0;

	hf_list_for_each (link, &log->unsynced) {
		bytes += hf_wlog_batch_total_bytes(hf_container_of(link, struct wlog_batch, link));
		count++;
	}
	return count >= WLOG_UNSYNCED_MAX || (count > 0 && bytes > log->batch_max);
}

/* A flush for which only the sync is missing does not wait for those who go on writing. */
static bool flush_is_ripe(const struct hf_wlog *log)
{
	const struct hf_wlog_flush *flush;

	if (hf_list_empty(&log->flushes))
		return false;
	flush = hf_container_of(log->flushes.next, struct hf_wlog_flush, link);
	return !holds_before(&log->queue, flush->through);
}

static void idle_fired(struct hf_timer *timer)
{
	struct hf_wlog *log = hf_container_of(timer, struct hf_wlog, idle_timer);

	HF_CHECK_MAGIC(log, WLOG_MAGIC);
	if (!hf_list_empty(&log->unsynced) || log->writing)
		log->want_sync = true;
	else
		log->want_mark = true;
	hf_wlog_pump(log);
}

static void idle_arm(struct hf_wlog *log)
{
	bool marked = log->last_was_mark || log->durable_through == 0;

	if (log->idle_timer.armed || (hf_list_empty(&log->unsynced) && marked))
		return;
	log->idle_timer.fired = idle_fired;
	hf_env_timer_set(log->env, &log->idle_timer,
			 hf_env_now_ns(log->env) + log->config.idle_sync_ms * HF_NS_PER_MS);
}

static bool write_next(struct hf_wlog *log)
{
	struct wlog_batch *batch = next_batch(log);

	if (!batch)
		return false;
	if (too_much_unsynced(log, batch))
		sync_start(log);
	else if (fits(log, batch)) {
		if (!hf_wlog_fill_waits(log, batch))
			batch_write(log, batch);
	} else if (!hf_list_empty(&log->unsynced))
		sync_start(log); /* the table says that a closed segment is durable */
	else
		roll(log);
	return true;
}

static void table_marked(struct hf_wlog *log, int status)
{
	log->last_was_mark = status == 0;
	hf_wlog_lane_free(log);
}

/* Durable-through goes into an empty batch, or into the table where the segment is too full. */
static bool mark_next(struct hf_wlog *log)
{
	struct wlog_batch *mark;

	log->want_mark = false;
	if (log->last_was_mark || !hf_list_empty(&log->unsynced))
		return false;
	mark = hf_wlog_batch_get(log, 0);
	if (fits(log, mark)) {
		batch_write(log, mark);
		return true;
	}
	hf_wlog_batch_put(log, mark);
	log->busy = true;
	hf_wlog_table_write(log, table_marked);
	return true;
}

void hf_wlog_pump(struct hf_wlog *log)
{
	bool sync_wanted;

	if (log->busy || log->opening || log->held > 0)
		return;
	if (log->closing)
		hf_wlog_cancel_queue(log);
	log->want_sync |= flush_is_ripe(log);
	sync_wanted = log->closing || !hf_list_empty(&log->flushes);
	if (log->must_relocate)
		hf_wlog_relocate(log);
	else if (log->want_sync && !hf_list_empty(&log->unsynced))
		sync_start(log);
	else if (!log->closing && write_next(log))
		return;
	else if (sync_wanted && !hf_list_empty(&log->unsynced))
		sync_start(log);
	else if (log->closing && hf_wlog_nothing_left(log))
		hf_wlog_soon(log); /* the end */
	else if (!log->closing && (!log->want_mark || !mark_next(log)))
		idle_arm(log);
}
