/* When a segment of the log may be reused: no record in it is one that the store does not cover by
 * a durable UPLOADED record, and a newer segment has durable control state. The second is known
 * from any durable record in a newer segment, because a segment opens with STATE and a sync covers
 * everything before it. Core's thread. */
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

static struct hf_core_segment *segment_at(struct hf_core *core, uint64_t source)
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
	struct hf_core_segment *segment = segment_at(core, source);

	segment->live++;
	segment->uncounted++;
}

void hf_core_segment_counted(struct hf_core *core, uint64_t source)
{
	struct hf_core_segment *segment = segment_at(core, source);

	HF_ASSERT(segment->uncounted > 0);
	if (--segment->uncounted == 0)
		hf_core_log_at(core, source)->segments_counted = true;
}

void hf_core_segment_release(struct hf_core *core, uint64_t source)
{
	struct hf_core_segment *segment = segment_at(core, source);

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

void hf_core_segments_recycle(struct hf_core_log *log)
{
	bool freed = false;

	if (!log->segments_released || log->core->recovering || log->core->closing || !log->wlog)
		return;
	log->segments_released = false;
	for (unsigned i = 0; i < HF_CORE_SEGMENT_BUCKETS; i++)
		hf_list_for_each_safe (cursor, &log->segments[i]) {
			struct hf_core_segment *segment =
				hf_container_of(cursor, struct hf_core_segment, link);
			uint64_t serial = segment->serial;

			if (segment->live > 0 || serial >= log->safe_segment ||
			    serial <= log->keep_through)
				continue;
			hf_list_remove(&segment->link);
			free(segment);
			hf_wlog_recycle(log->wlog, serial);
			freed = true;
		}
	if (freed)
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
