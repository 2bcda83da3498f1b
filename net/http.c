/* net/http.h on libwebsockets, with a loop that is not its own. Loop's thread.
 *
 * Its glue to libuv ends in two steps: destroying the context closes handles, which the loop has to
 * run; our memory goes with the last callback, when the protocol is destroyed. */
#include "net/http.h"

#include <libwebsockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "net/dial.h"

#define HTTP_MAGIC  0x48545450u
#define HEADERS_MAX 1024u
#define CHUNK_BYTES 16384u
#define REQUEST_S   10u
#define IDLE_S      30

struct hf_http {
	uint32_t magic;
	struct hf_http_config config;
	char host[64];
	char content_type[80];
	struct lws_context *context;
	struct lws_vhost *vhost;
	bool closing;
};

/* Of one request. */
struct answer {
	char *body; /* behind LWS_PRE bytes that the library writes into */
	size_t length, sent;
};

static void forget(struct answer *answer)
{
	free(answer->body);
	memset(answer, 0, sizeof *answer);
}

static int refuse(struct lws *wsi, unsigned status)
{
	return lws_return_http_status(wsi, status, NULL) || lws_http_transaction_completed(wsi) ? -1
												: 0;
}

static int send_headers(struct hf_http *http, struct lws *wsi, const struct answer *answer)
{
	uint8_t buffer[LWS_PRE + HEADERS_MAX], *start = buffer + LWS_PRE, *at = start;
	uint8_t *end = buffer + sizeof buffer - 1;

	if (lws_add_http_common_headers(wsi, HTTP_STATUS_OK, http->content_type, answer->length,
					&at, end) ||
	    lws_finalize_write_http_header(wsi, start, &at, end))
		return -1;
	lws_callback_on_writable(wsi);
	return 0;
}

static int begin(struct hf_http *http, struct lws *wsi, struct answer *answer, const char *path)
{
	char *body;

	forget(answer);
	if (lws_hdr_total_length(wsi, WSI_TOKEN_GET_URI) <= 0)
		return refuse(wsi, HTTP_STATUS_METHOD_NOT_ALLOWED);
	body = http->closing ? NULL : http->config.get(http->config.context, path, &answer->length);
	if (!body)
		return refuse(wsi, HTTP_STATUS_NOT_FOUND);
	answer->body = malloc(LWS_PRE + answer->length + 1);
	if (answer->body)
		memcpy(answer->body + LWS_PRE, body, answer->length);
	free(body);
	return answer->body ? send_headers(http, wsi, answer) : -1;
}

static int send_some(struct lws *wsi, struct answer *answer)
{
	size_t left = answer->length - answer->sent, n = left < CHUNK_BYTES ? left : CHUNK_BYTES;
	bool last = n == left;

	if (!answer->body)
		return 0;
	/* What is in front of the chunk was sent already, so the library may write there. */
	if (lws_write(wsi, (uint8_t *)answer->body + LWS_PRE + answer->sent, n,
		      last ? LWS_WRITE_HTTP_FINAL : LWS_WRITE_HTTP) < 0)
		return -1;
	answer->sent += n;
	if (!last) {
		lws_callback_on_writable(wsi);
		return 0;
	}
	forget(answer);
	return lws_http_transaction_completed(wsi) ? -1 : 0;
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
		    size_t length)
{
	struct hf_http *http;

	(void)length;
	switch (reason) {
	case LWS_CALLBACK_HTTP:
		http = lws_context_user(lws_get_context(wsi));
		HF_CHECK_MAGIC(http, HTTP_MAGIC);
		return begin(http, wsi, user, in);
	case LWS_CALLBACK_HTTP_WRITEABLE:
		return send_some(wsi, user);
	case LWS_CALLBACK_CLOSED_HTTP:
		if (user)
			forget(user);
		return 0;
	case LWS_CALLBACK_PROTOCOL_DESTROY:
		http = lws_context_user(lws_get_context(wsi));
		HF_CHECK_MAGIC(http, HTTP_MAGIC);
		http->magic = 0;
		free(http);
		return 0;
	case LWS_CALLBACK_HTTP_BODY:
	case LWS_CALLBACK_HTTP_BODY_COMPLETION:
	case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
		return -1;
	default:
		return 0;
	}
}

static const struct lws_protocols protocols[] = {
	{.name = "http", .callback = callback, .per_session_data_size = sizeof(struct answer)},
	{.name = NULL},
};

static void log_line(int level, const char *line)
{
	(void)level;
	hf_debug("http: %.*s", (int)strcspn(line, "\n"), line);
}

int hf_http_open(uv_loop_t *loop, const struct hf_http_config *config, struct hf_http **out,
		 struct hf_errmsg *message)
{
	struct lws_context_creation_info info = {0};
	struct hf_http *http = calloc(1, sizeof *http);
	const char *address = config->address;
	char text[80];
	uint16_t port;
	void *loops[1] = {loop};

	if (!http)
		return hf_fail(message, HF_ENOMEM, "out of memory");
	snprintf(text, sizeof text, "%s%s", address[0] == ':' ? "127.0.0.1" : "", address);
	if (hf_endpoint_parse(text, http->host, sizeof http->host, &port) != 0) {
		free(http);
		return hf_fail(message, HF_EINVAL, "`%.60s` is not addr:port", address);
	}
	http->magic = HTTP_MAGIC;
	http->config = *config;
	http->config.address = NULL;
	snprintf(http->content_type, sizeof http->content_type, "%s", config->content_type);
	lws_set_log_level(LLL_ERR | LLL_WARN, log_line);
	info.port = port == 0 ? 0 : port;
	info.iface = http->host;
	info.protocols = protocols;
	info.options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
		       LWS_SERVER_OPTION_SKIP_SERVER_CANONICAL_NAME;
	info.foreign_loops = loops;
	info.fd_limit_per_thread = HF_HTTP_CLIENTS_MAX + 8;
	info.timeout_secs = REQUEST_S;
	info.keepalive_timeout = IDLE_S;
	info.user = http;
	info.gid = info.uid = (unsigned)-1;
	http->context = lws_create_context(&info);
	if (http->context)
		http->vhost = lws_create_vhost(http->context, &info);
	if (!http->vhost) {
		if (http->context)
			lws_context_destroy(http->context);
		free(http);
		return hf_fail(message, HF_EBUSY, "listening for HTTP on %s: not possible", text);
	}
	*out = http;
	return 0;
}

uint16_t hf_http_port(const struct hf_http *http)
{
	HF_CHECK_MAGIC(http, HTTP_MAGIC);
	return (uint16_t)lws_get_vhost_listen_port(http->vhost);
}

void hf_http_close(struct hf_http *http)
{
	HF_CHECK_MAGIC(http, HTTP_MAGIC);
	http->closing = true;
	lws_context_destroy(http->context);
}
