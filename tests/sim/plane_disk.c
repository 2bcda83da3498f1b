/* The files of sim_plane, in memory: base/file.h, and the calls with which the agent's journal
 * writes. What was written and not synced is lost in part when its process dies (as with the power:
 * more than kill -9 would take). The signer's database alone is a real file. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/sim/plane.h"

#define BUCKETS  64u
#define FIRST_FD 100000

struct file {
	struct file *next;
	char path[96];
	uint8_t *bytes;
	size_t length, synced;
	bool there;
	int fd;
};

static struct file *buckets[BUCKETS];
static struct file *by_fd[256];
static unsigned fd_count;

static bool is_ours(const char *path)
{
	return strncmp(path, "/sim/", 5) == 0 || strstr(path, "/hf-sim-signer") != NULL;
}

static struct file *find(const char *path)
{
	uint32_t hash = 2166136261u;
	struct file *file;

	for (const char *c = path; *c; c++)
		hash = (hash ^ (uint8_t)*c) * 16777619u;
	for (file = buckets[hash % BUCKETS]; file; file = file->next)
		if (strcmp(file->path, path) == 0)
			return file;
	file = calloc(1, sizeof *file);
	HF_ASSERT(file && strlen(path) < sizeof file->path && fd_count < 256);
	strcpy(file->path, path);
	file->fd = FIRST_FD + (int)fd_count;
	by_fd[fd_count++] = file;
	file->next = buckets[hash % BUCKETS];
	return buckets[hash % BUCKETS] = file;
}

static void set(struct file *file, const void *bytes, size_t length)
{
	uint8_t *copy = malloc(length + 1);

	HF_ASSERT(copy);
	memcpy(copy, bytes, length);
	copy[length] = 0;
	free(file->bytes);
	file->bytes = copy;
	file->length = file->synced = length;
	file->there = true;
}

/* ---- base/file.h ---- */

int hf_file_replace(const char *path, const void *bytes, size_t length, mode_t mode,
		    struct hf_errmsg *message)
{
	const struct sim_process *process = sim_world.current;

	(void)mode;
	if (sim_step_dies())
		return 0;
	if (process && sim_chance(1500))
		return hf_fail(message, HF_EIO, "%s: the disk fails", path);
	set(find(path), bytes, length);
	if (process && process->kind == SIM_AGENT)
		sim_check_kept(process->index, strrchr(path, '/') + 1, bytes, length);
	sim_step_dies();
	return 0;
}

int hf_file_replace_at(int folder, const char *path, const void *bytes, size_t length, mode_t mode,
		       struct hf_errmsg *message)
{
	(void)folder;
	return hf_file_replace(path, bytes, length, mode, message);
}

int hf_file_sync_folder_at(int folder, const char *path, struct hf_errmsg *message)
{
	(void)folder;
	(void)path;
	(void)message;
	return 0;
}

int hf_file_read(const char *path, size_t length_max, uint8_t **bytes, size_t *length,
		 struct hf_errmsg *message)
{
	struct file *file = find(path);

	if (!file->there)
		return hf_fail(message, HF_ENOENT, "%s: there is none", path);
	if (file->length > length_max)
		return hf_fail(message, HF_ETOOBIG, "%s: too long", path);
	*bytes = malloc(file->length + 1);
	HF_ASSERT(*bytes);
	memcpy(*bytes, file->bytes, file->length);
	(*bytes)[file->length] = 0;
	*length = file->length;
	return 0;
}

/* ---- The journal's own way ---- */

int __real_open(const char *path, int flags, ...);
int __real_close(int fd);
ssize_t __real_pwrite(int fd, const void *bytes, size_t length, off_t offset);
int __real_fdatasync(int fd);
int __real_ftruncate(int fd, off_t length);
int __real_access(const char *path, int mode);
int __real_rename(const char *from, const char *to);
int __real_flock(int fd, int operation);
int __wrap_open(const char *path, int flags, ...);
int __wrap_close(int fd);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t length, off_t offset);
int __wrap_fdatasync(int fd);
int __wrap_ftruncate(int fd, off_t length);
int __wrap_access(const char *path, int mode);
int __wrap_rename(const char *from, const char *to);
int __wrap_flock(int fd, int operation);

static struct file *file_of(int fd)
{
	HF_ASSERT(fd - FIRST_FD < (int)fd_count);
	return by_fd[fd - FIRST_FD];
}

int __wrap_open(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list list;

	if (flags & O_CREAT) {
		va_start(list, flags);
		mode = va_arg(list, mode_t);
		va_end(list);
	}
	if (strcmp(path, ":memory:") == 0) /* SQLite's, which is none */
		return find(path)->fd;
	if (strncmp(path, "/sim/", 5) != 0)
		return __real_open(path, flags, mode);
	if (!find(path)->there && !(flags & O_CREAT)) {
		errno = ENOENT;
		return -1;
	}
	return find(path)->fd;
}

int __wrap_close(int fd)
{
	return fd >= FIRST_FD ? 0 : __real_close(fd);
}

ssize_t __wrap_pwrite(int fd, const void *bytes, size_t length, off_t offset)
{
	struct file *file;
	size_t end = (size_t)offset + length;

	if (fd < FIRST_FD)
		return __real_pwrite(fd, bytes, length, offset);
	file = file_of(fd);
	if (sim_step_dies())
		return (ssize_t)length;
	if (sim_chance(1500)) {
		errno = ENOSPC;
		return -1;
	}
	HF_ASSERT((size_t)offset <= file->length);
	if (end > file->length) {
		file->bytes = realloc(file->bytes, end + 1);
		HF_ASSERT(file->bytes);
		file->length = end;
	}
	memcpy(file->bytes + offset, bytes, length);
	if ((size_t)offset < file->synced)
		file->synced = (size_t)offset;
	sim_step_dies();
	return (ssize_t)length;
}

int __wrap_fdatasync(int fd)
{
	if (fd < FIRST_FD)
		return __real_fdatasync(fd);
	if (sim_step_dies())
		return 0;
	if (sim_chance(1500)) {
		errno = EIO;
		return -1;
	}
	file_of(fd)->synced = file_of(fd)->length;
	sim_step_dies();
	return 0;
}

int __wrap_ftruncate(int fd, off_t length)
{
	struct file *file;

	if (fd < FIRST_FD)
		return __real_ftruncate(fd, length);
	file = file_of(fd);
	if (!sim_step_dies() && (size_t)length < file->length) {
		file->length = (size_t)length;
		if (file->synced > file->length)
			file->synced = file->length;
	}
	return 0;
}

int __wrap_access(const char *path, int mode)
{
	if (!is_ours(path))
		return __real_access(path, mode);
	return find(path)->there ? 0 : -1;
}

int __wrap_rename(const char *from, const char *to)
{
	struct file *file;

	if (!is_ours(from))
		return __real_rename(from, to);
	file = find(from);
	if (sim_step_dies())
		return 0;
	set(find(to), file->bytes, file->length);
	file->there = false;
	file->length = file->synced = 0;
	return 0;
}

int __wrap_flock(int fd, int operation)
{
	return fd >= FIRST_FD ? 0 : __real_flock(fd, operation);
}

/* ---- The world's hand ---- */

static struct file *journal_of(unsigned gateway)
{
	char path[64];

	snprintf(path, sizeof path, "/sim/g%u/state/journal", gateway);
	return find(path);
}

void sim_disk_crash(unsigned gateway)
{
	struct file *file = journal_of(gateway);

	if (file->there && file->synced < file->length) {
		file->length = file->synced + sim_below(file->length - file->synced + 1);
		file->synced = file->length;
	}
}

void sim_disk_damage_journal(unsigned gateway)
{
	struct file *file = journal_of(gateway);

	if (file->there && file->length)
		file->bytes[sim_below(file->length)] ^= (uint8_t)(1 + sim_below(255));
}

void sim_disk_open(void)
{
	memset(buckets, 0, sizeof buckets);
	fd_count = 0;
}

void sim_disk_close(void)
{
	for (unsigned i = 0; i < fd_count; i++) {
		free(by_fd[i]->bytes);
		free(by_fd[i]);
	}
	sim_disk_open();
}
