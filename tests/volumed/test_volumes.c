/* Changes of volumes (volumes.h): saved before they are answered, one after the other for one
 * volume, independent for different ones, repeated without harm, restored after a restart. */
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/volumed/env_fixture.h"
#include "tests/volumed/substitute_core.h"
#include "gateway/volumed/volumes.h"

static struct hf_state folder;
static struct hf_alarms alarms;
static struct hf_volumes *volumes;

struct answer {
	unsigned count;
	int status;
	struct hf_errmsg message;
};

static void answered(void *context, int status, const struct hf_errmsg *message)
{
	struct answer *answer = context;

	answer->count++;
	answer->status = status;
	answer->message = *message;
}

static void open_volumes(struct fixture *fixture)
{
	static char path[PATH_MAX];
	struct hf_errmsg message;

	snprintf(path, sizeof path, "%s/state", fixture->directory);
	assert_int_equal(hf_state_open(path, &folder, &message), 0);
	volumes = hf_volumes_create(&folder, &alarms);
	hf_volumes_start(volumes, fixture->env, NULL);
	substitute_reset();
	assert_int_equal(hf_volumes_restore(volumes, &message), 0);
}

static void close_volumes(void)
{
	hf_volumes_stop(volumes);
	hf_volumes_destroy(volumes);
	hf_state_close(&folder);
}

static int setup(void **state)
{
	fixture_setup(state);
	open_volumes(*state);
	return 0;
}

static int teardown(void **state)
{
	close_volumes();
	return fixture_teardown(state);
}

static void ask(enum hf_control_verb verb, uint64_t volume, bool force, struct answer *answer)
{
	struct hf_control_request request = {
		.verb = verb,
		.config = {.volume = volume},
		.force = force,
	};

	if (verb == HF_CONTROL_ATTACH) {
		request.config.tenant = 1;
		request.config.size_bytes = 1 << 20;
		request.config.attach_epoch = 1;
		request.config.create = true;
		memset(request.config.wrap_key, 7, sizeof request.config.wrap_key);
	}
	*answer = (struct answer){0};
	hf_volumes_change(volumes, &request, answered, answer);
}

static bool has_file(struct fixture *fixture, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/state/%s", fixture->directory, name);
	return access(path, F_OK) == 0;
}

static void attach(struct fixture *fixture, uint64_t volume)
{
	struct answer answer;

	ask(HF_CONTROL_ATTACH, volume, false, &answer);
	substitute_end(substitute_count - 1, 0);
	fixture_run(fixture, &answer.count, 1);
	assert_int_equal(answer.status, 0);
}

static void test_saved_before_answered(void **state)
{
	struct fixture *fixture = *state;
	struct answer answer;

	ask(HF_CONTROL_ATTACH, 0x11, false, &answer);
	assert_int_equal(substitute_count, 1);
	assert_false(has_file(fixture, "volumes/vol-0000000000000011"));
	substitute_end(0, 0);
	assert_int_equal(answer.count, 0);
	fixture_run(fixture, &answer.count, 1);
	assert_int_equal(answer.status, 0);
	assert_true(has_file(fixture, "volumes/vol-0000000000000011"));
	assert_true(has_file(fixture, "keys/vol-0000000000000011.key"));
	assert_false(hf_volumes_find(volumes, 0x11)->detached);
	assert_false(hf_volumes_find(volumes, 0x11)->config.create);
}

static void test_a_failed_attach_is_not_remembered(void **state)
{
	struct fixture *fixture = *state;
	struct answer answer;

	ask(HF_CONTROL_ATTACH, 0x11, false, &answer);
	substitute_end(0, HF_EAUTH);
	assert_int_equal(answer.count, 1);
	assert_int_equal(answer.status, HF_EAUTH);
	assert_true(strlen(answer.message.text) > 0);
	assert_null(hf_volumes_find(volumes, 0x11));
	assert_false(has_file(fixture, "volumes/vol-0000000000000011"));
}

static void test_one_volume_in_turn_others_at_once(void **state)
{
	struct fixture *fixture = *state;
	struct answer first, second, other;

	ask(HF_CONTROL_ATTACH, 1, false, &first);
	ask(HF_CONTROL_DETACH, 1, false, &second);
	ask(HF_CONTROL_ATTACH, 2, false, &other);
	assert_int_equal(substitute_count, 2);
	assert_int_equal(substitute_calls[1].change->config.volume, 2);
	substitute_end(0, 0);
	fixture_run(fixture, &first.count, 1);
	assert_int_equal(substitute_count, 3);
	assert_int_equal(substitute_calls[2].verb, 'd');
	substitute_end(1, 0);
	substitute_end(2, 0);
	fixture_run(fixture, &second.count, 1);
	fixture_run(fixture, &other.count, 1);
	assert_true(hf_volumes_find(volumes, 1)->detached);
	assert_true(has_file(fixture, "keys/vol-0000000000000001.key"));
}

/* A detach that waits for a store that is away must not be in the way of giving up on it. */
static void test_force_overtakes_a_draining_detach(void **state)
{
	struct fixture *fixture = *state;
	struct answer drain, force;

	attach(fixture, 1);
	ask(HF_CONTROL_DETACH, 1, false, &drain);
	ask(HF_CONTROL_DETACH, 1, true, &force);
	assert_int_equal(substitute_count, 3);
	assert_true(substitute_calls[2].change->force);
	substitute_end(2, 0);
	substitute_end(1, 0);
	fixture_run(fixture, &drain.count, 1);
	fixture_run(fixture, &force.count, 1);
	assert_true(hf_volumes_find(volumes, 1)->detached);
}

static void test_repeated_changes_do_no_harm(void **state)
{
	struct fixture *fixture = *state;
	struct answer answer;

	ask(HF_CONTROL_DETACH, 5, false, &answer);
	substitute_end(0, HF_ENOENT);
	fixture_run(fixture, &answer.count, 1);
	assert_int_equal(answer.status, 0);
	attach(fixture, 5);
	attach(fixture, 5);
	ask(HF_CONTROL_REMOVE, 6, false, &answer);
	fixture_run(fixture, &answer.count, 1);
	assert_int_equal(answer.status, HF_ENOENT);
}

static void test_remove_forgets(void **state)
{
	struct fixture *fixture = *state;
	struct answer answer;

	attach(fixture, 5);
	ask(HF_CONTROL_DETACH, 5, false, &answer);
	substitute_end(1, 0);
	fixture_run(fixture, &answer.count, 1);
	ask(HF_CONTROL_REMOVE, 5, false, &answer);
	assert_int_equal(substitute_calls[2].verb, 'r');
	assert_int_equal(substitute_calls[2].change->config.tenant, 1);
	substitute_end(2, 0);
	fixture_run(fixture, &answer.count, 1);
	assert_int_equal(answer.status, 0);
	assert_null(hf_volumes_find(volumes, 5));
	assert_false(has_file(fixture, "keys/vol-0000000000000005.key"));
}

static void test_a_restart_attaches_what_was_attached(void **state)
{
	struct fixture *fixture = *state;
	struct answer answer;
	char path[PATH_MAX];

	attach(fixture, 1);
	attach(fixture, 2);
	attach(fixture, 3);
	ask(HF_CONTROL_DETACH, 2, false, &answer);
	substitute_end(3, 0);
	fixture_run(fixture, &answer.count, 1);
	close_volumes();
	snprintf(path, sizeof path, "%s/state/volumes/vol-0000000000000003", fixture->directory);
	assert_int_equal(truncate(path, 40), 0);
	open_volumes(fixture);
	assert_int_equal(substitute_count, 1);
	assert_int_equal(substitute_calls[0].change->config.volume, 1);
	assert_true(hf_volumes_find(volumes, 2)->detached);
	assert_int_equal(hf_volumes_find(volumes, 3)->error, HF_ECORRUPT);
	assert_true(hf_alarms_count(&alarms) > 0);
	substitute_end(0, 0);
}

static void test_stop_ends_what_waits(void **state)
{
	struct answer first, second, late;

	(void)state;
	ask(HF_CONTROL_ATTACH, 1, false, &first);
	ask(HF_CONTROL_DETACH, 1, false, &second);
	hf_volumes_stop(volumes);
	assert_int_equal(second.status, HF_ECANCELED);
	ask(HF_CONTROL_ATTACH, 2, false, &late);
	assert_int_equal(late.status, HF_ECANCELED);
	substitute_end(0, HF_ECANCELED);
	assert_int_equal(first.count, 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_saved_before_answered),
		TEST(test_a_failed_attach_is_not_remembered),
		TEST(test_one_volume_in_turn_others_at_once),
		TEST(test_force_overtakes_a_draining_detach),
		TEST(test_repeated_changes_do_no_harm),
		TEST(test_remove_forgets),
		TEST(test_a_restart_attaches_what_was_attached),
		TEST(test_stop_ends_what_waits),
	};

	return cmocka_run_group_tests_name("volumed volumes", tests, NULL, NULL);
}
