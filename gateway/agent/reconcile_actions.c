/* What one-shot actions and dry runs need of the reconciler (reconcile.h): the runs of the
 * processes, ending one, looking anew, and plans that are not carried out. Loop's thread. */
#include <stdlib.h>
#include <string.h>

#include "gateway/agent/document.h"
#include "gateway/agent/reconcile_internal.h"
#include "gateway/agent/requests.h"

#define RESTART_MS 10000u

_Static_assert(sizeof((struct hf_rescan *)0)->brokers / sizeof(uint64_t) == HF_TGTDS_MAX,
	       "one number for each tgtd");

/* ---- Runs of processes ---- */

unsigned hf_reconciler_tgtds(const struct hf_reconciler *reconciler)
{
	return reconciler->sources.tgtd_count;
}

size_t hf_reconciler_boot(const struct hf_reconciler *reconciler, uint32_t process,
			  uint8_t boot[HF_BOOT_MAX], bool *answers)
{
	const struct hf_sources *sources = &reconciler->sources;
	const ProtobufCBinaryData *seen = NULL;

	if (process == HF_PROCESS_VOLUMED) {
		*answers = sources->volumed.known;
		seen = sources->status ? &sources->status->boot : NULL;
	} else {
		HF_ASSERT(process < sources->tgtd_count);
		*answers = sources->brokers[process].known;
		seen = sources->targets[process] ? &sources->targets[process]->boot : NULL;
	}
	if (!seen || seen->len == 0 || seen->len > HF_BOOT_MAX)
		return 0;
	memcpy(boot, seen->data, seen->len);
	return seen->len;
}

struct restarting {
	bool volumed;
	void (*answered)(void *context, int err, const char *reason);
	void *context;
};

static void on_restart_answered(void *context, int status, const uint8_t *bytes, size_t length)
{
	struct restarting *restarting = context;
	struct hf_errmsg message = {""};

	if (status)
		hf_fail(&message, status, "%s", hf_err_text(status));
	else
		status = hf_answer_read(restarting->volumed, bytes, length, &message);
	restarting->answered(restarting->context, status, message.text);
	free(restarting);
}

void hf_reconciler_restart(struct hf_reconciler *reconciler, uint32_t process, const uint8_t *boot,
			   size_t length, uint64_t action,
			   void (*answered)(void *context, int err, const char *reason),
			   void *context)
{
	struct restarting *restarting = calloc(1, sizeof *restarting);
	bool volumed = process == HF_PROCESS_VOLUMED;
	size_t size;
	uint8_t *bytes;

	HF_ASSERT(restarting);
	*restarting = (struct restarting){volumed, answered, context};
	HF_ASSERT(hf_request_restart(volumed, boot, length, action, &bytes, &size) == 0);
	hf_local_call(volumed ? reconciler->volumed : reconciler->tgtds[process].broker, bytes,
		      size, RESTART_MS, on_restart_answered, restarting);
	free(bytes);
	hf_sources_ask_now(&reconciler->sources);
}

/* ---- Looking anew ---- */

void hf_reconciler_rescan(struct hf_reconciler *reconciler)
{
	HF_CHECK_MAGIC(reconciler, HF_RECONCILER_MAGIC);
	hf_reconciler_retry_now(reconciler);
	hf_sources_ask_now(&reconciler->sources);
}

void hf_reconciler_scan_mark(const struct hf_reconciler *reconciler, struct hf_rescan *mark)
{
	mark->volumed = reconciler->sources.volumed.started;
	for (unsigned i = 0; i < reconciler->sources.tgtd_count; i++)
		mark->brokers[i] = reconciler->sources.brokers[i].started;
}

bool hf_reconciler_scanned(const struct hf_reconciler *reconciler, const struct hf_rescan *mark)
{
	if (reconciler->sources.volumed.answered <= mark->volumed)
		return false;
	for (unsigned i = 0; i < reconciler->sources.tgtd_count; i++)
		if (reconciler->sources.brokers[i].answered <= mark->brokers[i])
			return false;
	return true;
}

/* ---- Dry run ---- */

static char *copy(const char *text)
{
	char *copied = strdup(text);

	HF_ASSERT(copied);
	return copied;
}

static Holdfast__PlannedVolume *planned_volume(uint64_t volume, const struct hf_plan *plan)
{
	Holdfast__PlannedVolume *planned = malloc(sizeof *planned);

	HF_ASSERT(planned);
	holdfast__planned_volume__init(planned);
	planned->volume = volume;
	planned->waiting = plan->waiting;
	planned->steps = calloc(HF_PLAN_MAX, sizeof(char *));
	HF_ASSERT(planned->steps);
	for (unsigned i = 0; i < plan->count; i++)
		planned->steps[planned->n_steps++] = copy(hf_step_text(plan->steps[i]));
	return planned;
}

/* As if the entry were in force: what is known of the volume now still holds. */
static void plan_one(struct hf_reconciler *reconciler, const Holdfast__Volume *entry,
		     const Holdfast__Tombstone *tombstone, Holdfast__PlanReport *report)
{
	uint64_t volume = entry ? entry->volume : tombstone->volume;
	const struct hf_member *known = hf_reconciler_member(reconciler, volume);
	struct hf_member member = {.entry = entry, .tombstone = tombstone};
	Holdfast__PlannedVolume *planned;
	struct hf_errmsg message = {""};
	struct hf_actual actual;
	struct hf_plan plan = {.count = 0};
	int err = entry ? hf_document_check_entry(entry, &message) : 0;

	if (known) {
		member.done = known->done;
		member.tgtd = known->tgtd == HF_NOWHERE ? 0 : known->tgtd;
	}
	hf_sources_actual(&reconciler->sources, member.tgtd, 0, &actual);
	if (!err)
		hf_reconciler_plan(reconciler, &member, &actual, &plan);
	if (!err && plan.count == 0 && !plan.waiting)
		return;
	planned = planned_volume(volume, &plan);
	planned->error = -err;
	if (err)
		planned->reason = copy(message.text);
	report->volumes[report->n_volumes++] = planned;
}

Holdfast__PlanReport *hf_reconciler_dry_run(struct hf_reconciler *reconciler,
					    const Holdfast__Document *document)
{
	Holdfast__PlanReport *report = malloc(sizeof *report);

	HF_CHECK_MAGIC(reconciler, HF_RECONCILER_MAGIC);
	HF_ASSERT(report);
	holdfast__plan_report__init(report);
	report->incarnation = document->incarnation;
	report->generation = document->generation;
	report->volumes = calloc(document->n_volumes + document->n_tombstones + 1, sizeof(void *));
	HF_ASSERT(report->volumes);
	for (size_t i = 0; i < document->n_volumes; i++)
		plan_one(reconciler, document->volumes[i], NULL, report);
	for (size_t i = 0; i < document->n_tombstones; i++)
		plan_one(reconciler, NULL, document->tombstones[i], report);
	return report;
}
