/* The chain of a volume's incarnations: claims, which order them, and bases, each of which says how
 * far every incarnation before it counts. No state, any thread.
 *
 * An incarnation claims its number (`start`), then lists, then writes its base. Whatever an older
 * one writes past what the newest base counts is ignored by everyone. docs/format/objects.md,
 * "Claims" and "Bases"; the proof by cases is in docs/design/remote.md. */
#ifndef HF_REMOTE_CHAIN_H
#define HF_REMOTE_CHAIN_H

#include "remote/sealed.h"

#define HF_CLAIM_NONCE_BYTES 16u
#define HF_CLAIM_BODY_BYTES  24u
#define HF_CLAIM_BYTES       (HF_SEALED_PREFIX_BYTES + HF_CLAIM_BODY_BYTES)
#define HF_CHAIN_MAX         65536u /* earlier incarnations with objects */

/* Who claims: the id holds tenant, volume, attach epoch and start. The nonce lets a claimer whose
 * answer was lost recognise its own claim. */
struct hf_claim {
	struct hf_object_id id;
	uint8_t nonce[HF_CLAIM_NONCE_BYTES];
	uint64_t wall_ms;
};

/* Writes HF_CLAIM_BYTES to `out`. 0 or HF_ENOMEM. */
int hf_claim_write(const struct hf_claim *claim, const uint8_t data_key[HF_KEY_BYTES],
		   const uint8_t salt[HF_SALT_BYTES], uint8_t *out);
/* Reads any bytes as claim `start` of a volume; the epoch is what it says. 0, HF_ECORRUPT,
 * HF_EUNSUPPORTED, HF_EAUTH, HF_ENOMEM. */
int hf_claim_read(uint64_t tenant, uint64_t volume, uint64_t start,
		  const uint8_t data_key[HF_KEY_BYTES], const uint8_t *bytes, size_t length,
		  struct hf_claim *claim, struct hf_errmsg *message);

/* An earlier incarnation: its objects 1 … last_object count, the last of which ends with
 * `last_sequence` of the volume. */
struct hf_chain_link {
	uint64_t epoch, start;
	uint64_t first_object, last_object;
	uint64_t last_sequence;
};

struct hf_base {
	struct hf_object_id id;
	uint64_t size_bytes;     /* of the volume */
	uint64_t recovery_point; /* volume sequence it continues from */
	uint64_t wall_ms;
	struct hf_chain_link *links; /* in order; malloc'ed */
	uint32_t link_count;
	/* The newest checkpoint of an earlier incarnation that its writer knew (epoch, start,
	 * sequence of the map object with the root); sequence 0: none. */
	struct hf_object_id checkpoint;
};

/* Gives malloc'ed bytes. 0, HF_ENOMEM, HF_ETOOBIG (HF_CHAIN_MAX). */
int hf_base_write(const struct hf_base *base, const uint8_t data_key[HF_KEY_BYTES],
		  const uint8_t salt[HF_SALT_BYTES], uint8_t **bytes, size_t *length);
/* Reads any bytes as the base named `id`; on success hf_base_free is due. Errors as for claims. */
int hf_base_read(const struct hf_object_id *id, const uint8_t data_key[HF_KEY_BYTES],
		 const uint8_t *bytes, size_t length, struct hf_base *base,
		 struct hf_errmsg *message);
/* Adds a link at the end; 0, HF_ENOMEM or HF_ETOOBIG. */
int hf_base_add_link(struct hf_base *base, const struct hf_chain_link *link);
void hf_base_free(struct hf_base *base);

#endif
