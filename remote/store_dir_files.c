/* Files of the directory store: PUT, GET and DELETE. Blocking, on worker threads.
 *
 * A PUT writes a file in the temporary folder, syncs it, and gives it its name by link(2) (fails if
 * the name exists, which is the conditional PUT) or rename(2). Then every folder from the object's
 * up to the root is synced: a folder that exists may have been made a moment ago by somebody who
 * has not synced it yet, and without its parent's entry the object is lost with it.
 *
 * A DELETE removes folders that it left empty. A PUT that just walked through such a folder finds
 * it gone at the link and makes it again.
 *
 * A temporary file is locked (flock) by its writer as long as that lives. One that can be locked
 * belongs to nobody and is removed when the next process opens the store. */
#include "remote/store_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "remote/store_impl.h"

#define FILE_MODE   0640
#define FOLDER_MODE 0750
#define RACES_MAX   64 /* tries against somebody who removes folders at the same time */

/* The folders on the way to an object: folder[0] is the root (borrowed), folder[count - 1] the one
 * that holds the file `leaf`. */
struct way {
	int folder[HF_STORE_DEPTH_MAX + 1];
	char component[HF_STORE_DEPTH_MAX][HF_STORE_NAME_MAX + 1];
	unsigned count;
	const char *leaf;
};

static void way_close(struct way *way)
{
	while (way->count > 1)
		close(way->folder[--way->count]);
}

static int open_folder(int parent, const char *name)
{
	return openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int enter(int parent, const char *name, bool create)
{
	for (int race = 0; race < RACES_MAX; race++) {
		int fd = open_folder(parent, name);

		if (fd >= 0 || errno != ENOENT || !create)
			return fd;
		if (mkdirat(parent, name, FOLDER_MODE) != 0 && errno != EEXIST)
			return -1;
	}
	errno = EAGAIN;
	return -1;
}

/* Opens the folders; 0 or an errno value, with nothing left open. */
static int way_open(struct way *way, int root, const char *name, bool create)
{
	const char *slash;

	way->folder[0] = root;
	way->count = 1;
	while ((slash = strchr(name, '/')) != NULL) {
		char *component = way->component[way->count - 1];
		int fd, saved;

		HF_ASSERT(way->count <= HF_STORE_DEPTH_MAX);
		memcpy(component, name, (size_t)(slash - name));
		component[slash - name] = '\0';
		fd = enter(way->folder[way->count - 1], component, create);
		if (fd < 0) {
			saved = errno;
			way_close(way);
			return saved;
		}
		way->folder[way->count++] = fd;
		name = slash + 1;
	}
	way->leaf = name;
	return 0;
}

/* A component of the name is a file, or the whole name is a folder: an S3 store could hold both,
 * this one cannot. */
static int error_of(int errno_value)
{
	switch (errno_value) {
	case ENOTDIR:
	case EISDIR:
	case ELOOP:
		return HF_EINVAL;
	default:
		return hf_err_from_errno(errno_value);
	}
}

static bool is_reserved(const char *name)
{
	static const char *const reserved[] = {HF_DIR_TEMPORARY, HF_DIR_MARKER};

	for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++) {
		size_t length = strlen(reserved[i]);

		if (strncmp(name, reserved[i], length) == 0 &&
		    (name[length] == '/' || name[length] == '\0'))
			return true;
	}
	return false;
}

/* Makes a locked, empty file of a random name; its descriptor, or -1 and errno. */
static int make_temporary(int temporary, char name[33])
{
	for (int race = 0; race < RACES_MAX; race++) {
		uint8_t random[16];
		struct stat st;
		int fd;

		if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
			return -1;
		hf_hex_encode(name, random, sizeof random);
		fd = openat(temporary, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
		if (fd < 0)
			return -1;
		/* Somebody who cleans may have come before our lock. */
		if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &st) == 0 && st.st_nlink == 1)
			return fd;
		close(fd);
	}
	errno = EAGAIN;
	return -1;
}

static int way_sync(const struct way *way, int err)
{
	for (unsigned i = way->count; i > 0; i--)
		if (fsync(way->folder[i - 1]) != 0)
			return errno;
	return err;
}

/* Gives the synced file its name; 0 or an errno value. */
static int give_name(int root, const char *name, int temporary, const char *temporary_name,
		     bool if_absent)
{
	struct way way;
	int err = ENOENT;

	for (int race = 0; race < RACES_MAX && err == ENOENT; race++) {
		int folder, done;

		err = way_open(&way, root, name, true);
		if (err)
			continue;
		folder = way.folder[way.count - 1];
		if (if_absent)
			done = linkat(temporary, temporary_name, folder, way.leaf, 0);
		else
			done = renameat(temporary, temporary_name, folder, way.leaf);
		err = done == 0 ? 0 : errno;
		/* "Exists" must stay true too: whoever made it may have died before this. */
		if (err == 0 || err == EEXIST)
			err = way_sync(&way, err);
		way_close(&way);
	}
	return err;
}

int hf_dir_put(int root, const char *name, const void *data, size_t length, bool if_absent)
{
	char temporary_name[33];
	int temporary, fd, err;

	if (is_reserved(name))
		return HF_EINVAL;
	temporary = enter(root, HF_DIR_TEMPORARY, true);
	if (temporary < 0)
		return error_of(errno);
	fd = make_temporary(temporary, temporary_name);
	if (fd < 0) {
		err = errno;
		goto err_after_folder;
	}
	err = hf_dir_write(fd, data, length);
	if (err == 0)
		err = give_name(root, name, temporary, temporary_name, if_absent);
	/* After a rename the name is gone already, which is as well. */
	unlinkat(temporary, temporary_name, 0);
	close(fd);
err_after_folder:
	close(temporary);
	return error_of(err);
}

static int read_all(int fd, char *body, size_t length, uint64_t start)
{
	while (length > 0) {
		ssize_t n = pread(fd, body, length, (off_t)start);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		if (n == 0)
			return EIO;
		body += n;
		start += (uint64_t)n;
		length -= (size_t)n;
	}
	return 0;
}

static int read_range(int fd, uint64_t start, size_t length, void **body, size_t *body_length)
{
	struct stat st;
	uint64_t size, take;
	int err;

	if (fstat(fd, &st) != 0)
		return hf_err_from_errno(errno);
	if (!S_ISREG(st.st_mode))
		return HF_ENOENT;
	size = (uint64_t)st.st_size;
	/* The whole of an empty object is a valid answer; no other range of it is. */
	if (start >= size && (start > 0 || length > 0))
		return HF_ERANGE;
	take = size - start;
	if (length > 0 && take > length)
		take = length;
	if (take > HF_STORE_OBJECT_MAX)
		return HF_ETOOBIG;
	*body = malloc(take + 1);
	if (!*body)
		return HF_ENOMEM;
	err = read_all(fd, *body, take, start);
	*body_length = take;
	return hf_err_from_errno(err);
}

int hf_dir_get(int root, const char *name, uint64_t start, size_t length, void **body,
	       size_t *body_length)
{
	struct way way;
	int fd, err;

	if (is_reserved(name))
		return HF_EINVAL;
	err = way_open(&way, root, name, false);
	if (err)
		return err == ENOTDIR ? HF_ENOENT : error_of(err);
	/* Not blocking: a FIFO in an object's place would keep the worker for ever. */
	fd = openat(way.folder[way.count - 1], way.leaf,
		    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	err = fd < 0 ? error_of(errno) : 0;
	way_close(&way);
	if (err)
		return err;
	err = read_range(fd, start, length, body, body_length);
	close(fd);
	return err;
}

int hf_dir_delete(int root, const char *name)
{
	struct way way;
	int err;

	if (is_reserved(name))
		return HF_EINVAL;
	err = way_open(&way, root, name, false);
	if (err)
		return err == ENOENT || err == ENOTDIR ? 0 : error_of(err);
	err = unlinkat(way.folder[way.count - 1], way.leaf, 0) == 0 ? 0 : errno;
	if (err == 0 && fsync(way.folder[way.count - 1]) != 0)
		err = errno;
	/* A folder that is not empty ends the climb. */
	for (unsigned i = way.count; err == 0 && i > 1; i--)
		if (unlinkat(way.folder[i - 2], way.component[i - 2], AT_REMOVEDIR) != 0)
			break;
	way_close(&way);
	return err == ENOENT ? 0 : error_of(err);
}
