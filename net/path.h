/* One try to reach one endpoint: its name (or the proxy's) → TCP → the proxy's tunnel → TLS. Every
 * address of the name is tried until a handshake succeeds. The dialler makes it again and again,
 * `holdfast-gateway doctor` once and aloud. All calls and callbacks on the loop's thread. */
#ifndef HF_NET_PATH_H
#define HF_NET_PATH_H

#include <uv.h>

#include "net/hop.h"
#include "net/proxy.h"
#include "net/stream.h"

struct hf_path_failure {
	enum hf_hop hop;
	int err;
	char reason[256]; /* with address or name */
};

struct hf_path_config {
	uv_loop_t *loop;
	struct hf_tls *tls;
	const char *endpoint;         /* "host:port" */
	const struct hf_proxy *proxy; /* NULL: none; copied */
	/* A hop was passed, with what was found there. The path is not closed in here. May be
	 * NULL. */
	void (*passed)(void *context, enum hf_hop hop, const char *text);
	/* The stream is the callee's, with callbacks to be set in here. The callee closes the path
	 * (now or later). */
	void (*opened)(void *context, struct hf_stream *stream);
	/* The failure of the address that came furthest. The callee closes the path. */
	void (*failed)(void *context, const struct hf_path_failure *failure);
	void *context;
};

struct hf_path;

/* No callback from inside. HF_EINVAL: the endpoint is not host:port; HF_ENOMEM. */
int hf_path_open(const struct hf_path_config *config, struct hf_path **path,
		 struct hf_errmsg *message);
/* The proxy's clock as it answered, seconds since 1970; 0: not told. */
int64_t hf_path_proxy_date_s(const struct hf_path *path);
/* No callback afterwards; the path is gone when this returns, its parts close behind it. */
void hf_path_close(struct hf_path *path);

#endif
