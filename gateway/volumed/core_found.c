/* What recovery finds in one log, volume by volume, before it is known which log each volume is in.
 * Records are taken in the order of the log: one that brings a volume here forgets what lies before
 * it and is of no stay, as a DETACH does. What a log says of a volume is its claim; a volume that
 * has moved is claimed by the log it went to. Core's thread. */
#include <stdlib.h>
#include <string.h>

#include "gateway/volumed/core_state.h"

struct hf_core_found_table *hf_core_found_create(void)
{
	struct hf_core_found_table *table = hf_core_alloc(sizeof *table);

	for (unsigned i = 0; i < HF_CORE_VOLUME_BUCKETS; i++)
		hf_list_init(&table->buckets[i]);
	return table;
}

void hf_core_found_destroy(struct hf_core_found_table *table)
{
	if (!table)
		return;
	for (unsigned i = 0; i < HF_CORE_VOLUME_BUCKETS; i++)
		hf_list_for_each_safe (cursor, &table->buckets[i]) {
			struct hf_core_found *found =
				hf_container_of(cursor, struct hf_core_found, bucket);

			free(found->records);
			free(found);
		}
	free(table);
}

struct hf_core_found *hf_core_found_of(struct hf_core_found_table *table, uint64_t volume,
				       bool create)
{
	struct hf_list *bucket =
		&table->buckets[(volume * 0x9e3779b97f4a7c15ull >> 32) % HF_CORE_VOLUME_BUCKETS];
	struct hf_core_found *found;

	hf_list_for_each (cursor, bucket) {
		found = hf_container_of(cursor, struct hf_core_found, bucket);
		if (found->volume == volume)
			return found;
	}
	if (!create)
		return NULL;
	found = hf_core_alloc(sizeof *found);
	found->volume = volume;
	hf_list_push_back(bucket, &found->bucket);
	return found;
}

/* ---- Records -----------------------------------------------------------------------------------
 */

static void found_push(struct hf_core_found *found, uint64_t sequence,
		       const struct hf_core_entry *entry)
{
	if (found->count == found->capacity) {
		found->capacity = found->capacity ? 2 * found->capacity : 64;
		found->records = realloc(found->records, found->capacity * sizeof *found->records);
		HF_ASSERT(found->records != NULL);
	}
	found->records[found->count].sequence = sequence;
	found->records[found->count++].entry = *entry;
	found->sorted = false;
}

void hf_core_found_record(struct hf_core_log *log, const struct hf_wlog_record *record)
{
	struct hf_core_found *found = hf_core_found_of(log->found, record->volume, true);
	struct hf_core_entry entry = {
		.lba = record->lba,
		.length = record->length,
		.place = {.source = hf_core_source(log, record->place.source),
			  .unit = record->place.unit},
		.batch = record->batch,
		.logged_ns = hf_env_now_ns(log->core->env),
		.request = record->request,
		.type = record->type,
		.ends_append = true,
	};

	found_push(found, record->sequence, &entry);
	hf_core_results_recovered(log, &record->request, record->volume, record->sequence,
				  record->result);
}

/* Bottom up and stable: nearly always in order already. */
static void found_merge(struct hf_core_found_record *from, struct hf_core_found_record *to,
			size_t low, size_t middle, size_t high)
{
	size_t a = low, b = middle;

	for (size_t i = low; i < high; i++)
		to[i] = a < middle && (b >= high || from[a].sequence <= from[b].sequence)
				? from[a++]
				: from[b++];
}

static bool found_in_order(const struct hf_core_found *found)
{
	for (size_t i = 1; i < found->count; i++)
		if (found->records[i - 1].sequence >= found->records[i].sequence)
			return false;
	return true;
}

void hf_core_found_sort(struct hf_core_found *found)
{
	struct hf_core_found_record *from = found->records, *to, *swap;
	size_t kept = 0;

	if (found->sorted || found_in_order(found)) {
		found->sorted = true;
		return;
	}
	to = hf_core_alloc(found->count * sizeof *to);
	for (size_t width = 1; width < found->count; width *= 2) {
		for (size_t low = 0; low < found->count; low += 2 * width) {
			size_t middle = low + width < found->count ? low + width : found->count;
			size_t high = middle + width < found->count ? middle + width : found->count;

			found_merge(from, to, low, middle, high);
		}
		swap = from;
		from = to;
		to = swap;
	}
	for (size_t i = 0; i < found->count; i++)
		if (i + 1 == found->count || from[i + 1].sequence != from[i].sequence)
			from[kept++] = from[i];
	free(to);
	found->records = from;
	found->capacity = found->count;
	found->count = kept;
	found->sorted = true;
}

void hf_core_found_moved(struct hf_core_log *log, const struct hf_wlog_record *record)
{
	struct hf_core_found *found = hf_core_found_of(log->found, record->volume, false);
	size_t low = 0, high;

	if (!found)
		return;
	hf_core_found_sort(found);
	high = found->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (found->records[middle].sequence < record->sequence)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == found->count || found->records[low].sequence != record->sequence)
		return;
	found->records[low].entry.place.source = hf_core_source(log, record->place.source);
	found->records[low].entry.place.unit = record->place.unit;
	found->records[low].entry.batch = record->batch;
}

/* ---- Claims ------------------------------------------------------------------------------------
 */

static bool is_of_a_stay(const struct hf_core_log *log, const struct hf_core_state_volume *says,
			 const struct hf_core_found_record *record)
{
	for (unsigned i = 0; i < says->stay_count; i++)
		if (memcmp(says->stays[i].log, log->open.uuid, 16) == 0 &&
		    record->entry.batch >= says->stays[i].since_batch &&
		    record->sequence >= says->stays[i].first &&
		    record->sequence <= says->stays[i].last)
			return true;
	return false;
}

/* The volume came here with a record in batch `since`: what lies before is of a life that ended,
 * unless a stay says otherwise. `here`: it is the record that is being read. */
static void found_begin(struct hf_core_log *log, struct hf_core_found *found,
			const struct hf_core_state_volume *says, bool here)
{
	size_t kept = 0;

	for (size_t i = 0; i < found->count; i++)
		if ((!here && found->records[i].entry.batch >= says->since_batch) ||
		    is_of_a_stay(log, says, &found->records[i]))
			found->records[kept++] = found->records[i];
	found->count = kept;
	hf_core_results_disown(log, found->volume);
}

struct found_reader {
	struct hf_core_log *log;
	uint64_t batch; /* of the record that is being read */
	const uint8_t *uuid;
};

static void read_volume(void *context, const struct hf_core_state_volume *says)
{
	struct found_reader *reader = context;
	struct hf_core_found *found = hf_core_found_of(reader->log->found, says->volume, true);
	uint64_t uploaded_through = found->claimed ? found->says.uploaded_through : 0;
	bool here = says->since_batch == HF_CORE_SINCE_HERE;
	struct hf_core_state_volume now = *says;

	if (here)
		now.since_batch = reader->batch;
	/* It has been here since a batch that was written again, under a higher number, after
	 * `says` had been settled: no new coming. */
	else if (found->claimed && now.since_batch < found->says.since_batch)
		now.since_batch = found->says.since_batch;
	if (here || !found->claimed || found->says.since_batch != now.since_batch)
		found_begin(reader->log, found, &now, here);
	if (now.uploaded_through < uploaded_through && !here)
		now.uploaded_through = uploaded_through;
	found->says = now;
	found->claimed = found->kept = true;
}

static void read_ring(void *context, const uint8_t uuid[16], uint64_t oldest_unfinished)
{
	struct found_reader *reader = context;

	hf_core_ring_progress(reader->log->core, uuid, oldest_unfinished);
}

static void read_result(void *context, const uint8_t uuid[16], const struct hf_core_result *result)
{
	struct found_reader *reader = context;
	struct hf_request_id id = {.id = result->id};

	memcpy(id.ring, uuid, sizeof id.ring);
	hf_core_results_recovered(reader->log, &id, result->volume, result->sequence,
				  result->result);
}

static int found_read(struct hf_core_log *log, const struct hf_wlog_record *record,
		      const void *payload,
		      int (*decode)(const uint8_t *, size_t, const struct hf_core_state_visitor *))
{
	struct found_reader reader = {.log = log, .batch = record->batch};
	const struct hf_core_state_visitor visitor = {.context = &reader,
						      .volume = read_volume,
						      .ring = read_ring,
						      .result = read_result};

	return decode(payload, record->length, &visitor);
}

/* A STATE is the whole truth of its moment: a volume that it does not name is not in this log. */
void hf_core_found_state(struct hf_core_log *log, const struct hf_wlog_record *record,
			 const void *payload)
{
	for (unsigned i = 0; i < HF_CORE_VOLUME_BUCKETS; i++)
		hf_list_for_each (cursor, &log->found->buckets[i]) {
			hf_container_of(cursor, struct hf_core_found, bucket)->kept = false;
		}
	if (found_read(log, record, payload, hf_core_state_decode) != 0) {
		hf_core_alarm(log->core, 0, "the log holds control state that cannot be read");
		log->damaged = true;
		return;
	}
	for (unsigned i = 0; i < HF_CORE_VOLUME_BUCKETS; i++)
		hf_list_for_each (cursor, &log->found->buckets[i]) {
			struct hf_core_found *found =
				hf_container_of(cursor, struct hf_core_found, bucket);

			if (found->claimed && !found->kept) {
				found->claimed = false;
				hf_core_results_disown(log, found->volume);
			}
		}
}

void hf_core_found_control(struct hf_core_log *log, const struct hf_wlog_record *record,
			   const void *payload)
{
	if (found_read(log, record, payload, hf_core_control_decode) == 0)
		return;
	hf_core_alarm(log->core, record->volume, "a control record cannot be read");
	log->damaged = true;
}

void hf_core_found_detach(struct hf_core_log *log, uint64_t volume)
{
	struct hf_core_found *found = hf_core_found_of(log->found, volume, false);

	if (!found)
		return;
	found->claimed = false;
	found->count = 0;
	hf_core_results_disown(log, volume);
}
