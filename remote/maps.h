/* What the maps of a process's volumes share: one limit for the memory of leaves, pages of the
 * index and headers of objects (struct hf_remote_maps in remote/remote.h). Core's thread. */
#ifndef HF_REMOTE_MAPS_H
#define HF_REMOTE_MAPS_H

#include "base/list.h"
#include "remote/remote.h"

struct hf_remote_maps {
	uint64_t limit_bytes;
	uint64_t table_limit_bytes; /* of it, for headers of objects */
	uint64_t table_bytes;
	struct hf_list tables; /* struct hf_table, oldest use first */
};

/* Drops headers that nobody uses, oldest use first, down to the limit. */
void hf_maps_shrink_tables(struct hf_remote_maps *maps, uint64_t limit_bytes);

#endif
