/* The file of the read cache's disk tier: sparse, locked for one process, opened for direct I/O.
 * Nothing in it is needed, so nothing about it stops a start. Blocking; start-up only. */
#ifndef HF_GATEWAY_VOLUMED_CACHEFILE_H
#define HF_GATEWAY_VOLUMED_CACHEFILE_H

#include <stdint.h>

#include "base/err.h"

struct hf_cachefile {
	int fd; /* -1: there is none */
	uint64_t size_bytes;
};

/* How large a file that has `size_bytes`, `used_bytes` of them taken, should be: `wanted_bytes`,
 * but at most half of what is free or its own already; 0 if that is under 16 MiB. What is there
 * keeps its size while it is within a quarter of that, since another size is an empty cache. */
uint64_t hf_cachefile_size(uint64_t wanted_bytes, uint64_t size_bytes, uint64_t used_bytes,
			   uint64_t available_bytes);

/* Opens or makes `path`. 0, or why there is no such file (then `fd` is -1): HF_EBUSY (another
 * process has it), HF_EINVAL (no regular file), HF_ENOSPC, HF_EUNSUPPORTED (no direct I/O there),
 * HF_EACCES, HF_EIO, with the reason in `message`. `wanted_bytes` 0: none is wanted, and one that
 * is there is deleted. */
int hf_cachefile_open(const char *path, uint64_t wanted_bytes, struct hf_cachefile *file,
		      struct hf_errmsg *message);
void hf_cachefile_close(struct hf_cachefile *file);

#endif
