/* The shared memory limit behind remote/maps.h. Core's thread. */
#include "remote/maps.h"
#include "base/assert.h"

#include <stdlib.h>

struct hf_remote_maps *hf_remote_maps_create(uint64_t limit_bytes)
{
	struct hf_remote_maps *maps = calloc(1, sizeof *maps);

	if (!maps)
		return NULL;
	maps->limit_bytes = limit_bytes;
	maps->table_limit_bytes = limit_bytes / 4;
	hf_list_init(&maps->tables);
	return maps;
}

void hf_remote_maps_destroy(struct hf_remote_maps *maps)
{
	if (!maps)
		return;
	HF_ASSERT(hf_list_empty(&maps->tables));
	free(maps);
}
