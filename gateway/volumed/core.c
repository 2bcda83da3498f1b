/* The life of the volume core: opening (the log recovers, then what came back is checked), telling
 * of what ended, and closing. Core's thread.
 *
 * Nothing of the user is called while the core's own functions are on the stack: what ends is put
 * on a list and told when the outermost function that came in from the log, the store, a timer or
 * the user is about to leave; for calls of the user, from a timer that is due at once. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "gateway/volumed/core_state.h"

#define OBJECT_RECORDS_MAX       16384u /* each adds at most two extents to an object */
#define DEFAULT_OBJECT_BYTES     (16ull << 20)
#define DEFAULT_OBJECT_TIMER_MS  2000u
#define DEFAULT_UPLOADS_MAX      4u
#define DEFAULT_TURN_RECORDS     128u /* some 50 µs */
#define DEFAULT_READ_DEADLINE_MS 25000u
#define DEFAULT_CLAIMS_LOOK_MS   2000u
#define DEFAULT_WRITE_HORIZON_MS 600000u
#define DEFAULT_WRITE_WAIT_MS    20000u
#define DEFAULT_CACHE_BYTES      (64ull << 20)
#define DEFAULT_MAP_BYTES        (256ull << 20)
#define DEFAULT_REQUESTS_MAX     4096u

void *hf_core_alloc(size_t size_bytes)
{
	void *memory = calloc(1, size_bytes);

	HF_ASSERT(memory != NULL);
	return memory;
}

void *hf_core_alloc_aligned(size_t size_bytes)
{
	void *memory = NULL;

	HF_ASSERT(posix_memalign(&memory, 4096, size_bytes ? size_bytes : 1) == 0);
	return memory;
}

/* ---- Telling -----------------------------------------------------------------------------------
 */

void hf_core_request_ended(struct hf_core *core, struct hf_request *request, int status)
{
	request->status = status;
	request->impl = NULL;
	hf_list_push_back(&core->ended_requests, &request->link);
}

void hf_core_change_ended(struct hf_core *core, struct hf_volume_change *change)
{
	hf_list_push_back(&core->ended_changes, &change->link);
}

static void core_tell(struct hf_core *core)
{
	struct hf_list *entry;

	core->telling = true;
	for (;;) {
		if ((entry = hf_list_pop_front(&core->ended_requests)) != NULL) {
			struct hf_request *request =
				hf_container_of(entry, struct hf_request, link);

			request->done(request);
		} else if ((entry = hf_list_pop_front(&core->ended_changes)) != NULL) {
			struct hf_volume_change *change =
				hf_container_of(entry, struct hf_volume_change, link);

			change->done(change);
		} else {
			break;
		}
	}
	core->telling = false;
}

void hf_core_enter(struct hf_core *core)
{
	HF_CHECK_MAGIC(core, HF_CORE_MAGIC);
	core->depth++;
}

/* A segment's worth of entries is dropped a part at a time: the rest comes after what waits now. */
static bool logs_retire(const struct hf_core *core)
{
	hf_core_for_each_log (log, core) {
		if (log->retiring)
			return true;
	}
	return false;
}

void hf_core_leave(struct hf_core *core)
{
	HF_ASSERT(core->depth > 0);
	if (core->depth > 1) {
		core->depth--;
		return;
	}
	hf_core_uploaded_step(core);
	hf_core_for_each_log (log, core) {
		hf_core_segments_recycle(log);
	}
	if (core->logs_draining > 0)
		hf_core_logs_drain_step(core);
	core_tell(core);
	core->depth = 0;
	if (!core->closing && logs_retire(core))
		hf_env_timer_set(core->env, &core->ended_timer, hf_env_now_ns(core->env));
	if (core->closing)
		hf_core_close_step(core); /* maybe the end of it */
}

static bool logs_have_work(const struct hf_core *core)
{
	hf_core_for_each_log (log, core) {
		if (hf_core_segments_wait(log) || log->uploaded_now)
			return true;
	}
	return false;
}

void hf_core_leave_later(struct hf_core *core)
{
	HF_ASSERT(core->depth > 0);
	core->depth--;
	if (core->depth == 0 &&
	    (core->closing || logs_have_work(core) || !hf_list_empty(&core->ended_requests) ||
	     !hf_list_empty(&core->ended_changes)))
		hf_env_timer_set(core->env, &core->ended_timer, hf_env_now_ns(core->env));
}

static void ended_fired(struct hf_timer *timer)
{
	struct hf_core *core = hf_container_of(timer, struct hf_core, ended_timer);

	hf_core_enter(core);
	hf_core_leave(core);
}

/* ---- Opening -----------------------------------------------------------------------------------
 */

static void core_defaults(struct hf_core_config *config)
{
	if (config->object_bytes == 0)
		config->object_bytes = DEFAULT_OBJECT_BYTES;
	if (config->object_bytes > HF_OBJECT_PAYLOAD_MAX - HF_WLOG_PAYLOAD_MAX)
		config->object_bytes = HF_OBJECT_PAYLOAD_MAX - HF_WLOG_PAYLOAD_MAX;
	if (config->object_timer_ms == 0)
		config->object_timer_ms = DEFAULT_OBJECT_TIMER_MS;
	if (config->object_records == 0 || config->object_records > OBJECT_RECORDS_MAX)
		config->object_records = OBJECT_RECORDS_MAX;
	if (config->turn_records == 0)
		config->turn_records = DEFAULT_TURN_RECORDS;
	if (config->uploads_max == 0)
		config->uploads_max = DEFAULT_UPLOADS_MAX;
	if (config->read_deadline_ms == 0)
		config->read_deadline_ms = DEFAULT_READ_DEADLINE_MS;
	if (config->write_horizon_ms == 0)
		config->write_horizon_ms = DEFAULT_WRITE_HORIZON_MS;
	if (config->write_wait_ms == 0)
		config->write_wait_ms = DEFAULT_WRITE_WAIT_MS;
	if (config->claims_look_ms == 0)
		config->claims_look_ms = DEFAULT_CLAIMS_LOOK_MS;
	if (config->cache_bytes == 0)
		config->cache_bytes = DEFAULT_CACHE_BYTES;
	if (config->map_bytes == 0)
		config->map_bytes = DEFAULT_MAP_BYTES;
	if (config->requests_max == 0)
		config->requests_max = DEFAULT_REQUESTS_MAX;
}

static struct hf_core *core_create(const struct hf_core_config *config)
{
	struct hf_core *core = hf_core_alloc(sizeof *core);

	core->magic = HF_CORE_MAGIC;
	core->config = *config;
	core_defaults(&core->config);
	core->env = config->env;
	core->ended_timer.fired = ended_fired;
	core->uploaded_timer.fired = hf_core_uploaded_due;
	core->reads.limit = core->writes.limit = core->config.requests_max;
	hf_list_init(&core->volumes);
	hf_list_init(&core->unsynced);
	hf_list_init(&core->reads.waiting);
	hf_list_init(&core->writes.waiting);
	hf_list_init(&core->budget);
	hf_list_init(&core->job_pool);
	hf_list_init(&core->rings);
	hf_list_init(&core->ended_requests);
	hf_list_init(&core->ended_changes);
	for (unsigned i = 0; i < HF_CORE_VOLUME_BUCKETS; i++)
		hf_list_init(&core->volume_buckets[i]);
	core->maps = hf_remote_maps_create(core->config.map_bytes);
	HF_ASSERT(core->maps != NULL);
	return core;
}

static void core_destroy(struct hf_core *core)
{
	hf_list_for_each_safe (cursor, &core->volumes) {
		struct hf_core_volume *volume =
			hf_container_of(cursor, struct hf_core_volume, link);

		hf_core_volume_clear_log(volume);
		hf_core_volume_free(volume);
	}
	hf_env_timer_cancel(core->env, &core->ended_timer);
	hf_env_timer_cancel(core->env, &core->uploaded_timer);
	hf_core_rings_free(core);
	hf_core_jobs_free(core);
	hf_core_for_each_log (log, core) {
		hf_core_log_destroy(log);
	}
	hf_remote_maps_destroy(core->maps);
	core->magic = 0;
	free(core);
}

static void open_end(struct hf_core *core)
{
	struct hf_core_open *open = core->open;

	hf_core_enter(core);
	hf_core_cache_open(core);
	hf_core_recover_finish(core);
	core->recovering = false;
	open->status = 0;
	open->core = core;
	open->opened(open);
	hf_core_leave(core);
}

/* The first log's trouble is the core's, if no other log serves. */
static void open_failed(struct hf_core *core)
{
	struct hf_core_open *open = core->open;

	hf_core_for_each_log (log, core) {
		if (open->status == 0)
			open->status = hf_fail(&open->message, log->error, "%s", log->reason);
	}
	core_destroy(core);
	open->opened(open);
}

/* One log less to wait for. */
static void open_step(struct hf_core *core)
{
	bool serves = false;

	if (--core->logs_opening > 0)
		return;
	hf_core_for_each_log (log, core) {
		serves |= log->state == HF_CORE_LOG_SERVING;
	}
	if (!serves) {
		open_failed(core);
		return;
	}
	hf_core_for_each_log (log, core) {
		if (log->state == HF_CORE_LOG_MISSING)
			hf_core_alarm(core, 0, "a write log is missing: %s", log->reason);
	}
	open_end(core);
}

static void log_refused(void *context)
{
	struct hf_core_log *log = context;

	HF_CHECK_MAGIC(log, HF_CORE_LOG_MAGIC);
	log->wlog = NULL;
	hf_core_found_destroy(log->found);
	log->found = NULL;
	hf_core_segments_free(log);
	open_step(log->core);
}

static void log_opened(struct hf_wlog_open *open)
{
	struct hf_core_log *log = hf_container_of(open, struct hf_core_log, open);
	struct hf_core *core = log->core;

	HF_CHECK_MAGIC(log, HF_CORE_LOG_MAGIC);
	if (open->status != 0) {
		hf_core_log_fail(log, open->status, open->message.text);
		log_refused(log);
		return;
	}
	if (hf_core_log_find(core, open->uuid))
		hf_core_log_fail(log, HF_ECORRUPT, "it is a copy of another log that is in use");
	if (log->error != 0) {
		hf_wlog_close(open->wlog, log_refused, log);
		return;
	}
	log->wlog = open->wlog;
	memcpy(log->uuid, open->uuid, sizeof log->uuid);
	log->state = HF_CORE_LOG_SERVING;
	hf_info("log %u recovered: segments=%llu whole=%llu batches=%llu records=%llu "
		"rewritten=%llu "
		"newest_ms=%llu records_ms=%llu rewrite_ms=%llu",
		log->index, (unsigned long long)open->segments_read,
		(unsigned long long)open->whole_segments, (unsigned long long)open->batches,
		(unsigned long long)open->records, (unsigned long long)open->rewritten_records,
		(unsigned long long)(open->newest_ns / HF_NS_PER_MS),
		(unsigned long long)(open->records_ns / HF_NS_PER_MS),
		(unsigned long long)(open->rewrite_ns / HF_NS_PER_MS));
	open_step(core);
}

static void none_there(struct hf_timer *timer)
{
	open_step(hf_container_of(timer, struct hf_core, ended_timer));
}

void hf_core_open_start(struct hf_core_open *open)
{
	struct hf_core *core = core_create(&open->config);
	unsigned count = open->config.disk_count ? open->config.disk_count : 1;

	HF_ASSERT(count <= HF_CORE_LOGS_MAX);
	core->open = open;
	core->recovering = true;
	open->core = NULL;
	open->status = 0;
	core->logs_opening = 1;
	for (unsigned i = 0; i < count; i++) {
		struct hf_core_log *log = hf_core_log_create(core, open->config.disks[i]);

		log->open.config.least_version = open->config.least_version[i];
		memcpy(log->open.config.uuid, open->config.log_uuids[i],
		       sizeof log->open.config.uuid);
		if (log->disk == HF_CORE_NO_DISK) {
			hf_core_log_fail(log, HF_ENOENT, "its disk is not there");
			continue;
		}
		core->logs_opening++;
		log->open.config.env = core->env;
		log->open.config.disk = log->disk;
		log->open.config.owner = &log->owner;
		log->open.config.keep_bytes = core->config.log_memory_bytes / count;
		log->open.opened = log_opened;
		hf_wlog_open_start(&log->open);
	}
	if (core->logs_opening > 1) {
		core->logs_opening--;
		return;
	}
	core->ended_timer.fired = none_there;
	hf_env_timer_set(core->env, &core->ended_timer, hf_env_now_ns(core->env));
}

/* ---- Closing -----------------------------------------------------------------------------------
 */

static void gate_cancel(struct hf_core_gate *gate)
{
	struct hf_list *entry;

	while ((entry = hf_list_pop_front(&gate->waiting)) != NULL)
		hf_core_job_done(hf_container_of(entry, struct hf_core_job, link), HF_ECANCELED);
}

static void core_log_closed(void *context)
{
	struct hf_core_log *log = context;
	struct hf_core *core = log->core;

	HF_CHECK_MAGIC(log, HF_CORE_LOG_MAGIC);
	hf_core_enter(core);
	log->wlog = NULL;
	log->closed = true;
	hf_core_leave(core);
}

static void core_logs_close(struct hf_core *core)
{
	core->logs_closing = true;
	hf_core_for_each_log (log, core) {
		if (log->wlog && log->state != HF_CORE_LOG_CLOSING)
			hf_wlog_close(log->wlog, core_log_closed, log);
		else
			log->closed = !log->wlog;
	}
}

static bool core_logs_are_closed(const struct hf_core *core)
{
	hf_core_for_each_log (log, core) {
		if (!log->closed)
			return false;
	}
	return true;
}

static bool core_remotes_are_closed(const struct hf_core *core)
{
	hf_list_for_each (cursor, &core->volumes) {
		struct hf_core_volume *volume =
			hf_container_of(cursor, struct hf_core_volume, link);

		if (volume->remote || volume->opening)
			return false;
	}
	return true;
}

void hf_core_close_step(struct hf_core *core)
{
	void (*closed)(void *context) = core->closed;
	void *context = core->closed_context;

	if (core->depth > 0 || core->telling || core->uploads > 0 || !core_remotes_are_closed(core))
		return;
	if (!core->logs_closing) {
		core_logs_close(core);
		return;
	}
	if (!hf_core_cache_close(core) || !core_logs_are_closed(core) || core->holds > 0 ||
	    core->reads.under_way > 0 || core->writes.under_way > 0)
		return;
	core_destroy(core);
	closed(context);
}

void hf_core_close(struct hf_core *core, void (*closed)(void *context), void *context)
{
	hf_core_enter(core);
	HF_ASSERT(!core->closing);
	core->closing = true;
	core->closed = closed;
	core->closed_context = context;
	gate_cancel(&core->reads);
	gate_cancel(&core->writes);
	hf_list_for_each (cursor, &core->volumes) {
		struct hf_core_volume *volume =
			hf_container_of(cursor, struct hf_core_volume, link);

		hf_core_unpark_all(volume, HF_ECANCELED);
		hf_core_changes_done(core, &volume->attaching, HF_ECANCELED, "closing");
		hf_core_changes_done(core, &volume->leaving, HF_ECANCELED, "closing");
		hf_core_remote_close(volume);
		hf_core_held_run(volume);
		hf_core_pace_run(volume);
	}
	hf_core_budget_run(core);
	hf_core_logs_stop(core);
	hf_core_leave_later(core);
}

void hf_core_status(struct hf_core *core, struct hf_core_status *status)
{
	*status = (struct hf_core_status){
		.requests_under_way = (uint64_t)core->reads.under_way + core->writes.under_way,
		.uploads_under_way = core->uploads,
		.full_in_s = UINT64_MAX,
		.store_reachable = true,
	};
	if (core->cache)
		hf_rcache_stats(core->cache, &status->cache);
	hf_core_for_each_log (log, core) {
		if (!log->wlog)
			continue;
		if (hf_core_pace_full_in_s(log) < status->full_in_s)
			status->full_in_s = hf_core_pace_full_in_s(log);
		status->log_total_bytes += hf_wlog_total_bytes(log->wlog);
		status->log_free_bytes += hf_wlog_free_bytes(log->wlog);
		status->log_written_bytes += hf_wlog_written_bytes(log->wlog);
	}
	hf_list_for_each (cursor, &core->volumes) {
		const struct hf_core_volume *volume =
			hf_container_of(cursor, struct hf_core_volume, link);

		if (volume->remote && hf_remote_trouble(volume->remote) != 0)
			status->store_reachable = false;
	}
}
