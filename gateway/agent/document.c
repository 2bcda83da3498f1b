/* The rules of document.h. Pure: no disk, no socket, no clock. */
#include "gateway/agent/document.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "gateway/agent/access.h"
#include "gateway/agent/kept.h"

#define SIZE_UNIT     4096u
#define HF_BLOCK_SIZE 512u
#define TARGET_MAX    223u /* bytes, RFC 7143 4.2.7.1 */
#define CHAP_USER_MAX 64u
#define LUN_MAX       255u

/* Features of documents that this software knows; a document that requires another is refused. */
static const char *const features[] = {"volume-1", "block-4096"};

int hf_document_open(const uint8_t signer_key[HF_KEY_BYTES], uint64_t tenant, uint64_t gateway,
		     const Holdfast__Signed *packet, struct hf_document **out,
		     struct hf_errmsg *message)
{
	struct hf_document *document;
	Holdfast__Change *change;
	int err = hf_change_verify(signer_key, tenant, gateway, packet, &change, message);

	if (err)
		return err;
	document = calloc(1, sizeof *document);
	if (!document) {
		err = hf_fail(message, HF_ENOMEM, "out of memory");
		goto out;
	}
	if (change->kind_case == HOLDFAST__CHANGE__KIND_DOCUMENT)
		document->content = holdfast__document__unpack(NULL, change->document.len,
							       change->document.data);
	if (!document->content) {
		err = hf_fail(message, HF_EINVAL, "the change holds no document");
		hf_document_free(document);
		goto out;
	}
	document->sequence = change->sequence;
	memcpy(document->hash, change->hash.data, HF_HASH_BYTES);
	*out = document;
out:
	holdfast__change__free_unpacked(change, NULL);
	return err;
}

void hf_document_free(struct hf_document *document)
{
	if (!document)
		return;
	holdfast__document__free_unpacked(document->content, NULL);
	free(document);
}

const Holdfast__Volume *hf_document_volume(const Holdfast__Document *document, uint64_t volume)
{
	for (size_t i = 0; i < document->n_volumes; i++)
		if (document->volumes[i]->volume == volume)
			return document->volumes[i];
	return NULL;
}

const Holdfast__Tombstone *hf_document_tombstone(const Holdfast__Document *document,
						 uint64_t volume)
{
	for (size_t i = 0; i < document->n_tombstones; i++)
		if (document->tombstones[i]->volume == volume)
			return document->tombstones[i];
	return NULL;
}

/* ---- One document by itself ---- */

static int check_requires(const Holdfast__Document *document, struct hf_errmsg *message)
{
	for (size_t i = 0; i < document->n_requires; i++) {
		bool known = false;

		for (size_t j = 0; j < sizeof features / sizeof features[0]; j++)
			known = known || strcmp(document->requires[i], features[j]) == 0;
		if (!known)
			return hf_fail(message, HF_EUNSUPPORTED,
				       "the document requires `%.60s`, which this software does "
				       "not know",
				       document->requires[i]);
	}
	return 0;
}

static unsigned count_volume(const Holdfast__Document *document, uint64_t volume)
{
	unsigned count = 0;

	for (size_t i = 0; i < document->n_volumes; i++)
		count += document->volumes[i]->volume == volume;
	for (size_t i = 0; i < document->n_tombstones; i++)
		count += document->tombstones[i]->volume == volume;
	return count;
}

static int check_unique(const Holdfast__Document *document, uint64_t volume,
			struct hf_errmsg *message)
{
	char id[HF_ID_TEXT_MAX];

	if (volume == 0)
		return hf_fail(message, HF_EINVAL, "an entry names no volume");
	if (count_volume(document, volume) != 1)
		return hf_fail(message, HF_EINVAL, "%s stands in the document twice",
			       hf_id_format(HF_ID_VOLUME, volume, id));
	return 0;
}

static int check_targets(const Holdfast__Document *document, struct hf_errmsg *message)
{
	for (size_t i = 0; i < document->n_volumes; i++)
		for (size_t j = 0; j < i; j++)
			if (strcmp(document->volumes[i]->target, document->volumes[j]->target) == 0)
				return hf_fail(message, HF_EINVAL, "two volumes share target %s",
					       document->volumes[i]->target);
	return 0;
}

static int check_alone(const Holdfast__Document *document, struct hf_errmsg *message)
{
	int err = check_requires(document, message);

	if (!err && document->n_volumes + document->n_tombstones > HF_DOCUMENT_VOLUMES_MAX)
		err = hf_fail(message, HF_ETOOBIG, "the document has more than %u volumes",
			      HF_DOCUMENT_VOLUMES_MAX);
	if (!err && (document->incarnation == 0 || document->generation == 0))
		err = hf_fail(message, HF_EINVAL, "the document has no incarnation or generation");
	for (size_t i = 0; !err && i < document->n_volumes; i++)
		err = check_unique(document, document->volumes[i]->volume, message);
	for (size_t i = 0; !err && i < document->n_tombstones; i++)
		err = check_unique(document, document->tombstones[i]->volume, message);
	return err ? err : check_targets(document, message);
}

/* ---- One after the other ---- */

static int compare(const Holdfast__Document *a, const Holdfast__Document *b)
{
	if (a->incarnation != b->incarnation)
		return a->incarnation < b->incarnation ? -1 : 1;
	if (a->generation != b->generation)
		return a->generation < b->generation ? -1 : 1;
	return 0;
}

static int check_order(const struct hf_document *current, const struct hf_document *next,
		       struct hf_errmsg *message)
{
	const Holdfast__Document *a = current->content, *b = next->content;
	int order = compare(b, a);

	if (order < 0)
		return hf_fail(message, HF_ESTALE,
			       "(%" PRIu64 ", %" PRIu64 ") is older than (%" PRIu64 ", %" PRIu64
			       "), which is in force",
			       b->incarnation, b->generation, a->incarnation, a->generation);
	if (order == 0 && memcmp(current->hash, next->hash, HF_HASH_BYTES) != 0)
		return hf_fail(message, HF_EINVAL,
			       "(%" PRIu64 ", %" PRIu64 ") is in force with another content",
			       b->incarnation, b->generation);
	if (order == 0)
		return HF_EEXIST;
	if (next->sequence <= current->sequence)
		return hf_fail(message, HF_ESTALE,
			       "the change was replayed: its sequence is %" PRIu64 ", %" PRIu64
			       " was seen",
			       next->sequence, current->sequence);
	return 0;
}

static uint32_t block_size(const Holdfast__Volume *entry)
{
	return entry->block_size ? entry->block_size : HF_BLOCK_SIZE;
}

int hf_document_check_newest(const struct hf_kept_newest *newest, const struct hf_document *next,
			     struct hf_errmsg *message)
{
	Holdfast__Document content = {.incarnation = newest->incarnation,
				      .generation = newest->generation};
	struct hf_document known = {.sequence = newest->sequence, .content = &content};
	int err;

	memcpy(known.hash, newest->hash, HF_HASH_BYTES);
	err = check_order(&known, next, message);
	return err == HF_EEXIST ? 0 : err; /* the very same, which was lost here */
}

/* What follows an entry of the document in force, in the same incarnation or the next. */
static int check_entry_after(const Holdfast__Volume *old, const Holdfast__Volume *kept,
			     bool restored, struct hf_errmsg *message)
{
	char id[HF_ID_TEXT_MAX];

	hf_id_format(HF_ID_VOLUME, old->volume, id);
	if (block_size(kept) != block_size(old))
		return hf_fail(message, HF_EINVAL, "the block size of %s changes", id);
	/* A registry that was restored may not know the last ones. Its versions are those of its
	 * own incarnation, and volumed refuses an attach epoch that goes back, of that volume
	 * alone. */
	if (restored)
		return 0;
	if (kept->version < old->version)
		return hf_fail(message, HF_EINVAL, "the version of %s goes back", id);
	if (kept->attach_epoch < old->attach_epoch)
		return hf_fail(message, HF_EINVAL, "the attach epoch of %s goes back", id);
	return 0;
}

static int check_volumes_after(const Holdfast__Document *current, const Holdfast__Document *next,
			       bool restored, struct hf_errmsg *message)
{
	char id[HF_ID_TEXT_MAX];
	int err = 0;

	for (size_t i = 0; !err && i < current->n_volumes; i++) {
		const Holdfast__Volume *old = current->volumes[i];
		const Holdfast__Volume *kept = hf_document_volume(next, old->volume);
		const Holdfast__Tombstone *tombstone = hf_document_tombstone(next, old->volume);

		if (kept)
			err = check_entry_after(old, kept, restored, message);
		else if (restored)
			continue;
		else if (tombstone && tombstone->version < old->version)
			err = hf_fail(message, HF_EINVAL, "the version of %s goes back",
				      hf_id_format(HF_ID_VOLUME, old->volume, id));
		else if (!tombstone)
			err = hf_fail(message, HF_EINVAL, "%s is left out without a tombstone",
				      hf_id_format(HF_ID_VOLUME, old->volume, id));
	}
	return err;
}

static int check_tombstones_after(const Holdfast__Document *current, const Holdfast__Document *next,
				  struct hf_errmsg *message)
{
	char id[HF_ID_TEXT_MAX];

	for (size_t i = 0; i < current->n_tombstones; i++) {
		const Holdfast__Tombstone *old = current->tombstones[i];
		const Holdfast__Tombstone *kept = hf_document_tombstone(next, old->volume);

		if (kept && kept->version < old->version)
			return hf_fail(message, HF_EINVAL, "the version of %s goes back",
				       hf_id_format(HF_ID_VOLUME, old->volume, id));
		if (hf_document_volume(next, old->volume))
			return hf_fail(message, HF_EINVAL, "%s was deleted and cannot come back",
				       hf_id_format(HF_ID_VOLUME, old->volume, id));
	}
	return 0;
}

/* A volume that comes to this gateway does so in a generation after the one in force. */
static int check_new_here(const Holdfast__Document *current, const Holdfast__Document *next,
			  struct hf_errmsg *message)
{
	char id[HF_ID_TEXT_MAX];

	for (size_t i = 0; i < next->n_volumes; i++) {
		const Holdfast__Volume *entry = next->volumes[i];

		if (entry->version <= current->generation &&
		    !hf_document_volume(current, entry->volume))
			return hf_fail(
				message, HF_EINVAL,
				"%s comes with version %" PRIu64 ", which was before it was here",
				hf_id_format(HF_ID_VOLUME, entry->volume, id), entry->version);
	}
	return 0;
}

/* Another incarnation: somebody restored the provider's registry and said so. What it has forgotten
 * must not stop the rest, so it is judged volume by volume (desired.h). */
static int check_after(const Holdfast__Document *current, const Holdfast__Document *next,
		       struct hf_errmsg *message)
{
	bool restored = next->incarnation > current->incarnation;
	int err = check_volumes_after(current, next, restored, message);

	if (err || restored)
		return err;
	err = check_tombstones_after(current, next, message);
	return err ? err : check_new_here(current, next, message);
}

int hf_document_check_deleted(const struct hf_deleted *deleted, const struct hf_document *current,
			      const struct hf_document *next, struct hf_errmsg *message)
{
	bool restored = current && next->content->incarnation > current->content->incarnation;
	char id[HF_ID_TEXT_MAX];

	for (size_t i = 0; !restored && i < next->content->n_volumes; i++) {
		uint64_t volume = next->content->volumes[i]->volume;

		/* One that a restored registry brought back stays as it is: refused by itself. */
		if (hf_deleted_has(deleted, volume) &&
		    !(current && hf_document_volume(current->content, volume)))
			return hf_fail(message, HF_EINVAL, "%s was deleted and cannot come back",
				       hf_id_format(HF_ID_VOLUME, volume, id));
	}
	return 0;
}

int hf_document_check(const struct hf_document *current, const struct hf_document *next,
		      struct hf_errmsg *message)
{
	int err = current ? check_order(current, next, message) : 0;

	if (!err)
		err = check_alone(next->content, message);
	if (!err && current)
		err = check_after(current->content, next->content, message);
	return err;
}

/* ---- One entry ---- */

static bool is_iqn(const char *name)
{
	size_t length = strlen(name);

	return length > 4 && length <= TARGET_MAX && strncmp(name, "iqn.", 4) == 0 &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789.-:") == length;
}

int hf_document_check_entry(const Holdfast__Volume *entry, struct hf_errmsg *message)
{
	if (entry->attachment != HOLDFAST__ATTACHMENT__ATTACHED &&
	    entry->attachment != HOLDFAST__ATTACHMENT__DETACHED)
		return hf_fail(message, HF_EINVAL, "neither attached nor detached");
	if (!is_iqn(entry->target))
		return hf_fail(message, HF_EINVAL, "`%.60s` is no target name", entry->target);
	if (entry->size_bytes == 0 || entry->size_bytes % SIZE_UNIT != 0)
		return hf_fail(message, HF_EINVAL, "the size is not a multiple of %u bytes",
			       SIZE_UNIT);
	if (block_size(entry) != HF_BLOCK_SIZE && block_size(entry) != SIZE_UNIT)
		return hf_fail(message, HF_EINVAL, "a block has %u or %u bytes", HF_BLOCK_SIZE,
			       SIZE_UNIT);
	if (entry->lun == 0 || entry->lun > LUN_MAX)
		return hf_fail(message, HF_EINVAL, "the LUN is not between 1 and %u", LUN_MAX);
	if (entry->attach_epoch == 0)
		return hf_fail(message, HF_EINVAL, "there is no attach epoch");
	if (strlen(entry->chap_user) > CHAP_USER_MAX || strlen(entry->mutual_user) > CHAP_USER_MAX)
		return hf_fail(message, HF_EINVAL, "a CHAP user has more than %u characters",
			       CHAP_USER_MAX);
	if (entry->mutual_user[0] && !entry->chap_user[0])
		return hf_fail(message, HF_EINVAL, "mutual CHAP needs CHAP");
	return hf_access_check(entry, message);
}
