/* Roots and pages of a checkpoint: in memory and, with every check that reading any bytes needs, in
 * bytes; behind remote/map_root.h. No state, any thread. */
#include "remote/map_root.h"
#include "base/assert.h"
#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

enum {
	AT_NUMBER = 0,
	AT_LINK_COUNT = 4,
	AT_SIZE = 8,
	AT_RECOVERY_POINT = 16,
	AT_OBJECT_COUNT = 24,
	AT_STORED_BYTES = 32,
	AT_WALL = 40,
	AT_OBJECT_REFS = 48,
	AT_PAGE_COUNT = 52,
	AT_LISTS = 56,
	LINK_BYTES = 32,
	REF_BYTES = 80,
	PAGE_BYTES = 24 + HF_MAP_PAGE_LEAVES / 8,
};

#define PAGE_NUMBER_END (1ull << 31) /* 2^64 bytes of address space */

/* ---- In memory ------------------------------------------------------------------------------- */

struct hf_map_root *hf_map_root_new(void)
{
	return calloc(1, sizeof(struct hf_map_root));
}

void hf_map_root_free(struct hf_map_root *root)
{
	if (!root)
		return;
	for (uint32_t i = 0; i < root->page_count; i++)
		free(root->pages[i].page);
	free(root->pages);
	free(root->objects);
	free(root->links);
	free(root);
}

/* A list of at least one, so that NULL means that memory is short. */
static void *copy_of(const void *list, size_t count, size_t size)
{
	void *copy = malloc((count + 1) * size);

	if (copy && count)
		memcpy(copy, list, count * size);
	return copy;
}

struct hf_map_root *hf_map_root_copy(const struct hf_map_root *root)
{
	struct hf_map_root *copy = hf_map_root_new();

	if (!copy)
		return NULL;
	*copy = *root;
	copy->links = copy_of(root->links, root->link_count, sizeof *root->links);
	copy->objects = copy_of(root->objects, root->object_refs, sizeof *root->objects);
	copy->pages = copy_of(root->pages, root->page_count, sizeof *root->pages);
	if (!copy->links || !copy->objects || !copy->pages)
		copy->page_count = 0;
	for (uint32_t i = 0; i < copy->page_count; i++)
		copy->pages[i].page = NULL;
	if (copy->links && copy->objects && copy->pages)
		return copy;
	hf_map_root_free(copy);
	return NULL;
}

/* The first page whose number is at least that. */
static uint32_t page_at(const struct hf_map_root *root, uint64_t number)
{
	uint32_t from = 0, to = root->page_count;

	while (from < to) {
		uint32_t middle = from + (to - from) / 2;

		if (root->pages[middle].number < number)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

struct hf_map_page_ref *hf_map_root_page(const struct hf_map_root *root, uint64_t number)
{
	uint32_t at = page_at(root, number);

	return at < root->page_count && root->pages[at].number == number ? &root->pages[at] : NULL;
}

struct hf_map_page_ref *hf_map_root_add_page(struct hf_map_root *root, uint64_t number)
{
	uint32_t at = page_at(root, number);
	struct hf_map_page_ref *pages;

	if (at < root->page_count && root->pages[at].number == number)
		return &root->pages[at];
	pages = realloc(root->pages, (root->page_count + 1) * sizeof *pages);
	if (!pages)
		return NULL;
	root->pages = pages;
	memmove(&pages[at + 1], &pages[at], (root->page_count - at) * sizeof *pages);
	root->page_count++;
	pages[at] = (struct hf_map_page_ref){.number = number};
	return &pages[at];
}

struct hf_map_object *hf_map_root_object(const struct hf_map_root *root, uint32_t number)
{
	uint32_t from = 0, to = root->object_refs;

	while (from < to) {
		uint32_t middle = from + (to - from) / 2;

		if (root->objects[middle].number < number)
			from = middle + 1;
		else
			to = middle;
	}
	return from < root->object_refs && root->objects[from].number == number
		       ? &root->objects[from]
		       : NULL;
}

int hf_map_root_add_object(struct hf_map_root *root, const struct hf_map_object *object)
{
	struct hf_map_object *objects;

	if (root->object_refs == HF_MAP_OBJECTS_MAX)
		return HF_ETOOBIG;
	HF_ASSERT(!root->object_refs ||
		  root->objects[root->object_refs - 1].number < object->number);
	objects = realloc(root->objects, (root->object_refs + 1) * sizeof *objects);
	if (!objects)
		return HF_ENOMEM;
	objects[root->object_refs++] = *object;
	root->objects = objects;
	return 0;
}

const struct hf_map_entry *hf_map_page_entry(const struct hf_map_page *page, uint64_t leaf)
{
	uint32_t wanted = (uint32_t)(leaf % HF_MAP_PAGE_LEAVES), from = 0, to = page->count;

	while (from < to) {
		uint32_t middle = from + (to - from) / 2;

		if (page->entries[middle].leaf < wanted)
			from = middle + 1;
		else
			to = middle;
	}
	return from < page->count && page->entries[from].leaf == wanted ? &page->entries[from]
									: NULL;
}

/* ---- Writing --------------------------------------------------------------------------------- */

static void write_spot(const struct hf_map_spot *spot, uint8_t *out)
{
	hf_put_le32(out, spot->object);
	hf_put_le32(out + 4, spot->offset);
	hf_put_le32(out + 8, spot->stored_bytes | (uint32_t)spot->kind << 24);
	hf_put_le32(out + 12, spot->crc);
}

size_t hf_map_page_encode(const struct hf_map_page *page, uint8_t *out)
{
	uint8_t *at = out + HF_MAP_PAGE_HEAD;

	hf_put_le32(out, page->count);
	hf_put_le32(out + 4, 0);
	for (uint32_t i = 0; i < page->count; i++, at += HF_MAP_ENTRY_BYTES) {
		hf_put_le32(at, page->entries[i].leaf);
		write_spot(&page->entries[i].spot, at + 4);
	}
	return (size_t)(at - out);
}

size_t hf_map_root_bytes(const struct hf_map_root *root)
{
	return AT_LISTS + (size_t)root->link_count * LINK_BYTES +
	       (size_t)root->object_refs * REF_BYTES + (size_t)root->page_count * PAGE_BYTES;
}

static uint8_t *write_lists(const struct hf_map_root *root, uint8_t *at)
{
	for (uint32_t i = 0; i < root->link_count; i++, at += LINK_BYTES) {
		hf_put_le64(at, root->links[i].epoch);
		hf_put_le64(at + 8, root->links[i].start);
		hf_put_le64(at + 16, root->links[i].last_object);
		hf_put_le64(at + 24, root->links[i].last_sequence);
	}
	for (uint32_t i = 0; i < root->object_refs; i++, at += REF_BYTES) {
		const struct hf_map_object *object = &root->objects[i];
		bool self = object->number == root->number;

		hf_put_le64(at, object->id.epoch);
		hf_put_le64(at + 8, object->id.start);
		hf_put_le64(at + 16, object->id.sequence);
		hf_put_le64(at + 24, object->live_bytes);
		hf_put_le32(at + 32, object->number);
		hf_put_le32(at + 36, self ? 0 : object->data_offset);
		hf_put_le32(at + 40, object->block_bytes);
		hf_put_le32(at + 44, 0);
		memcpy(at + 48, object->salt, HF_SALT_BYTES);
	}
	return at;
}

void hf_map_root_write(const struct hf_map_root *root, uint8_t *out)
{
	uint8_t *at = write_lists(root, out + AT_LISTS);

	hf_put_le32(out + AT_NUMBER, root->number);
	hf_put_le32(out + AT_LINK_COUNT, root->link_count);
	hf_put_le64(out + AT_SIZE, root->size_bytes);
	hf_put_le64(out + AT_RECOVERY_POINT, root->recovery_point);
	hf_put_le64(out + AT_OBJECT_COUNT, root->object_count);
	hf_put_le64(out + AT_STORED_BYTES, root->stored_bytes);
	hf_put_le64(out + AT_WALL, root->wall_ms);
	hf_put_le32(out + AT_OBJECT_REFS, root->object_refs);
	hf_put_le32(out + AT_PAGE_COUNT, root->page_count);
	for (uint32_t i = 0; i < root->page_count; i++, at += PAGE_BYTES) {
		const struct hf_map_page_ref *page = &root->pages[i];

		hf_put_le64(at, page->number);
		write_spot(&page->spot, at + 8);
		for (unsigned k = 0; k < HF_MAP_PAGE_LEAVES / 64; k++)
			hf_put_le64(at + 24 + (size_t)k * 8, page->leaves[k]);
	}
}

/* ---- Reading --------------------------------------------------------------------------------- */

static struct hf_map_spot read_spot(const uint8_t *at)
{
	uint32_t word = hf_get_le32(at + 8);

	return (struct hf_map_spot){
		.object = hf_get_le32(at),
		.offset = hf_get_le32(at + 4),
		.stored_bytes = word & 0xffffffu,
		.kind = word >> 24,
		.crc = hf_get_le32(at + 12),
	};
}

static bool spot_is_possible(const struct hf_map_root *root, const struct hf_map_spot *spot)
{
	const struct hf_map_object *object = hf_map_root_object(root, spot->object);

	return object && object->live_bytes > 0 && spot->stored_bytes > HF_TAG_BYTES &&
	       spot->stored_bytes <= HF_MAP_BLOCK_MAX + HF_TAG_BYTES &&
	       spot->offset <= object->block_bytes &&
	       spot->stored_bytes <= object->block_bytes - spot->offset &&
	       (spot->kind == HF_MAP_BLOCK_RAW || spot->kind == HF_MAP_BLOCK_ZSTD);
}

static int read_links(struct hf_map_root *root, const uint8_t *at, struct hf_errmsg *message)
{
	uint64_t objects = 0;

	for (uint32_t i = 0; i < root->link_count; i++, at += LINK_BYTES) {
		struct hf_chain_link *link = &root->links[i];
		const struct hf_chain_link *before = i ? link - 1 : NULL;

		*link = (struct hf_chain_link){
			.epoch = hf_get_le64(at),
			.start = hf_get_le64(at + 8),
			.first_object = 1,
			.last_object = hf_get_le64(at + 16),
			.last_sequence = hf_get_le64(at + 24),
		};
		if (link->last_object == 0 || link->last_object > 1ull << HF_EXTMAP_SOURCE_BITS ||
		    (before && (link->start <= before->start || link->epoch < before->epoch ||
				link->last_sequence <= before->last_sequence)))
			return hf_fail(message, HF_ECORRUPT, "its link %u is impossible", i);
		objects += link->last_object;
	}
	if (!root->link_count || objects != root->object_count ||
	    objects > 1ull << HF_EXTMAP_SOURCE_BITS ||
	    root->links[root->link_count - 1].last_sequence != root->recovery_point)
		return hf_fail(message, HF_ECORRUPT, "its links do not end where it says");
	return 0;
}

static int read_objects(const struct hf_map_object *self, struct hf_map_root *root,
			const uint8_t *at, struct hf_errmsg *message)
{
	uint32_t before = 0;

	for (uint32_t i = 0; i < root->object_refs; i++, at += REF_BYTES) {
		struct hf_map_object *object = &root->objects[i];

		*object = (struct hf_map_object){
			.number = hf_get_le32(at + 32),
			.id = self->id,
			.data_offset = hf_get_le32(at + 36),
			.block_bytes = hf_get_le32(at + 40),
			.live_bytes = hf_get_le64(at + 24),
		};
		object->id.epoch = hf_get_le64(at);
		object->id.start = hf_get_le64(at + 8);
		object->id.sequence = hf_get_le64(at + 16);
		memcpy(object->salt, at + 48, HF_SALT_BYTES);
		if (object->number <= before || object->number > root->number ||
		    object->live_bytes > object->block_bytes)
			return hf_fail(message, HF_ECORRUPT, "its map object %u is impossible", i);
		before = object->number;
		if (object->number != root->number)
			continue;
		if (memcmp(object->salt, self->salt, HF_SALT_BYTES) != 0 ||
		    memcmp(&object->id, &self->id, sizeof object->id) != 0)
			return hf_fail(message, HF_ECORRUPT, "it does not know itself");
		object->data_offset = self->data_offset;
	}
	if (before != root->number)
		return hf_fail(message, HF_ECORRUPT, "it does not know itself");
	return 0;
}

static int read_pages(struct hf_map_root *root, const uint8_t *at, struct hf_errmsg *message)
{
	for (uint32_t i = 0; i < root->page_count; i++, at += PAGE_BYTES) {
		struct hf_map_page_ref *page = &root->pages[i];
		uint64_t any = 0;

		*page = (struct hf_map_page_ref){
			.number = hf_get_le64(at),
			.spot = read_spot(at + 8),
		};
		for (unsigned k = 0; k < HF_MAP_PAGE_LEAVES / 64; k++)
			any |= page->leaves[k] = hf_get_le64(at + 24 + (size_t)k * 8);
		if (!any || page->number >= PAGE_NUMBER_END ||
		    (i && page->number <= page[-1].number) || !spot_is_possible(root, &page->spot))
			return hf_fail(message, HF_ECORRUPT, "its page %u is impossible", i);
	}
	return 0;
}

static int read_head(struct hf_map_root *root, const struct hf_map_object *self,
		     const uint8_t *bytes, size_t length, struct hf_errmsg *message)
{
	if (length < AT_LISTS)
		return hf_fail(message, HF_ECORRUPT, "a root of %zu bytes", length);
	root->number = hf_get_le32(bytes + AT_NUMBER);
	root->link_count = hf_get_le32(bytes + AT_LINK_COUNT);
	root->size_bytes = hf_get_le64(bytes + AT_SIZE);
	root->recovery_point = hf_get_le64(bytes + AT_RECOVERY_POINT);
	root->object_count = hf_get_le64(bytes + AT_OBJECT_COUNT);
	root->stored_bytes = hf_get_le64(bytes + AT_STORED_BYTES);
	root->wall_ms = hf_get_le64(bytes + AT_WALL);
	root->object_refs = hf_get_le32(bytes + AT_OBJECT_REFS);
	root->page_count = hf_get_le32(bytes + AT_PAGE_COUNT);
	if (root->number == 0 || root->number != self->number ||
	    root->link_count > HF_CHAIN_MAX + 1 || root->object_refs > HF_MAP_OBJECTS_MAX ||
	    hf_map_root_bytes(root) != length) {
		root->page_count = 0; /* there are none to free */
		return hf_fail(message, HF_ECORRUPT, "its counts do not fit its size");
	}
	return 0;
}

static int read_lists(struct hf_map_root *root, const struct hf_map_object *self, const uint8_t *at,
		      struct hf_errmsg *message)
{
	int err;

	root->links = calloc(root->link_count + 1, sizeof *root->links);
	root->objects = calloc(root->object_refs + 1, sizeof *root->objects);
	root->pages = calloc(root->page_count + 1, sizeof *root->pages);
	if (!root->links || !root->objects || !root->pages) {
		root->page_count = root->pages ? root->page_count : 0;
		return HF_ENOMEM;
	}
	err = read_links(root, at, message);
	at += (size_t)root->link_count * LINK_BYTES;
	if (!err)
		err = read_objects(self, root, at, message);
	at += (size_t)root->object_refs * REF_BYTES;
	return err ? err : read_pages(root, at, message);
}

int hf_map_root_read(const struct hf_map_object *self, const uint8_t *bytes, size_t length,
		     struct hf_map_root **root, struct hf_errmsg *message)
{
	struct hf_map_root *read = hf_map_root_new();
	int err;

	if (!read)
		return HF_ENOMEM;
	err = read_head(read, self, bytes, length, message);
	if (!err)
		err = read_lists(read, self, bytes + AT_LISTS, message);
	if (err)
		hf_map_root_free(read);
	else
		*root = read;
	return err;
}

static bool bit_is_set(const struct hf_map_page_ref *ref, uint32_t leaf)
{
	return ref->leaves[leaf / 64] >> leaf % 64 & 1;
}

int hf_map_page_decode(const struct hf_map_root *root, const struct hf_map_page_ref *ref,
		       const uint8_t *bytes, size_t length, struct hf_map_page **page)
{
	uint32_t count = length >= HF_MAP_PAGE_HEAD ? hf_get_le32(bytes) : 0, expected = 0;
	struct hf_map_page *read;
	int err = 0;

	for (unsigned k = 0; k < HF_MAP_PAGE_LEAVES / 64; k++)
		expected += (uint32_t)__builtin_popcountll(ref->leaves[k]);
	if (count == 0 || count != expected ||
	    length != HF_MAP_PAGE_HEAD + (size_t)count * HF_MAP_ENTRY_BYTES)
		return HF_ECORRUPT;
	read = malloc(sizeof *read + count * sizeof *read->entries);
	if (!read)
		return HF_ENOMEM;
	read->count = count;
	for (uint32_t i = 0; i < count && !err; i++) {
		const uint8_t *at = bytes + HF_MAP_PAGE_HEAD + (size_t)i * HF_MAP_ENTRY_BYTES;
		struct hf_map_entry *entry = &read->entries[i];

		entry->leaf = hf_get_le32(at);
		entry->spot = read_spot(at + 4);
		if (entry->leaf >= HF_MAP_PAGE_LEAVES || !bit_is_set(ref, entry->leaf) ||
		    (i && entry->leaf <= entry[-1].leaf) || !spot_is_possible(root, &entry->spot))
			err = HF_ECORRUPT;
	}
	if (err)
		free(read);
	else
		*page = read;
	return err;
}
