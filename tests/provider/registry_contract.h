/* The contract of provider/registry/registry.h as tests that any implementation runs: it gives the
 * functions below, and its main calls registry_contract_run. */
#ifndef HF_TESTS_PROVIDER_REGISTRY_CONTRACT_H
#define HF_TESTS_PROVIDER_REGISTRY_CONTRACT_H

#include "provider/registry/registry.h"

struct registry_implementation {
	const char *name;
	/* An empty place for a database; called before each test. */
	void (*prepare)(void);
	/* Opens what is at the place, also again after a close. */
	int (*open)(uint64_t now_ms, struct hf_registry **reg, struct hf_errmsg *message);
	/* Takes the place away. */
	void (*clean)(void);
};

/* Of lost gateways and alerts: registry_contract_alerts.c, part of the run. */
int registry_contract_alerts(const struct registry_implementation *implementation);
int registry_contract_run(const struct registry_implementation *implementation);
/* Part of it, in a file of its own: what several processes need. */
int registry_contract_processes(const struct registry_implementation *implementation);
/* Part of it, in a file of its own: what holders of connections need. */
int registry_contract_holders(const struct registry_implementation *implementation);
/* Part of it, in a file of its own: who a gateway is. */
int registry_contract_identity(const struct registry_implementation *implementation);

#endif
