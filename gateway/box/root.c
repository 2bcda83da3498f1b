/* The file tree of the box: a tmpfs that holds the needed files, each bound read-only at its usual
 * place, and three folders. It is built beside the run folder, in the mount namespace of the child
 * only, and becomes its root. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gateway/box/box.h"

static int failed(struct hf_errmsg *message, const char *what, const char *path)
{
	int code = errno;

	return hf_fail(message, hf_err_from_errno(code), "%s %s: %s", what, path, strerror(code));
}

/* The uid owns the folder, so what is in there is never followed or trusted here. */
int hf_box_folder_make(const struct hf_box_config *config, struct hf_errmsg *message)
{
	int fd, err = 0;

	if (mkdir(config->folder, 0700) != 0 && errno != EEXIST)
		return failed(message, "making", config->folder);
	fd = open(config->folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return failed(message, "opening", config->folder);
	if (fchown(fd, (uid_t)config->uid, (gid_t)config->gid) != 0 || fchmod(fd, 0700) != 0)
		err = failed(message, "giving away", config->folder);
	close(fd);
	return err;
}

/* root + path, with all folders above it. */
static int place_of(const char *root, const char *path, char place[PATH_MAX],
		    struct hf_errmsg *message)
{
	if (snprintf(place, PATH_MAX, "%s%s", root, path) >= PATH_MAX)
		return hf_fail(message, HF_ETOOBIG, "%s: the path is too long", path);
	for (char *slash = strchr(place + strlen(root) + 1, '/'); slash;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(place, 0755) != 0 && errno != EEXIST)
			return failed(message, "making", place);
		*slash = '/';
	}
	return 0;
}

static int bind_to(const char *from, const char *place, unsigned long flags,
		   struct hf_errmsg *message)
{
	if (mount(from, place, NULL, MS_BIND, NULL) != 0 ||
	    mount(NULL, place, NULL, MS_BIND | MS_REMOUNT | MS_NOSUID | flags, NULL) != 0)
		return failed(message, "binding", from);
	return 0;
}

static int bind_file(const char *root, const char *path, unsigned long flags,
		     struct hf_errmsg *message)
{
	char place[PATH_MAX];
	int fd, err = place_of(root, path, place, message);

	if (err)
		return err;
	fd = open(place, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return failed(message, "making", place);
	close(fd);
	return bind_to(path, place, flags, message);
}

static int bind_folder(const char *root, const char *from, const char *path, unsigned long flags,
		       struct hf_errmsg *message)
{
	char place[PATH_MAX];
	int err = place_of(root, path, place, message);

	if (err)
		return err;
	if (mkdir(place, 0755) != 0 && errno != EEXIST)
		return failed(message, "making", place);
	return bind_to(from, place, MS_NODEV | flags, message);
}

static int fill(const struct hf_box_config *config, const struct hf_box_needs *needs,
		const char *root, struct hf_errmsg *message)
{
	int err = 0;

	for (size_t i = 0; !err && i < needs->count; i++)
		err = bind_file(root, needs->paths[i], MS_RDONLY | MS_NODEV, message);
	if (!err)
		err = bind_file(root, "/dev/null", MS_NOEXEC, message);
	if (!err)
		err = bind_file(root, "/dev/urandom", MS_NOEXEC | MS_RDONLY, message);
	if (!err)
		err = bind_folder(root, config->plugin_dir, HF_BOX_PLUGINS, MS_RDONLY, message);
	if (!err)
		err = bind_folder(root, config->ring_dir, HF_BOX_RING, MS_RDONLY | MS_NOEXEC,
				  message);
	return err ? err : bind_folder(root, config->folder, HF_BOX_RUN, MS_NOEXEC, message);
}

/* pivot_root forgets the old tree; a root that is the kernel's first one cannot be pivoted, there
 * the old tree is covered and left behind by chroot, out of reach without capabilities. */
static int turn(const char *root, struct hf_errmsg *message)
{
	if (chdir(root) != 0)
		return failed(message, "entering", root);
	if (syscall(SYS_pivot_root, ".", ".") == 0) {
		if (umount2(".", MNT_DETACH) != 0)
			return failed(message, "leaving", "the old tree");
	} else if (mount(".", "/", NULL, MS_MOVE, NULL) != 0 || chroot(".") != 0) {
		return failed(message, "moving to", root);
	}
	return chdir("/") == 0 ? 0 : failed(message, "entering", "the box");
}

/* Up to where no folder is above; bounded, since nobody promises that the machine's tree ends. */
static int climb(struct hf_errmsg *message)
{
	struct stat here, above;

	for (unsigned i = 0; i < PATH_MAX / 2; i++) {
		if (stat(".", &here) != 0 || stat("..", &above) != 0 || chdir("..") != 0)
			return failed(message, "leaving", "the folder above /");
		if (here.st_dev == above.st_dev && here.st_ino == above.st_ino)
			return 0;
	}
	return hf_fail(message, HF_EINVAL, "the tree above / has no end");
}

/* In a plain chroot / is a folder, no mount point, and the kernel makes only mount points private.
 * The one that holds it lies above, out of sight: from a root below the working folder the way up
 * is open. All in the child's own namespace, and back to the same / again. */
static int make_private_above(const char *below, struct hf_errmsg *message)
{
	int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), err;

	if (root < 0 || chdir("/") != 0 || chroot(below) != 0) {
		err = failed(message, "/ is no mount point, and cannot be left;", below);
	} else {
		err = climb(message);
		if (!err && mount("", ".", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
			err = failed(message, "a mount namespace of its own is needed;",
				     "making the tree above / private");
		if ((fchdir(root) != 0 || chroot(".") != 0) && !err)
			err = failed(message, "going back to", "/");
	}
	if (root >= 0)
		close(root);
	return err;
}

static int make_private(const char *below, struct hf_errmsg *message)
{
	if (mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
		return 0;
	if (errno == EINVAL)
		return make_private_above(below, message);
	return failed(message, "a mount namespace of its own is needed;", "making / private");
}

int hf_box_root_enter(const struct hf_box_config *config, const struct hf_box_needs *needs,
		      struct hf_errmsg *message)
{
	char root[PATH_MAX];
	int err;

	snprintf(root, sizeof root, "%s.root", config->folder);
	if (mkdir(root, 0700) != 0 && errno != EEXIST)
		return failed(message, "making", root);
	err = make_private(root, message);
	if (err)
		return err;
	if (mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=1m") != 0)
		return failed(message, "mounting a tmpfs at", root);
	err = fill(config, needs, root, message);
	if (!err && mount(NULL, root, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV,
			  NULL) != 0)
		err = failed(message, "closing", root);
	return err ? err : turn(root, message);
}
