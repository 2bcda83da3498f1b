/* Whole-file replacement and reading (files.h). */
#include "provider/signer/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail_errno(struct hf_errmsg *message, const char *path)
{
	return hf_fail(message, hf_err_from_errno(errno), "%s: %s", path, strerror(errno));
}

static int write_all(int fd, const uint8_t *bytes, size_t length)
{
	while (length > 0) {
		ssize_t n = write(fd, bytes, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		bytes += n;
		length -= (size_t)n;
	}
	return 0;
}

static int sync_folder_of(const char *path, struct hf_errmsg *message)
{
	char folder[PATH_MAX];
	char *slash;
	int fd, failed;

	snprintf(folder, sizeof folder, "%s", path);
	slash = strrchr(folder, '/');
	if (!slash)
		snprintf(folder, sizeof folder, ".");
	else if (slash == folder)
		slash[1] = '\0';
	else
		*slash = '\0';
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return fail_errno(message, folder);
	failed = fsync(fd);
	close(fd);
	return failed ? fail_errno(message, folder) : 0;
}

int hf_file_replace(const char *path, const void *bytes, size_t length, struct hf_errmsg *message)
{
	char temporary[PATH_MAX];
	int fd;

	if (snprintf(temporary, sizeof temporary, "%s.new", path) >= (int)sizeof temporary)
		return hf_fail(message, HF_ETOOBIG, "%.100s…: path is too long", path);
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return fail_errno(message, temporary);
	if (write_all(fd, bytes, length) != 0 || fsync(fd) != 0) {
		fail_errno(message, temporary);
		close(fd);
		unlink(temporary);
		return HF_EIO;
	}
	close(fd);
	if (rename(temporary, path) != 0)
		return fail_errno(message, path);
	return sync_folder_of(path, message);
}

int hf_file_load(const char *path, size_t max, uint8_t **bytes, size_t *length,
		 struct hf_errmsg *message)
{
	struct stat st;
	uint8_t *data;
	size_t used = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return fail_errno(message, path);
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || (st.st_mode & 077) != 0) {
		close(fd);
		return hf_fail(message, HF_EACCES, "%s: must be a file with mode 600", path);
	}
	if ((uint64_t)st.st_size > max) {
		close(fd);
		return hf_fail(message, HF_ETOOBIG, "%s: longer than %zu bytes", path, max);
	}
	data = malloc((size_t)st.st_size + 1);
	while (data && used < (size_t)st.st_size) {
		ssize_t n = read(fd, data + used, (size_t)st.st_size - used);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		used += (size_t)n;
	}
	close(fd);
	if (!data || used != (size_t)st.st_size) {
		free(data);
		return hf_fail(message, HF_EIO, "%s: cannot be read", path);
	}
	data[used] = '\0';
	*bytes = data;
	*length = used;
	return 0;
}
