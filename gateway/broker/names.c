/* See names.h. */
#include "gateway/broker/names.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS  "0123456789"

static bool consists_of(const char *text, size_t length_max, const char *characters)
{
	size_t length = strnlen(text, length_max + 1);

	return length > 0 && length <= length_max && strspn(text, characters) == length;
}

bool hf_name_is_iscsi(const char *text)
{
	if (!consists_of(text, 223, LETTERS DIGITS ".:-"))
		return false;
	if (strncmp(text, "eui.", 4) == 0)
		return strlen(text) == 20 && strspn(text + 4, DIGITS "abcdefABCDEF") == 16;
	if (strncmp(text, "naa.", 4) == 0) {
		size_t digits = strspn(text + 4, DIGITS "abcdefABCDEF");

		return (digits == 16 || digits == 32) && text[4 + digits] == '\0';
	}
	/* iqn.2026-11.org.example[:more] */
	return strncmp(text, "iqn.", 4) == 0 && strspn(text + 4, DIGITS) == 4 && text[8] == '-' &&
	       strspn(text + 9, DIGITS) == 2 && text[11] == '.' && text[12] != '\0';
}

struct address {
	int family;
	uint8_t bytes[16];
	unsigned bits; /* of the address: 32 or 128 */
};

static bool parse_address(const char *text, size_t length, struct address *address)
{
	char copy[INET6_ADDRSTRLEN];

	if (length == 0 || length >= sizeof copy)
		return false;
	memcpy(copy, text, length);
	copy[length] = '\0';
	memset(address, 0, sizeof *address);
	address->family = strchr(copy, ':') ? AF_INET6 : AF_INET;
	address->bits = address->family == AF_INET6 ? 128 : 32;
	return inet_pton(address->family, copy, address->bytes) == 1;
}

static bool parse_entry(const char *text, struct address *address, unsigned *prefix)
{
	size_t length = strcspn(text, "/");

	if (!parse_address(text, length, address))
		return false;
	*prefix = address->bits;
	if (text[length] == '\0')
		return true;
	text += length + 1;
	if (strspn(text, DIGITS) != strlen(text) || strlen(text) == 0 || strlen(text) > 3)
		return false;
	*prefix = (unsigned)strtoul(text, NULL, 10);
	/* tgtd takes no prefix of the whole length, and none of 0: that is ALL. */
	return *prefix > 0 && *prefix < address->bits;
}

static bool bit(const struct address *address, unsigned index)
{
	return address->bytes[index / 8] >> (7 - index % 8) & 1;
}

bool hf_name_is_address(const char *text)
{
	struct address address;
	unsigned prefix;

	if (strcmp(text, "ALL") == 0)
		return true;
	if (!parse_entry(text, &address, &prefix))
		return false;
	for (unsigned i = prefix; i < address.bits; i++)
		if (bit(&address, i))
			return false;
	return true;
}

bool hf_name_address_matches(const char *entry, const char *peer)
{
	struct address address, other;
	unsigned prefix;

	if (strcmp(entry, "ALL") == 0)
		return true;
	if (!parse_entry(entry, &address, &prefix) || !parse_address(peer, strlen(peer), &other) ||
	    address.family != other.family)
		return false;
	for (unsigned i = 0; i < prefix; i++)
		if (bit(&address, i) != bit(&other, i))
			return false;
	return true;
}

bool hf_name_is_portal(const char *text)
{
	const char *colon = strrchr(text, ':');
	struct address address;
	size_t length;
	long port;

	if (!colon || strlen(colon + 1) == 0 || strlen(colon + 1) > 5 ||
	    strspn(colon + 1, DIGITS) != strlen(colon + 1))
		return false;
	port = strtol(colon + 1, NULL, 10);
	length = (size_t)(colon - text);
	if (port < 1 || port > 65535)
		return false;
	if (text[0] == '[')
		return length > 2 && text[length - 1] == ']' &&
		       parse_address(text + 1, length - 2, &address) && address.family == AF_INET6;
	return parse_address(text, length, &address) && address.family == AF_INET;
}

static bool is_printable(const char *text, size_t length_max)
{
	size_t length = strnlen(text, length_max + 1);

	if (length == 0 || length > length_max)
		return false;
	for (; *text; text++)
		if (*text <= ' ' || *text > '~' || *text == ',')
			return false;
	return true;
}

bool hf_name_is_user(const char *text)
{
	return is_printable(text, 64) && strncmp(text, ".hf-", 4) != 0;
}

bool hf_name_is_secret(const char *text)
{
	return is_printable(text, 128);
}

bool hf_name_is_serial(const char *text)
{
	return consists_of(text, 36, LETTERS DIGITS "-_");
}
