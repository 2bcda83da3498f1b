/* Promise: what a release of capability 1 or 2 sent or kept is understood for ever. Each file in
 * golden/ is one message as it lay on the wire, or one signed or sealed thing under keys written
 * down here; it must decode to exactly what the table says. Files are only ever added.
 *
 * Usage: test_proto_golden DIR; with HF_GOLDEN_WRITE set it writes files that do not exist yet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "net/activation_key.h"
#include "net/seal.h"
#include "proto/document.pb-c.h"
#include "proto/frame.h"

#define EPOCH      0x1122334455ull
#define MESSAGE    1u
#define BIG_LENGTH 150000u /* in three parts */

static const char *folder;
static uint8_t key_a[32], key_b[32], key_c[32], key_d[32], boot[16], number[8], proof[64],
	big[BIG_LENGTH];

static char *text(const char *constant)
{
	return (char *)(uintptr_t)constant;
}

static ProtobufCBinaryData bytes_of(uint8_t *data, size_t length)
{
	return (ProtobufCBinaryData){length, data};
}

/* ---- The messages ---- */

#define UP(name, kind, field, type, init_macro, ...)                                               \
	static void fill_##name(Holdfast__ToProvider *message)                                     \
	{                                                                                          \
		static type content = init_macro;                                                  \
		type *m = &content;                                                                \
		__VA_ARGS__                                                                        \
		message->kind_case = HOLDFAST__TO_PROVIDER__KIND_##kind;                           \
		message->field = m;                                                                \
	}
#define DOWN(name, kind, field, type, init_macro, ...)                                             \
	static void fill_##name(Holdfast__ToGateway *message)                                      \
	{                                                                                          \
		static type content = init_macro;                                                  \
		type *m = &content;                                                                \
		__VA_ARGS__                                                                        \
		message->kind_case = HOLDFAST__TO_GATEWAY__KIND_##kind;                            \
		message->field = m;                                                                \
	}

static Holdfast__Applied *applied(void)
{
	static Holdfast__Applied a = HOLDFAST__APPLIED__INIT;

	a.incarnation = 1700000000000ull;
	a.generation = 42;
	a.hash = bytes_of(key_a, 32);
	return &a;
}

static Holdfast__VolumeReport **volume_reports(void)
{
	static Holdfast__VolumeReport r = HOLDFAST__VOLUME_REPORT__INIT;
	static Holdfast__VolumeReport *list[] = {&r};

	r.volume = 0x0123456789abcdefull;
	r.state = HOLDFAST__VOLUME_STATE__VOLUME_AVAILABLE;
	r.version = 41;
	r.error = 12;
	r.reason = text("the store is away");
	r.size_bytes = 1ull << 40;
	r.recovery_point = 99;
	r.recovery_point_lag_bytes = 4096;
	r.recovery_point_age_ms = 1500;
	r.sessions = 2;
	r.bytes_read = 7;
	r.bytes_written = 8;
	return list;
}

static Holdfast__Signed *packet(uint8_t *body, size_t length)
{
	static Holdfast__Signed s = HOLDFAST__SIGNED__INIT;

	s.body = bytes_of(body, length);
	s.signature = bytes_of(proof, 64);
	s.key = bytes_of(key_b, 8);
	return &s;
}

UP(connect, CONNECT, connect, Holdfast__Connect, HOLDFAST__CONNECT__INIT, {
	m->gateway = 0xfedcba9876543210ull;
	m->role = HOLDFAST__ROLE__ROLE_ACTIVE;
	m->boot = bytes_of(boot, 16);
	m->capability = 1;
	m->applied = applied();
	m->last_epoch = 17;
	m->version = text("0.1.0");
})
UP(answer_refused, ANSWER, answer, Holdfast__Answer, HOLDFAST__ANSWER__INIT, {
	m->request = 5;
	m->error = 20;
	m->reason = text("older than what is in force");
})
UP(answer_apply, ANSWER, answer, Holdfast__Answer, HOLDFAST__ANSWER__INIT, {
	static Holdfast__ApplyResult result = HOLDFAST__APPLY_RESULT__INIT;

	result.observed = applied();
	result.volumes = volume_reports();
	result.n_volumes = 1;
	m->request = 6;
	m->result_case = HOLDFAST__ANSWER__RESULT_APPLY;
	m->apply = &result;
})
UP(answer_act, ANSWER, answer, Holdfast__Answer, HOLDFAST__ANSWER__INIT, {
	m->request = 6;
	m->result_case = HOLDFAST__ANSWER__RESULT_ACT;
	m->act = (ProtobufCBinaryData){20, big};
})
UP(answer_full_wanted, ANSWER, answer, Holdfast__Answer, HOLDFAST__ANSWER__INIT, {
	m->request = 7;
	m->error = 20;
	m->reason = text("another base");
	m->full_wanted = true;
})
UP(report_network, REPORT, report, Holdfast__Report, HOLDFAST__REPORT__INIT, {
	static Holdfast__NetworkReport network = HOLDFAST__NETWORK_REPORT__INIT;

	network.incarnation = 2;
	network.version = 9;
	network.state = HOLDFAST__NETWORK_STATE__NETWORK_ROLLED_BACK;
	network.reason = text("not reached");
	network.proved = true;
	network.remaining_ms = 3;
	m->subscription = 1;
	m->number = 4;
	m->network = &network;
})
UP(report, REPORT, report, Holdfast__Report, HOLDFAST__REPORT__INIT, {
	static char *alarms[2];

	alarms[0] = text("first");
	alarms[1] = text("second");

	m->subscription = 1;
	m->number = 3;
	m->applied = applied();
	m->volumes = volume_reports();
	m->n_volumes = 1;
	m->buffer_total_bytes = 1 << 30;
	m->buffer_used_bytes = 1 << 20;
	m->alarms = alarms;
	m->n_alarms = 2;
	m->volumed_running = 1;
	m->target_running = 1;
})
UP(report_events, REPORT, report, Holdfast__Report, HOLDFAST__REPORT__INIT, {
	static Holdfast__Event event = HOLDFAST__EVENT__INIT;
	static Holdfast__Event *events[] = {&event};

	event.number = 8;
	event.at_ms = 1795384521067ull;
	event.kind = text("volume.state");
	event.volume = 0x0123456789abcdefull;
	event.text = text("creating -> available");
	m->subscription = 1;
	m->number = 4;
	m->events = events;
	m->n_events = 1;
	m->events_lost = 2;
	m->events_run = 0x1122334455667788ull;
})
UP(report_clock, REPORT, report, Holdfast__Report, HOLDFAST__REPORT__INIT, {
	m->subscription = 1;
	m->number = 5;
	m->clock_ms = 1795384521067ull;
})
UP(pong, PONG, pong, Holdfast__Pong, HOLDFAST__PONG__INIT, { m->number = 9; })
UP(hello, ACTIVATE_HELLO, activate_hello, Holdfast__ActivateHello, HOLDFAST__ACTIVATE_HELLO__INIT, {
	m->identity_key = bytes_of(key_a, 32);
	m->sealing_key = bytes_of(key_b, 32);
	m->request = bytes_of(big, 300);
	m->host = text("gateway.example");
	m->version = text("0.1.0");
	m->portal = text("192.0.2.1:3260");
	m->proof = bytes_of(proof, 64);
})
UP(refuse, ACTIVATE_REFUSE, activate_refuse, Holdfast__ActivateRefuse,
   HOLDFAST__ACTIVATE_REFUSE__INIT, { m->reason = text("not mine"); })

DOWN(held, HELD, held, Holdfast__Held, HOLDFAST__HELD__INIT, {
	m->epoch = EPOCH;
	m->ping_interval_ms = 20000;
})
DOWN(held_clock, HELD, held, Holdfast__Held, HOLDFAST__HELD__INIT, {
	m->epoch = EPOCH;
	m->ping_interval_ms = 20000;
	m->clock_ms = 1795384521067ull;
})
DOWN(parked, PARKED, parked, Holdfast__Parked, HOLDFAST__PARKED__INIT,
     { m->ping_interval_ms = 20000; })
DOWN(ping, PING, ping, Holdfast__Ping, HOLDFAST__PING__INIT, { m->number = 9; })
DOWN(retry, RETRY, retry, Holdfast__Retry, HOLDFAST__RETRY__INIT, {
	m->after_ms = 5000;
	m->reason = text("full");
})
DOWN(apply, REQUEST, request, Holdfast__Request, HOLDFAST__REQUEST__INIT, {
	m->request = 1;
	m->remaining_ms = 60000;
	m->kind_case = HOLDFAST__REQUEST__KIND_APPLY;
	m->apply = packet(big, 100);
})
DOWN(apply_in_parts, REQUEST, request, Holdfast__Request, HOLDFAST__REQUEST__INIT, {
	m->request = 2;
	m->remaining_ms = 60000;
	m->kind_case = HOLDFAST__REQUEST__KIND_APPLY;
	m->apply = packet(big, BIG_LENGTH);
})
DOWN(apply_delta, REQUEST, request, Holdfast__Request, HOLDFAST__REQUEST__INIT, {
	static Holdfast__ApplyDelta delta = HOLDFAST__APPLY_DELTA__INIT;

	delta.change = packet(big, 100);
	delta.delta = (ProtobufCBinaryData){30, big};
	m->request = 4;
	m->remaining_ms = 60000;
	m->kind_case = HOLDFAST__REQUEST__KIND_APPLY_DELTA;
	m->apply_delta = &delta;
})
DOWN(act, REQUEST, request, Holdfast__Request, HOLDFAST__REQUEST__INIT, {
	static Holdfast__ActionTerms terms = HOLDFAST__ACTION_TERMS__INIT;

	terms.expires = true;
	terms.remaining_ms = 5000;
	terms.sent_before = true;
	m->request = 5;
	m->remaining_ms = 60000;
	m->kind_case = HOLDFAST__REQUEST__KIND_ACT;
	m->act = packet(big, 100);
	m->terms = &terms;
})
DOWN(confirm, REQUEST, request, Holdfast__Request, HOLDFAST__REQUEST__INIT, {
	m->request = 6;
	m->remaining_ms = 10000;
	m->kind_case = HOLDFAST__REQUEST__KIND_CONFIRM;
	m->confirm = packet(big, 60);
})
DOWN(subscribe, REQUEST, request, Holdfast__Request, HOLDFAST__REQUEST__INIT, {
	static Holdfast__Subscribe s = HOLDFAST__SUBSCRIBE__INIT;

	s.subscription = 1;
	s.interval_ms = 1000;
	m->request = 3;
	m->remaining_ms = 10000;
	m->kind_case = HOLDFAST__REQUEST__KIND_SUBSCRIBE;
	m->subscribe = &s;
})
DOWN(drain, REQUEST, request, Holdfast__Request, HOLDFAST__REQUEST__INIT, {
	static Holdfast__Drain d = HOLDFAST__DRAIN__INIT;

	d.endpoint = text("other.example:7443");
	d.within_ms = 30000;
	m->request = 4;
	m->remaining_ms = 10000;
	m->kind_case = HOLDFAST__REQUEST__KIND_DRAIN;
	m->drain = &d;
})
DOWN(forget, REQUEST, request, Holdfast__Request, HOLDFAST__REQUEST__INIT, {
	m->request = 5;
	m->remaining_ms = 10000;
	m->kind_case = HOLDFAST__REQUEST__KIND_FORGET;
	m->forget = 77;
})
DOWN(offer, ACTIVATE_OFFER, activate_offer, Holdfast__ActivateOffer, HOLDFAST__ACTIVATE_OFFER__INIT,
     {
	     m->number = bytes_of(number, 8);
	     m->ca_key = bytes_of(key_c, 32);
	     m->signer_key = bytes_of(key_d, 32);
	     m->expires_s = 3600;
	     m->ping_interval_ms = 20000;
     })
DOWN(claimed, ACTIVATE_CLAIMED, activate_claimed, Holdfast__ActivateClaimed,
     HOLDFAST__ACTIVATE_CLAIMED__INIT, {
	     m->by = text("admin");
	     m->tenant = text("t-0000000000000001");
	     m->name = text("branch office");
     })
DOWN(issued, ACTIVATE_ISSUED, activate_issued, Holdfast__ActivateIssued,
     HOLDFAST__ACTIVATE_ISSUED__INIT, {
	     static char *endpoints[2];

	     endpoints[0] = text("one.example:7443");
	     endpoints[1] = text("[2001:db8::1]:7443");

	     m->gateway = 2;
	     m->tenant = 1;
	     m->certificate = bytes_of(big, 400);
	     m->ca_certificate = bytes_of(big, 350);
	     m->signer_key = bytes_of(key_d, 32);
	     m->endpoints = endpoints;
	     m->n_endpoints = 2;
     })

#include "tests/proto/golden_standby.h"

static const struct {
	const char *file;
	void (*up)(Holdfast__ToProvider *message);
	void (*down)(Holdfast__ToGateway *message);
} frames[] = {
	{"connect.bin", fill_connect, NULL},
	{"answer-refused.bin", fill_answer_refused, NULL},
	{"answer-apply.bin", fill_answer_apply, NULL},
	{"report.bin", fill_report, NULL},
	{"answer-act.bin", fill_answer_act, NULL},
	{"answer-full-wanted.bin", fill_answer_full_wanted, NULL},
	{"report-network.bin", fill_report_network, NULL},
	{"report-events.bin", fill_report_events, NULL},
	{"report-clock.bin", fill_report_clock, NULL},
	{"pong.bin", fill_pong, NULL},
	{"hello.bin", fill_hello, NULL},
	{"refuse.bin", fill_refuse, NULL},
	{"held.bin", NULL, fill_held},
	{"held-clock.bin", NULL, fill_held_clock},
	{"parked.bin", NULL, fill_parked},
	{"ping.bin", NULL, fill_ping},
	{"retry.bin", NULL, fill_retry},
	{"apply.bin", NULL, fill_apply},
	{"apply-in-parts.bin", NULL, fill_apply_in_parts},
	{"apply-delta.bin", NULL, fill_apply_delta},
	{"act.bin", NULL, fill_act},
	{"confirm.bin", NULL, fill_confirm},
	{"subscribe.bin", NULL, fill_subscribe},
	{"drain.bin", NULL, fill_drain},
	{"forget.bin", NULL, fill_forget},
	{"offer.bin", NULL, fill_offer},
	{"claimed.bin", NULL, fill_claimed},
	{"issued.bin", NULL, fill_issued},
	{"2-connect.bin", fill_connect_2, NULL},
	{"2-report-path.bin", fill_report_path, NULL},
	{"2-report-path-token.bin", fill_report_path_token, NULL},
	{"2-held.bin", NULL, fill_held_2},
	{"2-parked.bin", NULL, fill_parked_2},
	{"2-retry.bin", NULL, fill_retry_2},
	{"2-peers.bin", NULL, fill_peers},
};

/* ---- Files ---- */

struct bytes {
	uint8_t *data;
	size_t length;
};

static int append(void *context, const uint8_t *bytes, size_t length)
{
	struct bytes *all = context;

	all->data = realloc(all->data, all->length + length);
	memcpy(all->data + all->length, bytes, length);
	all->length += length;
	return 0;
}

static struct bytes pack(const ProtobufCMessage *message)
{
	struct bytes packed = {.length = protobuf_c_message_get_packed_size(message)};

	packed.data = malloc(packed.length + 1);
	protobuf_c_message_pack(message, packed.data);
	return packed;
}

static struct bytes read_golden(const char *name, const struct bytes *make)
{
	struct hf_errmsg message = {""};
	struct bytes file = {0};
	char path[4096];

	snprintf(path, sizeof path, "%s/%s", folder, name);
	if (hf_file_read(path, 1 << 24, &file.data, &file.length, &message) != 0 &&
	    getenv("HF_GOLDEN_WRITE") && make) {
		assert_int_equal(hf_file_replace(path, make->data, make->length, 0644, &message),
				 0);
		assert_int_equal(hf_file_read(path, 1 << 24, &file.data, &file.length, &message),
				 0);
	}
	if (!file.data)
		fail_msg("%s", message.text);
	return file;
}

static ProtobufCMessage *decode_frames(const struct bytes *file,
				       const ProtobufCMessageDescriptor *type)
{
	struct hf_message_reader messages = {.message_max_bytes = 1 << 20};
	struct hf_frame_reader reader = {0};
	ProtobufCMessage *decoded = NULL;
	size_t at = 0;

	while (at < file->length) {
		Holdfast__Frame *frame;
		const uint8_t *body;
		const char *reason;
		size_t taken, length;

		assert_int_equal(
			hf_frame_read(&reader, file->data + at, file->length - at, &taken, &frame),
			1);
		at += taken;
		assert_true(frame->epoch == EPOCH);
		if (hf_message_read(&messages, frame, &body, &length, &reason) == 1) {
			assert_null(decoded);
			decoded = protobuf_c_message_unpack(type, NULL, length, body);
		}
		hf_frame_free(frame);
	}
	hf_message_reader_end(&messages);
	assert_non_null(decoded);
	return decoded;
}

static void check_frames(const char *name, const ProtobufCMessage *expected)
{
	struct bytes body = pack(expected), made = {0}, file, again;
	ProtobufCMessage *decoded;

	hf_message_write(EPOCH, MESSAGE, body.data, body.length, append, &made);
	file = read_golden(name, &made);
	decoded = decode_frames(&file, expected->descriptor);
	again = pack(decoded);
	/* Equal when packed: every field the table sets, and nothing else. */
	assert_int_equal(again.length, body.length);
	assert_memory_equal(again.data, body.data, body.length);
	protobuf_c_message_free_unpacked(decoded, NULL);
	free(body.data);
	free(made.data);
	free(file.data);
	free(again.data);
}

static void test_frames_of_every_release(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof frames / sizeof frames[0]; i++) {
		Holdfast__ToProvider up = HOLDFAST__TO_PROVIDER__INIT;
		Holdfast__ToGateway down = HOLDFAST__TO_GATEWAY__INIT;

		if (frames[i].up) {
			frames[i].up(&up);
			check_frames(frames[i].file, &up.base);
		} else {
			frames[i].down(&down);
			check_frames(frames[i].file, &down.base);
		}
	}
}

/* ---- Signed and sealed ---- */

static void test_signed_document(void **state)
{
	Holdfast__Document document = HOLDFAST__DOCUMENT__INIT;
	Holdfast__Volume volume = HOLDFAST__VOLUME__INIT, *volumes[] = {&volume};
	Holdfast__Change change = HOLDFAST__CHANGE__INIT, *read;
	struct hf_sign_key signer = {.secret = {1, 2, 3}};
	struct bytes plain, made, file;
	struct hf_errmsg message;
	Holdfast__Signed *signed_change;

	(void)state;
	document.incarnation = 1;
	document.generation = 2;
	document.volumes = volumes;
	document.n_volumes = 1;
	volume.volume = 7;
	volume.version = 2;
	volume.name = text("data");
	volume.size_bytes = 1 << 30;
	volume.attachment = HOLDFAST__ATTACHMENT__ATTACHED;
	volume.attach_epoch = 1;
	volume.target = text("iqn.2026-11.example:vol-7");
	volume.lun = 1;
	volume.create = 1;
	plain = pack(&document.base);
	change.tenant = 3;
	change.gateway = 4;
	change.sequence = 5;
	change.kind_case = HOLDFAST__CHANGE__KIND_DOCUMENT;
	change.document = bytes_of(plain.data, plain.length);
	assert_int_equal(hf_sign_key_public(&signer), 0);
	assert_int_equal(hf_change_sign(&signer, &change, &made.data, &made.length), 0);
	file = read_golden("signed.bin", &made);
	signed_change = holdfast__signed__unpack(NULL, file.length, file.data);
	assert_non_null(signed_change);
	assert_int_equal(hf_change_verify(signer.public_key, 3, 4, signed_change, &read, &message),
			 0);
	assert_true(read->sequence == 5);
	assert_int_equal(read->document.len, plain.length);
	assert_memory_equal(read->document.data, plain.data, plain.length);
	holdfast__change__free_unpacked(read, NULL);
	holdfast__signed__free_unpacked(signed_change, NULL);
	free(plain.data);
	free(made.data);
	free(file.data);
}

static void test_sealed_secret(void **state)
{
	struct hf_seal_key key = {.secret = {9, 8, 7}};
	struct bytes made, file;
	uint8_t *plain;
	size_t length;

	(void)state;
	assert_int_equal(hf_seal_key_public(&key), 0);
	assert_int_equal(hf_seal(key.public_key, "volume/vol-0000000000000007/2", "a secret", 8,
				 &made.data, &made.length),
			 0);
	file = read_golden("sealed.bin", &made);
	assert_int_equal(hf_unseal(&key, "volume/vol-0000000000000007/2", file.data, file.length,
				   &plain, &length),
			 0);
	assert_int_equal(length, 8);
	assert_memory_equal(plain, "a secret", 8);
	hf_wipe_free(plain, length);
	free(made.data);
	free(file.data);
}

static void test_activation_key(void **state)
{
	struct hf_activation_keys keys;
	uint8_t hash[HF_ACTIVATION_HASH_BYTES];
	char key[HF_ACTIVATION_TEXT_MAX];
	struct bytes made, file;

	(void)state;
	memcpy(keys.identity, key_a, 32);
	memcpy(keys.sealing, key_b, 32);
	memcpy(keys.authority, key_c, 32);
	memcpy(keys.signer, key_d, 32);
	hf_activation_hash(number, &keys, hash);
	hf_activation_key_format(number, hash, key);
	made = (struct bytes){(uint8_t *)key, strlen(key)};
	file = read_golden("activation-key.txt", &made);
	assert_int_equal(file.length, strlen(key));
	assert_memory_equal(file.data, key, file.length);
	free(file.data);
}

static void fill_constants(void)
{
	for (unsigned i = 0; i < 64; i++) {
		proof[i] = (uint8_t)(i * 5 + 1);
		key_a[i % 32] = (uint8_t)(i + 1);
		key_b[i % 32] = (uint8_t)(i + 65);
		key_c[i % 32] = (uint8_t)(i * 3);
		key_d[i % 32] = (uint8_t)(i * 7);
		boot[i % 16] = (uint8_t)i;
		number[i % 8] = (uint8_t)(255 - i);
	}
	for (unsigned i = 0; i < BIG_LENGTH; i++)
		big[i] = (uint8_t)(i * 31 >> 5);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames_of_every_release),
		cmocka_unit_test(test_signed_document),
		cmocka_unit_test(test_sealed_secret),
		cmocka_unit_test(test_activation_key),
	};

	if (argc != 2) {
		fprintf(stderr, "usage: %s DIR\n", argv[0]);
		return 2;
	}
	folder = argv[1];
	fill_constants();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
