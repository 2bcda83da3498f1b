/* Gateways that are turned away until somebody decides, or for good (claimants.c). Loop's thread.
 */
#ifndef HF_PROVIDER_CONTROL_CLAIMANTS_H
#define HF_PROVIDER_CONTROL_CLAIMANTS_H

#include "provider/control/channel.h"

/* Is this the machine that last kept a token of this gateway? Within the transaction that grants.
 * HF_EAUTH with the reason that it is told: it is not, or another one may be, and it is noted. */
int hf_claimants_check(struct hf_channel *channel, struct hf_errmsg *why);
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
