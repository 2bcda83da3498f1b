/* Reading key files, behind gateway/cli/key_file.h. */
#include "gateway/cli/key_file.h"
#include "base/bytes.h"
#include "base/ids.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define LINE_MAX_BYTES 256u

static int read_line(const char *path, char *line, struct hf_errmsg *message)
{
	FILE *file = fopen(path, "re");
	bool read;

	if (!file)
		return hf_fail(message, hf_err_from_errno(errno), "key file %s: %s", path,
			       strerror(errno));
	read = fgets(line, LINE_MAX_BYTES, file) != NULL;
	fclose(file);
	if (!read)
		return hf_fail(message, HF_EINVAL, "key file %s is empty or cannot be read", path);
	line[strcspn(line, "\r\n")] = '\0';
	return 0;
}

static int parse(const char *path, char *line, uint64_t volume, uint8_t key[HF_KEY_FILE_KEY_BYTES],
		 struct hf_errmsg *message)
{
	char *rest = line, *format = strsep(&rest, " "), *name = strsep(&rest, " ");
	char text[HF_ID_TEXT_MAX];
	uint64_t named;

	if (strcmp(format, "holdfast-key-1") != 0 || !name || !rest ||
	    hf_id_parse(HF_ID_VOLUME, name, &named) ||
	    hf_hex_decode(key, HF_KEY_FILE_KEY_BYTES, rest))
		return hf_fail(message, HF_EINVAL,
			       "%s is not a key file (one line: holdfast-key-1 vol-… and 64 "
			       "hexadecimal digits)",
			       path);
	if (named != volume)
		return hf_fail(message, HF_EINVAL, "key file %s is that of %s", path,
			       hf_id_format(HF_ID_VOLUME, named, text));
	return 0;
}

int hf_key_file_read(const char *path, uint64_t volume, uint8_t key[HF_KEY_FILE_KEY_BYTES],
		     struct hf_errmsg *message)
{
	char line[LINE_MAX_BYTES];
	int err = read_line(path, line, message);

	if (!err)
		err = parse(path, line, volume, key, message);
	explicit_bzero(line, sizeof line);
	return err;
}
