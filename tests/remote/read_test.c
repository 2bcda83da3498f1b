/* Promises of reads: a chunk is fetched once however many wait for it, what the cache holds costs
 * nothing, a read ends by its own deadline, and damage is fetched once more, then reported and
 * never served (invariants 6 and 8). */
#include "base/log.h"
#include "cache/rcache.h"
#include "remote/object.h"
#include "tests/remote/actor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define CHUNKS 8u

static struct mem_store store;
static struct hf_rcache *cache;
static struct actor actor;
static uint8_t *payload;
static char object_name[HF_STORE_NAME_MAX + 1];

static void big_done(struct hf_remote_upload *upload)
{
	*(bool *)upload->owner = true;
}

/* A volume of one object of eight chunks, the third of them zeros. */
static void make_volume(void)
{
	const struct hf_object_extent extent = {
		.lba = 0, .length = CHUNKS * HF_CHUNK_UNITS, .kind = HF_EXTENT_DATA};
	bool done = false;
	struct hf_remote_upload upload = {
		.first_sequence = 1,
		.last_sequence = 3,
		.extents = &extent,
		.extent_count = 1,
		.payload_bytes = CHUNKS * HF_CHUNK_BYTES,
		.done = big_done,
		.owner = &done,
	};

	payload = malloc(CHUNKS * HF_CHUNK_BYTES);
	for (uint32_t i = 0, x = 1; i < CHUNKS * HF_CHUNK_BYTES; i++)
		payload[i] = (uint8_t)((x = x * 1103515245 + 12345) >> 20);
	memset(payload + 2 * HF_CHUNK_BYTES, 0, HF_CHUNK_BYTES);
	upload.payload = payload;
	actor_init(&actor, &store, 1);
	actor_open_now(&actor, 1, 0);
	hf_remote_upload(actor.remote, &upload);
	actor_run(&actor, &done);
	actor_end(&actor, false);
}

static struct hf_rcache *make_cache(struct actor *owner, uint64_t memory_bytes)
{
	const struct hf_rcache_config config = {
		.env = &owner->env.env, .disk = HF_RCACHE_NO_DISK, .memory_bytes = memory_bytes};

	return hf_rcache_create(&config);
}

static int setup(void **state)
{
	(void)state;
	make_volume();
	actor_init(&actor, &store, 2);
	cache = make_cache(&actor, 1 << 20);
	actor_open_with(&actor, 0, hf_rcache_table(cache));
	actor_run(&actor, &actor.opened);
	hf_remote_object_name(actor.remote, 0, object_name);
	store.gets = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	actor_end(&actor, false);
	hf_rcache_destroy(cache);
	mem_store_free(&store);
	free(payload);
	return 0;
}

struct reader {
	struct hf_remote_read read;
	bool done;
	uint8_t *buffer;
};

static void reader_done(struct hf_remote_read *read)
{
	struct reader *reader = hf_container_of(read, struct reader, read);

	assert_false(reader->done);
	reader->done = true;
}

static void start(struct reader *reader, uint64_t unit, uint64_t length)
{
	*reader = (struct reader){
		.read = {.place = {.unit = unit}, .length = length, .done = reader_done},
	};
	reader->buffer = reader->read.buffer = malloc(length * HF_OBJECT_UNIT);
	hf_remote_read(actor.remote, &reader->read);
	assert_false(reader->done);
}

static void expect(struct reader *reader, int status)
{
	actor_run(&actor, &reader->done);
	assert_int_equal(reader->read.status, status);
	if (status == 0)
		assert_memory_equal(reader->buffer,
				    payload + reader->read.place.unit * HF_OBJECT_UNIT,
				    reader->read.length * HF_OBJECT_UNIT);
	free(reader->buffer);
}

static void every_range_reads_what_was_written(void **state)
{
	(void)state;
	for (uint64_t unit = 0; unit < CHUNKS * HF_CHUNK_UNITS; unit += 61)
		for (uint64_t length = 1; length <= CHUNKS * HF_CHUNK_UNITS - unit;
		     length = length * 3 + 1) {
			struct reader reader;

			start(&reader, unit, length);
			expect(&reader, 0);
		}
}

static void concurrent_misses_share_one_get(void **state)
{
	struct reader readers[5];

	(void)state;
	for (unsigned i = 0; i < 5; i++)
		start(&readers[i], 10 + i, 20);
	for (unsigned i = 0; i < 5; i++)
		expect(&readers[i], 0);
	assert_int_equal(store.gets, 1);
	assert_int_equal(readers[0].read.fetched_bytes, HF_CHUNK_BYTES + HF_TAG_BYTES);
	assert_int_equal(readers[1].read.fetched_bytes, 0);
}

static void hits_and_zeros_cost_no_get(void **state)
{
	struct reader reader;

	(void)state;
	start(&reader, 2 * HF_CHUNK_UNITS, HF_CHUNK_UNITS);
	expect(&reader, 0);
	assert_int_equal(store.gets, 0);
	for (unsigned i = 0; i < 3; i++) {
		start(&reader, 0, 8);
		expect(&reader, 0);
	}
	assert_int_equal(store.gets, 1);
}

/* Reading in order fetches up to four chunks at once: two before the zeros, then four, then one. */
static void neighbours_come_together(void **state)
{
	struct reader reader;

	(void)state;
	start(&reader, 0, CHUNKS * HF_CHUNK_UNITS);
	expect(&reader, 0);
	assert_int_equal(store.gets, 3);
}

static void a_sequential_reader_is_read_ahead_for(void **state)
{
	struct reader reader;

	(void)state;
	for (uint32_t chunk = 3; chunk < CHUNKS; chunk++) {
		start(&reader, (uint64_t)chunk * HF_CHUNK_UNITS, 8);
		expect(&reader, 0);
	}
	assert_int_equal(store.gets, 2);
}

/* Many reads under way at once, over all chunks, with answers from the newest to the oldest. */
static void answers_may_come_in_any_order(void **state)
{
	struct reader readers[64];

	(void)state;
	for (unsigned i = 0; i < 64; i++)
		start(&readers[i], i * 16 % (CHUNKS * HF_CHUNK_UNITS - 200), 1 + i * 3);
	for (;;) {
		struct hf_store_io *io, *last = NULL;

		mem_settle(&actor.env);
		for (unsigned i = 0; (io = mem_pending(&actor.env, i)) != NULL; i++)
			last = io;
		if (!last)
			break;
		mem_answer(&actor.env, last, MEM_OK);
	}
	for (unsigned i = 0; i < 64; i++)
		expect(&readers[i], 0);
}

/* A flip on the way is healed by fetching again; a flip at rest is reported, and reads of other
 * chunks go on. */
static void damage_is_fetched_again_then_reported(void **state)
{
	struct mem_object *object = mem_find(&store, object_name);
	struct reader reader, other;

	(void)state;
	object->bytes[object->length - 100] ^= 4;
	start(&reader, 7 * HF_CHUNK_UNITS, 8);
	mem_answer(&actor.env, mem_pending(&actor.env, 0), MEM_OK);
	object->bytes[object->length - 100] ^= 4;
	expect(&reader, 0);
	assert_int_equal(store.gets, 2);

	object->bytes[object->length - HF_CHUNK_BYTES - 200] ^= 4;
	start(&reader, 6 * HF_CHUNK_UNITS, 8);
	start(&other, 5 * HF_CHUNK_UNITS, 8);
	expect(&reader, HF_ECORRUPT);
	expect(&other, 0);
	assert_int_equal(store.gets, 5);
}

static void a_cut_or_missing_object_is_reported(void **state)
{
	struct mem_object *object = mem_find(&store, object_name);
	struct reader reader;

	(void)state;
	object->length -= HF_CHUNK_BYTES / 2;
	start(&reader, 7 * HF_CHUNK_UNITS, 8);
	expect(&reader, HF_ECORRUPT);
	object->length = 1000;
	start(&reader, 6 * HF_CHUNK_UNITS, 8);
	expect(&reader, HF_ECORRUPT);
	mem_remove(&store, object_name);
	start(&reader, 5 * HF_CHUNK_UNITS, 8);
	expect(&reader, HF_ENOENT);
}

/* A store that is away: each read ends at its own deadline; one that waits longer is served. */
static void end_by_their_own_deadlines(void)
{
	struct reader soon, late;

	soon = (struct reader){.read = {.place = {.unit = 3 * HF_CHUNK_UNITS},
					.length = 8,
					.deadline_ns = actor.env.now_ns + 2 * HF_NS_PER_S,
					.done = reader_done}};
	late = soon;
	late.read.deadline_ns = 0;
	soon.buffer = soon.read.buffer = malloc(8 * HF_OBJECT_UNIT);
	late.buffer = late.read.buffer = malloc(8 * HF_OBJECT_UNIT);
	hf_remote_read(actor.remote, &soon.read);
	hf_remote_read(actor.remote, &late.read);
	while (!soon.done) {
		if (mem_pending(&actor.env, 0))
			mem_answer(&actor.env, mem_pending(&actor.env, 0), MEM_REFUSED);
		else
			assert_true(mem_next_timer(&actor.env));
	}
	assert_int_equal(soon.read.status, HF_ETIMEDOUT);
	assert_int_equal(actor.env.now_ns, soon.read.deadline_ns);
	assert_int_equal(hf_remote_trouble(actor.remote), HF_ECONN);
	free(soon.buffer);
	expect(&late, 0);
	assert_int_equal(hf_remote_trouble(actor.remote), 0);
}

static void a_read_ends_by_its_own_deadline(void **state)
{
	struct hf_remote_maps *none = hf_remote_maps_create(0);

	(void)state;
	end_by_their_own_deadlines();
	actor_end(&actor, false);
	actor_init(&actor, &store, 5);
	actor.maps = none; /* now the header has to come too */
	actor_open_with(&actor, 0, NULL);
	actor_run(&actor, &actor.opened);
	end_by_their_own_deadlines();
	actor_end(&actor, false);
	hf_remote_maps_destroy(none);
	actor.maps = NULL;
}

/* Without memory for the cache every read still reads right. */
static void a_tiny_cache_only_costs_speed(void **state)
{
	struct hf_rcache *tiny;
	struct actor other;

	(void)state;
	actor_init(&other, &store, 3);
	tiny = make_cache(&other, 3 * HF_CHUNK_BYTES);
	actor_open_with(&other, 0, hf_rcache_table(tiny));
	actor_run(&other, &other.opened);
	for (unsigned i = 0; i < 200; i++) {
		uint8_t buffer[8 * HF_OBJECT_UNIT];
		struct reader reader = {
			.read = {.place = {.unit = i * 37 % (CHUNKS * HF_CHUNK_UNITS - 8)},
				 .length = 8,
				 .buffer = buffer,
				 .done = reader_done},
		};

		hf_remote_read(other.remote, &reader.read);
		actor_run(&other, &reader.done);
		assert_int_equal(reader.read.status, 0);
		assert_memory_equal(buffer, payload + reader.read.place.unit * HF_OBJECT_UNIT,
				    sizeof buffer);
	}
	actor_end(&other, false);
	hf_rcache_destroy(tiny);
}

/* With no memory for headers each read that is alone fetches its object's, and those that meet
 * share it. */
static void headers_come_on_demand(void **state)
{
	struct hf_remote_maps *none = hf_remote_maps_create(0);
	struct reader readers[5];

	(void)state;
	actor_end(&actor, false);
	actor_init(&actor, &store, 4);
	actor.maps = none;
	actor_open_with(&actor, 0, hf_rcache_table(cache));
	actor_run(&actor, &actor.opened);
	store.gets = 0;
	for (unsigned i = 0; i < 5; i++)
		start(&readers[i], 10 + i, 20);
	for (unsigned i = 0; i < 5; i++)
		expect(&readers[i], 0);
	assert_int_equal(store.gets, 2);
	start(&readers[0], 10, 8); /* in the cache: no header needed */
	expect(&readers[0], 0);
	assert_int_equal(store.gets, 2);

	mem_find(&store, object_name)->bytes[200] ^= 1;
	start(&readers[0], 6 * HF_CHUNK_UNITS, 8);
	expect(&readers[0], HF_ECORRUPT);
	assert_int_equal(store.gets, 4); /* it was asked for twice */
	mem_remove(&store, object_name);
	start(&readers[0], 6 * HF_CHUNK_UNITS, 8);
	expect(&readers[0], HF_ENOENT);
	start(&readers[0], 6 * HF_CHUNK_UNITS, 8);
	actor_end(&actor, true);
	assert_int_equal(readers[0].read.status, HF_ECANCELED);
	free(readers[0].buffer);
	hf_remote_maps_destroy(none);
	actor.maps = NULL;
}

static void closing_ends_reads(void **state)
{
	struct reader reader;

	(void)state;
	start(&reader, 0, 8);
	actor_end(&actor, true);
	assert_true(reader.done);
	assert_int_equal(reader.read.status, HF_ECANCELED);
	free(reader.buffer);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_range_reads_what_was_written),
		TEST(concurrent_misses_share_one_get),
		TEST(hits_and_zeros_cost_no_get),
		TEST(neighbours_come_together),
		TEST(a_sequential_reader_is_read_ahead_for),
		TEST(answers_may_come_in_any_order),
		TEST(damage_is_fetched_again_then_reported),
		TEST(a_cut_or_missing_object_is_reported),
		TEST(a_read_ends_by_its_own_deadline),
		TEST(a_tiny_cache_only_costs_speed),
		TEST(headers_come_on_demand),
		TEST(closing_ends_reads),
	};

	hf_log_init("read_test");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
