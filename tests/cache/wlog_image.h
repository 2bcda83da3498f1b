/* A small write log at rest, to be damaged: several segments, all but the newest closed by footers,
 * and a marked end. What is damaged opens with every record that was durable, whose payload then
 * reads right or fails as HF_ECORRUPT, or refuses to open and names the place (invariant 8). */
#ifndef HF_TESTS_CACHE_WLOG_IMAGE_H
#define HF_TESTS_CACHE_WLOG_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#define IMAGE_RECORDS_MAX  12u
#define IMAGE_SEGMENTS_MAX 8u

struct image {
	unsigned records, segments;
	unsigned units_max;                            /* of a record */
	uint64_t keep_bytes;                           /* memory of whoever opens it */
	size_t length;                                 /* bytes */
	uint64_t newest;                               /* serial of the newest segment */
	unsigned opened_whole, refused, reads_refused; /* what came of the damage */
	uint8_t bytes[4 * 4096 + IMAGE_SEGMENTS_MAX * 65536];
};

/* Fills it; `records`, `segments` and `units_max` say how large. */
void image_build(struct image *image);
/* Opens a copy of which `length` bytes at `offset` are `bytes`, and checks the promise. */
void image_try(struct image *image, uint64_t offset, const uint8_t *bytes, size_t length);

#endif
