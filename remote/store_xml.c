/* See store_xml.h. Comments, processing instructions and a document type without inner declarations
 * are skipped; CDATA is refused, since no S3 answer needs it. */
#include "remote/store_xml.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

#define DEPTH_MAX 16u

enum xml_kind {
	XML_END, /* of the document: every element was closed */
	XML_OPEN,
	XML_CLOSE, /* `text` holds what stood directly before it */
	XML_BAD,   /* not well-formed, too deep, or cut short */
};

struct xml {
	const char *at, *end;
	unsigned depth;
	struct {
		const char *name;
		size_t length;
	} open[DEPTH_MAX];
	bool seen_root, close_pending;
	/* Of the event: the element's name without its namespace prefix, and its text. */
	char name[64];
	char text[HF_XML_TEXT_MAX + 1];
	size_t text_length;
};

static void start(struct xml *xml, const char *bytes, size_t length)
{
	memset(xml, 0, sizeof *xml);
	xml->at = bytes;
	xml->end = bytes + length;
}

static bool begins(const struct xml *xml, const char *text)
{
	size_t length = strlen(text);

	return (size_t)(xml->end - xml->at) >= length && memcmp(xml->at, text, length) == 0;
}

/* Goes past the next `text`; false if there is none. */
static bool skip_past(struct xml *xml, const char *text)
{
	size_t length = strlen(text);
	const char *found = memmem(xml->at, (size_t)(xml->end - xml->at), text, length);

	if (!found)
		return false;
	xml->at = found + length;
	return true;
}

static bool put_text(struct xml *xml, char c)
{
	if (xml->text_length == HF_XML_TEXT_MAX || c == '\0')
		return false;
	xml->text[xml->text_length++] = c;
	return true;
}

/* A character's number as UTF-8. */
static bool put_character(struct xml *xml, unsigned long c)
{
	if (c == 0 || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return false;
	if (c < 0x80)
		return put_text(xml, (char)c);
	if (c < 0x800)
		return put_text(xml, (char)(0xc0 | c >> 6)) &&
		       put_text(xml, (char)(0x80 | (c & 63)));
	if (c < 0x10000)
		return put_text(xml, (char)(0xe0 | c >> 12)) &&
		       put_text(xml, (char)(0x80 | (c >> 6 & 63))) &&
		       put_text(xml, (char)(0x80 | (c & 63)));
	return put_text(xml, (char)(0xf0 | c >> 18)) &&
	       put_text(xml, (char)(0x80 | (c >> 12 & 63))) &&
	       put_text(xml, (char)(0x80 | (c >> 6 & 63))) &&
	       put_text(xml, (char)(0x80 | (c & 63)));
}

static bool put_entity(struct xml *xml)
{
	static const struct {
		const char *name;
		char c;
	} entities[] = {
		{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};
	char number[12], *number_end;
	size_t length;
	const char *end = memchr(xml->at, ';', (size_t)(xml->end - xml->at));

	for (size_t i = 0; i < sizeof entities / sizeof entities[0]; i++) {
		if (begins(xml, entities[i].name)) {
			xml->at += strlen(entities[i].name);
			return put_text(xml, entities[i].c);
		}
	}
	length = end ? (size_t)(end - xml->at) : 0;
	if (!begins(xml, "&#") || length < 3 || length - 2 >= sizeof number)
		return false;
	memcpy(number, xml->at + 2, length - 2);
	number[length - 2] = '\0';
	xml->at = end + 1;
	if (number[0] == 'x' && isxdigit((unsigned char)number[1]))
		return put_character(xml, strtoul(number + 1, &number_end, 16)) && !*number_end;
	return isdigit((unsigned char)number[0]) &&
	       put_character(xml, strtoul(number, &number_end, 10)) && !*number_end;
}

/* Reads text up to the next '<' or the end. */
static bool read_text(struct xml *xml)
{
	xml->text_length = 0;
	while (xml->at < xml->end && *xml->at != '<') {
		if (*xml->at == '&') {
			if (!put_entity(xml))
				return false;
		} else if (xml->depth > 0 && !put_text(xml, *xml->at++)) {
			return false;
		} else if (xml->depth == 0 && !isspace((unsigned char)*xml->at++)) {
			return false;
		}
	}
	xml->text[xml->text_length] = '\0';
	return true;
}

static bool is_name_character(char c)
{
	return isalnum((unsigned char)c) || strchr("_-.:", c) != NULL || (c & 0x80);
}

static size_t name_length(const struct xml *xml)
{
	const char *c = xml->at;

	while (c < xml->end && *c && is_name_character(*c))
		c++;
	return (size_t)(c - xml->at);
}

static bool set_name(struct xml *xml, const char *name, size_t length)
{
	const char *colon = memchr(name, ':', length);

	if (colon) {
		length -= (size_t)(colon + 1 - name);
		name = colon + 1;
	}
	if (length == 0 || length >= sizeof xml->name)
		return false;
	memcpy(xml->name, name, length);
	xml->name[length] = '\0';
	return true;
}

/* Goes to the '>' of a tag, past quoted attributes. */
static bool skip_attributes(struct xml *xml)
{
	while (xml->at < xml->end && *xml->at != '>' && !begins(xml, "/>")) {
		char c = *xml->at++;

		if (c == '<')
			return false;
		if (c == '"' || c == '\'') {
			const char *close = memchr(xml->at, c, (size_t)(xml->end - xml->at));

			if (!close)
				return false;
			xml->at = close + 1;
		}
	}
	return xml->at < xml->end;
}

static enum xml_kind open_tag(struct xml *xml)
{
	size_t length;

	xml->at++;
	length = name_length(xml);
	if (length == 0 || xml->depth == DEPTH_MAX || (xml->depth == 0 && xml->seen_root))
		return XML_BAD;
	xml->seen_root = true;
	xml->open[xml->depth].name = xml->at;
	xml->open[xml->depth].length = length;
	xml->depth++;
	if (!set_name(xml, xml->at, length))
		return XML_BAD;
	xml->at += length;
	if (!skip_attributes(xml))
		return XML_BAD;
	xml->close_pending = *xml->at == '/';
	xml->at += xml->close_pending ? 2 : 1;
	return XML_OPEN;
}

static enum xml_kind close_tag(struct xml *xml)
{
	size_t length;

	xml->at += 2;
	length = name_length(xml);
	if (xml->depth == 0 || length != xml->open[xml->depth - 1].length ||
	    memcmp(xml->at, xml->open[xml->depth - 1].name, length) != 0)
		return XML_BAD;
	if (!set_name(xml, xml->at, length))
		return XML_BAD;
	xml->at += length;
	while (xml->at < xml->end && isspace((unsigned char)*xml->at))
		xml->at++;
	if (xml->at == xml->end || *xml->at++ != '>')
		return XML_BAD;
	xml->depth--;
	return XML_CLOSE;
}

static enum xml_kind next_event(struct xml *xml)
{
	if (xml->close_pending) { /* <empty/> */
		xml->close_pending = false;
		xml->depth--;
		xml->text_length = 0;
		xml->text[0] = '\0';
		return XML_CLOSE;
	}
	for (;;) {
		if (!read_text(xml))
			return XML_BAD;
		if (xml->at == xml->end)
			return xml->depth == 0 && xml->seen_root ? XML_END : XML_BAD;
		if (begins(xml, "<?")) {
			if (!skip_past(xml, "?>"))
				return XML_BAD;
		} else if (begins(xml, "<!--")) {
			if (!skip_past(xml, "-->"))
				return XML_BAD;
		} else if (begins(xml, "<!DOCTYPE")) {
			if (!skip_attributes(xml) || *xml->at++ != '>')
				return XML_BAD;
		} else if (begins(xml, "<!")) {
			return XML_BAD;
		} else if (begins(xml, "</")) {
			return close_tag(xml);
		} else {
			return open_tag(xml);
		}
	}
}

void hf_xml_error_code(const char *bytes, size_t length, char *code, size_t size)
{
	struct xml xml;
	enum xml_kind kind;

	code[0] = '\0';
	start(&xml, bytes, length);
	while ((kind = next_event(&xml)) == XML_OPEN || kind == XML_CLOSE) {
		if (kind == XML_OPEN && xml.depth == 1 && strcmp(xml.name, "Error") != 0)
			return;
		if (kind == XML_CLOSE && xml.depth == 1 && strcmp(xml.name, "Code") == 0) {
			snprintf(code, size, "%s", xml.text);
			return;
		}
	}
}

/* %XX in place; false if it is not that. A key holds no NUL. */
static bool decode_url(char *text)
{
	char *out = text;

	for (; *text; text++) {
		uint8_t byte;
		char pair[3];

		if (*text != '%') {
			*out++ = *text == '+' ? ' ' : *text;
			continue;
		}
		if (!isxdigit((unsigned char)text[1]) || !isxdigit((unsigned char)text[2]))
			return false;
		memcpy(pair, text + 1, 2);
		pair[2] = '\0';
		byte = (uint8_t)strtoul(pair, NULL, 16);
		if (byte == 0)
			return false;
		*out++ = (char)byte;
		text += 2;
	}
	*out = '\0';
	return true;
}

static bool parse_size(const char *text, uint64_t *size_bytes)
{
	size_t digits = strspn(text, "0123456789");

	if (digits == 0 || digits > 18 || text[digits])
		return false;
	*size_bytes = strtoull(text, NULL, 10);
	return true;
}

struct listing {
	char key[HF_XML_TEXT_MAX + 1];
	bool has_key, has_size, has_truncated, truncated;
	uint64_t size_bytes;
};

/* What a closed element means; false if it makes no sense. */
static bool take_element(struct listing *listing, struct xml *xml)
{
	if (xml->depth == 1 && strcmp(xml->name, "IsTruncated") == 0) {
		listing->truncated = strcmp(xml->text, "true") == 0;
		listing->has_truncated = true;
		return listing->truncated || strcmp(xml->text, "false") == 0;
	}
	if (xml->depth == 2 && strcmp(xml->name, "Key") == 0) {
		if (!decode_url(xml->text))
			return false;
		strcpy(listing->key, xml->text);
		listing->has_key = true;
	}
	if (xml->depth == 2 && strcmp(xml->name, "Size") == 0) {
		listing->has_size = true;
		return parse_size(xml->text, &listing->size_bytes);
	}
	return true;
}

int hf_xml_list(const char *bytes, size_t length, bool *truncated,
		int (*found)(void *context, const char *key, uint64_t size_bytes), void *context)
{
	struct listing listing = {.truncated = false};
	enum xml_kind kind;
	struct xml xml;
	bool in_contents = false;

	start(&xml, bytes, length);
	while ((kind = next_event(&xml)) == XML_OPEN || kind == XML_CLOSE) {
		int err;

		if (kind == XML_OPEN) {
			if (xml.depth == 1 && strcmp(xml.name, "ListBucketResult") != 0)
				return HF_EPROTO;
			if (xml.depth == 2) {
				in_contents = strcmp(xml.name, "Contents") == 0;
				listing.has_key = listing.has_size = false;
			}
			continue;
		}
		if ((xml.depth != 2 || in_contents) && !take_element(&listing, &xml))
			return HF_EPROTO;
		if (xml.depth != 1 || !in_contents)
			continue;
		in_contents = false;
		if (!listing.has_key || !listing.has_size)
			return HF_EPROTO;
		err = found(context, listing.key, listing.size_bytes);
		if (err)
			return err;
	}
	*truncated = listing.truncated;
	return kind == XML_END && listing.has_truncated ? 0 : HF_EPROTO;
}
