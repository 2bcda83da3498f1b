/* Promises of the pure half of dialling: waits grow and are bounded; what is no endpoint is
 * refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "net/dial.h"

static void test_back_off_grows_and_is_bounded(void **state)
{
	struct hf_backoff backoff = {0};
	uint32_t ceiling_ms = 1000;

	(void)state;
	for (int i = 0; i < 20; i++) {
		struct hf_backoff low = backoff;

		assert_int_equal(hf_backoff_next_ms(&low, 0), HF_BACKOFF_MIN_MS);
		assert_int_equal(hf_backoff_next_ms(&backoff, ceiling_ms - HF_BACKOFF_MIN_MS),
				 ceiling_ms);
		ceiling_ms =
			ceiling_ms * 2 > HF_BACKOFF_MAX_MS ? HF_BACKOFF_MAX_MS : ceiling_ms * 2;
	}
}

static void test_endpoints(void **state)
{
	static const char *const bad[] = {"",           "host",    "host:", ":1",
					  "host:70000", "a:b:1",   "[::1]", "[::1]1",
					  "[::1:1",     "host:1x", "[]:1",  "host:-1"};
	char host[16];
	uint16_t port;

	(void)state;
	assert_int_equal(hf_endpoint_parse("[::1]:65535", host, sizeof host, &port), 0);
	assert_string_equal(host, "::1");
	assert_int_equal(port, 65535);
	assert_int_equal(hf_endpoint_parse("a.b:1", host, sizeof host, &port), 0);
	assert_string_equal(host, "a.b");
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(hf_endpoint_parse(bad[i], host, sizeof host, &port), HF_EINVAL);
	assert_int_equal(hf_endpoint_parse("longer-than-15-x:1", host, sizeof host, &port),
			 HF_EINVAL);
}

static void test_lists_of_endpoints(void **state)
{
	static const char seventeen[] = "1:1,2:1,3:1,4:1,5:1,6:1,7:1,8:1,9:1,a:1,b:1,c:1,d:1,e:1,"
					"f:1,g:1,h:1";
	static const char *const bad[] = {"", " , ", "a:1,b", "a:1, b:0", "a:1;b:2", seventeen};
	const char *list[HF_DIAL_ENDPOINTS_MAX];
	struct hf_endpoints endpoints;
	struct hf_errmsg message;
	char longest[400];

	(void)state;
	assert_int_equal(hf_endpoints_parse("a:1, [::1]:2,c:3 d:4", &endpoints, &message), 0);
	assert_int_equal(hf_endpoints_list(&endpoints, list), 4);
	assert_string_equal(list[1], "[::1]:2");
	assert_string_equal(list[3], "d:4");
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(hf_endpoints_parse(bad[i], &endpoints, &message), HF_EINVAL);
	memset(longest, 'x', sizeof longest);
	strcpy(longest + sizeof longest - 3, ":1");
	assert_int_equal(hf_endpoints_parse(longest, &endpoints, &message), HF_EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lists_of_endpoints),
		cmocka_unit_test(test_back_off_grows_and_is_bounded),
		cmocka_unit_test(test_endpoints),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
