/* Reads of the map's places: once the object's header is there (remote_table.c), what the cache
 * holds or what is zeros is copied, and the rest waits for fetches (remote_fetch.c); each read with
 * a deadline of its own. Core's thread. */
#include "remote/remote_impl.h"
#include "remote/chunk_cache.h"

#include <stdlib.h>
#include <string.h>

static void reading_free(struct hf_reading *reading)
{
	if (reading->has_header)
		hf_table_unpin(reading->header.table);
	reading->magic = 0;
	free(reading);
}

static void read_finish(struct hf_reading *reading, int status)
{
	struct hf_remote_read *read = reading->read;

	HF_CHECK_MAGIC(reading, HF_READING_MAGIC);
	HF_ASSERT(reading->pending == 0);
	hf_env_timer_cancel(reading->remote->env, &reading->deadline);
	reading_free(reading);
	read->impl = NULL;
	read->status = status;
	read->done(read);
}

static void leave_all(struct hf_reading *reading)
{
	for (unsigned i = 0; i < reading->wait_count; i++) {
		if (!reading->waits[i].fetch)
			continue;
		hf_fetch_leave(&reading->waits[i]);
		reading->pending--;
	}
}

static void read_deadline_fired(struct hf_timer *timer)
{
	struct hf_reading *reading = hf_container_of(timer, struct hf_reading, deadline);

	HF_CHECK_MAGIC(reading, HF_READING_MAGIC);
	if (reading->has_header)
		leave_all(reading);
	else
		hf_table_leave(&reading->header);
	read_finish(reading, HF_ETIMEDOUT);
}

void hf_reading_copy(struct hf_reading *reading, uint32_t number, const uint8_t *plain)
{
	const struct hf_remote_read *read = reading->read;
	uint64_t chunk_from = (uint64_t)number * HF_CHUNK_UNITS;
	uint64_t from = read->place.unit > chunk_from ? read->place.unit : chunk_from;
	uint64_t to = read->place.unit + read->length;
	uint8_t *out = (uint8_t *)read->buffer + (from - read->place.unit) * HF_OBJECT_UNIT;

	if (to > chunk_from + HF_CHUNK_UNITS)
		to = chunk_from + HF_CHUNK_UNITS;
	if (plain)
		memcpy(out, plain + (from - chunk_from) * HF_OBJECT_UNIT,
		       (to - from) * HF_OBJECT_UNIT);
	else
		memset(out, 0, (to - from) * HF_OBJECT_UNIT);
}

void hf_reading_settle(struct hf_wait *wait, int status)
{
	struct hf_reading *reading = wait->reading;

	HF_CHECK_MAGIC(reading, HF_READING_MAGIC);
	HF_ASSERT(!wait->fetch && reading->pending > 0);
	reading->pending--;
	if (status)
		leave_all(reading);
	if (reading->pending == 0)
		read_finish(reading, status);
}

static struct hf_reading *make_reading(struct hf_remote *remote, struct hf_remote_read *read,
				       unsigned chunks)
{
	struct hf_reading *reading = calloc(1, sizeof *reading + chunks * sizeof reading->waits[0]);

	if (!reading)
		return NULL;
	reading->magic = HF_READING_MAGIC;
	reading->remote = remote;
	reading->read = read;
	reading->wait_count = chunks;
	reading->deadline.fired = read_deadline_fired;
	read->impl = reading;
	return reading;
}

/* Copies what is at hand and has the rest fetched. 0 or HF_ENOMEM. */
static int gather(struct hf_reading *reading, uint32_t first, uint32_t end)
{
	struct hf_remote *remote = reading->remote;
	struct hf_remote_read *read = reading->read;
	struct hf_table *table = reading->header.table;

	for (uint32_t number = first; number < end; number++) {
		struct hf_wait *wait = &reading->waits[number - first];
		const void *plain;
		int err;

		if (table->object.chunks[number].kind == HF_CHUNK_ZERO) {
			hf_reading_copy(reading, number, NULL);
			continue;
		}
		plain = hf_chunk_cache_get(remote->cache, &table->object, number);
		if (plain) {
			hf_reading_copy(reading, number, plain);
			continue;
		}
		*wait = (struct hf_wait){.reading = reading, .chunk = number};
		err = hf_fetch_wait(wait, table, end, read->deadline_ns);
		if (err)
			return err;
		reading->pending++;
	}
	return 0;
}

/* The header is there. True if the read waits for chunks now, else *status is its end. */
static bool begin(struct hf_reading *reading, int *status)
{
	const struct hf_remote_read *read = reading->read;
	uint64_t end = read->place.unit + read->length;

	reading->has_header = true;
	*status = HF_ECORRUPT; /* a map that names what the object does not hold */
	if (end * HF_OBJECT_UNIT <= reading->header.table->object.payload_bytes)
		*status = gather(reading, (uint32_t)(read->place.unit / HF_CHUNK_UNITS),
				 (uint32_t)((end - 1) / HF_CHUNK_UNITS + 1));
	if (*status)
		leave_all(reading);
	return reading->pending > 0;
}

static void header_there(struct hf_table_wait *wait, int status)
{
	struct hf_reading *reading = hf_container_of(wait, struct hf_reading, header);

	HF_CHECK_MAGIC(reading, HF_READING_MAGIC);
	if (status || !begin(reading, &status))
		read_finish(reading, status);
}

void hf_remote_read(struct hf_remote *remote, struct hf_remote_read *read)
{
	uint64_t first = read->place.unit / HF_CHUNK_UNITS;
	uint64_t end = (read->place.unit + read->length - 1) / HF_CHUNK_UNITS + 1;
	struct hf_reading *reading;
	int err;

	HF_CHECK_MAGIC(remote, HF_REMOTE_MAGIC);
	HF_ASSERT(read->place.source < remote->object_count && read->length > 0);
	HF_ASSERT(end <= HF_CHUNKS_MAX);
	read->fetched_bytes = 0;
	if (remote->closing) {
		hf_remote_finish_read(remote, read, HF_ECANCELED);
		return;
	}
	reading = make_reading(remote, read, (unsigned)(end - first));
	if (!reading) {
		hf_remote_finish_read(remote, read, HF_ENOMEM);
		return;
	}
	reading->header.done = header_there;
	err = hf_table_need(remote, read->place.source, &reading->header, read->deadline_ns);
	if (err == HF_EAGAIN || (err == 0 && begin(reading, &err))) {
		if (read->deadline_ns)
			hf_env_timer_set(remote->env, &reading->deadline, read->deadline_ns);
		return;
	}
	read->impl = NULL;
	reading_free(reading);
	hf_remote_finish_read(remote, read, err);
}
