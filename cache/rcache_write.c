/* Chunks on their way to the cache's disk: up to 192 wait while a batch of up to 64 is being
 * written, one batch at a time, sorted by slot, neighbours in one write. Slots are given out in the
 * order in which they became free, so that what came together lies together. Nothing is synced: a
 * write that was lost shows by its checksum. A chunk that is being written is served from here and
 * is not evicted. */
#include <stdlib.h>

#include "base/log.h"
#include "cache/rcache_private.h"

#define ERRORS_MAX 8u /* one after the other: the disk is not worth having */

void hf_rcache_disk_evicted(void *context, uint32_t slot)
{
	struct hf_rcache *cache = context;

	cache->generations[slot]++;
	hf_rcache_page_changed(cache, slot);
}

void hf_rcache_drop(struct hf_rcache *cache, uint32_t slot)
{
	hf_rcache_disk_evicted(cache, slot);
	hf_rcache_index_remove(&cache->disk, slot);
}

void hf_rcache_give_up(struct hf_rcache *cache, const char *why)
{
	struct hf_list *link;

	hf_warn("the read cache goes on without its disk: %s", why);
	cache->state = RCACHE_NO_DISK;
	cache->lost = true;
	cache->disk.used_bytes = 0;
	hf_env_timer_cancel(cache->env, &cache->flush_timer);
	while ((link = hf_list_pop_front(&cache->pending)) != NULL) {
		struct rcache_write *write = hf_container_of(link, struct rcache_write, link);

		hf_rcache_block_put(write->block);
		free(write);
	}
	cache->pending_count = 0;
}

static struct rcache_block *block_in(const struct hf_list *writes, uint32_t slot)
{
	hf_list_for_each (at, writes) {
		struct rcache_write *write = hf_container_of(at, struct rcache_write, link);

		if (write->slot == slot)
			return write->block;
	}
	return NULL;
}

struct rcache_block *hf_rcache_writing_block(const struct hf_rcache *cache, uint32_t slot)
{
	struct rcache_block *block = block_in(&cache->pending, slot);

	return block ? block : block_in(&cache->writing, slot);
}

/* ---- Batches --------------------------------------------------------------------------------- */

static void write_ended(struct hf_rcache *cache, struct rcache_write *write, int status)
{
	if (cache->state == RCACHE_READY && status == 0) {
		cache->disk.entries[write->slot].locked = false;
		hf_rcache_page_changed(cache, write->slot);
		cache->stats.disk_written_bytes += write->block->length;
	} else if (cache->state == RCACHE_READY) {
		hf_rcache_drop(cache, write->slot);
	}
	hf_list_remove(&write->link);
	hf_rcache_block_put(write->block);
	free(write);
}

static void run_written(struct hf_disk_io *io)
{
	struct rcache_run *run = hf_container_of(io, struct rcache_run, io);
	struct hf_rcache *cache = run->cache;

	HF_CHECK_MAGIC(cache, HF_RCACHE_MAGIC);
	for (unsigned i = 0; i < run->count; i++)
		write_ended(cache, cache->batch[run->first + i], io->status);
	cache->errors = io->status ? cache->errors + 1 : 0;
	if (cache->state == RCACHE_READY &&
	    (io->status == HF_ENOSPC || cache->errors >= ERRORS_MAX))
		hf_rcache_give_up(cache, hf_err_text(io->status));
	if (--cache->runs_under_way == 0)
		hf_rcache_write_step(cache);
	hf_rcache_ended(cache);
}

static int by_slot(const void *left, const void *right)
{
	const struct rcache_write *const *a = left, *const *b = right;

	return ((*a)->slot > (*b)->slot) - ((*a)->slot < (*b)->slot);
}

static size_t whole_blocks(uint32_t length)
{
	return (length + HF_RCACHEFMT_BLOCK - 1) / HF_RCACHEFMT_BLOCK * HF_RCACHEFMT_BLOCK;
}

static void run_begin(struct hf_rcache *cache, struct rcache_run *run, unsigned first)
{
	*run = (struct rcache_run){
		.cache = cache,
		.first = first,
		.io = {.op = HF_DISK_WRITE,
		       .disk = cache->disk_number,
		       .offset = cache->super.slots_offset +
				 (uint64_t)cache->batch[first]->slot * HF_RCACHEFMT_SLOT_BYTES,
		       .iov = &cache->batch_iov[first],
		       .done = run_written},
	};
}

/* Whether the batch's write `at` goes on where the one before it ends. */
static bool continues(const struct hf_rcache *cache, unsigned at)
{
	return at > 0 && cache->batch[at - 1]->slot + 1 == cache->batch[at]->slot &&
	       cache->batch_iov[at - 1].iov_len == HF_RCACHEFMT_SLOT_BYTES;
}

static unsigned make_runs(struct hf_rcache *cache, unsigned count)
{
	unsigned runs = 0;

	for (unsigned i = 0; i < count; i++) {
		const struct rcache_block *block = cache->batch[i]->block;

		cache->batch_iov[i] = (struct iovec){.iov_base = block->bytes,
						     .iov_len = whole_blocks(block->length)};
		if (!continues(cache, i))
			run_begin(cache, &cache->runs[runs++], i);
		cache->runs[runs - 1].count++;
	}
	return runs;
}

void hf_rcache_write_step(struct hf_rcache *cache)
{
	unsigned count = 0, runs;

	if (cache->state != RCACHE_READY || cache->runs_under_way > 0)
		return;
	while (count < HF_RCACHE_BATCH && !hf_list_empty(&cache->pending)) {
		struct hf_list *link = hf_list_pop_front(&cache->pending);

		hf_list_push_back(&cache->writing, link);
		cache->batch[count++] = hf_container_of(link, struct rcache_write, link);
	}
	if (count == 0)
		return;
	cache->pending_count -= count;
	qsort(cache->batch, count, sizeof(struct rcache_write *), by_slot);
	runs = make_runs(cache, count);
	cache->runs_under_way = runs;
	for (unsigned i = 0; i < runs; i++) {
		cache->runs[i].io.iov_count = cache->runs[i].count;
		hf_rcache_began(cache);
		hf_env_disk_submit(cache->env, &cache->runs[i].io);
	}
}

/* ---- A chunk comes --------------------------------------------------------------------------- */

static void sum(struct hf_rcache *cache, uint32_t slot, const struct hf_read_cache_key *key,
		const struct rcache_block *block)
{
	uint32_t *crcs = cache->crcs + (size_t)slot * HF_RCACHEFMT_SLOT_BLOCKS;

	for (uint32_t i = 0; i * HF_RCACHEFMT_BLOCK < block->length; i++)
		crcs[i] = hf_rcachefmt_crc(key, i, block->bytes + (size_t)i * HF_RCACHEFMT_BLOCK);
}

void hf_rcache_write(struct hf_rcache *cache, const struct hf_read_cache_key *key,
		     struct rcache_block *block)
{
	struct rcache_write *write;
	uint32_t slot;

	if (cache->state != RCACHE_READY || cache->pending_count >= HF_RCACHE_PENDING_MAX)
		return;
	write = malloc(sizeof *write);
	if (!write)
		return;
	slot = hf_rcache_index_insert(&cache->disk, key, block->length, hf_rcache_now(cache));
	if (slot == HF_RCACHE_NONE) {
		free(write);
		return;
	}
	cache->disk.entries[slot].locked = true;
	cache->generations[slot]++;
	sum(cache, slot, key, block);
	block->refs++;
	*write = (struct rcache_write){.slot = slot, .block = block};
	hf_list_push_back(&cache->pending, &write->link);
	cache->pending_count++;
	hf_rcache_write_step(cache);
}
