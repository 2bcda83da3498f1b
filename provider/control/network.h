/* How a gateway is to reach the provider: settings of its document, which the gateway tries before
 * they count, and the signed confirmation once it was heard over them. Loop's thread. */
#ifndef HF_PROVIDER_CONTROL_NETWORK_H
#define HF_PROVIDER_CONTROL_NETWORK_H

#include "proto/document.pb-c.h"
#include "proto/provider.pb-c.h"
#include "provider/control/channel.h"

/* New settings of a gateway, which were validated: answers the request, when the signer has
 * encrypted what is secret of them. Its next generation carries them. */
void hf_network_set(struct hf_control *control, struct hf_local_request *request,
		    const Holdfast__AdminNetwork *settings);
/* Before the signer's client is closed. */
void hf_network_set_close(struct hf_control *control);
/* Those of this gateway for a document, freed with it; NULL in `*settings`: none were ever set. */
int hf_network_entry(struct hf_control *control, uint64_t gateway, Holdfast__Network **settings);
/* What the gateway reports of them; confirms what is proved. `report` may be NULL. */
void hf_network_reported(struct hf_channel *channel, const Holdfast__NetworkReport *report);
/* Once a second: what could not be confirmed yet. */
void hf_network_tick(struct hf_channel *channel);
/* True if the answer was to a confirmation. */
bool hf_network_answered(struct hf_channel *channel, const struct hf_session_event *event);
/* "confirmed" and so on. */
const char *hf_network_state_text(uint32_t state);

#endif
