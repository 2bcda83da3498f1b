/* Invariant 9 for the control socket: every question that is not exactly right is refused with the
 * field named, and nothing is taken from it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "gateway/volumed/request.h"

static int decode(const Holdfast__VolumedRequest *question, struct hf_control_request *request,
		  struct hf_errmsg *message)
{
	size_t length = holdfast__volumed_request__get_packed_size(question);
	uint8_t *bytes = malloc(length + 1);
	int err;

	holdfast__volumed_request__pack(question, bytes);
	err = hf_control_decode(bytes, length, request, message);
	free(bytes);
	return err;
}

static void refused(const Holdfast__VolumedRequest *question, const char *field)
{
	struct hf_control_request request;
	struct hf_errmsg message = {""};

	assert_int_equal(decode(question, &request, &message), HF_EINVAL);
	if (!strstr(message.text, field))
		fail_msg("`%s` does not name %s", message.text, field);
	assert_null(request.store);
}

static uint8_t key[HF_WRAP_KEY_BYTES] = {1, 2, 3};

static Holdfast__VolumedAttach good_attach(void)
{
	Holdfast__VolumedAttach attach = HOLDFAST__VOLUMED_ATTACH__INIT;

	attach.tenant = 7;
	attach.volume = 8;
	attach.size_bytes = 1 << 20;
	attach.attach_epoch = 3;
	attach.write_cache = 1;
	attach.create = 1;
	attach.wrap_key = (ProtobufCBinaryData){.data = key, .len = sizeof key};
	return attach;
}

static void test_attach(void **state)
{
	Holdfast__VolumedRequest question = HOLDFAST__VOLUMED_REQUEST__INIT;
	Holdfast__VolumedAttach attach = good_attach();
	struct hf_control_request request;
	struct hf_errmsg message;

	(void)state;
	question.kind_case = HOLDFAST__VOLUMED_REQUEST__KIND_ATTACH;
	question.attach = &attach;
	assert_int_equal(decode(&question, &request, &message), 0);
	assert_int_equal(request.verb, HF_CONTROL_ATTACH);
	assert_int_equal(request.config.tenant, 7);
	assert_int_equal(request.config.volume, 8);
	assert_int_equal(request.config.size_bytes, 1 << 20);
	assert_int_equal(request.config.attach_epoch, 3);
	assert_true(request.config.write_cache && request.config.create);
	assert_memory_equal(request.config.wrap_key, key, sizeof key);
	hf_control_request_free(&request);

	attach.tenant = 0;
	refused(&question, "tenant");
	attach = good_attach();
	attach.volume = 0;
	refused(&question, "volume");
	attach = good_attach();
	attach.attach_epoch = 0;
	refused(&question, "attach_epoch");
	attach = good_attach();
	attach.size_bytes = 4096 * 3 + 512;
	refused(&question, "size_bytes");
	attach.size_bytes = 0;
	refused(&question, "size_bytes");
	attach.size_bytes = UINT64_MAX - 4095;
	refused(&question, "size_bytes");
	attach = good_attach();
	attach.wrap_key.len = 31;
	refused(&question, "wrap_key");
	attach.wrap_key.len = 0;
	refused(&question, "wrap_key");
}

static void test_zero_keys_are_no_keys(void **state)
{
	static uint8_t zero[HF_WRAP_KEY_BYTES];
	Holdfast__VolumedRequest question = HOLDFAST__VOLUMED_REQUEST__INIT;
	Holdfast__VolumedAttach attach = good_attach();

	(void)state;
	attach.wrap_key.data = zero;
	question.kind_case = HOLDFAST__VOLUMED_REQUEST__KIND_ATTACH;
	question.attach = &attach;
	refused(&question, "wrap_key");
}

static void test_store(void **state)
{
	static char url[] = "dir:/store", bad[] = "dir:/st\nore", none[] = "";
	Holdfast__VolumedRequest question = HOLDFAST__VOLUMED_REQUEST__INIT;
	Holdfast__VolumedStore store = HOLDFAST__VOLUMED_STORE__INIT;
	struct hf_control_request request;
	struct hf_errmsg message;
	char *big = malloc(70000);

	(void)state;
	question.kind_case = HOLDFAST__VOLUMED_REQUEST__KIND_SET_STORE;
	question.set_store = &store;
	store.url = url;
	assert_int_equal(decode(&question, &request, &message), 0);
	assert_int_equal(request.verb, HF_CONTROL_SET_STORE);
	assert_string_equal(request.store->url, url);
	hf_control_request_free(&request);
	store.url = none;
	refused(&question, "url");
	store.url = bad;
	refused(&question, "url");
	store.url = url;
	memset(big, 'a', 69999);
	big[69999] = '\0';
	store.secret_key = big;
	refused(&question, "secret_key");
	store.secret_key = none;
	store.ca = big;
	refused(&question, "ca");
	free(big);
}

static void test_names_of_volumes(void **state)
{
	Holdfast__VolumedRequest question = HOLDFAST__VOLUMED_REQUEST__INIT;
	Holdfast__VolumedRemove removal = HOLDFAST__VOLUMED_REMOVE__INIT;
	struct hf_control_request request;
	struct hf_errmsg message;

	(void)state;
	question.kind_case = HOLDFAST__VOLUMED_REQUEST__KIND_DETACH;
	refused(&question, "volume");
	question.detach = 9;
	assert_int_equal(decode(&question, &request, &message), 0);
	assert_true(request.verb == HF_CONTROL_DETACH && !request.force);
	question.kind_case = HOLDFAST__VOLUMED_REQUEST__KIND_DETACH_FORCE;
	question.detach_force = 9;
	assert_int_equal(decode(&question, &request, &message), 0);
	assert_true(request.verb == HF_CONTROL_DETACH && request.force);
	question.kind_case = HOLDFAST__VOLUMED_REQUEST__KIND_REMOVE;
	question.remove = 9;
	assert_int_equal(decode(&question, &request, &message), 0);
	assert_true(request.verb == HF_CONTROL_REMOVE && !request.has_key);
	question.kind_case = HOLDFAST__VOLUMED_REQUEST__KIND_REMOVE_VOLUME;
	question.remove_volume = &removal;
	refused(&question, "tenant");
	removal.tenant = 1;
	refused(&question, "volume");
	removal.volume = 9;
	refused(&question, "wrap_key");
	removal.wrap_key = (ProtobufCBinaryData){.data = key, .len = sizeof key};
	assert_int_equal(decode(&question, &request, &message), 0);
	assert_true(request.has_key && request.config.tenant == 1);
}

static void test_what_is_no_question(void **state)
{
	static const uint8_t garbage[] = {0xff, 0xff, 0xff, 0x01}, future[] = {0xfa, 0x3f, 0x00};
	struct hf_control_request request;
	struct hf_errmsg message;

	(void)state;
	assert_int_equal(hf_control_decode(garbage, sizeof garbage, &request, &message), HF_EPROTO);
	assert_int_equal(hf_control_decode(future, sizeof future, &request, &message),
			 HF_EUNSUPPORTED);
	assert_int_equal(hf_control_decode(garbage, 0, &request, &message), HF_EUNSUPPORTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_attach),
		cmocka_unit_test(test_zero_keys_are_no_keys),
		cmocka_unit_test(test_store),
		cmocka_unit_test(test_names_of_volumes),
		cmocka_unit_test(test_what_is_no_question),
	};

	return cmocka_run_group_tests_name("volumed requests", tests, NULL, NULL);
}
