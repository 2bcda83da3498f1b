/* Promises of deletion: it leaves nothing, it may be cut short anywhere and be run again, and a
 * holder that is still up is fenced. */
#include "base/log.h"
#include "remote/object.h"
#include "tests/remote/actor.h"

#include <setjmp.h>
#include <stdarg.h>
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

static bool deletion_flag;

static void delete_done(struct hf_remote_delete *deletion)
{
	(void)deletion;
	deletion_flag = true;
}

static void make_volume(struct mem_store *in)
{
	struct actor actor;

	for (uint64_t who = 1; who <= 2; who++) {
		actor_init(&actor, in, who);
		actor_open_now(&actor, 1, 0);
		actor_upload(&actor);
		actor_upload(&actor);
		actor_run(&actor, &actor.uploads[0].done);
		actor_run(&actor, &actor.uploads[1].done);
		actor_end(&actor, false);
	}
}

/* Deletion leaves nothing; cut short anywhere, the volume either opens whole or is refused, and a
 * second run finishes. */
static void deletion_can_be_cut_anywhere(void **state)
{
	uint64_t who[ACTOR_WRITES_MAX];

	(void)state;
	for (unsigned cut = 0;; cut++) {
		struct hf_remote_delete deletion = {
			.tenant = ACTOR_TENANT, .volume = ACTOR_VOLUME, .done = delete_done};
		struct mem_env env;
		struct actor reader;
		bool whole = false;

		wipe(NULL);
		make_volume(&store);
		mem_env_init(&env, &store, 7);
		deletion.env = &env.env;
		deletion.deadline_ns = env.now_ns + HF_NS_PER_S;
		deletion_flag = false;
		hf_remote_delete_start(&deletion);
		for (unsigned i = 0; i < cut && !deletion_flag; i++)
			mem_answer(&env, mem_pending(&env, 0), MEM_OK);
		whole = deletion_flag;
		env.dead = true;
		mem_run(&env, &deletion_flag);
		assert_int_equal(deletion.status, whole ? 0 : HF_ETIMEDOUT);
		if (whole) {
			assert_int_equal(deletion.deleted_objects, 4);
			assert_int_equal(store.count, 0);
			assert_true(cut > 8);
			return;
		}
		if (mem_find(&store, "t-00000000000000aa/vol-00000000000000bb/tombstone")) {
			actor_init(&reader, &store, 9);
			actor_open_now(&reader, 0, HF_ENOENT);
			actor_end(&reader, false);
			actor_init(&reader, &store, 9);
			actor_open_now(&reader, 1, HF_ENOENT);
			actor_end(&reader, false);
		} else {
			assert_int_equal(actor_history(&store, who), 4);
		}
		mem_env_init(&env, &store, 8);
		deletion.deadline_ns = 0;
		deletion_flag = false;
		hf_remote_delete_start(&deletion);
		mem_run(&env, &deletion_flag);
		assert_int_equal(deletion.status, 0);
		assert_int_equal(store.count, 0);
	}
}

/* A holder that is still up when its volume is deleted is fenced. */
static void deletion_fences_the_holder(void **state)
{
	struct hf_remote_delete deletion = {
		.tenant = ACTOR_TENANT, .volume = ACTOR_VOLUME, .done = delete_done};
	struct mem_env env;
	struct actor actor;

	(void)state;
	actor_init(&actor, &store, 1);
	actor_open_now(&actor, 1, 0);
	mem_env_init(&env, &store, 7);
	deletion.env = &env.env;
	deletion_flag = false;
	hf_remote_delete_start(&deletion);
	mem_run(&env, &deletion_flag);
	assert_int_equal(deletion.status, 0);
	actor_upload(&actor);
	actor_run(&actor, &actor.uploads[0].done);
	actor_answer_looks(&actor);
	assert_true(actor.fenced);
	assert_int_equal(actor.counted, 0);
	actor_end(&actor, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(deletion_can_be_cut_anywhere, wipe),
		cmocka_unit_test_setup(deletion_fences_the_holder, wipe),
	};
	int failed;

	setenv("HOLDFAST_LOG", "error", 0);
	hf_log_init("delete_test");
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	mem_store_free(&store);
	return failed;
}
