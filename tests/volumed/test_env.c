/* Promises of base/env.h that the real environment keeps for timers, work and the object store,
 * and what hf_env_uv_set_store and hf_env_uv_close say. */
#include "tests/volumed/env_fixture.h"

#include <stdio.h>
#include <sys/stat.h>

/* ---- Timers ---- */

struct alarm_clock {
	struct hf_timer timer;
	struct fixture *fixture;
	unsigned number, again;
	uint64_t due_ns;
	unsigned *order, *fired;
};

static void clock_fired(struct hf_timer *timer)
{
	struct alarm_clock *clock = hf_container_of(timer, struct alarm_clock, timer);

	assert_false(timer->armed);
	assert_true(hf_env_now_ns(clock->fixture->env) >= clock->due_ns);
	if (clock->order)
		clock->order[*clock->fired] = clock->number;
	(*clock->fired)++;
	if (clock->again > 0) {
		clock->again--;
		hf_env_timer_set(clock->fixture->env, timer, clock->due_ns);
	}
}

static void set(struct alarm_clock *clock, uint64_t due_ns)
{
	clock->timer.fired = clock_fired;
	clock->due_ns = due_ns;
	hf_env_timer_set(clock->fixture->env, &clock->timer, due_ns);
	assert_true(clock->timer.armed);
}

static void test_timers_fire_in_order_and_never_early(void **state)
{
	enum { COUNT = 200 };
	struct fixture *fixture = *state;
	struct alarm_clock clocks[COUNT];
	unsigned order[COUNT], fired = 0;
	uint64_t now = hf_env_now_ns(fixture->env);

	memset(clocks, 0, sizeof clocks);
	for (unsigned i = 0; i < COUNT; i++) {
		clocks[i] = (struct alarm_clock){
			.fixture = fixture, .number = i, .order = order, .fired = &fired};
		set(&clocks[i], now + ((i * 77) % COUNT) * (HF_NS_PER_MS / 4));
	}
	fixture_run(fixture, &fired, COUNT);
	for (unsigned i = 1; i < COUNT; i++)
		assert_true(clocks[order[i - 1]].due_ns <= clocks[order[i]].due_ns);
}

static void test_cancelled_timers_stay_quiet(void **state)
{
	struct fixture *fixture = *state;
	struct alarm_clock clocks[10], last = {.fixture = fixture};
	unsigned fired = 0, end = 0;
	uint64_t now = hf_env_now_ns(fixture->env);

	memset(clocks, 0, sizeof clocks);
	last.fired = &end;
	for (unsigned i = 0; i < 10; i++) {
		clocks[i] = (struct alarm_clock){.fixture = fixture, .fired = &fired};
		set(&clocks[i], now + i * HF_NS_PER_MS);
	}
	set(&clocks[3], now + HF_NS_PER_MS / 2); /* armed again: fires once */
	for (unsigned i = 0; i < 10; i += 2)
		hf_env_timer_cancel(fixture->env, &clocks[i].timer);
	hf_env_timer_cancel(fixture->env, &clocks[0].timer);
	set(&last, now + 20 * HF_NS_PER_MS);
	fixture_run(fixture, &end, 1);
	assert_int_equal(fired, 5);
}

/* One that is due again at once must not keep the loop from everything else. */
static void test_a_restless_timer_starves_nobody(void **state)
{
	struct fixture *fixture = *state;
	unsigned restless_fired = 0, fired = 0;
	struct alarm_clock restless = {
		.fixture = fixture, .fired = &restless_fired, .again = 1000000};
	struct alarm_clock other = {.fixture = fixture, .fired = &fired};
	uint64_t now = hf_env_now_ns(fixture->env);

	set(&restless, now);
	set(&other, now + 3 * HF_NS_PER_MS);
	fixture_run(fixture, &fired, 1);
	assert_true(restless_fired > 0 && restless.again > 0);
	hf_env_timer_cancel(fixture->env, &restless.timer);
}

/* ---- Work ---- */

struct job {
	struct hf_work work;
	struct fixture *fixture;
	unsigned input, output, *done;
};

static void job_run(struct hf_work *work)
{
	struct job *job = hf_container_of(work, struct job, work);

	assert_false(pthread_equal(pthread_self(), job->fixture->thread));
	job->output = job->input * 3;
}

static void job_done(struct hf_work *work)
{
	struct job *job = hf_container_of(work, struct job, work);

	assert_true(pthread_equal(pthread_self(), job->fixture->thread));
	assert_int_equal(job->output, job->input * 3);
	(*job->done)++;
}

static void test_work_runs_elsewhere_and_ends_here(void **state)
{
	enum { COUNT = 5000 };
	struct fixture *fixture = *state;
	struct job *jobs = calloc(COUNT, sizeof *jobs);
	unsigned done = 0;

	for (unsigned i = 0; i < COUNT; i++) {
		jobs[i] = (struct job){.work = {.run = job_run, .done = job_done},
				       .fixture = fixture,
				       .input = i,
				       .done = &done};
		hf_env_work_submit(fixture->env, &jobs[i].work);
	}
	fixture_run(fixture, &done, COUNT);
	free(jobs);
}

static void test_random_bytes_differ(void **state)
{
	struct fixture *fixture = *state;
	uint8_t a[300], b[300];

	hf_env_random(fixture->env, a, sizeof a);
	hf_env_random(fixture->env, b, sizeof b);
	assert_memory_not_equal(a, b, sizeof a);
	assert_true(hf_env_wall_ms(fixture->env) > 1700000000000u);
}

/* ---- Store ---- */

struct call {
	struct hf_store_io io;
	struct fixture *fixture;
	unsigned *done;
};

static void call_done(struct hf_store_io *io)
{
	struct call *call = hf_container_of(io, struct call, io);

	assert_true(pthread_equal(pthread_self(), call->fixture->thread));
	(*call->done)++;
}

static void put(struct call *call, const char *name, const void *data, size_t length)
{
	call->io = (struct hf_store_io){
		.op = HF_STORE_PUT, .data = data, .length = length, .done = call_done};
	snprintf(call->io.name, sizeof call->io.name, "%s", name);
	hf_env_store_submit(call->fixture->env, &call->io);
}

struct change {
	struct hf_env_uv_store_change change;
	unsigned *done;
	char url[128];
};

static void change_done(struct hf_env_uv_store_change *raw)
{
	struct change *change = hf_container_of(raw, struct change, change);

	(*change->done)++;
}

static void use_directory(struct fixture *fixture, struct change *change, const char *name)
{
	snprintf(change->url, sizeof change->url, "dir:%s/%s", fixture->directory, name);
	mkdir(change->url + 4, 0700);
	change->change = (struct hf_env_uv_store_change){.config = {.url = change->url},
							 .done = change_done};
	hf_env_uv_set_store(fixture->uv, &change->change);
}

static void get(struct fixture *fixture, const char *name, int expected, const char *text)
{
	unsigned done = 0;
	struct call call = {.fixture = fixture, .done = &done};

	call.io = (struct hf_store_io){.op = HF_STORE_GET, .done = call_done};
	snprintf(call.io.name, sizeof call.io.name, "%s", name);
	hf_env_store_submit(fixture->env, &call.io);
	fixture_run(fixture, &done, 1);
	assert_int_equal(call.io.status, expected);
	if (text) {
		assert_int_equal(call.io.body_length, strlen(text));
		assert_memory_equal(call.io.body, text, strlen(text));
	}
	free(call.io.body);
}

static void test_without_a_store_operations_wait_until_their_deadline(void **state)
{
	struct fixture *fixture = *state;
	unsigned done = 0;
	struct call call = {.fixture = fixture, .done = &done};
	uint64_t start_ns = hf_env_now_ns(fixture->env);

	call.io = (struct hf_store_io){.op = HF_STORE_GET,
				       .name = "a/b",
				       .deadline_ns = start_ns + 30 * HF_NS_PER_MS,
				       .done = call_done};
	hf_env_store_submit(fixture->env, &call.io);
	fixture_run(fixture, &done, 1);
	assert_int_equal(call.io.status, HF_ECONN);
	assert_true(hf_env_now_ns(fixture->env) >= call.io.deadline_ns);
}

static void test_waiting_operations_go_to_the_store_that_is_set(void **state)
{
	enum { COUNT = 300 };
	struct fixture *fixture = *state;
	struct call *calls = calloc(COUNT, sizeof *calls);
	struct change change = {0};
	unsigned done = 0, changed = 0;
	char name[32];

	for (unsigned i = 0; i < COUNT; i++) {
		calls[i] = (struct call){.fixture = fixture, .done = &done};
		snprintf(name, sizeof name, "t/%03u", i);
		put(&calls[i], name, "hello", 5);
		if (i == COUNT / 2) {
			change.done = &changed;
			use_directory(fixture, &change, "one");
		}
	}
	fixture_run(fixture, &done, COUNT);
	fixture_run(fixture, &changed, 1);
	assert_int_equal(change.change.status, 0);
	for (unsigned i = 0; i < COUNT; i++)
		assert_int_equal(calls[i].io.status, 0);
	get(fixture, "t/299", 0, "hello");
	get(fixture, "t/300", HF_ENOENT, NULL);
	free(calls);
}

/* Operations of the store before either took effect or say "try again". */
static void test_a_store_can_be_switched_under_load(void **state)
{
	enum { COUNT = 200 };
	struct fixture *fixture = *state;
	struct call *calls = calloc(COUNT, sizeof *calls);
	struct change changes[2] = {0};
	unsigned done = 0, changed = 0;
	char name[32];

	changes[0].done = changes[1].done = &changed;
	use_directory(fixture, &changes[0], "one");
	fixture_run(fixture, &changed, 1);
	for (unsigned i = 0; i < COUNT; i++) {
		calls[i] = (struct call){.fixture = fixture, .done = &done};
		snprintf(name, sizeof name, "s/%03u", i);
		put(&calls[i], name, "data", 4);
		if (i == 20)
			use_directory(fixture, &changes[1], "two");
	}
	fixture_run(fixture, &done, COUNT);
	fixture_run(fixture, &changed, 2);
	for (unsigned i = 0; i < COUNT; i++)
		assert_true(calls[i].io.status == 0 || calls[i].io.status == HF_EAGAIN);
	put(&calls[0], "s/after", "two", 3);
	fixture_run(fixture, &done, COUNT + 1);
	get(fixture, "s/after", 0, "two");
	free(calls);
}

static void test_a_bad_store_is_refused_and_the_old_one_stays(void **state)
{
	struct fixture *fixture = *state;
	struct change change = {0}, bad = {0};
	struct call call = {.fixture = fixture};
	unsigned changed = 0, done = 0;

	call.done = &done;
	change.done = bad.done = &changed;
	use_directory(fixture, &change, "one");
	fixture_run(fixture, &changed, 1);
	bad.change = (struct hf_env_uv_store_change){.config = {.url = "gopher://x"},
						     .done = change_done};
	hf_env_uv_set_store(fixture->uv, &bad.change);
	fixture_run(fixture, &changed, 2);
	assert_true(bad.change.status < 0);
	assert_true(strlen(bad.change.message.text) > 0);
	put(&call, "x/y", "kept", 4);
	fixture_run(fixture, &done, 1);
	get(fixture, "x/y", 0, "kept");
}

/* ---- Close ---- */

static void count_closed(void *context)
{
	unsigned *closed = context;

	(*closed)++;
}

/* With everything under way at once: each done comes once, before closed, and timers are quiet. */
static void test_close_ends_everything(void **state)
{
	enum { COUNT = 300 };
	struct fixture *fixture = *state;
	struct call *calls = calloc(COUNT, sizeof *calls);
	struct job *jobs = calloc(COUNT, sizeof *jobs);
	struct alarm_clock clock = {.fixture = fixture};
	struct change change = {0};
	unsigned stored = 0, worked = 0, changed = 0, fired = 0, closed = 0;

	clock.fired = &fired;
	change.done = &changed;
	set(&clock, hf_env_now_ns(fixture->env) + HF_NS_PER_MS);
	for (unsigned i = 0; i < COUNT; i++) {
		calls[i] = (struct call){.fixture = fixture, .done = &stored};
		put(&calls[i], "c/x", "y", 1);
		if (i == 100)
			use_directory(fixture, &change, "one");
		jobs[i] = (struct job){.work = {.run = job_run, .done = job_done},
				       .fixture = fixture,
				       .done = &worked};
		hf_env_work_submit(fixture->env, &jobs[i].work);
	}
	hf_env_uv_close(fixture->uv, count_closed, &closed);
	put(&calls[0], "c/late", "y", 1);
	uv_run(&fixture->loop, UV_RUN_DEFAULT);
	fixture->uv = NULL;
	assert_int_equal(closed, 1);
	assert_int_equal(stored, COUNT + 1);
	assert_int_equal(worked, COUNT);
	assert_int_equal(changed, 1);
	assert_int_equal(fired, 0);
	free(calls);
	free(jobs);
}

/* A core that closes must not wait for a store that is away; its disk still works. */
static void test_the_store_can_end_first(void **state)
{
	struct fixture *fixture = *state;
	unsigned done = 0, worked = 0;
	struct call call = {.fixture = fixture, .done = &done};
	struct job job = {
		.work = {.run = job_run, .done = job_done}, .fixture = fixture, .done = &worked};

	put(&call, "e/x", "y", 1); /* waits for a store */
	hf_env_uv_close_store(fixture->uv);
	fixture_run(fixture, &done, 1);
	assert_int_equal(call.io.status, HF_ECANCELED);
	put(&call, "e/x", "y", 1);
	fixture_run(fixture, &done, 2);
	assert_int_equal(call.io.status, HF_ECANCELED);
	hf_env_work_submit(fixture->env, &job.work);
	fixture_run(fixture, &worked, 1);
}

static void test_close_at_once(void **state)
{
	fixture_close(*state);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_timers_fire_in_order_and_never_early),
		TEST(test_cancelled_timers_stay_quiet),
		TEST(test_a_restless_timer_starves_nobody),
		TEST(test_work_runs_elsewhere_and_ends_here),
		TEST(test_random_bytes_differ),
		TEST(test_without_a_store_operations_wait_until_their_deadline),
		TEST(test_waiting_operations_go_to_the_store_that_is_set),
		TEST(test_a_store_can_be_switched_under_load),
		TEST(test_a_bad_store_is_refused_and_the_old_one_stays),
		TEST(test_close_ends_everything),
		TEST(test_the_store_can_end_first),
		TEST(test_close_at_once),
	};

	return cmocka_run_group_tests_name("volumed env", tests, NULL, NULL);
}
