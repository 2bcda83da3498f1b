/* One-shot actions at the provider: requested and stored first, then signed, then sent by whoever
 * holds the gateway, again and again under the same number until it says what became of it; stored;
 * then the gateway may forget it. So one that was accepted is never lost, and the gateway does none
 * twice (invariant 4). Loop's thread. */
#ifndef HF_PROVIDER_CONTROL_ACTIONS_H
#define HF_PROVIDER_CONTROL_ACTIONS_H

#include <jansson.h>

#include "proto/action.pb-c.h"
#include "proto/document.pb-c.h"
#include "provider/control/channel.h"

/* Requests an action; kind, tgtd and expires_ms (since 1970, 0: never) of `action` are the
 * caller's. Its number is set. HF_EBUSY and others with why. */
int hf_action_request(struct hf_control *control, const char *who,
		      const struct hf_reg_gateway *gateway, struct hf_reg_action *action,
		      struct hf_errmsg *message);
/* The same for a dry run of this document, whose secrets are left out. The gateway must be held. */
int hf_action_plan(struct hf_control *control, const char *who,
		   const struct hf_reg_gateway *gateway, Holdfast__Document *document,
		   struct hf_reg_action *action, struct hf_errmsg *message);
/* Nobody holds the gateway, as far as the registry knows. */
bool hf_action_away(struct hf_control *control, const struct hf_reg_gateway *gateway);
/* Its JSON object; a new reference. */
json_t *hf_action_json(struct hf_control *control, const struct hf_reg_action *action);
/* "restart-target" and so on; 0: none of that name. */
const char *hf_action_kind_text(uint32_t kind);

/* Signs what is not signed, ends what is too late. */
void hf_actions_tick(struct hf_control *control);

/* There may be one to send to, or to be forgotten by, this gateway. */
void hf_actions_check(struct hf_channel *channel);
/* True if the answer was to a request of actions. */
bool hf_actions_answered(struct hf_channel *channel, const struct hf_session_event *event);

#endif
