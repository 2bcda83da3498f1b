/* Activation at the gateway (docs/protocol/activation.md): connects to the activation endpoint,
 * shows the key, lets the owner refuse, and checks and keeps what is issued. Dials again until it
 * is activated. Loop's thread. */
#ifndef HF_GATEWAY_AGENT_ACTIVATE_H
#define HF_GATEWAY_AGENT_ACTIVATE_H

#include <uv.h>

#include "gateway/agent/kept.h"
#include "net/activation_key.h"
#include "net/proxy.h"

struct hf_activation;

struct hf_activation_config {
	uv_loop_t *loop;
	const char *endpoints;        /* host:port, … */
	const struct hf_proxy *proxy; /* NULL: none; copied */
	const char *portal;           /* host:port, told to the provider */
	const struct hf_kept *kept;
	const struct hf_sign_key *identity;
	const struct hf_seal_key *sealing;
	/* Checked and kept. The callee closes the activation. */
	void (*issued)(void *context);
	void *context;
};

/* For the console; pointers live until the next event. */
struct hf_activation_status {
	const char *state; /* activating, offered, claimed, refused, expired */
	const char *key;   /* "" unless offered or claimed */
	const char *claimed_by;
	const char *last_error;
};

int hf_activation_open(const struct hf_activation_config *config, struct hf_activation **out,
		       struct hf_errmsg *message);
void hf_activation_status(const struct hf_activation *activation,
			  struct hf_activation_status *status);
/* The owner does not want this claim; a new key follows. HF_ENOTREADY: nothing to refuse. */
int hf_activation_refuse(struct hf_activation *activation, const char *reason);
void hf_activation_close(struct hf_activation *activation, void (*closed)(void *context),
			 void *context);

#endif
