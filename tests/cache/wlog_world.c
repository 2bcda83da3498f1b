/* See wlog_world.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "tests/cache/wlog_world.h"

#define PATIENCE_NS (1000 * HF_NS_PER_S)

static struct world *current; /* the owner's callbacks have it as context too */

/* ---- The owner ------------------------------------------------------------------------------- */

static void owner_recovered(void *context, const struct hf_wlog_record *record, const void *payload)
{
	struct world *world = context;

	assert_ptr_equal(world, current);
	if (record->type == HF_RECORD_STATE) {
		assert_int_equal(record->length, 5);
		assert_memory_equal(payload, "state", 5);
		return;
	}
	assert_int_equal(record->type, HF_RECORD_DATA);
	assert_true(world->recovered < 200);
	world->records[world->recovered].lba = record->lba;
	world->records[world->recovered].length = record->length;
	world->records[world->recovered].place = record->place;
	world->records[world->recovered++].sequence = record->sequence;
	if (record->sequence > world->sequence)
		world->sequence = record->sequence;
}

static void owner_moved(void *context, const struct hf_wlog_record *record)
{
	struct world *world = context;

	world->moved++;
	world->last_moved = record->place;
	for (unsigned i = 0; i < world->recovered; i++)
		if (world->records[i].sequence == record->sequence)
			world->records[i].place = record->place;
}

static void owner_durable(void *context, uint64_t batch)
{
	struct world *world = context;

	assert_true(hf_wlog_durable_through(world->log) == batch);
}

static size_t owner_state(void *context, void *buffer, size_t capacity)
{
	(void)context;
	assert_true(capacity >= 5);
	memcpy(buffer, "state", 5);
	return 5;
}

static void owner_alarm(void *context, const char *text)
{
	struct world *world = context;

	assert_true(strlen(text) > 10);
	world->alarms++;
}

static struct hf_wlog_owner owner = {
	.recovered = owner_recovered,
	.moved = owner_moved,
	.durable = owner_durable,
	.state = owner_state,
	.alarm = owner_alarm,
};

/* ---- Beginning and end ----------------------------------------------------------------------- */

void world_begin_blank(struct world *world, uint64_t seed, unsigned segments)
{
	struct sim_config config = {.seed = seed};

	memset(world, 0, sizeof *world);
	config.disk_size_bytes[0] = 4 * 4096 + (uint64_t)segments * WORLD_SEGMENT;
	world->sim = sim_create(&config);
	current = world;
}

void world_begin(struct world *world, uint64_t seed, unsigned segments)
{
	world_begin_blank(world, seed, segments);
	assert_int_equal(world_format(world, WORLD_SEGMENT, false), 0);
}

void world_end(struct world *world)
{
	sim_destroy(world->sim);
}

void world_wait(struct world *world, const bool *flag)
{
	assert_true(sim_wait_flag(world->sim, flag, PATIENCE_NS));
}

static void format_done(struct hf_wlog_format *format)
{
	current->flag = true;
	current->status = format->status;
	current->message = format->message;
	free(format);
}

static void format_start(struct world *world, uint32_t segment_bytes, bool force)
{
	struct hf_wlog_format *format = calloc(1, sizeof *format);

	format->env = sim_env(world->sim, 0);
	format->segment_bytes = segment_bytes;
	format->force = force;
	format->zero_fill = true;
	hf_env_random(format->env, format->uuid, sizeof format->uuid);
	format->done = format_done;
	world->flag = false;
	hf_wlog_format_start(format);
	assert_false(world->flag);
}

int world_format(struct world *world, uint32_t segment_bytes, bool force)
{
	format_start(world, segment_bytes, force);
	world_wait(world, &world->flag);
	return world->status;
}

bool world_format_cut(struct world *world, unsigned events)
{
	format_start(world, WORLD_SEGMENT, true);
	while (events-- > 0 && !world->flag)
		sim_step(world->sim);
	return world->flag;
}

static void opened(struct hf_wlog_open *open)
{
	current->flag = true;
	current->status = open->status;
	current->message = open->message;
	current->whole_segments = open->whole_segments;
	current->log = open->wlog;
	free(open);
}

static void open_start(struct world *world)
{
	struct hf_wlog_open *open = calloc(1, sizeof *open);

	world->alarms = world->moved = world->recovered = world->refused = 0;
	world->flag = false;
	world->log = NULL;
	open->config.env = sim_env(world->sim, 0);
	open->config.owner = &owner;
	owner.context = world;
	open->config.idle_sync_ms = 50;
	open->config.keep_bytes = world->keep_bytes;
	open->opened = opened;
	hf_wlog_open_start(open);
	assert_false(world->flag);
}

void world_open_cut(struct world *world, unsigned events)
{
	open_start(world);
	while (events-- > 0 && !world->flag)
		sim_step(world->sim);
}

int world_try_open(struct world *world)
{
	open_start(world);
	world_wait(world, &world->flag);
	assert_true((world->status == 0) == (world->log != NULL));
	return world->status;
}

void world_open(struct world *world)
{
	if (world_try_open(world) != 0)
		fail_msg("open: %s", world->message.text);
}

static void closed(void *context)
{
	struct world *world = context;

	world->flag = true;
}

void world_close(struct world *world)
{
	world->flag = false;
	hf_wlog_close(world->log, closed, world);
	assert_false(world->flag);
	world_wait(world, &world->flag);
	world->log = NULL;
}

/* ---- Appends, flushes, reads ----------------------------------------------------------------- */

static void fill(uint8_t *bytes, uint64_t lba, uint64_t units)
{
	for (uint64_t i = 0; i < units * HF_UNIT; i += 8)
		hf_put_le64(bytes + i, lba * HF_UNIT + i + 1);
}

void world_check(const uint8_t *bytes, uint64_t lba, uint64_t units)
{
	static uint8_t expected[WORLD_UNITS * HF_UNIT];

	fill(expected, lba, units);
	assert_memory_equal(bytes, expected, units * HF_UNIT);
}

static void append_done(struct hf_wlog_append *append)
{
	hf_container_of(append, struct world_append, append)->done = true;
}

void world_append(struct world *world, struct world_append *append, uint64_t lba, uint64_t units,
		  unsigned flags)
{
	static uint8_t payload[WORLD_UNITS * HF_UNIT];

	assert_true(units <= WORLD_UNITS);
	memset(append, 0, sizeof *append);
	fill(payload, lba, units);
	append->record.type = HF_RECORD_DATA;
	append->record.volume = WORLD_VOLUME;
	append->record.sequence = ++world->sequence;
	append->record.lba = lba;
	append->record.length = units;
	append->append.records = &append->record;
	append->append.record_count = 1;
	append->append.payload = payload;
	append->append.payload_bytes = units * HF_UNIT;
	append->append.durable = flags & WORLD_DURABLE;
	append->append.reserve = flags & WORLD_RESERVE;
	append->append.done = append_done;
	hf_wlog_append(world->log, &append->append);
	memset(payload, 0xee, sizeof payload);
}

static void flush_done(struct hf_wlog_flush *flush)
{
	current->flag = true;
	current->status = flush->status;
}

void world_flush(struct world *world)
{
	struct hf_wlog_flush flush = {.done = flush_done};

	world->flag = false;
	hf_wlog_flush(world->log, &flush);
	assert_false(world->flag);
	world_wait(world, &world->flag);
	assert_int_equal(world->status, 0);
}

static void read_done(struct hf_wlog_read *read)
{
	struct world_reading *reading = hf_container_of(read, struct world_reading, read);

	if (read->status == 0)
		world_check(reading->buffer, read->lba, read->length);
	free(reading->buffer);
	reading->done = true;
}

void world_read_start(struct world *world, struct world_reading *reading, uint64_t lba,
		      struct hf_place place, uint64_t from, uint64_t length)
{
	memset(reading, 0, sizeof *reading);
	reading->buffer = aligned_alloc(HF_DISK_ALIGN, length * HF_UNIT);
	reading->read.volume = WORLD_VOLUME;
	reading->read.lba = lba;
	reading->read.place = place;
	reading->read.place.unit += from;
	reading->read.length = length;
	reading->read.buffer = reading->buffer;
	reading->read.done = read_done;
	hf_wlog_read(world->log, &reading->read);
	assert_false(reading->done);
}

int world_read(struct world *world, uint64_t lba, struct hf_place place, uint64_t from,
	       uint64_t length)
{
	struct world_reading reading;

	world_read_start(world, &reading, lba, place, from, length);
	world_wait(world, &reading.done);
	return reading.read.status;
}
