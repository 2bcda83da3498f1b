/* When to plan what (reconcile.h). Every answer of a source, every end of a step and every new
 * document comes to hf_reconciler_run, which compares and starts what is missing; it keeps no
 * sequence of its own, so there is nothing to resume after a crash. */
#include "gateway/agent/reconcile_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/agent/document.h"

#define RETRY_FIRST_MS  200u
#define RETRY_MAX_MS    30000u
#define RETRY_DOUBLINGS 8u
#define REPEATS_MAX     3u
#define SETTLED_MS      500u /* between questions when there is nothing to do */
#define UNSETTLED_MS    150u
#define ATTACH_HOLDS_MS 5000u /* an attach that takes longer does not hold back the portal */

void hf_retry_failed(struct hf_reconciler *reconciler, struct hf_retry *retry, int err,
		     const char *reason)
{
	unsigned doublings = retry->failures < RETRY_DOUBLINGS ? retry->failures : RETRY_DOUBLINGS;
	uint64_t wait_ms = (uint64_t)RETRY_FIRST_MS << doublings;

	retry->error = err;
	snprintf(retry->reason, sizeof retry->reason, "%s", reason);
	retry->failures++;
	retry->at_ms = hf_reconciler_now_ms(reconciler) +
		       (wait_ms < RETRY_MAX_MS ? wait_ms : RETRY_MAX_MS);
}

void hf_retry_clear(struct hf_retry *retry)
{
	memset(retry, 0, sizeof *retry);
}

/* ---- Members ---- */

struct hf_member *hf_reconciler_member(struct hf_reconciler *reconciler, uint64_t volume)
{
	size_t low = 0, high = reconciler->member_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		struct hf_member *member = reconciler->by_volume[middle];

		if (member->volume == volume)
			return member;
		if (member->volume < volume)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static int by_number(const void *a, const void *b)
{
	const struct hf_member *const *x = a, *const *y = b;

	return (*x)->volume < (*y)->volume ? -1 : (*x)->volume > (*y)->volume;
}

static void sort_members(struct hf_reconciler *reconciler)
{
	size_t count = 0;

	hf_list_for_each (at, &reconciler->members)
		count++;
	free(reconciler->by_volume);
	reconciler->by_volume = calloc(count + 1, sizeof(struct hf_member *));
	HF_ASSERT(reconciler->by_volume);
	reconciler->member_count = 0;
	hf_list_for_each (at, &reconciler->members)
		reconciler->by_volume[reconciler->member_count++] =
			hf_container_of(at, struct hf_member, link);
	qsort(reconciler->by_volume, count, sizeof(struct hf_member *), by_number);
}

static void keep_member(struct hf_reconciler *reconciler, const Holdfast__Volume *entry,
			const Holdfast__Tombstone *tombstone)
{
	uint64_t volume = entry ? entry->volume : tombstone->volume;
	uint64_t version = entry ? entry->version : tombstone->version;
	struct hf_member *member = hf_reconciler_member(reconciler, volume);
	bool is_tombstone = entry == NULL;

	if (!member) {
		member = calloc(1, sizeof *member);
		HF_ASSERT(member);
		member->volume = volume;
		member->tgtd = HF_NOWHERE;
		hf_list_push_back(&reconciler->members, &member->link);
	}
	member->entry = entry;
	member->tombstone = tombstone;
	member->was_deleted = entry && reconciler->config.deleted &&
			      hf_deleted_has(reconciler->config.deleted, volume);
	if (member->version == version && member->is_tombstone == is_tombstone)
		return;
	member->version = version;
	member->is_tombstone = is_tombstone;
	hf_retry_clear(&member->retry);
	member->repeats = 0;
	if (member->running)
		hf_job_abandon(reconciler, member);
}

static void drop_members(struct hf_reconciler *reconciler)
{
	const Holdfast__Document *document = reconciler->document;

	hf_list_for_each_safe (at, &reconciler->members) {
		struct hf_member *member = hf_container_of(at, struct hf_member, link);

		if (document && (hf_document_volume(document, member->volume) ||
				 hf_document_tombstone(document, member->volume)))
			continue;
		if (member->running)
			hf_job_abandon(reconciler, member);
		hf_list_remove(&member->link);
		free(member);
	}
	sort_members(reconciler);
}

void hf_reconciler_set_document(struct hf_reconciler *reconciler, uint64_t tenant,
				const Holdfast__Document *document)
{
	HF_CHECK_MAGIC(reconciler, HF_RECONCILER_MAGIC);
	reconciler->tenant = tenant;
	reconciler->document = document;
	drop_members(reconciler);
	for (size_t i = 0; i < document->n_volumes; i++)
		keep_member(reconciler, document->volumes[i], NULL);
	for (size_t i = 0; i < document->n_tombstones; i++)
		keep_member(reconciler, NULL, document->tombstones[i]);
	sort_members(reconciler);
	hf_sources_ask_now(&reconciler->sources);
	hf_reconciler_run(reconciler);
}

/* A new agent takes over what an earlier one did in this run of tgtd. */
static void restore_access(struct hf_reconciler *reconciler, unsigned tgtd,
			   const struct hf_actual *actual)
{
	struct hf_kept_access *list;
	size_t count;
	bool wanted = false;

	if (!actual->target || actual->target->boot.len > HF_BOOT_MAX)
		return;
	for (size_t i = 0; i < reconciler->member_count; i++)
		wanted = wanted || (reconciler->by_volume[i]->tgtd == tgtd &&
				    !reconciler->by_volume[i]->restored);
	if (!wanted)
		return;
	list = calloc(HF_DOCUMENT_VOLUMES_MAX, sizeof *list);
	HF_ASSERT(list);
	count = hf_kept_access(reconciler->config.kept, tgtd, actual->target->boot.data,
			       actual->target->boot.len, list, HF_DOCUMENT_VOLUMES_MAX);
	for (size_t i = 0; i < count; i++) {
		struct hf_member *member = hf_reconciler_member(reconciler, list[i].volume);

		if (!member || member->restored || member->tgtd != tgtd)
			continue;
		member->done.access_version = list[i].version;
		member->done.access_boot_length = actual->target->boot.len;
		if (actual->target->boot.len)
			memcpy(member->done.access_boot, actual->target->boot.data,
			       actual->target->boot.len);
	}
	for (size_t i = 0; i < reconciler->member_count; i++)
		if (reconciler->by_volume[i]->tgtd == tgtd)
			reconciler->by_volume[i]->restored = true;
	free(list);
}

/* ---- Planning ---- */

void hf_reconciler_plan(struct hf_reconciler *reconciler, const struct hf_member *member,
			const struct hf_actual *actual, struct hf_plan *plan)
{
	(void)reconciler;
	memset(plan, 0, sizeof *plan);
	if (member->tgtd == HF_NOWHERE)
		plan->waiting = true;
	else if (member->entry)
		hf_plan_volume(member->entry, &member->done, actual, plan);
	else if (member->tombstone)
		hf_plan_tombstone(member->tombstone, &member->done, actual, plan);
}

static bool is_fresh(const struct hf_reconciler *reconciler, const struct hf_member *member)
{
	const struct hf_source *broker = &reconciler->sources.brokers[member->tgtd];
	const struct hf_source *volumed = &reconciler->sources.volumed;

	return (!broker->known || broker->answered > member->after_broker) &&
	       (!volumed->known || volumed->answered > member->after_volumed);
}

/* An entry that cannot be served fails by itself. */
static bool entry_is_bad(struct hf_reconciler *reconciler, struct hf_member *member)
{
	struct hf_errmsg message;

	if (!member->entry ||
	    (!member->was_deleted && hf_document_check_entry(member->entry, &message) == 0))
		return false;
	if (member->was_deleted)
		hf_fail(&message, 0, "it was deleted here and cannot come back; delete it again");
	if (!member->retry.error)
		hf_retry_failed(reconciler, &member->retry, HF_EINVAL, message.text);
	return true;
}

/* The same was planned, done and is missing again: something undoes it. Go slowly and say so. */
static bool repeats_too_often(struct hf_reconciler *reconciler, struct hf_member *member,
			      const struct hf_plan *plan)
{
	char reason[HF_REASON_MAX];

	if (member->repeats++ < REPEATS_MAX)
		return false;
	member->repeats = 0;
	snprintf(reason, sizeof reason, "`%s` was done and does not last",
		 hf_step_text(plan->steps[0]));
	hf_retry_failed(reconciler, &member->retry, HF_EUNKNOWN, reason);
	return true;
}

static void plan_member(struct hf_reconciler *reconciler, struct hf_member *member,
			const struct hf_actual *actual)
{
	struct hf_plan plan;

	if (member->running || !is_fresh(reconciler, member) || entry_is_bad(reconciler, member))
		return;
	hf_reconciler_plan(reconciler, member, actual, &plan);
	if (plan.count == 0) {
		if (!plan.waiting) {
			hf_retry_clear(&member->retry);
			member->repeats = 0;
		}
		return;
	}
	if (reconciler->running >= HF_JOBS_MAX ||
	    hf_reconciler_now_ms(reconciler) < member->retry.at_ms ||
	    repeats_too_often(reconciler, member, &plan))
		return;
	hf_job_start(reconciler, member, &plan, actual);
}

/* Would opening the portal now show a server fewer targets than it will find in a moment? */
static bool holds_portal(struct hf_reconciler *reconciler, struct hf_member *member,
			 const struct hf_actual *actual)
{
	uint64_t now_ms = hf_reconciler_now_ms(reconciler);
	struct hf_plan plan;

	if (!member->entry)
		return false;
	if (member->running && hf_step_undo(member->plan.steps[member->at]) == HF_STEP_NONE &&
	    member->plan.steps[member->at] != HF_STEP_SET_ACCESS)
		return member->plan.steps[member->at] == HF_STEP_ATTACH &&
		       now_ms - member->started_ms < ATTACH_HOLDS_MS;
	if (member->running)
		return true;
	if (member->retry.error)
		return false;
	if (!is_fresh(reconciler, member))
		return true;
	hf_reconciler_plan(reconciler, member, actual, &plan);
	return plan.count > 0 && plan.steps[0] != HF_STEP_DETACH;
}

/* ---- What is not of one volume ---- */

static bool chore_may_start(const struct hf_reconciler *reconciler, unsigned tgtd,
			    enum hf_chore chore)
{
	const struct hf_chore_state *state = &reconciler->tgtds[tgtd].chores[chore];

	return !state->running && hf_reconciler_now_ms(reconciler) >= state->retry.at_ms &&
	       (chore == HF_CHORE_STORE ||
		reconciler->sources.brokers[tgtd].answered > state->after_broker);
}

/* True if volumes may be attached: the store is set, or cannot be. */
static bool store_is_set(struct hf_reconciler *reconciler, const struct hf_actual *actual)
{
	const Holdfast__Document *document = reconciler->document;

	if (!actual->volumed_known || !document->store || !document->store->url[0])
		return true;
	if (reconciler->store_pid == actual->volumed->pid &&
	    reconciler->store_generation == document->generation &&
	    reconciler->store_incarnation == document->incarnation)
		return true;
	if (chore_may_start(reconciler, 0, HF_CHORE_STORE))
		hf_chore_start(reconciler, 0, HF_CHORE_STORE, NULL);
	return reconciler->tgtds[0].chores[HF_CHORE_STORE].retry.error != 0;
}

/* True if no portal but its own is open. */
static bool portals_are_clean(struct hf_reconciler *reconciler, unsigned tgtd,
			      const struct hf_actual *actual)
{
	const char *stray = hf_plan_stray_portal(actual, reconciler->tgtds[tgtd].portal);

	if (!actual->target_known || !stray) {
		hf_retry_clear(&reconciler->tgtds[tgtd].chores[HF_CHORE_STRAY_PORTAL].retry);
		return true;
	}
	if (chore_may_start(reconciler, tgtd, HF_CHORE_STRAY_PORTAL))
		hf_chore_start(reconciler, tgtd, HF_CHORE_STRAY_PORTAL, stray);
	return false;
}

struct place {
	struct hf_reconciler *reconciler;
	unsigned tgtd;
};

/* One that has no place yet may turn out to be here. */
static bool is_here(void *context, uint64_t volume)
{
	struct place *place = context;
	const struct hf_member *member = hf_reconciler_member(place->reconciler, volume);

	return !member || member->tgtd == place->tgtd || member->tgtd == HF_NOWHERE;
}

static void remove_stray_target(struct hf_reconciler *reconciler, unsigned tgtd,
				const struct hf_actual *actual)
{
	struct place place = {reconciler, tgtd};
	const char *stray = hf_plan_stray_target(reconciler->document, actual, is_here, &place);

	if (!actual->target_known || !stray ||
	    reconciler->sources.brokers[tgtd].answered <= reconciler->tgtds[tgtd].after_broker)
		return;
	/* A target whose LUN a job has just removed belongs to that job. */
	for (size_t i = 0; i < reconciler->member_count; i++) {
		const struct hf_member *member = reconciler->by_volume[i];

		if (member->running && member->tgtd == tgtd && strcmp(member->iqn, stray) == 0)
			return;
	}
	if (chore_may_start(reconciler, tgtd, HF_CHORE_STRAY_TARGET))
		hf_chore_start(reconciler, tgtd, HF_CHORE_STRAY_TARGET, stray);
}

static void open_portal(struct hf_reconciler *reconciler, unsigned tgtd,
			const struct hf_actual *actual)
{
	if (!actual->target_known || hf_portal_is_open(actual, reconciler->tgtds[tgtd].portal) ||
	    !chore_may_start(reconciler, tgtd, HF_CHORE_PORTAL))
		return;
	for (size_t i = 0; i < reconciler->member_count; i++) {
		struct hf_member *member = reconciler->by_volume[i];

		if (member->tgtd == HF_NOWHERE ||
		    (member->tgtd == tgtd && holds_portal(reconciler, member, actual)))
			return;
	}
	hf_chore_start(reconciler, tgtd, HF_CHORE_PORTAL, NULL);
}

static void run_tgtd(struct hf_reconciler *reconciler, unsigned tgtd)
{
	struct hf_actual actual;

	hf_sources_actual(&reconciler->sources, tgtd, 0, &actual);
	restore_access(reconciler, tgtd, &actual);
	if (!portals_are_clean(reconciler, tgtd, &actual))
		actual.target_known = false;
	/* A volume is attached with its store, so that its first write already goes there. */
	if (store_is_set(reconciler, &actual))
		for (size_t i = 0; i < reconciler->member_count; i++)
			if (reconciler->by_volume[i]->tgtd == tgtd)
				plan_member(reconciler, reconciler->by_volume[i], &actual);
	remove_stray_target(reconciler, tgtd, &actual);
	open_portal(reconciler, tgtd, &actual);
}

void hf_reconciler_run(struct hf_reconciler *reconciler)
{
	if (!reconciler->document || reconciler->stopping)
		return;
	hf_places_give(reconciler);
	for (unsigned i = 0; i < reconciler->sources.tgtd_count; i++)
		run_tgtd(reconciler, i);
	if (hf_reconciler_state_changed(reconciler))
		reconciler->config.changed(reconciler->config.context);
}

/* ---- The sources ---- */

void hf_reconciler_retry_now(struct hf_reconciler *reconciler)
{
	hf_list_for_each (at, &reconciler->members) {
		struct hf_member *member = hf_container_of(at, struct hf_member, link);

		member->retry.at_ms = 0;
		member->retry.failures = 0;
		member->repeats = 0;
	}
	for (unsigned t = 0; t < reconciler->sources.tgtd_count; t++)
		for (int i = 0; i < HF_CHORES; i++)
			reconciler->tgtds[t].chores[i].retry.at_ms = 0;
}

static void on_sources_changed(void *context, bool anew)
{
	struct hf_reconciler *reconciler = context;

	HF_CHECK_MAGIC(reconciler, HF_RECONCILER_MAGIC);
	/* Another process: what failed with the old one says nothing. */
	if (anew)
		hf_reconciler_retry_now(reconciler);
	hf_reconciler_run(reconciler);
	if (reconciler->look && (reconciler->sources.volumed.answered >= reconciler->look ||
				 !reconciler->sources.volumed.known)) {
		reconciler->look = 0;
		reconciler->config.looked(reconciler->config.context);
	}
}

void hf_reconciler_look(struct hf_reconciler *reconciler)
{
	HF_CHECK_MAGIC(reconciler, HF_RECONCILER_MAGIC);
	/* The question under way may be answered with what was before. */
	reconciler->look = reconciler->sources.volumed.started + 1;
	hf_sources_ask_now(&reconciler->sources);
}

static bool is_settled(struct hf_reconciler *reconciler, unsigned tgtd)
{
	struct hf_actual actual;
	struct hf_plan plan;

	hf_sources_actual(&reconciler->sources, tgtd, 0, &actual);
	if (!actual.target_known || !actual.volumed_known ||
	    !hf_portal_is_open(&actual, reconciler->tgtds[tgtd].portal))
		return false;
	for (size_t i = 0; i < reconciler->member_count; i++) {
		const struct hf_member *member = reconciler->by_volume[i];

		if (member->tgtd != tgtd)
			continue;
		hf_reconciler_plan(reconciler, member, &actual, &plan);
		if ((plan.count || plan.waiting) && !member->retry.error)
			return false;
	}
	return true;
}

static uint32_t sources_interval_ms(void *context)
{
	struct hf_reconciler *reconciler = context;

	for (unsigned i = 0; reconciler->document && i < reconciler->sources.tgtd_count; i++)
		if (!is_settled(reconciler, i))
			return UNSETTLED_MS;
	return SETTLED_MS;
}

/* ---- Opening and closing ---- */

static void part_closed(void *context)
{
	struct hf_reconciler *reconciler = context;
	void (*closed)(void *) = reconciler->closed;
	void *closed_context = reconciler->closed_context;

	if (--reconciler->open)
		return;
	reconciler->document = NULL;
	drop_members(reconciler);
	free(reconciler->by_volume);
	reconciler->magic = 0;
	free(reconciler);
	if (closed)
		closed(closed_context);
}

void hf_reconciler_close(struct hf_reconciler *reconciler, void (*closed)(void *context),
			 void *context)
{
	HF_CHECK_MAGIC(reconciler, HF_RECONCILER_MAGIC);
	HF_ASSERT(!reconciler->stopping);
	reconciler->stopping = true;
	reconciler->closed = closed;
	reconciler->closed_context = context;
	reconciler->open = 1;
	for (unsigned i = 0; i < reconciler->sources.tgtd_count; i++) {
		if (!reconciler->tgtds[i].broker)
			continue;
		reconciler->open++;
		hf_local_client_close(reconciler->tgtds[i].broker, part_closed, reconciler);
	}
	if (reconciler->volumed) {
		reconciler->open++;
		hf_local_client_close(reconciler->volumed, part_closed, reconciler);
	}
	hf_sources_close(&reconciler->sources, part_closed, reconciler);
}

/* "host:port, host:port" */
static int read_portals(struct hf_reconciler *reconciler, struct hf_errmsg *message)
{
	const char *at = reconciler->config.portals;
	unsigned count = 0;

	while (*at) {
		size_t length = strcspn(at, ", ");

		if (length && count == HF_TGTDS_MAX)
			return hf_fail(message, HF_EINVAL, "more than %u portals", HF_TGTDS_MAX);
		if (length >= HF_PORTAL_MAX)
			return hf_fail(message, HF_EINVAL, "a portal is too long");
		if (length)
			snprintf(reconciler->tgtds[count++].portal, HF_PORTAL_MAX, "%.*s",
				 (int)length, at);
		at += length;
		at += strspn(at, ", ");
	}
	reconciler->sources.tgtd_count = count;
	return count ? 0 : hf_fail(message, HF_EINVAL, "there is no portal");
}

static int open_client(struct hf_reconciler *reconciler, const char *path,
		       struct hf_local_client **client, struct hf_errmsg *message)
{
	if (hf_local_client_open(reconciler->config.loop, path, client) != 0)
		return hf_fail(message, HF_EINVAL, "%s: the path is too long for a socket", path);
	hf_local_client_trust(*client, reconciler->config.local_uid);
	return 0;
}

static int open_clients(struct hf_reconciler *reconciler, struct hf_errmsg *message)
{
	const char *run_dir = reconciler->config.run_dir;
	char path[256];
	int err;

	snprintf(path, sizeof path, "%s/volumed.sock", run_dir);
	err = open_client(reconciler, path, &reconciler->volumed, message);
	for (unsigned i = 0; !err && i < reconciler->sources.tgtd_count; i++) {
		hf_broker_socket(run_dir, i, path, sizeof path);
		err = open_client(reconciler, path, &reconciler->tgtds[i].broker, message);
	}
	return err;
}

int hf_reconciler_open(const struct hf_reconciler_config *config, struct hf_reconciler **out,
		       struct hf_errmsg *message)
{
	struct hf_reconciler *reconciler = calloc(1, sizeof *reconciler);
	int err;

	if (!reconciler)
		return hf_fail(message, HF_ENOMEM, "out of memory");
	reconciler->magic = HF_RECONCILER_MAGIC;
	reconciler->config = *config;
	hf_list_init(&reconciler->members);
	reconciler->sources.changed = on_sources_changed;
	reconciler->sources.interval_ms = sources_interval_ms;
	reconciler->sources.context = reconciler;
	err = read_portals(reconciler, message);
	if (!err)
		err = open_clients(reconciler, message);
	if (!err)
		err = hf_sources_open(&reconciler->sources, config->loop, config->run_dir,
				      config->local_uid, message);
	if (err) {
		hf_reconciler_close(reconciler, NULL, NULL);
		return err;
	}
	*out = reconciler;
	return 0;
}
