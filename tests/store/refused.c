/* `store_refused auth|access`: asks the endpoint that the environment names for all four
 * operations and expects that status of each, at once and not at the deadline. */
#include <stdio.h>
#include <string.h>

#include "tests/store/store_test.h"

static int failures;

static void expect(const char *what, int status, int expected)
{
	if (status == expected)
		return;
	fprintf(stderr, "%s: %s, expected %s\n", what, hf_err_name(status), hf_err_name(expected));
	failures++;
}

int main(int argc, char **argv)
{
	int expected = argc == 2 && strcmp(argv[1], "auth") == 0 ? HF_EAUTH : HF_EACCES;
	struct store_test test;
	struct hf_store_io io;
	uint64_t start_ns;
	size_t length;
	void *body;

	store_test_open(&test, "env");
	start_ns = uv_hrtime();
	expect("PUT", store_test_put(&test, "a/b", "x", 1, true, 0), expected);
	expect("GET", store_test_get(&test, "a/b", 0, 0, &body, &length, 0), expected);
	expect("DELETE", store_test_delete(&test, "a/b"), expected);
	expect("LIST", store_test_list(&test, &io, "a/", "", 0), expected);
	if (uv_hrtime() - start_ns > 20 * HF_NS_PER_S)
		expect("time", HF_ETIMEDOUT, 0);
	store_test_close(&test);
	return failures ? 1 : 0;
}
