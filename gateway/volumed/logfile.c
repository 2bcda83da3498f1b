/* Opening and making the log's file (logfile.h). A log is made under another name and renamed when
 * it is complete, so that a crash in between never leaves half a log behind. */
#include "gateway/volumed/logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int failed(struct hf_errmsg *message, const char *path, const char *what)
{
	int err = hf_err_from_errno(errno);

	if (errno == EINVAL)
		err = HF_EUNSUPPORTED;
	return hf_fail(message, err, "%s: %s: %s", path, what,
		       errno == EINVAL ? "this file system cannot do direct I/O" : strerror(errno));
}

static int new_name(const char *path, char *name, size_t size, struct hf_errmsg *message)
{
	if ((size_t)snprintf(name, size, "%s.new", path) >= size)
		return hf_fail(message, HF_EINVAL, "%s: the path is too long", path);
	return 0;
}

/* The process's own lock, not one of the open file (flock): io_uring holds on to the file for a
 * moment after a process was killed, and the next one would find it locked. */
static int lock(int fd)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	return fcntl(fd, F_SETLK, &whole);
}

/* PATH.new, ours alone: another process that is making the same log has it locked, or has given it
 * the other name meanwhile. */
static int open_new(const char *name, int *fd, struct hf_errmsg *message)
{
	struct stat ours, named;

	*fd = open(name, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (*fd < 0)
		return failed(message, name, "cannot be made");
	if (lock(*fd) == 0 && fstat(*fd, &ours) == 0 && stat(name, &named) == 0 &&
	    ours.st_ino == named.st_ino && ours.st_dev == named.st_dev && ftruncate(*fd, 0) == 0)
		return 0;
	close(*fd);
	*fd = -1;
	return hf_fail(message, HF_EBUSY, "%s: another process makes this log", name);
}

/* The blocks are reserved first, so that a full disk is told now and not in the middle of zeroing.
 */
static int make(const char *path, uint64_t size_bytes, struct hf_logfile *file,
		struct hf_errmsg *message)
{
	char name[PATH_MAX];
	int err = new_name(path, name, sizeof name, message);

	if (!err)
		err = open_new(name, &file->fd, message);
	if (err)
		return err;
	file->fresh = true;
	if (fallocate(file->fd, 0, 0, (off_t)size_bytes) != 0 &&
	    (errno != EOPNOTSUPP || ftruncate(file->fd, (off_t)size_bytes) != 0)) {
		err = failed(message, name, "cannot be made as large as log_size");
		unlink(name);
		close(file->fd);
		file->fd = -1;
	}
	return err;
}

int hf_logfile_open(const char *path, uint64_t size_bytes, struct hf_logfile *file,
		    struct hf_errmsg *message)
{
	struct stat st;
	int err;

	*file = (struct hf_logfile){.fd = -1, .path = path};
	file->fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (file->fd < 0 && (errno != ENOENT || size_bytes == 0))
		return failed(message, path, "cannot be opened");
	if (file->fd < 0) {
		err = make(path, size_bytes, file, message);
		if (err)
			return err;
	}
	err = HF_EIO;
	if (fstat(file->fd, &st) != 0) {
		hf_fail(message, err, "%s: %s", path, strerror(errno));
		goto err_after_open;
	}
	if (!S_ISREG(st.st_mode)) {
		err = hf_fail(message, HF_EINVAL, "%s: not a regular file", path);
		goto err_after_open;
	}
	if (lock(file->fd) != 0) {
		err = hf_fail(message, HF_EBUSY, "%s: another process uses this log", path);
		goto err_after_open;
	}
	file->size_bytes = (uint64_t)st.st_size;
	return 0;

err_after_open:
	close(file->fd);
	file->fd = -1;
	return err;
}

static int sync_folder_of(const char *path)
{
	char copy[PATH_MAX];
	int fd, err;

	snprintf(copy, sizeof copy, "%s", path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	err = fsync(fd);
	close(fd);
	return err;
}

/* Never over a log that is there by now, as far as the file system can promise that. */
static int give_name(const char *name, const char *path)
{
	if (renameat2(AT_FDCWD, name, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -1;
	if (access(path, F_OK) == 0) {
		errno = EEXIST;
		return -1;
	}
	return rename(name, path);
}

int hf_logfile_keep(struct hf_logfile *file, struct hf_errmsg *message)
{
	char name[PATH_MAX];
	int err = new_name(file->path, name, sizeof name, message);

	if (err)
		return err;
	if (fsync(file->fd) != 0 || give_name(name, file->path) != 0 ||
	    sync_folder_of(file->path) != 0)
		return hf_fail(message, hf_err_from_errno(errno), "%s: cannot be kept: %s",
			       file->path, strerror(errno));
	file->fresh = false;
	return 0;
}

void hf_logfile_close(struct hf_logfile *file)
{
	char name[PATH_MAX];

	if (file->fd < 0)
		return;
	if (file->fresh && new_name(file->path, name, sizeof name, NULL) == 0)
		unlink(name);
	close(file->fd);
	file->fd = -1;
}
