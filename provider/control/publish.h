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
/* Why the newest desired state has no document yet; "" if nothing stands in the way. Valid until
 * the loop turns. */
const char *hf_publish_obstacle(struct hf_control *control);

#endif
