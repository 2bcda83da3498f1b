/* The steps of holdfast-volumed, up and down, and what holds its parts together. One thread runs
 * all of this: the loop's, which is the core's. */
#include "gateway/volumed/volumed.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "base/log.h"
#include "gateway/volumed/cachefile.h"
#include "gateway/volumed/control.h"
#include "gateway/volumed/logfile.h"
#include "gateway/volumed/logs.h"
#include "gateway/volumed/steps.h"
#include "net/daemon.h"

#define SOCKET_PATH_BYTES 128u

enum { LOG_DISK, CACHE_DISK, DISKS };

struct volumed {
	const struct hf_volumed_config *config;
	uv_loop_t loop;
	struct hf_daemon_signals signals;
	struct hf_steps steps;
	int status;
	char ring_path[SOCKET_PATH_BYTES], control_path[SOCKET_PATH_BYTES];

	struct hf_alarms alarms;
	struct hf_state state;
	struct hf_volumes *volumes;
	struct hf_logfile log;
	struct hf_logs *logs; /* the others */
	unsigned log_disks[HF_CORE_LOGS_MAX], log_count;
	bool log_was_made;
	struct hf_cachefile cache;
	struct hf_env_uv *env;
	struct hf_store_setting *store;
	struct hf_wlog_format format;
	struct hf_core_open open;
	struct hf_core *core;
	struct hf_ring_keeper keeper;
	struct hf_ring_host *rings;
	struct hf_control *control;
};

/* A part that closes by a callback: its step is undone. */
static void part_closed(void *context)
{
	struct volumed *volumed = context;

	hf_steps_next(&volumed->steps, 0, NULL);
}

/* ---- state folder ---- */

static void state_up(struct hf_steps *steps, void *context)
{
	struct volumed *volumed = context;
	const char *run = volumed->config->run_dir;
	struct hf_errmsg message = {""};
	int err = 0;

	if (mkdir(run, 0755) != 0 && errno != EEXIST)
		err = hf_fail(&message, hf_err_from_errno(errno), "%s: %s", run, strerror(errno));
	if (!err)
		err = hf_state_open(volumed->config->state_dir, &volumed->state, &message);
	if (!err) {
		volumed->volumes = hf_volumes_create(&volumed->state, &volumed->alarms);
		HF_ASSERT(volumed->volumes);
		volumed->logs =
			hf_logs_create(&volumed->state, &volumed->alarms, volumed->config->log_file,
				       LOG_DISK, (uint32_t)volumed->config->segment_size);
	}
	hf_steps_next(steps, err, &message);
}

static void state_down(struct hf_steps *steps, void *context)
{
	struct volumed *volumed = context;

	hf_logs_destroy(volumed->logs);
	hf_volumes_destroy(volumed->volumes);
	hf_state_close(&volumed->state);
	hf_steps_next(steps, 0, NULL);
}

/* ---- log file ---- */

static void log_file_up(struct hf_steps *steps, void *context)
{
	struct volumed *volumed = context;
	const struct hf_volumed_config *config = volumed->config;
	struct hf_errmsg message = {""};
	int err = hf_logfile_open(config->log_file, config->log_size, &volumed->log, &message);

	if (!err && volumed->log.size_bytes != config->log_size)
		hf_warn("%s has %llu bytes, not log_size: a log keeps the size it was made with",
			config->log_file, (unsigned long long)volumed->log.size_bytes);
	hf_steps_next(steps, err, &message);
}

static void log_file_down(struct hf_steps *steps, void *context)
{
	struct volumed *volumed = context;

	hf_logfile_close(&volumed->log);
	hf_steps_next(steps, 0, NULL);
}

/* ---- cache file ---- */

/* Without it reads of what is not hot cost a fetch, and nothing else. */
static void cache_file_up(struct hf_steps *steps, void *context)
{
	struct volumed *volumed = context;
	const struct hf_volumed_config *config = volumed->config;
	struct hf_errmsg message = {""};

	if (hf_cachefile_open(config->cache_file, config->cache_disk_size, &volumed->cache,
			      &message) != 0)
		hf_warn("the read cache has no disk: %s", message.text);
	else if (volumed->cache.size_bytes < config->cache_disk_size)
		hf_warn("%s has %llu bytes, not cache_disk_size: at most half of what is free",
			config->cache_file, (unsigned long long)volumed->cache.size_bytes);
	hf_steps_next(steps, 0, NULL);
}

static void cache_file_down(struct hf_steps *steps, void *context)
{
	struct volumed *volumed = context;

	hf_cachefile_close(&volumed->cache);
	hf_steps_next(steps, 0, NULL);
}

/* ---- environment ---- */

static void env_up(struct hf_steps *steps, void *context)
{
	struct volumed *volumed = context;
	struct hf_env_uv_disk disks[DISKS] = {
		[LOG_DISK] = {.fd = volumed->log.fd, .size_bytes = volumed->log.size_bytes},
		[CACHE_DISK] = {.fd = volumed->cache.fd, .size_bytes = volumed->cache.size_bytes},
	};
	struct hf_env_uv_config config = {
		.loop = &volumed->loop,
		.disks = disks,
		.disk_count = DISKS,
	};
	struct hf_errmsg message = {""};
	int err = hf_env_uv_open(&config, &volumed->env, &message);

	if (!err) {
		volumed->store = hf_store_setting_create(&volumed->state, volumed->env,
							 volumed->config->proxy,
							 volumed->config->proxy_credentials);
		HF_ASSERT(volumed->store);
	}
	hf_steps_next(steps, err, &message);
}

static void env_closed(void *context)
{
	struct volumed *volumed = context;

	hf_store_setting_destroy(volumed->store);
	part_closed(volumed);
}

static void env_down(struct hf_steps *steps, void *context)
{
	struct volumed *volumed = context;

	(void)steps;
	hf_env_uv_close(volumed->env, env_closed, volumed);
}

/* ---- format, of a log that was just made ---- */

static void formatted(struct hf_wlog_format *format)
{
	struct volumed *volumed = hf_container_of(format, struct volumed, format);
	int err = format->status;

	if (!err)
		err = hf_logs_first_made(volumed->logs, &format->message);
	if (!err)
		err = hf_logfile_keep(&volumed->log, &format->message);
	volumed->log_was_made = true;
	hf_steps_next(&volumed->steps, err, &format->message);
}

static void alarm_lost(void *context, int status, const struct hf_volume_config *config,
		       bool detached, const struct hf_errmsg *why)
{
	struct volumed *volumed = context;

	(void)status;
	(void)why;
	if (!detached)
		hf_alarm_raise(&volumed->alarms, config->volume,
			       "the write log is missing and is made anew: writes that had not "
			       "been uploaded are lost");
}

/* Before the new log has its name: a death in between tells it again. */
static void tell_of_lost_log(struct volumed *volumed)
{
	struct hf_errmsg message = {""};

	if (hf_state_each_volume(&volumed->state, alarm_lost, volumed, &message) != 0)
		hf_warn("%s", message.text);
}

static void format_up(struct hf_steps *steps, void *context)
{
	struct volumed *volumed = context;
	struct hf_wlog_format *format = &volumed->format;

	if (!volumed->log.fresh) {
		hf_steps_next(steps, 0, NULL);
		return;
	}
	tell_of_lost_log(volumed);
	*format = (struct hf_wlog_format){
		.env = hf_env_uv_table(volumed->env),
		.segment_bytes = (uint32_t)volumed->config->segment_size,
		.zero_fill = true,
		.done = formatted,
	};
	hf_env_random(format->env, format->uuid, sizeof format->uuid);
	hf_wlog_format_start(format);
}

/* ---- the other logs ---- */

static void logs_up(struct hf_steps *steps, void *context)
{
	struct volumed *volumed = context;
	struct hf_errmsg message = {""};
	int count = hf_logs_open(volumed->logs, volumed->env, volumed->log_disks + 1, &message);

	volumed->log_disks[0] = LOG_DISK;
	volumed->log_count = count < 0 ? 0 : 1 + (unsigned)count;
	hf_steps_next(steps, count < 0 ? count : 0, &message);
}

/* ---- core ---- */

static void volume_changed(void *context, uint64_t volume)
{
	struct volumed *volumed = context;

	if (volumed->rings)
		hf_ring_host_volume_changed(volumed->rings, volume);
}

static bool range_changed(void *context, uint64_t volume, uint64_t offset, uint64_t length)
{
	struct volumed *volumed = context;

	return volumed->rings && hf_ring_host_range_changed(volumed->rings, volume, offset, length);
}

static void range_holds(void *context, uint64_t volume, uint64_t offset, uint64_t length,
			const void *bytes)
{
	struct volumed *volumed = context;

	if (volumed->rings)
		hf_ring_host_range_holds(volumed->rings, volume, offset, length, bytes);
}

static void alarm_raised(void *context, uint64_t volume, const char *text)
{
	struct volumed *volumed = context;

	hf_alarm_raise(&volumed->alarms, volume, text);
}

static void core_opened(struct hf_core_open *open)
{
	struct volumed *volumed = hf_container_of(open, struct volumed, open);

	volumed->core = open->core;
	if (!open->status) {
		hf_volumes_start(volumed->volumes, hf_env_uv_table(volumed->env), open->core);
		hf_logs_start(volumed->logs, open->core);
	}
	hf_steps_next(&volumed->steps, open->status, &open->message);
}

static void core_up(struct hf_steps *steps, void *context)
{
	struct volumed *volumed = context;
	const struct hf_volumed_config *config = volumed->config;

	(void)steps;
	volumed->open = (struct hf_core_open){
		.config = {.env = hf_env_uv_table(volumed->env),
			   .object_bytes = config->object_size,
			   .object_timer_ms = config->object_timer_ms,
			   .uploads_max = (unsigned)config->uploads,
			   .read_deadline_ms = config->read_deadline_ms,
			   .claims_look_ms = config->claims_look_ms,
			   .write_horizon_ms = config->log_horizon_ms,
			   .write_wait_ms = config->write_wait_ms,
			   .map_bytes = config->map_memory,
			   .cache_bytes = config->cache_size,
			   .cache_disk = volumed->cache.fd < 0 ? 0 : CACHE_DISK,
			   .log_memory_bytes = config->log_memory,
			   .keep_bytes = config->log_keep,
			   .requests_max = (unsigned)config->requests,
			   .context = volumed,
			   .volume_changed = volume_changed,
			   .alarm = alarm_raised,
			   .range_changed = range_changed,
			   .range_holds = range_holds},
		.opened = core_opened,
	};
	volumed->open.config.disk_count = volumed->log_count;
	memcpy(volumed->open.config.disks, volumed->log_disks, sizeof volumed->open.config.disks);
	hf_logs_expect(volumed->logs, &volumed->open.config);
	if (volumed->log_was_made) {
		volumed->open.config.least_version[0] = 0;
		memset(volumed->open.config.log_uuids[0], 0, 16);
	}
	hf_core_open_start(&volumed->open);
}

/* What is in the store's hands ends first: the core waits for it, and it may be away. */
static void core_down(struct hf_steps *steps, void *context)
{
	struct volumed *volumed = context;

	(void)steps;
	hf_volumes_stop(volumed->volumes);
	hf_logs_stop(volumed->logs);
	hf_env_uv_close_store(volumed->env);
	hf_core_close(volumed->core, part_closed, volumed);
}

/* ---- what is remembered ---- */

/* A store that cannot be restored holds nothing up: writes go to the log. */
static void store_restored(void *context, int status, const struct hf_errmsg *message)
{
	struct volumed *volumed = context;

	if (status && status != HF_ECANCELED)
		hf_alarm_raise(&volumed->alarms, 0, message->text);
	hf_steps_next(&volumed->steps, 0, NULL);
}

static void store_up(struct hf_steps *steps, void *context)
{
	struct volumed *volumed = context;

	if (hf_store_setting_restore(volumed->store, store_restored, volumed))
		return;
	hf_info("no store is set yet");
	hf_steps_next(steps, 0, NULL);
}

static void volumes_up(struct hf_steps *steps, void *context)
{
	struct volumed *volumed = context;
	struct hf_errmsg message = {""};
	int err = hf_volumes_restore(volumed->volumes, &message);

	hf_steps_next(steps, err, &message);
}

/* ---- sockets ---- */

static int recall(void *context, uint64_t volume, const void **bytes, uint32_t *length)
{
	const struct volumed *volumed = context;

	return hf_volumes_recall(volumed->volumes, volume, bytes, length);
}

static void keep(void *context, uint64_t volume, const void *bytes, uint32_t length,
		 void (*done)(void *owner, int status), void *owner)
{
	struct volumed *volumed = context;

	hf_volumes_keep(volumed->volumes, volume, bytes, length, done, owner);
}

/* A volume that is not remembered yet is nobody's. */
static uint32_t tgtd_of(void *context, uint64_t volume)
{
	const struct volumed *volumed = context;
	const struct hf_known_volume *known = hf_volumes_find(volumed->volumes, volume);

	return known ? known->config.tgtd : UINT32_MAX;
}

static void rings_up(struct hf_steps *steps, void *context)
{
	struct volumed *volumed = context;
	const struct hf_volumed_config *config = volumed->config;
	uint64_t uid = config->tgt_uid;
	struct hf_ring_host_config host = {
		.loop = &volumed->loop,
		.core = volumed->core,
		.path = volumed->ring_path,
		.keeper = &volumed->keeper,
		.tgt_uid = uid ? (uid_t)uid : HF_RING_HOST_NO_UID,
		.tgtds = (unsigned)config->tgtds,
		.tgtd_of = tgtd_of,
		.tgtd_context = volumed,
		.tier_bytes = config->memory_tier,
		.tier_rings = (unsigned)config->memory_tier_rings,
	};
	struct hf_errmsg message = {""};
	int err;

	volumed->keeper =
		(struct hf_ring_keeper){.context = volumed, .recall = recall, .keep = keep};
	err = hf_ring_host_open(&host, &volumed->rings, &message);

	hf_steps_next(steps, err, &message);
}

static void rings_closed(void *context)
{
	struct volumed *volumed = context;

	volumed->rings = NULL;
	part_closed(volumed);
}

static void rings_down(struct hf_steps *steps, void *context)
{
	struct volumed *volumed = context;

	(void)steps;
	hf_ring_host_close(volumed->rings, rings_closed, volumed);
}

static void control_up(struct hf_steps *steps, void *context)
{
	struct volumed *volumed = context;
	struct hf_control_config config = {
		.loop = &volumed->loop,
		.path = volumed->control_path,
		.core = volumed->core,
		.volumes = volumed->volumes,
		.store = volumed->store,
		.alarms = &volumed->alarms,
		.rings = volumed->rings,
		.logs = volumed->logs,
	};
	struct hf_errmsg message = {""};
	int err = hf_control_open(&config, &volumed->control, &message);

	hf_steps_next(steps, err, &message);
}

static void control_down(struct hf_steps *steps, void *context)
{
	struct volumed *volumed = context;

	(void)steps;
	hf_control_close(volumed->control, part_closed, volumed);
}

/* ---- all of it ---- */

static const struct hf_step table[] = {
	{"state folder", state_up, state_down},
	{"log file", log_file_up, log_file_down},
	{"cache file", cache_file_up, cache_file_down},
	{"environment", env_up, env_down},
	{"log format", format_up, NULL},
	{"other logs", logs_up, NULL},
	{"recovery", core_up, core_down},
	{"store", store_up, NULL},
	{"volumes", volumes_up, NULL},
	{"ring socket", rings_up, rings_down},
	{"control socket", control_up, control_down},
};

/* Objects of 16 MiB come and go several times a second: their pages are not to be given back and
 * faulted in anew each time. Not earlier: what grows during recovery had better be mapped, which
 * moves it without a copy. */
static void all_up(void *context)
{
	(void)context;
	mallopt(M_MMAP_THRESHOLD, 32 << 20);
	mallopt(M_TRIM_THRESHOLD, 128 << 20);
}

static void all_down(void *context, int status)
{
	struct volumed *volumed = context;

	volumed->status = status;
	hf_daemon_signals_close(&volumed->signals);
}

static void stop(void *context)
{
	struct volumed *volumed = context;

	hf_steps_down(&volumed->steps);
}

int hf_volumed_run(const struct hf_volumed_config *config)
{
	struct volumed *volumed = calloc(1, sizeof *volumed);
	int status;

	HF_ASSERT(volumed);
	volumed->config = config;
	snprintf(volumed->ring_path, SOCKET_PATH_BYTES, "%s/ring.sock",
		 config->ring_dir[0] ? config->ring_dir : config->run_dir);
	snprintf(volumed->control_path, SOCKET_PATH_BYTES, "%s/volumed.sock", config->run_dir);
	HF_ASSERT(uv_loop_init(&volumed->loop) == 0);
	volumed->steps = (struct hf_steps){
		.table = table,
		.count = sizeof table / sizeof table[0],
		.context = volumed,
		.all_up = all_up,
		.all_down = all_down,
	};
	HF_ASSERT(hf_daemon_signals_open(&volumed->loop, &volumed->signals, stop, volumed) == 0);
	hf_steps_up(&volumed->steps);
	uv_run(&volumed->loop, UV_RUN_DEFAULT);
	HF_ASSERT(uv_loop_close(&volumed->loop) == 0);
	status = volumed->status;
	free(volumed);
	return status;
}
