/* Promises of the dialler: every endpoint is tried before it waits, a preferred one once, the wait
 * is bounded and grows (invariant 9), what was lost comes back, and it closes at any moment. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/net/stream_fixture.h"

static void on_connected(void *context, struct hf_stream *stream)
{
	struct stream_fixture *f = context;
	struct hf_stream_callbacks callbacks = sf_callbacks_of(&f->at_client);

	f->at_client.opened = true;
	f->at_client.stream = stream;
	hf_stream_set_callbacks(stream, &callbacks);
}

static void on_waiting(void *context, uint32_t wait_ms, int err, const char *reason)
{
	struct stream_fixture *f = context;

	(void)reason;
	assert_in_range(wait_ms, HF_BACKOFF_MIN_MS, HF_BACKOFF_MAX_MS);
	f->waits++;
	f->wait_err = err;
}

static void on_dialler_closed(void *context)
{
	((struct stream_fixture *)context)->dialler_closed = true;
}

static void open_dialler(struct stream_fixture *f, const char *const *endpoints, size_t count)
{
	struct hf_dialler_callbacks callbacks = {
		.connected = on_connected, .waiting = on_waiting, .context = f};
	struct hf_tls *tls = sf_make_tls(&f->gateway, &f->authority, false, "holdfast/1", false);
	struct hf_errmsg message;

	assert_int_equal(hf_dialler_open(&f->loop.loop, tls, endpoints, count, &callbacks,
					 &f->dialler, &message),
			 0);
	hf_tls_destroy(tls);
}

static void close_dialler(struct stream_fixture *f)
{
	hf_dialler_close(f->dialler, on_dialler_closed, f);
	RUN_UNTIL(&f->loop, f->dialler_closed);
}

static uint16_t closed_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	getsockname(fd, (struct sockaddr *)&address, &length);
	close(fd);
	return ntohs(address.sin_port);
}

static void test_dialler_tries_all_endpoints(void **state)
{
	struct stream_fixture *f = *state;
	char dead[32];
	const char *endpoints[] = {dead, f->address};

	snprintf(dead, sizeof dead, "127.0.0.1:%u", closed_port());
	open_dialler(f, endpoints, 2);
	RUN_UNTIL(&f->loop, f->accepted == 1 && f->at_client.opened);
	assert_int_equal(f->waits, 0);
	close_dialler(f);
}

static void test_dialler_prefers_once(void **state)
{
	struct stream_fixture *f = *state;
	char dead[32];
	const char *endpoints[] = {dead};

	snprintf(dead, sizeof dead, "127.0.0.1:%u", closed_port());
	open_dialler(f, endpoints, 1);
	assert_int_equal(hf_dialler_prefer(f->dialler, "nowhere"), HF_EINVAL);
	assert_int_equal(hf_dialler_prefer(f->dialler, f->address), 0);
	RUN_UNTIL(&f->loop, f->accepted == 1 && f->at_client.opened);
	sf_close_end(&f->at_server);
	RUN_UNTIL(&f->loop, f->at_client.lost);
	hf_dialler_again(f->dialler, 0);
	assert_int_equal(f->waits, 1);
	RUN_UNTIL(&f->loop, f->waits == 2); /* only the usual one was tried */
	assert_int_equal(f->accepted, 1);
	close_dialler(f);
}

static void test_dialler_waits_and_comes_back(void **state)
{
	struct stream_fixture *f = *state;
	const char *endpoints[] = {f->address};
	uint16_t port = hf_listener_port(f->listener);
	struct hf_listener_config config = {.address = f->address,
					    .tls = f->server_tls,
					    .accepted = sf_on_accepted,
					    .context = f};
	struct hf_errmsg message;

	sf_close_listener(f);
	open_dialler(f, endpoints, 1);
	RUN_UNTIL(&f->loop, f->waits == 1);
	assert_int_equal(f->wait_err, HF_ECONN);
	assert_int_equal(hf_listener_open(&f->loop.loop, &config, &f->listener, &message), 0);
	assert_int_equal(hf_listener_port(f->listener), port);
	RUN_UNTIL(&f->loop, f->accepted == 1 && f->at_client.opened);
	hf_dialler_good(f->dialler);
	sf_close_end(&f->at_server);
	RUN_UNTIL(&f->loop, f->at_client.lost);
	hf_dialler_again(f->dialler, 600);
	RUN_UNTIL(&f->loop, f->accepted == 2);
	close_dialler(f);
}

static void test_dialler_closes_at_any_moment(void **state)
{
	struct stream_fixture *f = *state;
	const char *endpoints[] = {"localhost:1"};

	for (int turns = 0; turns < 6; turns++) {
		f->dialler_closed = false;
		open_dialler(f, endpoints, 1);
		for (int i = 0; i < turns; i++)
			uv_run(&f->loop.loop, UV_RUN_ONCE);
		close_dialler(f);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, sf_setup, sf_teardown)
	const struct CMUnitTest tests[] = {
		T(test_dialler_tries_all_endpoints),
		T(test_dialler_prefers_once),
		T(test_dialler_waits_and_comes_back),
		T(test_dialler_closes_at_any_moment),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
