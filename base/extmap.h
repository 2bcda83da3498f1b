/* A map from ranges of a volume's address space to where their newest data lies; both layers of a
 * volume's map (the overlay into the log, the remote map into objects) are one of these.
 *
 * Addresses and lengths are in 512-byte units (LBA units, whatever the volume's block size); an
 * extent ends at UINT64_MAX at most. An extent's `place` names the data of its first unit; a part
 * that starts k units into an extent has the same place with `unit` advanced by k, unless the kind
 * has no data. Neighbouring extents whose places continue are found as one. Not thread-safe;
 * belongs to the core's thread. docs/design/maps.md says why it is built as it is.
 *
 * A map is cut into leaves of 8 MiB of address space. There are two kinds of map. A *plain* one
 * (the overlay, an object being laid out) is all in memory. A *stored* one (the remote map) is
 * checkpointed leaf by leaf, and leaves may be absent from memory; in it ZERO is a hole. */
#ifndef HF_BASE_EXTMAP_H
#define HF_BASE_EXTMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HF_EXTMAP_LEAF_UNITS  16384u /* 8 MiB */
#define HF_EXTMAP_SOURCE_BITS 33     /* of a DATA place's source */
#define HF_EXTMAP_UNIT_BITS   17     /* of a DATA place's unit: what lies in one source ends here */
#define HF_EXTMAP_TAG_BITS    50     /* of what stands in `source` for ZERO and BAD */

enum hf_extent_kind {
	HF_EXTENT_DATA = 1,
	HF_EXTENT_ZERO = 2, /* reads as zeros */
	HF_EXTENT_BAD = 3,  /* lost; reads fail until it is overwritten (invariant 8) */
};

struct hf_place {
	/* DATA: the segment's serial number, or the index of the object. ZERO and BAD in a plain
	 * map: a tag of the caller's; those with different tags never become one. Else 0. */
	uint64_t source;
	uint64_t unit; /* DATA: offset into the source, in 512-byte units; else 0 */
};

struct hf_extent {
	uint64_t lba;
	uint64_t length;
	enum hf_extent_kind kind;
	struct hf_place place;
};

struct hf_extmap;

/* A plain map. NULL when out of memory. */
struct hf_extmap *hf_extmap_create(void);
/* A stored map. NULL when out of memory. */
struct hf_extmap *hf_extmap_create_stored(void);
void hf_extmap_destroy(struct hf_extmap *map);

/* Replaces whatever the range held. 0 or HF_ENOMEM (then nothing changed). Length > 0; a DATA place
 * stays within the bits above over its whole length. In a stored map ZERO forgets the range. Never
 * waits for an absent leaf. */
int hf_extmap_insert(struct hf_extmap *map, const struct hf_extent *extent);
/* Forgets the range. 0 or HF_ENOMEM (then nothing changed). */
int hf_extmap_remove(struct hf_extmap *map, uint64_t lba, uint64_t length);
/* The first extent or part of one that intersects [lba, lba + length), cut to that range; false if
 * there is none. Walk a range by calling again from the end of what was found. The answer may not
 * need an absent leaf (asserted): for maps that have some there is hf_extmap_look. */
bool hf_extmap_find(const struct hf_extmap *map, uint64_t lba, uint64_t length,
		    struct hf_extent *found);
/* Runs in memory: extents, of which one counts once for every leaf that it touches. */
size_t hf_extmap_count(const struct hf_extmap *map);
/* What the map takes, with the allocator's own share. */
size_t hf_extmap_memory_bytes(const struct hf_extmap *map);

/* ---- Leaves of a stored map --------------------------------------------------------------------
 *
 *   NONE      nothing there, and no checkpoint says otherwise
 *   ABSENT    a checkpoint has it, memory does not
 *   PARTIAL   newer runs in memory over an absent base; not in a checkpoint
 *   DIRTY     in memory, not in a checkpoint as it is; may have become empty
 *   WRITING   in memory, as the checkpoint that is being written has it
 *   CLEAN     in memory, as a durable checkpoint has it
 */
enum hf_extmap_state {
	HF_EXTMAP_LEAF_NONE,
	HF_EXTMAP_LEAF_ABSENT,
	HF_EXTMAP_LEAF_PARTIAL,
	HF_EXTMAP_LEAF_DIRTY,
	HF_EXTMAP_LEAF_WRITING,
	HF_EXTMAP_LEAF_CLEAN,
};

/* An encoded leaf is at most this long (docs/format/map-leaf.md). */
#define HF_EXTMAP_LEAF_BYTES_MAX (4u + 10u * HF_EXTMAP_LEAF_UNITS)

static inline uint64_t hf_extmap_leaf_of(uint64_t lba)
{
	return lba / HF_EXTMAP_LEAF_UNITS;
}

enum hf_extmap_state hf_extmap_leaf_state(const struct hf_extmap *map, uint64_t leaf);

enum hf_extmap_found { HF_EXTMAP_NONE, HF_EXTMAP_FOUND, HF_EXTMAP_ABSENT };
/* As hf_extmap_find, but tells when the answer needs an absent leaf: *leaf is its number, and after
 * hf_extmap_leaf_install the caller looks again. *found is set if FOUND, *leaf if ABSENT. */
enum hf_extmap_found hf_extmap_look(const struct hf_extmap *map, uint64_t lba, uint64_t length,
				    struct hf_extent *found, uint64_t *leaf);

/* NONE → ABSENT: a checkpoint has this leaf. 0 or HF_ENOMEM. */
int hf_extmap_leaf_mark_absent(struct hf_extmap *map, uint64_t leaf);
/* ABSENT → CLEAN, PARTIAL → DIRTY: the base has arrived and lies under what is newer. 0, HF_ENOMEM,
 * or HF_ECORRUPT if the bytes are no leaf; after an error nothing has changed. In every other state
 * the base is not needed any more: 0, nothing changes. That the bytes are those of the checkpoint
 * in force, and name what there is, is the caller's business. */
int hf_extmap_leaf_install(struct hf_extmap *map, uint64_t leaf, const void *bytes,
			   size_t length_bytes);
/* Which sources an encoded leaf names: all are below *end. 0, or HF_ECORRUPT if it is no leaf. */
int hf_extmap_leaf_sources(const void *bytes, size_t length_bytes, uint64_t *end);
/* The first leaf >= from that is DIRTY or PARTIAL; false if there is none. */
bool hf_extmap_leaf_next_dirty(const struct hf_extmap *map, uint64_t from, uint64_t *leaf,
			       bool *partial);
/* The canonical bytes of a leaf in memory (not ABSENT, not PARTIAL): equal content gives equal
 * bytes. Returns the length, 0 if nothing is in it (then a checkpoint leaves it out). `capacity`
 * must be enough; HF_EXTMAP_LEAF_BYTES_MAX always is. */
size_t hf_extmap_leaf_encode(const struct hf_extmap *map, uint64_t leaf, void *buffer,
			     size_t capacity_bytes);
/* DIRTY → WRITING: the leaf has been encoded for a checkpoint. What changes it afterwards makes it
 * DIRTY again. */
void hf_extmap_leaf_begin_write(struct hf_extmap *map, uint64_t leaf);
/* The checkpoint is durable (WRITING → CLEAN, or NONE if it is empty) or has failed (→ DIRTY). What
 * was changed since stays DIRTY. Once for each begin_write. */
void hf_extmap_leaf_end_write(struct hf_extmap *map, uint64_t leaf, bool durable);
/* CLEAN → ABSENT; false and nothing changes in every other state. */
bool hf_extmap_leaf_drop(struct hf_extmap *map, uint64_t leaf);
/* Drops CLEAN leaves, those first that hf_extmap_look did not use for longest (a clock with a
 * second chance), until hf_extmap_memory_bytes is at most `limit_bytes` or none is left whose
 * absence saves memory (a leaf of one run lies in the directory, which stays). */
void hf_extmap_shrink(struct hf_extmap *map, size_t limit_bytes);

#endif
