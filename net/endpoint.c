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

int hf_endpoints_parse(const char *text, struct hf_endpoints *endpoints, struct hf_errmsg *message)
{
	char host[HF_ENDPOINT_MAX];
	uint16_t port;

	endpoints->count = 0;
	for (const char *at = text; at[strspn(at, ", ")]; at += strcspn(at, ", ")) {
		size_t length;
		char *to;

		at += strspn(at, ", ");
		length = strcspn(at, ", ");
		if (endpoints->count == HF_DIAL_ENDPOINTS_MAX)
			return hf_fail(message, HF_EINVAL, "names more than %u endpoints",
				       HF_DIAL_ENDPOINTS_MAX);
		to = endpoints->text[endpoints->count];
		if (length < HF_ENDPOINT_MAX)
			memcpy(to, at, length);
		to[length < HF_ENDPOINT_MAX ? length : 0] = '\0';
		if (hf_endpoint_parse(to, host, sizeof host, &port) != 0 || port == 0)
			return hf_fail(message, HF_EINVAL, "`%.60s` is not host:port", to);
		endpoints->count++;
	}
	return endpoints->count ? 0 : hf_fail(message, HF_EINVAL, "names no endpoint");
}

size_t hf_endpoints_list(const struct hf_endpoints *endpoints,
			 const char *list[HF_DIAL_ENDPOINTS_MAX])
{
	for (size_t i = 0; i < endpoints->count; i++)
		list[i] = endpoints->text[i];
	return endpoints->count;
}
