/* The lists of left.h. */
#include "gateway/agent/left.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "gateway/agent/document.h"

static Holdfast__Volume *copy_entry(const Holdfast__Volume *entry)
{
	size_t length = holdfast__volume__get_packed_size(entry);
	uint8_t *bytes = malloc(length + 1);
	Holdfast__Volume *copy;

	HF_ASSERT(bytes);
	holdfast__volume__pack(entry, bytes);
	copy = holdfast__volume__unpack(NULL, length, bytes);
	free(bytes);
	HF_ASSERT(copy);
	return copy;
}

/* Those of `from` that `next` does not speak of. */
static void add_unnamed(Holdfast__Document *to, const Holdfast__Document *from,
			const Holdfast__Document *next)
{
	for (size_t i = 0; from && i < from->n_volumes; i++) {
		const Holdfast__Volume *entry = from->volumes[i];

		if (!hf_document_volume(next, entry->volume) &&
		    !hf_document_tombstone(next, entry->volume) &&
		    !hf_document_volume(to, entry->volume) &&
		    to->n_volumes < HF_DOCUMENT_VOLUMES_MAX)
			to->volumes[to->n_volumes++] = copy_entry(entry);
	}
}

Holdfast__Document *hf_left_after(const Holdfast__Document *left, const Holdfast__Document *current,
				  const Holdfast__Document *next)
{
	Holdfast__Document *list = malloc(sizeof *list);

	HF_ASSERT(list);
	holdfast__document__init(list);
	list->volumes = calloc(HF_DOCUMENT_VOLUMES_MAX, sizeof(Holdfast__Volume *));
	HF_ASSERT(list->volumes);
	add_unnamed(list, left, next);
	/* Within an incarnation such a document is refused. */
	add_unnamed(list, current, next);
	if (list->n_volumes > 0)
		return list;
	holdfast__document__free_unpacked(list, NULL);
	return NULL;
}

void hf_left_join(const Holdfast__Document *document, const Holdfast__Document *left,
		  Holdfast__Document *joined)
{
	size_t more = left ? left->n_volumes : 0;

	*joined = *document;
	joined->volumes = calloc(document->n_volumes + more + 1, sizeof(Holdfast__Volume *));
	HF_ASSERT(joined->volumes);
	if (document->n_volumes)
		memcpy(joined->volumes, document->volumes,
		       document->n_volumes * sizeof(Holdfast__Volume *));
	for (size_t i = 0; i < more; i++)
		joined->volumes[joined->n_volumes++] = left->volumes[i];
}

void hf_left_join_end(Holdfast__Document *joined)
{
	free(joined->volumes);
	*joined = (Holdfast__Document)HOLDFAST__DOCUMENT__INIT;
}
