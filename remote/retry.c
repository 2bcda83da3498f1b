/* Repeating store operations, behind remote/retry.h. Core's thread.
 *
 *   idle ──start──▶ running ──answered──▶ done
 *                    ▲    │
 *                    │    └─transient──▶ waiting ──deadline, cancel──▶ done
 *                    └──────timer──────────┘
 */
#include "remote/retry.h"
#include "base/assert.h"

#include <stdlib.h>

#define BACKOFF_FIRST_NS (100 * HF_NS_PER_MS)
#define BACKOFF_LAST_NS  (30 * HF_NS_PER_S)

/* A moment between now and the back-off of this try: full jitter, doubling from the first to the
 * last. */
static uint64_t backoff_ns(struct hf_env *env, unsigned tries)
{
	uint64_t limit = tries < 9 ? BACKOFF_FIRST_NS << tries : BACKOFF_LAST_NS, draw;

	if (limit > BACKOFF_LAST_NS)
		limit = BACKOFF_LAST_NS;
	hf_env_random(env, &draw, sizeof draw);
	return draw % limit;
}

static void drop_answer(struct hf_store_io *io)
{
	free(io->body);
	free(io->names);
	io->body = NULL;
	io->names = NULL;
	io->body_length = 0;
	io->name_count = 0;
}

static void finish(struct hf_retry *retry, int status)
{
	if (status)
		drop_answer(&retry->io);
	retry->running = retry->waiting = false;
	retry->done(retry, status);
}

static bool is_final(const struct hf_retry *retry, int status)
{
	switch (status) {
	case 0:
	case HF_EEXIST:
	case HF_ENOENT:
	case HF_ERANGE:
	case HF_EINVAL:
	case HF_ETOOBIG:
	case HF_EUNSUPPORTED:
		return true;
	case HF_EACCES:
	case HF_EAUTH:
		return retry->permission_is_final;
	default:
		return false;
	}
}

static bool past_deadline(const struct hf_retry *retry)
{
	return retry->deadline_ns && hf_env_now_ns(retry->env) >= retry->deadline_ns;
}

static void retry_timer_fired(struct hf_timer *timer);

static void wait_until(struct hf_retry *retry, uint64_t due_ns)
{
	if (retry->deadline_ns && due_ns > retry->deadline_ns)
		due_ns = retry->deadline_ns;
	retry->waiting = true;
	retry->timer.fired = retry_timer_fired;
	hf_env_timer_set(retry->env, &retry->timer, due_ns);
}

static void retry_store_done(struct hf_store_io *io)
{
	struct hf_retry *retry = hf_container_of(io, struct hf_retry, io);
	int status = io->status;

	HF_ASSERT(retry->running && !retry->waiting);
	retry->running = false;
	if (status)
		retry->last_error = status;
	if (retry->trouble)
		*retry->trouble = is_final(retry, status) ? 0 : status;
	if (retry->cancelled)
		finish(retry, HF_ECANCELED);
	else if (is_final(retry, status))
		finish(retry, status);
	else if (past_deadline(retry))
		finish(retry, HF_ETIMEDOUT);
	else {
		drop_answer(io);
		wait_until(retry,
			   hf_env_now_ns(retry->env) + backoff_ns(retry->env, retry->tries++));
	}
}

static void submit(struct hf_retry *retry)
{
	retry->running = true;
	retry->io.done = retry_store_done;
	retry->io.deadline_ns = retry->deadline_ns;
	hf_env_store_submit(retry->env, &retry->io);
}

static void retry_timer_fired(struct hf_timer *timer)
{
	struct hf_retry *retry = hf_container_of(timer, struct hf_retry, timer);

	HF_ASSERT(retry->waiting && !retry->running);
	retry->waiting = false;
	if (retry->cancelled)
		finish(retry, HF_ECANCELED);
	else if (past_deadline(retry))
		finish(retry, HF_ETIMEDOUT);
	else
		submit(retry);
}

void hf_retry_start(struct hf_retry *retry)
{
	HF_ASSERT(!retry->running && !retry->waiting && retry->done);
	retry->tries = 0;
	retry->cancelled = false;
	retry->last_error = 0;
	retry->io.body = NULL;
	retry->io.names = NULL;
	submit(retry);
}

void hf_retry_cancel(struct hf_retry *retry)
{
	retry->cancelled = true;
	if (retry->waiting)
		wait_until(retry, hf_env_now_ns(retry->env));
}

bool hf_retry_is_active(const struct hf_retry *retry)
{
	return retry->running || retry->waiting;
}
