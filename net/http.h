/* A small HTTP/1.1 server on a libuv loop that answers GET with a text: what Prometheus scrapes,
 * and the one file that knows libwebsockets (http.c). No authentication and no TLS: it belongs on
 * loopback or on a network of its own. Bounded: HF_HTTP_CLIENTS_MAX connections, 4 KiB of headers,
 * 10 s for a request. All calls and callbacks on the loop's thread. */
#ifndef HF_NET_HTTP_H
#define HF_NET_HTTP_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"

#define HF_HTTP_CLIENTS_MAX 32u

struct hf_http;

struct hf_http_config {
	const char *address; /* addr:port, or :port for 127.0.0.1; port 0 picks one */
	/* The body for a path, malloc'ed, or NULL: there is no such page. */
	char *(*get)(void *context, const char *path, size_t *length);
	const char *content_type;
	void *context;
};

int hf_http_open(uv_loop_t *loop, const struct hf_http_config *config, struct hf_http **http,
		 struct hf_errmsg *message);
uint16_t hf_http_port(const struct hf_http *http);
/* No callback afterwards; what is left of it ends as the loop runs on. */
void hf_http_close(struct hf_http *http);

#endif
