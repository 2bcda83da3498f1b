/* Gateways that are turned away until somebody decides, or for good (claimants.c). Loop's thread.
 */
#ifndef HF_PROVIDER_CONTROL_CLAIMANTS_H
#define HF_PROVIDER_CONTROL_CLAIMANTS_H

#include "provider/control/channel.h"
#include "provider/registry/grants.h"

/* Is this the machine that last kept a token of this gateway? As looked at for a grant. Else it is
 * a suspect: parked and asked for a sign of life, because what it said may come from a
 * run of the gateway that ended meanwhile. 0, or HF_ENOTREADY: nobody can judge its token before
 * the signer has answered once. */
int hf_claimants_check(struct hf_channel *channel, struct hf_reg_grant *grant);
/* A suspect is alive: it is noted, and sent away with the reason. False: it is none. */
bool hf_claimants_answered(struct hf_channel *channel, const struct hf_session_event *event);
/* Once a second: ends the connections of those that were barred meanwhile, here or elsewhere. */
void hf_claimants_tick(struct hf_control *control);

/* ---- The administrator's requests; each answers ---- */

void hf_claimants_revoke(struct hf_control *control, struct hf_local_request *request,
			 const char *gateway);
void hf_claimants_list(struct hf_control *control, struct hf_local_request *request,
		       const char *gateway);
void hf_claimants_accept(struct hf_control *control, struct hf_local_request *request,
			 const Holdfast__AdminAccept *accept);

#endif
