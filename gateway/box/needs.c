/* What a program needs in order to start: itself, its loader, and the libraries that the loader
 * names for it and for the plugins. The loader is asked with --list, which runs nothing of them. */
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gateway/box/box.h"

static int add(struct hf_box_needs *needs, const char *path, struct hf_errmsg *message)
{
	for (size_t i = 0; i < needs->count; i++)
		if (strcmp(needs->paths[i], path) == 0)
			return 0;
	if (needs->count == HF_BOX_NEEDS_MAX)
		return hf_fail(message, HF_ETOOBIG, "more than %u files are needed",
			       HF_BOX_NEEDS_MAX);
	needs->paths[needs->count] = strdup(path);
	return needs->paths[needs->count++] ? 0 : hf_fail(message, HF_ENOMEM, "out of memory");
}

/* The loader that the program names (PT_INTERP). */
static int loader_of(const char *program, char loader[PATH_MAX], struct hf_errmsg *message)
{
	int fd = open(program, O_RDONLY | O_CLOEXEC), found = 0;
	Elf64_Ehdr header;
	Elf64_Phdr part;

	if (fd < 0)
		return hf_fail(message, hf_err_from_errno(errno), "%s: %s", program,
			       strerror(errno));
	if (pread(fd, &header, sizeof header, 0) == (ssize_t)sizeof header &&
	    memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 && header.e_ident[EI_CLASS] == ELFCLASS64)
		for (unsigned i = 0; i < header.e_phnum && !found; i++) {
			off_t at = (off_t)(header.e_phoff + i * sizeof part);

			if (pread(fd, &part, sizeof part, at) != (ssize_t)sizeof part)
				break;
			found = part.p_type == PT_INTERP && part.p_filesz > 1 &&
				part.p_filesz < PATH_MAX &&
				pread(fd, loader, part.p_filesz, (off_t)part.p_offset) ==
					(ssize_t)part.p_filesz;
			if (found)
				loader[part.p_filesz] = '\0';
		}
	close(fd);
	return found && loader[0] == '/' ? 0
					 : hf_fail(message, HF_EINVAL,
						   "%s is no dynamically linked program", program);
}

/* "\tlibc.so.6 => /lib/…/libc.so.6 (0x…)", "\t/lib64/ld… (0x…)", or the kernel's own, with no path
 */
static int add_line(struct hf_box_needs *needs, char *line, struct hf_errmsg *message)
{
	char *path = strstr(line, "=> ");

	path = path ? path + 3 : line + strspn(line, "\t ");
	if (strncmp(path, "not found", 9) == 0)
		return hf_fail(message, HF_ENOENT, "a library is missing: %.100s", line + 1);
	path[strcspn(path, " \n")] = '\0';
	return path[0] == '/' ? add(needs, path, message) : 0;
}

static void become_loader(const char *loader, const char *file, int output)
{
	dup2(output, STDOUT_FILENO);
	execl(loader, loader, "--list", file, (char *)NULL);
	_exit(127);
}

static int list(struct hf_box_needs *needs, const char *loader, const char *file,
		struct hf_errmsg *message)
{
	int ends[2], status = 0, err = 0;
	char line[PATH_MAX + 256];
	FILE *output;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return hf_fail(message, hf_err_from_errno(errno), "pipe: %s", strerror(errno));
	pid = fork();
	if (pid == 0)
		become_loader(loader, file, ends[1]);
	close(ends[1]);
	output = fdopen(ends[0], "r");
	while (pid > 0 && output && !err && fgets(line, sizeof line, output))
		err = add_line(needs, line, message);
	if (output)
		fclose(output);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || (!err && status != 0))
		return hf_fail(message, HF_EINVAL, "%s cannot tell what %s needs", loader, file);
	return err;
}

/* What the plugins need beyond what tgtd has. */
static int list_plugins(const struct hf_box_config *config, struct hf_box_needs *needs,
			const char *loader, struct hf_errmsg *message)
{
	DIR *folder = opendir(config->plugin_dir);
	char path[PATH_MAX];
	struct dirent *entry;
	int err = 0;

	if (!folder)
		return hf_fail(message, hf_err_from_errno(errno), "plugin_dir %s: %s",
			       config->plugin_dir, strerror(errno));
	while (!err && (entry = readdir(folder)) != NULL) {
		size_t length = strlen(entry->d_name);

		if (length < 4 || strcmp(entry->d_name + length - 3, ".so") != 0)
			continue;
		snprintf(path, sizeof path, "%s/%s", config->plugin_dir, entry->d_name);
		err = list(needs, loader, path, message);
	}
	closedir(folder);
	return err;
}

int hf_box_needs_find(const struct hf_box_config *config, struct hf_box_needs *needs,
		      struct hf_errmsg *message)
{
	char loader[PATH_MAX];
	int err = loader_of(config->program, loader, message);

	needs->count = 0;
	if (!err)
		err = add(needs, config->program, message);
	if (!err)
		err = add(needs, loader, message);
	if (!err)
		err = list(needs, loader, config->program, message);
	if (!err)
		err = list_plugins(config, needs, loader, message);
	if (err)
		hf_box_needs_free(needs);
	return err;
}

void hf_box_needs_free(struct hf_box_needs *needs)
{
	while (needs->count > 0)
		free(needs->paths[--needs->count]);
}
