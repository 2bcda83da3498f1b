/* Hints between the provider processes of sim_plane (provider/route/route.h): late, doubled, lost.
 */
#include <stdlib.h>

#include "tests/sim/plane.h"

struct sim_route {
	struct hf_route base;
	struct sim_process *owner;
	hf_route_hint hint;
	void *context;
};

static struct sim_route *routes[SIM_PROVIDERS];

struct hint {
	uv_timer_t timer;
	unsigned provider;
	uint64_t gateway;
};

static void on_hint(uv_timer_t *timer)
{
	struct hint *hint = timer->data;
	struct sim_route *route = routes[hint->provider];
	struct sim_process *was;

	if (route && !route->owner->dead) {
		was = sim_enter(route->owner);
		route->hint(route->context, hint->gateway);
		sim_leave(was);
	}
	free(hint);
}

static void notify(struct hf_route *base, uint64_t gateway, bool here_too)
{
	struct sim_route *route = (struct sim_route *)base;

	for (unsigned i = 0; i < SIM_PROVIDERS; i++) {
		struct hint *hint;

		if (sim_step_dies() || (route->owner->index == i && !here_too) ||
		    sim_chance(100000))
			continue;
		hint = calloc(1, sizeof *hint);
		HF_ASSERT(hint);
		hint->provider = i;
		hint->gateway = gateway;
		sim_after(&hint->timer, sim_below(4), on_hint, hint);
	}
}

static bool connected(struct hf_route *base)
{
	(void)base;
	return true;
}

static void close_route(struct hf_route *base)
{
	struct sim_route *route = (struct sim_route *)base;

	routes[route->owner->index] = NULL;
	free(route);
}

static const struct hf_route_ops ops = {
	.notify = notify, .connected = connected, .close = close_route};

int hf_route_open_local(uv_loop_t *loop, hf_route_hint hint, void *context, struct hf_route **out)
{
	struct sim_route *route = calloc(1, sizeof *route);

	(void)loop;
	HF_ASSERT(route);
	*route = (struct sim_route){{&ops}, sim_world.current, hint, context};
	routes[route->owner->index] = route;
	*out = &route->base;
	return 0;
}

int hf_route_open_nats(uv_loop_t *loop, const struct hf_route_nats *settings, hf_route_hint hint,
		       void *context, struct hf_route **route, struct hf_errmsg *message)
{
	(void)settings;
	(void)message;
	return hf_route_open_local(loop, hint, context, route);
}
