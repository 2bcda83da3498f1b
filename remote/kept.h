/* Blocks of checkpoints in the read cache, as they are stored, so that what was read or written
 * once can be read again without the store. A block that is longer than a chunk of the cache lies
 * in pieces under consecutive numbers. Whatever is missing comes from the store. Core's thread. */
#ifndef HF_REMOTE_KEPT_H
#define HF_REMOTE_KEPT_H

#include "remote/remote_impl.h"

/* `remote` and `done` are given. */
struct hf_kept {
	struct hf_remote *remote;
	void (*done)(struct hf_kept *kept, int status);

	/* private */
	struct hf_read_cache_key key;
	struct hf_read_cache_get get;
	uint8_t *bytes;
	size_t length, have;
	bool asking, failed;
};

/* Reads a block's stored bytes. 0: they are in `bytes`. HF_EAGAIN: `done` comes, never from inside
 * this call, with 0 or HF_ENOENT. HF_ENOENT: not there. */
int hf_kept_read(struct hf_kept *kept, const struct hf_map_object *object,
		 const struct hf_map_spot *spot, uint8_t *bytes);
void hf_kept_write(struct hf_remote *remote, const struct hf_map_object *object,
		   const struct hf_map_spot *spot, const uint8_t *bytes);

#endif
