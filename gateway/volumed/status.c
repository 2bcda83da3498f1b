/* status.h. Messages are allocated as protobuf-c frees them: strings and arrays with malloc. */
#include "gateway/volumed/status.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"

/* For people. */
static const char *state_text(enum hf_volume_state state)
{
	switch (state) {
	case HF_VOLUME_OPENING:
		return "opening";
	case HF_VOLUME_ATTACHED:
		return "attached";
	case HF_VOLUME_DETACHING:
		return "detaching";
	case HF_VOLUME_DETACHED:
		return "detached";
	case HF_VOLUME_DELETING:
		return "deleting";
	case HF_VOLUME_FENCED:
		return "fenced";
	case HF_VOLUME_FAILED:
		return "failed";
	}
	return "unknown";
}

static char *copy_text(const char *text)
{
	char *copy = strdup(text);

	HF_ASSERT(copy);
	return copy;
}

static Holdfast__VolumedVolume *new_volume(uint64_t volume, enum hf_volume_state state, int error,
					   const char *reason)
{
	Holdfast__VolumedVolume *out = malloc(sizeof *out);

	HF_ASSERT(out);
	holdfast__volumed_volume__init(out);
	out->volume = volume;
	out->state = state;
	out->state_text = copy_text(state_text(state));
	out->error = -error;
	out->reason = copy_text(reason);
	return out;
}

/* A volume that the log has but whose attach failed is failed for whoever asks. */
static Holdfast__VolumedVolume *volume_of_core(const struct hf_volume_status *from,
					       const struct hf_known_volume *known)
{
	bool failed = known && known->error && from->state == HF_VOLUME_OPENING;
	Holdfast__VolumedVolume *out =
		failed ? new_volume(from->volume, HF_VOLUME_FAILED, known->error,
				    known->reason.text)
		       : new_volume(from->volume, from->state, from->error, from->reason);

	out->size_bytes = from->size_bytes;
	out->recovery_point = from->recovery_point;
	out->last_sequence = from->last_sequence;
	out->lag_bytes = from->lag_bytes;
	out->age_ms = from->age_ms;
	out->read_ops = from->read_ops;
	out->read_bytes = from->read_bytes;
	out->write_ops = from->write_ops;
	out->write_bytes = from->write_bytes;
	out->uploaded_objects = from->uploaded_objects;
	out->uploaded_bytes = from->uploaded_bytes;
	out->fetched_bytes = from->fetched_bytes;
	out->bad_extents = from->bad_extents;
	out->attach_epoch = from->attach_epoch;
	out->start = from->start;
	return out;
}

static Holdfast__VolumedVolume *volume_of_known(const struct hf_known_volume *known)
{
	enum hf_volume_state state = HF_VOLUME_OPENING;
	Holdfast__VolumedVolume *out;

	if (known->error)
		state = HF_VOLUME_FAILED;
	else if (known->detached)
		state = HF_VOLUME_DETACHED;
	out = new_volume(known->config.volume, state, known->error, known->reason.text);
	out->size_bytes = known->config.size_bytes;
	out->attach_epoch = known->config.attach_epoch;
	return out;
}

static bool has_volume(const Holdfast__VolumedStatus *status, uint64_t volume)
{
	for (size_t i = 0; i < status->n_volumes; i++)
		if (status->volumes[i]->volume == volume)
			return true;
	return false;
}

static void fill_volumes(const struct hf_status_source *source, Holdfast__VolumedStatus *status)
{
	unsigned count = hf_core_volumes(source->core, NULL, 0), known_count = 0;
	uint64_t *numbers = calloc(count + 1, sizeof *numbers);

	hf_list_for_each (link, hf_volumes_known(source->volumes))
		known_count++;
	status->volumes = calloc(count + known_count + 1, sizeof(Holdfast__VolumedVolume *));
	HF_ASSERT(numbers && status->volumes);
	count = hf_core_volumes(source->core, numbers, count);
	for (unsigned i = 0; i < count; i++) {
		struct hf_volume_status one;

		if (hf_core_volume_status(source->core, numbers[i], &one) == 0)
			status->volumes[status->n_volumes++] =
				volume_of_core(&one, hf_volumes_find(source->volumes, numbers[i]));
	}
	free(numbers);
	hf_list_for_each (link, hf_volumes_known(source->volumes)) {
		const struct hf_known_volume *known =
			hf_container_of(link, struct hf_known_volume, link);

		if (!has_volume(status, known->config.volume))
			status->volumes[status->n_volumes++] = volume_of_known(known);
	}
}

static Holdfast__VolumedLog *new_log(const struct hf_core_log_status *from, const char *path)
{
	Holdfast__VolumedLog *out = malloc(sizeof *out);

	HF_ASSERT(out);
	holdfast__volumed_log__init(out);
	out->path = copy_text(path);
	out->state = copy_text(from->state_text);
	out->reason = copy_text(from->reason);
	out->volumes = from->volumes;
	out->total_bytes = from->total_bytes;
	out->free_bytes = from->free_bytes;
	out->written_bytes = from->written_bytes;
	out->full_in_s = from->full_in_s == UINT64_MAX ? 0 : from->full_in_s + 1;
	out->needed_records = from->needed_records;
	return out;
}

static void fill_logs(const struct hf_status_source *source, Holdfast__VolumedStatus *status)
{
	struct hf_core_log_status logs[HF_CORE_LOGS_MAX];
	unsigned count = hf_core_logs(source->core, logs), missing = 0;

	status->logs = calloc(count + 1, sizeof(Holdfast__VolumedLog *));
	HF_ASSERT(status->logs);
	for (unsigned i = 0; i < count; i++)
		status->logs[status->n_logs++] = new_log(
			&logs[i], hf_logs_path(source->logs, logs[i].disk,
					       logs[i].disk == HF_CORE_NO_DISK ? missing++ : 0));
}

static void fill_alarms(const struct hf_alarms *alarms, Holdfast__VolumedStatus *status)
{
	unsigned count = hf_alarms_count(alarms);

	status->alarms = calloc(count + 1, sizeof(char *));
	HF_ASSERT(status->alarms);
	for (unsigned i = 0; i < count; i++)
		status->alarms[status->n_alarms++] = copy_text(hf_alarms_get(alarms, i));
}

static Holdfast__VolumedCache *new_cache(const struct hf_rcache_stats *from)
{
	Holdfast__VolumedCache *out = malloc(sizeof *out);

	HF_ASSERT(out);
	holdfast__volumed_cache__init(out);
	out->memory_bytes = from->memory_bytes;
	out->memory_limit_bytes = from->memory_limit_bytes;
	out->memory_hits = from->memory_hits;
	out->memory_hit_bytes = from->memory_hit_bytes;
	out->disk_bytes = from->disk_bytes;
	out->disk_limit_bytes = from->disk_limit_bytes;
	out->disk_hits = from->disk_hits;
	out->disk_hit_bytes = from->disk_hit_bytes;
	out->disk_written_bytes = from->disk_written_bytes;
	out->misses = from->misses;
	out->evictions = from->evictions;
	out->damaged = from->damaged;
	out->recovered_chunks = from->recovered_chunks;
	out->index_bytes = from->index_bytes;
	out->loading = from->loading;
	out->disk_lost = from->disk_lost;
	return out;
}

Holdfast__VolumedStatus *hf_status_create(const struct hf_status_source *source)
{
	Holdfast__VolumedStatus *status = malloc(sizeof *status);
	struct hf_core_status core;

	HF_ASSERT(status);
	holdfast__volumed_status__init(status);
	hf_core_status(source->core, &core);
	status->log_total_bytes = core.log_total_bytes;
	status->log_free_bytes = core.log_free_bytes;
	status->cache = new_cache(&core.cache);
	status->log_written_bytes = core.log_written_bytes;
	status->store_reachable = source->store_in_use && core.store_reachable;
	status->requests_under_way = core.requests_under_way;
	status->uploads_under_way = core.uploads_under_way;
	status->pid = (uint64_t)getpid();
	status->rings = source->rings;
	status->log_full_in_s = core.full_in_s == UINT64_MAX ? 0 : core.full_in_s + 1;
	fill_logs(source, status);
	fill_volumes(source, status);
	fill_alarms(source->alarms, status);
	return status;
}

void hf_status_free(Holdfast__VolumedStatus *status)
{
	holdfast__volumed_status__free_unpacked(status, NULL);
}
