/* One file of STATE_DIR: bytes under a checksum, replaced atomically. Blocking. Used by state.c. */
#ifndef HF_GATEWAY_VOLUMED_STATE_FILE_H
#define HF_GATEWAY_VOLUMED_STATE_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define HF_STATE_BODY_MAX (256u << 10) /* bytes */

/* `folder_fd` and `name` say where; `name` may hold one folder. Absent is success. */
int hf_state_file_remove(int folder_fd, const char *name, struct hf_errmsg *message);

/* With the header of docs/format/volumed-state.md. `flags` are the owner's. */
int hf_state_file_save(int folder_fd, const char *name, uint32_t flags, const void *body,
		       size_t length, struct hf_errmsg *message);
/* `body` is malloc'ed. 0, HF_ENOENT, HF_ECORRUPT, HF_EIO. */
int hf_state_file_load(int folder_fd, const char *name, uint32_t *flags, uint8_t **body,
		       size_t *length, struct hf_errmsg *message);

#endif
