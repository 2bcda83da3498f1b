/* Who may hold a management connection, and who holds it when several want to (invariants 5, 7).
 * Against the real provider and signer. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/provider/test_gateway.h"

static struct lab lab;
static struct test_gateway gw, other, crowd[12];

static int set_up_with(const char *settings)
{
	lab_up(&lab, settings);
	tg_init(&gw, &lab);
	tg_init(&other, &lab);
	tg_join(&gw, "gw");
	return 0;
}

static int set_up(void **state)
{
	(void)state;
	return set_up_with("ping_interval_ms = 300\n");
}

static int set_up_calm(void **state)
{
	(void)state;
	return set_up_with("ping_interval_ms = 20000\n");
}

static int tear_down(void **state)
{
	(void)state;
	tg_free(&gw);
	tg_free(&other);
	for (int i = 0; i < 12; i++)
		tg_drop(&crowd[i]);
	lab_down(&lab);
	return 0;
}

/* The provider is whole: the good gateway connects and is held. */
static void expect_provider_well(void)
{
	tg_connect(&gw);
	tg_wait_held(&gw);
}

static bool is_connected(void *context)
{
	struct lab_answer answer;
	bool connected;

	lab_show_gateway(&lab, "gw", &answer);
	connected = json_is_true(json_object_get(answer.json, "connected"));
	lab_forget(&answer);
	return connected == *(bool *)context;
}

/* ---- TLS ---- */

static void expect_turned_away(struct test_gateway *g)
{
	tg_wait_ended(g);
	assert_int_equal(g->epoch, 0);
	assert_int_equal(g->applies, 0);
}

/* A certificate of another authority, with everything else right. */
static void test_foreign_authority(void **state)
{
	struct hf_sign_key foreign;

	(void)state;
	other = gw;
	other.stream = NULL;
	other.session = NULL;
	other.document = NULL;
	other.applies = 0;
	other.closed = true;
	hf_sign_key_make(&foreign);
	tg_forge(&other, &foreign, time(NULL) - 60, time(NULL) + 3600);
	other.authority_length = 0;
	tg_connect(&other);
	expect_turned_away(&other);
	expect_provider_well();
}

static void steal_authority_key(struct hf_sign_key *key)
{
	char path[128];

	snprintf(path, sizeof path, "%s/signer/ca.key", lab.folder);
	assert_int_equal(hf_sign_key_file(path, key, NULL), 0);
}

static bool is_renewed(void *context)
{
	return ((struct test_gateway *)context)->renewals > 0;
}

/* Invariant 7: an expired certificate is good for one thing, the next certificate: no epoch, no
 * subscription, no document. With that one the gateway is held again. One that is not valid yet is
 * good for nothing. */
static void test_expired_certificate(void **state)
{
	struct hf_sign_key authority;

	(void)state;
	steal_authority_key(&authority);
	tg_drop(&gw);
	gw.applies = 0;
	tg_forge(&gw, &authority, time(NULL) + 3600, time(NULL) + 7200);
	tg_connect(&gw);
	expect_turned_away(&gw);
	gw.incarnation = gw.generation = gw.sequence = 0; /* it would need the document */
	tg_forge(&gw, &authority, time(NULL) - 7200, time(NULL) - 3600);
	tg_connect(&gw);
	tg_wait_ended(&gw);
	assert_int_equal(gw.renewals, 1);
	assert_non_null(strstr(gw.retry_reason, "renewed"));
	assert_int_equal(gw.epoch, 0);
	assert_int_equal(gw.subscription, 0);
	assert_int_equal(gw.applies, 0);
	tg_drop(&gw);
	tg_connect(&gw);
	tg_wait_held(&gw);
	expect_provider_well();
}

/* A certificate of which two thirds of its life are over is renewed while its gateway is held. */
static void test_certificate_is_renewed_in_time(void **state)
{
	struct hf_sign_key authority;

	(void)state;
	steal_authority_key(&authority);
	tg_drop(&gw);
	tg_forge(&gw, &authority, time(NULL) - 7300, time(NULL) + 3600);
	tg_connect(&gw);
	tg_wait_held(&gw);
	lab_until(&lab, is_renewed, &gw, "the next certificate");
	assert_false(gw.ended);
	tg_drop(&gw);
	tg_connect(&gw);
	tg_wait_held(&gw);
	lab_turn(&lab);
	assert_int_equal(gw.renewals, 1);
	expect_provider_well();
}

/* A good certificate for a gateway that the registry does not know, or knows with another key. */
static void test_unknown_gateway(void **state)
{
	struct hf_sign_key authority;

	(void)state;
	steal_authority_key(&authority);
	other.tenant = gw.tenant;
	other.id = gw.id + 1;
	tg_forge(&other, &authority, time(NULL) - 60, time(NULL) + 3600);
	tg_connect(&other);
	expect_turned_away(&other);
	assert_non_null(strstr(other.retry_reason, "not known"));
	other.id = gw.id; /* with a key of its own */
	tg_forge(&other, &authority, time(NULL) - 60, time(NULL) + 3600);
	tg_connect(&other);
	expect_turned_away(&other);
	assert_non_null(strstr(other.retry_reason, "key"));
	assert_false(gw.ended);
}

/* A Connect that names another gateway than the certificate. */
static void test_other_name_than_certificate(void **state)
{
	uint64_t id = gw.id;

	(void)state;
	tg_join(&other, "other");
	tg_drop(&other);
	gw.id = other.id;
	tg_connect(&gw);
	tg_wait_ended(&gw);
	assert_int_equal(gw.epoch, 0);
	gw.id = id;
	expect_provider_well();
}

struct raw_tls {
	int fd;
	SSL_CTX *context;
	SSL *ssl;
};

static int raw_handshake(struct raw_tls *raw, uint16_t port, int version, const char *alpn)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct timeval patience = {5, 0};
	unsigned char protocols[64];
	char byte;
	int ok;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	raw->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(raw->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	assert_int_equal(connect(raw->fd, (struct sockaddr *)&address, sizeof address), 0);
	raw->context = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_max_proto_version(raw->context, version);
	raw->ssl = SSL_new(raw->context);
	SSL_set_fd(raw->ssl, raw->fd);
	if (alpn) {
		protocols[0] = (unsigned char)strlen(alpn);
		memcpy(protocols + 1, alpn, strlen(alpn));
		SSL_set_alpn_protos(raw->ssl, protocols, (unsigned)strlen(alpn) + 1);
	}
	ok = SSL_connect(raw->ssl);
	/* TLS 1.3: a server that dislikes the client says so after the client is done. */
	if (ok == 1)
		ok = SSL_read(raw->ssl, &byte, 1);
	return ok;
}

static void raw_close(struct raw_tls *raw)
{
	SSL_free(raw->ssl);
	SSL_CTX_free(raw->context);
	close(raw->fd);
}

static void expect_handshake_refused(uint16_t port, int version, const char *alpn)
{
	struct raw_tls raw;

	assert_true(raw_handshake(&raw, port, version, alpn) <= 0);
	raw_close(&raw);
}

/* No certificate, TLS 1.2, another protocol, none, and plain text. */
static void test_wrong_handshakes(void **state)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(lab.channel_port)};
	char answer[64];
	int fd;

	(void)state;
	expect_handshake_refused(lab.channel_port, TLS1_3_VERSION, HF_ALPN_MANAGEMENT);
	expect_handshake_refused(lab.channel_port, TLS1_2_VERSION, HF_ALPN_MANAGEMENT);
	expect_handshake_refused(lab.channel_port, TLS1_3_VERSION, "h2");
	expect_handshake_refused(lab.channel_port, TLS1_3_VERSION, HF_ALPN_ACTIVATION);
	expect_handshake_refused(lab.channel_port, TLS1_3_VERSION, NULL);
	expect_handshake_refused(lab.activation_port, TLS1_2_VERSION, HF_ALPN_ACTIVATION);
	expect_handshake_refused(lab.activation_port, TLS1_3_VERSION, HF_ALPN_MANAGEMENT);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(write(fd, "GET / HTTP/1.0\r\n\r\n", 18), 18);
	while (read(fd, answer, sizeof answer) > 0)
		;
	close(fd);
	expect_provider_well();
}

/* ---- One holder ---- */

/* Invariant 5: each connection has a higher epoch, also above the one the gateway names; the older
 * connection is closed. */
static void test_newest_connection_holds(void **state)
{
	struct test_gateway second;
	uint64_t first_epoch = gw.epoch;

	(void)state;
	tg_init(&second, &lab);
	second.identity = gw.identity;
	second.sealing = gw.sealing;
	second.id = gw.id;
	second.tenant = gw.tenant;
	memcpy(second.certificate, gw.certificate, sizeof gw.certificate);
	second.certificate_length = gw.certificate_length;
	memcpy(second.authority, gw.authority, sizeof gw.authority);
	second.authority_length = gw.authority_length;
	memcpy(second.signer_key, gw.signer_key, HF_KEY_BYTES);
	memcpy(second.token, gw.token, sizeof gw.token);
	second.token_length = gw.token_length;
	second.last_epoch = 1000;
	tg_connect(&second);
	tg_wait_held(&second);
	assert_int_equal(second.epoch, 1001);
	assert_true(first_epoch < 1001);
	tg_wait_ended(&gw);
	assert_false(second.ended);
	tg_free(&second);
}

static bool is_parked(void *context)
{
	struct test_gateway *g = context;

	return g->session && hf_session_state(g->session) == HF_SESSION_PARKED;
}

/* A standby is parked: no epoch, and the active one stays. */
static void test_standby_is_parked(void **state)
{
	struct test_gateway standby = gw;

	(void)state;
	standby.stream = NULL;
	standby.session = NULL;
	standby.document = NULL;
	standby.closed = true;
	tg_connect_as(&standby, HOLDFAST__ROLE__ROLE_STANDBY);
	lab_until(&lab, is_parked, &standby, "parked");
	assert_int_equal(standby.epoch, 0);
	assert_false(gw.ended);
	tg_drop(&standby);
	lab_turn(&lab);
	assert_false(gw.ended);
}

static bool is_subscribed(void *context)
{
	struct test_gateway *g = context;

	return is_parked(g) && g->subscription > 0;
}

static void stand_by(struct test_gateway *standby)
{
	*standby = gw;
	standby->stream = NULL;
	standby->session = NULL;
	standby->document = NULL;
	standby->sequence = 0; /* it says that it has no document */
	standby->closed = true;
	tg_connect_as(standby, HOLDFAST__ROLE__ROLE_STANDBY);
	lab_until(&lab, is_subscribed, standby, "parked, and asked about the other path");
}

/* Invariant 5: of two standbys that say the same loss one is promoted, and the other sent away; a
 * loss of something older promotes nobody. */
static void test_one_standby_is_promoted(void **state)
{
	uint64_t lost = gw.epoch;

	(void)state;
	for (int i = 0; i < 3; i++)
		stand_by(&crowd[i]);
	tg_report_path(&crowd[0], HOLDFAST__PATH_STATE__PATH_HELD, lost);
	tg_report_path(&crowd[2], HOLDFAST__PATH_STATE__PATH_LOST, lost - 1);
	tg_wait_ended(&crowd[2]);
	assert_false(gw.ended);
	tg_drop(&gw);
	tg_report_path(&crowd[1], HOLDFAST__PATH_STATE__PATH_LOST, lost);
	tg_wait_held(&crowd[1]);
	assert_true(crowd[1].epoch == lost + 1);
	tg_report_path(&crowd[0], HOLDFAST__PATH_STATE__PATH_LOST, lost);
	tg_wait_ended(&crowd[0]);
	assert_int_equal(crowd[0].epoch, 0);
	assert_non_null(strstr(crowd[0].retry_reason, "higher epoch"));
	assert_false(crowd[1].ended);
}

/* The gateway knows that its connection is lost while the provider's end still stands half open:
 * the standby is promoted, and the old end has no say any more. */
static void test_a_half_open_predecessor_blocks_nothing(void **state)
{
	(void)state;
	stand_by(&crowd[0]);
	tg_report_path(&crowd[0], HOLDFAST__PATH_STATE__PATH_LOST, gw.epoch);
	tg_wait_held(&crowd[0]);
	assert_true(crowd[0].epoch == gw.epoch + 1);
	tg_wait_ended(&gw);
}

/* Invariant 7: one gateway cannot take the places of the others; its active connection stays. */
static void test_connections_of_one_gateway_are_bounded(void **state)
{
	int parked = 0;

	(void)state;
	for (int i = 0; i < 12; i++) {
		crowd[i] = gw;
		crowd[i].stream = NULL;
		crowd[i].session = NULL;
		crowd[i].document = NULL;
		crowd[i].closed = true;
		tg_connect_as(&crowd[i], HOLDFAST__ROLE__ROLE_STANDBY);
		lab_until(&lab, is_parked, &crowd[i], "parked");
	}
	tg_wait_ended(&crowd[4]); /* the last that had to go */
	for (int i = 0; i < 12; i++)
		parked += is_parked(&crowd[i]);
	assert_in_range(parked, 1, 7);
	assert_true(is_parked(&crowd[11]));
	assert_false(gw.ended);
}

static bool is_held_or_ended(void *context)
{
	struct test_gateway *g = context;

	return g->ended || (g->session && hf_session_state(g->session) == HF_SESSION_HELD);
}

/* One that connects in a loop costs the registry 20 epochs and then 12 a minute, no more: the
 * others are told to wait before anything is looked at. */
static void test_a_gateway_in_a_loop_is_told_to_wait(void **state)
{
	struct lab_answer answer;
	unsigned held = 0;

	(void)state;
	for (int i = 0; i < 40; i++) {
		tg_connect(&gw);
		lab_until(&lab, is_held_or_ended, &gw, "an answer");
		held += !gw.ended;
	}
	assert_in_range(held, 15, 25);
	assert_non_null(strstr(gw.retry_reason, "too often"));
	lab_show_gateway(&lab, "gw", &answer);
	assert_in_range(lab_number(&answer, "connection_epoch"), held, held + 2);
	lab_forget(&answer);
	tg_join(&other, "other"); /* who does not notice */
}

/* A gateway that answers no pings is given up after two of them; one that answers stays. */
static void test_dead_gateway_is_noticed(void **state)
{
	bool wanted = true;

	(void)state;
	lab_until(&lab, is_connected, &wanted, "connected");
	for (int i = 0; i < 60; i++)
		lab_turn(&lab);
	assert_false(gw.ended);
	hf_session_destroy(gw.session); /* nobody answers any more; the stream stays open */
	gw.session = NULL;
	wanted = false;
	lab_until(&lab, is_connected, &wanted, "given up after two missed pings");
	expect_provider_well();
}

int main(void)
{
#define CHANNEL_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CHANNEL_TEST(test_foreign_authority),
		CHANNEL_TEST(test_expired_certificate),
		CHANNEL_TEST(test_certificate_is_renewed_in_time),
		CHANNEL_TEST(test_unknown_gateway),
		CHANNEL_TEST(test_other_name_than_certificate),
		CHANNEL_TEST(test_wrong_handshakes),
		CHANNEL_TEST(test_newest_connection_holds),
		CHANNEL_TEST(test_standby_is_parked),
		cmocka_unit_test_setup_teardown(test_one_standby_is_promoted, set_up_calm,
						tear_down),
		cmocka_unit_test_setup_teardown(test_a_half_open_predecessor_blocks_nothing,
						set_up_calm, tear_down),
		cmocka_unit_test_setup_teardown(test_connections_of_one_gateway_are_bounded,
						set_up_calm, tear_down),
		CHANNEL_TEST(test_a_gateway_in_a_loop_is_told_to_wait),
		CHANNEL_TEST(test_dead_gateway_is_noticed),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("connections", tests, NULL, NULL);
}
