/* See sigv4.h. The names follow AWS's description: canonical request, string to sign, signing key.
 * The canonical request is hashed piece by piece, so it has no size limit of its own. */
#include "remote/sigv4.h"

#include <ctype.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/bytes.h"
#include "base/err.h"

int hf_sigv4_hash(const void *data, size_t length, char hex[HF_SIGV4_HEX_MAX])
{
	uint8_t digest[32];

	if (!EVP_Digest(data ? data : "", length, digest, NULL, EVP_sha256(), NULL))
		return HF_ENOMEM;
	hf_hex_encode(hex, digest, sizeof digest);
	return 0;
}

void hf_sigv4_date(int64_t unix_seconds, char date[HF_SIGV4_DATE_MAX])
{
	time_t seconds = (time_t)unix_seconds;
	struct tm utc;

	gmtime_r(&seconds, &utc);
	if (strftime(date, HF_SIGV4_DATE_MAX, "%Y%m%dT%H%M%SZ", &utc) == 0)
		date[0] = '\0';
}

int hf_sigv4_encode(char *target, size_t size, const char *text, bool keep_slash)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t used = 0;

	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		bool plain = (*c < 0x80 && isalnum(*c)) || strchr("-._~", *c) ||
			     (keep_slash && *c == '/');

		if (used + 3 >= size)
			return HF_ETOOBIG;
		if (plain) {
			target[used++] = (char)*c;
		} else {
			target[used++] = '%';
			target[used++] = digits[*c >> 4];
			target[used++] = digits[*c & 15];
		}
	}
	if (used >= size)
		return HF_ETOOBIG;
	target[used] = '\0';
	return (int)used;
}

/* One encoded "name=value". */
struct pair {
	char *name, *value;
};

static int compare_pairs(const void *a, const void *b)
{
	const struct pair *left = a, *right = b;
	int order = strcmp(left->name, right->name);

	return order ? order : strcmp(left->value, right->value);
}

int hf_sigv4_query(const struct hf_sigv4_field *parameters, unsigned count,
		   char query[HF_SIGV4_QUERY_MAX])
{
	struct pair pairs[HF_SIGV4_FIELDS_MAX];
	char text[HF_SIGV4_QUERY_MAX];
	size_t used = 0;

	if (count > HF_SIGV4_FIELDS_MAX)
		return HF_ETOOBIG;
	for (unsigned i = 0; i < count; i++) {
		const char *sources[] = {parameters[i].name, parameters[i].value};
		char **targets[] = {&pairs[i].name, &pairs[i].value};

		for (int part = 0; part < 2; part++) {
			int n = hf_sigv4_encode(text + used, sizeof text - used, sources[part],
						false);

			if (n < 0)
				return n;
			*targets[part] = text + used;
			used += (size_t)n + 1;
		}
	}
	qsort(pairs, count, sizeof pairs[0], compare_pairs);
	query[0] = '\0';
	used = 0;
	for (unsigned i = 0; i < count; i++)
		used += (size_t)snprintf(query + used, HF_SIGV4_QUERY_MAX - used, "%s%s=%s",
					 i ? "&" : "", pairs[i].name, pairs[i].value);
	return 0;
}

static int hmac(const void *key, size_t key_length, const char *text, uint8_t out[32])
{
	unsigned length = 0;

	return HMAC(EVP_sha256(), key, (int)key_length, (const uint8_t *)text, strlen(text), out,
		    &length) && length == 32
		       ? 0
		       : HF_ENOMEM;
}

void hf_sigv4_wipe(struct hf_sigv4_signer *signer)
{
	OPENSSL_cleanse(signer->key, sizeof signer->key);
	signer->key_day[0] = '\0';
}

static int derive_key(struct hf_sigv4_signer *signer, const char *day)
{
	size_t length = strlen(signer->secret_key) + 4;
	char *first;
	int err;

	if (strcmp(signer->key_day, day) == 0)
		return 0;
	hf_sigv4_wipe(signer);
	first = malloc(length + 1);
	if (!first)
		return HF_ENOMEM;
	memcpy(first, "AWS4", 4);
	memcpy(first + 4, signer->secret_key, length - 3);
	err = hmac(first, length, day, signer->key);
	OPENSSL_cleanse(first, length);
	free(first);
	if (err == 0)
		err = hmac(signer->key, 32, signer->region, signer->key);
	if (err == 0)
		err = hmac(signer->key, 32, signer->service, signer->key);
	if (err == 0)
		err = hmac(signer->key, 32, "aws4_request", signer->key);
	if (err == 0)
		memcpy(signer->key_day, day, sizeof signer->key_day);
	return err;
}

static int compare_headers(const void *a, const void *b)
{
	return strcasecmp(((const struct hf_sigv4_field *)a)->name,
			  ((const struct hf_sigv4_field *)b)->name);
}

static void add(EVP_MD_CTX *hash, const char *text)
{
	EVP_DigestUpdate(hash, text, strlen(text));
}

static void add_lower(EVP_MD_CTX *hash, const char *name)
{
	for (; *name; name++) {
		char c = (char)tolower((unsigned char)*name);

		EVP_DigestUpdate(hash, &c, 1);
	}
}

/* Without spaces at the ends, and with runs of them inside as one. */
static void add_trimmed(EVP_MD_CTX *hash, const char *value)
{
	while (*value == ' ')
		value++;
	while (*value) {
		size_t word = strcspn(value, " ");
		size_t spaces = strspn(value + word, " ");

		EVP_DigestUpdate(hash, value, word);
		value += word + spaces;
		if (*value)
			add(hash, " ");
	}
}

/* "host;range;x-amz-date" */
static int signed_headers(const struct hf_sigv4_field *headers, unsigned count, char *text,
			  size_t size)
{
	size_t used = 0;

	for (unsigned i = 0; i < count; i++) {
		int n = snprintf(text + used, size - used, "%s%s", i ? ";" : "", headers[i].name);

		if (n < 0 || (size_t)n >= size - used)
			return HF_ETOOBIG;
		used += (size_t)n;
	}
	for (char *c = text; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	return 0;
}

static int hash_canonical(const struct hf_sigv4_request *request,
			  const struct hf_sigv4_field *headers, const char *names,
			  char hex[HF_SIGV4_HEX_MAX])
{
	EVP_MD_CTX *hash = EVP_MD_CTX_new();
	uint8_t digest[32];
	int ok;

	if (!hash || !EVP_DigestInit_ex(hash, EVP_sha256(), NULL)) {
		EVP_MD_CTX_free(hash);
		return HF_ENOMEM;
	}
	add(hash, request->method);
	add(hash, "\n");
	add(hash, request->path);
	add(hash, "\n");
	add(hash, request->query);
	add(hash, "\n");
	for (unsigned i = 0; i < request->header_count; i++) {
		add_lower(hash, headers[i].name);
		add(hash, ":");
		add_trimmed(hash, headers[i].value);
		add(hash, "\n");
	}
	add(hash, "\n");
	add(hash, names);
	add(hash, "\n");
	add(hash, request->payload_sha256);
	ok = EVP_DigestFinal_ex(hash, digest, NULL);
	EVP_MD_CTX_free(hash);
	if (!ok)
		return HF_ENOMEM;
	hf_hex_encode(hex, digest, sizeof digest);
	return 0;
}

int hf_sigv4_authorize(struct hf_sigv4_signer *signer, const struct hf_sigv4_request *request,
		       char authorization[HF_SIGV4_AUTHORIZATION_MAX])
{
	struct hf_sigv4_field headers[HF_SIGV4_FIELDS_MAX];
	char names[512], scope[192], canonical[HF_SIGV4_HEX_MAX], text[384], day[9];
	uint8_t signature[32];
	char hex[HF_SIGV4_HEX_MAX];
	int err, n;

	if (request->header_count == 0 || request->header_count > HF_SIGV4_FIELDS_MAX)
		return HF_ETOOBIG;
	memcpy(headers, request->headers, request->header_count * sizeof headers[0]);
	qsort(headers, request->header_count, sizeof headers[0], compare_headers);
	err = signed_headers(headers, request->header_count, names, sizeof names);
	if (err == 0)
		err = hash_canonical(request, headers, names, canonical);
	if (err)
		return err;
	snprintf(day, sizeof day, "%.8s", request->date);
	n = snprintf(scope, sizeof scope, "%s/%s/%s/aws4_request", day, signer->region,
		     signer->service);
	if (n < 0 || (size_t)n >= sizeof scope)
		return HF_ETOOBIG;
	snprintf(text, sizeof text, "AWS4-HMAC-SHA256\n%s\n%s\n%s", request->date, scope,
		 canonical);
	err = derive_key(signer, day);
	if (err == 0)
		err = hmac(signer->key, sizeof signer->key, text, signature);
	if (err)
		return err;
	hf_hex_encode(hex, signature, sizeof signature);
	n = snprintf(authorization, HF_SIGV4_AUTHORIZATION_MAX,
		     "AWS4-HMAC-SHA256 Credential=%s/%s,SignedHeaders=%s,Signature=%s",
		     signer->access_key, scope, names, hex);
	return n > 0 && (size_t)n < HF_SIGV4_AUTHORIZATION_MAX ? 0 : HF_ETOOBIG;
}
