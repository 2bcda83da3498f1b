/* Control state as bytes: what STATE and CONTROL records of the log carry, docs/format/
 * control-state.md. A STATE says everything about volumes and rings that the log knew when its
 * segment was opened. Decoding trusts nothing, though the log has checked a CRC. */
#include <string.h>

#include "base/bytes.h"
#include "gateway/volumed/core_state.h"

#define STATE_MAGIC        0x53434648u /* "HFCS" */
#define STATE_VERSION      2u
#define STATE_WRITE_CACHE  0x1u
#define CONTROL_VOLUME     1u /* one volume of version 1 */
#define CONTROL_STATE      2u /* a STATE of one volume */
#define STATE_RINGS_MAX    4096u
#define STATE_RESULTS_MAX  (1u << 20)
#define STATE_SIZE_MAX     (1ull << 62)
#define STATE_SEQUENCE_MAX (1ull << 62)

static size_t volume_bytes(const struct hf_core_state_volume *volume)
{
	return HF_CORE_STATE_VOLUME_BYTES + volume->stay_count * HF_CORE_STATE_STAY_BYTES;
}

static uint8_t *volume_encode(const struct hf_core_state_volume *volume, uint8_t *at)
{
	memset(at, 0, HF_CORE_STATE_VOLUME_BYTES);
	hf_put_le64(at, volume->volume);
	hf_put_le64(at + 8, volume->tenant);
	hf_put_le64(at + 16, volume->size_bytes);
	hf_put_le64(at + 24, volume->attach_epoch);
	hf_put_le64(at + 32, volume->uploaded_through);
	hf_put_le64(at + 40, volume->last_sequence);
	hf_put_le32(at + 48, volume->write_cache ? STATE_WRITE_CACHE : 0);
	hf_put_le32(at + 52, volume->stay_count);
	hf_put_le64(at + 56, volume->since_batch ? volume->since_batch : HF_CORE_SINCE_HERE);
	hf_put_le64(at + 64, volume->held_epoch);
	hf_put_le64(at + 72, volume->moves);
	hf_put_le64(at + 80, volume->stay_first);
	at += HF_CORE_STATE_VOLUME_BYTES;
	for (unsigned i = 0; i < volume->stay_count; i++, at += HF_CORE_STATE_STAY_BYTES) {
		memcpy(at, volume->stays[i].log, 16);
		hf_put_le64(at + 16, volume->stays[i].since_batch);
		hf_put_le64(at + 24, volume->stays[i].first);
		hf_put_le64(at + 32, volume->stays[i].last);
	}
	return at;
}

/* Version 1 knew one log: no moves and no stays. */
static int volume_decode(const uint8_t **at, const uint8_t *end, uint32_t version,
			 struct hf_core_state_volume *volume)
{
	size_t bytes = version == 1 ? HF_CORE_STATE_VOLUME1_BYTES : HF_CORE_STATE_VOLUME_BYTES;
	const uint8_t *from = *at;

	if ((size_t)(end - from) < bytes)
		return HF_ECORRUPT;
	*volume = (struct hf_core_state_volume){
		.volume = hf_get_le64(from),
		.tenant = hf_get_le64(from + 8),
		.size_bytes = hf_get_le64(from + 16),
		.attach_epoch = hf_get_le64(from + 24),
		.uploaded_through = hf_get_le64(from + 32),
		.last_sequence = hf_get_le64(from + 40),
		.since_batch = hf_get_le64(from + 56),
		.held_epoch = hf_get_le64(from + 64),
		.write_cache = (hf_get_le32(from + 48) & STATE_WRITE_CACHE) != 0,
	};
	*at += bytes;
	if (volume->volume == 0 || volume->size_bytes == 0 || volume->size_bytes % 4096 != 0 ||
	    volume->size_bytes > STATE_SIZE_MAX || volume->uploaded_through > STATE_SEQUENCE_MAX ||
	    volume->last_sequence > STATE_SEQUENCE_MAX ||
	    (hf_get_le32(from + 48) & ~STATE_WRITE_CACHE) != 0)
		return HF_ECORRUPT;
	if (version == 1)
		return 0;
	volume->moves = hf_get_le64(from + 72);
	volume->stay_first = hf_get_le64(from + 80);
	volume->stay_count = hf_get_le32(from + 52);
	if (volume->stay_count > HF_CORE_STAYS_MAX ||
	    (size_t)(end - *at) < volume->stay_count * HF_CORE_STATE_STAY_BYTES)
		return HF_ECORRUPT;
	for (unsigned i = 0; i < volume->stay_count; i++, *at += HF_CORE_STATE_STAY_BYTES) {
		struct hf_core_stay *stay = &volume->stays[i];

		memcpy(stay->log, *at, 16);
		stay->since_batch = hf_get_le64(*at + 16);
		stay->first = hf_get_le64(*at + 24);
		stay->last = hf_get_le64(*at + 32);
		if (stay->first > stay->last || stay->last > STATE_SEQUENCE_MAX)
			return HF_ECORRUPT;
	}
	return 0;
}

void hf_core_state_of(const struct hf_core_volume *volume, struct hf_core_state_volume *state)
{
	*state = (struct hf_core_state_volume){
		.volume = volume->config.volume,
		.tenant = volume->config.tenant,
		.size_bytes = volume->config.size_bytes,
		.attach_epoch = volume->config.attach_epoch,
		.uploaded_through = volume->counted_through,
		.last_sequence = volume->next_sequence - 1,
		.since_batch = volume->since_batch,
		.held_epoch = volume->held_epoch,
		.moves = volume->moves,
		.stay_first = volume->stay_first,
		.stay_count = volume->stay_count,
		.write_cache = volume->config.write_cache,
	};
	memcpy(state->stays, volume->stays, sizeof state->stays);
}

/* ---- Whose results -----------------------------------------------------------------------------
 */

/* Results go with their volume: into the STATE of the log that it is in. */
struct result_filter {
	struct hf_core *core;
	const struct hf_core_log *log; /* those of its volumes */
	uint64_t volume;               /* or those of this one */
};

static bool filter_passes(const struct result_filter *filter, uint64_t number)
{
	const struct hf_core_volume *volume;
	const struct hf_core_found *found;

	if (!filter->log)
		return number == filter->volume;
	if (filter->log->found) {
		found = hf_core_found_of(filter->log->found, number, false);
		return found && found->claimed;
	}
	volume = hf_core_volume_find(filter->core, number);
	return volume && volume->home == filter->log;
}

/* A result is stored once its record is in a batch: one that still queues in the log comes after
 * this STATE, and would be answered without having survived if only the STATE did. */
static bool result_is_stored(const struct result_filter *filter,
			     const struct hf_core_result *result)
{
	return result->sequence != 0 && (!result->job || result->job->records[0].batch != 0) &&
	       filter_passes(filter, result->volume);
}

static uint8_t *result_encode(const struct hf_core_result *result, uint8_t *at)
{
	hf_put_le64(at, result->id);
	hf_put_le64(at + 8, result->volume);
	hf_put_le64(at + 16, result->sequence);
	hf_put_le32(at + 24, (uint32_t)(result->job ? HF_OK : result->result));
	hf_put_le32(at + 28, 0);
	return at + HF_CORE_STATE_RESULT_BYTES;
}

static size_t results_stored(const struct result_filter *filter, const struct hf_list *results)
{
	size_t count = 0;

	hf_list_for_each (cursor, results) {
		count += result_is_stored(filter,
					  hf_container_of(cursor, struct hf_core_result, order));
	}
	return count;
}

/* Without the first `skip` of them. */
static uint8_t *results_encode(const struct result_filter *filter, const struct hf_list *results,
			       size_t skip, uint8_t *at)
{
	hf_list_for_each (cursor, results) {
		const struct hf_core_result *result =
			hf_container_of(cursor, struct hf_core_result, order);

		if (!result_is_stored(filter, result))
			continue;
		if (skip > 0)
			skip--;
		else
			at = result_encode(result, at);
	}
	return at;
}

static size_t ring_bytes(const struct result_filter *filter, const struct hf_core_ring *ring)
{
	return HF_CORE_STATE_RING_BYTES +
	       (results_stored(filter, &ring->ended) + results_stored(filter, &ring->under_way)) *
		       HF_CORE_STATE_RESULT_BYTES;
}

/* In the order in which they ended; without room for all, what ended longest ago is left out. */
static uint8_t *ring_encode(const struct result_filter *filter, const struct hf_core_ring *ring,
			    uint8_t *head, size_t room)
{
	uint8_t *at = head + HF_CORE_STATE_RING_BYTES;
	size_t ended = results_stored(filter, &ring->ended);
	size_t all = ended + results_stored(filter, &ring->under_way);
	size_t skip = 0;

	room = (room - HF_CORE_STATE_RING_BYTES) / HF_CORE_STATE_RESULT_BYTES;
	if (all > room)
		skip = all - room;
	at = results_encode(filter, &ring->ended, skip, at);
	at = results_encode(filter, &ring->under_way, skip > ended ? skip - ended : 0, at);
	memset(head, 0, HF_CORE_STATE_RING_BYTES);
	memcpy(head, ring->uuid, 16);
	hf_put_le64(head + 16, ring->oldest_unfinished);
	hf_put_le32(head + 24, (uint32_t)(all - skip));
	return at;
}

static uint8_t *volumes_of_core(const struct hf_core_log *log, uint8_t *at, const uint8_t *end,
				uint32_t *count)
{
	struct hf_core_state_volume says;

	hf_list_for_each (cursor, &log->core->volumes) {
		const struct hf_core_volume *volume =
			hf_container_of(cursor, struct hf_core_volume, link);

		if (!volume->in_log || volume->home != log)
			continue;
		hf_core_state_of(volume, &says);
		HF_ASSERT((size_t)(end - at) >= volume_bytes(&says));
		at = volume_encode(&says, at);
		(*count)++;
	}
	return at;
}

/* While the log recovers, it says what it said. */
static uint8_t *volumes_of_found(const struct hf_core_log *log, uint8_t *at, const uint8_t *end,
				 uint32_t *count)
{
	for (unsigned i = 0; i < HF_CORE_VOLUME_BUCKETS; i++)
		hf_list_for_each (cursor, &log->found->buckets[i]) {
			const struct hf_core_found *found =
				hf_container_of(cursor, struct hf_core_found, bucket);

			if (!found->claimed)
				continue;
			HF_ASSERT((size_t)(end - at) >= volume_bytes(&found->says));
			at = volume_encode(&found->says, at);
			(*count)++;
		}
	return at;
}

/* Least recently used first, so that reading them back restores the order. Without room for all,
 * those used longest ago are left out: rings that died, unless segments are far too small. */
static uint8_t *rings_encode(const struct result_filter *filter, uint8_t *at, const uint8_t *end,
			     uint32_t *count)
{
	size_t room = (size_t)(end - at), first_room = 0;
	struct hf_core *core = filter->core;
	struct hf_list *first = &core->rings;

	while (first->prev != &core->rings && room >= HF_CORE_STATE_RING_BYTES) {
		const struct hf_core_ring *ring =
			hf_container_of(first->prev, struct hf_core_ring, link);
		size_t bytes = ring_bytes(filter, ring);

		first = first->prev;
		first_room = bytes < room ? bytes : room;
		if (ring->live && first_room < bytes)
			hf_core_alarm(core, 0,
				      "segments are too small for the results of all requests");
		room -= first_room;
	}
	for (; first != &core->rings; first = first->next) {
		const struct hf_core_ring *ring = hf_container_of(first, struct hf_core_ring, link);

		/* Only the first may have to be cut. */
		at = ring_encode(filter, ring, at,
				 *count == 0 ? first_room : ring_bytes(filter, ring));
		(*count)++;
	}
	return at;
}

static size_t head_encode(uint8_t *buffer, const uint8_t *at, uint32_t volume_count,
			  uint32_t ring_count)
{
	memset(buffer, 0, HF_CORE_STATE_HEADER_BYTES);
	hf_put_le32(buffer, STATE_MAGIC);
	hf_put_le32(buffer + 4, STATE_VERSION);
	hf_put_le32(buffer + 8, volume_count);
	hf_put_le32(buffer + 12, ring_count);
	hf_put_le64(buffer + 16, (uint64_t)(at - buffer));
	return (size_t)(at - buffer);
}

size_t hf_core_state_encode(struct hf_core_log *log, uint8_t *buffer, size_t capacity)
{
	const struct result_filter filter = {.core = log->core, .log = log};
	const uint8_t *end = buffer + capacity;
	uint8_t *at = buffer + HF_CORE_STATE_HEADER_BYTES;
	uint32_t volume_count = 0, ring_count = 0;

	HF_ASSERT(capacity >= HF_CORE_STATE_HEADER_BYTES);
	at = log->found ? volumes_of_found(log, at, end, &volume_count)
			: volumes_of_core(log, at, end, &volume_count);
	at = rings_encode(&filter, at, end, &ring_count);
	return head_encode(buffer, at, volume_count, ring_count);
}

uint8_t *hf_core_control_encode(struct hf_core *core, const struct hf_core_state_volume *says,
				bool with_results, size_t *length)
{
	const struct result_filter filter = {.core = core, .volume = says->volume};
	size_t capacity =
		HF_CORE_CONTROL_HEAD_BYTES + HF_CORE_STATE_HEADER_BYTES + volume_bytes(says);
	uint32_t ring_count = 0;
	uint8_t *bytes, *at;

	if (with_results)
		hf_list_for_each (cursor, &core->rings) {
			capacity += ring_bytes(&filter,
					       hf_container_of(cursor, struct hf_core_ring, link));
		}
	bytes = hf_core_alloc(capacity);
	hf_put_le32(bytes, CONTROL_STATE);
	at = bytes + HF_CORE_CONTROL_HEAD_BYTES + HF_CORE_STATE_HEADER_BYTES;
	at = volume_encode(says, at);
	if (with_results)
		at = rings_encode(&filter, at, bytes + capacity, &ring_count);
	*length = HF_CORE_CONTROL_HEAD_BYTES +
		  head_encode(bytes + HF_CORE_CONTROL_HEAD_BYTES, at, 1, ring_count);
	return bytes;
}

static int rings_decode(const uint8_t *at, const uint8_t *end, uint32_t ring_count,
			const struct hf_core_state_visitor *visitor)
{
	while (ring_count-- > 0) {
		const uint8_t *uuid = at;
		uint32_t count;

		if ((size_t)(end - at) < HF_CORE_STATE_RING_BYTES)
			return HF_ECORRUPT;
		count = hf_get_le32(at + 24);
		if (visitor)
			visitor->ring(visitor->context, uuid, hf_get_le64(at + 16));
		at += HF_CORE_STATE_RING_BYTES;
		if (count > STATE_RESULTS_MAX ||
		    (size_t)(end - at) < (size_t)count * HF_CORE_STATE_RESULT_BYTES)
			return HF_ECORRUPT;
		for (; count > 0; count--, at += HF_CORE_STATE_RESULT_BYTES) {
			struct hf_core_result result = {
				.id = hf_get_le64(at),
				.volume = hf_get_le64(at + 8),
				.sequence = hf_get_le64(at + 16),
				.result = (int32_t)hf_get_le32(at + 24),
			};

			if (result.id == 0 || result.sequence == 0 || result.result > 0)
				return HF_ECORRUPT;
			if (visitor)
				visitor->result(visitor->context, uuid, &result);
		}
	}
	return at == end ? 0 : HF_ECORRUPT;
}

/* With a NULL visitor only checks. */
static int state_walk(const uint8_t *bytes, size_t length,
		      const struct hf_core_state_visitor *visitor)
{
	const uint8_t *at = bytes + HF_CORE_STATE_HEADER_BYTES;
	uint32_t volume_count, ring_count, version;

	if (length < HF_CORE_STATE_HEADER_BYTES || hf_get_le32(bytes) != STATE_MAGIC ||
	    hf_get_le64(bytes + 16) != length)
		return HF_ECORRUPT;
	version = hf_get_le32(bytes + 4);
	volume_count = hf_get_le32(bytes + 8);
	ring_count = hf_get_le32(bytes + 12);
	if (version < 1 || version > STATE_VERSION || volume_count > HF_CORE_VOLUMES_MAX ||
	    ring_count > STATE_RINGS_MAX)
		return HF_ECORRUPT;
	for (; volume_count > 0; volume_count--) {
		struct hf_core_state_volume volume;

		if (volume_decode(&at, bytes + length, version, &volume) != 0)
			return HF_ECORRUPT;
		if (visitor)
			visitor->volume(visitor->context, &volume);
	}
	return rings_decode(at, bytes + length, ring_count, visitor);
}

int hf_core_state_decode(const uint8_t *bytes, size_t length,
			 const struct hf_core_state_visitor *visitor)
{
	int status = state_walk(bytes, length, NULL);

	return status != 0 ? status : state_walk(bytes, length, visitor);
}

static int control_decode_1(const uint8_t *bytes, size_t length,
			    const struct hf_core_state_visitor *visitor)
{
	const uint8_t *at = bytes + HF_CORE_CONTROL_HEAD_BYTES;
	struct hf_core_state_volume volume;

	if (length != HF_CORE_CONTROL_HEAD_BYTES + HF_CORE_STATE_VOLUME1_BYTES ||
	    volume_decode(&at, bytes + length, 1, &volume) != 0)
		return HF_ECORRUPT;
	visitor->volume(visitor->context, &volume);
	return 0;
}

int hf_core_control_decode(const uint8_t *bytes, size_t length,
			   const struct hf_core_state_visitor *visitor)
{
	if (length < HF_CORE_CONTROL_HEAD_BYTES)
		return HF_ECORRUPT;
	if (hf_get_le32(bytes) == CONTROL_VOLUME)
		return control_decode_1(bytes, length, visitor);
	if (hf_get_le32(bytes) != CONTROL_STATE)
		return HF_ECORRUPT;
	return hf_core_state_decode(bytes + HF_CORE_CONTROL_HEAD_BYTES,
				    length - HF_CORE_CONTROL_HEAD_BYTES, visitor);
}
