/* Control state of the logs: control records, STATE as bytes, and what recovery makes of them. For
 * the files of the volume core that have to do with it. */
#ifndef HF_GATEWAY_VOLUMED_CORE_STATE_H
#define HF_GATEWAY_VOLUMED_CORE_STATE_H

#include "gateway/volumed/core_internal.h"

/* ---- Control records and state (core_control.c, core_state.c, core_recover.c) ------------------
 */

struct hf_core_state_volume;

/* Appends a control record of the volume to a log, with a CONTROL record if `says` is given (a
 * HANDOVER's brings the results of its requests); `done` with the number of the batch and the
 * append's status. Needs no room of the volume: it may use the log's reserve. */
void hf_core_control_append(struct hf_core_log *log, enum hf_record_type type, uint64_t lba,
			    struct hf_core_volume *volume, const struct hf_core_state_volume *says,
			    void (*done)(struct hf_core_volume *volume, struct hf_core_log *log,
					 uint64_t batch, int status));

/* docs/format/control-state.md. */
#define HF_CORE_SINCE_HERE          UINT64_MAX /* nothing before this record is of this stay */
#define HF_CORE_STATE_HEADER_BYTES  32u
#define HF_CORE_STATE_VOLUME1_BYTES 80u /* version 1 */
#define HF_CORE_STATE_VOLUME_BYTES  96u /* and a stay's bytes for each of them */
#define HF_CORE_STATE_STAY_BYTES    40u
#define HF_CORE_STATE_RING_BYTES    32u
#define HF_CORE_STATE_RESULT_BYTES  32u
#define HF_CORE_CONTROL_HEAD_BYTES  8u
#define HF_CORE_HANDOVER_OUT_LBA    1u /* of a HANDOVER record: it has gone */

struct hf_core_state_volume {
	uint64_t volume, tenant, size_bytes, attach_epoch;
	uint64_t uploaded_through, last_sequence;
	uint64_t since_batch, held_epoch;
	uint64_t moves, stay_first;
	struct hf_core_stay stays[HF_CORE_STAYS_MAX];
	unsigned stay_count;
	bool write_cache;
};

struct hf_core_state_visitor {
	void *context;
	void (*volume)(void *context, const struct hf_core_state_volume *volume);
	void (*ring)(void *context, const uint8_t uuid[16], uint64_t oldest_unfinished);
	void (*result)(void *context, const uint8_t uuid[16], const struct hf_core_result *result);
};

/* What is to be said of the volume, as one that is in its log. */
void hf_core_state_of(const struct hf_core_volume *volume, struct hf_core_state_volume *state);
size_t hf_core_state_encode(struct hf_core_log *log, uint8_t *buffer, size_t capacity);
/* Checks all of it before the first call; 0 or HF_ECORRUPT. */
int hf_core_state_decode(const uint8_t *bytes, size_t length,
			 const struct hf_core_state_visitor *visitor);
/* The payload of a CONTROL record, in malloc'ed memory: one volume as `says`, with the results of
 * its requests or without. */
uint8_t *hf_core_control_encode(struct hf_core *core, const struct hf_core_state_volume *says,
				bool with_results, size_t *length);
int hf_core_control_decode(const uint8_t *bytes, size_t length,
			   const struct hf_core_state_visitor *visitor);

/* The log's owner. */
extern const struct hf_wlog_owner hf_core_log_owner;
/* After the logs opened: what came back hangs together, or the volume is FAILED. */
void hf_core_recover_finish(struct hf_core *core);

/* ---- What recovery finds in one log (core_found.c) ---------------------------------------------
 */

struct hf_core_found_record {
	uint64_t sequence;
	struct hf_core_entry entry;
};

/* Of one volume. Records stay though the log does not claim the volume (any more): the one that
 * it is in now may say that they count. */
struct hf_core_found {
	struct hf_list bucket;
	uint64_t volume;
	bool claimed, kept; /* kept: named by the STATE being read */
	struct hf_core_state_volume says;
	struct hf_core_found_record *records; /* in the order of the log, then of sequences */
	size_t count, capacity;
	bool sorted;
};

struct hf_core_found_table {
	struct hf_list buckets[HF_CORE_VOLUME_BUCKETS];
};

struct hf_core_found_table *hf_core_found_create(void);
void hf_core_found_destroy(struct hf_core_found_table *table);
struct hf_core_found *hf_core_found_of(struct hf_core_found_table *table, uint64_t volume,
				       bool create);
void hf_core_found_record(struct hf_core_log *log, const struct hf_wlog_record *record);
/* Written again elsewhere: only what is still there follows. */
void hf_core_found_moved(struct hf_core_log *log, const struct hf_wlog_record *record);
void hf_core_found_state(struct hf_core_log *log, const struct hf_wlog_record *record,
			 const void *payload);
void hf_core_found_control(struct hf_core_log *log, const struct hf_wlog_record *record,
			   const void *payload);
void hf_core_found_detach(struct hf_core_log *log, uint64_t volume);
/* By sequence, one record each, the one written last. */
void hf_core_found_sort(struct hf_core_found *found);

#endif
