/* The S3 store's configuration: its URL and its credentials. No I/O. */
#include "remote/store_s3.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#define HOST_CHARACTERS   "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-:[]"
#define BUCKET_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

/* Plain HTTP carries no secret, yet is for tests on one machine only. */
static bool is_loopback(const char *host)
{
	static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		size_t length = strlen(names[i]);

		if (strncmp(host, names[i], length) == 0 &&
		    (host[length] == '\0' || host[length] == ':'))
			return true;
	}
	return false;
}

static bool port_is_valid(const char *host)
{
	const char *colon = strrchr(host, ':'), *bracket = strchr(host, ']');
	unsigned long port;
	char *end;

	if (host[0] == '[' && !bracket)
		return false;
	if (!colon || (bracket && colon < bracket))
		return !bracket || bracket[1] == '\0';
	if (!bracket && strchr(host, ':') != colon)
		return false;
	if (colon[1] < '0' || colon[1] > '9')
		return false;
	port = strtoul(colon + 1, &end, 10);
	return *end == '\0' && port > 0 && port < 65536;
}

int hf_s3_place_parse(struct hf_s3_place *place, bool tls, const char *text,
		      struct hf_errmsg *message)
{
	size_t host = strspn(text, HOST_CHARACTERS), bucket, prefix;
	const char *rest = text + host;

	memset(place, 0, sizeof *place);
	place->tls = tls;
	if (host == 0 || host >= sizeof place->host || *rest != '/')
		return hf_fail(message, HF_EINVAL, "store URL: HOST[:PORT]/BUCKET is missing");
	memcpy(place->host, text, host);
	if (!port_is_valid(place->host))
		return hf_fail(message, HF_EINVAL, "store URL: %s is no HOST[:PORT]", place->host);
	if (!tls && !is_loopback(place->host))
		return hf_fail(message, HF_EINVAL,
			       "store URL: s3+http is for loopback only, use s3+https");
	bucket = strspn(++rest, BUCKET_CHARACTERS);
	if (bucket < 3 || bucket >= sizeof place->bucket || (rest[bucket] && rest[bucket] != '/'))
		return hf_fail(message, HF_EINVAL, "store URL: the bucket's name is not valid");
	memcpy(place->bucket, rest, bucket);
	rest += bucket;
	if (*rest == '/')
		rest++;
	prefix = strlen(rest);
	if (prefix == 0)
		return 0;
	if (rest[prefix - 1] == '/')
		prefix--;
	if (prefix >= sizeof place->prefix - 1)
		return hf_fail(message, HF_EINVAL, "store URL: the prefix is too long");
	memcpy(place->prefix, rest, prefix);
	if (!hf_store_name_is_valid(place->prefix))
		return hf_fail(message, HF_EINVAL, "store URL: the prefix is not valid");
	place->prefix[prefix] = '/';
	return 0;
}

static void wipe(char *secret)
{
	if (secret)
		OPENSSL_cleanse(secret, strlen(secret));
	free(secret);
}

void hf_s3_credentials_free(struct hf_s3_credentials *credentials)
{
	free(credentials->access_key);
	wipe(credentials->secret_key);
	wipe(credentials->session_token);
	memset(credentials, 0, sizeof *credentials);
}

/* Goes into a header: no control characters, no spaces. */
static bool is_plain(const char *text, size_t length_max)
{
	size_t length = strlen(text);

	if (length == 0 || length > length_max)
		return false;
	for (; *text; text++)
		if (*text <= ' ' || *text > '~')
			return false;
	return true;
}

int hf_s3_credentials_set(struct hf_s3_credentials *credentials, const char *access_key,
			  const char *secret_key, const char *session_token)
{
	struct hf_s3_credentials fresh = {0};

	if (!access_key || !secret_key || !is_plain(access_key, 256) ||
	    !is_plain(secret_key, 1024) || strpbrk(access_key, "/,"))
		return HF_EINVAL;
	if (session_token && session_token[0] && !is_plain(session_token, 4096))
		return HF_EINVAL;
	fresh.access_key = strdup(access_key);
	fresh.secret_key = strdup(secret_key);
	if (session_token && session_token[0])
		fresh.session_token = strdup(session_token);
	if (!fresh.access_key || !fresh.secret_key ||
	    (session_token && session_token[0] && !fresh.session_token)) {
		hf_s3_credentials_free(&fresh);
		return HF_ENOMEM;
	}
	hf_s3_credentials_free(credentials);
	*credentials = fresh;
	return 0;
}
