/* The signer against the examples that the S3 documentation publishes ("Signature Calculations for
 * the Authorization Header: Transferring Payload in a Single Chunk") and against its own limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/err.h"
#include "remote/sigv4.h"

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define HOST  "examplebucket.s3.amazonaws.com"
#define DATE  "20130524T000000Z"
#define SCOPE "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"

static struct hf_sigv4_signer signer = {
	.access_key = "AKIAIOSFODNN7EXAMPLE",
	.secret_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
	.region = "us-east-1",
	.service = "s3",
};

static void expect(const char *method, const char *path, const char *query,
		   const struct hf_sigv4_field *headers, unsigned count, const char *payload_sha256,
		   const char *authorization)
{
	struct hf_sigv4_request request = {.method = method,
					   .path = path,
					   .query = query,
					   .headers = headers,
					   .header_count = count,
					   .payload_sha256 = payload_sha256,
					   .date = DATE};
	char text[HF_SIGV4_AUTHORIZATION_MAX];

	assert_int_equal(hf_sigv4_authorize(&signer, &request, text), 0);
	assert_string_equal(text, authorization);
}

/* Example: GET Object, with a range. */
static void get_object(void **state)
{
	const struct hf_sigv4_field headers[] = {{"Range", "bytes=0-9"},
						 {"Host", HOST},
						 {"x-amz-date", DATE},
						 {"x-amz-content-sha256", EMPTY}};

	(void)state;
	expect("GET", "/test.txt", "", headers, 4, EMPTY,
	       SCOPE "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
		     "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

/* Example: PUT Object; the payload's hash is computed here. */
static void put_object(void **state)
{
	static const char payload[] = "Welcome to Amazon S3.";
	char hash[HF_SIGV4_HEX_MAX], path[64];
	struct hf_sigv4_field headers[] = {{"Date", "Fri, 24 May 2013 00:00:00 GMT"},
					   {"Host", HOST},
					   {"x-amz-date", DATE},
					   {"x-amz-storage-class", "REDUCED_REDUNDANCY"},
					   {"x-amz-content-sha256", hash}};

	(void)state;
	assert_int_equal(hf_sigv4_hash(payload, strlen(payload), hash), 0);
	assert_true(hf_sigv4_encode(path, sizeof path, "/test$file.text", true) > 0);
	assert_string_equal(path, "/test%24file.text");
	expect("PUT", path, "", headers, 5, hash,
	       SCOPE "SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class,"
		     "Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

/* Examples: GET Bucket Lifecycle (a parameter without value) and List Objects. */
static void queries(void **state)
{
	const struct hf_sigv4_field headers[] = {
		{"Host", HOST}, {"x-amz-date", DATE}, {"x-amz-content-sha256", EMPTY}};
	const struct hf_sigv4_field lifecycle[] = {{"lifecycle", ""}};
	const struct hf_sigv4_field list[] = {{"prefix", "J"}, {"max-keys", "2"}};
	char query[HF_SIGV4_QUERY_MAX];

	(void)state;
	assert_int_equal(hf_sigv4_query(lifecycle, 1, query), 0);
	expect("GET", "/", query, headers, 3, EMPTY,
	       SCOPE "SignedHeaders=host;x-amz-content-sha256;x-amz-date,"
		     "Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
	assert_int_equal(hf_sigv4_query(list, 2, query), 0);
	assert_string_equal(query, "max-keys=2&prefix=J");
	expect("GET", "/", query, headers, 3, EMPTY,
	       SCOPE "SignedHeaders=host;x-amz-content-sha256;x-amz-date,"
		     "Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

/* The derived key follows the day, and forgetting it changes nothing. */
static void key_of_the_day(void **state)
{
	const struct hf_sigv4_field headers[] = {{"Host", HOST}};
	struct hf_sigv4_request request = {.method = "GET",
					   .path = "/",
					   .query = "",
					   .headers = headers,
					   .header_count = 1,
					   .payload_sha256 = EMPTY,
					   .date = DATE};
	char first[HF_SIGV4_AUTHORIZATION_MAX], next[HF_SIGV4_AUTHORIZATION_MAX];

	(void)state;
	assert_int_equal(hf_sigv4_authorize(&signer, &request, first), 0);
	request.date = "20130525T000000Z";
	assert_int_equal(hf_sigv4_authorize(&signer, &request, next), 0);
	assert_string_equal(signer.key_day, "20130525");
	assert_string_not_equal(first, next);
	request.date = DATE;
	hf_sigv4_wipe(&signer);
	assert_int_equal(hf_sigv4_authorize(&signer, &request, next), 0);
	assert_string_equal(first, next);
}

/* What does not fit is refused, never cut. */
static void limits(void **state)
{
	struct hf_sigv4_field many[HF_SIGV4_FIELDS_MAX + 1];
	struct hf_sigv4_request request = {.method = "GET",
					   .path = "/",
					   .query = "",
					   .headers = many,
					   .header_count = HF_SIGV4_FIELDS_MAX + 1,
					   .payload_sha256 = EMPTY,
					   .date = DATE};
	char text[HF_SIGV4_QUERY_MAX], big[HF_SIGV4_QUERY_MAX];

	(void)state;
	for (unsigned i = 0; i <= HF_SIGV4_FIELDS_MAX; i++)
		many[i] = (struct hf_sigv4_field){"name", "value"};
	assert_int_equal(hf_sigv4_authorize(&signer, &request, text), HF_ETOOBIG);
	assert_int_equal(hf_sigv4_query(many, HF_SIGV4_FIELDS_MAX + 1, text), HF_ETOOBIG);
	memset(big, '/', sizeof big);
	big[sizeof big - 1] = '\0';
	many[0].value = big;
	assert_int_equal(hf_sigv4_query(many, 1, text), HF_ETOOBIG);
	assert_int_equal(hf_sigv4_encode(text, 8, "////", false), HF_ETOOBIG);
	hf_sigv4_date(1369353600, text);
	assert_string_equal(text, DATE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(get_object), cmocka_unit_test(put_object),
		cmocka_unit_test(queries),    cmocka_unit_test(key_of_the_day),
		cmocka_unit_test(limits),
	};

	return cmocka_run_group_tests_name("Signature Version 4", tests, NULL, NULL);
}
