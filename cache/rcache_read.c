/* Chunks from the cache's disk. A read takes the blocks of 4 KiB that it needs, not the chunk; each
 * is checked against the sum that the index has for it. The whole chunk is read and kept in memory
 * where it looks as if that pays: the read goes on where the last two left off, or the chunk was
 * read sixteen times within some seconds, which costs no more than the sixteen did. */
#include <stdlib.h>
#include <string.h>

#include "cache/rcache_private.h"

#define READING_MAGIC 0x52435244u
#define RUN_ENOUGH    2u
#define HEAT_ENOUGH   16u
#define HEAT_PERIOD   64u /* tenths of a second */

struct reading {
	uint32_t magic;
	struct hf_rcache *cache;
	struct hf_read_cache_get *get;
	uint32_t slot, generation, first, count; /* blocks */
	uint32_t chunk_length;
	uint32_t crcs[HF_RCACHEFMT_SLOT_BLOCKS]; /* of these blocks */
	struct hf_disk_io io;
	struct iovec iov;
	uint8_t *buffer;
};

static bool wants_whole(struct hf_rcache_entry *entry, uint32_t first, uint32_t end, uint32_t now)
{
	uint8_t period = (uint8_t)(now / HEAT_PERIOD);

	entry->run = first == entry->next_block && first > 0 ? (uint8_t)(entry->run + 1) : 0;
	entry->next_block = (uint8_t)end;
	entry->heat = entry->heat_at == period ? (uint8_t)(entry->heat + 1) : 1;
	entry->heat_at = period;
	if (entry->run < RUN_ENOUGH && entry->heat < HEAT_ENOUGH)
		return false;
	entry->run = entry->heat = 0;
	return true;
}

static bool is_good(const struct reading *reading)
{
	for (uint32_t i = 0; i < reading->count; i++)
		if (hf_rcachefmt_crc(&reading->get->key, reading->first + i,
				     reading->buffer + (size_t)i * HF_RCACHEFMT_BLOCK) !=
		    reading->crcs[i])
			return false;
	return true;
}

/* A whole chunk: the buffer becomes the memory tier's. */
static struct rcache_block *keep(struct reading *reading)
{
	struct hf_rcache *cache = reading->cache;
	struct rcache_block *block;

	if ((uint64_t)reading->count * HF_RCACHEFMT_BLOCK < reading->chunk_length ||
	    hf_rcache_index_find(&cache->memory, &reading->get->key) != HF_RCACHE_NONE)
		return NULL;
	block = malloc(sizeof *block);
	if (!block)
		return NULL;
	*block = (struct rcache_block){
		.refs = 1, .length = reading->chunk_length, .bytes = reading->buffer};
	hf_rcache_remember(cache, &reading->get->key, block);
	return block;
}

static void read_answer(struct reading *reading)
{
	struct hf_read_cache_get *get = reading->get;
	struct hf_rcache *cache = reading->cache;
	struct rcache_block *block = keep(reading);

	cache->stats.disk_hits++;
	cache->stats.disk_hit_bytes += get->length;
	get->status = 0;
	get->bytes = reading->buffer + (get->offset - reading->first * HF_RCACHEFMT_BLOCK);
	get->done(get);
	if (block)
		hf_rcache_block_put(block);
	else
		free(reading->buffer);
}

static void read_missed(struct reading *reading)
{
	struct hf_read_cache_get *get = reading->get;
	struct hf_rcache *cache = reading->cache;

	/* Else the slot was given to another chunk meanwhile. */
	if (cache->state == RCACHE_READY &&
	    cache->generations[reading->slot] == reading->generation) {
		cache->stats.damaged++;
		hf_rcache_drop(cache, reading->slot);
	}
	cache->stats.misses++;
	get->status = HF_ENOENT;
	get->bytes = NULL;
	free(reading->buffer);
	get->done(get);
}

static void read_done(struct hf_disk_io *io)
{
	struct reading *reading = hf_container_of(io, struct reading, io);
	struct hf_rcache *cache = reading->cache;

	HF_CHECK_MAGIC(reading, READING_MAGIC);
	HF_CHECK_MAGIC(cache, HF_RCACHE_MAGIC);
	if (io->status == 0 && cache->state == RCACHE_READY &&
	    cache->generations[reading->slot] == reading->generation && is_good(reading))
		read_answer(reading);
	else
		read_missed(reading);
	reading->magic = 0;
	free(reading);
	hf_rcache_ended(cache);
}

static struct reading *make_reading(struct hf_rcache *cache, struct hf_read_cache_get *get,
				    uint32_t slot)
{
	struct hf_rcache_entry *entry = &cache->disk.entries[slot];
	uint32_t blocks = (entry->length + HF_RCACHEFMT_BLOCK - 1) / HF_RCACHEFMT_BLOCK;
	uint32_t first = get->offset / HF_RCACHEFMT_BLOCK;
	uint32_t end = (get->offset + get->length + HF_RCACHEFMT_BLOCK - 1) / HF_RCACHEFMT_BLOCK;
	struct reading *reading = malloc(sizeof *reading);

	if (!reading)
		return NULL;
	if (wants_whole(entry, first, end, hf_rcache_now(cache))) {
		first = 0;
		end = blocks;
	}
	*reading = (struct reading){
		.magic = READING_MAGIC,
		.cache = cache,
		.get = get,
		.slot = slot,
		.generation = cache->generations[slot],
		.first = first,
		.count = end - first,
		.chunk_length = entry->length,
		.buffer = hf_rcache_aligned((size_t)(end - first) * HF_RCACHEFMT_BLOCK),
	};
	if (!reading->buffer) {
		free(reading);
		return NULL;
	}
	memcpy(reading->crcs, cache->crcs + (size_t)slot * HF_RCACHEFMT_SLOT_BLOCKS + first,
	       (end - first) * sizeof *reading->crcs);
	return reading;
}

void hf_rcache_read(struct hf_rcache *cache, struct hf_read_cache_get *get, uint32_t slot)
{
	struct reading *reading = make_reading(cache, get, slot);

	if (!reading) {
		cache->stats.misses++;
		hf_rcache_finish_later(cache, get, NULL);
		return;
	}
	reading->iov = (struct iovec){.iov_base = reading->buffer,
				      .iov_len = (size_t)reading->count * HF_RCACHEFMT_BLOCK};
	reading->io = (struct hf_disk_io){
		.op = HF_DISK_READ,
		.disk = cache->disk_number,
		.offset = cache->super.slots_offset + (uint64_t)slot * HF_RCACHEFMT_SLOT_BYTES +
			  (uint64_t)reading->first * HF_RCACHEFMT_BLOCK,
		.iov = &reading->iov,
		.iov_count = 1,
		.done = read_done,
	};
	hf_rcache_began(cache);
	hf_env_disk_submit(cache->env, &reading->io);
}
