/* Promises of desired state (invariant 4), on the real agent in a process of its own: no version
 * goes back, a deleted volume does not return, a document that comes as a difference is the one
 * that was signed or is asked for whole, a restored registry stops no more than what it forgot, and
 * a kill at any write leaves the document before or the one after, each change made once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/seal.h"
#include "proto/delta.h"
#include "tests/agent/agent_child.h"

#define STATE(name) HOLDFAST__VOLUME_STATE__VOLUME_##name
#define MOST        8u

/* ---- Drafts ---- */

struct draft {
	Holdfast__Document document;
	Holdfast__Volume volumes[MOST], *volume_list[MOST];
	Holdfast__Tombstone tombstones[MOST], *tombstone_list[MOST];
	char targets[MOST][48];
};

static void draft_init(struct draft *draft, uint64_t incarnation, uint64_t generation)
{
	memset(draft, 0, sizeof *draft);
	holdfast__document__init(&draft->document);
	draft->document.incarnation = incarnation;
	draft->document.generation = generation;
	draft->document.volumes = draft->volume_list;
	draft->document.tombstones = draft->tombstone_list;
}

/* The same secret gives the same bytes, as the signer's does. */
static ProtobufCBinaryData sealed(const struct agent_child *child, uint64_t volume,
				  uint64_t version)
{
	Holdfast__VolumeSecrets secrets = HOLDFAST__VOLUME_SECRETS__INIT;
	static const struct hf_seal_key sealer = {.secret = {7}};
	uint8_t key[32] = {1}, plain[64];
	ProtobufCBinaryData bytes;
	char purpose[HF_PURPOSE_MAX];

	secrets.wrap_key = (ProtobufCBinaryData){sizeof key, key};
	hf_purpose_volume(volume, version, purpose);
	assert_int_equal(hf_seal_repeatable(&sealer, child->provider.keys.sealing, purpose, plain,
					    holdfast__volume_secrets__pack(&secrets, plain),
					    &bytes.data, &bytes.len),
			 0);
	return bytes;
}

static Holdfast__Volume *draft_volume(const struct agent_child *child, struct draft *draft,
				      uint64_t volume, uint64_t version)
{
	size_t i = draft->document.n_volumes++;
	Holdfast__Volume *entry = &draft->volumes[i];

	assert_true(i < MOST);
	holdfast__volume__init(entry);
	draft->volume_list[i] = entry;
	snprintf(draft->targets[i], sizeof draft->targets[i], "iqn.2026-11.test:v%u",
		 (unsigned)volume);
	entry->volume = volume;
	entry->version = version;
	entry->size_bytes = 1 << 20;
	entry->attachment = HOLDFAST__ATTACHMENT__ATTACHED;
	entry->attach_epoch = 5;
	entry->target = draft->targets[i];
	entry->lun = 1;
	entry->sealed = sealed(child, volume, version);
	return entry;
}

static void draft_tombstone(const struct agent_child *child, struct draft *draft, uint64_t volume,
			    uint64_t version)
{
	size_t i = draft->document.n_tombstones++;

	holdfast__tombstone__init(&draft->tombstones[i]);
	draft->tombstone_list[i] = &draft->tombstones[i];
	draft->tombstones[i].volume = volume;
	draft->tombstones[i].version = version;
	draft->tombstones[i].sealed = sealed(child, volume, version);
}

static void draft_end(struct draft *draft)
{
	for (size_t i = 0; i < draft->document.n_volumes; i++)
		free(draft->volumes[i].sealed.data);
	for (size_t i = 0; i < draft->document.n_tombstones; i++)
		free(draft->tombstones[i].sealed.data);
}

static uint64_t send_whole(struct agent_child *child, const struct draft *draft)
{
	return fake_provider_apply(&child->provider, &draft->document, &child->provider.signer);
}

static int apply(struct agent_child *child, const struct draft *draft)
{
	return agent_child_answer(child, send_whole(child, draft));
}

static int apply_delta(struct agent_child *child, const struct draft *base,
		       const struct draft *next, bool spoil)
{
	return agent_child_answer(child,
				  fake_provider_apply_delta(&child->provider, &base->document,
							    &next->document, spoil));
}

/* ---- What is there ---- */

static bool served(struct agent_child *child, uint64_t volume)
{
	const struct fake_target *target;
	char iqn[48];

	snprintf(iqn, sizeof iqn, "iqn.2026-11.test:v%u", (unsigned)volume);
	target = fake_target(&child->gateway, iqn);
	return target && target->volume == volume;
}

/* As the newest report says; 0: it says nothing of it. */
static int reported(const struct agent_child *child, uint64_t volume, const char **reason)
{
	for (size_t i = 0; i < child->provider.volume_count; i++)
		if (child->provider.volumes[i].volume == volume) {
			*reason = child->provider.volumes[i].reason;
			return child->provider.volumes[i].state;
		}
	return 0;
}

static void subscribe(struct agent_child *child)
{
	Holdfast__Request request = HOLDFAST__REQUEST__INIT;
	Holdfast__Subscribe subscribe = HOLDFAST__SUBSCRIBE__INIT;
	static uint64_t subscription;

	subscribe.subscription = ++subscription;
	subscribe.interval_ms = 100;
	request.kind_case = HOLDFAST__REQUEST__KIND_SUBSCRIBE;
	request.subscribe = &subscribe;
	child->provider.volume_count = 0;
	fake_provider_ask(&child->provider, &request);
}

static const char *expect(struct agent_child *child, uint64_t volume, int state)
{
	const char *reason = "";

	RUN_UNTIL(&child->loop, reported(child, volume, &reason) == state);
	return reason;
}

static unsigned count_in_log(const struct agent_child *child, const char *text)
{
	unsigned count = 0;

	for (const char *at = child->gateway.log; (at = strstr(at, text)) != NULL; at++)
		count++;
	return count;
}

/* ---- Order ---- */

static void test_no_version_goes_back(void **state)
{
	struct agent_child *child = *state;
	struct draft draft;

	draft_init(&draft, 1, 5);
	draft_volume(child, &draft, 7, 4);
	assert_int_equal(apply(child, &draft), 0);
	draft_end(&draft);
	for (int again = 0; again < 2; again++) {
		draft_init(&draft, 1, 6);
		draft_volume(child, &draft, 7, 3);
		assert_int_equal(apply(child, &draft), HF_EINVAL);
		assert_non_null(strstr(child->provider.answer_reason, "vol-0000000000000007"));
		draft_end(&draft);
		agent_child_kill(child);
		agent_child_start(child, NULL);
		assert_int_equal(child->provider.connect_generation, 5);
	}
}

static void test_a_deleted_volume_never_returns(void **state)
{
	struct agent_child *child = *state;
	struct draft draft;

	draft_init(&draft, 1, 1);
	draft_volume(child, &draft, 7, 1);
	assert_int_equal(apply(child, &draft), 0);
	RUN_UNTIL(&child->loop, served(child, 7));
	draft_end(&draft);
	draft_init(&draft, 1, 2);
	draft_tombstone(child, &draft, 7, 2);
	assert_int_equal(apply(child, &draft), 0);
	RUN_UNTIL(&child->loop, !fake_volume(&child->gateway, 7) && !served(child, 7));
	draft_end(&draft);
	/* The tombstone leaves, and leaves no way back. */
	draft_init(&draft, 1, 3);
	assert_int_equal(apply(child, &draft), 0);
	for (uint64_t again = 0; again < 2; again++) {
		draft_init(&draft, 1, 4 + again);
		draft_volume(child, &draft, 7, 4 + again)->create = true;
		assert_int_equal(apply(child, &draft), HF_EINVAL);
		assert_non_null(strstr(child->provider.answer_reason, "deleted"));
		draft_end(&draft);
		agent_child_kill(child);
		agent_child_start(child, NULL);
	}
	assert_false(served(child, 7));
	assert_null(fake_volume(&child->gateway, 7));
}

/* ---- A restored registry ---- */

/* It knows 7 as it was, not 8 (made since), and 9 (deleted since). */
static void draft_restored(const struct agent_child *child, struct draft *draft,
			   uint64_t generation)
{
	draft_init(draft, 2, generation);
	draft_volume(child, draft, 7, 1000);
	draft_volume(child, draft, 9, 1000);
}

static void test_a_restored_registry_stops_only_what_it_forgot(void **state)
{
	struct agent_child *child = *state;
	struct draft draft;

	draft_init(&draft, 1, 1);
	draft_volume(child, &draft, 7, 1);
	draft_volume(child, &draft, 9, 1);
	assert_int_equal(apply(child, &draft), 0);
	draft_end(&draft);
	draft_init(&draft, 1, 3);
	draft_volume(child, &draft, 7, 1);
	draft_volume(child, &draft, 8, 2);
	draft_tombstone(child, &draft, 9, 3);
	assert_int_equal(apply(child, &draft), 0);
	RUN_UNTIL(&child->loop, served(child, 7) && served(child, 8) && !served(child, 9));
	draft_end(&draft);
	draft_restored(child, &draft, 1000);
	assert_int_equal(apply(child, &draft), 0);
	draft_end(&draft);
	for (int again = 0; again < 2; again++) {
		subscribe(child);
		expect(child, 7, STATE(AVAILABLE));
		expect(child, 8, STATE(AVAILABLE));
		assert_non_null(strstr(expect(child, 9, STATE(FAILED)), "deleted"));
		assert_true(served(child, 7) && served(child, 8) && !served(child, 9));
		/* Also after a reboot, with a tgtd that knows nothing. */
		agent_child_kill(child);
		fake_restart_tgtd(&child->gateway);
		agent_child_start(child, NULL);
	}
	/* Later documents leave it out as well; a tombstone ends it. */
	draft_restored(child, &draft, 1001);
	assert_int_equal(apply(child, &draft), 0);
	RUN_UNTIL(&child->loop, served(child, 8));
	draft_end(&draft);
	draft_restored(child, &draft, 1002);
	draft_tombstone(child, &draft, 8, 1002);
	assert_int_equal(apply(child, &draft), 0);
	RUN_UNTIL(&child->loop, !served(child, 8) && !fake_volume(&child->gateway, 8));
	draft_end(&draft);
	draft_restored(child, &draft, 1003);
	assert_int_equal(apply(child, &draft), 0);
	draft_end(&draft);
	agent_child_kill(child);
	agent_child_start(child, NULL);
	RUN_UNTIL(&child->loop, served(child, 7));
	assert_false(served(child, 8));
}

/* ---- Differences ---- */

/* Generation 1 has 1 to 4; 2 has 2 to 5 and the tombstone of 1; 3 says that 2 is detached. */
static void draft_step(const struct agent_child *child, struct draft *draft, uint64_t generation)
{
	draft_init(draft, 1, generation);
	for (uint64_t v = 1; v <= 5; v++) {
		Holdfast__Volume *entry;

		if (v == 1 && generation > 1) {
			draft_tombstone(child, draft, v, 2);
			continue;
		}
		if (v == 5 && generation == 1)
			continue;
		entry = draft_volume(child, draft, v,
				     v == 2 && generation == 3 ? 3
				     : v == 5                  ? 2
							       : 1);
		if (v == 2 && generation == 3)
			entry->attachment = HOLDFAST__ATTACHMENT__DETACHED;
	}
	hf_document_sort(&draft->document);
}

static void test_a_difference_is_applied(void **state)
{
	struct agent_child *child = *state;
	struct draft first, second, third;

	draft_step(child, &first, 1);
	draft_step(child, &second, 2);
	draft_step(child, &third, 3);
	assert_int_equal(apply(child, &first), 0);
	assert_int_equal(apply_delta(child, &first, &second, false), 0);
	assert_int_equal(child->provider.observed_generation, 2);
	RUN_UNTIL(&child->loop, !served(child, 1) && served(child, 2) && served(child, 5));
	assert_int_equal(apply_delta(child, &second, &third, false), 0);
	RUN_UNTIL(&child->loop, !served(child, 2) && served(child, 3));
	/* What is kept is the whole. */
	agent_child_kill(child);
	fake_restart_tgtd(&child->gateway);
	agent_child_start(child, NULL);
	assert_int_equal(child->provider.connect_generation, 3);
	RUN_UNTIL(&child->loop, served(child, 3) && served(child, 4) && served(child, 5));
	draft_end(&first);
	draft_end(&second);
	draft_end(&third);
}

static void test_a_difference_to_something_else_asks_for_the_whole(void **state)
{
	struct agent_child *child = *state;
	struct draft first, second, third;

	draft_step(child, &first, 1);
	draft_step(child, &second, 2);
	draft_step(child, &third, 3);
	assert_int_equal(apply_delta(child, &first, &second, false), HF_ESTALE); /* no base */
	assert_true(child->provider.full_wanted);
	assert_int_equal(apply(child, &first), 0);
	assert_int_equal(apply_delta(child, &second, &third, false), HF_ESTALE);
	assert_true(child->provider.full_wanted);
	assert_int_equal(apply(child, &third), 0);
	assert_int_equal(child->provider.observed_generation, 3);
	/* One that was replayed is refused as what it is, and no whole is wanted. */
	assert_int_equal(apply_delta(child, &third, &second, false), HF_ESTALE);
	assert_false(child->provider.full_wanted);
	draft_end(&first);
	draft_end(&second);
	draft_end(&third);
}

static void test_a_difference_that_gives_other_bytes_changes_nothing(void **state)
{
	struct agent_child *child = *state;
	struct draft first, second;

	draft_step(child, &first, 1);
	draft_step(child, &second, 2);
	assert_int_equal(apply(child, &first), 0);
	RUN_UNTIL(&child->loop, served(child, 1) && served(child, 4));
	assert_int_equal(apply_delta(child, &first, &second, true), HF_ESTALE);
	assert_true(child->provider.full_wanted);
	subscribe(child);
	expect(child, 1, STATE(AVAILABLE));
	assert_true(served(child, 1) && !served(child, 5));
	assert_int_equal(apply(child, &second), 0);
	RUN_UNTIL(&child->loop, !served(child, 1) && served(child, 5));
	draft_end(&first);
	draft_end(&second);
}

/* ---- Kills ---- */

/* Each write that the second document makes, and its answer. */
static const char *const points[] = {
	"hf_kept_set_newest:before:1",   "hf_kept_set_newest:after:1",
	"hf_kept_set_document:before:1", "hf_kept_set_document:after:1",
	"hf_kept_set_deleted:before:1",  "hf_kept_set_deleted:after:1",
	"hf_session_answer:before:1",    "hf_session_answer:after:1",
};

static void kill_while_applying(const char *point, bool as_delta)
{
	struct agent_child child;
	struct draft first, second;
	uint64_t generation;

	agent_child_open(&child);
	draft_step(&child, &first, 1);
	draft_step(&child, &second, 2);
	assert_int_equal(apply(&child, &first), 0);
	RUN_UNTIL(&child.loop, served(&child, 1) && served(&child, 4));
	agent_child_kill(&child);
	agent_child_start(&child, point);
	if (as_delta)
		fake_provider_apply_delta(&child.provider, &first.document, &second.document,
					  false);
	else
		send_whole(&child, &second);
	RUN_UNTIL(&child.loop, agent_child_died(&child));
	agent_child_start(&child, NULL);
	/* One of the two, and the provider goes on from what it says. */
	generation = child.provider.connect_generation;
	assert_true(generation == 1 || generation == 2);
	if (generation == 1)
		assert_int_equal(as_delta ? apply_delta(&child, &first, &second, false)
					  : apply(&child, &second),
				 0);
	RUN_UNTIL(&child.loop, !served(&child, 1) && served(&child, 5));
	RUN_UNTIL(&child.loop, !fake_volume(&child.gateway, 1));
	assert_int_equal(count_in_log(&child, "create iqn.2026-11.test:v5"), 1);
	assert_int_equal(count_in_log(&child, "delete iqn.2026-11.test:v1"), 1);
	/* What was deleted is known, whenever that was. */
	draft_end(&first);
	draft_init(&first, 1, 3);
	for (uint64_t v = 2; v <= 5; v++)
		draft_volume(&child, &first, v, v == 5 ? 2 : 1);
	assert_int_equal(apply(&child, &first), 0);
	first.document.generation = 4;
	draft_volume(&child, &first, 1, 4);
	assert_int_equal(apply(&child, &first), HF_EINVAL);
	draft_end(&first);
	draft_end(&second);
	agent_child_close(&child);
}

static void test_killed_anywhere(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
		kill_while_applying(points[i], false);
		kill_while_applying(points[i], true);
	}
}

static const char *const restored_points[] = {
	"hf_kept_set_left:before:1", "hf_kept_set_left:after:1", "hf_kept_set_newest:after:1",
	"hf_kept_set_document:after:1"};

static void kill_while_restored(const char *point)
{
	struct agent_child child;
	struct draft first, second;

	agent_child_open(&child);
	draft_init(&first, 1, 3);
	draft_volume(&child, &first, 7, 1);
	draft_volume(&child, &first, 8, 2);
	draft_restored(&child, &second, 1000);
	assert_int_equal(apply(&child, &first), 0);
	RUN_UNTIL(&child.loop, served(&child, 7) && served(&child, 8));
	agent_child_kill(&child);
	agent_child_start(&child, point);
	send_whole(&child, &second);
	RUN_UNTIL(&child.loop, agent_child_died(&child));
	agent_child_start(&child, NULL);
	if (child.provider.connect_generation == 3)
		assert_int_equal(apply(&child, &second), 0);
	RUN_UNTIL(&child.loop, served(&child, 9));
	assert_true(served(&child, 7) && served(&child, 8));
	assert_int_equal(count_in_log(&child, "delete iqn.2026-11.test:v8"), 0);
	draft_end(&first);
	draft_end(&second);
	agent_child_close(&child);
}

static void test_killed_while_a_registry_is_restored(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof restored_points / sizeof restored_points[0]; i++)
		kill_while_restored(restored_points[i]);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, agent_child_setup, agent_child_teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_no_version_goes_back),
		CASE(test_a_deleted_volume_never_returns),
		CASE(test_a_restored_registry_stops_only_what_it_forgot),
		CASE(test_a_difference_is_applied),
		CASE(test_a_difference_to_something_else_asks_for_the_whole),
		CASE(test_a_difference_that_gives_other_bytes_changes_nothing),
		cmocka_unit_test(test_killed_anywhere),
		cmocka_unit_test(test_killed_while_a_registry_is_restored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
