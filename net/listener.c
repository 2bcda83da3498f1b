/* The listener of net/stream.h, on its loop's thread: accepts sockets, waits for the handshake, and
 * hands the stream over. It counts the streams it made until their memory is gone; the counter
 * lives as long as the listener or any of them. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/list.h"
#include "base/log.h"
#include "net/admission.h"
#include "net/dial.h"
#include "net/stream_internal.h"
#include "net/tls_internal.h"

#define LISTENER_MAGIC      0x4c495354u
#define GREETING_MAGIC      0x47524554u
#define STREAMS_MAX_DEFAULT 16384u
#define ACCEPTS_AT_ONCE     64
#define BACKLOG             1024
#define BACKLOG_S           5 /* shorter than a client waits for its handshake */
#define BACKLOG_LEAST       64
#define BACKLOG_MOST        4096
#define CROWDED_MS          20u   /* until handshakes in progress are counted again */
#define SLOW_MS             1000u /* so long may a handshake hold a place that others want */
#define PAUSE_MS            100u  /* after the system had no more files or memory */

struct counter {
	unsigned streams;
	bool listener_gone;
};

/* A stream in its handshake. */
struct greeting {
	uint32_t magic;
	struct hf_list link;
	struct hf_listener *listener;
	struct hf_stream *stream;
	uint64_t since_ms;
};

struct hf_listener {
	uint32_t magic;
	struct hf_listener_config config;
	int fd;
	uint16_t port;
	uv_poll_t poll;
	uv_timer_t pause;
	unsigned handles;
	bool closing;
	struct hf_list greetings;
	unsigned greeting_count;
	struct hf_admission admission;
	struct counter *counter;
	struct hf_listener_counts counts;
	void (*closed)(void *context);
	void *closed_context;
};

static void counter_release(struct counter *counter)
{
	if (counter->listener_gone && counter->streams == 0)
		free(counter);
}

static void on_stream_freed(void *context)
{
	struct counter *counter = context;

	counter->streams--;
	counter_release(counter);
}

static void forget_greeting(struct greeting *greeting)
{
	hf_list_remove(&greeting->link);
	greeting->listener->greeting_count--;
	greeting->magic = 0;
	free(greeting);
}

static void on_greeting_opened(void *context, const struct hf_peer *peer)
{
	struct greeting *greeting = context;
	struct hf_listener *listener = greeting->listener;
	struct hf_stream *stream = greeting->stream;

	HF_CHECK_MAGIC(greeting, GREETING_MAGIC);
	(void)peer;
	listener->counts.opened++;
	forget_greeting(greeting);
	listener->config.accepted(listener->config.context, stream);
}

static void on_greeting_lost(void *context, int err, const char *reason)
{
	struct greeting *greeting = context;

	HF_CHECK_MAGIC(greeting, GREETING_MAGIC);
	hf_info("connection from %s refused: %s (%s)", hf_stream_peer(greeting->stream)->address,
		reason, hf_err_name(err));
	greeting->listener->counts.failed++;
	hf_stream_close(greeting->stream, NULL, NULL);
	forget_greeting(greeting);
}

static void greet(struct hf_listener *listener, int fd)
{
	struct greeting *greeting = calloc(1, sizeof *greeting);
	struct hf_stream_callbacks callbacks = {
		.opened = on_greeting_opened, .lost = on_greeting_lost, .context = greeting};

	if (!greeting) {
		close(fd);
		return;
	}
	greeting->magic = GREETING_MAGIC;
	greeting->listener = listener;
	if (hf_stream_open(listener->poll.loop, listener->config.tls, fd, NULL, &callbacks,
			   &greeting->stream) != 0) {
		free(greeting);
		return;
	}
	greeting->since_ms = uv_now(listener->poll.loop);
	hf_list_push_back(&listener->greetings, &greeting->link);
	listener->greeting_count++;
	listener->counter->streams++;
	hf_stream_on_freed(greeting->stream, on_stream_freed, listener->counter);
}

/* Who connects and says nothing must not keep out who has something to say: the oldest of those
 * whose handshake is not done goes. False: there is none. */
static bool make_room(struct hf_listener *listener)
{
	struct greeting *greeting;

	if (hf_list_empty(&listener->greetings))
		return false;
	greeting = hf_container_of(listener->greetings.next, struct greeting, link);
	HF_CHECK_MAGIC(greeting, GREETING_MAGIC);
	listener->counts.crowded_out++;
	hf_stream_close(greeting->stream, NULL, NULL);
	forget_greeting(greeting);
	return true;
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void on_pause_over(uv_timer_t *timer)
{
	struct hf_listener *listener = timer->data;

	HF_CHECK_MAGIC(listener, LISTENER_MAGIC);
	uv_poll_start(&listener->poll, UV_READABLE, on_poll);
}

static void pause_for(struct hf_listener *listener, uint32_t pause_ms)
{
	uv_poll_stop(&listener->poll);
	uv_timer_start(&listener->pause, on_pause_over, pause_ms, 0);
}

/* 0: the next one may be accepted; else how long not. */
static uint32_t must_wait_ms(struct hf_listener *listener)
{
	uint64_t now_ms = uv_now(listener->poll.loop);
	const struct greeting *oldest;

	if (listener->greeting_count >= listener->config.handshakes_max) {
		oldest = hf_container_of(listener->greetings.next, struct greeting, link);
		if (now_ms < oldest->since_ms + SLOW_MS)
			return CROWDED_MS;
		make_room(listener);
	}
	return hf_admission_wait_ms(&listener->admission, now_ms);
}

/* Whoever left while it waited costs no handshake. */
static bool has_left(int fd)
{
	struct pollfd peer = {.fd = fd, .events = POLLRDHUP};

	return poll(&peer, 1, 0) == 1 && (peer.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct hf_listener *listener = poll->data;

	HF_CHECK_MAGIC(listener, LISTENER_MAGIC);
	(void)status;
	(void)events;
	for (int i = 0; i < ACCEPTS_AT_ONCE; i++) {
		uint32_t wait_ms = must_wait_ms(listener);
		int fd;

		if (wait_ms > 0) {
			pause_for(listener, wait_ms);
			return;
		}
		fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		listener->counts.accepted += fd >= 0;
		if (fd >= 0 && has_left(fd)) {
			close(fd);
			continue;
		}
		if (fd >= 0)
			hf_admission_take(&listener->admission);
		/* A stream that made room is counted until this turn of the loop ends. */
		if (fd >= 0 && (listener->counter->streams < listener->config.streams_max ||
				make_room(listener))) {
			greet(listener, fd);
		} else if (fd >= 0) {
			listener->counts.refused++;
			close(fd);
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
			   errno == ENOBUFS) {
			hf_warn("no more connections for now: %s", strerror(errno));
			make_room(listener);
			pause_for(listener, PAUSE_MS);
			return;
		} else if (errno != EINTR && errno != ECONNABORTED) {
			return;
		}
	}
}

/* ---- Opening and closing ---- */

static int backlog_of(const struct hf_listener_config *config)
{
	uint64_t wanted = (uint64_t)config->accept_per_s * BACKLOG_S;

	if (!config->accept_per_s)
		return BACKLOG;
	return wanted < BACKLOG_LEAST  ? BACKLOG_LEAST
	       : wanted > BACKLOG_MOST ? BACKLOG_MOST
				       : (int)wanted;
}

static int bind_to(const char *address, int backlog, int *out, struct hf_errmsg *message)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				 .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE};
	struct addrinfo *found;
	char host[64], service[8];
	uint16_t port;
	int fd, one = 1, err = hf_endpoint_parse(address, host, sizeof host, &port);

	if (err)
		return hf_fail(message, err, "`%.60s` is not addr:port", address);
	snprintf(service, sizeof service, "%u", port);
	if (getaddrinfo(host, service, &hints, &found) != 0)
		return hf_fail(message, HF_EINVAL, "`%.60s` is not addr:port", address);
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) != 0 ||
	    listen(fd, backlog) != 0) {
		err = hf_fail(message, hf_err_from_errno(errno), "listening on %s: %s", address,
			      strerror(errno));
		if (fd >= 0)
			close(fd);
	}
	freeaddrinfo(found);
	*out = fd;
	return err;
}

static uint16_t bound_port(int fd)
{
	struct sockaddr_storage address = {0};
	socklen_t length = sizeof address;

	getsockname(fd, (struct sockaddr *)&address, &length);
	return address.ss_family == AF_INET6
		       ? ntohs(((struct sockaddr_in6 *)(void *)&address)->sin6_port)
		       : ntohs(((struct sockaddr_in *)(void *)&address)->sin_port);
}

int hf_listener_open(uv_loop_t *loop, const struct hf_listener_config *config,
		     struct hf_listener **out, struct hf_errmsg *message)
{
	struct hf_listener *listener = calloc(1, sizeof *listener);
	struct counter *counter = calloc(1, sizeof *counter);
	int err, fd = -1;

	err = listener && counter ? bind_to(config->address, backlog_of(config), &fd, message)
				  : hf_fail(message, HF_ENOMEM, "out of memory");
	if (!err && uv_poll_init(loop, &listener->poll, fd) != 0) {
		close(fd);
		err = hf_fail(message, HF_EIO, "listening on %s: not pollable", config->address);
	}
	if (err) {
		free(counter);
		free(listener);
		return err;
	}
	listener->magic = LISTENER_MAGIC;
	listener->config = *config;
	listener->config.address = NULL; /* the caller's, not kept */
	listener->config.tls = hf_tls_hold(config->tls);
	if (!config->streams_max)
		listener->config.streams_max = STREAMS_MAX_DEFAULT;
	if (!config->handshakes_max)
		listener->config.handshakes_max = listener->config.streams_max;
	hf_admission_init(&listener->admission, config->accept_per_s, config->accept_burst,
			  uv_now(loop));
	listener->fd = fd;
	listener->port = bound_port(fd);
	listener->counter = counter;
	listener->poll.data = listener->pause.data = listener;
	hf_list_init(&listener->greetings);
	uv_timer_init(loop, &listener->pause);
	listener->handles = 2;
	uv_poll_start(&listener->poll, UV_READABLE, on_poll);
	*out = listener;
	return 0;
}

bool hf_listener_busy(const struct hf_listener *listener)
{
	return listener && hf_admission_busy(&listener->admission);
}

uint16_t hf_listener_port(const struct hf_listener *listener)
{
	HF_CHECK_MAGIC(listener, LISTENER_MAGIC);
	return listener->port;
}

void hf_listener_counts(const struct hf_listener *listener, struct hf_listener_counts *counts)
{
	HF_CHECK_MAGIC(listener, LISTENER_MAGIC);
	*counts = listener->counts;
}

void hf_listener_set_tls(struct hf_listener *listener, struct hf_tls *tls)
{
	struct hf_tls *old = listener->config.tls;

	HF_CHECK_MAGIC(listener, LISTENER_MAGIC);
	listener->config.tls = hf_tls_hold(tls);
	hf_tls_destroy(old);
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct hf_listener *listener = handle->data;

	HF_CHECK_MAGIC(listener, LISTENER_MAGIC);
	if (--listener->handles)
		return;
	close(listener->fd);
	hf_tls_destroy(listener->config.tls);
	listener->counter->listener_gone = true;
	counter_release(listener->counter);
	if (listener->closed)
		listener->closed(listener->closed_context);
	listener->magic = 0;
	free(listener);
}

void hf_listener_close(struct hf_listener *listener, void (*closed)(void *context), void *context)
{
	HF_CHECK_MAGIC(listener, LISTENER_MAGIC);
	HF_ASSERT(!listener->closing);
	listener->closing = true;
	listener->closed = closed;
	listener->closed_context = context;
	hf_list_for_each_safe (at, &listener->greetings) {
		struct greeting *greeting = hf_container_of(at, struct greeting, link);

		hf_stream_close(greeting->stream, NULL, NULL);
		forget_greeting(greeting);
	}
	uv_poll_stop(&listener->poll);
	uv_close((uv_handle_t *)&listener->poll, on_handle_closed);
	uv_close((uv_handle_t *)&listener->pause, on_handle_closed);
}
