/* Memory for chunks that were fetched, shared by the volumes of a process (struct hf_remote_cache
 * in remote/remote.h). Keyed by content, so that a fill can never be stale: an object is immutable,
 * and its header's tag names it. Core's thread.
 *
 * Two lists in order of use: a chunk enters the probation list and moves to the protected one (at
 * most four fifths of the memory) when it is used again; eviction takes from probation first, so a
 * scan does not push out what is hot. */
#ifndef HF_REMOTE_CHUNK_CACHE_H
#define HF_REMOTE_CHUNK_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "remote/object.h"

/* The plain bytes of a chunk, valid until the next call that adds; NULL on a miss. `cache` may be
 * NULL in all of these: then nothing is ever there. */
const void *hf_chunk_cache_get(struct hf_remote_cache *cache, const struct hf_object *object,
			       uint32_t number);
/* Whether it is there, without counting as a use. */
bool hf_chunk_cache_has(const struct hf_remote_cache *cache, const struct hf_object *object,
			uint32_t number);
/* Copies the chunk in, if memory allows and it is not there. */
void hf_chunk_cache_add(struct hf_remote_cache *cache, const struct hf_object *object,
			uint32_t number, const void *plain, size_t length);

#endif
