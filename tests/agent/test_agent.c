/* Promises of the whole agent, between a stand-in of the provider and stand-ins of broker and
 * volumed, on real TLS and real sockets: activation binds the keys and can be refused; only the
 * pinned signer is heard; a document is kept before it counts and is served without the provider;
 * epochs only rise; the gateway asks for nothing (invariants 3 to 7). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/agent/agent.h"
#include "net/seal.h"
#include "tests/agent/fake_gateway.h"
#include "tests/agent/fake_provider.h"

struct fixture {
	struct test_loop loop;
	struct fake_gateway gateway;
	struct fake_provider provider;
	struct hf_agent_config config;
	struct hf_agent *agent;
	struct hf_local_client *console;
	bool agent_closed, console_closed;
	/* The last answer of the console. */
	unsigned answers;
	int error;
	char state[20], key[40], claimed_by[100], connection[20];
	uint64_t generation, epoch;
	char state_dir[80], portal[24], none[1];
};

static void open_agent(struct fixture *f)
{
	struct hf_errmsg message = {""};

	if (hf_agent_open(&f->loop.loop, &f->config, &f->agent, &message) != 0)
		fail_msg("%s", message.text);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	char path[128];

	signal(SIGPIPE, SIG_IGN);
	test_loop_open(&f->loop);
	fake_open(&f->gateway, &f->loop);
	fake_provider_open(&f->provider, &f->loop);
	snprintf(f->state_dir, sizeof f->state_dir, "%s/state", f->gateway.folder);
	snprintf(f->portal, sizeof f->portal, "127.0.0.1:3999");
	f->config.run_dir = f->gateway.folder;
	f->config.state_dir = f->state_dir;
	f->config.activation = f->provider.activation_address;
	f->config.portal = f->portal;
	f->config.provider = f->none;
	f->config.proxy = f->none;
	f->config.proxy_credentials = f->none;
	f->config.metrics_listen = f->none;
	open_agent(f);
	snprintf(path, sizeof path, "%s/agent.sock", f->gateway.folder);
	assert_int_equal(hf_local_client_open(&f->loop.loop, path, &f->console), 0);
	*state = f;
	return 0;
}

static void on_agent_closed(void *context)
{
	((struct fixture *)context)->agent_closed = true;
}

static void close_agent(struct fixture *f)
{
	f->agent_closed = false;
	hf_agent_close(f->agent, on_agent_closed, f);
	RUN_UNTIL(&f->loop, f->agent_closed);
}

static void on_console_closed(void *context)
{
	((struct fixture *)context)->console_closed = true;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close_agent(f);
	hf_local_client_close(f->console, on_console_closed, f);
	RUN_UNTIL(&f->loop, f->console_closed);
	fake_provider_close(&f->provider);
	fake_close(&f->gateway);
	test_loop_close(&f->loop);
	free(f);
	return 0;
}

/* ---- The console ---- */

static void on_console(void *context, int status, const uint8_t *bytes, size_t length)
{
	struct fixture *f = context;
	Holdfast__ConsoleAnswer *answer;

	f->answers++;
	f->error = status;
	if (status)
		return;
	answer = holdfast__console_answer__unpack(NULL, length, bytes);
	assert_non_null(answer);
	f->error = -answer->error;
	if (answer->status) {
		snprintf(f->state, sizeof f->state, "%s", answer->status->activation_state);
		snprintf(f->key, sizeof f->key, "%s", answer->status->activation_key);
		snprintf(f->claimed_by, sizeof f->claimed_by, "%s", answer->status->claimed_by);
		snprintf(f->connection, sizeof f->connection, "%s",
			 answer->status->connection_state);
		f->generation = answer->status->generation;
		f->epoch = answer->status->connection_epoch;
	}
	holdfast__console_answer__free_unpacked(answer, NULL);
}

static void ask_console(struct fixture *f, const Holdfast__ConsoleRequest *request)
{
	uint8_t bytes[200];
	unsigned before = f->answers;

	hf_local_call(f->console, bytes, holdfast__console_request__pack(request, bytes), 5000,
		      on_console, f);
	RUN_UNTIL(&f->loop, f->answers > before);
}

/* Asks for the status; true, so that it can stand in a condition. */
static bool look(struct fixture *f)
{
	Holdfast__ConsoleRequest request = HOLDFAST__CONSOLE_REQUEST__INIT;
	Holdfast__ConsoleStatusRequest status = HOLDFAST__CONSOLE_STATUS_REQUEST__INIT;

	request.kind_case = HOLDFAST__CONSOLE_REQUEST__KIND_STATUS;
	request.status = &status;
	ask_console(f, &request);
	return true;
}

static int refuse(struct fixture *f)
{
	Holdfast__ConsoleRequest request = HOLDFAST__CONSOLE_REQUEST__INIT;

	request.kind_case = HOLDFAST__CONSOLE_REQUEST__KIND_REFUSE_ACTIVATION;
	request.refuse_activation = (char[]){"not mine"};
	ask_console(f, &request);
	return f->error;
}

#define WAIT_LOOK(f, condition) RUN_UNTIL(&(f)->loop, look(f) && (condition))

/* ---- Activation ---- */

static void test_the_key_binds_both_sides(void **state)
{
	struct fixture *f = *state;
	uint8_t number[8], shown[10], expected[10];

	WAIT_LOOK(f, strcmp(f->state, "offered") == 0);
	assert_int_equal(hf_activation_key_parse(f->key, number, shown), 0);
	assert_memory_equal(number, f->provider.number, 8);
	hf_activation_hash(f->provider.number, &f->provider.keys, expected);
	assert_int_equal(hf_activation_hash_compare(shown, expected), 0);
}

/* Somebody between the two offers keys of his own: the key that is shown is another one, which the
 * provider does not accept. */
static void test_swapped_keys_change_the_key(void **state)
{
	struct fixture *f = *state;
	uint8_t number[8], shown[10], expected[10];

	f->provider.keys.authority[0] ^= 1;
	WAIT_LOOK(f, strcmp(f->state, "offered") == 0);
	assert_int_equal(hf_activation_key_parse(f->key, number, shown), 0);
	f->provider.keys.authority[0] ^= 1;
	hf_activation_hash(f->provider.number, &f->provider.keys, expected);
	assert_int_equal(hf_activation_hash_compare(shown, expected), HF_EAUTH);
}

static void activate(struct fixture *f)
{
	WAIT_LOOK(f, strcmp(f->state, "offered") == 0);
	fake_provider_claim(&f->provider);
	WAIT_LOOK(f, strcmp(f->state, "claimed") == 0);
	assert_string_equal(f->claimed_by, "tester for t-0000000000000003 as lab");
	fake_provider_issue(&f->provider, NULL);
	WAIT_LOOK(f, strcmp(f->connection, "held") == 0);
	assert_string_equal(f->state, "activated");
	assert_int_equal(f->epoch, 1);
}

static void test_activation_and_first_connection(void **state)
{
	struct fixture *f = *state;
	struct stat info;
	char path[120];

	activate(f);
	snprintf(path, sizeof path, "%s/identity.key", f->state_dir);
	assert_int_equal(stat(path, &info), 0);
	assert_int_equal(info.st_mode & 0777, 0600);
	assert_int_equal(stat(f->state_dir, &info), 0);
	assert_int_equal(info.st_mode & 0777, 0700);
	assert_int_equal(refuse(f), HF_ENOTREADY);
}

static void test_the_owner_refuses(void **state)
{
	struct fixture *f = *state;

	WAIT_LOOK(f, strcmp(f->state, "offered") == 0);
	fake_provider_claim(&f->provider);
	WAIT_LOOK(f, strcmp(f->state, "claimed") == 0);
	assert_int_equal(refuse(f), 0);
	RUN_UNTIL(&f->loop, f->provider.activation.ended == 1);
	assert_string_equal(f->provider.refused, "not mine");
	look(f);
	assert_string_equal(f->state, "refused");
	assert_string_equal(f->key, "");
	assert_int_equal(refuse(f), HF_ENOTREADY);
}

/* Invariant 7: the console is what the owner trusts; whoever answers in the provider's place writes
 * no line of his own there and steers no terminal. */
static void test_a_claim_is_shown_as_one_plain_line(void **state)
{
	struct fixture *f = *state;

	f->provider.claimed_by = "\033[2J\nfingerprint  0000\302\2332J";
	WAIT_LOOK(f, strcmp(f->state, "offered") == 0);
	fake_provider_claim(&f->provider);
	WAIT_LOOK(f, strcmp(f->state, "claimed") == 0);
	assert_string_equal(f->claimed_by,
			    "?[2J?fingerprint  0000??2J for t-0000000000000003 as lab");
}

static void spoil_signer(Holdfast__ActivateIssued *issued)
{
	issued->signer_key.data[0] ^= 1;
}

static void spoil_gateway(Holdfast__ActivateIssued *issued)
{
	issued->gateway++;
}

static void spoil_certificate(Holdfast__ActivateIssued *issued)
{
	issued->certificate = issued->ca_certificate;
}

static void spoil_endpoints(Holdfast__ActivateIssued *issued)
{
	issued->n_endpoints = 0;
}

static void spoil_endpoint(Holdfast__ActivateIssued *issued)
{
	issued->endpoints[0] = (char *)(uintptr_t) "nowhere";
}

static void test_what_is_issued_must_be_what_was_offered(void **state)
{
	static void (*const spoils[])(Holdfast__ActivateIssued *) = {
		spoil_signer, spoil_gateway, spoil_certificate, spoil_endpoints, spoil_endpoint};
	struct fixture *f = *state;
	char path[120];

	snprintf(path, sizeof path, "%s/activated", f->state_dir);
	for (unsigned i = 0; i < sizeof spoils / sizeof spoils[0]; i++) {
		RUN_UNTIL(&f->loop, f->provider.activation.connections == i + 1);
		WAIT_LOOK(f, strcmp(f->state, "offered") == 0);
		fake_provider_claim(&f->provider);
		fake_provider_issue(&f->provider, spoils[i]);
		RUN_UNTIL(&f->loop, f->provider.activation.ended == i + 1);
		assert_int_not_equal(access(path, F_OK), 0);
	}
	assert_int_equal(f->provider.management.connections, 0);
}

/* ---- Documents ---- */

struct draft {
	Holdfast__Document document;
	Holdfast__Volume volume, *list[1];
	uint8_t *sealed;
};

static void draft_open(struct fixture *f, struct draft *draft, uint64_t generation)
{
	Holdfast__VolumeSecrets secrets = HOLDFAST__VOLUME_SECRETS__INIT;
	uint8_t key[32] = {1}, plain[64];
	char purpose[HF_PURPOSE_MAX];
	size_t length;

	holdfast__document__init(&draft->document);
	holdfast__volume__init(&draft->volume);
	draft->list[0] = &draft->volume;
	draft->document.incarnation = 1;
	draft->document.generation = generation;
	draft->document.volumes = draft->list;
	draft->document.n_volumes = 1;
	draft->volume.volume = 7;
	draft->volume.version = 1;
	draft->volume.size_bytes = 1 << 20;
	draft->volume.attachment = HOLDFAST__ATTACHMENT__ATTACHED;
	draft->volume.attach_epoch = 1;
	draft->volume.target = (char *)(uintptr_t) "iqn.2026-11.t:v7";
	draft->volume.lun = 1;
	secrets.wrap_key = (ProtobufCBinaryData){sizeof key, key};
	hf_purpose_volume(7, 1, purpose);
	assert_int_equal(hf_seal(f->provider.keys.sealing, purpose, plain,
				 holdfast__volume_secrets__pack(&secrets, plain), &draft->sealed,
				 &length),
			 0);
	draft->volume.sealed = (ProtobufCBinaryData){length, draft->sealed};
}

static void apply(struct fixture *f, const Holdfast__Document *document)
{
	uint64_t number = fake_provider_apply(&f->provider, document, &f->provider.signer);

	RUN_UNTIL(&f->loop, f->provider.answered == number);
}

static void subscribe(struct fixture *f)
{
	Holdfast__Request request = HOLDFAST__REQUEST__INIT;
	Holdfast__Subscribe message = HOLDFAST__SUBSCRIBE__INIT;
	uint64_t number;

	message.subscription = 1;
	message.interval_ms = 200;
	request.kind_case = HOLDFAST__REQUEST__KIND_SUBSCRIBE;
	request.subscribe = &message;
	number = fake_provider_ask(&f->provider, &request);
	RUN_UNTIL(&f->loop, f->provider.answered == number);
	assert_int_equal(f->provider.answer_error, 0);
}

static void test_a_document_is_applied_and_reported(void **state)
{
	struct fixture *f = *state;
	struct draft draft;

	activate(f);
	draft_open(f, &draft, 1);
	subscribe(f);
	apply(f, &draft.document);
	assert_int_equal(f->provider.answer_error, 0);
	assert_int_equal(f->provider.observed_generation, 1);
	RUN_UNTIL(&f->loop,
		  f->provider.reported_state == (int)HOLDFAST__VOLUME_STATE__VOLUME_AVAILABLE);
	assert_true(fake_portal(&f->gateway, "127.0.0.1:3999"));
	apply(f, &draft.document); /* equal: nothing changes */
	assert_int_equal(f->provider.answer_error, 0);
	free(draft.sealed);
}

static void test_refused_documents_change_nothing(void **state)
{
	struct fixture *f = *state;
	struct hf_sign_key stranger;
	struct draft draft;
	uint64_t number;

	activate(f);
	draft_open(f, &draft, 5);
	apply(f, &draft.document);
	assert_int_equal(f->provider.answer_error, 0);
	draft.document.generation = 4;
	apply(f, &draft.document);
	assert_int_equal(f->provider.answer_error, HF_ESTALE);
	draft.document.generation = 6;
	draft.document.n_volumes = 0;
	apply(f, &draft.document);
	assert_int_equal(f->provider.answer_error, HF_EINVAL);
	assert_non_null(strstr(f->provider.answer_reason, "vol-0000000000000007"));
	draft.document.n_volumes = 1;
	hf_sign_key_make(&stranger);
	number = fake_provider_apply(&f->provider, &draft.document, &stranger);
	RUN_UNTIL(&f->loop, f->provider.answered == number);
	assert_int_equal(f->provider.answer_error, HF_EAUTH);
	look(f);
	assert_int_equal(f->generation, 5);
	free(draft.sealed);
}

static void test_a_restarted_agent_serves_without_the_provider(void **state)
{
	struct fixture *f = *state;
	struct draft draft;

	activate(f);
	draft_open(f, &draft, 1);
	apply(f, &draft.document);
	RUN_UNTIL(&f->loop, fake_portal(&f->gateway, "127.0.0.1:3999"));
	close_agent(f);
	f->config.provider = (char[]){"127.0.0.1:1"}; /* nobody there */
	fake_restart_tgtd(&f->gateway);
	open_agent(f);
	RUN_UNTIL(&f->loop, fake_portal(&f->gateway, "127.0.0.1:3999"));
	assert_non_null(fake_target(&f->gateway, "iqn.2026-11.t:v7"));
	WAIT_LOOK(f, f->generation == 1 && strcmp(f->connection, "waiting") == 0);
	free(draft.sealed);
}

static void test_epochs_rise_over_restarts(void **state)
{
	struct fixture *f = *state;
	struct draft draft;

	f->provider.next_epoch = 1;
	activate(f);
	draft_open(f, &draft, 3);
	apply(f, &draft.document);
	f->provider.next_epoch = 9;
	fake_provider_cut(&f->provider, &f->provider.management);
	WAIT_LOOK(f, f->epoch == 9);
	assert_true(f->provider.connect_last_epoch == 1);
	assert_true(f->provider.connect_generation == 3);
	close_agent(f);
	open_agent(f);
	WAIT_LOOK(f, f->epoch == 10);
	assert_true(f->provider.connect_last_epoch == 9);
	/* A provider with an older idea of it does not get the gateway. */
	f->provider.next_epoch = 10;
	fake_provider_cut(&f->provider, &f->provider.management);
	RUN_UNTIL(&f->loop, f->provider.management.connections == 4);
	RUN_UNTIL(&f->loop, f->provider.management.ended >= 4);
	look(f);
	assert_int_equal(f->epoch, 0);
	free(draft.sealed);
}

/* Invariant 4: that the kept document was damaged opens no way back. */
static void test_a_damaged_document_lets_no_older_one_in(void **state)
{
	struct fixture *f = *state;
	struct draft draft;
	char path[120];

	activate(f);
	draft_open(f, &draft, 5);
	apply(f, &draft.document);
	assert_int_equal(f->provider.answer_error, 0);
	close_agent(f);
	snprintf(path, sizeof path, "%s/document", f->state_dir);
	assert_int_equal(truncate(path, 40), 0);
	open_agent(f);
	WAIT_LOOK(f, strcmp(f->connection, "held") == 0);
	assert_int_equal(f->generation, 0);
	draft.document.generation = 4;
	apply(f, &draft.document);
	assert_int_equal(f->provider.answer_error, HF_ESTALE);
	draft.document.generation = 6;
	apply(f, &draft.document);
	assert_int_equal(f->provider.answer_error, 0);
	free(draft.sealed);
}

/* Invariant 5: an epoch that would be forgotten over a restart is not used. */
static void test_an_epoch_that_cannot_be_kept_is_not_used(void **state)
{
	struct fixture *f = *state;
	unsigned connections;
	char path[120];

	activate(f);
	WAIT_LOOK(f, strcmp(f->connection, "held") == 0);
	snprintf(path, sizeof path, "%s/epoch", f->state_dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0); /* so that no file can take its place */
	connections = f->provider.management.connections;
	fake_provider_cut(&f->provider, &f->provider.management);
	RUN_UNTIL(&f->loop, f->provider.management.connections >= connections + 2);
	look(f);
	assert_string_not_equal(f->connection, "held");
	assert_int_equal(f->epoch, 0);
	assert_int_equal(rmdir(path), 0);
	WAIT_LOOK(f, strcmp(f->connection, "held") == 0);
}

static void test_requests_that_are_not_served(void **state)
{
	struct fixture *f = *state;
	Holdfast__Request request = HOLDFAST__REQUEST__INIT;
	Holdfast__Signed packet = HOLDFAST__SIGNED__INIT;
	uint64_t number;

	activate(f);
	request.kind_case = HOLDFAST__REQUEST__KIND_ROTATE;
	request.rotate = &packet;
	number = fake_provider_ask(&f->provider, &request);
	RUN_UNTIL(&f->loop, f->provider.answered == number);
	assert_int_equal(f->provider.answer_error, HF_EAUTH);
	request.kind_case = HOLDFAST__REQUEST__KIND_ACT; /* an empty change */
	request.act = &packet;
	number = fake_provider_ask(&f->provider, &request);
	RUN_UNTIL(&f->loop, f->provider.answered == number);
	assert_int_equal(f->provider.answer_error, HF_EAUTH);
	request.kind_case = HOLDFAST__REQUEST__KIND_APPLY; /* an empty change */
	request.apply = &packet;
	number = fake_provider_ask(&f->provider, &request);
	RUN_UNTIL(&f->loop, f->provider.answered == number);
	assert_int_equal(f->provider.answer_error, HF_EAUTH);
}

static void test_drain_connects_anew(void **state)
{
	struct fixture *f = *state;
	Holdfast__Request request = HOLDFAST__REQUEST__INIT;
	Holdfast__Drain drain = HOLDFAST__DRAIN__INIT;

	activate(f);
	request.kind_case = HOLDFAST__REQUEST__KIND_DRAIN;
	request.drain = &drain;
	fake_provider_ask(&f->provider, &request);
	RUN_UNTIL(&f->loop, f->provider.management.connections == 2);
	assert_true(f->provider.answered > 0);
	assert_int_equal(f->provider.answer_error, 0);
	WAIT_LOOK(f, f->epoch == 2);
}

static void test_damaged_state_is_refused_by_name(void **state)
{
	struct fixture *f = *state;
	struct hf_errmsg message = {""};
	char path[120];
	FILE *file;

	activate(f);
	close_agent(f);
	snprintf(path, sizeof path, "%s/activated", f->state_dir);
	file = fopen(path, "r+");
	assert_non_null(file);
	fseek(file, 40, SEEK_SET);
	fputc('x', file);
	fputc('y', file);
	fclose(file);
	assert_int_equal(hf_agent_open(&f->loop.loop, &f->config, &f->agent, &message),
			 HF_ECORRUPT);
	assert_non_null(strstr(message.text, path));
	unlink(path);
	snprintf(path, sizeof path, "%s/agent.sock", f->gateway.folder);
	RUN_UNTIL(&f->loop, access(path, F_OK) != 0); /* it has closed */
	for (int i = 0; i < 10; i++)
		uv_run(&f->loop.loop, UV_RUN_NOWAIT);
	open_agent(f);
}

static void test_bad_configuration(void **state)
{
	struct fixture *f = *state;
	struct hf_errmsg message = {""};
	struct hf_agent_config bad = f->config;

	assert_int_equal(hf_agent_check_config(&bad, &message), 0);
	bad.run_dir = (char[]){"relative"};
	assert_int_equal(hf_agent_check_config(&bad, &message), HF_EINVAL);
	bad = f->config;
	bad.portal = (char[]){"nowhere"};
	assert_int_equal(hf_agent_check_config(&bad, &message), HF_EINVAL);
	assert_non_null(strstr(message.text, "portal"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_the_key_binds_both_sides),
		T(test_swapped_keys_change_the_key),
		T(test_activation_and_first_connection),
		T(test_the_owner_refuses),
		T(test_a_claim_is_shown_as_one_plain_line),
		T(test_what_is_issued_must_be_what_was_offered),
		T(test_a_document_is_applied_and_reported),
		T(test_refused_documents_change_nothing),
		T(test_a_restarted_agent_serves_without_the_provider),
		T(test_epochs_rise_over_restarts),
		T(test_a_damaged_document_lets_no_older_one_in),
		T(test_an_epoch_that_cannot_be_kept_is_not_used),
		T(test_requests_that_are_not_served),
		T(test_drain_connects_anew),
		T(test_damaged_state_is_refused_by_name),
		T(test_bad_configuration),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
