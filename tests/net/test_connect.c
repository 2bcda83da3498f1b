/* Promises of the race for a connection (RFC 8305): families take turns; who answers wins and the
 * rest is raced after it; what cannot be reached is said with its address; it closes at any moment.
 * That a silent address costs 250 ms is seen in tests/network/, which has names of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/connect.h"
#include "tests/net/loop.h"

struct fixture {
	struct test_loop loop;
	struct hf_connect *connect;
	unsigned connections;
	bool failed;
	enum hf_hop hop;
	char reason[300], addresses[600];
};

static void on_resolved(void *context, const char *addresses)
{
	struct fixture *f = context;

	snprintf(f->addresses, sizeof f->addresses, "%s", addresses);
}

static void on_connected(void *context, int fd, const char *address)
{
	struct fixture *f = context;

	assert_non_null(strstr(address, "127.0.0.1:"));
	f->connections++;
	close(fd);
}

static void on_failed(void *context, enum hf_hop hop, int err, const char *reason)
{
	struct fixture *f = context;

	assert_true(err == HF_ECONN || err == HF_ETIMEDOUT);
	f->failed = true;
	f->hop = hop;
	snprintf(f->reason, sizeof f->reason, "%s", reason);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	test_loop_open(&f->loop);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	hf_connect_close(f->connect);
	test_loop_close(&f->loop); /* everything is closed, or it fails */
	free(f);
	return 0;
}

static void start(struct fixture *f, const char *host, uint16_t port)
{
	struct hf_connect_callbacks callbacks = {.resolved = on_resolved,
						 .connected = on_connected,
						 .failed = on_failed,
						 .context = f};

	assert_int_equal(hf_connect_open(&f->loop.loop, host, port, &callbacks, &f->connect), 0);
}

static int listen_at(uint16_t *port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(fd, 8), 0);
	getsockname(fd, (struct sockaddr *)&address, &length);
	*port = ntohs(address.sin_port);
	return fd;
}

static void test_families_take_turns(void **state)
{
	static const struct {
		const char *given, *wanted;
	} cases[] = {{"666644", "646466"}, {"4466", "4646"}, {"44", "44"},
		     {"6", "6"},           {"", ""},         {"46666666", "46666666"}};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct hf_connect_address list[HF_CONNECT_ADDRESSES] = {0};
		unsigned count = (unsigned)strlen(cases[i].given), last[2] = {0, 0};

		for (unsigned k = 0; k < count; k++) {
			list[k].address.ss_family = cases[i].given[k] == '4' ? AF_INET : AF_INET6;
			list[k].length = k + 1; /* its number */
		}
		hf_connect_interleave(list, count);
		for (unsigned k = 0; k < count; k++) {
			bool six = list[k].address.ss_family == AF_INET6;

			assert_int_equal(six ? '6' : '4', cases[i].wanted[k]);
			assert_true(list[k].length > last[six]); /* each in its own order */
			last[six] = list[k].length;
		}
	}
}

/* "localhost" is both families on most machines; only IPv4 listens. */
static void test_the_family_that_answers_wins(void **state)
{
	struct fixture *f = *state;
	uint16_t port;
	int fd = listen_at(&port);

	start(f, "localhost", port);
	RUN_UNTIL(&f->loop, f->connections == 1);
	assert_non_null(strstr(f->addresses, "127.0.0.1:"));
	hf_connect_more(f->connect); /* there is no other that answers */
	RUN_UNTIL(&f->loop, f->failed);
	assert_int_equal(f->connections, 1);
	assert_int_equal(f->hop, HF_HOP_TCP);
	close(fd);
}

static void test_who_refuses_is_named(void **state)
{
	struct fixture *f = *state;
	char wanted[64];
	uint16_t port;

	close(listen_at(&port));
	start(f, "127.0.0.1", port);
	RUN_UNTIL(&f->loop, f->failed);
	snprintf(wanted, sizeof wanted, "127.0.0.1:%u: Connection refused", port);
	assert_string_equal(f->reason, wanted);
	assert_int_equal(f->hop, HF_HOP_TCP);
}

static void test_no_name_is_a_matter_of_dns(void **state)
{
	struct fixture *f = *state;

	start(f, "no-such-name.invalid", 1); /* RFC 6761 6.4 */
	RUN_UNTIL(&f->loop, f->failed);
	assert_int_equal(f->hop, HF_HOP_DNS);
	assert_non_null(strstr(f->reason, "no-such-name.invalid: "));
}

static void test_it_closes_at_any_moment(void **state)
{
	struct fixture *f = *state;
	uint16_t port;
	int fd = listen_at(&port);

	for (int turns = 0; turns < 6; turns++) {
		start(f, "localhost", port);
		for (int i = 0; i < turns; i++)
			uv_run(&f->loop.loop, UV_RUN_ONCE);
		hf_connect_close(f->connect);
	}
	start(f, "127.0.0.1", port);
	close(fd);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_families_take_turns),
		T(test_the_family_that_answers_wins),
		T(test_who_refuses_is_named),
		T(test_no_name_is_a_matter_of_dns),
		T(test_it_closes_at_any_moment),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
