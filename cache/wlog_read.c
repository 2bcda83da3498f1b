/* Reads of the write log: whole pieces from the disk, each checked against its CRC (invariant 8);
 * the units that a piece has before and after the caller's range go to buffers of the operation.
 * What is not durable yet is copied from memory at once, since its place on disk is not to be
 * trusted before a sync; what became durable of late, to spare the disk. */
#include "base/crc32c.h"
#include "cache/wlog_private.h"

#include <stdlib.h>
#include <string.h>

#define READ_MAGIC 0x57524541u
#define PIECE      (HF_WLOG_PIECE_UNITS * HF_UNIT)

struct read_op {
	uint8_t lead[PIECE], trail[PIECE]; /* first: aligned */
	uint32_t magic;
	struct hf_wlog *log;
	struct wlog_segment *segment;
	struct hf_wlog_read *read;
	uint32_t first_entry;
	uint32_t from, to; /* units read, in the segment */
	struct iovec iov[3];
	unsigned iov_count;
	struct hf_disk_io io;
	struct hf_list link; /* in the pool */
};

static struct read_op *op_get(struct hf_wlog *log)
{
	struct hf_list *link = hf_list_pop_front(&log->read_pool);
	struct read_op *op;

	if (link)
		return hf_container_of(link, struct read_op, link);
	op = wlog_must(aligned_alloc(PIECE, (sizeof *op + PIECE - 1) / PIECE * PIECE));
	memset(op, 0, sizeof *op);
	op->magic = READ_MAGIC;
	op->log = log;
	hf_list_init(&op->link);
	return op;
}

void hf_wlog_reads_free(struct hf_wlog *log)
{
	struct hf_list *link;

	while ((link = hf_list_pop_front(&log->read_pool)) != NULL)
		free(hf_container_of(link, struct read_op, link));
}

/* ---- Verifying ------------------------------------------------------------------------------- */

/* The bytes of [unit, unit + units) in what was read, which may lie in two or three buffers. */
static uint32_t crc_of(const struct read_op *op, uint64_t volume, uint64_t lba, uint32_t unit,
		       uint32_t units)
{
	size_t skip = (size_t)(unit - op->from) * HF_UNIT, left = (size_t)units * HF_UNIT;
	uint32_t crc = hf_crc32c_block(volume, lba, NULL, 0);

	for (unsigned i = 0; i < op->iov_count && left > 0; i++) {
		size_t length = op->iov[i].iov_len;

		if (skip >= length) {
			skip -= length;
			continue;
		}
		length = length - skip < left ? length - skip : left;
		crc = hf_crc32c(crc, (const uint8_t *)op->iov[i].iov_base + skip, length);
		left -= length;
		skip = 0;
	}
	HF_ASSERT(left == 0);
	return crc;
}

/* The units of an entry that were read are whole pieces of it. */
static bool entry_verify(const struct read_op *op, const struct wlog_entry *entry)
{
	uint32_t end = entry->unit + entry->units;
	uint32_t unit = entry->unit > op->from ? entry->unit : op->from;

	for (end = end < op->to ? end : op->to; unit < end; unit += HF_WLOG_PIECE_UNITS) {
		uint32_t into = unit - entry->unit, units = entry->units - into;

		if (units > HF_WLOG_PIECE_UNITS)
			units = HF_WLOG_PIECE_UNITS;
		if (crc_of(op, entry->volume, entry->lba + into, unit, units) !=
		    op->segment->crcs[entry->crc + into / HF_WLOG_PIECE_UNITS])
			return false;
	}
	return true;
}

static int verify(const struct read_op *op)
{
	uint32_t i = op->first_entry;

	while (i < op->segment->entry_count && op->segment->entries[i].unit < op->to) {
		if (!entry_verify(op, &op->segment->entries[i])) {
			hf_wlog_alarm(op->log,
				      "payload in segment %llu at unit %u fails its checksum",
				      (unsigned long long)op->segment->serial,
				      op->segment->entries[i].unit);
			return HF_ECORRUPT;
		}
		i++;
	}
	return 0;
}

/* ---- From the disk --------------------------------------------------------------------------- */

static void read_done(struct hf_disk_io *io)
{
	struct read_op *op = hf_container_of(io, struct read_op, io);
	struct hf_wlog_read *read = op->read;
	struct hf_wlog *log = op->log;

	HF_CHECK_MAGIC(op, READ_MAGIC);
	read->status = io->status ? io->status : verify(op);
	hf_wlog_segment_unpin(log, op->segment);
	log->reads_under_way--;
	hf_list_push_back(&log->read_pool, &op->link);
	if (log->closing)
		hf_wlog_soon(log);
	read->done(read);
}

/* Units [first, last) widened to whole pieces; false if they are not all payload of this volume
 * and address. */
static bool plan(struct read_op *op, const struct hf_wlog_read *read)
{
	const struct wlog_segment *segment = op->segment;
	uint64_t first = read->place.unit, last = first + read->length;
	const struct wlog_entry *entry;
	uint32_t i, into;

	if (!hf_wlog_segment_entry(segment, first, &i))
		return false;
	entry = &segment->entries[i];
	into = (uint32_t)(first - entry->unit);
	op->first_entry = i;
	op->from = entry->unit + into / HF_WLOG_PIECE_UNITS * HF_WLOG_PIECE_UNITS;
	for (;;) {
		if (entry->volume != read->volume || entry->lba - entry->unit != read->lba - first)
			return false;
		if ((uint64_t)entry->unit + entry->units >= last)
			break;
		if (++i == segment->entry_count || entry[1].unit != entry->unit + entry->units)
			return false;
		entry++;
	}
	into = (uint32_t)(last - entry->unit);
	into = (into + HF_WLOG_PIECE_UNITS - 1) / HF_WLOG_PIECE_UNITS * HF_WLOG_PIECE_UNITS;
	op->to = entry->unit + (into < entry->units ? into : entry->units);
	return true;
}

static void disk_read(struct hf_wlog *log, struct wlog_segment *segment, struct read_op *op)
{
	struct hf_wlog_read *read = op->read;
	uint64_t first = read->place.unit, last = first + read->length;

	op->iov_count = 0;
	if (op->from < first)
		op->iov[op->iov_count++] =
			(struct iovec){op->lead, (size_t)(first - op->from) * HF_UNIT};
	op->iov[op->iov_count++] = (struct iovec){read->buffer, (size_t)read->length * HF_UNIT};
	if (op->to > last)
		op->iov[op->iov_count++] =
			(struct iovec){op->trail, (size_t)(op->to - last) * HF_UNIT};
	segment->readers++;
	op->io.op = HF_DISK_READ;
	op->io.disk = log->config.disk;
	op->io.offset = hf_wlog_slot_offset(log, segment->slot) + (uint64_t)op->from * HF_UNIT;
	op->io.iov = op->iov;
	op->io.iov_count = op->iov_count;
	op->io.done = read_done;
	log->reads_under_way++;
	hf_env_disk_submit(log->env, &op->io);
}

/* ---- From memory ----------------------------------------------------------------------------- */

static void end_soon(struct hf_wlog *log, struct hf_wlog_read *read, int status)
{
	read->status = status;
	hf_list_push_back(&log->ended_reads, &read->link);
	hf_wlog_soon(log);
}

/* Batches are never neighbours without a header between, so a range lies in one of them. */
static bool read_unsynced(struct hf_wlog *log, struct hf_wlog_read *read)
{
	hf_list_for_each (link, &log->unsynced) {
		struct wlog_batch *batch = hf_container_of(link, struct wlog_batch, link);
		uint64_t at = (batch->spot.offset + hf_wlog_batch_header_bytes(batch)) / HF_UNIT;

		if (batch->damaged || batch->spot.serial != read->place.source ||
		    read->place.unit < at ||
		    read->place.unit + read->length > at + batch->payload_bytes / HF_UNIT)
			continue;
		memcpy(read->buffer, batch->payload + (read->place.unit - at) * HF_UNIT,
		       read->length * HF_UNIT);
		end_soon(log, read, 0);
		return true;
	}
	return false;
}

const void *hf_wlog_peek(const struct hf_wlog *log, const struct hf_place *place, uint64_t units)
{
	HF_CHECK_MAGIC(log, WLOG_MAGIC);
	return hf_wlog_keep_find(&log->keep, place, units);
}

static bool read_kept(struct hf_wlog *log, struct hf_wlog_read *read)
{
	const uint8_t *payload = hf_wlog_keep_find(&log->keep, &read->place, read->length);

	if (!payload)
		return false;
	memcpy(read->buffer, payload, read->length * HF_UNIT);
	end_soon(log, read, 0);
	return true;
}

void hf_wlog_read(struct hf_wlog *log, struct hf_wlog_read *read)
{
	struct wlog_segment *segment;
	struct read_op *op;

	HF_CHECK_MAGIC(log, WLOG_MAGIC);
	HF_ASSERT(read->length > 0 && (uintptr_t)read->buffer % HF_DISK_ALIGN == 0);
	if (log->closing) {
		end_soon(log, read, HF_ECANCELED);
		return;
	}
	if (read_unsynced(log, read))
		return;
	segment = hf_wlog_segment_find(log, read->place.source);
	if (!segment) {
		end_soon(log, read, HF_ENOENT);
		return;
	}
	op = op_get(log);
	op->read = read;
	op->segment = segment;
	if (!plan(op, read))
		end_soon(log, read, HF_ENOENT);
	else if (!read_kept(log, read)) {
		disk_read(log, segment, op);
		return;
	}
	hf_list_push_back(&log->read_pool, &op->link);
}
