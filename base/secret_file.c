/* base/secret_file.h. */
#include "base/secret_file.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"

static int take_line(const char *path, const uint8_t *bytes, size_t length, char *text, size_t size,
		     struct hf_errmsg *message)
{
	while (length > 0 && (bytes[length - 1] == '\n' || bytes[length - 1] == '\r'))
		length--;
	if (length == 0 || length >= size)
		return hf_fail(message, HF_EINVAL, "%s: wants one line of 1 to %zu bytes", path,
			       size - 1);
	for (size_t i = 0; i < length; i++)
		if (bytes[i] < ' ' || bytes[i] == 0x7f)
			return hf_fail(message, HF_EINVAL,
				       "%s: wants one line without control characters", path);
	memcpy(text, bytes, length);
	text[length] = '\0';
	return 0;
}

int hf_secret_line_read(const char *path, char *text, size_t size, struct hf_errmsg *message)
{
	struct stat info;
	uint8_t *bytes;
	size_t length;
	int err;

	text[0] = '\0';
	if (stat(path, &info) == 0 && (!S_ISREG(info.st_mode) || (info.st_mode & 077) != 0))
		return hf_fail(message, HF_EACCES,
			       "%s: must be a file that only its owner can read (0600)", path);
	err = hf_file_read(path, size + 1, &bytes, &length, message);
	if (err)
		return err == HF_ETOOBIG
			       ? hf_fail(message, HF_EINVAL, "%s: wants one line of 1 to %zu bytes",
					 path, size - 1)
			       : err;
	err = take_line(path, bytes, length, text, size, message);
	explicit_bzero(bytes, length);
	free(bytes);
	return err;
}
