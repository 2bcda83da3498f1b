/* The logs of the core: up to HF_CORE_LOGS_MAX write logs, each on a disk of its own. A volume is
 * in one of them (its home), which takes all its records; records that it left in others when it
 * moved stay readable there. Places of the core carry the log's index. Core's thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/volumed/core_state.h"

#define SERIAL_SPAN (1ull << HF_WLOG_SERIAL_BITS)

static struct hf_core_log **log_slot(struct hf_core *core)
{
	for (unsigned i = 0; i < HF_CORE_LOGS_MAX; i++)
		if (!core->logs[i])
			return &core->logs[i];
	return NULL;
}

struct hf_core_log *hf_core_log_create(struct hf_core *core, unsigned disk)
{
	struct hf_core_log **slot = log_slot(core);
	struct hf_core_log *log;

	if (!slot)
		return NULL;
	log = hf_core_alloc(sizeof *log);
	log->magic = HF_CORE_LOG_MAGIC;
	log->core = core;
	log->index = (unsigned)(slot - core->logs);
	log->disk = disk;
	log->state = HF_CORE_LOG_OPENING;
	log->owner = hf_core_log_owner;
	log->owner.context = log;
	for (unsigned i = 0; i < HF_CORE_SEGMENT_BUCKETS; i++)
		hf_list_init(&log->segments[i]);
	*slot = log;
	return log;
}

void hf_core_log_destroy(struct hf_core_log *log)
{
	HF_CHECK_MAGIC(log, HF_CORE_LOG_MAGIC);
	HF_ASSERT(!log->wlog && log->pinned == 0);
	hf_list_for_each (cursor, &log->core->volumes) { /* what it had been kept for */
		hf_core_clean_drop_all(hf_container_of(cursor, struct hf_core_volume, link));
	}
	hf_core_found_destroy(log->found);
	hf_core_segments_free(log);
	log->core->logs[log->index] = NULL;
	log->magic = 0;
	free(log);
}

void hf_core_log_fail(struct hf_core_log *log, int error, const char *text)
{
	log->state = HF_CORE_LOG_MISSING;
	log->error = error;
	snprintf(log->reason, sizeof log->reason, "%s", text);
}

struct hf_core_log *hf_core_log_find(struct hf_core *core, const uint8_t uuid[16])
{
	hf_core_for_each_log (log, core) {
		if (log->wlog && memcmp(log->uuid, uuid, sizeof log->uuid) == 0)
			return log;
	}
	return NULL;
}

struct hf_core_log *hf_core_log_choose(struct hf_core *core, const struct hf_core_log *but)
{
	struct hf_core_log *best = NULL;
	uint64_t best_bytes = 0;

	hf_core_for_each_log (log, core) {
		uint64_t bytes;

		if (log->state != HF_CORE_LOG_SERVING || log == but)
			continue;
		bytes = hf_wlog_free_bytes(log->wlog) / (log->pinned + 1);
		if (best && bytes <= best_bytes)
			continue;
		best = log;
		best_bytes = bytes;
	}
	return best;
}

bool hf_core_logs_are_missing(const struct hf_core *core)
{
	hf_core_for_each_log (log, core) {
		if (log->state == HF_CORE_LOG_MISSING)
			return true;
	}
	return false;
}

void hf_core_log_pin(struct hf_core_volume *volume, struct hf_core_log *log)
{
	if (volume->home)
		volume->home->pinned--;
	volume->home = log;
	if (log)
		log->pinned++;
}

/* ---- Places ------------------------------------------------------------------------------------
 */

uint64_t hf_core_source(const struct hf_core_log *log, uint64_t serial)
{
	return (uint64_t)log->index << HF_WLOG_SERIAL_BITS | (serial & (SERIAL_SPAN - 1));
}

struct hf_core_log *hf_core_log_at(const struct hf_core *core, uint64_t source)
{
	struct hf_core_log *log;

	HF_ASSERT(source >> HF_WLOG_SERIAL_BITS < HF_CORE_LOGS_MAX);
	log = core->logs[source >> HF_WLOG_SERIAL_BITS];
	HF_ASSERT(log != NULL);
	return log;
}

struct hf_place hf_core_log_place(const struct hf_core *core, const struct hf_place *place)
{
	const struct hf_core_log *log = hf_core_log_at(core, place->source);

	return (struct hf_place){
		.source = hf_wlog_serial_expand(log->wlog, place->source & (SERIAL_SPAN - 1)),
		.unit = place->unit};
}

void hf_core_log_read(struct hf_core *core, const struct hf_place *place, struct hf_wlog_read *read)
{
	read->place = hf_core_log_place(core, place);
	hf_wlog_read(hf_core_log_at(core, place->source)->wlog, read);
}

/* ---- Status ------------------------------------------------------------------------------------
 */

static const char *log_state_text(const struct hf_core_log *log)
{
	switch (log->state) {
	case HF_CORE_LOG_OPENING:
		return "opening";
	case HF_CORE_LOG_SERVING:
		return "serving";
	case HF_CORE_LOG_DRAINING:
		return "draining";
	case HF_CORE_LOG_CLOSING:
		return "closing";
	case HF_CORE_LOG_MISSING:
		return "missing";
	}
	return "unknown";
}

unsigned hf_core_logs(struct hf_core *core, struct hf_core_log_status *logs)
{
	unsigned count = 0;

	hf_core_for_each_log (log, core) {
		struct hf_core_log_status *status = &logs[count++];

		*status = (struct hf_core_log_status){.index = log->index,
						      .disk = log->disk,
						      .state_text = log_state_text(log),
						      .error = log->error,
						      .full_in_s = UINT64_MAX,
						      .volumes = log->pinned};
		memcpy(status->uuid, log->uuid, sizeof status->uuid);
		snprintf(status->reason, sizeof status->reason, "%s", log->reason);
		if (!log->wlog)
			continue;
		status->total_bytes = hf_wlog_total_bytes(log->wlog);
		status->free_bytes = hf_wlog_free_bytes(log->wlog);
		status->version = hf_wlog_version(log->wlog);
		status->needed_records = hf_core_segments_live(log);
		status->full_in_s = hf_core_pace_full_in_s(log);
		status->written_bytes = hf_wlog_written_bytes(log->wlog);
	}
	return count;
}
