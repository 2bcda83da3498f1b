/* What volumed remembers in STATE_DIR so that it serves again after its own restart without the
 * agent: the store's configuration, each volume's, and the key files for export. Files of mode
 * 0600, replaced atomically (temporary file, fsync, rename, fsync of the folder), with a checksum;
 * one damaged file is refused by name and does not hold back the others.
 * docs/format/volumed-state.md.
 *
 * Blocking: start-up, and worker threads. Calls for different volumes may run at once. */
#ifndef HF_GATEWAY_VOLUMED_STATE_H
#define HF_GATEWAY_VOLUMED_STATE_H

#include <stdbool.h>

#include "gateway/volumed/request.h"

struct hf_state {
	const char *path; /* STATE_DIR, by reference */
	int folder_fd, lock_fd;
};

/* Makes the folders and takes the lock (one volumed a STATE_DIR). 0, HF_EBUSY, HF_EACCES, HF_EIO.
 */
int hf_state_open(const char *path, struct hf_state *state, struct hf_errmsg *message);
void hf_state_close(struct hf_state *state);

/* `detached`: known, so that it can be removed, but not served. Writes the key file too. */
int hf_state_save_volume(const struct hf_state *state, const struct hf_volume_config *config,
			 bool detached, struct hf_errmsg *message);
/* Removes both files; absent is success. */
int hf_state_forget_volume(const struct hf_state *state, uint64_t volume,
			   struct hf_errmsg *message);
/* Calls `each` for every remembered volume: with `status` 0, or HF_ECORRUPT and nothing but the
 * volume's number in `config` and the reason. 0 or why the folder cannot be read. */
int hf_state_each_volume(const struct hf_state *state,
			 void (*each)(void *context, int status,
				      const struct hf_volume_config *config, bool detached,
				      const struct hf_errmsg *why),
			 void *context, struct hf_errmsg *message);

/* Bytes that a volume's shims left here (ring_host.h, hf_ring_keeper). Durable when it returns. */
int hf_state_save_kept(const struct hf_state *state, uint64_t volume, const void *bytes,
		       size_t length, struct hf_errmsg *message);
/* `bytes` is malloc'ed, NULL if nothing was kept (`length` 0, which is success). 0, HF_ECORRUPT, …
 */
int hf_state_load_kept(const struct hf_state *state, uint64_t volume, void **bytes, size_t *length,
		       struct hf_errmsg *message);
/* Absent is success. */
int hf_state_forget_kept(const struct hf_state *state, uint64_t volume, struct hf_errmsg *message);

int hf_state_save_store(const struct hf_state *state, const Holdfast__VolumedStore *store,
			struct hf_errmsg *message);
/* HF_ENOENT: never set; HF_ECORRUPT. The store is to be freed with hf_control_store_free. */
int hf_state_load_store(const struct hf_state *state, Holdfast__VolumedStore **store,
			struct hf_errmsg *message);
/* Writes the store's CA beside it, under a name that its content gives, and returns the path in
 * `path` (at least PATH_MAX bytes); an empty path if the store has none. */
int hf_state_write_ca(const struct hf_state *state, const Holdfast__VolumedStore *store, char *path,
		      struct hf_errmsg *message);
/* Removes the CA files of stores before, but not `path`'s. */
void hf_state_drop_old_ca(const struct hf_state *state, const char *path);

#endif
