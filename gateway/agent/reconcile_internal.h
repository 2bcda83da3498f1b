/* What the files of the reconciler share: reconcile.c (when to plan what), reconcile_jobs.c
 * (running steps), reconcile_report.c (what is told), places.c (which tgtd). Nobody else includes
 * this. */
#ifndef HF_GATEWAY_AGENT_RECONCILE_INTERNAL_H
#define HF_GATEWAY_AGENT_RECONCILE_INTERNAL_H

#include "base/assert.h"
#include "base/list.h"
#include "gateway/agent/plan.h"
#include "gateway/agent/reconcile.h"
#include "gateway/agent/sources.h"

#define HF_RECONCILER_MAGIC 0x5245434fu
#define HF_REASON_MAX       160u
#define HF_JOBS_MAX         48u /* volumes whose steps run at once; below volumed's bound of 64 */
#define HF_PORTAL_MAX       128u
#define HF_NOWHERE          UINT32_MAX
#define HF_GRACE_MS         5000u /* how long a process may be away before it shows in reports */

/* Trouble with something that is tried again. */
struct hf_retry {
	int error; /* HF_E…, 0: none */
	char reason[HF_REASON_MAX];
	unsigned failures;
	uint64_t at_ms; /* not before; on the loop's clock */
};

/* A volume of the document. */
struct hf_member {
	struct hf_list link;
	uint64_t volume;
	uint64_t version; /* that `retry` is about */
	bool is_tombstone;
	bool was_deleted; /* and cannot come back: its entry fails */
	/* Of the document in force; one of the two. */
	const Holdfast__Volume *entry;
	const Holdfast__Tombstone *tombstone;
	uint32_t tgtd; /* that it is on; HF_NOWHERE: not known yet */
	struct hf_done done;
	struct hf_retry retry;

	/* The steps under way. */
	bool running, undoing;
	struct hf_plan plan;
	unsigned at;         /* index of the step under way */
	unsigned done_steps; /* that may have to be taken back */
	uint64_t job;        /* number; an answer to another one is dropped */
	uint64_t job_version;
	uint64_t started_ms;
	char iqn[256]; /* of the target that the steps are about */
	uint32_t lun;

	/* State must have been asked for after these, or it may be of before the last step. */
	uint64_t after_broker, after_volumed;
	bool restored;    /* access_version was looked up in what is kept */
	unsigned repeats; /* plans in a row that were carried out and did not help */

	/* As last told, so that a change is told at once. */
	int told_state, told_error;
	uint64_t told_version;
};

/* Something that is not of one volume: of a tgtd (the store: of the first). */
enum hf_chore { HF_CHORE_STORE, HF_CHORE_STRAY_PORTAL, HF_CHORE_STRAY_TARGET, HF_CHORE_PORTAL };
#define HF_CHORES 4

struct hf_chore_state {
	bool running;
	uint64_t after_broker;
	struct hf_retry retry;
};

/* One tgtd, by its broker. */
struct hf_tgtd {
	char portal[HF_PORTAL_MAX];     /* host:port */
	struct hf_local_client *broker; /* for changes; questions have their own */
	uint64_t after_broker;          /* of the last job that ended */
	struct hf_chore_state chores[HF_CHORES];
};

struct hf_reconciler {
	uint32_t magic;
	struct hf_reconciler_config config;
	struct hf_sources sources;
	struct hf_local_client *volumed;    /* for changes; questions have their own */
	struct hf_tgtd tgtds[HF_TGTDS_MAX]; /* as many as sources.tgtd_count */
	uint64_t tenant;
	const Holdfast__Document *document; /* NULL: nothing is desired yet */
	struct hf_list members;
	struct hf_member **by_volume; /* the same, sorted */
	size_t member_count;
	unsigned running;
	uint64_t last_job;
	/* The store was set for this document in this run of volumed. */
	uint64_t store_generation, store_incarnation, store_pid;
	uint64_t look; /* number of the question to volumed that somebody waits for; 0: none */
	bool stopping;
	unsigned open; /* parts not yet closed */
	void (*closed)(void *context);
	void *closed_context;
};

static inline uint64_t hf_reconciler_now_ms(const struct hf_reconciler *reconciler)
{
	return uv_now(reconciler->config.loop);
}

/* reconcile.c */
struct hf_member *hf_reconciler_member(struct hf_reconciler *reconciler, uint64_t volume);
/* Plans everything anew; starts what can be started. */
void hf_reconciler_run(struct hf_reconciler *reconciler);
/* What waits to be tried again is tried with the next answer of a source. */
void hf_reconciler_retry_now(struct hf_reconciler *reconciler);
void hf_retry_failed(struct hf_reconciler *reconciler, struct hf_retry *retry, int err,
		     const char *reason);
void hf_retry_clear(struct hf_retry *retry);
/* The plan of a member as of now; `actual` is of its tgtd. */
void hf_reconciler_plan(struct hf_reconciler *reconciler, const struct hf_member *member,
			const struct hf_actual *actual, struct hf_plan *plan);

/* reconcile_jobs.c */
void hf_job_start(struct hf_reconciler *reconciler, struct hf_member *member,
		  const struct hf_plan *plan, const struct hf_actual *actual);
/* Forgets the job: its answers are dropped. */
void hf_job_abandon(struct hf_reconciler *reconciler, struct hf_member *member);
void hf_chore_start(struct hf_reconciler *reconciler, unsigned tgtd, enum hf_chore chore,
		    const char *what);

/* places.c */

/* Gives every member that has none its tgtd: the one that is kept, else the one that has its LUN,
 * else the one with the fewest volumes; keeps it. Waits until every broker was asked once. */
void hf_places_give(struct hf_reconciler *reconciler);

/* reconcile_report.c */
/* True if any volume's state differs from what was last told; remembers it as told. */
bool hf_reconciler_state_changed(struct hf_reconciler *reconciler);

#endif
