/* When a segment of the log may be reused: no record in it is one that the store does not cover by
 * a durable UPLOADED record, and a newer segment has durable control state. The second is known
 * from any durable record in a newer segment, because a segment opens with STATE and a sync covers
 * everything before it. Such a segment still serves reads (core_clean.c) until its room is wanted:
 *
 *   live ──last record covered, newer STATE durable──▶ clean ──oldest, room is short──▶ recycled
 *
 * Core's thread. */
#include <stdlib.h>

#include "gateway/volumed/core_internal.h"

static struct hf_core_segment *segment_find(struct hf_core_log *log, uint64_t serial)
{
	hf_list_for_each (cursor, &log->segments[serial % HF_CORE_SEGMENT_BUCKETS]) {
		struct hf_core_segment *segment =
			hf_container_of(cursor, struct hf_core_segment, link);

		if (hf_core_source(log, segment->serial) == hf_core_source(log, serial))
			return segment;
	}
	return NULL;
}

struct hf_core_segment *hf_core_segment_of(struct hf_core *core, uint64_t source)
{
	struct hf_core_segment *segment = segment_find(hf_core_log_at(core, source),
						       source & ((1u << HF_WLOG_SERIAL_BITS) - 1));

	HF_ASSERT(segment != NULL);
	return segment;
}

void hf_core_segment_note(struct hf_core_log *log, uint64_t serial)
{
	struct hf_core_segment *segment = segment_find(log, serial);

	if (segment)
		return;
	segment = hf_core_alloc(sizeof *segment);
	segment->serial = serial;
	hf_list_push_back(&log->segments[serial % HF_CORE_SEGMENT_BUCKETS], &segment->link);
	log->segments_released = true;
}

void hf_core_segment_hold(struct hf_core *core, uint64_t source)
{
	struct hf_core_segment *segment = hf_core_segment_of(core, source);

	segment->live++;
	segment->uncounted++;
}

void hf_core_segment_counted(struct hf_core *core, uint64_t source)
{
	struct hf_core_segment *segment = hf_core_segment_of(core, source);

	HF_ASSERT(segment->uncounted > 0);
	if (--segment->uncounted == 0)
		hf_core_log_at(core, source)->segments_counted = true;
}

void hf_core_segment_release(struct hf_core *core, uint64_t source)
{
	struct hf_core_segment *segment = hf_core_segment_of(core, source);

	HF_ASSERT(segment->live > segment->uncounted);
	if (--segment->live == 0)
		hf_core_log_at(core, source)->segments_released = true;
}

void hf_core_segment_durable(struct hf_core_log *log, uint64_t serial)
{
	if (serial <= log->safe_segment)
		return;
	log->safe_segment = serial;
	log->segments_released = log->segments_counted = true;
}

bool hf_core_segments_want_uploaded(const struct hf_core_log *log)
{
	for (unsigned i = 0; i < HF_CORE_SEGMENT_BUCKETS; i++)
		hf_list_for_each (cursor, &log->segments[i]) {
			const struct hf_core_segment *segment =
				hf_container_of(cursor, struct hf_core_segment, link);

			if (segment->live > 0 && segment->uncounted == 0 &&
			    segment->serial < log->safe_segment &&
			    segment->serial > log->keep_through)
				return true;
		}
	return false;
}

uint64_t hf_core_segments_live(const struct hf_core_log *log)
{
	uint64_t live = 0;

	for (unsigned i = 0; i < HF_CORE_SEGMENT_BUCKETS; i++)
		hf_list_for_each (cursor, &log->segments[i]) {
			live += hf_container_of(cursor, struct hf_core_segment, link)->live;
		}
	return live;
}

static bool segment_is_free(const struct hf_core_log *log, const struct hf_core_segment *segment)
{
	return segment->live == 0 && segment->serial < log->safe_segment &&
	       segment->serial > log->keep_through;
}

/* What nothing needs any more is kept for reads: it counts as free space. */
static void segments_spare(struct hf_core_log *log)
{
	for (unsigned i = 0; i < HF_CORE_SEGMENT_BUCKETS; i++)
		hf_list_for_each (cursor, &log->segments[i]) {
			struct hf_core_segment *segment =
				hf_container_of(cursor, struct hf_core_segment, link);

			if (!segment_is_free(log, segment))
				continue;
			segment->clean = true;
			hf_wlog_spare(log->wlog, segment->serial);
		}
}

void hf_core_segments_found(struct hf_core_log *log)
{
	for (unsigned i = 0; log->wlog && i < HF_CORE_SEGMENT_BUCKETS; i++)
		hf_list_for_each_safe (cursor, &log->segments[i]) {
			struct hf_core_segment *segment =
				hf_container_of(cursor, struct hf_core_segment, link);

			if (!segment_is_free(log, segment))
				continue;
			hf_wlog_recycle(log->wlog, segment->serial);
			hf_list_remove(&segment->link);
			free(segment);
		}
}

static struct hf_core_segment *segment_oldest_clean(struct hf_core_log *log)
{
	struct hf_core_segment *oldest = NULL;

	for (unsigned i = 0; i < HF_CORE_SEGMENT_BUCKETS; i++)
		hf_list_for_each (cursor, &log->segments[i]) {
			struct hf_core_segment *segment =
				hf_container_of(cursor, struct hf_core_segment, link);

			if (segment->clean && (!oldest || segment->serial < oldest->serial))
				oldest = segment;
		}
	return oldest;
}

/* Room is short, or more is kept than there is to be. */
static bool segments_are_too_many(const struct hf_core_log *log)
{
	uint64_t spare = hf_wlog_spare_bytes(log->wlog);

	return spare > 0 && (hf_wlog_is_short(log->wlog) || spare > log->core->config.keep_bytes ||
			     log->state != HF_CORE_LOG_SERVING);
}

bool hf_core_segments_wait(const struct hf_core_log *log)
{
	return log->wlog && !log->core->recovering && !log->core->closing &&
	       (log->segments_released || log->retiring || segments_are_too_many(log));
}

/* False if it takes more than one turn. */
static bool segment_retire(struct hf_core_log *log)
{
	struct hf_core_segment *segment;

	if (!hf_core_clean_retire(log, log->retiring, &log->retiring_at))
		return false;
	segment = segment_find(log, log->retiring);
	if (segment) {
		hf_list_remove(&segment->link);
		free(segment);
	}
	hf_wlog_recycle(log->wlog, log->retiring);
	log->retiring = 0;
	return true;
}

static void segments_retire(struct hf_core_log *log)
{
	while (log->retiring || segments_are_too_many(log)) {
		if (!log->retiring) {
			struct hf_core_segment *segment = segment_oldest_clean(log);

			if (!segment)
				return;
			log->retiring = segment->serial;
			log->retiring_at = 0;
		}
		if (!segment_retire(log))
			return;
	}
}

void hf_core_segments_recycle(struct hf_core_log *log)
{
	if (!hf_core_segments_wait(log))
		return;
	if (log->segments_released)
		segments_spare(log);
	log->segments_released = false;
	segments_retire(log);
	hf_core_pace_room(log);
}

void hf_core_segments_free(struct hf_core_log *log)
{
	for (unsigned i = 0; i < HF_CORE_SEGMENT_BUCKETS; i++)
		hf_list_for_each_safe (cursor, &log->segments[i]) {
			hf_list_remove(cursor);
			free(hf_container_of(cursor, struct hf_core_segment, link));
		}
}
