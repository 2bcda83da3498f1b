/* When a segment of the log may be reused: no record in it is one that the store does not cover by
 * a durable UPLOADED record, and a newer segment has durable control state. The second is known
 * from any durable record in a newer segment, because a segment opens with STATE and a sync covers
 * everything before it. Core's thread. */
#include <stdlib.h>

#include "gateway/volumed/core_internal.h"

static struct hf_core_segment *segment_find(struct hf_core *core, uint64_t serial)
{
	hf_list_for_each (cursor, &core->segments[serial % HF_CORE_SEGMENT_BUCKETS]) {
		struct hf_core_segment *segment =
			hf_container_of(cursor, struct hf_core_segment, link);

		if (segment->serial == serial)
			return segment;
	}
	return NULL;
}

void hf_core_segment_note(struct hf_core *core, uint64_t serial, bool live)
{
	struct hf_core_segment *segment = segment_find(core, serial);

	if (!segment) {
		segment = hf_core_alloc(sizeof *segment);
		segment->serial = serial;
		hf_list_push_back(&core->segments[serial % HF_CORE_SEGMENT_BUCKETS],
				  &segment->link);
		core->segments_released = true;
	}
	if (live) {
		segment->live++;
		segment->uncounted++;
	}
}

void hf_core_segment_counted(struct hf_core *core, uint64_t serial)
{
	struct hf_core_segment *segment = segment_find(core, serial);

	HF_ASSERT(segment != NULL && segment->uncounted > 0);
	if (--segment->uncounted == 0)
		core->segments_counted = true;
}

void hf_core_segment_release(struct hf_core *core, uint64_t serial)
{
	struct hf_core_segment *segment = segment_find(core, serial);

	HF_ASSERT(segment != NULL && segment->live > segment->uncounted);
	if (--segment->live == 0)
		core->segments_released = true;
}

void hf_core_segment_durable(struct hf_core *core, uint64_t serial)
{
	if (serial <= core->safe_segment)
		return;
	core->safe_segment = serial;
	core->segments_released = core->segments_counted = true;
}

bool hf_core_segments_want_uploaded(const struct hf_core *core)
{
	for (unsigned i = 0; i < HF_CORE_SEGMENT_BUCKETS; i++)
		hf_list_for_each (cursor, &core->segments[i]) {
			const struct hf_core_segment *segment =
				hf_container_of(cursor, struct hf_core_segment, link);

			if (segment->live > 0 && segment->uncounted == 0 &&
			    segment->serial < core->safe_segment &&
			    segment->serial > core->keep_through)
				return true;
		}
	return false;
}

void hf_core_segments_recycle(struct hf_core *core)
{
	if (!core->segments_released || core->recovering || core->closing)
		return;
	core->segments_released = false;
	for (unsigned i = 0; i < HF_CORE_SEGMENT_BUCKETS; i++)
		hf_list_for_each_safe (cursor, &core->segments[i]) {
			struct hf_core_segment *segment =
				hf_container_of(cursor, struct hf_core_segment, link);
			uint64_t serial = segment->serial;

			if (segment->live > 0 || serial >= core->safe_segment ||
			    serial <= core->keep_through)
				continue;
			hf_list_remove(&segment->link);
			free(segment);
			hf_wlog_recycle(core->log, serial);
		}
}

void hf_core_segments_free(struct hf_core *core)
{
	for (unsigned i = 0; i < HF_CORE_SEGMENT_BUCKETS; i++)
		hf_list_for_each_safe (cursor, &core->segments[i]) {
			hf_list_remove(cursor);
			free(hf_container_of(cursor, struct hf_core_segment, link));
		}
}
