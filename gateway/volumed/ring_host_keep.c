/* KEEP and RECALL: bytes that a volume's shim leaves with volumed, so that they outlive its tgtd.
 * volumed does not look into them (docs/protocol/ring.md, "What a LUN keeps").
 *
 * A KEEP is under way until it is durable, and a session does not end before: so when a shim reads
 * the end of its connection, what RECALL will answer is settled. */
#include <string.h>

#include "gateway/volumed/ring_host_impl.h"

static void kept(void *owner, int status)
{
	struct hf_ring_request *request = owner;

	request->core.status = status;
	request->core.done(&request->core);
}

void hf_ring_keep(struct hf_ring_session *session, struct hf_ring_request *request)
{
	const struct hf_ring_keeper *keeper = hf_ring_host_keeper(session->host);
	uint8_t bytes[HF_RING_KEEP_MAX];

	if (!keeper) {
		kept(request, HF_EUNSUPPORTED);
		return;
	}
	/* Once, before anybody looks at them. */
	memcpy(bytes, request->core.data, request->core.data_length);
	keeper->keep(keeper->context, request->core.volume, bytes, request->core.data_length, kept,
		     request);
}

int hf_ring_recall(struct hf_ring_session *session, const struct hf_ring_submission *submission,
		   uint32_t *given)
{
	const struct hf_ring_keeper *keeper = hf_ring_host_keeper(session->host);
	const void *bytes;
	uint32_t length;
	int err;

	if (!keeper)
		return HF_EUNSUPPORTED;
	err = keeper->recall(keeper->context, session->bindings[submission->volume].volume, &bytes,
			     &length);
	if (err)
		return err;
	if (length > 0)
		memcpy(hf_ring_memory_data(&session->memory, submission->data_page), bytes, length);
	*given = length;
	return 0;
}
