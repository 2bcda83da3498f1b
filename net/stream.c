/* A TLS stream (net/stream.h): one socket, one SSL, one uv_poll, and a timer while there is a
 * deadline: one that is open has none. Everything happens in on_poll and on_deadline on the loop's
 * thread; memory is freed when the poll has closed, that of a timer when the timer has.
 *
 *   CONNECTING → HANDSHAKE → OPEN → FINISHING → LOST        any state → CLOSING by hf_stream_close
 *
 * LOST tells the owner once and then only waits for hf_stream_close. */
#include "net/stream_internal.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "net/explain.h"
#include "net/tls_internal.h"

#define STREAM_MAGIC  0x5354524du
#define READ_BYTES    16384
#define READS_AT_ONCE 16 /* records, before others have their turn */
#define FINISH_MS     5000u
#define QUEUE_FIRST   4096u

enum stream_state { CONNECTING, HANDSHAKE, OPEN, FINISHING, LOST, CLOSING };

struct hf_stream {
	uint32_t magic;
	enum stream_state state;
	struct hf_tls *tls;
	SSL *ssl;
	int fd;
	uv_poll_t poll;
	uv_timer_t *deadline; /* of the handshake or of finishing; NULL: none */
	int events;           /* what uv_poll waits for; starting it again costs system calls */
	bool want_write;      /* TLS itself waits until the socket takes more */
	bool shut;            /* FINISHING: our end was said */
	enum hf_hop hop;      /* where it was lost */
	struct hf_tls_refused refused;
	struct hf_stream_callbacks callbacks;
	struct hf_peer peer;
	uint8_t *queue; /* bytes queue_start … queue_used are to be written */
	size_t queue_start, queue_used, queue_capacity;
	void (*closed)(void *context);
	void *closed_context;
	void (*freed)(void *context);
	void *freed_context;
};

static void on_poll(uv_poll_t *poll, int status, int events);

static void update_poll(struct hf_stream *stream)
{
	int events = stream->state == CONNECTING ? 0 : UV_READABLE;

	if (stream->state >= LOST)
		return;
	if (stream->state == CONNECTING || stream->want_write ||
	    (stream->state >= OPEN && stream->queue_start < stream->queue_used) ||
	    (stream->state == FINISHING && !stream->shut))
		events |= UV_WRITABLE;
	if (events == stream->events)
		return;
	HF_ASSERT(uv_poll_start(&stream->poll, events, on_poll) == 0);
	stream->events = events;
}

static void on_deadline_closed(uv_handle_t *handle)
{
	free(handle);
}

static void end_deadline(struct hf_stream *stream)
{
	if (!stream->deadline)
		return;
	stream->deadline->data = NULL;
	uv_close((uv_handle_t *)stream->deadline, on_deadline_closed);
	stream->deadline = NULL;
}

static void lose(struct hf_stream *stream, int err, const char *reason)
{
	if (stream->state >= LOST)
		return;
	stream->state = LOST;
	uv_poll_stop(&stream->poll);
	end_deadline(stream);
	/* After both ends were said, or ours was and the peer just left, this is orderly. */
	if (stream->callbacks.lost)
		stream->callbacks.lost(stream->callbacks.context, stream->shut ? 0 : err, reason);
}

static void lose_at(struct hf_stream *stream, enum hf_hop hop, int err, const char *reason)
{
	stream->hop = hop;
	lose(stream, err, reason);
}

static void lose_by_ssl(struct hf_stream *stream, int ssl_error)
{
	struct hf_tls_trouble trouble = {.ssl = stream->ssl,
					 .server = hf_tls_is_server(stream->tls),
					 .judges = hf_tls_judges(stream->tls),
					 .opened = stream->state >= OPEN,
					 .ssl_error = ssl_error,
					 .error = ERR_peek_error(),
					 .number = errno,
					 .now_s = (int64_t)time(NULL)};
	struct hf_errmsg message = {""};
	enum hf_hop hop;
	int err;

	if (ssl_error == SSL_ERROR_ZERO_RETURN) {
		lose_at(stream, HF_HOP_PROVIDER, 0, "the peer ended the connection");
	} else {
		err = hf_tls_explain(&trouble, &hop, &message);
		lose_at(stream, hop, err, message.text);
	}
	ERR_clear_error();
}

/* True if TLS only waits for the socket; else the stream is lost. */
static bool only_waits(struct hf_stream *stream, int result)
{
	int ssl_error = SSL_get_error(stream->ssl, result);

	if (ssl_error == SSL_ERROR_WANT_WRITE)
		stream->want_write = true;
	if (ssl_error == SSL_ERROR_WANT_WRITE || ssl_error == SSL_ERROR_WANT_READ)
		return true;
	lose_by_ssl(stream, ssl_error);
	return false;
}

/* ---- Who is there ---- */

static void format_address(int fd, char *text, size_t size)
{
	struct sockaddr_storage address;
	socklen_t length = sizeof address;
	char host[48], port[8];

	if (getpeername(fd, (struct sockaddr *)&address, &length) != 0 ||
	    getnameinfo((struct sockaddr *)&address, length, host, sizeof host, port, sizeof port,
			NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
		snprintf(text, size, "?");
		return;
	}
	snprintf(text, size, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

static int learn_peer(struct hf_stream *stream)
{
	X509 *certificate = SSL_get0_peer_certificate(stream->ssl);
	struct hf_certificate_info info;

	if (!hf_tls_judges(stream->tls))
		return 0;
	if (!certificate || hf_certificate_read(certificate, &info) != 0 ||
	    info.server == hf_tls_is_server(stream->tls))
		return HF_EAUTH;
	stream->peer.certified = true;
	stream->peer.server = info.server;
	stream->peer.tenant = info.tenant;
	stream->peer.gateway = info.gateway;
	stream->peer.not_before_s = info.not_before_s;
	stream->peer.not_after_s = info.not_after_s;
	stream->peer.expired = info.not_after_s < (int64_t)time(NULL);
	memcpy(stream->peer.public_key, info.public_key, HF_KEY_BYTES);
	memcpy(stream->peer.issuer, info.issuer, sizeof stream->peer.issuer);
	return 0;
}

/* ---- Progress ---- */

static void handshake(struct hf_stream *stream)
{
	int result = SSL_do_handshake(stream->ssl);

	if (result != 1) {
		only_waits(stream, result);
		return;
	}
	if (!hf_tls_alpn_agreed(stream->tls, stream->ssl)) {
		lose_at(stream, HF_HOP_TLS, HF_EPROTO,
			"the peer does not speak this protocol (ALPN)");
		return;
	}
	if (learn_peer(stream) != 0) {
		lose_at(stream, HF_HOP_TLS, HF_EAUTH,
			"the peer's certificate is not of the right kind");
		return;
	}
	hf_tls_forget_handshake(stream->tls, stream->ssl);
	end_deadline(stream);
	stream->state = OPEN;
	if (stream->callbacks.opened)
		stream->callbacks.opened(stream->callbacks.context, &stream->peer);
}

static void read_some(struct hf_stream *stream)
{
	uint8_t bytes[READ_BYTES];
	int result;

	for (int i = 0; i < READS_AT_ONCE && stream->state < LOST; i++) {
		result = SSL_read(stream->ssl, bytes, sizeof bytes);
		if (result <= 0) {
			only_waits(stream, result);
			return;
		}
		/* The owner has said its last word; what still comes is read only so that closing
		 * does not reset the connection under that word. */
		if (stream->state == OPEN && stream->callbacks.received)
			stream->callbacks.received(stream->callbacks.context, bytes,
						   (size_t)result);
	}
}

static void free_queue(struct hf_stream *stream)
{
	free(stream->queue);
	stream->queue = NULL;
	stream->queue_start = stream->queue_used = stream->queue_capacity = 0;
}

static void write_some(struct hf_stream *stream)
{
	while (stream->state < LOST && stream->queue_start < stream->queue_used) {
		int result = SSL_write(stream->ssl, stream->queue + stream->queue_start,
				       (int)(stream->queue_used - stream->queue_start));

		if (result <= 0) {
			only_waits(stream, result);
			return;
		}
		stream->queue_start += (size_t)result;
	}
	if (stream->queue && stream->state < LOST)
		free_queue(stream);
	if (stream->state == FINISHING && !stream->shut) {
		stream->shut = true;
		SSL_shutdown(stream->ssl);
		ERR_clear_error();
		shutdown(stream->fd, SHUT_WR);
	}
}

static void finish_connect(struct hf_stream *stream)
{
	socklen_t length = sizeof(int);
	int number = 0, one = 1;

	if (getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &number, &length) != 0)
		number = errno;
	if (number) {
		lose_at(stream, HF_HOP_TCP, HF_ECONN, strerror(number));
		return;
	}
	setsockopt(stream->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	format_address(stream->fd, stream->peer.address, sizeof stream->peer.address);
	stream->state = HANDSHAKE;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct hf_stream *stream = poll->data;

	HF_CHECK_MAGIC(stream, STREAM_MAGIC);
	(void)events;
	/* libuv stops on an error of the socket; reading tells which, after what came before it. */
	if (status < 0)
		stream->events = 0;
	ERR_clear_error();
	errno = 0;
	stream->want_write = false;
	if (stream->state == CONNECTING)
		finish_connect(stream);
	if (stream->state == HANDSHAKE)
		handshake(stream);
	if (stream->state == OPEN || stream->state == FINISHING)
		write_some(stream);
	if (stream->state == OPEN || stream->state == FINISHING)
		read_some(stream);
	update_poll(stream);
}

static void on_deadline(uv_timer_t *timer)
{
	struct hf_stream *stream = timer->data;

	HF_CHECK_MAGIC(stream, STREAM_MAGIC);
	if (stream->state == FINISHING)
		lose_at(stream, HF_HOP_PROVIDER, HF_ETIMEDOUT, "the peer does not read");
	else if (stream->state == HANDSHAKE)
		lose_at(stream, HF_HOP_TLS, HF_ETIMEDOUT,
			"the TLS handshake was not done in time: nobody answers it");
	else
		lose_at(stream, HF_HOP_TCP, HF_ETIMEDOUT, "the connection was not made in time");
}

static int start_deadline(struct hf_stream *stream, uint64_t after_ms)
{
	if (!stream->deadline) {
		stream->deadline = malloc(sizeof *stream->deadline);
		if (!stream->deadline)
			return HF_ENOMEM;
		uv_timer_init(stream->poll.loop, stream->deadline);
		stream->deadline->data = stream;
	}
	uv_timer_start(stream->deadline, on_deadline, after_ms, 0);
	return 0;
}

/* ---- The public face ---- */

static void on_poll_closed(uv_handle_t *handle);

int hf_stream_open(uv_loop_t *loop, struct hf_tls *tls, int fd, const char *name,
		   const struct hf_stream_callbacks *callbacks, struct hf_stream **out)
{
	struct hf_stream *stream = calloc(1, sizeof *stream);

	if (!stream)
		goto err_after_nothing;
	stream->magic = STREAM_MAGIC;
	stream->fd = fd;
	stream->ssl = hf_tls_new_ssl(tls, name);
	if (!stream->ssl || SSL_set_fd(stream->ssl, fd) != 1)
		goto err_after_alloc;
	if (uv_poll_init(loop, &stream->poll, fd) != 0)
		goto err_after_alloc;
	SSL_set_app_data(stream->ssl, &stream->refused);
	stream->tls = hf_tls_hold(tls);
	stream->poll.data = stream;
	if (start_deadline(stream, HF_STREAM_HANDSHAKE_MS) != 0) {
		uv_close((uv_handle_t *)&stream->poll, on_poll_closed);
		return HF_ENOMEM;
	}
	if (callbacks)
		stream->callbacks = *callbacks;
	update_poll(stream);
	*out = stream;
	return 0;

err_after_alloc:
	SSL_free(stream->ssl);
	free(stream);
err_after_nothing:
	close(fd);
	return HF_ENOMEM;
}

void hf_stream_set_callbacks(struct hf_stream *stream, const struct hf_stream_callbacks *callbacks)
{
	HF_CHECK_MAGIC(stream, STREAM_MAGIC);
	stream->callbacks = *callbacks;
}

void hf_stream_on_freed(struct hf_stream *stream, void (*freed)(void *context), void *context)
{
	stream->freed = freed;
	stream->freed_context = context;
}

const struct hf_peer *hf_stream_peer(const struct hf_stream *stream)
{
	HF_CHECK_MAGIC(stream, STREAM_MAGIC);
	return &stream->peer;
}

enum hf_hop hf_stream_lost_at(const struct hf_stream *stream)
{
	HF_CHECK_MAGIC(stream, STREAM_MAGIC);
	return stream->hop;
}

int hf_stream_binding(const struct hf_stream *stream, uint8_t binding[HF_BINDING_BYTES])
{
	static const char label[] = "EXPORTER-holdfast-binding-1";

	HF_CHECK_MAGIC(stream, STREAM_MAGIC);
	return SSL_is_init_finished(stream->ssl) &&
			       SSL_export_keying_material(stream->ssl, binding, HF_BINDING_BYTES,
							  label, sizeof label - 1, NULL, 0, 0) == 1
		       ? 0
		       : HF_ECONN;
}

static int reserve(struct hf_stream *stream, size_t length)
{
	size_t waiting = stream->queue_used - stream->queue_start;
	size_t capacity = stream->queue_capacity ? stream->queue_capacity : QUEUE_FIRST;
	uint8_t *grown;

	if (stream->queue_start) {
		memmove(stream->queue, stream->queue + stream->queue_start, waiting);
		stream->queue_start = 0;
		stream->queue_used = waiting;
	}
	while (capacity < waiting + length)
		capacity *= 2;
	if (capacity == stream->queue_capacity)
		return 0;
	grown = realloc(stream->queue, capacity);
	if (!grown)
		return HF_ENOMEM;
	stream->queue = grown;
	stream->queue_capacity = capacity;
	return 0;
}

int hf_stream_write(struct hf_stream *stream, const uint8_t *bytes, size_t length)
{
	HF_CHECK_MAGIC(stream, STREAM_MAGIC);
	if (stream->state >= FINISHING)
		return HF_ECONN;
	if (length == 0)
		return 0;
	if (length > HF_STREAM_QUEUE_MAX - (stream->queue_used - stream->queue_start))
		return HF_EBUSY;
	if (reserve(stream, length) != 0)
		return HF_ENOMEM;
	memcpy(stream->queue + stream->queue_used, bytes, length);
	stream->queue_used += length;
	update_poll(stream);
	return 0;
}

void hf_stream_finish(struct hf_stream *stream)
{
	HF_CHECK_MAGIC(stream, STREAM_MAGIC);
	if (stream->state >= FINISHING)
		return;
	/* Before the handshake is done there is nobody to say an end to. */
	if (stream->state == OPEN)
		stream->state = FINISHING;
	if (start_deadline(stream, stream->state == FINISHING ? FINISH_MS : 0) != 0)
		lose(stream, HF_ENOMEM, "out of memory");
	update_poll(stream);
}

static void on_poll_closed(uv_handle_t *handle)
{
	struct hf_stream *stream = handle->data;

	HF_CHECK_MAGIC(stream, STREAM_MAGIC);
	SSL_free(stream->ssl);
	hf_tls_destroy(stream->tls);
	close(stream->fd);
	free_queue(stream);
	if (stream->closed)
		stream->closed(stream->closed_context);
	if (stream->freed)
		stream->freed(stream->freed_context);
	stream->magic = 0;
	free(stream);
}

void hf_stream_close(struct hf_stream *stream, void (*closed)(void *context), void *context)
{
	HF_CHECK_MAGIC(stream, STREAM_MAGIC);
	HF_ASSERT(stream->state != CLOSING);
	if (stream->state == OPEN) {
		SSL_shutdown(stream->ssl); /* as far as it goes at once */
		ERR_clear_error();
	}
	stream->state = CLOSING;
	stream->closed = closed;
	stream->closed_context = context;
	end_deadline(stream);
	uv_poll_stop(&stream->poll);
	uv_close((uv_handle_t *)&stream->poll, on_poll_closed);
}
