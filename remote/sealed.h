/* The sealed form that key rings, claims, bases and the headers of objects and map objects share: a
 * prefix of 128 bytes in clear, which says who the thing is, and an encrypted body. Both are
 * authenticated (invariants 7 and 8). docs/format/objects.md, "Sealed form". No state, any thread.
 */
#ifndef HF_REMOTE_SEALED_H
#define HF_REMOTE_SEALED_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "remote/crypt.h"
#include "remote/names.h"

#define HF_SEALED_PREFIX_BYTES 128u
#define HF_SEALED_BODY_MAX     (4u << 20) /* bytes */

/* Numbers are in the store: only add. */
enum hf_sealed_kind {
	HF_SEALED_KEYRING = 1,
	HF_SEALED_CLAIM = 2,
	HF_SEALED_BASE = 3,
	HF_SEALED_OBJECT = 4,
	HF_SEALED_MAP = 5,
};

#define HF_SEALED_VERSION 1u
#define HF_SEALED_VERSION_MAX                                                                      \
	2u /* a base that names a checkpoint, which format 1 does not know                         \
	    */

struct hf_sealed {
	enum hf_sealed_kind kind;
	uint32_t version; /* 0 when writing: HF_SEALED_VERSION */
	struct hf_object_id id;
	uint8_t salt[HF_SALT_BYTES];
	uint8_t tag[HF_TAG_BYTES]; /* of the body; with it, content and salt are unique */
	uint32_t body_bytes;
	uint32_t body_crc;
};

/* The key that seals one thing: from the volume's data key (for the key ring: the wrap key) and the
 * thing's salt. 0 or HF_ENOMEM. */
int hf_sealed_key(const struct hf_sealed *sealed, const uint8_t secret[HF_KEY_BYTES],
		  uint8_t key[HF_KEY_BYTES]);
/* Writes prefix and encrypted body (128 + body_bytes) to `out`, which must not overlap `body`;
 * fills the tag. kind, id, salt and body_bytes are given. 0 or HF_ENOMEM. */
int hf_sealed_write(struct hf_sealed *sealed, const uint8_t key[HF_KEY_BYTES], const void *body,
		    uint8_t *out);
/* Reads the prefix of any bytes. 0; HF_ECORRUPT (damaged, or another kind of thing),
 * HF_EUNSUPPORTED (a newer format). Says nothing about who sealed it. */
int hf_sealed_read_prefix(const uint8_t *bytes, size_t length, enum hf_sealed_kind kind,
			  struct hf_sealed *sealed, struct hf_errmsg *message);
/* HF_ECORRUPT unless the thing is who its name says. */
int hf_sealed_check_id(const struct hf_sealed *sealed, const struct hf_object_id *expected,
		       struct hf_errmsg *message);
/* How long prefix and body are together: what has to be fetched before the thing can be opened.
 * `bytes` hold at least its prefix. Errors of the two above. */
int hf_sealed_header_bytes(const struct hf_object_id *id, enum hf_sealed_kind kind,
			   const uint8_t *bytes, size_t length, size_t *header_bytes,
			   struct hf_errmsg *message);
/* Decrypts the body of a thing whose prefix was read from `bytes` into `body` (body_bytes). 0;
 * HF_ECORRUPT (damaged or cut), HF_EAUTH (intact, but sealed with another key), HF_ENOMEM. */
int hf_sealed_open(const struct hf_sealed *sealed, const uint8_t key[HF_KEY_BYTES],
		   const uint8_t *bytes, size_t length, uint8_t *body, struct hf_errmsg *message);

#define HF_PART_ASSOCIATED_BYTES 48u

/* The cipher of one part behind a header, a chunk or a block: `what` it is, and a number that no
 * other part under this key has (of a chunk its own, of a block its offset). Points to `key` and
 * `associated`, which it fills with who the thing and the part are. */
struct hf_cipher hf_sealed_part_cipher(const struct hf_object_id *id, uint64_t what,
				       uint64_t number, const uint8_t *key,
				       uint8_t associated[HF_PART_ASSOCIATED_BYTES]);

#endif
