/* The agent's parts put together: keys, what is kept, reconciler, activation or management
 * connection, console. One loop, one thread. */
#ifndef HF_GATEWAY_AGENT_AGENT_H
#define HF_GATEWAY_AGENT_AGENT_H

#include <uv.h>

#include "base/conf.h"

struct hf_agent_config {
	char *run_dir;
	char *state_dir;
	char *activation;   /* host:port of the activation endpoint */
	char *portal;       /* addr:port to open last */
	uint64_t local_uid; /* may have made volumed's and the broker's sockets */
	char *provider;     /* host:port instead of the endpoints that were issued; "" for those */
};
extern const struct hf_conf_key hf_agent_keys[];

/* 0 or HF_EINVAL and which key. */
int hf_agent_check_config(const struct hf_agent_config *config, struct hf_errmsg *message);

struct hf_agent;

/* `config` must outlive it. What a failure leaves open closes as the loop runs on. */
int hf_agent_open(uv_loop_t *loop, const struct hf_agent_config *config, struct hf_agent **agent,
		  struct hf_errmsg *message);
void hf_agent_close(struct hf_agent *agent, void (*closed)(void *context), void *context);

#endif
