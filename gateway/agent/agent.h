/* The agent's parts put together: keys, what is kept, reconciler, activation or management
 * connection, console. One loop, one thread. */
#ifndef HF_GATEWAY_AGENT_AGENT_H
#define HF_GATEWAY_AGENT_AGENT_H

#include <stdbool.h>
#include <uv.h>

#include "base/conf.h"
#include "net/proxy.h"

struct hf_agent_config {
	char *run_dir;
	char *state_dir;
	char *activation;   /* host:port of the activation endpoint, or several */
	char *portal;       /* addr:port to open last */
	uint64_t local_uid; /* may have made volumed's and the broker's sockets */
	char *provider; /* host:port, or several, instead of the endpoints issued; "" for those */
	char *proxy;    /* http://host:port; "" for none */
	char *proxy_credentials; /* file with user:password; "" for none */
	char *metrics_listen;    /* addr:port; "": not served */
};
extern const struct hf_conf_key hf_agent_keys[];

/* 0 or HF_EINVAL and which key. */
int hf_agent_check_config(const struct hf_agent_config *config, struct hf_errmsg *message);

/* The proxy of the configuration, or false: none. Checked before. */
bool hf_agent_proxy(const struct hf_agent_config *config, struct hf_proxy *proxy);

struct hf_agent;

/* `config` must outlive it. What a failure leaves open closes as the loop runs on. */
int hf_agent_open(uv_loop_t *loop, const struct hf_agent_config *config, struct hf_agent **agent,
		  struct hf_errmsg *message);
void hf_agent_close(struct hf_agent *agent, void (*closed)(void *context), void *context);

#endif
