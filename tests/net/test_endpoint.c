/* Promises of the pure half of dialling: waits grow and are bounded; what is no endpoint is
 * refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_back_off_grows_and_is_bounded),
		cmocka_unit_test(test_endpoints),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
