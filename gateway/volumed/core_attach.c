/* How a volume comes: from the log's memory, which serves at once while the remote side opens
 * behind it, or from the store alone, which has to answer first. Core's thread.
 *
 *   unknown ──attach──▶ OPENING, not accepting ──store answers──▶ ATTACH record ──▶ ATTACHED
 *   in the log ──attach──▶ OPENING, accepting ──ATTACH record──▶ done; store answers ──▶ ATTACHED
 *
 * When the store answers, its recovery point is compared with what the log says; what does not hang
 * together ends as FAILED with an alarm, never as a guess. */
#include <stdio.h>
#include <string.h>

#include "gateway/volumed/core_state.h"

#define OPEN_DEADLINE_S 60u
#define VOLUME_SIZE_MAX (1ull << 55) /* bytes */

void hf_core_changes_done(struct hf_core *core, struct hf_list *changes, int status,
			  const char *text)
{
	struct hf_list *entry;

	while ((entry = hf_list_pop_front(changes)) != NULL) {
		struct hf_volume_change *change =
			hf_container_of(entry, struct hf_volume_change, link);

		change->status = status;
		snprintf(change->message.text, sizeof change->message.text, "%s", text);
		hf_core_change_ended(core, change);
	}
}

static void change_end(struct hf_core *core, struct hf_volume_change *change, int status,
		       const char *text)
{
	change->status = hf_fail(&change->message, status, "%s", text);
	hf_core_change_ended(core, change);
}

/* ---- The ATTACH record -------------------------------------------------------------------------
 */

static void attach_logged(struct hf_core_volume *volume, struct hf_core_log *log, uint64_t batch,
			  int status)
{
	(void)log;
	volume->attach_records--;
	if (status == 0 && volume->since_batch == 0)
		volume->since_batch = batch;
	if (status != 0) {
		hf_core_changes_done(volume->core, &volume->attaching, status,
				     "the log cannot be written");
	} else if (volume->attach_records == 0) {
		volume->accepting = true;
		hf_core_changes_done(volume->core, &volume->attaching, 0, "");
		hf_core_volume_changed(volume);
	}
	hf_core_move_step(volume);
	hf_core_leave_step(volume);
}

void hf_core_attach_log(struct hf_core_volume *volume)
{
	struct hf_core_log *log = volume->home;
	struct hf_core_state_volume says;

	if (volume->move || volume->copying) {
		volume->attach_wanted = true; /* the log that it goes to has to know */
		return;
	}
	if (!log)
		log = hf_core_log_choose(volume->core, NULL);
	HF_ASSERT(log != NULL); /* a core has one that serves */
	if (!volume->home) {
		hf_core_log_pin(volume, log);
		volume->stay_first = volume->next_sequence;
	}
	volume->in_log = true;
	volume->attach_records++;
	hf_core_state_of(volume, &says);
	hf_core_control_append(log, HF_RECORD_ATTACH, 0, volume, &says, attach_logged);
}

/* ---- The remote side ---------------------------------------------------------------------------
 */

static void remote_fenced(void *context)
{
	struct hf_core_volume *volume = context;
	struct hf_core *core;

	HF_CHECK_MAGIC(volume, HF_CORE_VOLUME_MAGIC);
	core = volume->core;
	hf_core_enter(core);
	hf_core_volume_stop(volume, HF_VOLUME_FENCED, HF_EFENCED, "another holder has taken over");
	hf_core_leave(core);
}

static void remote_closed(void *context)
{
	struct hf_core_volume *volume = context;
	struct hf_core *core;

	HF_CHECK_MAGIC(volume, HF_CORE_VOLUME_MAGIC);
	core = volume->core;
	hf_core_enter(core);
	volume->remote = NULL;
	volume->closing_remote = false;
	core->holds--;
	hf_core_remote_open_again(volume);
	hf_core_leave_step(volume);
	hf_core_leave(core);
}

void hf_core_remote_close(struct hf_core_volume *volume)
{
	if (volume->opening) {
		hf_remote_open_cancel(&volume->open);
	} else if (volume->remote && !volume->closing_remote) {
		volume->closing_remote = true;
		volume->core->holds++;
		hf_remote_close(volume->remote, remote_closed, volume);
	}
}

/* NULL if the store's recovery point fits what the log holds, else why not. */
static const char *remote_misfit(const struct hf_core_volume *volume, uint64_t point)
{
	uint64_t last = volume->next_sequence - 1;

	if (point < volume->counted_through)
		return "the store holds less than it had confirmed";
	if (point > last && volume->queue.count > 0)
		return "the store holds writes that this log never had";
	if (volume->queue.count > 0 && volume->queue.first_sequence > point + 1)
		return "writes between the store and the log are missing";
	if (volume->queue.count > 0 &&
	    !hf_remote_written_under(volume->remote, volume->uploaded_through, volume->held_epoch,
				     volume->open.attach_epoch))
		return "another holder wrote what the log never had";
	return NULL;
}

static void remote_adopt(struct hf_core_volume *volume)
{
	uint64_t point = hf_remote_recovery_point(volume->remote);
	const char *misfit = remote_misfit(volume, point);

	if (misfit) {
		hf_core_volume_stop(volume, HF_VOLUME_FAILED, HF_ECORRUPT, misfit);
		return;
	}
	if (volume->queue.count == 0 && volume->next_sequence <= point) {
		volume->next_sequence = point + 1;
		volume->durable_sequence = point;
	}
	if (point != volume->counted_through)
		hf_core_clean_drop_all(volume); /* somebody else may have written */
	volume->next_upload = point + 1;
	volume->gather_next = 0;
	hf_core_upload_counted(volume, point);
	if (volume->state == HF_VOLUME_OPENING)
		hf_core_volume_set_state(volume, HF_VOLUME_ATTACHED, 0, "%s", "");
	hf_remote_set_size(volume->remote, volume->config.size_bytes);
	if (!volume->in_log)
		volume->uploaded_through = point;
	if (!volume->in_log || volume->held_epoch != volume->open.attach_epoch) {
		volume->held_epoch = volume->open.attach_epoch;
		hf_core_attach_log(volume);
	}
	hf_core_uploaded_now(volume);
	hf_core_unpark_all(volume, 0);
	hf_core_upload_schedule(volume->core);
	hf_core_leave_step(volume); /* it may have waited for this alone */
}

/* The epoch was raised while the remote side opened under the one before: what came of that does
 * not count. */
static bool epoch_is_outdated(const struct hf_core_volume *volume)
{
	return volume->in_log && volume->state == HF_VOLUME_OPENING &&
	       volume->open.attach_epoch != volume->config.attach_epoch;
}

static void remote_not_opened(struct hf_core_volume *volume, int status, const char *text)
{
	struct hf_core *core = volume->core;

	if (!volume->in_log && volume->state == HF_VOLUME_DETACHING)
		volume->force = true; /* it never was here: nothing to drain */
	if (volume->force || volume->state == HF_VOLUME_DELETING || core->closing) {
		hf_core_leave_step(volume);
		return;
	}
	if (epoch_is_outdated(volume)) {
		hf_core_remote_open_again(volume);
		return;
	}
	if (volume->in_log) {
		hf_core_volume_stop(volume,
				    status == HF_EFENCED ? HF_VOLUME_FENCED : HF_VOLUME_FAILED,
				    status, text);
		return;
	}
	hf_core_changes_done(core, &volume->attaching, status, text);
	hf_core_volume_free(volume);
}

static void remote_opened(struct hf_remote_open *open)
{
	struct hf_core_volume *volume = open->context;
	struct hf_core *core;

	HF_CHECK_MAGIC(volume, HF_CORE_VOLUME_MAGIC);
	core = volume->core;
	hf_core_enter(core);
	volume->opening = false;
	core->holds--;
	explicit_bzero(open->wrap_key, sizeof open->wrap_key);
	if (open->status != 0) {
		remote_not_opened(volume, open->status, open->message.text);
	} else {
		volume->remote = open->remote;
		volume->rebuild_map = false;
		if (open->map_damaged)
			hf_core_alarm(core, volume->config.volume,
				      "%s; the map was built from the objects", open->message.text);
		if (core->closing || volume->force || volume->state == HF_VOLUME_DELETING ||
		    volume->state == HF_VOLUME_FENCED || volume->state == HF_VOLUME_FAILED ||
		    epoch_is_outdated(volume)) {
			hf_core_remote_close(volume);
			hf_core_leave_step(volume);
		} else {
			remote_adopt(volume);
		}
	}
	hf_core_leave(core);
}

void hf_core_remote_open(struct hf_core_volume *volume, uint64_t deadline_ns)
{
	struct hf_core *core = volume->core;

	if (volume->remote || volume->opening || !volume->has_key)
		return;
	volume->opening = true;
	core->holds++;
	volume->open = (struct hf_remote_open){.env = core->env,
					       .tenant = volume->config.tenant,
					       .volume = volume->config.volume,
					       .attach_epoch = volume->config.attach_epoch,
					       .size_bytes = volume->config.size_bytes,
					       .claim = true,
					       .create = volume->config.create,
					       .deadline_ns = deadline_ns,
					       .claims_look_ms = core->config.claims_look_ms,
					       .cache = hf_rcache_table(core->cache),
					       .maps = core->maps,
					       .checkpoints = core->config.checkpoints,
					       .rebuild_map = volume->rebuild_map,
					       .advanced = hf_core_upload_advanced,
					       .fenced = remote_fenced,
					       .context = volume,
					       .opened = remote_opened};
	memcpy(volume->open.wrap_key, volume->config.wrap_key, HF_WRAP_KEY_BYTES);
	hf_remote_open_start(&volume->open);
}

void hf_core_remote_open_again(struct hf_core_volume *volume)
{
	if (volume->state == HF_VOLUME_OPENING && volume->in_log && volume->uploads == 0 &&
	    !volume->core->closing)
		hf_core_remote_open(volume, 0);
}

/* ---- Attaching ---------------------------------------------------------------------------------
 */

static const char *config_problem(const struct hf_volume_config *config)
{
	if (config->volume == 0 || config->tenant == 0)
		return "a volume needs its number and its tenant's";
	if (config->size_bytes == 0 || config->size_bytes % 4096 != 0 ||
	    config->size_bytes > VOLUME_SIZE_MAX)
		return "a volume's size is a multiple of 4096 bytes and at most 32 PiB";
	return NULL;
}

static int known_problem(const struct hf_core_volume *volume, const struct hf_volume_config *config,
			 const char **text)
{
	if (volume->state == HF_VOLUME_DETACHING || volume->state == HF_VOLUME_DELETING) {
		*text = "the volume is being detached or deleted";
		return HF_EBUSY;
	}
	if (volume->state == HF_VOLUME_FENCED) {
		*text = "another holder has taken over; detach it here first";
		return HF_EFENCED;
	}
	if (volume->must_reach > volume->uploaded_through) {
		*text = "the log misses records that were not uploaded";
		return HF_ECORRUPT;
	}
	if (volume->config.tenant != config->tenant) {
		*text = "the volume belongs to another tenant";
		return HF_EINVAL;
	}
	if (config->size_bytes < volume->config.size_bytes) {
		*text = "a volume cannot shrink";
		return HF_EINVAL;
	}
	if (config->attach_epoch < volume->config.attach_epoch) {
		*text = "the attach epoch is older than the one in force";
		return HF_ESTALE;
	}
	return 0;
}

/* True if the log has to learn of it. */
static bool config_apply(struct hf_core_volume *volume, const struct hf_volume_config *config)
{
	struct hf_volume_config *own = &volume->config;
	bool changed = own->size_bytes != config->size_bytes ||
		       own->attach_epoch != config->attach_epoch ||
		       own->write_cache != config->write_cache;

	*own = *config;
	volume->has_key = true;
	if (volume->remote && !volume->closing_remote)
		hf_remote_set_size(volume->remote, config->size_bytes);
	return changed || volume->attach_records > 0 || volume->attach_wanted;
}

static void attach_known(struct hf_core_volume *volume, struct hf_volume_change *change)
{
	const char *text;
	int status = known_problem(volume, &change->config, &text);
	bool changed, raised;

	if (status != 0) {
		change_end(volume->core, change, status, text);
		return;
	}
	raised = volume->config.attach_epoch != change->config.attach_epoch;
	changed = config_apply(volume, &change->config);
	hf_list_push_back(&volume->attaching, &change->link);
	if (!volume->in_log)
		return; /* being opened by an earlier attach: ends with it */
	volume->config.create = false;
	if (volume->state == HF_VOLUME_FAILED || (raised && volume->state == HF_VOLUME_ATTACHED))
		hf_core_volume_set_state(volume, HF_VOLUME_OPENING, 0, "%s", "");
	if (raised && volume->remote)
		hf_core_remote_close(volume); /* the new epoch needs a claim of its own */
	else
		hf_core_remote_open_again(volume);
	if (changed)
		hf_core_attach_log(volume);
	else
		hf_core_changes_done(volume->core, &volume->attaching, 0, "");
}

void hf_core_attach(struct hf_core *core, struct hf_volume_change *change)
{
	const char *problem = config_problem(&change->config);
	struct hf_core_volume *volume;

	hf_core_enter(core);
	volume = hf_core_volume_find(core, change->config.volume);
	if (core->closing) {
		change_end(core, change, HF_ECANCELED, "closing");
	} else if (problem) {
		change_end(core, change, HF_EINVAL, problem);
	} else if (volume) {
		attach_known(volume, change);
	} else if (!change->config.create && hf_core_logs_are_missing(core)) {
		change_end(core, change, HF_ENOTREADY,
			   "a write log is missing, and the volume may be in it");
	} else if (core->volume_count >= HF_CORE_VOLUMES_MAX) {
		change_end(core, change, HF_ENOMEM, "too many volumes on one gateway");
	} else {
		volume = hf_core_volume_create(core, &change->config);
		volume->has_key = true;
		hf_list_push_back(&volume->attaching, &change->link);
		hf_core_remote_open(volume,
				    hf_env_now_ns(core->env) + OPEN_DEADLINE_S * HF_NS_PER_S);
	}
	hf_core_leave_later(core);
}
