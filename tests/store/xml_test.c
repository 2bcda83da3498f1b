/* The XML scanner: what S3 sends is read right, and whatever is cut, malformed or hostile is
 * refused (invariant 9). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "remote/store_xml.h"

static char keys[256];

static int found(void *context, const char *key, uint64_t size_bytes)
{
	size_t used = strlen(keys);

	(void)context;
	snprintf(keys + used, sizeof keys - used, "%s=%d ", key, (int)size_bytes);
	return strcmp(key, "stop") == 0 ? HF_ECANCELED : 0;
}

static int list(const char *text, size_t length, bool *truncated)
{
	keys[0] = '\0';
	return hf_xml_list(text, length, truncated, found, NULL);
}

static const char good[] =
	"<?xml version=\"1.0\"?>\n<ListBucketResult xmlns='http://s3.amazonaws.com/a>b/'>"
	"<Name>b</Name><!-- x --><IsTruncated>true</IsTruncated>"
	"<Contents><Key>a%2Fb+c</Key><ETag>&quot;1&quot;</ETag><Size>5</Size>"
	"<Owner><Key>no</Key></Owner></Contents>"
	"<CommonPrefixes><Key>no</Key></CommonPrefixes><Empty/>"
	"<Contents><Size>7</Size><Key>d&amp;&#x65;&#102;</Key></Contents></ListBucketResult>\n";

/* A ListBucketResult, with elements nobody asked for. */
static void good_list(void **state)
{
	bool truncated = false;

	(void)state;
	assert_int_equal(list(good, strlen(good), &truncated), 0);
	assert_string_equal(keys, "a/b c=5 d&ef=7 ");
	assert_true(truncated);
}

/* An answer that is cut anywhere is refused: a shorter list would hide objects. */
static void cut_list(void **state)
{
	bool truncated;

	(void)state;
	for (size_t length = 0; length + 1 < strlen(good); length++)
		assert_int_equal(list(good, length, &truncated), HF_EPROTO);
}

static void bad_lists(void **state)
{
	static const char *const texts[] = {
		"",
		"<html><body>hello</body></html>",
		"<Error><Code>NoSuchKey</Code></Error>",
		"<ListBucketResult></ListBucketResult>",
		"<ListBucketResult><IsTruncated>maybe</IsTruncated></ListBucketResult>",
		"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult><x/>",
		"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key></"
		"Contents>"
		"</ListBucketResult>",
		"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key><Size>-1"
		"</Size></Contents></ListBucketResult>",
		"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a%0</Key><Size>1"
		"</Size></Contents></ListBucketResult>",
		"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a%00b</"
		"Key><Size>1"
		"</Size></Contents></ListBucketResult>",
		"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>&x;</Key><Size>1"
		"</Size></Contents></ListBucketResult>",
		"<ListBucketResult><IsTruncated>false</IsTruncatedd></ListBucketResult>",
		"<ListBucketResult><a></b></a></ListBucketResult>",
	};
	bool truncated;

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		assert_int_equal(list(texts[i], strlen(texts[i]), &truncated), HF_EPROTO);
}

/* The receiver's refusal ends the reading. */
static void refusal(void **state)
{
	static const char text[] =
		"<ListBucketResult><IsTruncated>false</IsTruncated>"
		"<Contents><Key>stop</Key><Size>1</Size></Contents>"
		"<Contents><Key>after</Key><Size>1</Size></Contents></ListBucketResult>";
	bool truncated;

	(void)state;
	assert_int_equal(list(text, strlen(text), &truncated), HF_ECANCELED);
	assert_string_equal(keys, "stop=1 ");
}

static void expect_code(const char *text, const char *expected)
{
	char code[12];

	hf_xml_error_code(text, strlen(text), code, sizeof code);
	assert_string_equal(code, expected);
}

static void error_codes(void **state)
{
	(void)state;
	expect_code("<Error><Code>NoSuchKey</Code></Error>", "NoSuchKey");
	expect_code("<?xml version='1.0'?><Error><Message>m</Message><Code>A</Code>", "A");
	expect_code("<Error><Code>LongerThanTheBuffer</Code></Error>", "LongerThanT");
	expect_code("<Error><In><Code>A</Code></In></Error>", "");
	expect_code("<Other><Code>A</Code></Other>", "");
	expect_code("<html><head><title>404</title>", "");
	expect_code("", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_list),   cmocka_unit_test(cut_list),
		cmocka_unit_test(bad_lists),   cmocka_unit_test(refusal),
		cmocka_unit_test(error_codes),
	};

	return cmocka_run_group_tests_name("XML of S3", tests, NULL, NULL);
}
