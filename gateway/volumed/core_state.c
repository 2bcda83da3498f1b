/* Control state as bytes: what STATE and CONTROL records of the log carry, docs/format/
 * control-state.md. A STATE says everything about volumes and rings that the log knew when its
 * segment was opened. Decoding trusts nothing, though the log has checked a CRC. */
#include <string.h>

#include "base/bytes.h"
#include "gateway/volumed/core_internal.h"

#define STATE_MAGIC        0x53434648u /* "HFCS" */
#define STATE_VERSION      1u
#define STATE_WRITE_CACHE  0x1u
#define CONTROL_VOLUME     1u
#define STATE_RINGS_MAX    4096u
#define STATE_RESULTS_MAX  (HF_CORE_ENDED_MAX + HF_RING_ENTRIES)
#define STATE_SIZE_MAX     (1ull << 62)
#define STATE_SEQUENCE_MAX (1ull << 62)

static void volume_encode(const struct hf_core_volume *volume, uint8_t *at)
{
	memset(at, 0, HF_CORE_STATE_VOLUME_BYTES);
	hf_put_le64(at, volume->config.volume);
	hf_put_le64(at + 8, volume->config.tenant);
	hf_put_le64(at + 16, volume->config.size_bytes);
	hf_put_le64(at + 24, volume->config.attach_epoch);
	hf_put_le64(at + 32, volume->counted_through);
	hf_put_le64(at + 40, volume->next_sequence - 1);
	hf_put_le32(at + 48, volume->config.write_cache ? STATE_WRITE_CACHE : 0);
	hf_put_le64(at + 56, volume->since_batch ? volume->since_batch : HF_CORE_SINCE_HERE);
	hf_put_le64(at + 64, volume->held_epoch);
}

static int volume_decode(const uint8_t *at, struct hf_core_state_volume *volume)
{
	*volume = (struct hf_core_state_volume){
		.volume = hf_get_le64(at),
		.tenant = hf_get_le64(at + 8),
		.size_bytes = hf_get_le64(at + 16),
		.attach_epoch = hf_get_le64(at + 24),
		.uploaded_through = hf_get_le64(at + 32),
		.last_sequence = hf_get_le64(at + 40),
		.since_batch = hf_get_le64(at + 56),
		.held_epoch = hf_get_le64(at + 64),
		.write_cache = (hf_get_le32(at + 48) & STATE_WRITE_CACHE) != 0,
	};
	if (volume->volume == 0 || volume->size_bytes == 0 || volume->size_bytes % 4096 != 0 ||
	    volume->size_bytes > STATE_SIZE_MAX || volume->uploaded_through > STATE_SEQUENCE_MAX ||
	    volume->last_sequence > STATE_SEQUENCE_MAX ||
	    (hf_get_le32(at + 48) & ~STATE_WRITE_CACHE) != 0)
		return HF_ECORRUPT;
	return 0;
}

/* A result is stored once its record is in a batch: one that still queues in the log comes after
 * this STATE, and would be answered without having survived if only the STATE did. */
static bool result_is_stored(const struct hf_core_result *result)
{
	return result->sequence != 0 && (!result->job || result->job->records[0].batch != 0);
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

static size_t results_stored(const struct hf_list *results)
{
	size_t count = 0;

	hf_list_for_each (cursor, results) {
		count += result_is_stored(hf_container_of(cursor, struct hf_core_result, order));
	}
	return count;
}

/* Without the first `skip` of them. */
static uint8_t *results_encode(const struct hf_list *results, size_t skip, uint8_t *at)
{
	hf_list_for_each (cursor, results) {
		const struct hf_core_result *result =
			hf_container_of(cursor, struct hf_core_result, order);

		if (!result_is_stored(result))
			continue;
		if (skip > 0)
			skip--;
		else
			at = result_encode(result, at);
	}
	return at;
}

static size_t ring_bytes(const struct hf_core_ring *ring)
{
	return HF_CORE_STATE_RING_BYTES +
	       (results_stored(&ring->ended) + results_stored(&ring->under_way)) *
		       HF_CORE_STATE_RESULT_BYTES;
}

/* In the order in which they ended; without room for all, what ended longest ago is left out. */
static uint8_t *ring_encode(const struct hf_core_ring *ring, uint8_t *head, size_t room)
{
	uint8_t *at = head + HF_CORE_STATE_RING_BYTES;
	size_t ended = results_stored(&ring->ended), all = ended + results_stored(&ring->under_way);
	size_t skip = 0;

	room = (room - HF_CORE_STATE_RING_BYTES) / HF_CORE_STATE_RESULT_BYTES;
	if (all > room)
		skip = all - room;
	at = results_encode(&ring->ended, skip, at);
	at = results_encode(&ring->under_way, skip > ended ? skip - ended : 0, at);
	memset(head, 0, HF_CORE_STATE_RING_BYTES);
	memcpy(head, ring->uuid, 16);
	hf_put_le64(head + 16, ring->oldest_unfinished);
	hf_put_le32(head + 24, (uint32_t)(all - skip));
	return at;
}

static uint8_t *volumes_encode(struct hf_core *core, uint8_t *at, const uint8_t *end,
			       uint32_t *count)
{
	hf_list_for_each (cursor, &core->volumes) {
		struct hf_core_volume *volume =
			hf_container_of(cursor, struct hf_core_volume, link);

		if (!volume->in_log)
			continue;
		HF_ASSERT((size_t)(end - at) >= HF_CORE_STATE_VOLUME_BYTES);
		volume_encode(volume, at);
		at += HF_CORE_STATE_VOLUME_BYTES;
		(*count)++;
	}
	return at;
}

/* Least recently used first, so that reading them back restores the order. Without room for all,
 * those used longest ago are left out: rings that died, unless segments are far too small. */
static uint8_t *rings_encode(struct hf_core *core, uint8_t *at, const uint8_t *end, uint32_t *count)
{
	size_t room = (size_t)(end - at), first_room = 0;
	struct hf_list *first = &core->rings;

	while (first->prev != &core->rings && room >= HF_CORE_STATE_RING_BYTES) {
		const struct hf_core_ring *ring =
			hf_container_of(first->prev, struct hf_core_ring, link);

		first = first->prev;
		first_room = ring_bytes(ring) < room ? ring_bytes(ring) : room;
		if (ring->live && first_room < ring_bytes(ring))
			hf_core_alarm(core, 0,
				      "segments are too small for the results of all requests");
		room -= first_room;
	}
	for (; first != &core->rings; first = first->next) {
		const struct hf_core_ring *ring = hf_container_of(first, struct hf_core_ring, link);

		/* Only the first may have to be cut. */
		at = ring_encode(ring, at, *count == 0 ? first_room : ring_bytes(ring));
		(*count)++;
	}
	return at;
}

size_t hf_core_state_encode(struct hf_core *core, uint8_t *buffer, size_t capacity)
{
	const uint8_t *end = buffer + capacity;
	uint8_t *at = buffer + HF_CORE_STATE_HEADER_BYTES;
	uint32_t volume_count = 0, ring_count = 0;

	HF_ASSERT(capacity >= HF_CORE_STATE_HEADER_BYTES);
	at = volumes_encode(core, at, end, &volume_count);
	at = rings_encode(core, at, end, &ring_count);
	memset(buffer, 0, HF_CORE_STATE_HEADER_BYTES);
	hf_put_le32(buffer, STATE_MAGIC);
	hf_put_le32(buffer + 4, STATE_VERSION);
	hf_put_le32(buffer + 8, volume_count);
	hf_put_le32(buffer + 12, ring_count);
	hf_put_le64(buffer + 16, (uint64_t)(at - buffer));
	return (size_t)(at - buffer);
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
	uint32_t volume_count, ring_count;

	if (length < HF_CORE_STATE_HEADER_BYTES || hf_get_le32(bytes) != STATE_MAGIC ||
	    hf_get_le32(bytes + 4) != STATE_VERSION || hf_get_le64(bytes + 16) != length)
		return HF_ECORRUPT;
	volume_count = hf_get_le32(bytes + 8);
	ring_count = hf_get_le32(bytes + 12);
	if (volume_count > HF_CORE_VOLUMES_MAX || ring_count > STATE_RINGS_MAX ||
	    (size_t)volume_count * HF_CORE_STATE_VOLUME_BYTES > length - HF_CORE_STATE_HEADER_BYTES)
		return HF_ECORRUPT;
	for (; volume_count > 0; volume_count--, at += HF_CORE_STATE_VOLUME_BYTES) {
		struct hf_core_state_volume volume;

		if (volume_decode(at, &volume) != 0)
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

void hf_core_control_encode(const struct hf_core_volume *volume, uint8_t *buffer)
{
	hf_put_le32(buffer, CONTROL_VOLUME);
	hf_put_le32(buffer + 4, 0);
	volume_encode(volume, buffer + 8);
}

int hf_core_control_decode(const uint8_t *bytes, size_t length, struct hf_core_state_volume *volume)
{
	if (length != HF_CORE_CONTROL_BYTES || hf_get_le32(bytes) != CONTROL_VOLUME)
		return HF_ECORRUPT;
	return volume_decode(bytes + 8, volume);
}
