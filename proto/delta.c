/* Differences between documents (delta.h). What is composed borrows the entries of base and delta;
 * only its lists are its own. Pure: no disk, no clock; hashes are the caller's. */
#include "proto/delta.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proto/budget.h"

#define ENTRIES_MAX 4096u /* in a delta; more than any document has */

/* ---- One encoding ---- */

static int by_volume(const void *a, const void *b)
{
	const Holdfast__Volume *const *x = a, *const *y = b;

	return (*x)->volume < (*y)->volume ? -1 : (*x)->volume > (*y)->volume;
}

static int by_tombstone(const void *a, const void *b)
{
	const Holdfast__Tombstone *const *x = a, *const *y = b;

	return (*x)->volume < (*y)->volume ? -1 : (*x)->volume > (*y)->volume;
}

static int by_name(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;

	return strcmp(*x, *y);
}

static void sort(void *list, size_t count, int (*order)(const void *, const void *))
{
	if (count > 1)
		qsort(list, count, sizeof(void *), order);
}

void hf_document_sort(Holdfast__Document *document)
{
	sort(document->volumes, document->n_volumes, by_volume);
	sort(document->tombstones, document->n_tombstones, by_tombstone);
	sort(document->requires, document->n_requires, by_name);
}

static int pack(const ProtobufCMessage *message, uint8_t **bytes, size_t *length)
{
	*length = protobuf_c_message_get_packed_size(message);
	if (*length > HF_DELTA_MAX)
		return HF_ETOOBIG;
	*bytes = malloc(*length + 1);
	if (!*bytes)
		return HF_ENOMEM;
	protobuf_c_message_pack(message, *bytes);
	return 0;
}

/* Both or neither, with the same encoding. Out of memory counts as different. */
static bool same(const ProtobufCMessage *a, const ProtobufCMessage *b)
{
	uint8_t *x = NULL, *y = NULL;
	size_t x_length = 0, y_length = 0;
	bool equal;

	if (!a || !b)
		return a == b;
	equal = pack(a, &x, &x_length) == 0 && pack(b, &y, &y_length) == 0 &&
		x_length == y_length && memcmp(x, y, x_length) == 0;
	free(x);
	free(y);
	return equal;
}

#define MESSAGE(pointer) ((pointer) ? &(pointer)->base : NULL)

/* ---- Making ---- */

static const Holdfast__Volume *find_volume(const Holdfast__Document *document, uint64_t volume)
{
	size_t low = 0, high = document->n_volumes;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (document->volumes[middle]->volume == volume)
			return document->volumes[middle];
		if (document->volumes[middle]->volume < volume)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static const Holdfast__Tombstone *find_tombstone(const Holdfast__Document *document,
						 uint64_t volume)
{
	for (size_t i = 0; i < document->n_tombstones; i++)
		if (document->tombstones[i]->volume == volume)
			return document->tombstones[i];
	return NULL;
}

/* The lists of a delta; freed one by one, the entries are borrowed. */
struct lists {
	Holdfast__Volume **volumes;
	Holdfast__Tombstone **tombstones;
	uint64_t *gone_volumes, *gone_tombstones;
};

static int make_lists(struct lists *lists, size_t volumes, size_t tombstones)
{
	lists->volumes = calloc(volumes + 1, sizeof(void *));
	lists->tombstones = calloc(tombstones + 1, sizeof(void *));
	lists->gone_volumes = calloc(volumes + 1, sizeof(uint64_t));
	lists->gone_tombstones = calloc(tombstones + 1, sizeof(uint64_t));
	return lists->volumes && lists->tombstones && lists->gone_volumes && lists->gone_tombstones
		       ? 0
		       : HF_ENOMEM;
}

static void free_lists(struct lists *lists)
{
	free(lists->volumes);
	free(lists->tombstones);
	free(lists->gone_volumes);
	free(lists->gone_tombstones);
}

static void compare_volumes(const Holdfast__Document *base, const Holdfast__Document *next,
			    Holdfast__DocumentDelta *delta)
{
	for (size_t i = 0; i < next->n_volumes; i++) {
		Holdfast__Volume *entry = next->volumes[i];
		const Holdfast__Volume *old = find_volume(base, entry->volume);

		if (!same(MESSAGE(old), &entry->base))
			delta->changed->volumes[delta->changed->n_volumes++] = entry;
	}
	for (size_t i = 0; i < base->n_volumes; i++)
		if (!find_volume(next, base->volumes[i]->volume))
			delta->gone_volumes[delta->n_gone_volumes++] = base->volumes[i]->volume;
}

static void compare_tombstones(const Holdfast__Document *base, const Holdfast__Document *next,
			       Holdfast__DocumentDelta *delta)
{
	for (size_t i = 0; i < next->n_tombstones; i++) {
		Holdfast__Tombstone *entry = next->tombstones[i];
		const Holdfast__Tombstone *old = find_tombstone(base, entry->volume);

		if (!same(MESSAGE(old), &entry->base))
			delta->changed->tombstones[delta->changed->n_tombstones++] = entry;
	}
	for (size_t i = 0; i < base->n_tombstones; i++)
		if (!find_tombstone(next, base->tombstones[i]->volume))
			delta->gone_tombstones[delta->n_gone_tombstones++] =
				base->tombstones[i]->volume;
}

/* Does it give these bytes? A base in another order, or with fields unknown here, does not. */
static int check(const Holdfast__Document *base, const uint8_t *base_hash, const uint8_t *delta,
		 size_t delta_length, const uint8_t *bytes, size_t length)
{
	uint8_t *made;
	size_t made_length;
	int err = hf_delta_apply(base, base_hash, delta, delta_length, &made, &made_length);

	if (err)
		return HF_ENOENT;
	if (made_length != length || memcmp(made, bytes, length) != 0)
		err = HF_ENOENT;
	free(made);
	return err;
}

int hf_delta_make(const Holdfast__Document *base, const uint8_t base_hash[HF_DELTA_HASH_BYTES],
		  const Holdfast__Document *next, const uint8_t *bytes, size_t length,
		  uint8_t **delta, size_t *delta_length)
{
	Holdfast__DocumentDelta message = HOLDFAST__DOCUMENT_DELTA__INIT;
	Holdfast__Document changed = HOLDFAST__DOCUMENT__INIT;
	struct lists lists = {NULL};
	int err = make_lists(&lists, base->n_volumes + next->n_volumes,
			     base->n_tombstones + next->n_tombstones);

	if (err)
		goto out;
	changed.incarnation = next->incarnation;
	changed.generation = next->generation;
	changed.requires = next->requires;
	changed.n_requires = next->n_requires;
	changed.volumes = lists.volumes;
	changed.tombstones = lists.tombstones;
	message.base_incarnation = base->incarnation;
	message.base_generation = base->generation;
	message.base_hash.data = (uint8_t *)(uintptr_t)base_hash;
	message.base_hash.len = HF_DELTA_HASH_BYTES;
	message.changed = &changed;
	message.gone_volumes = lists.gone_volumes;
	message.gone_tombstones = lists.gone_tombstones;
	compare_volumes(base, next, &message);
	compare_tombstones(base, next, &message);
	message.keeps_store = same(MESSAGE(base->store), MESSAGE(next->store));
	message.keeps_network = same(MESSAGE(base->network), MESSAGE(next->network));
	changed.store = message.keeps_store ? NULL : next->store;
	changed.network = message.keeps_network ? NULL : next->network;
	err = pack(&message.base, delta, delta_length);
	if (err)
		goto out;
	err = *delta_length < length ? check(base, base_hash, *delta, *delta_length, bytes, length)
				     : HF_ENOENT;
	if (err)
		free(*delta);
out:
	free_lists(&lists);
	return err;
}

/* ---- Applying ---- */

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static bool is_gone(const uint64_t *gone, size_t count, uint64_t volume)
{
	return count && bsearch(&volume, gone, count, sizeof *gone, by_value) != NULL;
}

static void compose_volumes(const Holdfast__Document *base, const Holdfast__DocumentDelta *delta,
			    Holdfast__Document *next)
{
	const Holdfast__Document *changed = delta->changed;

	for (size_t i = 0; i < changed->n_volumes; i++)
		next->volumes[next->n_volumes++] = changed->volumes[i];
	for (size_t i = 0; i < base->n_volumes; i++) {
		uint64_t volume = base->volumes[i]->volume;

		if (!find_volume(changed, volume) &&
		    !is_gone(delta->gone_volumes, delta->n_gone_volumes, volume))
			next->volumes[next->n_volumes++] = base->volumes[i];
	}
}

static void compose_tombstones(const Holdfast__Document *base, const Holdfast__DocumentDelta *delta,
			       Holdfast__Document *next)
{
	const Holdfast__Document *changed = delta->changed;

	for (size_t i = 0; i < changed->n_tombstones; i++)
		next->tombstones[next->n_tombstones++] = changed->tombstones[i];
	for (size_t i = 0; i < base->n_tombstones; i++) {
		uint64_t volume = base->tombstones[i]->volume;

		if (!find_tombstone(changed, volume) &&
		    !is_gone(delta->gone_tombstones, delta->n_gone_tombstones, volume))
			next->tombstones[next->n_tombstones++] = base->tombstones[i];
	}
}

static int compose(const Holdfast__Document *base, Holdfast__DocumentDelta *delta, uint8_t **bytes,
		   size_t *length)
{
	Holdfast__Document *changed = delta->changed, next = *changed;
	size_t volumes = base->n_volumes + changed->n_volumes;
	size_t tombstones = base->n_tombstones + changed->n_tombstones;
	int err = HF_ENOMEM;

	hf_document_sort(changed);
	if (delta->n_gone_volumes)
		qsort(delta->gone_volumes, delta->n_gone_volumes, sizeof(uint64_t), by_value);
	if (delta->n_gone_tombstones)
		qsort(delta->gone_tombstones, delta->n_gone_tombstones, sizeof(uint64_t), by_value);
	next.n_volumes = next.n_tombstones = 0;
	next.volumes = calloc(volumes + 1, sizeof(void *));
	next.tombstones = calloc(tombstones + 1, sizeof(void *));
	if (next.volumes && next.tombstones) {
		compose_volumes(base, delta, &next);
		compose_tombstones(base, delta, &next);
		if (delta->keeps_store)
			next.store = base->store;
		if (delta->keeps_network)
			next.network = base->network;
		hf_document_sort(&next);
		err = pack(&next.base, bytes, length);
	}
	free(next.volumes);
	free(next.tombstones);
	return err;
}

int hf_delta_apply(const Holdfast__Document *base, const uint8_t base_hash[HF_DELTA_HASH_BYTES],
		   const uint8_t *delta, size_t delta_length, uint8_t **bytes, size_t *length)
{
	Holdfast__DocumentDelta *message;
	struct hf_budget budget;
	int err;

	if (delta_length > HF_DELTA_MAX)
		return HF_ETOOBIG;
	hf_budget_init(&budget, delta_length);
	message = holdfast__document_delta__unpack(&budget.allocator, delta_length, delta);
	if (!message)
		return HF_EPROTO;
	if (!message->changed || message->base_hash.len != HF_DELTA_HASH_BYTES)
		err = HF_EPROTO;
	else if (!base || message->base_incarnation != base->incarnation ||
		 message->base_generation != base->generation ||
		 memcmp(message->base_hash.data, base_hash, HF_DELTA_HASH_BYTES) != 0)
		err = HF_ESTALE;
	else if (message->changed->n_volumes + message->changed->n_tombstones > ENTRIES_MAX)
		err = HF_ETOOBIG;
	else
		err = compose(base, message, bytes, length);
	holdfast__document_delta__free_unpacked(message, &budget.allocator);
	return err;
}
