/* Requests that write: WRITE, ZERO, WRITE SAME, COMPARE AND WRITE, UNMAP. Each locks its ranges,
 * becomes one append to the log (all of it or none survives a crash), shows in the overlay when the
 * append is done, and unlocks. Core's thread.
 *
 *   WAITING → LOCKING → READING (COMPARE AND WRITE) → BUDGET (pace, memory) → APPENDING → done
 *
 * The initiator's memory may change under us: WRITE leaves it to the log to copy it once, the
 * others copy before they look. */
#include <string.h>

#include "base/bytes.h"
#include "gateway/volumed/core_internal.h"

static void write_finish(struct hf_core_job *job, int status)
{
	hf_core_lock_release(&job->volume->locks, &job->lock);
	hf_core_job_done(job, status);
}

/* ---- The append --------------------------------------------------------------------------------
 */

/* What the log still has of it in memory of its own: the initiator's may have changed since. */
static void tell_content(struct hf_core_volume *volume, const struct hf_wlog_record *record)
{
	const struct hf_core_config *config = &volume->core->config;
	const void *bytes = NULL;

	if (record->type == HF_RECORD_DATA && config->range_holds)
		bytes = hf_wlog_peek(volume->home->wlog, &record->place, record->length);
	if (bytes)
		config->range_holds(config->context, volume->config.volume, record->lba * HF_UNIT,
				    record->length * HF_UNIT, bytes);
}

static void append_account(struct hf_core_job *job)
{
	struct hf_core_volume *volume = job->volume;
	struct hf_core *core = job->core;

	for (unsigned i = 0; i < job->append.record_count; i++) {
		const struct hf_wlog_record *record = &job->records[i];
		struct hf_core_entry *entry = hf_core_queue_at(&volume->queue, record->sequence);

		HF_ASSERT(entry != NULL && entry->logged_ns == 0);
		entry->place.source = hf_core_source(volume->home, record->place.source);
		entry->place.unit = record->place.unit;
		entry->batch = record->batch;
		entry->logged_ns = hf_env_now_ns(core->env);
		hf_core_segment_note(volume->home, record->place.source);
		hf_core_segment_hold(core, entry->place.source);
		hf_core_overlay_insert(volume->overlay, record->sequence, entry);
		hf_core_clean_written(volume, record->lba, record->length);
		if (hf_core_range_changed(volume, record->lba, record->length))
			tell_content(volume, record);
	}
	hf_core_volume_synced(volume);
}

static void append_done(struct hf_wlog_append *append)
{
	struct hf_core_job *job = hf_container_of(append, struct hf_core_job, append);
	struct hf_core *core = job->core;

	HF_CHECK_MAGIC(job, HF_CORE_JOB_MAGIC);
	hf_core_enter(core);
	core->append_bytes -= append->payload_bytes;
	job->volume->home->append_bytes -= append->payload_bytes;
	job->volume->appends--;
	if (append->status == 0)
		append_account(job);
	else if (append->status != HF_ECANCELED)
		hf_core_volume_stop(job->volume, HF_VOLUME_FAILED, append->status,
				    "the log cannot be written");
	hf_core_move_step(job->volume);
	write_finish(job, append->status);
	hf_core_budget_run(core);
	hf_core_upload_schedule(core);
	hf_core_leave(core);
}

/* Sequences are given in the order of appends, so that the log's order is the volume's. */
static void append_number(struct hf_core_job *job)
{
	struct hf_core_volume *volume = job->volume;
	unsigned count = job->append.record_count;

	for (unsigned i = 0; i < count; i++) {
		struct hf_wlog_record *record = &job->records[i];
		struct hf_core_entry entry = {.lba = record->lba,
					      .length = record->length,
					      .request = job->request->id,
					      .type = record->type,
					      .ends_append = i + 1 == count};

		record->volume = volume->config.volume;
		record->sequence = volume->next_sequence++;
		record->request = job->request->id;
		record->result = HF_OK;
		hf_core_queue_push(&volume->queue, record->sequence, &entry);
	}
	hf_core_results_logged(job->core, &job->request->id, job->records[count - 1].sequence);
}

/* The blocks of a WRITE SAME are laid out when the log is about to take them and not before: its
 * descriptor is small, and as many as a ring holds, or a few initiators send, would fill the
 * memory.
 */
static void same_fill(struct hf_core_job *job)
{
	uint64_t length = job->append.payload_bytes;
	uint32_t block = job->request->data_length;

	if (job->request->op != HF_OP_WRITE_SAME || length == 0)
		return;
	job->buffer = hf_core_alloc(length);
	for (uint64_t at = 0; at < length; at += block)
		memcpy(job->buffer + at, job->input, block);
	job->append.payload = job->buffer;
}

static void write_append(struct hf_core_job *job)
{
	struct hf_core_volume *volume = job->volume;
	struct hf_core *core = job->core;

	if (core->closing || volume->state == HF_VOLUME_FENCED ||
	    volume->state == HF_VOLUME_FAILED || hf_core_volume_is_given_up(volume)) {
		job->append.record_count = 0;
		write_finish(job, core->closing ? HF_ECANCELED : hf_core_volume_ready(volume));
		return;
	}
	if (volume->move) { /* until it knows which log */
		job->state = HF_CORE_JOB_BUDGET;
		hf_list_push_back(&volume->held, &job->link);
		return;
	}
	if (!hf_wlog_takes(volume->home->wlog, &job->append)) {
		job->append.record_count = 0;
		write_finish(job, HF_ETOOBIG);
		return;
	}
	same_fill(job);
	job->state = HF_CORE_JOB_APPENDING;
	append_number(job);
	job->append.durable =
		!volume->config.write_cache || (job->request->flags & HF_REQUEST_FUA) != 0;
	job->append.done = append_done;
	if (job->request->flags & HF_REQUEST_FLUSHED)
		hf_wlog_flushed(volume->home->wlog);
	core->append_bytes += job->append.payload_bytes;
	volume->home->append_bytes += job->append.payload_bytes;
	volume->appends++;
	hf_wlog_append(volume->home->wlog, &job->append);
}

static bool budget_has_room(const struct hf_core *core, const struct hf_core_job *job)
{
	return core->append_bytes == 0 || job->append.payload_bytes == 0 ||
	       core->append_bytes + job->append.payload_bytes <= HF_CORE_APPEND_BYTES_MAX;
}

/* In the order of arrival, so that nobody waits for ever. */
void hf_core_write_go(struct hf_core_job *job)
{
	struct hf_core *core = job->core;

	if (hf_list_empty(&core->budget) && budget_has_room(core, job)) {
		write_append(job);
		return;
	}
	job->state = HF_CORE_JOB_BUDGET;
	hf_list_push_back(&core->budget, &job->link);
}

void hf_core_budget_run(struct hf_core *core)
{
	while (!hf_list_empty(&core->budget)) {
		struct hf_core_job *job =
			hf_container_of(core->budget.next, struct hf_core_job, link);

		if (!core->closing && !budget_has_room(core, job))
			return;
		hf_list_remove(&job->link);
		write_append(job);
	}
}

void hf_core_write_refuse(struct hf_core_job *job, int status)
{
	job->append.record_count = 0;
	write_finish(job, status);
}

static void write_budget(struct hf_core_job *job)
{
	job->append.records = job->records;
	if (!hf_core_pace_holds(job))
		hf_core_write_go(job);
}

void hf_core_held_run(struct hf_core_volume *volume)
{
	struct hf_list jobs;

	hf_list_init(&jobs);
	hf_list_splice_back(&jobs, &volume->held);
	while (!hf_list_empty(&jobs))
		write_budget(hf_container_of(hf_list_pop_front(&jobs), struct hf_core_job, link));
}

/* ---- What becomes of each operation ------------------------------------------------------------
 */

static void record_set(struct hf_core_job *job, enum hf_record_type type, const void *payload)
{
	job->record = (struct hf_wlog_record){
		.type = type, .lba = job->range.lba, .length = job->range.length};
	job->records = &job->record;
	job->append.record_count = 1;
	if (type != HF_RECORD_DATA)
		return;
	job->append.payload = payload;
	job->append.payload_bytes = job->range.length * HF_UNIT;
}

static void same_set(struct hf_core_job *job)
{
	uint32_t block = job->request->data_length;

	if (hf_is_zero(job->input, block)) {
		record_set(job, HF_RECORD_ZERO, NULL);
		return;
	}
	record_set(job, HF_RECORD_DATA, NULL);
}

static void compared(struct hf_core_read *read)
{
	struct hf_core_job *job = hf_container_of(read, struct hf_core_job, read);
	uint64_t length, at = 0;

	HF_CHECK_MAGIC(job, HF_CORE_JOB_MAGIC);
	length = job->request->length;
	if (job->cancelled || job->core->closing || read->status != 0) {
		write_finish(job,
			     job->cancelled || job->core->closing ? HF_ECANCELED : read->status);
		return;
	}
	while (at < length && job->buffer[at] == job->input[at])
		at++;
	if (at < length) {
		job->request->info = at;
		write_finish(job, HF_EMISCOMPARE);
		return;
	}
	record_set(job, HF_RECORD_DATA, job->input + length);
	write_budget(job);
}

static void compare_start(struct hf_core_job *job)
{
	job->state = HF_CORE_JOB_READING;
	job->buffer = hf_core_alloc_aligned(job->request->length);
	job->read = (struct hf_core_read){.volume = job->volume,
					  .lba = job->range.lba,
					  .length = job->range.length,
					  .buffer = job->buffer,
					  .done = compared};
	hf_core_read_start(&job->read);
}

static void write_locked(struct hf_core_job *job)
{
	if (job->core->closing) {
		/* An earlier overlapping one may have been cancelled, and will come again first. */
		write_finish(job, HF_ECANCELED);
		return;
	}
	switch (job->request->op) {
	case HF_OP_WRITE:
		record_set(job, HF_RECORD_DATA, job->request->data);
		break;
	case HF_OP_ZERO:
		record_set(job, HF_RECORD_ZERO, NULL);
		break;
	case HF_OP_WRITE_SAME:
		same_set(job);
		break;
	case HF_OP_COMPARE_AND_WRITE:
		compare_start(job);
		return;
	default:
		job->append.record_count = job->lock.range_count;
		break;
	}
	write_budget(job);
}

static void write_granted(struct hf_core_lock *lock)
{
	struct hf_core_job *job = hf_container_of(lock, struct hf_core_job, lock);

	HF_CHECK_MAGIC(job, HF_CORE_JOB_MAGIC);
	write_locked(job);
}

/* ---- Start -------------------------------------------------------------------------------------
 */

static int by_lba(const void *left, const void *right)
{
	const struct hf_core_range *a = left, *b = right;

	return (a->lba > b->lba) - (a->lba < b->lba);
}

/* In order, and those that touch or overlap as one. Returns how many. */
static unsigned ranges_join(struct hf_core_range *ranges, unsigned count)
{
	unsigned used = 0;

	qsort(ranges, count, sizeof *ranges, by_lba);
	for (unsigned i = 0; i < count; i++) {
		struct hf_core_range *last = used ? &ranges[used - 1] : NULL;
		uint64_t end = ranges[i].lba + ranges[i].length;

		if (!last || ranges[i].lba > last->lba + last->length)
			ranges[used++] = ranges[i];
		else if (end > last->lba + last->length)
			last->length = end - last->lba;
	}
	return used;
}

/* All ranges are checked before anything happens: all or none. */
static int unmap_prepare(struct hf_core_job *job)
{
	const struct hf_ring_range *from = (const struct hf_ring_range *)(const void *)job->input;
	unsigned count = job->request->data_length / sizeof *from;
	uint64_t size = job->volume->config.size_bytes;
	unsigned used = 0;

	job->ranges = hf_core_alloc((count + 1) * sizeof *job->ranges);
	job->records = hf_core_alloc((count + 1) * sizeof *job->records);
	for (unsigned i = 0; i < count; i++) {
		if (from[i].offset % HF_UNIT != 0 || from[i].length % HF_UNIT != 0)
			return HF_EINVAL;
		if (from[i].offset > size || from[i].length > size - from[i].offset)
			return HF_ERANGE;
		if (from[i].length > 0)
			job->ranges[used++] =
				(struct hf_core_range){.lba = from[i].offset / HF_UNIT,
						       .length = from[i].length / HF_UNIT};
	}
	used = ranges_join(job->ranges, used);
	for (unsigned i = 0; i < used; i++)
		job->records[i] = (struct hf_wlog_record){.type = HF_RECORD_ZERO,
							  .lba = job->ranges[i].lba,
							  .length = job->ranges[i].length};
	job->lock.range_count = used;
	return 0;
}

static int write_prepare(struct hf_core_job *job)
{
	const struct hf_request *request = job->request;

	job->range.lba = request->offset / HF_UNIT;
	job->range.length = request->length / HF_UNIT;
	job->ranges = &job->range;
	job->records = &job->record;
	job->lock.range_count = job->range.length > 0 ? 1 : 0;
	if (request->op == HF_OP_WRITE_SAME || request->op == HF_OP_COMPARE_AND_WRITE ||
	    request->op == HF_OP_UNMAP) {
		job->input = hf_core_alloc(request->data_length + 1);
		if (request->data_length > 0)
			memcpy(job->input, request->data, request->data_length);
	}
	return request->op == HF_OP_UNMAP ? unmap_prepare(job) : 0;
}

void hf_core_write_start(struct hf_core_job *job)
{
	int status = write_prepare(job);

	job->state = HF_CORE_JOB_LOCKING;
	hf_list_init(&job->lock.link);
	if (job->core->closing)
		status = HF_ECANCELED;
	if (status != 0 || job->lock.range_count == 0) {
		hf_core_job_done(job, status); /* nothing to do is success */
		return;
	}
	job->lock.ranges = job->ranges;
	job->lock.granted = write_granted;
	if (hf_core_lock_acquire(&job->volume->locks, &job->lock))
		write_locked(job);
}

void hf_core_write_cancel(struct hf_core_job *job)
{
	if (job->state == HF_CORE_JOB_READING) {
		job->cancelled = true;
		if (job->read.parked)
			hf_core_read_unpark(&job->read, HF_ECANCELED);
		return;
	}
	if (job->state == HF_CORE_JOB_BUDGET) {
		hf_list_remove(&job->link);
		job->append.record_count = 0;
	}
	write_finish(job, HF_ECANCELED);
}
