/* Volumes that a restored registry does not know: a document of a higher incarnation leaves them
 * out, but a volume leaves only through a tombstone (invariant 4), so they are served on as the
 * last document that named them said, until another names them or has their tombstone. Pure. */
#ifndef HF_GATEWAY_AGENT_LEFT_H
#define HF_GATEWAY_AGENT_LEFT_H

#include "proto/document.pb-c.h"

/* A list of volumes as a Document without numbers; freed with
 * holdfast__document__free_unpacked(…, NULL). What is left once `next` follows `current`, and
 * `left` (NULL: nothing) was left before; NULL: nothing. */
Holdfast__Document *hf_left_after(const Holdfast__Document *left, const Holdfast__Document *current,
				  const Holdfast__Document *next);

/* The document with what was left, as it is to be carried out: only its list of volumes is its own
 * (hf_left_join_end); all else points into the two. */
void hf_left_join(const Holdfast__Document *document, const Holdfast__Document *left,
		  Holdfast__Document *joined);
void hf_left_join_end(Holdfast__Document *joined);

#endif
