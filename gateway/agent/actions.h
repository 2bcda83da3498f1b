/* One-shot actions at the gateway: each runs at most once, one at a time, and what became of it is
 * in the journal before it is answered (invariant 4). Loop's thread.
 *
 *   arrives → judged → begun in the journal, with the marks → effect → ended in the journal → told
 *
 * The marks say which runs of which processes are meant, and whoever has the effect checks them. So
 * after a crash between effect and journal it shows whether the effect was had: another run is
 * there. What shows neither is ended as unknown. */
#ifndef HF_GATEWAY_AGENT_ACTIONS_H
#define HF_GATEWAY_AGENT_ACTIONS_H

#include <stdio.h>
#include <uv.h>

#include "gateway/agent/desired.h"
#include "gateway/agent/journal.h"
#include "proto/action.pb-c.h"

struct hf_actions;

struct hf_actions_config {
	uv_loop_t *loop;
	struct hf_desired *desired; /* with its keys set */
	/* What became of an action whose hf_actions_act gave 1. The result is valid during the
	 * call. */
	void (*ended)(void *context, const Holdfast__ActionResult *result);
	/* Adds what else there is to a diagnosis; no secrets. May be NULL. */
	void (*describe)(void *context, FILE *out);
	void *context;
};

/* Reads the journal and goes on with what a crash interrupted. */
int hf_actions_open(const struct hf_actions_config *config, struct hf_actions **actions,
		    struct hf_errmsg *message);

/* A signed action arrived; `terms` may be NULL. 0: `*result` says what became of it (valid until
 * the next call). 1: it is under way, `ended` follows. Else it was not begun, and may be sent
 * again: HF_EAUTH, HF_EINVAL, HF_EAGAIN (another is under way, or the journal is full),
 * HF_ENOTREADY, HF_EIO. `*number`: its number, 0 if that is not known. */
int hf_actions_act(struct hf_actions *actions, const Holdfast__Signed *packet,
		   const Holdfast__ActionTerms *terms, uint64_t *number,
		   Holdfast__ActionResult *result, struct hf_errmsg *message);
/* The provider has stored what became of the actions up to this number. */
int hf_actions_forget(struct hf_actions *actions, uint64_t number, struct hf_errmsg *message);
/* Of the newest change that was begun; 0: none. */
uint64_t hf_actions_sequence(const struct hf_actions *actions);
void hf_actions_close(struct hf_actions *actions, void (*closed)(void *context), void *context);

#endif
