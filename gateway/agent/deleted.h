/* Which volumes were deleted here: the numbers of all tombstones that were ever in force, so that
 * none comes back when its tombstone has left the document (invariant 4). Beyond
 * HF_DELETED_MAX the oldest leave; those are still held off by their versions, which no later
 * document may take back. Pure. */
#ifndef HF_GATEWAY_AGENT_DELETED_H
#define HF_GATEWAY_AGENT_DELETED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/document.pb-c.h"

#define HF_DELETED_MAX 65536u

struct hf_deleted {
	uint64_t *volumes; /* oldest first; malloc'ed */
	size_t count;
};

bool hf_deleted_has(const struct hf_deleted *deleted, uint64_t volume);
/* Adds the document's tombstones; true: some were new. */
bool hf_deleted_add(struct hf_deleted *deleted, const Holdfast__Document *document);
void hf_deleted_end(struct hf_deleted *deleted);

#endif
