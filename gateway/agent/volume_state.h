/* What is reported of a volume, pure: from its entry, what is there, and the last trouble. */
#ifndef HF_GATEWAY_AGENT_VOLUME_STATE_H
#define HF_GATEWAY_AGENT_VOLUME_STATE_H

#include "gateway/agent/plan.h"
#include "proto/channel.pb-c.h"

struct hf_trouble {
	int error; /* HF_E…, 0: none */
	const char *reason;
};

/* Fills in a report of the entry or (entry NULL) the tombstone. `plan` is the present one: what is
 * still to be done is not reported as done. `portal`: where its tgtd
 * listens, NULL while it does not, because nobody can log in before it does.
 * Strings point into the arguments. */
void hf_volume_state_of(const Holdfast__Volume *entry, const Holdfast__Tombstone *tombstone,
			const struct hf_done *done, const struct hf_actual *actual,
			const struct hf_plan *plan, const char *portal,
			const struct hf_trouble *trouble, Holdfast__VolumeReport *report);

#endif
