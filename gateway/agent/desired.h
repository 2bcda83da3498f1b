/* Desired state in force: takes signed documents by the rules of document.h, keeps the last one on
 * disk before it counts, and hands it to the reconciler. Loop's thread. */
#ifndef HF_GATEWAY_AGENT_DESIRED_H
#define HF_GATEWAY_AGENT_DESIRED_H

#include "gateway/agent/document.h"
#include "gateway/agent/kept.h"
#include "gateway/agent/left.h"
#include "gateway/agent/network.h"
#include "gateway/agent/reconcile.h"

struct hf_desired {
	const struct hf_kept *kept;
	struct hf_reconciler *reconciler;
	uint8_t signer_key[HF_KEY_BYTES]; /* that is pinned */
	const Holdfast__ActivateIssued
		*issued; /* with the keys pinned before, for hf_desired_load */
	uint64_t tenant, gateway;
	struct hf_network *network;  /* NULL: not yet */
	struct hf_document *current; /* NULL: none yet */
	struct hf_kept_newest newest;
	Holdfast__Document *left;  /* that a restored registry does not know; NULL: none */
	Holdfast__Document joined; /* `current` with what is left, as it is carried out */
	struct hf_deleted deleted; /* so that nothing of it comes back */
	bool deleted_unkept;       /* it grew, and that could not be written */
};

/* Takes up the document that was kept, if there is one. A damaged one is told and left out: the
 * provider sends the newest. */
void hf_desired_load(struct hf_desired *desired);
/* Changes are signed by this key from now on. */
void hf_desired_pin(struct hf_desired *desired, const uint8_t signer_key[HF_KEY_BYTES]);
/* 0: in force now (or already). Else refused, nothing changed, and why in `message`. */
int hf_desired_apply(struct hf_desired *desired, const Holdfast__Signed *packet,
		     struct hf_errmsg *message);
/* The same with a document as a delta to the one in force. `*full_wanted`: it cannot be put
 * together here, and the provider must send the whole (HF_ESTALE). */
int hf_desired_apply_delta(struct hf_desired *desired, const Holdfast__ApplyDelta *delta,
			   bool *full_wanted, struct hf_errmsg *message);
/* Checks signature, tenant, gateway and hash of anything that is signed. As hf_change_verify. */
int hf_desired_verify(const struct hf_desired *desired, const Holdfast__Signed *packet,
		      Holdfast__Change **change, struct hf_errmsg *message);
/* A signed confirmation of network settings. */
int hf_desired_confirm(struct hf_desired *desired, const Holdfast__Signed *packet,
		       struct hf_errmsg *message);
/* Would this document be taken now? As hf_document_check; one of the same numbers is. */
int hf_desired_check(const struct hf_desired *desired, const Holdfast__Document *document,
		     struct hf_errmsg *message);
/* What is in force, into a message; it points into `desired`. */
void hf_desired_applied(const struct hf_desired *desired, Holdfast__Applied *applied);
void hf_desired_end(struct hf_desired *desired);

#endif
