/* See store.h. */
#include "tests/sim/store.h"
#include "base/assert.h"

#include <stdlib.h>
#include <string.h>

#define LIST_LIMIT 1000u

struct sim_stored {
	unsigned references;
	struct sim_object object;
	uint8_t bytes[];
};

void sim_store_init(struct sim_store *store, const struct sim_store *from)
{
	memset(store, 0, sizeof *store);
	if (!from || from->count == 0)
		return;
	store->count = store->capacity = from->count;
	store->objects = sim_keep_alloc(from->count * sizeof *store->objects);
	for (unsigned i = 0; i < from->count; i++) {
		store->objects[i] = from->objects[i];
		store->objects[i]->references++;
	}
}

static void release(struct sim_stored *stored)
{
	if (--stored->references == 0)
		sim_keep_free(stored);
}

void sim_store_free(struct sim_store *store)
{
	for (unsigned i = 0; i < store->count; i++)
		release(store->objects[i]);
	sim_keep_free(store->objects);
}

const struct sim_object *sim_store_get(const struct sim_store *store, unsigned index)
{
	return index < store->count ? &store->objects[index]->object : NULL;
}

unsigned sim_store_seek(const struct sim_store *store, const char *name, bool *exact)
{
	unsigned low = 0, high = store->count;

	*exact = false;
	while (low < high) {
		unsigned middle = (low + high) / 2;
		int order = strcmp(store->objects[middle]->object.name, name);

		if (order == 0)
			*exact = true;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void sim_store_set(struct sim_store *store, const char *name, const void *bytes, size_t length)
{
	struct sim_stored *stored = sim_keep_alloc(sizeof *stored + length);
	bool exact;
	unsigned index = sim_store_seek(store, name, &exact);

	stored->references = 1;
	strcpy(stored->object.name, name);
	stored->object.bytes = stored->bytes;
	stored->object.length = length;
	if (length > 0)
		memcpy(stored->bytes, bytes, length);
	if (exact) {
		release(store->objects[index]);
		store->objects[index] = stored;
		return;
	}
	if (store->count == store->capacity) {
		store->capacity = store->capacity ? 2 * store->capacity : 64;
		store->objects = sim_keep_resize(store->objects,
						 store->capacity * sizeof(struct sim_stored *));
	}
	memmove(store->objects + index + 1, store->objects + index,
		(store->count - index) * sizeof(struct sim_stored *));
	store->objects[index] = stored;
	store->count++;
}

void sim_store_remove(struct sim_store *store, const char *name)
{
	bool exact;
	unsigned index = sim_store_seek(store, name, &exact);

	if (!exact)
		return;
	release(store->objects[index]);
	store->count--;
	memmove(store->objects + index, store->objects + index + 1,
		(store->count - index) * sizeof(struct sim_stored *));
}

static int apply_put(struct sim_store *store, const struct hf_store_io *io)
{
	bool exists;

	sim_store_seek(store, io->name, &exists);
	if (io->if_absent && exists)
		return HF_EEXIST;
	sim_store_set(store, io->name, io->data, io->length);
	return 0;
}

static int apply_get(struct sim_store *store, struct hf_store_io *io)
{
	bool exists;
	unsigned index = sim_store_seek(store, io->name, &exists);
	const struct sim_object *object = sim_store_get(store, index);
	size_t length;

	if (!exists)
		return HF_ENOENT;
	if (io->range_start >= object->length && (io->range_start > 0 || io->range_length > 0))
		return HF_ERANGE;
	length = object->length - io->range_start;
	if (io->range_length > 0 && io->range_length < length)
		length = io->range_length;
	io->body = malloc(length + 1);
	HF_ASSERT(io->body);
	memcpy(io->body, object->bytes + io->range_start, length);
	io->body_length = length;
	return 0;
}

static int apply_list(struct sim_store *store, struct hf_store_io *io)
{
	unsigned limit = io->limit ? io->limit : LIST_LIMIT, index;
	unsigned room = limit < store->count ? limit : store->count + 1;
	size_t prefix = strlen(io->name);
	const struct sim_object *object;
	bool exact;

	index = sim_store_seek(store, strcmp(io->after, io->name) > 0 ? io->after : io->name,
			       &exact);
	io->names = calloc(room, sizeof *io->names);
	HF_ASSERT(io->names);
	for (; (object = sim_store_get(store, index)) != NULL; index++) {
		if (strncmp(object->name, io->name, prefix) != 0)
			break;
		if (io->after[0] && strcmp(object->name, io->after) <= 0)
			continue;
		if (io->name_count == limit) {
			io->more = true;
			break;
		}
		strcpy(io->names[io->name_count].name, object->name);
		io->names[io->name_count++].size_bytes = object->length;
	}
	return 0;
}

struct sim_store_maps sim_store_maps;

static void count_map(const struct hf_store_io *io)
{
	if (!strstr(io->name, "/map/"))
		return;
	sim_store_maps.puts += io->op == HF_STORE_PUT;
	sim_store_maps.block_gets += io->op == HF_STORE_GET && io->range_start > 0;
	sim_store_maps.deletes += io->op == HF_STORE_DELETE;
}

int sim_store_apply(struct sim_store *store, struct hf_store_io *io)
{
	count_map(io);
	switch (io->op) {
	case HF_STORE_PUT:
		return apply_put(store, io);
	case HF_STORE_GET:
		return apply_get(store, io);
	case HF_STORE_LIST:
		return apply_list(store, io);
	case HF_STORE_DELETE:
		sim_store_remove(store, io->name);
		return 0;
	}
	HF_ASSERT(!"store operation");
	return HF_EINVAL;
}
