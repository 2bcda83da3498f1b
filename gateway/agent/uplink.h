/* The management connection at the gateway: dials, says Connect once, and from then on only answers
 * what it is asked and reports what was subscribed to (invariant 3); and beside it a standby that
 * takes over at once when it is lost. Loop's thread. */
#ifndef HF_GATEWAY_AGENT_UPLINK_H
#define HF_GATEWAY_AGENT_UPLINK_H

#include <uv.h>

#include "gateway/agent/actions.h"
#include "gateway/agent/desired.h"
#include "gateway/agent/events.h"
#include "gateway/agent/trust.h"
#include "net/proxy.h"

struct hf_uplink;

struct hf_uplink_config {
	uv_loop_t *loop;
	const struct hf_kept *kept;
	struct hf_trust *trust; /* outlives it */
	const char *provider;   /* host:port, … instead of the issued endpoints; "" for those */
	const struct hf_proxy *proxy; /* NULL: none; copied */
	struct hf_events *events;
	struct hf_desired *desired;
	struct hf_actions *actions;
	struct hf_network *network; /* whose settings are used */
};

struct hf_uplink_status {
	const char *state; /* connecting, held, parked, waiting */
	uint64_t epoch;
	const char *endpoint; /* host:port of that connection; "": none */
	const char *standby;  /* of the standby; "": none */
	const char *last_error;
	bool provider_clock_known;
	int64_t provider_ahead_ms; /* its clock against ours, at the last Held */
};

int hf_uplink_open(const struct hf_uplink_config *config, struct hf_uplink **out,
		   struct hf_errmsg *message);
void hf_uplink_status(const struct hf_uplink *uplink, struct hf_uplink_status *status);
/* A volume's state changed: a report soon, if one was subscribed to. */
void hf_uplink_changed(struct hf_uplink *uplink);
/* The reconciler knows how things stand now, as a subscription's first report asked. */
void hf_uplink_looked(struct hf_uplink *uplink);
/* Other network settings are in force: connects anew, with them. */
void hf_uplink_network_changed(struct hf_uplink *uplink);
/* An action that was under way has ended: whoever asked is told. */
void hf_uplink_action_ended(struct hf_uplink *uplink, const Holdfast__ActionResult *result);
void hf_uplink_close(struct hf_uplink *uplink, void (*closed)(void *context), void *context);

#endif
