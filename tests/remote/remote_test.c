/* Promises of an open remote side, each on a store whose every answer the test decides: the store's
 * copy is a prefix at every moment (invariant 2); nothing counts before a look (invariant 5);
 * answers that were lost do no harm; damage is reported and never served (invariant 8). */
#include "base/bytes.h"
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

/* ---- Opening --------------------------------------------------------------------------------- */

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

/* ---- Uploads and the prefix ------------------------------------------------------------------ */

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

/* Lets every look that is due be answered, and no PUT. */
static void answer_looks(struct actor *actor)
{
	struct hf_store_io *io;

	hf_remote_look(actor->remote);
	mem_settle(&actor->env);
	for (unsigned i = 0; (io = mem_pending(&actor->env, i)) != NULL;) {
		if (io->op == HF_STORE_LIST) {
			mem_answer(&actor->env, io, MEM_OK);
			mem_settle(&actor->env);
			i = 0;
		} else {
			i++;
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
		answer_looks(&actor);
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
	answer_looks(&actor);
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
	answer_looks(&actor);
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
		answer_looks(&actor);
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

/* ---- Deletion -------------------------------------------------------------------------------- */

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
	answer_looks(&actor);
	assert_true(actor.fenced);
	assert_int_equal(actor.counted, 0);
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
		cmocka_unit_test_setup(the_store_holds_a_prefix_in_every_order, wipe),
		cmocka_unit_test_setup(a_look_covers_only_puts_answered_before_it, wipe),
		cmocka_unit_test_setup(looks_come_by_themselves, wipe),
		cmocka_unit_test_setup(an_idle_holder_is_fenced_too, wipe),
		cmocka_unit_test_setup(lost_answers_do_no_harm, wipe),
		cmocka_unit_test_setup(a_foreign_object_of_our_name_is_refused, wipe),
		cmocka_unit_test_setup(a_store_without_conditional_put_is_served, wipe),
		cmocka_unit_test_setup(closing_ends_uploads, wipe),
		cmocka_unit_test_setup(deletion_can_be_cut_anywhere, wipe),
		cmocka_unit_test_setup(deletion_fences_the_holder, wipe),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	mem_store_free(&store);
	return failed;
}
