/* What people see of volumes and gateways: the state derived from what is desired and what was
 * reported, and the JSON objects of it (docs/protocol/provider.md names the fields). Loop's thread.
 */
#ifndef HF_PROVIDER_CONTROL_STATUS_H
#define HF_PROVIDER_CONTROL_STATUS_H

#include <jansson.h>

#include "provider/control/control.h"

enum hf_status {
	HF_STATUS_CREATING,
	HF_STATUS_AVAILABLE,
	HF_STATUS_ATTACHING,
	HF_STATUS_DETACHING,
	HF_STATUS_DETACHED,
	HF_STATUS_DELETING,
	HF_STATUS_FAILED,
};
const char *hf_status_text(enum hf_status status);

/* The state of a volume at the gateway it is placed on: pure. `created`: its objects exist. */
enum hf_status hf_status_derive(const struct hf_reg_placement *placement, bool created);

/* State and, in `reason` (HF_REG_REASON_MAX + 1 bytes), why it is not what is desired. Fills
 * `placement` with the newest report. */
int hf_status_of_volume(struct hf_control *control, const struct hf_reg_volume *volume,
			struct hf_reg_placement *placement, enum hf_status *status, char *reason);

/* New references, NULL if the registry does not answer or memory is out. */
json_t *hf_status_volume_json(struct hf_control *control, const struct hf_reg_volume *volume);
json_t *hf_status_gateway_json(struct hf_control *control, const struct hf_reg_gateway *gateway);
json_t *hf_status_info_json(struct hf_control *control);

/* A time since 1970 as people write it; null for 0. */
void hf_status_set_time(json_t *object, const char *key, uint64_t at_ms);

#endif
