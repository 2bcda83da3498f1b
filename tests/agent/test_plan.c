/* Promises of the reconciler's pure half: the difference alone decides the steps, no difference
 * gives none, what needs a process that is away waits, an agent that starts anew leaves alone what
 * is right, access is loopback only unless the document says otherwise, and what is reported is
 * what is there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "gateway/agent/access.h"
#include "gateway/agent/volume_state.h"
#include "gateway/volumed/core.h"

#define VOLUME 7u
#define PID    100u

/* One volume, one target, one portal, and what was done before. */
struct world {
	Holdfast__Volume entry;
	Holdfast__Tombstone tombstone;
	Holdfast__VolumedVolume volume, *volumes[1];
	Holdfast__VolumedStatus volumed;
	Holdfast__BrokerLunState lun, *luns[1];
	Holdfast__BrokerTargetState target, *targets[1];
	Holdfast__BrokerState broker;
	char *addresses[2], *portals[2];
	uint8_t boot[4];
	struct hf_done done;
	struct hf_actual actual;
};

static char iqn[] = "iqn.2026-11.test:v7", ip4[] = "127.0.0.1", ip6[] = "::1";
static char portal[] = "10.0.0.1:3260", portal_listed[] = "10.0.0.1:3260,1",
	    other_portal[] = "127.0.0.1:4000,1";

/* Everything as the document says. */
static void settled(struct world *w)
{
	memset(w, 0, sizeof *w);
	holdfast__volume__init(&w->entry);
	holdfast__tombstone__init(&w->tombstone);
	holdfast__volumed_volume__init(&w->volume);
	holdfast__volumed_status__init(&w->volumed);
	holdfast__broker_lun_state__init(&w->lun);
	holdfast__broker_target_state__init(&w->target);
	holdfast__broker_state__init(&w->broker);
	w->entry.volume = w->volume.volume = w->lun.volume = w->tombstone.volume = VOLUME;
	w->entry.version = w->tombstone.version = 3;
	w->entry.attachment = HOLDFAST__ATTACHMENT__ATTACHED;
	w->entry.attach_epoch = w->volume.attach_epoch = 5;
	w->entry.target = w->target.iqn = iqn;
	w->entry.lun = w->lun.lun = 1;
	w->volume.state = HF_VOLUME_ATTACHED;
	w->volumes[0] = &w->volume;
	w->volumed.volumes = w->volumes;
	w->volumed.n_volumes = 1;
	w->volumed.pid = PID;
	w->luns[0] = &w->lun;
	w->target.luns = w->luns;
	w->target.n_luns = 1;
	w->addresses[0] = ip6; /* in another order than ours */
	w->addresses[1] = ip4;
	w->target.addresses = w->addresses;
	w->target.n_addresses = 2;
	w->targets[0] = &w->target;
	w->broker.targets = w->targets;
	w->broker.n_targets = 1;
	w->portals[0] = portal_listed;
	w->broker.portals = w->portals;
	w->broker.n_portals = 1;
	w->boot[0] = 9;
	w->broker.boot = (ProtobufCBinaryData){sizeof w->boot, w->boot};
	w->done.attached_version = w->done.access_version = 3;
	w->done.attached_pid = PID;
	memcpy(w->done.access_boot, w->boot, sizeof w->boot);
	w->done.access_boot_length = sizeof w->boot;
	w->actual = (struct hf_actual){true, true, &w->volumed, &w->broker};
}

static void expect_steps(const struct hf_plan *plan, const char *expected, bool waiting)
{
	char text[200] = "";

	for (unsigned i = 0; i < plan->count; i++)
		snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i ? ", " : "",
			 hf_step_text(plan->steps[i]));
	assert_string_equal(text, expected);
	assert_int_equal(plan->waiting, waiting);
}

static void expect(const struct world *w, const char *expected, bool waiting)
{
	struct hf_plan plan;

	hf_plan_volume(&w->entry, &w->done, &w->actual, &plan);
	expect_steps(&plan, expected, waiting);
}

static void expect_tombstone(const struct world *w, const char *expected, bool waiting)
{
	struct hf_plan plan;

	hf_plan_tombstone(&w->tombstone, &w->done, &w->actual, &plan);
	expect_steps(&plan, expected, waiting);
}

static void no_target(struct world *w)
{
	w->broker.n_targets = 0;
}

static void no_volume(struct world *w)
{
	w->volumed.n_volumes = 0;
}

static void test_no_difference_no_steps(void **state)
{
	struct world w;

	(void)state;
	settled(&w);
	expect(&w, "", false);
}

static void test_a_new_volume(void **state)
{
	struct world w;

	(void)state;
	settled(&w);
	no_target(&w);
	no_volume(&w);
	memset(&w.done, 0, sizeof w.done);
	w.entry.create = true;
	expect(&w, "attach, create target, set access, add LUN", false);
}

static void test_tgtd_was_restarted(void **state)
{
	struct world w;

	(void)state;
	settled(&w);
	no_target(&w);
	w.boot[0] = 10;
	expect(&w, "create target, set access, add LUN", false);
}

static void test_volumed_was_restarted(void **state)
{
	struct world w;

	(void)state;
	settled(&w);
	w.volumed.pid = PID + 1;
	expect(&w, "attach", false); /* nothing to do at tgtd */
}

static void test_a_new_agent_leaves_alone_what_is_right(void **state)
{
	struct world w;

	(void)state;
	settled(&w);
	w.done.attached_version = 0; /* not known; asking again changes nothing */
	w.done.attached_pid = 0;
	expect(&w, "attach", false);
}

static void test_half_done_work_is_finished(void **state)
{
	struct world w;

	(void)state;
	settled(&w);
	w.target.n_luns = 0;
	expect(&w, "add LUN", false);
	w.target.n_addresses = 1;
	expect(&w, "set access, add LUN", false);
}

static void test_secrets_that_may_have_changed_are_set_again(void **state)
{
	struct world w;

	(void)state;
	settled(&w);
	w.done.access_version = 2; /* set for an earlier version of the entry */
	expect(&w, "set access", false);
}

static void test_a_higher_attach_epoch(void **state)
{
	struct world w;

	(void)state;
	settled(&w);
	w.entry.attach_epoch = 6;
	expect(&w, "attach", false);
}

static void test_a_target_with_a_foreign_lun_is_made_anew(void **state)
{
	struct world w;

	(void)state;
	settled(&w);
	w.lun.volume = 99;
	expect(&w, "delete target, create target, set access, add LUN", false);
	w.lun.volume = VOLUME;
	w.lun.lun = 2;
	expect(&w, "delete target, create target, set access, add LUN", false);
}

static void test_volumed_is_away(void **state)
{
	struct world w;

	(void)state;
	settled(&w);
	w.actual.volumed_known = false;
	no_target(&w);
	/* The LUN comes back without it: its commands wait. */
	expect(&w, "create target, set access, add LUN", true);
	w.entry.create = true;
	expect(&w, "", true); /* but a volume that was never made is not shown */
}

static void test_tgtd_is_away(void **state)
{
	struct world w;

	(void)state;
	settled(&w);
	w.actual.target_known = false;
	w.done.attached_version = 0;
	expect(&w, "attach", true);
}

static void test_detach(void **state)
{
	struct world w;

	(void)state;
	settled(&w);
	w.entry.attachment = HOLDFAST__ATTACHMENT__DETACHED;
	expect(&w, "remove LUN, delete target, detach", false);
	no_target(&w);
	expect(&w, "detach", false);
	w.volume.state = HF_VOLUME_DETACHED;
	expect(&w, "", false);
	no_volume(&w);
	expect(&w, "", false);
	w.actual.target_known = false;
	expect(&w, "", true); /* nobody is told that it is gone before that is known */
}

static void test_tombstone(void **state)
{
	struct world w;

	(void)state;
	settled(&w);
	expect_tombstone(&w, "remove LUN, delete target, remove", false);
	w.actual.volumed_known = false;
	expect_tombstone(&w, "remove LUN, delete target", true);
	w.actual.volumed_known = true;
	no_target(&w);
	expect_tombstone(&w, "remove", false);
	w.done.removed_version = 3;
	expect_tombstone(&w, "", false);
}

static void test_undo_takes_back_what_was_made(void **state)
{
	(void)state;
	assert_int_equal(hf_step_undo(HF_STEP_CREATE_TARGET), HF_STEP_DELETE_TARGET);
	assert_int_equal(hf_step_undo(HF_STEP_ADD_LUN), HF_STEP_REMOVE_LUN);
	assert_int_equal(hf_step_undo(HF_STEP_ATTACH), HF_STEP_NONE);
	assert_int_equal(hf_step_undo(HF_STEP_REMOVE), HF_STEP_NONE);
}

/* What the volume has and its LUN has not yet is neither reported as available nor as its size. */
static void test_growth_is_told_when_the_lun_has_it(void **state)
{
	struct hf_trouble none = {0, ""};
	Holdfast__VolumeReport report;
	struct hf_plan plan;
	struct world w;

	(void)state;
	settled(&w);
	w.entry.size_bytes = w.volume.size_bytes = 96 << 20;
	w.lun.block_size = 512;
	w.lun.size_mb = 67; /* 64 MiB */
	hf_plan_volume(&w.entry, &w.done, &w.actual, &plan);
	assert_int_equal(plan.count, 0);
	assert_true(plan.waiting);
	hf_volume_state_of(&w.entry, NULL, &w.done, &w.actual, &plan, portal, &none, &report);
	assert_int_equal(report.state, HOLDFAST__VOLUME_STATE__VOLUME_ATTACHING);
	assert_int_equal(report.size_bytes, 0);
	w.lun.size_mb = 101;
	hf_plan_volume(&w.entry, &w.done, &w.actual, &plan);
	assert_false(plan.waiting);
	hf_volume_state_of(&w.entry, NULL, &w.done, &w.actual, &plan, portal, &none, &report);
	assert_int_equal(report.state, HOLDFAST__VOLUME_STATE__VOLUME_AVAILABLE);
	assert_int_equal(report.size_bytes, 96 << 20);
}

static void test_stray_targets(void **state)
{
	Holdfast__Document document = HOLDFAST__DOCUMENT__INIT;
	Holdfast__Volume *volumes[1];
	Holdfast__Tombstone *tombstones[1];
	struct world w;

	(void)state;
	settled(&w);
	assert_string_equal(hf_plan_stray_target(&document, &w.actual, NULL, NULL), iqn);
	volumes[0] = &w.entry;
	document.volumes = volumes;
	document.n_volumes = 1;
	assert_null(hf_plan_stray_target(&document, &w.actual, NULL, NULL));
	document.n_volumes = 0;
	tombstones[0] = &w.tombstone;
	document.tombstones = tombstones;
	document.n_tombstones = 1;
	assert_null(
		hf_plan_stray_target(&document, &w.actual, NULL, NULL)); /* goes by its own plan */
	w.lun.volume = 99;
	assert_string_equal(hf_plan_stray_target(&document, &w.actual, NULL, NULL), iqn);
}

static void test_portals(void **state)
{
	struct world w;

	(void)state;
	settled(&w);
	assert_true(hf_portal_is_open(&w.actual, portal));
	assert_null(hf_plan_stray_portal(&w.actual, portal));
	w.portals[1] = other_portal;
	w.broker.n_portals = 2;
	assert_string_equal(hf_plan_stray_portal(&w.actual, portal), other_portal);
	assert_false(hf_portal_is("10.0.0.1:32601,1", portal));
	assert_false(hf_portal_is("10.0.0.1:326", portal));
}

/* ---- Access ---- */

static void test_access_rule(void **state)
{
	char *both[] = {(char[]){"iqn.2026-11.a:b"}, (char[]){"10.0.0.0/8"}};
	struct hf_access access;
	struct world w;

	(void)state;
	settled(&w);
	hf_access_of(&w.entry, &access);
	assert_int_equal(access.name_count, 0);
	assert_int_equal(access.address_count, 2);
	assert_string_equal(access.addresses[0], "127.0.0.1");
	assert_string_equal(access.addresses[1], "::1");
	w.entry.chap_user = (char[]){"user"};
	hf_access_of(&w.entry, &access);
	assert_int_equal(access.address_count, 1);
	assert_string_equal(access.addresses[0], "ALL");
	w.entry.initiators = both;
	w.entry.n_initiators = 2;
	hf_access_of(&w.entry, &access);
	assert_int_equal(access.name_count, 1);
	assert_string_equal(access.names[0], "iqn.2026-11.a:b");
	assert_int_equal(access.address_count, 1); /* never ALL beside others */
	assert_string_equal(access.addresses[0], "10.0.0.0/8");
}

static void test_access_compares_users_too(void **state)
{
	struct world w;

	(void)state;
	settled(&w);
	assert_true(hf_access_matches(&w.entry, &w.target));
	w.target.chap_user = (char[]){"left over"};
	assert_false(hf_access_matches(&w.entry, &w.target));
	expect(&w, "set access", false);
}

/* ---- Reports ---- */

static void report_of(const struct world *w, bool portal_open, int error,
		      Holdfast__VolumeReport *report)
{
	struct hf_trouble trouble = {error, error ? "why" : ""};
	struct hf_plan plan;

	hf_plan_volume(&w->entry, &w->done, &w->actual, &plan);
	hf_volume_state_of(&w->entry, NULL, &w->done, &w->actual, &plan,
			   portal_open ? portal : NULL, &trouble, report);
}

static void test_available_means_that_a_login_works(void **state)
{
	Holdfast__VolumeReport report;
	struct world w;

	(void)state;
	settled(&w);
	w.volume.recovery_point = 11;
	w.volume.lag_bytes = 12;
	w.volume.age_ms = 13;
	w.target.sessions = 2;
	report_of(&w, true, 0, &report);
	assert_int_equal(report.state, HOLDFAST__VOLUME_STATE__VOLUME_AVAILABLE);
	assert_int_equal(report.version, 3);
	assert_int_equal(report.recovery_point, 11);
	assert_int_equal(report.recovery_point_lag_bytes, 12);
	assert_int_equal(report.recovery_point_age_ms, 13);
	assert_int_equal(report.sessions, 2);
	report_of(&w, false, 0, &report);
	assert_int_equal(report.state, HOLDFAST__VOLUME_STATE__VOLUME_ATTACHING);
	w.target.n_luns = 0;
	report_of(&w, true, 0, &report);
	assert_int_equal(report.state, HOLDFAST__VOLUME_STATE__VOLUME_ATTACHING);
	w.entry.create = true;
	report_of(&w, true, 0, &report);
	assert_int_equal(report.state, HOLDFAST__VOLUME_STATE__VOLUME_CREATING);
}

static void test_trouble_that_passes_is_no_failure(void **state)
{
	Holdfast__VolumeReport report;
	struct world w;

	(void)state;
	settled(&w);
	w.done.attached_version = 0;
	w.entry.create = true;
	report_of(&w, true, HF_ECONN, &report);
	assert_int_equal(report.state, HOLDFAST__VOLUME_STATE__VOLUME_CREATING);
	assert_int_equal(report.error, -HF_ECONN);
	assert_string_equal(report.reason, "why");
	report_of(&w, true, HF_EAUTH, &report);
	assert_int_equal(report.state, HOLDFAST__VOLUME_STATE__VOLUME_FAILED);
}

static void test_fenced_is_told(void **state)
{
	Holdfast__VolumeReport report;
	struct world w;

	(void)state;
	settled(&w);
	w.volume.state = HF_VOLUME_FENCED;
	w.volume.error = -HF_EFENCED;
	w.volume.reason = (char[]){"claimed elsewhere"};
	report_of(&w, true, 0, &report);
	assert_int_equal(report.state, HOLDFAST__VOLUME_STATE__VOLUME_FAILED);
	assert_int_equal(report.error, -HF_EFENCED);
	assert_string_equal(report.reason, "claimed elsewhere");
}

static void test_gone_is_told_when_it_is_gone(void **state)
{
	struct hf_trouble none = {0, ""};
	Holdfast__VolumeReport report;
	struct hf_plan plan;
	struct world w;

	(void)state;
	settled(&w);
	w.entry.attachment = HOLDFAST__ATTACHMENT__DETACHED;
	report_of(&w, true, 0, &report);
	assert_int_equal(report.state, HOLDFAST__VOLUME_STATE__VOLUME_DETACHING);
	no_target(&w);
	w.volume.state = HF_VOLUME_DETACHED;
	report_of(&w, true, 0, &report);
	assert_int_equal(report.state, HOLDFAST__VOLUME_STATE__VOLUME_DETACHED);
	hf_plan_tombstone(&w.tombstone, &w.done, &w.actual, &plan);
	hf_volume_state_of(NULL, &w.tombstone, &w.done, &w.actual, &plan, portal, &none, &report);
	assert_int_equal(report.state, HOLDFAST__VOLUME_STATE__VOLUME_DELETING);
	w.done.removed_version = 3;
	hf_plan_tombstone(&w.tombstone, &w.done, &w.actual, &plan);
	hf_volume_state_of(NULL, &w.tombstone, &w.done, &w.actual, &plan, portal, &none, &report);
	assert_int_equal(report.state, HOLDFAST__VOLUME_STATE__VOLUME_DELETED);
	assert_int_equal(report.version, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_difference_no_steps),
		cmocka_unit_test(test_a_new_volume),
		cmocka_unit_test(test_tgtd_was_restarted),
		cmocka_unit_test(test_volumed_was_restarted),
		cmocka_unit_test(test_a_new_agent_leaves_alone_what_is_right),
		cmocka_unit_test(test_half_done_work_is_finished),
		cmocka_unit_test(test_secrets_that_may_have_changed_are_set_again),
		cmocka_unit_test(test_a_higher_attach_epoch),
		cmocka_unit_test(test_a_target_with_a_foreign_lun_is_made_anew),
		cmocka_unit_test(test_volumed_is_away),
		cmocka_unit_test(test_tgtd_is_away),
		cmocka_unit_test(test_detach),
		cmocka_unit_test(test_tombstone),
		cmocka_unit_test(test_undo_takes_back_what_was_made),
		cmocka_unit_test(test_growth_is_told_when_the_lun_has_it),
		cmocka_unit_test(test_stray_targets),
		cmocka_unit_test(test_portals),
		cmocka_unit_test(test_access_rule),
		cmocka_unit_test(test_access_compares_users_too),
		cmocka_unit_test(test_available_means_that_a_login_works),
		cmocka_unit_test(test_trouble_that_passes_is_no_failure),
		cmocka_unit_test(test_fenced_is_told),
		cmocka_unit_test(test_gone_is_told_when_it_is_gone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
