/* The requests by which steps are done, encoded: what volumed and the broker are asked. Secrets are
 * unsealed here, in memory only, and wiped with hf_wipe_free after sending. */
#ifndef HF_GATEWAY_AGENT_REQUESTS_H
#define HF_GATEWAY_AGENT_REQUESTS_H

#include "gateway/agent/plan.h"
#include "net/seal.h"

struct hf_request_context {
	uint64_t tenant;
	const struct hf_seal_key *sealing;
	const Holdfast__Volume *entry; /* or */
	const Holdfast__Tombstone *tombstone;
	const char *iqn; /* of the step */
	uint32_t lun;    /* of HF_STEP_REMOVE_LUN */
	uint32_t tgtd;   /* that the volume is on */
};

/* Is the step asked of volumed (else of the broker)? */
bool hf_step_is_volumeds(enum hf_step step);
/* A malloc'ed encoded VolumedRequest or BrokerRequest. HF_EAUTH, HF_EINVAL: the secrets cannot be
 * unsealed, with why. */
int hf_request_of_step(enum hf_step step, const struct hf_request_context *context, uint8_t **bytes,
		       size_t *length, struct hf_errmsg *message);
int hf_request_set_store(const Holdfast__Store *store, const struct hf_seal_key *sealing,
			 uint8_t **bytes, size_t *length, struct hf_errmsg *message);
int hf_request_portal(bool open, const char *portal, uint8_t **bytes, size_t *length);
int hf_request_delete_target(const char *iqn, uint8_t **bytes, size_t *length);
/* Ends the run of volumed, or of the tgtd of that broker, with this boot. */
int hf_request_restart(bool volumed, const uint8_t *boot, size_t boot_length, uint64_t action,
		       uint8_t **bytes, size_t *length);

/* The error (HF_E…) and reason in an encoded answer of volumed or the broker. */
int hf_answer_read(bool volumed, const uint8_t *bytes, size_t length, struct hf_errmsg *message);

#endif
