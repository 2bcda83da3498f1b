/* Copying forward: a segment that holds little, all of it of volumes that cannot upload, is given
 * back by writing that little again, to the segment that is open. So a volume whose store refuses
 * it, that was fenced or has failed, pins no more of the log than it needs. Core's thread.
 *
 * A record is copied as it is: same volume, sequence, request; its payload is checked as it is read
 * and gets the same checksums. The copy lies later in the log, so recovery, which takes of one
 * sequence what was written last and puts records in the order of sequences, never lays an old one
 * over a newer one. The original's segment goes only after the copy is durable: at any crash one of
 * them is there. What is covered, given up or moved meanwhile makes its copy a dead record.
 *
 * What cannot be read of it is lost, and goes along as lost (core_copy_read.c): an alarm tells,
 * reads of it go on failing, and its upload makes it a bad extent (invariant 8). It pins nothing.
 *
 * Out of a log that is drained a volume's records go to the log that it is in: the append carries
 * the volume's new list of stays beside them, so that they count there from the moment on in which
 * they do not count in the old one. */
#include <stdlib.h>
#include <string.h>

#include "gateway/volumed/core_copy.h"

#define COPY_LOOK_NS  HF_NS_PER_S
#define COPY_LOOK_MAX 65536u     /* records looked at for one decision */
#define COPY_BYTES    (1u << 20) /* of payload in one append, or one record */

static bool is_stuck(const struct hf_core_volume *volume)
{
	return volume->state == HF_VOLUME_FENCED || volume->state == HF_VOLUME_FAILED ||
	       !hf_core_remote_is_there(volume) || hf_remote_trouble(volume->remote) != 0;
}

/* One whose records may be written again now: they are durable, and nothing else is being said of
 * where it is. */
static bool may_copy(const struct hf_core_volume *volume)
{
	return volume->in_log && !volume->move && !volume->uploaded_busy &&
	       volume->attach_records == 0 && volume->state != HF_VOLUME_DETACHING &&
	       volume->state != HF_VOLUME_DELETING;
}

static uint64_t entry_bytes(const struct hf_core_entry *entry)
{
	return entry->type == HF_RECORD_DATA ? entry->length * HF_UNIT : 0;
}

/* ---- Which segment -----------------------------------------------------------------------------
 */

static void segments_clear(struct hf_core_log *log)
{
	for (unsigned i = 0; i < HF_CORE_SEGMENT_BUCKETS; i++)
		hf_list_for_each (cursor, &log->segments[i]) {
			struct hf_core_segment *segment =
				hf_container_of(cursor, struct hf_core_segment, link);

			segment->stuck = segment->stuck_bytes = 0;
		}
}

static void segments_count(struct hf_core_log *log, const struct hf_core_volume *volume,
			   unsigned *looks)
{
	uint64_t sequence = volume->counted_through + 1;
	struct hf_core_entry *entry;

	if (sequence < volume->queue.first_sequence)
		sequence = volume->queue.first_sequence;
	for (; *looks > 0 && sequence <= volume->durable_sequence; sequence++, --*looks) {
		struct hf_core_segment *segment;

		entry = hf_core_queue_at(&volume->queue, sequence);
		if (!entry || hf_core_log_at(log->core, entry->place.source) != log)
			continue;
		segment = hf_core_segment_of(log->core, entry->place.source);
		segment->stuck++;
		segment->stuck_bytes += entry_bytes(entry) + 512;
	}
}

/* That which costs least to copy, and gives back at least a quarter of itself. */
static struct hf_core_segment *segment_cheapest(struct hf_core_log *log)
{
	uint64_t least = hf_wlog_segment_bytes(log->wlog) / 4 * 3;
	struct hf_core_segment *best = NULL;

	for (unsigned i = 0; i < HF_CORE_SEGMENT_BUCKETS; i++)
		hf_list_for_each (cursor, &log->segments[i]) {
			struct hf_core_segment *segment =
				hf_container_of(cursor, struct hf_core_segment, link);

			if (segment->stuck == 0 || segment->stuck != segment->uncounted ||
			    segment->stuck_bytes > least || segment->serial >= log->safe_segment ||
			    segment->serial <= log->keep_through)
				continue;
			least = segment->stuck_bytes;
			best = segment;
		}
	return best;
}

static struct hf_core_segment *segment_choose(struct hf_core_log *log)
{
	unsigned looks = COPY_LOOK_MAX;
	struct hf_core_segment *segment;

	segments_clear(log);
	hf_list_for_each (cursor, &log->core->volumes) {
		const struct hf_core_volume *volume =
			hf_container_of(cursor, struct hf_core_volume, link);

		if (is_stuck(volume) && may_copy(volume))
			segments_count(log, volume, &looks);
	}
	segment = segment_cheapest(log);
	if (!segment || segment->live == segment->stuck)
		return segment;
	/* What else it holds is counted: first the log is told. */
	log->uploaded_now = true;
	hf_list_for_each (cursor, &log->core->volumes) {
		struct hf_core_volume *volume =
			hf_container_of(cursor, struct hf_core_volume, link);

		if (hf_core_volume_was_in(volume, log))
			hf_core_uploaded_now(volume);
	}
	return NULL;
}

/* ---- Writing -----------------------------------------------------------------------------------
 */

static void copy_free(struct hf_core_copy *copy)
{
	struct hf_core_volume *volume = hf_core_volume_find(copy->core, copy->volume);

	if (volume && volume->copying == copy)
		volume->copying = NULL;
	copy->from->copying = NULL;
	copy->core->holds--;
	free(copy->payload);
	free(copy->lost);
	copy->magic = 0;
	free(copy);
}

static bool is_still_there(const struct hf_core_volume *volume, const struct hf_core_copy *copy,
			   unsigned i)
{
	const struct hf_core_entry *entry =
		volume ? hf_core_queue_at(&volume->queue, copy->first + i) : NULL;

	return entry && entry->logged_ns != 0 && entry->place.source == copy->places[i].source &&
	       entry->place.unit == copy->places[i].unit;
}

static void copied(struct hf_wlog_append *append)
{
	struct hf_core_copy *copy = hf_container_of(append, struct hf_core_copy, append);
	struct hf_core *core = copy->core;
	struct hf_core_volume *volume = hf_core_volume_find(core, copy->volume);
	struct hf_core_log *from = copy->from;
	int status = append->status;

	HF_CHECK_MAGIC(copy, HF_CORE_COPY_MAGIC);
	hf_core_enter(core);
	if (status == 0) {
		hf_core_segment_note(copy->to, copy->records[0].place.source);
		hf_core_segment_durable(copy->to, copy->records[0].place.source);
		if (copy->from != copy->to && volume && volume->copying == copy) {
			volume->stay_count = copy->says.stay_count;
			memcpy(volume->stays, copy->says.stays, sizeof volume->stays);
		}
		for (unsigned i = 0; i < copy->count; i++)
			if (is_still_there(volume, copy, i))
				hf_core_entry_move(
					volume, hf_core_queue_at(&volume->queue, copy->first + i),
					copy->to, &copy->records[i]);
	}
	copy_free(copy);
	if (volume)
		hf_core_copy_ended(volume);
	if (status == 0)
		hf_core_copy_look(from);
	hf_core_leave(core);
}

/* The stays of the volume when the records lie in its own log. False if there would be too many. */
static bool stays_after(struct hf_core_copy *copy, const struct hf_core_volume *volume)
{
	struct hf_core_state_volume *says = &copy->says;
	uint64_t last = copy->first + copy->count - 1;
	unsigned count = 0;

	hf_core_state_of(volume, says);
	for (unsigned i = 0; i < volume->stay_count; i++) {
		const struct hf_core_stay *stay = &volume->stays[i];
		struct hf_core_stay moved = {
			.since_batch = volume->since_batch, .first = copy->first, .last = last};
		struct hf_core_stay rest = *stay;

		memcpy(moved.log, copy->to->uuid, sizeof moved.log);
		if (count + 2 > HF_CORE_STAYS_MAX)
			return false;
		if (stay->first > last || stay->last < copy->first ||
		    memcmp(stay->log, copy->from->uuid, sizeof stay->log) != 0) {
			says->stays[count++] = *stay;
			continue;
		}
		/* What lies before is uploaded, or was copied already. */
		if (count > 0 && says->stays[count - 1].last + 1 == copy->first &&
		    memcmp(says->stays[count - 1].log, moved.log, sizeof moved.log) == 0 &&
		    says->stays[count - 1].since_batch == moved.since_batch)
			says->stays[count - 1].last = last;
		else
			says->stays[count++] = moved;
		rest.first = last + 1;
		if (rest.first <= rest.last)
			says->stays[count++] = rest;
	}
	says->stay_count = count;
	return true;
}

static void add_control(struct hf_core_copy *copy)
{
	struct hf_wlog_record *record = &copy->records[copy->count];
	size_t length;
	uint8_t *control = hf_core_control_encode(copy->core, &copy->says, false, &length);

	*record = (struct hf_wlog_record){.type = HF_RECORD_ATTACH,
					  .volume = copy->volume,
					  .sequence = copy->says.last_sequence};
	record[1] = *record;
	record[1].type = HF_RECORD_CONTROL;
	record[1].length = length;
	copy->payload = realloc(copy->payload, copy->payload_bytes + length);
	HF_ASSERT(copy->payload != NULL);
	memcpy(copy->payload + copy->payload_bytes, control, length);
	copy->payload_bytes += length;
	copy->append.record_count += 2;
	free(control);
}

static void copy_alarm(const struct hf_core_copy *copy)
{
	if (copy->lost_count > 0)
		hf_core_alarm(copy->core, copy->volume,
			      "%u blocks of writes %llu to %llu were lost in the log: reads of "
			      "them fail until they are overwritten",
			      copy->lost_count, (unsigned long long)copy->first,
			      (unsigned long long)(copy->first + copy->count - 1));
}

static void copy_append(struct hf_core_copy *copy)
{
	struct hf_core_volume *volume = hf_core_volume_find(copy->core, copy->volume);

	for (unsigned i = 0; i < copy->count; i++)
		copy->failed |= !is_still_there(volume, copy, i);
	if (copy->failed || copy->core->closing || !may_copy(volume) ||
	    (copy->from != copy->to && (volume->home != copy->to || !stays_after(copy, volume)))) {
		copy_free(copy);
		if (volume)
			hf_core_copy_ended(volume);
		return;
	}
	copy->append.records = copy->records;
	copy->append.record_count = copy->count;
	if (copy->from != copy->to) {
		volume->copying = copy;
		add_control(copy);
	}
	copy->append.payload = copy->payload;
	copy->append.payload_bytes = copy->payload_bytes;
	copy->append.lost = copy->lost;
	copy->append.lost_count = copy->lost_count;
	copy->append.durable = true;
	copy->append.reserve = true;
	copy->append.done = copied;
	copy_alarm(copy);
	hf_wlog_append(copy->to->wlog, &copy->append);
}

/* ---- Choosing records --------------------------------------------------------------------------
 */

static bool lies_there(const struct hf_core_copy *copy, const struct hf_core_entry *entry)
{
	if (!entry || entry->logged_ns == 0)
		return false;
	if (copy->from == copy->to)
		return entry->place.source == copy->source;
	return hf_core_log_at(copy->core, entry->place.source) == copy->from;
}

/* Whole appends from `sequence` on; at least one, whatever its size. */
static void copy_take(struct hf_core_copy *copy, const struct hf_core_volume *volume,
		      uint64_t sequence)
{
	unsigned whole = 0;

	copy->volume = volume->config.volume;
	copy->first = sequence;
	for (unsigned i = 0; i < HF_CORE_COPY_RECORDS_MAX; i++) {
		const struct hf_core_entry *entry = hf_core_queue_at(&volume->queue, sequence + i);

		if (sequence + i > volume->durable_sequence || !lies_there(copy, entry) ||
		    (i > 0 && copy->payload_bytes + entry_bytes(entry) > COPY_BYTES))
			break;
		copy->places[i] = entry->place;
		copy->records[i] = (struct hf_wlog_record){.type = entry->type,
							   .volume = copy->volume,
							   .sequence = sequence + i,
							   .lba = entry->lba,
							   .length = entry->length,
							   .request = entry->request,
							   .result = HF_OK};
		copy->payload_bytes += entry_bytes(entry);
		if (!entry->ends_append)
			continue;
		whole = i + 1;
		if (copy->payload_bytes >= COPY_BYTES)
			break;
	}
	for (copy->payload_bytes = 0, copy->count = 0; copy->count < whole; copy->count++)
		if (copy->records[copy->count].type == HF_RECORD_DATA)
			copy->payload_bytes += copy->records[copy->count].length * HF_UNIT;
}

static struct hf_core_copy *copy_create(struct hf_core_log *from, struct hf_core_log *to)
{
	struct hf_core_copy *copy = hf_core_alloc(sizeof *copy);

	copy->magic = HF_CORE_COPY_MAGIC;
	copy->core = from->core;
	hf_list_init(&copy->todo);
	hf_list_init(&copy->again);
	copy->from = from;
	copy->to = to;
	from->copying = copy;
	from->core->holds++;
	return copy;
}

/* True if something of the volume is on its way. */
static bool copy_volume(struct hf_core_copy *copy, struct hf_core_volume *volume)
{
	uint64_t sequence = volume->queue.first_sequence;

	while (sequence <= volume->durable_sequence && hf_core_queue_at(&volume->queue, sequence) &&
	       !lies_there(copy, hf_core_queue_at(&volume->queue, sequence)))
		sequence++;
	if (!lies_there(copy, hf_core_queue_at(&volume->queue, sequence)) ||
	    sequence > volume->durable_sequence)
		return false;
	copy_take(copy, volume, sequence);
	if (copy->count == 0)
		return false;
	if (copy->from != copy->to)
		copy->source = copy->places[0].source;
	hf_core_copy_read(copy, copy_append);
	return true;
}

void hf_core_copy_out(struct hf_core_volume *volume, struct hf_core_log *from)
{
	struct hf_core_copy *copy;

	if (from->copying || volume->home == from || !volume->home->wlog || !is_stuck(volume) ||
	    !may_copy(volume) || volume->copying)
		return;
	copy = copy_create(from, volume->home);
	if (!copy_volume(copy, volume))
		copy_free(copy);
}

void hf_core_copy_look(struct hf_core_log *log)
{
	uint64_t now_ns = hf_env_now_ns(log->core->env);
	struct hf_core_segment *segment;
	struct hf_core_copy *copy;

	if (log->copying || log->core->closing || log->core->recovering ||
	    log->state != HF_CORE_LOG_SERVING ||
	    hf_wlog_free_bytes(log->wlog) > hf_wlog_total_bytes(log->wlog) / 2)
		return;
	if (!log->copy_source) {
		if (now_ns < log->copy_look_ns)
			return;
		log->copy_look_ns = now_ns + COPY_LOOK_NS;
		segment = segment_choose(log);
		if (!segment)
			return;
		log->copy_source = hf_core_source(log, segment->serial) + 1;
	}
	copy = copy_create(log, log);
	copy->source = log->copy_source - 1;
	hf_list_for_each (cursor, &log->core->volumes) {
		struct hf_core_volume *volume =
			hf_container_of(cursor, struct hf_core_volume, link);

		if (is_stuck(volume) && may_copy(volume) && copy_volume(copy, volume))
			return;
	}
	log->copy_source = 0; /* all of it */
	copy_free(copy);
}

void hf_core_copy_ended(struct hf_core_volume *volume)
{
	if (volume->attach_wanted && !volume->move && !volume->core->closing) {
		volume->attach_wanted = false;
		hf_core_attach_log(volume);
	}
	hf_core_leave_step(volume);
}
