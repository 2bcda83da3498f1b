/* The file of journal.h: records are appended and synced; when most of it is of the past, or an
 * append failed, it is written anew beside and renamed. Blocking; loop's thread. */
#include "gateway/agent/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/file.h"
#include "base/log.h"

#define JOURNAL_MAGIC 0x4a524e4cu
#define REWRITE_BYTES (256u << 10) /* appended since the last rewriting */

struct hf_journal {
	uint32_t magic;
	char path[PATH_MAX];
	struct hf_journal_table table;
	int fd;
	size_t length;   /* bytes of the file that count */
	size_t appended; /* of these, since it was written anew */
};

const struct hf_journal_table *hf_journal_table(const struct hf_journal *journal)
{
	HF_CHECK_MAGIC(journal, JOURNAL_MAGIC);
	return &journal->table;
}

/* ---- Writing ---- */

static int reopen(struct hf_journal *journal, struct hf_errmsg *message)
{
	if (journal->fd >= 0)
		close(journal->fd);
	journal->fd = open(journal->path, O_WRONLY | O_CLOEXEC);
	if (journal->fd < 0)
		return hf_fail(message, hf_err_from_errno(errno), "%s: %s", journal->path,
			       strerror(errno));
	return 0;
}

/* The table as it is now, in a new file. */
static int rewrite(struct hf_journal *journal, struct hf_errmsg *message)
{
	uint8_t *bytes;
	size_t length;
	int err = hf_journal_encode(&journal->table, &bytes, &length);

	if (err)
		return hf_fail(message, err, "the journal: out of memory");
	err = hf_file_replace(journal->path, bytes, length, 0600, message);
	free(bytes);
	if (err)
		return err;
	journal->length = length;
	journal->appended = 0;
	return reopen(journal, message);
}

static int write_all(int fd, const uint8_t *bytes, size_t length, size_t offset)
{
	while (length > 0) {
		ssize_t done = pwrite(fd, bytes, length, (off_t)offset);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? hf_err_from_errno(errno) : HF_EIO;
		bytes += done;
		offset += (size_t)done;
		length -= (size_t)done;
	}
	return fdatasync(fd) == 0 ? 0 : hf_err_from_errno(errno);
}

/* After a failed sync nothing is known of what the file holds: the next try writes it anew. */
static int append(struct hf_journal *journal, const uint8_t *bytes, size_t length)
{
	int err = journal->fd < 0 ? HF_EIO : write_all(journal->fd, bytes, length, journal->length);

	if (err) {
		if (journal->fd >= 0)
			close(journal->fd);
		journal->fd = -1;
		return err;
	}
	journal->length += length;
	journal->appended += length;
	return 0;
}

/* Appends records durably; the table does not have them yet. */
static int save(struct hf_journal *journal, const uint8_t *bytes, size_t length,
		struct hf_errmsg *message)
{
	int err;

	if (journal->appended + length <= REWRITE_BYTES && append(journal, bytes, length) == 0)
		return 0;
	err = rewrite(journal, message);
	if (!err && (err = append(journal, bytes, length)) != 0)
		hf_fail(message, err, "%s: %s", journal->path, hf_err_text(err));
	return err;
}

/* ---- Changes ---- */

int hf_journal_begin(struct hf_journal *journal, const struct hf_journal_action *action,
		     struct hf_errmsg *message)
{
	uint8_t *record;
	size_t length;
	int err;

	HF_CHECK_MAGIC(journal, JOURNAL_MAGIC);
	HF_ASSERT(!hf_journal_table_find(&journal->table, action->action));
	err = hf_journal_encode_begun(action, &record, &length);
	if (err)
		return hf_fail(message, err, "the journal: out of memory");
	err = save(journal, record, length, message);
	free(record);
	if (!err)
		HF_ASSERT(hf_journal_table_begin(&journal->table, action) == 0);
	return err;
}

int hf_journal_finish(struct hf_journal *journal, uint64_t action,
		      const struct hf_journal_result *result, struct hf_errmsg *message)
{
	uint8_t *record;
	size_t length;
	int err;

	HF_CHECK_MAGIC(journal, JOURNAL_MAGIC);
	err = hf_journal_encode_ended(action, result, &record, &length);
	if (err)
		return hf_fail(message, err, "the journal: out of memory");
	err = save(journal, record, length, message);
	free(record);
	if (!err)
		HF_ASSERT(hf_journal_table_finish(&journal->table, action, result) == 0);
	return err;
}

int hf_journal_settle(struct hf_journal *journal, const struct hf_journal_action *action,
		      const struct hf_journal_result *result, struct hf_errmsg *message)
{
	uint8_t *begun, *ended, *both;
	size_t begun_length, ended_length;
	int err;

	HF_CHECK_MAGIC(journal, JOURNAL_MAGIC);
	HF_ASSERT(!hf_journal_table_find(&journal->table, action->action));
	err = hf_journal_encode_begun(action, &begun, &begun_length);
	if (err)
		return hf_fail(message, err, "the journal: out of memory");
	err = hf_journal_encode_ended(action->action, result, &ended, &ended_length);
	both = err ? NULL : realloc(begun, begun_length + ended_length);
	if (!both) {
		free(begun);
		if (!err)
			free(ended);
		return hf_fail(message, HF_ENOMEM, "the journal: out of memory");
	}
	memcpy(both + begun_length, ended, ended_length);
	free(ended);
	err = save(journal, both, begun_length + ended_length, message);
	free(both);
	if (!err) {
		HF_ASSERT(hf_journal_table_begin(&journal->table, action) == 0);
		HF_ASSERT(hf_journal_table_finish(&journal->table, action->action, result) == 0);
	}
	return err;
}

int hf_journal_forget(struct hf_journal *journal, uint64_t action, struct hf_errmsg *message)
{
	uint8_t *record;
	size_t length;
	int err;

	HF_CHECK_MAGIC(journal, JOURNAL_MAGIC);
	if (action <= journal->table.forgotten)
		return 0;
	err = hf_journal_encode_forget(action, &record, &length);
	if (err)
		return hf_fail(message, err, "the journal: out of memory");
	err = save(journal, record, length, message);
	free(record);
	if (!err)
		hf_journal_table_forget(&journal->table, action);
	return err;
}

/* ---- Opening ---- */

static void put_aside(const struct hf_journal *journal)
{
	char aside[PATH_MAX + 16];

	snprintf(aside, sizeof aside, "%s.damaged", journal->path);
	hf_error("%s is damaged; what may have been in it is answered unknown. It is kept as %s",
		 journal->path, aside);
	if (rename(journal->path, aside) != 0)
		hf_error("%s: %s", aside, strerror(errno));
}

static int load(struct hf_journal *journal, uint64_t floor_sequence, struct hf_errmsg *message)
{
	uint8_t *bytes = NULL;
	size_t length = 0, good = 0;
	bool was_lost;
	int err = hf_file_read(journal->path, HF_JOURNAL_FILE_MAX, &bytes, &length, message);

	if (err == HF_ENOENT) {
		/* With a document there was a journal too, or the agent of a version before it. */
		journal->table.lost = floor_sequence > 0;
		journal->table.sequence = floor_sequence;
		return rewrite(journal, message);
	}
	if (!err)
		err = hf_journal_decode(bytes, length, &journal->table, &good);
	free(bytes);
	if (err != 0 && err != HF_ECORRUPT && err != HF_ETOOBIG)
		return err;
	was_lost = journal->table.lost && !journal->table.begun_since;
	if (err || was_lost) {
		journal->table.lost = true;
		if (floor_sequence > journal->table.sequence)
			journal->table.sequence = floor_sequence;
		put_aside(journal);
		return rewrite(journal, message);
	}
	journal->length = journal->appended = good;
	err = reopen(journal, message);
	/* What was torn must not lie behind the next record. */
	if (!err && ftruncate(journal->fd, (off_t)good) != 0)
		err = hf_fail(message, hf_err_from_errno(errno), "%s: %s", journal->path,
			      strerror(errno));
	return err;
}

int hf_journal_open(const char *folder, uint64_t floor_sequence, struct hf_journal **out,
		    struct hf_errmsg *message)
{
	struct hf_journal *journal = calloc(1, sizeof *journal);
	int err;

	if (!journal)
		return hf_fail(message, HF_ENOMEM, "out of memory");
	journal->magic = JOURNAL_MAGIC;
	journal->fd = -1;
	hf_journal_table_init(&journal->table);
	if (snprintf(journal->path, sizeof journal->path, "%s/journal", folder) >=
	    (int)sizeof journal->path - 16)
		err = hf_fail(message, HF_ETOOBIG, "%.100s…: path is too long", folder);
	else
		err = load(journal, floor_sequence, message);
	if (err) {
		hf_journal_close(journal);
		return err;
	}
	*out = journal;
	return 0;
}

void hf_journal_close(struct hf_journal *journal)
{
	if (!journal)
		return;
	HF_CHECK_MAGIC(journal, JOURNAL_MAGIC);
	if (journal->fd >= 0)
		close(journal->fd);
	hf_journal_table_end(&journal->table);
	journal->magic = 0;
	free(journal);
}
