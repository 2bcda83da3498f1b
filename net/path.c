/* net/path.h: connect.c → tunnel.c → stream.c, for one address after the other. Loop's thread. */
#include "net/path.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "net/connect.h"
#include "net/dial.h"
#include "net/tls_internal.h"
#include "net/tunnel.h"

#define PATH_MAGIC 0x50415448u

struct hf_path {
	uint32_t magic;
	struct hf_path_config config;
	struct hf_tls *tls;
	bool proxied;
	struct hf_proxy proxy;
	char host[256]; /* of the endpoint */
	uint16_t port;
	char address[HF_ADDRESS_TEXT_MAX]; /* of the try */
	struct hf_connect *connect;
	struct hf_tunnel *tunnel;
	struct hf_stream *stream;
	struct hf_path_failure failure; /* the furthest one */
	bool failed;
	int64_t proxy_date_s;
};

static void note_failure(struct hf_path *path, enum hf_hop hop, int err, const char *where,
			 const char *reason)
{
	if (path->failed && hop < path->failure.hop)
		return;
	path->failed = true;
	path->failure.hop = hop;
	path->failure.err = err;
	snprintf(path->failure.reason, sizeof path->failure.reason, "%s%s%s", where,
		 where[0] ? ": " : "", reason);
}

static void passed(struct hf_path *path, enum hf_hop hop, const char *text)
{
	if (path->config.passed)
		path->config.passed(path->config.context, hop, text);
}

/* ---- TLS ---- */

static void on_opened(void *context, const struct hf_peer *peer)
{
	struct hf_path *path = context;
	struct hf_stream *stream = path->stream;

	HF_CHECK_MAGIC(path, PATH_MAGIC);
	(void)peer;
	path->stream = NULL;
	path->config.opened(path->config.context, stream);
}

static void on_lost(void *context, int err, const char *reason)
{
	struct hf_path *path = context;
	enum hf_hop hop = hf_stream_lost_at(path->stream);

	HF_CHECK_MAGIC(path, PATH_MAGIC);
	note_failure(path, hop < HF_HOP_TLS ? HF_HOP_TLS : hop, err ? err : HF_ECONN, path->address,
		     reason);
	hf_stream_close(path->stream, NULL, NULL);
	path->stream = NULL;
	hf_connect_more(path->connect);
}

static void speak_tls(struct hf_path *path, int fd)
{
	struct hf_stream_callbacks callbacks = {
		.opened = on_opened, .lost = on_lost, .context = path};

	if (hf_stream_open(path->config.loop, path->tls, fd, path->host, &callbacks,
			   &path->stream) == 0)
		return;
	note_failure(path, HF_HOP_TLS, HF_ENOMEM, path->address, "out of memory");
	path->stream = NULL;
	hf_connect_more(path->connect);
}

/* ---- The tunnel ---- */

static void on_tunnel(void *context, int fd, const struct hf_proxy_answer *answer)
{
	struct hf_path *path = context;
	char text[400];

	HF_CHECK_MAGIC(path, PATH_MAGIC);
	path->proxy_date_s = answer->date_s;
	hf_tunnel_close(path->tunnel);
	path->tunnel = NULL;
	snprintf(text, sizeof text, "%s opened a tunnel to %s:%u", path->address, path->host,
		 path->port);
	passed(path, HF_HOP_PROXY, text);
	speak_tls(path, fd);
}

static void on_no_tunnel(void *context, int err, const char *reason,
			 const struct hf_proxy_answer *answer)
{
	struct hf_path *path = context;

	HF_CHECK_MAGIC(path, PATH_MAGIC);
	path->proxy_date_s = answer->date_s;
	note_failure(path, HF_HOP_PROXY, err, path->address, reason);
	hf_tunnel_close(path->tunnel);
	path->tunnel = NULL;
	hf_connect_more(path->connect);
}

static void ask_proxy(struct hf_path *path, int fd)
{
	struct hf_tunnel_callbacks callbacks = {
		.opened = on_tunnel, .failed = on_no_tunnel, .context = path};
	struct hf_errmsg message = {""};
	int err = hf_tunnel_open(path->config.loop, fd, &path->proxy, path->host, path->port,
				 &callbacks, &path->tunnel, &message);

	if (!err)
		return;
	path->tunnel = NULL;
	note_failure(path, HF_HOP_PROXY, err, "", message.text);
	hf_connect_more(path->connect);
}

/* ---- TCP ---- */

static void on_resolved(void *context, const char *addresses)
{
	struct hf_path *path = context;
	char text[700];

	snprintf(text, sizeof text, "%s%.250s → %s", path->proxied ? "proxy " : "",
		 path->proxied ? path->proxy.host : path->host, addresses);
	passed(path, HF_HOP_DNS, text);
}

static void on_connected(void *context, int fd, const char *address)
{
	struct hf_path *path = context;

	HF_CHECK_MAGIC(path, PATH_MAGIC);
	snprintf(path->address, sizeof path->address, "%s", address);
	passed(path, HF_HOP_TCP, address);
	if (path->proxied)
		ask_proxy(path, fd);
	else
		speak_tls(path, fd);
}

static void on_no_connection(void *context, enum hf_hop hop, int err, const char *reason)
{
	struct hf_path *path = context;

	HF_CHECK_MAGIC(path, PATH_MAGIC);
	/* The last of several addresses; what the others said is known. */
	if (reason[0] || !path->failed)
		note_failure(path, hop, err, path->proxied && reason[0] ? "proxy" : "", reason);
	path->config.failed(path->config.context, &path->failure);
}

/* ---- The public face ---- */

int hf_path_open(const struct hf_path_config *config, struct hf_path **out,
		 struct hf_errmsg *message)
{
	struct hf_connect_callbacks callbacks = {
		.resolved = on_resolved, .connected = on_connected, .failed = on_no_connection};
	struct hf_path *path = calloc(1, sizeof *path);
	int err = path ? 0 : hf_fail(message, HF_ENOMEM, "out of memory");

	if (!err &&
	    hf_endpoint_parse(config->endpoint, path->host, sizeof path->host, &path->port) != 0)
		err = hf_fail(message, HF_EINVAL, "`%.100s` is not host:port", config->endpoint);
	if (err) {
		free(path);
		return err;
	}
	path->magic = PATH_MAGIC;
	path->config = *config;
	path->config.endpoint = NULL; /* the caller's */
	path->config.proxy = NULL;
	path->proxied = config->proxy != NULL;
	if (path->proxied)
		path->proxy = *config->proxy;
	callbacks.context = path;
	if (hf_connect_open(config->loop, path->proxied ? path->proxy.host : path->host,
			    path->proxied ? path->proxy.port : path->port, &callbacks,
			    &path->connect) != 0) {
		free(path);
		return hf_fail(message, HF_ENOMEM, "the name cannot be looked up");
	}
	path->tls = hf_tls_hold(config->tls);
	*out = path;
	return 0;
}

int64_t hf_path_proxy_date_s(const struct hf_path *path)
{
	HF_CHECK_MAGIC(path, PATH_MAGIC);
	return path->proxy_date_s;
}

void hf_path_close(struct hf_path *path)
{
	HF_CHECK_MAGIC(path, PATH_MAGIC);
	if (path->stream)
		hf_stream_close(path->stream, NULL, NULL);
	if (path->tunnel)
		hf_tunnel_close(path->tunnel);
	hf_connect_close(path->connect);
	hf_tls_destroy(path->tls);
	path->magic = 0;
	free(path);
}
