/* The file half of the directory store: blocking calls, run on libuv's worker threads, any number
 * at once; they share nothing but the folder itself. Private to remote/store_dir*.c. Errors are
 * those of struct hf_store_io. */
#ifndef HF_REMOTE_STORE_DIR_H
#define HF_REMOTE_STORE_DIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"

/* Folder in the root that holds files being written; no object may be named under it. */
#define HF_DIR_TEMPORARY ".holdfast-tmp"

/* `root` is a descriptor of the store's folder, held open; names are valid object names. */
int hf_dir_put(int root, const char *name, const void *data, size_t length, bool if_absent);
/* `*body` is malloc'ed. */
int hf_dir_get(int root, const char *name, uint64_t start, size_t length, void **body,
	       size_t *body_length);
int hf_dir_delete(int root, const char *name);
/* Fills `names`, `name_count` and `more` of a LIST. */
int hf_dir_list(int root, struct hf_store_io *io);

/* Makes the temporary folder and removes from it what a dead process left. 0 or an error. */
int hf_dir_clean(int root);

#endif
