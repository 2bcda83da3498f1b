/* The watchdog cuts TCP connections whose peer takes nothing, and touches nothing else: no socket
 * of another kind, none that listens, none that moves, and none while the loop beats. */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "target/watchdog.h"

#define STALL_MS 1000u /* a busy machine lets this process wait for a good part of it */

static int beat_fd = -1;
static void (*beat)(int fd, int events, void *data);

static int watch(int fd, int events, void (*ready)(int fd, int events, void *data), void *data)
{
	(void)events;
	(void)data;
	beat_fd = fd;
	beat = ready;
	return 0;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

struct pair {
	int ours, peers;
};

static int listening = -1;

static struct pair tcp_pair(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t length = sizeof address;
	struct pair pair = {.peers = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)};

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (listening < 0) {
		listening = socket(AF_INET, SOCK_STREAM, 0);
		assert_int_equal(bind(listening, (struct sockaddr *)&address, length), 0);
		assert_int_equal(listen(listening, 8), 0);
	}
	getsockname(listening, (struct sockaddr *)&address, &length);
	(void)connect(pair.peers, (struct sockaddr *)&address, length);
	pair.ours = accept4(listening, NULL, NULL, SOCK_NONBLOCK);
	assert_true(pair.ours >= 0);
	return pair;
}

static struct pair unix_pair(void)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	return (struct pair){fds[0], fds[1]};
}

/* Sends until no more goes; false if the connection was shut down. */
static bool fill(const struct pair *pair)
{
	static const uint8_t bytes[65536];

	while (send(pair->ours, bytes, sizeof bytes, MSG_NOSIGNAL) > 0) {
		/* more goes */
	}
	return errno == EAGAIN;
}

static void drain(const struct pair *pair)
{
	uint8_t bytes[65536];

	while (recv(pair->peers, bytes, sizeof bytes, 0) > 0) {
		/* more is there */
	}
}

static void turn(const struct pair *moving, bool beats)
{
	struct pollfd poll_fd = {.fd = beat_fd, .events = POLLIN};

	drain(moving);
	assert_true(fill(moving));
	if (poll(&poll_fd, 1, 5) > 0 && beats)
		beat(beat_fd, POLLIN, NULL);
}

static void cuts_who_stalls_and_nobody_else(void **state)
{
	struct pair stalled = tcp_pair(), moving = tcp_pair(), local = unix_pair();
	uint64_t end;

	(void)state;
	fill(&stalled);
	fill(&local);
	assert_int_equal(hf_watchdog_start(STALL_MS, watch), 0);
	/* As long as the loop beats a full queue is nobody's business. */
	for (end = now_ms() + 3 * STALL_MS; now_ms() < end;)
		turn(&moving, true);
	assert_true(fill(&stalled));
	/* The loop hangs. */
	for (end = now_ms() + 20000; fill(&stalled);) {
		assert_true(now_ms() < end);
		turn(&moving, false);
	}
	assert_int_equal(errno, EPIPE);
	assert_true(fill(&moving));
	assert_true(fill(&local));
	moving = tcp_pair(); /* it still listens */
	assert_true(fill(&moving));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(cuts_who_stalls_and_nobody_else)};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
