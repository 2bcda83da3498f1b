/* Promises of events: each change is one event, numbers rise without gaps, what the provider has is
 * not told again and what it lacks is, and what finds no room is counted (bounded, never blocking).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "gateway/agent/events.h"

static struct hf_events events;
static Holdfast__Report report;
static Holdfast__VolumeReport volume;

static int setup(void **state)
{
	static Holdfast__VolumeReport *volumes[1];

	(void)state;
	hf_events_open(&events);
	holdfast__report__init(&report);
	holdfast__volume_report__init(&volume);
	volume.volume = 7;
	volume.state = HOLDFAST__VOLUME_STATE__VOLUME_CREATING;
	volumes[0] = &volume;
	report.volumes = volumes;
	report.volumed_running = report.target_running = true;
	return 0;
}

static void subscribe(uint64_t run, uint64_t after)
{
	Holdfast__Subscribe message = HOLDFAST__SUBSCRIBE__INIT;

	message.events_run = run;
	message.events_after = after;
	hf_events_subscribed(&events, &message);
}

/* Fills a report, which is sent. */
static void fill(Holdfast__Report *filled)
{
	hf_events_fill(&events, filled);
	hf_events_told(&events, filled);
}

/* Fills a report; checks that it has exactly this event. */
static void expect_one(uint64_t number, const char *kind, const char *text)
{
	Holdfast__Report filled = HOLDFAST__REPORT__INIT;

	fill(&filled);
	assert_false(hf_events_waiting(&events));
	assert_int_equal(filled.n_events, 1);
	assert_int_equal(filled.events[0]->number, number);
	assert_string_equal(filled.events[0]->kind, kind);
	assert_string_equal(filled.events[0]->text, text);
}

static void test_each_change_is_one_event(void **state)
{
	char *alarms[] = {(char[]){"the store is away"}};

	(void)state;
	assert_true(hf_events_look(&events, &report, 10, 1000));
	expect_one(1, "agent.started", "the agent has started");
	assert_false(hf_events_look(&events, &report, 10, 2000));
	report.n_volumes = 1;
	assert_true(hf_events_look(&events, &report, 10, 3000));
	expect_one(2, "volume.state", "creating");
	volume.state = HOLDFAST__VOLUME_STATE__VOLUME_FAILED;
	volume.error = 4;
	volume.reason = (char[]){"no space"};
	assert_true(hf_events_look(&events, &report, 10, 4000));
	expect_one(3, "volume.state", "creating -> failed: no space");
	report.alarms = alarms;
	report.n_alarms = 1;
	assert_true(hf_events_look(&events, &report, 10, 5000));
	expect_one(4, "alarm.raised", "the store is away");
	assert_false(hf_events_look(&events, &report, 0, 6000));
	assert_true(hf_events_look(&events, &report, 11, 6000));
	expect_one(5, "volumed.restarted", "volumed was started again");
	report.n_alarms = 0;
	assert_true(hf_events_look(&events, &report, 11, 7000));
	expect_one(6, "alarm.cleared", "the store is away");
	report.target_running = false;
	assert_true(hf_events_look(&events, &report, 11, 8000));
	expect_one(7, "target.away", "the iSCSI target does not answer");
}

static void test_only_what_is_missing_is_told(void **state)
{
	Holdfast__Report filled = HOLDFAST__REPORT__INIT;

	(void)state;
	hf_events_look(&events, &report, 0, 1000);
	report.target_running = false;
	hf_events_look(&events, &report, 0, 1000);
	report.target_running = true;
	hf_events_look(&events, &report, 0, 1000);
	fill(&filled);
	assert_int_equal(filled.n_events, 3);
	subscribe(events.run, 2); /* the connection was lost before the third */
	expect_one(3, "target.back", "the iSCSI target answers");
	subscribe(events.run, 3);
	fill(&filled);
	assert_int_equal(filled.n_events, 0);
	subscribe(events.run + 1, 3); /* of an earlier run */
	fill(&filled);
	assert_int_equal(filled.n_events, 3);
	subscribe(events.run, 99); /* that cannot be */
	fill(&filled);
	assert_int_equal(filled.n_events, 3);
}

/* A report that finds no room on the connection has told nothing. */
static void test_what_was_not_sent_is_told_by_the_next_report(void **state)
{
	Holdfast__Report filled = HOLDFAST__REPORT__INIT;

	(void)state;
	hf_events_look(&events, &report, 0, 1000);
	hf_events_fill(&events, &filled);
	assert_int_equal(filled.n_events, 1);
	assert_true(hf_events_waiting(&events));
	fill(&filled);
	assert_int_equal(filled.n_events, 1);
	assert_int_equal(filled.events[0]->number, 1);
	assert_false(hf_events_waiting(&events));
}

static void test_what_finds_no_room_is_counted(void **state)
{
	Holdfast__Report filled = HOLDFAST__REPORT__INIT;

	(void)state;
	for (unsigned i = 0; i < HF_EVENTS_MAX + 10; i++) {
		report.target_running = i % 2 == 0;
		hf_events_look(&events, &report, 0, 1000);
	}
	assert_int_equal(events.last, HF_EVENTS_MAX + 10);
	fill(&filled);
	assert_true(hf_events_waiting(&events));
	assert_int_equal(filled.n_events, HF_EVENTS_AT_ONCE);
	assert_int_equal(filled.events_lost, 10);
	assert_int_equal(filled.events[0]->number, 11);
	fill(&filled);
	assert_false(hf_events_waiting(&events));
	assert_int_equal(filled.events[filled.n_events - 1]->number, HF_EVENTS_MAX + 10);
	subscribe(0, 0);
	fill(&filled);
	assert_true(hf_events_waiting(&events));
	assert_int_equal(filled.events[0]->number, 11);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup(name, setup)
	const struct CMUnitTest tests[] = {
		T(test_each_change_is_one_event),
		T(test_only_what_is_missing_is_told),
		T(test_what_was_not_sent_is_told_by_the_next_report),
		T(test_what_finds_no_room_is_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
