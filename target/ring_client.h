/* SPDX-License-Identifier: GPL-2.0-only
 * Part of the Holdfast backing store, which tgtd loads; see docs/LICENSING.md. */
/* The shim's end of the ring, without anything of tgt: takes requests for volumes, gives them to
 * holdfast-volumed through shared memory, and answers each exactly once, also across volumed's
 * death and return.
 *
 *   waiting ──▶ flying ──completion──▶ done
 *      │  ▲        │ connection ended
 *      │  └─resubmit◀┘
 *      └──────────┴──deadline──▶ done, HF_ETIMEDOUT, never submitted (again)
 *
 * A flying request is answered by volumed alone; its deadline becomes a CANCEL. When the connection
 * has ended volumed can execute nothing of it any more, so what waits may be answered at its
 * deadline (docs/protocol/ring.md, "Once" and "No zombies").
 *
 * One thread: the caller's loop. Nothing here blocks. */
#ifndef HF_TARGET_RING_CLIENT_H
#define HF_TARGET_RING_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "cache/ring_layout.h"

#define HF_SHIM_REQUESTS_MAX     4096u                                   /* of all LUNs */
#define HF_SHIM_LUN_REQUESTS_MAX 1024u                                   /* of one */
#define HF_SHIM_LUN_PAGES_MAX    (HF_RING_DATA_BYTES / HF_RING_PAGE / 4) /* quota of one */
#define HF_SHIM_DEADLINE_MS      25000u

struct hf_shim;
struct hf_shim_lun;

/* The loop that drives it: level-triggered, `events` are epoll's. */
struct hf_shim_loop {
	int (*watch)(int fd, int events, void (*ready)(int fd, int events, void *data), void *data);
	void (*unwatch)(int fd);
	/* Calls hf_shim_flush once, soon, from the loop. */
	void (*soon)(struct hf_shim *shim);
	uint64_t (*now_ms)(void);
};

struct hf_shim_request {
	/* The caller's, set before the submission. */
	enum hf_op op;
	uint32_t flags;       /* HF_REQUEST_… */
	uint64_t offset;      /* bytes */
	uint64_t length;      /* bytes */
	uint32_t data_length; /* bytes of payload, in or out */
	/* Writes the payload; called each time the request is placed in a ring. NULL: none. */
	void (*fill)(struct hf_shim_request *request, void *slot);
	/* Reads the payload after success; may turn it into a failure. NULL: none. */
	void (*take)(struct hf_shim_request *request, const void *slot);
	/* Exactly once, never from inside hf_shim_submit; the request is the pool's afterwards. */
	void (*done)(struct hf_shim_request *request);
	void *owner;
	/* The answer. */
	int status;
	uint32_t data_given;
	uint64_t info;
	/* The shim's. */
	uint32_t magic;
	uint8_t state;
	bool expired, cancel_sent;
	struct hf_shim_lun *lun;
	uint64_t id; /* 0 until it was placed in a ring for the first time */
	uint64_t since_ms;
	uint32_t first_page, page_count;
	struct hf_list queue;    /* pool, or one of the LUN's */
	struct hf_list numbered; /* every unfinished one with an id, in order */
	struct hf_list bucket;
	struct hf_list aged; /* every unfinished one, oldest first */
};

struct hf_shim_config {
	const struct hf_shim_loop *loop;
	const char *socket; /* copied */
	uint32_t deadline_ms;
};

/* Makes the ring's name and its pool; connects when there is a LUN. 0 or a negative HF_E…. */
int hf_shim_open(const struct hf_shim_config *config, struct hf_shim **shim);
/* For tests: gives everything up without a word to anybody, as a death of tgtd would. */
void hf_shim_abandon(struct hf_shim *shim);

/* A volume to be bound, now or when volumed is there. `changed` tells its size and HF_VOLUME_… each
 * time volumed does. HF_EEXIST if this ring has it already, HF_ENOMEM beyond HF_RING_VOLUMES_MAX.
 */
int hf_shim_lun_open(struct hf_shim *shim, uint64_t volume,
		     void (*changed)(void *owner, uint64_t size_bytes, uint32_t flags), void *owner,
		     struct hf_shim_lun **lun);
/* Takes no more requests and calls `changed` no more; what is under way is still answered, and only
 * then can the volume be opened again. */
void hf_shim_lun_close(struct hf_shim_lun *lun);

/* A request from the pool, zeroed; NULL: the LUN has all it may have (BUSY or TASK SET FULL). */
struct hf_shim_request *hf_shim_request_get(struct hf_shim_lun *lun);
void hf_shim_submit(struct hf_shim_request *request);
/* Reads from the session's memory tier, at once; false: it is not there, and what `to` holds is
 * nothing. Overtakes what is under way, as SIMPLE tasks may. Bytes, multiples of 8. */
bool hf_shim_read_inline(const struct hf_shim_lun *lun, uint64_t offset, uint64_t length, void *to);
/* A flush would have nothing to do: all that was answered of the LUN is durable. volumed takes this
 * for the flush that it stands for, so it is asked for no other reason. */
bool hf_shim_flush_inline(struct hf_shim_lun *lun);
/* Is there an unfinished request of the LUN for which `is` holds? */
bool hf_shim_lun_any(struct hf_shim_lun *lun,
		     bool (*is)(const struct hf_shim_request *request, void *context),
		     void *context);

/* Shows what was placed to volumed: one store and one wake for all of it. */
void hf_shim_flush(struct hf_shim *shim);

#endif
