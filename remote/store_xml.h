/* The little XML that S3 answers with: ListObjectsV2's ListBucketResult and Error. A bounded
 * scanner over the bytes of an answer that is not trusted: no recursion, nothing is allocated,
 * every element that is not asked for is skipped. */
#ifndef HF_REMOTE_STORE_XML_H
#define HF_REMOTE_STORE_XML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HF_XML_DEPTH_MAX 16u
#define HF_XML_TEXT_MAX  4096u /* bytes of one text, decoded; longer is refused */

enum hf_xml_kind {
	HF_XML_END, /* of the document: every element was closed */
	HF_XML_OPEN,
	HF_XML_CLOSE, /* `text` holds what stood directly before it */
	HF_XML_BAD,   /* not well-formed, too deep, or cut short */
};

struct hf_xml {
	const char *at, *end;
	unsigned depth;
	struct {
		const char *name;
		size_t length;
	} open[HF_XML_DEPTH_MAX];
	bool seen_root, close_pending;
	/* Of the event: the element's name without its namespace prefix, and its text. */
	char name[64];
	char text[HF_XML_TEXT_MAX + 1];
	size_t text_length;
};

void hf_xml_start(struct hf_xml *xml, const char *bytes, size_t length);
enum hf_xml_kind hf_xml_next(struct hf_xml *xml);

/* The Code of an Error answer, such as NoSuchKey; "" if there is none. `code` is cut to fit. */
void hf_xml_error_code(const char *bytes, size_t length, char *code, size_t size);

/* A ListBucketResult (asked for with encoding-type=url). `found` gets each key, decoded, in the
 * answer's order. 0, or HF_EPROTO when it is cut short or no such answer, or what `found` returned
 * first. */
int hf_xml_list(const char *bytes, size_t length, bool *truncated,
		int (*found)(void *context, const char *key, uint64_t size_bytes), void *context);

#endif
