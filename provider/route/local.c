/* The route inside one process: a bounded set of gateways, told on the next turn of the loop. When
 * the set is full a hint is dropped, as the contract allows. Loop's thread. */
#include "provider/route/route.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define ROUTE_MAGIC 0x726f7574u
#define WAITING_MAX 256u

struct hf_route {
	uint32_t magic;
	uv_timer_t soon;
	hf_route_hint hint;
	void *context;
	uint64_t waiting[WAITING_MAX];
	unsigned count;
};

static void tell(uv_timer_t *timer)
{
	struct hf_route *route = timer->data;
	uint64_t told[WAITING_MAX];
	unsigned count = route->count;

	HF_CHECK_MAGIC(route, ROUTE_MAGIC);
	memcpy(told, route->waiting, count * sizeof told[0]);
	route->count = 0;
	for (unsigned i = 0; i < count; i++)
		route->hint(route->context, told[i]);
}

int hf_route_open_local(uv_loop_t *loop, hf_route_hint hint, void *context, struct hf_route **route)
{
	struct hf_route *r = calloc(1, sizeof *r);

	if (!r)
		return HF_ENOMEM;
	r->magic = ROUTE_MAGIC;
	r->hint = hint;
	r->context = context;
	uv_timer_init(loop, &r->soon);
	r->soon.data = r;
	*route = r;
	return 0;
}

void hf_route_notify(struct hf_route *route, uint64_t gateway)
{
	HF_CHECK_MAGIC(route, ROUTE_MAGIC);
	for (unsigned i = 0; i < route->count; i++)
		if (route->waiting[i] == gateway)
			return;
	if (route->count == WAITING_MAX)
		return;
	route->waiting[route->count++] = gateway;
	uv_timer_start(&route->soon, tell, 0, 0);
}

static void timer_closed(uv_handle_t *handle)
{
	struct hf_route *route = handle->data;

	route->magic = 0;
	free(route);
}

void hf_route_close(struct hf_route *route)
{
	HF_CHECK_MAGIC(route, ROUTE_MAGIC);
	uv_close((uv_handle_t *)&route->soon, timer_closed);
}
