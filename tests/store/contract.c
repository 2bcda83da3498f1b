/* The contract of struct hf_store_io, asked of every kind of store: `store_contract dir` runs it on
 * a directory, `store_contract env` on the endpoint that the environment names (a real RADOS
 * Gateway, see s3_contract). Every name lies under one random prefix, so runs do not meet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "tests/store/store_test.h"

static struct store_test test;
static char base[64];

/* A name of this run; several static buffers, so that a call can use some at once. */
static const char *at(const char *rest)
{
	static char names[4][HF_STORE_NAME_MAX + 1];
	static unsigned next;
	char *name = names[next++ % 4];

	snprintf(name, HF_STORE_NAME_MAX + 1, "%s%s", base, rest);
	return name;
}

static void expect_content(const char *name, const void *data, size_t length)
{
	void *body;
	size_t body_length;

	assert_int_equal(store_test_get(&test, name, 0, 0, &body, &body_length, 0), 0);
	assert_int_equal(body_length, length);
	assert_memory_equal(body, data, length);
	free(body);
}

/* A completed PUT is what a GET gives, of every size, and a later PUT replaces it whole. */
static void put_then_get(void **state)
{
	static const size_t sizes[] = {0, 1, 511, 512, 4096, 65537, 5u << 20};
	uint8_t *data = malloc(5u << 20);

	(void)state;
	for (size_t i = 0; i < 5u << 20; i++)
		data[i] = (uint8_t)(i * 31 + (i >> 8));
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		const char *name = at("sizes/object");

		assert_int_equal(store_test_put(&test, name, data, sizes[i], false, 0), 0);
		expect_content(name, data, sizes[i]);
	}
	assert_int_equal(store_test_put(&test, at("sizes/object"), "short", 5, false, 0), 0);
	expect_content(at("sizes/object"), "short", 5);
	free(data);
}

/* GET of a range: inside, cut at the end, to the end; past the end is HF_ERANGE. */
static void ranges(void **state)
{
	static const struct {
		uint64_t start;
		size_t length;
		int status;
		const char *expected;
	} rows[] = {
		{0, 4, 0, "0123"},      {3, 2, 0, "34"},        {8, 100, 0, "89"},
		{9, 1, 0, "9"},         {4, 0, 0, "456789"},    {0, 0, 0, "0123456789"},
		{10, 1, HF_ERANGE, ""}, {10, 0, HF_ERANGE, ""}, {1000, 5, HF_ERANGE, ""},
	};

	(void)state;
	assert_int_equal(store_test_put(&test, at("range"), "0123456789", 10, false, 0), 0);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		void *body;
		size_t length;
		int status = store_test_get(&test, at("range"), rows[i].start, rows[i].length,
					    &body, &length, 0);

		assert_int_equal(status, rows[i].status);
		assert_int_equal(length, strlen(rows[i].expected));
		if (length)
			assert_memory_equal(body, rows[i].expected, length);
		free(body);
	}
	assert_int_equal(store_test_put(&test, at("empty"), NULL, 0, false, 0), 0);
	void *body;
	size_t length;
	assert_int_equal(store_test_get(&test, at("empty"), 0, 1, &body, &length, 0), HF_ERANGE);
}

/* What is not there is HF_ENOENT for GET and success for DELETE. */
static void absent(void **state)
{
	void *body;
	size_t length;

	(void)state;
	assert_int_equal(store_test_get(&test, at("no/such"), 0, 0, &body, &length, 0), HF_ENOENT);
	assert_int_equal(store_test_get(&test, at("no/such"), 5, 9, &body, &length, 0), HF_ENOENT);
	assert_null(body);
	assert_int_equal(store_test_delete(&test, at("no/such")), 0);
	assert_int_equal(store_test_put(&test, at("gone/a"), "x", 1, false, 0), 0);
	assert_int_equal(store_test_delete(&test, at("gone/a")), 0);
	assert_int_equal(store_test_delete(&test, at("gone/a")), 0);
	assert_int_equal(store_test_get(&test, at("gone/a"), 0, 0, &body, &length, 0), HF_ENOENT);
}

/* A conditional PUT makes a name once and leaves what exists alone; after a DELETE it may again. */
static void conditional_put(void **state)
{
	(void)state;
	assert_int_equal(store_test_put(&test, at("claims/1"), "first", 5, true, 0), 0);
	assert_int_equal(store_test_put(&test, at("claims/1"), "other", 5, true, 0), HF_EEXIST);
	expect_content(at("claims/1"), "first", 5);
	assert_int_equal(store_test_delete(&test, at("claims/1")), 0);
	assert_int_equal(store_test_put(&test, at("claims/1"), "other", 5, true, 0), 0);
	expect_content(at("claims/1"), "other", 5);
}

#define RACERS 8
static struct racer {
	struct hf_store_io io;
	uint64_t content;
} racers[RACERS];
static unsigned racers_done;
static bool race_over;

static void racer_done(struct hf_store_io *io)
{
	(void)io;
	race_over = ++racers_done == RACERS;
}

/* Of racing conditional PUTs of one name exactly one wins, and its content stays (invariant 5). */
static void conditional_put_race(void **state)
{
	(void)state;
	for (int round = 0; round < 5; round++) {
		char name[32];
		int winner = -1;

		snprintf(name, sizeof name, "race/%d", round);
		racers_done = 0;
		race_over = false;
		for (int i = 0; i < RACERS; i++) {
			racers[i] = (struct racer){.content = (uint64_t)i + 1};
			racers[i].io.op = HF_STORE_PUT;
			racers[i].io.data = &racers[i].content;
			racers[i].io.length = sizeof racers[i].content;
			racers[i].io.if_absent = true;
			racers[i].io.done = racer_done;
			store_test_name(&racers[i].io, at(name));
			hf_store_submit(test.store, &racers[i].io);
		}
		assert_true(store_test_wait(&test, &race_over));
		for (int i = 0; i < RACERS; i++) {
			if (racers[i].io.status == 0) {
				assert_int_equal(winner, -1);
				winner = i;
			} else {
				assert_int_equal(racers[i].io.status, HF_EEXIST);
			}
		}
		assert_true(winner >= 0);
		expect_content(at(name), &racers[winner].content, sizeof racers[0].content);
	}
}

/* '-' and '.' sort below '/', digits above: names are in the byte order of the whole name. */
static const char *const listed[] = {
	"list/a-b", "list/a.c/x", "list/a/b", "list/a/b-", "list/a/c/d", "list/a0", "list/b",
};
#define LISTED (sizeof listed / sizeof listed[0])

static void expect_list(const char *prefix, const char *after, unsigned limit, size_t first,
			size_t count, bool more)
{
	struct hf_store_io io;

	assert_int_equal(store_test_list(&test, &io, prefix, after, limit), 0);
	assert_int_equal(io.name_count, count);
	for (size_t i = 0; i < count; i++) {
		assert_string_equal(io.names[i].name, at(listed[first + i]));
		assert_int_equal(io.names[i].size_bytes, first + i);
	}
	assert_int_equal(io.more, more);
	free(io.names);
}

/* LIST: byte order, prefixes that end anywhere, `after` exclusive, `limit` and `more`, sizes. */
static void list(void **state)
{
	(void)state;
	for (size_t i = LISTED; i-- > 0;)
		assert_int_equal(store_test_put(&test, at(listed[i]), "0123456789", i, false, 0),
				 0);
	expect_list(at("list/"), "", 0, 0, LISTED, false);
	expect_list(at("list"), "", 0, 0, LISTED, false);
	expect_list(at("list/a/"), "", 0, 2, 3, false);
	expect_list(at("list/a"), "", 0, 0, 6, false);
	expect_list(at("list/a/b"), "", 0, 2, 2, false);
	expect_list(at("list/b"), "", 0, 6, 1, false);
	expect_list(at("list/none"), "", 0, 0, 0, false);
	for (size_t after = 0; after < LISTED; after++)
		expect_list(at("list/"), at(listed[after]), 0, after + 1, LISTED - after - 1,
			    false);
	expect_list(at("list/"), at("list/a/"), 0, 2, 5, false);
	expect_list(at("list/"), at("list/a/bb"), 0, 4, 3, false);
	expect_list(at("list/a/"), at("zzz"), 0, 0, 0, false);
	expect_list(at("list/a/"), "", 2, 2, 2, true);
	expect_list(at("list/a/"), "", 3, 2, 3, false);
	expect_list(at("list/a/"), at("list/a/b"), 1, 3, 1, true);
}

/* A LIST shows every completed PUT and no deleted name, at once (strong reads). */
static void list_is_strong(void **state)
{
	struct hf_store_io io;
	char name[32];

	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		snprintf(name, sizeof name, "strong/%02u", i);
		assert_int_equal(store_test_put(&test, at(name), name, 4, true, 0), 0);
		assert_int_equal(store_test_list(&test, &io, at("strong/"), "", 0), 0);
		assert_int_equal(io.name_count, i + 1);
		free(io.names);
	}
	for (unsigned i = 0; i < 20; i++) {
		snprintf(name, sizeof name, "strong/%02u", i);
		assert_int_equal(store_test_delete(&test, at(name)), 0);
		assert_int_equal(store_test_list(&test, &io, at("strong/"), "", 0), 0);
		assert_int_equal(io.name_count, 19 - i);
		free(io.names);
	}
}

/* Names outside the contract are refused, before anything is touched (invariant 9). */
static void bad_names(void **state)
{
	static const char *const names[] = {"",    "/a",  "a/",   "a//b",     "../a", "a/../b",
					    "a/.", "a b", "a\\b", "\xc3\xa4", "a?b",  "a%2fb"};
	char deep[64] = "";

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		void *body;
		size_t length;

		assert_int_equal(store_test_put(&test, names[i], "x", 1, false, 0), HF_EINVAL);
		assert_int_equal(store_test_get(&test, names[i], 0, 0, &body, &length, 0),
				 HF_EINVAL);
		assert_int_equal(store_test_delete(&test, names[i]), HF_EINVAL);
	}
	for (int i = 0; i < 17; i++)
		strcat(deep, i ? "/a" : "a");
	assert_int_equal(store_test_put(&test, deep, "x", 1, false, 0), HF_EINVAL);
	assert_int_equal(store_test_put(&test, at("big"), "x", 1ull << 40, false, 0), HF_ETOOBIG);
	/* The longest name there may be. */
	char longest[HF_STORE_NAME_MAX + 1];
	memset(longest, 'n', sizeof longest);
	memcpy(longest, base, strlen(base));
	longest[HF_STORE_NAME_MAX] = '\0';
	assert_int_equal(store_test_put(&test, longest, "x", 1, false, 0), 0);
	expect_content(longest, "x", 1);
	assert_int_equal(store_test_delete(&test, longest), 0);
}

static int probe_status = -1;
static bool probe_over;
static struct hf_store_features probed_features;

static void probed(void *context, int status, const struct hf_store_features *features)
{
	(void)context;
	probe_status = status;
	probed_features = *features;
	probe_over = true;
}

/* The probe finds that conditional PUT works, and leaves nothing behind. */
static void probe(void **state)
{
	struct hf_store_io io;

	(void)state;
	hf_store_probe(test.store, probed, NULL);
	assert_true(store_test_wait(&test, &probe_over));
	assert_int_equal(probe_status, 0);
	assert_true(probed_features.conditional_put);
	assert_int_equal(store_test_list(&test, &io, ".holdfast-probe/", "", 0), 0);
	assert_int_equal(io.name_count, 0);
	free(io.names);
}

/* More operations than connections: all are done, and close ends what is under way. */
#define MANY 200
static struct hf_store_io many[MANY];
static unsigned many_done, many_canceled;
static bool many_over;

static void one_of_many(struct hf_store_io *io)
{
	free(io->body);
	many_canceled += io->status == HF_ECANCELED;
	many_over = ++many_done == MANY;
}

static void submit_many(void)
{
	many_done = many_canceled = 0;
	many_over = false;
	for (int i = 0; i < MANY; i++) {
		many[i] = (struct hf_store_io){.op = HF_STORE_GET, .done = one_of_many};
		store_test_name(&many[i], at("many"));
		hf_store_submit(test.store, &many[i]);
	}
}

static void many_at_once(void **state)
{
	(void)state;
	assert_int_equal(store_test_put(&test, at("many"), "content", 7, false, 0), 0);
	submit_many();
	assert_true(store_test_wait(&test, &many_over));
	for (int i = 0; i < MANY; i++)
		assert_int_equal(many[i].status, 0);
}

/* A deadline that has passed ends the operation without it having to reach the store. */
static void deadline_passed(void **state)
{
	struct hf_store_io *io = &many[0];

	(void)state;
	*io = (struct hf_store_io){.op = HF_STORE_GET, .done = one_of_many, .deadline_ns = 1};
	store_test_name(io, at("many"));
	many_done = MANY - 1;
	many_over = false;
	hf_store_submit(test.store, io);
	assert_true(store_test_wait(&test, &many_over));
	assert_int_equal(io->status, HF_ETIMEDOUT);
}

static void clean(void **state)
{
	struct hf_store_io io;

	(void)state;
	assert_int_equal(store_test_list(&test, &io, base, "", 0), 0);
	for (unsigned i = 0; i < io.name_count; i++)
		assert_int_equal(store_test_delete(&test, io.names[i].name), 0);
	assert_false(io.more);
	free(io.names);
	assert_int_equal(store_test_list(&test, &io, base, "", 0), 0);
	assert_int_equal(io.name_count, 0);
	free(io.names);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(put_then_get),
		cmocka_unit_test(ranges),
		cmocka_unit_test(absent),
		cmocka_unit_test(conditional_put),
		cmocka_unit_test(conditional_put_race),
		cmocka_unit_test(list),
		cmocka_unit_test(list_is_strong),
		cmocka_unit_test(bad_names),
		cmocka_unit_test(probe),
		cmocka_unit_test(many_at_once),
		cmocka_unit_test(deadline_passed),
		cmocka_unit_test(clean),
	};
	int failed;

	if (argc != 2) {
		fprintf(stderr, "usage: store_contract dir|env\n");
		return 2;
	}
	snprintf(base, sizeof base, "contract-%d-%ld/", (int)getpid(), (long)time(NULL));
	store_test_open(&test, argv[1]);
	failed = cmocka_run_group_tests_name("store contract", tests, NULL, NULL);
	/* Closing under load: every operation ends, nothing leaks. */
	submit_many();
	store_test_close(&test);
	HF_ASSERT(many_done == MANY);
	return failed;
}
