/* Promises of the text for Prometheus: values under their family, labels escaped so that no
 * volume's reason or name breaks a line (invariant 9), and a histogram whose buckets count up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/metrics.h"

static void test_text(void **state)
{
	struct hf_metrics metrics;
	size_t length;
	char *text;

	(void)state;
	hf_metrics_begin(&metrics);
	hf_metrics_gauge(&metrics, "hf_one", "One.", 1.5);
	hf_metrics_family(&metrics, "hf_two_total", "counter", "Two.");
	hf_metrics_value(&metrics, 9007199254740991.0, "kind", "a\"b\\c\nd\x01", "x", "y");
	hf_metrics_value(&metrics, 0, "kind", "", NULL, NULL);
	text = hf_metrics_end(&metrics, &length);
	assert_string_equal(text,
			    "# HELP hf_one One.\n# TYPE hf_one gauge\nhf_one 1.5\n"
			    "# HELP hf_two_total Two.\n# TYPE hf_two_total counter\n"
			    "hf_two_total{kind=\"a\\\"b\\\\c\\nd?\",x=\"y\"} 9.00719925474099e+15\n"
			    "hf_two_total{kind=\"\"} 0\n");
	assert_int_equal(length, strlen(text));
	free(text);
}

static void test_latencies(void **state)
{
	static const uint64_t samples[] = {0, 1, 3, 5, 700, 60000, 60001, 1000000};
	struct hf_latency latency = {.sum_ms = 0};
	struct hf_metrics metrics;
	size_t length;
	char *text;

	(void)state;
	for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++)
		hf_latency_add(&latency, samples[i]);
	hf_metrics_begin(&metrics);
	hf_metrics_latency(&metrics, "hf_took_seconds", "Took.", &latency);
	text = hf_metrics_end(&metrics, &length);
	assert_non_null(strstr(text, "_bucket{le=\"0.001\"} 2\n"));
	assert_non_null(strstr(text, "_bucket{le=\"0.005\"} 4\n"));
	assert_non_null(strstr(text, "_bucket{le=\"1\"} 5\n"));
	assert_non_null(strstr(text, "_bucket{le=\"60\"} 6\n"));
	assert_non_null(strstr(text, "_bucket{le=\"+Inf\"} 8\n"));
	assert_non_null(strstr(text, "hf_took_seconds_sum 1120.71\n"));
	assert_non_null(strstr(text, "hf_took_seconds_count 8\n"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_latencies),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
