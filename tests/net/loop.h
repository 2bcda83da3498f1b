/* A libuv loop for tests: runs until a condition holds, with a deadline, never a sleep. */
#ifndef HF_TESTS_NET_LOOP_H
#define HF_TESTS_NET_LOOP_H

#include <stdbool.h>
#include <uv.h>

#define LOOP_DEADLINE_MS 30000u

struct test_loop {
	uv_loop_t loop;
	uv_timer_t ticker; /* wakes the loop so that the condition is looked at */
};

static inline void test_loop_tick(uv_timer_t *timer)
{
	(void)timer;
}

static inline void test_loop_open(struct test_loop *loop)
{
	uv_loop_init(&loop->loop);
	uv_timer_init(&loop->loop, &loop->ticker);
	uv_timer_start(&loop->ticker, test_loop_tick, 5, 5);
}

/* Fails the test if anything was left open. */
static inline void test_loop_close(struct test_loop *loop)
{
	uv_close((uv_handle_t *)&loop->ticker, NULL);
	uv_run(&loop->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop->loop), 0);
}

#define RUN_UNTIL(loop_, condition)                                                                \
	do {                                                                                       \
		uint64_t until_ms_;                                                                \
		uv_update_time(&(loop_)->loop);                                                    \
		until_ms_ = uv_now(&(loop_)->loop) + LOOP_DEADLINE_MS;                             \
		while (!(condition)) {                                                             \
			uv_run(&(loop_)->loop, UV_RUN_ONCE);                                       \
			assert_true(uv_now(&(loop_)->loop) < until_ms_);                           \
		}                                                                                  \
	} while (0)

#endif
