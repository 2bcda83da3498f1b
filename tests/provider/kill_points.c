/* Kills the provider at one call of one function: "function:before|after:count" in
 * HOLDFAST_KILL_AT. The linker puts these in front of the real ones (--wrap) in the program that
 * the tests run; none of it is in what is shipped. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/session.h"
#include "provider/control/actions.h"

static void reached(const char *function, const char *when)
{
	static unsigned count;
	const char *wanted = getenv("HOLDFAST_KILL_AT");
	char name[64], at[16];
	unsigned number;

	if (!wanted || sscanf(wanted, "%63[^:]:%15[^:]:%u", name, at, &number) != 3 ||
	    strcmp(name, function) != 0 || strcmp(at, when) != 0)
		return;
	if (++count == number)
		raise(SIGKILL);
}

#define WRAP(function, parameters, arguments)                                                      \
	int __real_##function parameters;                                                          \
	int __wrap_##function parameters;                                                          \
	int __wrap_##function parameters                                                           \
	{                                                                                          \
		int result;                                                                        \
                                                                                                   \
		reached(#function, "before");                                                      \
		result = __real_##function arguments;                                              \
		reached(#function, "after");                                                       \
		return result;                                                                     \
	}

WRAP(hf_registry_action_add,
     (struct hf_registry * reg, struct hf_reg_action *action, uint64_t now_ms),
     (reg, action, now_ms))
WRAP(hf_registry_action_signed,
     (struct hf_registry * reg, uint64_t number, uint64_t sequence, const uint8_t *packet,
      size_t length),
     (reg, number, sequence, packet, length))
WRAP(hf_registry_action_next,
     (struct hf_registry * reg, uint64_t gateway, struct hf_reg_action *action),
     (reg, gateway, action))
WRAP(hf_registry_action_sent,
     (struct hf_registry * reg, uint64_t number, uint64_t gateway, uint64_t epoch),
     (reg, number, gateway, epoch))
WRAP(hf_registry_action_end,
     (struct hf_registry * reg, uint64_t epoch, const struct hf_reg_action *action,
      uint64_t now_ms),
     (reg, epoch, action, now_ms))
WRAP(hf_registry_action_forgettable, (struct hf_registry * reg, uint64_t gateway, uint64_t *number),
     (reg, gateway, number))
WRAP(hf_registry_action_forgotten, (struct hf_registry * reg, uint64_t gateway, uint64_t number),
     (reg, gateway, number))

void __real_hf_signer_ask(struct hf_signer_client *client, const Holdfast__SignerRequest *request,
			  void (*answered)(void *context, int err, const char *reason,
					   const Holdfast__SignerAnswer *answer),
			  void *context);
void __wrap_hf_signer_ask(struct hf_signer_client *client, const Holdfast__SignerRequest *request,
			  void (*answered)(void *context, int err, const char *reason,
					   const Holdfast__SignerAnswer *answer),
			  void *context);
void __wrap_hf_signer_ask(struct hf_signer_client *client, const Holdfast__SignerRequest *request,
			  void (*answered)(void *context, int err, const char *reason,
					   const Holdfast__SignerAnswer *answer),
			  void *context)
{
	bool actions = request->kind_case == HOLDFAST__SIGNER_REQUEST__KIND_BATCH &&
		       request->batch->n_orders > 0 &&
		       request->batch->orders[0]->kind_case == HOLDFAST__SIGNER_ORDER__KIND_ACTION;

	if (actions)
		reached("hf_signer_ask", "before");
	__real_hf_signer_ask(client, request, answered, context);
	if (actions)
		reached("hf_signer_ask", "after");
}
