/* Frames and parts (proto/frame.h). Pure; each reader belongs to one session. */
#include "proto/frame.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"

#define BODY_FIRST_BYTES 4096u

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

static int read_header(struct hf_frame_reader *reader, const uint8_t *bytes, size_t length,
		       size_t *taken)
{
	size_t n = smaller(sizeof reader->header - reader->header_used, length);

	memcpy(reader->header + reader->header_used, bytes, n);
	reader->header_used += (unsigned)n;
	*taken = n;
	if (reader->header_used < sizeof reader->header)
		return 0;
	reader->frame_length = hf_get_be32(reader->header);
	reader->frame_used = 0;
	if (reader->frame_length == 0 || reader->frame_length > HF_FRAME_MAX)
		return HF_EPROTO;
	reader->frame = malloc(reader->frame_length);
	return reader->frame ? 1 : HF_ENOMEM;
}

int hf_frame_read(struct hf_frame_reader *reader, const uint8_t *bytes, size_t length,
		  size_t *taken, Holdfast__Frame **frame)
{
	size_t n;
	int err;

	*taken = 0;
	if (!reader->frame) {
		err = read_header(reader, bytes, length, taken);
		if (err != 1)
			return err;
	}
	n = smaller(reader->frame_length - reader->frame_used, length - *taken);
	memcpy(reader->frame + reader->frame_used, bytes + *taken, n);
	reader->frame_used += (uint32_t)n;
	*taken += n;
	if (reader->frame_used < reader->frame_length)
		return 0;
	*frame = holdfast__frame__unpack(NULL, reader->frame_length, reader->frame);
	hf_frame_reader_end(reader);
	return *frame ? 1 : HF_EPROTO;
}

void hf_frame_free(Holdfast__Frame *frame)
{
	holdfast__frame__free_unpacked(frame, NULL);
}

void hf_frame_reader_end(struct hf_frame_reader *reader)
{
	free(reader->frame);
	memset(reader, 0, sizeof *reader);
}

/* ---- Messages ---- */

static int check_part(const struct hf_message_reader *reader, const Holdfast__Frame *frame,
		      const char **reason)
{
	*reason = NULL;
	if (frame->message <= reader->last_message)
		*reason = "a message was replayed";
	else if (frame->message != reader->last_message + 1)
		*reason = "a message is missing";
	else if (frame->parts == 0 || frame->parts > HF_FRAME_PARTS_MAX)
		*reason = "a message in no or too many parts";
	else if (frame->part != reader->next_part)
		*reason = "a part out of order";
	else if (frame->part >= frame->parts)
		*reason = "a part past the last";
	else if (frame->part > 0 && frame->parts != reader->parts)
		*reason = "the number of parts changed";
	else if (frame->part > 0 && frame->epoch != reader->epoch)
		*reason = "the epoch changed between parts";
	return *reason ? HF_EPROTO : 0;
}

static int reserve(struct hf_message_reader *reader, size_t length)
{
	size_t capacity = reader->body_capacity ? reader->body_capacity : BODY_FIRST_BYTES;
	uint8_t *grown;

	while (capacity < length)
		capacity *= 2;
	if (capacity == reader->body_capacity)
		return 0;
	grown = realloc(reader->body, capacity);
	if (!grown)
		return HF_ENOMEM;
	reader->body = grown;
	reader->body_capacity = capacity;
	return 0;
}

int hf_message_read(struct hf_message_reader *reader, const Holdfast__Frame *frame,
		    const uint8_t **body, size_t *length, const char **reason)
{
	int err = check_part(reader, frame, reason);

	if (err)
		return err;
	if (frame->part == 0)
		reader->body_length = 0;
	if (frame->body.len > reader->message_max_bytes - reader->body_length) {
		*reason = "a message larger than the limit";
		return HF_ETOOBIG;
	}
	if (reserve(reader, reader->body_length + frame->body.len) != 0) {
		*reason = "out of memory";
		return HF_ENOMEM;
	}
	if (frame->body.len)
		memcpy(reader->body + reader->body_length, frame->body.data, frame->body.len);
	reader->body_length += frame->body.len;
	reader->epoch = frame->epoch;
	reader->parts = frame->parts;
	reader->next_part++;
	if (reader->next_part < reader->parts)
		return 0;
	reader->last_message = frame->message;
	reader->next_part = 0;
	*body = reader->body;
	*length = reader->body_length;
	return 1;
}

void hf_message_reader_end(struct hf_message_reader *reader)
{
	free(reader->body);
	reader->body = NULL;
	reader->body_length = reader->body_capacity = 0;
}

/* ---- Writing ---- */

static int write_part(const Holdfast__Frame *frame, uint8_t *buffer,
		      int (*output)(void *context, const uint8_t *bytes, size_t length),
		      void *context)
{
	size_t packed = holdfast__frame__get_packed_size(frame);

	HF_ASSERT(packed > 0 && packed <= HF_FRAME_MAX);
	hf_put_be32(buffer, (uint32_t)packed);
	holdfast__frame__pack(frame, buffer + 4);
	return output(context, buffer, 4 + packed);
}

int hf_message_write(uint64_t epoch, uint64_t message, const uint8_t *body, size_t length,
		     int (*output)(void *context, const uint8_t *bytes, size_t length),
		     void *context)
{
	size_t parts = length ? (length + HF_FRAME_BODY_MAX - 1) / HF_FRAME_BODY_MAX : 1;
	uint8_t *buffer;
	int err = 0;

	if (parts > HF_FRAME_PARTS_MAX)
		return HF_ETOOBIG;
	/* The tags and numbers of a Frame take less than 64 bytes beside its body. */
	buffer = malloc(4 + 64 + smaller(length, HF_FRAME_BODY_MAX));
	if (!buffer)
		return HF_ENOMEM;
	for (size_t part = 0; part < parts && !err; part++) {
		Holdfast__Frame frame = HOLDFAST__FRAME__INIT;
		size_t start = part * HF_FRAME_BODY_MAX;

		frame.epoch = epoch;
		frame.message = message;
		frame.part = (uint32_t)part;
		frame.parts = (uint32_t)parts;
		frame.body.data = (uint8_t *)(uintptr_t)body + start;
		frame.body.len = smaller(length - start, HF_FRAME_BODY_MAX);
		err = write_part(&frame, buffer, output, context);
	}
	explicit_bzero(buffer, 4 + 64 + smaller(length, HF_FRAME_BODY_MAX));
	free(buffer);
	return err;
}
