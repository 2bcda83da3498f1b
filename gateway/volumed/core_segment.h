/* Segments of the logs as the core knows them, and what they serve after the store has it: part of
 * core_internal.h, which includes it at its end. Core's thread. */
#ifndef HF_GATEWAY_VOLUMED_CORE_SEGMENT_H
#define HF_GATEWAY_VOLUMED_CORE_SEGMENT_H

#include "gateway/volumed/core_internal.h"

/* ---- core_segment.c ----------------------------------------------------------------------------
 */

struct hf_core_segment {
	struct hf_list link;
	uint64_t serial;
	bool clean;         /* kept for reads only */
	uint64_t live;      /* records that no durable UPLOADED record covers */
	uint64_t uncounted; /* of them, those that the store does not count either */
	/* core_copy.c: of volumes that cannot upload, as of its last look */
	uint64_t stuck, stuck_bytes;
};

/* The segment of a place that is held. */
struct hf_core_segment *hf_core_segment_of(struct hf_core *core, uint64_t source);

/* The segment is there; something of ours lies in it. */
void hf_core_segment_note(struct hf_core_log *log, uint64_t serial);
/* A record lies there and is needed. */
void hf_core_segment_hold(struct hf_core *core, uint64_t source);
/* One of its records is counted by the store now. */
void hf_core_segment_counted(struct hf_core *core, uint64_t source);
/* One of its records is needed no more; it has been counted, or is lost. */
void hf_core_segment_release(struct hf_core *core, uint64_t source);
/* True if telling the log what the store counts gives back a segment. */
bool hf_core_segments_want_uploaded(const struct hf_core_log *log);
/* An append in this segment is durable, so its STATE is. */
void hf_core_segment_durable(struct hf_core_log *log, uint64_t serial);
/* Records of the log that are needed. */
uint64_t hf_core_segments_live(const struct hf_core_log *log);
/* Gives back every segment that nothing needs, or keeps it for reads as long as there is room. */
void hf_core_segments_recycle(struct hf_core_log *log);
/* After recovery: those that nothing needs have nothing to read either. */
void hf_core_segments_found(struct hf_core_log *log);
/* It has to be called (again) though nothing was released. */
bool hf_core_segments_wait(const struct hf_core_log *log);
void hf_core_segments_free(struct hf_core_log *log);

/* ---- core_clean.c: what the log still has of what the store has --------------------------------
 */

/* A record came over the range. */
void hf_core_clean_written(struct hf_core_volume *volume, uint64_t lba, uint64_t length);
/* Cannot be read, or is not to be trusted any more. */
void hf_core_clean_drop(struct hf_core_volume *volume, uint64_t lba, uint64_t length);
void hf_core_clean_drop_all(struct hf_core_volume *volume);
/* Where the range begins in the log, and up to where; false if none of it is there. */
bool hf_core_clean_find(const struct hf_core_volume *volume, uint64_t lba, uint64_t length,
			struct hf_core_piece *piece);
/* Drops what lies in a segment, some of it at a time. True when nothing is left. */
bool hf_core_clean_retire(struct hf_core_log *log, uint64_t serial, uint32_t *at);

/* ---- core_copy.c -------------------------------------------------------------------------------
 */

struct hf_core_copy;
/* Copies one segment forward if the log is short of room and that gives it some. */
void hf_core_copy_look(struct hf_core_log *log);
/* Copies some of what the volume, which cannot upload, left in a log that is drained. */
void hf_core_copy_out(struct hf_core_volume *volume, struct hf_core_log *from);
/* What waited for it goes on. */
void hf_core_copy_ended(struct hf_core_volume *volume);
/* The record of `entry` lies where `record` says now. core_recover.c */
void hf_core_entry_move(struct hf_core_volume *volume, struct hf_core_entry *entry,
			const struct hf_core_log *log, const struct hf_wlog_record *record);

#endif
