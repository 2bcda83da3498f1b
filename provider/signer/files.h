/* Small files that must survive a crash whole: written beside, synced, renamed, folder synced. The
 * caller's thread; blocks for the disk. */
#ifndef HF_PROVIDER_SIGNER_FILES_H
#define HF_PROVIDER_SIGNER_FILES_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Replaces `path` (mode 0600). When it returns 0 the new content survives a loss of power. */
int hf_file_replace(const char *path, const void *bytes, size_t length, struct hf_errmsg *message);
/* Reads all of it, malloc'ed; HF_ENOENT, HF_ETOOBIG above `max`, HF_EACCES if others can read it.
 */
int hf_file_load(const char *path, size_t max, uint8_t **bytes, size_t *length,
		 struct hf_errmsg *message);

#endif
