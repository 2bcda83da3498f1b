/* What the files env_*.c share: the environment's parts and how a result comes back to the loop's
 * thread. Fields belong to the loop's thread unless a lock is named beside them. */
#ifndef HF_GATEWAY_VOLUMED_ENV_IMPL_H
#define HF_GATEWAY_VOLUMED_ENV_IMPL_H

#include <liburing.h>
#include <pthread.h>

#include "gateway/volumed/env_uv.h"
#include "base/assert.h"

#define HF_ENV_DISKS_MAX   HF_DISKS_MAX
#define HF_ENV_WORKERS_MAX 8u
#define HF_ENV_URING_MAX   256u /* in io_uring at once, all disks; more wait in a list */

struct hf_env_uv;

/* Starts a thread that takes no signals and shows `name` (at most 15 characters). 0 or HF_E…. */
int hf_env_thread_start(pthread_t *thread, const char *name, void *(*run)(void *), void *argument);

/* The calling thread does little each time it wakes, and others wait for it. */
void hf_env_thread_is_hasty(void);

/* ---- Results on their way to the loop's thread ---- */

enum hf_env_arrival {
	HF_ARRIVAL_WRITTEN, /* a write whose sync is under way; before what is done */
	HF_ARRIVAL_DISK,    /* link of a hf_disk_io whose status is set */
	HF_ARRIVAL_WORK,
	HF_ARRIVAL_STORE, /* link of a hf_env_store_call */
	HF_ARRIVAL_STORE_CHANGE,
	HF_ARRIVAL_KINDS,
};

/* Any thread: hands the link over; its `done` is called on the loop's thread. */
void hf_env_arrive(struct hf_env_uv *env, enum hf_env_arrival kind, struct hf_list *link);
/* Any thread: makes the loop's thread look whether closing can go on. */
void hf_env_wake(struct hf_env_uv *env);
/* The loop's thread: an operation begins, ends. Between the two the environment cannot close. */
void hf_env_began(struct hf_env_uv *env);
void hf_env_ended(struct hf_env_uv *env);
/* The loop's thread, after a callback that ended operations: closing may go on. */
void hf_env_advance_close(struct hf_env_uv *env);
/* uv_close() that the environment waits for. */
void hf_env_close_handle(struct hf_env_uv *env, uv_handle_t *handle);

/* ---- Timers (env_timer.c) ---- */

struct hf_env_timers {
	bool open;
	int fd; /* timerfd */
	uv_poll_t poll;
	uv_prepare_t prepare;
	uint64_t armed_ns;      /* what fd is set to, UINT64_MAX if it has fired */
	struct hf_timer **heap; /* by due_ns; a timer's impl is its index */
	size_t count, capacity;
	struct hf_list expired; /* due, about to fire in this turn of the loop */
};

int hf_env_timers_init(struct hf_env_uv *env, struct hf_errmsg *message);
void hf_env_timers_disarm(struct hf_env_uv *env); /* none fires any more */
void hf_env_timers_stop(struct hf_env_uv *env);
void hf_env_timers_free(struct hf_env_uv *env); /* the handle is closed */
void hf_env_timer_set_uv(struct hf_env *table, struct hf_timer *timer, uint64_t due_ns);
void hf_env_timer_cancel_uv(struct hf_env *table, struct hf_timer *timer);

/* ---- Disks: writes (env_disk.c) and reads (env_uring.c) ---- */

struct hf_env_committer {
	struct hf_env_uv *env;
	pthread_t thread;
	bool started;
	int fd;
	unsigned number;
	pthread_mutex_t lock;
	pthread_cond_t filled;              /* lock */
	struct hf_list queue;               /* lock: hf_disk_io in order of submission */
	bool stop;                          /* lock */
	uint64_t complained_ns;             /* the thread's: when it last logged an error */
	struct iovec rest[HF_DISK_IOV_MAX]; /* the thread's: what a short write left */
};

int hf_env_committer_start(struct hf_env_committer *committer, struct hf_env_uv *env,
			   unsigned number, int fd);
void hf_env_committer_join(struct hf_env_committer *committer); /* its queue is empty */
void hf_env_disk_submit_uv(struct hf_env *table, struct hf_disk_io *io);
/* What is left of `io` after `done_bytes`, as a vector in `rest`; returns its length. */
unsigned hf_env_iov_rest(const struct hf_disk_io *io, uint64_t done_bytes, struct iovec *rest);

struct hf_env_uring_slot {
	struct hf_disk_io *io;
	uint64_t total_bytes, done_bytes;
	struct iovec *rest; /* malloc'ed after a short read */
	struct hf_env_uring_slot *next_free;
};

struct hf_env_uring {
	bool ring_open, handles_open;
	struct io_uring ring;
	int event_fd;
	uv_poll_t poll;       /* of event_fd: completions are there */
	uv_prepare_t prepare; /* submits what the callbacks of this turn of the loop queued */
	uv_timer_t retry;     /* the kernel did not take the submissions; once more in 1 ms */
	struct hf_env_uring_slot slots[HF_ENV_URING_MAX];
	struct hf_env_uring_slot *free;
	struct hf_list waiting; /* hf_disk_io without a slot */
	uint64_t complained_ns; /* when a failed write was last logged */
};

int hf_env_uring_start(struct hf_env_uv *env, struct hf_errmsg *message);
void hf_env_uring_stop(struct hf_env_uv *env); /* nothing is under way */
void hf_env_uring_free(struct hf_env_uv *env); /* its handles are closed */
void hf_env_uring_submit(struct hf_env_uv *env, struct hf_disk_io *io);

/* ---- Work (env_work.c) ---- */

struct hf_env_workers {
	unsigned count;
	pthread_t threads[HF_ENV_WORKERS_MAX];
	pthread_mutex_t lock;
	pthread_cond_t filled; /* lock */
	struct hf_list queue;  /* lock: hf_work */
	bool stop;             /* lock */
};

int hf_env_workers_start(struct hf_env_uv *env, unsigned count);
void hf_env_workers_join(struct hf_env_uv *env); /* the queue is empty */
void hf_env_work_submit_uv(struct hf_env *table, struct hf_work *work);

/* ---- Store (env_store.c) ---- */

struct hf_env_store_call; /* a copy of the caller's hf_store_io on its way */

struct hf_env_store {
	struct hf_env_uv *env;
	pthread_t thread;
	bool started;
	uv_loop_t loop;
	uv_async_t wake;
	pthread_mutex_t lock;
	struct hf_list calls, changes; /* lock */
	bool stop;                     /* lock */
	bool stopped;                  /* environment's arrivals lock: the thread is ending */

	/* the store's thread */
	bool stopping;
	struct hf_store *current; /* NULL: none yet */
	char *url, *region, *ca_file;
	struct hf_list parked; /* calls that wait for a store */
	uv_timer_t parked_timer;
	unsigned stores_closing;
};

int hf_env_store_start(struct hf_env_uv *env);
void hf_env_store_join(struct hf_env_uv *env);
void hf_env_store_submit_uv(struct hf_env *table, struct hf_store_io *io);
void hf_env_store_call_arrived(struct hf_list *link); /* copies the answer, calls done */

/* ---- All of it ---- */

#define HF_ENV_MAGIC 0x48464556u

struct hf_env_uv {
	uint32_t magic;
	struct hf_env table;
	uv_loop_t *loop;
	uv_async_t wake;
	uint64_t under_way; /* operations whose done has not come */
	unsigned handles;   /* libuv's, open or closing */
	bool closing, store_closing, joined;
	void (*closed)(void *context);
	void *closed_context;

	pthread_mutex_t arrivals_lock;
	struct hf_list arrivals[HF_ARRIVAL_KINDS]; /* arrivals_lock */

	struct hf_env_timers timers;
	struct hf_env_committer *committers; /* HF_DISKS_MAX */
	struct hf_env_uring uring;
	struct hf_env_workers workers;
	struct hf_env_store store;
};

static inline struct hf_env_uv *hf_env_uv_of(struct hf_env *table)
{
	struct hf_env_uv *env = hf_container_of(table, struct hf_env_uv, table);

	HF_CHECK_MAGIC(env, HF_ENV_MAGIC);
	return env;
}

#endif
