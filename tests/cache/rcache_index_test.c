/* Promises of the read cache's policy: a scan does not evict a hot set, one volume that scans does
 * not evict another's working set, volumes that need room end with equal shares and one has all of
 * it while nobody else needs any, maps go last; and the bookkeeping agrees with a plain model. */
#include "cache/rcache_index.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bytes.h"

#define CHUNK  HF_READ_CACHE_CHUNK_MAX
#define SLOTS  512u
#define SECOND 10u

static struct hf_rcache_index indx;
static uint64_t seed;

static uint32_t draw(uint32_t bound)
{
	uint64_t z = seed += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return (uint32_t)((z ^ (z >> 31)) % bound);
}

static void none(void *context, uint32_t number)
{
	(void)context;
	(void)number;
}

static void begin(uint64_t limit_bytes, uint32_t slots)
{
	memset(&indx, 0, sizeof indx);
	assert_int_equal(hf_rcache_index_init(&indx, limit_bytes, slots), 0);
	indx.evicted = none;
	if (slots)
		assert_int_equal(hf_rcache_index_restore(&indx, 0), 0);
	seed = 1;
}

static int setup(void **state)
{
	(void)state;
	begin((uint64_t)SLOTS * CHUNK, SLOTS);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	hf_rcache_index_free(&indx);
	return 0;
}

static struct hf_read_cache_key key_of(uint64_t volume, uint32_t number, uint32_t class)
{
	struct hf_read_cache_key key = {.volume = volume, .chunk = number, .class = class};

	hf_put_le64(key.tag, volume * 0x9e3779b97f4a7c15u);
	return key;
}

/* As a read does: a use, or else it is brought. True for a hit. */
static bool touch(uint64_t volume, uint32_t number, uint32_t now)
{
	struct hf_read_cache_key key = key_of(volume, number, HF_READ_CACHE_DATA);
	uint32_t at = hf_rcache_index_find(&indx, &key);

	if (at != HF_RCACHE_NONE) {
		hf_rcache_index_use(&indx, at, now);
		return true;
	}
	assert_int_not_equal(hf_rcache_index_insert(&indx, &key, CHUNK, now), HF_RCACHE_NONE);
	return false;
}

static unsigned held(uint64_t volume, uint32_t from, uint32_t to)
{
	unsigned count = 0;

	for (uint32_t i = from; i < to; i++) {
		struct hf_read_cache_key key = key_of(volume, i, HF_READ_CACHE_DATA);

		count += hf_rcache_index_find(&indx, &key) != HF_RCACHE_NONE;
	}
	return count;
}

/* ---- Against LRU ----------------------------------------------------------------------------- */

struct lru {
	uint64_t keys[SLOTS], used[SLOTS], clock;
};

static bool lru_touch(struct lru *lru, uint64_t key)
{
	unsigned oldest = 0;

	lru->clock++;
	for (unsigned i = 0; i < SLOTS; i++) {
		if (lru->used[i] && lru->keys[i] == key) {
			lru->used[i] = lru->clock;
			return true;
		}
		if (lru->used[i] < lru->used[oldest])
			oldest = i;
	}
	lru->keys[oldest] = key;
	lru->used[oldest] = lru->clock;
	return false;
}

/* A hot set of 80 % of the cache beside a scan that reads each of its chunks in 16 pieces, eight
 * chunks of the scan for each hot one. */
static void a_scan_does_not_evict_what_is_hot(void **state)
{
	static struct lru lru;
	unsigned ours = 0, theirs = 0, reads = 0;
	uint32_t now = 0, scanned = 0;

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		uint32_t number = draw(SLOTS * 8 / 10);
		bool counts = i > 5000;
		bool hit = touch(1, number, now), lru_hit = lru_touch(&lru, number);

		now += i % 4 == 0;
		reads += counts;
		ours += counts && hit;
		theirs += counts && lru_hit;
		if (i < 2500)
			continue;
		for (unsigned scan = 0; scan < 8; scan++, scanned++) {
			lru_touch(&lru, 1000000 + scanned);
			for (unsigned piece = 0; piece < 16; piece++)
				touch(1, 1000000 + scanned, now);
		}
	}
	printf("hits of the hot set during a scan: %.3f, LRU: %.3f\n", (double)ours / reads,
	       (double)theirs / reads);
	assert_true(ours > reads * 95ull / 100);
	assert_true(theirs < reads * 60ull / 100);
}

/* ---- Shares ---------------------------------------------------------------------------------- */

static void warm(uint64_t volume, uint32_t count, uint32_t *now)
{
	for (unsigned round = 0; round < 6; round++, *now += 2 * SECOND)
		for (uint32_t i = 0; i < count; i++)
			touch(volume, i, *now);
}

static void a_scan_of_one_volume_leaves_the_others_alone(void **state)
{
	uint32_t now = 0;

	(void)state;
	warm(1, SLOTS * 7 / 10, &now);
	for (uint32_t i = 0; i < 20 * SLOTS; i++) {
		touch(2, i, now);
		now += i % 50 == 0;
		touch(1, draw(SLOTS * 7 / 10), now); /* it goes on working */
	}
	assert_true(held(1, 0, SLOTS * 7 / 10) > SLOTS * 7 / 10 * 98 / 100);
}

static void one_may_have_all_while_nobody_needs_any(void **state)
{
	uint32_t now = 0;

	(void)state;
	warm(1, SLOTS, &now);
	assert_int_equal(held(1, 0, SLOTS), SLOTS);
}

static void who_needs_room_ends_with_an_equal_share(void **state)
{
	uint32_t now = 0;
	unsigned first, second;

	(void)state;
	warm(1, SLOTS, &now);
	for (unsigned i = 0; i < 200000; i++) {
		touch(1 + i % 2, draw(SLOTS), now);
		now += i % 40 == 0;
	}
	first = held(1, 0, SLOTS);
	second = held(2, 0, SLOTS);
	printf("two volumes that each want all: %u and %u of %u\n", first, second, SLOTS);
	assert_true(first > SLOTS * 2 / 5 && second > SLOTS * 2 / 5);
}

/* A volume that is not used any more gives way, slowly; one that was forgotten gives way first. */
static void who_is_gone_gives_way(void **state)
{
	uint32_t now = 0;

	(void)state;
	warm(1, SLOTS / 2, &now);
	warm(2, SLOTS / 2, &now);
	for (unsigned i = 0; i < 200000; i++) {
		touch(2, draw(SLOTS), now);
		now += i % 40 == 0;
	}
	assert_true(held(2, 0, SLOTS) > SLOTS * 7 / 10);
	hf_rcache_index_forget(&indx, 2);
	for (uint32_t i = 0; i < SLOTS; i++)
		touch(3, i, now);
	assert_int_equal(held(2, 0, SLOTS), 0);
}

static void maps_go_last(void **state)
{
	uint32_t now = 0;
	unsigned kept = 0;

	(void)state;
	for (uint32_t i = 0; i < SLOTS / 4; i++) {
		struct hf_read_cache_key key = key_of(1, i, HF_READ_CACHE_MAP);

		hf_rcache_index_insert(&indx, &key, CHUNK, now);
	}
	for (uint32_t i = 0; i < 10 * SLOTS; i++, now++) {
		touch(1 + i % 3, draw(SLOTS), now);
		touch(9, i, now);
	}
	for (uint32_t i = 0; i < SLOTS / 4; i++) {
		struct hf_read_cache_key key = key_of(1, i, HF_READ_CACHE_MAP);

		kept += hf_rcache_index_find(&indx, &key) != HF_RCACHE_NONE;
	}
	assert_int_equal(kept, SLOTS / 4);
	for (uint32_t i = 0; i < 4 * SLOTS; i++) { /* but they do not take all of it */
		struct hf_read_cache_key key = key_of(2, i, HF_READ_CACHE_MAP);

		hf_rcache_index_insert(&indx, &key, CHUNK, now);
	}
	assert_true(indx.class_bytes[0] >= indx.limit_bytes * 4 / 10);
}

/* ---- The bookkeeping ------------------------------------------------------------------------- */

#define MODEL 300u

static struct {
	bool there;
	uint32_t number, length;
} model[MODEL];

static uint32_t locked = HF_RCACHE_NONE;

static void forget_in_model(void *context, uint32_t number)
{
	(void)context;
	assert_int_not_equal(number, locked);
	for (unsigned i = 0; i < MODEL; i++)
		if (model[i].there && model[i].number == number) {
			model[i].there = false;
			return;
		}
	fail_msg("entry %u is unknown", number);
}

static void check_model(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < MODEL; i++) {
		struct hf_read_cache_key key = key_of(i % 5, i, 1 + i % 3 / 2);
		uint32_t at = hf_rcache_index_find(&indx, &key);

		assert_int_equal(at, model[i].there ? model[i].number : HF_RCACHE_NONE);
		if (model[i].there)
			assert_int_equal(indx.entries[at].length, model[i].length);
		count += model[i].there;
	}
	assert_int_equal(indx.count, count);
	assert_true(indx.used_bytes <= indx.limit_bytes);
	assert_int_equal(indx.class_bytes[0] + indx.class_bytes[1], indx.used_bytes);
}

static void run_model(uint64_t limit_bytes, uint32_t slots)
{
	begin(limit_bytes, slots);
	indx.evicted = forget_in_model;
	memset(model, 0, sizeof model);
	locked = HF_RCACHE_NONE;
	for (uint32_t step = 0; step < 20000; step++) {
		unsigned i = draw(MODEL);
		struct hf_read_cache_key key = key_of(i % 5, i, 1 + i % 3 / 2);

		if (model[i].there && draw(10) > 0) {
			hf_rcache_index_use(&indx, model[i].number, step / 20);
		} else if (model[i].there) {
			if (locked == model[i].number)
				locked = HF_RCACHE_NONE;
			model[i].there = false;
			hf_rcache_index_remove(&indx, model[i].number);
		} else {
			model[i].length = draw(3) ? CHUNK : 1 + draw(CHUNK);
			model[i].number =
				hf_rcache_index_insert(&indx, &key, model[i].length, step / 20);
			model[i].there = model[i].number != HF_RCACHE_NONE;
			if (model[i].there && locked == HF_RCACHE_NONE) {
				locked = model[i].number;
				indx.entries[locked].locked = true;
			}
		}
		if (draw(500) == 0)
			hf_rcache_index_forget(&indx, draw(5));
		if (step % 100 == 0)
			check_model();
	}
	hf_rcache_index_free(&indx);
}

static void it_agrees_with_a_model(void **state)
{
	(void)state;
	run_model(40 * CHUNK, 40);
	run_model(3 * CHUNK, 3);
	run_model(CHUNK, 1);
	run_model(40 * CHUNK, 0);
	run_model(100000, 0);
	run_model(0, 0);
}

/* A chunk of the disk costs so much memory (docs/design/read-cache.md). */
static void an_index_is_small(void **state)
{
	(void)state;
	printf("%.1f bytes of index for each chunk, and 68 for its sums\n",
	       (double)hf_rcache_index_bytes(&indx) / SLOTS);
	assert_true(hf_rcache_index_bytes(&indx) <= SLOTS * 80u);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_scan_does_not_evict_what_is_hot),
		TEST(a_scan_of_one_volume_leaves_the_others_alone),
		TEST(one_may_have_all_while_nobody_needs_any),
		TEST(who_needs_room_ends_with_an_equal_share),
		TEST(who_is_gone_gives_way),
		TEST(maps_go_last),
		TEST(an_index_is_small),
		cmocka_unit_test(it_agrees_with_a_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
