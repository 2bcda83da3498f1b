/* The inside of a write log, shared by the files wlog_*.c. Everything runs on the core's thread.
 *
 * One lane. At most one operation that writes or syncs is under way (`lane`), and each step names
 * the next. hf_wlog_pump decides what the free lane does next:
 *
 *   relocate   a write or sync failed (or the log was just opened): all that is past
 *              keep_through goes to a fresh segment            wlog_relocate.c
 *   write      the first batch that may go                      wlog_commit.c
 *   roll       it does not fit: footer, table, next segment     wlog_commit.c
 *   sync       somebody waits for it, or too much is unsynced   wlog_commit.c
 *   mark       idle: an empty batch that carries durable-through
 *   end        closing, and nothing is left to do               wlog.c
 *
 * A batch is gathering or ready in `queue`, then `writing`, then in `unsynced` until a sync covers
 * it, then back in the pool. Its payload stays in memory until then, so that it can be written
 * again elsewhere and so that reads of it need no disk. */
#ifndef HF_CACHE_WLOG_PRIVATE_H
#define HF_CACHE_WLOG_PRIVATE_H

#include "base/assert.h"
#include "base/bytes.h"
#include "cache/wlog.h"
#include "cache/wlog_format.h"

#define WLOG_MAGIC         0x574c4f47u
#define WLOG_LIVE_MIN_FREE 1u /* segments that only recovery and relocation may take */
#define WLOG_RESERVE_MIN   2u
#define WLOG_POOL_MAX      8u  /* batch buffers kept for reuse */
#define WLOG_UNSYNCED_MAX  32u /* batches; then a sync, asked for or not */
#define WLOG_TRIES_MAX     8u  /* failures before opening gives up */

/* Where payload lies in a segment, in the order of its units; whole pieces are read and verified.
 */
struct wlog_entry {
	uint32_t unit, units; /* in the segment */
	uint32_t crc;         /* first of its CRCs in the segment's */
	uint64_t volume, lba;
};

struct wlog_segment {
	uint32_t slot;
	uint64_t serial;
	uint64_t first_batch; /* 0: not committed yet */
	uint64_t last_batch;  /* written so far; final once closed */
	bool open;
	uint32_t used_bytes;
	uint64_t other_records; /* that are not STATE */
	unsigned readers;
	bool recycled; /* goes free when the last reader is done */
	bool spare;    /* free space, but still read from */
	struct wlog_entry *entries;
	uint32_t entry_count, entry_capacity;
	uint32_t *crcs;
	uint32_t crc_count, crc_capacity;
	uint8_t *body; /* of the footer to be; open segments only */
	uint32_t body_bytes, body_capacity;
};

/* Where a batch lies. */
struct wlog_spot {
	uint64_t serial; /* 0: nowhere */
	uint64_t batch;
	uint32_t offset; /* bytes, in the segment */
};

struct wlog_batch {
	struct hf_list link;
	struct hf_list appends; /* not done yet */
	uint32_t append_count;  /* that it took */
	uint64_t ordinal;       /* in the order of creation */
	bool reserve;           /* every append in it may use the reserve */
	bool state;             /* holds the STATE record that opens a segment */
	bool durable;           /* an append in it waits for a sync */
	bool damaged;           /* some payload is not what its checksum says: never read here */
	uint8_t *header, *payload;
	uint32_t header_capacity, payload_capacity;
	uint32_t used_bytes;    /* of the header */
	uint32_t payload_bytes; /* whole units, not padded to a block */
	uint32_t record_count;
	struct wlog_spot spot;     /* as readers and the owner know it */
	struct wlog_spot new_spot; /* while it is relocated */
	struct iovec iov[2];
};

/* A read of any length in bounded pieces, several of them under way, for opening. */
#define WLOG_LOAD_PIECES 8u
struct wlog_load_piece {
	struct hf_disk_io io;
	struct iovec iov;
	struct wlog_load *load;
};
struct wlog_load { /* wlog_open.c */
	struct wlog_load_piece pieces[WLOG_LOAD_PIECES];
	struct hf_wlog *log;
	uint64_t offset;
	uint8_t *bytes;
	size_t length, asked;
	unsigned under_way;
	int status; /* the first failure */
	void (*next)(struct hf_wlog *log, int status);
};

/* Payload that is durable and still in memory (wlog_keep.c). */
struct wlog_kept {
	uint64_t serial,
		at; /* at: counts all bytes ever put; its place is the rest by size_bytes */
	uint32_t unit, units; /* in the segment */
};

struct wlog_keep {
	uint8_t *bytes;
	uint64_t size_bytes, end;  /* 0: nothing is kept */
	struct wlog_kept *entries; /* a circle, oldest at `first` */
	uint32_t capacity, first, count;
};

/* How long the next batch waits for more appends (wlog_fill.c). */
struct wlog_fill {
	uint64_t started_ns, ended_ns; /* of the last commit */
	uint64_t commit_ns;            /* what one takes, smoothed */
	uint32_t ended;                /* appends that it ended */
	uint32_t expected;             /* under way when commits end: the most of late */
	uint32_t missing;              /* the batch waits for so many; 0: none waits */
	struct hf_timer timer;
};

struct hf_wlog {
	uint32_t magic;
	struct hf_wlog_config config;
	struct hf_env *env;
	struct hf_wlogfmt_super super;

	/* Segments and their table (wlog_segment.c) */
	struct wlog_segment **slots; /* super.segment_count, NULL is free */
	struct wlog_segment **live;  /* committed, by ascending serial */
	uint32_t live_count, free_count, spare_count, next_slot;
	struct wlog_segment *active; /* the newest of `live`; NULL only while opening */
	struct hf_wlogfmt_table table;
	unsigned table_good; /* the copy that is stable: the other is written next */
	unsigned table_copies_left;
	uint8_t *table_bytes;
	struct hf_wlogfmt_entry *entries;
	void (*table_next)(struct hf_wlog *log, int status);

	/* The lane (wlog_commit.c) */
	struct hf_disk_io lane;
	struct iovec lane_iov;
	void (*lane_next)(struct hf_wlog *log, int status);
	bool busy;
	unsigned held; /* hf_wlog_hold */
	struct wlog_fill fill;
	unsigned tries, table_tries; /* failures in a row */
	struct hf_timer retry_timer;
	void (*retry_next)(struct hf_wlog *log);

	/* Batches (wlog_batch.c) */
	struct hf_list queue, unsynced, pool;
	struct wlog_batch *writing;
	unsigned pool_count;
	uint64_t next_ordinal, next_batch;
	uint64_t durable_through;
	uint32_t prev_crc;
	uint32_t gather_bytes;   /* a batch takes appends up to this */
	uint32_t batch_max;      /* bytes of header and payload of the largest append */
	uint32_t state_capacity; /* bytes */
	uint8_t *state_bytes;

	/* Syncs, flushes, idleness (wlog_commit.c) */
	struct hf_list flushes;
	bool want_sync, want_mark, last_was_mark;
	uint32_t since_flush; /* batches written without their sync since the last flush */
	bool flush_follows;   /* the last one came after a single batch */
	struct hf_timer idle_timer;

	/* Relocation (wlog_relocate.c) */
	bool must_relocate;
	uint64_t keep_through;                   /* batches up to here stay where they are */
	struct wlog_segment *fresh;              /* also while rolling */
	struct wlog_batch *fresh_state, *moving; /* the STATE batch; the one under way */
	void (*relocated)(struct hf_wlog *log, int status);

	/* Ends that must not come from inside a call (wlog.c) */
	struct hf_timer soon_timer;
	struct hf_list ended_appends, ended_reads;
	struct hf_list read_pool;
	struct wlog_keep keep;
	unsigned reads_under_way;
	bool closing;
	void (*closed)(void *context);
	void *closed_context;

	struct hf_wlog_open *opening; /* NULL once opened */
	struct wlog_load load;
	struct wlog_recovery *recovery;
	uint8_t *table_copies; /* superblocks, then both tables, while opening */
	uint8_t *footer;       /* while it is written */
	void (*footer_next)(struct hf_wlog *log, int status);
	/* Opening: the headers of what stays in the segment that was the newest, for its footer. */
	struct {
		uint64_t serial;
		uint8_t *body;
		uint32_t body_bytes, end; /* end: of its last batch, in the segment */
	} tail;
	uint64_t written_bytes;
};

/* Running out of memory for an index or a buffer ends the process: what was acknowledged is on
 * disk, and a log that cannot note where would be worse. */
static inline void *wlog_must(void *memory)
{
	HF_ASSERT(memory != NULL);
	return memory;
}

void hf_wlog_alarm(struct hf_wlog *log, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Ends everything on the ended_ lists, and looks at the pump, from a timer. */
void hf_wlog_soon(struct hf_wlog *log);
/* Ends what has not been written with HF_ECANCELED. */
void hf_wlog_cancel_queue(struct hf_wlog *log);
/* Whether a closing log may end. */
bool hf_wlog_nothing_left(const struct hf_wlog *log);
/* Frees the log; nothing is under way. */
void hf_wlog_destroy(struct hf_wlog *log);
struct hf_wlog *hf_wlog_create(const struct hf_wlog_config *config);
/* Sizes and buffers that depend on the superblock. */
void hf_wlog_provide(struct hf_wlog *log);

/* ---- wlog_segment.c -------------------------------------------------------------------------- */

uint64_t hf_wlog_slot_offset(const struct hf_wlog *log, uint32_t slot);
/* Live segment of this serial; NULL if there is none. */
struct wlog_segment *hf_wlog_segment_find(const struct hf_wlog *log, uint64_t serial);
/* A new segment in a free slot, not committed; there is one. */
struct wlog_segment *hf_wlog_segment_new(struct hf_wlog *log);
/* The same for a slot and serial that the table on disk names. */
struct wlog_segment *hf_wlog_segment_known(struct hf_wlog *log, uint32_t slot, uint64_t serial);
/* Makes it live and the active one. */
void hf_wlog_segment_commit(struct hf_wlog *log, struct wlog_segment *segment, uint64_t first);
/* Frees it, or when its last reader is done. */
void hf_wlog_segment_drop(struct hf_wlog *log, struct wlog_segment *segment);
void hf_wlog_segment_unpin(struct hf_wlog *log, struct wlog_segment *segment);
/* Notes a batch that lies in the segment now. */
void hf_wlog_segment_add(struct wlog_segment *segment, const struct hf_wlogfmt_head *head,
			 const uint8_t *header);
/* Forgets entries from `offset` bytes on. */
void hf_wlog_segment_cut(struct wlog_segment *segment, uint32_t offset);
/* Index of the entry that holds the unit; false if none does. */
bool hf_wlog_segment_entry(const struct wlog_segment *segment, uint64_t unit, uint32_t *index);
/* Drops segments that hold nothing but STATE records older than the active one's. */
void hf_wlog_drop_old_states(struct hf_wlog *log);
/* Writes the table as it follows from the segments, both copies, each synced. Tries again for ever;
 * while the log is opening or closing it gives up after WLOG_TRIES_MAX. The lane is the caller's.
 */
void hf_wlog_table_write(struct hf_wlog *log, void (*next)(struct hf_wlog *log, int status));

/* ---- wlog_batch.c ---------------------------------------------------------------------------- */

struct wlog_batch *hf_wlog_batch_get(struct hf_wlog *log, uint32_t payload_bytes);
void hf_wlog_batch_put(struct hf_wlog *log, struct wlog_batch *batch);
/* Whether the batch can take what another holds, and taking it: records and payload as they are,
 * checksums and all. */
bool hf_wlog_batch_takes(const struct hf_wlog *log, const struct wlog_batch *batch,
			 uint32_t record_bytes, uint32_t payload_bytes);
void hf_wlog_batch_absorb(struct wlog_batch *batch, const struct hf_wlogfmt_head *head,
			  const uint8_t *header, const uint8_t *payload);
/* Bytes on disk. */
uint32_t hf_wlog_batch_header_bytes(const struct wlog_batch *batch);
uint32_t hf_wlog_batch_total_bytes(const struct wlog_batch *batch);
/* The batch of the queue's end that takes this append, or a new one. HF_ETOOBIG. */
int hf_wlog_gather(struct hf_wlog *log, struct hf_wlog_append *append);
/* A batch with the owner's STATE as of now. */
struct wlog_batch *hf_wlog_state_batch(struct hf_wlog *log);
/* Completes the header for this spot. */
void hf_wlog_batch_seal(struct hf_wlog *log, struct wlog_batch *batch, const struct wlog_spot *spot,
			struct hf_wlogfmt_head *head);
/* Pads both parts to blocks and points the iovec at them; gives the number of its parts. */
unsigned hf_wlog_batch_pad(struct wlog_batch *batch);
/* The batch lies here now: tells the records of its appends that are not done. */
void hf_wlog_batch_settle(struct wlog_batch *batch, const struct wlog_spot *spot);
/* The record as owners see it. */
void hf_wlog_record_of(const struct hf_wlogfmt_head *head, const struct hf_wlogfmt_record *from,
		       struct hf_wlog_record *record);

/* ---- wlog_commit.c --------------------------------------------------------------------------- */

void hf_wlog_pump(struct hf_wlog *log);
/* Writes the footer of a closed segment if it has room behind `end`, and calls `next`. No sync:
 * what it saves is time. The lane is the caller's. */
void hf_wlog_footer_write(struct hf_wlog *log, const struct wlog_segment *segment,
			  const uint8_t *body, uint32_t body_bytes, uint32_t end,
			  void (*next)(struct hf_wlog *log, int status));
/* Starts a write or sync on the lane. */
void hf_wlog_lane_write(struct hf_wlog *log, uint64_t offset, const struct iovec *iov,
			unsigned iov_count, void (*next)(struct hf_wlog *log, int status));
void hf_wlog_lane_sync(struct hf_wlog *log, void (*next)(struct hf_wlog *log, int status));
/* Gives the lane back and looks for what is next. */
void hf_wlog_lane_free(struct hf_wlog *log);
/* Waits (longer with every try) and goes on. */
void hf_wlog_retry_later(struct hf_wlog *log, unsigned tries, void (*next)(struct hf_wlog *log));
/* Ends the appends of the batch; only those that wait for no sync unless `all`. */
void hf_wlog_batch_done(struct wlog_batch *batch, bool all, int status);
/* Ends the flushes that nothing holds up any more. */
/* Nothing that was there when it came is still to become durable. */
bool hf_wlog_covers(const struct hf_wlog *log, const struct hf_wlog_flush *flush);
void hf_wlog_end_flushes(struct hf_wlog *log);
/* Everything in `unsynced` is covered up to `through`. */
void hf_wlog_became_durable(struct hf_wlog *log, uint64_t through);

/* ---- wlog_keep.c ----------------------------------------------------------------------------- */

void hf_wlog_keep_open(struct wlog_keep *keep, uint64_t size_bytes);
void hf_wlog_keep_close(struct wlog_keep *keep);
/* Takes a copy of the payload of a batch that lies where its spot says, durable. */
void hf_wlog_keep_put(struct wlog_keep *keep, const struct wlog_batch *batch);
/* The payload at this place, if all of it is kept; NULL. Valid until the next put. */
const uint8_t *hf_wlog_keep_find(const struct wlog_keep *keep, const struct hf_place *place,
				 uint64_t units);

/* ---- wlog_fill.c ----------------------------------------------------------------------------- */

/* A commit has ended that wrote this batch. */
void hf_wlog_fill_note(struct hf_wlog *log, const struct wlog_batch *batch);
/* True: the batch waits for more, and the timer or an append will look again. */
bool hf_wlog_fill_waits(struct hf_wlog *log, const struct wlog_batch *batch);
/* Nothing waits for more appends any more. */
void hf_wlog_fill_stop(struct hf_wlog *log);

/* ---- wlog_relocate.c ------------------------------------------------------------------------- */

void hf_wlog_relocate(struct hf_wlog *log);

/* ---- wlog_scan.c ----------------------------------------------------------------------------- */

/* A batch found in a segment or in its footer; `header` points into what was scanned. */
struct wlog_found {
	struct hf_wlogfmt_head head;
	const uint8_t *header;
};

/* The unbroken run of batches of a segment, and why it ends. */
struct wlog_scan {
	const struct hf_wlogfmt_super *super;
	uint64_t serial, first_batch;
	struct wlog_found *found;
	uint32_t count, capacity;
	uint32_t end; /* bytes: where the run ends */
	/* What headers say, also those past the end: */
	uint64_t durable_through, last_seen;
};

void hf_wlog_scan_free(struct wlog_scan *scan);
/* Scans the bytes of a whole segment from its start, up to batch `last` (0: as far as it goes). */
void hf_wlog_scan_segment(struct wlog_scan *scan, const uint8_t *bytes, uint64_t last);
/* Looks for headers of this segment past the end of the run. */
void hf_wlog_scan_past(struct wlog_scan *scan, const uint8_t *bytes);
/* The same run from a footer's body; 0 or HF_ECORRUPT. */
int hf_wlog_scan_body(struct wlog_scan *scan, const uint8_t *body, uint32_t body_bytes);
/* Whether all payload is as its checksums say. `lost`: what was written as lost, too. */
bool hf_wlog_found_is_whole(const struct wlog_found *found, const uint8_t *payload, bool lost);
/* Cuts the run before the first batch past `durable_through` whose payload fails. */
void hf_wlog_scan_cut_torn(struct wlog_scan *scan, const uint8_t *bytes);

/* ---- wlog_footer.c --------------------------------------------------------------------------- */

#define WLOG_FOOTERS_AHEAD 8u

struct wlog_footers;

struct wlog_footer_read {
	struct hf_wlog *log;
	struct wlog_footers *footers;
	uint32_t index; /* of the segment in `live` */
	bool ready, good;
	struct hf_wlogfmt_footer footer;
	uint8_t *bytes; /* ready and good: the body */
	struct hf_disk_io io;
	struct iovec iov;
};

struct wlog_footers {
	struct hf_wlog *log;
	struct wlog_footer_read reads[WLOG_FOOTERS_AHEAD];
	uint32_t count, started; /* segments; read or being read */
	unsigned under_way;
	struct wlog_footer_read *taking;
	void (*taken)(struct hf_wlog *log, const struct wlog_footer_read *read);
	void (*drained)(struct hf_wlog *log);
	struct hf_timer timer;
};

/* Starts to read those of the first `count` live segments, which are closed. Zeroed before. */
void hf_wlog_footers_begin(struct wlog_footers *footers, struct hf_wlog *log, uint32_t count);
/* Gives the next one, later; segments are taken in order. What was given is good until the next is
 * taken. */
void hf_wlog_footers_take(struct wlog_footers *footers, uint32_t index,
			  void (*taken)(struct hf_wlog *log, const struct wlog_footer_read *read));
/* The end: frees everything. False: not yet, something is under way; `drained` says when to call
 * again. */
bool hf_wlog_footers_drain(struct wlog_footers *footers, void (*drained)(struct hf_wlog *log));

/* ---- wlog_recover.c -------------------------------------------------------------------------- */

struct wlog_recovery;

/* Reads the segments that hf_wlog_open_start found in the table, hands the records to the owner,
 * loads what must move, and calls `next`. */
void hf_wlog_recover(struct hf_wlog *log, void (*next)(struct hf_wlog *log, int status));

/* ---- wlog_open.c ----------------------------------------------------------------------------- */

void hf_wlog_load(struct hf_wlog *log, uint64_t offset, void *bytes, size_t length,
		  void (*next)(struct hf_wlog *log, int status));

/* ---- wlog_read.c ----------------------------------------------------------------------------- */

void hf_wlog_reads_free(struct hf_wlog *log);

#endif
