/* The route carries hints: "there is something to do for this gateway", to whichever process holds
 * its connection. A hint may be lost or doubled; the registry has the truth, and holders look there
 * every second anyway, so a lost hint delays and never loses. Two implementations: inside one
 * process, and over NATS between several. Loop's thread. */
#ifndef HF_PROVIDER_ROUTE_ROUTE_H
#define HF_PROVIDER_ROUTE_ROUTE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"

struct hf_route;

typedef void (*hf_route_hint)(void *context, uint64_t gateway);

struct hf_route_ops {
	void (*notify)(struct hf_route *route, uint64_t gateway, bool here_too);
	bool (*connected)(struct hf_route *route);
	void (*close)(struct hf_route *route);
};

struct hf_route {
	const struct hf_route_ops *ops;
};

/* In this process only. */
int hf_route_open_local(uv_loop_t *loop, hf_route_hint hint, void *context,
			struct hf_route **route);

/* Between the processes of one registry. */
struct hf_route_nats {
	const char *servers; /* tls://HOST:PORT,… or, on loopback, nats://HOST:PORT,… */
	const char *name;    /* that every server's certificate carries; with tls */
	const char *ca;      /* PEM file of the authority of these certificates; with tls */
	/* File (0600): user and password, nkey and nkey_seed, or certificate and key. */
	const char *credentials;
	uint64_t registry; /* tells the registries apart that share the servers */
};

/* Returns at once, whether a server answers or not; one is looked for for ever, and with
 * credentials read anew after one has refused them. HF_EINVAL, HF_EACCES, HF_ENOENT: the settings,
 * with the reason. */
int hf_route_open_nats(uv_loop_t *loop, const struct hf_route_nats *settings, hf_route_hint hint,
		       void *context, struct hf_route **route, struct hf_errmsg *message);

/* To all processes, this one too. `hint` is called later, never from inside. */
static inline void hf_route_notify(struct hf_route *route, uint64_t gateway)
{
	route->ops->notify(route, gateway, true);
}

/* To all but this one. */
static inline void hf_route_notify_others(struct hf_route *route, uint64_t gateway)
{
	route->ops->notify(route, gateway, false);
}

/* False while hints do not reach the other processes. */
static inline bool hf_route_connected(struct hf_route *route)
{
	return route->ops->connected(route);
}

static inline void hf_route_close(struct hf_route *route)
{
	route->ops->close(route);
}

#endif
