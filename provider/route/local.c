/* The route inside one process: a bounded set of gateways, told on the next turn of the loop. When
 * the set is full a hint is dropped, as the contract allows. Loop's thread. */
#include <stdlib.h>

#include "base/assert.h"
#include "provider/route/hints.h"
#include "provider/route/route.h"

#define ROUTE_MAGIC 0x726f7574u

struct local_route {
	struct hf_route base;
	uint32_t magic;
	uv_timer_t soon;
	hf_route_hint hint;
	void *context;
	struct hf_hints waiting;
	uint64_t told[HF_HINTS_MAX];
};

static struct local_route *local_of(struct hf_route *route)
{
	struct local_route *r = (struct local_route *)route;

	HF_CHECK_MAGIC(r, ROUTE_MAGIC);
	return r;
}

static void tell(uv_timer_t *timer)
{
	struct local_route *r = timer->data;

	unsigned count;

	HF_CHECK_MAGIC(r, ROUTE_MAGIC);
	count = hf_hints_take(&r->waiting, r->told);

	/* What is told may make new hints. */
	for (unsigned i = 0; i < count; i++)
		r->hint(r->context, r->told[i]);
}

static void local_notify(struct hf_route *route, uint64_t gateway, bool here_too)
{
	struct local_route *r = local_of(route);

	if (!here_too)
		return;
	hf_hints_add(&r->waiting, gateway);
	uv_timer_start(&r->soon, tell, 0, 0);
}

static bool local_connected(struct hf_route *route)
{
	(void)route;
	return true;
}

static void timer_closed(uv_handle_t *handle)
{
	struct local_route *r = handle->data;

	r->magic = 0;
	free(r);
}

static void local_close(struct hf_route *route)
{
	uv_close((uv_handle_t *)&local_of(route)->soon, timer_closed);
}

static const struct hf_route_ops local_ops = {
	.notify = local_notify, .connected = local_connected, .close = local_close};

int hf_route_open_local(uv_loop_t *loop, hf_route_hint hint, void *context, struct hf_route **route)
{
	struct local_route *r = calloc(1, sizeof *r);

	if (!r)
		return HF_ENOMEM;
	r->base.ops = &local_ops;
	r->magic = ROUTE_MAGIC;
	r->hint = hint;
	r->context = context;
	uv_timer_init(loop, &r->soon);
	r->soon.data = r;
	*route = &r->base;
	return 0;
}
