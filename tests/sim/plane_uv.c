/* libuv as far as the management plane uses it: timers, one idle handle, closing. Each simulated
 * process has a loop; all of them share the world's time. These functions take the place of the
 * library's. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/plane.h"

/* A handle's own words, in `u.reserved`. */
enum { CLOSING = 1, IDLE_ON = 2 };

static uintptr_t *flags_of(uv_handle_t *handle)
{
	return (uintptr_t *)&handle->u.reserved[0];
}

static struct sim_loop *loop_of(const uv_loop_t *loop)
{
	return (struct sim_loop *)(uintptr_t)loop;
}

/* ---- What is put off ---- */

struct sim_post {
	struct sim_post *next;
	void (*call)(void *context);
	void *context;
};

void sim_post(struct sim_loop *loop, void (*call)(void *context), void *context)
{
	struct sim_post *post = malloc(sizeof *post);

	HF_ASSERT(post);
	*post = (struct sim_post){.call = call, .context = context};
	if (loop->last)
		loop->last->next = post;
	else
		loop->first = post;
	loop->last = post;
}

/* ---- The heap: place in heap_node[0], counted from 1; 0: it is not in it ---- */

static uintptr_t *place_of(uv_timer_t *timer)
{
	return (uintptr_t *)&timer->heap_node[0];
}

static bool before(const uv_timer_t *a, const uv_timer_t *b)
{
	return a->timeout != b->timeout ? a->timeout < b->timeout : a->start_id < b->start_id;
}

static void put(struct sim_loop *loop, unsigned at, uv_timer_t *timer)
{
	loop->timers[at] = timer;
	*place_of(timer) = at + 1;
}

static void sift_up(struct sim_loop *loop, unsigned at)
{
	uv_timer_t *timer = loop->timers[at];

	for (; at > 0 && before(timer, loop->timers[(at - 1) / 2]); at = (at - 1) / 2)
		put(loop, at, loop->timers[(at - 1) / 2]);
	put(loop, at, timer);
}

static void sift_down(struct sim_loop *loop, unsigned at)
{
	uv_timer_t *timer = loop->timers[at];

	for (;;) {
		unsigned child = 2 * at + 1;

		if (child + 1 < loop->count && before(loop->timers[child + 1], loop->timers[child]))
			child++;
		if (child >= loop->count || !before(loop->timers[child], timer))
			break;
		put(loop, at, loop->timers[child]);
		at = child;
	}
	put(loop, at, timer);
}

static void take_out(struct sim_loop *loop, uv_timer_t *timer)
{
	unsigned at = (unsigned)*place_of(timer) - 1;
	uv_timer_t *moved = loop->timers[--loop->count];

	*place_of(timer) = 0;
	if (moved == timer)
		return;
	put(loop, at, moved);
	sift_up(loop, at);
	sift_down(loop, (unsigned)*place_of(moved) - 1);
}

/* ---- The library's face ---- */

uint64_t uv_now(const uv_loop_t *loop)
{
	(void)loop;
	return sim_world.now_ms;
}

int uv_timer_init(uv_loop_t *loop, uv_timer_t *timer)
{
	void *data = timer->data;

	memset(timer, 0, sizeof *timer);
	timer->data = data;
	timer->loop = loop;
	timer->type = UV_TIMER;
	return 0;
}

int uv_timer_stop(uv_timer_t *timer)
{
	if (*place_of(timer))
		take_out(loop_of(timer->loop), timer);
	return 0;
}

int uv_timer_start(uv_timer_t *timer, uv_timer_cb call, uint64_t timeout, uint64_t repeat)
{
	struct sim_loop *loop = loop_of(timer->loop);

	if (*flags_of((uv_handle_t *)timer) & CLOSING)
		return UV_EINVAL;
	uv_timer_stop(timer);
	if (loop->count == loop->room) {
		loop->room = loop->room ? 2 * loop->room : 32;
		loop->timers = realloc(loop->timers, loop->room * sizeof *loop->timers);
		HF_ASSERT(loop->timers);
	}
	timer->timer_cb = call;
	timer->timeout = sim_world.now_ms + timeout;
	timer->repeat = repeat;
	timer->start_id = ++loop->started;
	loop->timers[loop->count++] = timer;
	sift_up(loop, loop->count - 1);
	return 0;
}

int uv_idle_init(uv_loop_t *loop, uv_idle_t *idle)
{
	void *data = idle->data;

	memset(idle, 0, sizeof *idle);
	idle->data = data;
	idle->loop = loop;
	idle->type = UV_IDLE;
	return 0;
}

int uv_idle_start(uv_idle_t *idle, uv_idle_cb call)
{
	struct sim_loop *loop = loop_of(idle->loop);

	HF_ASSERT(!loop->idle || loop->idle == idle);
	idle->idle_cb = call;
	loop->idle = idle;
	return 0;
}

int uv_idle_stop(uv_idle_t *idle)
{
	if (loop_of(idle->loop)->idle == idle)
		loop_of(idle->loop)->idle = NULL;
	return 0;
}

int uv_is_active(const uv_handle_t *handle)
{
	if (handle->type == UV_TIMER)
		return *place_of((uv_timer_t *)(uintptr_t)handle) != 0;
	return loop_of(handle->loop)->idle == (const uv_idle_t *)handle;
}

int uv_is_closing(const uv_handle_t *handle)
{
	return (*flags_of((uv_handle_t *)(uintptr_t)handle) & CLOSING) != 0;
}

void uv_unref(uv_handle_t *handle)
{
	(void)handle;
}

static void closed(void *context)
{
	uv_handle_t *handle = context;

	if (handle->close_cb)
		handle->close_cb(handle);
}

/* A handle without a callback may be freed by its owner once the loop has ended. */
void uv_close(uv_handle_t *handle, uv_close_cb call)
{
	HF_ASSERT(!uv_is_closing(handle));
	if (handle->type == UV_TIMER)
		uv_timer_stop((uv_timer_t *)handle);
	else
		uv_idle_stop((uv_idle_t *)handle);
	*flags_of(handle) |= CLOSING;
	handle->close_cb = call;
	if (call)
		sim_post(loop_of(handle->loop), closed, handle);
}

/* ---- Loops ---- */

void sim_loop_open(struct sim_loop *loop, struct sim_process *process)
{
	memset(loop, 0, sizeof *loop);
	loop->process = process;
}

void sim_loop_close(struct sim_loop *loop)
{
	HF_ASSERT(!loop->first);
	free(loop->timers);
	loop->timers = NULL;
	loop->count = loop->room = 0;
}

uint64_t sim_loop_due_ms(const struct sim_loop *loop)
{
	if (loop->first || loop->idle)
		return 0;
	return loop->count ? loop->timers[0]->timeout : SIM_NEVER;
}

bool sim_loop_turn_posts(struct sim_loop *loop)
{
	struct sim_process *was = sim_enter(loop->process);
	struct sim_post *list = loop->first, *post;

	loop->first = loop->last = NULL;
	while ((post = list) != NULL) {
		list = post->next;
		post->call(post->context);
		free(post);
	}
	sim_leave(was);
	return loop->first != NULL;
}

void sim_loop_turn(struct sim_loop *loop)
{
	struct sim_process *was = sim_enter(loop->process);
	uint64_t started = loop->started;

	if (loop->idle)
		loop->idle->idle_cb(loop->idle);
	while (loop->count && loop->timers[0]->timeout <= sim_world.now_ms &&
	       loop->timers[0]->start_id <= started) {
		uv_timer_t *timer = loop->timers[0];

		take_out(loop, timer);
		if (timer->repeat)
			uv_timer_start(timer, timer->timer_cb, timer->repeat, timer->repeat);
		timer->timer_cb(timer);
	}
	sim_leave(was);
	sim_loop_turn_posts(loop);
}

void sim_after(uv_timer_t *timer, uint64_t wait_ms, uv_timer_cb call, void *data)
{
	if (!timer->loop)
		uv_timer_init(&sim_world.loop.uv, timer);
	timer->data = data;
	uv_timer_start(timer, call, wait_ms, 0);
}
