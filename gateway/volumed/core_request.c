/* The way of a request: checked, compared with what is known of its id, let through a gate, worked
 * on by core_write.c or core_query.c, answered. Core's thread. */
#include <stdlib.h>
#include <string.h>

#include "gateway/volumed/core_internal.h"

static bool op_is_write(enum hf_op op)
{
	return op == HF_OP_WRITE || op == HF_OP_ZERO || op == HF_OP_WRITE_SAME ||
	       op == HF_OP_COMPARE_AND_WRITE || op == HF_OP_UNMAP;
}

static int check_range(const struct hf_core_volume *volume, uint64_t offset, uint64_t length)
{
	if (offset % HF_UNIT != 0 || length % HF_UNIT != 0)
		return HF_EINVAL;
	if (offset > volume->config.size_bytes || length > volume->config.size_bytes - offset)
		return HF_ERANGE;
	return 0;
}

/* The payload's length by operation; its content is looked at after it was copied. */
static int check_payload(const struct hf_request *request)
{
	uint64_t length = request->length, data = request->data_length;

	if (data > 0 && !request->data)
		return HF_EINVAL;
	switch (request->op) {
	case HF_OP_READ:
	case HF_OP_WRITE:
		if (length > HF_WLOG_PAYLOAD_MAX)
			return HF_ETOOBIG;
		return data >= length ? 0 : HF_EINVAL;
	case HF_OP_WRITE_SAME:
		if (length > HF_RING_TRANSFER_MAX)
			return HF_ETOOBIG;
		return data >= HF_UNIT && data % HF_UNIT == 0 && data <= HF_RING_TRANSFER_MAX &&
				       length % data == 0
			       ? 0
			       : HF_EINVAL;
	case HF_OP_COMPARE_AND_WRITE:
		if (length > HF_RING_TRANSFER_MAX / 2)
			return HF_ETOOBIG;
		return data == 2 * length ? 0 : HF_EINVAL;
	case HF_OP_UNMAP:
		if (data > HF_WLOG_APPEND_RECORDS_MAX * sizeof(struct hf_ring_range))
			return HF_ETOOBIG;
		return data % sizeof(struct hf_ring_range) == 0 ? 0 : HF_EINVAL;
	case HF_OP_LBA_STATUS:
		return data >= sizeof(struct hf_ring_lba_status) ? 0 : HF_EINVAL;
	case HF_OP_FLUSH:
	case HF_OP_ZERO:
	case HF_OP_VERIFY:
		return 0;
	default:
		return HF_EUNSUPPORTED;
	}
}

static int check_request(const struct hf_core_volume *volume, const struct hf_request *request)
{
	int status = check_payload(request);

	if (status == 0)
		status = hf_core_volume_ready(volume);
	if (status == 0 && request->op != HF_OP_FLUSH && request->op != HF_OP_UNMAP)
		status = check_range(volume, request->offset, request->length);
	return status;
}

static void job_start(struct hf_core_job *job)
{
	job->gate->under_way++;
	if (op_is_write(job->request->op))
		hf_core_write_start(job);
	else
		hf_core_query_start(job);
}

/* Jobs come and go with every request: a few wait for the next. */
static struct hf_core_job *job_get(struct hf_core *core)
{
	struct hf_list *link = hf_list_pop_front(&core->job_pool);
	struct hf_core_job *job;

	if (!link)
		return hf_core_alloc(sizeof *job);
	core->job_pool_count--;
	job = hf_container_of(link, struct hf_core_job, link);
	memset(job, 0, sizeof *job);
	return job;
}

static void job_put(struct hf_core_job *job)
{
	struct hf_core *core = job->core;

	job->magic = 0;
	if (core->job_pool_count == HF_CORE_POOL_MAX) {
		free(job);
		return;
	}
	core->job_pool_count++;
	hf_list_push_front(&core->job_pool, &job->link);
}

void hf_core_jobs_free(struct hf_core *core)
{
	struct hf_list *link;

	while ((link = hf_list_pop_front(&core->job_pool)) != NULL)
		free(hf_container_of(link, struct hf_core_job, link));
}

static void job_create(struct hf_core *core, struct hf_core_volume *volume,
		       struct hf_request *request)
{
	struct hf_core_job *job = job_get(core);

	job->magic = HF_CORE_JOB_MAGIC;
	job->core = core;
	job->volume = volume;
	job->request = request;
	job->gate = op_is_write(request->op) ? &core->writes : &core->reads;
	job->state = HF_CORE_JOB_WAITING;
	job->born_ns = hf_env_now_ns(core->env);
	hf_list_init(&job->link);
	hf_list_init(&job->duplicates);
	request->impl = job;
	volume->jobs++;
	if (op_is_write(request->op) && hf_core_request_id_is_set(&request->id))
		hf_core_results_begin(core, &request->id, job);
	if (job->gate->under_way < job->gate->limit && hf_list_empty(&job->gate->waiting))
		job_start(job);
	else
		hf_list_push_back(&job->gate->waiting, &job->link);
}

/* One that comes again may take the first one's place, so it has to be like it. */
static bool is_the_same(const struct hf_request *a, const struct hf_request *b)
{
	return a->volume == b->volume && a->op == b->op && a->offset == b->offset &&
	       a->length == b->length && a->data_length == b->data_length;
}

/* True if the request has been dealt with by what is known of its id. */
static bool submit_known(struct hf_core *core, struct hf_request *request)
{
	struct hf_core_result *known;

	if (!op_is_write(request->op) || !hf_core_request_id_is_set(&request->id))
		return false;
	switch (hf_core_results_look(core, &request->id, &known)) {
	case HF_CORE_ENDED:
		hf_core_request_ended(core, request,
				      known->volume == request->volume ? known->result : HF_EINVAL);
		return true;
	case HF_CORE_UNDER_WAY:
		if (!is_the_same(known->job->request, request)) {
			hf_core_request_ended(core, request, HF_EINVAL);
			return true;
		}
		request->impl = known->job;
		hf_list_push_back(&known->job->duplicates, &request->link);
		return true;
	case HF_CORE_REFUSED:
		hf_core_request_ended(core, request, HF_EINVAL);
		return true;
	case HF_CORE_NEW:
		break;
	}
	return false;
}

void hf_core_submit(struct hf_core *core, struct hf_request *request)
{
	struct hf_core_volume *volume;
	int status;

	hf_core_enter(core);
	request->status = 0;
	request->data_given = 0;
	request->info = 0;
	request->impl = NULL;
	volume = hf_core_volume_find(core, request->volume);
	if (core->closing) {
		hf_core_request_ended(core, request, HF_ECANCELED);
	} else if (submit_known(core, request)) {
		/* answered, or attached to what is under way */
	} else if (!volume) {
		hf_core_request_ended(core, request, HF_ENOTREADY);
	} else if ((status = check_request(volume, request)) != 0) {
		hf_core_request_ended(core, request, status);
	} else {
		job_create(core, volume, request);
	}
	hf_core_leave_later(core);
}

void hf_core_hold(struct hf_core *core)
{
	HF_CHECK_MAGIC(core, HF_CORE_MAGIC);
	hf_core_for_each_log (log, core) {
		if (log->wlog)
			hf_wlog_hold(log->wlog);
	}
}

void hf_core_release(struct hf_core *core)
{
	hf_core_for_each_log (log, core) {
		if (log->wlog)
			hf_wlog_release(log->wlog);
	}
}

unsigned hf_core_appetite(const struct hf_core *core)
{
	unsigned least = HF_WLOG_BUSY;
	bool used = false;

	hf_core_for_each_log (log, core) {
		if (log->pinned == 0)
			continue;
		used = true;
		if (hf_wlog_appetite(log->wlog) < least)
			least = hf_wlog_appetite(log->wlog);
	}
	return used ? least : 0;
}

/* What starts may end at once and come here again; the loop goes on for it. */
static void gate_next(struct hf_core_gate *gate)
{
	if (gate->busy)
		return;
	gate->busy = true;
	while (gate->under_way < gate->limit && !hf_list_empty(&gate->waiting)) {
		struct hf_list *entry = hf_list_pop_front(&gate->waiting);

		job_start(hf_container_of(entry, struct hf_core_job, link));
	}
	gate->busy = false;
}

static void job_count(const struct hf_core_job *job)
{
	struct hf_core_volume *volume = job->volume;
	const struct hf_request *request = job->request;

	if (request->op == HF_OP_READ) {
		volume->read_ops++;
		volume->read_bytes += request->length;
	} else if (op_is_write(request->op)) {
		volume->write_ops++;
		volume->write_bytes += request->length;
	}
}

void hf_core_job_done(struct hf_core_job *job, int status)
{
	struct hf_core *core = job->core;
	struct hf_core_volume *volume = job->volume;
	struct hf_core_gate *gate = job->gate;
	struct hf_list *entry;

	HF_CHECK_MAGIC(job, HF_CORE_JOB_MAGIC);
	if (job->state != HF_CORE_JOB_WAITING)
		gate->under_way--;
	if (status == 0)
		job_count(job);
	if (op_is_write(job->request->op) && hf_core_request_id_is_set(&job->request->id))
		hf_core_results_end(core, &job->request->id,
				    status == 0 && job->append.record_count > 0, status);
	while ((entry = hf_list_pop_front(&job->duplicates)) != NULL) {
		struct hf_request *duplicate = hf_container_of(entry, struct hf_request, link);

		duplicate->info = job->request->info;
		hf_core_request_ended(core, duplicate, status);
	}
	hf_core_request_ended(core, job->request, status);
	if (job->ranges != &job->range)
		free(job->ranges);
	if (job->records != &job->record)
		free(job->records);
	free(job->input);
	free(job->buffer);
	job_put(job);
	volume->jobs--;
	hf_core_leave_step(volume);
	if (!core->closing)
		gate_next(gate);
}

/* A request that came again while the first was under way takes the first one's place, so that it
 * is executed though the first is not wanted any more. */
static bool cancel_hand_over(struct hf_core_job *job)
{
	struct hf_list *entry = hf_list_pop_front(&job->duplicates);

	if (!entry)
		return false;
	hf_core_request_ended(job->core, job->request, HF_ECANCELED);
	job->request = hf_container_of(entry, struct hf_request, link);
	if (job->request->op == HF_OP_WRITE)
		job->append.payload = job->request->data; /* the others have a copy */
	return true;
}

static void cancel_job(struct hf_core_job *job)
{
	if (job->state == HF_CORE_JOB_APPENDING || job->state == HF_CORE_JOB_FLUSHING)
		return; /* in the log: ends as it would have */
	if (cancel_hand_over(job))
		return;
	if (job->state == HF_CORE_JOB_WAITING) {
		hf_list_remove(&job->link);
		hf_core_job_done(job, HF_ECANCELED);
	} else if (op_is_write(job->request->op)) {
		hf_core_write_cancel(job);
	} else if (job->read.parked) {
		hf_core_read_unpark(&job->read, HF_ECANCELED);
	}
}

void hf_core_cancel(struct hf_core *core, struct hf_request *request)
{
	struct hf_core_job *job = request->impl;

	if (!job)
		return; /* ended already, and about to be told */
	hf_core_enter(core);
	HF_CHECK_MAGIC(job, HF_CORE_JOB_MAGIC);
	if (job->request == request) {
		cancel_job(job);
	} else if (job->state != HF_CORE_JOB_APPENDING) {
		hf_list_remove(&request->link);
		hf_core_request_ended(core, request, HF_ECANCELED);
	}
	hf_core_leave_later(core);
}
