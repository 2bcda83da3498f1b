/* Files that hold one secret key: mode 0600, one line `<kind> <64 hex>`. Blocking; for start-up and
 * rare changes. */
#ifndef HF_NET_KEY_FILE_H
#define HF_NET_KEY_FILE_H

#include <stdint.h>

#include "base/err.h"

/* Reads the 32 bytes, or, if there is no file, makes it with random ones. A file that others may
 * read or that holds something else is refused. */
int hf_key_file(const char *path, const char *kind, uint8_t secret[32], struct hf_errmsg *message);

#endif
