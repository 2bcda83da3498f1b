/* A TLS listener, a client and an authority of their own for the tests of streams and of the
 * dialler, on one loop with real sockets and real handshakes. */
#ifndef HF_TESTS_NET_STREAM_FIXTURE_H
#define HF_TESTS_NET_STREAM_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "net/dial.h"
#include "net/identity.h"
#include "net/stream.h"
#include "tests/net/loop.h"

struct stream_identity {
	struct hf_sign_key key;
	uint8_t *der;
	size_t length;
};

struct stream_end {
	struct hf_stream *stream;
	bool opened, lost, closed;
	int err;
	char reason[200];
	size_t received;
	uint8_t last;
	bool in_order;
};

struct stream_fixture {
	struct test_loop loop;
	struct stream_identity authority, foreign, server, gateway;
	struct hf_tls *server_tls;
	struct hf_listener *listener;
	char address[32];
	struct stream_end at_server, at_client;
	struct hf_dialler *dialler;
	unsigned accepted, waits;
	int wait_err;
	bool listener_closed, dialler_closed;
};

/* A certificate of the authority's, for a new key; valid from now for `valid_s`. */
void sf_make_identity(const struct stream_identity *authority, struct stream_identity *out,
		      bool server, int64_t valid_s);
struct hf_tls *sf_make_tls(const struct stream_identity *own,
			   const struct stream_identity *authority, bool server, const char *alpn,
			   bool allow_expired);
/* What happens at an end is written down there. */
struct hf_stream_callbacks sf_callbacks_of(struct stream_end *end);
void sf_on_accepted(void *context, struct hf_stream *stream);
/* A listener with a good server certificate; for cmocka. */
int sf_setup(void **state);
void sf_close_listener(struct stream_fixture *f);
void sf_close_end(struct stream_end *end);
int sf_teardown(void **state);
/* Connects the client's end; takes `tls`. */
void sf_dial(struct stream_fixture *f, struct hf_tls *tls, const char *name);
/* Connects it with a good certificate, and waits until both ends are open. */
void sf_connect_good(struct stream_fixture *f);

#endif
