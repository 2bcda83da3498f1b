/* Formatting and parsing of names behind remote/names.h. No state, any thread. */
#include "remote/names.h"
#include "base/assert.h"
#include "base/ids.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void __attribute__((format(printf, 4, 5)))
name_in_volume(char *name, uint64_t tenant, uint64_t volume, const char *format, ...)
{
	char tenant_text[HF_ID_TEXT_MAX], volume_text[HF_ID_TEXT_MAX];
	va_list args;
	int used = snprintf(name, HF_STORE_NAME_MAX + 1, "%s/%s/",
			    hf_id_format(HF_ID_TENANT, tenant, tenant_text),
			    hf_id_format(HF_ID_VOLUME, volume, volume_text));

	va_start(args, format);
	used += vsnprintf(name + used, HF_STORE_NAME_MAX + 1 - (size_t)used, format, args);
	va_end(args);
	HF_ASSERT(used <= (int)HF_STORE_NAME_MAX);
}

void hf_name_volume(char *name, uint64_t tenant, uint64_t volume)
{
	name_in_volume(name, tenant, volume, "%s", "");
}

void hf_name_keyring(char *name, uint64_t tenant, uint64_t volume)
{
	name_in_volume(name, tenant, volume, "keyring");
}

void hf_name_tombstone(char *name, uint64_t tenant, uint64_t volume)
{
	name_in_volume(name, tenant, volume, "tombstone");
}

void hf_name_claims(char *name, uint64_t tenant, uint64_t volume)
{
	name_in_volume(name, tenant, volume, "claims/");
}

void hf_name_claim(char *name, uint64_t tenant, uint64_t volume, uint64_t start)
{
	name_in_volume(name, tenant, volume, "claims/%016" PRIx64, start);
}

void hf_name_incarnation(char *name, const struct hf_object_id *id)
{
	name_in_volume(name, id->tenant, id->volume, "%016" PRIx64 ".%016" PRIx64 "/", id->epoch,
		       id->start);
}

void hf_name_base(char *name, const struct hf_object_id *id)
{
	name_in_volume(name, id->tenant, id->volume, "%016" PRIx64 ".%016" PRIx64 "/base",
		       id->epoch, id->start);
}

void hf_name_object(char *name, const struct hf_object_id *id)
{
	name_in_volume(name, id->tenant, id->volume, "%016" PRIx64 ".%016" PRIx64 "/%016" PRIx64,
		       id->epoch, id->start, id->sequence);
}

void hf_name_maps(char *name, const struct hf_object_id *id)
{
	name_in_volume(name, id->tenant, id->volume, "%016" PRIx64 ".%016" PRIx64 "/map/",
		       id->epoch, id->start);
}

void hf_name_map(char *name, const struct hf_object_id *id)
{
	name_in_volume(name, id->tenant, id->volume,
		       "%016" PRIx64 ".%016" PRIx64 "/map/%016" PRIx64, id->epoch, id->start,
		       id->sequence);
}

bool hf_name_number(const char *name, const char *prefix, uint64_t *number)
{
	size_t length = strlen(prefix);

	if (strncmp(name, prefix, length) != 0)
		return false;
	name += length;
	if (strlen(name) != 16 || strspn(name, "0123456789abcdef") != 16)
		return false;
	*number = strtoull(name, NULL, 16);
	return true;
}
