/* state_file.h. */
#include "gateway/volumed/state_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/file.h"

#define HEADER_BYTES 24u
static const char magic[8] = {'h', 'f', 's', 't', 'a', 't', 'e', '1'};

static int failed(struct hf_errmsg *message, const char *name, const char *what)
{
	return hf_fail(message, hf_err_from_errno(errno), "%s: cannot be %s: %s", name, what,
		       strerror(errno));
}

int hf_state_file_remove(int folder_fd, const char *name, struct hf_errmsg *message)
{
	if (unlinkat(folder_fd, name, 0) != 0 && errno != ENOENT)
		return failed(message, name, "removed");
	return hf_file_sync_folder_at(folder_fd, name, message);
}

/* magic[8], flags, length of the body, CRC of flags, length and body, zero; the body. */
int hf_state_file_save(int folder_fd, const char *name, uint32_t flags, const void *body,
		       size_t length, struct hf_errmsg *message)
{
	uint8_t *file;
	int err;

	if (length > HF_STATE_BODY_MAX)
		return hf_fail(message, HF_ETOOBIG, "%s: too large", name);
	file = calloc(1, HEADER_BYTES + length);
	if (!file)
		return hf_fail(message, HF_ENOMEM, "%s: out of memory", name);
	memcpy(file, magic, sizeof magic);
	hf_put_le32(file + 8, flags);
	hf_put_le32(file + 12, (uint32_t)length);
	memcpy(file + HEADER_BYTES, body, length);
	hf_put_le32(file + 16, hf_crc32c(hf_crc32c(0, file + 8, 8), body, length));
	err = hf_file_replace_at(folder_fd, name, file, HEADER_BYTES + length, 0600, message);
	explicit_bzero(file, HEADER_BYTES + length);
	free(file);
	return err;
}

static int read_all(int fd, uint8_t *bytes, size_t capacity, size_t *length)
{
	ssize_t got;

	*length = 0;
	while (*length < capacity) {
		got = read(fd, bytes + *length, capacity - *length);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		*length += (size_t)got;
	}
	return 0;
}

static int check(const char *name, const uint8_t *file, size_t length, struct hf_errmsg *message)
{
	uint32_t body;

	if (length < HEADER_BYTES || memcmp(file, magic, sizeof magic) != 0)
		return hf_fail(message, HF_ECORRUPT, "%s: not a state file", name);
	body = hf_get_le32(file + 12);
	if (body != length - HEADER_BYTES)
		return hf_fail(message, HF_ECORRUPT, "%s: cut short or grown", name);
	if (hf_get_le32(file + 16) !=
	    hf_crc32c(hf_crc32c(0, file + 8, 8), file + HEADER_BYTES, body))
		return hf_fail(message, HF_ECORRUPT, "%s: the checksum does not fit", name);
	return 0;
}

int hf_state_file_load(int folder_fd, const char *name, uint32_t *flags, uint8_t **body,
		       size_t *length, struct hf_errmsg *message)
{
	const size_t capacity = HEADER_BYTES + HF_STATE_BODY_MAX + 1;
	uint8_t *file;
	int fd, err = 0;

	fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return failed(message, name, "opened");
	file = malloc(capacity);
	if (!file)
		err = hf_fail(message, HF_ENOMEM, "%s: out of memory", name);
	else if (read_all(fd, file, capacity, length) != 0)
		err = failed(message, name, "read");
	else
		err = check(name, file, *length, message);
	close(fd);
	if (err) {
		free(file);
		return err;
	}
	*flags = hf_get_le32(file + 8);
	*length -= HEADER_BYTES;
	memmove(file, file + HEADER_BYTES, *length);
	*body = file;
	return 0;
}
