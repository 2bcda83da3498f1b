/* Provider and signer killed at random moments while volumes are created, detached, attached and
 * deleted. Promises: what was answered as accepted is kept, what was not answered happened whole or
 * not at all, and in the end the gateway has exactly what is desired (invariants 4, 5). A failure
 * prints the seed; HF_SEED replays it (as far as the scheduler does). */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "tests/provider/test_gateway.h"

#define VOLUMES 6
#define ROUNDS  40

enum state { ABSENT, ATTACHED, DETACHED, UNKNOWN };

static struct lab lab;
static struct test_gateway gw;
static enum state model[VOLUMES];
static unsigned acknowledged, interrupted, kills;

static void name_of(int volume, char name[16])
{
	snprintf(name, 16, "v%d", volume);
}

/* What the provider shows now. */
static enum state shown(int volume, char status[16])
{
	struct lab_answer answer;
	enum state state;
	char name[16];

	name_of(volume, name);
	lab_show_volume(&lab, name, &answer);
	snprintf(status, 16, "%s", lab_text(&answer, "status"));
	if (answer.err == HF_ENOENT || strcmp(status, "deleting") == 0)
		state = ABSENT;
	else if (strcmp(status, "detached") == 0 || strcmp(status, "detaching") == 0)
		state = DETACHED;
	else
		state = ATTACHED;
	assert_true(answer.err == 0 || answer.err == HF_ENOENT);
	lab_forget(&answer);
	return state;
}

/* Asks for the next step of a volume's life; returns the state it leads to. */
static enum state ask_step(int volume, struct lab_answer *answer)
{
	Holdfast__AdminRequest request = HOLDFAST__ADMIN_REQUEST__INIT;
	Holdfast__AdminVolumeCreate create = HOLDFAST__ADMIN_VOLUME_CREATE__INIT;
	Holdfast__AdminVolumeName named = HOLDFAST__ADMIN_VOLUME_NAME__INIT;
	Holdfast__AdminAttach attach = HOLDFAST__ADMIN_ATTACH__INIT;
	char gateway[] = "gw", name[16];
	enum state next;

	name_of(volume, name);
	create.gateway = attach.gateway = gateway;
	create.name = named.volume = attach.volume = name;
	create.size_bytes = 1 << 20;
	if (model[volume] == ABSENT) {
		request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_CREATE;
		request.volume_create = &create;
		next = ATTACHED;
	} else if (model[volume] == DETACHED && rand() % 2) {
		request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_ATTACH;
		request.volume_attach = &attach;
		next = ATTACHED;
	} else if (model[volume] == ATTACHED && rand() % 2) {
		request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_DETACH;
		request.volume_detach = &named;
		next = DETACHED;
	} else {
		request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_DELETE;
		request.volume_delete = &named;
		next = ABSENT;
	}
	lab_ask(&lab, &request, answer);
	return next;
}

static void take_answer(int volume, enum state next, const struct lab_answer *answer)
{
	switch (answer->err) {
	case 0:
		model[volume] = next;
		acknowledged++;
		break;
	case HF_ECONN:
	case HF_ETIMEDOUT:
	case HF_ECANCELED:
		model[volume] = UNKNOWN;
		interrupted++;
		break;
	default:
		/* Refused, such as an attach before the detach is reported: nothing changed. */
		assert_true(answer->err == HF_EBUSY || answer->err == HF_EEXIST ||
			    answer->err == HF_ENOTREADY || answer->err == HF_ENOENT);
		break;
	}
}

static void come_back(void)
{
	if (lab.signer == 0)
		lab_start_signer(&lab);
	if (lab.provider == 0)
		lab_start_provider(&lab);
	lab_wait_ready(&lab);
	if (gw.ended) {
		tg_connect(&gw);
		tg_wait_held(&gw);
	}
}

/* After a restart: the model is what the provider has, and nothing that was accepted is lost. */
static void compare(void)
{
	char status[16];

	for (int i = 0; i < VOLUMES; i++) {
		enum state now = shown(i, status);

		if (model[i] != UNKNOWN && now != model[i])
			fail_msg("v%d is %s, which was not accepted", i, status);
		model[i] = now;
	}
}

static bool has_converged(void *context)
{
	size_t volumes = 0;
	char status[16];

	(void)context;
	for (int i = 0; i < VOLUMES; i++) {
		enum state now = shown(i, status);

		if (now != model[i] || strstr(status, "ing"))
			return false;
		volumes += now != ABSENT;
	}
	return gw.document && gw.document->n_volumes == volumes && gw.document->n_tombstones == 0;
}

static void round_of_kills(void)
{
	struct lab_answer answers[VOLUMES];
	enum state next[VOLUMES];
	int what = rand() % 4;

	for (int i = 0; i < VOLUMES; i++)
		next[i] = ask_step(i, &answers[i]);
	for (int i = rand() % 25; i > 0; i--)
		uv_run(&lab.loop, UV_RUN_ONCE);
	if (what != 0) {
		lab_stop(what == 1 ? &lab.signer : &lab.provider, SIGKILL);
		kills++;
	}
	for (int i = 0; i < VOLUMES; i++) {
		lab_wait_answer(&lab, &answers[i]);
		take_answer(i, next[i], &answers[i]);
		lab_forget(&answers[i]);
	}
	if (what > 1)
		tg_wait_ended(&gw);
	come_back();
	compare();
	/* Now and then from rest, else into the middle of what is still under way. */
	if (rand() % 3)
		lab_until(&lab, has_converged, NULL, "rest");
}

static void test_killed_at_any_moment(void **state)
{
	const char *given = getenv("HF_SEED");
	unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);

	(void)state;
	printf("seed %u\n", seed);
	srand(seed);
	lab_up(&lab, "");
	tg_init(&gw, &lab);
	tg_join(&gw, "gw");
	for (int i = 0; i < ROUNDS; i++)
		round_of_kills();
	lab_until(&lab, has_converged, NULL, "everything is as desired");
	printf("%u kills, %u changes accepted, %u interrupted, epoch %llu\n", kills, acknowledged,
	       interrupted, (unsigned long long)gw.epoch);
	assert_true(kills > ROUNDS / 3 && acknowledged > ROUNDS);
	tg_free(&gw);
	lab_down(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_killed_at_any_moment)};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("kills", tests, NULL, NULL);
}
