/* The list of deleted.h. Looked through from end to end: once a document, and people delete. */
#include "gateway/agent/deleted.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

bool hf_deleted_has(const struct hf_deleted *deleted, uint64_t volume)
{
	for (size_t i = deleted->count; i > 0; i--)
		if (deleted->volumes[i - 1] == volume)
			return true;
	return false;
}

static void make_room(struct hf_deleted *deleted, size_t more)
{
	size_t most = HF_DELETED_MAX - more;

	if (deleted->count > most) {
		memmove(deleted->volumes, deleted->volumes + (deleted->count - most),
			most * sizeof *deleted->volumes);
		deleted->count = most;
	}
	deleted->volumes =
		reallocarray(deleted->volumes, deleted->count + more + 1, sizeof *deleted->volumes);
	HF_ASSERT(deleted->volumes);
}

bool hf_deleted_add(struct hf_deleted *deleted, const Holdfast__Document *document)
{
	bool added = false;

	if (document->n_tombstones == 0)
		return false;
	HF_ASSERT(document->n_tombstones <= HF_DELETED_MAX);
	make_room(deleted, document->n_tombstones);
	for (size_t i = 0; i < document->n_tombstones; i++) {
		if (hf_deleted_has(deleted, document->tombstones[i]->volume))
			continue;
		deleted->volumes[deleted->count++] = document->tombstones[i]->volume;
		added = true;
	}
	return added;
}

void hf_deleted_end(struct hf_deleted *deleted)
{
	free(deleted->volumes);
	*deleted = (struct hf_deleted){NULL, 0};
}
