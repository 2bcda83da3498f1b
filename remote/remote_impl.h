/* What the files behind remote/remote.h share: one volume's remote side in memory. Core's thread;
 * workers see only the jobs they are given.
 *
 *   remote.c         counted objects, map, deferred completions, closing
 *   remote_table.c   headers of objects on demand      remote_delete.c deletion
 *   remote_block.c   leaves and pages of checkpoints   remote_load.c   leaves for a reader
 *   remote_checkpoint.c, _store.c, remote_clean.c      writing checkpoints
 *   remote_open.c    key ring, claim, tombstone        remote_chain.c  base, run of objects, seal
 *   remote_headers.c headers in order, into the map
 *   remote_upload.c  encode, PUT                       remote_look.c   what counts; fencing
 *   remote_read.c    reads and their chunks            remote_fetch.c  GETs shared by reads
 */
#ifndef HF_REMOTE_REMOTE_IMPL_H
#define HF_REMOTE_REMOTE_IMPL_H

#include "base/assert.h"
#include "base/list.h"
#include "remote/chain.h"
#include "remote/keyring.h"
#include "remote/map_root.h"
#include "remote/object.h"
#include "remote/remote.h"
#include "remote/retry.h"
#include "remote/table.h"

#define HF_REMOTE_MAGIC 0x52454d4fu

/* Objects 1 … link.last_object of one incarnation. */
struct hf_run {
	struct hf_chain_link link;
	uint64_t first_index; /* of its first object in the volume */
};

struct hf_remote {
	uint32_t magic;
	struct hf_env *env;
	struct hf_object_id self; /* sequence: of the newest object that was begun */
	uint8_t data_key[HF_KEY_BYTES];
	bool claimed, open, fenced, closing;
	uint64_t size_bytes;
	uint64_t recovery_point;
	int trouble;
	struct hf_read_cache *cache;
	uint8_t cache_id[HF_TAG_BYTES]; /* of the volume in the cache */
	void (*advanced_cb)(void *context, uint64_t recovery_point);
	void (*fenced_cb)(void *context);
	void *context;

	/* Counted objects, as runs of the incarnations that wrote them; an index never changes. */
	struct hf_run *runs;
	uint32_t run_count, run_capacity;
	uint64_t object_count;
	uint64_t stored_bytes;
	struct hf_extmap *map;
	struct hf_remote_maps *maps;
	bool own_maps;
	struct hf_list in_maps;
	struct hf_list tables[HF_TABLE_BUCKETS];

	/* The checkpoint in force, from which absent leaves come, and the one being written. */
	struct hf_map_root *root; /* NULL: none */
	uint64_t page_bytes;      /* of its pages in memory */
	struct hf_list blocks;
	bool map_damaged; /* a leaf or page of it cannot be had */
	char damaged_map[HF_STORE_NAME_MAX + 1];
	struct hf_remote_checkpoints checkpoints;
	struct hf_checkpoint *checkpoint;
	uint64_t map_sequence; /* of the newest map object that was begun */
	bool hold_counting;    /* until its moment has come */
	uint64_t uncovered_header_bytes, uncovered_since_ns, next_checkpoint_ns;
	uint64_t checkpoints_written;
	struct hf_list asks;
	struct hf_object_id *doomed, dooming; /* map objects to be deleted */
	unsigned doomed_count;
	struct hf_retry doom;

	/* Uploads: `waiting` for memory to begin, then `puts` in order until counted. */
	struct hf_list waiting, puts;
	uint64_t next_sequence; /* of the volume: where the next upload begins */

	/* Looks at the claims. */
	struct hf_retry look;
	struct hf_timer look_timer;
	uint64_t look_interval_ns, last_look_ns;
	bool look_again; /* asked for while one was under way */

	struct hf_list fetches;

	/* What ended inside a call of the owner: told on the next tick. */
	struct hf_list finished_uploads, finished_reads, finished_loads, finished_asks;
	struct hf_timer tick;
	unsigned busy; /* store operations and jobs under way */
	void (*closed)(void *context);
	void *closed_context;
};

/* remote.c */

/* An empty one; NULL when out of memory. hf_remote_free also frees what the lists hold no more. */
struct hf_remote *hf_remote_new(struct hf_env *env, struct hf_remote_maps *maps);
void hf_remote_free(struct hf_remote *remote);
/* Counting an object, in two steps that may each be short of memory (0, HF_ENOMEM). First the
 * runs; its header is kept while memory lasts, and its chunks taken over. Then the map, from extent
 * `*done` on: call again to go on. Both may be seen by readers in between, since the object does
 * count. */
int hf_remote_add_object(struct hf_remote *remote, struct hf_object *object);
/* Which object an index names. */
void hf_remote_object_id(const struct hf_remote *remote, uint64_t index, struct hf_object_id *id);
int hf_remote_add_extents(struct hf_remote *remote, const struct hf_object_header *header,
			  uint32_t *done);
/* Completions that may not be told from inside the owner's call. */
void hf_remote_finish_upload(struct hf_remote *remote, struct hf_remote_upload *upload, int status);
void hf_remote_finish_read(struct hf_remote *remote, struct hf_remote_read *read, int status);
void hf_remote_finish_load(struct hf_remote *remote, struct hf_remote_load *load, int status);
void hf_remote_tick_at(struct hf_remote *remote, uint64_t due_ns);
/* Brackets around every store operation and job; the last `done` lets a closing remote end. */
void hf_remote_busy(struct hf_remote *remote);
void hf_remote_idle(struct hf_remote *remote);

/* remote_upload.c */

enum hf_put_state {
	HF_PUT_ENCODING,
	HF_PUT_STORING,   /* PUT under way or to be repeated */
	HF_PUT_COMPARING, /* the name exists: is it ours? */
	HF_PUT_ANSWERED,  /* in the store; counts after a look */
	HF_PUT_FAILED,    /* nothing from here on ever counts */
};

#define HF_PUT_MAGIC 0x50555420u

struct hf_put {
	uint32_t magic;
	enum hf_put_state state;
	struct hf_remote *remote;
	struct hf_list link;             /* in remote->puts */
	struct hf_remote_upload *upload; /* NULL once told */
	bool in_look;                    /* answered before the look under way began */
	bool unconditional;              /* the store knows no conditional PUT */
	bool in_table;                   /* being counted; memory was short for the rest */
	uint32_t extents_in_map;
	struct hf_object_header header; /* its extents are a copy of the upload's */
	struct hf_object object;
	uint8_t salt[HF_SALT_BYTES];
	uint8_t *bytes;
	int encode_status;
	struct hf_work work;
	struct hf_timer again; /* encoding once more, when memory was short */
	struct hf_retry retry;
};

/* Begins what waits, as far as memory goes. */
void hf_put_begin_waiting(struct hf_remote *remote);
/* Ends every upload, with HF_EFENCED or HF_ECANCELED as the remote's state says. */
void hf_put_cancel_all(struct hf_remote *remote);
void hf_put_free(struct hf_put *put);

/* remote_look.c */

/* An object waits to be counted. */
void hf_look_schedule(struct hf_remote *remote);
/* The next look, if nothing happens before. */
void hf_look_when_idle(struct hf_remote *remote);
void hf_look_cancel(struct hf_remote *remote);

/* remote_read.c, remote_fetch.c */

struct hf_fetch;

#define HF_READING_MAGIC 0x52454144u

struct hf_reading {
	uint32_t magic;
	struct hf_remote *remote;
	struct hf_remote_read *read;
	struct hf_timer deadline;
	struct hf_table_wait header; /* its table is pinned until the reading ends */
	bool has_header, header_asked;
	int status;       /* the first failure */
	unsigned pending; /* waits in fetches, gets from the cache, the header, a call of ours */
	unsigned wait_count;
	struct hf_wait {
		struct hf_list link; /* in fetch->waits */
		struct hf_reading *reading;
		struct hf_fetch *fetch; /* NULL: not waiting */
		uint32_t chunk;
		bool missing; /* not in the cache: fetched once the header is there */
		struct hf_read_cache_get get;
	} waits[];
};

/* The name of a chunk in the cache: of this volume, as long as it has this key. */
void hf_reading_key(const struct hf_remote *remote, const struct hf_object_id *id, uint32_t chunk,
		    struct hf_read_cache_key *key);
/* Copies the part of chunk `number` that the read wants; NULL: zeros. */
void hf_reading_copy(struct hf_reading *reading, uint32_t number, const uint8_t *plain);
/* One wait has ended; the last one, or a failure, tells the owner. */
void hf_reading_settle(struct hf_wait *wait, int status);

/* Has the wait's chunk fetched, together with neighbours up to `wanted_end` (exclusive) or, when
 * the read looks sequential, beyond. 0 or HF_ENOMEM. */
int hf_fetch_wait(struct hf_wait *wait, struct hf_table *table, uint32_t wanted_end,
		  uint64_t deadline_ns);
/* The wait is not interested any more. */
void hf_fetch_leave(struct hf_wait *wait);
void hf_fetch_cancel_all(struct hf_remote *remote);

/* remote_block.c */

struct hf_block;

struct hf_block_wait {
	struct hf_list link;
	struct hf_block *block;
	/* 0: ask again, it is there now or lies elsewhere. HF_ECORRUPT, HF_ETIMEDOUT, HF_ENOMEM,
	 * HF_EFENCED, HF_ECANCELED. */
	void (*done)(struct hf_block_wait *wait, int status);
};

/* 0: the page of the index, or the leaf, is in memory or there is none. HF_EAGAIN: `done` will be
 * called, never from inside this call. Else why not. */
int hf_page_need(struct hf_remote *remote, uint64_t number, struct hf_block_wait *wait,
		 uint64_t deadline_ns);
int hf_leaf_need(struct hf_remote *remote, uint64_t leaf, struct hf_block_wait *wait,
		 uint64_t deadline_ns);
/* A wait that is not interested any more; `done` does not come. */
void hf_block_leave(struct hf_block_wait *wait);
/* What failed once is tried again after a look that began since. */
void hf_blocks_before_look(struct hf_remote *remote);
void hf_blocks_after_look(struct hf_remote *remote);
void hf_blocks_cancel_all(struct hf_remote *remote);

/* remote_checkpoint.c */

void hf_checkpoint_settings(struct hf_remote *remote, const struct hf_remote_checkpoints *given);
/* Begins one if the rule says so. */
void hf_checkpoint_consider(struct hf_remote *remote, bool memory_is_short);
void hf_checkpoint_before_look(struct hf_remote *remote);
/* A look that began after it was answered shows no higher claim: it is in force. */
void hf_checkpoint_after_look(struct hf_remote *remote);
/* True if a look is due for it. */
bool hf_checkpoint_waits(const struct hf_remote *remote);
void hf_checkpoint_cancel(struct hf_remote *remote);

/* remote_clean.c */

/* A map object that no root needs will be deleted at the next hf_doom_start. */
void hf_doom(struct hf_remote *remote, const struct hf_object_id *id);
void hf_doom_start(struct hf_remote *remote);

/* remote_open.c, remote_chain.c, remote_map.c, remote_headers.c */

#define HF_OPENING_MAGIC 0x4f50454eu
#define HF_OPENING_GETS  8u /* headers being read at once */

struct hf_opening;

struct hf_header_get {
	struct hf_opening *opening;
	struct hf_object_id id;
	const struct hf_chain_link *link; /* NULL: the base's own run */
	struct hf_retry retry;
	bool busy, ready;
	struct hf_object_header header;
	struct hf_object object;
};

struct hf_opening {
	uint32_t magic;
	struct hf_remote_open *open;
	struct hf_remote *remote; /* becomes the owner's */
	struct hf_retry retry;    /* every operation but the GETs of headers */

	uint8_t keyring[HF_KEYRING_BYTES], claim_bytes[HF_CLAIM_BYTES];
	struct hf_claim own;
	char found[HF_STORE_NAME_MAX + 1]; /* beside a key ring that is missing */
	uint64_t newest_claim;             /* seen so far; 0: none */

	/* The base that is continued, or read; then what its own incarnation added. */
	struct hf_object_id candidate; /* incarnation that is asked for its base, counting down */
	bool has_base;
	struct hf_base base;
	uint64_t run; /* objects 1 … run of the base's own incarnation are there */

	/* The newest checkpoint: of the base's own incarnation, or the one it names. */
	struct hf_object_id map, *maps; /* being read; those that were listed, ascending */
	unsigned map_count, maps_left, map_tries;
	uint8_t *base_bytes;
	size_t base_length;

	/* Walking all counted objects in order: link `at_link` (link_count: the own run). */
	uint32_t at_link;
	uint64_t at_object;
	struct hf_header_get gets[HF_OPENING_GETS];
	unsigned first_get, get_count; /* a ring, in order of the objects */
	int header_status;
};

/* Zeroes the opening's operation and gives it to be filled. */
struct hf_store_io *hf_opening_io(struct hf_opening *opening, enum hf_store_op op);
/* Starts it. `done` gets the opening through hf_opening_of, which gives NULL when the opening has
 * just ended: because of a cancel, or of a status that is none of 0, HF_EEXIST, HF_ENOENT. */
void hf_opening_submit(struct hf_opening *opening, void (*done)(struct hf_retry *retry, int));
struct hf_opening *hf_opening_of(struct hf_retry *retry, int status);
/* Starts it once more, unconditionally: the store knows no conditional PUT. */
void hf_opening_resubmit_plain(struct hf_opening *opening);
/* Ends the opening with a failure: `message` of the open tells why; or with success. */
void hf_opening_fail(struct hf_opening *opening, int status);
void hf_opening_succeed(struct hf_opening *opening);

/* remote_chain.c: goes on where the own claim stands, or for a reader the newest one. */
void hf_opening_find_base(struct hf_opening *opening, uint64_t newest_start);
void hf_opening_seal(struct hf_opening *opening); /* after the headers */
/* remote_map.c: between the base and the run of its own objects */
void hf_opening_find_map(struct hf_opening *opening);
void hf_opening_list_run(struct hf_opening *opening); /* past what the checkpoint describes */
/* remote_headers.c */
void hf_opening_read_headers(struct hf_opening *opening);
void hf_opening_cancel_headers(struct hf_opening *opening);

#endif
