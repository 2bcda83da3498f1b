/* The volume core: composes the write log, the overlay and the remote side of every volume on this
 * gateway, orders requests, and schedules uploads. Pure and single-threaded: it knows no ring, no
 * thread and no socket; volumed, the simulator and tests drive it through this header and `env`.
 *
 * A write's life: range lock → copied into the log's batch → written and synced → overlay → done →
 * later read back into an object → PUT → counted by a look at the claims → remote map → UPLOADED
 * record → the overlay's entry dropped → the segment recycled. */
#ifndef HF_GATEWAY_VOLUMED_CORE_H
#define HF_GATEWAY_VOLUMED_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "cache/rcache.h"
#include "cache/ring_layout.h"
#include "cache/wlog.h"
#include "remote/remote.h"

struct hf_core;

/* ---- Requests -------------------------------------------------------------------------------- */

/* One request of an initiator. Caller's memory until done. `data` may lie in memory that a
 * hostile peer changes at any time: the core copies input exactly once before it looks at it, and
 * writes output there only after it was verified in memory of its own.
 * Same memory rules as env: `done` exactly once, later, never from inside hf_core_submit.
 *
 * Statuses: 0; HF_ERANGE (outside the volume), HF_EINVAL, HF_ETOOBIG; HF_EMISCOMPARE (`info`);
 * HF_EBUSY (no room in the log for `write_wait_ms`; not executed); HF_EBADEXTENT, HF_ECORRUPT;
 * HF_ENOTREADY, HF_ETIMEDOUT (store away past the read deadline),
 * HF_EFENCED; HF_ECANCELED (not executed); HF_EBUSY. */
struct hf_request {
	enum hf_op op;
	uint32_t flags; /* HF_REQUEST_… */
	uint64_t volume;
	struct hf_request_id id; /* all zero: no request of a ring, never deduplicated */
	uint64_t offset, length; /* bytes, multiples of 512 */
	void *data;
	uint32_t data_length; /* bytes of payload, as in hf_ring_submission */
	int status;
	uint32_t data_given; /* bytes written to data (LBA_STATUS) */
	uint64_t info;
	void (*done)(struct hf_request *request);
	/* READ: what was read and verified, before it is answered; `bytes` are the core's. From
	 * inside the core, which may be asked for nothing. NULL: nobody wants it. */
	void (*verified)(struct hf_request *request, const void *bytes);
	void *owner;
	struct hf_list link; /* the core's until done */
	void *impl;          /* the core's until done */
};

/* Executes it, or answers from the log what a request with the same id was answered. */
void hf_core_submit(struct hf_core *core, struct hf_request *request);
/* Asks that the request be not executed. It still ends through `done`: with HF_ECANCELED if it was
 * not logged yet, else as it would have. */
void hf_core_cancel(struct hf_core *core, struct hf_request *request);

/* Between the two nothing of what is submitted is written: for a caller that has several requests
 * at hand, which then share a commit. Nests. */
void hf_core_hold(struct hf_core *core);
void hf_core_release(struct hf_core *core);
/* How many WRITEs could be kept back now without delay to any, because they would only gather while
 * a commit is under way (HF_WLOG_BUSY: all) or while one waits to fill. May change with every
 * return to the loop. */
unsigned hf_core_appetite(const struct hf_core *core);

/* A ring is there, and everything below `oldest_unfinished` has been answered to its initiator:
 * results of those ids need not be remembered. */
void hf_core_ring_progress(struct hf_core *core, const uint8_t ring[16],
			   uint64_t oldest_unfinished);
/* The ring will never come back (its tgtd is dead): its results can be forgotten. */
void hf_core_ring_forget(struct hf_core *core, const uint8_t ring[16]);

/* ---- Volumes --------------------------------------------------------------------------------- */

#define HF_WRAP_KEY_BYTES 32u

struct hf_volume_config {
	uint64_t tenant, volume;
	uint64_t size_bytes;   /* multiple of 4096; may only grow */
	uint64_t attach_epoch; /* granted by the provider; may only grow */
	bool write_cache;
	bool create;   /* a new volume: make its key ring; else its key ring must exist */
	uint32_t tgtd; /* whose ring may have it; the core does not look at it */
	uint8_t wrap_key[HF_WRAP_KEY_BYTES]; /* unwraps the key ring in the store */
};

enum hf_volume_state {
	HF_VOLUME_OPENING = 1, /* serves writes, and reads the overlay has; remote map loading */
	HF_VOLUME_ATTACHED,
	HF_VOLUME_DETACHING, /* refuses I/O, drains uploads */
	HF_VOLUME_DETACHED,
	HF_VOLUME_DELETING,
	HF_VOLUME_FENCED, /* another holder claimed it: NOT READY, log kept */
	HF_VOLUME_FAILED,
};

/* An asynchronous change of a volume. Caller's memory until done. */
struct hf_volume_change {
	struct hf_volume_config config; /* attach; for the others only `volume` */
	bool force;                     /* detach: without draining, the loss is in the status */
	int status;
	struct hf_errmsg message;
	void (*done)(struct hf_volume_change *change);
	void *owner;
	struct hf_list link;
	void *impl;
};

/* Creates or opens, or with an attached volume applies what may change (size up, write cache,
 * epoch). Done when the volume accepts requests, which needs the log (an ATTACH record is durable)
 * but not the store, except that `create` and an open without any local state need the key ring
 * and wait for it up to the store's deadline. Idempotent. */
void hf_core_attach(struct hf_core *core, struct hf_volume_change *change);
/* Refuses new requests, uploads what is left, seals, forgets the volume locally (a DETACH record).
 * Idempotent. One that is not known here is detached, but not while a log is missing that may have
 * it (HF_ENOTREADY unless forced). */
void hf_core_detach(struct hf_core *core, struct hf_volume_change *change);
/* Drops what is left in the log and deletes every object. Needs config.tenant and wrap_key only if
 * the volume is not attached. Idempotent. */
void hf_core_delete(struct hf_core *core, struct hf_volume_change *change);

struct hf_volume_status {
	uint64_t volume, tenant, size_bytes, attach_epoch, start;
	enum hf_volume_state state;
	bool write_cache;
	bool accepting; /* takes requests; not while a volume without local state asks the store */
	int error;      /* why FAILED or FENCED, or the last trouble with the store */
	char reason[128];
	uint64_t recovery_point; /* last volume sequence the store covers */
	uint64_t last_sequence;  /* last durable volume sequence */
	uint64_t lag_bytes;      /* durable writes after the recovery point */
	uint64_t age_ms;         /* of the oldest of them, 0 if none */
	uint64_t read_ops, read_bytes, write_ops, write_bytes;
	uint64_t uploaded_objects, uploaded_bytes, fetched_bytes;
	uint64_t bad_extents;
	unsigned log; /* index of the one that it is in; HF_CORE_LOGS_MAX: none */
	bool moving;
};
int hf_core_volume_status(struct hf_core *core, uint64_t volume, struct hf_volume_status *status);
/* Everything of it that was answered is durable: a flush would have nothing to do. */
bool hf_core_volume_is_durable(struct hf_core *core, uint64_t volume);
/* Fills up to `capacity` volume numbers, returns how many there are. */
unsigned hf_core_volumes(struct hf_core *core, uint64_t *volumes, unsigned capacity);

/* ---- The core itself ------------------------------------------------------------------------- */

#define HF_CORE_LOGS_MAX 8u
#define HF_CORE_NO_DISK  UINT32_MAX /* of a log that is missing: volumes may be in it */

struct hf_core_config {
	struct hf_env *env;
	unsigned disks[HF_CORE_LOGS_MAX]; /* of the write logs */
	unsigned disk_count;              /* 0: disk 0 alone */
	/* A log whose table has a lower version than this is an older copy of itself, and missing
	 * (hf_core_log_status); 0: any will do. */
	uint64_t least_version[HF_CORE_LOGS_MAX];
	/* The log that is to be there; another one counts as missing. Zeros: any will do. */
	uint8_t log_uuids[HF_CORE_LOGS_MAX][16];
	uint64_t object_bytes;     /* close an object at this payload; 0: 16 MiB */
	uint64_t object_timer_ms;  /* or when its first write is this old; 0: 2000 */
	unsigned object_records;   /* or when it holds so many; 0 or more: 16384 */
	unsigned uploads_max;      /* objects under way at once, all volumes; 0: 4 */
	unsigned turn_records;     /* worked on for uploads before others have a turn; 0: 128 */
	uint64_t read_deadline_ms; /* a read that needs the store; 0: 25000 */
	uint64_t write_horizon_ms; /* how long a log that fills is made to last; 0: 600000 */
	uint64_t write_wait_ms;    /* no write waits longer for room; 0: 20000 */
	uint64_t claims_look_ms;   /* between looks at the claims; 0: 2000 */
	uint64_t cache_bytes;      /* memory for fetched chunks; 0: 64 MiB */
	uint64_t log_memory_bytes; /* memory for what was logged last (wlog.h); 0: none */
	uint64_t keep_bytes;       /* of each log, uploaded and kept for reads; 0: none */
	unsigned cache_disk;       /* of env, for fetched chunks; 0: none (it is a log's) */
	uint64_t map_bytes;        /* memory for the maps of all volumes; 0: 256 MiB */
	struct hf_remote_checkpoints checkpoints; /* when one is written; 0s: the defaults */
	unsigned requests_max;                    /* under way; more wait; 0: 4096 */
	void *context;
	/* Both are called from inside the core, which may be asked for a status and nothing else.
	 * A volume's state, size or flags changed (for rings and for reports). */
	void (*volume_changed)(void *context, uint64_t volume);
	void (*alarm)(void *context, uint64_t volume, const char *text);
	/* From now on reads of this range (bytes) may give something else than before. Called
	 * before the request that made it so is answered. From inside the core, too. True: it would
	 * be good to know what the range holds now; then range_holds comes at once, if the core has
	 * it at hand. */
	bool (*range_changed)(void *context, uint64_t volume, uint64_t offset, uint64_t length);
	void (*range_holds)(void *context, uint64_t volume, uint64_t offset, uint64_t length,
			    const void *bytes);
};

/* Opens the logs and recovers. One that cannot be opened is missing: an alarm says why, volumes
 * that may be in it are refused, the others are served; the opening fails if there is no other.
 * Volumes that were attached are known afterwards (state OPENING once hf_core_attach gives their
 * key) and their results answer resubmitted requests. */
struct hf_core_open {
	struct hf_core_config config;
	struct hf_core *core; /* out; NULL on failure */
	int status;
	struct hf_errmsg message;
	void (*opened)(struct hf_core_open *open);
	void *impl;
};
void hf_core_open_start(struct hf_core_open *open);
/* Stops scheduling, lets what is under way end, closes the log. Nothing is uploaded on the way. */
void hf_core_close(struct hf_core *core, void (*closed)(void *context), void *context);

struct hf_core_log_status {
	unsigned index, disk;
	uint8_t uuid[16];
	const char *state_text; /* "serving", "draining", "missing" */
	int error;              /* why it is missing */
	char reason[128];
	unsigned volumes; /* that are in it */
	uint64_t total_bytes, free_bytes, written_bytes;
	uint64_t full_in_s; /* as it fills now; UINT64_MAX: it does not */
	uint64_t needed_records;
	uint64_t version; /* to remember: a log that comes back with less is an older copy */
};
/* Fills up to HF_CORE_LOGS_MAX, returns how many there are. */
unsigned hf_core_logs(struct hf_core *core, struct hf_core_log_status *logs);

/* A log comes or goes. Caller's memory until done. */
struct hf_core_log_change {
	unsigned disk; /* of env; formatted as a log */
	int status;
	struct hf_errmsg message;
	void (*done)(struct hf_core_log_change *change);
	void *owner;
};
/* Opens one more log; done when it takes volumes. */
void hf_core_log_add(struct hf_core *core, struct hf_core_log_change *change);
/* Its volumes move to other logs, what it holds is uploaded or copied there, it is closed; done
 * when nothing of it is used any more. Takes as long as it takes; HF_ENOENT, HF_EBUSY at once,
 * HF_ECANCELED when the core closes first. */
void hf_core_log_drain(struct hf_core *core, struct hf_core_log_change *change);

/* Puts the volume into the log of this index (hf_core_logs), while it serves; done through
 * volume_changed. 0 if it is there or on the way; HF_ENOENT, HF_EBUSY. */
int hf_core_volume_move(struct hf_core *core, uint64_t volume, unsigned log_index);

struct hf_core_status {
	uint64_t log_total_bytes, log_free_bytes, log_written_bytes; /* of all logs */
	uint64_t full_in_s; /* of the log that is full first */
	uint64_t requests_under_way, uploads_under_way;
	bool store_reachable;
	struct hf_rcache_stats cache;
};
void hf_core_status(struct hf_core *core, struct hf_core_status *status);

#endif
