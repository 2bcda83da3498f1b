/* The rules for desired state (invariant 4), pure: which document may follow the one in force. */
#ifndef HF_GATEWAY_AGENT_DOCUMENT_H
#define HF_GATEWAY_AGENT_DOCUMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "gateway/agent/deleted.h"
#include "net/sign.h"
#include "proto/document.pb-c.h"

#define HF_DOCUMENT_VOLUMES_MAX 1024u /* entries and tombstones together */

/* A document with the change that carried it. */
struct hf_document {
	uint64_t sequence; /* of the signer */
	uint8_t hash[HF_HASH_BYTES];
	Holdfast__Document *content;
};

/* Checks signature, tenant, gateway and hash, and decodes. `*document` is freed with
 * hf_document_free. HF_EAUTH, HF_EINVAL and why. */
int hf_document_open(const uint8_t signer_key[HF_KEY_BYTES], uint64_t tenant, uint64_t gateway,
		     const Holdfast__Signed *packet, struct hf_document **document,
		     struct hf_errmsg *message);
/* NULL is harmless. */
void hf_document_free(struct hf_document *document);

/* May `next` follow `current` (NULL: none)? HF_OK: it is to be applied. HF_EEXIST: it is the one
 * in force, nothing changes. Refused: HF_ESTALE (older, or replayed), HF_EUNSUPPORTED (requires
 * what is not known here), HF_EINVAL (another document of the same generation, a volume left out
 * without a tombstone, a deleted one that comes back, a version or an attach epoch that goes back,
 * entries that contradict each other). A higher incarnation (of a registry that was restored)
 * may do all of that but contradict itself: those volumes alone are held up, not the document. */
int hf_document_check(const struct hf_document *current, const struct hf_document *next,
		      struct hf_errmsg *message);

/* Has it a volume that was deleted here before (and is not in force)? HF_EINVAL and why. */
int hf_document_check_deleted(const struct hf_deleted *deleted, const struct hf_document *current,
			      const struct hf_document *next, struct hf_errmsg *message);

/* May `next` come after the newest that was ever taken, if all that is known of that one is this?
 * HF_ESTALE, HF_EINVAL and why. */
struct hf_kept_newest;
int hf_document_check_newest(const struct hf_kept_newest *newest, const struct hf_document *next,
			     struct hf_errmsg *message);

const Holdfast__Volume *hf_document_volume(const Holdfast__Document *document, uint64_t volume);
const Holdfast__Tombstone *hf_document_tombstone(const Holdfast__Document *document,
						 uint64_t volume);

/* Can this entry be served? One that cannot fails alone: HF_EINVAL and why. */
int hf_document_check_entry(const Holdfast__Volume *entry, struct hf_errmsg *message);

#endif
