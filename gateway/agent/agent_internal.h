/* What agent.c and console.c share. */
#ifndef HF_GATEWAY_AGENT_AGENT_INTERNAL_H
#define HF_GATEWAY_AGENT_AGENT_INTERNAL_H

#include "gateway/agent/activate.h"
#include "gateway/agent/agent.h"
#include "gateway/agent/trust.h"
#include "gateway/agent/uplink.h"
#include "net/http.h"
#include "net/local.h"

#define HF_AGENT_MAGIC 0x4147454eu

struct hf_agent {
	uint32_t magic;
	uv_loop_t *loop;
	const struct hf_agent_config *config;
	struct hf_proxy proxy; /* if proxied */
	bool proxied;
	struct hf_kept kept;
	int lock_fd;
	struct hf_sign_key identity;
	struct hf_seal_key sealing;
	struct hf_reconciler *reconciler;
	struct hf_desired desired;
	struct hf_events events;
	uv_timer_t event_timer;
	bool event_timer_open;
	struct hf_actions *actions;       /* since it is activated */
	struct hf_network *network;       /* the same */
	struct hf_activation *activation; /* until activated */
	struct hf_trust trust;            /* since then */
	struct hf_uplink *uplink;
	struct hf_local_server *console;
	struct hf_http *metrics; /* NULL: not served */
	bool closing;
	unsigned open; /* parts not yet closed */
	void (*closed)(void *context);
	void *closed_context;
};

/* console.c: RUN_DIR/agent.sock */
int hf_console_open(struct hf_agent *agent, struct hf_errmsg *message);

#endif
