/* Promises of the TLS streams: who has no certificate of our authority, an expired one, one of the
 * wrong kind, the wrong name or the wrong protocol gets nothing (invariant 7); bytes arrive whole
 * and in order; a peer that does not read cannot make us hold more than the bound; silence ends at
 * a deadline (invariant 9). Real sockets and handshakes. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/net/stream_fixture.h"

static void test_both_learn_who_is_there(void **state)
{
	struct stream_fixture *f = *state;
	const struct hf_peer *peer;

	sf_connect_good(f);
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
	struct stream_fixture *f = *state;
	static uint8_t bytes[100000];
	size_t sent = 0;

	sf_connect_good(f);
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
	struct stream_fixture *f = *state;
	static uint8_t bytes[65536];
	size_t queued = 0;
	int err;

	sf_connect_good(f);
	/* Without running the loop nothing is written, as with a peer that does not read. */
	while ((err = hf_stream_write(f->at_client.stream, bytes, sizeof bytes)) == 0)
		queued += sizeof bytes;
	assert_int_equal(err, HF_EBUSY);
	assert_true(queued <= HF_STREAM_QUEUE_MAX);
}

static void test_finish_delivers_what_was_queued(void **state)
{
	struct stream_fixture *f = *state;
	static uint8_t bytes[500000];

	sf_connect_good(f);
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

static void expect_refused(struct stream_fixture *f, struct hf_tls *tls, const char *name)
{
	sf_dial(f, tls, name);
	RUN_UNTIL(&f->loop, f->at_client.lost);
	assert_int_equal(f->accepted, 0);
}

static void test_client_without_certificate(void **state)
{
	struct stream_fixture *f = *state;

	expect_refused(f, sf_make_tls(NULL, &f->authority, false, "holdfast/1", false),
		       "127.0.0.1");
	assert_int_equal(f->at_client.err, HF_EAUTH);
}

static void test_client_of_a_foreign_authority(void **state)
{
	struct stream_fixture *f = *state;
	struct stream_identity stranger;

	sf_make_identity(&f->foreign, &stranger, false, 3600);
	expect_refused(f, sf_make_tls(&stranger, &f->authority, false, "holdfast/1", false),
		       "127.0.0.1");
	assert_int_equal(f->at_client.err, HF_EAUTH);
	free(stranger.der);
}

static void test_expired_client(void **state)
{
	struct stream_fixture *f = *state;
	struct stream_identity late;

	sf_make_identity(&f->authority, &late, false, -3600);
	expect_refused(f, sf_make_tls(&late, &f->authority, false, "holdfast/1", false),
		       "127.0.0.1");
	assert_int_equal(f->at_client.err, HF_EAUTH);
	free(late.der);
}

static void test_expired_client_where_it_may_renew(void **state)
{
	struct stream_fixture *f = *state;
	struct hf_tls *tls = sf_make_tls(&f->server, &f->authority, true, "holdfast/1", true);
	struct stream_identity late;

	hf_listener_set_tls(f->listener, tls);
	hf_tls_destroy(tls);
	sf_make_identity(&f->authority, &late, false, -3600);
	sf_dial(f, sf_make_tls(&late, &f->authority, false, "holdfast/1", false), "127.0.0.1");
	RUN_UNTIL(&f->loop, f->accepted == 1);
	assert_true(hf_stream_peer(f->at_server.stream)->expired);
	free(late.der);
}

static void test_server_certificate_is_no_gateway(void **state)
{
	struct stream_fixture *f = *state;
	struct stream_identity other_server;

	sf_make_identity(&f->authority, &other_server, true, 3600);
	expect_refused(f, sf_make_tls(&other_server, &f->authority, false, "holdfast/1", false),
		       "127.0.0.1");
	free(other_server.der);
}

static void test_client_distrusts_wrong_server(void **state)
{
	struct stream_fixture *f = *state;

	expect_refused(f, sf_make_tls(&f->gateway, &f->foreign, false, "holdfast/1", false),
		       "127.0.0.1");
	assert_int_equal(f->at_client.err, HF_EAUTH);
	expect_refused(f, sf_make_tls(&f->gateway, &f->authority, false, "holdfast/1", false),
		       "provider.example");
	assert_int_equal(f->at_client.err, HF_EAUTH);
}

static void test_gateway_certificate_is_no_server(void **state)
{
	struct stream_fixture *f = *state;
	struct hf_tls *tls = sf_make_tls(&f->gateway, &f->authority, true, "holdfast/1", false);

	hf_listener_set_tls(f->listener, tls);
	hf_tls_destroy(tls);
	expect_refused(f, sf_make_tls(&f->gateway, &f->authority, false, "holdfast/1", false),
		       "127.0.0.1");
	assert_int_equal(f->at_client.err, HF_EAUTH);
}

static void test_wrong_protocol(void **state)
{
	struct stream_fixture *f = *state;

	expect_refused(f, sf_make_tls(&f->gateway, &f->authority, false, "http/1.1", false),
		       "127.0.0.1");
}

static void test_bytes_that_are_not_tls(void **state)
{
	struct stream_fixture *f = *state;
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
	sf_connect_good(f);
}

/* Invariant 9: who connects and says nothing keeps nobody else out. */
static void test_silent_connections_make_room(void **state)
{
	struct stream_fixture *f = *state;
	struct hf_listener_config config = {.address = f->address,
					    .tls = f->server_tls,
					    .streams_max = 4,
					    .accepted = sf_on_accepted,
					    .context = f};
	struct hf_errmsg message;
	int silent[12];
	char byte;

	sf_close_listener(f);
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
	sf_connect_good(f);
	for (int i = 0; i < 12; i++)
		close(silent[i]);
}

static void test_server_may_ask_for_no_certificate(void **state)
{
	struct stream_fixture *f = *state;
	struct hf_tls *tls = sf_make_tls(&f->server, NULL, true, "holdfast-activate/1", false);

	hf_listener_set_tls(f->listener, tls);
	hf_tls_destroy(tls);
	sf_dial(f, sf_make_tls(NULL, NULL, false, "holdfast-activate/1", false), NULL);
	RUN_UNTIL(&f->loop, f->accepted == 1 && f->at_client.opened);
	assert_false(hf_stream_peer(f->at_server.stream)->certified);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, sf_setup, sf_teardown)
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
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
