/* Reading what is copied forward, each piece checked. What does not check three times, half a
 * second apart, or cannot be read for a minute (a disk may be away and come back), is found by
 * halves down to the pieces that one checksum covers: those are lost. They are copied with a
 * checksum that nothing fits, so they read as they did where they lay, as an error, and neither
 * hold back the rest of the record nor pin its segment (invariant 8). Core's thread. */
#include <stdlib.h>
#include <string.h>

#include "gateway/volumed/core_copy.h"

#define PIECE_MAGIC      0x48464352u
#define PIECES_UNDER_WAY 64u
#define PIECE_ERRORS_MAX 3u
#define READ_ERRORS_MAX  120u /* what the disk does not give may be all there */
#define AGAIN_MS         500u

struct copy_piece {
	uint32_t magic;
	struct hf_core_copy *copy;
	unsigned record, errors;
	struct hf_place place; /* the core's; the read has the log's */
	struct hf_list link;
	struct hf_wlog_read read;
};

static void read_next(struct hf_core_copy *copy);

static struct copy_piece *piece_add(struct hf_core_copy *copy, unsigned record, uint64_t from,
				    uint64_t length, uint8_t *buffer)
{
	struct copy_piece *piece = hf_core_alloc(sizeof *piece);

	piece->magic = PIECE_MAGIC;
	piece->copy = copy;
	piece->record = record;
	piece->place = copy->places[record];
	piece->place.unit += from;
	piece->read.volume = copy->volume;
	piece->read.lba = copy->records[record].lba + from;
	piece->read.length = length;
	piece->read.buffer = buffer;
	hf_list_push_back(&copy->todo, &piece->link);
	return piece;
}

static void note_lost(struct hf_core_copy *copy, unsigned record, uint64_t from)
{
	if (copy->lost_count == copy->lost_capacity) {
		copy->lost_capacity = copy->lost_capacity ? 2 * copy->lost_capacity : 16;
		copy->lost = realloc(copy->lost, copy->lost_capacity * sizeof *copy->lost);
		HF_ASSERT(copy->lost != NULL);
	}
	copy->lost[copy->lost_count++] = (struct hf_wlog_lost){
		.record = record, .piece = (uint32_t)(from / HF_WLOG_LOST_UNITS)};
}

static void piece_lost(const struct copy_piece *piece)
{
	struct hf_core_copy *copy = piece->copy;
	uint64_t from = piece->read.lba - copy->records[piece->record].lba;
	uint64_t length = piece->read.length;
	uint64_t half =
		(length / 2 + HF_WLOG_LOST_UNITS - 1) / HF_WLOG_LOST_UNITS * HF_WLOG_LOST_UNITS;
	uint8_t *buffer = piece->read.buffer;

	if (length <= HF_WLOG_LOST_UNITS) {
		memset(buffer, 0, length * HF_UNIT);
		note_lost(copy, piece->record, from);
		return;
	}
	piece_add(copy, piece->record, from, half, buffer)->errors = piece->errors;
	piece_add(copy, piece->record, from + half, length - half, buffer + half * HF_UNIT)
		->errors = piece->errors;
}

static unsigned errors_max(int status)
{
	return status == HF_ECORRUPT ? PIECE_ERRORS_MAX : READ_ERRORS_MAX;
}

static void piece_read(struct hf_wlog_read *read)
{
	struct copy_piece *piece = hf_container_of(read, struct copy_piece, read);
	struct hf_core_copy *copy = piece->copy;
	struct hf_core *core = copy->core;

	HF_CHECK_MAGIC(piece, PIECE_MAGIC);
	HF_CHECK_MAGIC(copy, HF_CORE_COPY_MAGIC);
	hf_core_enter(core);
	copy->under_way--;
	if (read->status == HF_ENOENT || read->status == HF_ECANCELED) {
		copy->failed = true;
	} else if (read->status != 0 && ++piece->errors < errors_max(read->status)) {
		hf_list_push_back(&copy->again, &piece->link);
		piece = NULL;
	} else if (read->status != 0) {
		piece_lost(piece);
	}
	free(piece);
	read_next(copy);
	hf_core_leave(core);
}

static void pieces_drop(struct hf_list *pieces)
{
	struct hf_list *entry;

	while ((entry = hf_list_pop_front(pieces)) != NULL)
		free(hf_container_of(entry, struct copy_piece, link));
}

static void again_due(struct hf_timer *timer)
{
	struct hf_core_copy *copy = hf_container_of(timer, struct hf_core_copy, again_timer);
	struct hf_core *core = copy->core;

	HF_CHECK_MAGIC(copy, HF_CORE_COPY_MAGIC);
	hf_core_enter(core);
	hf_list_splice_back(&copy->todo, &copy->again);
	read_next(copy);
	hf_core_leave(core);
}

static void read_next(struct hf_core_copy *copy)
{
	struct hf_env *env = copy->core->env;
	struct hf_list *entry;

	if (copy->failed || copy->core->closing) {
		copy->failed = true;
		pieces_drop(&copy->todo);
		pieces_drop(&copy->again);
	}
	while (copy->under_way < PIECES_UNDER_WAY &&
	       (entry = hf_list_pop_front(&copy->todo)) != NULL) {
		struct copy_piece *piece = hf_container_of(entry, struct copy_piece, link);

		copy->under_way++;
		piece->read.done = piece_read;
		hf_core_log_read(copy->core, &piece->place, &piece->read);
	}
	if (copy->under_way > 0)
		return;
	if (hf_list_empty(&copy->again)) {
		copy->read(copy);
		return;
	}
	copy->again_timer.fired = again_due;
	hf_env_timer_set(env, &copy->again_timer, hf_env_now_ns(env) + AGAIN_MS * HF_NS_PER_MS);
}

void hf_core_copy_read(struct hf_core_copy *copy, void (*read)(struct hf_core_copy *copy))
{
	uint8_t *buffer = copy->payload = hf_core_alloc_aligned(copy->payload_bytes);

	copy->read = read;
	for (unsigned i = 0; i < copy->count; i++) {
		const struct hf_wlog_record *record = &copy->records[i];

		if (record->type != HF_RECORD_DATA)
			continue;
		piece_add(copy, i, 0, record->length, buffer);
		buffer += record->length * HF_UNIT;
	}
	read_next(copy);
}
