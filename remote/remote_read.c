/* Reads of the map's places. What the cache has in memory is copied at once, what it has on its
 * disk is asked for, and only what it has not needs the object's header (remote_table.c), and then
 * fetches (remote_fetch.c). Each read has a deadline of its own. Core's thread. */
#include "remote/remote_impl.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

static void reading_free(struct hf_reading *reading)
{
	if (reading->has_header)
		hf_table_unpin(reading->header.table);
	reading->magic = 0;
	free(reading);
}

static void read_finish(struct hf_reading *reading)
{
	struct hf_remote_read *read = reading->read;

	HF_CHECK_MAGIC(reading, HF_READING_MAGIC);
	HF_ASSERT(reading->pending == 0);
	hf_env_timer_cancel(reading->remote->env, &reading->deadline);
	read->status = reading->status;
	read->impl = NULL;
	reading_free(reading);
	read->done(read);
}

static void reading_put(struct hf_reading *reading)
{
	HF_ASSERT(reading->pending > 0);
	if (--reading->pending == 0)
		read_finish(reading);
}

/* Nothing more is waited for but what cannot be left: gets from the cache's disk. */
static void reading_fail(struct hf_reading *reading, int status)
{
	if (!reading->status)
		reading->status = status;
	for (unsigned i = 0; i < reading->wait_count; i++) {
		reading->waits[i].missing = false;
		if (!reading->waits[i].fetch)
			continue;
		hf_fetch_leave(&reading->waits[i]);
		reading->pending--;
	}
	if (reading->header_asked) {
		hf_table_leave(&reading->header);
		reading->header_asked = false;
		reading->pending--;
	}
}

static void read_deadline_fired(struct hf_timer *timer)
{
	struct hf_reading *reading = hf_container_of(timer, struct hf_reading, deadline);

	HF_CHECK_MAGIC(reading, HF_READING_MAGIC);
	reading->pending++;
	reading_fail(reading, HF_ETIMEDOUT);
	reading_put(reading);
}

/* What the read wants of chunk `number`, in units of the payload. */
static void part_of(const struct hf_remote_read *read, uint32_t number, uint64_t *from,
		    uint64_t *to)
{
	uint64_t chunk_from = (uint64_t)number * HF_CHUNK_UNITS;

	*from = read->place.unit > chunk_from ? read->place.unit : chunk_from;
	*to = read->place.unit + read->length;
	if (*to > chunk_from + HF_CHUNK_UNITS)
		*to = chunk_from + HF_CHUNK_UNITS;
}

/* `part`: the bytes that part_of tells; NULL: zeros. */
static void copy_part(struct hf_reading *reading, uint32_t number, const uint8_t *part)
{
	const struct hf_remote_read *read = reading->read;
	uint64_t from, to;
	uint8_t *out;

	part_of(read, number, &from, &to);
	out = (uint8_t *)read->buffer + (from - read->place.unit) * HF_OBJECT_UNIT;
	if (part)
		memcpy(out, part, (to - from) * HF_OBJECT_UNIT);
	else
		memset(out, 0, (to - from) * HF_OBJECT_UNIT);
}

void hf_reading_copy(struct hf_reading *reading, uint32_t number, const uint8_t *plain)
{
	uint64_t from, to;

	part_of(reading->read, number, &from, &to);
	if (plain)
		plain += (from - (uint64_t)number * HF_CHUNK_UNITS) * HF_OBJECT_UNIT;
	copy_part(reading, number, plain);
}

void hf_reading_settle(struct hf_wait *wait, int status)
{
	struct hf_reading *reading = wait->reading;

	HF_CHECK_MAGIC(reading, HF_READING_MAGIC);
	HF_ASSERT(!wait->fetch && reading->pending > 0);
	if (status)
		reading_fail(reading, status);
	reading_put(reading);
}

/* ---- What the cache has not ------------------------------------------------------------------ */

/* The header is there. */
static void fetch_missing(struct hf_reading *reading)
{
	const struct hf_remote_read *read = reading->read;
	struct hf_table *table = reading->header.table;
	uint64_t end = read->place.unit + read->length;
	int err = 0;

	if (end * HF_OBJECT_UNIT > table->object.payload_bytes)
		err = HF_ECORRUPT; /* a map that names what the object does not hold */
	for (unsigned i = 0; i < reading->wait_count && !err; i++) {
		struct hf_wait *wait = &reading->waits[i];

		if (!wait->missing)
			continue;
		wait->missing = false;
		if (table->object.chunks[wait->chunk].kind == HF_CHUNK_ZERO) {
			copy_part(reading, wait->chunk, NULL);
			continue;
		}
		err = hf_fetch_wait(wait, table, (uint32_t)((end - 1) / HF_CHUNK_UNITS + 1),
				    read->deadline_ns);
		if (!err)
			reading->pending++;
	}
	if (err)
		reading_fail(reading, err);
}

static void header_there(struct hf_table_wait *wait, int status)
{
	struct hf_reading *reading = hf_container_of(wait, struct hf_reading, header);

	HF_CHECK_MAGIC(reading, HF_READING_MAGIC);
	reading->header_asked = false;
	reading->has_header = status == 0;
	if (status)
		reading_fail(reading, status);
	else
		fetch_missing(reading);
	reading_put(reading);
}

static void need_missing(struct hf_reading *reading)
{
	struct hf_remote_read *read = reading->read;
	int err = 0;

	if (reading->header_asked)
		return;
	if (!reading->has_header) {
		err = hf_table_need(reading->remote, read->place.source, &reading->header,
				    read->deadline_ns);
		reading->has_header = err == 0;
		reading->header_asked = err == HF_EAGAIN;
	}
	if (reading->has_header)
		fetch_missing(reading);
	else if (reading->header_asked)
		reading->pending++;
	else
		reading_fail(reading, err);
}

/* ---- What the cache has ---------------------------------------------------------------------- */

void hf_reading_key(const struct hf_remote *remote, const struct hf_object_id *id, uint32_t chunk,
		    struct hf_read_cache_key *key)
{
	uint8_t name[HF_TAG_BYTES];

	hf_put_le64(name, id->start);
	hf_put_le64(name + 8, id->sequence);
	for (unsigned i = 0; i < HF_TAG_BYTES; i++)
		key->tag[i] = name[i] ^ remote->cache_id[i];
	key->volume = id->volume;
	key->chunk = chunk;
	key->class = HF_READ_CACHE_DATA;
}

static void got(struct hf_read_cache_get *get)
{
	struct hf_wait *wait = hf_container_of(get, struct hf_wait, get);
	struct hf_reading *reading = wait->reading;
	struct hf_remote *remote = reading->remote;

	HF_CHECK_MAGIC(reading, HF_READING_MAGIC);
	if (get->status == 0) {
		copy_part(reading, wait->chunk, get->bytes);
	} else if (remote->closing) {
		reading_fail(reading, HF_ECANCELED);
	} else if (!reading->status) {
		wait->missing = true;
		need_missing(reading);
	}
	reading_put(reading);
	hf_remote_idle(remote);
}

/* True if nothing is missing. */
static bool look(struct hf_reading *reading, uint32_t first)
{
	struct hf_remote *remote = reading->remote;
	struct hf_object_id id;
	bool all = true;

	hf_remote_object_id(remote, reading->read->place.source, &id);
	for (unsigned i = 0; i < reading->wait_count; i++) {
		struct hf_wait *wait = &reading->waits[i];
		uint64_t from, to;

		wait->reading = reading;
		wait->chunk = first + i;
		part_of(reading->read, wait->chunk, &from, &to);
		hf_reading_key(remote, &id, wait->chunk, &wait->get.key);
		wait->get.offset =
			(uint32_t)(from - (uint64_t)wait->chunk * HF_CHUNK_UNITS) * HF_OBJECT_UNIT;
		wait->get.length = (uint32_t)(to - from) * HF_OBJECT_UNIT;
		wait->get.done = got;
		switch (hf_read_cache_look(remote->cache, &wait->get)) {
		case HF_READ_CACHE_HERE:
			copy_part(reading, wait->chunk, wait->get.bytes);
			break;
		case HF_READ_CACHE_ON_DISK:
			reading->pending++;
			hf_remote_busy(remote);
			hf_read_cache_get(remote->cache, &wait->get);
			break;
		case HF_READ_CACHE_MISS:
			wait->missing = true;
			all = false;
			break;
		}
	}
	return all;
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
	reading->header.done = header_there;
	read->impl = reading;
	return reading;
}

void hf_remote_read(struct hf_remote *remote, struct hf_remote_read *read)
{
	uint64_t first = read->place.unit / HF_CHUNK_UNITS;
	uint64_t end = (read->place.unit + read->length - 1) / HF_CHUNK_UNITS + 1;
	struct hf_reading *reading;
	int status;

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
	reading->pending = 1;
	if (!look(reading, (uint32_t)first))
		need_missing(reading);
	if (--reading->pending > 0) {
		if (read->deadline_ns)
			hf_env_timer_set(remote->env, &reading->deadline, read->deadline_ns);
		return;
	}
	status = reading->status;
	read->impl = NULL;
	reading_free(reading);
	hf_remote_finish_read(remote, read, status);
}
