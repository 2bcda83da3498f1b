/* stream_fixture.h. */
#include "tests/net/stream_fixture.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

void sf_make_identity(const struct stream_identity *authority, struct stream_identity *out,
		      bool server, int64_t valid_s)
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

struct hf_tls *sf_make_tls(const struct stream_identity *own,
			   const struct stream_identity *authority, bool server, const char *alpn,
			   bool allow_expired)
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
	((struct stream_end *)context)->opened = true;
}

static void on_received(void *context, const uint8_t *bytes, size_t length)
{
	struct stream_end *end = context;

	for (size_t i = 0; i < length; i++) {
		if (bytes[i] != (uint8_t)(end->received * 31 >> 3))
			end->in_order = false;
		end->received++;
	}
}

static void on_end_closed(void *context)
{
	((struct stream_end *)context)->closed = true;
}

static void on_lost(void *context, int err, const char *reason)
{
	struct stream_end *end = context;

	end->lost = true;
	end->err = err;
	snprintf(end->reason, sizeof end->reason, "%s", reason);
	hf_stream_close(end->stream, on_end_closed, end);
	end->stream = NULL;
}

struct hf_stream_callbacks sf_callbacks_of(struct stream_end *end)
{
	end->in_order = true;
	return (struct hf_stream_callbacks){
		.opened = on_opened, .received = on_received, .lost = on_lost, .context = end};
}

void sf_on_accepted(void *context, struct hf_stream *stream)
{
	struct stream_fixture *f = context;
	struct hf_stream_callbacks callbacks = sf_callbacks_of(&f->at_server);

	f->accepted++;
	f->at_server.stream = stream;
	hf_stream_set_callbacks(stream, &callbacks);
}

static void listen_with(struct stream_fixture *f, struct hf_tls *tls)
{
	struct hf_listener_config config = {
		.address = "127.0.0.1:0", .tls = tls, .accepted = sf_on_accepted, .context = f};
	struct hf_errmsg message;

	assert_int_equal(hf_listener_open(&f->loop.loop, &config, &f->listener, &message), 0);
	snprintf(f->address, sizeof f->address, "127.0.0.1:%u", hf_listener_port(f->listener));
}

int sf_setup(void **state)
{
	struct stream_fixture *f = calloc(1, sizeof *f);

	signal(SIGPIPE, SIG_IGN);
	test_loop_open(&f->loop);
	hf_sign_key_make(&f->authority.key);
	hf_sign_key_make(&f->foreign.key);
	hf_authority_make(&f->authority.key, "ours", 86400, &f->authority.der,
			  &f->authority.length);
	hf_authority_make(&f->foreign.key, "theirs", 86400, &f->foreign.der, &f->foreign.length);
	sf_make_identity(&f->authority, &f->server, true, 3600);
	sf_make_identity(&f->authority, &f->gateway, false, 3600);
	f->server_tls = sf_make_tls(&f->server, &f->authority, true, "holdfast/1", false);
	listen_with(f, f->server_tls);
	*state = f;
	return 0;
}

static void on_listener_closed(void *context)
{
	((struct stream_fixture *)context)->listener_closed = true;
}

void sf_close_listener(struct stream_fixture *f)
{
	f->listener_closed = false;
	hf_listener_close(f->listener, on_listener_closed, f);
	RUN_UNTIL(&f->loop, f->listener_closed);
	f->listener = NULL;
}

void sf_close_end(struct stream_end *end)
{
	if (end->stream)
		hf_stream_close(end->stream, on_end_closed, end);
	end->stream = NULL;
}

int sf_teardown(void **state)
{
	struct stream_fixture *f = *state;

	sf_close_end(&f->at_client);
	sf_close_end(&f->at_server);
	if (f->listener)
		sf_close_listener(f);
	test_loop_close(&f->loop);
	hf_tls_destroy(f->server_tls);
	free(f->authority.der);
	free(f->foreign.der);
	free(f->server.der);
	free(f->gateway.der);
	free(f);
	return 0;
}

void sf_dial(struct stream_fixture *f, struct hf_tls *tls, const char *name)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons(hf_listener_port(f->listener)),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct hf_stream_callbacks callbacks = sf_callbacks_of(&f->at_client);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	memset(&f->at_client, 0, sizeof f->at_client);
	f->at_client.in_order = true;
	(void)!connect(fd, (struct sockaddr *)&address, sizeof address);
	assert_int_equal(
		hf_stream_open(&f->loop.loop, tls, fd, name, &callbacks, &f->at_client.stream), 0);
	hf_tls_destroy(tls); /* the stream keeps what it needs */
}

void sf_connect_good(struct stream_fixture *f)
{
	sf_dial(f, sf_make_tls(&f->gateway, &f->authority, false, "holdfast/1", false),
		"127.0.0.1");
	RUN_UNTIL(&f->loop, f->accepted == 1 && f->at_client.opened);
}
