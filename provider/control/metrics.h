/* What holdfast-provider counts about itself, and its page for Prometheus
 * (docs/operations/metrics.md). Loop's thread. */
#ifndef HF_PROVIDER_CONTROL_METRICS_H
#define HF_PROVIDER_CONTROL_METRICS_H

#include <stdint.h>

#include "base/metrics.h"

#define HF_COUNTED_KINDS 8u

struct hf_channel;
struct hf_control;
struct hf_session_event;

enum hf_request_result { HF_RESULT_GOOD, HF_RESULT_REFUSED, HF_RESULT_LOST, HF_RESULT_COUNT };

/* Since the start. */
struct hf_counts {

	uint64_t held;        /* epochs granted here */
	uint64_t turned_away; /* answered with Retry */
	uint64_t reports;     /* of gateways */
	uint64_t requests[HF_COUNTED_KINDS][HF_RESULT_COUNT];
	struct hf_latency answers;       /* of requests that were answered */
	uint64_t events, events_dropped; /* of gateways; that made room here */
	/* Of lost gateways: raised here; told by the webhook here, given up, crowded out. */
	uint64_t alarms_raised, alarms_sent, alarms_failed, alarms_dropped;
};

/* A request of this kind (Holdfast__Request__KindCase) was sent; its end is counted. */
void hf_counts_asked(struct hf_channel *channel, uint64_t request, int kind);
void hf_counts_answered(struct hf_channel *channel, const struct hf_session_event *event);

/* The page at /metrics; malloc'ed. NULL: another path, or no memory. For hf_http_config. */
char *hf_control_metrics_page(void *control, const char *path, size_t *length);

#endif
