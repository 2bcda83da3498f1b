/* The reader of base/conf.h: one pass over the text, the table of keys decides. Start-up only. */
#include "base/conf.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/ids.h"

#define CONF_FILE_MAX 65536u
#define CONF_KEYS_MAX 64u

static int check_range(const struct hf_conf_key *key, uint64_t value)
{
	return key->most && (value < key->least || value > key->most) ? HF_ERANGE : 0;
}

static int set_value(const struct hf_conf_key *key, const char *value, void *target)
{
	char *field = (char *)target + key->offset;
	unsigned long long number;
	char *end, *copy;

	switch (key->type) {
	case HF_CONF_TEXT:
		copy = strdup(value);
		if (!copy)
			return HF_ENOMEM;
		free(*(char **)field);
		*(char **)field = copy;
		return 0;
	case HF_CONF_SIZE:
		if (hf_size_parse(value, (uint64_t *)field) != 0)
			return HF_EINVAL;
		return check_range(key, *(uint64_t *)field);
	case HF_CONF_NUMBER:
		errno = 0;
		number = strtoull(value, &end, 10);
		if (!isdigit((unsigned char)value[0]) || *end || errno)
			return HF_EINVAL;
		*(uint64_t *)field = number;
		return check_range(key, number);
	case HF_CONF_BOOL:
		if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
			return HF_EINVAL;
		*(int *)field = value[0] == 'y';
		return 0;
	}
	return HF_EINVAL;
}

static char *trim(char *text)
{
	char *end;

	while (isspace((unsigned char)*text))
		text++;
	end = text + strlen(text);
	while (end > text && isspace((unsigned char)end[-1]))
		*--end = '\0';
	return text;
}

static int parse_line(const char *name, unsigned number, char *line, const struct hf_conf_key *keys,
		      bool *seen, void *target, struct hf_errmsg *message)
{
	static const char *const wants[] = {"text", "a size such as 64MiB", "a number",
					    "yes or no"};
	char *hash = strchr(line, '#'), *equals, *key, *value;
	size_t i;
	int err;

	if (hash)
		*hash = '\0';
	line = trim(line);
	if (*line == '\0')
		return 0;
	equals = strchr(line, '=');
	if (!equals)
		return hf_fail(message, HF_EINVAL, "%s:%u: expected `key = value`", name, number);
	*equals = '\0';
	key = trim(line);
	value = trim(equals + 1);
	for (i = 0; keys[i].name && strcmp(keys[i].name, key) != 0; i++)
		;
	if (!keys[i].name)
		return hf_fail(message, HF_EINVAL, "%s:%u: unknown key `%.40s`", name, number, key);
	if (seen[i])
		return hf_fail(message, HF_EINVAL, "%s:%u: `%s` is set twice", name, number, key);
	seen[i] = true;
	err = set_value(&keys[i], value, target);
	if (err == HF_ERANGE)
		return hf_fail(message, HF_EINVAL, "%s:%u: `%s` wants %llu to %llu, not `%.40s`",
			       name, number, key, (unsigned long long)keys[i].least,
			       (unsigned long long)keys[i].most, value);
	if (err)
		return hf_fail(message, err, "%s:%u: `%s` wants %s, not `%.40s`", name, number, key,
			       wants[keys[i].type], value);
	return 0;
}

int hf_conf_parse(const char *name, const char *text, const struct hf_conf_key *keys, void *target,
		  struct hf_errmsg *message)
{
	bool seen[CONF_KEYS_MAX] = {false};
	char *copy, *rest, *line;
	unsigned number = 0;
	int err = 0;

	for (size_t i = 0; keys[i].name; i++)
		if (keys[i].initial && (err = set_value(&keys[i], keys[i].initial, target)) != 0)
			return hf_fail(message, err, "%s: initial value of `%s`", name,
				       keys[i].name);
	copy = rest = strdup(text);
	if (!copy)
		return hf_fail(message, HF_ENOMEM, "%s: out of memory", name);
	while (!err && (line = strsep(&rest, "\n")) != NULL)
		err = parse_line(name, ++number, line, keys, seen, target, message);
	free(copy);
	for (size_t i = 0; !err && keys[i].name; i++)
		if (!seen[i] && !keys[i].initial)
			err = hf_fail(message, HF_EINVAL, "%s: `%s` is missing (%s)", name,
				      keys[i].name, keys[i].help);
	return err;
}

int hf_conf_read(const char *path, const struct hf_conf_key *keys, void *target,
		 struct hf_errmsg *message)
{
	uint8_t *text;
	size_t length;
	int err = hf_file_read(path, CONF_FILE_MAX, &text, &length, message);

	if (err)
		return err;
	err = hf_conf_parse(path, (const char *)text, keys, target, message);
	free(text);
	return err;
}

void hf_conf_free(const struct hf_conf_key *keys, void *target)
{
	for (size_t i = 0; keys[i].name; i++) {
		char **field = (char **)(void *)((char *)target + keys[i].offset);

		if (keys[i].type != HF_CONF_TEXT)
			continue;
		free(*field);
		*field = NULL;
	}
}
