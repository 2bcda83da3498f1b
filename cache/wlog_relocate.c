/* Relocation: after a failed write or sync, and at every start, what is past `keep_through` is
 * written again to a fresh segment and synced before any of it counts. Never is the same place
 * synced a second time in the hope that it works now.
 *
 *   1  table: a fresh serial in a free slot, not committed (a crash from here to 4 finds the old
 *      batches where they were, and the slot free)
 *   2  STATE, then each batch with a new number, at the fresh segment's start
 *   3  sync
 *   4  table: the old segment ends at keep_through (or is gone), the fresh one is the newest
 *   5  the owner hears the new places; appends are done
 *
 * A failure in 2 or 3 starts again at 1 with another slot; the table itself is tried until it is
 * written. Payload and checksums are copied as they are, so that damage is never made valid.
 *
 * Without a free segment the same bytes are written again where they were meant to lie, and synced:
 * a crash on the way finds either the old bytes or the same ones. It is the last resort, since the
 * place has failed once; without it a full log could not record the uploads that would empty it. */
#include "cache/wlog_private.h"

static void next_move(struct hf_wlog *log);

static void again(struct hf_wlog *log)
{
	if (log->fresh)
		hf_wlog_segment_drop(log, log->fresh);
	if (log->fresh_state)
		hf_wlog_batch_put(log, log->fresh_state);
	log->fresh = NULL;
	log->fresh_state = NULL;
	log->moving = NULL;
}

static void give_up(struct hf_wlog *log, int status)
{
	again(log);
	log->must_relocate = false;
	if (log->relocated) {
		log->relocated(log, status);
		return;
	}
	while (!hf_list_empty(&log->unsynced)) {
		struct wlog_batch *batch =
			hf_container_of(hf_list_pop_front(&log->unsynced), struct wlog_batch, link);

		hf_wlog_batch_done(batch, true, HF_ECANCELED);
		hf_wlog_batch_put(log, batch);
	}
	hf_wlog_lane_free(log);
}

static void retry(struct hf_wlog *log)
{
	log->busy = false;
	hf_wlog_relocate(log);
}

static void failed(struct hf_wlog *log, int status)
{
	hf_wlog_alarm(log, "moving batches past %llu to a fresh segment failed: %s",
		      (unsigned long long)log->keep_through, hf_err_text(status));
	log->tries++;
	again(log);
	if ((log->opening || log->closing) && log->tries >= WLOG_TRIES_MAX)
		give_up(log, status);
	else
		hf_wlog_retry_later(log, log->tries, retry);
}

/* ---- 5: the owner ---------------------------------------------------------------------------- */

static void tell_moved(struct hf_wlog *log, struct wlog_batch *batch)
{
	const struct hf_wlog_owner *owner = log->config.owner;
	struct hf_wlogfmt_record from;
	struct hf_wlogfmt_head head;
	struct hf_wlog_record record;
	size_t at = HF_WLOGFMT_HEAD;

	HF_ASSERT(hf_wlogfmt_head_decode(&head, batch->header, batch->used_bytes) == 0);
	while (hf_wlogfmt_record_next(&head, batch->header, &at, &from)) {
		hf_wlog_record_of(&head, &from, &record);
		owner->moved(owner->context, &record);
	}
}

static void committed(struct hf_wlog *log, int status)
{
	void (*relocated)(struct hf_wlog *, int) = log->relocated;

	if (status) {
		give_up(log, status);
		return;
	}
	hf_wlog_segment_commit(log, log->fresh, log->fresh_state->new_spot.batch);
	hf_wlog_batch_put(log, log->fresh_state);
	log->fresh = NULL;
	log->fresh_state = log->moving = NULL;
	log->must_relocate = false;
	log->last_was_mark = true; /* the table carries durable-through */
	hf_list_for_each (link, &log->unsynced) {
		struct wlog_batch *batch = hf_container_of(link, struct wlog_batch, link);

		hf_wlog_batch_settle(batch, &batch->new_spot);
		tell_moved(log, batch);
	}
	hf_wlog_became_durable(log, log->next_batch - 1);
	if (relocated)
		relocated(log, 0);
	else
		hf_wlog_lane_free(log);
}

/* ---- 4: commit ------------------------------------------------------------------------------- */

/* The old newest segment ends where the relocated batches began; if they were all it had, it goes.
 * Batches that were never written (the failed one) lie nowhere. */
static void close_old(struct hf_wlog *log)
{
	struct wlog_segment *old = log->active;
	uint32_t cut_at = UINT32_MAX;

	if (!old)
		return;
	old->open = false;
	if (old->first_batch > log->keep_through || old->used_bytes == 0) {
		hf_wlog_segment_drop(log, old);
		return;
	}
	hf_list_for_each (link, &log->unsynced) {
		struct wlog_batch *batch = hf_container_of(link, struct wlog_batch, link);

		if (batch->spot.serial != old->serial)
			continue;
		if (batch->spot.offset < cut_at)
			cut_at = batch->spot.offset;
		old->other_records -= batch->record_count;
	}
	hf_wlog_segment_cut(old, cut_at);
	old->last_batch = log->keep_through;
}

static void moves_synced(struct hf_wlog *log, int status)
{
	if (status) {
		failed(log, status);
		return;
	}
	close_old(log);
	log->durable_through = log->next_batch - 1;
	log->fresh->first_batch = log->fresh_state->new_spot.batch;
	log->fresh->open = true;
	hf_wlog_table_write(log, committed);
}

/* ---- 2 and 3: write and sync ----------------------------------------------------------------- */

static void move_written(struct hf_wlog *log, int status)
{
	struct hf_wlogfmt_head head;

	if (status) {
		failed(log, status);
		return;
	}
	HF_ASSERT(hf_wlogfmt_head_decode(&head, log->moving->header, log->moving->used_bytes) == 0);
	hf_wlog_segment_add(log->fresh, &head, log->moving->header);
	log->prev_crc = head.crc;
	next_move(log);
}

static void move(struct hf_wlog *log, struct wlog_batch *batch)
{
	struct hf_wlogfmt_head head;

	if ((uint64_t)log->fresh->used_bytes + hf_wlog_batch_total_bytes(batch) >
	    log->super.segment_bytes) {
		/* Cannot be with what this code leaves unsynced; a strange log might have it. */
		give_up(log, HF_ETOOBIG);
		return;
	}
	log->moving = batch;
	batch->new_spot.serial = log->fresh->serial;
	batch->new_spot.batch = log->next_batch++;
	batch->new_spot.offset = log->fresh->used_bytes;
	hf_wlog_batch_seal(log, batch, &batch->new_spot, &head);
	hf_wlog_lane_write(log, hf_wlog_slot_offset(log, log->fresh->slot) + batch->new_spot.offset,
			   batch->iov, hf_wlog_batch_pad(batch), move_written);
}

static void next_move(struct hf_wlog *log)
{
	struct hf_list *next =
		log->moving == log->fresh_state ? log->unsynced.next : log->moving->link.next;

	if (next == &log->unsynced)
		hf_wlog_lane_sync(log, moves_synced);
	else
		move(log, hf_container_of(next, struct wlog_batch, link));
}

/* STATE is written anew, and an empty batch carries nothing worth moving. */
static void drop_worthless(struct hf_wlog *log)
{
	hf_list_for_each_safe (link, &log->unsynced) {
		struct wlog_batch *batch = hf_container_of(link, struct wlog_batch, link);

		if (!batch->state && batch->record_count > 0)
			continue;
		hf_list_remove(&batch->link);
		hf_wlog_batch_put(log, batch);
	}
}

static void reserved(struct hf_wlog *log, int status)
{
	if (status) {
		give_up(log, status);
		return;
	}
	drop_worthless(log);
	log->fresh_state = hf_wlog_state_batch(log);
	move(log, log->fresh_state);
}

/* ---- Without a free segment ------------------------------------------------------------------ */

static void rewrite_next(struct hf_wlog *log);

static void rewrites_synced(struct hf_wlog *log, int status)
{
	void (*relocated)(struct hf_wlog *, int) = log->relocated;
	struct hf_wlogfmt_head head;

	if (status) {
		failed(log, status);
		return;
	}
	log->moving = NULL;
	log->must_relocate = false;
	hf_list_for_each (link, &log->unsynced) {
		struct wlog_batch *batch = hf_container_of(link, struct wlog_batch, link);

		if (batch->spot.serial)
			continue;
		HF_ASSERT(hf_wlogfmt_head_decode(&head, batch->header, batch->used_bytes) == 0);
		hf_wlog_segment_add(log->active, &head, batch->header);
		log->prev_crc = head.crc;
		hf_wlog_batch_settle(batch, &batch->new_spot);
	}
	if (log->active->used_bytes == 0) {
		struct wlog_batch *state = hf_wlog_state_batch(log);

		hf_list_push_front(&log->queue, &state->link);
	}
	log->last_was_mark = false;
	hf_wlog_became_durable(log, log->next_batch - 1);
	if (relocated)
		relocated(log, 0);
	else
		hf_wlog_lane_free(log);
}

static void rewrite_written(struct hf_wlog *log, int status)
{
	if (status)
		failed(log, status);
	else
		rewrite_next(log);
}

static void rewrite_next(struct hf_wlog *log)
{
	struct hf_list *next = log->moving ? log->moving->link.next : log->unsynced.next;
	const struct wlog_spot *spot;
	struct wlog_batch *batch;

	if (next == &log->unsynced) {
		hf_wlog_lane_sync(log, rewrites_synced);
		return;
	}
	log->moving = batch = hf_container_of(next, struct wlog_batch, link);
	spot = batch->spot.serial ? &batch->spot : &batch->new_spot;
	HF_ASSERT(spot->serial == log->active->serial);
	hf_wlog_lane_write(log, hf_wlog_slot_offset(log, log->active->slot) + spot->offset,
			   batch->iov, hf_wlog_batch_pad(batch), rewrite_written);
}

static void rewrite_begin(struct hf_wlog *log, int status)
{
	if (status) {
		give_up(log, status);
		return;
	}
	log->moving = NULL;
	rewrite_next(log);
}

static void rewrite_in_place(struct hf_wlog *log)
{
	if (!log->opening) {
		rewrite_begin(log, 0);
		return;
	}
	/* The run goes on where it ends, over what the crash cut, once the table that says which
	 * segment this is has been made stable. */
	log->next_batch =
		log->active->used_bytes ? log->active->last_batch + 1 : log->active->first_batch;
	log->opening->rewritten_records = 0;
	hf_wlog_table_write(log, rewrite_begin);
}

/* ---- 1: a fresh segment ---------------------------------------------------------------------- */

void hf_wlog_relocate(struct hf_wlog *log)
{
	HF_ASSERT(!log->busy && log->must_relocate);
	log->busy = true;
	if (log->free_count == 0) {
		if (log->active)
			rewrite_in_place(log);
		else
			failed(log, HF_ENOSPC);
		return;
	}
	log->fresh = hf_wlog_segment_new(log);
	hf_wlog_table_write(log, reserved);
}
