/* The shared memory limit behind remote/maps.h. Core's thread. */
#include "remote/maps.h"

#include <stdlib.h>

struct hf_remote_maps *hf_remote_maps_create(uint64_t limit_bytes)
{
	struct hf_remote_maps *maps = calloc(1, sizeof *maps);

	if (!maps)
		return NULL;
	maps->limit_bytes = limit_bytes;
	hf_list_init(&maps->tables);
	hf_list_init(&maps->remotes);
	return maps;
}

void hf_remote_maps_destroy(struct hf_remote_maps *maps)
{
	if (!maps)
		return;
	HF_ASSERT(hf_list_empty(&maps->tables) && hf_list_empty(&maps->remotes));
	free(maps);
}

size_t hf_maps_page_bytes(const struct hf_map_page *page)
{
	return page ? sizeof *page + page->count * sizeof page->entries[0] : 0;
}

void hf_maps_count_pages(struct hf_remote *remote)
{
	remote->page_bytes = 0;
	for (uint32_t i = 0; remote->root && i < remote->root->page_count; i++)
		remote->page_bytes += hf_maps_page_bytes(remote->root->pages[i].page);
}

/* One turn of a clock over the pages of one volume. */
static uint64_t drop_pages(struct hf_remote *remote, uint64_t excess_bytes)
{
	uint64_t dropped = 0;

	for (uint32_t i = 0; remote->root && i < remote->root->page_count; i++) {
		struct hf_map_page_ref *ref = &remote->root->pages[i];

		if (dropped >= excess_bytes)
			break;
		if (ref->page && !ref->used) {
			dropped += hf_maps_page_bytes(ref->page);
			free(ref->page);
			ref->page = NULL;
		}
		ref->used = false;
	}
	remote->page_bytes -= dropped;
	return dropped;
}

/* A checkpoint that is collecting needs its pages. */
static void shrink_pages(struct hf_remote_maps *maps, uint64_t limit_bytes)
{
	uint64_t bytes = 0;

	hf_list_for_each (at, &maps->remotes) {
		bytes += hf_container_of(at, struct hf_remote, in_maps)->page_bytes;
	}
	for (unsigned turn = 0; turn < 2 && bytes > limit_bytes; turn++) {
		hf_list_for_each (at, &maps->remotes) {
			struct hf_remote *remote = hf_container_of(at, struct hf_remote, in_maps);

			if (bytes > limit_bytes && !remote->checkpoint)
				bytes -= drop_pages(remote, bytes - limit_bytes);
		}
	}
}

static uint64_t leaves_bytes(const struct hf_remote_maps *maps)
{
	uint64_t bytes = 0;

	hf_list_for_each (at, &maps->remotes) {
		bytes +=
			hf_extmap_memory_bytes(hf_container_of(at, struct hf_remote, in_maps)->map);
	}
	return bytes;
}

/* Each volume in its turn gives what it has to, the one that gave last comes last the next time. */
static void shrink_leaves(struct hf_remote_maps *maps, uint64_t limit_bytes)
{
	uint64_t bytes = leaves_bytes(maps);
	struct hf_list *last = maps->remotes.prev;

	while (bytes > limit_bytes) {
		struct hf_list *link = maps->remotes.next;
		struct hf_remote *remote = hf_container_of(link, struct hf_remote, in_maps);
		size_t before = hf_extmap_memory_bytes(remote->map);
		uint64_t excess = bytes - limit_bytes;

		hf_extmap_shrink(remote->map, before > excess ? before - excess : 0);
		bytes -= before - hf_extmap_memory_bytes(remote->map);
		if (bytes <= limit_bytes)
			return;
		hf_list_remove(link);
		hf_list_push_back(&maps->remotes, link);
		if (link == last)
			break;
	}
	if (bytes <= limit_bytes)
		return;
	hf_list_for_each (at, &maps->remotes) {
		hf_checkpoint_consider(hf_container_of(at, struct hf_remote, in_maps), true);
	}
}

void hf_maps_balance(struct hf_remote_maps *maps)
{
	uint64_t slack = maps->loading ? HF_MAPS_SLACK_BYTES : 0;

	shrink_pages(maps, maps->limit_bytes / 8 + slack);
	shrink_leaves(maps,
		      maps->limit_bytes - maps->limit_bytes / 8 - maps->limit_bytes / 4 + slack);
}
