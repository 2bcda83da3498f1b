/* Fetches: one ranged GET of up to four neighbouring chunks of an object, decoded by a worker and
 * shared by every read that waits for one of them. Chunks that fail are fetched once more; what
 * fails again is reported, never served (invariant 8). Core's thread.
 *
 *   getting ──▶ decoding ──▶ all chunks good ──▶ cache, waits
 *      ▲            │
 *      └─ 1st time ─┴─ damaged ── 2nd time ──▶ HF_ECORRUPT to the waits of the damaged ones
 */
#include "remote/remote_impl.h"
#include "base/log.h"

#include <stdlib.h>

#define RUN_MAX     4u
#define FETCH_MAGIC 0x46455443u

struct hf_fetch {
	uint32_t magic;
	struct hf_remote *remote;
	struct hf_list link; /* in remote->fetches while it can be joined */
	struct hf_list waits;
	uint64_t index;
	struct hf_table *table; /* pinned */
	struct hf_object object;
	uint32_t first, count;
	bool again; /* this is the second GET */
	struct hf_retry retry;
	struct hf_work work;
	int status[RUN_MAX];
	uint8_t plain[]; /* count chunks */
};

static uint8_t *plain_of(struct hf_fetch *fetch, uint32_t at)
{
	return fetch->plain + (size_t)at * HF_CHUNK_BYTES;
}

static uint32_t stored_end(const struct hf_fetch *fetch)
{
	const struct hf_chunk *last = &fetch->object.chunks[fetch->first + fetch->count - 1];

	return last->offset + last->stored_bytes;
}

static void submit(struct hf_fetch *fetch)
{
	uint32_t start = fetch->object.chunks[fetch->first].offset;
	struct hf_store_io *io = &fetch->retry.io;

	*io = (struct hf_store_io){
		.op = HF_STORE_GET,
		.range_start = fetch->object.data_offset + start,
		.range_length = stored_end(fetch) - start,
	};
	hf_name_object(io->name, &fetch->object.id);
	hf_remote_busy(fetch->remote);
	hf_retry_start(&fetch->retry);
}

static void fetch_end(struct hf_fetch *fetch)
{
	HF_ASSERT(hf_list_empty(&fetch->waits));
	hf_list_remove(&fetch->link);
	hf_table_unpin(fetch->table);
	free(fetch->retry.io.body);
	fetch->magic = 0;
	free(fetch);
}

/* Tells every wait; `status` overrules what the chunks have. Nobody can join any more. */
static void settle_waits(struct hf_fetch *fetch, int status)
{
	struct hf_list *link;

	hf_list_remove(&fetch->link);
	while ((link = hf_list_pop_front(&fetch->waits)) != NULL) {
		struct hf_wait *wait = hf_container_of(link, struct hf_wait, link);
		uint32_t at = wait->chunk - fetch->first;
		int err = status ? status : fetch->status[at];

		wait->fetch = NULL;
		if (!err)
			hf_reading_copy(wait->reading, wait->chunk, plain_of(fetch, at));
		hf_reading_settle(wait, err);
	}
}

/* ---- Decoding -------------------------------------------------------------------------------- */

static void fetch_decode_run(struct hf_work *work)
{
	struct hf_fetch *fetch = hf_container_of(work, struct hf_fetch, work);
	uint32_t start = fetch->object.chunks[fetch->first].offset;

	for (uint32_t i = 0; i < fetch->count; i++) {
		const struct hf_chunk *chunk = &fetch->object.chunks[fetch->first + i];
		size_t offset = chunk->offset - start;

		if (fetch->retry.io.body_length < offset + chunk->stored_bytes)
			fetch->status[i] = HF_ECORRUPT;
		else
			fetch->status[i] = hf_chunk_decode(
				&fetch->object, fetch->remote->data_key, fetch->first + i,
				(const uint8_t *)fetch->retry.io.body + offset, plain_of(fetch, i));
	}
}

static void report_damage(const struct hf_fetch *fetch)
{
	for (uint32_t i = 0; i < fetch->count; i++)
		if (fetch->status[i] == HF_ECORRUPT)
			hf_error("object %s: chunk %u fails its checksum", fetch->retry.io.name,
				 fetch->first + i);
}

static bool is_damaged(const struct hf_fetch *fetch)
{
	for (uint32_t i = 0; i < fetch->count; i++)
		if (fetch->status[i] == HF_ECORRUPT)
			return true;
	return false;
}

static void keep_good(struct hf_fetch *fetch)
{
	struct hf_read_cache_key key;

	for (uint32_t i = 0; i < fetch->count; i++) {
		if (fetch->status[i])
			continue;
		hf_reading_key(fetch->remote, &fetch->object.id, fetch->first + i, &key);
		hf_read_cache_put(
			fetch->remote->cache, &key, plain_of(fetch, i),
			hf_chunk_plain_bytes(fetch->object.payload_bytes, fetch->first + i));
	}
}

static void fetch_decode_done(struct hf_work *work)
{
	struct hf_fetch *fetch = hf_container_of(work, struct hf_fetch, work);
	struct hf_remote *remote = fetch->remote;
	bool damaged = is_damaged(fetch);

	HF_CHECK_MAGIC(fetch, FETCH_MAGIC);
	free(fetch->retry.io.body);
	fetch->retry.io.body = NULL;
	if (damaged && !fetch->again && !hf_list_empty(&fetch->waits) && !remote->closing) {
		fetch->again = true;
		submit(fetch);
	} else {
		if (damaged)
			report_damage(fetch);
		keep_good(fetch);
		settle_waits(fetch, remote->closing ? HF_ECANCELED : 0);
		fetch_end(fetch);
	}
	hf_remote_idle(remote);
}

static void charge(struct hf_fetch *fetch)
{
	if (!hf_list_empty(&fetch->waits))
		hf_container_of(fetch->waits.next, struct hf_wait, link)
			->reading->read->fetched_bytes += fetch->retry.io.body_length;
}

static void fetch_retry_done(struct hf_retry *retry, int status)
{
	struct hf_fetch *fetch = hf_container_of(retry, struct hf_fetch, retry);
	struct hf_remote *remote = fetch->remote;

	HF_CHECK_MAGIC(fetch, FETCH_MAGIC);
	if (status == HF_ERANGE) /* cut short before the chunks: decoding says which */
		status = 0;
	if (status == HF_ENOENT)
		hf_error("object %s is missing", retry->io.name);
	if (status) {
		settle_waits(fetch, status);
		fetch_end(fetch);
	} else {
		charge(fetch);
		hf_remote_busy(remote);
		hf_env_work_submit(remote->env, &fetch->work);
	}
	hf_remote_idle(remote);
}

/* ---- Waiting --------------------------------------------------------------------------------- */

static void join(struct hf_fetch *fetch, struct hf_wait *wait, uint64_t deadline_ns)
{
	wait->fetch = fetch;
	hf_list_push_back(&fetch->waits, &wait->link);
	if (!deadline_ns || (fetch->retry.deadline_ns && deadline_ns > fetch->retry.deadline_ns))
		fetch->retry.deadline_ns = deadline_ns;
}

static struct hf_fetch *find(const struct hf_remote *remote, uint64_t index, uint32_t chunk)
{
	hf_list_for_each (at, &remote->fetches) {
		struct hf_fetch *fetch = hf_container_of(at, struct hf_fetch, link);

		if (fetch->index == index && chunk >= fetch->first &&
		    chunk - fetch->first < fetch->count)
			return fetch;
	}
	return NULL;
}

static bool is_cached(const struct hf_table *table, uint32_t chunk)
{
	struct hf_read_cache_key key;

	hf_reading_key(table->remote, &table->object.id, chunk, &key);
	return hf_read_cache_has(table->remote->cache, &key);
}

static bool worth_fetching(const struct hf_table *table, uint32_t chunk)
{
	const struct hf_object *object = &table->object;

	return chunk < object->chunk_count && object->chunks[chunk].kind != HF_CHUNK_ZERO &&
	       !is_cached(table, chunk) && !find(table->remote, table->index, chunk);
}

/* How many chunks from `first` go into one GET: those that are wanted, and where the chunk before
 * is in the cache, which looks like reading in order, the ones behind too. */
static uint32_t run_length(const struct hf_table *table, uint32_t first, uint32_t wanted_end)
{
	uint32_t end = first + 1;

	if (first > 0 && is_cached(table, first - 1))
		wanted_end = first + RUN_MAX;
	while (end < wanted_end && end - first < RUN_MAX && worth_fetching(table, end))
		end++;
	return end - first;
}

static struct hf_fetch *make_fetch(struct hf_table *table, uint32_t first, uint32_t count)
{
	struct hf_remote *remote = table->remote;
	struct hf_fetch *fetch = malloc(sizeof *fetch + (size_t)count * HF_CHUNK_BYTES);

	if (!fetch)
		return NULL;
	*fetch = (struct hf_fetch){
		.magic = FETCH_MAGIC,
		.remote = remote,
		.index = table->index,
		.table = hf_table_pin(table),
		.object = table->object,
		.first = first,
		.count = count,
		.retry = {.env = remote->env,
			  .trouble = &remote->trouble,
			  .done = fetch_retry_done},
		.work = {.run = fetch_decode_run, .done = fetch_decode_done},
	};
	hf_list_init(&fetch->waits);
	hf_list_push_back(&remote->fetches, &fetch->link);
	return fetch;
}

int hf_fetch_wait(struct hf_wait *wait, struct hf_table *table, uint32_t wanted_end,
		  uint64_t deadline_ns)
{
	struct hf_fetch *fetch = find(table->remote, table->index, wait->chunk);

	if (fetch) {
		join(fetch, wait, deadline_ns);
		return 0;
	}
	fetch = make_fetch(table, wait->chunk, run_length(table, wait->chunk, wanted_end));
	if (!fetch)
		return HF_ENOMEM;
	wait->fetch = fetch;
	hf_list_push_back(&fetch->waits, &wait->link);
	fetch->retry.deadline_ns = deadline_ns;
	submit(fetch);
	return 0;
}

void hf_fetch_leave(struct hf_wait *wait)
{
	struct hf_fetch *fetch = wait->fetch;

	HF_CHECK_MAGIC(fetch, FETCH_MAGIC);
	hf_list_remove(&wait->link);
	wait->fetch = NULL;
	if (!hf_list_empty(&fetch->waits))
		return;
	/* Nobody joins a GET that was given up: it may be waiting for a store that is away. */
	hf_list_remove(&fetch->link);
	hf_retry_cancel(&fetch->retry);
}

void hf_fetch_cancel_all(struct hf_remote *remote)
{
	hf_list_for_each (at, &remote->fetches) {
		hf_retry_cancel(&hf_container_of(at, struct hf_fetch, link)->retry);
	}
}
