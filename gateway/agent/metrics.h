/* The gateway's page for Prometheus (docs/operations/metrics.md), from what the agent knows anyway:
 * volumed's and the brokers' last answers, and its own connection. Loop's thread. */
#ifndef HF_GATEWAY_AGENT_METRICS_H
#define HF_GATEWAY_AGENT_METRICS_H

#include <stddef.h>

/* The page at /metrics; malloc'ed. NULL: another path, or no memory. For hf_http_config; `agent` is
 * a struct hf_agent. */
char *hf_agent_metrics_page(void *agent, const char *path, size_t *length);

#endif
