/* See cachefile.h. */
#include "gateway/volumed/cachefile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/env.h"

#define STEP_BYTES  (1ull << 20)
#define LEAST_BYTES (16ull << 20)

uint64_t hf_cachefile_size(uint64_t wanted_bytes, uint64_t size_bytes, uint64_t used_bytes,
			   uint64_t available_bytes)
{
	uint64_t size = (available_bytes + used_bytes) / 2;

	if (size > wanted_bytes)
		size = wanted_bytes;
	size -= size % STEP_BYTES;
	if (size < LEAST_BYTES)
		return 0;
	if (size_bytes % STEP_BYTES == 0 && size_bytes >= LEAST_BYTES &&
	    size_bytes <= wanted_bytes && size_bytes <= size + size / 4 &&
	    size <= size_bytes + size_bytes / 4)
		return size_bytes;
	return size;
}

static int failed(struct hf_errmsg *message, const char *path)
{
	int err = errno == EINVAL ? HF_EUNSUPPORTED : hf_err_from_errno(errno);

	return hf_fail(message, err, "%s: %s", path,
		       errno == EINVAL ? "this file system cannot do direct I/O" : strerror(errno));
}

/* As the environment asks of every disk. */
static int check_direct(int fd, const char *path, struct hf_errmsg *message)
{
	void *page;
	ssize_t got;

	if (posix_memalign(&page, 4096, 4096) != 0)
		return hf_fail(message, HF_ENOMEM, "%s: out of memory", path);
	got = pread(fd, page, HF_DISK_ALIGN, HF_DISK_ALIGN);
	free(page);
	return got < 0 ? failed(message, path) : 0;
}

/* The right size. */
static int resize(struct hf_cachefile *file, const char *path, uint64_t wanted_bytes,
		  struct hf_errmsg *message)
{
	struct statvfs vfs;
	struct stat st;

	if (fstat(file->fd, &st) != 0 || fstatvfs(file->fd, &vfs) != 0)
		return failed(message, path);
	if (!S_ISREG(st.st_mode))
		return hf_fail(message, HF_EINVAL, "%s: not a regular file", path);
	file->size_bytes =
		hf_cachefile_size(wanted_bytes, (uint64_t)st.st_size, (uint64_t)st.st_blocks * 512,
				  (uint64_t)vfs.f_bavail * vfs.f_frsize);
	if (file->size_bytes == 0)
		return hf_fail(message, HF_ENOSPC, "%s: too little space is free", path);
	if (file->size_bytes != (uint64_t)st.st_size &&
	    (ftruncate(file->fd, 0) != 0 || ftruncate(file->fd, (off_t)file->size_bytes) != 0))
		return failed(message, path);
	return 0;
}

int hf_cachefile_open(const char *path, uint64_t wanted_bytes, struct hf_cachefile *file,
		      struct hf_errmsg *message)
{
	/* The process's own lock, as for the log's file. */
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int err = 0;

	*file = (struct hf_cachefile){.fd = -1};
	if (wanted_bytes == 0)
		return unlink(path) == 0 || errno == ENOENT ? 0 : failed(message, path);
	file->fd =
		open(path, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (file->fd < 0)
		return failed(message, path);
	if (fcntl(file->fd, F_SETLK, &whole) != 0)
		err = hf_fail(message, HF_EBUSY, "%s: another process uses it", path);
	if (!err)
		err = resize(file, path, wanted_bytes, message);
	if (!err)
		err = check_direct(file->fd, path, message);
	if (err)
		hf_cachefile_close(file);
	return err;
}

void hf_cachefile_close(struct hf_cachefile *file)
{
	if (file->fd >= 0)
		close(file->fd);
	*file = (struct hf_cachefile){.fd = -1};
}
