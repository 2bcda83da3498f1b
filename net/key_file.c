/* Key files and atomic replacement (net/key_file.h). */
#include "net/key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "net/sign.h"

#define KEY_BYTES    32u
#define KEY_LINE_MAX 256u

static int fail_errno(struct hf_errmsg *message, const char *path)
{
	int number = errno;

	return hf_fail(message, hf_err_from_errno(number), "%s: %s", path, strerror(number));
}

static int write_all(int fd, const uint8_t *bytes, size_t length)
{
	while (length) {
		ssize_t n = write(fd, bytes, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		bytes += n;
		length -= (size_t)n;
	}
	return 0;
}

static int sync_folder_of(const char *path)
{
	char folder[PATH_MAX];
	char *slash;
	int fd, failed;

	snprintf(folder, sizeof folder, "%s", path);
	slash = strrchr(folder, '/');
	if (slash)
		slash[slash == folder ? 1 : 0] = '\0';
	fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	failed = fsync(fd);
	close(fd);
	return failed;
}

int hf_file_replace(const char *path, const void *bytes, size_t length, mode_t mode,
		    struct hf_errmsg *message)
{
	char beside[PATH_MAX];
	int fd, err;

	if ((size_t)snprintf(beside, sizeof beside, "%s.new", path) >= sizeof beside)
		return hf_fail(message, HF_EINVAL, "%s: the path is too long", path);
	unlink(beside); /* left by a crash; its mode may be another */
	fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		return fail_errno(message, beside);
	if (write_all(fd, bytes, length) != 0 || fsync(fd) != 0) {
		err = fail_errno(message, beside);
		close(fd);
		unlink(beside);
		return err;
	}
	close(fd);
	if (rename(beside, path) != 0 || sync_folder_of(path) != 0)
		return fail_errno(message, path);
	return 0;
}

int hf_file_read(const char *path, size_t length_max, uint8_t **bytes, size_t *length,
		 struct hf_errmsg *message)
{
	FILE *file = fopen(path, "re");
	uint8_t *content;
	size_t used;
	int failed;

	if (!file)
		return fail_errno(message, path);
	content = malloc(length_max + 1);
	if (!content) {
		fclose(file);
		return hf_fail(message, HF_ENOMEM, "%s: out of memory", path);
	}
	used = fread(content, 1, length_max + 1, file);
	failed = ferror(file);
	fclose(file);
	if (failed || used > length_max) {
		free(content);
		return failed ? hf_fail(message, HF_EIO, "%s: cannot be read", path)
			      : hf_fail(message, HF_ETOOBIG, "%s: longer than %zu bytes", path,
					length_max);
	}
	content[used] = '\0';
	*bytes = content;
	*length = used;
	return 0;
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
