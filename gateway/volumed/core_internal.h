/* What the files of the volume core share; nobody else includes it. All of it runs on the core's
 * thread and belongs to the core.
 *
 * File by file: core.c the life of the core; core_log.c its logs; core_volume.c volumes, their
 * states and status;
 * core_attach.c and core_detach.c how they come and go; core_request.c the way of a request;
 * core_range_lock.c the order of overlapping writes; core_read.c, core_write.c, core_query.c what
 * requests do; core_results.c what ended requests were answered; core_overlay.c and core_queue.c
 * what the log holds of a volume; core_clean.c what it still holds of what the store has;
 * core_upload.c and core_object.c the way into the store;
 * core_uploaded.c, core_segment.c and core_copy.c when a segment may be reused; core_move.c how a
 * volume changes its log; core_control.c, core_state.c, core_found.c and core_recover.c control
 * state. */
#ifndef HF_GATEWAY_VOLUMED_CORE_INTERNAL_H
#define HF_GATEWAY_VOLUMED_CORE_INTERNAL_H

#include "base/assert.h"
#include "base/extmap.h"
#include "base/list.h"
#include "cache/wlog.h"
#include "gateway/volumed/core.h"
#include "remote/remote.h"

#define HF_CORE_VOLUMES_MAX      1024u
#define HF_CORE_VOLUME_BUCKETS   256u
#define HF_CORE_SEGMENT_BUCKETS  1024u
#define HF_CORE_RINGS_MAX        16u
#define HF_CORE_RESULT_BUCKETS   1024u
#define HF_CORE_POOL_MAX         1024u                 /* jobs kept for the next requests */
#define HF_CORE_ENDED_MAX        (2 * HF_RING_ENTRIES) /* results kept of one ring */
#define HF_CORE_APPEND_BYTES_MAX (64ull << 20)         /* payload under way in the log */
#define HF_CORE_VERIFY_BYTES     (1u << 20)            /* a VERIFY reads in steps of this */
#define HF_CORE_REASON_MAX       128u
#define HF_CORE_STAYS_MAX        6u /* of a volume, in logs, before the one that it is in */

#define HF_CORE_MAGIC        0x48464352u
#define HF_CORE_VOLUME_MAGIC 0x4846564cu
#define HF_CORE_JOB_MAGIC    0x48464a42u
#define HF_CORE_LOG_MAGIC    0x48464c47u

struct hf_core_job;
struct hf_core_log;
struct hf_core_volume;

/* Memory that cannot be had ends the process: what was promised is in the log, and a restart
 * recovers it. Zeroed. */
void *hf_core_alloc(size_t size_bytes);
/* Aligned for the disk, not zeroed. */
void *hf_core_alloc_aligned(size_t size_bytes);

/* ---- What the log holds of a volume (core_queue.c, core_overlay.c) ----------------------------
 */

/* A record that the store does not cover yet. */
struct hf_core_entry {
	uint64_t lba, length;  /* units */
	struct hf_place place; /* source: hf_core_source() */
	uint64_t batch;
	uint64_t logged_ns; /* when its append was done; 0: still under way */
	struct hf_request_id request;
	enum hf_record_type type;
	bool ends_append; /* false: the next record belongs to the same append */
};

/* Entries of consecutive sequences, oldest first. */
struct hf_core_queue {
	struct hf_core_entry **pieces; /* a circle of `capacity` */
	struct hf_core_entry *spare;   /* NULL, or an empty piece */
	size_t capacity, first_piece, piece_count;
	size_t head, count;      /* entries: before the oldest in its piece; in the queue */
	uint64_t first_sequence; /* of the oldest; meaningless when empty */
};

void hf_core_queue_push(struct hf_core_queue *queue, uint64_t sequence,
			const struct hf_core_entry *entry);
/* NULL if it is not in the queue. */
struct hf_core_entry *hf_core_queue_at(const struct hf_core_queue *queue, uint64_t sequence);
void hf_core_queue_pop(struct hf_core_queue *queue);
void hf_core_queue_free(struct hf_core_queue *queue);
/* Bytes by which a record counts as lag: its payload, or one unit if it has none. */
uint64_t hf_core_entry_lag_bytes(const struct hf_core_entry *entry);

/* What the overlay says of a range. */
enum hf_core_source { HF_CORE_FROM_LOG, HF_CORE_FROM_ZERO, HF_CORE_FROM_BAD };

struct hf_core_piece {
	uint64_t lba, length; /* units */
	enum hf_core_source source;
	struct hf_place place; /* FROM_LOG; source: hf_core_source() */
};

void hf_core_overlay_insert(struct hf_extmap *overlay, uint64_t sequence,
			    const struct hf_core_entry *entry);
/* Forgets what still comes from this record; its data goes into `keep`, unless that is NULL. */
void hf_core_overlay_drop(struct hf_extmap *overlay, uint64_t sequence,
			  const struct hf_core_entry *entry, struct hf_extmap *keep);
/* The record of `entry` now lies at `place`. */
void hf_core_overlay_move(struct hf_extmap *overlay, const struct hf_core_entry *entry,
			  struct hf_place place);
bool hf_core_overlay_find(const struct hf_extmap *overlay, uint64_t lba, uint64_t length,
			  struct hf_core_piece *piece);

/* ---- Range locks (core_range_lock.c) ----------------------------------------------------------
 */

struct hf_core_range {
	uint64_t lba, length; /* units */
};

/* Held by a write from before it looks at the map until it is in the overlay. */
struct hf_core_lock {
	/* The holder's, until released; in order, and none overlaps another. */
	const struct hf_core_range *ranges;
	unsigned range_count, blockers;
	void (*granted)(struct hf_core_lock *lock);
	struct hf_list link;  /* in order of acquisition */
	struct hf_list ready; /* while being granted */
};

/* True: held now. False: `granted` comes when every overlapping earlier lock is released. */
bool hf_core_lock_acquire(struct hf_list *locks, struct hf_core_lock *lock);
/* Held or waiting; grants those that waited only for it. */
void hf_core_lock_release(struct hf_list *locks, struct hf_core_lock *lock);

/* ---- Results (core_results.c) ------------------------------------------------------------------
 */

/* What is known of one request of a ring. A result counts after a recovery only if the volume's
 * recovered records reach `sequence`, so control state may run ahead of the log. */
struct hf_core_result {
	uint64_t id;
	uint64_t volume, sequence;
	int32_t result;
	struct hf_core_job *job; /* still under way; NULL: ended with `result` */
	uint32_t logs;           /* recovery: the logs that name it, a bit each */
	struct hf_list bucket, order;
};

struct hf_core_ring {
	struct hf_list link; /* least recently used first */
	uint8_t uuid[16];
	bool live; /* it was heard of since the start */
	uint64_t oldest_unfinished;
	unsigned ended_count, ended_limit;
	struct hf_list under_way, ended; /* hf_core_result.order, oldest first */
	struct hf_list spare;            /* hf_core_result.order: for the next requests */
	struct hf_list buckets[HF_CORE_RESULT_BUCKETS];
};

enum hf_core_known {
	HF_CORE_NEW,       /* to be executed */
	HF_CORE_ENDED,     /* `*result` says how */
	HF_CORE_UNDER_WAY, /* `*result` has the job */
	HF_CORE_REFUSED,   /* an id that is past, or too many rings */
};

bool hf_core_request_id_is_set(const struct hf_request_id *id);
enum hf_core_known hf_core_results_look(struct hf_core *core, const struct hf_request_id *id,
					struct hf_core_result **result);
void hf_core_results_begin(struct hf_core *core, const struct hf_request_id *id,
			   struct hf_core_job *job);
/* Under way, and its record has this sequence: control state may name it from now on. */
void hf_core_results_logged(struct hf_core *core, const struct hf_request_id *id,
			    uint64_t sequence);
/* Ended: with a record (remembered), or without one (forgotten). */
void hf_core_results_end(struct hf_core *core, const struct hf_request_id *id, bool remember,
			 int32_t result);
/* From a record or a STATE: ended. */
void hf_core_results_recovered(struct hf_core_log *log, const struct hf_request_id *id,
			       uint64_t volume, uint64_t sequence, int32_t result);
/* Of this volume, as far as this log named them. */
void hf_core_results_disown(struct hf_core_log *log, uint64_t volume);
void hf_core_results_forget_volume(struct hf_core *core, uint64_t volume);
/* After recovery: forgets results whose records did not survive, and those that the log which the
 * volume is in does not name. */
void hf_core_results_validate(struct hf_core *core);
struct hf_core_ring *hf_core_ring_get(struct hf_core *core, const uint8_t uuid[16], bool create);
void hf_core_rings_free(struct hf_core *core);

/* ---- Logs (core_log.c) -------------------------------------------------------------------------
 */

/* Records of a volume that lie in a log which it has left, or in its own from before it left and
 * came back: sequences first … last, in batches from since_batch on. */
struct hf_core_stay {
	uint8_t log[16]; /* uuid */
	uint64_t since_batch, first, last;
};

enum hf_core_log_state {
	HF_CORE_LOG_OPENING = 1,
	HF_CORE_LOG_SERVING,
	HF_CORE_LOG_DRAINING, /* to be removed: its volumes move to others */
	HF_CORE_LOG_CLOSING,
	HF_CORE_LOG_MISSING, /* cannot be opened; volumes may be in it */
};

struct hf_core_log {
	uint32_t magic;
	struct hf_core *core;
	unsigned index; /* in the core; part of every place */
	unsigned disk;  /* env's */
	enum hf_core_log_state state;
	int error; /* MISSING: why */
	char reason[HF_CORE_REASON_MAX];
	uint8_t uuid[16];
	struct hf_wlog *wlog; /* NULL unless open */
	struct hf_wlog_owner owner;
	struct hf_wlog_open open;
	bool damaged, closed;
	struct hf_core_log_change *change; /* being added or drained */
	unsigned pinned;                   /* volumes that are in it */
	struct hf_core_found_table *found; /* while it recovers, until all have */

	/* core_segment.c */
	struct hf_list segments[HF_CORE_SEGMENT_BUCKETS];
	uint64_t safe_segment;  /* a durable append lies in it; older ones may be recycled */
	uint64_t keep_through;  /* segments kept because recovery found damage */
	bool segments_released; /* something may be recycled */
	uint64_t retiring;      /* serial of a clean segment whose entries are being dropped */
	uint32_t retiring_at;
	bool segments_counted; /* something may become so by an UPLOADED record */

	/* The UPLOADED records of its volumes, one append at a time (core_uploaded.c). */
	struct hf_wlog_append uploaded;
	struct hf_wlog_record uploaded_records[HF_WLOG_APPEND_RECORDS_MAX];
	bool uploaded_busy, uploaded_now;
	unsigned covered_volumes; /* of its records: they are durable, and their entries dropped */
	struct hf_timer cover_timer;

	uint64_t append_bytes;              /* payload in the log's hands */
	struct hf_core_copy *copying;       /* core_copy.c */
	uint64_t copy_look_ns, copy_source; /* of the segment under way, plus one; 0: none */
	/* How fast it fills, of late: bytes a second, negative while it empties. */
	uint64_t sample_ns, sample_bytes;
	double fill_rate;
};

/* A log of `disk`, not open. */
struct hf_core_log *hf_core_log_create(struct hf_core *core, unsigned disk);
void hf_core_log_destroy(struct hf_core_log *log);
/* It is missing, and why. */
void hf_core_log_fail(struct hf_core_log *log, int error, const char *text);
/* NULL if no open log has this name. */
struct hf_core_log *hf_core_log_find(struct hf_core *core, const uint8_t uuid[16]);
/* Where a new volume, or one that has to move, is best put: most free space for each volume in it.
 * NULL: nowhere. */
struct hf_core_log *hf_core_log_choose(struct hf_core *core, const struct hf_core_log *but);
bool hf_core_logs_are_missing(const struct hf_core *core);
/* Moves the volumes of logs that are drained, and closes those that hold nothing. */
void hf_core_logs_drain_step(struct hf_core *core);
/* The core closes: what is being drained is not waited for. */
void hf_core_logs_stop(struct hf_core *core);
/* The volume is in this log from now on (NULL: in none). */
void hf_core_log_pin(struct hf_core_volume *volume, struct hf_core_log *log);

/* What places of the core have for a source, in 33 bits: the log's index and the low bits of the
 * segment's serial. */
uint64_t hf_core_source(const struct hf_core_log *log, uint64_t serial);
struct hf_core_log *hf_core_log_at(const struct hf_core *core, uint64_t source);
/* The place in its log. */
struct hf_place hf_core_log_place(const struct hf_core *core, const struct hf_place *place);
/* Reads from the log that the core's place names; fills in read->place. */
void hf_core_log_read(struct hf_core *core, const struct hf_place *place,
		      struct hf_wlog_read *read);

#define hf_core_for_each_log(log, core)                                                            \
	for (unsigned log##_i = 0; log##_i < HF_CORE_LOGS_MAX; log##_i++)                          \
		for (struct hf_core_log *log = (core)->logs[log##_i]; log; log = NULL)

/* ---- Volumes -----------------------------------------------------------------------------------
 */

struct hf_core_volume {
	uint32_t magic;
	struct hf_core *core;
	struct hf_list link, bucket;
	struct hf_volume_config config;
	enum hf_volume_state state;
	int error;
	char reason[HF_CORE_REASON_MAX];
	bool has_key;        /* config.wrap_key is set */
	bool in_log;         /* an ATTACH record was appended: STATE names it */
	bool accepting;      /* the ATTACH record is durable: requests are taken */
	uint64_t held_epoch; /* the attach epoch under which it last adopted what the store has */

	/* The log it is in; NULL until it is in_log. */
	struct hf_core_log *home;
	uint64_t since_batch; /* of the record it came with: those before are not of this stay */
	uint64_t stay_first;  /* first sequence of this stay */
	uint64_t moves;       /* the log that says most is right */
	struct hf_core_stay stays[HF_CORE_STAYS_MAX]; /* before it, oldest first */
	unsigned stay_count;
	struct hf_core_move *move;    /* under way (core_move.c) */
	struct hf_core_copy *copying; /* out of a log, with its stays (core_copy.c) */
	struct hf_list held;          /* jobs that wait for its end */
	unsigned appends;             /* of requests, in the log's hands */

	/* The pace of its writes (core_pace.c). */
	struct hf_list paced; /* jobs that wait, oldest first */
	bool pacing;
	struct hf_timer pace_timer;
	double pace_debt; /* bytes that went before their time, as of pace_ns */
	uint64_t pace_ns, drain_ns;
	uint64_t drained_bytes; /* that the store took since drain_ns */
	double drain_rate;      /* bytes a second */
	bool attach_wanted;     /* an ATTACH is to be written when it has ended */

	/* The log's side. */
	struct hf_extmap *overlay;
	struct hf_extmap *clean; /* what the store has too; see core_clean.c */
	struct hf_core_queue queue;
	uint64_t next_sequence;    /* of the next record */
	uint64_t durable_sequence; /* every record up to it is durable */
	uint64_t counted_through;  /* the recovery point */
	uint64_t uploaded_through; /* the recovery point that a durable UPLOADED record names */
	uint64_t lag_bytes;        /* of durable records after counted_through */
	uint64_t must_reach;       /* recovery: a hole below it must turn out to be uploaded */
	struct hf_list unsynced;   /* in core->unsynced while some record is not durable */
	bool uploaded_busy;        /* an UPLOADED record is appended, what it covers dropped */

	/* Requests. */
	struct hf_list locks;
	struct hf_list parked; /* reads that wait for the remote map, oldest first */
	unsigned jobs;
	struct hf_timer parked_timer;

	/* The store's side. */
	struct hf_remote *remote;
	struct hf_remote_open open;
	bool opening, closing_remote;
	bool rebuild_map; /* the next opening trusts no checkpoint */
	struct hf_remote_checkpoint checkpoint;
	bool checkpointing, checkpointed; /* while detaching */
	uint64_t next_upload;             /* first sequence that no object holds */
	unsigned uploads;                 /* objects under way */
	struct hf_list objects;           /* of them, being read back, oldest first */
	/* The next object: records next_upload … gather_last, of those before gather_next. */
	uint64_t gather_next, gather_last, gather_bytes;
	unsigned gather_records;
	bool gather_full;
	struct hf_timer upload_timer;

	/* Changes. */
	struct hf_list attaching; /* hf_volume_change */
	struct hf_list leaving;   /* detaches and deletes */
	unsigned attach_records;  /* being appended */
	bool force, flushing, flushed, detach_logged, detach_durable, deleting_now, deleted;
	uint64_t lost_bytes;
	struct hf_wlog_flush flush;
	struct hf_remote_delete deletion;

	uint64_t read_ops, read_bytes, write_ops, write_bytes;
	uint64_t uploaded_objects, uploaded_bytes, fetched_bytes, bad_extents;
};

struct hf_core_volume *hf_core_volume_find(struct hf_core *core, uint64_t number);
struct hf_core_volume *hf_core_volume_create(struct hf_core *core,
					     const struct hf_volume_config *config);
/* Forgets what the log holds of it. */
void hf_core_volume_clear_log(struct hf_core_volume *volume);
void hf_core_volume_free(struct hf_core_volume *volume);
void hf_core_volume_set_state(struct hf_core_volume *volume, enum hf_volume_state state, int error,
			      const char *format, ...) __attribute__((format(printf, 4, 5)));
/* 0 or what a request is answered in this state. */
int hf_core_volume_ready(const struct hf_core_volume *volume);
/* Leaves by force or for good: nothing of it has to survive. */
bool hf_core_volume_is_given_up(const struct hf_core_volume *volume);
/* FENCED or FAILED: reads that wait end, changes that wait end, the remote side closes. */
void hf_core_volume_stop(struct hf_core_volume *volume, enum hf_volume_state state, int error,
			 const char *text);
/* Records that became durable since: lag, uploads. */
void hf_core_volume_synced(struct hf_core_volume *volume);
void hf_core_volume_changed(struct hf_core_volume *volume);
/* Whoever changes what reads of a range give says so, before anybody is answered. Units. True: what
 * it holds now is asked for. */
bool hf_core_range_changed(struct hf_core_volume *volume, uint64_t lba, uint64_t length);
void hf_core_alarm(struct hf_core *core, uint64_t volume, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* core_attach.c */
void hf_core_remote_open(struct hf_core_volume *volume, uint64_t deadline_ns);
/* Of a volume of the log that is OPENING, once nothing of the last time is left. */
void hf_core_remote_open_again(struct hf_core_volume *volume);
void hf_core_remote_close(struct hf_core_volume *volume);
/* Tells the log what the volume is now; it gets one if it has none. */
void hf_core_attach_log(struct hf_core_volume *volume);
/* core_detach.c: takes the next step of a volume that is going, if its time has come. */
void hf_core_leave_step(struct hf_core_volume *volume);
/* After an attempt to delete its objects that succeeded, or some time after one that failed. */
void hf_core_delete_go_on(struct hf_core_volume *volume);
void hf_core_changes_done(struct hf_core *core, struct hf_list *changes, int status,
			  const char *text);

/* ---- Requests ----------------------------------------------------------------------------------
 */

/* A bound on what is under way; the rest waits in order. Reads and writes have one each, so that
 * writes that wait for room in the log hold up no read. */
struct hf_core_gate {
	unsigned limit, under_way;
	bool busy;              /* letting through */
	struct hf_list waiting; /* hf_core_job.link */
};

/* One range of a volume read into memory: everything is looked up and asked for at one moment, so
 * it is one state of the volume. */
struct hf_core_read {
	struct hf_core_volume *volume;
	uint64_t lba, length; /* units */
	uint8_t *buffer;      /* aligned, `length` units */
	uint64_t deadline_ns;
	int status;
	unsigned under_way, attempts, loads;
	bool again, parked;
	struct hf_remote_load load; /* of a leaf of the map */
	void (*done)(struct hf_core_read *read);
	struct hf_list link; /* volume->parked */
};

bool hf_core_remote_is_there(const struct hf_core_volume *volume);
/* Ends through `done`, maybe before it returns. */
void hf_core_read_start(struct hf_core_read *read);
/* Ends a read that is parked. */
void hf_core_read_unpark(struct hf_core_read *read, int status);
/* Starts what is parked again (status 0) or ends it. */
void hf_core_unpark_all(struct hf_core_volume *volume, int status);
void hf_core_park(struct hf_core_read *read);

enum hf_core_job_state {
	HF_CORE_JOB_WAITING = 1, /* for the gate */
	HF_CORE_JOB_LOCKING,
	HF_CORE_JOB_READING,
	HF_CORE_JOB_BUDGET, /* waits for room in memory */
	HF_CORE_JOB_APPENDING,
	HF_CORE_JOB_FLUSHING,
};

struct hf_core_job {
	uint32_t magic;
	struct hf_core *core;
	struct hf_core_volume *volume;
	struct hf_request *request;
	struct hf_core_gate *gate;
	enum hf_core_job_state state;
	uint64_t born_ns;
	bool cancelled;
	bool stepping, stepped;    /* VERIFY: inside a step, which ended inside itself */
	uint64_t at;               /* VERIFY: next unit */
	struct hf_list link;       /* gate or budget */
	struct hf_list duplicates; /* requests with the same id that came later */
	struct hf_core_lock lock;
	struct hf_core_range *ranges; /* of the lock; &range or own memory */
	struct hf_core_range range;
	struct hf_core_read read;
	struct hf_wlog_append append;
	struct hf_wlog_record *records; /* &record or own memory */
	struct hf_wlog_record record;
	struct hf_wlog_flush flush;
	uint8_t *input;  /* copied payload of CAW, WRITE SAME */
	uint8_t *buffer; /* what was read */
};

/* core_request.c */
void hf_core_job_done(struct hf_core_job *job, int status);
/* Those that wait for a request. */
void hf_core_jobs_free(struct hf_core *core);
/* core_write.c: from the gate on. */
void hf_core_write_start(struct hf_core_job *job);
void hf_core_write_cancel(struct hf_core_job *job);
/* Jobs that waited for memory. */
void hf_core_budget_run(struct hf_core *core);
/* core_pace.c lets it go on, or not. */
void hf_core_write_go(struct hf_core_job *job);
void hf_core_write_refuse(struct hf_core_job *job, int status);
/* Jobs that waited for the end of a move. */
void hf_core_held_run(struct hf_core_volume *volume);
/* core_query.c: READ, VERIFY, LBA_STATUS, FLUSH from the gate on. */
void hf_core_query_start(struct hf_core_job *job);

/* ---- The pace of writes (core_pace.c) ----------------------------------------------------------
 */

/* True if the write waits now; it goes on by hf_core_write_go, maybe before this returns. */
bool hf_core_pace_holds(struct hf_core_job *job);
/* Lets go what may. */
void hf_core_pace_run(struct hf_core_volume *volume);
/* The log has more room than before. */
void hf_core_pace_room(struct hf_core_log *log);
void hf_core_pace_due(struct hf_timer *timer);
/* Looks how fast the log fills; seconds until it is full at that rate, UINT64_MAX: it does not. */
void hf_core_pace_sample(struct hf_core_log *log);
uint64_t hf_core_pace_full_in_s(struct hf_core_log *log);
/* The formula: bytes a second. `full_rate_bytes`: with so much left there is no limit. */
double hf_core_pace_rate(double left_bytes, double full_rate_bytes, double drain_rate,
			 double horizon_s, unsigned writers);

/* ---- Uploads -----------------------------------------------------------------------------------
 */

/* core_upload.c: starts what is due. */
void hf_core_upload_schedule(struct hf_core *core);
/* The store counts everything through: lag ends here. */
void hf_core_upload_counted(struct hf_core_volume *volume, uint64_t through);
void hf_core_upload_advanced(void *context, uint64_t recovery_point);
/* core_uploaded.c: tells the log what the store counts, if that is worth it now. */
void hf_core_uploaded_step(struct hf_core *core);
/* The same of this volume's log, worth it or not. */
void hf_core_uploaded_now(struct hf_core_volume *volume);
void hf_core_uploaded_due(struct hf_timer *timer);
/* Drops what the recovery point covers, at most *entries of the queue, and counts them down; true:
 * all of it. */
bool hf_core_upload_covered(struct hf_core_volume *volume, uint64_t through, unsigned *entries);
/* core_object.c: reads records first … last (durable, whole appends) and uploads them. */
void hf_core_object_start(struct hf_core_volume *volume, uint64_t first, uint64_t last);
/* Called by it when the object has ended in any way. */
void hf_core_object_ended(struct hf_core_volume *volume);

/* ---- Moving (core_move.c) ----------------------------------------------------------------------
 */

/* The volume goes to another log; `done` when it is there, or why not. HF_EBUSY at once if that
 * cannot be now. */
int hf_core_move_start(struct hf_core_volume *volume, struct hf_core_log *to);
/* After something that a move may wait for has ended. */
void hf_core_move_step(struct hf_core_volume *volume);
/* Gives up one that only waits for appends to end. */
void hf_core_move_abort(struct hf_core_volume *volume);
/* Recovery: this log still says that the volume is in it. */
void hf_core_move_tell_left(struct hf_core_volume *volume, struct hf_core_log *log);
/* Drops stays of which nothing is needed any more. */
void hf_core_stays_trim(struct hf_core_volume *volume);
/* Records of it that are needed may lie in this log, which it has left. */
bool hf_core_volume_was_in(const struct hf_core_volume *volume, const struct hf_core_log *log);

/* ---- The read cache (core_cache.c) -------------------------------------------------------------
 */

void hf_core_cache_open(struct hf_core *core);
/* When every remote side is closed. True: it is closed; false: hf_core_close_step comes later. */
bool hf_core_cache_close(struct hf_core *core);

/* ---- The core ----------------------------------------------------------------------------------
 */

struct hf_core {
	uint32_t magic;
	struct hf_core_config config;
	struct hf_env *env;
	struct hf_core_log *logs[HF_CORE_LOGS_MAX]; /* NULL: none; with gaps */
	unsigned logs_opening, logs_draining;
	struct hf_core_open *open;
	bool recovering;

	struct hf_list volumes; /* next to upload first */
	unsigned volume_count;
	struct hf_list volume_buckets[HF_CORE_VOLUME_BUCKETS];
	struct hf_list unsynced;
	struct hf_rcache *cache;
	bool cache_closed;
	struct hf_remote_maps *maps;

	struct hf_core_gate reads, writes;
	struct hf_list job_pool;
	unsigned job_pool_count;
	uint64_t append_bytes;
	struct hf_list budget; /* jobs that wait for append_bytes */

	struct hf_list rings;
	unsigned ring_count;

	struct hf_timer uploaded_timer;

	unsigned uploads;

	/* Ends that were met inside a call of ours and wait to be told. */
	unsigned depth;
	struct hf_list ended_requests, ended_changes;
	struct hf_timer ended_timer;

	bool closing, logs_closing, telling;
	unsigned holds; /* operations of the log and of remotes that are not a job's */
	void (*closed)(void *context);
	void *closed_context;
};

/* Around everything that comes in from outside: what ended is told on the way out, when nothing of
 * ours is on the stack. `hf_core_leave_later` is for calls of the user, whom `done` may not reach
 * from inside. */
void hf_core_enter(struct hf_core *core);
void hf_core_leave(struct hf_core *core);
void hf_core_leave_later(struct hf_core *core);
void hf_core_request_ended(struct hf_core *core, struct hf_request *request, int status);
void hf_core_change_ended(struct hf_core *core, struct hf_volume_change *change);
/* Ends the closing when nothing is left. */
void hf_core_close_step(struct hf_core *core);

#include "gateway/volumed/core_segment.h"

#endif
