/* A map's directory: which leaves there are, and what stands where there is none. Only
 * base/extmap*.c use it.
 *
 * A radix tree over the leaf's number, 64 children a node, of which a node keeps only those that
 * are there. Where there is none, every leaf below holds the node's `fill` throughout: nothing, or
 * one ZERO or BAD with its tag. So a range of any length that is zeroed costs a few slots at its
 * two ends, and an empty map costs nothing. A leaf of one run needs no memory beyond its slot.
 *
 * Summaries of the leaves' states go up the tree as bits, so that the next dirty leaf, or the next
 * that can be dropped, is found without looking at the others; hf_dir_settle keeps them true. */
#ifndef HF_BASE_EXTMAP_DIR_H
#define HF_BASE_EXTMAP_DIR_H

#include "base/extmap.h"
#include "base/extmap_leaf.h"

#define HF_DIR_BITS   6u
#define HF_DIR_LEAVES (1ull << (64 - 14)) /* of the whole address space */

enum hf_slot_flag {
	HF_SLOT_UNIFORM = 1,    /* not a leaf, not a node: all below holds `uniform` */
	HF_SLOT_ABSENT = 2,     /* the leaf's base is in a checkpoint only */
	HF_SLOT_DIRTY = 4,      /* no checkpoint has it as it is, or will have */
	HF_SLOT_WRITING = 8,    /* a checkpoint that will have it is being written */
	HF_SLOT_REFERENCED = 16 /* looked at since the clock's hand was here */
};

struct hf_dir_node;

/* A leaf, an inner node, or a uniform range, whatever stands at its place in the tree. */
struct hf_slot {
	union {
		uint8_t inline_run[8]; /* leaf of at most one run, capacity 0; goes on in `more` */
		uint8_t *block;        /* leaf with capacity > 0 */
		struct hf_dir_node *child;
		uint64_t uniform; /* kind << 50 | tag; 0: nothing */
	};
	uint8_t more[2];
	uint16_t count, capacity; /* runs */
	uint8_t flags, unused;
};

struct hf_dir_node {
	uint64_t present; /* bit i: slots has the i-th child */
	uint64_t dirty;   /* bit i: a leaf at or below it has HF_SLOT_DIRTY */
	uint64_t idle;    /* bit i: dropping a leaf at or below it saves memory */
	uint64_t fill;    /* of the children that are not present */
	uint64_t capacity;
	struct hf_slot slots[];
};

struct hf_extmap {
	struct hf_slot root;
	unsigned height; /* levels of nodes the root may stand for; leaves below 64^height */
	bool stored;
	size_t runs, bytes;
	uint64_t hand; /* leaf where the clock goes on */
};

/* What stands at a leaf: `slot`, or NULL and `uniform` for all leaves from it to before `end`,
 * which may lie past the last leaf. */
struct hf_dir_view {
	struct hf_slot *slot;
	uint64_t uniform, end;
};

static inline uint64_t hf_dir_uniform(enum hf_extent_kind kind, uint64_t tag)
{
	return (uint64_t)kind << HF_EXTMAP_TAG_BITS | tag;
}

static inline uint8_t *hf_slot_runs(struct hf_slot *slot)
{
	return slot->capacity ? slot->block : (uint8_t *)slot;
}

/* realloc and free, counted in map->bytes. */
void *hf_dir_resize(struct hf_extmap *map, void *memory, size_t old_size, size_t size);
void hf_dir_release(struct hf_extmap *map, void *memory, size_t size);

struct hf_dir_view hf_dir_view(const struct hf_extmap *map, uint64_t leaf);
/* The leaf's slot, made out of what stands there; NULL when out of memory. Moves other slots. The
 * content of the map stays as it was. */
struct hf_slot *hf_dir_ensure(struct hf_extmap *map, uint64_t leaf);
/* Room for `count` runs in a leaf: 0 or HF_ENOMEM. */
int hf_slot_reserve(struct hf_extmap *map, struct hf_slot *slot, unsigned count);
/* Carries out an edit for which there is room; frees what is not needed any more. */
void hf_slot_edit(struct hf_extmap *map, struct hf_slot *slot, const struct hf_leaf_edit *edit);
/* Forgets the runs. */
void hf_slot_clear(struct hf_extmap *map, struct hf_slot *slot);
/* Replaces the runs by an array of `count` runs, copying it: 0 or HF_ENOMEM. */
int hf_slot_set(struct hf_extmap *map, struct hf_slot *slot, const uint8_t *runs, unsigned count);
/* Forgets the runs that are ZERO. */
void hf_slot_drop_zeros(struct hf_extmap *map, struct hf_slot *slot);
/* A new leaf that holds `uniform` throughout. */
void hf_slot_from_uniform(struct hf_extmap *map, struct hf_slot *slot, uint64_t uniform);
/* True if the leaf has no state and holds `uniform` throughout (ZERO, BAD or nothing). */
bool hf_slot_is_uniform(struct hf_slot *slot, uint64_t uniform);

/* Makes hf_dir_assign possible: 0 or HF_ENOMEM. No other call in between that makes slots. */
int hf_dir_reserve(struct hf_extmap *map, uint64_t first, uint64_t end, uint64_t uniform);
/* Leaves first … end - 1 hold `uniform` throughout. Plain maps only. */
void hf_dir_assign(struct hf_extmap *map, uint64_t first, uint64_t end, uint64_t uniform);

/* After a leaf has changed: takes away slots on the way to it that say nothing any more, and brings
 * the summaries up to date. The leaf's slot may be gone then. */
void hf_dir_settle(struct hf_extmap *map, uint64_t leaf);

enum hf_dir_mark { HF_DIR_DIRTY, HF_DIR_IDLE };
/* The first leaf >= from with the mark. */
bool hf_dir_next(const struct hf_extmap *map, enum hf_dir_mark mark, uint64_t from, uint64_t *leaf);
void hf_dir_free(struct hf_extmap *map);

#endif
