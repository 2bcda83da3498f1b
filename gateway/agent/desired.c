/* Documents in force (desired.h). */
#include "gateway/agent/desired.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "proto/delta.h"

/* Takes both over. */
static void take(struct hf_desired *desired, struct hf_document *document, Holdfast__Document *left)
{
	struct hf_document *old = desired->current;
	Holdfast__Document *old_left = desired->left, joined = desired->joined;

	desired->current = document;
	desired->left = left;
	hf_left_join(document->content, left, &desired->joined);
	hf_reconciler_set_document(desired->reconciler, desired->tenant, &desired->joined);
	if (desired->network)
		hf_network_document(desired->network, document->content->incarnation,
				    document->content->network);
	hf_left_join_end(&joined);
	holdfast__document__free_unpacked(old_left, NULL);
	hf_document_free(old);
}

static int keep_deleted(struct hf_desired *desired, struct hf_errmsg *message)
{
	int err = 0;

	if (desired->deleted_unkept)
		err = hf_kept_set_deleted(desired->kept, &desired->deleted, message);
	desired->deleted_unkept = err != 0;
	return err;
}

/* After the document, whose tombstones say the same until another one follows; before that one this
 * is tried again. */
static void note_deleted(struct hf_desired *desired)
{
	struct hf_errmsg message;

	desired->deleted_unkept |= hf_deleted_add(&desired->deleted, desired->current->content);
	if (keep_deleted(desired, &message) != 0)
		hf_error("%s", message.text);
}

/* Before the document that leaves them out. Within an incarnation the list can only shrink. */
static int keep_left(struct hf_desired *desired, const struct hf_document *next,
		     const Holdfast__Document *left, struct hf_errmsg *message)
{
	const struct hf_document *current = desired->current;
	size_t count = left ? left->n_volumes : 0;
	size_t before = desired->left ? desired->left->n_volumes : 0;

	if (count + next->content->n_volumes + next->content->n_tombstones >
	    HF_DOCUMENT_VOLUMES_MAX)
		return hf_fail(message, HF_ETOOBIG,
			       "with what it leaves out there are more than %u volumes",
			       HF_DOCUMENT_VOLUMES_MAX);
	if (count == before &&
	    (count == 0 || next->content->incarnation == current->content->incarnation))
		return 0;
	hf_warn("%zu volumes stand in no document of the provider's and are served on", count);
	return hf_kept_set_left(desired->kept, left, message);
}

/* Before the document itself: a crash between the two leaves one that comes again. */
static int keep_newest(struct hf_desired *desired, const struct hf_document *document,
		       struct hf_errmsg *message)
{
	struct hf_kept_newest newest = {.incarnation = document->content->incarnation,
					.generation = document->content->generation,
					.sequence = document->sequence};
	int err;

	memcpy(newest.hash, document->hash, HF_HASH_BYTES);
	if (memcmp(&newest, &desired->newest, sizeof newest) == 0)
		return 0;
	err = hf_kept_set_newest(desired->kept, &newest, message);
	if (!err)
		desired->newest = newest;
	return err;
}

/* It may have been signed with a key that others have followed since. */
static int open_kept(const struct hf_desired *desired, const Holdfast__Signed *packet,
		     struct hf_document **document, struct hf_errmsg *message)
{
	const Holdfast__ActivateIssued *issued = desired->issued;
	int err = hf_document_open(desired->signer_key, desired->tenant, desired->gateway, packet,
				   document, message);

	for (size_t i = 0; err && issued && i < issued->n_former_signer_keys; i++)
		if (issued->former_signer_keys[i].len == HF_KEY_BYTES)
			err = hf_document_open(issued->former_signer_keys[i].data, desired->tenant,
					       desired->gateway, packet, document, message);
	return err;
}

void hf_desired_pin(struct hf_desired *desired, const uint8_t signer_key[HF_KEY_BYTES])
{
	memcpy(desired->signer_key, signer_key, HF_KEY_BYTES);
}

/* What is left beside this document. */
static Holdfast__Document *load_left(struct hf_desired *desired, const struct hf_document *document)
{
	Holdfast__Document *kept, *left;
	struct hf_errmsg message;
	int err = hf_kept_left(desired->kept, &kept, &message);

	if (err && err != HF_ENOENT)
		hf_error("%s; volumes that the provider does not know are not served",
			 message.text);
	if (err)
		return NULL;
	left = hf_left_after(kept, NULL, document->content);
	holdfast__document__free_unpacked(kept, NULL);
	return left;
}

void hf_desired_load(struct hf_desired *desired)
{
	struct hf_document *document;
	struct hf_errmsg message;
	Holdfast__Signed *packet;
	int err = hf_kept_document(desired->kept, &packet, &message);

	hf_kept_newest(desired->kept, &desired->newest);
	hf_kept_deleted(desired->kept, &desired->deleted);
	if (err == HF_ENOENT)
		return;
	if (!err) {
		err = open_kept(desired, packet, &document, &message);
		holdfast__signed__free_unpacked(packet, NULL);
	}
	/* Another version of the software may have taken it. */
	if (!err && (err = hf_document_check(NULL, document, &message)) != 0)
		hf_document_free(document);
	if (err) {
		hf_error("the kept document cannot be used, waiting for the provider's: %s",
			 message.text);
		return;
	}
	hf_info("serving document (%" PRIu64 ", %" PRIu64 ") as it was kept",
		document->content->incarnation, document->content->generation);
	/* Taken by a version that did not keep it apart. */
	if (hf_document_check_newest(&desired->newest, document, &message) == 0 &&
	    keep_newest(desired, document, &message) != 0)
		hf_warn("%s", message.text);
	take(desired, document, load_left(desired, document));
	note_deleted(desired);
}

/* May it follow, all rules together? As hf_document_check. */
static int check(const struct hf_desired *desired, const struct hf_document *next,
		 struct hf_errmsg *message)
{
	int err = hf_document_check(desired->current, next, message);

	if (!err)
		err = hf_document_check_newest(&desired->newest, next, message);
	return err ? err
		   : hf_document_check_deleted(&desired->deleted, desired->current, next, message);
}

/* Everything on disk before it counts. */
static int keep(struct hf_desired *desired, const struct hf_document *next,
		const Holdfast__Document *left, const Holdfast__Signed *packet,
		struct hf_errmsg *message)
{
	int err = keep_deleted(desired, message);

	if (!err)
		err = keep_left(desired, next, left, message);
	if (!err)
		err = keep_newest(desired, next, message);
	return err ? err : hf_kept_set_document(desired->kept, packet, message);
}

int hf_desired_apply(struct hf_desired *desired, const Holdfast__Signed *packet,
		     struct hf_errmsg *message)
{
	Holdfast__Document *left = NULL;
	struct hf_document *document;
	int err = hf_document_open(desired->signer_key, desired->tenant, desired->gateway, packet,
				   &document, message);

	if (err)
		return err;
	err = check(desired, document, message);
	if (!err) {
		left = hf_left_after(desired->left,
				     desired->current ? desired->current->content : NULL,
				     document->content);
		err = keep(desired, document, left, packet, message);
	}
	if (err) {
		holdfast__document__free_unpacked(left, NULL);
		hf_document_free(document);
		return err == HF_EEXIST ? 0 : err;
	}
	hf_info("document (%" PRIu64 ", %" PRIu64 ") is in force: %zu volumes, %zu tombstones",
		document->content->incarnation, document->content->generation,
		document->content->n_volumes, document->content->n_tombstones);
	take(desired, document, left);
	note_deleted(desired);
	return 0;
}

int hf_desired_verify(const struct hf_desired *desired, const Holdfast__Signed *packet,
		      Holdfast__Change **change, struct hf_errmsg *message)
{
	return hf_change_verify(desired->signer_key, desired->tenant, desired->gateway, packet,
				change, message);
}

int hf_desired_confirm(struct hf_desired *desired, const Holdfast__Signed *packet,
		       struct hf_errmsg *message)
{
	Holdfast__Confirmation *confirmation = NULL;
	Holdfast__Change *change;
	int err = hf_desired_verify(desired, packet, &change, message);

	if (err)
		return err;
	if (change->kind_case == HOLDFAST__CHANGE__KIND_CONFIRMATION)
		confirmation = holdfast__confirmation__unpack(NULL, change->confirmation.len,
							      change->confirmation.data);
	if (confirmation && desired->network)
		err = hf_network_confirm(desired->network, confirmation, message);
	else
		err = hf_fail(message, HF_EINVAL, "the change holds no confirmation");
	holdfast__confirmation__free_unpacked(confirmation, NULL);
	holdfast__change__free_unpacked(change, NULL);
	return err;
}

/* Nothing of what is put together counts before hf_desired_apply has verified it like any other. */
int hf_desired_apply_delta(struct hf_desired *desired, const Holdfast__ApplyDelta *delta,
			   bool *full_wanted, struct hf_errmsg *message)
{
	const struct hf_document *base = desired->current;
	Holdfast__Signed *packet;
	uint8_t *bytes;
	size_t length;
	int err;

	*full_wanted = false;
	if (!delta->change)
		return hf_fail(message, HF_EINVAL, "there is no change with the delta");
	err = hf_delta_apply(base ? base->content : NULL, base ? base->hash : NULL,
			     delta->delta.data, delta->delta.len, &bytes, &length);
	if (!err) {
		err = hf_change_with_document(delta->change, bytes, length, &packet);
		free(bytes);
	}
	if (err) {
		*full_wanted = true;
		return hf_fail(message, err, "the delta does not give the document here: %s",
			       hf_err_text(err));
	}
	err = hf_desired_apply(desired, packet, message);
	holdfast__signed__free_unpacked(packet, NULL);
	return err;
}

int hf_desired_check(const struct hf_desired *desired, const Holdfast__Document *document,
		     struct hf_errmsg *message)
{
	struct hf_document next = {.sequence = UINT64_MAX,
				   .content = (Holdfast__Document *)(uintptr_t)document};
	const struct hf_document *current = desired->current;

	if (current && document->incarnation == current->content->incarnation &&
	    document->generation == current->content->generation)
		return 0;
	return check(desired, &next, message);
}

void hf_desired_applied(const struct hf_desired *desired, Holdfast__Applied *applied)
{
	holdfast__applied__init(applied);
	if (!desired->current)
		return;
	applied->incarnation = desired->current->content->incarnation;
	applied->generation = desired->current->content->generation;
	applied->hash.data = desired->current->hash;
	applied->hash.len = HF_HASH_BYTES;
}

void hf_desired_end(struct hf_desired *desired)
{
	hf_left_join_end(&desired->joined);
	holdfast__document__free_unpacked(desired->left, NULL);
	hf_document_free(desired->current);
	hf_deleted_end(&desired->deleted);
	desired->left = NULL;
	desired->current = NULL;
}
