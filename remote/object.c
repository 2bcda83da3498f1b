/* The body of an object's header in bytes, with every check that reading any bytes needs, behind
 * remote/object.h. No state, any thread. */
#include "remote/object.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "base/crc32c.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
	AT_FIRST = 0,
	AT_LAST = 8,
	AT_WALL = 16,
	AT_VOLUME_SIZE = 24,
	AT_LOG_FIRST = 32,
	AT_LOG_LAST = 40,
	AT_PAYLOAD = 48,
	AT_EXTENT_COUNT = 56,
	AT_CHUNK_COUNT = 60,
	AT_EXTENTS = 64,
	EXTENT_BYTES = 24,
	CHUNK_BYTES = 8,
};
_Static_assert(AT_EXTENTS + (uint64_t)HF_OBJECT_EXTENTS_MAX * EXTENT_BYTES +
			       (uint64_t)HF_CHUNKS_MAX * CHUNK_BYTES <=
		       HF_SEALED_BODY_MAX,
	       "the longest header fits a body");

#define LBA_END (1ull << 55) /* units: 2^64 bytes */

size_t hf_object_body_bytes(uint32_t extent_count, uint32_t chunk_count)
{
	return AT_EXTENTS + (size_t)extent_count * EXTENT_BYTES + (size_t)chunk_count * CHUNK_BYTES;
}

size_t hf_chunk_plain_bytes(uint64_t payload_bytes, uint32_t number)
{
	uint64_t start = (uint64_t)number * HF_CHUNK_BYTES;

	HF_ASSERT(start < payload_bytes);
	return payload_bytes - start < HF_CHUNK_BYTES ? (size_t)(payload_bytes - start)
						      : HF_CHUNK_BYTES;
}

/* ---- Seeds ----------------------------------------------------------------------------------- */

/* A chunk's checksum starts from what its bytes are: for every part of an extent in it, the volume,
 * the LBA, the length and the place in the chunk. XOR makes the order of extents indifferent. */
static void seed_part(uint64_t volume, struct hf_chunk *chunk, uint64_t lba, uint64_t length,
		      uint64_t unit_in_chunk)
{
	uint8_t part[16];

	hf_put_le64(part, length);
	hf_put_le64(part + 8, unit_in_chunk);
	chunk->seed ^= hf_crc32c_block(volume, lba, part, sizeof part);
}

void hf_object_seed_chunks(uint64_t volume, struct hf_object_header *header)
{
	for (uint32_t i = 0; i < header->chunk_count; i++)
		header->chunks[i].seed = 0;
	for (uint32_t i = 0; i < header->extent_count; i++) {
		const struct hf_object_extent *extent = &header->extents[i];
		uint64_t done = 0;

		while (extent->kind == HF_EXTENT_DATA && done < extent->length) {
			uint64_t unit = extent->payload_unit + done;
			uint64_t in_chunk = unit % HF_CHUNK_UNITS;
			uint64_t length = HF_CHUNK_UNITS - in_chunk;

			if (length > extent->length - done)
				length = extent->length - done;
			seed_part(volume, &header->chunks[unit / HF_CHUNK_UNITS],
				  extent->lba + done, length, in_chunk);
			done += length;
		}
	}
}

/* ---- Writing --------------------------------------------------------------------------------- */

void hf_object_write_body(const struct hf_object_header *header, uint8_t *body)
{
	uint8_t *at = body + AT_EXTENTS;

	hf_put_le64(body + AT_FIRST, header->first_sequence);
	hf_put_le64(body + AT_LAST, header->last_sequence);
	hf_put_le64(body + AT_WALL, header->wall_ms);
	hf_put_le64(body + AT_VOLUME_SIZE, header->volume_size_bytes);
	hf_put_le64(body + AT_LOG_FIRST, header->log_first);
	hf_put_le64(body + AT_LOG_LAST, header->log_last);
	hf_put_le64(body + AT_PAYLOAD, header->payload_bytes);
	hf_put_le32(body + AT_EXTENT_COUNT, header->extent_count);
	hf_put_le32(body + AT_CHUNK_COUNT, header->chunk_count);
	for (uint32_t i = 0; i < header->extent_count; i++, at += EXTENT_BYTES) {
		const struct hf_object_extent *extent = &header->extents[i];
		bool data = extent->kind == HF_EXTENT_DATA;

		hf_put_le64(at, extent->lba);
		hf_put_le64(at + 8, extent->length);
		hf_put_le32(at + 16, data ? (uint32_t)extent->payload_unit : 0);
		hf_put_le32(at + 20, extent->kind);
	}
	for (uint32_t i = 0; i < header->chunk_count; i++, at += CHUNK_BYTES) {
		hf_put_le32(at, header->chunks[i].stored_bytes | (uint32_t)header->chunks[i].kind
									 << 24);
		hf_put_le32(at + 4, header->chunks[i].crc);
	}
}

/* ---- Reading --------------------------------------------------------------------------------- */

static int check_extent(const struct hf_object_header *header, uint32_t index,
			struct hf_errmsg *message)
{
	const struct hf_object_extent *extent = &header->extents[index];
	uint64_t units = header->payload_bytes / HF_OBJECT_UNIT;
	uint64_t free_from = index ? extent[-1].lba + extent[-1].length : 0;
	bool placed =
		extent->kind == HF_EXTENT_DATA
			? extent->length <= units && extent->payload_unit <= units - extent->length
			: extent->payload_unit == 0;

	if (extent->kind >= HF_EXTENT_DATA && extent->kind <= HF_EXTENT_BAD && placed &&
	    extent->length > 0 && extent->lba >= free_from && extent->lba < LBA_END &&
	    extent->length <= LBA_END - extent->lba)
		return 0;
	return hf_fail(message, HF_ECORRUPT, "its extent %u is impossible", index);
}

static int read_extents(const uint8_t *at, struct hf_object_header *header,
			struct hf_errmsg *message)
{
	uint64_t data_units = 0;

	for (uint32_t i = 0; i < header->extent_count; i++, at += EXTENT_BYTES) {
		int err;

		header->extents[i] = (struct hf_object_extent){
			.lba = hf_get_le64(at),
			.length = hf_get_le64(at + 8),
			.payload_unit = hf_get_le32(at + 16),
			.kind = (enum hf_extent_kind)hf_get_le32(at + 20),
		};
		err = check_extent(header, i, message);
		if (err)
			return err;
		if (header->extents[i].kind == HF_EXTENT_DATA)
			data_units += header->extents[i].length;
	}
	if (data_units > header->payload_bytes / HF_OBJECT_UNIT)
		return hf_fail(message, HF_ECORRUPT, "its extents share payload");
	return 0;
}

static bool chunk_is_possible(const struct hf_chunk *chunk, size_t plain_bytes)
{
	switch (chunk->kind) {
	case HF_CHUNK_ZERO:
		return chunk->stored_bytes == 0;
	case HF_CHUNK_RAW:
		return chunk->stored_bytes == plain_bytes + HF_TAG_BYTES;
	case HF_CHUNK_ZSTD:
		return chunk->stored_bytes > HF_TAG_BYTES &&
		       chunk->stored_bytes < plain_bytes + HF_TAG_BYTES;
	default:
		return false;
	}
}

static int read_chunks(const uint8_t *at, struct hf_object_header *header,
		       struct hf_errmsg *message)
{
	uint32_t offset = 0;

	for (uint32_t i = 0; i < header->chunk_count; i++, at += CHUNK_BYTES) {
		struct hf_chunk *chunk = &header->chunks[i];
		uint32_t word = hf_get_le32(at);

		*chunk = (struct hf_chunk){
			.stored_bytes = word & 0xffffffu,
			.kind = word >> 24,
			.crc = hf_get_le32(at + 4),
			.offset = offset,
		};
		if (!chunk_is_possible(chunk, hf_chunk_plain_bytes(header->payload_bytes, i)))
			return hf_fail(message, HF_ECORRUPT, "its chunk %u is impossible", i);
		offset += chunk->stored_bytes;
	}
	return 0;
}

static int read_counts(const uint8_t *body, size_t body_bytes, struct hf_object_header *header,
		       struct hf_errmsg *message)
{
	if (body_bytes < AT_EXTENTS)
		return hf_fail(message, HF_ECORRUPT, "a header of %zu bytes", body_bytes);
	*header = (struct hf_object_header){
		.first_sequence = hf_get_le64(body + AT_FIRST),
		.last_sequence = hf_get_le64(body + AT_LAST),
		.wall_ms = hf_get_le64(body + AT_WALL),
		.volume_size_bytes = hf_get_le64(body + AT_VOLUME_SIZE),
		.log_first = hf_get_le64(body + AT_LOG_FIRST),
		.log_last = hf_get_le64(body + AT_LOG_LAST),
		.payload_bytes = hf_get_le64(body + AT_PAYLOAD),
		.extent_count = hf_get_le32(body + AT_EXTENT_COUNT),
		.chunk_count = hf_get_le32(body + AT_CHUNK_COUNT),
	};
	if (header->first_sequence == 0 || header->last_sequence < header->first_sequence)
		return hf_fail(message, HF_ECORRUPT, "its writes %" PRIu64 " … %" PRIu64,
			       header->first_sequence, header->last_sequence);
	if (header->payload_bytes > HF_OBJECT_PAYLOAD_MAX ||
	    header->payload_bytes % HF_OBJECT_UNIT != 0 ||
	    header->chunk_count != (header->payload_bytes + HF_CHUNK_BYTES - 1) / HF_CHUNK_BYTES ||
	    header->extent_count > HF_OBJECT_EXTENTS_MAX ||
	    body_bytes != hf_object_body_bytes(header->extent_count, header->chunk_count))
		return hf_fail(message, HF_ECORRUPT, "its counts do not fit its size");
	return 0;
}

int hf_object_read_body(uint64_t volume, const uint8_t *body, size_t body_bytes,
			struct hf_object_header *header, struct hf_errmsg *message)
{
	const uint8_t *at = body + AT_EXTENTS;
	int err = read_counts(body, body_bytes, header, message);

	if (err)
		return err;
	header->extents = malloc((header->extent_count + 1) * sizeof *header->extents);
	header->chunks = malloc((header->chunk_count + 1) * sizeof *header->chunks);
	err = HF_ENOMEM;
	if (!header->extents || !header->chunks)
		goto err_after_alloc;
	err = read_extents(at, header, message);
	if (!err)
		err = read_chunks(at + (size_t)header->extent_count * EXTENT_BYTES, header,
				  message);
	if (err)
		goto err_after_alloc;
	hf_object_seed_chunks(volume, header);
	return 0;

err_after_alloc:
	free(header->extents);
	free(header->chunks);
	header->extents = NULL;
	header->chunks = NULL;
	return err;
}
