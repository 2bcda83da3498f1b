/* Recovery of the segments that the table names. The newest, which is open, is read whole, since
 * its end is what a crash cut; where it ends is decided first. Then the closed ones in order, by
 * their footers, which are read ahead (or whole, where a crash left none), then the newest: their
 * records go to the owner in log order, and what has to move is loaded as batches for
 * wlog_relocate.c.
 *
 * The end. The run of good headers of the newest segment ends the log if no header after it (nor
 * the table) says that a sync covered the batch that is missing; otherwise the log is damaged and
 * is refused. Past durable-through a batch whose payload fails its CRCs ends the log too. What was
 * durable is known to be there, so payload damage below is left to be found by reads.
 *
 * What moves: everything past durable-through, and the whole newest segment if it is at most half
 * full, so that restarts do not use up segments. */
#include "base/crc32c.h"
#include "cache/wlog_private.h"

#include <stdlib.h>
#include <string.h>

struct wlog_recovery {
	void (*next)(struct hf_wlog *log, int status);
	uint32_t index;                  /* of the closed segment in `live` being read */
	uint64_t newest_state;           /* serial of the segment with the newest STATE; 0: none */
	struct wlog_scan newest, closed; /* the open segment's, and of the one being read */
	uint8_t *newest_bytes;
	uint8_t *bytes; /* of the closed segment, all of it */
	struct wlog_footers footers;
	int status; /* that recovery ends with */
	bool whole; /* `bytes` is all of it */
	/* Where delivery is. */
	struct wlog_segment *segment;
	struct wlog_scan *scan;
	uint32_t batch;
	size_t at;
	struct hf_wlogfmt_record record; /* whose payload is being read */
	uint8_t *payload;
	struct hf_wlogfmt_record before; /* control of this batch; type 0: none yet */
	bool before_given;
	/* Control is known as it was after batch known_through: a STATE and all since. */
	bool known, leans; /* leans: the newest STATE is lost, and what came before stands for it */
	uint64_t known_through;
	void (*delivered)(struct hf_wlog *log);
};

static void closed_next(struct hf_wlog *log);
static void deliver(struct hf_wlog *log);

/* ---- The end --------------------------------------------------------------------------------- */

static void recovery_drained(struct hf_wlog *log)
{
	struct wlog_recovery *recovery = log->recovery;
	void (*next)(struct hf_wlog *, int) = recovery->next;
	int status = recovery->status;

	if (!hf_wlog_footers_drain(&recovery->footers, recovery_drained))
		return;
	hf_wlog_scan_free(&recovery->newest);
	hf_wlog_scan_free(&recovery->closed);
	free(recovery->newest_bytes);
	free(recovery->bytes);
	free(recovery->payload);
	free(recovery);
	log->recovery = NULL;
	next(log, status);
}

static void recovery_end(struct hf_wlog *log, int status)
{
	log->recovery->status = status;
	recovery_drained(log);
}

static void refuse(struct hf_wlog *log, const struct wlog_segment *segment, uint32_t offset,
		   int err, const char *what)
{
	hf_fail(&log->opening->message, err,
		"log on disk %u: segment %llu (slot %u), offset %u: %s", log->config.disk,
		(unsigned long long)segment->serial, segment->slot, offset, what);
	recovery_end(log, err);
}

/* STATE stands alone in its batch; it is written anew, and an empty batch carries nothing. */
static bool is_worthless(const struct wlog_found *found)
{
	struct hf_wlogfmt_record record;
	size_t at = HF_WLOGFMT_HEAD;

	return !hf_wlogfmt_record_next(&found->head, found->header, &at, &record) ||
	       record.type == HF_RECORD_STATE;
}

/* Small batches move together, which saves writes; where nothing can move, each is written again
 * in its own place. */
static void load_batch(struct hf_wlog *log, const struct wlog_found *found)
{
	const struct hf_wlogfmt_head *head = &found->head;
	const uint8_t *payload = log->recovery->newest_bytes + head->offset + head->header_bytes;
	struct wlog_batch *batch = NULL;

	if (!hf_list_empty(&log->unsynced) && log->free_count > 0)
		batch = hf_container_of(log->unsynced.prev, struct wlog_batch, link);
	if (!batch || !hf_wlog_batch_takes(log, batch, head->used_bytes - HF_WLOGFMT_HEAD,
					   head->payload_bytes)) {
		batch = hf_wlog_batch_get(log, head->payload_bytes);
		batch->spot.serial = head->serial;
		batch->spot.batch = head->batch;
		batch->spot.offset = head->offset;
		/* In place not a byte may differ. */
		memcpy(batch->header, found->header, HF_WLOGFMT_HEAD);
		hf_list_push_back(&log->unsynced, &batch->link);
	}
	hf_wlog_batch_absorb(batch, head, found->header, payload);
	batch->damaged |= !hf_wlog_found_is_whole(found, payload, false);
	log->opening->rewritten_records += head->record_count;
}

/* What stays of the newest segment, which is closed now, gets the footer that it lacks. */
static void note_tail(struct hf_wlog *log)
{
	const struct wlog_scan *scan = &log->recovery->newest;
	uint32_t count = 0, bytes = 0, at = 0;

	while (count < scan->count && scan->found[count].head.batch <= log->keep_through)
		bytes += scan->found[count++].head.used_bytes;
	if (count == 0)
		return;
	log->tail.serial = scan->serial;
	log->tail.body = wlog_must(malloc(bytes));
	log->tail.body_bytes = bytes;
	for (uint32_t i = 0; i < count; i++) {
		const struct hf_wlogfmt_head *head = &scan->found[i].head;

		memcpy(log->tail.body + at, scan->found[i].header, head->used_bytes);
		at += head->used_bytes;
		log->tail.end = head->offset + head->header_bytes + head->payload_bytes;
	}
}

static void load_tail(struct hf_wlog *log)
{
	const struct wlog_scan *scan = &log->recovery->newest;
	bool in_place = log->free_count == 0;

	log->opening->records_ns += hf_env_now_ns(log->env);
	log->keep_through = log->durable_through;
	if (!in_place && scan->count > 0 && scan->end <= log->super.segment_bytes / 2)
		log->keep_through = scan->first_batch - 1;
	for (uint32_t i = 0; i < scan->count; i++)
		if (scan->found[i].head.batch > log->keep_through && !is_worthless(&scan->found[i]))
			load_batch(log, &scan->found[i]);
	if (!in_place)
		note_tail(log);
	recovery_end(log, 0);
}

/* STATE of the newest segment, once it is there, stands for all that only older STATEs hold. */
static void drop_states_before(struct hf_wlog *log, uint64_t serial)
{
	for (uint32_t i = log->live_count; i-- > 0;)
		if (log->live[i]->serial < serial && log->live[i]->other_records == 0)
			hf_wlog_segment_drop(log, log->live[i]);
}

static void newest_delivered(struct hf_wlog *log)
{
	/* What stands for it may go as soon as the owner has the log: a fresh STATE comes first. */
	if (log->recovery->leans && log->free_count == 0) {
		refuse(log, log->recovery->segment, 0, HF_ECORRUPT,
		       "control state is damaged, and no free segment takes it anew");
		return;
	}
	if (!log->recovery->leans)
		drop_states_before(log, log->recovery->newest_state);
	load_tail(log);
}

/* ---- Delivery to the owner ------------------------------------------------------------------- */

static void deliver_one(struct hf_wlog *log, const struct hf_wlogfmt_record *from,
			const uint8_t *payload)
{
	const struct wlog_recovery *recovery = log->recovery;
	const struct hf_wlog_owner *owner = log->config.owner;
	struct hf_wlog_record record;

	hf_wlog_record_of(&recovery->scan->found[recovery->batch].head, from, &record);
	owner->recovered(owner->context, &record, payload);
	log->opening->records++;
}

/* A copy of it follows in its batch. */
static bool has_copy(const struct wlog_recovery *recovery)
{
	const struct wlog_found *found = &recovery->scan->found[recovery->batch];
	struct hf_wlogfmt_record next;
	size_t at = recovery->at;

	return hf_wlogfmt_record_next(&found->head, found->header, &at, &next) &&
	       hf_wlogfmt_record_is_copy(&next, &recovery->record);
}

/* Nothing of this record is left. A STATE repeats what is known already if all that was ever
 * written before it was read: the log is whole without it. Other control may only be lost where a
 * newer STATE repeats it. */
static bool control_lost(struct hf_wlog *log, int status)
{
	struct wlog_recovery *recovery = log->recovery;
	const struct hf_wlogfmt_head *head = &recovery->scan->found[recovery->batch].head;
	bool newest = recovery->segment->serial >= recovery->newest_state;

	if (recovery->record.type == HF_RECORD_STATE && recovery->known) {
		hf_wlog_alarm(log,
			      "control state in segment %llu at offset %u is damaged; what was "
			      "written before it holds",
			      (unsigned long long)head->serial, head->offset);
		recovery->leans |= newest;
		return true;
	}
	recovery->known = false;
	if (!newest) {
		hf_wlog_alarm(log,
			      "control record in segment %llu at offset %u is damaged; a newer "
			      "one holds",
			      (unsigned long long)head->serial, head->offset);
		return true;
	}
	if (status)
		refuse(log, recovery->segment, head->offset, status,
		       "control state cannot be read");
	else
		refuse(log, recovery->segment, head->offset, HF_ECORRUPT,
		       "control state fails its checksum, in both copies, and what was written "
		       "before it is not all there; volumes open from the store without this log");
	return false;
}

/* `payload` NULL: it cannot be read, as `status` says. */
static bool deliver_control(struct hf_wlog *log, const uint8_t *payload, int status)
{
	struct wlog_recovery *recovery = log->recovery;
	const struct hf_wlogfmt_head *head = &recovery->scan->found[recovery->batch].head;

	recovery->before = recovery->record;
	recovery->before_given =
		payload && hf_wlogfmt_record_verify(&recovery->record, payload, false);
	if (recovery->before_given) {
		recovery->known |= recovery->record.type == HF_RECORD_STATE;
		deliver_one(log, &recovery->record, payload);
		return true;
	}
	if (!has_copy(recovery))
		return control_lost(log, status);
	hf_wlog_alarm(log, "control state in segment %llu at offset %u is damaged; its copy holds",
		      (unsigned long long)head->serial, head->offset);
	return true;
}

static void control_read(struct hf_wlog *log, int status)
{
	if (deliver_control(log, status ? NULL : log->recovery->payload, status))
		deliver(log);
}

/* True if delivery goes on now. */
static bool deliver_payload(struct hf_wlog *log, const uint8_t *whole)
{
	struct wlog_recovery *recovery = log->recovery;
	const struct hf_wlogfmt_head *head = &recovery->scan->found[recovery->batch].head;
	uint64_t units = hf_wlogfmt_payload_units(recovery->record.type, recovery->record.length);
	uint32_t offset =
		head->offset + head->header_bytes + recovery->record.payload_unit * HF_UNIT;

	if (whole || units == 0)
		return deliver_control(log, whole ? whole + offset : recovery->payload, 0);
	free(recovery->payload);
	recovery->payload = wlog_must(aligned_alloc(HF_DISK_ALIGN, units * HF_UNIT));
	hf_wlog_load(log, hf_wlog_slot_offset(log, recovery->segment->slot) + offset,
		     recovery->payload, units * HF_UNIT, control_read);
	return false;
}

static void batch_delivered(struct hf_wlog *log, const struct wlog_found *found)
{
	struct wlog_recovery *recovery = log->recovery;

	recovery->known_through = found->head.batch;
	recovery->before.type = 0;
	recovery->batch++;
	recovery->at = HF_WLOGFMT_HEAD;
	log->opening->batches++;
}

static void deliver(struct hf_wlog *log)
{
	struct wlog_recovery *recovery = log->recovery;
	const uint8_t *whole = recovery->scan == &recovery->newest ? recovery->newest_bytes
			       : recovery->whole                   ? recovery->bytes
								   : NULL;

	while (recovery->batch < recovery->scan->count) {
		const struct wlog_found *found = &recovery->scan->found[recovery->batch];

		if (recovery->at == HF_WLOGFMT_HEAD)
			recovery->known &= found->head.batch == recovery->known_through + 1;
		if (!hf_wlogfmt_record_next(&found->head, found->header, &recovery->at,
					    &recovery->record)) {
			batch_delivered(log, found);
			continue;
		}
		if (!hf_wlogfmt_is_control(recovery->record.type)) {
			/* What follows is no copy, though it may say the same: it says it anew. */
			recovery->before_given = false;
			deliver_one(log, &recovery->record, NULL);
		} else if (recovery->before_given &&
			   hf_wlogfmt_record_is_copy(&recovery->record, &recovery->before)) {
			continue;
		} else if (!deliver_payload(log, whole)) {
			return;
		}
	}
	recovery->delivered(log);
}

/* The segment's index from its headers, then its records to the owner. */
static void deliver_segment(struct hf_wlog *log, struct wlog_segment *segment,
			    struct wlog_scan *scan, void (*delivered)(struct hf_wlog *log))
{
	struct wlog_recovery *recovery = log->recovery;

	for (uint32_t i = 0; i < scan->count; i++)
		hf_wlog_segment_add(segment, &scan->found[i].head, scan->found[i].header);
	free(segment->body);
	segment->body = NULL;
	segment->body_bytes = segment->body_capacity = 0;
	recovery->segment = segment;
	recovery->scan = scan;
	recovery->batch = 0;
	recovery->at = HF_WLOGFMT_HEAD;
	recovery->delivered = delivered;
	log->opening->segments_read++;
	if (scan->count > 0)
		log->prev_crc = scan->found[scan->count - 1].head.crc;
	deliver(log);
}

/* ---- Closed segments ------------------------------------------------------------------------- */

static void closed_delivered(struct hf_wlog *log)
{
	struct wlog_recovery *recovery = log->recovery;

	hf_wlog_scan_free(&recovery->closed);
	free(recovery->bytes);
	recovery->bytes = NULL;
	recovery->index++;
	closed_next(log);
}

static void scan_begin(struct hf_wlog *log, struct wlog_scan *scan,
		       const struct wlog_segment *segment)
{
	hf_wlog_scan_free(scan);
	memset(scan, 0, sizeof *scan);
	scan->super = &log->super;
	scan->serial = segment->serial;
	scan->first_batch = segment->first_batch;
}

static void whole_read(struct hf_wlog *log, int status)
{
	struct wlog_recovery *recovery = log->recovery;
	struct wlog_segment *segment = log->live[recovery->index];

	if (status) {
		refuse(log, segment, 0, status, "cannot be read");
		return;
	}
	scan_begin(log, &recovery->closed, segment);
	hf_wlog_scan_segment(&recovery->closed, recovery->bytes, segment->last_batch);
	if (segment->first_batch + recovery->closed.count != segment->last_batch + 1) {
		refuse(log, segment, recovery->closed.end, HF_ECORRUPT,
		       "a batch that was durable is missing or damaged");
		return;
	}
	deliver_segment(log, segment, &recovery->closed, closed_delivered);
}

static void read_whole(struct hf_wlog *log, struct wlog_segment *segment)
{
	struct wlog_recovery *recovery = log->recovery;

	free(recovery->bytes);
	recovery->bytes = wlog_must(aligned_alloc(HF_WLOG_BLOCK, log->super.segment_bytes));
	recovery->whole = true;
	log->opening->whole_segments++;
	hf_wlog_load(log, hf_wlog_slot_offset(log, segment->slot), recovery->bytes,
		     log->super.segment_bytes, whole_read);
}

static void footer_taken(struct hf_wlog *log, const struct wlog_footer_read *read)
{
	struct wlog_recovery *recovery = log->recovery;
	struct wlog_segment *segment = log->live[recovery->index];

	scan_begin(log, &recovery->closed, segment);
	if (!read->good ||
	    hf_wlog_scan_body(&recovery->closed, read->bytes, read->footer.body_bytes) != 0 ||
	    recovery->closed.count != read->footer.batch_count)
		read_whole(log, segment);
	else
		deliver_segment(log, segment, &recovery->closed, closed_delivered);
}

static void closed_next(struct hf_wlog *log)
{
	struct wlog_recovery *recovery = log->recovery;

	if (recovery->index == log->live_count || log->live[recovery->index] == log->active) {
		if (log->active)
			deliver_segment(log, log->active, &recovery->newest, newest_delivered);
		else
			newest_delivered(log);
		return;
	}
	recovery->whole = false;
	hf_wlog_footers_take(&recovery->footers, recovery->index, footer_taken);
}

/* ---- The newest segment ---------------------------------------------------------------------- */

static void newest_read(struct hf_wlog *log, int status)
{
	struct wlog_recovery *recovery = log->recovery;
	struct wlog_scan *scan = &recovery->newest;
	struct wlog_segment *segment = log->active;

	log->opening->newest_ns += hf_env_now_ns(log->env);
	log->opening->records_ns -= hf_env_now_ns(log->env);
	if (status) {
		refuse(log, segment, 0, status, "cannot be read");
		return;
	}
	scan_begin(log, scan, segment);
	scan->durable_through = log->durable_through;
	hf_wlog_scan_segment(scan, recovery->newest_bytes, 0);
	hf_wlog_scan_past(scan, recovery->newest_bytes);
	if (scan->first_batch + scan->count <= scan->durable_through) {
		refuse(log, segment, scan->end, HF_ECORRUPT,
		       "a batch that was durable is missing or damaged");
		return;
	}
	hf_wlog_scan_cut_torn(scan, recovery->newest_bytes);
	log->durable_through = scan->durable_through;
	if (scan->last_seen >= log->next_batch)
		log->next_batch = scan->last_seen + 1;
	if (scan->count > 0)
		recovery->newest_state = segment->serial;
	closed_next(log);
}

void hf_wlog_recover(struct hf_wlog *log, void (*next)(struct hf_wlog *log, int status))
{
	struct wlog_recovery *recovery = wlog_must(calloc(1, sizeof *recovery));

	log->recovery = recovery;
	recovery->next = next;
	log->next_batch = log->durable_through + 1;
	for (uint32_t i = 0; i < log->live_count; i++)
		if (!log->live[i]->open)
			recovery->newest_state = log->live[i]->serial;
	hf_wlog_footers_begin(&recovery->footers, log, log->live_count - (log->active ? 1 : 0));
	if (!log->active) {
		log->opening->records_ns -= hf_env_now_ns(log->env);
		closed_next(log);
		return;
	}
	log->opening->newest_ns -= hf_env_now_ns(log->env);
	if (log->active->first_batch > log->next_batch)
		log->next_batch = log->active->first_batch;
	recovery->newest_bytes = wlog_must(aligned_alloc(HF_WLOG_BLOCK, log->super.segment_bytes));
	hf_wlog_load(log, hf_wlog_slot_offset(log, log->active->slot), recovery->newest_bytes,
		     log->super.segment_bytes, newest_read);
}
