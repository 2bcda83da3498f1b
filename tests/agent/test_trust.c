/* The floor of the gateway's time (docs/design/channel.md): a clock that starts in the past, after
 * a flat battery, judges the provider's certificate by the latest time that is known to be past,
 * and that never goes back. Real handshakes. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "gateway/agent/trust.h"
#include "tests/lib/folder.h"
#include "tests/net/stream_fixture.h"

#define HOUR_S 3600

static char folder[32];
static struct hf_kept kept = {.folder = folder};
static struct hf_trust trust;

static int setup(void **state)
{
	Holdfast__ActivateIssued issued = HOLDFAST__ACTIVATE_ISSUED__INIT;
	uint8_t signer_key[HF_KEY_BYTES] = {1};
	struct hf_errmsg message;
	struct stream_fixture *f;

	sf_setup(state);
	f = *state;
	strcpy(folder, "/tmp/hf-trust-XXXXXX");
	assert_non_null(mkdtemp(folder));
	issued.tenant = 7;
	issued.gateway = 8;
	issued.signer_key = (ProtobufCBinaryData){sizeof signer_key, signer_key};
	issued.certificate = (ProtobufCBinaryData){f->gateway.length, f->gateway.der};
	issued.ca_certificate = (ProtobufCBinaryData){f->authority.length, f->authority.der};
	assert_int_equal(hf_kept_set_activated(&kept, &issued, &message), 0);
	return 0;
}

static int teardown(void **state)
{
	hf_trust_close(&trust);
	folder_remove(folder);
	return sf_teardown(state);
}

/* As a start of the agent does. */
static void start(struct stream_fixture *f)
{
	struct hf_errmsg message;

	hf_trust_close(&trust);
	assert_int_equal(hf_trust_open(&trust, &kept, &f->gateway.key, &message), 0);
}

/* It was known to be that late, and then its clock lost it. */
static void start_behind(struct stream_fixture *f, int64_t by_s)
{
	struct hf_errmsg message;

	assert_int_equal(hf_kept_set_time(&kept, (int64_t)time(NULL) + by_s, &message), 0);
	start(f);
}

static void serve_with(struct stream_fixture *f, int64_t from_s, int64_t until_s)
{
	const char *names[] = {"127.0.0.1"};
	struct hf_certificate_order order = {.authority_key = &f->authority.key,
					     .authority = f->authority.der,
					     .authority_length = f->authority.length,
					     .server = true,
					     .names = names,
					     .name_count = 1,
					     .not_before_s = (int64_t)time(NULL) + from_s,
					     .not_after_s = (int64_t)time(NULL) + until_s};
	struct hf_errmsg message;

	free(f->server.der);
	memcpy(order.public_key, f->server.key.public_key, HF_KEY_BYTES);
	assert_int_equal(hf_certificate_issue(&order, &f->server.der, &f->server.length, &message),
			 0);
	hf_tls_destroy(f->server_tls);
	f->server_tls = sf_make_tls(&f->server, &f->authority, true, "holdfast/1", false);
	hf_listener_set_tls(f->listener, f->server_tls);
}

/* Is the provider believed? */
static bool believes(struct stream_fixture *f)
{
	struct hf_errmsg message;
	struct hf_tls *tls;
	bool opened;

	assert_int_equal(hf_trust_tls(&trust, &tls, &message), 0);
	sf_dial(f, tls, "127.0.0.1");
	RUN_UNTIL(&f->loop, f->at_client.opened || f->at_client.lost);
	opened = f->at_client.opened;
	sf_close_end(&f->at_client);
	RUN_UNTIL(&f->loop, f->at_client.closed);
	sf_close_end(&f->at_server);
	return opened;
}

/* Valid by its clock, expired by what it knows to be past: an old certificate of the provider's is
 * not believed again because a clock was set back. */
static void test_an_expired_certificate_does_not_come_back(void **state)
{
	struct stream_fixture *f = *state;

	serve_with(f, -HOUR_S, HOUR_S);
	start(f);
	assert_true(believes(f));
	start_behind(f, 2 * HOUR_S);
	assert_false(believes(f));
}

/* Not valid yet by its clock, valid by what it knows to be past: it is not locked out. */
static void test_a_clock_that_is_behind_locks_nobody_out(void **state)
{
	struct stream_fixture *f = *state;

	serve_with(f, HOUR_S / 2, 3 * HOUR_S);
	start(f);
	assert_false(believes(f));
	start_behind(f, HOUR_S);
	assert_true(believes(f));
}

/* What is kept only rises: by a provider that was believed, over restarts, and never below the time
 * of the build. */
static void test_the_floor_only_rises(void **state)
{
	struct stream_fixture *f = *state;
	int64_t now_s = (int64_t)time(NULL);
	struct hf_errmsg message;

	assert_int_equal(hf_kept_set_time(&kept, 1000, &message), 0);
	start(f);
	assert_true(trust.floor_s > 1700000000); /* of the build */
	trust.floor_s = now_s - 2 * HOUR_S;      /* kept once an hour, and the build is of today */
	hf_trust_clock_good(&trust);
	assert_true(hf_kept_time(&kept) >= now_s);
	start(f);
	assert_true(trust.floor_s >= now_s);
	start_behind(f, 2 * HOUR_S);
	hf_trust_clock_good(&trust);
	assert_true(hf_kept_time(&kept) >= now_s + 2 * HOUR_S);
	start(f);
	assert_true(trust.floor_s >= now_s + 2 * HOUR_S);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_an_expired_certificate_does_not_come_back),
		T(test_a_clock_that_is_behind_locks_nobody_out),
		T(test_the_floor_only_rises),
	};

	return cmocka_run_group_tests_name("trust", tests, NULL, NULL);
}
