/* Which document may follow the last that was signed for a gateway (invariant 4). The gateway has
 * the same rules (gateway/agent/document.c); here they hold against a provider that was taken over,
 * or that errs, also where the gateway is an older one. What is left out is not judged: what was
 * signed need not have been sent. Signer's thread. */
#include "provider/signer/signer_internal.h"

#include <inttypes.h>
#include <stdlib.h>

static const Holdfast__Volume *find_volume(const Holdfast__Document *document, uint64_t volume)
{
	for (size_t i = 0; i < document->n_volumes; i++)
		if (document->volumes[i]->volume == volume)
			return document->volumes[i];
	return NULL;
}

static int check_one(const Holdfast__Volume *old, const Holdfast__Volume *next,
		     struct hf_errmsg *reason)
{
	if (next->version < old->version)
		return hf_fail(reason, HF_EINVAL, "the version of vol-%016" PRIx64 " goes back",
			       next->volume);
	if (next->attach_epoch < old->attach_epoch)
		return hf_fail(reason, HF_EINVAL,
			       "the attach epoch of vol-%016" PRIx64 " goes back", next->volume);
	return 0;
}

/* One that was not in the last document may be one whose tombstone was signed before. */
static int check_new(struct hf_signer *signer, uint64_t gateway, uint64_t volume,
		     struct hf_errmsg *reason)
{
	bool deleted = false;
	int err = hf_ledger_deleted_has(signer->ledger, gateway, volume, &deleted, reason);

	if (!err && deleted)
		err = hf_fail(reason, HF_EINVAL,
			      "vol-%016" PRIx64 " was deleted and cannot come back", volume);
	return err;
}

static int check_all(struct hf_signer *signer, uint64_t gateway, const Holdfast__Document *last,
		     const Holdfast__Document *next, struct hf_errmsg *reason)
{
	int err = 0;

	for (size_t i = 0; !err && i < next->n_volumes; i++) {
		const Holdfast__Volume *entry = next->volumes[i];
		const Holdfast__Volume *old = find_volume(last, entry->volume);

		err = old ? check_one(old, entry, reason)
			  : check_new(signer, gateway, entry->volume, reason);
	}
	return err;
}

/* What was signed last; NULL: nothing that can be read. */
static Holdfast__Document *document_of(const Holdfast__SignerLedger *last)
{
	Holdfast__Signed *packet =
		holdfast__signed__unpack(NULL, last->signed_change.len, last->signed_change.data);
	Holdfast__Change *change =
		packet ? holdfast__change__unpack(NULL, packet->body.len, packet->body.data) : NULL;
	Holdfast__Document *document = NULL;

	if (change && change->kind_case == HOLDFAST__CHANGE__KIND_DOCUMENT)
		document = holdfast__document__unpack(NULL, change->document.len,
						      change->document.data);
	holdfast__change__free_unpacked(change, NULL);
	holdfast__signed__free_unpacked(packet, NULL);
	return document;
}

int hf_signer_may_follow(struct hf_signer *signer, const Holdfast__SignerLedger *last,
			 const Holdfast__Document *next, struct hf_errmsg *reason)
{
	Holdfast__Document *document;
	int err;

	if (next->incarnation != last->incarnation || last->signed_change.len == 0)
		return 0;
	document = document_of(last);
	if (!document)
		return hf_fail(reason, HF_ECORRUPT, "the last signed document cannot be read");
	err = check_all(signer, last->gateway, document, next, reason);
	holdfast__document__free_unpacked(document, NULL);
	return err;
}

int hf_signer_followed(struct hf_signer *signer, uint64_t gateway, const Holdfast__Document *next,
		       struct hf_errmsg *reason)
{
	int err = 0;

	for (size_t i = 0; !err && i < next->n_tombstones; i++)
		err = hf_ledger_deleted_add(signer->ledger, gateway, next->tombstones[i]->volume,
					    reason);
	return err;
}
