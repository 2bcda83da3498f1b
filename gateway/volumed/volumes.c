/* The changes of volumes.h. A change's life: WAITING → IN_CORE → WAITING_TO_SAVE → SAVING → done; a
 * failure in the core skips the saving. What is remembered in memory follows what was saved.
 *
 *   attach   core attach, then state (attached, create off: the key ring is there now) and key file
 *   detach   core detach, then state (detached: kept for a later removal)
 *   remove   core delete, then its files are removed
 *   keep     nothing in the core; then what the shim left is written */
#include "gateway/volumed/volumes.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/ids.h"
#include "base/log.h"

#define BUCKETS      1024u
#define CHANGE_MAGIC 0x48464348u

enum phase { WAITING = 1, IN_CORE, WAITING_TO_SAVE, SAVING };

struct change {
	uint32_t magic;
	enum phase phase;
	struct hf_volumes *volumes;
	struct hf_list link;
	enum hf_control_verb verb;
	struct hf_volume_change core;
	struct hf_work save;
	int status;
	struct hf_errmsg message;
	void (*done)(void *context, int status, const struct hf_errmsg *message);
	void *context;
	void *kept; /* a KEEP's, in place of a verb */
	uint32_t kept_bytes;
	void (*kept_done)(void *owner, int status);
};

struct hf_volumes {
	const struct hf_state *state;
	struct hf_alarms *alarms;
	struct hf_env *env;
	struct hf_core *core;
	struct hf_list known;            /* hf_known_volume */
	struct hf_list buckets[BUCKETS]; /* the same, by volume */
	struct hf_list changes;          /* every change, in order of arrival */
	unsigned change_count;           /* without KEEPs, of which each volume has one at most */
	bool saving, stopping;
};

static void advance(struct hf_volumes *volumes);

/* ---- What is remembered ---- */

const struct hf_list *hf_volumes_known(const struct hf_volumes *volumes)
{
	return &volumes->known;
}

static struct hf_known_volume *find(const struct hf_volumes *volumes, uint64_t volume)
{
	const struct hf_list *bucket = &volumes->buckets[volume % BUCKETS];

	hf_list_for_each (link, bucket) {
		struct hf_known_volume *known =
			hf_container_of(link, struct hf_known_volume, bucket);

		if (known->config.volume == volume)
			return known;
	}
	return NULL;
}

const struct hf_known_volume *hf_volumes_find(const struct hf_volumes *volumes, uint64_t volume)
{
	return find(volumes, volume);
}

static struct hf_known_volume *remember(struct hf_volumes *volumes,
					const struct hf_volume_config *config, bool detached)
{
	struct hf_known_volume *known = find(volumes, config->volume);

	if (!known) {
		known = calloc(1, sizeof *known);
		HF_ASSERT(known);
		hf_list_push_back(&volumes->known, &known->link);
		hf_list_push_back(&volumes->buckets[config->volume % BUCKETS], &known->bucket);
	}
	known->config = *config;
	known->detached = detached;
	known->error = 0;
	known->reason.text[0] = '\0';
	return known;
}

static void replace_kept(struct hf_known_volume *known, void *bytes, uint32_t length)
{
	free(known->kept);
	known->kept = bytes;
	known->kept_bytes = length;
	known->kept_error = 0;
}

static void forget(struct hf_known_volume *known)
{
	if (!known)
		return;
	hf_list_remove(&known->link);
	hf_list_remove(&known->bucket);
	free(known->kept);
	explicit_bzero(known, sizeof *known);
	free(known);
}

/* ---- The end of a change ---- */

static void finish(struct change *change)
{
	struct hf_volumes *volumes = change->volumes;
	char id[HF_ID_TEXT_MAX];

	hf_list_remove(&change->link);
	volumes->change_count -= !change->kept_done;
	if (change->status)
		hf_warn("%s: %s: %s", hf_id_format(HF_ID_VOLUME, change->core.config.volume, id),
			hf_err_name(change->status), change->message.text);
	free(change->kept);
	if (change->kept_done)
		change->kept_done(change->context, change->status);
	else
		change->done(change->context, change->status, &change->message);
	explicit_bzero(change, sizeof *change);
	free(change);
}

static void save_run(struct hf_work *work)
{
	struct change *change = hf_container_of(work, struct change, save);
	const struct hf_state *state = change->volumes->state;
	struct hf_volume_config *config = &change->core.config;

	if (change->kept) {
		change->status = hf_state_save_kept(state, config->volume, change->kept,
						    change->kept_bytes, &change->message);
		return;
	}
	if (change->verb == HF_CONTROL_DETACH)
		change->status = hf_state_forget_kept(state, config->volume, &change->message);
	if (change->status)
		return;
	if (change->verb == HF_CONTROL_REMOVE)
		change->status = hf_state_forget_volume(state, config->volume, &change->message);
	else
		change->status = hf_state_save_volume(
			state, config, change->verb == HF_CONTROL_DETACH, &change->message);
}

/* What is remembered follows what was saved. */
static void saved(struct change *change)
{
	struct hf_volumes *volumes = change->volumes;
	struct hf_known_volume *known = find(volumes, change->core.config.volume);

	if (change->kept) {
		replace_kept(known, change->kept, change->kept_bytes);
		change->kept = NULL;
	} else if (change->verb == HF_CONTROL_REMOVE) {
		forget(known);
	} else {
		known = remember(volumes, &change->core.config, change->verb == HF_CONTROL_DETACH);
		if (known->detached)
			replace_kept(known, NULL, 0);
	}
}

static void save_done(struct hf_work *work)
{
	struct change *change = hf_container_of(work, struct change, save);
	struct hf_volumes *volumes = change->volumes;

	HF_CHECK_MAGIC(change, CHANGE_MAGIC);
	volumes->saving = false;
	if (!change->status)
		saved(change);
	finish(change);
	advance(volumes);
}

/* ---- Through the core ---- */

/* A repeated attach, and each one at a restart: the file says so already. */
static bool is_saved(const struct hf_known_volume *known, const struct hf_volume_config *config)
{
	const struct hf_volume_config *saved = &known->config;

	return !known->detached && !known->error && saved->tenant == config->tenant &&
	       saved->size_bytes == config->size_bytes &&
	       saved->attach_epoch == config->attach_epoch &&
	       saved->write_cache == config->write_cache && saved->create == config->create &&
	       saved->tgtd == config->tgtd &&
	       memcmp(saved->wrap_key, config->wrap_key, sizeof saved->wrap_key) == 0;
}

static void core_done(struct hf_volume_change *core)
{
	struct change *change = hf_container_of(core, struct change, core);
	struct hf_volumes *volumes = change->volumes;
	const struct hf_known_volume *known = find(volumes, core->config.volume);

	HF_CHECK_MAGIC(change, CHANGE_MAGIC);
	change->status = core->status;
	change->message = core->message;
	if (change->status && change->message.text[0] == '\0')
		hf_fail(&change->message, 0, "%s", hf_err_text(change->status));
	core->config.create = false;
	/* A detach of what is not here is done already. */
	if (change->verb == HF_CONTROL_DETACH && change->status == HF_ENOENT)
		change->status = 0;
	if (change->status || (change->verb == HF_CONTROL_DETACH && !known) ||
	    (change->verb == HF_CONTROL_ATTACH && known && is_saved(known, &core->config))) {
		finish(change);
	} else {
		if (change->verb == HF_CONTROL_DETACH)
			core->config = known->config;
		change->phase = WAITING_TO_SAVE;
	}
	advance(volumes);
}

static void start_remove(struct change *change)
{
	struct hf_volumes *volumes = change->volumes;
	const struct hf_known_volume *known = find(volumes, change->core.config.volume);
	struct hf_volume_status status;

	if (change->core.config.tenant == 0 && known && known->config.tenant != 0)
		change->core.config = known->config;
	if (change->core.config.tenant == 0 &&
	    hf_core_volume_status(volumes->core, change->core.config.volume, &status) != 0) {
		change->status = hf_fail(&change->message, HF_ENOENT,
					 "the volume is not known here, and no key was given");
		finish(change);
		return;
	}
	hf_core_delete(volumes->core, &change->core);
}

static void start(struct change *change)
{
	if (change->kept) {
		change->phase = WAITING_TO_SAVE;
		return;
	}
	change->phase = IN_CORE;
	change->core.done = core_done;
	if (change->verb == HF_CONTROL_ATTACH)
		hf_core_attach(change->volumes->core, &change->core);
	else if (change->verb == HF_CONTROL_DETACH)
		hf_core_detach(change->volumes->core, &change->core);
	else
		start_remove(change);
}

/* ---- Who goes next ---- */

static bool may_overtake(const struct change *change, const struct change *before)
{
	return change->verb == HF_CONTROL_DETACH && change->core.force &&
	       before->verb == HF_CONTROL_DETACH && !before->core.force && before->phase == IN_CORE;
}

static bool must_wait(const struct change *change)
{
	hf_list_for_each (link, &change->volumes->changes) {
		const struct change *before = hf_container_of(link, struct change, link);

		if (before == change)
			return false;
		if (before->core.config.volume == change->core.config.volume &&
		    !may_overtake(change, before))
			return true;
	}
	return false;
}

static struct change *next_to_start(struct hf_volumes *volumes)
{
	hf_list_for_each (link, &volumes->changes) {
		struct change *change = hf_container_of(link, struct change, link);

		if (change->phase == WAITING && !must_wait(change))
			return change;
	}
	return NULL;
}

static void save_next(struct hf_volumes *volumes)
{
	hf_list_for_each (link, &volumes->changes) {
		struct change *change = hf_container_of(link, struct change, link);

		if (volumes->saving || change->phase != WAITING_TO_SAVE)
			continue;
		volumes->saving = true;
		change->phase = SAVING;
		change->save.run = save_run;
		change->save.done = save_done;
		hf_env_work_submit(volumes->env, &change->save);
	}
}

static void advance(struct hf_volumes *volumes)
{
	struct change *change;

	while (!volumes->stopping && (change = next_to_start(volumes)) != NULL)
		start(change);
	save_next(volumes);
}

void hf_volumes_change(struct hf_volumes *volumes, const struct hf_control_request *request,
		       void (*done)(void *context, int status, const struct hf_errmsg *message),
		       void *context)
{
	struct hf_errmsg message = {""};
	struct change *change = NULL;
	int err = 0;

	if (volumes->stopping)
		err = hf_fail(&message, HF_ECANCELED, "holdfast-volumed is stopping");
	else if (volumes->change_count >= HF_CHANGES_MAX)
		err = hf_fail(&message, HF_EBUSY, "%u changes are under way", HF_CHANGES_MAX);
	else if (!(change = calloc(1, sizeof *change)))
		err = hf_fail(&message, HF_ENOMEM, "out of memory");
	if (err) {
		done(context, err, &message);
		return;
	}
	change->magic = CHANGE_MAGIC;
	change->phase = WAITING;
	change->volumes = volumes;
	change->verb = request->verb;
	change->core.config = request->config;
	change->core.force = request->force;
	change->done = done;
	change->context = context;
	volumes->change_count++;
	hf_list_push_back(&volumes->changes, &change->link);
	advance(volumes);
}

/* ---- What shims leave here ---- */

/* 0; HF_ENOTREADY unless it is attached, and nothing is under way that ends that; HF_EBUSY while a
 * KEEP of it is: a shim has one under way, and a flood of them would keep the administrator's
 * changes of other volumes waiting. */
static int check_keep(const struct hf_volumes *volumes, uint64_t volume)
{
	const struct hf_known_volume *known = find(volumes, volume);
	bool keeping = false;

	hf_list_for_each (link, &volumes->changes) {
		const struct change *change = hf_container_of(link, struct change, link);

		if (change->core.config.volume != volume)
			continue;
		if (!change->kept && change->verb != HF_CONTROL_ATTACH)
			return HF_ENOTREADY;
		keeping |= change->kept != NULL;
	}
	if (!known || known->detached || volumes->stopping)
		return HF_ENOTREADY;
	return keeping ? HF_EBUSY : 0;
}

void hf_volumes_keep(struct hf_volumes *volumes, uint64_t volume, const void *bytes,
		     uint32_t length, void (*done)(void *owner, int status), void *owner)
{
	struct change *change;
	int err = check_keep(volumes, volume);

	if (err) {
		done(owner, err);
		return;
	}
	change = calloc(1, sizeof *change);
	if (change)
		change->kept = malloc(length);
	if (!change || !change->kept) {
		free(change);
		done(owner, HF_ENOMEM);
		return;
	}
	memcpy(change->kept, bytes, length);
	change->kept_bytes = length;
	change->magic = CHANGE_MAGIC;
	change->phase = WAITING;
	change->volumes = volumes;
	change->core.config.volume = volume;
	change->kept_done = done;
	change->context = owner;
	hf_list_push_back(&volumes->changes, &change->link);
	advance(volumes);
}

int hf_volumes_recall(const struct hf_volumes *volumes, uint64_t volume, const void **bytes,
		      uint32_t *length)
{
	const struct hf_known_volume *known = find(volumes, volume);

	*bytes = known ? known->kept : NULL;
	*length = known ? known->kept_bytes : 0;
	return known ? known->kept_error : 0;
}

static void restore_kept(struct hf_volumes *volumes, struct hf_known_volume *known)
{
	struct hf_errmsg why = {""};
	void *bytes;
	size_t length;
	int err = hf_state_load_kept(volumes->state, known->config.volume, &bytes, &length, &why);

	replace_kept(known, bytes, (uint32_t)length);
	known->kept_error = err;
	if (err)
		hf_alarm_raise(volumes->alarms, known->config.volume, why.text);
}

/* ---- Life ---- */

struct hf_volumes *hf_volumes_create(const struct hf_state *state, struct hf_alarms *alarms)
{
	struct hf_volumes *volumes = calloc(1, sizeof *volumes);

	if (!volumes)
		return NULL;
	volumes->state = state;
	volumes->alarms = alarms;
	hf_list_init(&volumes->known);
	for (unsigned i = 0; i < BUCKETS; i++)
		hf_list_init(&volumes->buckets[i]);
	hf_list_init(&volumes->changes);
	return volumes;
}

void hf_volumes_start(struct hf_volumes *volumes, struct hf_env *env, struct hf_core *core)
{
	volumes->env = env;
	volumes->core = core;
}

static void restored(void *context, int status, const struct hf_errmsg *message)
{
	struct hf_known_volume *known = context;

	if (status == HF_ECANCELED)
		return;
	known->error = status;
	known->reason = *message;
}

static void restore_one(void *context, int status, const struct hf_volume_config *config,
			bool detached, const struct hf_errmsg *why)
{
	struct hf_volumes *volumes = context;
	struct hf_known_volume *known = remember(volumes, config, detached);
	struct hf_control_request request = {.verb = HF_CONTROL_ATTACH, .config = *config};

	if (!detached)
		restore_kept(volumes, known);
	if (status) {
		known->error = status;
		known->reason = *why;
		hf_alarm_raise(volumes->alarms, config->volume, why->text);
	} else if (!detached) {
		hf_volumes_change(volumes, &request, restored, known);
	}
	explicit_bzero(&request, sizeof request);
}

int hf_volumes_restore(struct hf_volumes *volumes, struct hf_errmsg *message)
{
	return hf_state_each_volume(volumes->state, restore_one, volumes, message);
}

void hf_volumes_stop(struct hf_volumes *volumes)
{
	volumes->stopping = true;
	hf_list_for_each_safe (link, &volumes->changes) {
		struct change *change = hf_container_of(link, struct change, link);

		if (change->phase != WAITING)
			continue;
		change->status =
			hf_fail(&change->message, HF_ECANCELED, "holdfast-volumed is stopping");
		finish(change);
	}
}

void hf_volumes_destroy(struct hf_volumes *volumes)
{
	HF_ASSERT(hf_list_empty(&volumes->changes));
	while (!hf_list_empty(&volumes->known))
		forget(hf_container_of(volumes->known.next, struct hf_known_volume, link));
	free(volumes);
}
