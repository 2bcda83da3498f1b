/* The index on its way to the disk: pages that changed are written some seconds after, neighbours
 * together, one write at a time, and all of them at the end. A page tells of nothing that was not
 * written before it; that it may be stale is harmless, since every use is checked. */
#include <stdlib.h>

#include "cache/rcache_private.h"

#define FLUSH_AFTER_NS (5 * HF_NS_PER_S)

void hf_rcache_page_changed(struct hf_rcache *cache, uint32_t slot)
{
	uint32_t page = slot / HF_RCACHEFMT_PAGE_ENTRIES;

	if (cache->dirty[page])
		return;
	cache->dirty[page] = 1;
	cache->dirty_count++;
	if (!cache->flush_timer.armed && !cache->flushing && !cache->closing)
		hf_env_timer_set(cache->env, &cache->flush_timer,
				 hf_env_now_ns(cache->env) + FLUSH_AFTER_NS);
}

static void flush_end(struct hf_rcache *cache)
{
	cache->flushing = false;
	free(cache->io_buffer);
	cache->io_buffer = NULL;
	if (cache->dirty_count > 0 && cache->state == RCACHE_READY && !cache->closing)
		hf_env_timer_set(cache->env, &cache->flush_timer,
				 hf_env_now_ns(cache->env) + FLUSH_AFTER_NS);
}

/* The next run of changed pages of this round, made ready in io_buffer; 0 if there is none. */
static uint32_t encode_run(struct hf_rcache *cache)
{
	uint32_t count = 0;

	while (cache->flush_at < cache->super.page_count && !cache->dirty[cache->flush_at])
		cache->flush_at++;
	for (; count < HF_RCACHE_PAGES_RUN; count++) {
		uint32_t page = cache->flush_at + count;

		if (page >= cache->super.page_count || !cache->dirty[page])
			break;
		cache->dirty[page] = 0;
		cache->dirty_count--;
		hf_rcachefmt_page_encode(&cache->super, page, cache->disk.entries, cache->crcs,
					 cache->io_buffer + (size_t)count * HF_RCACHEFMT_BLOCK);
	}
	return count;
}

static void run_flushed(struct hf_disk_io *io);

static void flush_next(struct hf_rcache *cache)
{
	uint32_t count = cache->state == RCACHE_READY ? encode_run(cache) : 0;

	if (count == 0) {
		flush_end(cache);
		return;
	}
	cache->iov = (struct iovec){.iov_base = cache->io_buffer,
				    .iov_len = (size_t)count * HF_RCACHEFMT_BLOCK};
	cache->io = (struct hf_disk_io){
		.op = HF_DISK_WRITE,
		.disk = cache->disk_number,
		.offset = (1 + (uint64_t)cache->flush_at) * HF_RCACHEFMT_BLOCK,
		.iov = &cache->iov,
		.iov_count = 1,
		.done = run_flushed,
	};
	cache->flush_at += count;
	hf_rcache_began(cache);
	hf_env_disk_submit(cache->env, &cache->io);
}

static void run_flushed(struct hf_disk_io *io)
{
	struct hf_rcache *cache = hf_container_of(io, struct hf_rcache, io);

	HF_CHECK_MAGIC(cache, HF_RCACHE_MAGIC);
	if (io->status == HF_ENOSPC && cache->state == RCACHE_READY)
		hf_rcache_give_up(cache, hf_err_text(io->status));
	flush_next(cache);
	hf_rcache_ended(cache);
}

void hf_rcache_flush_step(struct hf_rcache *cache)
{
	if (cache->flushing || cache->dirty_count == 0 || cache->state != RCACHE_READY)
		return;
	cache->io_buffer = hf_rcache_aligned(HF_RCACHE_PAGES_RUN * HF_RCACHEFMT_BLOCK);
	if (!cache->io_buffer) {
		flush_end(cache);
		return;
	}
	cache->flushing = true;
	cache->flush_at = 0;
	flush_next(cache);
}

void hf_rcache_flush_due(struct hf_timer *timer)
{
	struct hf_rcache *cache = hf_container_of(timer, struct hf_rcache, flush_timer);

	HF_CHECK_MAGIC(cache, HF_RCACHE_MAGIC);
	if (!cache->closing)
		hf_rcache_flush_step(cache);
}
