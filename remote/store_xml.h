/* The little XML that S3 answers with: ListObjectsV2's ListBucketResult and Error. A bounded
 * scanner over the bytes of an answer that is not trusted: no recursion, nothing is allocated,
 * every element that is not asked for is skipped. */
#ifndef HF_REMOTE_STORE_XML_H
#define HF_REMOTE_STORE_XML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HF_XML_TEXT_MAX 4096u /* bytes of one text, decoded; longer is refused */

/* The Code of an Error answer, such as NoSuchKey; "" if there is none. `code` is cut to fit. */
void hf_xml_error_code(const char *bytes, size_t length, char *code, size_t size);

/* A ListBucketResult (asked for with encoding-type=url). `found` gets each key, decoded, in the
 * answer's order. 0, or HF_EPROTO when it is cut short or no such answer, or what `found` returned
 * first. */
int hf_xml_list(const char *bytes, size_t length, bool *truncated,
		int (*found)(void *context, const char *key, uint64_t size_bytes), void *context);

#endif
