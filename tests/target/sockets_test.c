/* tgtd's connections with fewer system calls (target/sockets.h): what comes and goes is what came
 * and went without them, byte for byte and in order, whatever the sizes of pieces and buffers; who
 * has nothing to say or cannot be sent to is not looked at again and again, and nobody is kept
 * waiting by others. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "target/sockets.h"

#define HEADER      48u
#define DATA_MAX    (300u << 10)
#define ANSWERS_MAX 4096u
#ifdef __SANITIZE_THREAD__ /* looks at every byte of every call */
#define ROUNDS     60u
#define PATIENCE_S 300u
#else
#define ROUNDS     300u
#define PATIENCE_S 60u
#endif

static int epoll_fd = -1;

/* ---- A server as tgtd is one: a piece a turn, both directions in one event --------------------
 */

struct server {
	int fd;
	bool ended;
	uint8_t header[HEADER], *data;
	uint32_t header_got, data_got, data_bytes;
	/* Answers that wait: the command's own bytes. */
	struct {
		uint8_t *bytes;
		uint32_t length, sent;
	} answers[ANSWERS_MAX];
	unsigned first, count;
};

static uint32_t data_of(const uint8_t *header)
{
	uint32_t bytes;

	memcpy(&bytes, header, sizeof bytes);
	return bytes;
}

static void want(struct server *server, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = server};

	assert_int_equal(hf_sockets_epoll_ctl(epoll_fd, EPOLL_CTL_MOD, server->fd, &event), 0);
}

static void cork(const struct server *server, int on)
{
	assert_int_equal(hf_sockets_setsockopt(server->fd, IPPROTO_TCP, TCP_CORK, &on, sizeof on),
			 0);
}

/* True if `*got` of `bytes` are there. */
static bool take(struct server *server, void *to, uint32_t bytes, uint32_t *got)
{
	ssize_t part;

	if (*got == bytes)
		return true;
	part = hf_sockets_read(server->fd, (uint8_t *)to + *got, bytes - *got);
	server->ended = part == 0 || (part < 0 && errno != EAGAIN);
	if (part > 0)
		*got += (uint32_t)part;
	return *got == bytes;
}

static void receive(struct server *server)
{
	uint8_t *answer;

	if (server->count == ANSWERS_MAX ||
	    !take(server, server->header, HEADER, &server->header_got))
		return;
	if (!server->data) {
		server->data_bytes = data_of(server->header);
		server->data = malloc(server->data_bytes + 1);
	}
	if (!take(server, server->data, server->data_bytes, &server->data_got))
		return;
	answer = malloc(HEADER + server->data_bytes);
	memcpy(answer, server->header, HEADER);
	memcpy(answer + HEADER, server->data, server->data_bytes);
	free(server->data);
	server->data = NULL;
	server->header_got = server->data_got = 0;
	server->answers[(server->first + server->count) % ANSWERS_MAX].bytes = answer;
	server->answers[(server->first + server->count) % ANSWERS_MAX].length =
		HEADER + server->data_bytes;
	server->answers[(server->first + server->count++) % ANSWERS_MAX].sent = 0;
	want(server, EPOLLIN | EPOLLOUT);
}

/* tgtd begins a piece when it hears EPOLLOUT and insists until it is gone. */
static void put(struct server *server, const uint8_t *bytes, uint32_t length)
{
	while (length > 0) {
		ssize_t part;

		cork(server, 1);
		part = hf_sockets_write(server->fd, bytes, length);
		if (part < 0 && errno != EAGAIN) {
			server->ended = true;
			return;
		}
		bytes += part > 0 ? part : 0;
		length -= part > 0 ? (uint32_t)part : 0;
	}
}

static void answer(struct server *server)
{
	unsigned at = server->first % ANSWERS_MAX;

	if (server->count == 0) {
		want(server, EPOLLIN);
		return;
	}
	if (server->answers[at].sent == 0) {
		put(server, server->answers[at].bytes, HEADER);
		server->answers[at].sent = HEADER;
		return;
	}
	put(server, server->answers[at].bytes + HEADER, server->answers[at].length - HEADER);
	cork(server, 0);
	free(server->answers[at].bytes);
	server->first++;
	server->count--;
}

/* One turn; how many events there were. */
static int turn(int timeout_ms)
{
	struct epoll_event events[8];
	int count = hf_sockets_epoll_wait(epoll_fd, events, 8, timeout_ms);

	for (int i = 0; i < count; i++) {
		struct server *server = events[i].data.ptr;

		if (!server)
			continue;
		if (events[i].events & EPOLLIN)
			receive(server);
		if (!server->ended && events[i].events & EPOLLOUT)
			answer(server);
	}
	return count;
}

static void server_end(struct server *server)
{
	while (server->count > 0) {
		free(server->answers[server->first++ % ANSWERS_MAX].bytes);
		server->count--;
	}
	free(server->data);
	assert_int_equal(
		hf_sockets_epoll_ctl(epoll_fd, EPOLL_CTL_DEL, server->fd, &(struct epoll_event){0}),
		0);
	assert_int_equal(hf_sockets_close(server->fd), 0);
}

/* ---- Connections ------------------------------------------------------------------------------
 */

static int listening = -1;

/* The server's end, known to epoll and taken over; the client's end is `*client`. */
static void connect_to(struct server *server, int *client, int buffer_bytes)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = server};
	socklen_t length = sizeof address;
	int on = 1;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (listening < 0) {
		listening = socket(AF_INET, SOCK_STREAM, 0);
		assert_int_equal(bind(listening, (struct sockaddr *)&address, length), 0);
		assert_int_equal(listen(listening, 8), 0);
	}
	getsockname(listening, (struct sockaddr *)&address, &length);
	*client = socket(AF_INET, SOCK_STREAM, 0);
	if (buffer_bytes)
		setsockopt(*client, SOL_SOCKET, SO_RCVBUF, &buffer_bytes, sizeof buffer_bytes);
	assert_int_equal(connect(*client, (struct sockaddr *)&address, length), 0);
	*server = (struct server){.fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK)};
	if (buffer_bytes)
		setsockopt(server->fd, SOL_SOCKET, SO_SNDBUF, &buffer_bytes, sizeof buffer_bytes);
	setsockopt(*client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(server->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	assert_int_equal(hf_sockets_epoll_ctl(epoll_fd, EPOLL_CTL_ADD, server->fd, &event), 0);
	cork(server, 1);
	cork(server, 0);
}

static uint64_t random_state;

static uint32_t roll(uint32_t end)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(random_state >> 33) % end;
}

static uint32_t command_make(uint8_t *command)
{
	static const uint32_t limits[] = {1, 1, 5000, 5000, 70000, DATA_MAX};
	uint32_t bytes = roll(limits[roll(6)]);

	for (uint32_t i = 0; i < HEADER + bytes; i++)
		command[i] = (uint8_t)roll(256);
	memcpy(command, &bytes, sizeof bytes);
	return HEADER + bytes;
}

static bool get(int client, uint8_t *to, uint32_t length)
{
	for (ssize_t part; length > 0; to += part, length -= (uint32_t)part) {
		part = recv(client, to, roll(2) ? length : 1 + roll(length), 0);
		if (part <= 0)
			return false;
	}
	return true;
}

static void give(int client, const uint8_t *from, uint32_t length)
{
	for (uint32_t part; length > 0; from += part, length -= part) {
		part = roll(3) ? length : 1 + roll(length);
		assert_int_equal(send(client, from, part, MSG_NOSIGNAL), part);
	}
}

/* ---- Tests ------------------------------------------------------------------------------------
 */

struct client {
	int fd;
	unsigned rounds;
};

/* Several commands at once, then their answers. */
static void *client_run(void *argument)
{
	struct client *client = argument;
	uint8_t *sent = malloc(8 * (HEADER + DATA_MAX)), *got = malloc(8 * (HEADER + DATA_MAX));

	for (unsigned round = 0; round < client->rounds; round++) {
		unsigned count = 1 + roll(8);
		uint32_t bytes = 0;

		while (count-- > 0)
			bytes += command_make(sent + bytes);
		/* What the peer cannot take yet must not keep us from reading answers. */
		if (bytes > 100000)
			bytes = HEADER + data_of(sent);
		give(client->fd, sent, bytes);
		assert_true(get(client->fd, got, bytes));
		assert_memory_equal(got, sent, bytes);
	}
	shutdown(client->fd, SHUT_WR);
	free(sent);
	free(got);
	return NULL;
}

static void every_byte_arrives_in_order(void **state)
{
	static const int buffers[] = {0, 4096, 65536};
	struct client client = {.rounds = ROUNDS};
	static struct server server;
	pthread_t thread;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		random_state = i + 1;
		connect_to(&server, &client.fd, buffers[i]);
		assert_int_equal(pthread_create(&thread, NULL, client_run, &client), 0);
		while (!server.ended)
			assert_true(turn(-1) > 0);
		pthread_join(thread, NULL);
		server_end(&server);
		close(client.fd);
	}
}

/* Nothing to do: the loop waits, in the kernel. */
static bool is_quiet(void)
{
	unsigned turns = 0;

	while (turn(0) > 0)
		if (++turns > 1000)
			return false;
	return true;
}

static void a_full_socket_does_not_keep_the_loop_busy(void **state)
{
	static uint8_t command[HEADER + DATA_MAX], got[HEADER];
	static struct server server;
	int client;

	(void)state;
	connect_to(&server, &client, 4096);
	for (unsigned i = 0; i < 2000; i++) {
		memcpy(command + 4, &i, sizeof i);
		assert_int_equal(send(client, command, HEADER, 0), HEADER);
		if (!is_quiet())
			fail_msg("the loop spins after %u commands", i);
	}
	for (unsigned i = 0; i < 2000; i++) {
		for (uint32_t at = 0; at < HEADER;) {
			ssize_t part = recv(client, got + at, HEADER - at, MSG_DONTWAIT);

			if (part > 0)
				at += (uint32_t)part;
			else
				turn(1000);
		}
		memcpy(command + 4, &i, sizeof i);
		assert_memory_equal(got, command, HEADER);
	}
	server_end(&server);
	close(client);
}

static void what_came_before_the_end_is_read(void **state)
{
	static const uint8_t commands[5 * HEADER];
	uint8_t got[sizeof commands];
	static struct server server;
	int client;

	(void)state;
	connect_to(&server, &client, 0);
	assert_int_equal(send(client, commands, sizeof commands, 0), sizeof commands);
	shutdown(client, SHUT_WR);
	while (!server.ended || server.count > 0) {
		assert_true(turn(-1) > 0);
		if (server.ended)
			answer(&server);
	}
	server_end(&server);
	assert_int_equal(recv(client, got, sizeof got, MSG_WAITALL), sizeof got);
	assert_int_equal(recv(client, got, sizeof got, 0), 0);
	close(client);
}

/* tgtd answers a logout and closes. */
static void what_waits_is_sent_before_the_end(void **state)
{
	static struct server server;
	char got[8];
	int client;

	(void)state;
	connect_to(&server, &client, 0);
	cork(&server, 1);
	assert_int_equal(hf_sockets_write(server.fd, "goodbye", 8), 8);
	cork(&server, 0);
	server_end(&server);
	assert_int_equal(recv(client, got, sizeof got, MSG_WAITALL), sizeof got);
	assert_string_equal(got, "goodbye");
	close(client);
}

static void others_are_not_forgotten(void **state)
{
	static uint8_t commands[1000 * HEADER];
	int other = eventfd(1, EFD_NONBLOCK), client;
	struct epoll_event event = {.events = EPOLLIN}, events[8];
	static struct server server;
	unsigned turns = 0;

	(void)state;
	connect_to(&server, &client, 0);
	assert_int_equal(send(client, commands, sizeof commands, 0), sizeof commands);
	assert_true(turn(1000) > 0);
	assert_int_equal(hf_sockets_epoll_ctl(epoll_fd, EPOLL_CTL_ADD, other, &event), 0);
	for (bool heard = false; !heard; turns++) {
		int count = hf_sockets_epoll_wait(epoll_fd, events, 8, 1000);

		assert_true(count > 0);
		for (int i = 0; i < count; i++)
			heard |= events[i].data.ptr == NULL;
		receive(&server);
	}
	assert_true(turns <= HF_SOCKETS_TURNS_MAX);
	hf_sockets_epoll_ctl(epoll_fd, EPOLL_CTL_DEL, other, &event);
	hf_sockets_close(other);
	server_end(&server);
	close(client);
}

/* "More" is what the shim gathers for: true while commands wait, and never for long. */
static void more_is_said_while_commands_wait(void **state)
{
	static uint8_t commands[100 * HEADER];
	static struct server server;
	unsigned in_a_row = 0, heard = 0;
	int client;

	(void)state;
	connect_to(&server, &client, 0);
	assert_false(hf_sockets_more());
	assert_int_equal(send(client, commands, sizeof commands, 0), sizeof commands);
	for (unsigned i = 0; i < 100; i++) {
		assert_true(turn(1000) > 0);
		in_a_row = hf_sockets_more() ? in_a_row + 1 : 0;
		heard += hf_sockets_more();
		assert_true(in_a_row <= HF_SOCKETS_TURNS_MAX);
	}
	assert_true(heard > 50);
	assert_true(is_quiet());
	assert_false(hf_sockets_more());
	server_end(&server);
	close(client);
}

static void a_number_used_again_is_another_connection(void **state)
{
	static const uint8_t commands[3 * HEADER];
	static struct server server, next;
	int lower = eventfd(0, 0), client, other, was;
	uint8_t byte;

	(void)state;
	connect_to(&server, &client, 0);
	assert_int_equal(send(client, commands, sizeof commands, 0), sizeof commands);
	assert_true(turn(1000) > 0); /* reads ahead */
	was = server.fd;
	server_end(&server);
	close(lower); /* the next client's number */
	connect_to(&next, &other, 0);
	assert_int_equal(next.fd, was);
	assert_true(hf_sockets_read(next.fd, &byte, 1) < 0 && errno == EAGAIN);
	assert_true(is_quiet());
	server_end(&next);
	close(client);
	close(other);
}

static void *stranger_run(void *argument)
{
	struct server *server = argument;
	uint8_t byte;

	/* Another thread gets what the kernel has: nothing, since all was read ahead. */
	return hf_sockets_read(server->fd, &byte, 1) < 0 && errno == EAGAIN ? server : NULL;
}

static void other_threads_pass_through(void **state)
{
	static const uint8_t commands[3 * HEADER];
	static struct server server;
	pthread_t thread;
	void *passed;
	int client;

	(void)state;
	connect_to(&server, &client, 0);
	assert_int_equal(send(client, commands, sizeof commands, 0), sizeof commands);
	assert_true(turn(1000) > 0);
	assert_int_equal(pthread_create(&thread, NULL, stranger_run, &server), 0);
	pthread_join(thread, &passed);
	assert_non_null(passed);
	server_end(&server);
	close(client);
}

static void a_broken_connection_says_so(void **state)
{
	struct linger hard = {.l_onoff = 1};
	static const uint8_t commands[3 * HEADER];
	static struct server server;
	int client;

	(void)state;
	connect_to(&server, &client, 0);
	assert_int_equal(send(client, commands, sizeof commands, 0), sizeof commands);
	assert_true(turn(1000) > 0);
	setsockopt(client, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
	close(client);
	for (unsigned turns = 0; !server.ended; turns++) {
		assert_true(turns < 1000);
		assert_true(turn(1000) > 0);
	}
	server_end(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_byte_arrives_in_order),
		cmocka_unit_test(a_full_socket_does_not_keep_the_loop_busy),
		cmocka_unit_test(what_came_before_the_end_is_read),
		cmocka_unit_test(what_waits_is_sent_before_the_end),
		cmocka_unit_test(others_are_not_forgotten),
		cmocka_unit_test(more_is_said_while_commands_wait),
		cmocka_unit_test(a_number_used_again_is_another_connection),
		cmocka_unit_test(other_threads_pass_through),
		cmocka_unit_test(a_broken_connection_says_so),
	};
	struct epoll_event none[1];

	signal(SIGPIPE, SIG_IGN);
	alarm(PATIENCE_S); /* for a loop that waits for ever */
	epoll_fd = epoll_create1(0);
	hf_sockets_epoll_wait(epoll_fd, none, 1, 0); /* who waits first is the loop */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
