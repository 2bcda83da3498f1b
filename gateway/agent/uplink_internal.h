/* What uplink.c (what is said) and uplink_paths.c (which connections there are) share. */
#ifndef HF_GATEWAY_AGENT_UPLINK_INTERNAL_H
#define HF_GATEWAY_AGENT_UPLINK_INTERNAL_H

#include "gateway/agent/uplink.h"
#include "gateway/agent/wire.h"
#include "net/dial.h"
#include "proto/paths.h"

#define HF_UPLINK_MAGIC      0x55504c4eu
#define HF_PROVES_NOTHING    UINT64_MAX
#define HF_UPLINK_PATH_MAGIC 0x50415448u

/* One of the two connections. Its phase is in hf_paths. */
struct hf_uplink_path {
	uint32_t magic;
	unsigned index;
	struct hf_uplink *uplink;
	struct hf_dialler *dialler; /* NULL: was never wanted */
	struct hf_wire *wire;       /* NULL: not connected */
	char endpoint[300];         /* of the wire, host:port */
	bool lost;                  /* its last connection was: dial after the back-off */
	uint32_t retry_ms;
	uint64_t made_with; /* serial of the network settings of the wire, or HF_PROVES_NOTHING */
	int told;           /* PARKED: PathState of the last report; 0: none */
};

/* A request that waits for the end of an action. */
struct hf_uplink_waiter {
	uint64_t request, action; /* 0: free */
};

struct hf_uplink {
	uint32_t magic;
	struct hf_uplink_config config;
	struct hf_tls *tls;
	struct hf_proxy proxy; /* if `proxied` */
	bool proxied;
	struct hf_paths paths;
	struct hf_uplink_path path[HF_PATHS];
	char *endpoints[HF_DIAL_ENDPOINTS_MAX]; /* that are known, malloc'ed */
	size_t endpoint_count;
	char *issued[HF_DIAL_ENDPOINTS_MAX]; /* of them, those of the activation */
	size_t issued_count;
	struct hf_endpoints told; /* of the processes, as the last holder said; kept */
	uv_timer_t standby_timer;
	char last_error[320];
	bool provider_clock_known;
	int64_t provider_ahead_ms;
	uint64_t tenant, gateway;
	uint8_t boot[16]; /* of this run of the agent */
	uint8_t token[HF_KEPT_TOKEN_BYTES];
	size_t token_length; /* 0: none was ever kept */

	/* Reports on the active connection. */
	uv_timer_t report_timer;
	uint64_t subscription;
	uint32_t interval_ms;                                     /* 0: no subscription */
	struct hf_uplink_waiter waiters[HF_SESSION_REQUESTS_MAX]; /* of the active connection */
	bool looking; /* its first report waits for how things stand now */

	unsigned open; /* parts not yet closed */
	bool closing;
	void (*closed)(void *context);
	void *closed_context;
};

/* ---- uplink.c ---- */

/* An event of a path's session; HF_EVENT_ENDED is told by hf_uplink_path_ended. */
void hf_uplink_event(struct hf_uplink_path *path, const struct hf_session_event *event);
int hf_uplink_say_connect(struct hf_uplink_path *path, Holdfast__Role role);
/* A standby says how the active connection is. */
void hf_uplink_tell(struct hf_uplink_path *path, Holdfast__PathState state);
/* The active connection is another one, or none: what was asked on the old one is over. */
void hf_uplink_forget_requests(struct hf_uplink *uplink);

/* ---- uplink_paths.c ---- */

/* The active connection; NULL: none. */
struct hf_uplink_path *hf_uplink_active(struct hf_uplink *uplink);
void hf_uplink_path_held(struct hf_uplink_path *path, const Holdfast__Held *held);
void hf_uplink_path_parked(struct hf_uplink_path *path, const Holdfast__Parked *parked);
/* Where the provider's processes are now; heeded from the active one. */
void hf_uplink_path_peers(struct hf_uplink_path *path, const Holdfast__Peers *peers);
/* Drain: 0, or the error of an endpoint that is none. After the answer: hf_uplink_path_leave. */
bool hf_uplink_path_can_leave(const char *endpoint);
void hf_uplink_path_leave(struct hf_uplink_path *path, const char *endpoint);
/* Connections from now on show the certificate of now. */
int hf_uplink_renew_tls(struct hf_uplink *uplink, struct hf_errmsg *message);
/* Does what follows from the state of the paths. */
void hf_uplink_settle(struct hf_uplink *uplink);

#endif
