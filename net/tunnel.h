/* Opens a tunnel through an HTTP proxy on a connection that was made to it: CONNECT, and then the
 * descriptor belongs to whoever speaks TLS through it. Bounded by HF_TUNNEL_MS and by the size of
 * the answer. All calls and callbacks on the loop's thread. */
#ifndef HF_NET_TUNNEL_H
#define HF_NET_TUNNEL_H

#include <uv.h>

#include "net/proxy.h"

#define HF_TUNNEL_MS 15000u /* the proxy connects meanwhile, and may ask its DNS */

struct hf_tunnel;

struct hf_tunnel_callbacks {
	/* The descriptor is the callee's. The callee closes the tunnel. */
	void (*opened)(void *context, int fd, const struct hf_proxy_answer *answer);
	/* The callee closes the tunnel. `answer`: as far as it came. */
	void (*failed)(void *context, int err, const char *reason,
		       const struct hf_proxy_answer *answer);
	void *context;
};

/* Takes the descriptor over, also on failure. `target`: host and port that the proxy is to connect.
 * HF_EACCES, HF_EINVAL …: the credentials cannot be read; HF_ENOMEM. */
int hf_tunnel_open(uv_loop_t *loop, int fd, const struct hf_proxy *proxy, const char *host,
		   uint16_t port, const struct hf_tunnel_callbacks *callbacks,
		   struct hf_tunnel **tunnel, struct hf_errmsg *message);
/* No callback afterwards; frees itself when its handles have closed. */
void hf_tunnel_close(struct hf_tunnel *tunnel);

#endif
