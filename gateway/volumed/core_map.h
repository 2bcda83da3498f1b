/* The remote map as the core sees it (core_map.c): leaves that are not in memory, and the
 * checkpoint that a detach leaves behind. Core's thread. */
#ifndef HF_GATEWAY_VOLUMED_CORE_MAP_H
#define HF_GATEWAY_VOLUMED_CORE_MAP_H

#include "gateway/volumed/core_internal.h"

/* True if what the read needs of the remote map is in memory; else it is being loaded, and
 * hf_core_read_loaded goes on. */
bool hf_core_map_is_there(struct hf_core_read *read);
/* core_read.c: 0, and the read looks again; else it ends so. */
void hf_core_read_loaded(struct hf_core_read *read, int status);
/* Loads the leaf at `at`; hf_core_lba_status_loaded goes on. */
void hf_core_map_load_for_status(struct hf_core_read *read, uint64_t at);
/* core_read.c: what a request is answered when the remote side gave `status`. */
int hf_core_status_from_remote(const struct hf_core_volume *volume, int status);
/* core_query.c */
void hf_core_lba_status_loaded(struct hf_core_read *read, int status);
/* True if a volume that is leaving has a checkpoint, or will not get one; else asks for it. */
bool hf_core_map_is_checkpointed(struct hf_core_volume *volume);

#endif
