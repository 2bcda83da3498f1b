/* The signer's core in a folder of its own, and questions to it, for its tests. */
#ifndef HF_TESTS_PROVIDER_SIGNER_FIXTURE_H
#define HF_TESTS_PROVIDER_SIGNER_FIXTURE_H

#include "proto/document.pb-c.h"
#include "provider/signer/signer.h"

#define TENANT  0x11u
#define GATEWAY 0x22u
#define VOLUME  0x33u

extern char sf_folder[64];
extern struct hf_signer *sf_signer;
extern struct hf_sign_key sf_identity; /* the gateway's */
extern struct hf_seal_key sf_sealing;

void sf_open_signer(void);
int sf_set_up(void **state);
int sf_tear_down(void **state);
/* Asked and answered; dropped with sf_drop. */
Holdfast__SignerAnswer *sf_ask(const Holdfast__SignerRequest *request);
void sf_drop(Holdfast__SignerAnswer *answer);
ProtobufCBinaryData sf_binary(const void *bytes, size_t length);
Holdfast__SignerAnswer *sf_certify_with(uint64_t tenant, const struct hf_sign_key *key,
					const uint8_t *claimed_key, const uint8_t *sealing_key);
Holdfast__SignerAnswer *sf_certify_gateway(uint64_t tenant, uint64_t gateway,
					   const struct hf_sign_key *key,
					   const uint8_t *claimed_key, const uint8_t *sealing_key);
void sf_certify(void);
/* Encrypts CHAP secrets for a volume, as the provider keeps them. */
Holdfast__SignerAnswer *sf_new_secret(uint64_t tenant, uint64_t volume);
/* Another CHAP secret for what was kept (NULL: a wrap key is made). */
Holdfast__SignerAnswer *sf_change_secret(uint64_t tenant, uint64_t volume, const char *chap,
					 const ProtobufCBinaryData *keeps);
Holdfast__SignerAnswer *sf_sign_for(uint64_t tenant, uint64_t incarnation, uint64_t generation,
				    const char *url, const uint8_t *sealing_key,
				    const ProtobufCBinaryData *secret);
int sf_sign_error(uint64_t incarnation, uint64_t generation, const char *url);
/* The verified change inside an encoded Signed; the caller frees it. */
Holdfast__Change *sf_change_in(const ProtobufCBinaryData *packet, const uint8_t *signer_key,
			       uint64_t gateway);
Holdfast__Change *sf_change_of(const Holdfast__SignerAnswer *answer);

#endif
