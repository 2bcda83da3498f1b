/* shared_journal.h. */
#include "tests/channel/shared_journal.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "tests/channel/identities.h"

#define RECORD_MAGIC 0x484a5231u
#define HEADER       20u

struct waiter {
	void (*durable)(void *context);
	void *context;
};

struct batch {
	uint8_t *bytes;
	size_t used, capacity;
	struct waiter *waiters;
	size_t waiter_count, waiter_capacity;
};

struct shared_journal {
	uv_work_t work;
	uv_loop_t *loop;
	int fd;
	bool writing;
	struct batch next, current; /* gathered; being written */
};

static void *grown(void *memory, size_t *capacity, size_t wanted, size_t size)
{
	if (wanted <= *capacity)
		return memory;
	while (*capacity < wanted)
		*capacity = *capacity ? 2 * *capacity : 4096;
	memory = realloc(memory, *capacity * size);
	if (!memory)
		die("out of memory");
	return memory;
}

/* Where the records end. */
static size_t replay(const uint8_t *bytes, size_t length,
		     void (*found)(void *, uint32_t, enum journal_kind, const uint8_t *, size_t),
		     void *context)
{
	size_t at = 0;

	while (length - at >= HEADER && hf_get_le32(bytes + at) == RECORD_MAGIC) {
		size_t body = hf_get_le32(bytes + at + 16);

		if (body > length - at - HEADER ||
		    hf_crc32c(0, bytes + at + 8, HEADER - 8 + body) != hf_get_le32(bytes + at + 4))
			break;
		found(context, hf_get_le32(bytes + at + 8),
		      (enum journal_kind)hf_get_le32(bytes + at + 12), bytes + at + HEADER, body);
		at += HEADER + body;
	}
	return at;
}

struct shared_journal *journal_open(uv_loop_t *loop, const char *path,
				    void (*found)(void *, uint32_t, enum journal_kind,
						  const uint8_t *, size_t),
				    void *context)
{
	struct shared_journal *journal = calloc(1, sizeof *journal);
	struct stat status;
	uint8_t *bytes;
	size_t end;

	if (!journal)
		die("out of memory");
	journal->loop = loop;
	journal->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (journal->fd < 0 || fstat(journal->fd, &status) != 0)
		die("%s cannot be opened", path);
	bytes = malloc((size_t)status.st_size + 1);
	if (!bytes || pread(journal->fd, bytes, (size_t)status.st_size, 0) != status.st_size)
		die("%s cannot be read", path);
	end = replay(bytes, (size_t)status.st_size, found, context);
	free(bytes);
	if (ftruncate(journal->fd, (off_t)end) != 0 || lseek(journal->fd, 0, SEEK_END) < 0)
		die("%s cannot be continued", path);
	journal->work.data = journal;
	return journal;
}

void journal_add(struct shared_journal *journal, uint32_t gateway, enum journal_kind kind,
		 const void *bytes, size_t length)
{
	struct batch *batch = &journal->next;
	uint8_t *at;

	batch->bytes = grown(batch->bytes, &batch->capacity, batch->used + HEADER + length, 1);
	at = batch->bytes + batch->used;
	hf_put_le32(at, RECORD_MAGIC);
	hf_put_le32(at + 8, gateway);
	hf_put_le32(at + 12, kind);
	hf_put_le32(at + 16, (uint32_t)length);
	memcpy(at + HEADER, bytes, length);
	hf_put_le32(at + 4, hf_crc32c(0, at + 8, HEADER - 8 + length));
	batch->used += HEADER + length;
}

static void write_batch(uv_work_t *work)
{
	struct shared_journal *journal = work->data;
	const uint8_t *bytes = journal->current.bytes;
	size_t left = journal->current.used;

	while (left) {
		ssize_t done = write(journal->fd, bytes, left);

		if (done <= 0)
			die("the journal cannot be written");
		bytes += done;
		left -= (size_t)done;
	}
	if (fdatasync(journal->fd) != 0)
		die("the journal cannot be synced");
}

static void start(struct shared_journal *journal);

static void written(uv_work_t *work, int status)
{
	struct shared_journal *journal = work->data;
	struct batch *batch = &journal->current;

	(void)status;
	/* What the waiters add goes into `next`, and waits until all of them were told. */
	for (size_t i = 0; i < batch->waiter_count; i++)
		batch->waiters[i].durable(batch->waiters[i].context);
	batch->used = batch->waiter_count = 0;
	journal->writing = false;
	if (journal->next.waiter_count)
		start(journal);
}

static void start(struct shared_journal *journal)
{
	struct batch spare = journal->current;

	journal->current = journal->next;
	journal->next = spare;
	journal->writing = true;
	uv_queue_work(journal->loop, &journal->work, write_batch, written);
}

void journal_wait(struct shared_journal *journal, void (*durable)(void *context), void *context)
{
	struct batch *batch = &journal->next;

	batch->waiters = grown(batch->waiters, &batch->waiter_capacity, batch->waiter_count + 1,
			       sizeof *batch->waiters);
	batch->waiters[batch->waiter_count++] = (struct waiter){durable, context};
	if (!journal->writing)
		start(journal);
}

void journal_close(struct shared_journal *journal)
{
	close(journal->fd);
	free(journal->next.bytes);
	free(journal->next.waiters);
	free(journal->current.bytes);
	free(journal->current.waiters);
	free(journal);
}
