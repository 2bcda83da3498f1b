/* Small files that are replaced as a whole, and names that survive a power cut. Blocking; for
 * start-up and rare changes. Any thread. */
#ifndef HF_BASE_FILE_H
#define HF_BASE_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* Replaces `path` by a file with these bytes: written beside it, synced, renamed, folder synced.
 * After a crash it is the old file or the new one. */
int hf_file_replace(const char *path, const void *bytes, size_t length, mode_t mode,
		    struct hf_errmsg *message);
/* The same with a path that is relative to `folder_fd` (openat(2)). */
int hf_file_replace_at(int folder_fd, const char *path, const void *bytes, size_t length,
		       mode_t mode, struct hf_errmsg *message);
/* Syncs the folder that `path` lies in, so that a name made, changed or removed there stays so. */
int hf_file_sync_folder_at(int folder_fd, const char *path, struct hf_errmsg *message);
/* Reads a whole file of at most `length_max` bytes; malloc'ed with a NUL behind it. HF_ENOENT,
 * HF_ETOOBIG, ... */
int hf_file_read(const char *path, size_t length_max, uint8_t **bytes, size_t *length,
		 struct hf_errmsg *message);

#endif
