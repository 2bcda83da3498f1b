/* What the reconciler tells: reports for the provider, problems for the console. Processes that are
 * away for a moment (HF_GRACE_MS) are told as they were last seen. */
#include "gateway/agent/reconcile_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "gateway/agent/document.h"
#include "gateway/agent/volume_state.h"

#define ALARMS_MAX 16u

/* What is there for each tgtd. */
struct views {
	struct hf_actual actual[HF_TGTDS_MAX];
};

static void look(struct hf_reconciler *reconciler, struct views *views)
{
	for (unsigned i = 0; i < reconciler->sources.tgtd_count; i++)
		hf_sources_actual(&reconciler->sources, i, HF_GRACE_MS, &views->actual[i]);
}

static void fill_volume(struct hf_reconciler *reconciler, struct hf_member *member,
			const struct views *views, Holdfast__VolumeReport *report)
{
	unsigned tgtd = member->tgtd == HF_NOWHERE ? 0 : member->tgtd;
	const struct hf_actual *actual = &views->actual[tgtd];
	const char *portal = reconciler->tgtds[tgtd].portal;
	struct hf_trouble trouble = {member->retry.error, member->retry.reason};
	struct hf_plan plan;

	hf_reconciler_plan(reconciler, member, actual, &plan);
	hf_volume_state_of(member->entry, member->tombstone, &member->done, actual, &plan,
			   hf_portal_is_open(actual, portal) ? portal : NULL, &trouble, report);
}

bool hf_reconciler_state_changed(struct hf_reconciler *reconciler)
{
	struct views views;
	bool changed = false;

	look(reconciler, &views);
	hf_list_for_each (at, &reconciler->members) {
		struct hf_member *member = hf_container_of(at, struct hf_member, link);
		Holdfast__VolumeReport report;

		fill_volume(reconciler, member, &views, &report);
		changed = changed || (int)report.state != member->told_state ||
			  report.error != member->told_error ||
			  report.version != member->told_version;
		member->told_state = (int)report.state;
		member->told_error = report.error;
		member->told_version = report.version;
	}
	return changed;
}

/* Strings of a report live until it is freed, whatever happens to their source meanwhile. */
static char *copy(const char *text)
{
	char *copied = strdup(text);

	HF_ASSERT(copied);
	return copied;
}

static void add_alarm(Holdfast__Report *report, const char *text)
{
	if (report->n_alarms < ALARMS_MAX)
		report->alarms[report->n_alarms++] = copy(text);
}

static void fill_alarms(struct hf_reconciler *reconciler, const struct hf_actual *actual,
			Holdfast__Report *report)
{
	char text[256], id[HF_ID_TEXT_MAX];
	size_t first = 0;

	report->alarms = calloc(ALARMS_MAX, sizeof *report->alarms);
	HF_ASSERT(report->alarms);
	for (unsigned t = 0; t < reconciler->sources.tgtd_count; t++)
		for (int i = 0; i < HF_CHORES; i++)
			if (reconciler->tgtds[t].chores[i].retry.error)
				add_alarm(report, reconciler->tgtds[t].chores[i].retry.reason);
	for (size_t i = 0; actual->volumed && i < actual->volumed->n_volumes; i++) {
		uint64_t volume = actual->volumed->volumes[i]->volume;

		if (!reconciler->document || hf_reconciler_member(reconciler, volume))
			continue;
		snprintf(text, sizeof text, "%s is kept here and stands in no document",
			 hf_id_format(HF_ID_VOLUME, volume, id));
		add_alarm(report, text);
	}
	/* volumed's, as many of the newest as there is room for. */
	if (actual->volumed && actual->volumed->n_alarms > ALARMS_MAX - report->n_alarms)
		first = actual->volumed->n_alarms - (ALARMS_MAX - report->n_alarms);
	for (size_t i = first; actual->volumed && i < actual->volumed->n_alarms; i++)
		add_alarm(report, actual->volumed->alarms[i]);
}

void hf_reconciler_report(struct hf_reconciler *reconciler, Holdfast__Report *report)
{
	const Holdfast__VolumedStatus *volumed = reconciler->sources.status;
	struct views views;
	size_t count = 0;

	HF_CHECK_MAGIC(reconciler, HF_RECONCILER_MAGIC);
	look(reconciler, &views);
	report->volumed_running = reconciler->sources.volumed.known;
	report->target_running = true;
	for (unsigned i = 0; i < reconciler->sources.tgtd_count; i++)
		report->target_running =
			report->target_running && reconciler->sources.brokers[i].known;
	if (volumed) {
		report->buffer_total_bytes = volumed->log_total_bytes;
		report->buffer_used_bytes = volumed->log_total_bytes - volumed->log_free_bytes;
	}
	fill_alarms(reconciler, &views.actual[0], report);
	hf_list_for_each (at, &reconciler->members)
		count++;
	report->volumes = calloc(count + 1, sizeof(void *));
	HF_ASSERT(report->volumes);
	hf_list_for_each (at, &reconciler->members) {
		Holdfast__VolumeReport *volume = calloc(1, sizeof *volume);

		HF_ASSERT(volume);
		fill_volume(reconciler, hf_container_of(at, struct hf_member, link), &views,
			    volume);
		volume->reason = copy(volume->reason);
		volume->portal = copy(volume->portal);
		report->volumes[report->n_volumes++] = volume;
	}
}

void hf_reconciler_report_free(Holdfast__Report *report)
{
	for (size_t i = 0; i < report->n_volumes; i++) {
		free(report->volumes[i]->reason);
		free(report->volumes[i]->portal);
		free(report->volumes[i]);
	}
	for (size_t i = 0; i < report->n_alarms; i++)
		free(report->alarms[i]);
	free(report->volumes);
	free(report->alarms);
	report->volumes = NULL;
	report->alarms = NULL;
	report->n_volumes = report->n_alarms = 0;
}

size_t hf_reconciler_problems(struct hf_reconciler *reconciler, char **texts, size_t capacity)
{
	char text[HF_REASON_MAX + 64], id[HF_ID_TEXT_MAX];
	size_t count = 0;

	HF_CHECK_MAGIC(reconciler, HF_RECONCILER_MAGIC);
	if (!reconciler->sources.volumed.known && count < capacity)
		texts[count++] = copy("volumed does not answer");
	for (unsigned t = 0; t < reconciler->sources.tgtd_count; t++) {
		const struct hf_tgtd *tgtd = &reconciler->tgtds[t];

		if (!reconciler->sources.brokers[t].known && count < capacity) {
			snprintf(text, sizeof text, "the iSCSI target of %s does not answer",
				 tgtd->portal);
			texts[count++] = copy(text);
		}
		for (int i = 0; i < HF_CHORES && count < capacity; i++)
			if (tgtd->chores[i].retry.error)
				texts[count++] = copy(tgtd->chores[i].retry.reason);
	}
	hf_list_for_each (at, &reconciler->members) {
		struct hf_member *member = hf_container_of(at, struct hf_member, link);

		if (!member->retry.error || count == capacity)
			continue;
		snprintf(text, sizeof text, "%s: %s",
			 hf_id_format(HF_ID_VOLUME, member->volume, id), member->retry.reason);
		texts[count++] = copy(text);
	}
	return count;
}
