/* volumed's end of the rings: listens on run_dir/ring.sock, takes each shim's shared memory, turns
 * its descriptors into requests of the volume core and the core's answers into completions. Trusts
 * nothing that a shim says (docs/protocol/ring.md, "Distrust"). One thread: the loop's, which is
 * the core's. */
#ifndef HF_GATEWAY_VOLUMED_RING_HOST_H
#define HF_GATEWAY_VOLUMED_RING_HOST_H

#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "base/err.h"
#include "gateway/volumed/core.h"

#define HF_RING_HOST_NO_UID ((uid_t)-1)
#define HF_RING_TGTDS_MAX   32u

struct hf_ring_host;

/* Who keeps a volume's bytes for its shims (KEEP and RECALL): they outlive tgtd and volumed, and go
 * with the volume's detachment. */
struct hf_ring_keeper {
	void *context;
	/* What was kept last, valid until the loop turns; none is 0 bytes. 0 or why not. */
	int (*recall)(void *context, uint64_t volume, const void **bytes, uint32_t *length);
	/* Copies what it needs. `done` exactly once, later or from inside: 0 when it is durable. */
	void (*keep)(void *context, uint64_t volume, const void *bytes, uint32_t length,
		     void (*done)(void *owner, int status), void *owner);
};

struct hf_ring_host_config {
	uv_loop_t *loop;
	struct hf_core *core; /* stays open until the host is closed */
	const char *path;     /* of the socket, at most 107 bytes; a stale one is replaced */
	const struct hf_ring_keeper *keeper; /* NULL: KEEP and RECALL are not offered */
	/* Of tgtd 0, the next one's is one more, …: they may connect beside root and the own uid.
	 * HF_RING_HOST_NO_UID: none. */
	uid_t tgt_uid;
	unsigned tgtds; /* their number, at most HF_RING_TGTDS_MAX; 0 is 1 */
	/* Number of the tgtd that may bind the volume; a ring of root or the own uid may bind any.
	 * NULL: so may all. */
	uint32_t (*tgtd_of)(void *context, uint64_t volume);
	void *tgtd_context;
	uint64_t tier_bytes; /* of all memory tiers together; 0: none */
	unsigned tier_rings; /* that share them, the first to come; each an equal part */
};

/* Listens. 0, or HF_EINVAL (path), HF_EBUSY (another process listens there), HF_EIO with the reason
 * in `message`. */
int hf_ring_host_open(const struct hf_ring_host_config *config, struct hf_ring_host **host,
		      struct hf_errmsg *message);

/* To be called from the core's volume_changed, at any point of the loop: tells the shims, and binds
 * a volume that a shim waits for. Does its work later in the same turn of the loop. */
void hf_ring_host_volume_changed(struct hf_ring_host *host, uint64_t volume);

/* To be called from the core's range_changed: what shims may read inline is not that any more. True
 * if they did, and range_holds would be welcome. */
bool hf_ring_host_range_changed(struct hf_ring_host *host, uint64_t volume, uint64_t offset,
				uint64_t length);
void hf_ring_host_range_holds(struct hf_ring_host *host, uint64_t volume, uint64_t offset,
			      uint64_t length, const void *bytes);

/* Reads that the shim says it answered from the memory tier since the volume was bound; whatever a
 * hostile one says. */
uint64_t hf_ring_host_tier_hits(const struct hf_ring_host *host, uint64_t volume);

struct hf_ring_host_tier_status {
	uint64_t bytes;      /* of the tiers that there are */
	uint64_t used_bytes; /* blocks held in them */
};
void hf_ring_host_tier_status(const struct hf_ring_host *host,
			      struct hf_ring_host_tier_status *status);

/* Shims that are connected and have handed over a ring. */
unsigned hf_ring_host_rings(const struct hf_ring_host *host);

/* Stops listening, cancels what the core has not logged, waits until it has answered everything,
 * then hangs up on the shims and calls `closed`. The host is gone then. */
void hf_ring_host_close(struct hf_ring_host *host, void (*closed)(void *context), void *context);

#endif
