/* The read cache's face (rcache.h): the table's functions, the memory tier, the end. */
#include "cache/rcache_private.h"

#include <stdlib.h>
#include <string.h>

uint32_t hf_rcache_now(struct hf_rcache *cache)
{
	return (uint32_t)(hf_env_wall_ms(cache->env) / 100);
}

static struct hf_rcache *of(struct hf_read_cache *table)
{
	struct hf_rcache *cache = (struct hf_rcache *)table;

	HF_CHECK_MAGIC(cache, HF_RCACHE_MAGIC);
	return cache;
}

/* ---- Blocks ---------------------------------------------------------------------------------- */

void *hf_rcache_aligned(size_t bytes)
{
	void *memory = NULL;

	return posix_memalign(&memory, HF_RCACHEFMT_BLOCK, bytes) == 0 ? memory : NULL;
}

struct rcache_block *hf_rcache_block_take(uint8_t *bytes, uint32_t length)
{
	struct rcache_block *block = malloc(sizeof *block);

	if (!block)
		free(bytes);
	else
		*block = (struct rcache_block){.refs = 1, .length = length, .bytes = bytes};
	return block;
}

struct rcache_block *hf_rcache_block_copy(const void *bytes, uint32_t length)
{
	size_t whole = (length + HF_RCACHEFMT_BLOCK - 1) / HF_RCACHEFMT_BLOCK * HF_RCACHEFMT_BLOCK;
	uint8_t *copy = hf_rcache_aligned(whole);

	if (!copy)
		return NULL;
	memcpy(copy, bytes, length);
	memset(copy + length, 0, whole - length);
	return hf_rcache_block_take(copy, length);
}

void hf_rcache_block_put(struct rcache_block *block)
{
	if (--block->refs > 0)
		return;
	free(block->bytes);
	free(block);
}

/* ---- Memory tier ----------------------------------------------------------------------------- */

static void memory_evicted(void *context, uint32_t number)
{
	struct hf_rcache *cache = context;

	hf_rcache_block_put(cache->blocks[number]);
	cache->blocks[number] = NULL;
}

static bool blocks_reach(struct hf_rcache *cache, uint32_t number)
{
	struct rcache_block **blocks;

	if (number < cache->block_capacity)
		return true;
	blocks = realloc(cache->blocks,
			 (size_t)cache->memory.capacity * sizeof(struct rcache_block *));
	if (!blocks)
		return false;
	cache->blocks = blocks;
	cache->block_capacity = cache->memory.capacity;
	return true;
}

void hf_rcache_remember(struct hf_rcache *cache, const struct hf_read_cache_key *key,
			struct rcache_block *block)
{
	uint32_t number =
		hf_rcache_index_insert(&cache->memory, key, block->length, hf_rcache_now(cache));

	if (number == HF_RCACHE_NONE)
		return;
	if (!blocks_reach(cache, number)) {
		hf_rcache_index_remove(&cache->memory, number);
		return;
	}
	block->refs++;
	cache->blocks[number] = block;
}

/* ---- The table's functions ------------------------------------------------------------------- */

static uint32_t find_on_disk(const struct hf_rcache *cache, const struct hf_read_cache_key *key)
{
	return cache->state == RCACHE_READY ? hf_rcache_index_find(&cache->disk, key)
					    : HF_RCACHE_NONE;
}

/* In memory, or on its way to the disk; NULL if it is neither. */
static struct rcache_block *find_block(struct hf_rcache *cache, const struct hf_read_cache_key *key)
{
	uint32_t number = hf_rcache_index_find(&cache->memory, key);

	if (number != HF_RCACHE_NONE)
		return cache->blocks[number];
	number = find_on_disk(cache, key);
	return number != HF_RCACHE_NONE && cache->disk.entries[number].locked
		       ? hf_rcache_writing_block(cache, number)
		       : NULL;
}

/* A use in memory is one of what the disk has as well: the hottest must not be missing there after
 * a restart. */
static void used(struct hf_rcache *cache, const struct hf_read_cache_key *key)
{
	uint32_t number = hf_rcache_index_find(&cache->memory, key), now = hf_rcache_now(cache);

	if (number != HF_RCACHE_NONE && !hf_rcache_index_use(&cache->memory, number, now))
		return;
	number = find_on_disk(cache, key);
	if (number != HF_RCACHE_NONE)
		hf_rcache_index_use(&cache->disk, number, now);
}

static bool reaches(const struct hf_read_cache_get *get, uint32_t length)
{
	return get->offset < length && get->length <= length - get->offset;
}

static enum hf_read_cache_found table_look(struct hf_read_cache *table,
					   struct hf_read_cache_get *get)
{
	struct hf_rcache *cache = of(table);
	struct rcache_block *block = find_block(cache, &get->key);
	uint32_t slot = block ? HF_RCACHE_NONE : find_on_disk(cache, &get->key);

	if (block && reaches(get, block->length)) {
		cache->stats.memory_hits++;
		cache->stats.memory_hit_bytes += get->length;
		get->bytes = block->bytes + get->offset;
		used(cache, &get->key);
		return HF_READ_CACHE_HERE;
	}
	if (slot != HF_RCACHE_NONE && reaches(get, cache->disk.entries[slot].length)) {
		hf_rcache_index_use(&cache->disk, slot, hf_rcache_now(cache));
		return HF_READ_CACHE_ON_DISK;
	}
	cache->stats.misses++;
	return HF_READ_CACHE_MISS;
}

static bool table_has(const struct hf_read_cache *table, const struct hf_read_cache_key *key)
{
	const struct hf_rcache *cache = (const struct hf_rcache *)table;

	HF_CHECK_MAGIC(cache, HF_RCACHE_MAGIC);
	return hf_rcache_index_find(&cache->memory, key) != HF_RCACHE_NONE ||
	       find_on_disk(cache, key) != HF_RCACHE_NONE;
}

static void table_get(struct hf_read_cache *table, struct hf_read_cache_get *get)
{
	struct hf_rcache *cache = of(table);
	struct rcache_block *block = find_block(cache, &get->key);
	uint32_t slot = find_on_disk(cache, &get->key);

	HF_ASSERT(get->length > 0 && !cache->closing);
	if (block && reaches(get, block->length)) {
		cache->stats.memory_hits++;
		cache->stats.memory_hit_bytes += get->length;
		block->refs++;
		hf_rcache_finish_later(cache, get, block);
	} else if (!block && slot != HF_RCACHE_NONE &&
		   reaches(get, cache->disk.entries[slot].length)) {
		hf_rcache_read(cache, get, slot);
	} else {
		cache->stats.misses++;
		hf_rcache_finish_later(cache, get, NULL);
	}
}

static void table_put(struct hf_read_cache *table, const struct hf_read_cache_key *key,
		      const void *bytes, size_t length)
{
	struct hf_rcache *cache = of(table);
	struct rcache_block *block;

	HF_ASSERT(length > 0 && length <= HF_READ_CACHE_CHUNK_MAX);
	if (cache->closing || table_has(table, key))
		return;
	block = hf_rcache_block_copy(bytes, (uint32_t)length);
	if (!block)
		return;
	hf_rcache_remember(cache, key, block);
	hf_rcache_write(cache, key, block);
	hf_rcache_block_put(block);
}

static const struct hf_read_cache_ops table_ops = {
	.look = table_look,
	.has = table_has,
	.get = table_get,
	.put = table_put,
};

struct hf_read_cache *hf_rcache_table(struct hf_rcache *cache)
{
	return cache ? &cache->table : NULL;
}

void hf_rcache_forget(struct hf_rcache *cache, uint64_t volume)
{
	hf_rcache_index_forget(&cache->memory, volume);
	if (cache->state == RCACHE_READY)
		hf_rcache_index_forget(&cache->disk, volume);
}

void hf_rcache_stats(const struct hf_rcache *cache, struct hf_rcache_stats *stats)
{
	*stats = cache->stats;
	stats->loading = cache->state == RCACHE_LOADING;
	stats->disk_lost = cache->lost;
	stats->memory_bytes = cache->memory.used_bytes;
	stats->memory_limit_bytes = cache->memory.limit_bytes;
	stats->disk_bytes = cache->disk.used_bytes;
	stats->disk_limit_bytes = cache->state == RCACHE_NO_DISK ? 0 : cache->disk.limit_bytes;
	stats->evictions = cache->memory.evictions + cache->disk.evictions;
	if (cache->disk.capacity > 0)
		stats->index_bytes =
			hf_rcache_index_bytes(&cache->disk) + cache->super.page_count +
			(uint64_t)cache->super.slot_count * (HF_RCACHEFMT_SLOT_BLOCKS + 1) * 4;
}

/* ---- Life ------------------------------------------------------------------------------------ */

static void close_step(struct hf_rcache *cache)
{
	void (*closed)(void *) = cache->closed;
	void *context = cache->closed_context;

	if (cache->busy > 0)
		return;
	if (cache->state == RCACHE_READY) {
		hf_rcache_write_step(cache);
		if (cache->busy == 0)
			hf_rcache_flush_step(cache);
		if (cache->busy > 0)
			return;
	}
	hf_rcache_destroy(cache);
	closed(context);
}

void hf_rcache_began(struct hf_rcache *cache)
{
	cache->busy++;
}

void hf_rcache_ended(struct hf_rcache *cache)
{
	HF_ASSERT(cache->busy > 0);
	if (--cache->busy == 0 && cache->closing)
		close_step(cache);
}

static void tick_fired(struct hf_timer *timer)
{
	struct hf_rcache *cache = hf_container_of(timer, struct hf_rcache, tick);
	struct hf_list *link;

	HF_CHECK_MAGIC(cache, HF_RCACHE_MAGIC);
	hf_rcache_began(cache);
	while ((link = hf_list_pop_front(&cache->finished)) != NULL) {
		struct hf_read_cache_get *get =
			hf_container_of(link, struct hf_read_cache_get, link);
		struct rcache_block *block = get->impl;

		get->impl = NULL;
		get->status = block ? 0 : HF_ENOENT;
		get->bytes = block ? block->bytes + get->offset : NULL;
		get->done(get);
		if (block)
			hf_rcache_block_put(block);
	}
	hf_rcache_ended(cache);
}

void hf_rcache_finish_later(struct hf_rcache *cache, struct hf_read_cache_get *get,
			    struct rcache_block *block)
{
	get->impl = block;
	hf_list_push_back(&cache->finished, &get->link);
	hf_env_timer_set(cache->env, &cache->tick, hf_env_now_ns(cache->env));
}

struct hf_rcache *hf_rcache_create(const struct hf_rcache_config *config)
{
	struct hf_rcache *cache = calloc(1, sizeof *cache);

	if (!cache)
		return NULL;
	cache->table.ops = &table_ops;
	cache->magic = HF_RCACHE_MAGIC;
	cache->env = config->env;
	cache->disk_number = config->disk;
	cache->tick.fired = tick_fired;
	cache->flush_timer.fired = hf_rcache_flush_due;
	hf_list_init(&cache->pending);
	hf_list_init(&cache->writing);
	hf_list_init(&cache->finished);
	if (hf_rcache_index_init(&cache->memory, config->memory_bytes, 0) != 0) {
		hf_rcache_destroy(cache);
		return NULL;
	}
	cache->memory.evicted = memory_evicted;
	cache->memory.context = cache;
	if (config->disk != HF_RCACHE_NO_DISK)
		hf_rcache_load(cache);
	return cache;
}

void hf_rcache_close(struct hf_rcache *cache, void (*closed)(void *context), void *context)
{
	HF_CHECK_MAGIC(cache, HF_RCACHE_MAGIC);
	HF_ASSERT(!cache->closing);
	cache->closing = true;
	cache->closed = closed;
	cache->closed_context = context;
	hf_env_timer_set(cache->env, &cache->tick, hf_env_now_ns(cache->env));
}

void hf_rcache_destroy(struct hf_rcache *cache)
{
	if (!cache)
		return;
	HF_CHECK_MAGIC(cache, HF_RCACHE_MAGIC);
	HF_ASSERT(cache->busy == 0 && hf_list_empty(&cache->finished));
	hf_env_timer_cancel(cache->env, &cache->tick);
	hf_env_timer_cancel(cache->env, &cache->flush_timer);
	for (uint32_t i = 0; i < cache->memory.capacity; i++)
		if (cache->memory.entries[i].queue != HF_RCACHE_FREE)
			hf_rcache_block_put(cache->blocks[i]);
	hf_rcache_index_free(&cache->memory);
	hf_rcache_index_free(&cache->disk);
	free(cache->blocks);
	free(cache->crcs);
	free(cache->generations);
	free(cache->dirty);
	free(cache->io_buffer);
	cache->magic = 0;
	free(cache);
}
