/* What the requests of rings were answered, so that a request that is submitted again after a death
 * of volumed is answered and not executed again ("Once", DESIGN section 5). Core's thread.
 *
 * A ring has at most HF_RING_ENTRIES requests unfinished: under way here, or ended and not yet
 * taken out of the completion ring. The latter are among the last that ended, so the results of
 * HF_CORE_ENDED_MAX are kept, and fewer if the shim says that older ids are finished. Ids may be
 * far apart: one request that waits for the store holds up no other. A result is one of these:
 *
 *   under way   job set, sequence 0: nothing of it is in the log
 *   logged      job set, sequence set: control state names it, see core_state.c
 *   ended       job NULL, sequence set: answered from here
 *
 * Only what has a record is remembered: a request that failed or miscompared changed nothing and
 * may be executed again. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/volumed/core_internal.h"

#define RECOVERED_RINGS_MAX 1024u

static struct hf_list *ring_bucket(struct hf_core_ring *ring, uint64_t id)
{
	return &ring->buckets[id % HF_CORE_RESULT_BUCKETS];
}

static struct hf_core_result *ring_find(struct hf_core_ring *ring, uint64_t id)
{
	hf_list_for_each (cursor, ring_bucket(ring, id)) {
		struct hf_core_result *result =
			hf_container_of(cursor, struct hf_core_result, bucket);

		if (result->id == id)
			return result;
	}
	return NULL;
}

static struct hf_core_result *ring_add(struct hf_core_ring *ring, uint64_t id)
{
	struct hf_list *link = hf_list_pop_front(&ring->spare);
	struct hf_core_result *result;

	if (link) {
		result = hf_container_of(link, struct hf_core_result, order);
		memset(result, 0, sizeof *result);
	} else {
		result = hf_core_alloc(sizeof *result);
	}
	result->id = id;
	hf_list_push_back(ring_bucket(ring, id), &result->bucket);
	hf_list_init(&result->order);
	return result;
}

static void ring_drop(struct hf_core_ring *ring, struct hf_core_result *result)
{
	if (!result->job)
		ring->ended_count--;
	hf_list_remove(&result->bucket);
	hf_list_remove(&result->order);
	hf_list_push_front(&ring->spare, &result->order);
}

/* It has ended now; the one that ended longest ago makes room. */
static void ring_end(struct hf_core_ring *ring, struct hf_core_result *result)
{
	result->job = NULL;
	hf_list_remove(&result->order);
	hf_list_push_back(&ring->ended, &result->order);
	if (++ring->ended_count > ring->ended_limit)
		ring_drop(ring, hf_container_of(ring->ended.next, struct hf_core_result, order));
}

static void ring_free(struct hf_core_ring *ring)
{
	for (unsigned i = 0; i < HF_CORE_RESULT_BUCKETS; i++)
		hf_list_for_each_safe (cursor, &ring->buckets[i]) {
			free(hf_container_of(cursor, struct hf_core_result, bucket));
		}
	hf_list_for_each_safe (cursor, &ring->spare) {
		free(hf_container_of(cursor, struct hf_core_result, order));
	}
	hf_list_remove(&ring->link);
	free(ring);
}

/* The ring that was used least recently and has nothing under way makes room. While several logs
 * are recovered in any order, nobody knows which that is. */
static bool rings_make_room(struct hf_core *core)
{
	if (core->ring_count < (core->recovering ? RECOVERED_RINGS_MAX : HF_CORE_RINGS_MAX))
		return true;
	hf_list_for_each (cursor, &core->rings) {
		struct hf_core_ring *ring = hf_container_of(cursor, struct hf_core_ring, link);

		if (hf_list_empty(&ring->under_way)) {
			hf_core_ring_forget(core, ring->uuid);
			return true;
		}
	}
	return false;
}

struct hf_core_ring *hf_core_ring_get(struct hf_core *core, const uint8_t uuid[16], bool create)
{
	struct hf_core_ring *ring;

	for (struct hf_list *cursor = core->rings.prev; cursor != &core->rings;
	     cursor = cursor->prev) {
		ring = hf_container_of(cursor, struct hf_core_ring, link);
		if (memcmp(ring->uuid, uuid, sizeof ring->uuid) == 0) {
			hf_list_remove(&ring->link);
			hf_list_push_back(&core->rings, &ring->link);
			return ring;
		}
	}
	if (!create || !rings_make_room(core))
		return NULL;
	ring = hf_core_alloc(sizeof *ring);
	memcpy(ring->uuid, uuid, sizeof ring->uuid);
	ring->ended_limit = core->recovering ? UINT_MAX : HF_CORE_ENDED_MAX;
	for (unsigned i = 0; i < HF_CORE_RESULT_BUCKETS; i++)
		hf_list_init(&ring->buckets[i]);
	hf_list_init(&ring->ended);
	hf_list_init(&ring->under_way);
	hf_list_init(&ring->spare);
	hf_list_push_back(&core->rings, &ring->link);
	core->ring_count++;
	return ring;
}

bool hf_core_request_id_is_set(const struct hf_request_id *id)
{
	static const struct hf_request_id none;

	return memcmp(id, &none, sizeof none) != 0;
}

enum hf_core_known hf_core_results_look(struct hf_core *core, const struct hf_request_id *id,
					struct hf_core_result **result)
{
	struct hf_core_ring *ring = hf_core_ring_get(core, id->ring, true);

	if (!ring || id->id == 0 || id->id < ring->oldest_unfinished)
		return HF_CORE_REFUSED;
	ring->live = true;
	*result = ring_find(ring, id->id);
	if (!*result)
		return HF_CORE_NEW;
	return (*result)->job ? HF_CORE_UNDER_WAY : HF_CORE_ENDED;
}

void hf_core_results_begin(struct hf_core *core, const struct hf_request_id *id,
			   struct hf_core_job *job)
{
	struct hf_core_ring *ring = hf_core_ring_get(core, id->ring, true);
	struct hf_core_result *result;

	HF_ASSERT(ring != NULL && !ring_find(ring, id->id));
	result = ring_add(ring, id->id);
	result->volume = job->volume->config.volume;
	result->job = job;
	hf_list_push_back(&ring->under_way, &result->order);
}

static struct hf_core_result *results_find(struct hf_core *core, const struct hf_request_id *id,
					   struct hf_core_ring **ring)
{
	struct hf_core_result *result;

	*ring = hf_core_ring_get(core, id->ring, false);
	HF_ASSERT(*ring != NULL);
	result = ring_find(*ring, id->id);
	HF_ASSERT(result != NULL && result->job != NULL);
	return result;
}

void hf_core_results_logged(struct hf_core *core, const struct hf_request_id *id, uint64_t sequence)
{
	struct hf_core_ring *ring;

	if (hf_core_request_id_is_set(id))
		results_find(core, id, &ring)->sequence = sequence;
}

void hf_core_results_end(struct hf_core *core, const struct hf_request_id *id, bool remember,
			 int32_t status)
{
	struct hf_core_ring *ring;
	struct hf_core_result *result = results_find(core, id, &ring);

	result->result = status;
	if (remember && id->id >= ring->oldest_unfinished)
		ring_end(ring, result);
	else
		ring_drop(ring, result);
}

void hf_core_results_recovered(struct hf_core_log *log, const struct hf_request_id *id,
			       uint64_t volume, uint64_t sequence, int32_t status)
{
	struct hf_core *core = log->core;
	struct hf_core_ring *ring;
	struct hf_core_result *result;

	if (!hf_core_request_id_is_set(id) || id->id == 0)
		return;
	ring = hf_core_ring_get(core, id->ring, true);
	HF_ASSERT(ring != NULL); /* nothing is under way yet, so there is always room */
	if (id->id < ring->oldest_unfinished)
		return;
	result = ring_find(ring, id->id);
	if (result)
		ring->ended_count--;
	else
		result = ring_add(ring, id->id);
	/* Logs come in any order, so the newest of several counts. */
	if (result->volume != volume)
		result->logs = 0;
	if ((result->logs & ~(1u << log->index)) == 0 || sequence >= result->sequence) {
		result->sequence = sequence;
		result->result = status;
	}
	result->logs |= 1u << log->index;
	result->volume = volume;
	ring_end(ring, result);
}

typedef bool result_test(struct hf_core *core, const struct hf_core_ring *ring,
			 const struct hf_core_result *result, uint64_t argument);

static void results_forget_if(struct hf_core *core, result_test *gone, uint64_t argument)
{
	hf_list_for_each (cursor, &core->rings) {
		struct hf_core_ring *ring = hf_container_of(cursor, struct hf_core_ring, link);

		hf_list_for_each_safe (entry, &ring->ended) {
			struct hf_core_result *result =
				hf_container_of(entry, struct hf_core_result, order);

			if (gone(core, ring, result, argument))
				ring_drop(ring, result);
		}
	}
}

/* How many logs there are does not matter to a shim: what it has not taken is among the last that
 * ended, of those that came back and of those that end from now on. */
static void rings_limit(struct hf_core *core)
{
	hf_list_for_each (cursor, &core->rings) {
		struct hf_core_ring *ring = hf_container_of(cursor, struct hf_core_ring, link);

		ring->ended_limit = ring->ended_count + HF_CORE_ENDED_MAX;
	}
}

static bool result_is_of(struct hf_core *core, const struct hf_core_ring *ring,
			 const struct hf_core_result *result, uint64_t volume)
{
	(void)core;
	(void)ring;
	return result->volume == volume;
}

void hf_core_results_forget_volume(struct hf_core *core, uint64_t volume)
{
	results_forget_if(core, result_is_of, volume);
}

/* Its sequence was not reached, or another request's record has it. */
static bool result_did_not_survive(struct hf_core *core, const struct hf_core_ring *ring,
				   const struct hf_core_result *result, uint64_t unused)
{
	struct hf_core_volume *volume = hf_core_volume_find(core, result->volume);
	const struct hf_core_entry *entry;

	(void)unused;
	if (!volume || result->sequence >= volume->next_sequence)
		return true;
	if (!volume->home || !(result->logs & 1u << volume->home->index))
		return true;
	entry = hf_core_queue_at(&volume->queue, result->sequence);
	return entry && (entry->request.id != result->id ||
			 memcmp(entry->request.ring, ring->uuid, sizeof ring->uuid) != 0);
}

/* Of more than there is to be those go that nothing came back of. */
static void rings_trim(struct hf_core *core)
{
	hf_list_for_each_safe (cursor, &core->rings) {
		struct hf_core_ring *ring = hf_container_of(cursor, struct hf_core_ring, link);

		if (core->ring_count <= HF_CORE_RINGS_MAX)
			return;
		if (hf_list_empty(&ring->ended))
			hf_core_ring_forget(core, ring->uuid);
	}
}

void hf_core_results_validate(struct hf_core *core)
{
	results_forget_if(core, result_did_not_survive, 0);
	rings_trim(core);
	rings_limit(core);
}

void hf_core_results_disown(struct hf_core_log *log, uint64_t volume)
{
	hf_list_for_each (cursor, &log->core->rings) {
		struct hf_core_ring *ring = hf_container_of(cursor, struct hf_core_ring, link);

		hf_list_for_each_safe (entry, &ring->ended) {
			struct hf_core_result *result =
				hf_container_of(entry, struct hf_core_result, order);

			if (result->volume != volume)
				continue;
			result->logs &= ~(1u << log->index);
			if (result->logs == 0)
				ring_drop(ring, result);
		}
	}
}

void hf_core_ring_progress(struct hf_core *core, const uint8_t ring_uuid[16],
			   uint64_t oldest_unfinished)
{
	struct hf_core_ring *ring = hf_core_ring_get(core, ring_uuid, true);

	if (!ring || oldest_unfinished <= ring->oldest_unfinished)
		return;
	ring->oldest_unfinished = oldest_unfinished;
	hf_list_for_each_safe (cursor, &ring->ended) {
		struct hf_core_result *result =
			hf_container_of(cursor, struct hf_core_result, order);

		if (result->id < oldest_unfinished)
			ring_drop(ring, result);
	}
	if (ring->ended_limit > ring->ended_count + HF_CORE_ENDED_MAX && !core->recovering)
		ring->ended_limit = ring->ended_count + HF_CORE_ENDED_MAX;
}

void hf_core_ring_forget(struct hf_core *core, const uint8_t ring_uuid[16])
{
	struct hf_core_ring *ring = hf_core_ring_get(core, ring_uuid, false);

	if (!ring || !hf_list_empty(&ring->under_way))
		return;
	ring_free(ring);
	core->ring_count--;
}

void hf_core_rings_free(struct hf_core *core)
{
	while (!hf_list_empty(&core->rings))
		ring_free(hf_container_of(core->rings.next, struct hf_core_ring, link));
	core->ring_count = 0;
}
