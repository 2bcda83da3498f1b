/* The access rule of access.h. Pure. */
#include "gateway/agent/access.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

static char loopback4[] = "127.0.0.1", loopback6[] = "::1", everybody[] = "ALL";

static bool is_name(const char *text)
{
	size_t length = strlen(text);

	return length > 4 && length <= 223 &&
	       (strncmp(text, "iqn.", 4) == 0 || strncmp(text, "eui.", 4) == 0 ||
		strncmp(text, "naa.", 4) == 0) &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEF0123456789.-:_") == length;
}

/* An address, or a network as address/bits. */
static bool is_address(const char *text)
{
	char address[64];
	uint8_t binary[16];
	const char *slash = strchr(text, '/');
	size_t length = slash ? (size_t)(slash - text) : strlen(text);
	unsigned bits_max;

	if (length == 0 || length >= sizeof address)
		return false;
	memcpy(address, text, length);
	address[length] = '\0';
	if (inet_pton(AF_INET, address, binary) == 1)
		bits_max = 32;
	else if (inet_pton(AF_INET6, address, binary) == 1)
		bits_max = 128;
	else
		return false;
	if (!slash)
		return true;
	length = strlen(slash + 1);
	return length > 0 && length <= 3 && strspn(slash + 1, "0123456789") == length &&
	       strtoul(slash + 1, NULL, 10) <= bits_max;
}

int hf_access_check(const Holdfast__Volume *entry, struct hf_errmsg *message)
{
	if (entry->n_initiators > HF_ACCESS_MAX)
		return hf_fail(message, HF_EINVAL, "more than %u initiators", HF_ACCESS_MAX);
	for (size_t i = 0; i < entry->n_initiators; i++)
		if (!is_name(entry->initiators[i]) && !is_address(entry->initiators[i]))
			return hf_fail(message, HF_EINVAL,
				       "`%.80s` is neither an initiator's name nor an address",
				       entry->initiators[i]);
	return 0;
}

void hf_access_of(const Holdfast__Volume *entry, struct hf_access *access)
{
	HF_ASSERT(entry->n_initiators <= HF_ACCESS_MAX);
	memset(access, 0, sizeof *access);
	for (size_t i = 0; i < entry->n_initiators; i++) {
		if (is_name(entry->initiators[i]))
			access->names[access->name_count++] = entry->initiators[i];
		else
			access->addresses[access->address_count++] = entry->initiators[i];
	}
	if (entry->n_initiators > 0)
		return;
	if (entry->chap_user[0]) {
		access->addresses[access->address_count++] = everybody;
	} else {
		access->addresses[access->address_count++] = loopback4;
		access->addresses[access->address_count++] = loopback6;
	}
}

static bool contains(char *const *list, size_t count, const char *text)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(list[i], text) == 0)
			return true;
	return false;
}

static bool same_set(char *const *a, size_t a_count, char *const *b, size_t b_count)
{
	for (size_t i = 0; i < a_count; i++)
		if (!contains(b, b_count, a[i]))
			return false;
	for (size_t i = 0; i < b_count; i++)
		if (!contains(a, a_count, b[i]))
			return false;
	return true;
}

bool hf_access_matches(const Holdfast__Volume *entry, const Holdfast__BrokerTargetState *target)
{
	struct hf_access access;

	hf_access_of(entry, &access);
	return same_set(access.names, access.name_count, target->initiators,
			target->n_initiators) &&
	       same_set(access.addresses, access.address_count, target->addresses,
			target->n_addresses) &&
	       strcmp(entry->chap_user, target->chap_user) == 0 &&
	       strcmp(entry->mutual_user, target->mutual_user) == 0;
}
