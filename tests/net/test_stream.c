/* Promises of the TLS streams: who has no certificate of our authority, an expired one, one of the
 * wrong kind, the wrong name or the wrong protocol gets nothing (invariant 7); bytes arrive whole
 * and in order; a peer that does not read cannot make us hold more than the bound; silence ends at
 * a deadline (invariant 9). Real sockets and real handshakes on one loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "net/dial.h"
#include "net/identity.h"
#include "net/stream.h"
#include "tests/net/loop.h"

struct identity {
	struct hf_sign_key key;
	uint8_t *der;
	size_t length;
};

struct end {
	struct hf_stream *stream;
	bool opened, lost, closed;
	int err;
	char reason[200];
	size_t received;
	uint8_t last;
	bool in_order;
};

struct fixture {
	struct test_loop loop;
	struct identity authority, foreign, server, gateway;
	struct hf_tls *server_tls;
	struct hf_listener *listener;
	char address[32];
	struct end at_server, at_client;
	struct hf_dialler *dialler;
	unsigned accepted, waits;
	int wait_err;
	bool listener_closed, dialler_closed;
};

static void make_identity(const struct identity *authority, struct identity *out, bool server,
			  int64_t valid_s)
{
	const char *names[] = {"127.0.0.1"};
	struct hf_certificate_order order = {.server = server,
					     .tenant = server ? 0 : 7,
					     .gateway = server ? 0 : 8,
					     .names = names,
					     .name_count = 1};
	struct hf_errmsg message;

	hf_sign_key_make(&out->key);
	order.authority_key = &authority->key;
	order.authority = authority->der;
	order.authority_length = authority->length;
	order.not_before_s = (int64_t)time(NULL) - 7200;
	order.not_after_s = (int64_t)time(NULL) + valid_s;
	memcpy(order.public_key, out->key.public_key, HF_KEY_BYTES);
	assert_int_equal(hf_certificate_issue(&order, &out->der, &out->length, &message), 0);
}

static struct hf_tls *make_tls(const struct identity *own, const struct identity *authority,
			       bool server, const char *alpn, bool allow_expired)
{
	struct hf_tls_options options = {.server = server,
					 .alpn = alpn,
					 .key = own ? &own->key : NULL,
					 .certificate = own ? own->der : NULL,
					 .certificate_length = own ? own->length : 0,
					 .authority = authority ? authority->der : NULL,
					 .authority_length = authority ? authority->length : 0,
					 .allow_expired = allow_expired};
	struct hf_errmsg message;
	struct hf_tls *tls = NULL;

	assert_int_equal(hf_tls_create(&options, &tls, &message), 0);
	return tls;
}

static void on_opened(void *context, const struct hf_peer *peer)
{
	(void)peer;
	((struct end *)context)->opened = true;
}

static void on_received(void *context, const uint8_t *bytes, size_t length)
{
	struct end *end = context;

	for (size_t i = 0; i < length; i++) {
		if (bytes[i] != (uint8_t)(end->received * 31 >> 3))
			end->in_order = false;
		end->received++;
	}
}

static void on_end_closed(void *context)
{
	((struct end *)context)->closed = true;
}

static void on_lost(void *context, int err, const char *reason)
{
	struct end *end = context;

	end->lost = true;
	end->err = err;
	snprintf(end->reason, sizeof end->reason, "%s", reason);
	hf_stream_close(end->stream, on_end_closed, end);
	end->stream = NULL;
}

static struct hf_stream_callbacks callbacks_of(struct end *end)
{
	end->in_order = true;
	return (struct hf_stream_callbacks){
		.opened = on_opened, .received = on_received, .lost = on_lost, .context = end};
}

static void on_accepted(void *context, struct hf_stream *stream)
{
	struct fixture *f = context;
	struct hf_stream_callbacks callbacks = callbacks_of(&f->at_server);

	f->accepted++;
	f->at_server.stream = stream;
	hf_stream_set_callbacks(stream, &callbacks);
}

static void listen_with(struct fixture *f, struct hf_tls *tls)
{
	struct hf_listener_config config = {
		.address = "127.0.0.1:0", .tls = tls, .accepted = on_accepted, .context = f};
	struct hf_errmsg message;

	assert_int_equal(hf_listener_open(&f->loop.loop, &config, &f->listener, &message), 0);
	snprintf(f->address, sizeof f->address, "127.0.0.1:%u", hf_listener_port(f->listener));
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	signal(SIGPIPE, SIG_IGN);
	test_loop_open(&f->loop);
	hf_sign_key_make(&f->authority.key);
	hf_sign_key_make(&f->foreign.key);
	hf_authority_make(&f->authority.key, "ours", 86400, &f->authority.der,
			  &f->authority.length);
	hf_authority_make(&f->foreign.key, "theirs", 86400, &f->foreign.der, &f->foreign.length);
	make_identity(&f->authority, &f->server, true, 3600);
	make_identity(&f->authority, &f->gateway, false, 3600);
	f->server_tls = make_tls(&f->server, &f->authority, true, "holdfast/1", false);
	listen_with(f, f->server_tls);
	*state = f;
	return 0;
}

static void on_listener_closed(void *context)
{
	((struct fixture *)context)->listener_closed = true;
}

static void close_listener(struct fixture *f)
{
	f->listener_closed = false;
	hf_listener_close(f->listener, on_listener_closed, f);
	RUN_UNTIL(&f->loop, f->listener_closed);
	f->listener = NULL;
}

static void close_end(struct end *end)
{
	if (end->stream)
		hf_stream_close(end->stream, on_end_closed, end);
	end->stream = NULL;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close_end(&f->at_client);
	close_end(&f->at_server);
	if (f->listener)
		close_listener(f);
	test_loop_close(&f->loop);
	hf_tls_destroy(f->server_tls);
	free(f->authority.der);
	free(f->foreign.der);
	free(f->server.der);
	free(f->gateway.der);
	free(f);
	return 0;
}

static void dial_raw(struct fixture *f, struct hf_tls *tls, const char *name)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons(hf_listener_port(f->listener)),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct hf_stream_callbacks callbacks = callbacks_of(&f->at_client);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	memset(&f->at_client, 0, sizeof f->at_client);
	f->at_client.in_order = true;
	(void)!connect(fd, (struct sockaddr *)&address, sizeof address);
	assert_int_equal(
		hf_stream_open(&f->loop.loop, tls, fd, name, &callbacks, &f->at_client.stream), 0);
	hf_tls_destroy(tls); /* the stream keeps what it needs */
}

static void connect_good(struct fixture *f)
{
	dial_raw(f, make_tls(&f->gateway, &f->authority, false, "holdfast/1", false), "127.0.0.1");
	RUN_UNTIL(&f->loop, f->accepted == 1 && f->at_client.opened);
}

static void test_both_learn_who_is_there(void **state)
{
	struct fixture *f = *state;
	const struct hf_peer *peer;

	connect_good(f);
	peer = hf_stream_peer(f->at_server.stream);
	assert_true(peer->certified);
	assert_false(peer->server);
	assert_int_equal(peer->tenant, 7);
	assert_int_equal(peer->gateway, 8);
	assert_memory_equal(peer->public_key, f->gateway.key.public_key, HF_KEY_BYTES);
	assert_int_equal(strncmp(peer->address, "127.0.0.1:", 10), 0);
	peer = hf_stream_peer(f->at_client.stream);
	assert_true(peer->certified && peer->server);
}

static void fill(uint8_t *bytes, size_t start, size_t length)
{
	for (size_t i = 0; i < length; i++)
		bytes[i] = (uint8_t)((start + i) * 31 >> 3);
}

static void test_bytes_arrive_whole_and_in_order(void **state)
{
	struct fixture *f = *state;
	static uint8_t bytes[100000];
	size_t sent = 0;

	connect_good(f);
	for (size_t length = 1; sent < 3000000; length = length * 3 % 99991 + 1) {
		fill(bytes, sent, length);
		if (hf_stream_write(f->at_client.stream, bytes, length) != 0)
			break;
		sent += length;
	}
	RUN_UNTIL(&f->loop, f->at_server.received == sent);
	assert_true(f->at_server.in_order);
	fill(bytes, 0, 1000);
	assert_int_equal(hf_stream_write(f->at_server.stream, bytes, 1000), 0);
	RUN_UNTIL(&f->loop, f->at_client.received == 1000);
	assert_true(f->at_client.in_order);
}

static void test_queue_is_bounded(void **state)
{
	struct fixture *f = *state;
	static uint8_t bytes[65536];
	size_t queued = 0;
	int err;

	connect_good(f);
	/* Without running the loop nothing is written, as with a peer that does not read. */
	while ((err = hf_stream_write(f->at_client.stream, bytes, sizeof bytes)) == 0)
		queued += sizeof bytes;
	assert_int_equal(err, HF_EBUSY);
	assert_true(queued <= HF_STREAM_QUEUE_MAX);
}

static void test_finish_delivers_what_was_queued(void **state)
{
	struct fixture *f = *state;
	static uint8_t bytes[500000];

	connect_good(f);
	fill(bytes, 0, sizeof bytes);
	hf_stream_write(f->at_server.stream, bytes, sizeof bytes);
	hf_stream_finish(f->at_server.stream);
	assert_int_equal(hf_stream_write(f->at_server.stream, bytes, 1), HF_ECONN);
	RUN_UNTIL(&f->loop, f->at_server.lost && f->at_client.lost);
	assert_int_equal(f->at_client.received, sizeof bytes);
	assert_true(f->at_client.in_order);
	assert_int_equal(f->at_client.err, 0);
	assert_int_equal(f->at_server.err, 0);
}

/* ---- Refusals ---- */

static void expect_refused(struct fixture *f, struct hf_tls *tls, const char *name)
{
	dial_raw(f, tls, name);
	RUN_UNTIL(&f->loop, f->at_client.lost);
	assert_int_equal(f->accepted, 0);
}

static void test_client_without_certificate(void **state)
{
	struct fixture *f = *state;

	expect_refused(f, make_tls(NULL, &f->authority, false, "holdfast/1", false), "127.0.0.1");
	assert_int_equal(f->at_client.err, HF_EAUTH);
}

static void test_client_of_a_foreign_authority(void **state)
{
	struct fixture *f = *state;
	struct identity stranger;

	make_identity(&f->foreign, &stranger, false, 3600);
	expect_refused(f, make_tls(&stranger, &f->authority, false, "holdfast/1", false),
		       "127.0.0.1");
	assert_int_equal(f->at_client.err, HF_EAUTH);
	free(stranger.der);
}

static void test_expired_client(void **state)
{
	struct fixture *f = *state;
	struct identity late;

	make_identity(&f->authority, &late, false, -3600);
	expect_refused(f, make_tls(&late, &f->authority, false, "holdfast/1", false), "127.0.0.1");
	assert_int_equal(f->at_client.err, HF_EAUTH);
	free(late.der);
}

static void test_expired_client_where_it_may_renew(void **state)
{
	struct fixture *f = *state;
	struct hf_tls *tls = make_tls(&f->server, &f->authority, true, "holdfast/1", true);
	struct identity late;

	hf_listener_set_tls(f->listener, tls);
	hf_tls_destroy(tls);
	make_identity(&f->authority, &late, false, -3600);
	dial_raw(f, make_tls(&late, &f->authority, false, "holdfast/1", false), "127.0.0.1");
	RUN_UNTIL(&f->loop, f->accepted == 1);
	assert_true(hf_stream_peer(f->at_server.stream)->expired);
	free(late.der);
}

static void test_server_certificate_is_no_gateway(void **state)
{
	struct fixture *f = *state;
	struct identity other_server;

	make_identity(&f->authority, &other_server, true, 3600);
	expect_refused(f, make_tls(&other_server, &f->authority, false, "holdfast/1", false),
		       "127.0.0.1");
	free(other_server.der);
}

static void test_client_distrusts_wrong_server(void **state)
{
	struct fixture *f = *state;

	expect_refused(f, make_tls(&f->gateway, &f->foreign, false, "holdfast/1", false),
		       "127.0.0.1");
	assert_int_equal(f->at_client.err, HF_EAUTH);
	expect_refused(f, make_tls(&f->gateway, &f->authority, false, "holdfast/1", false),
		       "provider.example");
	assert_int_equal(f->at_client.err, HF_EAUTH);
}

static void test_gateway_certificate_is_no_server(void **state)
{
	struct fixture *f = *state;
	struct hf_tls *tls = make_tls(&f->gateway, &f->authority, true, "holdfast/1", false);

	hf_listener_set_tls(f->listener, tls);
	hf_tls_destroy(tls);
	expect_refused(f, make_tls(&f->gateway, &f->authority, false, "holdfast/1", false),
		       "127.0.0.1");
	assert_int_equal(f->at_client.err, HF_EAUTH);
}

static void test_wrong_protocol(void **state)
{
	struct fixture *f = *state;

	expect_refused(f, make_tls(&f->gateway, &f->authority, false, "http/1.1", false),
		       "127.0.0.1");
}

static void test_bytes_that_are_not_tls(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons(hf_listener_port(f->listener)),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char byte;

	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(write(fd, "GET / HTTP/1.1\r\n\r\n", 18), 18);
	/* An alert may come; then the end. */
	RUN_UNTIL(&f->loop, recv(fd, &byte, 1, MSG_DONTWAIT) == 0);
	close(fd);
	assert_int_equal(f->accepted, 0);
	connect_good(f);
}

/* Invariant 9: who connects and says nothing keeps nobody else out. */
static void test_silent_connections_make_room(void **state)
{
	struct fixture *f = *state;
	struct hf_listener_config config = {.address = f->address,
					    .tls = f->server_tls,
					    .streams_max = 4,
					    .accepted = on_accepted,
					    .context = f};
	struct hf_errmsg message;
	int silent[12];
	char byte;

	close_listener(f);
	assert_int_equal(hf_listener_open(&f->loop.loop, &config, &f->listener, &message), 0);
	for (int i = 0; i < 12; i++) {
		struct sockaddr_in address = {.sin_family = AF_INET,
					      .sin_port = htons(hf_listener_port(f->listener)),
					      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

		silent[i] = socket(AF_INET, SOCK_STREAM, 0);
		assert_int_equal(connect(silent[i], (struct sockaddr *)&address, sizeof address),
				 0);
	}
	RUN_UNTIL(&f->loop, recv(silent[7], &byte, 1, MSG_DONTWAIT) == 0);
	assert_int_equal(recv(silent[11], &byte, 1, MSG_DONTWAIT), -1); /* the newest stay */
	connect_good(f);
	for (int i = 0; i < 12; i++)
		close(silent[i]);
}

static void test_server_may_ask_for_no_certificate(void **state)
{
	struct fixture *f = *state;
	struct hf_tls *tls = make_tls(&f->server, NULL, true, "holdfast-activate/1", false);

	hf_listener_set_tls(f->listener, tls);
	hf_tls_destroy(tls);
	dial_raw(f, make_tls(NULL, NULL, false, "holdfast-activate/1", false), NULL);
	RUN_UNTIL(&f->loop, f->accepted == 1 && f->at_client.opened);
	assert_false(hf_stream_peer(f->at_server.stream)->certified);
}

/* ---- The dialler ---- */

static void on_connected(void *context, struct hf_stream *stream)
{
	struct fixture *f = context;
	struct hf_stream_callbacks callbacks = callbacks_of(&f->at_client);

	f->at_client.opened = true;
	f->at_client.stream = stream;
	hf_stream_set_callbacks(stream, &callbacks);
}

static void on_waiting(void *context, uint32_t wait_ms, int err, const char *reason)
{
	struct fixture *f = context;

	(void)reason;
	assert_in_range(wait_ms, HF_BACKOFF_MIN_MS, HF_BACKOFF_MAX_MS);
	f->waits++;
	f->wait_err = err;
}

static void on_dialler_closed(void *context)
{
	((struct fixture *)context)->dialler_closed = true;
}

static void open_dialler(struct fixture *f, const char *const *endpoints, size_t count)
{
	struct hf_dialler_callbacks callbacks = {
		.connected = on_connected, .waiting = on_waiting, .context = f};
	struct hf_tls *tls = make_tls(&f->gateway, &f->authority, false, "holdfast/1", false);
	struct hf_errmsg message;

	assert_int_equal(hf_dialler_open(&f->loop.loop, tls, endpoints, count, &callbacks,
					 &f->dialler, &message),
			 0);
	hf_tls_destroy(tls);
}

static void close_dialler(struct fixture *f)
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
	struct fixture *f = *state;
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
	struct fixture *f = *state;
	char dead[32];
	const char *endpoints[] = {dead};

	snprintf(dead, sizeof dead, "127.0.0.1:%u", closed_port());
	open_dialler(f, endpoints, 1);
	assert_int_equal(hf_dialler_prefer(f->dialler, "nowhere"), HF_EINVAL);
	assert_int_equal(hf_dialler_prefer(f->dialler, f->address), 0);
	RUN_UNTIL(&f->loop, f->accepted == 1 && f->at_client.opened);
	close_end(&f->at_server);
	RUN_UNTIL(&f->loop, f->at_client.lost);
	hf_dialler_again(f->dialler, 0);
	assert_int_equal(f->waits, 1);
	RUN_UNTIL(&f->loop, f->waits == 2); /* only the usual one was tried */
	assert_int_equal(f->accepted, 1);
	close_dialler(f);
}

static void test_dialler_waits_and_comes_back(void **state)
{
	struct fixture *f = *state;
	const char *endpoints[] = {f->address};
	uint16_t port = hf_listener_port(f->listener);
	struct hf_listener_config config = {
		.address = f->address, .tls = f->server_tls, .accepted = on_accepted, .context = f};
	struct hf_errmsg message;

	close_listener(f);
	open_dialler(f, endpoints, 1);
	RUN_UNTIL(&f->loop, f->waits == 1);
	assert_int_equal(f->wait_err, HF_ECONN);
	assert_int_equal(hf_listener_open(&f->loop.loop, &config, &f->listener, &message), 0);
	assert_int_equal(hf_listener_port(f->listener), port);
	RUN_UNTIL(&f->loop, f->accepted == 1 && f->at_client.opened);
	hf_dialler_good(f->dialler);
	close_end(&f->at_server);
	RUN_UNTIL(&f->loop, f->at_client.lost);
	hf_dialler_again(f->dialler, 600);
	RUN_UNTIL(&f->loop, f->accepted == 2);
	close_dialler(f);
}

static void test_dialler_closes_at_any_moment(void **state)
{
	struct fixture *f = *state;
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
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_both_learn_who_is_there),
		T(test_bytes_arrive_whole_and_in_order),
		T(test_queue_is_bounded),
		T(test_finish_delivers_what_was_queued),
		T(test_client_without_certificate),
		T(test_client_of_a_foreign_authority),
		T(test_expired_client),
		T(test_expired_client_where_it_may_renew),
		T(test_server_certificate_is_no_gateway),
		T(test_client_distrusts_wrong_server),
		T(test_gateway_certificate_is_no_server),
		T(test_wrong_protocol),
		T(test_bytes_that_are_not_tls),
		T(test_silent_connections_make_room),
		T(test_server_may_ask_for_no_certificate),
		T(test_dialler_tries_all_endpoints),
		T(test_dialler_prefers_once),
		T(test_dialler_waits_and_comes_back),
		T(test_dialler_closes_at_any_moment),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
