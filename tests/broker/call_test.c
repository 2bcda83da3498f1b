/* The client of tgtd's management socket against a peer that answers wrongly, late or not at all:
 * an error in time, never a hang and never more memory than the limit (invariant 9). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/assert.h"
#include "gateway/broker/tgt_call.h"

/* Answers one connection with `bytes` after reading 120 + `parameters` bytes. */
static struct peer {
	int listener;
	char folder[32], path[64];
	size_t expected;
	const char *bytes;
	size_t length;
	bool hold; /* keep the connection open until told */
	char read[256];
} peer;

static void *serve(void *context)
{
	int fd = accept(peer.listener, NULL, NULL);
	size_t used = 0;
	char byte;

	(void)context;
	while (used < peer.expected) {
		ssize_t n = read(fd, peer.read + used, peer.expected - used);

		if (n <= 0)
			break;
		used += (size_t)n;
	}
	if (peer.length > 0)
		HF_ASSERT(write(fd, peer.bytes, peer.length) == (ssize_t)peer.length);
	if (peer.hold)
		HF_ASSERT(read(fd, &byte, 1) <= 0); /* until the client gives up */
	close(fd);
	return NULL;
}

static int call(const char *parameters, const void *answer_bytes, size_t length, bool hold,
		struct hf_tgt_answer *answer)
{
	const struct hf_tgt_request request = {.mode = HF_TGT_CONNECTION,
					       .op = HF_TGT_DELETE,
					       .tid = -5,
					       .sid = 0x1122334455667788,
					       .lun = 9,
					       .cid = 77,
					       .direction = HF_TGT_OUTGOING,
					       .parameters = parameters};
	pthread_t thread;
	int err;

	peer.expected = 120 + (parameters ? strlen(parameters) + 1 : 0);
	peer.bytes = answer_bytes;
	peer.length = length;
	peer.hold = hold;
	HF_ASSERT(pthread_create(&thread, NULL, serve, NULL) == 0);
	err = hf_tgt_call(peer.path, &request, hf_tgt_now_ns() + 500000000u, answer);
	HF_ASSERT(pthread_join(thread, NULL) == 0);
	return err;
}

/* The request's bytes are those of struct tgtadm_req. */
static void bytes_of_a_request(void **state)
{
	static const uint32_t ok[] = {0, 12};
	char bytes[12];
	struct hf_tgt_answer answer;
	uint32_t words[4];
	uint64_t longs[2];

	(void)state;
	memcpy(bytes, ok, 8);
	memcpy(bytes + 8, "text", 4);
	assert_int_equal(call("a=b", bytes, 12, true, &answer), 0);
	assert_int_equal(answer.error, 0);
	assert_string_equal(answer.text, "text");
	assert_int_equal(answer.pid, getpid());
	free(answer.text);
	memcpy(words, peer.read, 8);
	assert_int_equal(words[0], 6);
	assert_int_equal(words[1], 1);
	assert_string_equal(peer.read + 8, "iscsi");
	memcpy(words, peer.read + 72, 8);
	assert_int_equal(words[0], 124);
	assert_int_equal((int32_t)words[1], -5);
	memcpy(longs, peer.read + 80, 16);
	assert_true(longs[0] == 0x1122334455667788 && longs[1] == 9);
	memcpy(words, peer.read + 96, 16);
	assert_int_equal(words[0], 77);
	assert_int_equal(words[3], 1);
	assert_string_equal(peer.read + 120, "a=b");
}

static void bad_answers(void **state)
{
	static const struct {
		uint32_t words[3];
		size_t length;
		bool hold;
		int expected;
	} rows[] = {
		{{0}, 0, false, HF_ECONN},              /* nothing: it died */
		{{0}, 4, false, HF_ECONN},              /* half a header */
		{{0}, 0, true, HF_ETIMEDOUT},           /* it hangs */
		{{0, 7}, 8, true, HF_EPROTO},           /* shorter than its own header */
		{{0, 100}, 12, false, HF_ECONN},        /* less than it says */
		{{0, 100}, 12, true, HF_ETIMEDOUT},     /* and hangs */
		{{0, 0xffffffff}, 8, true, HF_ETOOBIG}, /* more than anything */
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct hf_tgt_answer answer;

		assert_int_equal(call(NULL, rows[i].words, rows[i].length, rows[i].hold, &answer),
				 rows[i].expected);
		assert_null(answer.text);
	}
}

static void errors(void **state)
{
	static const uint32_t active[] = {20, 8};
	struct hf_tgt_answer answer;

	(void)state;
	assert_int_equal(call(NULL, active, 8, false, &answer), 0);
	assert_int_equal(answer.error, HF_TGT_LUN_ACTIVE);
	assert_int_equal(hf_tgt_error_code(20), HF_EBUSY);
	assert_int_equal(hf_tgt_error_code(4), HF_ENOENT);
	assert_int_equal(hf_tgt_error_code(999), HF_EIO);
	assert_non_null(hf_tgt_error_text(999));
}

static void nobody_there(void **state)
{
	const struct hf_tgt_request request = {.mode = HF_TGT_TARGET};
	struct hf_tgt_answer answer;
	char path[200];

	(void)state;
	assert_int_equal(
		hf_tgt_call("/no/such/socket", &request, hf_tgt_now_ns() + 1000000000u, &answer),
		HF_ECONN);
	memset(path, 'a', sizeof path);
	path[sizeof path - 1] = '\0';
	assert_int_equal(hf_tgt_call(path, &request, hf_tgt_now_ns() + 1000000000u, &answer),
			 HF_EINVAL);
}

static int set_up(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	(void)state;
	strcpy(peer.folder, "/tmp/hf-call-XXXXXX");
	HF_ASSERT(mkdtemp(peer.folder) != NULL);
	snprintf(peer.path, sizeof peer.path, "%s/tgt", peer.folder);
	strcpy(address.sun_path, peer.path);
	peer.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	HF_ASSERT(bind(peer.listener, (struct sockaddr *)&address, sizeof address) == 0);
	HF_ASSERT(listen(peer.listener, 4) == 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	close(peer.listener);
	unlink(peer.path);
	rmdir(peer.folder);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_of_a_request),
		cmocka_unit_test(bad_answers),
		cmocka_unit_test(errors),
		cmocka_unit_test(nobody_there),
	};

	return cmocka_run_group_tests_name("tgtd's management socket", tests, set_up, tear_down);
}
