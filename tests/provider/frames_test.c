/* What a hostile or confused peer with a good certificate achieves on the management connection:
 * nothing, and the provider is well afterwards (invariants 3, 5, 9). Frames are written by hand,
 * because the session would not send them. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "proto/frame.h"
#include "tests/provider/test_gateway.h"

static struct lab lab;
static struct test_gateway gw;

/* A held connection without a session: the test is the gateway. */
struct raw {
	struct hf_stream *stream;
	struct hf_frame_reader frames;
	struct hf_message_reader messages;
	uint64_t sent, epoch, subscribe_request, subscription;
	bool lost, closed;
	int lost_err;
};

static struct raw raw;

static int write_bytes(void *context, const uint8_t *bytes, size_t length)
{
	return hf_stream_write(((struct raw *)context)->stream, bytes, length);
}

/* As message `number` with `epoch`, whatever the rules say. */
static void send_as(uint64_t epoch, uint64_t number, const Holdfast__ToProvider *message)
{
	uint8_t body[8192];
	size_t length = holdfast__to_provider__pack(message, body);

	assert_int_equal(hf_message_write(epoch, number, body, length, write_bytes, &raw), 0);
}

static void send_next(uint64_t epoch, const Holdfast__ToProvider *message)
{
	send_as(epoch, ++raw.sent, message);
}

static void hear(const Holdfast__ToGateway *message)
{
	if (message->kind_case == HOLDFAST__TO_GATEWAY__KIND_HELD)
		raw.epoch = message->held->epoch;
	if (message->kind_case == HOLDFAST__TO_GATEWAY__KIND_REQUEST &&
	    message->request->kind_case == HOLDFAST__REQUEST__KIND_SUBSCRIBE) {
		raw.subscribe_request = message->request->request;
		raw.subscription = message->request->subscribe->subscription;
	}
}

static void received(void *context, const uint8_t *bytes, size_t length)
{
	Holdfast__Frame *frame;
	const uint8_t *body;
	const char *reason;
	size_t taken, body_length;

	(void)context;
	while (length > 0 && hf_frame_read(&raw.frames, bytes, length, &taken, &frame) == 1) {
		bytes += taken;
		length -= taken;
		if (hf_message_read(&raw.messages, frame, &body, &body_length, &reason) == 1) {
			Holdfast__ToGateway *message =
				holdfast__to_gateway__unpack(NULL, body_length, body);

			assert_non_null(message);
			hear(message);
			holdfast__to_gateway__free_unpacked(message, NULL);
		}
		hf_frame_free(frame);
	}
}

static void lost(void *context, int err, const char *reason)
{
	(void)context;
	(void)reason;
	raw.lost = true;
	raw.lost_err = err;
}

static void fill_connect(Holdfast__ToProvider *message, Holdfast__Connect *connect)
{
	static uint8_t boot[16];

	holdfast__to_provider__init(message);
	holdfast__connect__init(connect);
	connect->gateway = gw.id;
	connect->role = HOLDFAST__ROLE__ROLE_ACTIVE;
	connect->boot.data = boot;
	connect->boot.len = sizeof boot;
	connect->capability = 1;
	message->kind_case = HOLDFAST__TO_PROVIDER__KIND_CONNECT;
	message->connect = connect;
}

static void opened(void *context, const struct hf_peer *peer)
{
	Holdfast__ToProvider message;
	Holdfast__Connect connect;

	(void)context;
	(void)peer;
	fill_connect(&message, &connect);
	send_next(0, &message);
}

static bool is_subscribed(void *context)
{
	(void)context;
	return raw.epoch > 0 && raw.subscribe_request > 0;
}

static bool is_looked_at(void *context)
{
	(void)context;
	return raw.subscription > 1;
}

/* Who looks makes the provider subscribe anew: it has done so when this returns, and does not again
 * while a test looks. */
static void raw_connect(void)
{
	struct lab_answer answer;

	struct hf_stream_callbacks callbacks = {
		.opened = opened, .received = received, .lost = lost};
	struct hf_tls_options options = {
		.alpn = HF_ALPN_MANAGEMENT,
		.key = &gw.identity,
		.certificate = gw.certificate,
		.certificate_length = gw.certificate_length,
		.authority = gw.authority,
		.authority_length = gw.authority_length,
	};
	struct hf_tls *tls;

	memset(&raw, 0, sizeof raw);
	raw.messages.message_max_bytes = 4u << 20;
	assert_int_equal(hf_tls_create(&options, &tls, NULL), 0);
	assert_int_equal(hf_stream_open(&lab.loop, tls, tg_dial(lab.channel_port), "127.0.0.1",
					&callbacks, &raw.stream),
			 0);
	hf_tls_destroy(tls);
	lab_until(&lab, is_subscribed, NULL, "held and subscribed");
	lab_show_gateway(&lab, "gw", &answer);
	lab_forget(&answer);
	lab_until(&lab, is_looked_at, NULL, "looked at");
}

static void closed(void *context)
{
	(void)context;
	raw.closed = true;
}

static bool is_closed(void *context)
{
	(void)context;
	return raw.closed;
}

static void raw_close(void)
{
	if (!raw.stream)
		return;
	hf_stream_close(raw.stream, closed, NULL);
	lab_until(&lab, is_closed, NULL, "closed");
	raw.stream = NULL;
	hf_frame_reader_end(&raw.frames);
	hf_message_reader_end(&raw.messages);
}

static int set_up(void **state)
{
	(void)state;
	lab_up(&lab, "");
	tg_init(&gw, &lab);
	tg_join(&gw, "gw");
	tg_drop(&gw);
	raw_connect();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	raw_close();
	tg_free(&gw);
	lab_down(&lab);
	return 0;
}

static bool is_lost(void *context)
{
	(void)context;
	return raw.lost;
}

/* The provider ended this connection, and a good one is held at once. */
static void expect_ended_and_well(void)
{
	lab_until(&lab, is_lost, NULL, "the provider ends the connection");
	tg_connect(&gw);
	tg_wait_held(&gw);
	assert_true(gw.epoch > raw.epoch);
}

static void fill_report(Holdfast__ToProvider *message, Holdfast__Report *report, uint64_t number,
			uint64_t total_bytes)
{
	holdfast__to_provider__init(message);
	holdfast__report__init(report);
	report->subscription = raw.subscription;
	report->number = number;
	report->buffer_total_bytes = total_bytes;
	message->kind_case = HOLDFAST__TO_PROVIDER__KIND_REPORT;
	message->report = report;
}

static uint64_t shown_total(void)
{
	struct lab_answer answer;
	uint64_t total;

	lab_show_gateway(&lab, "gw", &answer);
	total = lab_number(&answer, "buffer_total_bytes");
	lab_forget(&answer);
	return total;
}

static bool shows_total(void *context)
{
	return shown_total() == *(uint64_t *)context;
}

static bool shows_another_total(void *context)
{
	return raw.lost || !shows_total(context);
}

static bool ended_or_shows_total(void *context)
{
	return raw.lost || shows_total(context);
}

/* Invariant 5: a frame of an older epoch has no effect, one of the right epoch has. */
static void test_old_epoch_has_no_effect(void **state)
{
	Holdfast__ToProvider message;
	Holdfast__Report report;
	uint64_t total = 111;

	(void)state;
	fill_report(&message, &report, 1, 111);
	send_next(raw.epoch, &message);
	lab_until(&lab, shows_total, &total, "the first report");
	fill_report(&message, &report, 2, 222);
	send_next(raw.epoch - 1, &message);
	fill_report(&message, &report, 3, 333);
	send_next(0, &message);
	/* The connection still lives and the right epoch is heard; 222 and 333 never were. */
	fill_report(&message, &report, 4, 444);
	send_next(raw.epoch, &message);
	lab_until(&lab, shows_another_total, &total, "another report");
	assert_false(raw.lost);
	assert_int_equal(shown_total(), 444);
}

/* An epoch that was never given is a lie. */
static void test_future_epoch_ends(void **state)
{
	Holdfast__ToProvider message;
	Holdfast__Report report;

	(void)state;
	fill_report(&message, &report, 1, 1);
	send_next(raw.epoch + 1, &message);
	expect_ended_and_well();
}

/* A length beyond a frame, which would make the provider wait for 4 GiB. */
static void test_oversized_frame_ends(void **state)
{
	uint8_t header[8] = {0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4};

	(void)state;
	hf_stream_write(raw.stream, header, sizeof header);
	expect_ended_and_well();
}

/* A message in more parts than the limit of its bytes. */
static void test_oversized_message_ends(void **state)
{
	static uint8_t body[3u << 20];

	(void)state;
	memset(body, 0x41, sizeof body);
	assert_int_equal(
		hf_message_write(raw.epoch, ++raw.sent, body, sizeof body, write_bytes, &raw), 0);
	expect_ended_and_well();
}

/* Bytes that are no frame at all. */
static void test_garbage_ends(void **state)
{
	uint8_t garbage[] = {0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0xff};

	(void)state;
	hf_stream_write(raw.stream, garbage, sizeof garbage);
	expect_ended_and_well();
}

/* The same message once more, and one with a number left out. */
static void test_replayed_frame_ends(void **state)
{
	Holdfast__ToProvider message;
	Holdfast__Report report;

	(void)state;
	fill_report(&message, &report, 1, 1);
	send_next(raw.epoch, &message);
	send_as(raw.epoch, raw.sent, &message);
	expect_ended_and_well();
}

static void test_skipped_frame_ends(void **state)
{
	Holdfast__ToProvider message;
	Holdfast__Report report;

	(void)state;
	fill_report(&message, &report, 1, 1);
	send_as(raw.epoch, raw.sent + 2, &message);
	expect_ended_and_well();
}

/* Invariant 3: the gateway asks for nothing. A second Connect, an answer nobody waits for, a
 * report nobody subscribed to, an activation on this connection, and a kind that does not exist. */
static void test_second_connect_ends(void **state)
{
	Holdfast__ToProvider message;
	Holdfast__Connect connect;

	(void)state;
	fill_connect(&message, &connect);
	send_next(raw.epoch, &message);
	expect_ended_and_well();
}

static void test_unasked_answer_ends(void **state)
{
	Holdfast__ToProvider message = HOLDFAST__TO_PROVIDER__INIT;
	Holdfast__Answer answer = HOLDFAST__ANSWER__INIT;

	(void)state;
	answer.request = 4711;
	message.kind_case = HOLDFAST__TO_PROVIDER__KIND_ANSWER;
	message.answer = &answer;
	send_next(raw.epoch, &message);
	expect_ended_and_well();
}

static void test_unasked_report_ends(void **state)
{
	Holdfast__ToProvider message;
	Holdfast__Report report;

	(void)state;
	fill_report(&message, &report, 1, 1);
	report.subscription = 99;
	send_next(raw.epoch, &message);
	expect_ended_and_well();
}

static void test_activation_here_ends(void **state)
{
	Holdfast__ToProvider message = HOLDFAST__TO_PROVIDER__INIT;
	Holdfast__ActivateHello hello = HOLDFAST__ACTIVATE_HELLO__INIT;

	(void)state;
	message.kind_case = HOLDFAST__TO_PROVIDER__KIND_ACTIVATE_HELLO;
	message.activate_hello = &hello;
	send_next(raw.epoch, &message);
	expect_ended_and_well();
}

static void test_request_from_the_gateway_has_no_effect(void **state)
{
	/* A ToProvider whose only field is one that does not exist (number 9), as a gateway would
	 * send that believes it may ask. */
	static const uint8_t body[] = {0x4a, 0x02, 0x08, 0x01};
	Holdfast__ToProvider message;
	Holdfast__Report report;
	uint64_t total = 555, request = raw.subscribe_request;

	(void)state;
	assert_int_equal(
		hf_message_write(raw.epoch, ++raw.sent, body, sizeof body, write_bytes, &raw), 0);
	fill_report(&message, &report, 1, 555);
	send_next(raw.epoch, &message);
	lab_until(&lab, ended_or_shows_total, &total, "heard or ended");
	/* Unknown fields may come from a newer gateway: ignored or the end, but never an answer. */
	assert_int_equal(raw.subscribe_request, request);
}

/* Reports about volumes that are not this gateway's change nothing. */
static void test_report_on_foreign_volumes(void **state)
{
	Holdfast__ToProvider message;
	Holdfast__Report report;
	Holdfast__VolumeReport volume = HOLDFAST__VOLUME_REPORT__INIT, *volumes = &volume;
	char reason[] = "\033[2Jevil\n";
	uint64_t total = 777;

	(void)state;
	fill_report(&message, &report, 1, 777);
	volume.volume = 0x1234;
	volume.version = UINT64_MAX;
	volume.state = HOLDFAST__VOLUME_STATE__VOLUME_DELETED;
	volume.reason = reason;
	report.volumes = &volumes;
	report.n_volumes = 1;
	send_next(raw.epoch, &message);
	lab_until(&lab, shows_total, &total, "the report is taken");
	assert_false(raw.lost);
}

static off_t wal_bytes(void)
{
	struct stat info;
	char path[128];

	snprintf(path, sizeof path, "%s/provider/registry.db-wal", lab.folder);
	assert_int_equal(stat(path, &info), 0);
	return info.st_size;
}

/* Invariant 7: a gateway whose reports change with each one does not make the registry write for
 * each one: the others wait for the same disk. */
static void test_reports_are_rationed_to_the_registry(void **state)
{
	Holdfast__ToProvider message;
	Holdfast__Report report;
	Holdfast__Applied applied = HOLDFAST__APPLIED__INIT;
	uint64_t total = 888;
	off_t before = wal_bytes();

	(void)state;
	for (uint64_t i = 1; i <= 400; i++) {
		fill_report(&message, &report, i, i == 400 ? total : 1);
		applied.incarnation = 1;
		applied.generation = i % 2;
		report.applied = &applied;
		send_next(raw.epoch, &message);
	}
	lab_until(&lab, shows_total, &total, "the reports are taken");
	assert_false(raw.lost);
	assert_in_range(wal_bytes() - before, 0, 200 * 4096);
}

int main(void)
{
#define FRAMES_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		FRAMES_TEST(test_old_epoch_has_no_effect),
		FRAMES_TEST(test_future_epoch_ends),
		FRAMES_TEST(test_oversized_frame_ends),
		FRAMES_TEST(test_oversized_message_ends),
		FRAMES_TEST(test_garbage_ends),
		FRAMES_TEST(test_replayed_frame_ends),
		FRAMES_TEST(test_skipped_frame_ends),
		FRAMES_TEST(test_second_connect_ends),
		FRAMES_TEST(test_unasked_answer_ends),
		FRAMES_TEST(test_unasked_report_ends),
		FRAMES_TEST(test_activation_here_ends),
		FRAMES_TEST(test_request_from_the_gateway_has_no_effect),
		FRAMES_TEST(test_report_on_foreign_volumes),
		FRAMES_TEST(test_reports_are_rationed_to_the_registry),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("frames", tests, NULL, NULL);
}
