/* Files that hold one secret in one line, such as user:password: closed to others, no control
 * characters. Blocking; small files. Any thread. */
#ifndef HF_BASE_SECRET_FILE_H
#define HF_BASE_SECRET_FILE_H

#include <stddef.h>

#include "base/err.h"

/* Gives the line without its end, of 1 to `size` - 1 bytes; wipe it after use. HF_ENOENT, HF_EACCES
 * (others may read it, or we may not), HF_EINVAL (empty, several lines, control characters, too
 * long), with the path and never the content in `message`. */
int hf_secret_line_read(const char *path, char *text, size_t size, struct hf_errmsg *message);

#endif
