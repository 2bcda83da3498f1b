/* Descriptors become requests of the core, the core's answers become completions.
 *
 *   taken → (refused at once | in the core, in its bucket) → done → placed → published → wake
 *
 * A CANCEL never enters the core: it hangs on the request it names and ends after it, or at once
 * when that one has ended already. Everything that is wrong with a single descriptor is answered
 * with an error; what no shim of ours can do by mistake ends the session. */
#include "gateway/volumed/ring_host_impl.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

int hf_ring_requests_open(struct hf_ring_session *session)
{
	session->requests = calloc(HF_RING_ENTRIES, sizeof *session->requests);
	if (!session->requests)
		return HF_ENOMEM;
	hf_list_init(&session->free_requests);
	hf_list_init(&session->unsure);
	for (unsigned i = 0; i < HF_RING_VOLUMES_MAX; i++)
		hf_list_init(&session->bindings[i].unsure);
	for (unsigned i = 0; i < HF_RING_BUCKETS; i++)
		hf_list_init(&session->buckets[i]);
	for (unsigned i = 0; i < HF_RING_ENTRIES; i++) {
		session->requests[i].magic = HF_RING_REQUEST_MAGIC;
		session->requests[i].session = session;
		hf_list_init(&session->requests[i].cancels);
		hf_list_push_back(&session->free_requests, &session->requests[i].link);
	}
	return 0;
}

void hf_ring_requests_close(struct hf_ring_session *session)
{
	HF_ASSERT(session->under_way == 0);
	free(session->requests);
	session->requests = NULL;
}

/* ---- Completions ---- */

static void complete(struct hf_ring_session *session, const struct hf_ring_completion *completion)
{
	if (session->state != HF_RING_SERVING)
		return;
	if (hf_ring_memory_check_room(&session->memory) != 0) {
		hf_ring_session_drop(session, "it leaves no room for completions");
		return;
	}
	hf_ring_memory_place(&session->memory, completion);
	hf_ring_memory_publish(&session->memory);
	session->wake_owed = true;
}

static uint64_t pages_of(uint32_t data_length)
{
	return ((uint64_t)data_length + HF_RING_PAGE - 1) / HF_RING_PAGE;
}

static void answer(struct hf_ring_session *session, uint64_t id, int status)
{
	complete(session, &(struct hf_ring_completion){.id = id, .status = status});
}

/* ---- What a flush would find ---- */

static bool changes(enum hf_op op)
{
	return op == HF_OP_WRITE || op == HF_OP_ZERO || op == HF_OP_WRITE_SAME ||
	       op == HF_OP_COMPARE_AND_WRITE || op == HF_OP_UNMAP;
}

void hf_ring_requests_unsure(struct hf_ring_session *session, uint32_t handle)
{
	struct hf_ring_binding *binding = &session->bindings[handle];

	if (binding->durable)
		hf_ring_memory_set_durable(&session->memory, handle, false);
	binding->durable = false;
}

/* Before the completion of a change is published. */
static void changed(struct hf_ring_session *session, uint32_t handle)
{
	struct hf_ring_binding *binding = &session->bindings[handle];

	if (session->state != HF_RING_SERVING || binding->state != HF_RING_HELD)
		return;
	hf_ring_requests_unsure(session, handle);
	hf_list_remove(&binding->unsure);
	hf_list_push_back(&session->unsure, &binding->unsure);
}

void hf_ring_requests_look(struct hf_ring_session *session)
{
	if (session->state != HF_RING_SERVING)
		return;
	hf_list_for_each_safe (link, &session->unsure) {
		struct hf_ring_binding *binding =
			hf_container_of(link, struct hf_ring_binding, unsure);

		if (!hf_core_volume_is_durable(hf_ring_host_core(session->host), binding->volume))
			continue;
		hf_list_remove(&binding->unsure);
		binding->durable = true;
		hf_ring_memory_set_durable(&session->memory,
					   (uint32_t)(binding - session->bindings), true);
	}
}

static void release(struct hf_ring_request *request)
{
	request->busy = false;
	hf_list_remove(&request->link);
	hf_list_push_back(&request->session->free_requests, &request->link);
}

static void request_done(struct hf_request *core)
{
	struct hf_ring_request *request = hf_container_of(core, struct hf_ring_request, core);
	struct hf_ring_session *session = request->session;
	struct hf_ring_completion completion = {
		.id = core->id.id,
		.status = core->status,
		.data_length = core->data_given,
		.info = core->info,
	};
	struct hf_list *link;

	HF_CHECK_MAGIC(request, HF_RING_REQUEST_MAGIC);
	HF_ASSERT(request->busy);
	session->under_way--;
	session->bindings[request->handle].under_way--;
	session->payload_pages -= pages_of(core->data_length);
	if (changes(core->op))
		changed(session, request->handle);
	complete(session, &completion);
	while ((link = hf_list_pop_front(&request->cancels)) != NULL) {
		struct hf_ring_request *cancel =
			hf_container_of(link, struct hf_ring_request, link);

		answer(session, cancel->core.id.id, 0);
		release(cancel);
	}
	release(request);
	if (session->state == HF_RING_DRAINING && session->under_way == 0 && !session->cancelling)
		hf_ring_session_drained(session);
}

static void request_verified(struct hf_request *core, const void *bytes)
{
	struct hf_ring_request *request = hf_container_of(core, struct hf_ring_request, core);

	HF_CHECK_MAGIC(request, HF_RING_REQUEST_MAGIC);
	hf_ring_tier_filled(request->session, request->handle, core, request->tier_moment, bytes);
}

/* ---- Submissions ---- */

static bool is_block_multiple(uint64_t value)
{
	return value % 512 == 0;
}

/* Is the payload's length what this operation needs? */
static bool payload_fits(const struct hf_ring_submission *submission)
{
	uint64_t length = submission->length;
	uint32_t payload = submission->data_length;

	switch (submission->op) {
	case HF_OP_READ:
	case HF_OP_WRITE:
		return length != 0 && payload == length;
	case HF_OP_WRITE_SAME:
		return length != 0 && length <= HF_RING_TRANSFER_MAX &&
		       (payload == 512 || payload == 4096) && length % payload == 0;
	case HF_OP_COMPARE_AND_WRITE:
		return length != 0 && length <= HF_RING_TRANSFER_MAX / 2 && payload == 2 * length;
	case HF_OP_UNMAP:
		return payload != 0 && payload % sizeof(struct hf_ring_range) == 0 &&
		       payload <= HF_RING_UNMAP_RANGES_MAX * sizeof(struct hf_ring_range);
	case HF_OP_LBA_STATUS:
		return length != 0 && payload >= sizeof(struct hf_ring_lba_status);
	case HF_OP_KEEP:
		return length == 0 && payload != 0 && payload <= HF_RING_KEEP_MAX;
	case HF_OP_RECALL:
		return length == 0 && payload == HF_RING_KEEP_MAX;
	case HF_OP_ZERO:
		return length != 0 && payload == 0;
	case HF_OP_VERIFY:
		return length != 0 && length <= HF_RING_TRANSFER_MAX && payload == 0;
	default:
		return payload == 0;
	}
}

/* What one descriptor may be, whatever the volume: 0 or the error it is answered with. */
static int check_submission(const struct hf_ring_submission *submission)
{
	uint64_t pages = pages_of(submission->data_length);

	if (submission->op < HF_OP_READ || submission->op > HF_OP_RECALL)
		return HF_EUNSUPPORTED;
	if (submission->flags & ~(HF_REQUEST_FUA | HF_REQUEST_FLUSHED))
		return HF_EUNSUPPORTED;
	if (submission->op == HF_OP_CANCEL)
		return 0;
	if (submission->data_length > HF_RING_TRANSFER_MAX)
		return HF_ETOOBIG;
	if (submission->data_page + pages > HF_RING_DATA_BYTES / HF_RING_PAGE)
		return HF_EINVAL;
	if (!is_block_multiple(submission->offset) || !is_block_multiple(submission->length))
		return HF_EINVAL;
	if (submission->offset + submission->length < submission->offset)
		return HF_ERANGE;
	return payload_fits(submission) ? 0 : HF_EINVAL;
}

static struct hf_ring_request *find(struct hf_ring_session *session, uint64_t id)
{
	hf_list_for_each (link, &session->buckets[id % HF_RING_BUCKETS]) {
		struct hf_ring_request *request =
			hf_container_of(link, struct hf_ring_request, link);

		if (request->core.id.id == id)
			return request;
	}
	return NULL;
}

static void cancel_one(struct hf_ring_session *session, struct hf_ring_request *cancel,
		       const struct hf_ring_submission *submission)
{
	struct hf_ring_request *target = find(session, submission->offset);

	if (!target || target->handle != submission->volume) {
		answer(session, submission->id, 0);
		return;
	}
	hf_list_remove(&cancel->link);
	hf_list_push_back(&target->cancels, &cancel->link);
	if (target->core.op != HF_OP_KEEP)
		hf_core_cancel(hf_ring_host_core(session->host), &target->core);
}

static void execute(struct hf_ring_session *session, struct hf_ring_request *request,
		    const struct hf_ring_submission *submission)
{
	struct hf_ring_binding *binding = &session->bindings[submission->volume];

	request->core = (struct hf_request){
		.op = (enum hf_op)submission->op,
		.flags = submission->flags,
		.volume = binding->volume,
		.id.id = submission->id,
		.offset = submission->offset,
		.length = submission->length,
		.data_length = submission->data_length,
		.done = request_done,
	};
	memcpy(request->core.id.ring, session->uuid, 16);
	if (submission->op == HF_OP_CANCEL) {
		cancel_one(session, request, submission);
		return;
	}
	request->core.data = hf_ring_memory_data(&session->memory, submission->data_page);
	request->handle = submission->volume;
	if (session->tier && submission->op == HF_OP_READ) {
		request->tier_moment = hf_ring_tier_moment(session);
		request->core.verified = request_verified;
	}
	request->busy = true;
	session->under_way++;
	session->payload_pages += pages_of(submission->data_length);
	binding->under_way++;
	hf_list_remove(&request->link);
	hf_list_push_back(&session->buckets[submission->id % HF_RING_BUCKETS], &request->link);
	if (submission->op == HF_OP_KEEP)
		hf_ring_keep(session, request);
	else
		hf_core_submit(hf_ring_host_core(session->host), &request->core);
}

static void recall(struct hf_ring_session *session, const struct hf_ring_submission *submission)
{
	struct hf_ring_completion completion = {.id = submission->id};

	completion.status = hf_ring_recall(session, submission, &completion.data_length);
	complete(session, &completion);
}

static void take_one(struct hf_ring_session *session, const struct hf_ring_submission *submission)
{
	struct hf_ring_binding *binding;
	int err;

	if (submission->volume >= HF_RING_VOLUMES_MAX ||
	    session->bindings[submission->volume].state != HF_RING_HELD) {
		answer(session, submission->id, HF_EACCES);
		return;
	}
	binding = &session->bindings[submission->volume];
	if (submission->id <= binding->last_id) {
		hf_ring_session_drop(session, "a request's number was used before");
		return;
	}
	binding->last_id = submission->id;
	err = check_submission(submission);
	if (!err && submission->op != HF_OP_CANCEL && submission->id < session->oldest_unfinished)
		err = HF_EINVAL;
	if (err) {
		answer(session, submission->id, err);
		return;
	}
	if (submission->op == HF_OP_RECALL) {
		recall(session, submission);
		return;
	}
	if (hf_list_empty(&session->free_requests)) {
		hf_ring_session_drop(session, "more requests are under way than the ring holds");
		return;
	}
	/* The core may hold a copy of each payload. Those of a shim lie side by side, so together
	 * they are no more than the data area. */
	if (submission->op != HF_OP_CANCEL &&
	    session->payload_pages + pages_of(submission->data_length) >
		    HF_RING_DATA_BYTES / HF_RING_PAGE) {
		hf_ring_session_drop(session, "its payloads overlap");
		return;
	}
	execute(session, hf_container_of(session->free_requests.next, struct hf_ring_request, link),
		submission);
}

void hf_ring_requests_take(struct hf_ring_session *session)
{
	uint64_t oldest = hf_ring_memory_oldest(&session->memory);
	int count = hf_ring_memory_submitted(&session->memory);

	if (oldest > session->oldest_unfinished) {
		session->oldest_unfinished = oldest;
		hf_core_ring_progress(hf_ring_host_core(session->host), session->uuid, oldest);
	}
	if (count < 0) {
		hf_ring_session_drop(session, "its submission index is impossible");
		return;
	}
	if (count == 0)
		return;
	hf_core_hold(hf_ring_host_core(session->host));
	for (int i = 0; i < count && session->state == HF_RING_SERVING; i++) {
		struct hf_ring_submission submission;

		hf_ring_memory_take(&session->memory, &submission);
		take_one(session, &submission);
	}
	hf_core_release(hf_ring_host_core(session->host));
	if (session->state == HF_RING_SERVING)
		hf_ring_memory_taken(&session->memory);
}

bool hf_ring_requests_be_quiet(struct hf_ring_session *session)
{
	unsigned appetite = hf_core_appetite(hf_ring_host_core(session->host));
	uint64_t through = session->memory.submit_head;

	if (appetite == HF_WLOG_BUSY)
		through = UINT64_MAX;
	else if (appetite > 0)
		through += appetite - 1;
	return hf_ring_memory_be_quiet(&session->memory, through);
}

void hf_ring_requests_cancel(struct hf_ring_session *session)
{
	session->cancelling = true;
	for (unsigned i = 0; i < HF_RING_ENTRIES; i++) {
		if (session->requests[i].busy && session->requests[i].core.op != HF_OP_KEEP)
			hf_core_cancel(hf_ring_host_core(session->host),
				       &session->requests[i].core);
	}
	session->cancelling = false;
}

void hf_ring_requests_wake(struct hf_ring_session *session)
{
	if (!session->wake_owed || session->state != HF_RING_SERVING)
		return;
	session->wake_owed = false;
	hf_ring_memory_wake(&session->memory);
}
