/* Promises of the proxy's settings and answers: a user in a URL is refused, credentials are read
 * only from a file that is closed to others, an answer is taken in any pieces and bounded
 * (invariant 9), and each kind of refusal is told apart with what to do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/proxy.h"

static void test_urls(void **state)
{
	static const char *const bad[] = {
		"proxy:3128",      "https://proxy:3128", "http://proxy",       "http://proxy:",
		"http://:3128",    "http://proxy:0",     "http://p:1/path",    "http://p:70000",
		"socks5://p:1080", "http://a b:1",       "http://u:pw@p:3128", "",
	};
	struct hf_errmsg message;
	struct hf_proxy proxy;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_int_equal(hf_proxy_parse(bad[i], "", &proxy, &message), HF_EINVAL);
		assert_null(strstr(message.text, "u:pw"));
	}
	assert_int_equal(hf_proxy_parse("http://proxy.example:3128/", "", &proxy, &message), 0);
	assert_string_equal(proxy.host, "proxy.example");
	assert_int_equal(proxy.port, 3128);
	assert_int_equal(hf_proxy_parse("http://[2001:db8::1]:8080", "/c", &proxy, &message), 0);
	assert_string_equal(proxy.host, "2001:db8::1");
	assert_int_equal(hf_proxy_parse("http://p:1", "relative", &proxy, &message), HF_EINVAL);
}

static void write_file(const char *path, const char *text, size_t length, mode_t mode)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, length, f), length);
	fclose(f);
	assert_int_equal(chmod(path, mode), 0);
}

static void test_requests(void **state)
{
	char path[] = "/tmp/hf-proxy-XXXXXX", request[HF_PROXY_REQUEST_MAX];
	int fd = mkstemp(path);
	struct hf_errmsg message = {""};
	struct hf_proxy proxy;
	size_t length;

	(void)state;
	close(fd);
	assert_int_equal(hf_proxy_parse("http://p:1", "", &proxy, &message), 0);
	assert_int_equal(hf_proxy_request(&proxy, "2001:db8::2", 443, request, &length, &message),
			 0);
	assert_string_equal(request, "CONNECT [2001:db8::2]:443 HTTP/1.1\r\n"
				     "Host: [2001:db8::2]:443\r\n\r\n");
	assert_int_equal(length, strlen(request));
	assert_int_equal(hf_proxy_parse("http://p:1", path, &proxy, &message), 0);
	/* RFC 7617 2 */
	write_file(path, "Aladdin:open sesame\n", 20, 0600);
	assert_int_equal(hf_proxy_request(&proxy, "h", 1, request, &length, &message), 0);
	assert_non_null(strstr(request, "Proxy-Authorization: Basic "
					"QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"));
	write_file(path, "Aladdin:open sesame\n", 20, 0640);
	assert_int_equal(hf_proxy_request(&proxy, "h", 1, request, &length, &message), HF_EACCES);
	unlink(path);
	assert_int_equal(hf_proxy_request(&proxy, "h", 1, request, &length, &message), HF_ENOENT);
}

static void test_bad_credentials(void **state)
{
	static const struct {
		const char *text;
		size_t length;
	} bad[] = {{"nobody", 6}, {":password", 9}, {"u:p\nmore\n", 9}, {"u:p\tq", 5},
		   {"u:p\0q", 5}, {"", 0},          {"u:\x01", 3}};
	char path[] = "/tmp/hf-proxy-XXXXXX", text[HF_PROXY_CREDENTIALS_MAX + 1];
	struct hf_errmsg message;
	struct hf_proxy proxy;

	(void)state;
	close(mkstemp(path));
	assert_int_equal(hf_proxy_parse("http://p:1", path, &proxy, &message), 0);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		write_file(path, bad[i].text, bad[i].length, 0600);
		assert_int_equal(hf_proxy_credentials(&proxy, text, &message), HF_EINVAL);
	}
	write_file(path, "dom\\user:p:w\r\n", 14, 0600);
	assert_int_equal(hf_proxy_credentials(&proxy, text, &message), 0);
	assert_string_equal(text, "dom\\user:p:w");
	unlink(path);
}

/* Takes the answer in pieces of `piece` bytes; the verdict. */
static int judge(const char *text, size_t piece, const char *credentials, struct hf_errmsg *message)
{
	struct hf_proxy_answer answer;
	struct hf_proxy proxy;
	size_t length = strlen(text), at = 0, taken;

	assert_int_equal(hf_proxy_parse("http://p:1", credentials, &proxy, message), 0);
	hf_proxy_answer_init(&answer);
	while (at < length && !answer.done) {
		size_t n = length - at < piece ? length - at : piece;
		int err = hf_proxy_answer_take(&answer, (const uint8_t *)text + at, n, &taken,
					       message);

		if (err)
			return err;
		assert_true(taken == n || answer.done);
		at += taken;
	}
	if (!answer.done)
		return HF_EAGAIN;
	return hf_proxy_answer_judge(&answer, &proxy, "prov.example:443", length - at, message);
}

static void test_answers(void **state)
{
	static const struct {
		const char *text;
		int err;
		const char *says;
	} cases[] = {
		{"HTTP/1.1 200 Connection established\r\n\r\n", 0, ""},
		{"HTTP/1.0 200 OK\nContent-Length: 5\n\n", 0, ""},
		{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 x\r\n\r\n", 0, ""},
		{"HTTP/1.1 407 Auth\r\nProxy-Authenticate: Basic realm=x\r\n\r\n", HF_EAUTH,
		 "proxy_credentials"},
		{"HTTP/1.1 407 Auth\r\nProxy-Authenticate: NTLM\r\n\r\n", HF_EAUTH, "not Basic"},
		{"HTTP/1.1 403 Forbidden\r\n\r\n", HF_EACCES, "does not allow CONNECT to prov.e"},
		{"HTTP/1.1 502 Bad Gateway\r\n\r\n", HF_ECONN, "cannot reach prov.example:443"},
		{"HTTP/1.1 504 \r\n\r\n", HF_ECONN, "cannot reach"},
		{"HTTP/1.1 302 Found\r\nLocation: http://login.example/\r\n\r\n", HF_EPROTO,
		 "captive portal"},
		{"HTTP/1.1 511 Network Authentication Required\r\n\r\n", HF_EPROTO,
		 "captive portal"},
		{"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>", HF_EPROTO,
		 "captive portal"},
		{"HTTP/1.1 200 OK\r\n\r\nsurplus", HF_EPROTO, "no tunnel"},
		{"HTTP/1.1 418 \x1b[2Jteapot\r\n\r\n", HF_EPROTO, "418 ?[2Jteapot"},
		{"SSH-2.0-OpenSSH_9.2\r\n", HF_EPROTO, "no HTTP proxy"},
		{"HTTP/1.1 2000 OK\r\n\r\n", HF_EPROTO, "no HTTP proxy"},
		{"\x16\x03\x01\n", HF_EPROTO, "no HTTP proxy"},
		{"HTTP/1.1 200 OK\r\n", HF_EAGAIN, ""},
	};
	static const size_t pieces[] = {1, 2, 7, 4096};
	struct hf_errmsg message = {""};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		for (size_t k = 0; k < sizeof pieces / sizeof pieces[0]; k++) {
			assert_int_equal(judge(cases[i].text, pieces[k], "", &message),
					 cases[i].err);
			if (!strstr(message.text, cases[i].says))
				fail_msg("case %zu: %s", i, message.text);
		}
	assert_int_equal(judge(cases[3].text, 9, "/a/file", &message), HF_EAUTH);
	assert_non_null(strstr(message.text, "does not accept the user and password of /a/file"));
}

static void test_answers_are_bounded(void **state)
{
	static uint8_t filler[HF_PROXY_ANSWER_MAX + 1];
	struct hf_proxy_answer answer;
	struct hf_errmsg message;
	size_t taken;
	int err = 0;

	(void)state;
	memset(filler, 'x', sizeof filler);
	hf_proxy_answer_init(&answer);
	assert_int_equal(hf_proxy_answer_take(&answer, filler, sizeof filler, &taken, &message),
			 HF_EPROTO); /* a status line without end */
	hf_proxy_answer_init(&answer);
	assert_int_equal(hf_proxy_answer_take(&answer, (const uint8_t *)"HTTP/1.1 200 OK\r\n", 17,
					      &taken, &message),
			 0);
	assert_int_equal(hf_proxy_answer_take(&answer, filler, sizeof filler, &taken, &message),
			 HF_ETOOBIG);
	hf_proxy_answer_init(&answer);
	for (unsigned i = 0; !err; i++) {
		assert_true(i <= HF_PROXY_INTERIM_MAX);
		err = hf_proxy_answer_take(&answer, (const uint8_t *)"HTTP/1.1 102 x\r\n\r\n", 18,
					   &taken, &message);
	}
	assert_int_equal(err, HF_EPROTO);
}

static void test_the_date_is_read(void **state)
{
	static const char text[] = "HTTP/1.1 407 x\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n";
	struct hf_proxy_answer answer;
	struct hf_errmsg message;
	size_t taken;

	(void)state;
	hf_proxy_answer_init(&answer);
	assert_int_equal(hf_proxy_answer_take(&answer, (const uint8_t *)text, sizeof text - 1,
					      &taken, &message),
			 0);
	assert_int_equal(answer.date_s, 784111777); /* RFC 9110 5.6.7 */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_urls),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_bad_credentials),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_answers_are_bounded),
		cmocka_unit_test(test_the_date_is_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
