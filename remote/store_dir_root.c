/* The root of a directory store: which folder it is, and whether it is there.
 *
 * The marker file holds the store's identity, a random number written when the store was new. A
 * root is opened by its path for each operation and must hold the marker that was there when the
 * store was opened; a disk that went away and came back is found again. Blocking: opening runs on
 * the caller's thread, the rest on worker threads. */
#include "remote/store_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"

#define MARKER_TEXT "holdfast-store-1 "

static int open_path(const char *path)
{
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* 0 or HF_ENOENT, HF_EIO, HF_ECORRUPT. */
static int read_marker(int root, char id[HF_DIR_ID_MAX])
{
	char text[sizeof MARKER_TEXT + HF_DIR_ID_MAX] = "";
	size_t prefix = strlen(MARKER_TEXT), length = prefix + HF_DIR_ID_MAX - 1;
	int fd = openat(root, HF_DIR_MARKER, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return errno == ENOENT ? HF_ENOENT : HF_EIO;
	n = read(fd, text, length);
	close(fd);
	if (n < 0)
		return HF_EIO;
	if ((size_t)n != length || memcmp(text, MARKER_TEXT, prefix) != 0)
		return HF_ECORRUPT;
	memcpy(id, text + prefix, HF_DIR_ID_MAX);
	return 0;
}

int hf_dir_root(const char *path, const char *id, int *root)
{
	char found[HF_DIR_ID_MAX];

	*root = open_path(path);
	if (*root < 0)
		return HF_ECONN;
	if (read_marker(*root, found) == 0 && strcmp(found, id) == 0)
		return 0;
	close(*root);
	return HF_ECONN;
}

/* Nothing in it but what a file system itself puts there. */
static bool is_empty(int root)
{
	int copy = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
	struct dirent *entry;
	bool empty = dir != NULL;

	if (!dir && copy >= 0)
		close(copy);
	while (empty && (entry = readdir(dir)) != NULL)
		empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
			strcmp(entry->d_name, HF_DIR_TEMPORARY) == 0 ||
			strcmp(entry->d_name, "lost+found") == 0;
	if (dir)
		closedir(dir);
	return empty;
}

/* Two processes may be the first at once: each writes a file of its own, one link wins. */
static int make_marker(int root)
{
	char id[HF_DIR_ID_MAX], temporary[sizeof HF_DIR_TEMPORARY + HF_DIR_ID_MAX];
	uint8_t random[16];
	int fd, ok;

	if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
		return HF_EIO;
	hf_hex_encode(id, random, sizeof random);
	snprintf(temporary, sizeof temporary, HF_DIR_TEMPORARY "/%s", id);
	fd = openat(root, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	if (fd < 0)
		return hf_err_from_errno(errno);
	ok = flock(fd, LOCK_EX | LOCK_NB) == 0 && dprintf(fd, MARKER_TEXT "%s\n", id) > 0 &&
	     fsync(fd) == 0 &&
	     (linkat(root, temporary, root, HF_DIR_MARKER, 0) == 0 || errno == EEXIST) &&
	     fsync(root) == 0;
	unlinkat(root, temporary, 0);
	close(fd);
	return ok ? 0 : HF_EIO;
}

static void clean_file(int temporary, const char *name)
{
	int fd = openat(temporary, name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		unlinkat(temporary, name, 0);
	close(fd);
}

static int clean(int root)
{
	struct dirent *entry;
	DIR *dir;
	int fd;

	if (mkdirat(root, HF_DIR_TEMPORARY, 0750) != 0 && errno != EEXIST)
		return errno == EROFS ? 0 : hf_err_from_errno(errno); /* a copy may be read */
	fd = openat(root, HF_DIR_TEMPORARY, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (!dir) {
		if (fd >= 0)
			close(fd);
		return HF_EIO;
	}
	while ((entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.')
			clean_file(fd, entry->d_name);
	closedir(dir);
	return 0;
}

int hf_dir_prepare(const char *path, char id[HF_DIR_ID_MAX], struct hf_errmsg *message)
{
	int root = open_path(path), err;

	if (root < 0)
		return hf_fail(message, hf_err_from_errno(errno), "store folder %s: %s", path,
			       strerror(errno));
	err = clean(root);
	if (err) {
		hf_fail(message, err, "store folder %s cannot be written: %s", path,
			hf_err_text(err));
		goto err_after_root;
	}
	err = read_marker(root, id);
	if (err == HF_ENOENT && is_empty(root)) {
		err = make_marker(root);
		if (err == 0)
			err = read_marker(root, id);
	} else if (err == HF_ENOENT) {
		err = hf_fail(message, HF_EINVAL,
			      "store folder %s: not empty, and no store (no file " HF_DIR_MARKER
			      ")",
			      path);
		goto err_after_root;
	}
	if (err)
		hf_fail(message, err, "store folder %s: its file " HF_DIR_MARKER ": %s", path,
			hf_err_text(err));
err_after_root:
	close(root);
	return err;
}
