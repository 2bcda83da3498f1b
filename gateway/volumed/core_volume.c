/* A volume as the core knows it: its place in the tables, its state, what it reports. Core's
 * thread; freed only when nothing of it is under way. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "gateway/volumed/core_internal.h"

#define BIT(state) (1u << (state))

/* To which states a volume may go from each. */
static const unsigned volume_moves[] = {
	[HF_VOLUME_OPENING] = BIT(HF_VOLUME_ATTACHED) | BIT(HF_VOLUME_DETACHING) |
			      BIT(HF_VOLUME_DELETING) | BIT(HF_VOLUME_FENCED) |
			      BIT(HF_VOLUME_FAILED),
	[HF_VOLUME_ATTACHED] = BIT(HF_VOLUME_OPENING) | BIT(HF_VOLUME_DETACHING) |
			       BIT(HF_VOLUME_DELETING) | BIT(HF_VOLUME_FENCED) |
			       BIT(HF_VOLUME_FAILED),
	[HF_VOLUME_DETACHING] = BIT(HF_VOLUME_DETACHED) | BIT(HF_VOLUME_DELETING) |
				BIT(HF_VOLUME_FENCED) | BIT(HF_VOLUME_FAILED),
	[HF_VOLUME_DETACHED] = 0,
	[HF_VOLUME_DELETING] = BIT(HF_VOLUME_DETACHED),
	[HF_VOLUME_FENCED] = BIT(HF_VOLUME_DETACHING) | BIT(HF_VOLUME_DELETING),
	[HF_VOLUME_FAILED] =
		BIT(HF_VOLUME_OPENING) | BIT(HF_VOLUME_DETACHING) | BIT(HF_VOLUME_DELETING),
};

void hf_core_alarm(struct hf_core *core, uint64_t volume, const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	if (core->config.alarm)
		core->config.alarm(core->config.context, volume, text);
	else
		hf_error("alarm volume=%016llx: %s", (unsigned long long)volume, text);
}

static struct hf_list *volume_bucket(struct hf_core *core, uint64_t number)
{
	uint64_t mixed = number * 0x9e3779b97f4a7c15ull;

	return &core->volume_buckets[(mixed >> 32) % HF_CORE_VOLUME_BUCKETS];
}

struct hf_core_volume *hf_core_volume_find(struct hf_core *core, uint64_t number)
{
	hf_list_for_each (cursor, volume_bucket(core, number)) {
		struct hf_core_volume *volume =
			hf_container_of(cursor, struct hf_core_volume, bucket);

		if (volume->config.volume == number)
			return volume;
	}
	return NULL;
}

static void parked_expired(struct hf_timer *timer)
{
	struct hf_core_volume *volume = hf_container_of(timer, struct hf_core_volume, parked_timer);
	struct hf_core *core = volume->core;

	HF_CHECK_MAGIC(volume, HF_CORE_VOLUME_MAGIC);
	hf_core_enter(core);
	while (!hf_list_empty(&volume->parked)) {
		struct hf_core_read *read =
			hf_container_of(volume->parked.next, struct hf_core_read, link);

		if (read->deadline_ns > hf_env_now_ns(core->env)) {
			hf_env_timer_set(core->env, &volume->parked_timer, read->deadline_ns);
			break;
		}
		hf_core_read_unpark(read, HF_ENOTREADY);
	}
	hf_core_leave(core);
}

static void upload_due(struct hf_timer *timer)
{
	struct hf_core_volume *volume = hf_container_of(timer, struct hf_core_volume, upload_timer);
	struct hf_core *core = volume->core;

	HF_CHECK_MAGIC(volume, HF_CORE_VOLUME_MAGIC);
	hf_core_enter(core);
	if (volume->state == HF_VOLUME_DELETING)
		hf_core_delete_go_on(volume);
	else
		hf_core_upload_schedule(core);
	hf_core_leave(core);
}

struct hf_core_volume *hf_core_volume_create(struct hf_core *core,
					     const struct hf_volume_config *config)
{
	struct hf_core_volume *volume = hf_core_alloc(sizeof *volume);

	volume->magic = HF_CORE_VOLUME_MAGIC;
	volume->core = core;
	volume->config = *config;
	volume->state = HF_VOLUME_OPENING;
	volume->next_sequence = 1;
	volume->overlay = hf_extmap_create();
	volume->clean = hf_extmap_create();
	HF_ASSERT(volume->overlay != NULL && volume->clean != NULL);
	volume->parked_timer.fired = parked_expired;
	volume->upload_timer.fired = upload_due;
	hf_list_init(&volume->unsynced);
	hf_list_init(&volume->locks);
	hf_list_init(&volume->held);
	hf_list_init(&volume->paced);
	volume->pace_timer.fired = hf_core_pace_due;
	hf_list_init(&volume->parked);
	hf_list_init(&volume->objects);
	hf_list_init(&volume->attaching);
	hf_list_init(&volume->leaving);
	hf_list_push_back(&core->volumes, &volume->link);
	hf_list_push_back(volume_bucket(core, config->volume), &volume->bucket);
	core->volume_count++;
	return volume;
}

void hf_core_volume_clear_log(struct hf_core_volume *volume)
{
	while (volume->queue.count > 0) {
		uint64_t sequence = volume->queue.first_sequence;
		struct hf_core_entry *entry = hf_core_queue_at(&volume->queue, sequence);

		if (entry->logged_ns != 0 && sequence > volume->counted_through)
			hf_core_segment_counted(volume->core, entry->place.source);
		if (entry->logged_ns != 0)
			hf_core_segment_release(volume->core, entry->place.source);
		hf_core_queue_pop(&volume->queue);
	}
	hf_extmap_destroy(volume->overlay);
	volume->overlay = hf_extmap_create();
	HF_ASSERT(volume->overlay != NULL);
	hf_core_clean_drop_all(volume);
	volume->lag_bytes = 0;
}

void hf_core_volume_free(struct hf_core_volume *volume)
{
	struct hf_core *core = volume->core;

	HF_ASSERT(volume->jobs == 0 && volume->uploads == 0 && !volume->remote &&
		  !volume->opening && !volume->uploaded_busy && volume->attach_records == 0 &&
		  !volume->move);
	hf_core_log_pin(volume, NULL);
	hf_env_timer_cancel(core->env, &volume->parked_timer);
	hf_env_timer_cancel(core->env, &volume->upload_timer);
	hf_env_timer_cancel(core->env, &volume->pace_timer);
	hf_list_remove(&volume->unsynced);
	hf_list_remove(&volume->link);
	hf_list_remove(&volume->bucket);
	core->volume_count--;
	hf_core_queue_free(&volume->queue);
	hf_extmap_destroy(volume->overlay);
	hf_extmap_destroy(volume->clean);
	if (core->cache)
		hf_rcache_forget(core->cache, volume->config.volume);
	explicit_bzero(&volume->config, sizeof volume->config);
	volume->magic = 0;
	free(volume);
}

void hf_core_volume_changed(struct hf_core_volume *volume)
{
	struct hf_core *core = volume->core;

	if (core->config.volume_changed && !core->recovering)
		core->config.volume_changed(core->config.context, volume->config.volume);
}

bool hf_core_range_changed(struct hf_core_volume *volume, uint64_t lba, uint64_t length)
{
	const struct hf_core_config *config = &volume->core->config;

	return config->range_changed &&
	       config->range_changed(config->context, volume->config.volume, lba * HF_UNIT,
				     length * HF_UNIT);
}

void hf_core_volume_set_state(struct hf_core_volume *volume, enum hf_volume_state state, int error,
			      const char *format, ...)
{
	va_list args;

	HF_ASSERT(volume->state == state || (volume_moves[volume->state] & BIT(state)) != 0);
	volume->state = state;
	volume->error = error;
	va_start(args, format);
	vsnprintf(volume->reason, sizeof volume->reason, format, args);
	va_end(args);
	hf_core_volume_changed(volume);
}

bool hf_core_volume_is_given_up(const struct hf_core_volume *volume)
{
	return volume->force || volume->state == HF_VOLUME_DELETING;
}

int hf_core_volume_ready(const struct hf_core_volume *volume)
{
	switch (volume->state) {
	case HF_VOLUME_OPENING:
	case HF_VOLUME_ATTACHED:
		return volume->accepting ? 0 : HF_ENOTREADY;
	case HF_VOLUME_FENCED:
		return HF_EFENCED;
	default:
		return HF_ENOTREADY;
	}
}

void hf_core_volume_stop(struct hf_core_volume *volume, enum hf_volume_state state, int error,
			 const char *text)
{
	if (volume->state == HF_VOLUME_FENCED || volume->state == HF_VOLUME_FAILED ||
	    volume->state == HF_VOLUME_DELETING || volume->core->closing || volume->force)
		return; /* it has stopped, or nothing of it is wanted any more */
	hf_core_alarm(volume->core, volume->config.volume, "%s: %s",
		      state == HF_VOLUME_FENCED ? "fenced" : "failed", text);
	hf_core_volume_set_state(volume, state, error, "%s", text);
	hf_core_unpark_all(volume, hf_core_volume_ready(volume));
	hf_core_changes_done(volume->core, &volume->attaching, error, text);
	hf_core_changes_done(volume->core, &volume->leaving, error, text);
	hf_core_pace_run(volume);
	hf_core_remote_close(volume);
}

/* At a start everything that came back is. */
static bool entry_is_durable(const struct hf_core *core, const struct hf_core_entry *entry)
{
	const struct hf_core_log *log = hf_core_log_at(core, entry->place.source);

	return core->recovering || entry->batch <= hf_wlog_durable_through(log->wlog);
}

/* Lag counts from the moment a record is durable until the store covers it. */
void hf_core_volume_synced(struct hf_core_volume *volume)
{
	struct hf_core *core = volume->core;
	uint64_t sequence = volume->durable_sequence + 1;
	struct hf_core_entry *entry;

	if (volume->queue.count > 0 && sequence < volume->queue.first_sequence)
		sequence = volume->queue.first_sequence;
	while ((entry = hf_core_queue_at(&volume->queue, sequence)) != NULL &&
	       entry->logged_ns != 0 && entry_is_durable(core, entry)) {
		if (sequence > volume->counted_through)
			volume->lag_bytes += hf_core_entry_lag_bytes(entry);
		hf_core_segment_durable(hf_core_log_at(core, entry->place.source),
					hf_core_log_place(core, &entry->place).source);
		volume->durable_sequence = sequence++;
	}
	if (volume->durable_sequence < volume->counted_through)
		volume->durable_sequence = volume->counted_through;
	hf_list_remove(&volume->unsynced);
	if (volume->durable_sequence + 1 < volume->next_sequence)
		hf_list_push_back(&core->unsynced, &volume->unsynced);
}

bool hf_core_volume_is_durable(struct hf_core *core, uint64_t number)
{
	const struct hf_core_volume *volume = hf_core_volume_find(core, number);

	return volume && hf_core_volume_ready(volume) == 0 &&
	       volume->durable_sequence + 1 == volume->next_sequence;
}

static uint64_t volume_age_ms(const struct hf_core_volume *volume)
{
	uint64_t oldest = volume->counted_through + 1;
	struct hf_core_entry *entry = hf_core_queue_at(&volume->queue, oldest);

	if (!entry || oldest > volume->durable_sequence)
		return 0;
	return (hf_env_now_ns(volume->core->env) - entry->logged_ns) / HF_NS_PER_MS;
}

int hf_core_volume_status(struct hf_core *core, uint64_t number, struct hf_volume_status *status)
{
	struct hf_core_volume *volume = hf_core_volume_find(core, number);
	int trouble;

	if (!volume)
		return HF_ENOENT;
	*status = (struct hf_volume_status){
		.volume = number,
		.tenant = volume->config.tenant,
		.size_bytes = volume->config.size_bytes,
		.attach_epoch = volume->config.attach_epoch,
		.start = volume->remote ? hf_remote_start(volume->remote) : 0,
		.state = volume->state,
		.write_cache = volume->config.write_cache,
		.accepting = hf_core_volume_ready(volume) == 0,
		.error = volume->error,
		.recovery_point = volume->counted_through,
		.last_sequence = volume->durable_sequence,
		.lag_bytes = volume->lag_bytes,
		.age_ms = volume_age_ms(volume),
		.read_ops = volume->read_ops,
		.read_bytes = volume->read_bytes,
		.write_ops = volume->write_ops,
		.write_bytes = volume->write_bytes,
		.uploaded_objects = volume->uploaded_objects,
		.uploaded_bytes = volume->uploaded_bytes,
		.fetched_bytes = volume->fetched_bytes,
		.bad_extents = volume->bad_extents,
		.log = volume->home ? volume->home->index : HF_CORE_LOGS_MAX,
		.moving = volume->move != NULL,
	};
	snprintf(status->reason, sizeof status->reason, "%s", volume->reason);
	trouble = volume->remote ? hf_remote_trouble(volume->remote) : 0;
	if (status->error == 0 && trouble != 0) {
		status->error = trouble;
		snprintf(status->reason, sizeof status->reason, "object store: %s",
			 hf_err_text(trouble));
	}
	return 0;
}

unsigned hf_core_volumes(struct hf_core *core, uint64_t *volumes, unsigned capacity)
{
	unsigned count = 0;

	hf_list_for_each (cursor, &core->volumes) {
		if (count < capacity)
			volumes[count] =
				hf_container_of(cursor, struct hf_core_volume, link)->config.volume;
		count++;
	}
	return count;
}
