/* The HTTP proxy on the way to an S3 store: curl opens a tunnel with CONNECT for every connection;
 * its credentials come from a file, which is read again when the proxy does not accept them. The
 * store's thread. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/secret_file.h"
#include "remote/store_s3.h"

#define PROXY_CREDENTIALS_MAX 512u
#define WARN_AGAIN_NS         (60 * HF_NS_PER_S)

static int read_credentials(struct hf_s3_proxy *proxy, struct hf_errmsg *message)
{
	char text[PROXY_CREDENTIALS_MAX + 1];
	int err = hf_secret_line_read(proxy->credentials_file, text, sizeof text, message);

	if (!err && (!strchr(text, ':') || text[0] == ':'))
		err = hf_fail(message, HF_EINVAL, "%s: wants user:password",
			      proxy->credentials_file);
	if (err)
		return err;
	hf_s3_proxy_forget(proxy);
	proxy->credentials = strdup(text);
	explicit_bzero(text, sizeof text);
	return proxy->credentials ? 0 : hf_fail(message, HF_ENOMEM, "out of memory");
}

int hf_s3_proxy_open(struct hf_s3_proxy *proxy, const char *url, const char *credentials_file,
		     struct hf_errmsg *message)
{
	if (!url || !url[0])
		return 0;
	proxy->url = strdup(url);
	if (!proxy->url)
		return HF_ENOMEM;
	if (!credentials_file || !credentials_file[0])
		return 0;
	proxy->credentials_file = strdup(credentials_file);
	return proxy->credentials_file ? read_credentials(proxy, message) : HF_ENOMEM;
}

void hf_s3_proxy_forget(struct hf_s3_proxy *proxy)
{
	if (proxy->credentials)
		explicit_bzero(proxy->credentials, strlen(proxy->credentials));
	free(proxy->credentials);
	proxy->credentials = NULL;
}

void hf_s3_proxy_close(struct hf_s3_proxy *proxy)
{
	hf_s3_proxy_forget(proxy);
	free(proxy->url);
	free(proxy->credentials_file);
}

void hf_s3_proxy_apply(const struct hf_s3_proxy *proxy, CURL *easy)
{
	/* "": none, whatever the environment says. */
	curl_easy_setopt(easy, CURLOPT_PROXY, proxy->url ? proxy->url : "");
	curl_easy_setopt(easy, CURLOPT_NOPROXY, "");
	if (!proxy->url)
		return;
	curl_easy_setopt(easy, CURLOPT_HTTPPROXYTUNNEL, 1L);
	curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	if (!proxy->credentials)
		return;
	curl_easy_setopt(easy, CURLOPT_PROXYAUTH, (long)CURLAUTH_BASIC);
	curl_easy_setopt(easy, CURLOPT_PROXYUSERPWD, proxy->credentials);
}

void hf_s3_proxy_refused(struct hf_s3_proxy *proxy, CURL *easy, uint64_t now_ns)
{
	struct hf_errmsg message = {""};
	long code = 0;

	if (!proxy->url || curl_easy_getinfo(easy, CURLINFO_HTTP_CONNECTCODE, &code) != CURLE_OK ||
	    code < 300)
		return;
	if (code == 407 && proxy->credentials_file && read_credentials(proxy, &message) != 0)
		hf_debug("store: %s", message.text);
	if (proxy->warned_ns && now_ns - proxy->warned_ns < WARN_AGAIN_NS)
		return;
	proxy->warned_ns = now_ns;
	hf_warn("store: the proxy answers CONNECT with %ld: %s", code,
		code == 407   ? "it wants another user and password (proxy_credentials)"
		: code == 403 ? "it does not allow the store's host and port"
			      : "it does not reach the store");
}
