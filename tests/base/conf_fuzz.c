/* Any text as a configuration file: accepted or refused with a message, never a crash or a leak. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/conf.h"

struct settings {
	char *text;
	uint64_t size_bytes, count;
	int enabled;
};

static const struct hf_conf_key keys[] = {
	{"text", HF_CONF_TEXT, offsetof(struct settings, text), NULL, "a text"},
	{"size", HF_CONF_SIZE, offsetof(struct settings, size_bytes), "1MiB", "a size"},
	{"count", HF_CONF_NUMBER, offsetof(struct settings, count), "3", "a number"},
	{"enabled", HF_CONF_BOOL, offsetof(struct settings, enabled), "no", "a choice"},
	{NULL, HF_CONF_TEXT, 0, NULL, NULL},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct settings settings = {0};
	struct hf_errmsg message = {""};
	char *text = malloc(size + 1);

	memcpy(text, data, size);
	text[size] = '\0';
	if (hf_conf_parse("input", text, keys, &settings, &message) != 0)
		HF_ASSERT(message.text[0] != '\0');
	else
		HF_ASSERT(settings.text != NULL);
	hf_conf_free(keys, &settings);
	free(text);
	return 0;
}
