/* What is there: asks each tgtd's broker and volumed again and again for their state and keeps the
 * last answer of each, sorted as plan.h wants it. They do not wait for each other. Loop's thread.
 */
#ifndef HF_GATEWAY_AGENT_SOURCES_H
#define HF_GATEWAY_AGENT_SOURCES_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "gateway/agent/plan.h"
#include "net/local.h"

#define HF_TGTDS_MAX 8u /* of one gateway */

struct hf_source {
	struct hf_sources *owner;
	struct hf_local_client *client;
	uint64_t started;  /* questions asked so far */
	uint64_t answered; /* number of the question that the state answers; 0: none yet */
	uint64_t seen_ms;  /* when it was answered */
	bool asking, known, tried;
	unsigned tgtd; /* of a broker */
	bool again;    /* ask once more as soon as the question under way is answered */
	uv_timer_t timer;
};

struct hf_sources {
	struct hf_source brokers[HF_TGTDS_MAX], volumed;
	unsigned tgtd_count;
	Holdfast__BrokerState *targets[HF_TGTDS_MAX]; /* the last ones, or NULL */
	Holdfast__VolumedStatus *status;              /* the last one, or NULL */
	/* Something was answered (or was not). `anew`: the process is another one than before, or
	 * is back. */
	void (*changed)(void *context, bool anew);
	/* Wait this long before the next question. */
	uint32_t (*interval_ms)(void *context);
	void *context;
	bool closing;
	unsigned open; /* handles and clients not yet closed */
	void (*closed)(void *context);
	void *closed_context;
};

/* RUN_DIR/broker.sock of the first tgtd, RUN_DIR/broker-2.sock of the second and so on. */
void hf_broker_socket(const char *run_dir, unsigned tgtd, char *path, size_t size);
/* `changed`, `interval_ms`, `context` and `tgtd_count` are set by the caller before. Starts asking
 * at once. */
int hf_sources_open(struct hf_sources *sources, uv_loop_t *loop, const char *run_dir,
		    uid_t local_uid, struct hf_errmsg *message);
/* Ask all now (after the question under way, if there is one). */
void hf_sources_ask_now(struct hf_sources *sources);
/* The state as last seen. A process that was seen within `grace_ms` counts as known, so that its
 * restart does not show as a change of everything. */
void hf_sources_actual(const struct hf_sources *sources, unsigned tgtd, uint64_t grace_ms,
		       struct hf_actual *actual);
void hf_sources_close(struct hf_sources *sources, void (*closed)(void *context), void *context);

#endif
