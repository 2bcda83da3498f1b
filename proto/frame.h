/* Frames of proto/channel.proto in a stream of bytes, and messages in frames. Pure: bytes in,
 * frames out. docs/protocol/channel.md has the rules.
 *
 * On the wire: a big-endian u32 length (1 … HF_FRAME_MAX), then an encoded Frame of that length.
 * A message longer than HF_FRAME_BODY_MAX travels in parts 0 … parts - 1 of one message number. */
#ifndef HF_PROTO_FRAME_H
#define HF_PROTO_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "proto/channel.pb-c.h"

#define HF_FRAME_MAX       65532u /* bytes of an encoded Frame; with its length 64 KiB */
#define HF_FRAME_BODY_MAX  65000u /* bytes of a message that we put into one frame */
#define HF_FRAME_PARTS_MAX 1024u

/* ---- Frames from bytes, in whatever pieces they arrive ---- */

/* Zero it before first use. Holds memory only while a frame is incomplete. */
struct hf_frame_reader {
	uint8_t header[4];
	unsigned header_used;
	uint8_t *frame;
	uint32_t frame_length, frame_used; /* bytes */
};

/* Takes bytes up to the end of the next frame, `*taken` of them. 1: `*frame` is that frame, freed
 * by the caller with hf_frame_free. 0: all bytes taken, the frame is not complete. HF_EPROTO: the
 * length or the content is not a frame's; HF_ENOMEM. After an error the reader is of no more use
 * but must still be ended. */
int hf_frame_read(struct hf_frame_reader *reader, const uint8_t *bytes, size_t length,
		  size_t *taken, Holdfast__Frame **frame);
void hf_frame_free(Holdfast__Frame *frame);
void hf_frame_reader_end(struct hf_frame_reader *reader);

/* ---- Messages from frames ---- */

/* Puts parts together and checks numbers. Set `message_max_bytes`, zero the rest. */
struct hf_message_reader {
	size_t message_max_bytes;
	uint64_t last_message; /* the last one complete */
	uint64_t epoch;        /* of the message under way */
	uint32_t parts, next_part;
	uint8_t *body;
	size_t body_length, body_capacity;
};

/* Adds a frame. 1: the message is complete; `*body` stays valid until the next call. 0: parts are
 * missing. HF_EPROTO: replayed, skipped or out of order; HF_ETOOBIG; HF_ENOMEM; the reason is in
 * `*reason` (static). */
int hf_message_read(struct hf_message_reader *reader, const Holdfast__Frame *frame,
		    const uint8_t **body, size_t *length, const char **reason);
void hf_message_reader_end(struct hf_message_reader *reader);

/* ---- Messages to bytes ---- */

/* Calls `output` once for each frame (length and Frame together). 0, HF_ETOOBIG (more than
 * HF_FRAME_PARTS_MAX parts), HF_ENOMEM, or the first non-zero that `output` returned. */
int hf_message_write(uint64_t epoch, uint64_t message, const uint8_t *body, size_t length,
		     int (*output)(void *context, const uint8_t *bytes, size_t length),
		     void *context);

#endif
