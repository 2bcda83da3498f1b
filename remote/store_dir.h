/* The file half of the directory store: blocking calls, run on libuv's worker threads, any number
 * at once; they share nothing but the folder itself. Private to remote/store_dir*.c. Errors are
 * those of struct hf_store_io. */
#ifndef HF_REMOTE_STORE_DIR_H
#define HF_REMOTE_STORE_DIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/err.h"

/* Folder in the root that holds files being written; no object may be named under it. */
#define HF_DIR_TEMPORARY ".holdfast-tmp"
/* File in the root that says that it is the root, and of which store. */
#define HF_DIR_MARKER ".holdfast-store"
#define HF_DIR_ID_MAX 33u /* bytes of a store's identity, with the terminator */

/* Opening a store: marks an empty folder as a new store, reads whose store it is, and removes from
 * the temporary folder what a dead process left. 0; HF_ENOENT; HF_EINVAL if the folder holds other
 * things and no marker. */
int hf_dir_prepare(const char *path, char id[HF_DIR_ID_MAX], struct hf_errmsg *message);
/* The root, opened for one operation; or HF_ECONN if the folder is not there now, or is another's:
 * a disk that is not mounted must never look like an empty store. */
int hf_dir_root(const char *path, const char *id, int *root);

/* `root` comes from hf_dir_root; names are valid object names. */
int hf_dir_put(int root, const char *name, const void *data, size_t length, bool if_absent);
/* `*body` is malloc'ed. */
int hf_dir_get(int root, const char *name, uint64_t start, size_t length, void **body,
	       size_t *body_length);
/* Writes an empty file from its offset on and makes it durable: 0 or an errno value. */
int hf_dir_write(int fd, const char *data, size_t length);
int hf_dir_delete(int root, const char *name);
/* Fills `names`, `name_count` and `more` of a LIST. */
int hf_dir_list(int root, struct hf_store_io *io);

#endif
