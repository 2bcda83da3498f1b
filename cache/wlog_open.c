/* Opening a write log: superblock and segment table, then recovery of the segments
 * (wlog_recover.c), then everything past durable-through to a fresh segment (wlog_relocate.c). A
 * log that is damaged where it was durable is refused with the place. */
#include "cache/wlog_private.h"

#include <stdlib.h>
#include <string.h>

#define LOAD_BYTES (1u << 20)

/* ---- Loading --------------------------------------------------------------------------------- */

static void piece_start(struct wlog_load_piece *piece);

static void piece_done(struct hf_disk_io *io)
{
	struct wlog_load_piece *piece = hf_container_of(io, struct wlog_load_piece, io);
	struct wlog_load *load = piece->load;

	HF_CHECK_MAGIC(load->log, WLOG_MAGIC);
	load->under_way--;
	if (io->status && !load->status)
		load->status = io->status;
	if (!load->status && load->asked < load->length)
		piece_start(piece);
	else if (load->under_way == 0)
		load->next(load->log, load->status);
}

static void piece_start(struct wlog_load_piece *piece)
{
	struct wlog_load *load = piece->load;
	size_t left = load->length - load->asked;

	piece->iov.iov_base = load->bytes + load->asked;
	piece->iov.iov_len = left < LOAD_BYTES ? left : LOAD_BYTES;
	piece->io.op = HF_DISK_READ;
	piece->io.disk = load->log->config.disk;
	piece->io.offset = load->offset + load->asked;
	piece->io.iov = &piece->iov;
	piece->io.iov_count = 1;
	piece->io.done = piece_done;
	load->asked += piece->iov.iov_len;
	load->under_way++;
	hf_env_disk_submit(load->log->env, &piece->io);
}

void hf_wlog_load(struct hf_wlog *log, uint64_t offset, void *bytes, size_t length,
		  void (*next)(struct hf_wlog *log, int status))
{
	struct wlog_load *load = &log->load;

	HF_ASSERT(load->under_way == 0 && length > 0);
	load->log = log;
	load->offset = offset;
	load->bytes = bytes;
	load->length = length;
	load->asked = 0;
	load->status = 0;
	load->next = next;
	for (unsigned i = 0; i < WLOG_LOAD_PIECES && load->asked < length; i++) {
		load->pieces[i].load = load;
		piece_start(&load->pieces[i]);
	}
}

/* ---- The end --------------------------------------------------------------------------------- */

static void open_end(struct hf_wlog *log, int status)
{
	struct hf_wlog_open *open = log->opening;

	log->opening = NULL;
	log->busy = false;
	free(log->tail.body);
	log->tail.body = NULL;
	open->status = status;
	open->wlog = status ? NULL : log;
	if (status)
		hf_wlog_destroy(log);
	open->opened(open);
}

/* Whether or not it could be written. */
static void tail_footer_done(struct hf_wlog *log, int status)
{
	(void)status;
	log->opening->rewrite_ns += hf_env_now_ns(log->env);
	hf_wlog_soon(log);
	open_end(log, 0);
}

static void open_relocated(struct hf_wlog *log, int status)
{
	const struct wlog_segment *tail = hf_wlog_segment_find(log, log->tail.serial);

	log->relocated = NULL;
	if (!status && tail && tail != log->active) {
		hf_wlog_footer_write(log, tail, log->tail.body, log->tail.body_bytes, log->tail.end,
				     tail_footer_done);
		return;
	}
	log->opening->rewrite_ns += hf_env_now_ns(log->env);
	if (status)
		hf_fail(&log->opening->message, status,
			"log on disk %u: no fresh segment can be written: %s", log->config.disk,
			hf_err_text(status));
	else
		hf_wlog_soon(log);
	open_end(log, status);
}

static void open_recovered(struct hf_wlog *log, int status)
{
	const struct hf_wlog_owner *owner = log->config.owner;

	if (!status && owner->accepts && !owner->accepts(owner->context))
		status =
			hf_fail(&log->opening->message, HF_ECORRUPT,
				"log on disk %u: what it says cannot be understood; see the alarms "
				"before",
				log->config.disk);
	if (status) {
		open_end(log, status);
		return;
	}
	log->must_relocate = true;
	log->relocated = open_relocated;
	log->opening->rewrite_ns -= hf_env_now_ns(log->env);
	hf_wlog_relocate(log);
}

/* ---- Segment table --------------------------------------------------------------------------- */

static int by_serial(const void *a, const void *b)
{
	const struct hf_wlogfmt_entry *x = *(const struct hf_wlogfmt_entry *const *)a;
	const struct hf_wlogfmt_entry *y = *(const struct hf_wlogfmt_entry *const *)b;

	return x->serial < y->serial ? -1 : x->serial > y->serial;
}

static int adopt(struct hf_wlog *log, struct hf_wlogfmt_entry **entries, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct hf_wlogfmt_entry *entry = entries[i];
		struct wlog_segment *segment;

		if (i > 0 &&
		    (entry->serial == entries[i - 1]->serial || entries[i - 1]->last_batch == 0 ||
		     entry->first_batch <= entries[i - 1]->last_batch))
			return HF_ECORRUPT;
		segment =
			hf_wlog_segment_known(log, (uint32_t)(entry - log->entries), entry->serial);
		hf_wlog_segment_commit(log, segment, entry->first_batch);
		segment->open = entry->last_batch == 0;
		segment->last_batch = entry->last_batch;
	}
	if (log->active && !log->active->open)
		log->active = NULL;
	return 0;
}

/* What the table names; a segment reserved for a rewriting that was not committed is free. */
static void segments_adopt(struct hf_wlog *log)
{
	struct hf_wlogfmt_entry **used =
		wlog_must(calloc(log->super.segment_count, sizeof(struct hf_wlogfmt_entry *)));
	uint32_t count = 0;
	int err;

	for (uint32_t i = 0; i < log->super.segment_count; i++)
		if (log->entries[i].serial && log->entries[i].first_batch)
			used[count++] = &log->entries[i];
	qsort(used, count, sizeof(struct hf_wlogfmt_entry *), by_serial);
	err = adopt(log, used, count);
	free(used);
	if (err) {
		hf_fail(&log->opening->message, err,
			"log on disk %u: the segment table contradicts itself", log->config.disk);
		open_end(log, err);
		return;
	}
	log->durable_through = log->table.durable_through;
	hf_wlog_recover(log, open_recovered);
}

static void tables_read(struct hf_wlog *log, int status)
{
	struct hf_wlogfmt_table tables[2];
	uint8_t *copies = log->table_copies;
	unsigned newest;
	int errs[2];

	if (status) {
		hf_fail(&log->opening->message, status,
			"log on disk %u: the segment table cannot be read", log->config.disk);
		open_end(log, status);
		return;
	}
	for (unsigned i = 0; i < 2; i++)
		errs[i] = hf_wlogfmt_table_decode(&log->super, &tables[i], log->entries,
						  copies + i * (size_t)log->super.table_bytes);
	if (errs[0] && errs[1]) {
		hf_fail(&log->opening->message, errs[0],
			"log on disk %u: both copies of the segment table (offsets %llu and %llu) "
			"are damaged",
			log->config.disk, (unsigned long long)log->super.table_offset[0],
			(unsigned long long)log->super.table_offset[1]);
		open_end(log, errs[0]);
		return;
	}
	newest = errs[0] || (!errs[1] && tables[1].version > tables[0].version);
	hf_wlogfmt_table_decode(&log->super, &log->table, log->entries,
				copies + newest * (size_t)log->super.table_bytes);
	/* The newest may never have been synced: of two whole ones it is written over first. */
	log->table_good = errs[0] || errs[1] ? newest : !newest;
	log->opening->version = log->table.version;
	if (log->table.version + 1 < log->config.least_version) {
		hf_fail(&log->opening->message, HF_ESTALE,
			"it is an older copy of the log that was here");
		open_end(log, HF_ESTALE);
		return;
	}
	segments_adopt(log);
}

/* ---- Superblock ------------------------------------------------------------------------------ */

static void supers_read(struct hf_wlog *log, int status)
{
	uint8_t *blocks = log->table_copies;
	uint64_t disk_bytes = log->env->disk_size_bytes[log->config.disk];

	if (!status) {
		status = hf_wlogfmt_super_decode(&log->super, blocks);
		if (status == HF_ENOENT) /* says nothing about the copy */
			status = hf_wlogfmt_super_decode(&log->super, blocks + HF_WLOG_BLOCK);
		else if (status &&
			 hf_wlogfmt_super_decode(&log->super, blocks + HF_WLOG_BLOCK) == 0)
			status = 0;
	}
	if (status) {
		hf_fail(&log->opening->message, status, "log on disk %u: superblock: %s",
			log->config.disk, hf_err_text(status));
	} else if (log->super.disk_bytes > disk_bytes) {
		status = hf_fail(&log->opening->message, HF_ECORRUPT,
				 "log on disk %u: formatted for %llu bytes, the disk has %llu",
				 log->config.disk, (unsigned long long)log->super.disk_bytes,
				 (unsigned long long)disk_bytes);
	}
	if (status) {
		open_end(log, status);
		return;
	}
	if (!hf_is_zero(log->config.uuid, sizeof log->config.uuid) &&
	    memcmp(log->config.uuid, log->super.uuid, sizeof log->config.uuid) != 0) {
		hf_fail(&log->opening->message, HF_ESTALE,
			"it is another log than the one that was here");
		open_end(log, HF_ESTALE);
		return;
	}
	memcpy(log->opening->uuid, log->super.uuid, sizeof log->opening->uuid);
	hf_wlog_provide(log);
	free(log->table_copies);
	log->table_copies =
		wlog_must(aligned_alloc(HF_WLOG_BLOCK, 2 * (size_t)log->super.table_bytes));
	hf_wlog_load(log, log->super.table_offset[0], log->table_copies,
		     2 * (size_t)log->super.table_bytes, tables_read);
}

void hf_wlog_open_start(struct hf_wlog_open *open)
{
	struct hf_wlog *log = wlog_must(hf_wlog_create(&open->config));

	HF_ASSERT(open->opened && open->config.disk < log->env->disk_count);
	open->wlog = NULL;
	open->message.text[0] = '\0';
	open->segments_read = open->batches = open->records = open->rewritten_records = 0;
	open->whole_segments = 0;
	open->newest_ns = open->records_ns = open->rewrite_ns = 0;
	log->opening = open;
	log->table_copies = wlog_must(aligned_alloc(HF_WLOG_BLOCK, 2 * HF_WLOG_BLOCK));
	hf_wlog_load(log, 0, log->table_copies, 2 * HF_WLOG_BLOCK, supers_read);
}
