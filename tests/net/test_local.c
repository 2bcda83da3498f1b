/* Promises of net/local.h: every question is answered exactly once, whatever the other side does;
 * what a peer can make the server hold is bounded; bad frames end their connection only
 * (invariant 9). Real sockets, one loop; waits are for a condition with a deadline. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bytes.h"
#include "net/local.h"
#include "net/local_frame.h"
#include "tests/net/loop.h"

#define DEADLINE_MS LOOP_DEADLINE_MS

struct fixture {
	struct test_loop loop;
	char folder[64], path[96];
	struct hf_local_server *server;
	struct hf_local_client *client;
	struct hf_local_request *kept[16];
	unsigned kept_count, keep, questions;
	unsigned answers, failures;
	int last_status;
	char last_answer[64];
	bool server_closed, client_closed;
};

static void serve(void *context, struct hf_local_request *request, const uint8_t *bytes,
		  size_t length)
{
	struct fixture *f = context;

	f->questions++;
	assert_int_equal(hf_local_request_uid(request), geteuid());
	if (f->kept_count < f->keep)
		f->kept[f->kept_count++] = request;
	else
		hf_local_reply(request, bytes, length);
}

static void on_answer(void *context, int status, const uint8_t *bytes, size_t length)
{
	struct fixture *f = context;

	f->answers++;
	f->last_status = status;
	f->failures += status != 0;
	if (status == 0 && length < sizeof f->last_answer) {
		memcpy(f->last_answer, bytes, length);
		f->last_answer[length] = '\0';
	}
}

static void on_server_closed(void *context)
{
	((struct fixture *)context)->server_closed = true;
}

static void on_client_closed(void *context)
{
	((struct fixture *)context)->client_closed = true;
}

static void listen_on(struct fixture *f)
{
	struct hf_local_server_config config = {
		.path = f->path, .mode = 0600, .request = serve, .context = f, .requests_max = 4};
	struct hf_errmsg message;

	assert_int_equal(hf_local_listen(&f->loop.loop, &config, &f->server, &message), 0);
	f->server_closed = false;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	signal(SIGPIPE, SIG_IGN);
	strcpy(f->folder, "/tmp/hf-local-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->path, sizeof f->path, "%s/sock", f->folder);
	test_loop_open(&f->loop);
	listen_on(f);
	assert_int_equal(hf_local_client_open(&f->loop.loop, f->path, &f->client), 0);
	*state = f;
	return 0;
}

static void close_server(struct fixture *f)
{
	hf_local_server_close(f->server, on_server_closed, f);
	f->server = NULL;
	RUN_UNTIL(&f->loop, f->server_closed);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	while (f->kept_count)
		hf_local_reply(f->kept[--f->kept_count], NULL, 0);
	if (f->server)
		close_server(f);
	hf_local_client_close(f->client, on_client_closed, f);
	RUN_UNTIL(&f->loop, f->client_closed);
	test_loop_close(&f->loop);
	unlink(f->path);
	assert_int_equal(rmdir(f->folder), 0);
	free(f);
	return 0;
}

static void ask(struct fixture *f, const char *text, uint64_t deadline_ms)
{
	hf_local_call(f->client, (const uint8_t *)text, strlen(text), deadline_ms, on_answer, f);
}

static void test_question_and_answer(void **state)
{
	struct fixture *f = *state;
	struct stat info;

	assert_int_equal(stat(f->path, &info), 0);
	assert_int_equal(info.st_mode & 0777, 0600);
	ask(f, "hello", DEADLINE_MS);
	assert_int_equal(f->answers, 0); /* never from inside the call */
	RUN_UNTIL(&f->loop, f->answers == 1);
	assert_int_equal(f->last_status, 0);
	assert_string_equal(f->last_answer, "hello");
}

static void test_answers_in_any_order(void **state)
{
	struct fixture *f = *state;

	f->keep = 2;
	ask(f, "one", DEADLINE_MS);
	ask(f, "two", DEADLINE_MS);
	RUN_UNTIL(&f->loop, f->kept_count == 2);
	hf_local_reply(f->kept[1], (const uint8_t *)"TWO", 3);
	RUN_UNTIL(&f->loop, f->answers == 1);
	assert_string_equal(f->last_answer, "TWO");
	hf_local_reply(f->kept[0], (const uint8_t *)"ONE", 3);
	f->kept_count = 0;
	RUN_UNTIL(&f->loop, f->answers == 2);
	assert_string_equal(f->last_answer, "ONE");
}

static void test_many_questions_are_held_back_not_lost(void **state)
{
	struct fixture *f = *state;

	f->keep = 4; /* requests_max */
	for (int i = 0; i < 50; i++)
		ask(f, "x", DEADLINE_MS);
	RUN_UNTIL(&f->loop, f->kept_count == 4);
	uv_run(&f->loop.loop, UV_RUN_NOWAIT);
	assert_int_equal(f->questions, 4); /* the server reads no more */
	while (f->kept_count)
		hf_local_reply(f->kept[--f->kept_count], (const uint8_t *)"y", 1);
	f->keep = 0;
	RUN_UNTIL(&f->loop, f->answers == 50);
	assert_int_equal(f->failures, 0);
}

static void test_loss_ends_calls_and_the_client_reconnects(void **state)
{
	struct fixture *f = *state;
	struct hf_local_request *orphan;

	f->keep = 1;
	ask(f, "x", DEADLINE_MS);
	RUN_UNTIL(&f->loop, f->kept_count == 1);
	orphan = f->kept[0];
	f->kept_count = f->keep = 0;
	close_server(f);
	RUN_UNTIL(&f->loop, f->answers == 1);
	assert_int_equal(f->last_status, HF_ECONN);
	hf_local_reply(orphan, (const uint8_t *)"late", 4); /* harmless */
	ask(f, "x", DEADLINE_MS);
	RUN_UNTIL(&f->loop, f->answers == 2);
	assert_int_equal(f->last_status, HF_ECONN); /* nobody listens */
	listen_on(f);
	ask(f, "again", DEADLINE_MS);
	RUN_UNTIL(&f->loop, f->answers == 3);
	assert_string_equal(f->last_answer, "again");
}

static void test_deadline(void **state)
{
	struct fixture *f = *state;

	f->keep = 1;
	ask(f, "slow", 200);
	RUN_UNTIL(&f->loop, f->answers == 1 && f->kept_count == 1);
	assert_int_equal(f->last_status, HF_ETIMEDOUT);
	ask(f, "next", DEADLINE_MS); /* the late answer does not confuse the next */
	hf_local_reply(f->kept[0], (const uint8_t *)"late", 4);
	f->kept_count = f->keep = 0;
	RUN_UNTIL(&f->loop, f->answers == 2);
	assert_string_equal(f->last_answer, "next");
}

static void test_too_big_a_question(void **state)
{
	struct fixture *f = *state;
	uint8_t *big = calloc(1, HF_LOCAL_FRAME_MAX + 1);

	hf_local_call(f->client, big, HF_LOCAL_FRAME_MAX + 1, DEADLINE_MS, on_answer, f);
	RUN_UNTIL(&f->loop, f->answers == 1);
	assert_int_equal(f->last_status, HF_ETOOBIG);
	hf_local_call(f->client, big, HF_LOCAL_FRAME_MAX, DEADLINE_MS, on_answer, f);
	RUN_UNTIL(&f->loop, f->answers == 2);
	assert_int_equal(f->last_status, 0);
	free(big);
}

static int raw_connect(const struct fixture *f)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	strcpy(address.sun_path, f->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
	return fd;
}

static void test_bad_frames_end_only_their_connection(void **state)
{
	static const uint32_t lengths[] = {0, 3, HF_LOCAL_FRAME_MAX + 5, UINT32_MAX};
	struct fixture *f = *state;

	for (unsigned i = 0; i < 4; i++) {
		uint8_t bytes[4];
		char byte;
		int fd = raw_connect(f);

		hf_put_le32(bytes, lengths[i]);
		assert_int_equal(write(fd, bytes, 4), 4);
		RUN_UNTIL(&f->loop, recv(fd, &byte, 1, 0) == 0);
		close(fd);
	}
	assert_int_equal(f->questions, 0);
	ask(f, "still there", DEADLINE_MS);
	RUN_UNTIL(&f->loop, f->answers == 1);
	assert_string_equal(f->last_answer, "still there");
}

static void test_every_split_of_a_frame(void **state)
{
	struct fixture *f = *state;
	uint8_t *frame = hf_local_frame_make(7, (const uint8_t *)"abc", 3);

	for (size_t cut = 1; cut < 11; cut++) {
		int fd = raw_connect(f);
		uint8_t answer[11];

		assert_int_equal(write(fd, frame, cut), cut);
		uv_run(&f->loop.loop, UV_RUN_NOWAIT);
		assert_int_equal(write(fd, frame + cut, 11 - cut), 11 - cut);
		RUN_UNTIL(&f->loop, recv(fd, answer, 11, MSG_PEEK) == 11);
		assert_int_equal(recv(fd, answer, 11, 0), 11);
		assert_memory_equal(answer, frame, 11);
		close(fd);
	}
	free(frame);
}

static void test_a_running_server_is_not_replaced(void **state)
{
	struct fixture *f = *state;
	struct hf_local_server_config config = {.path = f->path, .mode = 0600, .request = serve};
	struct hf_local_server *second;
	struct hf_errmsg message;

	assert_int_equal(hf_local_listen(&f->loop.loop, &config, &second, &message), HF_EBUSY);
	assert_non_null(strstr(message.text, f->path));
}

static void test_a_missing_folder_is_named(void **state)
{
	struct fixture *f = *state;
	struct hf_local_server_config config = {
		.path = "/tmp/hf-no-such-folder/sock", .mode = 0600, .request = serve};
	struct hf_local_server *server;
	struct hf_errmsg message;

	assert_int_equal(hf_local_listen(&f->loop.loop, &config, &server, &message), HF_ENOENT);
	assert_non_null(strstr(message.text, "/tmp/hf-no-such-folder:"));
}

struct asker {
	const char *path;
	int status;
	uint8_t *answer;
	size_t length;
	struct hf_errmsg message;
	volatile int done;
};

static void *ask_blocking(void *arg)
{
	struct asker *asker = arg;

	asker->status = hf_local_ask(asker->path, (const uint8_t *)"cli", 3, DEADLINE_MS,
				     &asker->answer, &asker->length, &asker->message);
	asker->done = 1;
	return NULL;
}

static void test_blocking_ask(void **state)
{
	struct fixture *f = *state;
	struct asker asker = {.path = f->path};
	pthread_t thread;
	struct hf_errmsg message;
	uint8_t *answer;
	size_t length;

	assert_int_equal(pthread_create(&thread, NULL, ask_blocking, &asker), 0);
	RUN_UNTIL(&f->loop, asker.done);
	pthread_join(thread, NULL);
	assert_int_equal(asker.status, 0);
	assert_int_equal(asker.length, 3);
	assert_memory_equal(asker.answer, "cli", 3);
	free(asker.answer);
	close_server(f);
	assert_int_equal(hf_local_ask(f->path, NULL, 0, 100, &answer, &length, &message), HF_ECONN);
	assert_non_null(strstr(message.text, f->path));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_question_and_answer),
		T(test_answers_in_any_order),
		T(test_many_questions_are_held_back_not_lost),
		T(test_loss_ends_calls_and_the_client_reconnects),
		T(test_deadline),
		T(test_too_big_a_question),
		T(test_bad_frames_end_only_their_connection),
		T(test_every_split_of_a_frame),
		T(test_a_running_server_is_not_replaced),
		T(test_a_missing_folder_is_named),
		T(test_blocking_ask),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
