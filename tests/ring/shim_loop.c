/* See shim_loop.h. */
#include "tests/ring/shim_loop.h"

#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"

#define FDS_MAX 1024

static struct {
	void (*ready)(int fd, int events, void *data);
	void *data;
} watched[FDS_MAX];
static int epoll_fd = -1;
static struct hf_shim *to_flush;

static int control(int operation, int fd, int events)
{
	struct epoll_event event = {.events = (unsigned)events, .data.fd = fd};

	if (epoll_fd < 0)
		epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return epoll_ctl(epoll_fd, operation, fd, &event);
}

static int watch(int fd, int events, void (*ready)(int fd, int events, void *data), void *data)
{
	HF_ASSERT(fd < FDS_MAX);
	watched[fd].ready = ready;
	watched[fd].data = data;
	return control(EPOLL_CTL_ADD, fd, events);
}

static void unwatch(int fd)
{
	watched[fd].ready = NULL;
	control(EPOLL_CTL_DEL, fd, 0);
}

static void soon(struct hf_shim *shim)
{
	to_flush = shim;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

const struct hf_shim_loop shim_loop = {
	.watch = watch,
	.unwatch = unwatch,
	.soon = soon,
	.now_ms = now_ms,
};

static void flush(void)
{
	struct hf_shim *shim = to_flush;

	to_flush = NULL;
	if (shim)
		hf_shim_flush(shim);
}

void shim_loop_turn(int wait_ms)
{
	struct epoll_event events[16];
	int count;

	flush();
	count = epoll_wait(epoll_fd, events, 16, wait_ms);
	for (int i = 0; i < count; i++) {
		int fd = events[i].data.fd;

		if (watched[fd].ready)
			watched[fd].ready(fd, (int)events[i].events, watched[fd].data);
	}
	flush();
}

void shim_loop_reset(void)
{
	if (epoll_fd >= 0)
		close(epoll_fd);
	epoll_fd = -1;
	to_flush = NULL;
}
