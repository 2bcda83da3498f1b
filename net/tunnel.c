/* net/tunnel.h: one socket, one uv_poll, one timer. The request is sent, the answer's header read
 * no further than its end as long as it comes alone; whoever sends more is no tunnel. Loop's
 * thread. */
#include "net/tunnel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "net/dial.h"

#define TUNNEL_MAGIC 0x54554e4cu

struct hf_tunnel {
	uint32_t magic;
	struct hf_tunnel_callbacks callbacks;
	struct hf_proxy proxy;
	char target[HF_PROXY_HOST_MAX + 8];
	int fd; /* -1: given away */
	uv_poll_t poll;
	uv_timer_t timer;
	unsigned handles; /* not yet closed */
	bool over, closing;
	char request[HF_PROXY_REQUEST_MAX];
	size_t request_length, sent;
	struct hf_proxy_answer answer;
};

static void on_handle_closed(uv_handle_t *handle)
{
	struct hf_tunnel *tunnel = handle->data;

	HF_CHECK_MAGIC(tunnel, TUNNEL_MAGIC);
	if (--tunnel->handles)
		return;
	if (tunnel->fd >= 0)
		close(tunnel->fd);
	tunnel->magic = 0;
	free(tunnel);
}

static void stop(struct hf_tunnel *tunnel)
{
	tunnel->over = true;
	uv_poll_stop(&tunnel->poll);
	uv_timer_stop(&tunnel->timer);
	explicit_bzero(tunnel->request, sizeof tunnel->request);
}

static void fail(struct hf_tunnel *tunnel, int err, const char *reason)
{
	stop(tunnel);
	tunnel->callbacks.failed(tunnel->callbacks.context, err, reason, &tunnel->answer);
}

static void open_up(struct hf_tunnel *tunnel)
{
	int fd = tunnel->fd;

	stop(tunnel);
	tunnel->fd = -1;
	/* The callee polls the descriptor itself; ours must have left the loop before. */
	uv_close((uv_handle_t *)&tunnel->poll, on_handle_closed);
	tunnel->callbacks.opened(tunnel->callbacks.context, fd, &tunnel->answer);
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void send_some(struct hf_tunnel *tunnel)
{
	ssize_t n = send(tunnel->fd, tunnel->request + tunnel->sent,
			 tunnel->request_length - tunnel->sent, MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		fail(tunnel, HF_ECONN, strerror(errno));
		return;
	}
	if (n > 0)
		tunnel->sent += (size_t)n;
	if (tunnel->sent == tunnel->request_length)
		uv_poll_start(&tunnel->poll, UV_READABLE, on_poll);
}

static void judge(struct hf_tunnel *tunnel, size_t rest)
{
	struct hf_errmsg message = {""};
	int err = hf_proxy_answer_judge(&tunnel->answer, &tunnel->proxy, tunnel->target, rest,
					&message);

	if (err)
		fail(tunnel, err, message.text);
	else
		open_up(tunnel);
}

static void read_some(struct hf_tunnel *tunnel)
{
	uint8_t bytes[1024];
	ssize_t n = recv(tunnel->fd, bytes, sizeof bytes, 0);
	struct hf_errmsg message = {""};
	size_t taken;
	int err;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		fail(tunnel, HF_ECONN, strerror(errno));
		return;
	}
	if (n == 0) {
		fail(tunnel, HF_ECONN,
		     tunnel->answer.taken ? "the proxy cut the connection within its answer"
					  : "the proxy cut the connection without an answer");
		return;
	}
	err = hf_proxy_answer_take(&tunnel->answer, bytes, (size_t)n, &taken, &message);
	if (err)
		fail(tunnel, err, message.text);
	else if (tunnel->answer.done)
		judge(tunnel, (size_t)n - taken);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct hf_tunnel *tunnel = poll->data;

	HF_CHECK_MAGIC(tunnel, TUNNEL_MAGIC);
	(void)events;
	(void)status; /* an error of the socket shows below, with its number */
	if (tunnel->sent < tunnel->request_length)
		send_some(tunnel);
	else
		read_some(tunnel);
}

static void on_timer(uv_timer_t *timer)
{
	struct hf_tunnel *tunnel = timer->data;

	HF_CHECK_MAGIC(tunnel, TUNNEL_MAGIC);
	fail(tunnel, HF_ETIMEDOUT, "the proxy does not answer CONNECT in time");
}

/* ---- The public face ---- */

int hf_tunnel_open(uv_loop_t *loop, int fd, const struct hf_proxy *proxy, const char *host,
		   uint16_t port, const struct hf_tunnel_callbacks *callbacks,
		   struct hf_tunnel **out, struct hf_errmsg *message)
{
	struct hf_tunnel *tunnel = calloc(1, sizeof *tunnel);
	int err = tunnel ? 0 : hf_fail(message, HF_ENOMEM, "out of memory");

	if (!err)
		err = hf_proxy_request(proxy, host, port, tunnel->request, &tunnel->request_length,
				       message);
	if (!err && uv_poll_init(loop, &tunnel->poll, fd) != 0)
		err = hf_fail(message, HF_ENOMEM, "out of memory");
	if (err) {
		close(fd);
		free(tunnel);
		return err;
	}
	tunnel->magic = TUNNEL_MAGIC;
	tunnel->callbacks = *callbacks;
	tunnel->proxy = *proxy;
	snprintf(tunnel->target, sizeof tunnel->target, "%s:%u", host, port);
	tunnel->fd = fd;
	tunnel->poll.data = tunnel->timer.data = tunnel;
	uv_timer_init(loop, &tunnel->timer);
	uv_timer_start(&tunnel->timer, on_timer, HF_TUNNEL_MS, 0);
	tunnel->handles = 2;
	hf_proxy_answer_init(&tunnel->answer);
	uv_poll_start(&tunnel->poll, UV_WRITABLE, on_poll);
	*out = tunnel;
	return 0;
}

void hf_tunnel_close(struct hf_tunnel *tunnel)
{
	HF_CHECK_MAGIC(tunnel, TUNNEL_MAGIC);
	HF_ASSERT(!tunnel->closing);
	tunnel->closing = true;
	if (!tunnel->over)
		stop(tunnel);
	if (tunnel->fd >= 0)
		uv_close((uv_handle_t *)&tunnel->poll, on_handle_closed);
	uv_close((uv_handle_t *)&tunnel->timer, on_handle_closed);
}
