/* The administrator's changes of desired state: each one transaction of the registry (volume,
 * placements, generation, audit), after which the document is published. Loop's thread. */
#ifndef HF_PROVIDER_CONTROL_VOLUMES_H
#define HF_PROVIDER_CONTROL_VOLUMES_H

#include "proto/document.pb-c.h"
#include "provider/control/control.h"

/* By id or name; HF_ENOENT with what is missing. A volume that is gone is not found. */
int hf_find_gateway(struct hf_control *control, const char *text, struct hf_reg_gateway *gateway,
		    struct hf_errmsg *message);
int hf_find_volume(struct hf_control *control, const char *text, struct hf_reg_volume *volume,
		   struct hf_errmsg *message);

/* While control->dry_run is set, what follows changes nothing: it gives the document that the
 * change would make. */
struct hf_dry_run {
	Holdfast__Document *document; /* NULL: nothing would change */
};

/* A name that is free, at an active gateway with room; HF_EEXIST, HF_EACCES, HF_ENOSPC. */
int hf_volume_may_create(struct hf_control *control, const char *name,
			 const struct hf_reg_gateway *gateway, struct hf_errmsg *message);
/* `volume` is complete but for target, LUN and epoch. */
int hf_volume_create(struct hf_control *control, const char *who, struct hf_reg_volume *volume,
		     struct hf_errmsg *message);
/* HF_EBUSY: not detached, or at a gateway that was revoked, whose upload buffer goes with it: that
 * takes `force`. The gateway may be another one; the attach epoch goes up. */
int hf_volume_attach(struct hf_control *control, const char *who, struct hf_reg_volume *volume,
		     const struct hf_reg_gateway *gateway, bool force, struct hf_errmsg *message);
/* Nothing to do if it is detached already. */
int hf_volume_detach(struct hf_control *control, const char *who, struct hf_reg_volume *volume,
		     struct hf_errmsg *message);
/* HF_EINVAL: smaller than it is; HF_EBUSY: still being created. Nothing to do if it has the size.
 * `attached`: initiators will see it. */
int hf_volume_grow(struct hf_control *control, const char *who, struct hf_reg_volume *volume,
		   uint64_t size_bytes, bool *attached, struct hf_errmsg *message);
/* Other CHAP secrets, made from `from`, which the volume still has (HF_EBUSY: not any more).
 * An empty mutual_user stays what it is. `attached`: a gateway will be told. */
struct hf_volume_chap {
	const char *user, *mutual_user;
	const uint8_t *from, *secrets;
	size_t from_length, secrets_length;
};
int hf_volume_chap(struct hf_control *control, const char *who, struct hf_reg_volume *volume,
		   const struct hf_volume_chap *chap, bool *attached, struct hf_errmsg *message);
/* HF_EBUSY while initiators are logged in, unless forced. */
int hf_volume_delete(struct hf_control *control, const char *who, struct hf_reg_volume *volume,
		     bool force, struct hf_errmsg *message);

#endif
