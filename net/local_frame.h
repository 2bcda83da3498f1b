/* Frames of net/local.h cut out of a stream of bytes, for both ends. Not thread-safe; a buffer
 * belongs to its connection. */
#ifndef HF_NET_LOCAL_FRAME_H
#define HF_NET_LOCAL_FRAME_H

#include <stddef.h>
#include <stdint.h>

#define HF_LOCAL_HEADER_BYTES 8u

/* Bytes received and not yet handled; grows as they arrive, never by what a peer announces. Zero
 * it before first use. */
struct hf_local_buffer {
	uint8_t *data;
	size_t used, capacity; /* bytes */
	size_t taken;          /* bytes at the front that were handled */
};

/* 0 or HF_ENOMEM. */
int hf_local_buffer_append(struct hf_local_buffer *buffer, const uint8_t *bytes, size_t length);
/* 1 and the first frame, which stays valid until the next append; 0 if it is not complete;
 * HF_EPROTO if it can never be one. */
int hf_local_buffer_next(struct hf_local_buffer *buffer, uint32_t *number, const uint8_t **bytes,
			 size_t *length);
void hf_local_buffer_free(struct hf_local_buffer *buffer);

/* A malloc'ed frame of HF_LOCAL_HEADER_BYTES + length bytes, or NULL. */
uint8_t *hf_local_frame_make(uint32_t number, const uint8_t *bytes, size_t length);
/* Wipes and frees a frame of `length` bytes of content: it may have carried a secret. NULL is
 * harmless. */
void hf_local_frame_free(uint8_t *frame, size_t length);

#endif
