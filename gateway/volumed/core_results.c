/* What the requests of rings were answered, so that a request that is submitted again after a death
 * of volumed is answered and not executed again ("Once", DESIGN section 5). Core's thread.
 *
 * A ring has at most HF_RING_ENTRIES requests unfinished, so their ids modulo that number are
 * distinct and a table of as many slots holds them all: a slot that is taken by an older id may be
 * reused, because that one must have been finished. A slot is in one of these states:
 *
 *   free              id == 0
 *   under way         job set, sequence 0: nothing of it is in the log
 *   logged            job set, sequence set: control state names it, see core_state.c
 *   ended             job NULL, sequence set: answered from here
 *
 * Only what has a record is remembered: a request that failed or miscompared changed nothing and
 * may be executed again. */
#include <stdlib.h>
#include <string.h>

#include "gateway/volumed/core_internal.h"

static struct hf_core_result *ring_slot(struct hf_core_ring *ring, uint64_t id)
{
	return &ring->slots[id % HF_RING_ENTRIES];
}

/* The ring that was used least recently and has nothing under way makes room. */
static bool rings_make_room(struct hf_core *core)
{
	if (core->ring_count < HF_CORE_RINGS_MAX)
		return true;
	hf_list_for_each (cursor, &core->rings) {
		struct hf_core_ring *ring = hf_container_of(cursor, struct hf_core_ring, link);

		if (ring->under_way == 0) {
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
					struct hf_core_result **slot)
{
	struct hf_core_ring *ring = hf_core_ring_get(core, id->ring, true);

	if (!ring || id->id == 0 || id->id < ring->oldest_unfinished)
		return HF_CORE_REFUSED;
	*slot = ring_slot(ring, id->id);
	if ((*slot)->id == id->id)
		return (*slot)->job ? HF_CORE_UNDER_WAY : HF_CORE_ENDED;
	if ((*slot)->id > id->id || (*slot)->job)
		return HF_CORE_REFUSED;
	return HF_CORE_NEW;
}

void hf_core_results_begin(struct hf_core *core, const struct hf_request_id *id,
			   struct hf_core_job *job)
{
	struct hf_core_ring *ring = hf_core_ring_get(core, id->ring, true);
	struct hf_core_result *slot;

	HF_ASSERT(ring != NULL);
	slot = ring_slot(ring, id->id);
	HF_ASSERT(slot->job == NULL);
	*slot = (struct hf_core_result){
		.id = id->id, .volume = job->volume->config.volume, .job = job};
	ring->under_way++;
}

static struct hf_core_result *results_find(struct hf_core *core, const struct hf_request_id *id,
					   struct hf_core_ring **ring)
{
	struct hf_core_result *slot;

	*ring = hf_core_ring_get(core, id->ring, false);
	HF_ASSERT(*ring != NULL);
	slot = ring_slot(*ring, id->id);
	HF_ASSERT(slot->id == id->id && slot->job != NULL);
	return slot;
}

void hf_core_results_logged(struct hf_core *core, const struct hf_request_id *id, uint64_t sequence)
{
	struct hf_core_ring *ring;

	if (hf_core_request_id_is_set(id))
		results_find(core, id, &ring)->sequence = sequence;
}

void hf_core_results_end(struct hf_core *core, const struct hf_request_id *id, bool remember,
			 int32_t result)
{
	struct hf_core_ring *ring;
	struct hf_core_result *slot = results_find(core, id, &ring);

	HF_ASSERT(ring->under_way > 0);
	ring->under_way--;
	slot->job = NULL;
	slot->result = result;
	if (!remember || slot->id < ring->oldest_unfinished)
		memset(slot, 0, sizeof *slot);
}

void hf_core_results_recovered(struct hf_core *core, const struct hf_request_id *id,
			       uint64_t volume, uint64_t sequence, int32_t result)
{
	struct hf_core_ring *ring;
	struct hf_core_result *slot;

	if (!hf_core_request_id_is_set(id) || id->id == 0)
		return;
	ring = hf_core_ring_get(core, id->ring, true);
	HF_ASSERT(ring != NULL); /* nothing is under way yet, so there is always room */
	slot = ring_slot(ring, id->id);
	if (slot->id > id->id || id->id < ring->oldest_unfinished)
		return;
	*slot = (struct hf_core_result){
		.id = id->id, .volume = volume, .sequence = sequence, .result = result};
}

typedef bool result_test(struct hf_core *core, const struct hf_core_ring *ring,
			 const struct hf_core_result *result, uint64_t argument);

static void results_forget_if(struct hf_core *core, result_test *gone, uint64_t argument)
{
	hf_list_for_each (cursor, &core->rings) {
		struct hf_core_ring *ring = hf_container_of(cursor, struct hf_core_ring, link);

		for (unsigned i = 0; i < HF_RING_ENTRIES; i++) {
			struct hf_core_result *slot = &ring->slots[i];

			if (slot->id != 0 && !slot->job && gone(core, ring, slot, argument))
				memset(slot, 0, sizeof *slot);
		}
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
	entry = hf_core_queue_at(&volume->queue, result->sequence);
	return entry && (entry->request.id != result->id ||
			 memcmp(entry->request.ring, ring->uuid, sizeof ring->uuid) != 0);
}

void hf_core_results_validate(struct hf_core *core)
{
	results_forget_if(core, result_did_not_survive, 0);
}

void hf_core_ring_progress(struct hf_core *core, const uint8_t ring_uuid[16],
			   uint64_t oldest_unfinished)
{
	struct hf_core_ring *ring = hf_core_ring_get(core, ring_uuid, true);
	uint64_t from;

	if (!ring || oldest_unfinished <= ring->oldest_unfinished)
		return;
	from = ring->oldest_unfinished;
	if (oldest_unfinished - from > HF_RING_ENTRIES)
		from = oldest_unfinished - HF_RING_ENTRIES;
	ring->oldest_unfinished = oldest_unfinished;
	for (uint64_t id = from; id < oldest_unfinished; id++) {
		struct hf_core_result *slot = ring_slot(ring, id);

		if (slot->id < oldest_unfinished && !slot->job)
			memset(slot, 0, sizeof *slot);
	}
}

void hf_core_ring_forget(struct hf_core *core, const uint8_t ring_uuid[16])
{
	struct hf_core_ring *ring = hf_core_ring_get(core, ring_uuid, false);

	if (!ring || ring->under_way > 0)
		return;
	hf_list_remove(&ring->link);
	core->ring_count--;
	free(ring);
}

void hf_core_rings_free(struct hf_core *core)
{
	while (!hf_list_empty(&core->rings)) {
		struct hf_core_ring *ring =
			hf_container_of(core->rings.next, struct hf_core_ring, link);

		hf_list_remove(&ring->link);
		free(ring);
	}
	core->ring_count = 0;
}
