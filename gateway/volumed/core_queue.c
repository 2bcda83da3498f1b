/* The records of a volume that the store does not cover yet, in the order of their sequences. A
 * circle of pieces, so that it grows without a copy and gives memory back as it drains; a record is
 * found by its sequence at once. Core's thread. */
#include <stdlib.h>
#include <string.h>

#include "gateway/volumed/core_internal.h"

#define PIECE_ENTRIES 256u

static struct hf_core_entry *queue_slot(const struct hf_core_queue *queue, size_t index)
{
	size_t at = queue->head + index;
	size_t piece = (queue->first_piece + at / PIECE_ENTRIES) & (queue->capacity - 1);

	return &queue->pieces[piece][at % PIECE_ENTRIES];
}

static void queue_widen(struct hf_core_queue *queue)
{
	size_t capacity = queue->capacity ? queue->capacity * 2 : 8;
	struct hf_core_entry **pieces = hf_core_alloc(capacity * sizeof(struct hf_core_entry *));

	for (size_t i = 0; i < queue->piece_count; i++)
		pieces[i] = queue->pieces[(queue->first_piece + i) & (queue->capacity - 1)];
	free(queue->pieces);
	queue->pieces = pieces;
	queue->capacity = capacity;
	queue->first_piece = 0;
}

/* One piece is kept for the next, since most queues wander: they fill and drain. */
static void queue_add_piece(struct hf_core_queue *queue)
{
	struct hf_core_entry *piece = queue->spare;

	if (queue->piece_count == queue->capacity)
		queue_widen(queue);
	if (!piece)
		piece = hf_core_alloc(PIECE_ENTRIES * sizeof *piece);
	queue->spare = NULL;
	queue->pieces[(queue->first_piece + queue->piece_count++) & (queue->capacity - 1)] = piece;
}

static void queue_drop_piece(struct hf_core_queue *queue)
{
	free(queue->spare);
	queue->spare = queue->pieces[queue->first_piece];
	queue->first_piece = (queue->first_piece + 1) & (queue->capacity - 1);
	queue->piece_count--;
	queue->head = 0;
}

void hf_core_queue_push(struct hf_core_queue *queue, uint64_t sequence,
			const struct hf_core_entry *entry)
{
	if (queue->head + queue->count == queue->piece_count * PIECE_ENTRIES)
		queue_add_piece(queue);
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
	queue->count--;
	queue->first_sequence++;
	if (++queue->head == PIECE_ENTRIES)
		queue_drop_piece(queue);
}

void hf_core_queue_free(struct hf_core_queue *queue)
{
	for (size_t i = 0; i < queue->piece_count; i++)
		free(queue->pieces[(queue->first_piece + i) & (queue->capacity - 1)]);
	free(queue->spare);
	free(queue->pieces);
	memset(queue, 0, sizeof *queue);
}

uint64_t hf_core_entry_lag_bytes(const struct hf_core_entry *entry)
{
	return entry->type == HF_RECORD_DATA ? entry->length * HF_UNIT : HF_UNIT;
}
