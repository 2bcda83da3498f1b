/* A map from ranges of a volume's address space to where their newest data lies; both layers of a
 * volume's map (the overlay into the log, the remote map into objects) are one of these.
 *
 * Addresses and lengths are in 512-byte units (LBA units, whatever the volume's block size).
 * An extent's `place` names the data of its first unit; a part that starts k units into an extent
 * has the same place with `unit` advanced by k, unless the kind has no data. Neighbouring extents
 * whose places continue are kept as one. Not thread-safe; belongs to the core's thread. */
#ifndef HF_BASE_EXTMAP_H
#define HF_BASE_EXTMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum hf_extent_kind {
	HF_EXTENT_DATA = 1,
	HF_EXTENT_ZERO = 2, /* reads as zeros; place has no meaning */
	HF_EXTENT_BAD = 3,  /* lost; reads fail until it is overwritten (invariant 8) */
};

struct hf_place {
	uint64_t source; /* overlay: segment's serial number; remote map: index of the object */
	uint64_t unit;   /* offset into the source, in 512-byte units */
};

struct hf_extent {
	uint64_t lba;
	uint64_t length;
	enum hf_extent_kind kind;
	struct hf_place place;
};

struct hf_extmap;

/* NULL when out of memory. */
struct hf_extmap *hf_extmap_create(void);
void hf_extmap_destroy(struct hf_extmap *map);

/* Replaces whatever the range held. 0 or HF_ENOMEM (then nothing changed). Length > 0. */
int hf_extmap_insert(struct hf_extmap *map, const struct hf_extent *extent);
/* Forgets the range. 0 or HF_ENOMEM (then nothing changed). */
int hf_extmap_remove(struct hf_extmap *map, uint64_t lba, uint64_t length);
/* The first extent or part of one that intersects [lba, lba + length), cut to that range; false if
 * there is none. Walk a range by calling again from the end of what was found. */
bool hf_extmap_find(const struct hf_extmap *map, uint64_t lba, uint64_t length,
		    struct hf_extent *found);
size_t hf_extmap_count(const struct hf_extmap *map);

#endif
