/* tests/provider/test_gateway.h. */
#include "proto/delta.h"
#include "tests/provider/test_gateway.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "net/identity.h"

static uint64_t now_ms(void)
{
	return uv_hrtime() / 1000000;
}

int tg_dial(uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
		assert_int_equal(errno, EINPROGRESS);
	return fd;
}

void tg_init(struct test_gateway *g, struct lab *lab)
{
	memset(g, 0, sizeof *g);
	g->lab = lab;
	g->closed = true;
	g->capability = HF_CAPABILITY;
	assert_int_equal(hf_sign_key_make(&g->identity), 0);
	assert_int_equal(hf_seal_key_make(&g->sealing), 0);
}

/* ---- Activation ---- */

static void offered(struct test_gateway *g, const Holdfast__ActivateOffer *offer)
{
	struct hf_activation_keys keys;
	uint8_t hash[HF_ACTIVATION_HASH_BYTES];

	memcpy(keys.identity, g->identity.public_key, HF_KEY_BYTES);
	memcpy(keys.sealing, g->sealing.public_key, HF_KEY_BYTES);
	memcpy(keys.authority, offer->ca_key.data, HF_KEY_BYTES);
	memcpy(keys.signer, offer->signer_key.data, HF_KEY_BYTES);
	if (g->swap_authority)
		keys.authority[0] ^= 1;
	memcpy(g->number, offer->number.data, sizeof g->number);
	hf_activation_hash(g->number, &keys, hash);
	hf_activation_key_format(g->number, hash, g->key);
}

static void issued(struct test_gateway *g, const Holdfast__ActivateIssued *message)
{
	g->issued = true;
	g->id = message->gateway;
	g->tenant = message->tenant;
	assert_true(message->certificate.len <= sizeof g->certificate);
	assert_true(message->ca_certificate.len <= sizeof g->authority);
	memcpy(g->certificate, message->certificate.data, message->certificate.len);
	g->certificate_length = message->certificate.len;
	memcpy(g->authority, message->ca_certificate.data, message->ca_certificate.len);
	g->authority_length = message->ca_certificate.len;
	memcpy(g->signer_key, message->signer_key.data, HF_KEY_BYTES);
	assert_int_equal(message->n_endpoints, 1);
	snprintf(g->endpoint, sizeof g->endpoint, "%s", message->endpoints[0]);
}

static void say_hello(struct test_gateway *g)
{
	Holdfast__ActivateHello hello = HOLDFAST__ACTIVATE_HELLO__INIT;
	uint8_t proof[HF_SIGNATURE_BYTES], binding[HF_BINDING_BYTES];
	char host[] = "gw.example", version[] = "0.1.0", portal[] = "192.0.2.10:3260";

	hello.identity_key.data = g->identity.public_key;
	hello.identity_key.len = HF_KEY_BYTES;
	hello.sealing_key.data = g->sealing.public_key;
	hello.sealing_key.len = HF_KEY_BYTES;
	hello.host = g->host ? (char *)(uintptr_t)g->host : host;
	hello.version = version;
	hello.portal = g->portal ? (char *)(uintptr_t)g->portal : portal;
	assert_int_equal(
		hf_request_make(&g->identity, "gateway", &hello.request.data, &hello.request.len),
		0);
	assert_int_equal(hf_stream_binding(g->stream, binding), 0);
	assert_int_equal(hf_hello_prove(&g->identity, &hello, binding, proof), 0);
	proof[10] ^= g->break_proof;
	if (g->copy_proof)
		memcpy(proof, g->last_proof, sizeof proof);
	memcpy(g->last_proof, proof, sizeof proof);
	hello.proof.data = proof;
	hello.proof.len = sizeof proof;
	assert_int_equal(hf_session_hello(g->session, now_ms(), &hello), 0);
	free(hello.request.data);
}

/* ---- Documents and reports ---- */

static void open_secrets(struct test_gateway *g)
{
	Holdfast__Volume *volume = g->document->n_volumes ? g->document->volumes[0] : NULL;
	char purpose[HF_PURPOSE_MAX];
	Holdfast__VolumeSecrets *secrets;
	uint8_t *plain;
	size_t length;

	if (!volume)
		return;
	hf_purpose_volume(volume->volume, volume->version, purpose);
	assert_int_equal(hf_unseal(&g->sealing, purpose, volume->sealed.data, volume->sealed.len,
				   &plain, &length),
			 0);
	secrets = holdfast__volume_secrets__unpack(NULL, length, plain);
	assert_int_equal(secrets->wrap_key.len, sizeof g->wrap_key);
	memcpy(g->wrap_key, secrets->wrap_key.data, sizeof g->wrap_key);
	snprintf(g->chap_secret, sizeof g->chap_secret, "%s", secrets->chap_secret);
	holdfast__volume_secrets__free_unpacked(secrets, NULL);
	hf_wipe_free(plain, length);
}

void tg_answer(struct test_gateway *g, Holdfast__Answer *message, const Holdfast__Request *request)
{
	message->request = request->request;
	assert_int_equal(hf_session_answer(g->session, message), 0);
}

/* Invariant 4: a volume leaves only by a tombstone. */
static void assert_nothing_omitted(const Holdfast__Document *before, const Holdfast__Document *next)
{
	for (size_t i = 0;
	     before && before->incarnation == next->incarnation && i < before->n_volumes; i++) {
		bool found = false;

		for (size_t j = 0; j < next->n_volumes; j++)
			found |= next->volumes[j]->volume == before->volumes[i]->volume;
		for (size_t j = 0; j < next->n_tombstones; j++)
			found |= next->tombstones[j]->volume == before->volumes[i]->volume;
		assert_true(found);
	}
}

static void note_left_out(struct test_gateway *g, const Holdfast__Document *next)
{
	for (size_t i = 0; g->keep_left_out && g->document && i < g->document->n_volumes; i++) {
		uint64_t volume = g->document->volumes[i]->volume;
		bool found = false;

		for (size_t j = 0; j < next->n_volumes; j++)
			found |= next->volumes[j]->volume == volume;
		if (!found)
			g->left_out = volume;
	}
}

static void take_change(struct test_gateway *g, const Holdfast__Signed *packet,
			const Holdfast__Request *request)
{
	Holdfast__Answer message = HOLDFAST__ANSWER__INIT;
	Holdfast__Change *change = NULL;
	Holdfast__Document *next;
	struct hf_errmsg why = {""};
	char refusal[] = "not today";
	bool again;

	assert_int_equal(hf_change_verify(g->signer_key, g->tenant, g->id, packet, &change, &why),
			 0);
	/* One whose answer got lost with its connection comes again, and changes nothing. */
	again = g->document && !g->refuse_replays && change->sequence == g->sequence &&
		memcmp(change->hash.data, g->hash, sizeof g->hash) == 0;
	if (!again && change->sequence <= g->sequence) {
		assert_true(g->refuse_replays);
		message.error = -HF_ESTALE;
		message.reason = refusal;
		message.sequence = g->sequence;
	} else if (g->refuse_applies) {
		message.error = -HF_EUNSUPPORTED;
		message.reason = refusal;
	} else {
		next = holdfast__document__unpack(NULL, change->document.len,
						  change->document.data);
		assert_non_null(next);
		assert_nothing_omitted(g->document, next);
		note_left_out(g, next);
		holdfast__document__free_unpacked(g->document, NULL);
		g->document = next;
		g->sequence = change->sequence;
		g->incarnation = g->document->incarnation;
		g->generation = g->document->generation;
		memcpy(g->hash, change->hash.data, sizeof g->hash);
		open_secrets(g);
	}
	holdfast__change__free_unpacked(change, NULL);
	tg_answer(g, &message, request);
	tg_report(g);
}

static void apply_delta(struct test_gateway *g, const Holdfast__Request *request)
{
	const Holdfast__ApplyDelta *delta = request->apply_delta;
	Holdfast__Answer message = HOLDFAST__ANSWER__INIT;
	Holdfast__Signed *packet;
	uint8_t *bytes;
	size_t length;

	assert_true(g->capability >= 2);
	g->deltas++;
	if (g->spoil_deltas) {
		message.error = -HF_ESTALE;
		message.full_wanted = true;
		tg_answer(g, &message, request);
		return;
	}
	assert_int_equal(hf_delta_apply(g->document, g->hash, delta->delta.data, delta->delta.len,
					&bytes, &length),
			 0);
	assert_int_equal(hf_change_with_document(delta->change, bytes, length, &packet), 0);
	take_change(g, packet, request);
	holdfast__signed__free_unpacked(packet, NULL);
	free(bytes);
}

static void requested(struct test_gateway *g, const Holdfast__Request *request)
{
	Holdfast__Answer message = HOLDFAST__ANSWER__INIT;

	if (g->silent)
		return;
	switch (request->kind_case) {
	case HOLDFAST__REQUEST__KIND_APPLY:
		g->applies++;
		g->applied_bytes += holdfast__request__get_packed_size(request);
		take_change(g, request->apply, request);
		return;
	case HOLDFAST__REQUEST__KIND_APPLY_DELTA:
		g->applied_bytes += holdfast__request__get_packed_size(request);
		apply_delta(g, request);
		return;
	case HOLDFAST__REQUEST__KIND_ACT:
		tg_act(g, request);
		return;
	case HOLDFAST__REQUEST__KIND_CONFIRM:
		tg_confirmed(g, request);
		break;
	case HOLDFAST__REQUEST__KIND_FORGET:
		g->forgotten = request->forget;
		break;
	case HOLDFAST__REQUEST__KIND_ROTATE:
		tg_take_certificate(g, request->rotate);
		break;
	default:
		assert_int_equal(request->kind_case, HOLDFAST__REQUEST__KIND_SUBSCRIBE);
		g->subscription = request->subscribe->subscription;
		break;
	}
	tg_answer(g, &message, request);
}

/* ---- The connection ---- */

static void session_event(void *context, const struct hf_session_event *event)
{
	struct test_gateway *g = context;

	switch (event->type) {
	case HF_EVENT_OFFER:
		offered(g, event->offer);
		break;
	case HF_EVENT_CLAIMED:
		g->claimed = true;
		break;
	case HF_EVENT_ISSUED:
		issued(g, event->issued);
		break;
	case HF_EVENT_HELD:
		tg_held(g, event->held);
		break;
	case HF_EVENT_REQUEST:
		requested(g, event->requested);
		break;
	case HF_EVENT_RETRY:
		snprintf(g->retry_reason, sizeof g->retry_reason, "%s", event->reason);
		break;
	case HF_EVENT_ENDED:
		g->ended = true;
		g->ended_status = event->status;
		snprintf(g->ended_reason, sizeof g->ended_reason, "%s", event->reason);
		break;
	default:
		break;
	}
}

static int session_output(void *context, const uint8_t *bytes, size_t length)
{
	return hf_stream_write(((struct test_gateway *)context)->stream, bytes, length);
}

static void say_connect(struct test_gateway *g, int role)
{
	Holdfast__Connect connect = HOLDFAST__CONNECT__INIT;
	Holdfast__Applied applied = HOLDFAST__APPLIED__INIT;
	uint8_t key_id[HF_KEY_ID_BYTES];
	uint8_t boot[16];
	char version[] = "0.1.0";

	hf_random(boot, sizeof boot);
	connect.gateway = g->id;
	connect.role = role;
	connect.boot.data = boot;
	connect.boot.len = sizeof boot;
	connect.capability = g->capability;
	hf_sign_key_id(g->signer_key, key_id);
	connect.signer_key.data = key_id;
	connect.signer_key.len = sizeof key_id;
	connect.token.data = g->token;
	connect.token.len = g->token_length;
	applied.incarnation = g->incarnation;
	applied.generation = g->generation;
	applied.hash.data = g->hash;
	applied.hash.len = sizeof g->hash;
	connect.applied = g->document ? &applied : NULL;
	connect.last_epoch = g->last_epoch;
	connect.version = version;
	assert_int_equal(hf_session_connect(g->session, now_ms(), &connect), 0);
}

static int wanted_role;

static void stream_opened(void *context, const struct hf_peer *peer)
{
	struct test_gateway *g = context;
	struct hf_session_config config = {
		.side = HF_SIDE_GATEWAY,
		.kind = g->activation ? HF_SESSION_ACTIVATION : HF_SESSION_MANAGEMENT,
		.output = session_output,
		.event = session_event,
		.context = g,
	};

	(void)peer;
	g->connected = true;
	g->session = hf_session_create(&config, now_ms());
	assert_non_null(g->session);
	if (g->activation)
		say_hello(g);
	else
		say_connect(g, wanted_role);
}

static void stream_received(void *context, const uint8_t *bytes, size_t length)
{
	struct test_gateway *g = context;

	if (!g->ended && g->session)
		hf_session_input(g->session, now_ms(), bytes, length);
}

static void stream_lost(void *context, int err, const char *reason)
{
	struct test_gateway *g = context;

	if (g->session && !g->ended)
		hf_session_end(g->session, err ? err : HF_ECONN, reason ? reason : "");
	if (!g->session) {
		g->ended = true;
		g->ended_status = err;
		snprintf(g->ended_reason, sizeof g->ended_reason, "%s", reason ? reason : "");
	}
}

static void timer_fired(uv_timer_t *timer)
{
	struct test_gateway *g = timer->data;

	if (g->session && !g->ended) {
		hf_session_tick(g->session, now_ms());
		if (!g->silent)
			tg_report(g);
	}
}

static void open_stream(struct test_gateway *g, const struct hf_tls_options *options, uint16_t port)
{
	struct hf_stream_callbacks callbacks = {.opened = stream_opened,
						.received = stream_received,
						.lost = stream_lost,
						.context = g};
	struct hf_errmsg message = {""};
	struct hf_tls *tls;

	tg_drop(g);
	assert_int_equal(hf_tls_create(options, &tls, &message), 0);
	g->ended = g->closed = g->connected = false;
	g->activation = strcmp(options->alpn, HF_ALPN_ACTIVATION) == 0;
	g->epoch = g->subscription = 0;
	g->retry_reason[0] = g->ended_reason[0] = '\0';
	assert_int_equal(hf_stream_open(&g->lab->loop, tls, tg_dial(port),
					options->authority ? "127.0.0.1" : NULL, &callbacks,
					&g->stream),
			 0);
	hf_tls_destroy(tls);
	uv_timer_init(&g->lab->loop, &g->timer);
	g->timer.data = g;
	uv_timer_start(&g->timer, timer_fired, 50, 50);
}

void tg_hello(struct test_gateway *g)
{
	struct hf_tls_options options = {.alpn = HF_ALPN_ACTIVATION};

	g->key[0] = '\0';
	g->claimed = false;
	open_stream(g, &options, g->lab->activation_port);
}

void tg_connect_as(struct test_gateway *g, int role)
{
	struct hf_tls_options options = {
		.alpn = HF_ALPN_MANAGEMENT,
		.key = &g->identity,
		.certificate = g->certificate,
		.certificate_length = g->certificate_length,
		.authority = g->authority_length ? g->authority : NULL,
		.authority_length = g->authority_length,
	};

	wanted_role = role;
	open_stream(g, &options, g->lab->channel_port);
}

void tg_connect(struct test_gateway *g)
{
	tg_connect_as(g, HOLDFAST__ROLE__ROLE_ACTIVE);
}

static void stream_closed(void *context)
{
	struct test_gateway *g = context;

	hf_session_destroy(g->session);
	g->session = NULL;
	g->closed = true;
}

static bool is_closed(void *context)
{
	return ((struct test_gateway *)context)->closed;
}

void tg_drop(struct test_gateway *g)
{
	if (!g->stream)
		return;
	uv_close((uv_handle_t *)&g->timer, NULL);
	g->ended = true;
	hf_stream_close(g->stream, stream_closed, g);
	lab_until(g->lab, is_closed, g, "the stream is closed");
	g->stream = NULL;
}

void tg_free(struct test_gateway *g)
{
	tg_drop(g);
	if (g->document)
		holdfast__document__free_unpacked(g->document, NULL);
	g->document = NULL;
}

void tg_refuse(struct test_gateway *g, const char *reason)
{
	assert_int_equal(hf_session_refuse(g->session, reason), 0);
}

/* ---- Waiting ---- */

static bool has_offer(void *context)
{
	return ((struct test_gateway *)context)->key[0] != '\0';
}

void tg_wait_offer(struct test_gateway *g)
{
	lab_until(g->lab, has_offer, g, "an activation offer");
}

static bool is_held(void *context)
{
	return ((struct test_gateway *)context)->epoch > 0;
}

void tg_wait_held(struct test_gateway *g)
{
	lab_until(g->lab, is_held, g, "the connection is held");
}

static bool is_ended(void *context)
{
	return ((struct test_gateway *)context)->ended;
}

void tg_wait_ended(struct test_gateway *g)
{
	lab_until(g->lab, is_ended, g, "the connection ended");
}

static bool is_issued(void *context)
{
	return ((struct test_gateway *)context)->issued;
}

void tg_join(struct test_gateway *g, const char *name)
{
	struct lab_answer answer;

	tg_hello(g);
	tg_wait_offer(g);
	lab_activate(g->lab, g->key, name, &answer);
	assert_int_equal(answer.err, 0);
	lab_forget(&answer);
	lab_confirm(g->lab, name, &answer);
	assert_int_equal(answer.err, 0);
	lab_forget(&answer);
	lab_until(g->lab, is_issued, g, "the certificate is issued");
	tg_connect(g);
	tg_wait_held(g);
}

void tg_forge(struct test_gateway *g, const struct hf_sign_key *authority, int64_t not_before_s,
	      int64_t not_after_s)
{
	struct hf_certificate_order order = {
		.authority_key = authority,
		.tenant = g->tenant,
		.gateway = g->id,
		.not_before_s = not_before_s,
		.not_after_s = not_after_s,
	};
	struct hf_errmsg message = {""};
	uint8_t *ca, *der;
	size_t length;

	assert_int_equal(hf_authority_make(authority, "Holdfast authority", 86400, &ca,
					   &order.authority_length),
			 0);
	order.authority = ca;
	memcpy(order.public_key, g->identity.public_key, HF_KEY_BYTES);
	assert_int_equal(hf_certificate_issue(&order, &der, &length, &message), 0);
	assert_true(length <= sizeof g->certificate);
	memcpy(g->certificate, der, length);
	g->certificate_length = length;
	free(der);
	free(ca);
}
