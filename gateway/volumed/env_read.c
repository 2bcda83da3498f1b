/* Reads of all disks through io_uring on the loop's thread: submissions of one turn of the loop go
 * to the kernel together, completions come through an eventfd that the loop polls. */
#include "gateway/volumed/env_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"

static void prepare_fired(uv_prepare_t *handle);

static void queue(struct hf_env_uv *env, struct hf_env_read *slot)
{
	struct hf_env_reader *reader = &env->reader;
	struct hf_disk_io *io = slot->io;
	struct io_uring_sqe *sqe = io_uring_get_sqe(&reader->ring);
	const struct iovec *iov = io->iov;
	unsigned count = io->iov_count;

	/* As many entries as slots, and a slot has one submission at a time. */
	HF_ASSERT(sqe);
	if (slot->done_bytes > 0) {
		count = hf_env_iov_rest(io, slot->done_bytes, slot->rest);
		iov = slot->rest;
	}
	io_uring_prep_readv(sqe, env->committers[io->disk].fd, iov, count,
			    io->offset + slot->done_bytes);
	io_uring_sqe_set_data(sqe, slot);
	uv_prepare_start(&reader->prepare, prepare_fired);
}

static void start_waiting(struct hf_env_uv *env)
{
	struct hf_env_reader *reader = &env->reader;
	struct hf_env_read *slot;
	struct hf_list *link;

	while (reader->free && (link = hf_list_pop_front(&reader->waiting)) != NULL) {
		slot = reader->free;
		reader->free = slot->next_free;
		*slot = (struct hf_env_read){.io = hf_container_of(link, struct hf_disk_io, link)};
		for (unsigned i = 0; i < slot->io->iov_count; i++)
			slot->total_bytes += slot->io->iov[i].iov_len;
		queue(env, slot);
	}
}

void hf_env_reader_submit(struct hf_env_uv *env, struct hf_disk_io *io)
{
	hf_list_push_back(&env->reader.waiting, &io->link);
	start_waiting(env);
}

/* A result the slot's read is not finished by: true if it goes on. */
static bool goes_on(struct hf_env_uv *env, struct hf_env_read *slot, int result)
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

static void completed(struct hf_env_uv *env, struct hf_env_read *slot, int result)
{
	struct hf_env_reader *reader = &env->reader;
	struct hf_disk_io *io = slot->io;

	if (goes_on(env, slot, result))
		return;
	io->status = 0;
	if (result <= 0 || slot->done_bytes + (uint64_t)result < slot->total_bytes) {
		hf_error("disk %u: read of %llu bytes at %llu failed: %s", io->disk,
			 (unsigned long long)slot->total_bytes, (unsigned long long)io->offset,
			 result < 0 ? strerror(-result) : "the disk ends early");
		io->status = HF_EIO;
	}
	free(slot->rest);
	slot->rest = NULL;
	slot->next_free = reader->free;
	reader->free = slot;
	hf_env_ended(env);
	io->done(io);
}

/* One turn takes at most a ring's worth, so that a fast disk cannot keep the loop here; what is
 * left wakes it again, because the eventfd is written back. */
static void poll_fired(uv_poll_t *handle, int status, int events)
{
	struct hf_env_uv *env = handle->data;
	struct hf_env_reader *reader = &env->reader;
	struct io_uring_cqe *cqe;
	unsigned taken = 0;
	uint64_t count;

	HF_CHECK_MAGIC(env, HF_ENV_MAGIC);
	(void)status;
	(void)events;
	if (read(reader->event_fd, &count, sizeof count) < 0 && errno != EAGAIN)
		hf_warn("eventfd of the disk reads: %s", strerror(errno));
	while (taken++ < HF_ENV_READS_MAX && io_uring_peek_cqe(&reader->ring, &cqe) == 0) {
		struct hf_env_read *slot = io_uring_cqe_get_data(cqe);
		int result = cqe->res;

		io_uring_cqe_seen(&reader->ring, cqe);
		completed(env, slot, result);
	}
	if (io_uring_cq_ready(&reader->ring) > 0)
		eventfd_write(reader->event_fd, 1);
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
	struct hf_env_reader *reader = &env->reader;
	int submitted = io_uring_submit(&reader->ring);

	HF_CHECK_MAGIC(env, HF_ENV_MAGIC);
	if (submitted >= 0 && io_uring_sq_ready(&reader->ring) == 0)
		uv_prepare_stop(&reader->prepare);
	else
		uv_timer_start(&reader->retry, retry_fired, 1, 0);
}

static int open_ring(struct hf_env_reader *reader, struct hf_errmsg *message)
{
	int err = io_uring_queue_init(HF_ENV_READS_MAX, &reader->ring, 0);

	if (err)
		return hf_fail(message, HF_EUNSUPPORTED,
			       "io_uring cannot be used here (%s); it is needed for reads of the "
			       "log",
			       strerror(-err));
	reader->ring_open = true;
	reader->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (reader->event_fd < 0)
		return hf_fail(message, hf_err_from_errno(errno), "eventfd: %s", strerror(errno));
	err = io_uring_register_eventfd(&reader->ring, reader->event_fd);
	if (err)
		return hf_fail(message, HF_EUNSUPPORTED, "io_uring's eventfd: %s", strerror(-err));
	return 0;
}

int hf_env_reader_start(struct hf_env_uv *env, struct hf_errmsg *message)
{
	struct hf_env_reader *reader = &env->reader;
	int err;

	reader->event_fd = -1;
	hf_list_init(&reader->waiting);
	err = open_ring(reader, message);
	if (err)
		return err;
	for (unsigned i = 0; i < HF_ENV_READS_MAX; i++) {
		reader->slots[i].next_free = reader->free;
		reader->free = &reader->slots[i];
	}
	err = uv_poll_init(env->loop, &reader->poll, reader->event_fd);
	if (err)
		return hf_fail(message, hf_err_from_errno(-err), "polling io_uring: %s",
			       uv_strerror(err));
	uv_prepare_init(env->loop, &reader->prepare);
	uv_timer_init(env->loop, &reader->retry);
	reader->poll.data = reader->prepare.data = reader->retry.data = env;
	env->handles += 3;
	reader->handles_open = true;
	err = uv_poll_start(&reader->poll, UV_READABLE, poll_fired);
	if (err)
		return hf_fail(message, hf_err_from_errno(-err), "polling io_uring: %s",
			       uv_strerror(err));
	return 0;
}

void hf_env_reader_stop(struct hf_env_uv *env)
{
	struct hf_env_reader *reader = &env->reader;

	if (!reader->handles_open)
		return;
	HF_ASSERT(hf_list_empty(&reader->waiting));
	hf_env_close_handle(env, (uv_handle_t *)&reader->poll);
	hf_env_close_handle(env, (uv_handle_t *)&reader->prepare);
	hf_env_close_handle(env, (uv_handle_t *)&reader->retry);
}

void hf_env_reader_free(struct hf_env_uv *env)
{
	struct hf_env_reader *reader = &env->reader;

	if (!reader->ring_open)
		return;
	io_uring_queue_exit(&reader->ring);
	if (reader->event_fd >= 0)
		close(reader->event_fd);
}
