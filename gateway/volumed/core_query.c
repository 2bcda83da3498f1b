/* Requests that change nothing: READ, VERIFY, LBA STATUS and FLUSH. Core's thread. */
#include <string.h>

#include "gateway/volumed/core_map.h"

#define LBA_STATUS_STEPS_MAX 2048u /* extents looked at for one answer, which then is short */

/* ---- READ --------------------------------------------------------------------------------------
 */

static void read_done(struct hf_core_read *read)
{
	struct hf_core_job *job = hf_container_of(read, struct hf_core_job, read);

	HF_CHECK_MAGIC(job, HF_CORE_JOB_MAGIC);
	if (read->status == 0) {
		memcpy(job->request->data, job->buffer, job->request->length);
		if (job->request->verified)
			job->request->verified(job->request, job->buffer);
	}
	hf_core_job_done(job, read->status);
}

static void read_start(struct hf_core_job *job)
{
	const struct hf_request *request = job->request;

	if (request->length == 0) {
		hf_core_job_done(job, 0);
		return;
	}
	job->buffer = hf_core_alloc_aligned(request->length);
	job->read.lba = request->offset / HF_UNIT;
	job->read.length = request->length / HF_UNIT;
	job->read.buffer = job->buffer;
	job->read.done = read_done;
	hf_core_read_start(&job->read);
}

/* ---- VERIFY ------------------------------------------------------------------------------------
 */

static void verify_run(struct hf_core_job *job);

static void verify_step_done(struct hf_core_read *read)
{
	struct hf_core_job *job = hf_container_of(read, struct hf_core_job, read);

	HF_CHECK_MAGIC(job, HF_CORE_JOB_MAGIC);
	if (job->stepping)
		job->stepped = true;
	else if (read->status != 0)
		hf_core_job_done(job, read->status);
	else
		verify_run(job);
}

/* Where the volume holds anything next: what is not there needs no reading. */
static uint64_t verify_next(const struct hf_core_volume *volume, uint64_t at, uint64_t end)
{
	struct hf_core_piece piece;
	enum hf_extmap_found found;
	struct hf_extent extent;
	uint64_t next = end, leaf;

	if (!hf_core_remote_is_there(volume))
		return at;
	if (hf_core_overlay_find(volume->overlay, at, end - at, &piece))
		next = piece.lba;
	if (next <= at)
		return next;
	found = hf_extmap_look(hf_remote_map(volume->remote), at, next - at, &extent, &leaf);
	if (found == HF_EXTMAP_FOUND)
		return extent.lba;
	if (found == HF_EXTMAP_NONE)
		return next;
	leaf *= HF_EXTMAP_LEAF_UNITS; /* the read that begins there loads it */
	return leaf > at ? leaf : at;
}

/* Steps until one has to wait. A step that ends inside itself only says so. */
static void verify_run(struct hf_core_job *job)
{
	uint64_t end = (job->request->offset + job->request->length) / HF_UNIT;

	do {
		job->at = verify_next(job->volume, job->at, end);
		if (job->at == end) {
			hf_core_job_done(job, 0);
			return;
		}
		job->read.lba = job->at;
		job->read.length = end - job->at;
		if (job->read.length > HF_CORE_VERIFY_BYTES / HF_UNIT)
			job->read.length = HF_CORE_VERIFY_BYTES / HF_UNIT;
		job->at += job->read.length;
		job->read.deadline_ns = 0;
		job->stepping = true;
		job->stepped = false;
		hf_core_read_start(&job->read);
		job->stepping = false;
	} while (job->stepped && job->read.status == 0);
	if (job->stepped)
		hf_core_job_done(job, job->read.status);
}

static void verify_start(struct hf_core_job *job)
{
	job->buffer = hf_core_alloc_aligned(HF_CORE_VERIFY_BYTES);
	job->read.buffer = job->buffer;
	job->read.done = verify_step_done;
	job->at = job->request->offset / HF_UNIT;
	verify_run(job);
}

/* ---- LBA STATUS --------------------------------------------------------------------------------
 */

/* The same of the remote map alone. *absent: nobody knows without the leaf at `at`. */
static bool remote_run(const struct hf_core_volume *volume, uint64_t at, uint64_t end,
		       uint64_t *run_end, bool *absent)
{
	struct hf_extent extent;
	uint64_t leaf;

	*run_end = end;
	switch (hf_extmap_look(hf_remote_map(volume->remote), at, end - at, &extent, &leaf)) {
	case HF_EXTMAP_NONE:
		return false;
	case HF_EXTMAP_FOUND:
		*run_end = extent.lba == at ? at + extent.length : extent.lba;
		return extent.lba == at && extent.kind != HF_EXTENT_ZERO;
	case HF_EXTMAP_ABSENT:
		break;
	}
	*absent = leaf == hf_extmap_leaf_of(at);
	leaf = (leaf + *absent) * HF_EXTMAP_LEAF_UNITS;
	*run_end = leaf < end ? leaf : end;
	return *absent;
}

/* The run at `at`, at most to `end`, of which the two maps say one thing; true if it is mapped.
 * While the remote map is not there, what it might hold is mapped: that costs an initiator a read
 * at worst, and waiting for a store that is away would cost it the command. */
static bool status_run(const struct hf_core_volume *volume, uint64_t at, uint64_t end,
		       uint64_t *run_end, bool *absent)
{
	struct hf_core_piece piece;

	*absent = false;
	if (hf_core_overlay_find(volume->overlay, at, end - at, &piece)) {
		if (piece.lba == at) {
			*run_end = at + piece.length;
			return piece.source != HF_CORE_FROM_ZERO;
		}
		end = piece.lba;
	}
	*run_end = end;
	if (!volume->remote || volume->closing_remote)
		return true;
	return remote_run(volume, at, end, run_end, absent);
}

/* What is absent ends the answer, which may be short, if it does not begin it. False: it begins it,
 * and the leaf is being loaded. */
static bool status_answer(struct hf_core_job *job, bool may_load)
{
	struct hf_request *request = job->request;
	unsigned capacity = request->data_length / sizeof(struct hf_ring_lba_status);
	uint64_t at = request->offset / HF_UNIT;
	uint64_t end = job->volume->config.size_bytes / HF_UNIT;
	struct hf_ring_lba_status one = {0};
	unsigned count = 0;

	if (request->length > 0)
		end = at + request->length / HF_UNIT;
	for (unsigned steps = 0; at < end && steps < LBA_STATUS_STEPS_MAX; steps++) {
		uint64_t run_end;
		bool absent;
		uint32_t provisioning = status_run(job->volume, at, end, &run_end, &absent) ? 0 : 1;

		if (absent && may_load && count == 0) {
			hf_core_map_load_for_status(&job->read, at);
			return false;
		}
		if (absent && count > 0)
			break;
		if (count == 0 || one.provisioning != provisioning) {
			if (count == capacity)
				break;
			one = (struct hf_ring_lba_status){.offset = at * HF_UNIT,
							  .provisioning = provisioning};
			count++;
		}
		one.length += (run_end - at) * HF_UNIT;
		memcpy((uint8_t *)request->data + (count - 1) * sizeof one, &one, sizeof one);
		at = run_end;
	}
	request->data_given = count * (uint32_t)sizeof one;
	return true;
}

void hf_core_lba_status_loaded(struct hf_core_read *read, int status)
{
	struct hf_core_job *job = hf_container_of(read, struct hf_core_job, read);

	HF_CHECK_MAGIC(job, HF_CORE_JOB_MAGIC);
	if (status_answer(job, status == 0))
		hf_core_job_done(job, 0);
}

static void status_start(struct hf_core_job *job)
{
	int status = hf_core_volume_ready(job->volume);
	bool away = !hf_core_remote_is_there(job->volume) ||
		    hf_remote_trouble(job->volume->remote) != 0;

	job->read.loads = 0;
	if (status != 0 || status_answer(job, !away))
		hf_core_job_done(job, status);
}

/* ---- FLUSH -------------------------------------------------------------------------------------
 */

static void flush_done(struct hf_wlog_flush *flush)
{
	struct hf_core_job *job = hf_container_of(flush, struct hf_core_job, flush);
	struct hf_core *core = job->core;

	HF_CHECK_MAGIC(job, HF_CORE_JOB_MAGIC);
	hf_core_enter(core);
	hf_core_job_done(job, flush->status);
	hf_core_leave(core);
}

void hf_core_query_start(struct hf_core_job *job)
{
	if (job->core->closing) {
		job->state = HF_CORE_JOB_READING;
		hf_core_job_done(job, HF_ECANCELED);
		return;
	}
	job->state = HF_CORE_JOB_READING;
	job->read.volume = job->volume;
	switch (job->request->op) {
	case HF_OP_READ:
		read_start(job);
		break;
	case HF_OP_VERIFY:
		verify_start(job);
		break;
	case HF_OP_LBA_STATUS:
		status_start(job);
		break;
	default:
		job->state = HF_CORE_JOB_FLUSHING;
		job->flush.done = flush_done;
		hf_wlog_flush(job->volume->home->wlog, &job->flush);
		break;
	}
}
