/* What the files of the ring's host share: ring_host.c (listening, which ring holds which volume),
 * ring_host_session.c (one shim's connection and messages), ring_host_requests.c (descriptors and
 * completions), ring_host_memory.c (every load and store in the shared memory), ring_host_tier.c
 * (the memory tiers).
 *
 * A session is one connection with one piece of shared memory. A ring (its uuid) lives as long as
 * its tgtd and may have several sessions, one after the other. */
#ifndef HF_GATEWAY_VOLUMED_RING_HOST_IMPL_H
#define HF_GATEWAY_VOLUMED_RING_HOST_IMPL_H

#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/list.h"
#include "cache/ring_layout.h"
#include "gateway/volumed/core.h"
#include "gateway/volumed/ring_host.h"

#define HF_RING_SESSIONS_MAX      32u   /* connections, with and without a ring */
#define HF_RING_TGTD_SESSIONS_MAX 4u    /* of one tgtd, those that drain too */
#define HF_RING_DRAINS_MAX        16u   /* beyond those, while others end */
#define HF_RING_OWED_MAX          1024u /* messages that a shim has not taken yet */
#define HF_RING_BUCKETS           1024u

/* ---- Memory ---------------------------------------------------------------------------------- */

/* The mapping and volumed's own copy of its indices: what it wrote itself is never read back. */
struct hf_ring_memory {
	uint8_t *base;
	uint64_t submit_head, complete_tail;
	uint64_t complete_head; /* the shim's, as it was last seen */
	uint64_t quiet_through;
	int wake_fd;             /* the shim's wake-up of us */
	struct io_uring wake_up; /* signals the shim's eventfd, see hf_ring_memory_wake */
	bool wake_ready;
};

/* Takes the three descriptors of HELLO (closes them on failure, and what it needs not). Refuses
 * memory that could shrink or has another size, and a header of another version. */
int hf_ring_memory_open(struct hf_ring_memory *memory, const int fds[3], const uint8_t uuid[16],
			struct hf_errmsg *message);
void hf_ring_memory_close(struct hf_ring_memory *memory);

/* Empties the wake-up's counter; never blocks. False: it is no eventfd. */
bool hf_ring_memory_woken(struct hf_ring_memory *memory);
/* Number of descriptors to take, or HF_EPROTO if the tail is impossible. */
int hf_ring_memory_submitted(const struct hf_ring_memory *memory);
/* Copies the next descriptor, once. */
void hf_ring_memory_take(struct hf_ring_memory *memory, struct hf_ring_submission *submission);
/* Tells the shim that the descriptors taken are free. */
void hf_ring_memory_taken(struct hf_ring_memory *memory);
uint64_t hf_ring_memory_oldest(const struct hf_ring_memory *memory);
/* HF_EPROTO if the shim's head is impossible or leaves no place for another completion. */
int hf_ring_memory_check_room(struct hf_ring_memory *memory);
void hf_ring_memory_place(struct hf_ring_memory *memory,
			  const struct hf_ring_completion *completion);
/* Which wakes the shim may leave out from now on: those for WRITEs that keep its tail at or below
 * `quiet_through`. True if it has submitted something that was not taken yet, maybe because of what
 * it was told before: then there may be no wake for it. */
bool hf_ring_memory_be_quiet(struct hf_ring_memory *memory, uint64_t quiet_through);
/* Shows the completions placed to the shim. */
void hf_ring_memory_publish(struct hf_ring_memory *memory);
void hf_ring_memory_wake(struct hf_ring_memory *memory);
void *hf_ring_memory_data(const struct hf_ring_memory *memory, uint32_t page);
/* Says whether all that was answered of the handle is durable. "Not any more" comes before the
 * completion that makes it so is published. */
void hf_ring_memory_set_durable(struct hf_ring_memory *memory, uint32_t handle, bool durable);
/* What the shim says of its reads from the memory tier. */
uint64_t hf_ring_memory_tier_hits(const struct hf_ring_memory *memory, uint32_t handle);

/* ---- Session --------------------------------------------------------------------------------- */

enum hf_ring_session_state {
	HF_RING_GREETING = 1, /* connected, no HELLO yet */
	HF_RING_SERVING,
	HF_RING_DRAINING, /* lost or dropped: nothing new, waits for the core */
	HF_RING_CLOSING,  /* holds nothing any more, waits for libuv */
};

enum hf_ring_binding_state {
	HF_RING_UNUSED = 0,
	HF_RING_WAITING, /* asked for: the volume is unknown, or another ring holds it */
	HF_RING_HELD,    /* BOUND was sent */
};

struct hf_ring_binding {
	enum hf_ring_binding_state state;
	struct hf_list held; /* of the host, by volume; while HELD */
	uint64_t volume;
	uint64_t last_id;      /* of this session */
	unsigned under_way;    /* in the core */
	bool changed;          /* CHANGED is owed */
	bool durable;          /* as the shim was told */
	struct hf_list unsure; /* of the session: it may have become durable */
};

struct hf_ring_session;

struct hf_ring_request {
	struct hf_request core;
	uint32_t magic;
	bool busy;
	uint32_t handle;
	uint64_t tier_moment; /* READ: when it was taken, as the tier counts */
	struct hf_ring_session *session;
	struct hf_list link;    /* free, or a bucket, or the cancels of another */
	struct hf_list cancels; /* CANCELs that end after this one */
};

struct hf_ring_session {
	uint32_t magic;
	enum hf_ring_session_state state;
	struct hf_ring_host *host;
	struct hf_list link; /* the host's */
	int socket;
	uv_poll_t socket_poll, wake_poll;
	unsigned handles_open; /* libuv's, until their close callbacks */
	pid_t pid;
	int tgtd; /* number, or HF_RING_TRUSTED */
	uint8_t uuid[16];
	struct hf_ring_memory memory;
	struct hf_ring_tier *tier; /* NULL: none */
	struct hf_ring_binding bindings[HF_RING_VOLUMES_MAX];
	struct hf_ring_request *requests; /* HF_RING_ENTRIES */
	struct hf_list free_requests;
	struct hf_list buckets[HF_RING_BUCKETS]; /* in the core, by id */
	struct hf_list unsure;                   /* bindings */
	unsigned under_way;                      /* in the core */
	uint64_t payload_pages;                  /* of those; each has pages of its own */
	uint64_t oldest_unfinished;
	bool wake_owed;  /* completions were placed since the last wake */
	bool cancelling; /* inside hf_ring_requests_cancel */
	struct hf_ring_message *owed;
	unsigned owed_first, owed_count;
};

#define HF_RING_SESSION_MAGIC 0x72736573u
#define HF_RING_REQUEST_MAGIC 0x72726571u

/* ring_host_session.c */
#define HF_RING_TRUSTED (-1) /* root's or our own */
int hf_ring_session_accept(struct hf_ring_host *host, int socket, pid_t pid, int tgtd);
/* Sends what changed: BOUND and CHANGED messages. */
void hf_ring_session_tell_changes(struct hf_ring_session *session);
void hf_ring_session_bound(struct hf_ring_session *session, uint32_t handle,
			   const struct hf_volume_status *status);
/* Ends a session from our side: drains, then hangs up. */
void hf_ring_session_drop(struct hf_ring_session *session, const char *reason);
/* Called by ring_host_requests.c when the last request of a draining session has ended. */
void hf_ring_session_drained(struct hf_ring_session *session);

/* ring_host_requests.c */
int hf_ring_requests_open(struct hf_ring_session *session);
void hf_ring_requests_close(struct hf_ring_session *session);
/* Takes every descriptor that is there. */
void hf_ring_requests_take(struct hf_ring_session *session);
/* Before the loop sleeps: says which wakes the shim may leave out. True: do not sleep, there is
 * something to take. */
bool hf_ring_requests_be_quiet(struct hf_ring_session *session);
/* Asks the core to cancel everything. */
void hf_ring_requests_cancel(struct hf_ring_session *session);
/* A volume's state changed, or it was bound: a flush is volumed's to answer. */
void hf_ring_requests_unsure(struct hf_ring_session *session, uint32_t handle);
/* Tells the shim which volumes have become durable. */
void hf_ring_requests_look(struct hf_ring_session *session);
/* Wakes the shim if completions were placed since the last time. */
void hf_ring_requests_wake(struct hf_ring_session *session);

/* ring_host_keep.c */
/* KEEP, which is under way like a request of the core: `request->core.done` ends it. */
void hf_ring_keep(struct hf_ring_session *session, struct hf_ring_request *request);
/* RECALL: answers at once, with a status and the bytes written to the payload. */
int hf_ring_recall(struct hf_ring_session *session, const struct hf_ring_submission *submission,
		   uint32_t *given);

/* ring_host_tier.c */
struct hf_ring_tiers *hf_ring_tiers_create(uint64_t bytes, unsigned rings);
/* No session has one any more. */
void hf_ring_tiers_destroy(struct hf_ring_tiers *tiers);
/* After WELCOME: makes the session's tier and sends it, if there is one for it. */
void hf_ring_tier_open(struct hf_ring_session *session);
/* The session takes no descriptors any more: nothing of it can be found in the tier from here on.
 */
void hf_ring_tier_close(struct hf_ring_session *session);
void hf_ring_tier_bound(struct hf_ring_session *session, uint32_t handle);
/* Before UNBOUND. */
void hf_ring_tier_unbound(struct hf_ring_session *session, uint32_t handle);
void hf_ring_tier_volume_changed(struct hf_ring_tiers *tiers, uint64_t volume);
uint64_t hf_ring_tier_moment(const struct hf_ring_session *session);
/* A READ that was taken at `moment` gave `bytes`. */
void hf_ring_tier_filled(struct hf_ring_session *session, uint32_t handle,
			 const struct hf_request *request, uint64_t moment, const void *bytes);

/* ring_host.c */
struct hf_ring_tiers *hf_ring_host_tiers(const struct hf_ring_host *host);
const struct hf_ring_keeper *hf_ring_host_keeper(struct hf_ring_host *host);
struct hf_core *hf_ring_host_core(struct hf_ring_host *host);
uv_loop_t *hf_ring_host_loop(struct hf_ring_host *host);
/* A connection was made: takes the session into the host's list, making room if need be. */
int hf_ring_host_accepted(struct hf_ring_host *host, struct hf_ring_session *session);
/* HELLO arrived: an older session of the same ring is over. HF_EBUSY if the ring is another
 * process's. */
int hf_ring_host_greet(struct hf_ring_host *host, struct hf_ring_session *session);
/* Binds what waits and can be bound; later in the same turn of the loop, once for all who ask. */
void hf_ring_host_bind(struct hf_ring_host *host);
/* The shim closed the LUN: this ring will ask nothing about the volume any more. */
void hf_ring_host_unbound(struct hf_ring_host *host, const struct hf_ring_session *session,
			  uint64_t volume);
/* The session has nothing in the core, no memory and no connection any more. */
void hf_ring_host_gone(struct hf_ring_host *host, struct hf_ring_session *session);

#endif
