/* A server's connection forgets session and peer certificate after the handshake (tls.c). Whatever
 * TLS 1.3 may do afterwards still works: data both ways, new keys by either wish, the end. The
 * client is bare OpenSSL, on the same thread. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/net/stream_fixture.h"

#define ROUNDS 20u
#define PIECE  20000u

struct bare {
	SSL_CTX *context;
	SSL *ssl;
	int fd;
};

static void turn(struct stream_fixture *f)
{
	uv_run(&f->loop.loop, UV_RUN_NOWAIT);
}

/* Until it neither waits nor fails. */
#define UNTIL_DONE(f, bare, call)                                                                  \
	do {                                                                                       \
		int result_;                                                                       \
		while ((result_ = (call)) <= 0) {                                                  \
			int error_ = SSL_get_error((bare)->ssl, result_);                          \
			assert_true(error_ == SSL_ERROR_WANT_READ ||                               \
				    error_ == SSL_ERROR_WANT_WRITE);                               \
			turn(f);                                                                   \
		}                                                                                  \
	} while (0)

static void connect_bare(struct stream_fixture *f, struct bare *bare)
{
	static const unsigned char alpn[] = "\x0aholdfast/1";
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons(hf_listener_port(f->listener)),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, f->gateway.key.secret,
						     HF_KEY_BYTES);

	bare->context = SSL_CTX_new(TLS_client_method());
	SSL_CTX_use_certificate_ASN1(bare->context, (int)f->gateway.length, f->gateway.der);
	SSL_CTX_use_PrivateKey(bare->context, key);
	EVP_PKEY_free(key);
	SSL_CTX_set_alpn_protos(bare->context, alpn, sizeof alpn - 1);
	bare->ssl = SSL_new(bare->context);
	bare->fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(bare->fd, (struct sockaddr *)&address, sizeof address), 0);
	fcntl(bare->fd, F_SETFL, O_NONBLOCK);
	SSL_set_fd(bare->ssl, bare->fd);
	UNTIL_DONE(f, bare, SSL_connect(bare->ssl));
	RUN_UNTIL(&f->loop, f->accepted == 1);
}

static void end_bare(struct bare *bare)
{
	SSL_free(bare->ssl);
	SSL_CTX_free(bare->context);
	close(bare->fd);
}

static void fill(uint8_t *bytes, size_t start)
{
	for (size_t i = 0; i < PIECE; i++)
		bytes[i] = (uint8_t)((start + i) * 31 >> 3);
}

static void send_up(struct stream_fixture *f, struct bare *bare, unsigned round)
{
	uint8_t bytes[PIECE];

	fill(bytes, (size_t)round * PIECE);
	UNTIL_DONE(f, bare, SSL_write(bare->ssl, bytes, PIECE));
	RUN_UNTIL(&f->loop, f->at_server.received == (size_t)(round + 1) * PIECE);
	assert_true(f->at_server.in_order);
}

static void send_down(struct stream_fixture *f, struct bare *bare, unsigned round)
{
	uint8_t bytes[PIECE], back[PIECE];

	fill(bytes, (size_t)round * PIECE);
	assert_int_equal(hf_stream_write(f->at_server.stream, bytes, PIECE), 0);
	for (size_t used = 0; used < PIECE;) {
		int got = 0;

		UNTIL_DONE(f, bare, got = SSL_read(bare->ssl, back + used, (int)(PIECE - used)));
		used += (size_t)got;
	}
	assert_memory_equal(back, bytes, PIECE);
}

static void test_everything_after_the_handshake_works(void **state)
{
	struct stream_fixture *f = *state;
	struct bare bare;

	connect_bare(f, &bare);
	for (unsigned round = 0; round < ROUNDS; round++) {
		if (round % 3 == 1)
			assert_int_equal(SSL_key_update(bare.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
		if (round % 3 == 2)
			assert_int_equal(SSL_key_update(bare.ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
		send_up(f, &bare, round);
		send_down(f, &bare, round);
	}
	assert_true(hf_stream_peer(f->at_server.stream)->gateway == 8);
	SSL_shutdown(bare.ssl);
	RUN_UNTIL(&f->loop, f->at_server.lost);
	assert_int_equal(f->at_server.err, 0);
	end_bare(&bare);
}

/* The peer's ill will after the handshake is an error as ever. */
static void test_garbage_ends_it(void **state)
{
	struct stream_fixture *f = *state;
	struct bare bare;

	connect_bare(f, &bare);
	assert_int_equal(write(bare.fd, "\x17\x03\x03\x00\x20 this was never sealed by anyone", 37),
			 37);
	RUN_UNTIL(&f->loop, f->at_server.lost);
	assert_int_equal(f->at_server.err, HF_ECONN);
	end_bare(&bare);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_everything_after_the_handshake_works, sf_setup,
						sf_teardown),
		cmocka_unit_test_setup_teardown(test_garbage_ends_it, sf_setup, sf_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
