/* The environment's frame: opening and closing its parts, the way of results back to the loop's
 * thread, clock and randomness. Everything here runs on the loop's thread except hf_env_arrive and
 * hf_env_wake. */
#include "gateway/volumed/env_impl.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define HASTY_TURN_NS 200000u

int hf_env_thread_start(pthread_t *thread, const char *name, void *(*run)(void *), void *argument)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(thread, NULL, run, argument);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err)
		return hf_err_from_errno(err);
	pthread_setname_np(*thread, name);
	return 0;
}

/* Linux 6.12 and later take the runtime of an ordinary thread as the length of its turns: one with
 * short turns gets the processor sooner when it wakes, and not a larger share of it. Others ignore
 * it. */
void hf_env_thread_is_hasty(void)
{
	struct { /* sched_setattr(2); the C library has none */
		uint32_t size, sched_policy;
		uint64_t sched_flags;
		int32_t sched_nice;
		uint32_t sched_priority;
		uint64_t sched_runtime, sched_deadline, sched_period;
	} attr = {.size = sizeof attr};

	if (syscall(SYS_sched_getattr, 0, &attr, sizeof attr, 0) != 0 ||
	    attr.sched_policy != SCHED_OTHER)
		return;
	attr.sched_runtime = HASTY_TURN_NS;
	(void)syscall(SYS_sched_setattr, 0, &attr, 0);
}

/* ---- Results ---- */

void hf_env_arrive(struct hf_env_uv *env, enum hf_env_arrival kind, struct hf_list *link)
{
	pthread_mutex_lock(&env->arrivals_lock);
	hf_list_push_back(&env->arrivals[kind], link);
	pthread_mutex_unlock(&env->arrivals_lock);
	/* The handle is there: it is closed after the threads that come here have ended. */
	uv_async_send(&env->wake);
}

void hf_env_wake(struct hf_env_uv *env)
{
	uv_async_send(&env->wake);
}

void hf_env_began(struct hf_env_uv *env)
{
	env->under_way++;
}

void hf_env_ended(struct hf_env_uv *env)
{
	HF_ASSERT(env->under_way > 0);
	env->under_way--;
}

static void disk_arrived(struct hf_list *link)
{
	struct hf_disk_io *io = hf_container_of(link, struct hf_disk_io, link);

	io->done(io);
}

static void written_arrived(struct hf_list *link)
{
	struct hf_disk_io *io = hf_container_of(link, struct hf_disk_io, written_link);

	io->written(io);
}

static void work_arrived(struct hf_list *link)
{
	struct hf_work *work = hf_container_of(link, struct hf_work, link);

	work->done(work);
}

static void store_change_arrived(struct hf_list *link)
{
	struct hf_env_uv_store_change *change =
		hf_container_of(link, struct hf_env_uv_store_change, link);

	change->done(change);
}

static void wake_fired(uv_async_t *handle)
{
	static void (*const arrived[HF_ARRIVAL_KINDS])(struct hf_list *) = {
		[HF_ARRIVAL_WRITTEN] = written_arrived,
		[HF_ARRIVAL_DISK] = disk_arrived,
		[HF_ARRIVAL_WORK] = work_arrived,
		[HF_ARRIVAL_STORE] = hf_env_store_call_arrived,
		[HF_ARRIVAL_STORE_CHANGE] = store_change_arrived,
	};
	struct hf_env_uv *env = handle->data;
	struct hf_list taken[HF_ARRIVAL_KINDS], *link;

	HF_CHECK_MAGIC(env, HF_ENV_MAGIC);
	pthread_mutex_lock(&env->arrivals_lock);
	for (int kind = 0; kind < HF_ARRIVAL_KINDS; kind++) {
		hf_list_init(&taken[kind]);
		hf_list_splice_back(&taken[kind], &env->arrivals[kind]);
	}
	pthread_mutex_unlock(&env->arrivals_lock);
	for (int kind = 0; kind < HF_ARRIVAL_KINDS; kind++)
		while ((link = hf_list_pop_front(&taken[kind])) != NULL) {
			if (kind != HF_ARRIVAL_WRITTEN) /* it goes on */
				hf_env_ended(env);
			arrived[kind](link);
		}
	hf_env_advance_close(env);
}

/* ---- Clock, randomness, table ---- */

static uint64_t now_ns(struct hf_env *table)
{
	(void)table;
	return uv_hrtime();
}

static uint64_t wall_ms(struct hf_env *table)
{
	struct timespec now;

	(void)table;
	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void random_bytes(struct hf_env *table, void *bytes, size_t length)
{
	uint8_t *at = bytes;

	(void)table;
	while (length > 0) {
		ssize_t got = getrandom(at, length, 0);

		/* Keys and names are made of these: there is nothing to go on with. */
		HF_ASSERT(got > 0 || errno == EINTR);
		if (got > 0) {
			at += got;
			length -= (size_t)got;
		}
	}
}

static const struct hf_env_ops env_ops = {
	.now_ns = now_ns,
	.wall_ms = wall_ms,
	.random = random_bytes,
	.timer_set = hf_env_timer_set_uv,
	.timer_cancel = hf_env_timer_cancel_uv,
	.disk_submit = hf_env_disk_submit_uv,
	.store_submit = hf_env_store_submit_uv,
	.work_submit = hf_env_work_submit_uv,
};

struct hf_env *hf_env_uv_table(struct hf_env_uv *env)
{
	return &env->table;
}

/* ---- Opening ---- */

/* Log records lie at multiples of 512 bytes: a disk that wants more of a direct read is refused
 * now, not in the middle of a recovery. */
static int check_disk(const struct hf_env_uv_disk *disk, unsigned number, struct hf_errmsg *message)
{
	uint8_t *pages;
	ssize_t got;
	int err = 0;

	if (disk->size_bytes < 4096)
		return hf_fail(message, HF_EINVAL, "disk %u is smaller than a page", number);
	if (posix_memalign((void **)&pages, 4096, 8192) != 0)
		return hf_fail(message, HF_ENOMEM, "disk %u: out of memory", number);
	got = pread(disk->fd, pages + HF_DISK_ALIGN, HF_DISK_ALIGN, HF_DISK_ALIGN);
	if (got < 0 && errno == EINVAL)
		err = hf_fail(message, HF_EUNSUPPORTED,
			      "disk %u cannot be read directly in units of %u bytes", number,
			      HF_DISK_ALIGN);
	else if (got != HF_DISK_ALIGN)
		err = hf_fail(message, HF_EIO, "disk %u cannot be read: %s", number,
			      got < 0 ? strerror(errno) : "it ends early");
	free(pages);
	return err;
}

static int start_disk(struct hf_env_uv *env, const struct hf_env_uv_disk *disk, unsigned number,
		      struct hf_errmsg *message)
{
	int err;

	if (disk->fd < 0)
		return 0; /* a number that has no disk */
	err = check_disk(disk, number, message);
	if (err)
		return err;
	err = hf_env_committer_start(&env->committers[number], env, number, disk->fd);
	if (err)
		return hf_fail(message, err, "the committer of disk %u", number);
	env->table.disk_size_bytes[number] = disk->size_bytes;
	if (number >= env->table.disk_count)
		env->table.disk_count = number + 1;
	return 0;
}

static int start_disks(struct hf_env_uv *env, const struct hf_env_uv_config *config,
		       struct hf_errmsg *message)
{
	int err;

	if (config->disk_count == 0)
		return 0;
	env->committers = calloc(HF_ENV_DISKS_MAX, sizeof *env->committers);
	if (!env->committers)
		return hf_fail(message, HF_ENOMEM, "out of memory");
	for (unsigned i = 0; i < config->disk_count; i++) {
		err = start_disk(env, &config->disks[i], i, message);
		if (err)
			return err;
	}
	return hf_env_uring_start(env, message);
}

int hf_env_uv_add_disk(struct hf_env_uv *env, const struct hf_env_uv_disk *disk, unsigned *number,
		       struct hf_errmsg *message)
{
	HF_CHECK_MAGIC(env, HF_ENV_MAGIC);
	HF_ASSERT(env->committers);
	for (*number = 0; *number < HF_ENV_DISKS_MAX; ++*number)
		if (env->table.disk_size_bytes[*number] == 0)
			return start_disk(env, disk, *number, message);
	return hf_fail(message, HF_EBUSY, "there are as many disks as can be");
}

void hf_env_uv_remove_disk(struct hf_env_uv *env, unsigned number)
{
	HF_CHECK_MAGIC(env, HF_ENV_MAGIC);
	hf_env_committer_join(&env->committers[number]);
	memset(&env->committers[number], 0, sizeof env->committers[number]);
	env->table.disk_size_bytes[number] = 0;
}

static int start_parts(struct hf_env_uv *env, const struct hf_env_uv_config *config,
		       struct hf_errmsg *message)
{
	unsigned workers = config->workers;
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	int err;

	if (workers == 0)
		workers = processors > 0 ? (unsigned)processors : 1;
	if (workers > HF_ENV_WORKERS_MAX)
		workers = HF_ENV_WORKERS_MAX;
	err = hf_env_timers_init(env, message);
	if (err)
		return err;
	err = start_disks(env, config, message);
	if (err)
		return err;
	err = hf_env_workers_start(env, workers);
	if (err)
		return hf_fail(message, err, "the worker threads");
	err = hf_env_store_start(env);
	if (err)
		return hf_fail(message, err, "the store's thread");
	return 0;
}

int hf_env_uv_open(const struct hf_env_uv_config *config, struct hf_env_uv **env_out,
		   struct hf_errmsg *message)
{
	struct hf_env_uv *env;
	int err;

	HF_ASSERT(config->disk_count <= HF_ENV_DISKS_MAX);
	*env_out = NULL;
	env = calloc(1, sizeof *env);
	if (!env)
		return hf_fail(message, HF_ENOMEM, "out of memory");
	env->magic = HF_ENV_MAGIC;
	env->table.ops = &env_ops;
	env->loop = config->loop;
	env->wake.data = env;
	for (int kind = 0; kind < HF_ARRIVAL_KINDS; kind++)
		hf_list_init(&env->arrivals[kind]);
	err = uv_async_init(env->loop, &env->wake, wake_fired);
	if (err) {
		free(env);
		return hf_fail(message, hf_err_from_errno(-err), "waking the loop: %s",
			       uv_strerror(err));
	}
	env->handles = 1;
	pthread_mutex_init(&env->arrivals_lock, NULL);
	err = start_parts(env, config, message);
	if (err) {
		hf_env_uv_close(env, NULL, NULL);
		return err;
	}
	hf_env_thread_is_hasty(); /* not before: threads would inherit it */
	*env_out = env;
	return 0;
}

/* ---- Closing ---- */

static void handle_closed(uv_handle_t *handle)
{
	struct hf_env_uv *env = handle->data;
	void (*closed)(void *) = env->closed;
	void *context = env->closed_context;

	HF_CHECK_MAGIC(env, HF_ENV_MAGIC);
	if (--env->handles > 0)
		return;
	hf_env_uring_free(env);
	pthread_mutex_destroy(&env->arrivals_lock);
	hf_env_timers_free(env);
	free(env->committers);
	env->magic = 0;
	free(env);
	if (closed)
		closed(context);
}

void hf_env_close_handle(struct hf_env_uv *env, uv_handle_t *handle)
{
	handle->data = env;
	uv_close(handle, handle_closed);
}

void hf_env_advance_close(struct hf_env_uv *env)
{
	bool store_stopped;

	if (!env->closing || env->joined || env->under_way > 0)
		return;
	pthread_mutex_lock(&env->arrivals_lock);
	store_stopped = env->store.stopped || !env->store.started;
	pthread_mutex_unlock(&env->arrivals_lock);
	if (!store_stopped)
		return;
	env->joined = true;
	for (unsigned i = 0; i < env->table.disk_count; i++)
		hf_env_committer_join(&env->committers[i]);
	hf_env_workers_join(env);
	hf_env_store_join(env);
	hf_env_uring_stop(env);
	hf_env_timers_stop(env);
	hf_env_close_handle(env, (uv_handle_t *)&env->wake);
}

void hf_env_uv_close(struct hf_env_uv *env, void (*closed)(void *context), void *context)
{
	HF_CHECK_MAGIC(env, HF_ENV_MAGIC);
	HF_ASSERT(!env->closing);
	env->closing = true;
	env->closed = closed;
	env->closed_context = context;
	hf_env_timers_disarm(env);
	hf_env_uv_close_store(env);
	hf_env_wake(env);
}
