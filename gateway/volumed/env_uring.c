/* Reads, and writes that no sync follows, of all disks through io_uring on the loop's thread:
 * submissions of one turn of the loop go to the kernel together, completions come through an
 * eventfd that the loop polls. A write that its sync follows is the committer's (env_disk.c). */
#include "gateway/volumed/env_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"

static void prepare_fired(uv_prepare_t *handle);

static void queue(struct hf_env_uv *env, struct hf_env_uring_slot *slot)
{
	struct hf_env_uring *uring = &env->uring;
	struct hf_disk_io *io = slot->io;
	struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);
	const struct iovec *iov = io->iov;
	unsigned count = io->iov_count;

	/* As many entries as slots, and a slot has one submission at a time. */
	HF_ASSERT(sqe);
	if (slot->done_bytes > 0) {
		count = hf_env_iov_rest(io, slot->done_bytes, slot->rest);
		iov = slot->rest;
	}
	if (io->op == HF_DISK_READ)
		io_uring_prep_readv(sqe, env->committers[io->disk].fd, iov, count,
				    io->offset + slot->done_bytes);
	else
		io_uring_prep_writev(sqe, env->committers[io->disk].fd, iov, count,
				     io->offset + slot->done_bytes);
	io_uring_sqe_set_data(sqe, slot);
	uv_prepare_start(&uring->prepare, prepare_fired);
}

static void start_waiting(struct hf_env_uv *env)
{
	struct hf_env_uring *uring = &env->uring;
	struct hf_env_uring_slot *slot;
	struct hf_list *link;

	while (uring->free && (link = hf_list_pop_front(&uring->waiting)) != NULL) {
		slot = uring->free;
		uring->free = slot->next_free;
		*slot = (struct hf_env_uring_slot){
			.io = hf_container_of(link, struct hf_disk_io, link)};
		for (unsigned i = 0; i < slot->io->iov_count; i++)
			slot->total_bytes += slot->io->iov[i].iov_len;
		queue(env, slot);
	}
}

void hf_env_uring_submit(struct hf_env_uv *env, struct hf_disk_io *io)
{
	hf_list_push_back(&env->uring.waiting, &io->link);
	start_waiting(env);
}

/* A result the slot's read is not finished by: true if it goes on. */
static bool goes_on(struct hf_env_uv *env, struct hf_env_uring_slot *slot, int result)
{
	uint64_t before = slot->done_bytes;

	if (result != -EAGAIN && result != -EINTR) {
		if (result <= 0 || slot->done_bytes + (uint64_t)result >= slot->total_bytes)
			return false;
		slot->done_bytes += (uint64_t)result;
		slot->done_bytes -= slot->done_bytes % HF_DISK_ALIGN;
		if (slot->done_bytes == before)
			return false;
		if (!slot->rest)
			slot->rest = calloc(slot->io->iov_count, sizeof *slot->rest);
		if (!slot->rest)
			return false;
	}
	queue(env, slot);
	return true;
}

/* A broken disk fails every write: one line a second tells as much as all of them. */
static void complain(struct hf_env_uring *uring, const struct hf_env_uring_slot *slot, int result)
{
	const struct hf_disk_io *io = slot->io;
	uint64_t now = uv_hrtime();

	if (io->op == HF_DISK_WRITE && now - uring->complained_ns < HF_NS_PER_S)
		return;
	if (io->op == HF_DISK_WRITE)
		uring->complained_ns = now;
	hf_error("disk %u: %s of %llu bytes at %llu failed: %s", io->disk,
		 io->op == HF_DISK_READ ? "read" : "write", (unsigned long long)slot->total_bytes,
		 (unsigned long long)io->offset,
		 result < 0 ? strerror(-result) : "the disk ends early");
}

static void completed(struct hf_env_uv *env, struct hf_env_uring_slot *slot, int result)
{
	struct hf_env_uring *uring = &env->uring;
	struct hf_disk_io *io = slot->io;

	if (goes_on(env, slot, result))
		return;
	io->status = 0;
	if (result <= 0 || slot->done_bytes + (uint64_t)result < slot->total_bytes) {
		complain(uring, slot, result);
		io->status = result == -ENOSPC || result == -EDQUOT ? HF_ENOSPC : HF_EIO;
	}
	free(slot->rest);
	slot->rest = NULL;
	slot->next_free = uring->free;
	uring->free = slot;
	hf_env_ended(env);
	io->done(io);
}

/* One turn takes at most a ring's worth, so that a fast disk cannot keep the loop here; what is
 * left wakes it again, because the eventfd is written back. */
static void poll_fired(uv_poll_t *handle, int status, int events)
{
	struct hf_env_uv *env = handle->data;
	struct hf_env_uring *uring = &env->uring;
	struct io_uring_cqe *cqe;
	unsigned taken = 0;
	uint64_t count;

	HF_CHECK_MAGIC(env, HF_ENV_MAGIC);
	(void)status;
	(void)events;
	if (read(uring->event_fd, &count, sizeof count) < 0 && errno != EAGAIN)
		hf_warn("eventfd of the disk reads: %s", strerror(errno));
	while (taken++ < HF_ENV_URING_MAX && io_uring_peek_cqe(&uring->ring, &cqe) == 0) {
		struct hf_env_uring_slot *slot = io_uring_cqe_get_data(cqe);
		int result = cqe->res;

		io_uring_cqe_seen(&uring->ring, cqe);
		completed(env, slot, result);
	}
	if (io_uring_cq_ready(&uring->ring) > 0)
		eventfd_write(uring->event_fd, 1);
	start_waiting(env);
	hf_env_advance_close(env);
}

static void retry_fired(uv_timer_t *handle)
{
	(void)handle; /* the prepare handle, which runs next, tries again */
}

static void prepare_fired(uv_prepare_t *handle)
{
	struct hf_env_uv *env = handle->data;
	struct hf_env_uring *uring = &env->uring;
	int submitted = io_uring_submit(&uring->ring);

	HF_CHECK_MAGIC(env, HF_ENV_MAGIC);
	if (submitted >= 0 && io_uring_sq_ready(&uring->ring) == 0)
		uv_prepare_stop(&uring->prepare);
	else
		uv_timer_start(&uring->retry, retry_fired, 1, 0);
}

static int open_ring(struct hf_env_uring *uring, struct hf_errmsg *message)
{
	int err = io_uring_queue_init(HF_ENV_URING_MAX, &uring->ring, 0);

	if (err)
		return hf_fail(message, HF_EUNSUPPORTED,
			       "io_uring cannot be used here (%s); it is needed for reads of the "
			       "log",
			       strerror(-err));
	uring->ring_open = true;
	uring->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (uring->event_fd < 0)
		return hf_fail(message, hf_err_from_errno(errno), "eventfd: %s", strerror(errno));
	err = io_uring_register_eventfd(&uring->ring, uring->event_fd);
	if (err)
		return hf_fail(message, HF_EUNSUPPORTED, "io_uring's eventfd: %s", strerror(-err));
	return 0;
}

int hf_env_uring_start(struct hf_env_uv *env, struct hf_errmsg *message)
{
	struct hf_env_uring *uring = &env->uring;
	int err;

	uring->event_fd = -1;
	hf_list_init(&uring->waiting);
	err = open_ring(uring, message);
	if (err)
		return err;
	for (unsigned i = 0; i < HF_ENV_URING_MAX; i++) {
		uring->slots[i].next_free = uring->free;
		uring->free = &uring->slots[i];
	}
	err = uv_poll_init(env->loop, &uring->poll, uring->event_fd);
	if (err)
		return hf_fail(message, hf_err_from_errno(-err), "polling io_uring: %s",
			       uv_strerror(err));
	uv_prepare_init(env->loop, &uring->prepare);
	uv_timer_init(env->loop, &uring->retry);
	uring->poll.data = uring->prepare.data = uring->retry.data = env;
	env->handles += 3;
	uring->handles_open = true;
	err = uv_poll_start(&uring->poll, UV_READABLE, poll_fired);
	if (err)
		return hf_fail(message, hf_err_from_errno(-err), "polling io_uring: %s",
			       uv_strerror(err));
	return 0;
}

void hf_env_uring_stop(struct hf_env_uv *env)
{
	struct hf_env_uring *uring = &env->uring;

	if (!uring->handles_open)
		return;
	HF_ASSERT(hf_list_empty(&uring->waiting));
	hf_env_close_handle(env, (uv_handle_t *)&uring->poll);
	hf_env_close_handle(env, (uv_handle_t *)&uring->prepare);
	hf_env_close_handle(env, (uv_handle_t *)&uring->retry);
}

void hf_env_uring_free(struct hf_env_uv *env)
{
	struct hf_env_uring *uring = &env->uring;

	if (!uring->ring_open)
		return;
	io_uring_queue_exit(&uring->ring);
	if (uring->event_fd >= 0)
		close(uring->event_fd);
}
