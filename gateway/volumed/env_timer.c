/* The environment's timers: a binary heap by due time beneath one timerfd, which is exact to far
 * below a millisecond (a uv_timer is not) and lets a timer that is due at once take its turn among
 * the loop's other events. A timer's memory is its owner's; while it is armed, `impl` holds its
 * index in the heap. Runs on the loop's thread. */
#include "gateway/volumed/env_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define IN_EXPIRED ((void *)UINTPTR_MAX) /* impl of a timer that is due and about to fire */

static size_t index_of(const struct hf_timer *timer)
{
	return (size_t)(uintptr_t)timer->impl;
}

static void put(struct hf_env_timers *timers, size_t index, struct hf_timer *timer)
{
	timers->heap[index] = timer;
	timer->impl = (void *)(uintptr_t)index;
}

static void sift_up(struct hf_env_timers *timers, size_t index)
{
	struct hf_timer *timer = timers->heap[index];

	while (index > 0 && timers->heap[(index - 1) / 2]->due_ns > timer->due_ns) {
		put(timers, index, timers->heap[(index - 1) / 2]);
		index = (index - 1) / 2;
	}
	put(timers, index, timer);
}

static void sift_down(struct hf_env_timers *timers, size_t index)
{
	struct hf_timer *timer = timers->heap[index];
	size_t child;

	while ((child = 2 * index + 1) < timers->count) {
		if (child + 1 < timers->count &&
		    timers->heap[child + 1]->due_ns < timers->heap[child]->due_ns)
			child++;
		if (timers->heap[child]->due_ns >= timer->due_ns)
			break;
		put(timers, index, timers->heap[child]);
		index = child;
	}
	put(timers, index, timer);
}

static void take_out(struct hf_env_timers *timers, struct hf_timer *timer)
{
	size_t index = index_of(timer);
	struct hf_timer *last;

	timer->armed = false;
	if (timer->impl == IN_EXPIRED) {
		hf_list_remove(&timer->link);
		timer->impl = NULL;
		return;
	}
	last = timers->heap[--timers->count];
	HF_ASSERT(index <= timers->count);
	timer->impl = NULL;
	if (last == timer)
		return;
	put(timers, index, last);
	sift_up(timers, index);
	sift_down(timers, index_of(last));
}

/* A due time of the past makes the descriptor readable at once. Done once a turn of the loop,
 * before it waits: most timers of a commit are set and cancelled within one turn. */
static void arm(struct hf_env_timers *timers)
{
	struct itimerspec due = {{0}};

	if (timers->count == 0 || timers->heap[0]->due_ns == timers->armed_ns)
		return;
	timers->armed_ns = timers->heap[0]->due_ns;
	due.it_value.tv_sec = (time_t)(timers->armed_ns / HF_NS_PER_S);
	due.it_value.tv_nsec = (long)(timers->armed_ns % HF_NS_PER_S);
	if (timers->armed_ns == 0)
		due.it_value.tv_nsec = 1; /* zero would disarm */
	HF_ASSERT(timerfd_settime(timers->fd, TFD_TIMER_ABSTIME, &due, NULL) == 0);
}

/* First all that are due leave the heap, then they fire: one that arms itself again for now waits
 * for the next turn of the loop, behind every other timer and event. */
static void timers_fired(uv_poll_t *handle, int status, int events)
{
	struct hf_env_uv *env = handle->data;
	struct hf_env_timers *timers = &env->timers;
	uint64_t now = uv_hrtime(), expirations;
	struct hf_list *link;

	HF_CHECK_MAGIC(env, HF_ENV_MAGIC);
	(void)status;
	(void)events;
	if (read(timers->fd, &expirations, sizeof expirations) < 0)
		HF_ASSERT(errno == EAGAIN || errno == EINTR);
	timers->armed_ns = UINT64_MAX;
	while (timers->count > 0 && timers->heap[0]->due_ns <= now) {
		struct hf_timer *timer = timers->heap[0];

		take_out(timers, timer);
		timer->armed = true;
		timer->impl = IN_EXPIRED;
		hf_list_push_back(&timers->expired, &timer->link);
	}
	while ((link = hf_list_pop_front(&timers->expired)) != NULL) {
		struct hf_timer *timer = hf_container_of(link, struct hf_timer, link);

		timer->armed = false;
		timer->impl = NULL;
		timer->fired(timer);
	}
}

static void before_waiting(uv_prepare_t *handle)
{
	struct hf_env_uv *env = handle->data;

	HF_CHECK_MAGIC(env, HF_ENV_MAGIC);
	arm(&env->timers);
}

void hf_env_timer_set_uv(struct hf_env *table, struct hf_timer *timer, uint64_t due_ns)
{
	struct hf_env_uv *env = hf_env_uv_of(table);
	struct hf_env_timers *timers = &env->timers;

	if (timer->armed)
		take_out(timers, timer);
	if (env->closing)
		return;
	if (timers->count == timers->capacity) {
		timers->capacity = timers->capacity ? 2 * timers->capacity : 64;
		timers->heap = realloc(timers->heap, timers->capacity * sizeof(struct hf_timer *));
		HF_ASSERT(timers->heap);
	}
	timer->due_ns = due_ns;
	timer->armed = true;
	put(timers, timers->count++, timer);
	sift_up(timers, timers->count - 1);
}

/* The descriptor stays armed: at worst it wakes for nothing once. */
void hf_env_timer_cancel_uv(struct hf_env *table, struct hf_timer *timer)
{
	struct hf_env_uv *env = hf_env_uv_of(table);

	if (timer->armed)
		take_out(&env->timers, timer);
}

int hf_env_timers_init(struct hf_env_uv *env, struct hf_errmsg *message)
{
	struct hf_env_timers *timers = &env->timers;
	int err;

	timers->armed_ns = UINT64_MAX;
	hf_list_init(&timers->expired);
	timers->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (timers->fd < 0)
		return hf_fail(message, hf_err_from_errno(errno), "timerfd: %s", strerror(errno));
	err = uv_poll_init(env->loop, &timers->poll, timers->fd);
	if (err)
		goto err_after_fd;
	/* Handles that were started later run earlier, so what they set is seen. */
	uv_prepare_init(env->loop, &timers->prepare);
	uv_prepare_start(&timers->prepare, before_waiting);
	uv_unref((uv_handle_t *)&timers->prepare);
	timers->poll.data = timers->prepare.data = env;
	timers->open = true;
	env->handles += 2;
	err = uv_poll_start(&timers->poll, UV_READABLE, timers_fired);
	if (err)
		return hf_fail(message, hf_err_from_errno(-err), "timerfd: %s", uv_strerror(err));
	return 0;

err_after_fd:
	close(timers->fd);
	return hf_fail(message, hf_err_from_errno(-err), "timerfd: %s", uv_strerror(err));
}

void hf_env_timers_disarm(struct hf_env_uv *env)
{
	struct hf_env_timers *timers = &env->timers;

	while (timers->count > 0)
		take_out(timers, timers->heap[0]);
	while (!hf_list_empty(&timers->expired))
		take_out(timers, hf_container_of(timers->expired.next, struct hf_timer, link));
}

void hf_env_timers_stop(struct hf_env_uv *env)
{
	if (!env->timers.open)
		return;
	hf_env_close_handle(env, (uv_handle_t *)&env->timers.poll);
	hf_env_close_handle(env, (uv_handle_t *)&env->timers.prepare);
}

void hf_env_timers_free(struct hf_env_uv *env)
{
	free(env->timers.heap);
	if (env->timers.open)
		close(env->timers.fd);
}
