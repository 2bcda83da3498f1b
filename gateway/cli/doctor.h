/* `holdfast-gateway doctor`: looks at each hop between this gateway and its provider, then at what
 * runs here, and says which one fails and what to do. It changes nothing: it makes a TLS connection
 * of its own to the provider, says nothing on it and leaves; what became of the gateway's
 * connection the agent says. One libuv loop, main thread. */
#ifndef HF_GATEWAY_CLI_DOCTOR_H
#define HF_GATEWAY_CLI_DOCTOR_H

#include <stdbool.h>

#include "gateway/agent/agent.h"
#include "gateway/agent/kept.h"
#include "net/dial.h"
#include "net/hop.h"

#define HF_DOCTOR_LOCAL_STATUS                                                                     \
	18 /* exit status: the provider is reached, a part here is not well */
#define HF_DOCTOR_CHECKS_MAX 32u

enum hf_doctor_result { HF_DOCTOR_GOOD, HF_DOCTOR_WARNING, HF_DOCTOR_SKIPPED, HF_DOCTOR_FAILED };

struct hf_doctor_check {
	const char *name;
	enum hf_doctor_result result;
	char text[700];
	const char *advice; /* NULL: the text says it */
};

struct hf_doctor {
	const char *config_path;
	struct hf_agent_config config;
	bool config_read;
	/* What the gateway is: from STATE_DIR. */
	bool activated;
	Holdfast__ActivateIssued *issued;
	struct hf_sign_key identity;
	struct hf_endpoints endpoints;
	struct hf_proxy proxy;
	bool proxied;
	/* doctor_probe.c: the hop at which the own connection failed; HF_HOP_COUNT: at none. */
	enum hf_hop failed_hop;
	int64_t proxy_date_s;
	int failed_status; /* exit status of the first check that failed; 0: none has */
	const char *failed_name;
	struct hf_doctor_check checks[HF_DOCTOR_CHECKS_MAX];
	unsigned count;
};

/* Adds a check; `status` is the program's exit status if it is the first that failed. */
void hf_doctor_say(struct hf_doctor *doctor, const char *name, enum hf_doctor_result result,
		   int status, const char *advice, const char *format, ...)
	__attribute__((format(printf, 6, 7)));
void hf_doctor_say_hop(struct hf_doctor *doctor, enum hf_hop hop, enum hf_doctor_result result,
		       const char *advice, const char *text);

/* doctor_probe.c: DNS, TCP, proxy, TLS; needs `endpoints`. */
void hf_doctor_probe(struct hf_doctor *doctor);
/* doctor_clock.c: this machine's clock against certificate, proxy and kernel. */
void hf_doctor_clock(struct hf_doctor *doctor);
/* doctor_local.c: authorization and the provider's answer as the agent heard them; then agent,
 * volumed, brokers and the logs' disks. */
void hf_doctor_agent(struct hf_doctor *doctor);
void hf_doctor_local(struct hf_doctor *doctor);

#endif
