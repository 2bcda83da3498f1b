/* The route carries hints: "there is something to do for this gateway", to whichever process holds
 * its connection. A hint may be lost or doubled; the registry has the truth, and holders look there
 * every second anyway, so a lost hint delays and never loses. Loop's thread. */
#ifndef HF_PROVIDER_ROUTE_ROUTE_H
#define HF_PROVIDER_ROUTE_ROUTE_H

#include <stdint.h>
#include <uv.h>

#include "base/err.h"

struct hf_route;

typedef void (*hf_route_hint)(void *context, uint64_t gateway);

/* In this process only. */
int hf_route_open_local(uv_loop_t *loop, hf_route_hint hint, void *context,
			struct hf_route **route);
/* `hint` is called later, never from inside. */
void hf_route_notify(struct hf_route *route, uint64_t gateway);
void hf_route_close(struct hf_route *route);

#endif
