/* Formatting a disk as a write log: the old superblocks are destroyed first and the new ones
 * written last, so that a format that is cut short leaves no log rather than a wrong one. */
#include "cache/wlog_private.h"

#include <stdlib.h>
#include <string.h>

#define FORMAT_MAGIC 0x57464d54u
#define FILL_BYTES   (1u << 20)

struct formatting {
	uint32_t magic;
	struct hf_wlog_format *format;
	struct hf_wlogfmt_super super;
	struct hf_disk_io io;
	struct iovec iov;
	uint8_t *bytes; /* FILL_BYTES or a table */
	uint64_t filled;
	unsigned table; /* copies written */
	void (*next)(struct formatting *f);
};

static void format_end(struct formatting *f, int status)
{
	struct hf_wlog_format *format = f->format;

	format->status = status;
	format->impl = NULL;
	free(f->bytes);
	free(f);
	format->done(format);
}

static void io_done(struct hf_disk_io *io)
{
	struct formatting *f = hf_container_of(io, struct formatting, io);

	HF_CHECK_MAGIC(f, FORMAT_MAGIC);
	if (io->status)
		format_end(f, hf_fail(&f->format->message, io->status,
				      "formatting disk %u at offset %llu: %s", f->format->disk,
				      (unsigned long long)io->offset, hf_err_text(io->status)));
	else
		f->next(f);
}

static void submit(struct formatting *f, enum hf_disk_op op, uint64_t offset, size_t length,
		   void (*next)(struct formatting *f))
{
	f->io.op = op;
	f->io.disk = f->format->disk;
	f->io.offset = offset;
	f->iov.iov_base = f->bytes;
	f->iov.iov_len = length;
	f->io.iov = &f->iov;
	f->io.iov_count = 1;
	f->io.done = io_done;
	f->next = next;
	hf_env_disk_submit(f->format->env, &f->io);
}

static void super_synced(struct formatting *f)
{
	format_end(f, 0);
}

static void super_written(struct formatting *f)
{
	submit(f, HF_DISK_SYNC, 0, 0, super_synced);
}

static void tables_synced(struct formatting *f)
{
	hf_wlogfmt_super_encode(&f->super, f->bytes);
	hf_wlogfmt_super_encode(&f->super, f->bytes + HF_WLOG_BLOCK);
	submit(f, HF_DISK_WRITE, 0, 2 * HF_WLOG_BLOCK, super_written);
}

static void table_next(struct formatting *f)
{
	struct hf_wlogfmt_table table = {.version = f->table + 1, .next_serial = 1};
	struct hf_wlogfmt_entry *entries;

	if (f->table == 2) {
		submit(f, HF_DISK_SYNC, 0, 0, tables_synced);
		return;
	}
	entries = wlog_must(calloc(f->super.segment_count, sizeof *entries));
	hf_wlogfmt_table_encode(&f->super, &table, entries, f->bytes);
	free(entries);
	submit(f, HF_DISK_WRITE, f->super.table_offset[f->table++], f->super.table_bytes,
	       table_next);
}

/* Written, not only allocated: a file whose blocks were never written syncs slowly. */
static void fill_next(struct formatting *f)
{
	uint64_t left = f->super.disk_bytes - f->super.segments_offset - f->filled;
	uint64_t at = f->super.segments_offset + f->filled;
	size_t length = left < FILL_BYTES ? left / HF_WLOG_BLOCK * HF_WLOG_BLOCK : FILL_BYTES;

	if (!f->format->zero_fill || length == 0) {
		table_next(f);
		return;
	}
	f->filled += length;
	submit(f, HF_DISK_WRITE, at, length, fill_next);
}

static void super_cleared(struct formatting *f)
{
	submit(f, HF_DISK_SYNC, 0, 0, fill_next);
}

static void super_read(struct formatting *f)
{
	struct hf_wlogfmt_super found;
	int first = hf_wlogfmt_super_decode(&found, f->bytes);
	int second = hf_wlogfmt_super_decode(&found, f->bytes + HF_WLOG_BLOCK);

	/* A damaged log is a log too. */
	if (!f->format->force && (first != HF_ENOENT || second != HF_ENOENT)) {
		format_end(f, hf_fail(&f->format->message, HF_EEXIST,
				      "disk %u holds a write log already", f->format->disk));
		return;
	}
	memset(f->bytes, 0, FILL_BYTES);
	submit(f, HF_DISK_WRITE, 0, 2 * HF_WLOG_BLOCK, super_cleared);
}

struct failing {
	struct hf_timer timer;
	struct hf_wlog_format *format;
	int status;
};

static void format_fail(struct hf_timer *timer)
{
	struct failing *failing = hf_container_of(timer, struct failing, timer);
	struct hf_wlog_format *format = failing->format;

	format->status = failing->status;
	free(failing);
	format->done(format);
}

void hf_wlog_format_start(struct hf_wlog_format *format)
{
	uint64_t disk_bytes = format->env->disk_size_bytes[format->disk];
	struct formatting *f;
	size_t bytes;
	int err;

	HF_ASSERT(format->done && format->disk < format->env->disk_count);
	format->message.text[0] = '\0';
	f = wlog_must(calloc(1, sizeof *f));
	err = hf_wlogfmt_layout(&f->super, disk_bytes, format->segment_bytes);
	if (err) {
		struct failing *failing = wlog_must(calloc(1, sizeof *failing));

		free(f);
		failing->format = format;
		failing->status = hf_fail(&format->message, err,
					  "disk %u of %llu bytes cannot be a write log with "
					  "segments of %u bytes (at least %u of them)",
					  format->disk, (unsigned long long)disk_bytes,
					  format->segment_bytes, HF_WLOG_SEGMENTS_MIN);
		failing->timer.fired = format_fail;
		hf_env_timer_set(format->env, &failing->timer, hf_env_now_ns(format->env));
		return;
	}
	f->magic = FORMAT_MAGIC;
	f->format = format;
	memcpy(f->super.uuid, format->uuid, sizeof f->super.uuid);
	bytes = f->super.table_bytes > FILL_BYTES ? f->super.table_bytes : FILL_BYTES;
	f->bytes = wlog_must(aligned_alloc(HF_WLOG_BLOCK, bytes));
	format->impl = f;
	submit(f, HF_DISK_READ, 0, 2 * HF_WLOG_BLOCK, super_read);
}
