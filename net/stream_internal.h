/* What stream.c gives to listener.c beside net/stream.h. */
#ifndef HF_NET_STREAM_INTERNAL_H
#define HF_NET_STREAM_INTERNAL_H

#include "net/stream.h"

/* Called after `closed`, when the stream's memory goes: the listener counts its streams. */
void hf_stream_on_freed(struct hf_stream *stream, void (*freed)(void *context), void *context);

#endif
