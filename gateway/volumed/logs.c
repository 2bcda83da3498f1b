/* logs.h. A log is remembered before the core knows it, so that no volume is ever in a log that the
 * next start would not open; and forgotten when nothing is in it, before its file goes. */
#include "gateway/volumed/logs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/log.h"
#include "gateway/volumed/state_file.h"

#define LOGS_MAGIC 0x48464c53u
#define LOG_MAGIC  0x48464c31u
#define STATE_NAME "logs"

struct known_log {
	uint32_t magic;
	struct hf_logs *logs;
	char *path;
	bool draining, making;  /* making: not remembered yet */
	bool forgotten;         /* remembered no more */
	uint64_t version;       /* that it had at the last start */
	uint8_t uuid[16];       /* zeros: not known */
	struct hf_logfile file; /* fd -1: missing */
	unsigned disk;
	struct hf_wlog_format format;
	struct hf_core_log_change change;
	void (*answered)(void *context, int status, const struct hf_errmsg *message);
	void *context;
};

struct hf_logs {
	uint32_t magic;
	const struct hf_state *state;
	struct hf_alarms *alarms;
	const char *first;
	uint32_t segment_bytes;
	struct hf_env_uv *env;
	struct hf_core *core; /* NULL unless it serves */
	struct known_log *known[HF_LOGS_MAX];
	unsigned count;
	uint64_t first_version;
	uint8_t first_uuid[16];
	unsigned first_disk;
};

struct hf_logs *hf_logs_create(const struct hf_state *state, struct hf_alarms *alarms,
			       const char *first, unsigned first_disk, uint32_t segment_bytes)
{
	struct hf_logs *logs = calloc(1, sizeof *logs);

	HF_ASSERT(logs);
	logs->magic = LOGS_MAGIC;
	logs->state = state;
	logs->alarms = alarms;
	logs->first = first;
	logs->segment_bytes = segment_bytes;
	logs->first_disk = first_disk;
	return logs;
}

static struct known_log *known_create(struct hf_logs *logs, const char *path)
{
	struct known_log *known = calloc(1, sizeof *known);

	HF_ASSERT(known && logs->count < HF_LOGS_MAX);
	known->magic = LOG_MAGIC;
	known->logs = logs;
	known->path = strdup(path);
	HF_ASSERT(known->path);
	known->file.fd = -1;
	known->disk = HF_CORE_NO_DISK;
	logs->known[logs->count++] = known;
	return known;
}

static void known_destroy(struct known_log *known)
{
	struct hf_logs *logs = known->logs;
	unsigned kept = 0;

	for (unsigned i = 0; i < logs->count; i++)
		if (logs->known[i] != known)
			logs->known[kept++] = logs->known[i];
	logs->count = kept;
	hf_logfile_close(&known->file);
	free(known->path);
	known->magic = 0;
	free(known);
}

void hf_logs_destroy(struct hf_logs *logs)
{
	while (logs->count > 0)
		known_destroy(logs->known[logs->count - 1]);
	logs->magic = 0;
	free(logs);
}

/* ---- Remembering ---- */

static void put_uuid(Holdfast__VolumedKnownLog *entry, const uint8_t uuid[16])
{
	if (hf_is_zero(uuid, 16))
		return;
	entry->uuid.data = (uint8_t *)(uintptr_t)uuid;
	entry->uuid.len = 16;
}

static void take_uuid(const Holdfast__VolumedKnownLog *entry, uint8_t uuid[16])
{
	if (entry->uuid.len == 16)
		memcpy(uuid, entry->uuid.data, 16);
}

static int remember(const struct hf_logs *logs, struct hf_errmsg *message)
{
	Holdfast__VolumedKnownLog entries[HF_LOGS_MAX], *pointers[HF_LOGS_MAX];
	Holdfast__VolumedKnownLog first = HOLDFAST__VOLUMED_KNOWN_LOG__INIT;
	Holdfast__VolumedLogs body = HOLDFAST__VOLUMED_LOGS__INIT;
	uint8_t *bytes;
	size_t length;
	int err;

	first.path = (char *)logs->first;
	first.version = logs->first_version;
	put_uuid(&first, logs->first_uuid);
	body.first = &first;
	body.logs = pointers;
	for (unsigned i = 0; i < logs->count; i++) {
		if (logs->known[i]->making || logs->known[i]->forgotten)
			continue;
		holdfast__volumed_known_log__init(&entries[i]);
		entries[i].path = logs->known[i]->path;
		entries[i].draining = logs->known[i]->draining;
		entries[i].version = logs->known[i]->version;
		put_uuid(&entries[i], logs->known[i]->uuid);
		pointers[body.n_logs++] = &entries[i];
	}
	length = holdfast__volumed_logs__get_packed_size(&body);
	bytes = malloc(length + 1);
	HF_ASSERT(bytes);
	holdfast__volumed_logs__pack(&body, bytes);
	err = hf_state_file_save(logs->state->folder_fd, STATE_NAME, 0, bytes, length, message);
	free(bytes);
	return err;
}

static int recall(struct hf_logs *logs, struct hf_errmsg *message)
{
	Holdfast__VolumedLogs *body;
	uint8_t *bytes = NULL;
	uint32_t flags;
	size_t length;
	int err = hf_state_file_load(logs->state->folder_fd, STATE_NAME, &flags, &bytes, &length,
				     message);

	if (err == HF_ENOENT)
		return 0;
	if (err)
		return err;
	body = holdfast__volumed_logs__unpack(NULL, length, bytes);
	free(bytes);
	if (!body || body->n_logs > HF_LOGS_MAX) {
		if (body)
			holdfast__volumed_logs__free_unpacked(body, NULL);
		return hf_fail(message, HF_ECORRUPT, "%s/%s makes no sense", logs->state->path,
			       STATE_NAME);
	}
	/* Another log_file is another log. */
	if (body->first && strcmp(body->first->path, logs->first) == 0) {
		logs->first_version = body->first->version;
		take_uuid(body->first, logs->first_uuid);
	}
	for (size_t i = 0; i < body->n_logs; i++) {
		struct known_log *known = known_create(logs, body->logs[i]->path);

		known->draining = body->logs[i]->draining;
		known->version = body->logs[i]->version;
		take_uuid(body->logs[i], known->uuid);
	}
	holdfast__volumed_logs__free_unpacked(body, NULL);
	return 0;
}

int hf_logs_first_made(struct hf_logs *logs, struct hf_errmsg *message)
{
	int err = recall(logs, message);

	if (!err) {
		logs->first_version = 0;
		memset(logs->first_uuid, 0, sizeof logs->first_uuid);
		err = remember(logs, message);
	}
	while (logs->count > 0) /* hf_logs_open recalls them */
		known_destroy(logs->known[logs->count - 1]);
	return err;
}

/* ---- Opening ---- */

static int known_open(struct known_log *known, struct hf_errmsg *message)
{
	struct hf_env_uv_disk disk;
	int err = hf_logfile_open(known->path, 0, &known->file, message);

	if (err)
		return err;
	disk = (struct hf_env_uv_disk){.fd = known->file.fd, .size_bytes = known->file.size_bytes};
	err = hf_env_uv_add_disk(known->logs->env, &disk, &known->disk, message);
	if (err)
		hf_logfile_close(&known->file);
	return err;
}

int hf_logs_open(struct hf_logs *logs, struct hf_env_uv *env, unsigned *disks,
		 struct hf_errmsg *message)
{
	int err = recall(logs, message);

	if (err)
		return err;
	logs->env = env;
	for (unsigned i = 0; i < logs->count; i++) {
		struct hf_errmsg why = {""};

		if (known_open(logs->known[i], &why) != 0) {
			logs->known[i]->disk = HF_CORE_NO_DISK;
			hf_alarm_raise(logs->alarms, 0, why.text);
		}
		disks[i] = logs->known[i]->disk;
	}
	return (int)logs->count;
}

static void answer(struct known_log *known, int status, const struct hf_errmsg *message)
{
	void (*answered)(void *, int, const struct hf_errmsg *) = known->answered;

	known->answered = NULL;
	if (answered)
		answered(known->context, status, message);
}

/* ---- Removing ---- */

static void drained(struct hf_core_log_change *change)
{
	struct known_log *known = hf_container_of(change, struct known_log, change);
	struct hf_logs *logs = known->logs;
	struct hf_errmsg message = {""};
	char *path = known->path;

	HF_CHECK_MAGIC(known, LOG_MAGIC);
	if (change->status != 0) {
		hf_info("log %s is not drained: %s", path, change->message.text);
		return;
	}
	hf_env_uv_remove_disk(logs->env, known->disk);
	known->path = NULL;
	known_destroy(known);
	if (remember(logs, &message) != 0)
		hf_alarm_raise(logs->alarms, 0, message.text);
	else if (unlink(path) != 0)
		hf_warn("log %s is removed, its file is not", path);
	hf_info("log %s is removed", path);
	free(path);
}

static void drain(struct known_log *known)
{
	known->change = (struct hf_core_log_change){.disk = known->disk, .done = drained};
	hf_core_log_drain(known->logs->core, &known->change);
}

static struct known_log *find(struct hf_logs *logs, const char *path)
{
	for (unsigned i = 0; i < logs->count; i++)
		if (strcmp(logs->known[i]->path, path) == 0)
			return logs->known[i];
	return NULL;
}

static bool others_serve(const struct hf_logs *logs, unsigned disk)
{
	struct hf_core_log_status status[HF_CORE_LOGS_MAX];
	unsigned count = hf_core_logs(logs->core, status);

	for (unsigned i = 0; i < count; i++)
		if (status[i].disk != disk && strcmp(status[i].state_text, "serving") == 0)
			return true;
	return false;
}

static int remove_check(const struct hf_logs *logs, const struct known_log *known, const char *path,
			struct hf_errmsg *message)
{
	if (strcmp(path, logs->first) == 0)
		return hf_fail(message, HF_EINVAL, "%s is log_file of the configuration", path);
	if (!known)
		return hf_fail(message, HF_ENOENT, "%s is no log of this gateway", path);
	if (known->making || known->disk == HF_CORE_NO_DISK)
		return hf_fail(message, HF_EBUSY, "%s does not serve", path);
	if (!others_serve(logs, known->disk))
		return hf_fail(message, HF_EBUSY, "no other log serves");
	return 0;
}

void hf_logs_remove(struct hf_logs *logs, const char *path,
		    void (*answered)(void *context, int status, const struct hf_errmsg *message),
		    void *context)
{
	struct known_log *known = find(logs, path);
	struct hf_errmsg message = {""};
	int err = remove_check(logs, known, path, &message);

	if (err || known->draining) {
		answered(context, err, &message);
		return;
	}
	known->draining = true;
	err = remember(logs, &message);
	if (err)
		known->draining = false;
	answered(context, err, &message);
	if (!err)
		drain(known);
}

static bool is_missing(const struct hf_logs *logs, const struct known_log *known)
{
	struct hf_core_log_status status[HF_CORE_LOGS_MAX];
	unsigned count = hf_core_logs(logs->core, status);

	for (unsigned i = 0; i < count; i++)
		if (status[i].disk == known->disk && strcmp(status[i].state_text, "missing") == 0)
			return true;
	return false;
}

int hf_logs_forget(struct hf_logs *logs, const char *path, struct hf_errmsg *message)
{
	struct known_log *known = find(logs, path);
	int err;

	if (!known)
		return hf_fail(message, HF_ENOENT, "%s is no further log of this gateway", path);
	if (!is_missing(logs, known))
		return hf_fail(message, HF_EBUSY, "%s is not missing", path);
	known->forgotten = true;
	err = remember(logs, message);
	if (err)
		known->forgotten = false;
	else
		hf_warn("log %s is forgotten, with all that it alone had", path);
	return err;
}

/* ---- Adding ---- */

/* What was made is left to be deleted with its descriptor: it has its final name only once it is
 * whole. */
static void add_failed(struct known_log *known, int err, const struct hf_errmsg *message)
{
	answer(known, err, message);
	if (known->disk != HF_CORE_NO_DISK)
		hf_env_uv_remove_disk(known->logs->env, known->disk);
	known_destroy(known);
}

static void added(struct hf_core_log_change *change)
{
	struct known_log *known = hf_container_of(change, struct known_log, change);

	HF_CHECK_MAGIC(known, LOG_MAGIC);
	if (change->status != 0)
		hf_alarm_raise(known->logs->alarms, 0, change->message.text);
	answer(known, change->status, &change->message);
}

static void formatted(struct hf_wlog_format *format)
{
	struct known_log *known = hf_container_of(format, struct known_log, format);
	struct hf_logs *logs = known->logs;
	int err = format->status;

	HF_CHECK_MAGIC(known, LOG_MAGIC);
	if (!err && !logs->core)
		err = hf_fail(&format->message, HF_ECANCELED, "closing");
	if (!err)
		err = hf_logfile_keep(&known->file, &format->message);
	if (!err) {
		known->making = false;
		err = remember(logs, &format->message);
	}
	if (err) {
		add_failed(known, err, &format->message);
		return;
	}
	known->change = (struct hf_core_log_change){.disk = known->disk, .done = added};
	hf_core_log_add(logs->core, &known->change);
}

static int add_check(struct hf_logs *logs, const char *path, uint64_t size_bytes,
		     struct hf_errmsg *message)
{
	if (path[0] != '/')
		return hf_fail(message, HF_EINVAL, "the path of a log must be absolute");
	if (size_bytes / logs->segment_bytes < 7)
		return hf_fail(message, HF_EINVAL, "a log has at least 7 segments of %u bytes",
			       logs->segment_bytes);
	if (strcmp(path, logs->first) == 0 || find(logs, path))
		return hf_fail(message, HF_EEXIST, "%s is a log of this gateway already", path);
	if (access(path, F_OK) == 0)
		return hf_fail(message, HF_EEXIST, "%s exists", path);
	if (logs->count == HF_LOGS_MAX)
		return hf_fail(message, HF_EBUSY, "there are as many logs as can be");
	return 0;
}

void hf_logs_add(struct hf_logs *logs, const char *path, uint64_t size_bytes,
		 void (*answered)(void *context, int status, const struct hf_errmsg *message),
		 void *context)
{
	struct hf_errmsg message = {""};
	struct hf_env_uv_disk disk;
	struct known_log *known;
	int err = add_check(logs, path, size_bytes, &message);

	if (err) {
		answered(context, err, &message);
		return;
	}
	known = known_create(logs, path);
	known->making = true;
	known->answered = answered;
	known->context = context;
	err = hf_logfile_open(known->path, size_bytes, &known->file, &message);
	if (!err && !known->file.fresh)
		err = hf_fail(&message, HF_EEXIST, "%s exists", path);
	if (!err) {
		disk = (struct hf_env_uv_disk){.fd = known->file.fd,
					       .size_bytes = known->file.size_bytes};
		err = hf_env_uv_add_disk(logs->env, &disk, &known->disk, &message);
		if (err)
			known->disk = HF_CORE_NO_DISK;
	}
	if (err) {
		add_failed(known, err, &message);
		return;
	}
	known->format = (struct hf_wlog_format){
		.env = hf_env_uv_table(logs->env),
		.disk = known->disk,
		.segment_bytes = logs->segment_bytes,
		.zero_fill = true,
		.done = formatted,
	};
	hf_env_random(known->format.env, known->format.uuid, sizeof known->format.uuid);
	memcpy(known->uuid, known->format.uuid, sizeof known->uuid);
	hf_wlog_format_start(&known->format);
}

/* ---- The rest ---- */

void hf_logs_expect(const struct hf_logs *logs, struct hf_core_config *config)
{
	config->least_version[0] = logs->first_version;
	memcpy(config->log_uuids[0], logs->first_uuid, sizeof logs->first_uuid);
	for (unsigned i = 0; i < logs->count; i++) {
		config->least_version[i + 1] = logs->known[i]->version;
		memcpy(config->log_uuids[i + 1], logs->known[i]->uuid, sizeof logs->known[i]->uuid);
	}
}

static void note_version(struct hf_logs *logs, const struct hf_core_log_status *status)
{
	if (status->version == 0)
		return; /* missing */
	if (status->disk == logs->first_disk) {
		logs->first_version = status->version;
		memcpy(logs->first_uuid, status->uuid, sizeof logs->first_uuid);
	}
	for (unsigned i = 0; i < logs->count; i++) {
		if (logs->known[i]->disk != status->disk)
			continue;
		logs->known[i]->version = status->version;
		memcpy(logs->known[i]->uuid, status->uuid, sizeof logs->known[i]->uuid);
	}
}

static void note_versions(struct hf_logs *logs)
{
	struct hf_core_log_status status[HF_CORE_LOGS_MAX];
	unsigned count = hf_core_logs(logs->core, status);
	struct hf_errmsg message = {""};

	for (unsigned i = 0; i < count; i++)
		note_version(logs, &status[i]);
	if (remember(logs, &message) != 0)
		hf_warn("%s", message.text);
}

void hf_logs_start(struct hf_logs *logs, struct hf_core *core)
{
	logs->core = core;
	note_versions(logs);
	for (unsigned i = 0; i < logs->count; i++)
		if (logs->known[i]->draining && logs->known[i]->disk != HF_CORE_NO_DISK)
			drain(logs->known[i]);
}

void hf_logs_stop(struct hf_logs *logs)
{
	logs->core = NULL;
}

const char *hf_logs_path(const struct hf_logs *logs, unsigned disk, unsigned missing_index)
{
	for (unsigned i = 0; i < logs->count; i++) {
		if (logs->known[i]->disk != disk || logs->known[i]->making)
			continue;
		if (disk != HF_CORE_NO_DISK || missing_index-- == 0)
			return logs->known[i]->path;
	}
	return logs->first;
}
