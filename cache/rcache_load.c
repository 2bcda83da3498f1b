/* The read cache's disk at the start: the superblock, then the index pages, some at a time, then
 * the queues are put together again by age. What is damaged is left out; a disk without a good
 * superblock of the right size is made anew by writing one, whose new name disowns every old page.
 * Nothing here fails the cache: at worst it does without its disk. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cache/rcache_private.h"

#define LOAD_PAGES 256u

static void load_pages(struct hf_rcache *cache);

static void load_submit(struct hf_rcache *cache, enum hf_disk_op op, uint64_t offset, size_t bytes,
			void (*done)(struct hf_disk_io *io))
{
	cache->iov = (struct iovec){.iov_base = cache->io_buffer, .iov_len = bytes};
	cache->io = (struct hf_disk_io){
		.op = op,
		.disk = cache->disk_number,
		.offset = offset,
		.iov = &cache->iov,
		.iov_count = 1,
		.done = done,
	};
	hf_rcache_began(cache);
	hf_env_disk_submit(cache->env, &cache->io);
}

static struct hf_rcache *load_of(struct hf_disk_io *io)
{
	struct hf_rcache *cache = hf_container_of(io, struct hf_rcache, io);

	HF_CHECK_MAGIC(cache, HF_RCACHE_MAGIC);
	return cache;
}

static void load_end(struct hf_rcache *cache, bool ready)
{
	free(cache->io_buffer);
	cache->io_buffer = NULL;
	cache->state = ready ? RCACHE_READY : RCACHE_NO_DISK;
	if (!ready || cache->closing)
		return;
	hf_info("read cache: disk_bytes=%llu chunks=%llu",
		(unsigned long long)cache->disk.limit_bytes,
		(unsigned long long)cache->stats.recovered_chunks);
}

static void formatted(struct hf_disk_io *io)
{
	struct hf_rcache *cache = load_of(io);

	if (io->status == 0)
		hf_rcache_index_restore(&cache->disk, 0);
	else
		hf_rcache_give_up(cache, hf_err_text(io->status));
	load_end(cache, io->status == 0);
	hf_rcache_ended(cache);
}

static void format(struct hf_rcache *cache)
{
	hf_env_random(cache->env, cache->super.uuid, sizeof cache->super.uuid);
	hf_rcachefmt_super_encode(&cache->super, cache->io_buffer);
	load_submit(cache, HF_DISK_WRITE, 0, HF_RCACHEFMT_BLOCK, formatted);
}

static void pages_read(struct hf_disk_io *io)
{
	struct hf_rcache *cache = load_of(io);
	size_t count = cache->iov.iov_len / HF_RCACHEFMT_BLOCK;

	for (size_t i = 0; i < count && io->status == 0; i++)
		hf_rcachefmt_page_decode(&cache->super, cache->load_page + (uint32_t)i,
					 cache->disk.entries, cache->crcs,
					 cache->io_buffer + i * HF_RCACHEFMT_BLOCK);
	cache->load_page += (uint32_t)count;
	if (cache->closing)
		load_end(cache, false);
	else
		load_pages(cache);
	hf_rcache_ended(cache);
}

static void load_pages(struct hf_rcache *cache)
{
	uint32_t rest = cache->super.page_count - cache->load_page;

	if (rest == 0) {
		bool good = hf_rcache_index_restore(&cache->disk, hf_rcache_now(cache)) == 0;

		cache->stats.recovered_chunks = cache->disk.count;
		load_end(cache, good);
		return;
	}
	if (rest > LOAD_PAGES)
		rest = LOAD_PAGES;
	load_submit(cache, HF_DISK_READ, (1 + (uint64_t)cache->load_page) * HF_RCACHEFMT_BLOCK,
		    (size_t)rest * HF_RCACHEFMT_BLOCK, pages_read);
}

static void super_read(struct hf_disk_io *io)
{
	struct hf_rcache *cache = load_of(io);
	struct hf_rcachefmt_super found;
	int err = io->status;

	if (!err)
		err = hf_rcachefmt_super_decode(&found, cache->io_buffer);
	if (!err && found.slot_count != cache->super.slot_count)
		err = HF_ENOENT;
	if (cache->closing) {
		load_end(cache, false);
	} else if (err) {
		format(cache);
	} else {
		cache->super = found;
		load_pages(cache);
	}
	hf_rcache_ended(cache);
}

static bool make_tables(struct hf_rcache *cache)
{
	uint32_t slots = cache->super.slot_count;

	cache->crcs = calloc((size_t)slots * HF_RCACHEFMT_SLOT_BLOCKS, sizeof *cache->crcs);
	cache->generations = calloc(slots, sizeof *cache->generations);
	cache->dirty = calloc(cache->super.page_count, 1);
	cache->io_buffer = hf_rcache_aligned(LOAD_PAGES * HF_RCACHEFMT_BLOCK);
	cache->disk.evicted = hf_rcache_disk_evicted;
	cache->disk.context = cache;
	return cache->crcs && cache->generations && cache->dirty && cache->io_buffer &&
	       hf_rcache_index_init(&cache->disk, (uint64_t)slots * HF_RCACHEFMT_SLOT_BYTES,
				    slots) == 0;
}

void hf_rcache_load(struct hf_rcache *cache)
{
	HF_ASSERT(cache->disk_number < cache->env->disk_count);
	if (hf_rcachefmt_layout(&cache->super, cache->env->disk_size_bytes[cache->disk_number]) !=
		    0 ||
	    !make_tables(cache)) {
		hf_rcache_give_up(cache, "it is too small, or memory is short");
		return;
	}
	cache->state = RCACHE_LOADING;
	load_submit(cache, HF_DISK_READ, 0, HF_RCACHEFMT_BLOCK, super_read);
}
