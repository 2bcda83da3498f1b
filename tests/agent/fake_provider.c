/* The stand-in of fake_provider.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/identity.h"
#include "proto/delta.h"
#include "tests/agent/fake_provider.h"

static uint64_t now_ms(const struct fake_provider *provider)
{
	return uv_now(&provider->loop->loop);
}

static int on_output(void *context, const uint8_t *bytes, size_t length)
{
	struct fake_link *link = context;

	return link->stream ? hf_stream_write(link->stream, bytes, length) : HF_ECONN;
}

static void on_received(void *context, const uint8_t *bytes, size_t length)
{
	struct fake_link *link = context;

	hf_session_input(link->session, now_ms(link->provider), bytes, length);
}

static void close_stream(struct fake_link *link)
{
	struct hf_stream *stream = link->stream;

	link->stream = NULL;
	if (stream)
		hf_stream_close(stream, NULL, NULL);
}

static void on_lost(void *context, int err, const char *reason)
{
	struct fake_link *link = context;

	close_stream(link);
	hf_session_end(link->session, err ? err : HF_ECONN, reason);
}

void fake_provider_cut(struct fake_provider *provider, struct fake_link *link)
{
	(void)provider;
	close_stream(link);
	hf_session_end(link->session, HF_ECONN, "cut by the test");
}

static void open_link(struct fake_link *link, struct hf_stream *stream, enum hf_session_kind kind,
		      void (*event)(void *, const struct hf_session_event *))
{
	struct hf_stream_callbacks callbacks = {
		.received = on_received, .lost = on_lost, .context = link};
	struct hf_session_config config = {.side = HF_SIDE_PROVIDER,
					   .kind = kind,
					   .ping_interval_ms = 1000,
					   .output = on_output,
					   .event = event,
					   .context = link};

	close_stream(link);
	hf_session_destroy(link->session);
	link->connections++;
	link->stream = stream;
	link->session = hf_session_create(&config, now_ms(link->provider));
	hf_stream_set_callbacks(stream, &callbacks);
}

/* ---- Activation ---- */

static void offer(struct fake_provider *provider, const Holdfast__ActivateHello *hello)
{
	Holdfast__ActivateOffer message = HOLDFAST__ACTIVATE_OFFER__INIT;
	uint8_t binding[HF_BINDING_BYTES];
	struct hf_errmsg why;

	assert_int_equal(hf_stream_binding(provider->activation.stream, binding), 0);
	assert_int_equal(hf_hello_check(hello, binding, &why), 0);
	memcpy(provider->keys.identity, hello->identity_key.data, HF_KEY_BYTES);
	memcpy(provider->keys.sealing, hello->sealing_key.data, HF_KEY_BYTES);
	hf_random(provider->number, sizeof provider->number);
	message.number = (ProtobufCBinaryData){sizeof provider->number, provider->number};
	message.ca_key = (ProtobufCBinaryData){HF_KEY_BYTES, provider->keys.authority};
	message.signer_key = (ProtobufCBinaryData){HF_KEY_BYTES, provider->keys.signer};
	message.expires_s = 60;
	assert_int_equal(hf_session_offer(provider->activation.session, now_ms(provider), &message),
			 0);
}

static void on_activation_event(void *context, const struct hf_session_event *event)
{
	struct fake_link *link = context;

	if (event->type == HF_EVENT_HELLO)
		offer(link->provider, event->hello);
	if (event->type == HF_EVENT_REFUSE)
		snprintf(link->provider->refused, sizeof link->provider->refused, "%s",
			 event->reason);
	if (event->type == HF_EVENT_ENDED)
		link->ended++;
}

static void on_activation(void *context, struct hf_stream *stream)
{
	struct fake_provider *provider = context;

	open_link(&provider->activation, stream, HF_SESSION_ACTIVATION, on_activation_event);
}

void fake_provider_claim(struct fake_provider *provider)
{
	Holdfast__ActivateClaimed claimed = HOLDFAST__ACTIVATE_CLAIMED__INIT;

	claimed.by =
		provider->claimed_by ? (char *)(uintptr_t)provider->claimed_by : (char[]){"tester"};
	claimed.tenant = (char[]){"t-0000000000000003"};
	claimed.name = (char[]){"lab"};
	assert_int_equal(hf_session_claimed(provider->activation.session, &claimed), 0);
}

void fake_provider_issue(struct fake_provider *provider,
			 void (*change)(Holdfast__ActivateIssued *issued))
{
	struct hf_certificate_order order = {.authority_key = &provider->authority_key,
					     .authority = provider->authority,
					     .authority_length = provider->authority_length,
					     .tenant = FAKE_TENANT,
					     .gateway = FAKE_GATEWAY};
	Holdfast__ActivateIssued issued = HOLDFAST__ACTIVATE_ISSUED__INIT;
	char *endpoints[] = {provider->management_address};
	uint8_t signer[HF_KEY_BYTES], *certificate;
	struct hf_errmsg message;
	size_t length;

	memcpy(order.public_key, provider->keys.identity, HF_KEY_BYTES);
	memcpy(signer, provider->signer.public_key, HF_KEY_BYTES);
	assert_int_equal(hf_certificate_issue(&order, &certificate, &length, &message), 0);
	issued.gateway = FAKE_GATEWAY;
	issued.tenant = FAKE_TENANT;
	issued.certificate = (ProtobufCBinaryData){length, certificate};
	issued.ca_certificate =
		(ProtobufCBinaryData){provider->authority_length, provider->authority};
	issued.signer_key = (ProtobufCBinaryData){HF_KEY_BYTES, signer};
	issued.endpoints = endpoints;
	issued.n_endpoints = 1;
	if (change)
		change(&issued);
	assert_int_equal(hf_session_issued(provider->activation.session, &issued), 0);
	free(certificate);
}

/* ---- Management ---- */

static void keep_answer(struct fake_provider *provider, const Holdfast__Answer *answer)
{
	provider->answered = answer->request;
	provider->answer_error = -answer->error;
	snprintf(provider->answer_reason, sizeof provider->answer_reason, "%s", answer->reason);
	provider->full_wanted = answer->full_wanted;
	if (answer->result_case == HOLDFAST__ANSWER__RESULT_ACT) {
		holdfast__action_result__free_unpacked(provider->result, NULL);
		provider->result =
			holdfast__action_result__unpack(NULL, answer->act.len, answer->act.data);
		assert_non_null(provider->result);
	}
	if (answer->result_case == HOLDFAST__ANSWER__RESULT_APPLY)
		provider->observed_generation = answer->apply->observed->generation;
}

static void keep_network(struct fake_provider *provider, const Holdfast__NetworkReport *network)
{
	provider->network_state = network ? (int)network->state : 0;
	provider->network_proved = network && network->proved;
	provider->network_version = network ? network->version : 0;
	snprintf(provider->network_reason, sizeof provider->network_reason, "%s",
		 network ? network->reason : "");
}

static void keep_volumes(struct fake_provider *provider, const Holdfast__Report *report)
{
	if (report->n_volumes)
		provider->reported_state = (int)report->volumes[0]->state;
	provider->volume_count = 0;
	for (size_t i = 0; i < report->n_volumes && i < 16; i++) {
		const Holdfast__VolumeReport *from = report->volumes[i];

		provider->volumes[i].volume = from->volume;
		provider->volumes[i].version = from->version;
		provider->volumes[i].attach_epoch = from->attach_epoch;
		provider->volumes[i].state = (int)from->state;
		snprintf(provider->volumes[i].reason, sizeof provider->volumes[i].reason, "%s",
			 from->reason);
		provider->volume_count++;
	}
}

static void hold(struct fake_link *link)
{
	Holdfast__Held held = HOLDFAST__HELD__INIT;

	held.epoch = link->provider->next_epoch++;
	assert_int_equal(hf_session_hold(link->session, now_ms(link->provider), &held), 0);
}

static void on_management_event(void *context, const struct hf_session_event *event)
{
	struct fake_link *link = context;
	struct fake_provider *provider = link->provider;

	switch (event->type) {
	case HF_EVENT_CONNECT:
		assert_true(event->connect->gateway == FAKE_GATEWAY);
		provider->connect_last_epoch = event->connect->last_epoch;
		provider->connect_generation = event->connect->applied->generation;
		hold(link);
		break;
	case HF_EVENT_ANSWER:
		if (event->status == 0)
			keep_answer(provider, event->answer);
		break;
	case HF_EVENT_REPORT:
		provider->reports++;
		keep_network(provider, event->report->network);
		keep_volumes(provider, event->report);
		break;
	case HF_EVENT_ENDED:
		link->ended++;
		break;
	default:
		break;
	}
}

static void on_management(void *context, struct hf_stream *stream)
{
	struct fake_provider *provider = context;

	assert_true(hf_stream_peer(stream)->gateway == FAKE_GATEWAY);
	open_link(&provider->management, stream, HF_SESSION_MANAGEMENT, on_management_event);
}

uint64_t fake_provider_ask(struct fake_provider *provider, Holdfast__Request *request)
{
	uint64_t number;

	request->remaining_ms = 5000;
	provider->answered = 0;
	assert_int_equal(hf_session_request(provider->management.session, now_ms(provider), request,
					    &number),
			 0);
	return number;
}

Holdfast__Signed *fake_provider_sign(struct fake_provider *provider, Holdfast__Change *change,
				     uint64_t sequence, const struct hf_sign_key *signer)
{
	Holdfast__Signed *packet;
	uint8_t *bytes;
	size_t length;

	(void)provider;
	change->tenant = FAKE_TENANT;
	change->gateway = FAKE_GATEWAY;
	change->sequence = sequence;
	assert_int_equal(hf_change_sign(signer, change, &bytes, &length), 0);
	packet = holdfast__signed__unpack(NULL, length, bytes);
	free(bytes);
	assert_non_null(packet);
	return packet;
}

uint64_t fake_provider_act(struct fake_provider *provider, const Holdfast__Action *action,
			   uint64_t sequence, const Holdfast__ActionTerms *terms,
			   const struct hf_sign_key *signer)
{
	Holdfast__Change change = HOLDFAST__CHANGE__INIT;
	Holdfast__Request request = HOLDFAST__REQUEST__INIT;
	size_t length = holdfast__action__get_packed_size(action);
	uint8_t *bytes = malloc(length + 1);
	uint64_t number;

	holdfast__action__pack(action, bytes);
	change.kind_case = HOLDFAST__CHANGE__KIND_ACTION;
	change.action = (ProtobufCBinaryData){length, bytes};
	request.kind_case = HOLDFAST__REQUEST__KIND_ACT;
	request.act = fake_provider_sign(provider, &change, sequence, signer);
	request.terms = (Holdfast__ActionTerms *)(uintptr_t)terms;
	number = fake_provider_ask(provider, &request);
	holdfast__signed__free_unpacked(request.act, NULL);
	free(bytes);
	return number;
}

uint64_t fake_provider_apply(struct fake_provider *provider, const Holdfast__Document *document,
			     const struct hf_sign_key *signer)
{
	size_t length = holdfast__document__get_packed_size(document), signed_length;
	Holdfast__Change change = HOLDFAST__CHANGE__INIT;
	Holdfast__Request request = HOLDFAST__REQUEST__INIT;
	uint8_t *bytes = malloc(length + 1), *signed_bytes;
	uint64_t number;

	holdfast__document__pack(document, bytes);
	change.tenant = FAKE_TENANT;
	change.gateway = FAKE_GATEWAY;
	change.sequence = ++provider->sequence;
	change.kind_case = HOLDFAST__CHANGE__KIND_DOCUMENT;
	change.document = (ProtobufCBinaryData){length, bytes};
	assert_int_equal(hf_change_sign(signer, &change, &signed_bytes, &signed_length), 0);
	request.kind_case = HOLDFAST__REQUEST__KIND_APPLY;
	request.apply = holdfast__signed__unpack(NULL, signed_length, signed_bytes);
	number = fake_provider_ask(provider, &request);
	holdfast__signed__free_unpacked(request.apply, NULL);
	free(signed_bytes);
	free(bytes);
	return number;
}

uint64_t fake_provider_apply_delta(struct fake_provider *provider, const Holdfast__Document *base,
				   const Holdfast__Document *document, bool spoil)
{
	size_t base_length = holdfast__document__get_packed_size(base), length, signed_length;
	Holdfast__ApplyDelta apply = HOLDFAST__APPLY_DELTA__INIT;
	Holdfast__Change change = HOLDFAST__CHANGE__INIT;
	Holdfast__Request request = HOLDFAST__REQUEST__INIT;
	uint8_t *base_bytes = malloc(base_length + 1), *bytes, *signed_bytes, *delta;
	uint8_t hash[HF_HASH_BYTES];
	Holdfast__Document other = *document;
	uint64_t number;

	length = holdfast__document__get_packed_size(document);
	bytes = malloc(length + 1);
	hf_sha256(base_bytes, holdfast__document__pack(base, base_bytes), hash);
	holdfast__document__pack(document, bytes);
	change.tenant = FAKE_TENANT;
	change.gateway = FAKE_GATEWAY;
	change.sequence = ++provider->sequence;
	change.kind_case = HOLDFAST__CHANGE__KIND_DOCUMENT;
	change.document = (ProtobufCBinaryData){length, bytes};
	assert_int_equal(hf_change_sign(&provider->signer, &change, &signed_bytes, &signed_length),
			 0);
	assert_int_equal(hf_change_without_document(signed_bytes, signed_length, &apply.change), 0);
	if (spoil)
		other.generation++;
	length = holdfast__document__pack(&other, bytes);
	assert_int_equal(hf_delta_make(base, hash, &other, bytes, length, &delta, &apply.delta.len),
			 0);
	apply.delta.data = delta;
	request.kind_case = HOLDFAST__REQUEST__KIND_APPLY_DELTA;
	request.apply_delta = &apply;
	number = fake_provider_ask(provider, &request);
	holdfast__signed__free_unpacked(apply.change, NULL);
	free(signed_bytes);
	free(base_bytes);
	free(bytes);
	free(delta);
	return number;
}

/* ---- Opening and closing ---- */

static struct hf_tls *make_tls(struct fake_provider *provider, const char *alpn, bool judge)
{
	struct hf_tls_options options = {.server = true,
					 .alpn = alpn,
					 .key = &provider->server_key,
					 .certificate = provider->server,
					 .certificate_length = provider->server_length,
					 .authority = judge ? provider->authority : NULL,
					 .authority_length = provider->authority_length};
	struct hf_errmsg message;
	struct hf_tls *tls = NULL;

	assert_int_equal(hf_tls_create(&options, &tls, &message), 0);
	return tls;
}

static struct hf_listener *listen_with(struct fake_provider *provider, struct hf_tls *tls,
				       char *address, size_t size,
				       void (*accepted)(void *, struct hf_stream *))
{
	struct hf_listener_config config = {
		.address = "127.0.0.1:0", .tls = tls, .accepted = accepted, .context = provider};
	struct hf_listener *listener = NULL;
	struct hf_errmsg message;

	assert_int_equal(hf_listener_open(&provider->loop->loop, &config, &listener, &message), 0);
	snprintf(address, size, "127.0.0.1:%u", hf_listener_port(listener));
	return listener;
}

static void make_identity(struct fake_provider *provider)
{
	const char *names[] = {"127.0.0.1"};
	struct hf_certificate_order order = {.server = true, .names = names, .name_count = 1};
	struct hf_errmsg message;

	hf_sign_key_make(&provider->authority_key);
	hf_sign_key_make(&provider->signer);
	hf_sign_key_make(&provider->server_key);
	memcpy(provider->keys.authority, provider->authority_key.public_key, HF_KEY_BYTES);
	memcpy(provider->keys.signer, provider->signer.public_key, HF_KEY_BYTES);
	assert_int_equal(hf_authority_make(&provider->authority_key, "test", 86400,
					   &provider->authority, &provider->authority_length),
			 0);
	order.authority_key = &provider->authority_key;
	order.authority = provider->authority;
	order.authority_length = provider->authority_length;
	memcpy(order.public_key, provider->server_key.public_key, HF_KEY_BYTES);
	assert_int_equal(
		hf_certificate_issue(&order, &provider->server, &provider->server_length, &message),
		0);
}

void fake_provider_open(struct fake_provider *provider, struct test_loop *loop)
{
	memset(provider, 0, sizeof *provider);
	provider->loop = loop;
	provider->next_epoch = 1;
	provider->activation.provider = provider->management.provider = provider;
	make_identity(provider);
	provider->activation_tls = make_tls(provider, HF_ALPN_ACTIVATION, false);
	provider->management_tls = make_tls(provider, HF_ALPN_MANAGEMENT, true);
	provider->activation_listener =
		listen_with(provider, provider->activation_tls, provider->activation_address,
			    sizeof provider->activation_address, on_activation);
	provider->management_listener =
		listen_with(provider, provider->management_tls, provider->management_address,
			    sizeof provider->management_address, on_management);
}

static void on_closed(void *context)
{
	((struct fake_provider *)context)->closing--;
}

void fake_provider_close(struct fake_provider *provider)
{
	provider->closing = 2;
	close_stream(&provider->activation);
	close_stream(&provider->management);
	hf_listener_close(provider->activation_listener, on_closed, provider);
	hf_listener_close(provider->management_listener, on_closed, provider);
	RUN_UNTIL(provider->loop, provider->closing == 0);
	hf_session_destroy(provider->activation.session);
	hf_session_destroy(provider->management.session);
	hf_tls_destroy(provider->activation_tls);
	hf_tls_destroy(provider->management_tls);
	holdfast__action_result__free_unpacked(provider->result, NULL);
	free(provider->authority);
	free(provider->server);
}
