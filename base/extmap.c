/* base/extmap.h as a treap: a binary search tree by address that is also a heap by random priority,
 * so that it is balanced for every order of insertions. Its two primitives, split and merge, make
 * "replace a range" one cut at each end. Extents never overlap and never touch a neighbour that
 * continues them. Memory is taken before the tree is changed, so that failing leaves it as it was.
 * Belongs to the core's thread. */
#include "base/extmap.h"
#include "base/assert.h"
#include "base/err.h"

#include <stdlib.h>

struct node {
	struct hf_extent extent;
	struct node *left, *right;
	uint64_t priority;
};

struct hf_extmap {
	struct node *root;
	size_t count;
	uint64_t random; /* xorshift state: balance needs no secrecy, and runs repeat */
	struct node *spare[2];
};

static uint64_t end_of(const struct hf_extent *extent)
{
	return extent->lba + extent->length;
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static int provide_spares(struct hf_extmap *map, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (map->spare[i])
			continue;
		map->spare[i] = malloc(sizeof *map->spare[i]);
		if (!map->spare[i])
			return HF_ENOMEM;
	}
	return 0;
}

static struct node *take_spare(struct hf_extmap *map, const struct hf_extent *extent)
{
	unsigned i = map->spare[1] ? 1 : 0;
	struct node *node = map->spare[i];

	HF_ASSERT(node);
	map->spare[i] = NULL;
	map->random ^= map->random << 13;
	map->random ^= map->random >> 7;
	map->random ^= map->random << 17;
	*node = (struct node){.extent = *extent, .priority = map->random};
	map->count++;
	return node;
}

static void release(struct hf_extmap *map, struct node *node)
{
	map->count--;
	if (!map->spare[0])
		map->spare[0] = node;
	else if (!map->spare[1])
		map->spare[1] = node;
	else
		free(node);
}

static void release_tree(struct hf_extmap *map, struct node *node)
{
	if (!node)
		return;
	release_tree(map, node->left);
	release_tree(map, node->right);
	release(map, node);
}

struct hf_extmap *hf_extmap_create(void)
{
	struct hf_extmap *map = calloc(1, sizeof *map);

	if (map)
		map->random = 0x9e3779b97f4a7c15u;
	return map;
}

void hf_extmap_destroy(struct hf_extmap *map)
{
	if (!map)
		return;
	release_tree(map, map->root);
	HF_ASSERT(map->count == 0);
	free(map->spare[0]);
	free(map->spare[1]);
	free(map);
}

/* ---- The treap ------------------------------------------------------------------------------- */

/* Extents that start below `lba` to *low, the others to *high. */
static void split(struct node *node, uint64_t lba, struct node **low, struct node **high)
{
	while (node) {
		if (node->extent.lba < lba) {
			*low = node;
			low = &node->right;
			node = node->right;
		} else {
			*high = node;
			high = &node->left;
			node = node->left;
		}
	}
	*low = *high = NULL;
}

/* Everything in `low` lies below everything in `high`. */
static struct node *merge(struct node *low, struct node *high)
{
	struct node *root = NULL, **link = &root;

	while (low && high) {
		if (low->priority > high->priority) {
			*link = low;
			link = &low->right;
			low = low->right;
		} else {
			*link = high;
			link = &high->left;
			high = high->left;
		}
	}
	*link = low ? low : high;
	return root;
}

static struct node *last(struct node *node)
{
	while (node && node->right)
		node = node->right;
	return node;
}

static struct node *first(struct node *node)
{
	while (node && node->left)
		node = node->left;
	return node;
}

/* ---- Ranges ---------------------------------------------------------------------------------- */

static struct hf_extent part(const struct hf_extent *extent, uint64_t from, uint64_t to)
{
	struct hf_extent result = *extent;

	result.lba = from;
	result.length = to - from;
	if (extent->kind == HF_EXTENT_DATA)
		result.place.unit += from - extent->lba;
	return result;
}

static bool continues(const struct hf_extent *a, const struct hf_extent *b)
{
	if (end_of(a) != b->lba || a->kind != b->kind)
		return false;
	return a->kind != HF_EXTENT_DATA ||
	       (a->place.source == b->place.source && a->place.unit + a->length == b->place.unit);
}

/* Cuts what the last extent of `tree` has past `lba`; the part past `end` comes back as a node of
 * its own. */
static struct node *trim_last(struct hf_extmap *map, struct node *tree, uint64_t lba, uint64_t end)
{
	struct node *node = last(tree), *rest = NULL;
	struct hf_extent tail;

	if (!node || end_of(&node->extent) <= lba)
		return NULL;
	if (end_of(&node->extent) > end) {
		tail = part(&node->extent, end, end_of(&node->extent));
		rest = take_spare(map, &tail);
	}
	node->extent.length = lba - node->extent.lba;
	return rest;
}

/* Takes everything out of [lba, end); what lies below goes to *low, what lies above to *high. Needs
 * one spare node. */
static void cut_out(struct hf_extmap *map, uint64_t lba, uint64_t end, struct node **low,
		    struct node **high)
{
	struct node *middle, *rest, *node;

	split(map->root, lba, low, &middle);
	split(middle, end, &middle, high);
	rest = trim_last(map, *low, lba, end);
	node = last(middle);
	if (node && end_of(&node->extent) > end) {
		struct hf_extent tail = part(&node->extent, end, end_of(&node->extent));

		HF_ASSERT(!rest);
		rest = take_spare(map, &tail);
	}
	release_tree(map, middle);
	*high = merge(rest, *high);
	map->root = NULL;
}

int hf_extmap_insert(struct hf_extmap *map, const struct hf_extent *extent)
{
	uint64_t end = end_of(extent);
	struct node *low, *high, *node;

	HF_ASSERT(extent->length > 0 && end > extent->lba);
	if (provide_spares(map, 2) != 0)
		return HF_ENOMEM;
	cut_out(map, extent->lba, end, &low, &high);
	node = last(low);
	if (node && continues(&node->extent, extent)) {
		node->extent.length += extent->length;
	} else {
		node = take_spare(map, extent); /* the cut took at most one of the two */
		low = merge(low, node);
	}
	if (high && continues(&node->extent, &first(high)->extent)) {
		struct node *next;
		uint64_t next_end = end_of(&first(high)->extent);

		split(high, next_end, &next, &high);
		node->extent.length = next_end - node->extent.lba;
		release_tree(map, next);
	}
	map->root = merge(low, high);
	return 0;
}

int hf_extmap_remove(struct hf_extmap *map, uint64_t lba, uint64_t length)
{
	struct node *low, *high;

	HF_ASSERT(length > 0 && lba + length > lba);
	if (provide_spares(map, 1) != 0)
		return HF_ENOMEM;
	cut_out(map, lba, lba + length, &low, &high);
	map->root = merge(low, high);
	return 0;
}

bool hf_extmap_find(const struct hf_extmap *map, uint64_t lba, uint64_t length,
		    struct hf_extent *found)
{
	uint64_t end = length > UINT64_MAX - lba ? UINT64_MAX : lba + length;
	const struct node *node = map->root, *below = NULL, *above = NULL;

	while (node) {
		if (node->extent.lba <= lba) {
			below = node;
			node = node->right;
		} else {
			above = node;
			node = node->left;
		}
	}
	if (below && end_of(&below->extent) > lba)
		node = below;
	else if (above && above->extent.lba < end)
		node = above;
	else
		return false;
	*found = part(&node->extent, node->extent.lba > lba ? node->extent.lba : lba,
		      end_of(&node->extent) < end ? end_of(&node->extent) : end);
	return true;
}

size_t hf_extmap_count(const struct hf_extmap *map)
{
	return map->count;
}
