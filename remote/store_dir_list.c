/* LIST of the directory store: walks the folders in the byte order of full names. A folder sorts as
 * its name with a '/', because that is what follows in every name inside it. Subtrees that hold no
 * name wanted are not entered. Blocking, on a worker thread.
 *
 * What is shown is durable: a folder is synced after it was read, because the one who made an entry
 * may have died between that and its own sync, and the reader will build on what it sees.
 *
 * A file that comes or goes during the walk may be seen or not; one that was there all the time is
 * always seen. */
#include "remote/store_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "remote/store_impl.h"

struct entry {
	char *name; /* of one component; a folder's ends with '/' */
};

struct entries {
	struct entry *items;
	size_t count, room;
};

struct walk {
	struct hf_store_io *io;
	unsigned limit;
	char path[2 * HF_STORE_NAME_MAX + 4]; /* of what is looked at */
	bool full;
};

static int walk_folder(struct walk *walk, int folder, unsigned depth);

static void entries_free(struct entries *entries)
{
	for (size_t i = 0; i < entries->count; i++)
		free(entries->items[i].name);
	free(entries->items);
}

static int entries_add(struct entries *entries, const char *name, bool is_folder)
{
	size_t length = strlen(name);
	char *copy;

	if (entries->count == entries->room) {
		size_t room = entries->room ? 2 * entries->room : 64;
		struct entry *items = realloc(entries->items, room * sizeof *items);

		if (!items)
			return HF_ENOMEM;
		entries->items = items;
		entries->room = room;
	}
	copy = malloc(length + 2);
	if (!copy)
		return HF_ENOMEM;
	memcpy(copy, name, length);
	copy[length] = is_folder ? '/' : '\0';
	copy[length + 1] = '\0';
	entries->items[entries->count++].name = copy;
	return 0;
}

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

/* Kind of an entry: 'f' file, 'd' folder, 0 neither (or gone meanwhile). */
static char kind_of(int folder, const struct dirent *entry)
{
	struct stat st;

	if (entry->d_type == DT_REG)
		return 'f';
	if (entry->d_type == DT_DIR)
		return 'd';
	if (entry->d_type != DT_UNKNOWN ||
	    fstatat(folder, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return 0;
	return S_ISREG(st.st_mode) ? 'f' : S_ISDIR(st.st_mode) ? 'd' : 0;
}

static int read_entries(int folder, bool is_root, struct entries *entries)
{
	int err = 0, copy = dup(folder);
	DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
	struct dirent *entry;

	if (!dir) {
		if (copy >= 0)
			close(copy);
		return HF_ENOMEM;
	}
	for (errno = 0; err == 0 && (entry = readdir(dir)) != NULL; errno = 0) {
		char kind;

		if (!hf_store_name_is_valid(entry->d_name) ||
		    (is_root && (strcmp(entry->d_name, HF_DIR_TEMPORARY) == 0 ||
				 strcmp(entry->d_name, HF_DIR_MARKER) == 0)))
			continue;
		kind = kind_of(folder, entry);
		if (kind)
			err = entries_add(entries, entry->d_name, kind == 'd');
	}
	if (err == 0 && errno != 0)
		err = hf_err_from_errno(errno);
	closedir(dir);
	if (err == 0 && entries->count > 0)
		qsort(entries->items, entries->count, sizeof *entries->items, compare);
	return err;
}

/* Can a name that begins with `path` (which ends with '/') be wanted? */
static bool folder_is_wanted(const struct walk *walk)
{
	size_t path = strlen(walk->path), prefix = strlen(walk->io->name);
	size_t common = path < prefix ? path : prefix;

	if (strncmp(walk->path, walk->io->name, common) != 0)
		return false;
	return strncmp(walk->io->after, walk->path, path) <= 0;
}

static bool file_is_wanted(const struct walk *walk)
{
	return strncmp(walk->path, walk->io->name, strlen(walk->io->name)) == 0 &&
	       strcmp(walk->path, walk->io->after) > 0;
}

static int visit_file(struct walk *walk, int folder, const char *name)
{
	struct hf_store_io *io = walk->io;
	struct hf_store_name *found;
	struct stat st;

	if (!file_is_wanted(walk) || !hf_store_name_is_valid(walk->path))
		return 0;
	if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? 0 : hf_err_from_errno(errno);
	if (io->name_count == walk->limit) {
		io->more = true;
		walk->full = true;
		return 0;
	}
	found = &io->names[io->name_count++];
	strcpy(found->name, walk->path);
	found->size_bytes = (uint64_t)st.st_size;
	return 0;
}

static int visit_folder(struct walk *walk, int folder, char *name, unsigned depth)
{
	int fd, err;

	if (!folder_is_wanted(walk) || depth + 1 >= HF_STORE_DEPTH_MAX)
		return 0;
	name[strlen(name) - 1] = '\0';
	fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : hf_err_from_errno(errno);
	err = walk_folder(walk, fd, depth + 1);
	close(fd);
	return err;
}

static int walk_folder(struct walk *walk, int folder, unsigned depth)
{
	size_t length = strlen(walk->path);
	struct entries entries = {0};
	int err = read_entries(folder, depth == 0, &entries);

	if (err == 0 && entries.count > 0 && fsync(folder) != 0)
		err = hf_err_from_errno(errno);
	for (size_t i = 0; err == 0 && !walk->full && i < entries.count; i++) {
		char *name = entries.items[i].name;
		size_t name_length = strlen(name);

		if (length + name_length > HF_STORE_NAME_MAX)
			continue;
		memcpy(walk->path + length, name, name_length + 1);
		if (name[name_length - 1] == '/')
			err = visit_folder(walk, folder, name, depth);
		else
			err = visit_file(walk, folder, name);
	}
	walk->path[length] = '\0';
	entries_free(&entries);
	return err;
}

int hf_dir_list(int root, struct hf_store_io *io)
{
	struct walk walk = {.io = io, .limit = io->limit};

	if (walk.limit == 0 || walk.limit > HF_STORE_LIST_MAX)
		walk.limit = HF_STORE_LIST_MAX;
	io->names = calloc(walk.limit, sizeof *io->names);
	if (!io->names)
		return HF_ENOMEM;
	return walk_folder(&walk, root, 0);
}
