/* Back-off and endpoints (net/dial.h): the pure half of dialling. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "net/dial.h"

#define FIRST_CEILING_MS 1000u
#define DOUBLINGS_MAX    6u /* 1 s … 64 s, cut to 60 s */

uint32_t hf_backoff_next_ms(struct hf_backoff *backoff, uint32_t random)
{
	unsigned doublings = backoff->failures < DOUBLINGS_MAX ? backoff->failures : DOUBLINGS_MAX;
	uint32_t ceiling_ms = FIRST_CEILING_MS << doublings;

	if (ceiling_ms > HF_BACKOFF_MAX_MS)
		ceiling_ms = HF_BACKOFF_MAX_MS;
	if (backoff->failures < DOUBLINGS_MAX)
		backoff->failures++;
	return HF_BACKOFF_MIN_MS + random % (ceiling_ms - HF_BACKOFF_MIN_MS + 1);
}

static int parse_port(const char *text, uint16_t *port)
{
	unsigned long number;
	char *end;

	if (!isdigit((unsigned char)text[0]) || strlen(text) > 5)
		return HF_EINVAL;
	number = strtoul(text, &end, 10);
	if (*end || number > UINT16_MAX)
		return HF_EINVAL;
	*port = (uint16_t)number;
	return 0;
}

int hf_endpoint_parse(const char *text, char *host, size_t host_size, uint16_t *port)
{
	const char *end = NULL, *colon;
	size_t length;

	if (text[0] == '[') {
		text++;
		end = strchr(text, ']');
		if (!end || end[1] != ':')
			return HF_EINVAL;
		colon = end + 1;
	} else {
		colon = end = strchr(text, ':');
		if (!colon || strchr(colon + 1, ':'))
			return HF_EINVAL;
	}
	length = (size_t)(end - text);
	if (length == 0 || length >= host_size)
		return HF_EINVAL;
	memcpy(host, text, length);
	host[length] = '\0';
	return parse_port(colon + 1, port);
}
