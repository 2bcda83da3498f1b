/* net/key_file.h. */
#include "net/key_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/file.h"
#include "net/sign.h"

#define KEY_BYTES    32u
#define KEY_LINE_MAX 256u

static int fail_errno(struct hf_errmsg *message, const char *path)
{
	int number = errno;

	return hf_fail(message, hf_err_from_errno(number), "%s: %s", path, strerror(number));
}

static int make_key(const char *path, const char *kind, uint8_t secret[KEY_BYTES],
		    struct hf_errmsg *message)
{
	char line[KEY_LINE_MAX], hex[2 * KEY_BYTES + 1];
	int n, err;

	hf_random(secret, KEY_BYTES);
	hf_hex_encode(hex, secret, KEY_BYTES);
	n = snprintf(line, sizeof line, "%s %s\n", kind, hex);
	err = hf_file_replace(path, line, (size_t)n, 0600, message);
	explicit_bzero(line, sizeof line);
	explicit_bzero(hex, sizeof hex);
	return err;
}

static int parse_key(const char *path, const char *kind, char *line, uint8_t secret[KEY_BYTES],
		     struct hf_errmsg *message)
{
	size_t kind_length = strlen(kind), length = strlen(line);

	if (length > 0 && line[length - 1] == '\n')
		line[--length] = '\0';
	if (strncmp(line, kind, kind_length) != 0 || line[kind_length] != ' ' ||
	    hf_hex_decode(secret, KEY_BYTES, line + kind_length + 1) != 0)
		return hf_fail(message, HF_EINVAL, "%s: not a key file of kind %s", path, kind);
	return 0;
}

int hf_key_file(const char *path, const char *kind, uint8_t secret[32], struct hf_errmsg *message)
{
	struct stat info;
	uint8_t *line;
	size_t length;
	int err;

	if (lstat(path, &info) != 0)
		return errno == ENOENT ? make_key(path, kind, secret, message)
				       : fail_errno(message, path);
	if (!S_ISREG(info.st_mode) || (info.st_mode & 077) != 0)
		return hf_fail(message, HF_EACCES,
			       "%s: a key file must be a file that only its owner can read (0600)",
			       path);
	err = hf_file_read(path, KEY_LINE_MAX, &line, &length, message);
	if (err)
		return err;
	err = parse_key(path, kind, (char *)line, secret, message);
	explicit_bzero(line, length);
	free(line);
	return err;
}
