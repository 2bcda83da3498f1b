/* See store_curl.h. curl calls on_socket and on_timer from inside its own functions, so those only
 * arm handles; curl is driven from the loop's callbacks alone. */
#include "remote/store_curl.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/list.h"

#define CURL_MAGIC   0x48464355u
#define SOCKET_MAGIC 0x48464353u

struct hf_curl {
	uint32_t magic;
	uv_loop_t *loop;
	CURLM *multi;
	uv_timer_t timer;
	unsigned handles; /* uv handles not yet closed, the timer among them */
	bool closing;
	void (*finished)(CURL *easy, CURLcode code);
	void (*closed)(void *context);
	void *closed_context;
};

struct watched_socket {
	uint32_t magic;
	struct hf_curl *curl;
	curl_socket_t fd;
	uv_poll_t poll;
};

static void one_handle_less(struct hf_curl *curl)
{
	void (*closed)(void *) = curl->closed;
	void *context = curl->closed_context;

	HF_CHECK_MAGIC(curl, CURL_MAGIC);
	if (--curl->handles > 0)
		return;
	curl->magic = 0;
	free(curl);
	closed(context);
}

static void report_finished(struct hf_curl *curl)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(curl->multi, &left)) != NULL) {
		CURL *easy = message->easy_handle;
		CURLcode code = message->data.result;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_multi_remove_handle(curl->multi, easy);
		curl->finished(easy, code);
	}
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct watched_socket *watched = hf_container_of(poll, struct watched_socket, poll);
	struct hf_curl *curl = watched->curl;
	int flags = 0, running;

	HF_CHECK_MAGIC(watched, SOCKET_MAGIC);
	if (status < 0)
		flags = CURL_CSELECT_ERR;
	if (events & UV_READABLE)
		flags |= CURL_CSELECT_IN;
	if (events & UV_WRITABLE)
		flags |= CURL_CSELECT_OUT;
	curl_multi_socket_action(curl->multi, watched->fd, flags, &running);
	report_finished(curl);
}

static void socket_closed(uv_handle_t *handle)
{
	struct watched_socket *watched =
		hf_container_of((uv_poll_t *)handle, struct watched_socket, poll);
	struct hf_curl *curl = watched->curl;

	HF_CHECK_MAGIC(watched, SOCKET_MAGIC);
	watched->magic = 0;
	free(watched);
	one_handle_less(curl);
}

static struct watched_socket *watch(struct hf_curl *curl, curl_socket_t fd)
{
	struct watched_socket *watched = calloc(1, sizeof *watched);

	if (!watched)
		return NULL;
	watched->magic = SOCKET_MAGIC;
	watched->curl = curl;
	watched->fd = fd;
	if (uv_poll_init_socket(curl->loop, &watched->poll, fd) != 0) {
		free(watched);
		return NULL;
	}
	curl->handles++;
	curl_multi_assign(curl->multi, fd, watched);
	return watched;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *assigned)
{
	struct hf_curl *curl = context;
	struct watched_socket *watched = assigned;
	int events = 0;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (watched) {
			curl_multi_assign(curl->multi, fd, NULL);
			uv_poll_stop(&watched->poll);
			uv_close((uv_handle_t *)&watched->poll, socket_closed);
		}
		return 0;
	}
	if (!watched)
		watched = watch(curl, fd);
	if (!watched)
		return -1;
	if (what & CURL_POLL_IN)
		events |= UV_READABLE;
	if (what & CURL_POLL_OUT)
		events |= UV_WRITABLE;
	return uv_poll_start(&watched->poll, events, on_poll) == 0 ? 0 : -1;
}

static void timer_fired(uv_timer_t *timer)
{
	struct hf_curl *curl = timer->data;
	int running;

	HF_CHECK_MAGIC(curl, CURL_MAGIC);
	curl_multi_socket_action(curl->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	report_finished(curl);
}

static int on_timer(CURLM *multi, long timeout_ms, void *context)
{
	struct hf_curl *curl = context;

	(void)multi;
	if (curl->closing)
		return 0;
	if (timeout_ms < 0)
		uv_timer_stop(&curl->timer);
	else
		uv_timer_start(&curl->timer, timer_fired, (uint64_t)timeout_ms, 0);
	return 0;
}

struct hf_curl *hf_curl_open(uv_loop_t *loop, unsigned connections_max,
			     void (*finished)(CURL *easy, CURLcode code))
{
	struct hf_curl *curl = calloc(1, sizeof *curl);

	if (!curl)
		return NULL;
	curl->magic = CURL_MAGIC;
	curl->loop = loop;
	curl->finished = finished;
	curl->multi = curl_multi_init();
	if (!curl->multi) {
		free(curl);
		return NULL;
	}
	HF_ASSERT(uv_timer_init(loop, &curl->timer) == 0);
	curl->timer.data = curl;
	curl->handles = 1;
	curl_multi_setopt(curl->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(curl->multi, CURLMOPT_SOCKETDATA, curl);
	curl_multi_setopt(curl->multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(curl->multi, CURLMOPT_TIMERDATA, curl);
	curl_multi_setopt(curl->multi, CURLMOPT_MAXCONNECTS, (long)connections_max);
	curl_multi_setopt(curl->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
	return curl;
}

int hf_curl_add(struct hf_curl *curl, CURL *easy)
{
	HF_CHECK_MAGIC(curl, CURL_MAGIC);
	return curl_multi_add_handle(curl->multi, easy) == CURLM_OK ? 0 : HF_ENOMEM;
}

void hf_curl_remove(struct hf_curl *curl, CURL *easy)
{
	HF_CHECK_MAGIC(curl, CURL_MAGIC);
	curl_multi_remove_handle(curl->multi, easy);
}

static void timer_closed(uv_handle_t *handle)
{
	one_handle_less(handle->data);
}

void hf_curl_close(struct hf_curl *curl, void (*closed)(void *context), void *context)
{
	HF_CHECK_MAGIC(curl, CURL_MAGIC);
	curl->closing = true;
	curl->closed = closed;
	curl->closed_context = context;
	curl_multi_cleanup(curl->multi);
	uv_close((uv_handle_t *)&curl->timer, timer_closed);
}
