/* The write log in the simulated world: random appends, flushes, reads, recycling, failing writes
 * and syncs, and power cut or kill at random moments (also during recovery), over many seeds.
 *
 * Held here (invariant 1): an append that was reported durable is recovered with its payload; so is
 * one that was reported written, unless power failed; order is kept (what is recovered of a volume
 * is a prefix of what was appended); the records of an append come together or not at all; what was
 * once found cut never comes back; STATE carries control across recycled segments; reads return
 * what was appended, before and after everything moved.
 *
 * Usage: wlog_sim_test [first seed [count]]; a failure prints its seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "cache/wlog.h"
#include "tests/sim/sim_env.h"

#define VOLUMES       3u
#define SEQUENCES     4096u /* of a volume in one seed */
#define RECORDS_MAX   4u
#define UNITS_MAX     40u
#define SEGMENT_BYTES (64u << 10)
#define LIVES         25u

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "seed %llu life %u: %s:%d: %s\n",                          \
				(unsigned long long)seed, life, __FILE__, __LINE__, #condition);   \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static uint64_t first_seed = 1, seed_count = 820;
static uint64_t seed, recoveries, cuts_in_recovery, records_checked;
static unsigned life;

/* ---- The model: what was appended and promised. Static, so that it outlives processes -------- */

struct written {
	uint64_t id; /* fills the payload; unique in a seed */
	uint64_t lba;
	uint32_t units;
	uint32_t mates; /* records of its append: how many follow it */
	enum hf_record_type type;
	struct hf_place place;
	bool placed;
};

static struct {
	struct written at[SEQUENCES];      /* by sequence */
	uint64_t issued, written, durable; /* highest sequence */
	uint64_t uploaded, uploaded_durable;
	uint64_t recovered_last;
} model[VOLUMES];

static uint64_t next_id;
static bool power_failed; /* since the last open */
static bool errors;       /* are injected in this seed */

static struct sim *sim;
static struct hf_wlog *log_;
static uint64_t state_uploaded[VOLUMES]; /* the owner's control state */
static bool opened, closed;
static int open_status;
static unsigned alarms;

static uint64_t below(uint64_t bound)
{
	return sim_random_below(sim, bound);
}

static void fill(uint8_t *bytes, uint64_t id, uint64_t units, uint64_t from)
{
	for (uint64_t i = 0; i < units * HF_UNIT; i += 8)
		hf_put_le64(bytes + i, id * 1000003 + from * HF_UNIT + i);
}

/* ---- The owner ------------------------------------------------------------------------------- */

static void recovered_write(const struct hf_wlog_record *record)
{
	struct written *written = &model[record->volume].at[record->sequence];

	CHECK(record->sequence > 0 && record->sequence <= model[record->volume].issued);
	CHECK(record->type == written->type && record->lba == written->lba);
	CHECK(record->length == written->units && record->request.id == written->id);
	CHECK(record->result == -(int)record->volume && record->place.source > 0);
	CHECK(record->sequence > model[record->volume].recovered_last);
	model[record->volume].recovered_last = record->sequence;
	written->place = record->place;
	written->placed = true;
}

static void owner_recovered(void *context, const struct hf_wlog_record *record, const void *payload)
{
	(void)context;
	if (record->type == HF_RECORD_STATE) {
		CHECK(record->length == sizeof state_uploaded);
		for (unsigned v = 0; v < VOLUMES; v++)
			state_uploaded[v] = hf_get_le64((const uint8_t *)payload + 8 * v);
		return;
	}
	CHECK(record->volume < VOLUMES);
	if (record->type != HF_RECORD_CONTROL) {
		recovered_write(record);
		return;
	}
	CHECK(record->length == 13 && hf_get_le64(payload) == record->sequence);
	if (record->sequence > state_uploaded[record->volume])
		state_uploaded[record->volume] = record->sequence;
}

static void owner_moved(void *context, const struct hf_wlog_record *record)
{
	(void)context;
	CHECK(record->type != HF_RECORD_STATE && record->volume < VOLUMES);
	if (record->type != HF_RECORD_CONTROL)
		model[record->volume].at[record->sequence].place = record->place;
}

static void owner_durable(void *context, uint64_t batch)
{
	(void)context;
	CHECK(batch == hf_wlog_durable_through(log_));
}

static size_t owner_state(void *context, void *buffer, size_t capacity)
{
	(void)context;
	CHECK(capacity >= sizeof state_uploaded);
	for (unsigned v = 0; v < VOLUMES; v++)
		hf_put_le64((uint8_t *)buffer + 8 * v, state_uploaded[v]);
	return sizeof state_uploaded;
}

static void owner_alarm(void *context, const char *text)
{
	(void)context;
	(void)text;
	alarms++;
}

static const struct hf_wlog_owner owner = {
	.recovered = owner_recovered,
	.moved = owner_moved,
	.durable = owner_durable,
	.state = owner_state,
	.alarm = owner_alarm,
};

/* ---- Appends, flushes, uploads, reads -------------------------------------------------------- */

struct test_append {
	struct hf_wlog_append append;
	struct hf_wlog_record records[RECORDS_MAX];
	unsigned volume;
};

static void append_done(struct hf_wlog_append *append)
{
	struct test_append *test = hf_container_of(append, struct test_append, append);
	unsigned v = test->volume;

	if (append->status == HF_ECANCELED) {
		free(test);
		return;
	}
	CHECK(append->status == 0);
	for (unsigned i = 0; i < append->record_count; i++) {
		struct written *written = &model[v].at[test->records[i].sequence];

		written->place = test->records[i].place;
		written->placed = true;
		CHECK(test->records[i].batch > 0);
	}
	if (test->records[append->record_count - 1].sequence > model[v].written)
		model[v].written = test->records[append->record_count - 1].sequence;
	if (append->durable && model[v].written > model[v].durable)
		model[v].durable = model[v].written;
	free(test);
}

static void start_append(void)
{
	static uint8_t payload[RECORDS_MAX * UNITS_MAX * HF_UNIT];
	struct test_append *test = calloc(1, sizeof *test);
	unsigned v = test->volume = (unsigned)below(VOLUMES), count = 1;
	size_t bytes = 0;

	if (below(4) == 0)
		count += (unsigned)below(RECORDS_MAX - 1);
	if (model[v].issued + count >= SEQUENCES) {
		free(test);
		return;
	}
	for (unsigned i = 0; i < count; i++) {
		struct hf_wlog_record *record = &test->records[i];
		struct written *written = &model[v].at[++model[v].issued];

		written->type = below(5) ? HF_RECORD_DATA : HF_RECORD_ZERO;
		written->id = ++next_id;
		written->units = 1 + (uint32_t)below(below(3) ? 8 : UNITS_MAX / count);
		written->lba = below(4) ? below(500)
			       : i > 0  ? record[-1].lba + record[-1].length
					: 0;
		written->mates = count - 1 - i;
		written->placed = false;
		record->type = written->type;
		record->volume = v;
		record->sequence = model[v].issued;
		record->lba = written->lba;
		record->length = written->units;
		record->request.id = written->id;
		record->result = -(int)v;
		if (written->type == HF_RECORD_DATA) {
			fill(payload + bytes, written->id, written->units, 0);
			bytes += written->units * HF_UNIT;
		}
	}
	test->append.records = test->records;
	test->append.record_count = count;
	test->append.payload = payload;
	test->append.payload_bytes = bytes;
	test->append.durable = below(3) > 0;
	test->append.done = append_done;
	hf_wlog_append(log_, &test->append);
	memset(payload, 0xee, bytes); /* may be reused when the call returns */
}

struct test_flush {
	struct hf_wlog_flush flush;
	uint64_t issued[VOLUMES];
};

static void flush_done(struct hf_wlog_flush *flush)
{
	struct test_flush *test = hf_container_of(flush, struct test_flush, flush);

	for (unsigned v = 0; v < VOLUMES && flush->status == 0; v++) {
		if (test->issued[v] > model[v].durable)
			model[v].durable = test->issued[v];
		CHECK(test->issued[v] <= model[v].written);
	}
	CHECK(flush->status == 0 || flush->status == HF_ECANCELED);
	free(test);
}

static void start_flush(void)
{
	struct test_flush *test = calloc(1, sizeof *test);

	for (unsigned v = 0; v < VOLUMES; v++)
		test->issued[v] = model[v].issued;
	test->flush.done = flush_done;
	hf_wlog_flush(log_, &test->flush);
}

/* A segment may go when every record in it is covered by a durable statement of an upload. */
static void recycle_what_may_go(void)
{
	uint64_t active = hf_wlog_active_segment(log_), needed[64];
	unsigned needed_count = 0;

	for (unsigned v = 0; v < VOLUMES; v++)
		for (uint64_t s = model[v].uploaded_durable + 1; s <= model[v].issued; s++) {
			if (needed_count == 64)
				return;
			if (!model[v].at[s].placed)
				continue;
			needed[needed_count++] = model[v].at[s].place.source;
		}
	for (uint64_t serial = active > 40 ? active - 40 : 1; serial < active; serial++) {
		bool keep = false;

		for (unsigned i = 0; i < needed_count; i++)
			keep |= needed[i] == serial;
		if (!keep)
			hf_wlog_recycle(log_, serial);
	}
}

struct test_upload {
	struct hf_wlog_append append;
	struct hf_wlog_record record;
};

static void upload_done(struct hf_wlog_append *append)
{
	struct test_upload *test = hf_container_of(append, struct test_upload, append);
	uint64_t sequence = test->record.sequence, volume = test->record.volume;

	if (append->status == 0) {
		if (sequence > model[volume].uploaded_durable)
			model[volume].uploaded_durable = sequence;
		recycle_what_may_go();
	}
	free(test);
}

static void start_upload(void)
{
	struct test_upload *test = calloc(1, sizeof *test);
	unsigned v = (unsigned)below(VOLUMES);
	uint8_t payload[13] = "";

	test->record.type = HF_RECORD_CONTROL;
	test->record.volume = v;
	test->record.sequence = model[v].durable - (model[v].durable > 5 ? below(5) : 0);
	test->record.length = sizeof payload;
	if (test->record.sequence > model[v].uploaded)
		model[v].uploaded = test->record.sequence;
	if (test->record.sequence > state_uploaded[v])
		state_uploaded[v] = test->record.sequence;
	hf_put_le64(payload, test->record.sequence);
	test->append.records = &test->record;
	test->append.record_count = 1;
	test->append.payload = payload;
	test->append.payload_bytes = sizeof payload;
	test->append.durable = true;
	test->append.reserve = true;
	test->append.done = upload_done;
	hf_wlog_append(log_, &test->append);
}

struct test_read {
	uint8_t buffer[UNITS_MAX * HF_UNIT]; /* aligned */
	struct hf_wlog_read read;
	uint64_t id, from;
	bool may_be_gone;
};

static unsigned reads_under_way;

static void read_done(struct hf_wlog_read *read)
{
	static uint8_t expected[UNITS_MAX * HF_UNIT];
	struct test_read *test = hf_container_of(read, struct test_read, read);

	reads_under_way--;
	if (read->status != HF_ECANCELED) {
		CHECK(read->status == 0);
		fill(expected, test->id, read->length, test->from);
		CHECK(memcmp(expected, test->buffer, read->length * HF_UNIT) == 0);
		records_checked++;
	}
	free(test);
}

static void start_read(unsigned v, uint64_t sequence, bool whole)
{
	const struct written *written = &model[v].at[sequence];
	struct test_read *test;

	if (!written->placed || written->type != HF_RECORD_DATA)
		return;
	test = aligned_alloc(512, (sizeof *test + 511) / 512 * 512);
	memset(test, 0, sizeof *test);
	test->from = whole ? 0 : below(written->units);
	test->id = written->id;
	test->read.volume = v;
	test->read.lba = written->lba + test->from;
	test->read.place = written->place;
	test->read.place.unit += test->from;
	test->read.length = whole ? written->units : 1 + below(written->units - test->from);
	test->read.buffer = test->buffer;
	test->read.done = read_done;
	reads_under_way++;
	hf_wlog_read(log_, &test->read);
}

static void start_random_read(void)
{
	unsigned v = (unsigned)below(VOLUMES);
	uint64_t from = model[v].uploaded, count = model[v].written - from;

	if (model[v].written > from)
		start_read(v, from + 1 + below(count), false);
}

/* ---- Lives ----------------------------------------------------------------------------------- */

static void open_done(struct hf_wlog_open *open)
{
	opened = true;
	open_status = open->status;
	log_ = open->wlog;
	if (open->status)
		fprintf(stderr, "open: %s\n", open->message.text);
	free(open);
}

static void check_recovered(void)
{
	for (unsigned v = 0; v < VOLUMES; v++) {
		uint64_t last = model[v].recovered_last;

		CHECK(state_uploaded[v] >= model[v].uploaded_durable);
		CHECK(state_uploaded[v] <= model[v].uploaded);
		if (last < state_uploaded[v])
			last = state_uploaded[v];
		for (uint64_t s = state_uploaded[v] + 1; s <= last; s++)
			CHECK(model[v].at[s].placed);
		CHECK(last >= model[v].durable);
		CHECK(power_failed || last >= model[v].written);
		CHECK(last == 0 || model[v].at[last].mates == 0 || last == state_uploaded[v]);
		/* What was cut is gone for good. */
		for (uint64_t s = last + 1; s <= model[v].issued; s++)
			model[v].at[s].id = 0;
		model[v].issued = model[v].written = model[v].durable = last;
		model[v].uploaded_durable = model[v].uploaded = state_uploaded[v];
	}
	power_failed = false;
}

static void check_payloads(void)
{
	for (unsigned v = 0; v < VOLUMES; v++)
		for (uint64_t s = model[v].uploaded + 1; s <= model[v].written; s++)
			if (below(4) == 0)
				start_read(v, s, below(2));
	while (reads_under_way > 0)
		CHECK(sim_step(sim));
}

static void die(void)
{
	if (below(3) == 0) {
		sim_kill(sim, 0);
	} else {
		sim_power_cut(sim, 0);
		power_failed = true;
	}
	log_ = NULL;
	reads_under_way = 0;
}

/* False if it died on the way. */
static bool open_log(bool may_die)
{
	struct hf_wlog_open *open = calloc(1, sizeof *open);
	uint64_t steps = may_die && below(4) == 0 ? 1 + below(40) : UINT64_MAX;

	for (unsigned v = 0; v < VOLUMES; v++) {
		model[v].recovered_last = 0;
		state_uploaded[v] = 0;
		for (uint64_t s = 0; s < SEQUENCES; s++)
			model[v].at[s].placed = false;
	}
	alarms = 0;
	opened = false;
	open->config.env = sim_env(sim, 0);
	open->config.owner = &owner;
	open->config.idle_sync_ms = 5;
	open->config.keep_bytes = sim_random(sim) % 3 * (24u << 10);
	open->opened = open_done;
	hf_wlog_open_start(open);
	while (!opened && steps-- > 0)
		CHECK(sim_step(sim));
	if (!opened) {
		cuts_in_recovery++;
		die();
		return false;
	}
	CHECK(open_status == 0);
	recoveries++;
	return true;
}

static void live(void)
{
	uint64_t events = below(3) ? below(150) : below(1500);

	for (uint64_t i = 0; i < events; i++) {
		uint64_t what = below(100);

		if (what < 14)
			start_append();
		else if (what < 15)
			start_flush();
		else if (what < 17)
			start_upload();
		else if (what < 19)
			start_random_read();
		else if (what < 20 && below(20) == 0)
			sim_run(sim, 30 * HF_NS_PER_MS);
		else
			sim_step(sim);
	}
}

static void close_done(void *context)
{
	(void)context;
	closed = true;
}

static void close_log(void)
{
	closed = false;
	hf_wlog_close(log_, close_done, NULL);
	while (!closed)
		CHECK(sim_step(sim));
	CHECK(reads_under_way == 0);
	CHECK(sim_heap_count(sim, 0) == 0);
	/* A clean end syncs what was written. */
	for (unsigned v = 0; v < VOLUMES; v++)
		if (!errors)
			model[v].durable = model[v].written;
	log_ = NULL;
}

static void format_done(struct hf_wlog_format *format)
{
	opened = true;
	open_status = format->status;
	free(format);
}

static void format_log(void)
{
	struct hf_wlog_format *format = calloc(1, sizeof *format);

	opened = false;
	format->env = sim_env(sim, 0);
	format->segment_bytes = SEGMENT_BYTES;
	hf_env_random(format->env, format->uuid, sizeof format->uuid);
	format->done = format_done;
	hf_wlog_format_start(format);
	while (!opened)
		CHECK(sim_step(sim));
	CHECK(open_status == 0);
}

static void run_seed(void)
{
	struct sim_config config = {.seed = seed};

	/* Some are always nearly full. */
	config.disk_size_bytes[0] = (6 + seed % 5 * 4) * SEGMENT_BYTES + 16384;
	errors = seed % 4 == 0;
	if (errors) {
		config.write_error_chance = 5000;
		config.sync_error_chance = 10000;
	}
	sim = sim_create(&config);
	memset(model, 0, sizeof model);
	power_failed = false;
	sim_chances(sim, 0, 0, 0);
	format_log();
	sim_chances(sim, config.write_error_chance, config.sync_error_chance, 0);
	for (life = 0; life < LIVES; life++) {
		while (!open_log(true))
			;
		check_recovered();
		if (below(4) == 0)
			check_payloads();
		live();
		CHECK(errors || alarms == 0);
		if (below(8) == 0)
			close_log();
		else
			die();
	}
	sim_chances(sim, 0, 0, 0);
	CHECK(open_log(false));
	check_recovered();
	check_payloads();
	close_log();
	sim_destroy(sim);
}

static void test_promises_hold_over_seeds(void **state)
{
	(void)state;
	for (seed = first_seed; seed < first_seed + seed_count; seed++)
		run_seed();
	printf("%llu recoveries, %llu cut short, %llu reads checked\n",
	       (unsigned long long)recoveries, (unsigned long long)cuts_in_recovery,
	       (unsigned long long)records_checked);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_promises_hold_over_seeds),
	};

	if (argc > 1) {
		first_seed = strtoull(argv[1], NULL, 10);
		seed_count = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
