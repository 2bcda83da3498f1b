/* Publishing: see publish.c. Loop's thread. */
#ifndef HF_PROVIDER_CONTROL_PUBLISH_H
#define HF_PROVIDER_CONTROL_PUBLISH_H

#include "proto/document.pb-c.h"
#include "provider/control/control.h"

/* Signs everything that is not signed yet. */
void hf_publish_tick(struct hf_control *control);
/* The same for one gateway, whose desired state was just committed. */
void hf_publish_gateway(struct hf_control *control, uint64_t gateway);
/* After the signer's client was closed. */
void hf_publish_close(struct hf_control *control);
/* The whole desired state of a gateway as a document; freed with
 * holdfast__document__free_unpacked(…, NULL). */
int hf_publish_build(struct hf_control *control, const struct hf_reg_gateway *gateway,
		     Holdfast__Document **document);
/* The newest document of a gateway, as it was signed; freed in the same way. HF_ENOENT. */
int hf_publish_newest(struct hf_control *control, uint64_t gateway, Holdfast__Document **document);
/* Before a document is put into the registry, in the same transaction: keeps its difference to the
 * one there, if that is worth it. */
int hf_publish_delta(struct hf_control *control, const struct hf_reg_document *next);
/* Why the newest desired state has no document yet; "" if nothing stands in the way. Valid until
 * the loop turns. */
const char *hf_publish_obstacle(struct hf_control *control);

#endif
