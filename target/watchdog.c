/* SPDX-License-Identifier: GPL-2.0-only
 * Part of the Holdfast backing store, which tgtd loads; see docs/LICENSING.md. */
/* See watchdog.h. Shares one counter and one eventfd with tgtd's main thread, and no lock.
 *
 * Silence is counted in rounds that the watchdog itself was awake, not by the clock: a process that
 * was stopped as a whole is not taken for one that hangs. */
#include "target/watchdog.h"

#include <arpa/inet.h>
#include <linux/sockios.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

#define ROUNDS      4u /* of silence are a stall */
#define SIP_ROUNDS  (4 * ROUNDS)
#define FDS_MAX     65536
#define WATCHED_MAX 1024u /* connections with a full send queue at once */

/* A connection that could not take more when the silence began. */
struct suspect {
	int fd;
	uint64_t cookie; /* the kernel's name of the socket, which no later one has */
	int queued_bytes;
	bool moved;
};

struct watchdog {
	int beat_fd;
	uint64_t beats; /* atomic; the main thread counts, this one reads */
	uint32_t round_ms;
	unsigned suspect_count;
	struct suspect suspects[WATCHED_MAX];
};

static struct watchdog watchdog;

/* ---- The main thread's side ---- */

static void beat(int fd, int events, void *data)
{
	uint64_t count;

	(void)events;
	(void)data;
	(void)!read(fd, &count, sizeof count);
	__atomic_fetch_add(&watchdog.beats, 1, __ATOMIC_RELAXED);
}

/* ---- Connections ---- */

static bool option_is(int fd, int option, int wanted)
{
	int value;
	socklen_t length = sizeof value;

	return getsockopt(fd, SOL_SOCKET, option, &value, &length) == 0 && value == wanted;
}

/* A TCP connection with bytes to send and no room for more; false for everything else that a
 * descriptor can be, listening sockets too. */
static bool is_full(int fd, uint64_t *cookie, int *queued_bytes)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
	socklen_t length = sizeof *cookie;

	return option_is(fd, SO_PROTOCOL, IPPROTO_TCP) && option_is(fd, SO_ACCEPTCONN, 0) &&
	       getsockopt(fd, SOL_SOCKET, SO_COOKIE, cookie, &length) == 0 &&
	       ioctl(fd, SIOCOUTQ, queued_bytes) == 0 && *queued_bytes > 0 &&
	       poll(&poll_fd, 1, 0) == 0;
}

static void describe_peer(int fd, char *text, size_t bytes)
{
	struct sockaddr_storage address = {0};
	socklen_t length = sizeof address;
	char host[INET6_ADDRSTRLEN] = "?";
	unsigned port = 0;

	if (getpeername(fd, (struct sockaddr *)&address, &length) == 0) {
		const struct sockaddr_in *v4 = (const void *)&address;
		const struct sockaddr_in6 *v6 = (const void *)&address;
		bool is_v4 = address.ss_family == AF_INET;

		inet_ntop(address.ss_family,
			  is_v4 ? (const void *)&v4->sin_addr : (const void *)&v6->sin6_addr, host,
			  sizeof host);
		port = ntohs(is_v4 ? v4->sin_port : v6->sin6_port);
	}
	snprintf(text, bytes, "%s port %u", host, port);
}

static void find_suspects(void)
{
	struct rlimit limit = {.rlim_cur = 1024};
	int end;

	getrlimit(RLIMIT_NOFILE, &limit);
	end = limit.rlim_cur < FDS_MAX ? (int)limit.rlim_cur : FDS_MAX;
	watchdog.suspect_count = 0;
	for (int fd = 3; fd < end && watchdog.suspect_count < WATCHED_MAX; fd++) {
		struct suspect suspect = {.fd = fd};

		if (is_full(fd, &suspect.cookie, &suspect.queued_bytes))
			watchdog.suspects[watchdog.suspect_count++] = suspect;
	}
}

static bool is_still_full(struct suspect *suspect, int fd)
{
	uint64_t cookie;
	int queued_bytes;

	if (!is_full(fd, &cookie, &queued_bytes) || cookie != suspect->cookie)
		return false;
	suspect->moved |= queued_bytes != suspect->queued_bytes;
	return true;
}

/* The descriptor is copied first: what is shut down is what was looked at, also if the main thread
 * wakes up at this moment and closes it. */
static void cut(struct suspect *suspect, bool sipping_too)
{
	char peer[80];
	int fd = dup(suspect->fd);

	if (fd < 0)
		return;
	if (is_still_full(suspect, fd) && (sipping_too || !suspect->moved)) {
		describe_peer(fd, peer, sizeof peer);
		hf_warn("an initiator does not take its data and holds up all others: its "
			"connection is cut: %s, %d bytes waiting",
			peer, suspect->queued_bytes);
		shutdown(fd, SHUT_RDWR);
	}
	close(fd);
}

/* ---- The watchdog's thread ---- */

static void silent(unsigned rounds)
{
	if (rounds % ROUNDS == 1)
		find_suspects();
	for (unsigned i = 0; i < watchdog.suspect_count; i++) {
		if (rounds % ROUNDS == 0)
			cut(&watchdog.suspects[i], rounds % SIP_ROUNDS == 0);
		else
			is_still_full(&watchdog.suspects[i], watchdog.suspects[i].fd);
	}
}

static void *watch_over(void *unused)
{
	const struct timespec round = {.tv_sec = watchdog.round_ms / 1000,
				       .tv_nsec = (long)(watchdog.round_ms % 1000) * 1000000};
	uint64_t last = 0, one = 1;
	unsigned rounds = 0;

	for (;;) {
		uint64_t beats;

		(void)!write(watchdog.beat_fd, &one, sizeof one);
		clock_nanosleep(CLOCK_MONOTONIC, 0, &round, NULL);
		beats = __atomic_load_n(&watchdog.beats, __ATOMIC_RELAXED);
		rounds = beats == last ? rounds + 1 : 0;
		last = beats;
		if (rounds > 0)
			silent(rounds);
	}
	return unused;
}

static bool start_thread(void)
{
	pthread_attr_t attributes;
	pthread_t thread;
	sigset_t all, before;
	bool started;

	sigfillset(&all);
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	started = pthread_create(&thread, &attributes, watch_over, NULL) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return started;
}

int hf_watchdog_start(uint32_t stall_ms,
		      int (*watch)(int fd, int events,
				   void (*ready)(int fd, int events, void *data), void *data))
{
	watchdog.round_ms =
		(stall_ms < HF_WATCHDOG_STALL_MS_MIN ? HF_WATCHDOG_STALL_MS_MIN : stall_ms) /
		ROUNDS;
	watchdog.beat_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (watchdog.beat_fd < 0)
		return HF_ENOMEM;
	if (watch(watchdog.beat_fd, EPOLLIN, beat, NULL) != 0 || !start_thread()) {
		/* The loop may have it already: it stays, and nobody writes to it. */
		return HF_ENOMEM;
	}
	return 0;
}
