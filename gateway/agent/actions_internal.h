/* What the files of the actions share: actions.c (what arrives, what is answered),
 * actions_restart.c (ending processes), diagnose.c. Nobody else includes this. */
#ifndef HF_GATEWAY_AGENT_ACTIONS_INTERNAL_H
#define HF_GATEWAY_AGENT_ACTIONS_INTERNAL_H

#include "base/assert.h"
#include "gateway/agent/actions.h"

#define HF_ACTIONS_MAGIC 0x41435453u
#define HF_MARKS_MAX     9u /* eight tgtd and volumed */

/* A run of a process that is to end. */
struct hf_mark {
	struct hf_actions *actions;
	uint64_t action;  /* whose; an answer for another one is dropped */
	uint32_t process; /* HF_PROCESS_VOLUMED or the number of a tgtd */
	uint8_t boot[HF_BOOT_MAX];
	size_t boot_length;
	bool asking, gone, back;
	bool refused; /* for good: it cannot be asked for this */
	int error;    /* of the last try */
	char reason[HF_JOURNAL_REASON_MAX + 1];
	uint64_t ask_at_ms;
};

struct hf_actions {
	uint32_t magic;
	struct hf_actions_config config;
	struct hf_journal *journal;
	uint64_t running; /* number of the action under way; 0: none */
	uint32_t kind;
	bool resumed;     /* it was begun by an agent before this one */
	bool undecidable; /* … and nothing shows what became of it */
	bool warned;
	uint64_t deadline_ms;
	struct hf_mark marks[HF_MARKS_MAX];
	unsigned mark_count;
	struct hf_rescan scan;
	uv_timer_t timer; /* while one is under way */
	bool closing;
	unsigned asking; /* answers of processes that are still to come */
	bool timer_closed;
	void (*closed)(void *context);
	void *closed_context;
};

/* actions.c: ends the one that is under way. */
void hf_actions_finish(struct hf_actions *actions, uint32_t outcome, int err, const char *reason);

/* actions.c: frees when nothing is to come any more. */
void hf_actions_maybe_closed(struct hf_actions *actions);

/* actions_restart.c */

/* Which runs are meant. `tgtd`: from 1, 0: all. HF_ENOTREADY: one was never seen; HF_EINVAL. */
int hf_restart_marks(struct hf_actions *actions, uint32_t kind, uint32_t tgtd,
		     struct hf_errmsg *message);
/* The marks as bytes of the journal, and back. */
size_t hf_restart_encode(const struct hf_actions *actions, uint8_t mark[HF_JOURNAL_MARK_MAX]);
int hf_restart_decode(struct hf_actions *actions, const uint8_t *mark, size_t length);
/* Asks for what is still missing; ends the action when it is decided. */
void hf_restart_tick(struct hf_actions *actions);

/* diagnose.c: a malloc'ed report of at most HF_JOURNAL_REPORT_MAX bytes. */
uint8_t *hf_diagnose(struct hf_actions *actions, size_t *length);

#endif
