/* The chunk cache behind remote/chunk_cache.h: a hash table whose entries are on one of two lists.
 * Core's thread; owns copies of what it holds. */
#include "remote/chunk_cache.h"
#include "base/assert.h"
#include "base/crc32c.h"
#include "base/list.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS 4096u

struct key {
	uint64_t volume;
	uint8_t tag[HF_TAG_BYTES];
	uint64_t number;
};

struct entry {
	struct key key;
	struct hf_list in_bucket, in_order;
	bool is_protected;
	size_t length;
	uint8_t plain[];
};

struct hf_remote_cache {
	uint64_t limit_bytes, used_bytes, protected_bytes;
	struct hf_list probation, protected; /* least recently used first */
	struct hf_list buckets[BUCKETS];
};

struct hf_remote_cache *hf_remote_cache_create(uint64_t limit_bytes)
{
	struct hf_remote_cache *cache = calloc(1, sizeof *cache);

	if (!cache)
		return NULL;
	cache->limit_bytes = limit_bytes;
	hf_list_init(&cache->probation);
	hf_list_init(&cache->protected);
	for (unsigned i = 0; i < BUCKETS; i++)
		hf_list_init(&cache->buckets[i]);
	return cache;
}

static uint64_t entry_bytes(const struct entry *entry)
{
	return sizeof *entry + entry->length;
}

static void evict(struct hf_remote_cache *cache, struct entry *entry)
{
	cache->used_bytes -= entry_bytes(entry);
	if (entry->is_protected)
		cache->protected_bytes -= entry_bytes(entry);
	hf_list_remove(&entry->in_bucket);
	hf_list_remove(&entry->in_order);
	free(entry);
}

static void shrink(struct hf_remote_cache *cache, uint64_t limit_bytes)
{
	while (cache->used_bytes > limit_bytes) {
		struct hf_list *oldest = hf_list_empty(&cache->probation) ? cache->protected.next
									  : cache->probation.next;

		evict(cache, hf_container_of(oldest, struct entry, in_order));
	}
}

void hf_remote_cache_destroy(struct hf_remote_cache *cache)
{
	if (!cache)
		return;
	shrink(cache, 0);
	free(cache);
}

static struct key make_key(const struct hf_object *object, uint32_t number)
{
	struct key key = {.volume = object->id.volume, .number = number};

	memcpy(key.tag, object->tag, HF_TAG_BYTES);
	return key;
}

static unsigned bucket_of(const struct key *key)
{
	return hf_crc32c(0, key, sizeof *key) % BUCKETS;
}

static struct entry *find(const struct hf_remote_cache *cache, const struct key *key)
{
	const struct hf_list *bucket = &cache->buckets[bucket_of(key)];

	hf_list_for_each (at, bucket) {
		struct entry *entry = hf_container_of(at, struct entry, in_bucket);

		if (memcmp(&entry->key, key, sizeof *key) == 0)
			return entry;
	}
	return NULL;
}

/* What has been in the protected list longest goes back on probation when that list is full. */
static void demote(struct hf_remote_cache *cache)
{
	while (cache->protected_bytes > cache->limit_bytes / 5 * 4) {
		struct entry *entry = hf_container_of(hf_list_pop_front(&cache->protected),
						      struct entry, in_order);

		entry->is_protected = false;
		cache->protected_bytes -= entry_bytes(entry);
		hf_list_push_back(&cache->probation, &entry->in_order);
	}
}

const void *hf_chunk_cache_get(struct hf_remote_cache *cache, const struct hf_object *object,
			       uint32_t number)
{
	struct key key = make_key(object, number);
	struct entry *entry = cache ? find(cache, &key) : NULL;

	if (!entry)
		return NULL;
	hf_list_remove(&entry->in_order);
	if (!entry->is_protected)
		cache->protected_bytes += entry_bytes(entry);
	entry->is_protected = true;
	hf_list_push_back(&cache->protected, &entry->in_order);
	demote(cache);
	return entry->plain;
}

bool hf_chunk_cache_has(const struct hf_remote_cache *cache, const struct hf_object *object,
			uint32_t number)
{
	struct key key = make_key(object, number);

	return cache && find(cache, &key) != NULL;
}

void hf_chunk_cache_add(struct hf_remote_cache *cache, const struct hf_object *object,
			uint32_t number, const void *plain, size_t length)
{
	struct key key = make_key(object, number);
	struct entry *entry;

	if (!cache || sizeof *entry + length > cache->limit_bytes || find(cache, &key))
		return;
	shrink(cache, cache->limit_bytes - sizeof *entry - length);
	entry = malloc(sizeof *entry + length);
	if (!entry)
		return;
	entry->key = key;
	entry->is_protected = false;
	entry->length = length;
	memcpy(entry->plain, plain, length);
	cache->used_bytes += entry_bytes(entry);
	hf_list_push_back(&cache->buckets[bucket_of(&key)], &entry->in_bucket);
	hf_list_push_back(&cache->probation, &entry->in_order);
}
