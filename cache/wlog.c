/* The write log's life between opening and closing, and its small public calls. */
#include "cache/wlog_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IDLE_SYNC_MS 1000u
#define GATHER_MAX   (4u << 20)

/* ---- Creation and destruction ---------------------------------------------------------------- */

struct hf_wlog *hf_wlog_create(const struct hf_wlog_config *config)
{
	struct hf_wlog *log = calloc(1, sizeof *log);

	if (!log)
		return NULL;
	log->magic = WLOG_MAGIC;
	log->config = *config;
	log->env = config->env;
	if (log->config.idle_sync_ms == 0)
		log->config.idle_sync_ms = IDLE_SYNC_MS;
	if (log->config.reserve_segments < WLOG_RESERVE_MIN)
		log->config.reserve_segments = WLOG_RESERVE_MIN;
	hf_list_init(&log->queue);
	hf_list_init(&log->unsynced);
	hf_list_init(&log->pool);
	hf_list_init(&log->flushes);
	hf_list_init(&log->ended_appends);
	hf_list_init(&log->ended_reads);
	hf_list_init(&log->read_pool);
	log->next_batch = 1;
	log->next_ordinal = 1;
	return log;
}

void hf_wlog_provide(struct hf_wlog *log)
{
	uint32_t segment_bytes = log->super.segment_bytes, count = log->super.segment_count;

	log->slots = wlog_must(calloc(count, sizeof(struct wlog_segment *)));
	log->live = wlog_must(calloc(count, sizeof(struct wlog_segment *)));
	log->entries = wlog_must(calloc(count, sizeof *log->entries));
	log->table_bytes = wlog_must(aligned_alloc(HF_WLOG_BLOCK, log->super.table_bytes));
	log->free_count = count;
	log->batch_max = segment_bytes / 2;
	log->gather_bytes = segment_bytes / 4 < GATHER_MAX ? segment_bytes / 4 : GATHER_MAX;
	log->state_capacity = segment_bytes / 4 - HF_WLOG_BLOCK;
	if (log->state_capacity > HF_WLOG_STATE_MAX)
		log->state_capacity = HF_WLOG_STATE_MAX;
	log->state_bytes = wlog_must(malloc(log->state_capacity));
	hf_wlog_keep_open(&log->keep, log->config.keep_bytes);
}

static void free_batches(struct hf_list *batches)
{
	struct hf_list *link;

	while ((link = hf_list_pop_front(batches)) != NULL) {
		struct wlog_batch *batch = hf_container_of(link, struct wlog_batch, link);

		HF_ASSERT(hf_list_empty(&batch->appends));
		free(batch->header);
		free(batch->payload);
		free(batch);
	}
}

void hf_wlog_destroy(struct hf_wlog *log)
{
	HF_ASSERT(log->reads_under_way == 0);
	hf_env_timer_cancel(log->env, &log->idle_timer);
	hf_env_timer_cancel(log->env, &log->soon_timer);
	hf_env_timer_cancel(log->env, &log->retry_timer);
	hf_wlog_fill_stop(log);
	for (uint32_t i = 0; log->slots && i < log->super.segment_count; i++)
		if (log->slots[i])
			hf_wlog_segment_drop(log, log->slots[i]);
	free_batches(&log->queue);
	free_batches(&log->unsynced);
	free_batches(&log->pool);
	hf_wlog_reads_free(log);
	hf_wlog_keep_close(&log->keep);
	free(log->slots);
	free(log->live);
	free(log->entries);
	free(log->table_bytes);
	free(log->table_copies);
	free(log->state_bytes);
	log->magic = 0;
	free(log);
}

void hf_wlog_alarm(struct hf_wlog *log, const char *format, ...)
{
	char text[200];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	log->config.owner->alarm(log->config.owner->context, text);
}

/* ---- Ends from a timer ----------------------------------------------------------------------- */

bool hf_wlog_nothing_left(const struct hf_wlog *log)
{
	return !log->busy && log->reads_under_way == 0 && hf_list_empty(&log->queue) &&
	       hf_list_empty(&log->unsynced) && !log->must_relocate;
}

static void cancel_flushes(struct hf_wlog *log)
{
	struct hf_list *link;

	while ((link = hf_list_pop_front(&log->flushes)) != NULL) {
		struct hf_wlog_flush *flush = hf_container_of(link, struct hf_wlog_flush, link);

		flush->status = HF_ECANCELED;
		flush->done(flush);
	}
}

static void finish(struct hf_wlog *log)
{
	void (*closed)(void *) = log->closed;
	void *context = log->closed_context;

	cancel_flushes(log);
	hf_wlog_destroy(log);
	closed(context);
}

static void end_appends(struct hf_wlog *log)
{
	struct hf_list ended;
	struct hf_list *link;

	hf_list_init(&ended);
	hf_list_splice_back(&ended, &log->ended_appends);
	while ((link = hf_list_pop_front(&ended)) != NULL) {
		struct hf_wlog_append *append = hf_container_of(link, struct hf_wlog_append, link);

		append->done(append);
	}
}

static void end_reads(struct hf_wlog *log)
{
	struct hf_list ended;
	struct hf_list *link;

	hf_list_init(&ended);
	hf_list_splice_back(&ended, &log->ended_reads);
	while ((link = hf_list_pop_front(&ended)) != NULL) {
		struct hf_wlog_read *read = hf_container_of(link, struct hf_wlog_read, link);

		read->done(read);
	}
}

static void soon_fired(struct hf_timer *timer)
{
	struct hf_wlog *log = hf_container_of(timer, struct hf_wlog, soon_timer);

	HF_CHECK_MAGIC(log, WLOG_MAGIC);
	end_appends(log);
	end_reads(log);
	hf_wlog_end_flushes(log);
	if (log->closing && hf_wlog_nothing_left(log) && hf_list_empty(&log->ended_appends) &&
	    hf_list_empty(&log->ended_reads))
		finish(log);
	else
		hf_wlog_pump(log);
}

void hf_wlog_soon(struct hf_wlog *log)
{
	if (log->soon_timer.armed)
		return;
	log->soon_timer.fired = soon_fired;
	hf_env_timer_set(log->env, &log->soon_timer, hf_env_now_ns(log->env));
}

/* ---- Public ---------------------------------------------------------------------------------- */

static void end_append_soon(struct hf_wlog *log, struct hf_wlog_append *append, int status)
{
	append->status = status;
	hf_list_push_back(&log->ended_appends, &append->link);
	hf_wlog_soon(log);
}

void hf_wlog_append(struct hf_wlog *log, struct hf_wlog_append *append)
{
	int err;

	HF_CHECK_MAGIC(log, WLOG_MAGIC);
	HF_ASSERT(append->record_count >= 1 && append->record_count <= HF_WLOG_APPEND_RECORDS_MAX);
	HF_ASSERT(append->payload_bytes <= HF_WLOG_PAYLOAD_MAX && append->done);
	err = log->closing ? HF_ECANCELED : hf_wlog_gather(log, append);
	if (err)
		end_append_soon(log, append, err);
	else
		hf_wlog_pump(log);
}

void hf_wlog_hold(struct hf_wlog *log)
{
	HF_CHECK_MAGIC(log, WLOG_MAGIC);
	log->held++;
}

void hf_wlog_release(struct hf_wlog *log)
{
	HF_CHECK_MAGIC(log, WLOG_MAGIC);
	HF_ASSERT(log->held > 0);
	if (--log->held == 0)
		hf_wlog_pump(log);
}

unsigned hf_wlog_appetite(const struct hf_wlog *log)
{
	return log->busy ? HF_WLOG_BUSY : log->fill.missing;
}

void hf_wlog_flushed(struct hf_wlog *log)
{
	log->flush_follows = log->since_flush == 1;
	log->since_flush = 0;
}

void hf_wlog_flush(struct hf_wlog *log, struct hf_wlog_flush *flush)
{
	HF_CHECK_MAGIC(log, WLOG_MAGIC);
	flush->through = log->next_ordinal;
	hf_wlog_flushed(log);
	hf_list_push_back(&log->flushes, &flush->link);
	/* Else a commit ends it; what keeps the lane busy may be the table only, which ends none.
	 */
	if (log->closing || !log->busy || hf_wlog_covers(log, flush))
		hf_wlog_soon(log);
}

void hf_wlog_cancel_queue(struct hf_wlog *log)
{
	struct hf_list *link;

	while ((link = hf_list_pop_front(&log->queue)) != NULL) {
		struct wlog_batch *batch = hf_container_of(link, struct wlog_batch, link);

		while ((link = hf_list_pop_front(&batch->appends)) != NULL)
			end_append_soon(log, hf_container_of(link, struct hf_wlog_append, link),
					HF_ECANCELED);
		hf_wlog_batch_put(log, batch);
	}
	cancel_flushes(log);
}

void hf_wlog_close(struct hf_wlog *log, void (*closed)(void *context), void *context)
{
	HF_CHECK_MAGIC(log, WLOG_MAGIC);
	HF_ASSERT(!log->closing && closed);
	log->closing = true;
	log->closed = closed;
	log->closed_context = context;
	hf_wlog_soon(log);
}

uint64_t hf_wlog_durable_through(const struct hf_wlog *log)
{
	return log->durable_through;
}

uint64_t hf_wlog_version(const struct hf_wlog *log)
{
	return log->table.version;
}

uint64_t hf_wlog_serial_expand(const struct hf_wlog *log, uint64_t low_bits)
{
	const uint64_t span = 1ull << HF_WLOG_SERIAL_BITS;
	uint64_t newest = log->table.next_serial - 1;
	uint64_t serial = (newest & ~(span - 1)) | low_bits;

	HF_ASSERT(low_bits < span);
	return serial > newest && serial >= span ? serial - span : serial;
}

uint64_t hf_wlog_active_segment(const struct hf_wlog *log)
{
	const struct wlog_segment *segment = log->active ? log->active : log->fresh;

	return segment ? segment->serial : 0;
}

/* What ordinary appends may still take: the reserve does not count. */
uint64_t hf_wlog_free_bytes(const struct hf_wlog *log)
{
	uint32_t reserve = log->config.reserve_segments;
	uint64_t left = log->active ? log->super.segment_bytes - log->active->used_bytes : 0;
	uint32_t free_count = log->free_count + log->spare_count;

	if (free_count < reserve)
		return 0;
	return left + (uint64_t)(free_count - reserve) * log->super.segment_bytes;
}

uint64_t hf_wlog_total_bytes(const struct hf_wlog *log)
{
	return (uint64_t)(log->super.segment_count - log->config.reserve_segments) *
	       log->super.segment_bytes;
}

uint32_t hf_wlog_segment_bytes(const struct hf_wlog *log)
{
	return log->super.segment_bytes;
}

uint64_t hf_wlog_written_bytes(const struct hf_wlog *log)
{
	return log->written_bytes;
}
