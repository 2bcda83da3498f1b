/* The dialler of net/dial.h, on its loop's thread. One round tries every address of every endpoint
 * in turn; when a round is over without success the back-off decides when the next one starts.
 *
 *   WAITING (timer) → RESOLVING → TRYING (a stream in its handshake) → RESTING (handed over)
 */
#include "net/dial.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/list.h"
#include "net/tls_internal.h"

#define DIALLER_MAGIC 0x4449414cu
#define ENDPOINT_MAX  300u /* bytes of "host:port" */
#define HOST_MAX      256u
#define ADDRESSES_MAX 8u /* of one host that are tried */

enum dialler_state { WAITING, RESOLVING, TRYING, RESTING };

struct hf_dialler {
	uint32_t magic;
	enum dialler_state state;
	struct hf_tls *tls;
	struct hf_dialler_callbacks callbacks;
	char endpoints[HF_DIAL_ENDPOINTS_MAX][ENDPOINT_MAX];
	size_t endpoint_count;
	char preferred[ENDPOINT_MAX]; /* empty: none */
	size_t next_endpoint;         /* of this round; endpoint_count: the round is over */
	char host[HOST_MAX];
	struct addrinfo *addresses; /* of `host`; NULL: resolve the next endpoint */
	struct addrinfo *next_address;
	unsigned addresses_tried;
	struct hf_backoff backoff;
	uv_getaddrinfo_t resolver;
	bool resolving;
	uv_timer_t timer;
	bool timer_closed, closing;
	struct hf_stream *stream; /* TRYING */
	int last_err;
	char last_reason[200];
	void (*closed)(void *context);
	void *closed_context;
};

static void step(struct hf_dialler *dialler);

static void note_failure(struct hf_dialler *dialler, int err, const char *reason)
{
	dialler->last_err = err;
	snprintf(dialler->last_reason, sizeof dialler->last_reason, "%s", reason);
}

static void forget_addresses(struct hf_dialler *dialler)
{
	if (dialler->addresses)
		uv_freeaddrinfo(dialler->addresses);
	dialler->addresses = dialler->next_address = NULL;
}

/* ---- One try ---- */

static void on_try_opened(void *context, const struct hf_peer *peer)
{
	struct hf_dialler *dialler = context;
	struct hf_stream *stream = dialler->stream;

	HF_CHECK_MAGIC(dialler, DIALLER_MAGIC);
	(void)peer;
	dialler->stream = NULL;
	dialler->state = RESTING;
	forget_addresses(dialler);
	dialler->callbacks.connected(dialler->callbacks.context, stream);
}

static void on_try_lost(void *context, int err, const char *reason)
{
	struct hf_dialler *dialler = context;

	HF_CHECK_MAGIC(dialler, DIALLER_MAGIC);
	note_failure(dialler, err ? err : HF_ECONN, reason);
	hf_stream_close(dialler->stream, NULL, NULL);
	dialler->stream = NULL;
	step(dialler);
}

/* 0: under way. */
static int try_address(struct hf_dialler *dialler, const struct addrinfo *address)
{
	struct hf_stream_callbacks callbacks = {
		.opened = on_try_opened, .lost = on_try_lost, .context = dialler};
	int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 ||
	    (connect(fd, address->ai_addr, address->ai_addrlen) != 0 && errno != EINPROGRESS)) {
		note_failure(dialler, HF_ECONN, strerror(errno));
		if (fd >= 0)
			close(fd);
		return HF_ECONN;
	}
	dialler->state = TRYING;
	if (hf_stream_open(dialler->timer.loop, dialler->tls, fd, dialler->host, &callbacks,
			   &dialler->stream) != 0) {
		note_failure(dialler, HF_ENOMEM, "out of memory");
		return HF_ENOMEM;
	}
	return 0;
}

/* ---- Names ---- */

static void end_if_closed(struct hf_dialler *dialler)
{
	if (!dialler->closing || !dialler->timer_closed || dialler->resolving)
		return;
	forget_addresses(dialler);
	hf_tls_destroy(dialler->tls);
	if (dialler->closed)
		dialler->closed(dialler->closed_context);
	dialler->magic = 0;
	free(dialler);
}

static void on_resolved(uv_getaddrinfo_t *resolver, int status, struct addrinfo *addresses)
{
	struct hf_dialler *dialler = hf_container_of(resolver, struct hf_dialler, resolver);

	HF_CHECK_MAGIC(dialler, DIALLER_MAGIC);
	dialler->resolving = false;
	if (dialler->closing) {
		if (addresses)
			uv_freeaddrinfo(addresses);
		end_if_closed(dialler);
		return;
	}
	if (status != 0)
		note_failure(dialler, HF_ECONN, uv_strerror(status));
	dialler->addresses = dialler->next_address = status == 0 ? addresses : NULL;
	dialler->addresses_tried = 0;
	step(dialler);
}

/* 0: under way. */
static int resolve(struct hf_dialler *dialler, const char *endpoint)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
	char service[8];
	uint16_t port;

	if (hf_endpoint_parse(endpoint, dialler->host, sizeof dialler->host, &port) != 0) {
		note_failure(dialler, HF_EINVAL, "the endpoint is not host:port");
		return HF_EINVAL;
	}
	snprintf(service, sizeof service, "%u", port);
	dialler->state = RESOLVING;
	if (uv_getaddrinfo(dialler->timer.loop, &dialler->resolver, on_resolved, dialler->host,
			   service, &hints) != 0) {
		note_failure(dialler, HF_ENOMEM, "the name cannot be looked up");
		return HF_ENOMEM;
	}
	dialler->resolving = true;
	return 0;
}

/* ---- Rounds ---- */

static void on_timer(uv_timer_t *timer)
{
	struct hf_dialler *dialler = timer->data;

	HF_CHECK_MAGIC(dialler, DIALLER_MAGIC);
	dialler->next_endpoint = 0;
	step(dialler);
}

static void wait_for_round(struct hf_dialler *dialler, uint32_t at_least_ms)
{
	uint32_t random, wait_ms;

	hf_random(&random, sizeof random);
	wait_ms = hf_backoff_next_ms(&dialler->backoff, random);
	if (wait_ms < at_least_ms)
		wait_ms = at_least_ms;
	dialler->state = WAITING;
	uv_timer_start(&dialler->timer, on_timer, wait_ms, 0);
	if (dialler->callbacks.waiting)
		dialler->callbacks.waiting(dialler->callbacks.context, wait_ms, dialler->last_err,
					   dialler->last_reason);
}

static int try_next_address(struct hf_dialler *dialler)
{
	while (dialler->next_address && dialler->addresses_tried < ADDRESSES_MAX) {
		const struct addrinfo *address = dialler->next_address;

		dialler->next_address = address->ai_next;
		dialler->addresses_tried++;
		if (try_address(dialler, address) == 0)
			return 0;
	}
	forget_addresses(dialler);
	return HF_ENOENT;
}

static int resolve_next(struct hf_dialler *dialler)
{
	char preferred[ENDPOINT_MAX];

	if (dialler->preferred[0]) {
		memcpy(preferred, dialler->preferred, sizeof preferred);
		dialler->preferred[0] = '\0';
		if (resolve(dialler, preferred) == 0)
			return 0;
	}
	while (dialler->next_endpoint < dialler->endpoint_count)
		if (resolve(dialler, dialler->endpoints[dialler->next_endpoint++]) == 0)
			return 0;
	return HF_ENOENT;
}

static void step(struct hf_dialler *dialler)
{
	if (try_next_address(dialler) != 0 && resolve_next(dialler) != 0)
		wait_for_round(dialler, 0);
}

/* ---- The public face ---- */

int hf_dialler_open(uv_loop_t *loop, struct hf_tls *tls, const char *const *endpoints,
		    size_t endpoint_count, const struct hf_dialler_callbacks *callbacks,
		    struct hf_dialler **out, struct hf_errmsg *message)
{
	struct hf_dialler *dialler;

	if (endpoint_count == 0 || endpoint_count > HF_DIAL_ENDPOINTS_MAX)
		return hf_fail(message, HF_EINVAL, "there are %zu endpoints to dial, wanted 1 … %u",
			       endpoint_count, HF_DIAL_ENDPOINTS_MAX);
	dialler = calloc(1, sizeof *dialler);
	if (!dialler)
		return hf_fail(message, HF_ENOMEM, "out of memory");
	for (size_t i = 0; i < endpoint_count; i++) {
		uint16_t port;

		if (strlen(endpoints[i]) >= ENDPOINT_MAX ||
		    hf_endpoint_parse(endpoints[i], dialler->host, sizeof dialler->host, &port)) {
			free(dialler);
			return hf_fail(message, HF_EINVAL, "`%.60s` is not host:port",
				       endpoints[i]);
		}
		strcpy(dialler->endpoints[i], endpoints[i]);
	}
	dialler->magic = DIALLER_MAGIC;
	dialler->endpoint_count = endpoint_count;
	dialler->tls = hf_tls_hold(tls);
	dialler->callbacks = *callbacks;
	dialler->timer.data = dialler;
	uv_timer_init(loop, &dialler->timer);
	uv_timer_start(&dialler->timer, on_timer, 0, 0);
	*out = dialler;
	return 0;
}

void hf_dialler_again(struct hf_dialler *dialler, uint32_t at_least_ms)
{
	HF_CHECK_MAGIC(dialler, DIALLER_MAGIC);
	HF_ASSERT(dialler->state == RESTING && !dialler->closing);
	note_failure(dialler, HF_ECONN, "the connection was lost");
	wait_for_round(dialler, at_least_ms);
}

void hf_dialler_good(struct hf_dialler *dialler)
{
	HF_CHECK_MAGIC(dialler, DIALLER_MAGIC);
	dialler->backoff.failures = 0;
}

int hf_dialler_prefer(struct hf_dialler *dialler, const char *endpoint)
{
	char host[HOST_MAX];
	uint16_t port;

	HF_CHECK_MAGIC(dialler, DIALLER_MAGIC);
	if (strlen(endpoint) >= ENDPOINT_MAX ||
	    hf_endpoint_parse(endpoint, host, sizeof host, &port) != 0)
		return HF_EINVAL;
	strcpy(dialler->preferred, endpoint);
	return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct hf_dialler *dialler = handle->data;

	HF_CHECK_MAGIC(dialler, DIALLER_MAGIC);
	dialler->timer_closed = true;
	end_if_closed(dialler);
}

void hf_dialler_close(struct hf_dialler *dialler, void (*closed)(void *context), void *context)
{
	HF_CHECK_MAGIC(dialler, DIALLER_MAGIC);
	HF_ASSERT(!dialler->closing);
	dialler->closing = true;
	dialler->closed = closed;
	dialler->closed_context = context;
	if (dialler->stream)
		hf_stream_close(dialler->stream, NULL, NULL);
	dialler->stream = NULL;
	if (dialler->resolving)
		uv_cancel((uv_req_t *)&dialler->resolver);
	uv_close((uv_handle_t *)&dialler->timer, on_timer_closed);
}
