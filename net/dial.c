/* The dialler of net/dial.h, on its loop's thread. One round tries every endpoint in turn
 * (net/path.h tries each of its addresses); when a round is over without success the back-off
 * decides when the next one starts.
 *
 *   WAITING (timer) → TRYING (a path) → RESTING (handed over)
 */
#include "net/dial.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "net/tls_internal.h"

#define DIALLER_MAGIC 0x4449414cu
#define HOST_MAX      256u

enum dialler_state { WAITING, TRYING, RESTING };

struct hf_dialler {
	uint32_t magic;
	enum dialler_state state;
	struct hf_tls *tls;
	struct hf_dialler_callbacks callbacks;
	char endpoints[HF_DIAL_ENDPOINTS_MAX][HF_ENDPOINT_MAX];
	size_t endpoint_count;
	char preferred[HF_ENDPOINT_MAX]; /* empty: none */
	char avoided[HF_ENDPOINT_MAX];   /* empty: none */
	char endpoint[HF_ENDPOINT_MAX];  /* of the last try */
	size_t first_endpoint;           /* of this round */
	size_t next_endpoint;            /* after the first; endpoint_count: the round is over */
	struct hf_proxy *proxy;          /* NULL: none */
	struct hf_path *path;            /* TRYING */
	struct hf_backoff backoff;
	uv_timer_t timer;
	bool closing;
	int last_err;
	char last_reason[300];
	void (*closed)(void *context);
	void *closed_context;
};

static void step(struct hf_dialler *dialler);

static void note_failure(struct hf_dialler *dialler, int err, const char *reason)
{
	dialler->last_err = err;
	snprintf(dialler->last_reason, sizeof dialler->last_reason, "%s", reason);
}

static void end_path(struct hf_dialler *dialler)
{
	if (dialler->path)
		hf_path_close(dialler->path);
	dialler->path = NULL;
}

/* ---- One try ---- */

static void on_opened(void *context, struct hf_stream *stream)
{
	struct hf_dialler *dialler = context;

	HF_CHECK_MAGIC(dialler, DIALLER_MAGIC);
	end_path(dialler);
	dialler->state = RESTING;
	dialler->callbacks.connected(dialler->callbacks.context, stream);
}

static void on_failed(void *context, const struct hf_path_failure *failure)
{
	struct hf_dialler *dialler = context;
	char reason[300];

	HF_CHECK_MAGIC(dialler, DIALLER_MAGIC);
	snprintf(reason, sizeof reason, "%s: %s", hf_hop_name(failure->hop), failure->reason);
	note_failure(dialler, failure->err, reason);
	end_path(dialler);
	step(dialler);
}

/* 0: under way. */
static int try_endpoint(struct hf_dialler *dialler, const char *endpoint)
{
	struct hf_path_config config = {.loop = dialler->timer.loop,
					.tls = dialler->tls,
					.endpoint = endpoint,
					.proxy = dialler->proxy,
					.opened = on_opened,
					.failed = on_failed,
					.context = dialler};
	struct hf_errmsg message;
	int err;

	snprintf(dialler->endpoint, sizeof dialler->endpoint, "%s", endpoint);
	err = hf_path_open(&config, &dialler->path, &message);
	if (err) {
		dialler->path = NULL;
		note_failure(dialler, err, message.text);
	} else {
		dialler->state = TRYING;
	}
	return err;
}

/* ---- Rounds ---- */

/* From a random endpoint on, so that those who lost the same one spread over the others. */
static void on_timer(uv_timer_t *timer)
{
	struct hf_dialler *dialler = timer->data;
	uint32_t random;

	HF_CHECK_MAGIC(dialler, DIALLER_MAGIC);
	hf_random(&random, sizeof random);
	dialler->first_endpoint = random % dialler->endpoint_count;
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

static int try_next(struct hf_dialler *dialler)
{
	char preferred[HF_ENDPOINT_MAX];

	if (dialler->preferred[0]) {
		memcpy(preferred, dialler->preferred, sizeof preferred);
		dialler->preferred[0] = '\0';
		if (try_endpoint(dialler, preferred) == 0)
			return 0;
	}
	while (dialler->next_endpoint < dialler->endpoint_count) {
		size_t at = (dialler->first_endpoint + dialler->next_endpoint++) %
			    dialler->endpoint_count;

		if (dialler->endpoint_count > 1 &&
		    strcmp(dialler->endpoints[at], dialler->avoided) == 0)
			continue;
		if (try_endpoint(dialler, dialler->endpoints[at]) == 0)
			return 0;
	}
	return HF_ENOENT;
}

static void step(struct hf_dialler *dialler)
{
	if (try_next(dialler) != 0)
		wait_for_round(dialler, 0);
}

/* ---- The public face ---- */

static bool is_endpoint(const char *text)
{
	char host[HOST_MAX];
	uint16_t port;

	return strlen(text) < HF_ENDPOINT_MAX &&
	       hf_endpoint_parse(text, host, sizeof host, &port) == 0;
}

void hf_dialler_set_tls(struct hf_dialler *dialler, struct hf_tls *tls)
{
	HF_CHECK_MAGIC(dialler, DIALLER_MAGIC);
	hf_tls_destroy(dialler->tls);
	dialler->tls = hf_tls_hold(tls);
}

int hf_dialler_open(uv_loop_t *loop, struct hf_tls *tls, const char *const *endpoints,
		    size_t endpoint_count, const struct hf_dialler_callbacks *callbacks,
		    struct hf_dialler **out, struct hf_errmsg *message)
{
	struct hf_dialler *dialler;

	if (endpoint_count == 0 || endpoint_count > HF_DIAL_ENDPOINTS_MAX)
		return hf_fail(message, HF_EINVAL, "there are %zu endpoints to dial, wanted 1 … %u",
			       endpoint_count, HF_DIAL_ENDPOINTS_MAX);
	for (size_t i = 0; i < endpoint_count; i++)
		if (!is_endpoint(endpoints[i]))
			return hf_fail(message, HF_EINVAL, "`%.60s` is not host:port",
				       endpoints[i]);
	dialler = calloc(1, sizeof *dialler);
	if (!dialler)
		return hf_fail(message, HF_ENOMEM, "out of memory");
	dialler->magic = DIALLER_MAGIC;
	hf_dialler_set_endpoints(dialler, endpoints, endpoint_count);
	dialler->tls = hf_tls_hold(tls);
	dialler->callbacks = *callbacks;
	dialler->timer.data = dialler;
	uv_timer_init(loop, &dialler->timer);
	uv_timer_start(&dialler->timer, on_timer, 0, 0);
	*out = dialler;
	return 0;
}

int hf_dialler_set_endpoints(struct hf_dialler *dialler, const char *const *endpoints,
			     size_t endpoint_count)
{
	size_t good = 0;

	HF_CHECK_MAGIC(dialler, DIALLER_MAGIC);
	for (size_t i = 0; i < endpoint_count && good < HF_DIAL_ENDPOINTS_MAX; i++)
		if (is_endpoint(endpoints[i]))
			strcpy(dialler->endpoints[good++], endpoints[i]);
	if (good == 0)
		return HF_EINVAL;
	dialler->endpoint_count = good;
	dialler->first_endpoint %= good;
	return 0;
}

void hf_dialler_avoid(struct hf_dialler *dialler, const char *endpoint)
{
	HF_CHECK_MAGIC(dialler, DIALLER_MAGIC);
	snprintf(dialler->avoided, sizeof dialler->avoided, "%s", endpoint);
}

const char *hf_dialler_endpoint(const struct hf_dialler *dialler)
{
	HF_CHECK_MAGIC(dialler, DIALLER_MAGIC);
	return dialler->endpoint;
}

void hf_dialler_now(struct hf_dialler *dialler)
{
	HF_CHECK_MAGIC(dialler, DIALLER_MAGIC);
	HF_ASSERT(!dialler->closing);
	if (dialler->state != RESTING && dialler->state != WAITING)
		return;
	dialler->state = WAITING;
	uv_timer_start(&dialler->timer, on_timer, 0, 0);
}

void hf_dialler_rest(struct hf_dialler *dialler)
{
	HF_CHECK_MAGIC(dialler, DIALLER_MAGIC);
	uv_timer_stop(&dialler->timer);
	end_path(dialler);
	dialler->state = RESTING;
}

void hf_dialler_again(struct hf_dialler *dialler, uint32_t at_least_ms)
{
	uint32_t random;

	HF_CHECK_MAGIC(dialler, DIALLER_MAGIC);
	HF_ASSERT(dialler->state == RESTING && !dialler->closing);
	note_failure(dialler, 0, "the connection was lost");
	hf_random(&random, sizeof random);
	/* Many may have been given the same time. */
	wait_for_round(dialler, at_least_ms + random % (at_least_ms / 2 + 1));
}

void hf_dialler_good(struct hf_dialler *dialler)
{
	HF_CHECK_MAGIC(dialler, DIALLER_MAGIC);
	dialler->backoff.failures = 0;
}

int hf_dialler_prefer(struct hf_dialler *dialler, const char *endpoint)
{
	HF_CHECK_MAGIC(dialler, DIALLER_MAGIC);
	if (endpoint[0] && !is_endpoint(endpoint))
		return HF_EINVAL;
	strcpy(dialler->preferred, endpoint);
	return 0;
}

void hf_dialler_set_proxy(struct hf_dialler *dialler, const struct hf_proxy *proxy)
{
	HF_CHECK_MAGIC(dialler, DIALLER_MAGIC);
	free(dialler->proxy);
	dialler->proxy = NULL;
	if (!proxy)
		return;
	dialler->proxy = malloc(sizeof *proxy);
	HF_ASSERT(dialler->proxy);
	*dialler->proxy = *proxy;
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct hf_dialler *dialler = handle->data;

	HF_CHECK_MAGIC(dialler, DIALLER_MAGIC);
	hf_tls_destroy(dialler->tls);
	free(dialler->proxy);
	if (dialler->closed)
		dialler->closed(dialler->closed_context);
	dialler->magic = 0;
	free(dialler);
}

void hf_dialler_close(struct hf_dialler *dialler, void (*closed)(void *context), void *context)
{
	HF_CHECK_MAGIC(dialler, DIALLER_MAGIC);
	HF_ASSERT(!dialler->closing);
	dialler->closing = true;
	dialler->closed = closed;
	dialler->closed_context = context;
	end_path(dialler);
	uv_close((uv_handle_t *)&dialler->timer, on_timer_closed);
}
