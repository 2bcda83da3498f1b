/* The remote side of one volume: its claims, sealed bases, objects and map in the object store.
 * Pure: everything goes through `env`; runs on the core's thread. Linked into volumed, the
 * simulator, and `holdfast-gateway export`, which reads a volume with no gateway running.
 *
 * Names in the store (docs/format/objects.md): TENANT/VOLUME/keyring, TENANT/VOLUME/claims/N,
 * TENANT/VOLUME/EPOCH.START/base, TENANT/VOLUME/EPOCH.START/SEQUENCE, and TENANT/VOLUME/tombstone
 * while a volume is being deleted. START is the number of the claim, so it counts up over all
 * holders. The incarnation that holds the highest claim with a base is the volume; its base says
 * which objects of which earlier incarnations came before. */
#ifndef HF_REMOTE_REMOTE_H
#define HF_REMOTE_REMOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/extmap.h"
#include "base/read_cache.h"

struct hf_remote;

/* Memory for maps, shared likewise: leaves that can be dropped, and headers of objects. NULL when
 * out of memory. */
struct hf_remote_maps;
struct hf_remote_maps *hf_remote_maps_create(uint64_t limit_bytes);
void hf_remote_maps_destroy(struct hf_remote_maps *maps);

/* Bounds of one object; an upload within them always encodes. */
#define HF_OBJECT_PAYLOAD_MAX (64u << 20) /* bytes */
#define HF_OBJECT_EXTENTS_MAX 65536u

/* When a checkpoint of the map is written: so many counted objects after the last one, or so many
 * bytes of their headers, or so long after the first of them; but never more often than at the
 * interval, except when it is asked for. 0: 256, 16 MiB, 10 minutes, 10 seconds. */
struct hf_remote_checkpoints {
	uint64_t objects, header_bytes, age_ms, interval_ms;
};

/* Opens a volume's remote side. With `claim`: creates the next claim (If-None-Match), then lists,
 * reads headers and builds the map, then writes the sealed base; fails with HF_EFENCED if a higher
 * claim or a higher attach epoch shows up. Without: read-only, no object is written.
 * Other failures, all with the place in `message`: HF_ENOENT (no such volume, or it is being
 * deleted), HF_EAUTH (the key does not open the key ring), HF_ECORRUPT (names the object),
 * HF_EINVAL (the volume is larger than `size_bytes`), HF_ETIMEDOUT past `deadline_ns`, HF_EACCES
 * (the store refuses the credentials; only with a deadline, else retried), HF_ENOMEM. `open` and
 * what it holds belong to the caller, who leaves it alone until `opened`. */
struct hf_remote_open {
	struct hf_env *env;
	uint64_t tenant, volume;
	uint8_t wrap_key[32];  /* unwraps the key ring */
	uint64_t attach_epoch; /* claim only */
	/* Claim: recorded in the base, 0 for what is recorded already; read-only: filled from it.
	 */
	uint64_t size_bytes;
	bool claim;
	bool create;             /* make the key ring if absent (a volume that never was) */
	uint64_t deadline_ns;    /* for the whole opening; 0: none, store errors are retried */
	uint64_t claims_look_ms; /* 0: 2000 */
	struct hf_remote_checkpoints checkpoints;
	/* Build the map from the headers of all objects: no checkpoint is used. Done by itself when
	 * the newest one is damaged; then `map_damaged` is set, and `message` says which. */
	bool rebuild_map;
	bool map_damaged;            /* out */
	uint64_t headers_read;       /* out: objects that were not in the checkpoint */
	struct hf_read_cache *cache; /* keeps fetched chunks; NULL: nobody does */
	struct hf_remote_maps *maps; /* NULL: one of its own, of 256 MiB */
	/* Called in sequence order: the store now counts everything up to `recovery_point`
	 * (a volume sequence). May be NULL when not claiming. */
	void (*advanced)(void *context, uint64_t recovery_point);
	/* A higher claim was seen: nothing of ours counts any more. */
	void (*fenced)(void *context);
	void *context;
	struct hf_remote *remote; /* out; NULL on failure */
	int status;
	struct hf_errmsg message;
	void (*opened)(struct hf_remote_open *open);
	void *impl;
	struct hf_timer timer; /* private; zero */
};
void hf_remote_open_start(struct hf_remote_open *open);
/* Abandons an opening; `opened` still comes, with HF_ECANCELED. */
void hf_remote_open_cancel(struct hf_remote_open *open);

/* What the store held when it was opened, then what counted since. */
uint64_t hf_remote_recovery_point(const struct hf_remote *remote);
uint64_t hf_remote_start(const struct hf_remote *remote);
uint64_t hf_remote_size_bytes(const struct hf_remote *remote);
bool hf_remote_is_fenced(const struct hf_remote *remote);
/* The volume grew: objects from now on record the new size. Never smaller than before. */
void hf_remote_set_size(struct hf_remote *remote, uint64_t size_bytes);
/* The last trouble with the store that is still being retried (HF_ECONN, HF_EACCES …), 0 if the
 * last operation that ended was answered. For people, and for `store_reachable`. */
int hf_remote_trouble(const struct hf_remote *remote);
/* Counted objects, and the bytes they take in the store. An object's index is below the count. */
uint64_t hf_remote_object_count(const struct hf_remote *remote);
uint64_t hf_remote_stored_bytes(const struct hf_remote *remote);
/* True if every counted object that ends past the volume sequence `after` was written under one of
 * these two attach epochs. */
bool hf_remote_written_under(const struct hf_remote *remote, uint64_t after, uint64_t epoch,
			     uint64_t other_epoch);
/* Name in the store of an object of the map; `name` holds HF_STORE_NAME_MAX + 1 bytes. */
void hf_remote_object_name(const struct hf_remote *remote, uint64_t index, char *name);
/* The map: extents whose place is {index of the object, unit in its payload}. Only counted
 * objects are in it; what reads as zeros is not. Leaves may be absent: callers use hf_extmap_look.
 */
const struct hf_extmap *hf_remote_map(const struct hf_remote *remote);

/* Brings the leaves of the map that the range touches into memory. They may go again at any later
 * turn of the loop, so the caller looks again, and again loads if it must, a bounded number of
 * times. Ask for little: what hf_extmap_look named. `load` is the caller's until done, which comes
 * once, never from inside the call. Statuses: 0; HF_ECORRUPT (a checkpoint is damaged: see
 * hf_remote_map_damaged), HF_ETIMEDOUT past `deadline_ns`, HF_EFENCED, HF_ECANCELED, HF_ENOMEM. */
struct hf_remote_load {
	uint64_t lba, length; /* units */
	uint64_t deadline_ns; /* 0: none */
	int status;
	void (*done)(struct hf_remote_load *load);
	void *owner;
	struct hf_list link;
	void *impl;
};
void hf_remote_load(struct hf_remote *remote, struct hf_remote_load *load);
/* The checkpoint (its name) of which a part is damaged or missing; NULL if there is none. What is
 * absent stays so; opening once more with `rebuild_map` has it all. */
const char *hf_remote_map_damaged(const struct hf_remote *remote);

/* Asks for a checkpoint of everything that counts now. `ask` is the caller's until done, which
 * comes once, never from inside the call: 0 (in force, or nothing was new), HF_ETIMEDOUT,
 * HF_EFENCED, HF_ECANCELED, HF_ECORRUPT, HF_ENOMEM or what else kept it from being written. */
struct hf_remote_checkpoint {
	uint64_t deadline_ns; /* 0: none */
	int status;
	void (*done)(struct hf_remote_checkpoint *ask);
	void *owner;
	struct hf_list link;
	uint64_t objects;      /* private */
	struct hf_timer timer; /* private */
};
void hf_remote_checkpoint(struct hf_remote *remote, struct hf_remote_checkpoint *ask);
/* Since it was opened. */
uint64_t hf_remote_checkpoints_written(const struct hf_remote *remote);

/* One extent of an object, in ascending LBA order, none overlapping: later writes of the same
 * object have been merged into earlier ones already. */
struct hf_object_extent {
	uint64_t lba, length; /* units of 512 bytes */
	enum hf_extent_kind kind;
	uint64_t payload_unit; /* DATA: where its bytes begin in the payload, in units */
};

/* Uploads the next object: volume sequences first … last, contiguous with the upload before it in
 * order of calls (first of the very first is the recovery point + 1). Several may be under way.
 * `payload` and `extents` are the caller's until done. Encoding runs as env work. Done (status 0)
 * when the PUT was answered, which is not yet counted: see `advanced`. Store errors are retried
 * for ever with back-off; statuses: 0, HF_EFENCED, HF_ECANCELED (closing), HF_ECORRUPT (an object
 * of that name with other content exists). */
struct hf_remote_upload {
	uint64_t first_sequence, last_sequence;
	const struct hf_object_extent *extents;
	unsigned extent_count;
	const void *payload;
	size_t payload_bytes;         /* multiple of 512 */
	uint64_t log_first, log_last; /* batches of the log that it came from; 0: not told */
	int status;
	uint64_t stored_bytes; /* size of the object */
	void (*done)(struct hf_remote_upload *upload);
	void *owner;
	struct hf_list link;
	void *impl;
};
void hf_remote_upload(struct hf_remote *remote, struct hf_remote_upload *upload);

/* Asks for a look at the claims now (detach wants its last PUT counted at once). Looks also come by
 * themselves: every `claims_look_ms` while something waits to be counted, every 15 times that when
 * idle. */
void hf_remote_look(struct hf_remote *remote);

/* Reads `length` units at `place` of an object (one extent of the map). `buffer` is the caller's.
 * What the cache has not is fetched in whole chunks, at least 64 KiB, and given to it. Statuses: 0,
 * HF_ECORRUPT (names the object in the journal), HF_ETIMEDOUT past `deadline_ns`, HF_ENOENT. */
struct hf_remote_read {
	struct hf_place place;
	uint64_t length;
	void *buffer;
	uint64_t deadline_ns;
	int status;
	uint64_t fetched_bytes; /* from the store, 0 for a hit */
	void (*done)(struct hf_remote_read *read);
	void *owner;
	struct hf_list link;
	void *impl;
};
void hf_remote_read(struct hf_remote *remote, struct hf_remote_read *read);

/* Ends everything under way with HF_ECANCELED, then `closed`, which comes when the store operations
 * under way have ended (a store that is being closed ends them at once). No callback of `advanced`
 * or `fenced` comes after this call. */
void hf_remote_close(struct hf_remote *remote, void (*closed)(void *context), void *context);

/* Writes a tombstone, which makes every later opening fail, then deletes a volume's objects, bases,
 * claims, key ring and at last the tombstone: a deletion that was cut short can be told from a
 * volume and be run again. Needs no key. A holder that is still up finds its claim gone and is
 * fenced. Store errors are retried until `deadline_ns` (0: for ever). A volume that is not there is
 * success. */
struct hf_remote_delete {
	struct hf_env *env;
	uint64_t tenant, volume;
	uint64_t deadline_ns;
	uint64_t deleted_objects;
	int status;
	void (*done)(struct hf_remote_delete *deletion);
	void *impl;
	struct hf_timer timer; /* private; zero */
};
void hf_remote_delete_start(struct hf_remote_delete *deletion);

#endif
