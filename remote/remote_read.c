/* Reads of the map's places: what the cache holds or what is zeros is copied at once, the rest
 * waits for fetches (remote_fetch.c), each read with a deadline of its own. Core's thread. */
#include "remote/remote_impl.h"
#include "remote/chunk_cache.h"

#include <stdlib.h>
#include <string.h>

static void read_finish(struct hf_reading *reading, int status)
{
	struct hf_remote_read *read = reading->read;

	HF_CHECK_MAGIC(reading, HF_READING_MAGIC);
	HF_ASSERT(reading->pending == 0);
	hf_env_timer_cancel(reading->remote->env, &reading->deadline);
	reading->magic = 0;
	free(reading);
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
	leave_all(reading);
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

	for (uint32_t number = first; number < end; number++) {
		const struct hf_object *object = &remote->objects[read->place.source];
		struct hf_wait *wait = &reading->waits[number - first];
		const void *plain;
		int err;

		if (object->chunks[number].kind == HF_CHUNK_ZERO) {
			hf_reading_copy(reading, number, NULL);
			continue;
		}
		plain = hf_chunk_cache_get(remote->cache, object, number);
		if (plain) {
			hf_reading_copy(reading, number, plain);
			continue;
		}
		*wait = (struct hf_wait){.reading = reading, .chunk = number};
		err = hf_fetch_wait(remote, wait, read->place.source, end, read->deadline_ns);
		if (err)
			return err;
		reading->pending++;
	}
	return 0;
}

void hf_remote_read(struct hf_remote *remote, struct hf_remote_read *read)
{
	const struct hf_object *object;
	struct hf_reading *reading;
	uint32_t first, end;
	int err;

	HF_CHECK_MAGIC(remote, HF_REMOTE_MAGIC);
	HF_ASSERT(read->place.source < remote->object_count && read->length > 0);
	object = &remote->objects[read->place.source];
	HF_ASSERT((read->place.unit + read->length) * HF_OBJECT_UNIT <= object->payload_bytes);
	read->fetched_bytes = 0;
	if (remote->closing) {
		hf_remote_finish_read(remote, read, HF_ECANCELED);
		return;
	}
	first = (uint32_t)(read->place.unit / HF_CHUNK_UNITS);
	end = (uint32_t)((read->place.unit + read->length - 1) / HF_CHUNK_UNITS + 1);
	reading = make_reading(remote, read, end - first);
	if (!reading) {
		hf_remote_finish_read(remote, read, HF_ENOMEM);
		return;
	}
	err = gather(reading, first, end);
	if (err)
		leave_all(reading);
	if (reading->pending == 0) {
		read->impl = NULL;
		free(reading);
		hf_remote_finish_read(remote, read, err);
	} else if (read->deadline_ns) {
		hf_env_timer_set(remote->env, &reading->deadline, read->deadline_ns);
	}
}
