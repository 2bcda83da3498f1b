/* The records of a volume that the store does not cover yet, in the order of their sequences. A
 * circle that grows; a record is found by its sequence at once. Core's thread. */
#include <stdlib.h>
#include <string.h>

#include "gateway/volumed/core_internal.h"

static struct hf_core_entry *queue_slot(const struct hf_core_queue *queue, size_t index)
{
	return &queue->entries[(queue->head + index) & (queue->capacity - 1)];
}

static void queue_grow(struct hf_core_queue *queue)
{
	size_t capacity = queue->capacity ? queue->capacity * 2 : 64;
	struct hf_core_entry *entries = hf_core_alloc(capacity * sizeof *entries);

	for (size_t i = 0; i < queue->count; i++)
		entries[i] = *queue_slot(queue, i);
	free(queue->entries);
	queue->entries = entries;
	queue->capacity = capacity;
	queue->head = 0;
}

void hf_core_queue_push(struct hf_core_queue *queue, uint64_t sequence,
			const struct hf_core_entry *entry)
{
	if (queue->count == queue->capacity)
		queue_grow(queue);
	if (queue->count == 0)
		queue->first_sequence = sequence;
	HF_ASSERT(sequence == queue->first_sequence + queue->count);
	*queue_slot(queue, queue->count++) = *entry;
}

struct hf_core_entry *hf_core_queue_at(const struct hf_core_queue *queue, uint64_t sequence)
{
	if (queue->count == 0 || sequence < queue->first_sequence ||
	    sequence - queue->first_sequence >= queue->count)
		return NULL;
	return queue_slot(queue, (size_t)(sequence - queue->first_sequence));
}

void hf_core_queue_pop(struct hf_core_queue *queue)
{
	HF_ASSERT(queue->count > 0);
	queue->head = (queue->head + 1) & (queue->capacity - 1);
	queue->count--;
	queue->first_sequence++;
}

void hf_core_queue_free(struct hf_core_queue *queue)
{
	free(queue->entries);
	memset(queue, 0, sizeof *queue);
}

uint64_t hf_core_entry_lag_bytes(const struct hf_core_entry *entry)
{
	return entry->type == HF_RECORD_DATA ? entry->length * HF_UNIT : HF_UNIT;
}
