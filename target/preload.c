/* SPDX-License-Identifier: GPL-2.0-only
 * Part of the Holdfast backing store, which tgtd loads; see docs/LICENSING.md. */
/* The C library's names, for sockets.h. They count only where the plugin is loaded before the C
 * library (LD_PRELOAD, which tgtd's box sets); loaded by tgtd alone, its own are found first. */
#include "target/sockets.h"

#define STANDS_IN(name) __asm__(name) __attribute__((visibility("default")))

int hf_preload_epoll_ctl(int epoll, int op, int fd, struct epoll_event *event)
	STANDS_IN("epoll_ctl");
int hf_preload_epoll_wait(int epoll, struct epoll_event *events, int max, int timeout_ms)
	STANDS_IN("epoll_wait");
ssize_t hf_preload_read(int fd, void *to, size_t bytes) STANDS_IN("read");
ssize_t hf_preload_write(int fd, const void *from, size_t bytes) STANDS_IN("write");
int hf_preload_setsockopt(int fd, int level, int option, const void *value, socklen_t length)
	STANDS_IN("setsockopt");
int hf_preload_close(int fd) STANDS_IN("close");

int hf_preload_epoll_ctl(int epoll, int op, int fd, struct epoll_event *event)
{
	return hf_sockets_epoll_ctl(epoll, op, fd, event);
}

int hf_preload_epoll_wait(int epoll, struct epoll_event *events, int max, int timeout_ms)
{
	return hf_sockets_epoll_wait(epoll, events, max, timeout_ms);
}

ssize_t hf_preload_read(int fd, void *to, size_t bytes)
{
	return hf_sockets_read(fd, to, bytes);
}

ssize_t hf_preload_write(int fd, const void *from, size_t bytes)
{
	return hf_sockets_write(fd, from, bytes);
}

int hf_preload_setsockopt(int fd, int level, int option, const void *value, socklen_t length)
{
	return hf_sockets_setsockopt(fd, level, option, value, length);
}

int hf_preload_close(int fd)
{
	return hf_sockets_close(fd);
}
