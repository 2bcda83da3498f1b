/* The image file behind gateway/cli/image.h. */
#include "gateway/cli/image.h"
#include "base/bytes.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOLE_BYTES 4096u /* zeros of this size and alignment are not written */

static int fail(struct hf_errmsg *message, const char *what, const char *path)
{
	int number = errno;

	return hf_fail(message, hf_err_from_errno(number), "%s %s: %s", what, path,
		       strerror(number));
}

int hf_image_create(struct hf_image *image, const char *path, uint64_t size_bytes,
		    struct hf_errmsg *message)
{
	struct stat there;
	int n, err;

	image->path = path;
	image->written_bytes = 0;
	image->fd = -1;
	if (stat(path, &there) == 0 && !S_ISREG(there.st_mode))
		return hf_fail(message, HF_EINVAL, "%s is there and is not a file", path);
	n = snprintf(image->temporary, sizeof image->temporary, "%s.part-XXXXXX", path);
	if (n < 0 || (size_t)n >= sizeof image->temporary)
		return hf_fail(message, HF_EINVAL, "the name of the file is too long");
	/* Private, and it stays so: it holds in plain what the volume's key, also for its owner
	 * only, protects in the store. */
	image->fd = mkstemp(image->temporary);
	if (image->fd < 0)
		return fail(message, "cannot create", image->temporary);
	if (size_bytes > INT64_MAX)
		errno = EFBIG;
	else if (ftruncate(image->fd, (off_t)size_bytes) == 0)
		return 0;
	err = fail(message, "cannot make a file of the volume's size at", image->temporary);
	hf_image_discard(image);
	return err;
}

static int write_all(struct hf_image *image, uint64_t offset, const uint8_t *bytes, size_t length,
		     struct hf_errmsg *message)
{
	image->written_bytes += length;
	while (length > 0) {
		ssize_t n = pwrite(image->fd, bytes, length, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return fail(message, "cannot write", image->temporary);
		bytes += n;
		offset += (uint64_t)n;
		length -= (size_t)n;
	}
	return 0;
}

int hf_image_write(struct hf_image *image, uint64_t offset, const void *bytes, size_t length,
		   struct hf_errmsg *message)
{
	const uint8_t *at = bytes;
	size_t pending = 0; /* not zeros, not written yet, before `at` */
	int err = 0;

	while (length > 0 && !err) {
		size_t part = HOLE_BYTES - (size_t)(offset % HOLE_BYTES);

		if (part > length)
			part = length;
		if (hf_is_zero(at, part)) {
			err = write_all(image, offset - pending, at - pending, pending, message);
			pending = 0;
		} else {
			pending += part;
		}
		at += part;
		offset += part;
		length -= part;
	}
	return err ? err : write_all(image, offset - pending, at - pending, pending, message);
}

int hf_image_finish(struct hf_image *image, struct hf_errmsg *message)
{
	int err = 0, fd = image->fd;

	if (fsync(fd) != 0)
		err = fail(message, "cannot sync", image->temporary);
	image->fd = -1;
	if (close(fd) != 0 && !err)
		err = fail(message, "cannot close", image->temporary);
	if (!err && rename(image->temporary, image->path) != 0)
		err = fail(message, "cannot rename to", image->path);
	if (err) {
		unlink(image->temporary);
		return err;
	}
	return hf_file_sync_folder_at(AT_FDCWD, image->path, message);
}

void hf_image_discard(struct hf_image *image)
{
	if (image->fd < 0)
		return;
	close(image->fd);
	image->fd = -1;
	unlink(image->temporary);
}
