/* The raw image that an export writes: a sparse file under a temporary name beside its own, which
 * takes its name only when it is complete and synced. Blocking; main thread only. */
#ifndef HF_GATEWAY_CLI_IMAGE_H
#define HF_GATEWAY_CLI_IMAGE_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct hf_image {
	const char *path; /* the caller's */
	char temporary[PATH_MAX];
	int fd;
	uint64_t written_bytes;
};

/* 0, or HF_EINVAL (something else than a file is there), HF_EACCES, HF_ENOENT, HF_ENOSPC …, with
 * the reason in `message`; then nothing is left behind. */
int hf_image_create(struct hf_image *image, const char *path, uint64_t size_bytes,
		    struct hf_errmsg *message);
/* Writes at `offset`; stretches of zeros stay holes. */
int hf_image_write(struct hf_image *image, uint64_t offset, const void *bytes, size_t length,
		   struct hf_errmsg *message);
/* Syncs file and folder and gives it its name. On failure it is discarded. */
int hf_image_finish(struct hf_image *image, struct hf_errmsg *message);
void hf_image_discard(struct hf_image *image);

#endif
