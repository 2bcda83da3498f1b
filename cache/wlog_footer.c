/* Footers. Writing one, when a segment is full and when a start closes what a dead process left
 * open. And those of the closed segments, read ahead while the newest segment is read and while the
 * records of earlier ones are handed to the owner: several reads are under way at once, and what is
 * taken is mostly there. A footer is two reads, its last block and then its body; whatever is wrong
 * with it only means that the segment is read whole (wlog_recover.c). */
#include "base/crc32c.h"
#include "cache/wlog_private.h"

#include <stdlib.h>
#include <string.h>

static void ended(struct wlog_footer_read *read, bool good)
{
	struct hf_wlog *log = read->log;
	struct wlog_footers *footers = read->footers;

	footers->under_way--;
	read->ready = true;
	read->good = good;
	if (footers->taken && footers->taking == read)
		hf_wlog_footers_take(footers, read->index, footers->taken);
	if (footers->drained && footers->under_way == 0)
		footers->drained(log);
}

static void load(struct wlog_footer_read *read, uint32_t offset, uint32_t bytes,
		 void (*done)(struct hf_disk_io *io))
{
	struct hf_wlog *log = read->log;

	free(read->bytes);
	read->bytes = wlog_must(aligned_alloc(HF_WLOG_BLOCK, bytes));
	read->iov = (struct iovec){read->bytes, bytes};
	read->io = (struct hf_disk_io){
		.op = HF_DISK_READ,
		.disk = log->config.disk,
		.offset = hf_wlog_slot_offset(log, log->live[read->index]->slot) + offset,
		.iov = &read->iov,
		.iov_count = 1,
		.done = done,
	};
	hf_env_disk_submit(log->env, &read->io);
}

static void body_read(struct hf_disk_io *io)
{
	struct wlog_footer_read *read = hf_container_of(io, struct wlog_footer_read, io);

	HF_CHECK_MAGIC(read->log, WLOG_MAGIC);
	ended(read, io->status == 0 && hf_crc32c(0, read->bytes, read->footer.body_bytes) ==
					       read->footer.body_crc);
}

static void trailer_read(struct hf_disk_io *io)
{
	struct wlog_footer_read *read = hf_container_of(io, struct wlog_footer_read, io);
	struct hf_wlog *log = read->log;
	const struct wlog_segment *segment;
	struct hf_wlogfmt_footer *footer = &read->footer;

	HF_CHECK_MAGIC(log, WLOG_MAGIC);
	segment = log->live[read->index];
	if (read->footers->drained || io->status ||
	    hf_wlogfmt_footer_decode(footer, log->super.segment_bytes, read->bytes) != 0 ||
	    memcmp(footer->uuid, log->super.uuid, sizeof footer->uuid) != 0 ||
	    footer->serial != segment->serial || footer->first_batch != segment->first_batch ||
	    footer->last_batch != segment->last_batch || footer->body_bytes == 0) {
		ended(read, false);
		return;
	}
	load(read, footer->body_offset, hf_wlogfmt_block_up(footer->body_bytes), body_read);
}

static void start_ahead(struct wlog_footers *footers, uint32_t taken)
{
	while (footers->started < footers->count && footers->started < taken + WLOG_FOOTERS_AHEAD) {
		struct wlog_footer_read *read =
			&footers->reads[footers->started % WLOG_FOOTERS_AHEAD];

		read->index = footers->started++;
		read->ready = false;
		footers->under_way++;
		load(read, footers->log->super.segment_bytes - HF_WLOG_BLOCK, HF_WLOG_BLOCK,
		     trailer_read);
	}
}

void hf_wlog_footers_begin(struct wlog_footers *footers, struct hf_wlog *log, uint32_t count)
{
	footers->log = log;
	footers->count = count;
	for (unsigned i = 0; i < WLOG_FOOTERS_AHEAD; i++) {
		footers->reads[i].log = log;
		footers->reads[i].footers = footers;
	}
	start_ahead(footers, 0);
}

static void take_fired(struct hf_timer *timer)
{
	struct wlog_footers *footers = hf_container_of(timer, struct wlog_footers, timer);
	void (*taken)(struct hf_wlog *, const struct wlog_footer_read *) = footers->taken;

	HF_CHECK_MAGIC(footers->log, WLOG_MAGIC);
	HF_ASSERT(taken);
	footers->taken = NULL;
	taken(footers->log, footers->taking);
}

void hf_wlog_footers_take(struct wlog_footers *footers, uint32_t index,
			  void (*taken)(struct hf_wlog *log, const struct wlog_footer_read *read))
{
	struct hf_env *env = footers->log->env;

	/* The places of those before are free. */
	start_ahead(footers, index);
	footers->taking = &footers->reads[index % WLOG_FOOTERS_AHEAD];
	footers->taken = taken;
	HF_ASSERT(footers->taking->index == index);
	if (!footers->taking->ready)
		return;
	/* Not from inside: there may be as many segments as a disk holds. */
	footers->timer.fired = take_fired;
	hf_env_timer_set(env, &footers->timer, hf_env_now_ns(env));
}

bool hf_wlog_footers_drain(struct wlog_footers *footers, void (*drained)(struct hf_wlog *log))
{
	footers->taken = NULL;
	if (footers->log)
		hf_env_timer_cancel(footers->log->env, &footers->timer);
	if (footers->under_way > 0) {
		footers->drained = drained;
		return false;
	}
	for (unsigned i = 0; i < WLOG_FOOTERS_AHEAD; i++)
		free(footers->reads[i].bytes);
	return true;
}

/* ---- Writing -------------------------------------------------------------------------------- */

static void footer_build(struct hf_wlog *log, const struct wlog_segment *segment,
			 const uint8_t *body, uint32_t body_bytes, uint32_t body_offset)
{
	uint32_t body_room = log->super.segment_bytes - HF_WLOG_BLOCK - body_offset;
	struct hf_wlogfmt_footer footer = {
		.serial = segment->serial,
		.first_batch = segment->first_batch,
		.last_batch = segment->last_batch,
		.durable_through = log->durable_through,
		.body_offset = body_offset,
		.body_bytes = body_bytes,
		.body_crc = hf_crc32c(0, body, body_bytes),
		.batch_count = (uint32_t)(segment->last_batch - segment->first_batch + 1),
	};
	uint8_t *bytes = wlog_must(aligned_alloc(HF_WLOG_BLOCK, body_room + HF_WLOG_BLOCK));

	memcpy(footer.uuid, log->super.uuid, sizeof footer.uuid);
	memset(bytes, 0, body_room);
	memcpy(bytes, body, body_bytes);
	hf_wlogfmt_footer_encode(&footer, bytes + body_room);
	log->footer = bytes;
	log->lane_iov.iov_base = bytes;
	log->lane_iov.iov_len = body_room + HF_WLOG_BLOCK;
}

static void footer_written(struct hf_wlog *log, int status)
{
	free(log->footer);
	log->footer = NULL;
	log->footer_next(log, status);
}

void hf_wlog_footer_write(struct hf_wlog *log, const struct wlog_segment *segment,
			  const uint8_t *body, uint32_t body_bytes, uint32_t end,
			  void (*next)(struct hf_wlog *log, int status))
{
	uint64_t room = log->super.segment_bytes - HF_WLOG_BLOCK,
		 need = hf_wlogfmt_block_up(body_bytes);

	/* One that a start goes on in, without a free segment, has no headers in memory. */
	if (body_bytes == 0 || end + need > room) {
		next(log, 0);
		return;
	}
	footer_build(log, segment, body, body_bytes, (uint32_t)(room - need));
	log->footer_next = next;
	hf_wlog_lane_write(log, hf_wlog_slot_offset(log, segment->slot) + room - need,
			   &log->lane_iov, 1, footer_written);
}
