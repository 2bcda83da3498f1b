/* SPDX-License-Identifier: GPL-2.0-only
 * Part of the Holdfast backing store, which tgtd loads; see docs/LICENSING.md. */
/* Requests: from the pool to the ring and back. See ring_client.h for their life.
 *
 * Ids count up in the order of first placing. A LUN places what an earlier session left unfinished
 * before anything new, in order of ids, so that ids rise within a session. */
#include "target/ring_client_impl.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/assert.h"

/* ---- Pool ---- */

static struct hf_shim_request *queued(struct hf_list *link)
{
	return hf_container_of(link, struct hf_shim_request, queue);
}

struct hf_shim_request *hf_shim_request_get(struct hf_shim_lun *lun)
{
	struct hf_shim *shim = lun->shim;
	struct hf_shim_request *request;
	struct hf_list *link;

	if (lun->requests == HF_SHIM_LUN_REQUESTS_MAX)
		return NULL;
	link = hf_list_pop_front(&shim->pool);
	if (!link)
		return NULL;
	lun->requests++;
	request = queued(link);
	*request = (struct hf_shim_request){.magic = HF_SHIM_REQUEST_MAGIC, .lun = lun};
	hf_list_init(&request->queue);
	hf_list_init(&request->numbered);
	hf_list_init(&request->bucket);
	hf_list_init(&request->aged);
	return request;
}

uint64_t hf_shim_oldest(const struct hf_shim *shim)
{
	const struct hf_list *first = shim->numbered.next;

	if (first == &shim->numbered)
		return shim->next_id;
	return hf_container_of(first, struct hf_shim_request, numbered)->id;
}

static void give_pages(struct hf_shim_request *request)
{
	if (request->page_count == 0)
		return;
	hf_slots_give(&request->lun->shim->slots, request->first_page, request->page_count);
	request->lun->used_pages -= request->page_count;
	request->page_count = 0;
}

static void lun_free(struct hf_shim_lun *lun);

/* Answers the caller; the id counts as finished only afterwards. */
static void finish(struct hf_shim_request *request, int status)
{
	struct hf_shim_lun *lun = request->lun;
	struct hf_shim *shim = lun->shim;

	if (request->state == HF_SHIM_FLYING)
		shim->flying--;
	give_pages(request);
	hf_list_remove(&request->queue);
	hf_list_remove(&request->bucket);
	hf_list_remove(&request->aged);
	request->state = HF_SHIM_IDLE;
	request->status = status;
	request->done(request);
	hf_list_remove(&request->numbered);
	hf_list_push_back(&shim->pool, &request->queue);
	if (--lun->requests == 0 && lun->closed)
		lun_free(lun);
}

/* ---- To the ring ---- */

static bool take_pages(struct hf_shim_request *request)
{
	struct hf_shim_lun *lun = request->lun;
	uint32_t pages = (request->data_length + HF_RING_PAGE - 1) / HF_RING_PAGE;

	if (pages == 0)
		return true;
	if (lun->used_pages + pages > HF_SHIM_LUN_PAGES_MAX)
		return false;
	if (!hf_slots_take(&lun->shim->slots, pages, &request->first_page)) {
		lun->shim->space_short = true;
		return false;
	}
	request->page_count = pages;
	lun->used_pages += pages;
	return true;
}

static void placed(struct hf_shim *shim)
{
	shim->publish_owed = true;
	if (!shim->soon) {
		shim->soon = true;
		shim->loop->soon(shim);
	}
}

static void number(struct hf_shim *shim, struct hf_shim_request *request)
{
	if (request->id != 0)
		return;
	request->id = shim->next_id++;
	hf_list_push_back(&shim->numbered, &request->numbered);
	hf_list_push_back(&shim->buckets[request->id % HF_SHIM_BUCKETS], &request->bucket);
}

static void place(struct hf_shim_request *request)
{
	struct hf_shim_lun *lun = request->lun;
	struct hf_shim *shim = lun->shim;

	number(shim, request);
	if (request->op == HF_OP_WRITE && lun->flushed) {
		request->flags |= HF_REQUEST_FLUSHED;
		lun->flushed = false;
	}
	if (request->fill)
		request->fill(request, hf_shim_memory_data(&shim->memory, request->first_page));
	hf_shim_memory_place(&shim->memory, &(struct hf_ring_submission){
						    .id = request->id,
						    .op = request->op,
						    .flags = request->flags,
						    .volume = lun->handle,
						    .data_page = request->first_page,
						    .offset = request->offset,
						    .length = request->length,
						    .data_length = request->data_length,
					    });
	hf_list_remove(&request->queue);
	hf_list_push_back(&lun->flying, &request->queue);
	request->state = HF_SHIM_FLYING;
	shim->flying++;
	placed(shim);
}

static void place_cancel(struct hf_shim_request *request)
{
	struct hf_shim *shim = request->lun->shim;

	if (shim->cancels >= HF_RING_ENTRIES - HF_SHIM_FLYING_MAX)
		return; /* the next tick tries again */
	hf_shim_memory_place(&shim->memory, &(struct hf_ring_submission){
						    .id = shim->next_id++,
						    .op = HF_OP_CANCEL,
						    .volume = request->lun->handle,
						    .offset = request->id,
					    });
	shim->cancels++;
	request->cancel_sent = true;
	placed(shim);
}

static void pump(struct hf_shim_lun *lun)
{
	struct hf_shim *shim = lun->shim;

	while (lun->state == HF_SHIM_BOUND && shim->state == HF_SHIM_SERVING &&
	       shim->flying < HF_SHIM_FLYING_MAX) {
		struct hf_list *from =
			hf_list_empty(&lun->resubmit) ? &lun->waiting : &lun->resubmit;

		if (hf_list_empty(from) || !take_pages(queued(from->next)))
			return;
		place(queued(from->next));
	}
}

void hf_shim_pump_all(struct hf_shim *shim)
{
	shim->space_short = false;
	hf_shim_for_each_lun(lun, shim)
	{
		pump(lun);
		if (shim->space_short || shim->flying == HF_SHIM_FLYING_MAX) {
			/* It goes first next time, so that nobody waits for ever. */
			hf_list_remove(&lun->link);
			hf_list_push_front(&shim->luns, &lun->link);
			return;
		}
	}
	hf_shim_session_resumed(shim);
}

void hf_shim_submit(struct hf_shim_request *request)
{
	struct hf_shim_lun *lun = request->lun;
	struct hf_shim *shim = lun->shim;

	HF_CHECK_MAGIC(request, HF_SHIM_REQUEST_MAGIC);
	HF_ASSERT(request->state == HF_SHIM_IDLE && request->data_length <= HF_RING_TRANSFER_MAX);
	request->state = HF_SHIM_WAITING;
	request->since_ms = shim->loop->now_ms();
	hf_list_push_back(&lun->waiting, &request->queue);
	hf_list_push_back(&shim->aged, &request->aged);
	hf_shim_session_tick(shim);
	if (!shim->space_short)
		pump(lun);
}

bool hf_shim_read_inline(const struct hf_shim_lun *lun, uint64_t offset, uint64_t length, void *to)
{
	const struct hf_shim *shim = lun->shim;

	/* Until what an earlier session left unfinished is submitted again, order is as it came. */
	return shim->state == HF_SHIM_SERVING && lun->state == HF_SHIM_BOUND &&
	       hf_list_empty(&lun->resubmit) &&
	       hf_shim_tier_read(&shim->tier, lun->handle, offset, length, to);
}

bool hf_shim_flush_inline(struct hf_shim_lun *lun)
{
	const struct hf_shim *shim = lun->shim;

	if (shim->state != HF_SHIM_SERVING || lun->state != HF_SHIM_BOUND ||
	    !hf_list_empty(&lun->resubmit) ||
	    !hf_shim_memory_is_durable(&shim->memory, lun->handle))
		return false;
	lun->flushed = true;
	return true;
}

void hf_shim_flush(struct hf_shim *shim)
{
	HF_CHECK_MAGIC(shim, HF_SHIM_MAGIC);
	shim->soon = false;
	if (!shim->publish_owed || shim->state != HF_SHIM_SERVING)
		return;
	shim->publish_owed = false;
	hf_shim_memory_publish(&shim->memory);
	if (hf_shim_memory_needs_wake(&shim->memory))
		hf_shim_memory_wake(&shim->memory);
}

/* ---- From the ring ---- */

static struct hf_shim_request *find(struct hf_shim *shim, uint64_t id)
{
	hf_list_for_each (link, &shim->buckets[id % HF_SHIM_BUCKETS]) {
		struct hf_shim_request *request =
			hf_container_of(link, struct hf_shim_request, bucket);

		if (request->id == id)
			return request;
	}
	return NULL;
}

/* False: volumed answered what it was not asked. */
static bool complete(struct hf_shim *shim, const struct hf_ring_completion *completion)
{
	struct hf_shim_request *request = find(shim, completion->id);
	int status = completion->status;

	if (!request) {
		if (shim->cancels == 0)
			return false;
		shim->cancels--;
		return true;
	}
	if (request->state != HF_SHIM_FLYING || completion->data_length > request->data_length)
		return false;
	if (status == HF_ECANCELED && request->expired)
		status = HF_ETIMEDOUT;
	request->data_given = completion->data_length;
	request->info = completion->info;
	request->status = status;
	if (status == 0 && request->take)
		request->take(request, hf_shim_memory_data(&shim->memory, request->first_page));
	finish(request, request->status);
	return true;
}

void hf_shim_requests_collect(struct hf_shim *shim)
{
	int count = hf_shim_memory_completed(&shim->memory);

	for (int i = 0; i < count; i++) {
		struct hf_ring_completion completion;

		hf_shim_memory_collect(&shim->memory, &completion);
		if (!complete(shim, &completion))
			count = HF_EPROTO;
	}
	if (count < 0) {
		hf_shim_session_hang_up(shim, "volumed answered what it was not asked");
		return;
	}
	if (count == 0)
		return;
	hf_shim_memory_collected(&shim->memory);
	hf_shim_memory_set_oldest(&shim->memory, hf_shim_oldest(shim));
	hf_shim_pump_all(shim);
}

/* ---- Deadlines, and volumed's death ---- */

void hf_shim_requests_lost(struct hf_shim *shim)
{
	hf_shim_for_each_lun(lun, shim)
	{
		hf_list_splice_back(&lun->flying, &lun->resubmit);
		hf_list_splice_back(&lun->resubmit, &lun->flying);
		lun->used_pages = 0;
		lun->state = HF_SHIM_UNBOUND;
	}
	hf_list_for_each (link, &shim->numbered) {
		struct hf_shim_request *request =
			hf_container_of(link, struct hf_shim_request, numbered);

		request->state = HF_SHIM_RESUBMIT;
		request->page_count = 0;
		request->cancel_sent = false;
	}
	hf_slots_reset(&shim->slots);
	shim->flying = 0;
	shim->cancels = 0;
	shim->publish_owed = false;
	shim->space_short = false;
	hf_shim_requests_expire(shim);
}

static void expire(struct hf_shim_request *request)
{
	struct hf_shim *shim = request->lun->shim;

	request->expired = true;
	if (request->state != HF_SHIM_FLYING)
		finish(request, HF_ETIMEDOUT);
	else if (shim->state == HF_SHIM_SERVING && !request->cancel_sent)
		place_cancel(request);
}

void hf_shim_requests_expire(struct hf_shim *shim)
{
	uint64_t now_ms = shim->loop->now_ms();

	hf_list_for_each_safe (link, &shim->aged) {
		struct hf_shim_request *request =
			hf_container_of(link, struct hf_shim_request, aged);

		if (now_ms - request->since_ms < shim->deadline_ms)
			break;
		expire(request);
	}
	if (shim->state == HF_SHIM_SERVING)
		hf_shim_memory_set_oldest(&shim->memory, hf_shim_oldest(shim));
}

/* ---- LUNs ---- */

static struct hf_shim_lun *lun_of(struct hf_shim *shim, uint64_t volume)
{
	hf_shim_for_each_lun(lun, shim)
	{
		if (lun->volume == volume)
			return lun;
	}
	return NULL;
}

int hf_shim_lun_open(struct hf_shim *shim, uint64_t volume,
		     void (*changed)(void *owner, uint64_t size_bytes, uint32_t flags), void *owner,
		     struct hf_shim_lun **out)
{
	struct hf_shim_lun *lun;

	if (lun_of(shim, volume))
		return HF_EEXIST;
	if (shim->lun_count == HF_RING_VOLUMES_MAX)
		return HF_ENOMEM;
	lun = calloc(1, sizeof *lun);
	if (!lun)
		return HF_ENOMEM;
	*lun = (struct hf_shim_lun){
		.magic = HF_SHIM_LUN_MAGIC,
		.shim = shim,
		.volume = volume,
		.changed = changed,
		.owner = owner,
	};
	hf_list_init(&lun->waiting);
	hf_list_init(&lun->resubmit);
	hf_list_init(&lun->flying);
	hf_list_push_back(&shim->luns, &lun->link);
	shim->lun_count++;
	hf_shim_session_advance(shim);
	*out = lun;
	return 0;
}

bool hf_shim_lun_any(struct hf_shim_lun *lun,
		     bool (*is)(const struct hf_shim_request *request, void *context),
		     void *context)
{
	struct hf_list *const lists[] = {&lun->waiting, &lun->resubmit, &lun->flying};

	for (unsigned i = 0; i < sizeof lists / sizeof lists[0]; i++) {
		hf_list_for_each (link, lists[i]) {
			if (is(queued(link), context))
				return true;
		}
	}
	return false;
}

static void lun_free(struct hf_shim_lun *lun)
{
	struct hf_shim *shim = lun->shim;

	hf_list_remove(&lun->link);
	shim->lun_count--;
	if (lun->state != HF_SHIM_UNBOUND)
		hf_shim_session_unbind(shim, lun->volume);
	lun->magic = 0;
	free(lun);
}

void hf_shim_lun_close(struct hf_shim_lun *lun)
{
	HF_CHECK_MAGIC(lun, HF_SHIM_LUN_MAGIC);
	HF_ASSERT(!lun->closed);
	lun->closed = true;
	if (lun->requests == 0)
		lun_free(lun);
}

/* ---- Opening ---- */

static void init_lists(struct hf_shim *shim)
{
	hf_list_init(&shim->luns);
	hf_list_init(&shim->pool);
	hf_list_init(&shim->numbered);
	hf_list_init(&shim->aged);
	for (unsigned i = 0; i < HF_SHIM_BUCKETS; i++)
		hf_list_init(&shim->buckets[i]);
	for (unsigned i = 0; i < HF_SHIM_REQUESTS_MAX; i++)
		hf_list_push_back(&shim->pool, &shim->requests[i].queue);
}

int hf_shim_open(const struct hf_shim_config *config, struct hf_shim **out)
{
	struct hf_shim *shim;
	int err;

	if (strlen(config->socket) >= sizeof shim->address.sun_path)
		return HF_EINVAL;
	shim = calloc(1, sizeof *shim);
	if (!shim)
		return HF_ENOMEM;
	shim->requests = calloc(HF_SHIM_REQUESTS_MAX, sizeof *shim->requests);
	if (!shim->requests) {
		err = HF_ENOMEM;
		goto err_after_shim;
	}
	shim->magic = HF_SHIM_MAGIC;
	shim->loop = config->loop;
	shim->deadline_ms = config->deadline_ms;
	shim->next_id = 1;
	shim->socket = -1;
	strcpy(shim->address.sun_path, config->socket);
	init_lists(shim);
	if (getrandom(shim->uuid, sizeof shim->uuid, 0) != (ssize_t)sizeof shim->uuid) {
		err = HF_EIO;
		goto err_after_requests;
	}
	err = hf_shim_session_open(shim);
	if (err)
		goto err_after_requests;
	*out = shim;
	return 0;

err_after_requests:
	free(shim->requests);
err_after_shim:
	free(shim);
	return err;
}

void hf_shim_abandon(struct hf_shim *shim)
{
	HF_CHECK_MAGIC(shim, HF_SHIM_MAGIC);
	hf_shim_session_close(shim);
	hf_shim_for_each_lun(lun, shim) free(lun);
	free(shim->requests);
	free(shim);
}
