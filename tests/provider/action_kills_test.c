/* The provider killed before and after each step of an action's life: requested, at the signer,
 * signed, stored, sent, answered, forgotten. Promises (invariant 4): what was accepted is done, and
 * done once, by the count of the gateway that did it; what was not answered happened once or not at
 * all. Independent of the registry, which is what is tested. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "tests/provider/test_gateway.h"

static struct lab lab;
static struct test_gateway gw;

static const char *const steps[] = {
	"hf_registry_action_add",         "hf_signer_ask",
	"hf_registry_action_signed",      "hf_registry_action_next",
	"hf_registry_action_sent",        "hf_registry_action_end",
	"hf_registry_action_forgettable", "hf_registry_action_forgotten",
};

static void ask_act(struct lab_answer *answer)
{
	Holdfast__AdminRequest request = HOLDFAST__ADMIN_REQUEST__INIT;
	Holdfast__AdminAct act = HOLDFAST__ADMIN_ACT__INIT;

	act.gateway = (char[]){"gw"};
	act.kind = HOLDFAST__ACTION_KIND__ACTION_RESTART_TARGET;
	request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_ACT;
	request.act = &act;
	lab_ask(&lab, &request, answer);
}

static bool has_died(void *context)
{
	int status;

	(void)context;
	if (lab.provider > 0 && waitpid(lab.provider, &status, WNOHANG) == lab.provider)
		lab.provider = 0;
	return lab.provider == 0;
}

static void restart(const char *kill_at)
{
	if (lab.provider > 0)
		lab_stop(&lab.provider, SIGKILL);
	tg_wait_ended(&gw);
	if (kill_at)
		setenv("HOLDFAST_KILL_AT", kill_at, 1);
	lab_start_provider(&lab);
	unsetenv("HOLDFAST_KILL_AT");
}

/* How many actions the provider has, and whether all have ended as done. */
static bool count_done(size_t *count)
{
	Holdfast__AdminRequest request = HOLDFAST__ADMIN_REQUEST__INIT;
	Holdfast__AdminActionList list = HOLDFAST__ADMIN_ACTION_LIST__INIT;
	struct lab_answer answer;
	bool all = true;
	json_t *item;
	size_t index;

	request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_ACTION_LIST;
	request.action_list = &list;
	lab_ask(&lab, &request, &answer);
	lab_wait_answer(&lab, &answer);
	assert_int_equal(answer.err, 0);
	*count = json_array_size(answer.json);
	json_array_foreach(answer.json, index, item) all =
		all && strcmp(json_string_value(json_object_get(item, "state")), "done") == 0;
	lab_forget(&answer);
	return all;
}

static bool all_done(void *context)
{
	return count_done(context);
}

static bool all_forgotten(void *context)
{
	(void)context;
	return gw.act_count == 0 || gw.forgotten >= gw.acts[gw.act_count - 1].number;
}

static void kill_at(const char *step, const char *when, size_t *accepted, size_t *asked)
{
	struct lab_answer answer;
	size_t count;
	char point[96];

	/* At the first call that comes with the new action, or, of what is called at a
	 * connection, at a later one. */
	snprintf(point, sizeof point, "%s:%s:1", step, when);
	print_message("killed at %s\n", point);
	restart(point);
	lab_wait_ready(&lab);
	if (!has_died(NULL))
		tg_connect(&gw);
	ask_act(&answer);
	lab_wait_answer(&lab, &answer);
	*asked += 1;
	*accepted += answer.err == 0;
	lab_forget(&answer);
	lab_until(&lab, has_died, NULL, point);
	restart(NULL);
	lab_wait_ready(&lab);
	tg_connect(&gw);
	tg_wait_held(&gw);
	count = 0;
	lab_until(&lab, all_done, &count, "everything was done");
	lab_until(&lab, all_forgotten, NULL, "and may be forgotten");
	assert_true(count >= *accepted && count <= *asked);
	assert_int_equal(gw.act_count, count);
	for (unsigned i = 0; i < gw.act_count; i++)
		assert_int_equal(gw.acts[i].effects, 1);
}

static void test_killed_at_every_step(void **state)
{
	size_t accepted = 0, asked = 0;
	unsigned again = 0;

	(void)state;
	lab_provider_program = HF_PROVIDER_TO_KILL;
	lab_up(&lab, "");
	tg_init(&gw, &lab);
	tg_join(&gw, "gw");
	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		kill_at(steps[i], "before", &accepted, &asked);
		kill_at(steps[i], "after", &accepted, &asked);
	}
	for (unsigned i = 0; i < gw.act_count; i++)
		again += gw.acts[i].deliveries > 1;
	print_message("%zu asked, %zu accepted, %u done once each, %u of them told twice\n", asked,
		      accepted, gw.act_count, again);
	assert_true(again > 0);
	tg_free(&gw);
	lab_down(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_killed_at_every_step)};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("action kills", tests, NULL, NULL);
}
