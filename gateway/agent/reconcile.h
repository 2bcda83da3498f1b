/* Makes tgtd and volumed what the document says, and keeps them so: whenever a source answers, the
 * difference of every volume is planned (plan.h) and its steps are run, each volume by itself, so
 * that a bad one does not hold back others. Loop's thread.
 *
 * A gateway has one tgtd or several (places.c says which volume is on which); what follows is said
 * of each by itself, so that one that is away holds back its own volumes only.
 *
 * Order: portals that are not ours are closed before any target is made; our portal is opened after
 * all targets that can be made are there. */
#ifndef HF_GATEWAY_AGENT_RECONCILE_H
#define HF_GATEWAY_AGENT_RECONCILE_H

#include <uv.h>

#include "gateway/agent/kept.h"
#include "gateway/agent/plan.h"
#include "net/seal.h"
#include "proto/action.pb-c.h"
#include "proto/channel.pb-c.h"
#include "proto/document.pb-c.h"

struct hf_reconciler;

struct hf_reconciler_config {
	uv_loop_t *loop;
	const char *run_dir;
	uid_t local_uid;     /* may serve the sockets there beside root and our own */
	const char *portals; /* host:port of each tgtd, with commas between; its broker's socket is
			      * hf_broker_socket of the same number */
	const struct hf_kept *kept;
	const struct hf_seal_key *sealing;
	const struct hf_deleted *deleted; /* entries of these fail; NULL: there are none */
	/* What would be reported has changed. */
	void (*changed)(void *context);
	/* The answer to hf_reconciler_look: a report is of now. */
	void (*looked)(void *context);
	void *context;
};

/* What `config` names must outlive it. */
int hf_reconciler_open(const struct hf_reconciler_config *config, struct hf_reconciler **out,
		       struct hf_errmsg *message);
/* From now on this is desired. Borrowed until the next call. */
void hf_reconciler_set_document(struct hf_reconciler *reconciler, uint64_t tenant,
				const Holdfast__Document *document);
/* Asks volumed at once how things stand; `looked` follows when it has answered or does not. */
void hf_reconciler_look(struct hf_reconciler *reconciler);
/* Fills in volumes, buffer, alarms and what runs; its memory is freed by hf_reconciler_report_free.
 */
void hf_reconciler_report(struct hf_reconciler *reconciler, Holdfast__Report *report);
void hf_reconciler_report_free(Holdfast__Report *report);
/* What is wrong now, for the console: up to `capacity` malloc'ed texts. */
size_t hf_reconciler_problems(struct hf_reconciler *reconciler, char **texts, size_t capacity);
/* ---- For one-shot actions (actions.h) ---- */

#define HF_PROCESS_VOLUMED UINT32_MAX /* else the number of a tgtd, from 0 */

unsigned hf_reconciler_tgtds(const struct hf_reconciler *reconciler);
/* Which run of the process was last seen: its length, 0 if none ever was. `answers`: it does now.
 */
size_t hf_reconciler_boot(const struct hf_reconciler *reconciler, uint32_t process,
			  uint8_t boot[HF_BOOT_MAX], bool *answers);
/* Asks to end that run of the process, and no other; HF_ESTALE: it is gone. `answered` later. */
void hf_reconciler_restart(struct hf_reconciler *reconciler, uint32_t process, const uint8_t *boot,
			   size_t length, uint64_t action,
			   void (*answered)(void *context, int err, const char *reason),
			   void *context);
/* Looks at everything anew and tries at once what waits to be tried again. */
void hf_reconciler_rescan(struct hf_reconciler *reconciler);
/* Numbers of the questions asked so far: what is answered beyond them is of after now. */
struct hf_rescan {
	uint64_t volumed, brokers[8];
};
void hf_reconciler_scan_mark(const struct hf_reconciler *reconciler, struct hf_rescan *mark);
bool hf_reconciler_scanned(const struct hf_reconciler *reconciler, const struct hf_rescan *mark);
/* Dry run: what would be done if this were desired, as things are now. Nothing is done. The lists
 * are malloc'ed; freed with holdfast__plan_report__free_unpacked. */
Holdfast__PlanReport *hf_reconciler_dry_run(struct hf_reconciler *reconciler,
					    const Holdfast__Document *document);

/* Steps under way are left to end by themselves. */
void hf_reconciler_close(struct hf_reconciler *reconciler, void (*closed)(void *context),
			 void *context);

#endif
