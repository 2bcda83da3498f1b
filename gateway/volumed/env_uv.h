/* The real environment (base/env.h) on a libuv loop: the core's thread is the loop's thread.
 *
 *   WRITE, SYNC  one committer thread a disk: pwritev and fdatasync, in order of submission
 *   READ         io_uring on the loop's thread, completions through an eventfd
 *   store        a thread with a loop of its own that runs remote/store.h, so that TLS and
 *                signing never delay the ring
 *   work         a few threads
 *   timers       a heap on the loop's thread beneath one timerfd
 *
 * Results come back to the loop's thread through one uv_async. now_ns is uv_hrtime(), which is
 * CLOCK_MONOTONIC. Used by holdfast-volumed and, without disks, by `holdfast-gateway export`. */
#ifndef HF_GATEWAY_VOLUMED_ENV_UV_H
#define HF_GATEWAY_VOLUMED_ENV_UV_H

#include <uv.h>

#include "base/env.h"
#include "base/err.h"
#include "remote/store.h"

struct hf_env_uv;

struct hf_env_uv_disk {
	int fd;              /* open for reading and writing with O_DIRECT; stays the caller's */
	uint64_t size_bytes; /* of the log file or device */
};

struct hf_env_uv_config {
	uv_loop_t *loop;
	const struct hf_env_uv_disk *disks; /* copied */
	unsigned disk_count;                /* 0 … 16; 0: every disk operation is HF_EINVAL */
	unsigned workers;                   /* threads for work; 0: one a processor, 1 … 8 */
};

/* Starts the threads. 0, or HF_EUNSUPPORTED (io_uring is not permitted here, or the disk cannot be
 * read in units of 512 bytes), HF_ENOMEM, HF_EIO with the reason in `message`; then the loop must
 * run once more to close what was opened. Call on the loop's thread. */
int hf_env_uv_open(const struct hf_env_uv_config *config, struct hf_env_uv **env,
		   struct hf_errmsg *message);

/* The table to give to the cores; valid until closed. */
struct hf_env *hf_env_uv_table(struct hf_env_uv *env);

/* A disk more while it runs: the lowest number without one, in `number`. 0 or as above. The
 * environment was opened with a disk. */
int hf_env_uv_add_disk(struct hf_env_uv *env, const struct hf_env_uv_disk *disk, unsigned *number,
		       struct hf_errmsg *message);
/* Nothing of it is under way. The descriptor stays the caller's. */
void hf_env_uv_remove_disk(struct hf_env_uv *env, unsigned number);

/* Which object store to use from now on. Caller's memory, with the strings of `config`, until
 * done. On failure (see hf_store_open) the store before stays in use. A change of nothing but
 * credentials lets operations under way end with the old ones; any other change ends them with
 * HF_EAGAIN. Until a store is set for the first time, operations wait for one and end with
 * HF_ECONN at their deadline (60 s without one). */
struct hf_env_uv_store_change {
	struct hf_store_config config;
	int status;
	struct hf_errmsg message;
	void (*done)(struct hf_env_uv_store_change *change); /* exactly once, later */
	void *owner;
	struct hf_list link; /* the environment's until done */
};
void hf_env_uv_set_store(struct hf_env_uv *env, struct hf_env_uv_store_change *change);

/* Ends store operations, and those submitted from now on, with HF_ECANCELED, while everything else
 * goes on: the core's own closing waits for its store operations, which might be long. */
void hf_env_uv_close_store(struct hf_env_uv *env);

/* Disarms timers; lets disk operations and work end; ends store operations, and whatever is
 * submitted from now on, with HF_ECANCELED; joins the threads; then `closed`, after which `env` is
 * gone. Every `done` has come before. */
void hf_env_uv_close(struct hf_env_uv *env, void (*closed)(void *context), void *context);

#endif
