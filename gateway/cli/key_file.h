/* Key files: one line `holdfast-key-1 vol-<16 hex> <64 hex>`, the key that unwraps the key ring of
 * that volume. Blocking. */
#ifndef HF_GATEWAY_CLI_KEY_FILE_H
#define HF_GATEWAY_CLI_KEY_FILE_H

#include <stdint.h>

#include "base/err.h"

#define HF_KEY_FILE_KEY_BYTES 32u

/* 0, or HF_ENOENT, HF_EACCES, HF_EINVAL (no key file, or that of another volume) with what to do in
 * `message`, which never holds any of the key. */
int hf_key_file_read(const char *path, uint64_t volume, uint8_t key[HF_KEY_FILE_KEY_BYTES],
		     struct hf_errmsg *message);

#endif
