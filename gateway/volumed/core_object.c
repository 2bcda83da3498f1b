/* One object on its way: the records are laid over each other (what a later one overwrites is not
 * read at all), the rest is read back from the log and checked, and handed to the remote side.
 * A unit that cannot be read is lost: it goes on as a bad extent (invariant 8), so that the
 * volume's prefix moves on. Thousands of records are laid out some at a time, so that writes do not
 * wait for it. Core's thread. */
#include <stdlib.h>

#include "gateway/volumed/core_internal.h"

#define OBJECT_MAGIC     0x48464f42u
#define PIECE_MAGIC      0x48464f50u
#define PIECE_UNITS_MAX  2048u /* 1 MiB a read */
#define PIECES_UNDER_WAY 64u
#define PIECE_ERRORS_MAX 3u /* HF_EIO: try again so often before it counts as lost */
#define RESTARTS_MAX     8u

struct core_object {
	uint32_t magic;
	struct hf_core_volume *volume;
	uint64_t first, last;     /* volume sequences */
	struct hf_extmap *merged; /* the newest of each address, while it is laid out */
	uint64_t merge_next;      /* sequence */
	/* Which batches it comes from, for people; of one log, or nothing. */
	const struct hf_core_log *log;
	bool several_logs;
	uint64_t log_first, log_last;
	struct hf_extmap *layout; /* DATA: place.unit is the unit in the payload */
	uint64_t lay_lba, lay_unit;
	struct hf_timer lay_timer;
	uint8_t *payload;
	size_t payload_bytes;
	struct hf_list todo; /* pieces to read */
	struct hf_list link; /* volume->objects, until uploaded */
	unsigned under_way, restarts;
	bool restart, ready;
	uint64_t bad_units;
	struct hf_object_extent *extents;
	struct hf_remote_upload upload;
};

struct object_piece {
	uint32_t magic;
	struct core_object *object;
	unsigned errors;
	struct hf_place place; /* the core's; the read has the log's */
	struct hf_list link;
	struct hf_wlog_read read;
};

static void object_prepare(struct core_object *object);
static void object_read(struct core_object *object);

static void object_clear(struct core_object *object)
{
	struct hf_list *entry;

	while ((entry = hf_list_pop_front(&object->todo)) != NULL)
		free(hf_container_of(entry, struct object_piece, link));
	hf_env_timer_cancel(object->volume->core->env, &object->lay_timer);
	hf_extmap_destroy(object->merged);
	object->merged = NULL;
	hf_extmap_destroy(object->layout);
	object->layout = NULL;
	free(object->payload);
	object->payload = NULL;
	free(object->extents);
	object->extents = NULL;
}

static void object_end(struct core_object *object)
{
	struct hf_core_volume *volume = object->volume;

	hf_list_remove(&object->link);
	object_clear(object);
	object->magic = 0;
	free(object);
	hf_core_object_ended(volume);
}

/* The remote side closes: what is not handed to it ends as soon as nothing of it is under way. */
static void objects_stop(struct hf_core_volume *volume)
{
	hf_list_for_each_safe (cursor, &volume->objects) {
		struct core_object *object = hf_container_of(cursor, struct core_object, link);

		if (object->under_way == 0)
			object_end(object);
	}
}

static bool object_is_stopped(const struct core_object *object)
{
	const struct hf_core_volume *volume = object->volume;

	return volume->closing_remote || !volume->remote || volume->core->closing;
}

/* ---- Uploading ---------------------------------------------------------------------------------
 */

static void object_uploaded(struct hf_remote_upload *upload)
{
	struct core_object *object = hf_container_of(upload, struct core_object, upload);
	struct hf_core_volume *volume = object->volume;
	struct hf_core *core = volume->core;

	HF_CHECK_MAGIC(object, OBJECT_MAGIC);
	hf_core_enter(core);
	if (upload->status == 0) {
		volume->uploaded_objects++;
		volume->uploaded_bytes += upload->stored_bytes;
	} else if (upload->status == HF_EFENCED) {
		hf_core_volume_stop(volume, HF_VOLUME_FENCED, HF_EFENCED,
				    "another holder has taken over");
	} else if (upload->status != HF_ECANCELED) {
		hf_core_volume_stop(volume, HF_VOLUME_FAILED, upload->status,
				    upload->status == HF_ECORRUPT
					    ? "an object of this name with other content exists"
					    : "an object cannot be uploaded");
	}
	object_end(object);
	hf_core_leave(core);
}

static unsigned map_extents(const struct hf_extmap *map)
{
	struct hf_extent found;
	unsigned count = 0;

	for (uint64_t at = 0; hf_extmap_find(map, at, UINT64_MAX - at, &found); count++)
		at = found.lba + found.length;
	return count;
}

static unsigned object_extents(struct core_object *object)
{
	struct hf_extent found;
	unsigned count = 0;
	uint64_t at = 0;

	object->extents =
		hf_core_alloc((map_extents(object->layout) + 1) * sizeof *object->extents);
	while (hf_extmap_find(object->layout, at, UINT64_MAX - at, &found)) {
		object->extents[count++] = (struct hf_object_extent){
			.lba = found.lba,
			.length = found.length,
			.kind = found.kind,
			.payload_unit = found.kind == HF_EXTENT_DATA ? found.place.unit : 0};
		at = found.lba + found.length;
	}
	return count;
}

static void object_alarm(const struct core_object *object)
{
	struct hf_core_volume *volume = object->volume;

	volume->bad_extents++;
	hf_core_alarm(volume->core, volume->config.volume,
		      "%llu bytes of writes %llu to %llu were lost in the log: reads of them fail "
		      "until they are overwritten",
		      (unsigned long long)object->bad_units * HF_UNIT,
		      (unsigned long long)object->first, (unsigned long long)object->last);
}

static void object_upload(struct core_object *object)
{
	hf_list_remove(&object->link);
	if (object->bad_units > 0)
		object_alarm(object);
	object->upload.first_sequence = object->first;
	object->upload.last_sequence = object->last;
	if (!object->several_logs) {
		object->upload.log_first = object->log_first;
		object->upload.log_last = object->log_last;
	}
	object->upload.extent_count = object_extents(object);
	object->upload.extents = object->extents;
	object->upload.payload = object->payload;
	object->upload.payload_bytes = object->payload_bytes;
	object->upload.done = object_uploaded;
	hf_remote_upload(object->volume->remote, &object->upload);
}

/* The remote side takes objects in order, and a later one may be read back first. */
static void object_ready(struct core_object *object)
{
	struct hf_list *objects = &object->volume->objects;

	object->ready = true;
	while (!hf_list_empty(objects)) {
		struct core_object *oldest =
			hf_container_of(objects->next, struct core_object, link);

		if (!oldest->ready)
			return;
		object_upload(oldest);
	}
}

/* ---- Reading back ------------------------------------------------------------------------------
 */

static void piece_add(struct core_object *object, uint64_t lba, uint64_t length,
		      struct hf_place place, uint8_t *buffer)
{
	struct object_piece *piece = hf_core_alloc(sizeof *piece);

	piece->magic = PIECE_MAGIC;
	piece->object = object;
	piece->read.volume = object->volume->config.volume;
	piece->read.lba = lba;
	piece->read.length = length;
	piece->place = place;
	piece->read.buffer = buffer;
	hf_list_push_back(&object->todo, &piece->link);
}

/* Finds the units that are lost by halves. */
static void piece_lost(struct object_piece *piece)
{
	struct core_object *object = piece->object;
	struct hf_wlog_read *read = &piece->read;
	uint64_t half = read->length / 2;
	struct hf_extent bad = {.lba = read->lba, .length = 1, .kind = HF_EXTENT_BAD};
	struct hf_place place = piece->place;

	if (half == 0) {
		object->bad_units++;
		HF_ASSERT(hf_extmap_insert(object->layout, &bad) == 0);
		return;
	}
	piece_add(object, read->lba, half, place, read->buffer);
	place.unit += half;
	piece_add(object, read->lba + half, read->length - half, place,
		  (uint8_t *)read->buffer + half * HF_UNIT);
}

static void object_restart(struct core_object *object)
{
	if (object->under_way > 0)
		return;
	if (++object->restarts > RESTARTS_MAX) {
		hf_core_volume_stop(object->volume, HF_VOLUME_FAILED, HF_ECORRUPT,
				    "the log does not hold records that are not uploaded yet");
		objects_stop(object->volume);
		return;
	}
	object_clear(object);
	object_prepare(object);
}

static void piece_read(struct hf_wlog_read *read)
{
	struct object_piece *piece = hf_container_of(read, struct object_piece, read);
	struct core_object *object = piece->object;
	struct hf_core *core = object->volume->core;

	HF_CHECK_MAGIC(piece, PIECE_MAGIC);
	HF_CHECK_MAGIC(object, OBJECT_MAGIC);
	hf_core_enter(core);
	object->under_way--;
	if (read->status == HF_ENOENT) {
		object->restart = true;
	} else if (read->status == HF_EIO && ++piece->errors < PIECE_ERRORS_MAX) {
		hf_list_push_back(&object->todo, &piece->link);
		piece = NULL;
	} else if (read->status != 0) {
		piece_lost(piece);
	}
	free(piece);
	object_read(object);
	hf_core_leave(core);
}

static void object_read(struct core_object *object)
{
	struct hf_core_volume *volume = object->volume;
	struct hf_list *entry;

	if (object_is_stopped(object)) {
		objects_stop(volume);
		return;
	}
	if (object->restart) {
		object_restart(object);
		return;
	}
	while (object->under_way < PIECES_UNDER_WAY &&
	       (entry = hf_list_pop_front(&object->todo)) != NULL) {
		struct object_piece *piece = hf_container_of(entry, struct object_piece, link);

		object->under_way++;
		piece->read.done = piece_read;
		hf_core_log_read(volume->core, &piece->place, &piece->read);
	}
	if (object->under_way == 0)
		object_ready(object);
}

/* ---- Laying out --------------------------------------------------------------------------------
 */

static void object_note_batch(struct core_object *object, const struct hf_core_entry *entry)
{
	const struct hf_core_log *log = hf_core_log_at(object->volume->core, entry->place.source);

	object->several_logs |= object->log && object->log != log;
	object->log = log;
	if (object->log_first == 0 || entry->batch < object->log_first)
		object->log_first = entry->batch;
	if (entry->batch > object->log_last)
		object->log_last = entry->batch;
}

/* The newest of each address among the records of the object; false: there are more. */
static bool object_merge(struct core_object *object, unsigned *left)
{
	for (; object->merge_next <= object->last; object->merge_next++) {
		struct hf_core_entry *entry =
			hf_core_queue_at(&object->volume->queue, object->merge_next);
		struct hf_extent extent;

		if (*left == 0)
			return false;
		--*left;
		HF_ASSERT(entry != NULL && entry->logged_ns != 0);
		object_note_batch(object, entry);
		if (entry->length == 0 || entry->type == HF_RECORD_SNAPSHOT)
			continue;
		extent = (struct hf_extent){
			.lba = entry->lba, .length = entry->length, .kind = HF_EXTENT_DATA};
		if (entry->type == HF_RECORD_DATA)
			extent.place = entry->place;
		else
			extent.kind =
				entry->type == HF_RECORD_ZERO ? HF_EXTENT_ZERO : HF_EXTENT_BAD;
		HF_ASSERT(hf_extmap_insert(object->merged, &extent) == 0);
	}
	return true;
}

static uint64_t map_data_units(const struct hf_extmap *map)
{
	struct hf_extent found;
	uint64_t at = 0, units = 0;

	while (hf_extmap_find(map, at, UINT64_MAX - at, &found)) {
		if (found.kind == HF_EXTENT_DATA)
			units += found.length;
		at = found.lba + found.length;
	}
	return units;
}

static void object_add_data(struct core_object *object, const struct hf_extent *extent,
			    uint64_t payload_unit)
{
	uint8_t *buffer = object->payload + payload_unit * HF_UNIT;

	for (uint64_t done = 0; done < extent->length; done += PIECE_UNITS_MAX) {
		uint64_t length = extent->length - done;
		struct hf_place place = {.source = extent->place.source,
					 .unit = extent->place.unit + done};

		if (length > PIECE_UNITS_MAX)
			length = PIECE_UNITS_MAX;
		piece_add(object, extent->lba + done, length, place, buffer + done * HF_UNIT);
	}
}

/* Where each extent lies in the payload; false: there are more. */
static bool object_lay(struct core_object *object, unsigned *left)
{
	struct hf_extent found;

	while (hf_extmap_find(object->merged, object->lay_lba, UINT64_MAX - object->lay_lba,
			      &found)) {
		struct hf_extent laid = found;
		bool data = found.kind == HF_EXTENT_DATA;

		if (*left == 0)
			return false;
		--*left;
		object->lay_lba = found.lba + found.length;
		laid.place = (struct hf_place){.source = 0, .unit = data ? object->lay_unit : 0};
		HF_ASSERT(hf_extmap_insert(object->layout, &laid) == 0);
		if (!data)
			continue;
		object_add_data(object, &found, object->lay_unit);
		object->lay_unit += found.length;
	}
	return true;
}

static void object_payload(struct core_object *object)
{
	object->payload_bytes = map_data_units(object->merged) * HF_UNIT;
	object->payload = hf_core_alloc_aligned(object->payload_bytes);
	object->layout = hf_extmap_create();
	HF_ASSERT(object->layout != NULL);
}

static void object_lay_on(struct hf_timer *timer);

/* A turn's worth; then others have theirs. */
static void object_lay_some(struct core_object *object)
{
	struct hf_env *env = object->volume->core->env;
	unsigned left = object->volume->core->config.turn_records;
	bool merged = object_merge(object, &left);

	if (merged && !object->layout)
		object_payload(object);
	if (!merged || !object_lay(object, &left)) {
		object->lay_timer.fired = object_lay_on;
		hf_env_timer_set(env, &object->lay_timer, hf_env_now_ns(env));
		return;
	}
	hf_extmap_destroy(object->merged);
	object->merged = NULL;
	object_read(object);
}

static void object_lay_on(struct hf_timer *timer)
{
	struct core_object *object = hf_container_of(timer, struct core_object, lay_timer);
	struct hf_core *core = object->volume->core;

	HF_CHECK_MAGIC(object, OBJECT_MAGIC);
	hf_core_enter(core);
	if (object_is_stopped(object))
		objects_stop(object->volume);
	else
		object_lay_some(object);
	hf_core_leave(core);
}

static void object_prepare(struct core_object *object)
{
	object->restart = false;
	object->bad_units = 0;
	object->merged = hf_extmap_create();
	HF_ASSERT(object->merged != NULL);
	object->merge_next = object->first;
	object->log = NULL;
	object->several_logs = false;
	object->log_first = object->log_last = 0;
	object->lay_lba = object->lay_unit = 0;
	object_lay_some(object);
}

void hf_core_object_start(struct hf_core_volume *volume, uint64_t first, uint64_t last)
{
	struct core_object *object = hf_core_alloc(sizeof *object);

	object->magic = OBJECT_MAGIC;
	object->volume = volume;
	object->first = first;
	object->last = last;
	hf_list_init(&object->todo);
	hf_list_push_back(&volume->objects, &object->link);
	object_prepare(object);
}
