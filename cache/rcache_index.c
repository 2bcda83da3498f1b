/* See rcache_index.h. Who goes: first what volumes hold that have gone; then from the small queues
 * as long as they take a tenth of the tier, the largest of them first, so that a scan evicts what
 * it brought itself; then from the largest main queue, so that volumes which need room end with
 * equal shares, and one takes more only while nobody else needs it. A volume that used nothing
 * while a whole tier's worth came in counts four times. Maps go only when they fill half of the
 * tier or nothing else is left. */
#include "cache/rcache_index.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/err.h"

#define CHUNK_BYTES   HF_READ_CACHE_CHUNK_MAX
#define SETTLE        10u /* tenths of a second between uses that count */
#define USES_MAX      3u
#define SMALL_SHARE   10u /* one tenth */
#define IDLE_WEIGHT   4u
#define TRIES_MAX     256u /* of finding a victim; from half of it on, uses save nobody */
#define FIRST_ENTRIES 64u

struct hf_rcache_group {
	uint64_t volume;
	uint32_t class;
	uint32_t count;
	bool forgotten;
	uint64_t used_at; /* came_bytes at its last use */
	struct hf_rcache_queue queues[2];
};

static unsigned class_of(const struct hf_read_cache_key *key)
{
	return key->class == HF_READ_CACHE_MAP;
}

static struct hf_rcache_queue *queue_of(struct hf_rcache_index *index,
					const struct hf_rcache_entry *entry)
{
	return &index->groups[entry->group].queues[entry->queue - HF_RCACHE_SMALL];
}

/* A tag is as good as random. */
static uint64_t hash_of(const struct hf_read_cache_key *key)
{
	uint64_t hash = hf_get_le64(key->tag) ^ (hf_get_le64(key->tag + 8) * 0x9e3779b97f4a7c15u);

	hash ^= key->volume * 0xbf58476d1ce4e5b9u + ((uint64_t)key->chunk << 8) + key->class;
	hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9u;
	hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebu;
	return hash ^ (hash >> 31);
}

/* What an entry takes of the limit: in memory its bytes come in pages, with the entry itself and
 * its share of the tables. */
static uint64_t cost_of(const struct hf_rcache_index *index, uint32_t length)
{
	if (index->fixed_cost)
		return index->fixed_cost;
	return (length + 4095u) / 4096u * 4096u + sizeof(struct hf_rcache_entry) + 64;
}

/* ---- Tables ---------------------------------------------------------------------------------- */

static void free_push(struct hf_rcache_index *index, uint32_t number)
{
	index->entries[number] = (struct hf_rcache_entry){.next = HF_RCACHE_NONE};
	if (index->free_tail == HF_RCACHE_NONE)
		index->free_head = number;
	else
		index->entries[index->free_tail].next = number;
	index->free_tail = number;
}

static uint32_t free_pop(struct hf_rcache_index *index)
{
	uint32_t number = index->free_head;

	index->free_head = index->entries[number].next;
	if (index->free_head == HF_RCACHE_NONE)
		index->free_tail = HF_RCACHE_NONE;
	return number;
}

static void chain_add(struct hf_rcache_index *index, uint32_t number)
{
	struct hf_rcache_entry *entry = &index->entries[number];
	uint32_t *bucket = &index->buckets[hash_of(&entry->key) & index->bucket_mask];

	entry->chain = *bucket;
	*bucket = number;
}

static void chain_remove(struct hf_rcache_index *index, uint32_t number)
{
	const struct hf_rcache_entry *entry = &index->entries[number];
	uint32_t *at = &index->buckets[hash_of(&entry->key) & index->bucket_mask];

	while (*at != number)
		at = &index->entries[*at].chain;
	*at = entry->chain;
}

static int make_buckets(struct hf_rcache_index *index, uint32_t capacity)
{
	uint64_t count = 64;
	uint32_t *buckets;

	while (count < capacity)
		count *= 2;
	buckets = malloc(count * sizeof *buckets);
	if (!buckets)
		return HF_ENOMEM;
	memset(buckets, 0xff, count * sizeof *buckets);
	free(index->buckets);
	index->buckets = buckets;
	index->bucket_mask = (uint32_t)(count - 1);
	return 0;
}

/* Twice as many entries. */
static int grow(struct hf_rcache_index *index)
{
	uint32_t old = index->capacity, capacity = old ? old * 2 : FIRST_ENTRIES;
	struct hf_rcache_entry *entries;

	if (capacity < old || make_buckets(index, capacity) != 0)
		return HF_ENOMEM;
	for (uint32_t i = 0; i < old; i++)
		if (index->entries[i].queue != HF_RCACHE_FREE)
			chain_add(index, i);
	entries = realloc(index->entries, (size_t)capacity * sizeof *entries);
	if (!entries)
		return HF_ENOMEM;
	index->entries = entries;
	index->capacity = capacity;
	for (uint32_t i = old; i < capacity; i++)
		free_push(index, i);
	return 0;
}

int hf_rcache_index_init(struct hf_rcache_index *index, uint64_t limit_bytes, uint32_t slots)
{
	int err = hf_rcache_ghost_init(&index->ghost, limit_bytes / CHUNK_BYTES);

	index->limit_bytes = limit_bytes;
	index->free_head = index->free_tail = HF_RCACHE_NONE;
	if (err || slots == 0)
		return err;
	index->fixed_cost = CHUNK_BYTES;
	index->capacity = slots;
	index->entries = calloc(slots, sizeof *index->entries);
	return index->entries ? make_buckets(index, slots) : HF_ENOMEM;
}

void hf_rcache_index_free(struct hf_rcache_index *index)
{
	hf_rcache_ghost_free(&index->ghost);
	free(index->entries);
	free(index->buckets);
	free(index->groups);
	memset(index, 0, sizeof *index);
}

uint64_t hf_rcache_index_bytes(const struct hf_rcache_index *index)
{
	return (uint64_t)index->capacity * sizeof *index->entries +
	       ((uint64_t)index->bucket_mask + 1) * sizeof *index->buckets +
	       (uint64_t)index->ghost.window * 2 * sizeof *index->ghost.marks +
	       (uint64_t)index->group_count * sizeof *index->groups;
}

uint32_t hf_rcache_index_find(const struct hf_rcache_index *index,
			      const struct hf_read_cache_key *key)
{
	uint32_t number;

	if (index->count == 0)
		return HF_RCACHE_NONE;
	number = index->buckets[hash_of(key) & index->bucket_mask];
	while (number != HF_RCACHE_NONE) {
		const struct hf_read_cache_key *have = &index->entries[number].key;

		if (have->volume == key->volume && have->chunk == key->chunk &&
		    have->class == key->class && memcmp(have->tag, key->tag, 16) == 0)
			break;
		number = index->entries[number].chain;
	}
	return number;
}

/* ---- Groups and queues ----------------------------------------------------------------------- */

/* The group of the key's volume and class, an empty one made its own, or a new one. */
static struct hf_rcache_group *group_get(struct hf_rcache_index *index,
					 const struct hf_read_cache_key *key)
{
	struct hf_rcache_group *group, *empty = NULL;

	for (unsigned i = 0; i < index->group_count; i++) {
		group = &index->groups[i];
		if (group->volume == key->volume && group->class == key->class)
			return group;
		if (group->count == 0)
			empty = group;
	}
	if (!empty && index->group_count < UINT16_MAX) {
		group = realloc(index->groups, (index->group_count + 1) * sizeof *group);
		if (!group)
			return NULL;
		index->groups = group;
		empty = &group[index->group_count++];
	}
	if (empty)
		*empty = (struct hf_rcache_group){
			.volume = key->volume,
			.class = key->class,
			.queues = {{HF_RCACHE_NONE, HF_RCACHE_NONE, 0},
				   {HF_RCACHE_NONE, HF_RCACHE_NONE, 0}},
		};
	return empty;
}

static void queue_push(struct hf_rcache_index *index, uint32_t number)
{
	struct hf_rcache_entry *entry = &index->entries[number];
	struct hf_rcache_queue *queue = queue_of(index, entry);
	uint64_t cost = cost_of(index, entry->length);

	entry->prev = HF_RCACHE_NONE;
	entry->next = queue->head;
	if (queue->head == HF_RCACHE_NONE)
		queue->tail = number;
	else
		index->entries[queue->head].prev = number;
	queue->head = number;
	queue->used_bytes += cost;
	if (entry->queue == HF_RCACHE_SMALL)
		index->small_bytes[class_of(&entry->key)] += cost;
}

static void queue_remove(struct hf_rcache_index *index, uint32_t number)
{
	struct hf_rcache_entry *entry = &index->entries[number];
	struct hf_rcache_queue *queue = queue_of(index, entry);
	uint64_t cost = cost_of(index, entry->length);

	if (entry->prev == HF_RCACHE_NONE)
		queue->head = entry->next;
	else
		index->entries[entry->prev].next = entry->next;
	if (entry->next == HF_RCACHE_NONE)
		queue->tail = entry->prev;
	else
		index->entries[entry->next].prev = entry->prev;
	queue->used_bytes -= cost;
	if (entry->queue == HF_RCACHE_SMALL)
		index->small_bytes[class_of(&entry->key)] -= cost;
}

static void queue_move(struct hf_rcache_index *index, uint32_t number,
		       enum hf_rcache_queue_kind kind)
{
	queue_remove(index, number);
	index->entries[number].queue = (uint8_t)kind;
	queue_push(index, number);
}

/* Links an entry whose key, length, queue, uses and stamp are set. */
static void entry_link(struct hf_rcache_index *index, uint32_t number,
		       struct hf_rcache_group *group)
{
	struct hf_rcache_entry *entry = &index->entries[number];
	uint64_t cost = cost_of(index, entry->length);

	entry->group = (uint16_t)(group - index->groups);
	group->count++;
	group->forgotten = false;
	index->count++;
	index->used_bytes += cost;
	index->class_bytes[class_of(&entry->key)] += cost;
	chain_add(index, number);
	queue_push(index, number);
}

void hf_rcache_index_remove(struct hf_rcache_index *index, uint32_t number)
{
	struct hf_rcache_entry *entry = &index->entries[number];
	uint64_t cost = cost_of(index, entry->length);

	HF_ASSERT(entry->queue != HF_RCACHE_FREE);
	chain_remove(index, number);
	queue_remove(index, number);
	index->groups[entry->group].count--;
	index->count--;
	index->used_bytes -= cost;
	index->class_bytes[class_of(&entry->key)] -= cost;
	free_push(index, number);
}

bool hf_rcache_index_use(struct hf_rcache_index *index, uint32_t number, uint32_t now)
{
	struct hf_rcache_entry *entry = &index->entries[number];

	index->groups[entry->group].used_at = index->came_bytes;
	if (now - entry->stamp < SETTLE)
		return false;
	entry->stamp = now;
	if (entry->uses < USES_MAX)
		entry->uses++;
	return true;
}

void hf_rcache_index_forget(struct hf_rcache_index *index, uint64_t volume)
{
	for (unsigned i = 0; i < index->group_count; i++)
		if (index->groups[i].volume == volume)
			index->groups[i].forgotten = true;
}

/* ---- Eviction -------------------------------------------------------------------------------- */

static uint64_t weighed(const struct hf_rcache_index *index, const struct hf_rcache_group *group,
			unsigned queue)
{
	uint64_t used = group->queues[queue].used_bytes;

	return index->came_bytes - group->used_at > index->limit_bytes ? used * IDLE_WEIGHT : used;
}

/* The group of this class whose queue goes first; NULL if all of them are empty. */
static struct hf_rcache_group *choose(struct hf_rcache_index *index, unsigned class, unsigned queue)
{
	struct hf_rcache_group *chosen = NULL;
	uint64_t most = 0;

	for (unsigned i = 0; i < index->group_count; i++) {
		struct hf_rcache_group *group = &index->groups[i];
		uint64_t weight;

		if ((group->class == HF_READ_CACHE_MAP) != class)
			continue;
		weight = weighed(index, group, queue);
		if (weight > most) {
			most = weight;
			chosen = group;
		}
	}
	return chosen;
}

static struct hf_rcache_queue *forgotten_queue(struct hf_rcache_index *index)
{
	for (unsigned i = 0; i < index->group_count; i++) {
		struct hf_rcache_group *group = &index->groups[i];

		if (group->forgotten && group->count > 0)
			return &group->queues[group->queues[0].used_bytes == 0];
	}
	return NULL;
}

static struct hf_rcache_queue *choose_queue(struct hf_rcache_index *index)
{
	struct hf_rcache_queue *forgotten = forgotten_queue(index);
	unsigned class =
		index->class_bytes[1] > index->limit_bytes / 2 || index->class_bytes[0] == 0;
	unsigned first = index->small_bytes[class] * SMALL_SHARE < index->limit_bytes;
	struct hf_rcache_group *group = forgotten ? NULL : choose(index, class, first);

	if (forgotten)
		return forgotten;
	if (group)
		return &group->queues[first];
	group = choose(index, class, !first);
	return group ? &group->queues[!first] : NULL;
}

static void evict(struct hf_rcache_index *index, uint32_t number)
{
	const struct hf_rcache_entry *entry = &index->entries[number];

	if (entry->queue == HF_RCACHE_SMALL)
		hf_rcache_ghost_add(&index->ghost, hash_of(&entry->key));
	index->evictions++;
	index->evicted(index->context, number);
	hf_rcache_index_remove(index, number);
}

/* One look at the oldest of the queue whose turn it is. False if there is nothing to look at. */
static bool evict_step(struct hf_rcache_index *index, bool force)
{
	struct hf_rcache_queue *queue = choose_queue(index);
	struct hf_rcache_entry *entry;
	uint32_t number;

	if (!queue)
		return false;
	number = queue->tail;
	entry = &index->entries[number];
	if (entry->locked) {
		queue_move(index, number, entry->queue);
	} else if (entry->uses == 0 || force || index->groups[entry->group].forgotten) {
		evict(index, number);
	} else if (entry->queue == HF_RCACHE_SMALL) {
		entry->uses = 0;
		queue_move(index, number, HF_RCACHE_MAIN);
	} else {
		entry->uses--;
		queue_move(index, number, HF_RCACHE_MAIN);
	}
	return true;
}

static bool has_room(const struct hf_rcache_index *index, uint64_t cost)
{
	return index->used_bytes + cost <= index->limit_bytes &&
	       (!index->fixed_cost || index->free_head != HF_RCACHE_NONE);
}

static bool make_room(struct hf_rcache_index *index, uint64_t cost)
{
	if (cost > index->limit_bytes)
		return false;
	for (unsigned tries = 0; !has_room(index, cost); tries++)
		if (tries == TRIES_MAX || !evict_step(index, tries >= TRIES_MAX / 2))
			return false;
	return index->free_head != HF_RCACHE_NONE || grow(index) == 0;
}

uint32_t hf_rcache_index_insert(struct hf_rcache_index *index, const struct hf_read_cache_key *key,
				uint32_t length, uint32_t now)
{
	uint64_t cost = cost_of(index, length);
	struct hf_rcache_group *group;
	struct hf_rcache_entry *entry;
	uint32_t number;

	HF_ASSERT(length > 0 && length <= CHUNK_BYTES);
	group = make_room(index, cost) ? group_get(index, key) : NULL;
	if (!group)
		return HF_RCACHE_NONE;
	number = free_pop(index);
	entry = &index->entries[number];
	*entry = (struct hf_rcache_entry){.key = *key, .length = length, .stamp = now};
	entry->queue = hf_rcache_ghost_take(&index->ghost, hash_of(key)) ? HF_RCACHE_MAIN
									 : HF_RCACHE_SMALL;
	index->came_bytes += cost;
	group->used_at = index->came_bytes;
	entry_link(index, number, group);
	return number;
}

/* ---- Restoring ------------------------------------------------------------------------------- */

struct order {
	uint32_t age, number;
};

static int oldest_first(const void *left, const void *right)
{
	const struct order *a = left, *b = right;

	return a->age == b->age ? (a->number > b->number) - (a->number < b->number)
				: (a->age < b->age) - (a->age > b->age);
}

int hf_rcache_index_restore(struct hf_rcache_index *index, uint32_t now)
{
	struct order *order = malloc(((size_t)index->capacity + 1) * sizeof *order);
	uint32_t count = 0;

	if (!order)
		return HF_ENOMEM;
	for (uint32_t i = 0; i < index->capacity; i++)
		if (index->entries[i].length > 0)
			order[count++] = (struct order){now - index->entries[i].stamp, i};
	qsort(order, count, sizeof *order, oldest_first);
	for (uint32_t i = 0; i < count; i++) {
		struct hf_read_cache_key key = index->entries[order[i].number].key;
		uint32_t before = hf_rcache_index_find(index, &key);
		struct hf_rcache_group *group = group_get(index, &key);

		if (before != HF_RCACHE_NONE)
			hf_rcache_index_remove(index, before);
		if (group)
			entry_link(index, order[i].number, group);
		else
			index->entries[order[i].number] = (struct hf_rcache_entry){0};
	}
	free(order);
	index->free_head = index->free_tail = HF_RCACHE_NONE;
	for (uint32_t i = 0; i < index->capacity; i++)
		if (index->entries[i].queue == HF_RCACHE_FREE)
			free_push(index, i);
	return 0;
}
