/* What the maps of a process's volumes share: one limit for the memory of leaves, pages of the
 * index and headers of objects (struct hf_remote_maps in remote/remote.h). Headers take at most a
 * quarter, pages an eighth; leaves the rest, across all volumes, those first that were not used for
 * longest. While leaves are being loaded the limit may be passed by HF_MAPS_SLACK_BYTES, so that a
 * range of several leaves is in memory at one moment. What is not in a checkpoint stays: when that
 * alone is over the limit, the volume that has most of it is asked for a checkpoint. Core's thread.
 */
#ifndef HF_REMOTE_MAPS_H
#define HF_REMOTE_MAPS_H

#include "base/list.h"
#include "remote/remote_impl.h"

#define HF_MAPS_SLACK_BYTES (4u << 20)

struct hf_remote_maps {
	uint64_t limit_bytes;
	uint64_t table_bytes;
	unsigned loading;       /* hf_remote_loads under way, whose leaves should not go at once */
	struct hf_list tables;  /* struct hf_table, oldest use first */
	struct hf_list remotes; /* the next one to give memory back first */
};

/* Drops headers that nobody uses, oldest use first, down to their share. */
void hf_maps_shrink_tables(struct hf_remote_maps *maps);
/* Sets remote->page_bytes after the root has changed. */
void hf_maps_count_pages(struct hf_remote *remote);
size_t hf_maps_page_bytes(const struct hf_map_page *page);
/* Drops leaves and pages that can come again until the limit is kept. */
void hf_maps_balance(struct hf_remote_maps *maps);

#endif
