/* Start-up and shutdown as steps (steps.h): in order, undone in reverse, a failure undoes exactly
 * what was up, a stop during start-up waits for the step under way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "gateway/volumed/alarms.h"
#include "gateway/volumed/steps.h"

static char story[64];
static int fail_at_c;
static struct hf_steps *pending;
static int end_status;

static void say(const char *text)
{
	strcat(story, text);
}

#define STEP(name, up_text, down_text, status)                                                     \
	static void name##_up(struct hf_steps *steps, void *context)                               \
	{                                                                                          \
		(void)context;                                                                     \
		say(up_text);                                                                      \
		hf_steps_next(steps, status, NULL);                                                \
	}                                                                                          \
	static void name##_down(struct hf_steps *steps, void *context)                             \
	{                                                                                          \
		(void)context;                                                                     \
		say(down_text);                                                                    \
		hf_steps_next(steps, 0, NULL);                                                     \
	}
STEP(a, "A", "a", 0)
STEP(c, "C", "c", fail_at_c)

static void b_up(struct hf_steps *steps, void *context)
{
	(void)context;
	say("B");
	pending = steps; /* later */
}

static void all_up(void *context)
{
	(void)context;
	say("!");
}

static void all_down(void *context, int status)
{
	(void)context;
	say(".");
	end_status = status;
}

static const struct hf_step table[] = {{"a", a_up, a_down}, {"b", b_up, NULL}, {"c", c_up, c_down}};

static struct hf_steps begin(void)
{
	story[0] = '\0';
	pending = NULL;
	fail_at_c = 0;
	end_status = 1;
	return (struct hf_steps){
		.table = table, .count = 3, .all_up = all_up, .all_down = all_down};
}

static void test_up_and_down(void **state)
{
	struct hf_steps steps = begin();

	(void)state;
	hf_steps_up(&steps);
	assert_string_equal(story, "AB");
	hf_steps_next(pending, 0, NULL);
	assert_string_equal(story, "ABC!");
	hf_steps_down(&steps);
	hf_steps_down(&steps);
	assert_string_equal(story, "ABC!ca.");
	assert_int_equal(end_status, 0);
}

static void test_a_failure_undoes_what_was_up(void **state)
{
	struct hf_steps steps = begin();

	(void)state;
	fail_at_c = HF_EIO;
	hf_steps_up(&steps);
	hf_steps_next(pending, 0, NULL);
	assert_string_equal(story, "ABCa.");
	assert_int_equal(end_status, HF_EIO);
}

static void test_a_stop_waits_for_the_step_under_way(void **state)
{
	struct hf_steps steps = begin();

	(void)state;
	hf_steps_up(&steps);
	hf_steps_down(&steps);
	assert_string_equal(story, "AB");
	hf_steps_next(pending, 0, NULL);
	assert_string_equal(story, "ABa.");
	assert_int_equal(end_status, 0);
}

static void test_alarms_are_bounded(void **state)
{
	static struct hf_alarms alarms;
	char text[16] = "alarm 00";

	(void)state;
	hf_alarm_raise(&alarms, 0, "again");
	hf_alarm_raise(&alarms, 0, "again");
	assert_int_equal(hf_alarms_count(&alarms), 1);
	for (unsigned i = 0; i < 80; i++) {
		text[6] = (char)('0' + i / 10);
		text[7] = (char)('0' + i % 10);
		hf_alarm_raise(&alarms, 0xab, text);
	}
	assert_int_equal(hf_alarms_count(&alarms), HF_ALARMS_MAX);
	assert_non_null(strstr(hf_alarms_get(&alarms, 0), "vol-00000000000000ab: alarm 16"));
	assert_non_null(strstr(hf_alarms_get(&alarms, HF_ALARMS_MAX - 1), "alarm 79"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_up_and_down),
		cmocka_unit_test(test_a_failure_undoes_what_was_up),
		cmocka_unit_test(test_a_stop_waits_for_the_step_under_way),
		cmocka_unit_test(test_alarms_are_bounded),
	};

	return cmocka_run_group_tests_name("volumed steps", tests, NULL, NULL);
}
