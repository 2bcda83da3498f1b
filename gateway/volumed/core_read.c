/* Reading a range of a volume: the overlay first, then what the log still has of what is uploaded,
 * then the remote map, else zeros. The whole range
 * is looked up at one moment and everything is asked for before anything else can happen, so what a
 * read sees is one state of the volume, whatever is written meanwhile. A read that needs the remote
 * map before it is there waits and then starts from the beginning. Core's thread. */
#include <stdlib.h>
#include <string.h>

#include "gateway/volumed/core_map.h"

#define PIECE_MAGIC       0x48465043u
#define READ_ATTEMPTS_MAX 8u

struct read_piece {
	uint32_t magic;
	struct hf_core_read *read;
	bool clean; /* the store has it too */
	struct hf_wlog_read log;
	struct hf_remote_read remote;
};

static void read_attempt(struct hf_core_read *read);

bool hf_core_remote_is_there(const struct hf_core_volume *volume)
{
	return volume->remote && !volume->closing_remote;
}

static void read_fail(struct hf_core_read *read, int status)
{
	if (read->status == 0)
		read->status = status;
}

/* One piece less, or the guard of the attempt itself. */
static void read_put(struct hf_core_read *read)
{
	HF_ASSERT(read->under_way > 0);
	if (--read->under_way > 0)
		return;
	if (read->again && ++read->attempts < READ_ATTEMPTS_MAX && !read->volume->core->closing)
		read_attempt(read);
	else
		read->done(read);
}

static void piece_free(struct read_piece *piece)
{
	piece->magic = 0;
	free(piece);
}

static void piece_from_log(struct hf_wlog_read *log)
{
	struct read_piece *piece = hf_container_of(log, struct read_piece, log);
	struct hf_core_read *read = piece->read;
	struct hf_core *core = read->volume->core;

	HF_CHECK_MAGIC(piece, PIECE_MAGIC);
	hf_core_enter(core);
	if (log->status != 0 && piece->clean)
		hf_core_clean_drop(read->volume, log->lba, log->length);
	if (log->status == HF_ENOENT || (log->status != 0 && piece->clean))
		read->again = true; /* recycled in between, or damaged: the map knows better now */
	if (log->status != 0)
		read_fail(read, log->status);
	piece_free(piece);
	read_put(read);
	hf_core_leave(core);
}

int hf_core_status_from_remote(const struct hf_core_volume *volume, int status)
{
	if (volume->core->closing)
		return HF_ECANCELED; /* the next process may do better */
	if (status == HF_ECANCELED)
		return volume->state == HF_VOLUME_FENCED ? HF_EFENCED : HF_ENOTREADY;
	return status == HF_ENOENT ? HF_ECORRUPT : status;
}

static void piece_from_remote(struct hf_remote_read *remote)
{
	struct read_piece *piece = hf_container_of(remote, struct read_piece, remote);
	struct hf_core_read *read = piece->read;
	struct hf_core_volume *volume = read->volume;
	struct hf_core *core = volume->core;

	HF_CHECK_MAGIC(piece, PIECE_MAGIC);
	hf_core_enter(core);
	volume->fetched_bytes += remote->fetched_bytes;
	if (remote->status == HF_ENOENT || remote->status == HF_ECORRUPT)
		hf_core_alarm(core, volume->config.volume,
			      "an object is missing or damaged: %llu bytes at %llu are unreadable",
			      (unsigned long long)remote->length * HF_UNIT,
			      (unsigned long long)piece->log.lba * HF_UNIT);
	if (remote->status != 0)
		read_fail(read, hf_core_status_from_remote(volume, remote->status));
	piece_free(piece);
	read_put(read);
	hf_core_leave(core);
}

static struct read_piece *piece_create(struct hf_core_read *read, uint64_t lba)
{
	struct read_piece *piece = hf_core_alloc(sizeof *piece);

	piece->magic = PIECE_MAGIC;
	piece->read = read;
	piece->log.lba = lba;
	read->under_way++;
	return piece;
}

static uint8_t *read_at(const struct hf_core_read *read, uint64_t lba)
{
	return read->buffer + (lba - read->lba) * HF_UNIT;
}

static void read_log(struct hf_core_read *read, const struct hf_core_piece *part, bool clean)
{
	struct read_piece *piece = piece_create(read, part->lba);

	piece->clean = clean;
	piece->log.volume = read->volume->config.volume;
	piece->log.length = part->length;
	piece->log.buffer = read_at(read, part->lba);
	piece->log.done = piece_from_log;
	hf_core_log_read(read->volume->core, &part->place, &piece->log);
}

static void read_overlay(struct hf_core_read *read, const struct hf_core_piece *part)
{
	switch (part->source) {
	case HF_CORE_FROM_ZERO:
		memset(read_at(read, part->lba), 0, part->length * HF_UNIT);
		break;
	case HF_CORE_FROM_BAD:
		read_fail(read, HF_EBADEXTENT);
		break;
	case HF_CORE_FROM_LOG:
		read_log(read, part, false);
		break;
	}
}

static void read_object(struct hf_core_read *read, const struct hf_extent *extent)
{
	struct read_piece *piece = piece_create(read, extent->lba);

	piece->remote.place = extent->place;
	piece->remote.length = extent->length;
	piece->remote.buffer = read_at(read, extent->lba);
	piece->remote.deadline_ns = read->deadline_ns;
	piece->remote.done = piece_from_remote;
	hf_remote_read(read->volume->remote, &piece->remote);
}

/* A range that the log does not have. */
static void read_remote(struct hf_core_read *read, uint64_t lba, uint64_t end)
{
	const struct hf_extmap *map = hf_remote_map(read->volume->remote);
	struct hf_extent extent;
	uint64_t leaf;

	while (lba < end) {
		enum hf_extmap_found found = hf_extmap_look(map, lba, end - lba, &extent, &leaf);

		HF_ASSERT(found != HF_EXTMAP_ABSENT);
		if (found == HF_EXTMAP_NONE) {
			memset(read_at(read, lba), 0, (end - lba) * HF_UNIT);
			return;
		}
		memset(read_at(read, lba), 0, (extent.lba - lba) * HF_UNIT);
		lba = extent.lba + extent.length;
		if (extent.kind == HF_EXTENT_DATA)
			read_object(read, &extent);
		else if (extent.kind == HF_EXTENT_ZERO)
			memset(read_at(read, extent.lba), 0, extent.length * HF_UNIT);
		else
			read_fail(read, HF_EBADEXTENT);
	}
}

/* A range that the overlay does not have. */
static void read_uploaded(struct hf_core_read *read, uint64_t lba, uint64_t end)
{
	struct hf_core_piece part;

	while (lba < end && hf_core_clean_find(read->volume, lba, end - lba, &part)) {
		if (part.lba > lba)
			read_remote(read, lba, part.lba);
		read_log(read, &part, true);
		lba = part.lba + part.length;
	}
	if (lba < end)
		read_remote(read, lba, end);
}

static bool overlay_has_all(const struct hf_core_read *read)
{
	uint64_t at = read->lba, end = read->lba + read->length;
	struct hf_core_piece part;

	while (at < end) {
		if (!hf_core_overlay_find(read->volume->overlay, at, end - at, &part) ||
		    part.lba != at)
			return false;
		at = part.lba + part.length;
	}
	return true;
}

static void read_attempt(struct hf_core_read *read)
{
	uint64_t at = read->lba, end = read->lba + read->length;
	struct hf_core_volume *volume = read->volume;
	struct hf_core_piece part;

	read->status = 0;
	read->again = false;
	if (!hf_core_remote_is_there(volume) && !overlay_has_all(read)) {
		hf_core_park(read);
		return;
	}
	if (hf_core_remote_is_there(volume) && !hf_core_map_is_there(read))
		return;
	read->under_way = 1;
	while (at < end) {
		if (!hf_core_overlay_find(volume->overlay, at, end - at, &part)) {
			read_uploaded(read, at, end);
			break;
		}
		if (part.lba > at)
			read_uploaded(read, at, part.lba);
		read_overlay(read, &part);
		at = part.lba + part.length;
	}
	read_put(read);
}

void hf_core_read_loaded(struct hf_core_read *read, int status)
{
	if (status == 0) {
		read_attempt(read);
		return;
	}
	read->status = status;
	read->done(read);
}

void hf_core_read_start(struct hf_core_read *read)
{
	read->attempts = 0;
	read->loads = 0;
	read->parked = false;
	if (read->deadline_ns == 0)
		read->deadline_ns = hf_env_now_ns(read->volume->core->env) +
				    read->volume->core->config.read_deadline_ms * HF_NS_PER_MS;
	read_attempt(read);
}

/* ---- Waiting for the remote map ----------------------------------------------------------------
 */

void hf_core_park(struct hf_core_read *read)
{
	struct hf_core_volume *volume = read->volume;
	int status = hf_core_volume_ready(volume);

	if (volume->core->closing)
		status = HF_ECANCELED;
	if (status != 0 &&
	    (volume->state != HF_VOLUME_DETACHING || hf_core_volume_is_given_up(volume))) {
		read->status = status;
		read->done(read);
		return;
	}
	read->parked = true;
	if (hf_list_empty(&volume->parked))
		hf_env_timer_set(volume->core->env, &volume->parked_timer, read->deadline_ns);
	hf_list_push_back(&volume->parked, &read->link);
}

void hf_core_read_unpark(struct hf_core_read *read, int status)
{
	HF_ASSERT(read->parked);
	hf_list_remove(&read->link);
	read->parked = false;
	if (status == 0) {
		read_attempt(read);
		return;
	}
	read->status = status;
	read->done(read);
}

void hf_core_unpark_all(struct hf_core_volume *volume, int status)
{
	struct hf_list reads;

	hf_list_init(&reads);
	hf_list_splice_back(&reads, &volume->parked);
	hf_env_timer_cancel(volume->core->env, &volume->parked_timer);
	while (!hf_list_empty(&reads))
		hf_core_read_unpark(hf_container_of(reads.next, struct hf_core_read, link), status);
}
