/* Documents as bytes that can be made again, and as differences between them. Pure.
 *
 * A document has one encoding: volumes and tombstones by number, requires[] by name, fields as
 * protobuf-c packs them (by tag, defaults left out). So a delta that is put onto the right base
 * gives the very bytes that were hashed and signed, and needs no trust of its own. */
#ifndef HF_PROTO_DELTA_H
#define HF_PROTO_DELTA_H

#include "base/err.h"
#include "proto/document.pb-c.h"

#define HF_DELTA_HASH_BYTES 32u        /* SHA-256 */
#define HF_DELTA_MAX        (4u << 20) /* bytes of a delta or of what is built from it */

/* Puts the document into the order of its one encoding. */
void hf_document_sort(Holdfast__Document *document);

/* The difference that makes `next` (encoded: `bytes`) of `base`, whose hash is given: a malloc'ed
 * encoded DocumentDelta. HF_ENOENT: none is worth sending, because it would not give these bytes or
 * is not shorter; HF_ENOMEM. */
int hf_delta_make(const Holdfast__Document *base, const uint8_t base_hash[HF_DELTA_HASH_BYTES],
		  const Holdfast__Document *next, const uint8_t *bytes, size_t length,
		  uint8_t **delta, size_t *delta_length);

/* What becomes of `base` (NULL: there is none) by this delta: malloc'ed bytes of a document, of
 * which only their hash and signature say whether they are right. HF_ESTALE: it is a delta against
 * another base; HF_EPROTO: not a delta; HF_ETOOBIG, HF_ENOMEM. */
int hf_delta_apply(const Holdfast__Document *base, const uint8_t base_hash[HF_DELTA_HASH_BYTES],
		   const uint8_t *delta, size_t delta_length, uint8_t **bytes, size_t *length);

#endif
