/* Many orders in one question, remembered with one sync: each stands for itself, so that one which
 * is refused holds up none of the others. Signer's thread. */
#include "provider/signer/signer_internal.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "net/local.h"

#define ANSWER_BYTES  (HF_LOCAL_FRAME_MAX - 16384u) /* the rest is for keys and frame */
#define RESULT_MARGIN 32u                           /* tags and lengths of one result */
#define REASON_MAX    sizeof((struct hf_errmsg *)0)->text

static int sign_one(struct hf_signer *signer, const Holdfast__SignerOrder *order,
		    struct hf_signer_result *one)
{
	switch (order->kind_case) {
	case HOLDFAST__SIGNER_ORDER__KIND_DOCUMENT:
		return hf_signer_document(signer, order->document, one);
	case HOLDFAST__SIGNER_ORDER__KIND_ACTION:
		return hf_signer_action(signer, order->action, one);
	default:
		return hf_fail(&one->reason, HF_EUNSUPPORTED, "unknown order to the signer");
	}
}

/* About as many bytes as its answer will have. */
static size_t size_of(const Holdfast__SignerOrder *order)
{
	return holdfast__signer_order__get_packed_size(order) + 256u + REASON_MAX;
}

static Holdfast__SignerResult *result_of(int err, struct hf_signer_result *one)
{
	Holdfast__SignerResult *result = malloc(sizeof *result);

	if (!result)
		return NULL;
	holdfast__signer_result__init(result);
	result->error = -err;
	if (!err) {
		result->signed_change.data = one->signed_change;
		result->signed_change.len = one->signed_change_length;
		return result;
	}
	free(one->signed_change);
	result->reason = strdup(one->reason.text[0] ? one->reason.text : hf_err_text(err));
	if (result->reason)
		return result;
	free(result);
	return NULL;
}

int hf_signer_batch(struct hf_signer *signer, const Holdfast__SignerBatch *batch,
		    struct hf_signer_result *result)
{
	size_t room = ANSWER_BYTES, refused = 0;

	if (batch->n_orders == 0 || batch->n_orders > HF_SIGNER_BATCH_MAX)
		return hf_fail(&result->reason, HF_EINVAL, "a batch has 1 to %u orders",
			       HF_SIGNER_BATCH_MAX);
	result->results = calloc(batch->n_orders, sizeof(void *));
	if (!result->results)
		return HF_ENOMEM;
	for (size_t i = 0; i < batch->n_orders; i++) {
		struct hf_signer_result one = {.reason = {""}};
		/* What has no room in the answer must not be signed: it would be told to nobody. */
		bool fits = room >= RESULT_MARGIN + size_of(batch->orders[i]);
		int err = fits ? sign_one(signer, batch->orders[i], &one)
			       : hf_fail(&one.reason, HF_EAGAIN, "the answer is full; ask again");

		result->results[i] = result_of(err, &one);
		if (!result->results[i])
			return HF_ENOMEM;
		result->result_count++;
		refused += err && err != HF_EAGAIN;
		if (err && err != HF_EAGAIN)
			hf_warn("refused: %s", result->results[i]->reason);
		room = fits ? room - RESULT_MARGIN -
				       holdfast__signer_result__get_packed_size(result->results[i])
			    : 0;
	}
	if (batch->n_orders > 1)
		hf_info("signed a batch of %zu, %zu of them refused", batch->n_orders, refused);
	return 0;
}

void hf_signer_batch_free(struct hf_signer_result *result)
{
	for (size_t i = 0; i < result->result_count; i++)
		holdfast__signer_result__free_unpacked(result->results[i], NULL);
	free(result->results);
}
