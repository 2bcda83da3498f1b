/* Fuzz target: any bytes as a Document (as if the signer had signed them) after a good one.
 * Promise: taken or refused with a reason, never a crash or a leak (invariants 4, 9); what was
 * taken can be planned for. */
#include <string.h>

#include "base/assert.h"
#include "gateway/agent/document.h"
#include "gateway/agent/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void plan_all(const Holdfast__Document *document)
{
	Holdfast__BrokerState target = HOLDFAST__BROKER_STATE__INIT;
	Holdfast__VolumedStatus volumed = HOLDFAST__VOLUMED_STATUS__INIT;
	struct hf_actual actual = {true, true, &volumed, &target};
	struct hf_done done = {0};
	struct hf_errmsg message;
	struct hf_plan plan;

	for (size_t i = 0; i < document->n_volumes; i++)
		if (hf_document_check_entry(document->volumes[i], &message) == 0)
			hf_plan_volume(document->volumes[i], &done, &actual, &plan);
	for (size_t i = 0; i < document->n_tombstones; i++)
		hf_plan_tombstone(document->tombstones[i], &done, &actual, &plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Holdfast__Volume volume = HOLDFAST__VOLUME__INIT, *volumes[] = {&volume};
	Holdfast__Document good = HOLDFAST__DOCUMENT__INIT;
	struct hf_document current = {.sequence = 1, .content = &good}, next = {.sequence = 2};
	struct hf_errmsg message = {""};
	int err;

	good.incarnation = good.generation = 1;
	good.volumes = volumes;
	good.n_volumes = 1;
	volume.volume = 7;
	volume.target = (char *)(uintptr_t) "iqn.a";
	next.content = holdfast__document__unpack(NULL, size, data);
	if (!next.content)
		return 0;
	err = hf_document_check(&current, &next, &message);
	HF_ASSERT(err == 0 || err == HF_EEXIST || message.text[0]);
	if (!err)
		plan_all(next.content);
	holdfast__document__free_unpacked(next.content, NULL);
	return 0;
}
