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

static void fill_volume(struct hf_reconciler *reconciler, struct hf_member *member,
			const struct hf_actual *actual, Holdfast__VolumeReport *report)
{
	struct hf_trouble trouble = {member->retry.error, member->retry.reason};
	struct hf_plan plan;

	hf_reconciler_plan(reconciler, member, actual, &plan);
	hf_volume_state_of(hf_document_volume(reconciler->document, member->volume),
			   hf_document_tombstone(reconciler->document, member->volume),
			   &member->done, actual, &plan,
			   hf_portal_is_open(actual, reconciler->config.portal), &trouble, report);
}

bool hf_reconciler_state_changed(struct hf_reconciler *reconciler)
{
	struct hf_actual actual;
	bool changed = false;

	hf_sources_actual(&reconciler->sources, HF_GRACE_MS, &actual);
	hf_list_for_each (at, &reconciler->members) {
		struct hf_member *member = hf_container_of(at, struct hf_member, link);
		Holdfast__VolumeReport report;

		fill_volume(reconciler, member, &actual, &report);
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
	for (int i = 0; i < HF_CHORES; i++)
		if (reconciler->chores[i].retry.error)
			add_alarm(report, reconciler->chores[i].retry.reason);
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
	struct hf_actual actual;
	size_t count = 0;

	HF_CHECK_MAGIC(reconciler, HF_RECONCILER_MAGIC);
	hf_sources_actual(&reconciler->sources, HF_GRACE_MS, &actual);
	report->volumed_running = reconciler->sources.volumed.known;
	report->target_running = reconciler->sources.broker.known;
	if (actual.volumed) {
		report->buffer_total_bytes = actual.volumed->log_total_bytes;
		report->buffer_used_bytes =
			actual.volumed->log_total_bytes - actual.volumed->log_free_bytes;
	}
	fill_alarms(reconciler, &actual, report);
	hf_list_for_each (at, &reconciler->members)
		count++;
	report->volumes = calloc(count + 1, sizeof(void *));
	HF_ASSERT(report->volumes);
	hf_list_for_each (at, &reconciler->members) {
		Holdfast__VolumeReport *volume = calloc(1, sizeof *volume);

		HF_ASSERT(volume);
		fill_volume(reconciler, hf_container_of(at, struct hf_member, link), &actual,
			    volume);
		volume->reason = copy(volume->reason);
		report->volumes[report->n_volumes++] = volume;
	}
}

void hf_reconciler_report_free(Holdfast__Report *report)
{
	for (size_t i = 0; i < report->n_volumes; i++) {
		free(report->volumes[i]->reason);
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
	if (!reconciler->sources.broker.known && count < capacity)
		texts[count++] = copy("the iSCSI target does not answer");
	for (int i = 0; i < HF_CHORES && count < capacity; i++)
		if (reconciler->chores[i].retry.error)
			texts[count++] = copy(reconciler->chores[i].retry.reason);
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
