/* A volume core that keeps everything in one mapped file: no log, no store, no batches, but the
 * contract of gateway/volumed/core.h as the ring's host sees it: requests end later, a request that
 * was executed is answered and not executed again. The file outlives the process, as a log would.
 * For tests of the ring; linked in place of the volume core. */
#ifndef HF_TESTS_RING_MEMORY_CORE_H
#define HF_TESTS_RING_MEMORY_CORE_H

#include <uv.h>

#include "gateway/volumed/core.h"

#define MEMORY_VOLUMES_MAX   8u
#define MEMORY_RESULTS       65536u
#define MEMORY_PAGES_COUNTED 65536u

struct memory_result {
	struct hf_request_id request;
	int32_t status;
	uint32_t used;
	uint64_t info;
};

struct memory_volume {
	uint64_t volume, size_bytes, data_offset, mapped_offset; /* in the file */
	uint32_t write_cache, attached;
};

/* What lasts. */
struct memory_disk {
	uint64_t volume_count, end_offset;
	struct memory_volume volumes[MEMORY_VOLUMES_MAX];
	struct memory_result results[MEMORY_RESULTS];
	/* How often a request that began at this page (4 KiB) of the first volume was executed. */
	uint32_t executions[MEMORY_PAGES_COUNTED];
	uint64_t executed, repeated, forgotten;
};

/* Called at each step of a request's life, so that a test can stop the process there. */
enum memory_step { MEMORY_ACCEPTED, MEMORY_LOGGED, MEMORY_ANSWERED };

struct memory_core_config {
	uv_loop_t *loop;
	const char *path; /* of the file; made if absent */
	void (*step)(enum memory_step step, const struct hf_request *request); /* may be NULL */
	/* Requests rest this long before they are executed, in milliseconds, and go in small
	 * batches; 0: all of them in the next turn of the loop. */
	uint64_t delay_ms;
	/* Every other request is in the committer's hands at once: it cannot be cancelled any more.
	 */
	bool commits_at_once;
	void (*volume_changed)(void *context, uint64_t volume);
	bool (*range_changed)(void *context, uint64_t volume, uint64_t offset, uint64_t length);
	void (*range_holds)(void *context, uint64_t volume, uint64_t offset, uint64_t length,
			    const void *bytes); /* after WRITE */
	void *context;
};

struct hf_core *memory_core_open(const struct memory_core_config *config);
void memory_core_close(struct hf_core *core);
struct memory_disk *memory_core_disk(struct hf_core *core);
/* Adds or grows a volume. */
void memory_core_attach(struct hf_core *core, uint64_t volume, uint64_t size_bytes,
			bool write_cache);
/* Requests in the core that were not executed. */
unsigned memory_core_waiting(struct hf_core *core);
/* While held, nothing is executed. */
void memory_core_hold(struct hf_core *core, bool hold);
/* What hf_core_appetite says from now on; 0 at first. */
void memory_core_set_appetite(struct hf_core *core, unsigned appetite);
/* Detached: its requests are refused until it is attached again. */
void memory_core_detach(struct hf_core *core, uint64_t volume);

#endif
