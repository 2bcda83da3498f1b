/* The volumes that volumed remembers, and the changes it is asked for: each goes through the core
 * and is written to STATE_DIR before it is answered. Changes of one volume run one after the other,
 * except that a forced detach overtakes a detach that drains. The loop's thread; files are written
 * on a worker's, one at a time. */
#ifndef HF_GATEWAY_VOLUMED_VOLUMES_H
#define HF_GATEWAY_VOLUMED_VOLUMES_H

#include "gateway/volumed/alarms.h"
#include "gateway/volumed/state.h"

#define HF_CHANGES_MAX 4096u /* under way and waiting; more are HF_EBUSY */

struct hf_volumes;

/* A volume as it is remembered. */
struct hf_known_volume {
	struct hf_list link, bucket;
	struct hf_volume_config config;
	bool detached;
	void *kept; /* what its shims left here, `kept_bytes` of it */
	uint32_t kept_bytes;
	int kept_error; /* why that cannot be read */
	int error; /* why it is not served: its state file, or its attach at the start, failed */
	struct hf_errmsg reason;
};

/* `state` and `alarms` outlive it. NULL: out of memory. */
struct hf_volumes *hf_volumes_create(const struct hf_state *state, struct hf_alarms *alarms);
/* The core is open. */
void hf_volumes_start(struct hf_volumes *volumes, struct hf_env *env, struct hf_core *core);
/* Reads what STATE_DIR remembers and attaches what was attached, without waiting for it. */
int hf_volumes_restore(struct hf_volumes *volumes, struct hf_errmsg *message);

/* Attach, detach or remove. `done` exactly once, later or from inside. */
void hf_volumes_change(struct hf_volumes *volumes, const struct hf_control_request *request,
		       void (*done)(void *context, int status, const struct hf_errmsg *message),
		       void *context);

/* What a volume's shims left here: replaced, durably, and looked at. It goes with the volume's
 * detachment, because sessions and keys of another gateway's tgtd are others. HF_ENOTREADY: the
 * volume is not attached; HF_EBUSY: something is being kept for it. `done` as above; the bytes are
 * valid until the loop turns. */
void hf_volumes_keep(struct hf_volumes *volumes, uint64_t volume, const void *bytes,
		     uint32_t length, void (*done)(void *owner, int status), void *owner);
int hf_volumes_recall(const struct hf_volumes *volumes, uint64_t volume, const void **bytes,
		      uint32_t *length);

/* Ends what waits with HF_ECANCELED and takes nothing more; what is in the core ends with it. */
void hf_volumes_stop(struct hf_volumes *volumes);
/* No change is under way: the core and the environment are closed. */
void hf_volumes_destroy(struct hf_volumes *volumes);

/* NULL if it is not remembered. */
const struct hf_known_volume *hf_volumes_find(const struct hf_volumes *volumes, uint64_t volume);
/* Head of a list of hf_known_volume. */
const struct hf_list *hf_volumes_known(const struct hf_volumes *volumes);

#endif
