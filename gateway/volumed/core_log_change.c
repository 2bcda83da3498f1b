/* Logs that come and go while the core serves. One that goes is drained first: its volumes move to
 * other logs, and when nothing that is needed lies in it, it is closed. Core's thread. */
#include <stdlib.h>
#include <string.h>

#include "gateway/volumed/core_state.h"

static void change_end(struct hf_core_log_change *change, int status, const char *text)
{
	change->status = status ? hf_fail(&change->message, status, "%s", text) : 0;
	change->done(change);
}

/* ---- Coming ------------------------------------------------------------------------------------
 */

static void added_closed(void *context)
{
	struct hf_core_log *log = context;
	struct hf_core_log_change *change = log->change;
	struct hf_core *core = log->core;

	HF_CHECK_MAGIC(log, HF_CORE_LOG_MAGIC);
	hf_core_enter(core);
	hf_core_log_destroy(log);
	core->holds--;
	hf_core_leave(core);
	change_end(change, HF_EEXIST, "the log is not an empty one");
}

static void added(struct hf_wlog_open *open)
{
	struct hf_core_log *log = hf_container_of(open, struct hf_core_log, open);
	struct hf_core_log_change *change = log->change;
	struct hf_core *core = log->core;

	HF_CHECK_MAGIC(log, HF_CORE_LOG_MAGIC);
	if (open->status == 0 && (open->records > 0 || core->closing)) {
		hf_wlog_close(open->wlog, added_closed, log);
		return;
	}
	hf_core_enter(core);
	core->holds--;
	log->change = NULL;
	if (open->status != 0) {
		hf_core_log_destroy(log);
	} else {
		log->wlog = open->wlog;
		memcpy(log->uuid, open->uuid, sizeof log->uuid);
		log->state = HF_CORE_LOG_SERVING;
		hf_core_found_destroy(log->found);
		log->found = NULL;
	}
	hf_core_leave(core);
	change_end(change, open->status, open->message.text);
}

void hf_core_log_add(struct hf_core *core, struct hf_core_log_change *change)
{
	struct hf_core_log *log = core->closing ? NULL : hf_core_log_create(core, change->disk);

	if (!log) {
		change_end(change, HF_EBUSY, "there are as many logs as can be");
		return;
	}
	core->holds++;
	log->change = change;
	log->open.config.env = core->env;
	log->open.config.disk = log->disk;
	log->open.config.owner = &log->owner;
	log->open.opened = added;
	hf_wlog_open_start(&log->open);
}

/* ---- Going -------------------------------------------------------------------------------------
 */

static void drained(void *context)
{
	struct hf_core_log *log = context;
	struct hf_core_log_change *change = log->change;
	struct hf_core *core = log->core;

	HF_CHECK_MAGIC(log, HF_CORE_LOG_MAGIC);
	hf_core_enter(core);
	log->wlog = NULL;
	hf_core_log_destroy(log);
	core->logs_draining--;
	core->holds--;
	hf_core_leave(core);
	change_end(change, 0, "");
}

static void drain_volume(struct hf_core_volume *volume, struct hf_core_log *log)
{
	struct hf_core_log *to;

	if (volume->home == log && !volume->move) {
		to = hf_core_log_choose(volume->core, log);
		if (to)
			hf_core_move_start(volume, to);
	}
	if (volume->home != log && hf_core_volume_was_in(volume, log))
		hf_core_copy_out(volume, log);
	if (volume->counted_through > volume->uploaded_through &&
	    hf_core_volume_was_in(volume, log))
		hf_core_uploaded_now(volume);
}

static bool is_drained(const struct hf_core_log *log)
{
	if (log->pinned > 0 || log->uploaded_busy || hf_core_segments_live(log) > 0 ||
	    hf_wlog_spare_bytes(log->wlog) > 0 || log->retiring || log->copying)
		return false;
	hf_list_for_each (cursor, &log->core->volumes) {
		const struct hf_core_volume *volume =
			hf_container_of(cursor, struct hf_core_volume, link);

		if (volume->move || volume->copying || volume->uploads > 0 ||
		    hf_core_volume_was_in(volume, log))
			return false;
	}
	return true;
}

void hf_core_logs_drain_step(struct hf_core *core)
{
	if (core->closing)
		return;
	hf_core_for_each_log (log, core) {
		if (log->state != HF_CORE_LOG_DRAINING)
			continue;
		hf_list_for_each (cursor, &core->volumes) {
			drain_volume(hf_container_of(cursor, struct hf_core_volume, link), log);
		}
		if (!is_drained(log))
			continue;
		log->state = HF_CORE_LOG_CLOSING;
		core->holds++;
		hf_wlog_close(log->wlog, drained, log);
	}
}

void hf_core_log_drain(struct hf_core *core, struct hf_core_log_change *change)
{
	hf_core_for_each_log (log, core) {
		if (log->disk != change->disk || log->state != HF_CORE_LOG_SERVING)
			continue;
		if (!hf_core_log_choose(core, log)) {
			change_end(change, HF_EBUSY, "it is the only log that serves");
			return;
		}
		hf_core_enter(core);
		log->state = HF_CORE_LOG_DRAINING;
		log->change = change;
		core->logs_draining++;
		hf_core_leave_later(core);
		hf_env_timer_set(core->env, &core->ended_timer, hf_env_now_ns(core->env));
		return;
	}
	change_end(change, HF_ENOENT, "no log that serves is there");
}

void hf_core_logs_stop(struct hf_core *core)
{
	hf_core_for_each_log (log, core) {
		if (log->state != HF_CORE_LOG_DRAINING)
			continue;
		log->state = HF_CORE_LOG_SERVING;
		core->logs_draining--;
		change_end(log->change, HF_ECANCELED, "closing");
	}
}
