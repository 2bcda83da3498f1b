/* The frames of net/local.h: {u32 length of the rest, u32 request number, bytes}, little-endian.
 * Used by server and client on their loop threads and by the blocking hf_local_ask. */
#include "net/local_frame.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "net/local.h"

#define BUFFER_FIRST_BYTES 4096u

int hf_local_buffer_append(struct hf_local_buffer *buffer, const uint8_t *bytes, size_t length)
{
	size_t capacity = buffer->capacity ? buffer->capacity : BUFFER_FIRST_BYTES;
	uint8_t *grown;

	if (buffer->taken) {
		buffer->used -= buffer->taken;
		memmove(buffer->data, buffer->data + buffer->taken, buffer->used);
		buffer->taken = 0;
	}
	while (capacity - buffer->used < length)
		capacity *= 2;
	if (capacity != buffer->capacity) {
		grown = realloc(buffer->data, capacity);
		if (!grown)
			return HF_ENOMEM;
		buffer->data = grown;
		buffer->capacity = capacity;
	}
	if (length)
		memcpy(buffer->data + buffer->used, bytes, length);
	buffer->used += length;
	return 0;
}

int hf_local_buffer_next(struct hf_local_buffer *buffer, uint32_t *number, const uint8_t **bytes,
			 size_t *length)
{
	const uint8_t *at = buffer->data + buffer->taken;
	size_t have = buffer->used - buffer->taken;
	uint32_t rest;

	if (have < 4)
		return 0;
	rest = hf_get_le32(at);
	if (rest < 4 || rest - 4 > HF_LOCAL_FRAME_MAX)
		return HF_EPROTO;
	if (have - 4 < rest)
		return 0;
	*number = hf_get_le32(at + 4);
	*bytes = at + HF_LOCAL_HEADER_BYTES;
	*length = rest - 4;
	buffer->taken += 4 + (size_t)rest;
	return 1;
}

void hf_local_frame_free(uint8_t *frame, size_t length)
{
	if (frame)
		explicit_bzero(frame, HF_LOCAL_HEADER_BYTES + length);
	free(frame);
}

void hf_local_buffer_free(struct hf_local_buffer *buffer)
{
	if (buffer->data)
		explicit_bzero(buffer->data, buffer->used);
	free(buffer->data);
	memset(buffer, 0, sizeof *buffer);
}

uint8_t *hf_local_frame_make(uint32_t number, const uint8_t *bytes, size_t length)
{
	uint8_t *frame;

	if (length > HF_LOCAL_FRAME_MAX)
		return NULL;
	frame = malloc(HF_LOCAL_HEADER_BYTES + length);
	if (!frame)
		return NULL;
	hf_put_le32(frame, (uint32_t)length + 4);
	hf_put_le32(frame + 4, number);
	if (length)
		memcpy(frame + HF_LOCAL_HEADER_BYTES, bytes, length);
	return frame;
}
