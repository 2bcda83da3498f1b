/* AWS Signature Version 4 for requests with an Authorization header (AWS General Reference,
 * "Create a signed AWS API request"; for S3, "Authenticating Requests: Using the Authorization
 * Header"). No I/O, no clock: the time is an argument. A signer belongs to one thread. */
#ifndef HF_REMOTE_SIGV4_H
#define HF_REMOTE_SIGV4_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HF_SIGV4_FIELDS_MAX        16u /* headers, or query parameters, of one request */
#define HF_SIGV4_QUERY_MAX         4096u
#define HF_SIGV4_AUTHORIZATION_MAX 1024u
#define HF_SIGV4_DATE_MAX          17u /* "20130524T000000Z" and the terminator */
#define HF_SIGV4_HEX_MAX           65u /* of a SHA-256, and the terminator */

/* Keys of one identity. Copied by nobody: the signer keeps the derived key only, and the caller
 * keeps the strings as long as the signer. */
struct hf_sigv4_signer {
	const char *access_key, *secret_key;
	const char *region, *service;
	/* The signing key of `key_day`; derived anew when the day changes. */
	char key_day[9];
	uint8_t key[32];
};

struct hf_sigv4_field {
	const char *name, *value;
};

struct hf_sigv4_request {
	const char *method;
	const char *path;  /* as sent, already encoded; begins with '/' */
	const char *query; /* as sent: of hf_sigv4_query */
	/* What is signed: "host" and every "x-amz-…" at least. Any order and letter case. */
	const struct hf_sigv4_field *headers;
	unsigned header_count;
	const char *payload_sha256; /* hex */
	const char *date;           /* of hf_sigv4_date, as sent in x-amz-date */
};

/* Writes the value of the Authorization header; 0 or HF_ETOOBIG, HF_ENOMEM. */
int hf_sigv4_authorize(struct hf_sigv4_signer *signer, const struct hf_sigv4_request *request,
		       char authorization[HF_SIGV4_AUTHORIZATION_MAX]);
/* Forgets the derived key. */
void hf_sigv4_wipe(struct hf_sigv4_signer *signer);

/* Seconds since 1970 as the x-amz-date header wants them. */
void hf_sigv4_date(int64_t unix_seconds, char date[HF_SIGV4_DATE_MAX]);
/* The query string, encoded and sorted as it is signed and sent; 0 or HF_ETOOBIG. */
int hf_sigv4_query(const struct hf_sigv4_field *parameters, unsigned count,
		   char query[HF_SIGV4_QUERY_MAX]);
/* Percent-encodes everything but unreserved characters (RFC 3986 2.3), and '/' unless
 * `keep_slash`. Returns the length without the terminator, or HF_ETOOBIG. */
int hf_sigv4_encode(char *target, size_t size, const char *text, bool keep_slash);
/* Hex SHA-256 of a payload; 0 or HF_ENOMEM. Any thread. */
int hf_sigv4_hash(const void *data, size_t length, char hex[HF_SIGV4_HEX_MAX]);

#endif
