/* Names of a volume's things in the object store (docs/format/objects.md, "Names"). Numbers are 16
 * hexadecimal digits, so that byte order is the order of numbers. No state, any thread. */
#ifndef HF_REMOTE_NAMES_H
#define HF_REMOTE_NAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/env.h"

/* Who an object is: all of it is authenticated, so that an object copied to another name is
 * refused. `sequence` counts from 1 within an incarnation; 0 for claims, bases and key rings, and
 * what does not apply to one of these is 0 too. */
struct hf_object_id {
	uint64_t tenant, volume;
	uint64_t epoch, start;
	uint64_t sequence;
};

/* Each writes a terminated name of less than HF_STORE_NAME_MAX bytes. */
void hf_name_volume(char *name, uint64_t tenant, uint64_t volume); /* prefix, with its '/' */
void hf_name_keyring(char *name, uint64_t tenant, uint64_t volume);
void hf_name_tombstone(char *name, uint64_t tenant, uint64_t volume);
void hf_name_claims(char *name, uint64_t tenant, uint64_t volume); /* prefix */
void hf_name_claim(char *name, uint64_t tenant, uint64_t volume, uint64_t start);
void hf_name_incarnation(char *name, const struct hf_object_id *id); /* prefix */
void hf_name_base(char *name, const struct hf_object_id *id);
void hf_name_object(char *name, const struct hf_object_id *id);
void hf_name_maps(char *name, const struct hf_object_id *id); /* prefix */
void hf_name_map(char *name, const struct hf_object_id *id);

/* The number that follows `prefix` and ends the name; false if there is none. */
bool hf_name_number(const char *name, const char *prefix, uint64_t *number);

#endif
