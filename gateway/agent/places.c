/* Which tgtd a volume is on. It stays there for good: initiators know its portal, and two tgtd must
 * never serve it at once. Loop's thread. */
#include <stdlib.h>

#include "base/ids.h"
#include "base/log.h"
#include "gateway/agent/document.h"
#include "gateway/agent/reconcile_internal.h"

static bool all_were_asked(const struct hf_reconciler *reconciler)
{
	for (unsigned i = 0; i < reconciler->sources.tgtd_count; i++)
		if (!reconciler->sources.brokers[i].tried)
			return false;
	return true;
}

static bool anybody_is_nowhere(const struct hf_reconciler *reconciler)
{
	for (size_t i = 0; i < reconciler->member_count; i++)
		if (reconciler->by_volume[i]->tgtd == HF_NOWHERE)
			return true;
	return false;
}

static void take_kept(struct hf_reconciler *reconciler, struct hf_kept_place *list)
{
	size_t count = hf_kept_places(reconciler->config.kept, list, HF_DOCUMENT_VOLUMES_MAX);

	for (size_t i = 0; i < count; i++) {
		struct hf_member *member = hf_reconciler_member(reconciler, list[i].volume);

		if (member && member->tgtd == HF_NOWHERE &&
		    list[i].tgtd < reconciler->sources.tgtd_count)
			member->tgtd = list[i].tgtd;
	}
}

/* A tgtd that has its LUN already (the list was lost), or HF_NOWHERE. */
static uint32_t find_lun(const struct hf_reconciler *reconciler, uint64_t volume)
{
	for (unsigned i = 0; i < reconciler->sources.tgtd_count; i++) {
		struct hf_actual actual;

		hf_sources_actual(&reconciler->sources, i, 0, &actual);
		if (actual.target_known && hf_actual_target_of(&actual, volume))
			return i;
	}
	return HF_NOWHERE;
}

/* The one with the fewest volumes among those that answer, or HF_NOWHERE. */
static uint32_t least_loaded(const struct hf_reconciler *reconciler)
{
	size_t counts[HF_TGTDS_MAX] = {0};
	uint32_t best = HF_NOWHERE;

	for (size_t i = 0; i < reconciler->member_count; i++)
		if (reconciler->by_volume[i]->tgtd != HF_NOWHERE)
			counts[reconciler->by_volume[i]->tgtd]++;
	for (unsigned i = 0; i < reconciler->sources.tgtd_count; i++)
		if (reconciler->sources.brokers[i].known &&
		    (best == HF_NOWHERE || counts[i] < counts[best]))
			best = i;
	return best;
}

static void keep(struct hf_reconciler *reconciler, struct hf_kept_place *list)
{
	struct hf_errmsg message;
	size_t count = 0;

	for (size_t i = 0; i < reconciler->member_count; i++) {
		const struct hf_member *member = reconciler->by_volume[i];

		if (member->tgtd == HF_NOWHERE || count == HF_DOCUMENT_VOLUMES_MAX)
			continue;
		list[count].volume = member->volume;
		list[count++].tgtd = member->tgtd;
	}
	if (hf_kept_set_places(reconciler->config.kept, list, count, &message) != 0)
		hf_warn("%s", message.text);
}

static bool give_one(struct hf_reconciler *reconciler, struct hf_member *member)
{
	char id[HF_ID_TEXT_MAX];

	member->tgtd = find_lun(reconciler, member->volume);
	if (member->tgtd == HF_NOWHERE)
		member->tgtd = least_loaded(reconciler);
	if (member->tgtd == HF_NOWHERE)
		return false;
	hf_info("%s is served at %s from now on", hf_id_format(HF_ID_VOLUME, member->volume, id),
		reconciler->tgtds[member->tgtd].portal);
	return true;
}

void hf_places_give(struct hf_reconciler *reconciler)
{
	struct hf_kept_place *list;
	bool given = false;

	if (!anybody_is_nowhere(reconciler))
		return;
	if (reconciler->sources.tgtd_count == 1) {
		for (size_t i = 0; i < reconciler->member_count; i++)
			reconciler->by_volume[i]->tgtd = 0;
		return;
	}
	list = calloc(HF_DOCUMENT_VOLUMES_MAX, sizeof *list);
	HF_ASSERT(list);
	take_kept(reconciler, list);
	if (all_were_asked(reconciler))
		for (size_t i = 0; i < reconciler->member_count; i++)
			if (reconciler->by_volume[i]->tgtd == HF_NOWHERE)
				given = give_one(reconciler, reconciler->by_volume[i]) || given;
	if (given)
		keep(reconciler, list);
	free(list);
}
