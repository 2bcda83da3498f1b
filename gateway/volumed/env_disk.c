/* Syncs of one disk, and writes that a sync follows: a committer thread does them in order of
 * submission, because one committer with pwritev and fdatasync was measured faster than io_uring's
 * fsync. The queue is the only thing shared; results go back through hf_env_arrive. */
#include "gateway/volumed/env_impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

unsigned hf_env_iov_rest(const struct hf_disk_io *io, uint64_t done_bytes, struct iovec *rest)
{
	unsigned count = 0;

	for (unsigned i = 0; i < io->iov_count; i++) {
		size_t length = io->iov[i].iov_len;

		if (done_bytes >= length) {
			done_bytes -= length;
			continue;
		}
		rest[count].iov_base = (char *)io->iov[i].iov_base + done_bytes;
		rest[count++].iov_len = length - done_bytes;
		done_bytes = 0;
	}
	return count;
}

static uint64_t total_bytes(const struct hf_disk_io *io)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < io->iov_count; i++)
		total += io->iov[i].iov_len;
	return total;
}

/* A broken disk fails every operation: one line a second tells as much as all of them. */
static int failed(struct hf_env_committer *committer, const struct hf_disk_io *io, bool sync,
		  int errno_value)
{
	uint64_t now = uv_hrtime();

	if (now - committer->complained_ns >= HF_NS_PER_S) {
		committer->complained_ns = now;
		hf_error("disk %u: %s of %llu bytes at %llu failed: %s", committer->number,
			 sync ? "sync" : "write", (unsigned long long)total_bytes(io),
			 (unsigned long long)io->offset,
			 errno_value ? strerror(errno_value) : "the disk took nothing");
	}
	return errno_value == ENOSPC || errno_value == EDQUOT ? HF_ENOSPC : HF_EIO;
}

static int write_all(struct hf_env_committer *committer, struct hf_disk_io *io)
{
	const struct iovec *iov = io->iov;
	unsigned count = io->iov_count;
	uint64_t total = total_bytes(io), done = 0, before;

	while (done < total) {
		ssize_t wrote = pwritev(committer->fd, iov, (int)count, (off_t)(io->offset + done));

		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote < 0)
			return failed(committer, io, false, errno);
		before = done;
		done += (uint64_t)wrote;
		if (done == total)
			break;
		/* Direct writes go on at a multiple of the unit. */
		done -= done % HF_DISK_ALIGN;
		if (done == before)
			return failed(committer, io, false, 0);
		count = hf_env_iov_rest(io, done, committer->rest);
		iov = committer->rest;
	}
	return 0;
}

static int sync_disk(struct hf_env_committer *committer, struct hf_disk_io *io)
{
	while (fdatasync(committer->fd) != 0)
		if (errno != EINTR)
			return failed(committer, io, true, errno);
	return 0;
}

/* Syncs that follow each other in the queue are one: the writes they promise have been done before
 * the first of them was submitted or lie before it in the queue. */
static void perform(struct hf_env_committer *committer, struct hf_list *taken)
{
	struct hf_disk_io *io;
	struct hf_list *link;
	bool synced = false;
	int sync_status = 0;

	while ((link = hf_list_pop_front(taken)) != NULL) {
		io = hf_container_of(link, struct hf_disk_io, link);
		if (io->op == HF_DISK_WRITE) {
			io->status = write_all(committer, io);
			io->wrote = io->status == 0;
			if (io->sync && io->wrote && io->written)
				hf_env_arrive(committer->env, HF_ARRIVAL_WRITTEN,
					      &io->written_link);
			if (io->sync && io->wrote)
				io->status = sync_status = sync_disk(committer, io);
			synced = io->sync && io->wrote;
		} else {
			if (!synced)
				sync_status = sync_disk(committer, io);
			io->status = sync_status;
			synced = true;
		}
		hf_env_arrive(committer->env, HF_ARRIVAL_DISK, &io->link);
	}
}

static void *committer_run(void *argument)
{
	struct hf_env_committer *committer = argument;
	struct hf_list taken;
	bool stop;

	hf_env_thread_is_hasty();
	hf_list_init(&taken);
	do {
		pthread_mutex_lock(&committer->lock);
		while (hf_list_empty(&committer->queue) && !committer->stop)
			pthread_cond_wait(&committer->filled, &committer->lock);
		hf_list_splice_back(&taken, &committer->queue);
		stop = committer->stop;
		pthread_mutex_unlock(&committer->lock);
		perform(committer, &taken);
	} while (!stop);
	return NULL;
}

int hf_env_committer_start(struct hf_env_committer *committer, struct hf_env_uv *env,
			   unsigned number, int fd)
{
	char name[16];
	int err;

	committer->env = env;
	committer->number = number;
	committer->fd = fd;
	pthread_mutex_init(&committer->lock, NULL);
	pthread_cond_init(&committer->filled, NULL);
	hf_list_init(&committer->queue);
	snprintf(name, sizeof name, "hf-commit-%u", number % HF_ENV_DISKS_MAX);
	err = hf_env_thread_start(&committer->thread, name, committer_run, committer);
	committer->started = err == 0;
	return err;
}

void hf_env_committer_join(struct hf_env_committer *committer)
{
	if (!committer->started)
		return;
	pthread_mutex_lock(&committer->lock);
	HF_ASSERT(hf_list_empty(&committer->queue));
	committer->stop = true;
	pthread_cond_signal(&committer->filled);
	pthread_mutex_unlock(&committer->lock);
	pthread_join(committer->thread, NULL);
	pthread_cond_destroy(&committer->filled);
	pthread_mutex_destroy(&committer->lock);
}

/* The core's mistakes are its own: a bad alignment would be one. Where the disk ends is asked of
 * it by the log's recovery, so that is an answer. */
static int check(struct hf_env_uv *env, const struct hf_disk_io *io)
{
	uint64_t total = total_bytes(io);

	if (io->disk >= env->table.disk_count || env->table.disk_size_bytes[io->disk] == 0)
		return HF_EINVAL;
	if (io->op == HF_DISK_SYNC)
		return 0;
	HF_ASSERT(io->iov_count > 0 && io->iov_count <= HF_DISK_IOV_MAX);
	HF_ASSERT(io->offset % HF_DISK_ALIGN == 0 && total % HF_DISK_ALIGN == 0);
	for (unsigned i = 0; i < io->iov_count; i++)
		HF_ASSERT(io->iov[i].iov_len % HF_DISK_ALIGN == 0 &&
			  (uintptr_t)io->iov[i].iov_base % HF_DISK_ALIGN == 0);
	if (io->offset > env->table.disk_size_bytes[io->disk] ||
	    total > env->table.disk_size_bytes[io->disk] - io->offset)
		return HF_EINVAL;
	return 0;
}

void hf_env_disk_submit_uv(struct hf_env *table, struct hf_disk_io *io)
{
	struct hf_env_uv *env = hf_env_uv_of(table);
	struct hf_env_committer *committer;

	hf_env_began(env);
	io->status = env->closing ? HF_ECANCELED : check(env, io);
	if (io->status) {
		hf_env_arrive(env, HF_ARRIVAL_DISK, &io->link);
		return;
	}
	if (io->op == HF_DISK_READ || (io->op == HF_DISK_WRITE && !io->sync)) {
		hf_env_uring_submit(env, io);
		return;
	}
	committer = &env->committers[io->disk];
	pthread_mutex_lock(&committer->lock);
	hf_list_push_back(&committer->queue, &io->link);
	pthread_mutex_unlock(&committer->lock);
	pthread_cond_signal(&committer->filled); /* it would only run into the lock */
}
