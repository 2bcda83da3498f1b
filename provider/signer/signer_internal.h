/* Shared by the files of the signer's core: its keys, and the answer under construction. */
#ifndef HF_PROVIDER_SIGNER_SIGNER_INTERNAL_H
#define HF_PROVIDER_SIGNER_SIGNER_INTERNAL_H

#include <stdbool.h>

#include "base/assert.h"
#include "net/identity.h"
#include "proto/document.pb-c.h"
#include "provider/signer/ledger.h"
#include "provider/signer/signer.h"

#define SIGNER_MAGIC 0x7369676eu

/* One that issues certificates. */
struct hf_signer_authority {
	uint64_t number; /* from 1; 0: none */
	struct hf_sign_key key;
	uint8_t *certificate; /* DER */
	size_t length;
	uint8_t id[HF_AUTHORITY_ID_BYTES];
};

struct hf_signer {
	uint32_t magic;
	struct hf_signer_authority authority, next; /* in use; to follow it, during a rotation */
	uint64_t authorities_version;
	struct hf_sign_key sign_key;
	struct hf_signing *signing; /* sign_key, made ready */
	struct hf_seal_key secrets_key;
	struct hf_ledger *ledger;
	uint64_t gateway_days, server_days;
	bool approval; /* new gateways need one */
	char *state_dir;
};

/* What the verbs fill in; the malloc'ed bytes are freed by the dispatcher once encoded. */
struct hf_signer_result {
	struct hf_errmsg reason;
	uint8_t *certificate;
	size_t certificate_length;
	uint8_t *signed_change;
	size_t signed_change_length;
	uint8_t *secret;
	size_t secret_length;
	Holdfast__SignerResult **results; /* of a batch */
	size_t result_count;
	ProtobufCBinaryData *rotations; /* of a hello */
	size_t rotation_count;
	bool with_trust; /* for the provider: the token key and the authorities */
	uint8_t *authorities, *statement;
	size_t authorities_length, statement_length;
	uint64_t *gateways; /* that depend on an authority */
	size_t gateway_count;
};

/* Each is called within a transaction of the ledger; its answer leaves when that has ended. */
int hf_signer_certificate(struct hf_signer *signer, const Holdfast__SignerCertificate *order,
			  struct hf_signer_result *result);
int hf_signer_renewal(struct hf_signer *signer, const Holdfast__SignerRenewal *order,
		      struct hf_signer_result *result);
int hf_signer_revocation(struct hf_signer *signer, const Holdfast__SignerRevocation *order,
			 struct hf_signer_result *result);
int hf_signer_approval(struct hf_signer *signer, const Holdfast__SignerApproval *order,
		       struct hf_signer_result *result);
int hf_signer_document(struct hf_signer *signer, const Holdfast__SignerDocument *order,
		       struct hf_signer_result *result);
/* May this document follow the last that was signed for the gateway (invariant 4)? Within an
 * incarnation nothing deleted comes back and no version or attach epoch goes back; a higher one is
 * of a registry that was restored, and the gateway holds up what that forgot. HF_EINVAL and why. */
int hf_signer_may_follow(struct hf_signer *signer, const Holdfast__SignerLedger *last,
			 const Holdfast__Document *next, struct hf_errmsg *reason);
/* Its tombstones are remembered. */
int hf_signer_followed(struct hf_signer *signer, uint64_t gateway, const Holdfast__Document *next,
		       struct hf_errmsg *reason);
/* Above the ledger's last one, and above what the gateway says it took (`floor`): a ledger that was
 * restored goes on where the gateway is. No provider can use the numbers up. */
uint64_t hf_signer_next_sequence(uint64_t last, uint64_t floor);
int hf_signer_action(struct hf_signer *signer, const Holdfast__SignerAction *order,
		     struct hf_signer_result *result);
/* What is wrong with one order is said in its own result; an error is of the whole batch. */
int hf_signer_batch(struct hf_signer *signer, const Holdfast__SignerBatch *batch,
		    struct hf_signer_result *result);
void hf_signer_batch_free(struct hf_signer_result *result);

/* The key that signs from now on. HF_ENOMEM: it stays the one before. */
int hf_signer_use_key(struct hf_signer *signer, const struct hf_sign_key *key);

/* ---- rotation.c ---- */

/* After the keys were read: ends a rotation that was cut short. */
int hf_signer_rotation_recover(struct hf_signer *signer, struct hf_errmsg *message);
/* Not within a transaction: has its own. */
int hf_signer_rotate(struct hf_signer *signer, struct hf_signer_result *result);
/* How the key in use followed others. */
int hf_signer_rotation_list(struct hf_signer *signer, struct hf_signer_result *result);
void hf_signer_rotation_free(struct hf_signer_result *result);

/* ---- authorities.c ---- */

/* Is the authority of the first start, of which ca.key and ca.crt are, out of use? */
int hf_signer_first_retired(struct hf_signer *signer, bool *retired, struct hf_errmsg *message);
/* After the first one was read, if it is in use: those that followed. */
int hf_signer_authorities_open(struct hf_signer *signer, struct hf_errmsg *message);
void hf_signer_authorities_close(struct hf_signer *signer);
/* Neither is within a transaction: each has its own. */
int hf_signer_authority_rotate(struct hf_signer *signer, struct hf_signer_result *result);
int hf_signer_authority_retire(struct hf_signer *signer, const Holdfast__SignerRetirement *order,
			       struct hf_signer_result *result);
/* The list of authorities, and the same as a signed change. */
int hf_signer_authorities_list(struct hf_signer *signer, struct hf_signer_result *result);

int hf_signer_new_secret(struct hf_signer *signer, const Holdfast__SignerNewSecret *order,
			 struct hf_signer_result *result);

#endif
