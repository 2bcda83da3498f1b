/* Signing one-shot actions and confirmations: bound to tenant, gateway, the next sequence of this
 * gateway and the hash of what is inside. Asked again, the same action gets a higher sequence;
 * only what the provider stored is sent, and the gateway knows an action by its number. Signer's
 * thread. */
#include "provider/signer/signer_internal.h"

#include <inttypes.h>
#include <stdbool.h>

#include "proto/action.pb-c.h"

#define ACTION_MAX         (4u << 20)   /* bytes */
#define SEQUENCES_LOST_MAX (1ull << 32) /* a ledger that was restored lacks no more */

static int check_content(const Holdfast__SignerAction *order, Holdfast__Change *change,
			 struct hf_errmsg *reason)
{
	Holdfast__Confirmation *confirmation = NULL;
	Holdfast__Action *action = NULL;
	bool good = false;

	if (order->kind_case == HOLDFAST__SIGNER_ACTION__KIND_ACTION &&
	    order->action.len <= ACTION_MAX) {
		action = holdfast__action__unpack(NULL, order->action.len, order->action.data);
		good = action && action->action != 0;
		change->kind_case = HOLDFAST__CHANGE__KIND_ACTION;
		change->action = order->action;
	} else if (order->kind_case == HOLDFAST__SIGNER_ACTION__KIND_CONFIRMATION &&
		   order->confirmation.len <= ACTION_MAX) {
		confirmation = holdfast__confirmation__unpack(NULL, order->confirmation.len,
							      order->confirmation.data);
		good = confirmation && confirmation->hash.len == HF_HASH_BYTES;
		change->kind_case = HOLDFAST__CHANGE__KIND_CONFIRMATION;
		change->confirmation = order->confirmation;
	}
	holdfast__action__free_unpacked(action, NULL);
	holdfast__confirmation__free_unpacked(confirmation, NULL);
	return good ? 0 : hf_fail(reason, HF_EINVAL, "neither an action nor a confirmation");
}

uint64_t hf_signer_next_sequence(uint64_t last, uint64_t floor)
{
	return (floor > last && floor - last <= SEQUENCES_LOST_MAX ? floor : last) + 1;
}

static int sign(struct hf_signer *signer, Holdfast__SignerLedger *ledger,
		const Holdfast__SignerAction *order, struct hf_signer_result *result)
{
	Holdfast__Change change = HOLDFAST__CHANGE__INIT;
	int err;

	if (ledger->tenant != order->tenant)
		return hf_fail(&result->reason, HF_EAUTH, "sgw-%016" PRIx64 " is another tenant's",
			       order->gateway);
	if (ledger->revoked)
		return hf_fail(&result->reason, HF_EACCES, "sgw-%016" PRIx64 " was revoked",
			       order->gateway);
	change.tenant = order->tenant;
	change.gateway = order->gateway;
	ledger->sequence = hf_signer_next_sequence(ledger->sequence, order->sequence_floor);
	change.sequence = ledger->sequence;
	err = check_content(order, &change, &result->reason);
	if (!err)
		err = hf_change_sign_with(signer->signing, &change, &result->signed_change,
					  &result->signed_change_length);
	return err ? err : hf_ledger_store(signer->ledger, ledger, &result->reason);
}

int hf_signer_action(struct hf_signer *signer, const Holdfast__SignerAction *order,
		     struct hf_signer_result *result)
{
	Holdfast__SignerLedger *ledger;
	int err = hf_ledger_load(signer->ledger, order->gateway, &ledger, &result->reason);

	if (err == HF_ENOENT)
		return hf_fail(&result->reason, err,
			       "no certificate was ever issued to sgw-%016" PRIx64, order->gateway);
	if (err)
		return err;
	err = sign(signer, ledger, order, result);
	holdfast__signer_ledger__free_unpacked(ledger, NULL);
	return err;
}
