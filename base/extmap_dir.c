/* base/extmap_dir.h: the tree, ranges and summaries. Recursion is as deep as the tree is
 * high, nine levels at most. Core's thread. */
#include "base/extmap_dir.h"
#include "base/assert.h"
#include "base/err.h"

#include <stdlib.h>
#include <string.h>

#define CHILDREN 64u

HF_STATIC_ASSERT(sizeof(struct hf_slot) == 16, "a slot is 16 bytes");
HF_STATIC_ASSERT(offsetof(struct hf_slot, more) == 8, "an inline run is in one piece");
HF_STATIC_ASSERT(sizeof(struct hf_dir_node) == 40, "a node's head is 40 bytes");
HF_STATIC_ASSERT(HF_DIR_LEAVES == UINT64_MAX / HF_EXTMAP_LEAF_UNITS + 1, "every address");

/* ---- Nodes ------------------------------------------------------------------------------------
 */

static size_t node_size(uint64_t capacity)
{
	return sizeof(struct hf_dir_node) + capacity * sizeof(struct hf_slot);
}

/* A slot of level n stands for 64^n leaves: level 0 is a leaf, level n + 1 a node of slots of level
 * n, or uniform. */
static uint64_t level_leaves(unsigned level)
{
	return 1ull << HF_DIR_BITS * level;
}

static unsigned child_of(uint64_t leaf, unsigned level)
{
	return leaf >> HF_DIR_BITS * level & (CHILDREN - 1);
}

static uint64_t bits_below(unsigned index)
{
	return (1ull << index) - 1;
}

static bool node_has(const struct hf_dir_node *node, unsigned index)
{
	return node->present >> index & 1;
}

/* Without the processor's instruction, which not every x86-64 has, the compiler would call a
 * function. */
static unsigned count_bits(uint64_t bits)
{
	bits -= bits >> 1 & 0x5555555555555555u;
	bits = (bits & 0x3333333333333333u) + (bits >> 2 & 0x3333333333333333u);
	bits = (bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0fu;
	return (unsigned)(bits * 0x0101010101010101u >> 56);
}

static struct hf_slot *node_slot(struct hf_dir_node *node, unsigned index)
{
	return &node->slots[count_bits(node->present & bits_below(index))];
}

/* The slot becomes a node without children that says what the slot said. */
static int make_node(struct hf_extmap *map, struct hf_slot *slot)
{
	struct hf_dir_node *node = hf_dir_resize(map, NULL, 0, node_size(1));

	if (!node)
		return HF_ENOMEM;
	*node = (struct hf_dir_node){.fill = slot->uniform, .capacity = 1};
	*slot = (struct hf_slot){.child = node};
	return 0;
}

static int node_reserve(struct hf_extmap *map, struct hf_slot *slot, unsigned count)
{
	struct hf_dir_node *node = slot->child;
	uint64_t capacity = count <= 4 ? count : (count + count / 4 + 3) / 4 * 4;

	if (count <= node->capacity)
		return 0;
	if (capacity > CHILDREN)
		capacity = CHILDREN;
	node = hf_dir_resize(map, node, node_size(node->capacity), node_size(capacity));
	if (!node)
		return HF_ENOMEM;
	node->capacity = capacity;
	slot->child = node;
	return 0;
}

/* Makes room for a child that is not there, and gives it unfilled. The node has capacity. */
static struct hf_slot *node_add(struct hf_dir_node *node, unsigned index)
{
	unsigned count = count_bits(node->present);
	struct hf_slot *slot = node_slot(node, index);

	HF_ASSERT(count < node->capacity && !node_has(node, index));
	memmove(slot + 1, slot, (size_t)(node->slots + count - slot) * sizeof *slot);
	node->present |= 1ull << index;
	return slot;
}

/* A leaf, or a uniform child, that says what is said without it. */
static void node_remove(struct hf_extmap *map, struct hf_slot *at, unsigned index)
{
	struct hf_dir_node *node = at->child, *smaller;
	struct hf_slot *slot = node_slot(node, index);
	unsigned count = count_bits(node->present) - 1;

	if (!(slot->flags & HF_SLOT_UNIFORM))
		hf_slot_clear(map, slot);
	memmove(slot, slot + 1, (size_t)(node->slots + count - slot) * sizeof *slot);
	node->present &= ~(1ull << index);
	node->dirty &= ~(1ull << index);
	node->idle &= ~(1ull << index);
	if (count == 0) {
		uint64_t fill = node->fill;

		hf_dir_release(map, node, node_size(node->capacity));
		*at = (struct hf_slot){.uniform = fill, .flags = HF_SLOT_UNIFORM};
	} else if (node->capacity > 2 * (uint64_t)count + 4) {
		smaller = hf_dir_resize(map, node, node_size(node->capacity), node_size(count + 2));
		if (smaller) {
			smaller->capacity = count + 2;
			at->child = smaller;
		}
	}
}

/* The child, made out of the fill if it was not there. */
static struct hf_slot *node_child(struct hf_extmap *map, struct hf_dir_node *node, unsigned index,
				  unsigned level)
{
	struct hf_slot *slot;

	if (node_has(node, index))
		return node_slot(node, index);
	slot = node_add(node, index);
	if (level == 0)
		hf_slot_from_uniform(map, slot, node->fill);
	else
		*slot = (struct hf_slot){.uniform = node->fill, .flags = HF_SLOT_UNIFORM};
	return slot;
}

/* Frees all below, and leaves an empty uniform slot. */
static void free_below(struct hf_extmap *map, struct hf_slot *slot, unsigned level)
{
	if (level == 0) {
		hf_slot_clear(map, slot);
	} else if (!(slot->flags & HF_SLOT_UNIFORM)) {
		struct hf_dir_node *node = slot->child;

		for (uint64_t left = node->present; left; left &= left - 1)
			free_below(map, node_slot(node, (unsigned)__builtin_ctzll(left)),
				   level - 1);
		hf_dir_release(map, node, node_size(node->capacity));
	}
	*slot = (struct hf_slot){.flags = HF_SLOT_UNIFORM};
}

void hf_dir_free(struct hf_extmap *map)
{
	free_below(map, &map->root, map->height);
	HF_ASSERT(map->runs == 0 && map->bytes == 0);
}

/* ---- Going down -------------------------------------------------------------------------------
 */

struct hf_dir_view hf_dir_view(const struct hf_extmap *map, uint64_t leaf)
{
	const struct hf_slot *slot = &map->root;
	unsigned level = map->height;

	if (leaf >= level_leaves(level))
		return (struct hf_dir_view){.end = HF_DIR_LEAVES};
	while (!(slot->flags & HF_SLOT_UNIFORM)) {
		struct hf_dir_node *node = slot->child;
		unsigned index;

		if (level == 0)
			return (struct hf_dir_view){.slot = (struct hf_slot *)slot,
						    .end = leaf + 1};
		index = child_of(leaf, --level);
		if (!node_has(node, index)) {
			uint64_t above = node->present & ~bits_below(index);
			unsigned end = above ? (unsigned)__builtin_ctzll(above) : CHILDREN;
			uint64_t own = leaf & ~(level_leaves(level) - 1);

			return (struct hf_dir_view){.uniform = node->fill,
						    .end = own +
							   (end - index) * level_leaves(level)};
		}
		slot = node_slot(node, index);
	}
	return (struct hf_dir_view){.uniform = slot->uniform,
				    .end = (leaf | (level_leaves(level) - 1)) + 1};
}

/* More levels until the leaf is below the root. */
static int grow_height(struct hf_extmap *map, uint64_t leaf)
{
	HF_ASSERT(leaf < HF_DIR_LEAVES);
	while (leaf >= level_leaves(map->height)) {
		struct hf_slot old = map->root, root = {.flags = HF_SLOT_UNIFORM};

		if (!(old.flags & HF_SLOT_UNIFORM) || old.uniform != 0) {
			if (make_node(map, &root))
				return HF_ENOMEM;
			*node_add(root.child, 0) = old;
			if (!(old.flags & HF_SLOT_UNIFORM)) {
				root.child->dirty = old.child->dirty != 0;
				root.child->idle = old.child->idle != 0;
			}
		}
		map->root = root;
		map->height++;
	}
	return 0;
}

struct hf_slot *hf_dir_ensure(struct hf_extmap *map, uint64_t leaf)
{
	struct hf_slot *slot = &map->root;

	if (grow_height(map, leaf))
		return NULL;
	for (unsigned level = map->height; level > 0; level--) {
		unsigned index = child_of(leaf, level - 1);
		unsigned count;

		if ((slot->flags & HF_SLOT_UNIFORM) && make_node(map, slot))
			return NULL;
		count = count_bits(slot->child->present);
		if (!node_has(slot->child, index) && node_reserve(map, slot, count + 1))
			return NULL;
		slot = node_child(map, slot->child, index, level - 1);
	}
	return slot;
}

/* ---- Ranges -----------------------------------------------------------------------------------
 */

/* A range seen from one node: its children `low` … `high` are touched; those at the ends may be so
 * in part. */
struct span {
	uint64_t first, end; /* leaves, within the node */
	unsigned low, high;
};

/* `slot` is of level + 1 and starts at leaf `base`. */
static struct span span_in(uint64_t base, unsigned level, uint64_t first, uint64_t end)
{
	uint64_t limit = base + CHILDREN * level_leaves(level);
	struct span span = {.first = first > base ? first : base, .end = end < limit ? end : limit};

	span.low = child_of(span.first, level);
	span.high = child_of(span.end - 1, level);
	return span;
}

static bool span_covers(const struct span *span, uint64_t base, unsigned level, unsigned index)
{
	uint64_t child = base + index * level_leaves(level);

	return span->first <= child && span->end >= child + level_leaves(level);
}

static int reserve_below(struct hf_extmap *map, struct hf_slot *slot, unsigned level, uint64_t base,
			 const struct span *range, uint64_t uniform)
{
	struct span span = span_in(base, level, range->first, range->end);
	uint64_t wanted = bits_below(span.high) | 1ull << span.high;
	unsigned ends[2] = {span.low, span.high};

	if (slot->flags & HF_SLOT_UNIFORM) {
		if (slot->uniform == uniform)
			return 0;
		if (make_node(map, slot))
			return HF_ENOMEM;
	}
	wanted = slot->child->present |
		 (slot->child->fill == uniform ? 0 : wanted & ~bits_below(span.low));
	if (node_reserve(map, slot, count_bits(wanted)))
		return HF_ENOMEM;
	for (unsigned i = 0; i < 2; i++) {
		struct hf_dir_node *node = slot->child;

		if (span_covers(&span, base, level, ends[i]) || (i > 0 && ends[0] == ends[1]) ||
		    (!node_has(node, ends[i]) && node->fill == uniform))
			continue;
		if (reserve_below(map, node_child(map, node, ends[i], level), level - 1,
				  base + ends[i] * level_leaves(level), range, uniform))
			return HF_ENOMEM;
	}
	return 0;
}

int hf_dir_reserve(struct hf_extmap *map, uint64_t first, uint64_t end, uint64_t uniform)
{
	struct span range = {.first = first, .end = end};

	if (uniform != 0 && grow_height(map, end - 1))
		return HF_ENOMEM;
	if (first >= level_leaves(map->height) || (first == 0 && end >= level_leaves(map->height)))
		return 0;
	return reserve_below(map, &map->root, map->height - 1, 0, &range, uniform);
}

static void assign_child(struct hf_extmap *map, struct hf_slot *at, unsigned index, unsigned level,
			 uint64_t uniform)
{
	struct hf_slot *slot;

	if (node_has(at->child, index)) {
		slot = node_slot(at->child, index);
		free_below(map, slot, level);
	} else {
		if (at->child->fill == uniform)
			return;
		slot = node_add(at->child, index);
	}
	if (level == 0)
		hf_slot_from_uniform(map, slot, uniform);
	else
		*slot = (struct hf_slot){.uniform = uniform, .flags = HF_SLOT_UNIFORM};
}

/* True if the child says what would be said without it. */
static bool child_is_fill(struct hf_slot *child, unsigned level, uint64_t fill)
{
	if (level == 0)
		return hf_slot_is_uniform(child, fill);
	return (child->flags & HF_SLOT_UNIFORM) && child->uniform == fill;
}

static void assign_below(struct hf_extmap *map, struct hf_slot *slot, unsigned level, uint64_t base,
			 const struct span *range, uint64_t uniform)
{
	struct span span = span_in(base, level, range->first, range->end);

	if ((slot->flags & HF_SLOT_UNIFORM) && slot->uniform == uniform)
		return;
	for (unsigned i = span.low; i <= span.high; i++) {
		if (span_covers(&span, base, level, i))
			assign_child(map, slot, i, level, uniform);
		else if (node_has(slot->child, i))
			assign_below(map, node_slot(slot->child, i), level - 1,
				     base + i * level_leaves(level), range, uniform);
	}
	for (unsigned i = span.low; i <= span.high && !(slot->flags & HF_SLOT_UNIFORM); i++)
		if (node_has(slot->child, i) &&
		    child_is_fill(node_slot(slot->child, i), level, slot->child->fill))
			node_remove(map, slot, i);
}

void hf_dir_assign(struct hf_extmap *map, uint64_t first, uint64_t end, uint64_t uniform)
{
	struct span range = {.first = first, .end = end};

	HF_ASSERT(!map->stored);
	if (first >= level_leaves(map->height))
		return;
	if (first == 0 && end >= level_leaves(map->height)) {
		free_below(map, &map->root, map->height);
		map->root.uniform = uniform;
		return;
	}
	assign_below(map, &map->root, map->height - 1, 0, &range, uniform);
}

/* ---- Summaries --------------------------------------------------------------------------------
 */

static void summarize(struct hf_dir_node *node, unsigned index, const struct hf_slot *child,
		      unsigned level)
{
	uint64_t bit = 1ull << index;
	bool dirty = false, idle = false;

	if (level == 0) {
		dirty = child->flags & HF_SLOT_DIRTY;
		idle = child->capacity > 0 &&
		       !(child->flags & (HF_SLOT_DIRTY | HF_SLOT_WRITING | HF_SLOT_ABSENT));
	} else if (!(child->flags & HF_SLOT_UNIFORM)) {
		dirty = child->child->dirty;
		idle = child->child->idle;
	}
	node->dirty = dirty ? node->dirty | bit : node->dirty & ~bit;
	node->idle = idle ? node->idle | bit : node->idle & ~bit;
}

static void settle_below(struct hf_extmap *map, struct hf_slot *slot, unsigned level, uint64_t leaf)
{
	struct hf_slot *child;
	unsigned index;

	if (level == 0 || (slot->flags & HF_SLOT_UNIFORM))
		return;
	level--;
	index = child_of(leaf, level);
	if (!node_has(slot->child, index)) {
		/* Left by a reservation that was not used. */
		if (slot->child->present == 0) {
			uint64_t fill = slot->child->fill;

			hf_dir_release(map, slot->child, node_size(slot->child->capacity));
			*slot = (struct hf_slot){.uniform = fill, .flags = HF_SLOT_UNIFORM};
		}
		return;
	}
	child = node_slot(slot->child, index);
	settle_below(map, child, level, leaf);
	if (child_is_fill(child, level, slot->child->fill))
		node_remove(map, slot, index);
	else
		summarize(slot->child, index, child, level);
}

void hf_dir_settle(struct hf_extmap *map, uint64_t leaf)
{
	if (leaf < level_leaves(map->height))
		settle_below(map, &map->root, map->height, leaf);
}

static bool next_below(const struct hf_slot *slot, unsigned level, uint64_t base,
		       enum hf_dir_mark mark, uint64_t from, uint64_t *leaf)
{
	struct hf_dir_node *node = slot->child;
	uint64_t marks;

	if (level == 0) {
		*leaf = base;
		return true;
	}
	if (slot->flags & HF_SLOT_UNIFORM)
		return false;
	level--;
	marks = mark == HF_DIR_DIRTY ? node->dirty : node->idle;
	if (from > base)
		marks &= ~bits_below(child_of(from, level));
	for (; marks; marks &= marks - 1) {
		unsigned index = (unsigned)__builtin_ctzll(marks);

		if (next_below(node_slot(node, index), level, base + index * level_leaves(level),
			       mark, from, leaf))
			return true;
	}
	return false;
}

bool hf_dir_next(const struct hf_extmap *map, enum hf_dir_mark mark, uint64_t from, uint64_t *leaf)
{
	return from < level_leaves(map->height) &&
	       next_below(&map->root, map->height, 0, mark, from, leaf);
}
