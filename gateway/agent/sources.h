/* What is there: asks the broker and volumed again and again for their state and keeps the last
 * answer of each. The two do not wait for each other. Loop's thread. */
#ifndef HF_GATEWAY_AGENT_SOURCES_H
#define HF_GATEWAY_AGENT_SOURCES_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "gateway/agent/plan.h"
#include "net/local.h"

struct hf_source {
	struct hf_sources *owner;
	struct hf_local_client *client;
	uint64_t started;  /* questions asked so far */
	uint64_t answered; /* number of the question that the state answers; 0: none yet */
	uint64_t seen_ms;  /* when it was answered */
	bool asking, known;
	bool again; /* ask once more as soon as the question under way is answered */
	uv_timer_t timer;
};

struct hf_sources {
	struct hf_source broker, volumed;
	Holdfast__BrokerState *target;   /* the last one, or NULL */
	Holdfast__VolumedStatus *status; /* the last one, or NULL */
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

/* `changed`, `interval_ms` and `context` are set by the caller before. Starts asking at once. */
int hf_sources_open(struct hf_sources *sources, uv_loop_t *loop, const char *run_dir,
		    uid_t local_uid, struct hf_errmsg *message);
/* Ask both now (after the question under way, if there is one). */
void hf_sources_ask_now(struct hf_sources *sources);
/* The state as last seen. A process that was seen within `grace_ms` counts as known, so that its
 * restart does not show as a change of everything. */
void hf_sources_actual(const struct hf_sources *sources, uint64_t grace_ms,
		       struct hf_actual *actual);
void hf_sources_close(struct hf_sources *sources, void (*closed)(void *context), void *context);

#endif
