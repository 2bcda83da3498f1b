/* What the signer remembers of each gateway, so that neither its restart nor a provider with a
 * restored database makes it sign backwards: one SQLite database, synced before an answer leaves
 * (docs/protocol/provider.md, "The signer's folder"). Each entry has a checksum of its own, so that
 * a damaged one stops its gateway only. Signer's thread; blocks. */
#ifndef HF_PROVIDER_SIGNER_LEDGER_H
#define HF_PROVIDER_SIGNER_LEDGER_H

#include <stdbool.h>

#include "base/err.h"
#include "net/activation_key.h"
#include "net/sign.h"
#include "proto/provider.pb-c.h"

struct hf_ledger;

/* Opens or makes `state_dir`/ledger.db, and takes over the files of a version before it had one,
 * once: `state_dir`/gateways becomes gateways.imported. HF_EBUSY: another signer has it. */
int hf_ledger_open(const char *state_dir, struct hf_ledger **ledger, struct hf_errmsg *message);
/* NULL is harmless. */
void hf_ledger_close(struct hf_ledger *ledger);

/* Changes belong into a transaction; they do not nest. What is done in it is durable when the end
 * returns 0, and undone by an error, `err` or its own. */
int hf_ledger_begin(struct hf_ledger *ledger, struct hf_errmsg *message);
int hf_ledger_end(struct hf_ledger *ledger, int err, struct hf_errmsg *message);

/* Reads the entry of a gateway: 0 and `*entry`, freed with
 * holdfast__signer_ledger__free_unpacked(entry, NULL); HF_ENOENT; HF_ECORRUPT. */
int hf_ledger_load(struct hf_ledger *ledger, uint64_t gateway, Holdfast__SignerLedger **entry,
		   struct hf_errmsg *message);
int hf_ledger_store(struct hf_ledger *ledger, const Holdfast__SignerLedger *entry,
		    struct hf_errmsg *message);

/* All of them; `entry` NULL: it fails its check. Anything but 0 ends the visit and is returned. */
int hf_ledger_visit(struct hf_ledger *ledger,
		    int (*visit)(void *context, uint64_t gateway,
				 const Holdfast__SignerLedger *entry),
		    void *context, struct hf_errmsg *message);

/* ---- Authorities that followed one another (ledger_keys.c) ---- */

struct hf_ledger_authority {
	uint64_t number; /* from 1 */
	bool retired;
	const uint8_t *certificate; /* DER */
	size_t length;
};
/* Oldest first; anything but 0 ends the visit and is returned. */
int hf_ledger_authority_visit(struct hf_ledger *ledger,
			      int (*visit)(void *context,
					   const struct hf_ledger_authority *authority),
			      void *context, struct hf_errmsg *message);
int hf_ledger_authority_add(struct hf_ledger *ledger, const struct hf_ledger_authority *authority,
			    struct hf_errmsg *message);
int hf_ledger_authority_retire(struct hf_ledger *ledger, uint64_t number,
			       struct hf_errmsg *message);

/* ---- Signing keys that followed one another (ledger_keys.c) ---- */

struct hf_ledger_rotation {
	uint8_t old_key[HF_KEY_BYTES], new_key[HF_KEY_BYTES];
	const uint8_t *statement; /* an encoded Signed */
	size_t length;
};
/* Oldest first; anything but 0 ends the visit and is returned. */
int hf_ledger_rotation_visit(struct hf_ledger *ledger,
			     int (*visit)(void *context, const struct hf_ledger_rotation *rotation),
			     void *context, struct hf_errmsg *message);
int hf_ledger_rotation_add(struct hf_ledger *ledger, const struct hf_ledger_rotation *rotation,
			   struct hf_errmsg *message);

/* ---- Volumes whose tombstones were signed (ledger_deleted.c) ---- */

/* Again is fine. */
int hf_ledger_deleted_add(struct hf_ledger *ledger, uint64_t gateway, uint64_t volume,
			  struct hf_errmsg *message);
int hf_ledger_deleted_has(struct hf_ledger *ledger, uint64_t gateway, uint64_t volume, bool *has,
			  struct hf_errmsg *message);

/* ---- Activation keys that an administrator has entered ---- */

/* Approves the gateway whose console shows this key. Those of more than HF_APPROVAL_DAYS ago that
 * were not used are forgotten. */
#define HF_APPROVAL_DAYS 2u
int hf_ledger_approve(struct hf_ledger *ledger, const uint8_t number[HF_ACTIVATION_NUMBER_BYTES],
		      const uint8_t hash[HF_ACTIVATION_HASH_BYTES], int64_t now_s,
		      struct hf_errmsg *message);
/* Uses the approval for this gateway, once. HF_EAUTH: nobody entered this key, or it was used for
 * another gateway. */
int hf_ledger_use_approval(struct hf_ledger *ledger,
			   const uint8_t number[HF_ACTIVATION_NUMBER_BYTES],
			   const uint8_t hash[HF_ACTIVATION_HASH_BYTES], uint64_t gateway,
			   int64_t now_s, struct hf_errmsg *message);

#endif
