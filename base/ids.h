/* Identifiers: 64-bit numbers inside, prefixed hexadecimal for people and in names. Volume
 * "vol-0123456789abcdef", tenant "t-…", gateway "sgw-…", action "act-…". 0 is never a valid
 * identifier. */
#ifndef HF_BASE_IDS_H
#define HF_BASE_IDS_H

#include <stddef.h>
#include <stdint.h>

#define HF_ID_TEXT_MAX 24u /* bytes, with the terminator */

enum hf_id_kind { HF_ID_VOLUME, HF_ID_TENANT, HF_ID_GATEWAY, HF_ID_ACTION };

/* Writes the text form; `text` holds at least HF_ID_TEXT_MAX bytes. Returns `text`. */
char *hf_id_format(enum hf_id_kind kind, uint64_t id, char *text);
/* Reads exactly the text form (lower case, 16 digits); 0 or HF_EINVAL. */
int hf_id_parse(enum hf_id_kind kind, const char *text, uint64_t *id);

/* Sizes for people: a number with an optional KiB, MiB, GiB, TiB. 0 or HF_EINVAL, HF_ERANGE. */
int hf_size_parse(const char *text, uint64_t *size_bytes);

#endif
