/* Leaves and pages of the map come from the read cache when it has them: the store is asked once
 * for each. What the cache gives is checked like what the store gives, and is asked of the store
 * when it is wrong or gone; that is no damage (invariant 8). */
#include "cache/rcache.h"
#include "tests/remote/actor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define LEAVES 3u

static struct mem_store store;
static struct actor actor;
static struct hf_remote_maps *maps;

static void done_upload(struct hf_remote_upload *upload)
{
	*(bool *)upload->owner = true;
}

static void done_checkpoint(struct hf_remote_checkpoint *checkpoint)
{
	*(bool *)checkpoint->owner = true;
}

struct loading {
	struct hf_remote_load load;
	bool done;
};

/* While nothing else may be kept, a leaf is there in this moment. */
static void done_load(struct hf_remote_load *load)
{
	struct loading *loading = hf_container_of(load, struct loading, load);
	struct hf_extent extent;
	uint64_t leaf;

	loading->done = true;
	if (load->status)
		return;
	assert_int_equal(hf_extmap_look(hf_remote_map(actor.remote), load->lba, load->length,
					&extent, &leaf),
			 HF_EXTMAP_FOUND);
	assert_int_equal(extent.lba, load->lba);
	assert_int_equal(extent.place.unit, 2 * hf_extmap_leaf_of(load->lba));
}

/* A checkpoint of three leaves of two runs each. */
static void make_volume(void)
{
	struct hf_object_extent extents[2 * LEAVES];
	uint8_t payload[2 * LEAVES * 512] = {1};
	bool uploaded = false, written = false;
	struct hf_remote_upload upload = {
		.first_sequence = 1,
		.last_sequence = 1,
		.extents = extents,
		.extent_count = 2 * LEAVES,
		.payload = payload,
		.payload_bytes = sizeof payload,
		.done = done_upload,
		.owner = &uploaded,
	};
	struct hf_remote_checkpoint checkpoint = {.done = done_checkpoint, .owner = &written};

	for (unsigned i = 0; i < 2 * LEAVES; i++)
		extents[i] = (struct hf_object_extent){
			.lba = i / 2 * (uint64_t)HF_EXTMAP_LEAF_UNITS + i % 2 * 100,
			.length = 1,
			.kind = HF_EXTENT_DATA,
			.payload_unit = i};
	actor_init(&actor, &store, 1);
	actor.size_bytes = (uint64_t)LEAVES * HF_EXTMAP_LEAF_UNITS * 512;
	actor_open_now(&actor, 1, 0);
	hf_remote_upload(actor.remote, &upload);
	actor_run(&actor, &uploaded);
	actor_answer_looks(&actor);
	hf_remote_checkpoint(actor.remote, &checkpoint);
	actor_run(&actor, &written);
	assert_int_equal(checkpoint.status, 0);
	actor_end(&actor, false);
}

/* A reader that keeps nothing of the map in memory for longer than it must. */
static void open_reader(struct hf_read_cache *cache)
{
	maps = hf_remote_maps_create(1);
	actor.maps = maps;
	actor_open_with(&actor, 0, cache);
	actor_run(&actor, &actor.opened);
	assert_int_equal(actor.open.status, 0);
	assert_int_equal(actor.open.headers_read, 0);
}

/* Loads a leaf, which is absent; returns how often the store was asked. */
static unsigned load(uint64_t leaf, void (*meanwhile)(void))
{
	struct loading loading = {
		.load = {.lba = leaf * HF_EXTMAP_LEAF_UNITS, .length = 101, .done = done_load}};
	unsigned gets = store.gets;

	assert_int_equal(hf_extmap_leaf_state(hf_remote_map(actor.remote), leaf),
			 HF_EXTMAP_LEAF_ABSENT);
	hf_remote_load(actor.remote, &loading.load);
	while (!loading.done && meanwhile) {
		struct hf_store_io *io;

		mem_settle(&actor.env);
		meanwhile();
		mem_settle(&actor.env);
		io = mem_pending(&actor.env, 0);
		if (io)
			mem_answer(&actor.env, io, MEM_OK);
	}
	actor_run(&actor, &loading.done);
	assert_int_equal(loading.load.status, 0);
	return store.gets - gets;
}

static int setup(void **state)
{
	(void)state;
	make_volume();
	actor_init(&actor, &store, 2);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	assert_null(hf_remote_map_damaged(actor.remote));
	actor_end(&actor, false);
	hf_remote_maps_destroy(maps);
	mem_store_free(&store);
	return 0;
}

static void test_each_block_is_fetched_once(void **state)
{
	const struct hf_rcache_config config = {
		.env = &actor.env.env, .disk = HF_RCACHE_NO_DISK, .memory_bytes = 1 << 20};
	struct hf_rcache *cache = hf_rcache_create(&config);

	(void)state;
	open_reader(hf_rcache_table(cache));
	assert_int_equal(load(0, NULL), 2); /* the page, the leaf */
	for (uint64_t leaf = 1; leaf < LEAVES; leaf++)
		assert_true(load(leaf, NULL) <= 1);
	for (unsigned i = 0; i < 4 * LEAVES; i++)
		assert_int_equal(load(i % LEAVES, NULL), 0);
	teardown(NULL);
	hf_rcache_destroy(cache);
	setup(NULL);
	open_reader(NULL);
	assert_true(load(0, NULL) > 0 && load(1, NULL) > 0 && load(0, NULL) > 0);
}

/* ---- A cache that cannot be trusted -----------------------------------------------------------
 */

static const uint8_t lies[HF_READ_CACHE_CHUNK_MAX];
static struct hf_read_cache_get *asked;
static enum hf_read_cache_found answer;
static unsigned looks;

static enum hf_read_cache_found bad_look(struct hf_read_cache *cache, struct hf_read_cache_get *get)
{
	(void)cache;
	looks++;
	get->bytes = lies;
	return answer;
}

static bool bad_has(const struct hf_read_cache *cache, const struct hf_read_cache_key *key)
{
	(void)cache;
	(void)key;
	return false;
}

static void bad_get(struct hf_read_cache *cache, struct hf_read_cache_get *get)
{
	(void)cache;
	asked = get;
}

static void bad_put(struct hf_read_cache *cache, const struct hf_read_cache_key *key,
		    const void *bytes, size_t length)
{
	(void)cache;
	(void)bytes;
	assert_int_equal(key->class, HF_READ_CACHE_MAP);
	assert_true(length > 0);
}

static const struct hf_read_cache_ops bad_ops = {bad_look, bad_has, bad_get, bad_put};
static struct hf_read_cache bad_cache = {&bad_ops};

static void gone(void)
{
	struct hf_read_cache_get *get = asked;

	asked = NULL;
	if (!get)
		return;
	get->status = HF_ENOENT;
	get->bytes = NULL;
	get->done(get);
}

static void test_wrong_bytes_of_the_cache_are_no_damage(void **state)
{
	(void)state;
	answer = HF_READ_CACHE_HERE;
	looks = 0;
	open_reader(&bad_cache);
	assert_int_equal(load(0, NULL), 2);
	assert_int_equal(looks, 2);
}

static void test_what_the_cache_lost_comes_from_the_store(void **state)
{
	(void)state;
	answer = HF_READ_CACHE_ON_DISK;
	looks = 0;
	open_reader(&bad_cache);
	assert_int_equal(load(0, gone), 2);
	assert_int_equal(looks, 2);
}

/* Closing waits for the cache's disk, and asks the store for nothing more. */
static void test_closing_waits_for_the_cache(void **state)
{
	struct loading loading = {.load = {.length = 1, .done = done_load}};
	unsigned gets;

	(void)state;
	answer = HF_READ_CACHE_ON_DISK;
	open_reader(&bad_cache);
	gets = store.gets;
	hf_remote_load(actor.remote, &loading.load);
	mem_settle(&actor.env);
	assert_non_null(asked);
	assert_null(hf_remote_map_damaged(actor.remote));
	actor_close(&actor);
	mem_settle(&actor.env);
	assert_false(actor.closed);
	gone();
	actor_run(&actor, &actor.closed);
	assert_true(loading.done && loading.load.status == HF_ECANCELED);
	assert_int_equal(store.gets, gets);
	hf_remote_maps_destroy(maps);
	mem_store_free(&store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_each_block_is_fetched_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrong_bytes_of_the_cache_are_no_damage, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_what_the_cache_lost_comes_from_the_store,
						setup, teardown),
		cmocka_unit_test_setup(test_closing_waits_for_the_cache, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
