/* SPDX-License-Identifier: GPL-2.0-only
 * Part of the Holdfast backing store, which tgtd loads; see docs/LICENSING.md. */
/* See sockets.h. System calls are made directly: what we stand in for must not be called, and the C
 * library's own would only add its bookkeeping of threads.
 *
 * A connection is `active` when it may have something to tell the loop or the kernel. In the
 * kernel's epoll it is registered under a mark in place of tgtd's pointer, and for writing only
 * while the socket takes no more: else there is room here. */
#include "target/sockets.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/list.h"

#define HEADER_BYTES 48u         /* of a PDU (RFC 7143, 11.2) */
#define BIG_BYTES    (32u << 10) /* who sends so much at a time gains nothing by reading ahead */
#define BIG_AHEAD    512u
#define MARK         0x6866736f00000000ull /* no address is so */
#define MARK_BITS    0xffffffff00000000ull

struct connection {
	int fd;
	uint32_t wanted, told; /* by tgtd, to the kernel: EPOLL… */
	uint64_t data;         /* tgtd's */
	uint32_t came;         /* what the kernel said and tgtd has not heard yet */
	bool corked, blocked, broken, marked;
	uint32_t ahead_bytes;
	uint32_t in_at, in_end, out_at, out_end;
	struct hf_list active;
	uint8_t in[HF_SOCKETS_IN_BYTES], out[HF_SOCKETS_OUT_BYTES];
};

/* What tgtd told epoll of a descriptor that is no connection yet. */
struct told {
	int epoll; /* 0: nothing */
	struct epoll_event event;
};

static struct {
	bool disabled, has_loop;
	pthread_t loop;
	int epoll;
	unsigned turns; /* since the kernel was asked */
	struct hf_list active;
	struct connection *connections[HF_SOCKETS_FDS_MAX];
	struct told told[HF_SOCKETS_FDS_MAX];
} sockets;

static bool is_loop(void)
{
	return sockets.has_loop && pthread_equal(pthread_self(), sockets.loop);
}

static struct connection *connection_at(int fd)
{
	return is_loop() && (unsigned)fd < HF_SOCKETS_FDS_MAX ? sockets.connections[fd] : NULL;
}

static void touch(struct connection *connection)
{
	if (hf_list_empty(&connection->active))
		hf_list_push_back(&sockets.active, &connection->active);
}

/* ---- What the loop is told --------------------------------------------------------------------
 */

static uint32_t ready(const struct connection *connection)
{
	uint32_t events = connection->came;

	if (connection->in_at < connection->in_end)
		events |= EPOLLIN;
	if (!connection->blocked)
		events |= EPOLLOUT;
	else
		events &= ~(uint32_t)EPOLLOUT;
	return events & (connection->wanted | EPOLLERR | EPOLLHUP);
}

static uint32_t for_kernel(const struct connection *connection)
{
	uint32_t events = connection->wanted & ~(uint32_t)EPOLLOUT;

	return connection->blocked ? events | EPOLLOUT : events;
}

/* Nothing is left to do until tgtd or the kernel says something. */
static bool is_settled(const struct connection *connection)
{
	return ready(connection) == 0 && connection->marked &&
	       connection->told == for_kernel(connection) &&
	       (connection->blocked || connection->out_at == connection->out_end);
}

static bool is_any_ready(uint32_t events)
{
	hf_list_for_each (link, &sockets.active)
		if (ready(hf_container_of(link, struct connection, active)) & events)
			return true;
	return false;
}

static int gather(struct epoll_event *events, int max)
{
	int count = 0;

	hf_list_for_each_safe (link, &sockets.active) {
		struct connection *connection = hf_container_of(link, struct connection, active);
		uint32_t now = ready(connection);

		if (count == max)
			break;
		connection->came = 0;
		if (now)
			events[count++] =
				(struct epoll_event){.events = now, .data.u64 = connection->data};
		else if (is_settled(connection))
			hf_list_remove(&connection->active);
	}
	return count;
}

static void tell_kernel(struct connection *connection)
{
	struct epoll_event event = {.events = for_kernel(connection),
				    .data.u64 = MARK | (uint32_t)connection->fd};

	if (connection->marked && connection->told == event.events)
		return;
	if (syscall(SYS_epoll_ctl, sockets.epoll, EPOLL_CTL_MOD, connection->fd, &event) != 0)
		return; /* it is not registered: nothing is wanted of it */
	connection->marked = true;
	connection->told = event.events;
}

/* Sends what waits; what the socket does not take waits until it does. */
static void flush(struct connection *connection)
{
	while (connection->out_at < connection->out_end && !connection->broken) {
		ssize_t sent =
			syscall(SYS_write, connection->fd, connection->out + connection->out_at,
				connection->out_end - connection->out_at);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && errno == EAGAIN) {
			connection->blocked = true;
			return;
		}
		/* The next call of tgtd gets the error. */
		connection->broken = sent < 0;
		connection->out_at += sent < 0 ? 0 : (uint32_t)sent;
	}
	connection->out_at = connection->out_end = 0;
	connection->blocked = false;
}

/* The kernel's events: those of connections are kept, the others stay in place. */
static int sort_out(struct epoll_event *events, int count)
{
	int others = 0;

	for (int i = 0; i < count; i++) {
		struct connection *connection;

		if ((events[i].data.u64 & MARK_BITS) != MARK) {
			events[others++] = events[i];
			continue;
		}
		connection = connection_at((int)(uint32_t)events[i].data.u64);
		if (!connection)
			continue;
		connection->came |= events[i].events;
		if (events[i].events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
			flush(connection);
		touch(connection);
	}
	return others;
}

static void settle(void)
{
	hf_list_for_each (link, &sockets.active) {
		struct connection *connection = hf_container_of(link, struct connection, active);

		if (!connection->blocked)
			flush(connection);
		tell_kernel(connection);
	}
}

static void become_loop(int epoll)
{
	hf_list_init(&sockets.active);
	sockets.loop = pthread_self();
	sockets.epoll = epoll;
	sockets.has_loop = true;
}

/* Asks the kernel; negative if it says nothing but that connections have nothing for tgtd. */
static int look(struct epoll_event *events, int max, int timeout_ms)
{
	int count, others;

	sockets.turns = 0;
	settle();
	if (is_any_ready(~0u))
		timeout_ms = 0;
	count = (int)syscall(SYS_epoll_wait, sockets.epoll, events, max, timeout_ms);
	if (count < 0)
		return count;
	others = sort_out(events, count);
	others += gather(events + others, max - others);
	errno = EAGAIN;
	return count > 0 && others == 0 && timeout_ms < 0 ? -1 : others;
}

int hf_sockets_epoll_wait(int epoll, struct epoll_event *events, int max, int timeout_ms)
{
	int count;

	if (!sockets.has_loop && !sockets.disabled)
		become_loop(epoll);
	if (!is_loop() || epoll != sockets.epoll || max <= 0)
		return (int)syscall(SYS_epoll_wait, epoll, events, max, timeout_ms);
	if (++sockets.turns < HF_SOCKETS_TURNS_MAX) {
		count = gather(events, max);
		if (count > 0)
			return count;
	}
	do
		count = look(events, max, timeout_ms);
	while (count < 0 && errno == EAGAIN);
	return count;
}

bool hf_sockets_more(void)
{
	return is_loop() && sockets.turns + 1 < HF_SOCKETS_TURNS_MAX && is_any_ready(EPOLLIN);
}

/* ---- What tgtd asks of epoll ------------------------------------------------------------------
 */

int hf_sockets_epoll_ctl(int epoll, int op, int fd, struct epoll_event *event)
{
	struct connection *connection = connection_at(fd);
	int status;

	if (connection && epoll == sockets.epoll && op == EPOLL_CTL_MOD) {
		connection->wanted = event->events;
		connection->data = event->data.u64;
		touch(connection);
		return 0;
	}
	status = (int)syscall(SYS_epoll_ctl, epoll, op, fd, event);
	if (status != 0 || (unsigned)fd >= HF_SOCKETS_FDS_MAX)
		return status;
	if (connection && epoll == sockets.epoll) {
		connection->wanted = op == EPOLL_CTL_DEL ? 0 : event->events;
		connection->data = op == EPOLL_CTL_DEL ? 0 : event->data.u64;
		connection->came = 0;
		connection->marked = false;
		touch(connection);
	} else if (!sockets.has_loop || is_loop()) {
		sockets.told[fd] =
			op == EPOLL_CTL_DEL ? (struct told){0} : (struct told){epoll, *event};
	}
	return 0;
}

/* ---- A connection's life ----------------------------------------------------------------------
 */

/* Only what asks for reading or writing alone, level-triggered, can be answered here. */
static struct connection *connection_make(int fd)
{
	const struct told *told;
	struct connection *connection;

	if (!is_loop() || (unsigned)fd >= HF_SOCKETS_FDS_MAX)
		return NULL;
	told = &sockets.told[fd];
	if (told->epoll != sockets.epoll || told->event.events & ~(uint32_t)(EPOLLIN | EPOLLOUT))
		return NULL;
	connection = malloc(sizeof *connection);
	if (!connection)
		return NULL;
	memset(connection, 0, offsetof(struct connection, in));
	connection->fd = fd;
	connection->wanted = told->event.events;
	connection->data = told->event.data.u64;
	connection->ahead_bytes = HF_SOCKETS_IN_BYTES;
	hf_list_init(&connection->active);
	sockets.connections[fd] = connection;
	touch(connection);
	return connection;
}

int hf_sockets_close(int fd)
{
	struct connection *connection = connection_at(fd);

	if (connection) {
		flush(connection);
		hf_list_remove(&connection->active);
		sockets.connections[fd] = NULL;
		free(connection);
	}
	if (is_loop() && (unsigned)fd < HF_SOCKETS_FDS_MAX)
		sockets.told[fd] = (struct told){0};
	return (int)syscall(SYS_close, fd);
}

int hf_sockets_setsockopt(int fd, int level, int option, const void *value, socklen_t length)
{
	struct connection *connection;

	if (level == IPPROTO_TCP && option == TCP_CORK && length == sizeof(int) &&
	    (unsigned)fd < HF_SOCKETS_FDS_MAX) {
		connection = connection_at(fd);
		if (!connection)
			connection = connection_make(fd);
		if (connection) {
			connection->corked = *(const int *)value != 0;
			return 0;
		}
	}
	return (int)syscall(SYS_setsockopt, fd, level, option, value, length);
}

/* ---- Reading and writing ----------------------------------------------------------------------
 */

/* Whatever is asked for, straight into its place, and what lies behind it. */
static ssize_t receive(struct connection *connection, void *to, size_t bytes)
{
	struct iovec iov[2] = {{to, bytes}, {connection->in, connection->ahead_bytes}};
	ssize_t got = syscall(SYS_readv, connection->fd, iov, 2);

	if (got <= (ssize_t)bytes)
		return got;
	connection->in_at = 0;
	connection->in_end = (uint32_t)(got - (ssize_t)bytes);
	touch(connection);
	return (ssize_t)bytes;
}

ssize_t hf_sockets_read(int fd, void *to, size_t bytes)
{
	struct connection *connection = connection_at(fd);
	size_t had;
	ssize_t got;

	if (!connection)
		return syscall(SYS_read, fd, to, bytes);
	had = connection->in_end - connection->in_at;
	if (bytes < had)
		had = bytes;
	memcpy(to, connection->in + connection->in_at, had);
	connection->in_at += (uint32_t)had;
	if (bytes > HEADER_BYTES)
		connection->ahead_bytes = bytes < BIG_BYTES ? HF_SOCKETS_IN_BYTES : BIG_AHEAD;
	if (had == bytes)
		return (ssize_t)had;
	got = receive(connection, (uint8_t *)to + had, bytes - had);
	if (got > 0)
		return (ssize_t)had + got;
	return had > 0 ? (ssize_t)had : got;
}

/* What waits, and this behind it; how much of this was sent. */
static ssize_t send_with(struct connection *connection, const void *from, size_t bytes)
{
	size_t waiting = connection->out_end - connection->out_at;
	struct iovec iov[2] = {{connection->out + connection->out_at, waiting},
			       {(void *)(uintptr_t)from, bytes}};
	ssize_t sent = syscall(SYS_writev, connection->fd, iov, 2);

	if (sent < 0)
		return sent;
	if ((size_t)sent < waiting) {
		connection->out_at += (uint32_t)sent;
	} else {
		connection->out_at = connection->out_end = 0;
		if ((size_t)sent > waiting)
			return sent - (ssize_t)waiting;
	}
	errno = EAGAIN;
	return -1;
}

ssize_t hf_sockets_write(int fd, const void *from, size_t bytes)
{
	struct connection *connection = connection_at(fd);

	if (!connection)
		return syscall(SYS_write, fd, from, bytes);
	if (connection->broken) {
		errno = EPIPE;
		return -1;
	}
	if (!connection->corked || bytes > sizeof connection->out - connection->out_end)
		return send_with(connection, from, bytes);
	memcpy(connection->out + connection->out_end, from, bytes);
	connection->out_end += (uint32_t)bytes;
	touch(connection);
	return (ssize_t)bytes;
}

void hf_sockets_disable(void)
{
	sockets.disabled = true;
}
