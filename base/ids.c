/* Text forms of base/ids.h. No state, any thread. */
#include "base/ids.h"
#include "base/err.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const prefixes[] = {
	[HF_ID_VOLUME] = "vol-",
	[HF_ID_TENANT] = "t-",
	[HF_ID_GATEWAY] = "sgw-",
	[HF_ID_ACTION] = "act-",
};

char *hf_id_format(enum hf_id_kind kind, uint64_t id, char *text)
{
	snprintf(text, HF_ID_TEXT_MAX, "%s%016" PRIx64, prefixes[kind], id);
	return text;
}

int hf_id_parse(enum hf_id_kind kind, const char *text, uint64_t *id)
{
	size_t prefix_length = strlen(prefixes[kind]);

	if (strncmp(text, prefixes[kind], prefix_length) != 0)
		return HF_EINVAL;
	text += prefix_length;
	if (strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16)
		return HF_EINVAL;
	*id = strtoull(text, NULL, 16);
	return *id != 0 ? 0 : HF_EINVAL;
}

int hf_size_parse(const char *text, uint64_t *size_bytes)
{
	static const struct {
		const char *name;
		unsigned shift;
	} units[] = {{"", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}};
	unsigned long long number;
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return HF_EINVAL;
	errno = 0;
	number = strtoull(text, &end, 10);
	if (errno)
		return HF_ERANGE;
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
		if (strcmp(end, units[i].name) != 0)
			continue;
		if (number > UINT64_MAX >> units[i].shift)
			return HF_ERANGE;
		*size_bytes = number << units[i].shift;
		return 0;
	}
	return HF_EINVAL;
}
