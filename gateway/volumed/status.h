/* The answer to a status question, put together from the core, the volumes that are remembered and
 * the alarms. The loop's thread. */
#ifndef HF_GATEWAY_VOLUMED_STATUS_H
#define HF_GATEWAY_VOLUMED_STATUS_H

#include "gateway/volumed/logs.h"
#include "gateway/volumed/volumes.h"

struct hf_status_source {
	struct hf_core *core;
	const struct hf_volumes *volumes;
	const struct hf_alarms *alarms;
	const struct hf_logs *logs;
	unsigned rings;
	bool store_in_use;
};

/* Every volume of the core, then those that are remembered only: detached, or not to be served
 * because of what `reason` says. Never NULL. */
Holdfast__VolumedStatus *hf_status_create(const struct hf_status_source *source);
void hf_status_free(Holdfast__VolumedStatus *status);

#endif
