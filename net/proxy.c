/* The settings of a proxy and the request that is made of them (net/proxy.h). */
#include "net/proxy.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "base/secret_file.h"
#include "net/dial.h"

#define BASE64_MAX (4u * ((HF_PROXY_CREDENTIALS_MAX + 2) / 3) + 1)

int hf_proxy_parse(const char *url, const char *credentials_file, struct hf_proxy *proxy,
		   struct hf_errmsg *message)
{
	static const char scheme[] = "http://";
	char endpoint[HF_PROXY_HOST_MAX + 8];
	size_t length;

	memset(proxy, 0, sizeof *proxy);
	if (strchr(url, '@')) /* not repeated here: what is in front of it is a secret */
		return hf_fail(message, HF_EINVAL,
			       "the proxy's URL names a user; write http://HOST:PORT, and "
			       "user:password into the file that `proxy_credentials` names");
	if (strncmp(url, scheme, strlen(scheme)) != 0)
		return hf_fail(message, HF_EINVAL, "the proxy `%.80s` is not http://HOST:PORT",
			       url);
	url += strlen(scheme);
	length = strlen(url);
	if (length > 0 && url[length - 1] == '/')
		length--;
	if (length >= sizeof endpoint)
		return hf_fail(message, HF_EINVAL, "the proxy's name is too long");
	snprintf(endpoint, sizeof endpoint, "%.*s", (int)length, url);
	if (strpbrk(endpoint, "/?# ") ||
	    hf_endpoint_parse(endpoint, proxy->host, sizeof proxy->host, &proxy->port) != 0 ||
	    proxy->port == 0)
		return hf_fail(message, HF_EINVAL,
			       "the proxy `http://%.80s` is not http://HOST:PORT", url);
	if (strlen(credentials_file) >= sizeof proxy->credentials_file ||
	    (credentials_file[0] && credentials_file[0] != '/'))
		return hf_fail(message, HF_EINVAL, "`proxy_credentials` is no absolute path");
	strcpy(proxy->credentials_file, credentials_file);
	return 0;
}

int hf_proxy_credentials(const struct hf_proxy *proxy, char text[HF_PROXY_CREDENTIALS_MAX + 1],
			 struct hf_errmsg *message)
{
	const char *path = proxy->credentials_file;
	int err;

	text[0] = '\0';
	if (!path[0])
		return 0;
	err = hf_secret_line_read(path, text, HF_PROXY_CREDENTIALS_MAX + 1, message);
	if (err || (strchr(text, ':') && text[0] != ':'))
		return err;
	explicit_bzero(text, HF_PROXY_CREDENTIALS_MAX + 1);
	return hf_fail(message, HF_EINVAL, "%s: wants one line, user:password", path);
}

int hf_proxy_request(const struct hf_proxy *proxy, const char *host, uint16_t port,
		     char text[HF_PROXY_REQUEST_MAX], size_t *length, struct hf_errmsg *message)
{
	char credentials[HF_PROXY_CREDENTIALS_MAX + 1], base64[BASE64_MAX] = "";
	const char *open = strchr(host, ':') ? "[" : "", *close = open[0] ? "]" : "";
	int n, err = hf_proxy_credentials(proxy, credentials, message);

	if (err)
		return err;
	if (credentials[0])
		EVP_EncodeBlock((unsigned char *)base64, (const unsigned char *)credentials,
				(int)strlen(credentials));
	/* Keep-alive matters for the answer that wants other credentials only; no user agent: what
	 * we are is nobody's business on the way. */
	n = snprintf(text, HF_PROXY_REQUEST_MAX,
		     "CONNECT %s%s%s:%u HTTP/1.1\r\nHost: %s%s%s:%u\r\n%s%s%s\r\n", open, host,
		     close, port, open, host, close, port,
		     base64[0] ? "Proxy-Authorization: Basic " : "", base64,
		     base64[0] ? "\r\n" : "");
	explicit_bzero(credentials, sizeof credentials);
	explicit_bzero(base64, sizeof base64);
	if (n < 0 || (size_t)n >= HF_PROXY_REQUEST_MAX)
		return hf_fail(message, HF_ETOOBIG, "the CONNECT is too long");
	*length = (size_t)n;
	return 0;
}
