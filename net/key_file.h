/* Files that hold one secret key: mode 0600, one line `<kind> <64 hex>`; and files that are
 * replaced as a whole. Blocking; for start-up and rare changes. */
#ifndef HF_NET_KEY_FILE_H
#define HF_NET_KEY_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* Reads the 32 bytes, or, if there is no file, makes it with random ones. A file that others may
 * read or that holds something else is refused. */
int hf_key_file(const char *path, const char *kind, uint8_t secret[32], struct hf_errmsg *message);

/* Replaces `path` by a file with these bytes: written beside it, synced, renamed, folder synced.
 * After a crash it is the old file or the new one. */
int hf_file_replace(const char *path, const void *bytes, size_t length, mode_t mode,
		    struct hf_errmsg *message);
/* Reads a whole file of at most `length_max` bytes; malloc'ed with a NUL behind it. HF_ENOENT,
 * HF_ETOOBIG, ... */
int hf_file_read(const char *path, size_t length_max, uint8_t **bytes, size_t *length,
		 struct hf_errmsg *message);

#endif
