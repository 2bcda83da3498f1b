/* The write log (upload buffer) on one local disk or file: everything a volume has promised lies
 * here until the object store has it. docs/FORMAT.md has every bit.
 *
 * The disk holds a superblock, the segment table (kept twice, written alternately) and segments of
 * 64 MiB (smaller in tests) that are filled one at a time. Appends that arrive while a batch is
 * being written gather and go out together as the next batch: one header, the payload, one sync,
 * then all of them complete (group commit). Each segment opens with a STATE record: the owner's
 * control state as of that point, so that a recycled segment never takes control state with it.
 *
 * Pure: reaches the world only through `env`, runs on the core's thread. */
#ifndef HF_CACHE_WLOG_H
#define HF_CACHE_WLOG_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/extmap.h"

#define HF_UNIT 512u /* bytes; addresses, lengths and places are counted in these */

/* Numbers are on disk: only add. */
enum hf_record_type {
	HF_RECORD_DATA = 1,     /* `length` units of payload */
	HF_RECORD_ZERO = 2,     /* the range reads as zeros (unmap, write same) */
	HF_RECORD_BAD = 3,      /* the range was lost (invariant 8) */
	HF_RECORD_SNAPSHOT = 4, /* closes the object */
	HF_RECORD_ATTACH = 5,
	HF_RECORD_DETACH = 6,
	HF_RECORD_HANDOVER = 7,
	HF_RECORD_UPLOADED = 8, /* the volume's recovery point reached `sequence` */
	HF_RECORD_STATE = 9,    /* opaque control state of the owner */
	HF_RECORD_CONTROL = 10, /* opaque control change of the owner */
};

/* Names a request of a shim for ever: the ring's uuid and the request's number in it. All zero
 * for records that no request caused. */
struct hf_request_id {
	uint8_t ring[16];
	uint64_t id;
};

struct hf_wlog_record {
	enum hf_record_type type;
	uint64_t volume;
	uint64_t sequence; /* of the volume; DATA, ZERO, BAD, SNAPSHOT count up by one */
	uint64_t lba;      /* units */
	uint64_t length;   /* units; up to the whole volume for ZERO */
	struct hf_request_id request;
	int32_t result; /* HF_OK or a negative HF_E…: what the request was answered */
	/* Filled by the log: where the payload lies. source is the segment's serial number, unit
	 * the offset in the segment. */
	struct hf_place place;
	uint64_t batch; /* number of the batch that holds the record */
};

#define HF_WLOG_APPEND_RECORDS_MAX 256u
#define HF_WLOG_PAYLOAD_MAX        (8u << 20) /* bytes in one append */

/* Payload that the caller has not got: one piece (8 units, counted from the record's first) of a
 * DATA record of the append. It is given a checksum that nothing fits, so that it reads as
 * HF_ECORRUPT. */
#define HF_WLOG_LOST_UNITS 8u
struct hf_wlog_lost {
	unsigned record; /* of the append */
	uint32_t piece;
};

/* One append: its records lie in one batch, so a crash keeps all or none of them. `payload` is the
 * data of the DATA, STATE and CONTROL records one after the other (for STATE and CONTROL `length`
 * is in bytes; each record's payload is padded to units in the log); it is copied exactly
 * once, inside the call, before checksums are computed, so it may lie in shared memory that changes
 * under the reader, and may be reused when the call returns. */
struct hf_wlog_append {
	struct hf_wlog_record *records; /* caller's, until done */
	unsigned record_count;          /* 1 … HF_WLOG_APPEND_RECORDS_MAX */
	const void *payload;
	size_t payload_bytes;
	const struct hf_wlog_lost *lost; /* read inside the call only */
	unsigned lost_count;
	bool durable; /* done after the sync; false: after the write (write-cache=on) */
	bool reserve; /* may use the space kept for control records, and then overtakes appends
			 that wait for space */
	int status;   /* 0; HF_ECANCELED (log closing); HF_ETOOBIG (more than half a segment with
			 its header); an I/O error is retried on fresh segments and never reported
		       */
	void (*done)(struct hf_wlog_append *append);
	struct hf_list link;
	void *impl;
};

/* A read of payload: `length` units at `place`, inside the payload of one record or of neighbouring
 * records of a batch that continue each other in place and LBA, verified against their checksums.
 * `buffer` needs HF_DISK_ALIGN alignment. Status: 0, HF_EIO, HF_ECORRUPT, or
 * HF_ENOENT when the segment was recycled (look the address up again). The segment is pinned until
 * done. */
struct hf_wlog_read {
	uint64_t volume;
	uint64_t lba;
	struct hf_place place;
	uint64_t length;
	void *buffer;
	int status;
	void (*done)(struct hf_wlog_read *read);
	void *owner; /* the caller's */
	struct hf_list link;
	void *impl;
};

struct hf_wlog;

struct hf_wlog_owner {
	void *context;
	/* Recovery: each record in log order, with the place where it was found; `payload` for
	 * STATE and CONTROL only (`length` bytes). What then moves to a fresh segment is told by
	 * `moved`, before `opened`. May be called before an open that fails. A segment that was
	 * recycled may come back if it was not reused before the crash. */
	void (*recovered)(void *context, const struct hf_wlog_record *record, const void *payload);
	/* After all of that, and before anything is written: false refuses the log, as it is, with
	 * HF_ECORRUPT. NULL: true. */
	bool (*accepts)(void *context);
	/* A start, or a failed sync or write: the record was written again; place and batch are
	 * new, the old place is gone. Called in log order, before its append is done (durable) or
	 * after (write-cache). Not called for STATE. */
	void (*moved)(void *context, const struct hf_wlog_record *record);
	/* Durable-through advanced: every batch up to `batch` is covered by a sync. */
	void (*durable)(void *context, uint64_t batch);
	/* A new segment opens: write the control state to `buffer`, return its length in bytes. It
	 * must contain the effect of every record appended before (their order is the log's). At a
	 * start it is called after `recovered` gave everything. `capacity` is a quarter of a
	 * segment, at most HF_WLOG_STATE_MAX. */
	size_t (*state)(void *context, void *buffer, size_t capacity);
	/* A condition a person should know of (invariant 8): bad batch below durable-through … */
	void (*alarm)(void *context, const char *text);
};

#define HF_WLOG_STATE_MAX (1u << 20) /* bytes */

struct hf_wlog_config {
	struct hf_env *env;
	unsigned disk; /* env's disk number */
	const struct hf_wlog_owner *owner;
	uint64_t idle_sync_ms; /* sync written but unsynced batches after this long; 0: 1000 */
	/* Segments that ordinary appends leave free: the last for recovery, the others for control
	 * records. 0: 2, the least. */
	unsigned reserve_segments;
	/* Memory for the payload that was written last: reads of it need no disk. 0: none. */
	uint64_t keep_bytes;
	/* One whose segment table has a lower version is an older copy of the log: refused with
	 * HF_ESTALE before anything is written to it, since each start raises the version, by two
	 * at least. One less may be: the copies of a table have versions of their own, and one may
	 * be damaged. */
	uint64_t least_version;
	/* The log's name, if it is known: another log is refused with HF_ESTALE as well. Zeros:
	 * any. */
	uint8_t uuid[16];
};

/* Formats the disk: superblock, empty table, zero-filled segments. `uuid` is the log's new name.
 * Refuses a disk that holds a log (HF_EEXIST) unless `force`. Asynchronous like the rest. */
struct hf_wlog_format {
	struct hf_env *env;
	unsigned disk;
	uint8_t uuid[16];
	uint32_t segment_bytes; /* power of two, 64 KiB … 64 MiB */
	bool zero_fill; /* false where the disk is known to read as zeros and be allocated */
	bool force;
	int status;
	struct hf_errmsg message;
	void (*done)(struct hf_wlog_format *format);
	void *impl;
};
void hf_wlog_format_start(struct hf_wlog_format *format);

/* Opens and recovers. `opened` is called once; on failure the log is destroyed already and `wlog`
 * is NULL. A damaged log is refused with the place in `message` (HF_ECORRUPT), except for a torn
 * end, which is cut. */
struct hf_wlog_open {
	struct hf_wlog_config config; /* copied */
	struct hf_wlog *wlog;         /* out */
	int status;
	struct hf_errmsg message;
	uint8_t uuid[16]; /* out: the log's name, from before the first `recovered` on */
	uint64_t version; /* out: of the segment table as it was found; each start raises it */
	/* What recovery found, for the journal and metrics. */
	uint64_t segments_read, batches, records, rewritten_records;
	uint64_t whole_segments; /* of segments_read: closed, and without a footer that is good */
	/* How long it took to read the newest segment; to hand over all records; to write again
	 * what had to move. */
	uint64_t newest_ns, records_ns, rewrite_ns;
	void (*opened)(struct hf_wlog_open *open);
	void *impl;
};
void hf_wlog_open_start(struct hf_wlog_open *open);

/* Whether an append with these records can be written at all: one that is larger than half a
 * segment with its header ends with HF_ETOOBIG. */
bool hf_wlog_takes(const struct hf_wlog *log, const struct hf_wlog_append *append);
/* Whether it would be written now, after what was appended before and without the reserve. */
bool hf_wlog_has_room(const struct hf_wlog *log, const struct hf_wlog_append *append);
void hf_wlog_append(struct hf_wlog *log, struct hf_wlog_append *append);
/* `units` of durable payload from `place` on if they are still in memory, as they were written; for
 * the caller to copy at once. NULL: they are not. */
const void *hf_wlog_peek(const struct hf_wlog *log, const struct hf_place *place, uint64_t units);
void hf_wlog_read(struct hf_wlog *log, struct hf_wlog_read *read);

/* Between the two nothing new is written: for an owner with several appends at hand, which then go
 * out together and not the first one alone. Nests; nothing is done from inside either. */
void hf_wlog_hold(struct hf_wlog *log);
void hf_wlog_release(struct hf_wlog *log);

/* How many further appends the log would take before it did anything about them: 0 is idle, the
 * next one is written at once; HF_WLOG_BUSY: a commit is under way, they only gather; else a batch
 * waits for so many (and for a timer). An owner may keep back that many until it wakes next. */
#define HF_WLOG_BUSY UINT_MAX
unsigned hf_wlog_appetite(const struct hf_wlog *log);

/* Completes (status 0) when everything appended before the call is durable. */
struct hf_wlog_flush {
	int status;
	void (*done)(struct hf_wlog_flush *flush);
	struct hf_list link;
	uint64_t through;
};
void hf_wlog_flush(struct hf_wlog *log, struct hf_wlog_flush *flush);
/* Somebody has flushed without coming here, because there was nothing to do. */
void hf_wlog_flushed(struct hf_wlog *log);

/* The owner needs nothing in this (closed) segment any more: what it held is in the store and a
 * durable UPLOADED or STATE record says so. It is reused once the last reader is done. Harmless for
 * a segment that is unknown or active. Segments that hold only old STATE go by themselves. */
void hf_wlog_recycle(struct hf_wlog *log, uint64_t segment_serial);
/* The owner could do without this (closed) segment, but reads from it: it counts as free space, and
 * stays until it is recycled. That is to happen, oldest first, while hf_wlog_is_short: fewer than a
 * quarter of the segments, or two, can be taken at once. Harmless for a segment that is unknown or
 * active. */
void hf_wlog_spare(struct hf_wlog *log, uint64_t segment_serial);
bool hf_wlog_is_short(const struct hf_wlog *log);
uint64_t hf_wlog_spare_bytes(const struct hf_wlog *log);
/* Tells of the payload in a segment, in order: up to `max` pieces from piece `from` on. Returns
 * where to go on, 0 at the end (or if the segment is unknown). The places are those of records,
 * some of which may have been written again elsewhere since. */
uint32_t hf_wlog_payload(const struct hf_wlog *log, uint64_t segment_serial, uint32_t from,
			 uint32_t max,
			 void (*each)(void *context, uint64_t volume, uint64_t lba,
				      struct hf_place place, uint64_t length),
			 void *context);

/* Stops after the batch under way: queued appends are done with HF_ECANCELED, then `closed`. */
void hf_wlog_close(struct hf_wlog *log, void (*closed)(void *context), void *context);

uint64_t hf_wlog_durable_through(const struct hf_wlog *log);
/* A serial of a live segment from its low HF_WLOG_SERIAL_BITS bits: live serials lie within that
 * many of the newest. */
#define HF_WLOG_SERIAL_BITS 30u
/* Of the segment table now: a log with a lower one is an older copy. */
uint64_t hf_wlog_version(const struct hf_wlog *log);
uint64_t hf_wlog_serial_expand(const struct hf_wlog *log, uint64_t low_bits);
uint64_t hf_wlog_active_segment(const struct hf_wlog *log);
/* Space that ordinary appends may still take, and all they ever may: without the reserve. */
uint64_t hf_wlog_free_bytes(const struct hf_wlog *log);
uint64_t hf_wlog_total_bytes(const struct hf_wlog *log);
uint32_t hf_wlog_segment_bytes(const struct hf_wlog *log);
/* Bytes written to the disk since open, for metrics. */
uint64_t hf_wlog_written_bytes(const struct hf_wlog *log);

#endif
