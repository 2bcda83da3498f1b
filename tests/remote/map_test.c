/* Promises of checkpoints: a volume opens from the newest one and the headers of what came after
 * it; its map is the one that all headers give, whatever leaves are in memory; what is superseded
 * is deleted, and only when the new root counts; damage of any bit costs time or is refused by
 * name, and never gives wrong data (invariants 2 and 8). */
#include "base/bytes.h"
#include "base/log.h"
#include "remote/map_root.h"
#include "tests/remote/actor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* In one leaf, at its ends, in other leaves and pages, and far away. */
static const uint64_t places[] = {0, 7, 16383, 16384, 16384 * 1024 - 1, 16384 * 1024, 1ull << 30};

#define PLACES (sizeof places / sizeof places[0])

static struct mem_store store;
static struct actor actor;
static uint64_t expected[PLACES]; /* 0: never written */
static uint64_t stamp;

static int setup(void **state)
{
	(void)state;
	memset(expected, 0, sizeof expected);
	actor_init(&actor, &store, 1);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	mem_store_free(&store);
	return 0;
}

static unsigned map_objects(const char **name)
{
	unsigned count = 0;

	for (unsigned i = 0; i < store.count; i++) {
		if (!strstr(store.objects[i].name, "/map/"))
			continue;
		count++;
		if (name)
			*name = store.objects[i].name;
	}
	return count;
}

static void set_flag(struct hf_remote_upload *upload)
{
	*(bool *)upload->owner = true;
}

static void upload_block(struct actor *writer, unsigned place)
{
	const struct hf_object_extent extent = {
		.lba = places[place], .length = 1, .kind = HF_EXTENT_DATA};
	uint64_t sequence = hf_remote_recovery_point(writer->remote) + 1;
	uint8_t block[512] = {0};
	bool done = false;
	struct hf_remote_upload upload = {
		.first_sequence = sequence,
		.last_sequence = sequence,
		.extents = &extent,
		.extent_count = 1,
		.payload = block,
		.payload_bytes = sizeof block,
		.done = set_flag,
		.owner = &done,
	};

	hf_put_le64(block, expected[place] = ++stamp);
	hf_remote_upload(writer->remote, &upload);
	actor_run(writer, &done);
	actor_answer_looks(writer);
	assert_int_equal(hf_remote_recovery_point(writer->remote), sequence);
}

static void write_places(struct actor *writer, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		upload_block(writer, (unsigned)(stamp % PLACES));
}

static void read_done(struct hf_remote_read *read)
{
	*(bool *)read->owner = true;
}

static uint64_t stamp_at(struct actor *reader, const struct hf_extent *extent)
{
	uint8_t block[512];
	bool done = false;
	struct hf_remote_read read = {.place = extent->place,
				      .length = 1,
				      .buffer = block,
				      .done = read_done,
				      .owner = &done};

	assert_int_equal(extent->length, 1);
	hf_remote_read(reader->remote, &read);
	actor_run(reader, &done);
	assert_int_equal(read.status, 0);
	return hf_get_le64(block);
}

/* 0 if everything reads as it was written, or why a leaf cannot be had. */
static int verify(struct actor *reader)
{
	for (unsigned i = 0; i < PLACES; i++) {
		struct hf_extent extent;
		bool found;
		int err = actor_look(reader, places[i], 1, &extent, &found);

		if (err)
			return err;
		assert_int_equal(found, expected[i] != 0);
		if (found)
			assert_int_equal(stamp_at(reader, &extent), expected[i]);
	}
	return 0;
}

/* A new process on the same store; 0 reads only. */
static void open_fresh(struct actor *fresh, uint64_t epoch)
{
	static uint64_t seed = 10;

	actor_init(fresh, &store, seed++);
	actor_open_now(fresh, epoch, 0);
}

static void answer_all(struct actor *of)
{
	struct hf_store_io *io;

	mem_settle(&of->env);
	while ((io = mem_pending(&of->env, 0)) != NULL) {
		mem_answer(&of->env, io, MEM_OK);
		mem_settle(&of->env);
	}
}

/* ---- Opening --------------------------------------------------------------------------------- */

static void opening_reads_only_what_is_newer(void **state)
{
	unsigned gets;

	(void)state;
	actor_open_now(&actor, 1, 0);
	write_places(&actor, 40);
	store.gets = 0;
	actor_end(&actor, false);
	open_fresh(&actor, 0);
	assert_int_equal(actor.open.headers_read, 40);
	gets = store.gets;
	actor_end(&actor, false);

	open_fresh(&actor, 1);
	assert_int_equal(actor_checkpoint(&actor), 0);
	assert_int_equal(actor_checkpoint(&actor), 0); /* nothing is new */
	assert_int_equal(hf_remote_checkpoints_written(actor.remote), 1);
	actor_end(&actor, false);

	store.gets = store.lists = 0;
	open_fresh(&actor, 0);
	print_message("opening 40 objects: %u GETs without a checkpoint, %u with one\n", gets,
		      store.gets);
	assert_int_equal(store.gets, 5);  /* key ring, tombstone, claim, base, root */
	assert_int_equal(store.lists, 3); /* claims, checkpoints, newer objects */
	assert_int_equal(actor.open.headers_read, 0);
	assert_int_equal(hf_remote_object_count(actor.remote), 40);
	assert_int_equal(verify(&actor), 0);
	actor_end(&actor, false);

	open_fresh(&actor, 1);
	write_places(&actor, 3);
	actor_end(&actor, true);
	open_fresh(&actor, 1); /* the base names the checkpoint of an earlier start */
	assert_int_equal(actor.open.headers_read, 3);
	assert_int_equal(verify(&actor), 0);
	actor_end(&actor, false);
}

/* Over many starts, orderly ones and deaths, and through partial leaves: what was written is read,
 * and the map from the checkpoint is the one from all headers. */
static void every_start_finds_what_was_written(void **state)
{
	(void)state;
	for (unsigned start = 0; start < 40; start++) {
		open_fresh(&actor, 1);
		assert_false(actor.open.map_damaged);
		for (unsigned round = 0; round < start % 5; round++) {
			write_places(&actor, 1 + (start + round) % 6);
			if ((start + round) % 2)
				assert_int_equal(actor_checkpoint(&actor), 0);
		}
		assert_int_equal(verify(&actor), 0);
		actor_end(&actor, start % 3 == 0);
		for (unsigned rebuild = 0; rebuild < 2; rebuild++) {
			actor_init(&actor, &store, 5);
			actor.rebuild_map = rebuild;
			actor_open_now(&actor, 0, 0);
			assert_int_equal(verify(&actor), 0);
			actor_end(&actor, false);
		}
	}
}

/* What an older process left in place of the right thing is of no use, and nothing is lost by it.
 */
static void a_root_of_another_history_is_refused(void **state)
{
	struct mem_store fork = {0};
	const char *name = NULL;

	(void)state;
	open_fresh(&actor, 1);
	write_places(&actor, 3);
	actor_end(&actor, true);
	mem_copy(&fork, &store);

	open_fresh(&actor, 1); /* start 2 describes four objects of its own run … */
	write_places(&actor, 4);
	assert_int_equal(actor_checkpoint(&actor), 0);
	actor_end(&actor, true);
	assert_int_equal(map_objects(&name), 1);
	mem_put(&fork, name, mem_find(&store, name)->bytes, mem_find(&store, name)->length);
	mem_copy(&store, &fork);

	/* … which never were, here: start 2 died before it wrote anything, its base is missing. */
	memset(expected, 0, sizeof expected);
	stamp = 0;
	actor_init(&actor, &store, 99);
	actor_open_now(&actor, 0, 0);
	assert_int_equal(hf_remote_object_count(actor.remote), 3);
	assert_int_equal(actor.open.headers_read, 3);
	actor_end(&actor, false);
	mem_store_free(&fork);
}

/* ---- When, and deleting ---------------------------------------------------------------------- */

static void the_rule_is_kept(void **state)
{
	(void)state;
	actor.checkpoints = (struct hf_remote_checkpoints){.objects = 5, .interval_ms = 1};
	actor_open_now(&actor, 1, 0);
	write_places(&actor, 4);
	answer_all(&actor);
	assert_int_equal(hf_remote_checkpoints_written(actor.remote), 0);
	write_places(&actor, 1);
	answer_all(&actor);
	hf_remote_look(actor.remote);
	answer_all(&actor);
	assert_int_equal(hf_remote_checkpoints_written(actor.remote), 1);
	actor_end(&actor, false);

	actor_init(&actor, &store, 2);
	actor.checkpoints = (struct hf_remote_checkpoints){.age_ms = 60000};
	actor_open_now(&actor, 1, 0);
	write_places(&actor, 1);
	while (hf_remote_checkpoints_written(actor.remote) == 0 &&
	       actor.env.now_ns < 600 * HF_NS_PER_S) {
		answer_all(&actor);
		mem_next_timer(&actor.env);
	}
	assert_int_equal(hf_remote_checkpoints_written(actor.remote), 1);
	assert_in_range(actor.env.now_ns / HF_NS_PER_S, 60, 130);
	actor_end(&actor, false);
}

static void asked(struct hf_remote_checkpoint *ask)
{
	*(bool *)ask->owner = true;
}

/* Step by step: between the PUT of the new root and the look that counts it nothing goes. */
static void superseded_ones_go_when_the_new_root_counts(void **state)
{
	bool done = false;
	struct hf_remote_checkpoint ask = {.done = asked, .owner = &done};
	struct hf_store_io *io;

	(void)state;
	actor_open_now(&actor, 1, 0);
	for (unsigned i = 0; i < 2 * PLACES; i++) {
		upload_block(&actor, 0);
		assert_int_equal(actor_checkpoint(&actor), 0);
		answer_all(&actor);
	}
	assert_int_equal(map_objects(NULL), 1); /* the newest needs no other */
	upload_block(&actor, 0);
	store.deletes = 0;
	hf_remote_checkpoint(actor.remote, &ask);
	mem_settle(&actor.env);
	io = mem_pending(&actor.env, 0);
	assert_int_equal(io->op, HF_STORE_PUT);
	mem_answer(&actor.env, io, MEM_OK);
	hf_remote_look(actor.remote);
	mem_settle(&actor.env);
	assert_int_equal(map_objects(NULL), 2);
	io = mem_pending(&actor.env, 0);
	assert_int_equal(io->op, HF_STORE_LIST);
	assert_null(mem_pending(&actor.env, 1));
	assert_false(done);
	mem_answer(&actor.env, io, MEM_OK);
	mem_settle(&actor.env);
	assert_true(done);
	assert_int_equal(mem_pending(&actor.env, 0)->op, HF_STORE_DELETE);
	answer_all(&actor);
	assert_int_equal(map_objects(NULL), 1);
	actor_end(&actor, false);
}

/* Leaves that never change move out of map objects that are nearly dead. */
static void the_number_of_map_objects_is_bounded(void **state)
{
	(void)state;
	actor_open_now(&actor, 1, 0);
	for (unsigned i = 0; i < PLACES; i++) {
		upload_block(&actor, i);
		assert_int_equal(actor_checkpoint(&actor), 0);
	}
	for (unsigned i = 0; i < 200; i++) {
		upload_block(&actor, i % 2);
		assert_int_equal(actor_checkpoint(&actor), 0);
		answer_all(&actor);
	}
	assert_in_range(map_objects(NULL), 1, 2 * PLACES);
	actor_end(&actor, false);
	open_fresh(&actor, 0);
	assert_int_equal(verify(&actor), 0);
	actor_end(&actor, false);
}

static void a_store_without_conditions_does(void **state)
{
	(void)state;
	store.no_conditional_put = true;
	actor_open_now(&actor, 1, 0);
	write_places(&actor, 9);
	assert_int_equal(actor_checkpoint(&actor), 0);
	actor_end(&actor, false);
	open_fresh(&actor, 1);
	assert_int_equal(actor.open.headers_read, 0);
	assert_int_equal(verify(&actor), 0);
	actor_end(&actor, false);
	store.no_conditional_put = false;
}

/* ---- Loading --------------------------------------------------------------------------------- */

static void make_checkpointed(void)
{
	actor_open_now(&actor, 1, 0);
	write_places(&actor, 2 * PLACES);
	assert_int_equal(actor_checkpoint(&actor), 0);
	actor_end(&actor, false);
}

static void without_memory_every_leaf_comes_again(void **state)
{
	struct hf_remote_maps *none = hf_remote_maps_create(1);

	(void)state;
	make_checkpointed();
	actor_init(&actor, &store, 3);
	actor.maps = none;
	actor_open_now(&actor, 1, 0);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(verify(&actor), 0);
		write_places(&actor, 3); /* into absent leaves */
	}
	assert_int_equal(actor_checkpoint(&actor), 0);
	assert_int_equal(verify(&actor), 0);
	actor_end(&actor, false);
	hf_remote_maps_destroy(none);
}

static void loaded(struct hf_remote_load *load)
{
	*(bool *)load->owner = true;
}

static void a_load_ends_by_its_deadline(void **state)
{
	bool done = false;
	struct hf_remote_load load = {.length = 1, .done = loaded, .owner = &done};

	(void)state;
	make_checkpointed();
	open_fresh(&actor, 0);
	load.deadline_ns = actor.env.now_ns + 2 * HF_NS_PER_S;
	hf_remote_load(actor.remote, &load);
	while (!done) {
		if (mem_pending(&actor.env, 0))
			mem_answer(&actor.env, mem_pending(&actor.env, 0), MEM_REFUSED);
		else
			assert_true(mem_next_timer(&actor.env));
	}
	assert_int_equal(load.status, HF_ETIMEDOUT);
	assert_int_equal(actor.env.now_ns, load.deadline_ns);
	assert_int_equal(verify(&actor), 0);
	actor_end(&actor, false);
}

/* A successor deletes what its own roots do not need. Who still uses it finds out that it is
 * fenced, and does not report damage. */
static void a_leaf_that_a_successor_replaced_is_no_damage(void **state)
{
	struct actor next;

	(void)state;
	make_checkpointed();
	open_fresh(&actor, 1);
	open_fresh(&next, 2);
	for (unsigned i = 0; i < 4; i++) {
		write_places(&next, PLACES);
		assert_int_equal(actor_checkpoint(&next), 0);
		answer_all(&next);
	}
	assert_int_equal(verify(&actor), HF_EFENCED);
	assert_true(actor.fenced);
	assert_null(hf_remote_map_damaged(actor.remote));
	actor_end(&actor, false);
	actor_end(&next, false);
}

/* ---- Damage ---------------------------------------------------------------------------------- */

/* Opens and reads everything; what cannot be had is had from the headers. True if the damage was
 * noticed. */
static bool survives(uint64_t epoch)
{
	bool noticed;
	int err;

	open_fresh(&actor, epoch);
	noticed = actor.open.map_damaged;
	err = verify(&actor);
	if (err) {
		assert_int_equal(err, HF_ECORRUPT);
		assert_non_null(hf_remote_map_damaged(actor.remote));
		noticed = true;
		actor_end(&actor, false);
		actor_init(&actor, &store, 4);
		actor.rebuild_map = true;
		actor_open_now(&actor, 0, 0);
		assert_int_equal(verify(&actor), 0);
	}
	actor_end(&actor, false);
	return noticed;
}

static void every_flipped_bit_is_noticed(void **state)
{
	struct mem_object *object;
	const char *name = NULL;

	(void)state;
	make_checkpointed();
	assert_int_equal(map_objects(&name), 1);
	object = mem_find(&store, name);
	assert_false(survives(0));
	for (size_t bit = 0; bit < object->length * 8; bit++) {
		object->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_true(survives(0));
		object->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	print_message("%zu bits\n", object->length * 8);
	assert_false(survives(0));
}

static void every_cut_is_noticed(void **state)
{
	struct mem_object *object;
	const char *name = NULL;
	size_t length;

	(void)state;
	make_checkpointed();
	assert_int_equal(map_objects(&name), 1);
	object = mem_find(&store, name);
	length = object->length;
	for (object->length = 0; object->length < length; object->length++)
		assert_true(survives(0));
	assert_false(survives(0));
}

/* A holder that finds damage, and one that opens on it, writes a good one afterwards. */
static void a_new_checkpoint_heals(void **state)
{
	const char *name = NULL;

	(void)state;
	make_checkpointed();
	open_fresh(&actor, 1); /* its base names the checkpoint */
	actor_end(&actor, false);
	map_objects(&name);
	mem_remove(&store, name);
	open_fresh(&actor, 1);
	assert_true(actor.open.map_damaged);
	assert_int_equal(verify(&actor), 0);
	assert_int_equal(actor_checkpoint(&actor), 0);
	actor_end(&actor, false);
	assert_false(survives(1));

	map_objects(&name);
	mem_find(&store, name)->bytes[mem_find(&store, name)->length - 1] ^= 1;
	open_fresh(&actor, 1);
	assert_int_equal(verify(&actor), HF_ECORRUPT);
	upload_block(&actor, 2);
	assert_int_equal(actor_checkpoint(&actor), HF_ECORRUPT); /* not on top of that */
	actor_end(&actor, false);
	actor_init(&actor, &store, 6);
	actor.rebuild_map = true;
	actor_open_now(&actor, 1, 0);
	assert_int_equal(actor_checkpoint(&actor), 0);
	answer_all(&actor);
	actor_end(&actor, false);
	assert_false(survives(0));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(opening_reads_only_what_is_newer),
		TEST(every_start_finds_what_was_written),
		TEST(a_root_of_another_history_is_refused),
		TEST(the_rule_is_kept),
		TEST(superseded_ones_go_when_the_new_root_counts),
		TEST(the_number_of_map_objects_is_bounded),
		TEST(a_store_without_conditions_does),
		TEST(without_memory_every_leaf_comes_again),
		TEST(a_load_ends_by_its_deadline),
		TEST(a_leaf_that_a_successor_replaced_is_no_damage),
		TEST(every_flipped_bit_is_noticed),
		TEST(every_cut_is_noticed),
		TEST(a_new_checkpoint_heals),
	};

	hf_log_init("map_test");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
