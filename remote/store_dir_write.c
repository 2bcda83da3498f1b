/* An object's bytes into its file, durable. Blocking, on worker threads.
 *
 * The log commits to a disk that may be the store's as well, and its syncs wait for whatever was
 * given to that disk before. So a large object does not gather in the page cache to be written at
 * once by its sync: it goes past the cache in pieces, one at a time, and a commit that comes
 * meanwhile waits for one of them. That saves the kernel's copy, too. Where direct writes are not
 * possible the cache is used. */
#include "remote/store_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DIRECT_MIN   (256u << 10) /* smaller objects are not worth it */
#define DIRECT_PIECE (256u << 10)
#define DIRECT_ALIGN 4096u /* of memory, offsets and lengths; enough for every disk */

/* Writes from the file's offset on. 0 or an errno value; `*done` is what was written. */
static int write_some(int fd, const char *data, size_t length, size_t *done)
{
	*done = 0;
	while (*done < length) {
		ssize_t n = write(fd, data + *done, length - *done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		if (n == 0)
			return EIO;
		*done += (size_t)n;
	}
	return 0;
}

static bool set_direct(int fd, bool direct)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return false;
	flags = direct ? flags | O_DIRECT : flags & ~O_DIRECT;
	return fcntl(fd, F_SETFL, flags) == 0;
}

/* Whole pieces of the beginning; `*done` is how far it came. A short or refused write ends it
 * without an error: the cache takes the rest, and says what is wrong if something is. */
static void write_direct(int fd, const char *data, size_t length, size_t *done)
{
	bool aligned = (uintptr_t)data % DIRECT_ALIGN == 0;
	char *copy = aligned ? NULL : aligned_alloc(DIRECT_ALIGN, DIRECT_PIECE);

	*done = 0;
	while ((aligned || copy) && length - *done >= DIRECT_ALIGN) {
		size_t piece = length - *done, wrote;

		piece = piece > DIRECT_PIECE ? DIRECT_PIECE : piece - piece % DIRECT_ALIGN;
		if (copy)
			memcpy(copy, data + *done, piece);
		if (write_some(fd, copy ? copy : data + *done, piece, &wrote) != 0) {
			*done += wrote;
			break;
		}
		*done += piece;
	}
	free(copy);
}

int hf_dir_write(int fd, const char *data, size_t length)
{
	size_t direct = 0, rest;
	int err;

	if (length >= DIRECT_MIN && set_direct(fd, true)) {
		write_direct(fd, data, length, &direct);
		if (!set_direct(fd, false))
			return errno;
	}
	err = write_some(fd, data + direct, length - direct, &rest);
	if (err)
		return err;
	return fdatasync(fd) == 0 ? 0 : errno;
}
