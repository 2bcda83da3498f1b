/* Promises of an open remote side, each on a store whose every answer the test decides: the store's
 * copy is a prefix at every moment (invariant 2); nothing counts before a look (invariant 5);
 * answers that were lost do no harm; damage is reported and never served (invariant 8). */
#include "base/log.h"
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

/* Answers the PUT of object `number` (1 …) of the actor. */
static void answer_put(struct actor *actor, unsigned number)
{
	char suffix[20];

	snprintf(suffix, sizeof suffix, "/%016x", number);
	for (unsigned i = 0;; i++) {
		struct hf_store_io *io = mem_pending(&actor->env, i);

		assert_non_null(io);
		if (io->op == HF_STORE_PUT && strcmp(strrchr(io->name, '/'), suffix) == 0) {
			mem_answer(&actor->env, io, MEM_OK);
			return;
		}
	}
}

static void one_order(const unsigned *order, unsigned count)
{
	uint64_t who[ACTOR_WRITES_MAX];
	unsigned answered = 0;
	struct actor actor;

	wipe(NULL);
	actor_init(&actor, &store, 1);
	actor_open_now(&actor, 1, 0);
	for (unsigned i = 0; i < count; i++)
		actor_upload(&actor);
	mem_settle(&actor.env);
	for (unsigned i = 0; i < count; i++) {
		unsigned run = 0;

		answer_put(&actor, order[i] + 1);
		assert_true(actor.uploads[order[i]].done);
		answered |= 1u << order[i];
		while (answered >> run & 1)
			run++;
		assert_true(actor.counted <= run);
		assert_int_equal(actor_history(&store, who), run);
		for (unsigned w = 1; w <= run; w++)
			assert_int_equal(who[w], 1);
		actor_answer_looks(&actor);
		assert_int_equal(actor.counted, run);
		assert_int_equal(actor_view(&actor, who), run);
	}
	actor_end(&actor, false);
}

static void permute(unsigned *order, unsigned at, unsigned count)
{
	if (at == count)
		one_order(order, count);
	for (unsigned i = at; i < count; i++) {
		unsigned swap = order[at];

		order[at] = order[i];
		order[i] = swap;
		permute(order, at + 1, count);
		order[i] = order[at];
		order[at] = swap;
	}
}

/* Invariant 2: whatever the order of completion, at every moment a reader finds exactly a prefix,
 * and the holder counts exactly that prefix after a look. */
static void the_store_holds_a_prefix_in_every_order(void **state)
{
	unsigned order[] = {0, 1, 2, 3, 4};

	(void)state;
	permute(order, 0, 5);
}

/* A look that began before a PUT was answered says nothing about it. */
static void a_look_covers_only_puts_answered_before_it(void **state)
{
	struct hf_store_io *look;
	struct actor actor;

	(void)state;
	actor_init(&actor, &store, 1);
	actor_open_now(&actor, 1, 0);
	actor_upload(&actor);
	mem_settle(&actor.env);
	hf_remote_look(actor.remote);
	mem_settle(&actor.env);
	look = mem_pending(&actor.env, 1);
	assert_int_equal(look->op, HF_STORE_LIST);
	answer_put(&actor, 1);
	mem_answer(&actor.env, look, MEM_OK);
	assert_int_equal(actor.counted, 0);
	actor_answer_looks(&actor);
	assert_int_equal(actor.counted, 1);
	actor_end(&actor, false);
}

/* Without being asked, looks come at their interval while something waits, and not otherwise. */
static void looks_come_by_themselves(void **state)
{
	struct actor actor;
	unsigned lists;

	(void)state;
	actor_init(&actor, &store, 1);
	actor_open_now(&actor, 1, 0);
	lists = store.lists;
	for (unsigned i = 0; i < 3; i++) {
		actor_upload(&actor);
		while (actor.counted < i + 1) {
			struct hf_store_io *io;

			mem_settle(&actor.env);
			io = mem_pending(&actor.env, 0);
			if (io)
				mem_answer(&actor.env, io, MEM_OK);
			else
				assert_true(mem_next_timer(&actor.env));
		}
	}
	assert_int_equal(store.lists, lists + 3);
	assert_true(actor.env.now_ns >= 2 * 2000 * HF_NS_PER_MS);
	actor_end(&actor, false);
}

/* A holder that writes nothing learns all the same that it was replaced. */
static void an_idle_holder_is_fenced_too(void **state)
{
	struct actor old, new;
	uint64_t began_ns;

	(void)state;
	actor_init(&old, &store, 1);
	actor_open_now(&old, 1, 0);
	began_ns = old.env.now_ns;
	assert_true(mem_next_timer(&old.env));
	mem_answer(&old.env, mem_pending(&old.env, 0), MEM_OK);
	assert_false(old.fenced);
	actor_init(&new, &store, 2);
	actor_open_now(&new, 2, 0);
	assert_true(mem_next_timer(&old.env));
	mem_answer(&old.env, mem_pending(&old.env, 0), MEM_OK);
	assert_true(old.fenced);
	assert_int_equal(old.env.now_ns - began_ns, 60 * HF_NS_PER_S);
	assert_null(mem_pending(&old.env, 0));
	actor_end(&old, false);
	actor_end(&new, false);
}

/* PUTs that fail, or succeed with the answer lost, end stored once. */
static void lost_answers_do_no_harm(void **state)
{
	uint64_t who[ACTOR_WRITES_MAX];
	struct actor actor;

	(void)state;
	for (unsigned faults = 0; faults < 27; faults++) {
		unsigned left = faults;

		wipe(NULL);
		actor_init(&actor, &store, 1);
		actor_open_now(&actor, 1, 0);
		actor_upload(&actor);
		for (unsigned i = 0; i < 3; i++, left /= 3) {
			mem_settle(&actor.env);
			while (!mem_pending(&actor.env, 0)) {
				if (actor.counted)
					break;
				assert_true(mem_next_timer(&actor.env));
				mem_settle(&actor.env);
			}
			if (mem_pending(&actor.env, 0))
				mem_answer(&actor.env, mem_pending(&actor.env, 0),
					   (enum mem_fault)(left % 3));
		}
		actor_run(&actor, &actor.uploads[0].done);
		assert_int_equal(actor.uploads[0].upload.status, 0);
		while (!actor.counted) {
			struct hf_store_io *io = mem_pending(&actor.env, 0);

			if (io)
				mem_answer(&actor.env, io, MEM_OK);
			else
				assert_true(mem_next_timer(&actor.env));
		}
		assert_int_equal(actor_history(&store, who), 1);
		actor_end(&actor, false);
	}
}

/* Another object under our name is never taken for ours, and stops the count. */
static void a_foreign_object_of_our_name_is_refused(void **state)
{
	struct actor actor;

	(void)state;
	actor_init(&actor, &store, 1);
	actor_open_now(&actor, 1, 0);
	actor_upload(&actor);
	mem_settle(&actor.env);
	mem_put(&store, mem_pending(&actor.env, 0)->name, "foreign", 7);
	actor_run(&actor, &actor.uploads[0].done);
	assert_int_equal(actor.uploads[0].upload.status, HF_ECORRUPT);
	actor_answer_looks(&actor);
	assert_int_equal(actor.counted, 0);
	actor_end(&actor, false);
}

/* A store that knows no conditional PUT is served. */
static void a_store_without_conditional_put_is_served(void **state)
{
	uint64_t who[ACTOR_WRITES_MAX];
	struct actor actor;

	(void)state;
	store.no_conditional_put = true;
	for (unsigned i = 1; i <= 3; i++) {
		actor_init(&actor, &store, i);
		actor_open_now(&actor, 1, 0);
		actor_upload(&actor);
		actor_run(&actor, &actor.uploads[0].done);
		actor_answer_looks(&actor);
		assert_int_equal(actor.counted, i);
		actor_end(&actor, false);
	}
	assert_int_equal(actor_history(&store, who), 3);
}

/* Closing ends what is under way, and `closed` comes after the last of it. */
static void closing_ends_uploads(void **state)
{
	struct actor actor;

	(void)state;
	actor_init(&actor, &store, 1);
	actor_open_now(&actor, 1, 0);
	for (unsigned i = 0; i < 3; i++)
		actor_upload(&actor);
	actor_end(&actor, true);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(actor.uploads[i].upload.status, HF_ECANCELED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(the_store_holds_a_prefix_in_every_order, wipe),
		cmocka_unit_test_setup(a_look_covers_only_puts_answered_before_it, wipe),
		cmocka_unit_test_setup(looks_come_by_themselves, wipe),
		cmocka_unit_test_setup(an_idle_holder_is_fenced_too, wipe),
		cmocka_unit_test_setup(lost_answers_do_no_harm, wipe),
		cmocka_unit_test_setup(a_foreign_object_of_our_name_is_refused, wipe),
		cmocka_unit_test_setup(a_store_without_conditional_put_is_served, wipe),
		cmocka_unit_test_setup(closing_ends_uploads, wipe),
	};
	int failed;

	setenv("HOLDFAST_LOG", "error", 0);
	hf_log_init("remote_test");
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	mem_store_free(&store);
	return failed;
}
