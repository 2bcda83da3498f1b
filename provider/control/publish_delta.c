/* How a newly signed document differs from the one before it, kept beside it for gateways that have
 * that one; all others get the whole (publish.h). Loop's thread. */
#include <stdlib.h>
#include <string.h>

#include "proto/delta.h"
#include "provider/control/publish.h"

#define LEAST_BYTES 4096u /* below that the whole costs no more than the difference */

/* The document inside an encoded Signed, and its bytes, which are malloc'ed; NULL: none. */
static Holdfast__Document *open_signed(const uint8_t *packet, size_t length, uint8_t **bytes,
				       size_t *size)
{
	Holdfast__Signed *outer = holdfast__signed__unpack(NULL, length, packet);
	Holdfast__Change *change =
		outer ? holdfast__change__unpack(NULL, outer->body.len, outer->body.data) : NULL;
	Holdfast__Document *document = NULL;

	if (change && change->kind_case == HOLDFAST__CHANGE__KIND_DOCUMENT)
		document = holdfast__document__unpack(NULL, change->document.len,
						      change->document.data);
	if (document) {
		*bytes = change->document.data;
		*size = change->document.len;
		change->document = (ProtobufCBinaryData){0, NULL};
	}
	holdfast__change__free_unpacked(change, NULL);
	holdfast__signed__free_unpacked(outer, NULL);
	return document;
}

static int put(struct hf_control *control, const struct hf_reg_document *from,
	       const struct hf_reg_document *to, const uint8_t *bytes, size_t length)
{
	struct hf_reg_delta delta = {.gateway = to->gateway,
				     .incarnation = to->incarnation,
				     .generation = to->generation,
				     .base_incarnation = from->incarnation,
				     .base_generation = from->generation,
				     .bytes = bytes,
				     .length = length};

	memcpy(delta.base_hash, from->hash, sizeof delta.base_hash);
	return hf_registry_delta_put(control->reg, &delta);
}

static int compare(struct hf_control *control, const struct hf_reg_document *from,
		   const struct hf_reg_document *to)
{
	uint8_t *old_bytes = NULL, *new_bytes = NULL, *delta;
	size_t old_size = 0, new_size = 0, length;
	Holdfast__Document *base = open_signed(from->bytes, from->length, &old_bytes, &old_size);
	Holdfast__Document *next = open_signed(to->bytes, to->length, &new_bytes, &new_size);
	int err = 0;

	if (base && next &&
	    hf_delta_make(base, from->hash, next, new_bytes, new_size, &delta, &length) == 0) {
		err = put(control, from, to, delta, length);
		free(delta);
	}
	holdfast__document__free_unpacked(base, NULL);
	holdfast__document__free_unpacked(next, NULL);
	free(old_bytes);
	free(new_bytes);
	return err;
}

int hf_publish_delta(struct hf_control *control, const struct hf_reg_document *next)
{
	struct hf_reg_document before;
	int err;

	if (next->length < LEAST_BYTES)
		return 0;
	err = hf_registry_document_get(control->reg, next->gateway, &before);
	if (err)
		return err == HF_ENOENT ? 0 : err;
	err = compare(control, &before, next);
	free((void *)(uintptr_t)before.bytes);
	return err;
}

int hf_publish_newest(struct hf_control *control, uint64_t gateway, Holdfast__Document **document)
{
	struct hf_reg_document newest;
	uint8_t *bytes = NULL;
	size_t size;
	int err = hf_registry_document_get(control->reg, gateway, &newest);

	if (err)
		return err;
	*document = open_signed(newest.bytes, newest.length, &bytes, &size);
	free((void *)(uintptr_t)newest.bytes);
	free(bytes);
	return *document ? 0 : HF_ECORRUPT;
}
