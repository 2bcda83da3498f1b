/* base/file.h. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

int hf_file_sync_folder_at(int folder_fd, const char *path, struct hf_errmsg *message)
{
	const char *slash = strrchr(path, '/');
	char folder[PATH_MAX] = ".";
	int fd, err = 0;

	if (slash)
		snprintf(folder, sizeof folder, "%.*s", slash == path ? 1 : (int)(slash - path),
			 path);
	fd = openat(folder_fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return fail_errno(message, folder);
	if (fsync(fd) != 0)
		err = fail_errno(message, folder);
	close(fd);
	return err;
}

int hf_file_replace_at(int folder_fd, const char *path, const void *bytes, size_t length,
		       mode_t mode, struct hf_errmsg *message)
{
	char beside[PATH_MAX];
	int fd, err = 0;

	if ((size_t)snprintf(beside, sizeof beside, "%s.new", path) >= sizeof beside)
		return hf_fail(message, HF_EINVAL, "%s: the path is too long", path);
	unlinkat(folder_fd, beside, 0); /* left by a crash; its mode may be another */
	fd = openat(folder_fd, beside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		return fail_errno(message, beside);
	if (write_all(fd, bytes, length) != 0 || fsync(fd) != 0)
		err = fail_errno(message, beside);
	close(fd);
	if (!err && renameat(folder_fd, beside, folder_fd, path) != 0)
		err = fail_errno(message, path);
	if (err) {
		unlinkat(folder_fd, beside, 0);
		return err;
	}
	return hf_file_sync_folder_at(folder_fd, path, message);
}

int hf_file_replace(const char *path, const void *bytes, size_t length, mode_t mode,
		    struct hf_errmsg *message)
{
	return hf_file_replace_at(AT_FDCWD, path, bytes, length, mode, message);
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
