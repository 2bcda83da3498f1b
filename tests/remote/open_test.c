/* Promises of opening a volume's remote side: what is wrong is told apart and named, nothing is
 * buried, and everything that is there is read (invariants 8 and 9). */
#include "base/log.h"
#include "remote/object.h"
#include "tests/remote/actor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct mem_store store;

static int wipe(void **state)
{
	(void)state;
	mem_store_free(&store);
	memset(&store, 0, sizeof store);
	return 0;
}

static void a_volume_that_is_not_there_is_not_found(void **state)
{
	struct actor actor;

	(void)state;
	actor_init(&actor, &store, 1);
	actor_open_now(&actor, 0, HF_ENOENT);
	assert_non_null(strstr(actor.open.message.text, "no such volume"));
	actor_end(&actor, false);
	assert_int_equal(store.count, 0);
}

static void a_wrong_key_is_told_from_damage(void **state)
{
	struct actor actor;

	(void)state;
	actor_init(&actor, &store, 1);
	actor_open_now(&actor, 1, 0);
	actor_end(&actor, false);
	actor_init(&actor, &store, 2);
	actor_open(&actor, 0);
	actor.open.wrap_key[5] ^= 1;
	actor_run(&actor, &actor.opened);
	assert_int_equal(actor.open.status, HF_EAUTH);
	assert_non_null(strstr(actor.open.message.text, "keyring"));
	actor_end(&actor, false);
	mem_find(&store, "t-00000000000000aa/vol-00000000000000bb/keyring")->bytes[140] ^= 1;
	actor_init(&actor, &store, 3);
	actor_open_now(&actor, 0, HF_ECORRUPT);
	actor_end(&actor, false);
}

/* A lost key ring is never replaced by a new one, which would bury the volume. */
static void a_missing_keyring_beside_objects_is_refused(void **state)
{
	struct actor actor;

	(void)state;
	actor_init(&actor, &store, 1);
	actor_open_now(&actor, 1, 0);
	actor_end(&actor, false);
	mem_remove(&store, "t-00000000000000aa/vol-00000000000000bb/keyring");
	actor_init(&actor, &store, 2);
	actor_open_now(&actor, 1, HF_ECORRUPT);
	actor_end(&actor, false);
}

static void a_volume_never_shrinks(void **state)
{
	struct actor actor;

	(void)state;
	actor_init(&actor, &store, 1);
	actor_open_now(&actor, 1, 0);
	actor_end(&actor, false);
	actor_init(&actor, &store, 2);
	actor_open(&actor, 1);
	actor.open.size_bytes = ACTOR_SIZE / 2;
	actor_run(&actor, &actor.opened);
	assert_int_equal(actor.open.status, HF_EINVAL);
	actor_end(&actor, false);
}

/* Growth is recorded in the next object, so that the store alone knows it. */
static void growth_reaches_the_store(void **state)
{
	struct actor actor, reader;

	(void)state;
	actor_init(&actor, &store, 1);
	actor_open_now(&actor, 1, 0);
	hf_remote_set_size(actor.remote, 2 * ACTOR_SIZE);
	actor_upload(&actor);
	actor_run(&actor, &actor.uploads[0].done);
	actor_end(&actor, false);
	actor_init(&reader, &store, 2);
	actor_open_now(&reader, 0, 0);
	assert_int_equal(reader.open.size_bytes, 2 * ACTOR_SIZE);
	actor_end(&reader, false);
}

/* With a deadline an opening ends by it; without one it waits for the store. */
static void an_opening_ends_by_its_deadline(void **state)
{
	struct actor actor;

	(void)state;
	actor_init(&actor, &store, 1);
	actor_open(&actor, 1);
	actor_end(&actor, true); /* cancels */
	assert_int_equal(actor.open.status, HF_ECANCELED);
	actor_init(&actor, &store, 1);
	actor.open = (struct hf_remote_open){0};
	actor_open(&actor, 1);
	for (unsigned i = 0; i < 30; i++) {
		mem_answer(&actor.env, mem_pending(&actor.env, 0), MEM_REFUSED);
		assert_false(actor.opened);
		assert_true(mem_next_timer(&actor.env));
		mem_settle(&actor.env);
	}
	actor_run(&actor, &actor.opened);
	assert_int_equal(actor.open.status, 0);
	actor_end(&actor, false);
}

static void deadline_opened(struct hf_remote_open *open)
{
	*(bool *)open->context = true;
}

static void a_deadline_names_the_last_error(void **state)
{
	struct mem_env env;
	bool opened = false;
	struct hf_remote_open open = {
		.env = &env.env,
		.tenant = 1,
		.volume = 2,
		.opened = deadline_opened,
		.context = &opened,
	};

	(void)state;
	mem_env_init(&env, &store, 1);
	open.deadline_ns = env.now_ns + 5 * HF_NS_PER_S;
	hf_remote_open_start(&open);
	while (!opened) {
		struct hf_store_io *io = mem_pending(&env, 0);

		if (io)
			mem_answer(&env, io, MEM_REFUSED);
		else
			assert_true(mem_next_timer(&env));
	}
	assert_int_equal(open.status, HF_ETIMEDOUT);
	assert_non_null(strstr(open.message.text, "connection"));
}

static void one_done(struct hf_remote_upload *upload)
{
	*(bool *)upload->owner = true;
}

static void upload_extents(struct actor *actor, uint64_t sequence,
			   const struct hf_object_extent *extents, unsigned count)
{
	bool done = false;
	struct hf_remote_upload upload = {
		.first_sequence = sequence,
		.last_sequence = sequence,
		.extents = extents,
		.extent_count = count,
		.done = one_done,
		.owner = &done,
	};

	hf_remote_upload(actor->remote, &upload);
	actor_run(actor, &done);
	assert_int_equal(upload.status, 0);
}

/* A header longer than the first GET is read whole, the longest that may be included. */
static void long_headers_take_a_second_get(void **state)
{
	static struct hf_object_extent extents[HF_OBJECT_EXTENTS_MAX];
	struct actor actor, reader;

	(void)state;
	for (unsigned i = 0; i < HF_OBJECT_EXTENTS_MAX; i++)
		extents[i] = (struct hf_object_extent){
			.lba = 2 * (uint64_t)i, .length = 1, .kind = HF_EXTENT_BAD};
	actor_init(&actor, &store, 1);
	actor_open_now(&actor, 1, 0);
	upload_extents(&actor, 1, extents, 5000);
	upload_extents(&actor, 2, extents, HF_OBJECT_EXTENTS_MAX);
	actor_end(&actor, false);
	actor_init(&reader, &store, 2);
	actor_open_now(&reader, 0, 0);
	assert_int_equal(hf_remote_recovery_point(reader.remote), 2);
	assert_int_equal(hf_extmap_count(hf_remote_map(reader.remote)), HF_OBJECT_EXTENTS_MAX);
	actor_end(&reader, false);
}

/* Lists come in pages of 1,000 names: more starts, and more objects of a start, than one page. */
static void pages_are_read_to_the_end(void **state)
{
	const struct hf_object_extent extent = {.lba = 0, .length = 1, .kind = HF_EXTENT_ZERO};
	struct actor actor;

	(void)state;
	for (uint64_t start = 1; start <= 1005; start++) {
		actor_init(&actor, &store, start);
		actor_open_now(&actor, 1, 0);
		assert_int_equal(hf_remote_start(actor.remote), start);
		actor_end(&actor, false);
	}
	actor_init(&actor, &store, 2000);
	actor_open_now(&actor, 1, 0);
	for (uint64_t sequence = 1; sequence <= 2005; sequence++)
		upload_extents(&actor, sequence, &extent, 1);
	actor_end(&actor, false);
	actor_init(&actor, &store, 2001);
	actor_open_now(&actor, 1, 0);
	assert_int_equal(hf_remote_recovery_point(actor.remote), 2005);
	assert_int_equal(hf_remote_object_count(actor.remote), 2005);
	actor_end(&actor, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_volume_that_is_not_there_is_not_found, wipe),
		cmocka_unit_test_setup(a_wrong_key_is_told_from_damage, wipe),
		cmocka_unit_test_setup(a_missing_keyring_beside_objects_is_refused, wipe),
		cmocka_unit_test_setup(a_volume_never_shrinks, wipe),
		cmocka_unit_test_setup(growth_reaches_the_store, wipe),
		cmocka_unit_test_setup(an_opening_ends_by_its_deadline, wipe),
		cmocka_unit_test_setup(a_deadline_names_the_last_error, wipe),
		cmocka_unit_test_setup(long_headers_take_a_second_get, wipe),
		cmocka_unit_test_setup(pages_are_read_to_the_end, wipe),
	};
	int failed;

	setenv("HOLDFAST_LOG", "error", 0);
	hf_log_init("open_test");
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	mem_store_free(&store);
	return failed;
}
