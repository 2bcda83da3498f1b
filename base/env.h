/* The environment: the one table through which the pure cores (cache/, the pure half of remote/,
 * the volume core) reach disk, object store, clock, randomness and worker threads.
 *
 * The cores are single-threaded and event-driven. Every operation is asynchronous: the caller owns
 * the operation's memory and everything it points to and leaves both alone until `done` is called;
 * `done` comes exactly once, on the core's thread, and never from inside the call that started the
 * operation. holdfast-volumed implements the table with threads, io_uring and curl
 * (gateway/volumed/env_*.c); the simulator in virtual time (tests/sim/). */
#ifndef HF_BASE_ENV_H
#define HF_BASE_ENV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/list.h"

struct hf_env;

/* ---- Time ------------------------------------------------------------------------------------ */

/* A one-shot timer, embedded in its owner. Zero it before first use. */
struct hf_timer {
	void (*fired)(struct hf_timer *timer);
	uint64_t due_ns; /* on the clock of now_ns; valid while armed */
	bool armed;
	struct hf_list link; /* the environment's */
	void *impl;          /* the environment's */
};

/* ---- Disks ----------------------------------------------------------------------------------- */

enum hf_disk_op { HF_DISK_READ, HF_DISK_WRITE, HF_DISK_SYNC };

#define HF_DISK_ALIGN   512u /* offsets, lengths and buffer addresses are multiples of this */
#define HF_DISK_IOV_MAX 1024u

/* One operation on disk `disk` (0 … disk_count - 1). A SYNC makes durable every write whose `done`
 * came before the SYNC was submitted (and maybe others). A WRITE with `sync` is the write and, if
 * that succeeded, a SYNC that covers it too: one operation, one `done`, which saves the hand-off
 * between the two. `written`, if set, is called when such a write has succeeded and its SYNC
 * begins, before `done`. Writes without a SYNC may be lost or torn at 512-byte boundaries in any
 * subset by a loss of power. Operations that overlap in time are unordered. `status` is 0 or
 * HF_EIO, HF_ENOSPC; a failed SYNC says nothing about any write since the last good one. Reading
 * past the end is HF_EINVAL. */
struct hf_disk_io {
	enum hf_disk_op op;
	unsigned disk;
	uint64_t offset;         /* bytes */
	const struct iovec *iov; /* 1 … HF_DISK_IOV_MAX, unused for SYNC */
	unsigned iov_count;
	bool sync;  /* WRITE: and a SYNC after it */
	bool wrote; /* WRITE with `sync`, out: the write succeeded, whatever became of the SYNC */
	int status;
	void (*done)(struct hf_disk_io *io);
	void (*written)(struct hf_disk_io *io); /* WRITE with `sync`; NULL: nobody asks */
	struct hf_list link, written_link;      /* the environment's until done */
};

/* ---- Object store ---------------------------------------------------------------------------- */

enum hf_store_op {
	HF_STORE_PUT,    /* whole object, atomic */
	HF_STORE_GET,    /* a byte range, or the whole object */
	HF_STORE_LIST,   /* names under a prefix, in byte order */
	HF_STORE_DELETE, /* absent is success */
};

#define HF_STORE_NAME_MAX 255u /* bytes, without the terminator; [A-Za-z0-9._-] and '/' */

struct hf_store_name {
	char name[HF_STORE_NAME_MAX + 1];
	uint64_t size_bytes;
};

/* One operation on the object store. Reads are strong: what a completed PUT wrote, a later GET and
 * LIST show. Statuses: 0; HF_EEXIST (conditional PUT of an existing name); HF_ENOENT (GET);
 * HF_EACCES, HF_EAUTH (credentials); HF_ETIMEDOUT, HF_ECONN, HF_EAGAIN (the store is away or busy;
 * transient ones were already retried until `deadline_ns`); HF_ENOSPC; HF_ETOOBIG; HF_EIO. After
 * a failed PUT or DELETE the effect is unknown. */
struct hf_store_io {
	enum hf_store_op op;
	char name[HF_STORE_NAME_MAX + 1]; /* object; LIST: the prefix */
	uint64_t deadline_ns;             /* on the clock of now_ns; 0: the store's own default */

	/* PUT */
	const void *data; /* caller's */
	size_t length;    /* bytes */
	bool if_absent;   /* create only: HF_EEXIST if the name exists */

	/* GET: `range_length` 0 means to the end. A range that starts at or past the end gives
	 * HF_ERANGE; one that ends past it is cut. */
	uint64_t range_start;
	size_t range_length;
	/* GET's answer: malloc'ed by the store, freed by the caller, also when `done` reports 0. */
	void *body;
	size_t body_length;

	/* LIST: names after `after` (exclusive, "" for the start), at most `limit` (0: 1000). The
	 * answer is malloc'ed by the store, freed by the caller. */
	char after[HF_STORE_NAME_MAX + 1];
	unsigned limit;
	struct hf_store_name *names;
	unsigned name_count;
	bool more; /* there are names past the last one given */

	int status;
	void (*done)(struct hf_store_io *io);
	struct hf_list link; /* the environment's until done */
	void *impl;          /* the environment's until done */
};

/* ---- Work ------------------------------------------------------------------------------------ */

/* A pure computation (encode, decode, compress): `run` on any thread, touching nothing but what
 * the job owns; then `done` on the core's thread. */
struct hf_work {
	void (*run)(struct hf_work *work);
	void (*done)(struct hf_work *work);
	struct hf_list link; /* the environment's until done */
	void *impl;          /* the environment's until done */
};

/* ---- The table ------------------------------------------------------------------------------- */

struct hf_env_ops {
	/* Monotonic nanoseconds; never 0. */
	uint64_t (*now_ns)(struct hf_env *env);
	/* Milliseconds since 1970, for people and for object headers; may jump. */
	uint64_t (*wall_ms)(struct hf_env *env);
	/* Cryptographically strong in volumed, seeded in the simulator. */
	void (*random)(struct hf_env *env, void *bytes, size_t length);
	/* Arms or re-arms; `fired` is called once at or after `due_ns`. */
	void (*timer_set)(struct hf_env *env, struct hf_timer *timer, uint64_t due_ns);
	/* Harmless on a timer that is not armed. */
	void (*timer_cancel)(struct hf_env *env, struct hf_timer *timer);
	void (*disk_submit)(struct hf_env *env, struct hf_disk_io *io);
	void (*store_submit)(struct hf_env *env, struct hf_store_io *io);
	void (*work_submit)(struct hf_env *env, struct hf_work *work);
};

#define HF_DISKS_MAX 16u

/* Disks may come and go while the environment is in use: a number whose size is 0 has no disk, and
 * operations on it end with HF_EINVAL. */
struct hf_env {
	const struct hf_env_ops *ops;
	unsigned disk_count; /* one above the highest number in use */
	uint64_t disk_size_bytes[HF_DISKS_MAX];
};

static inline uint64_t hf_env_now_ns(struct hf_env *env)
{
	return env->ops->now_ns(env);
}

static inline uint64_t hf_env_wall_ms(struct hf_env *env)
{
	return env->ops->wall_ms(env);
}

static inline void hf_env_random(struct hf_env *env, void *bytes, size_t length)
{
	env->ops->random(env, bytes, length);
}

static inline void hf_env_timer_set(struct hf_env *env, struct hf_timer *timer, uint64_t due_ns)
{
	env->ops->timer_set(env, timer, due_ns);
}

static inline void hf_env_timer_cancel(struct hf_env *env, struct hf_timer *timer)
{
	env->ops->timer_cancel(env, timer);
}

static inline void hf_env_disk_submit(struct hf_env *env, struct hf_disk_io *io)
{
	env->ops->disk_submit(env, io);
}

static inline void hf_env_store_submit(struct hf_env *env, struct hf_store_io *io)
{
	env->ops->store_submit(env, io);
}

static inline void hf_env_work_submit(struct hf_env *env, struct hf_work *work)
{
	env->ops->work_submit(env, work);
}

#define HF_NS_PER_MS 1000000ull
#define HF_NS_PER_S  1000000000ull

#endif
