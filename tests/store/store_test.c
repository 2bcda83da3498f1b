/* See store_test.h. One loop, one thread. */
#include "tests/store/store_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "tests/lib/folder.h"

struct waiting {
	struct hf_store_io io;
	bool done;
};

struct hf_store_config store_test_env_config(void)
{
	return (struct hf_store_config){
		.url = getenv("HF_TEST_STORE_URL"),
		.access_key = getenv("HF_TEST_STORE_ACCESS_KEY"),
		.secret_key = getenv("HF_TEST_STORE_SECRET_KEY"),
		.ca_file = getenv("HF_TEST_STORE_CA"),
		.proxy = getenv("HF_TEST_STORE_PROXY"),
		.proxy_credentials_file = getenv("HF_TEST_STORE_PROXY_CREDENTIALS_FILE"),
	};
}

void store_test_open(struct store_test *test, const char *kind)
{
	struct hf_store_config config = store_test_env_config();
	struct hf_errmsg message = {""};
	char url[80];

	memset(test, 0, sizeof *test);
	HF_ASSERT(uv_loop_init(&test->loop) == 0);
	if (strcmp(kind, "dir") == 0) {
		strcpy(test->folder, "/tmp/hf-store-XXXXXX");
		HF_ASSERT(mkdtemp(test->folder) != NULL);
		snprintf(url, sizeof url, "dir:%s", test->folder);
		config.url = url;
	}
	if (hf_store_open(&test->loop, &config, &test->store, &message) != 0) {
		fprintf(stderr, "store %s: %s\n", config.url ? config.url : "?", message.text);
		exit(1);
	}
}

static void closed(void *context)
{
	*(bool *)context = true;
}

void store_test_close(struct store_test *test)
{
	bool done = false;

	hf_store_close(test->store, closed, &done);
	HF_ASSERT(store_test_wait(test, &done));
	HF_ASSERT(uv_loop_close(&test->loop) == 0);
	if (test->folder[0])
		folder_remove(test->folder);
}

/* uv_run can poll once more after the callback that was waited for: the tick ends that. */
static void tick(uv_timer_t *timer)
{
	(void)timer;
}

bool store_test_wait(struct store_test *test, const bool *flag)
{
	uint64_t end_ns = uv_hrtime() + 60 * HF_NS_PER_S;
	uv_timer_t timer;

	HF_ASSERT(uv_timer_init(&test->loop, &timer) == 0);
	HF_ASSERT(uv_timer_start(&timer, tick, 5, 5) == 0);
	while (!*flag && uv_hrtime() < end_ns)
		uv_run(&test->loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(&test->loop, UV_RUN_NOWAIT);
	return *flag;
}

static void done(struct hf_store_io *io)
{
	hf_container_of(io, struct waiting, io)->done = true;
}

static int run(struct store_test *test, struct waiting *waiting, uint64_t deadline_ms)
{
	waiting->io.done = done;
	if (deadline_ms)
		waiting->io.deadline_ns = uv_hrtime() + deadline_ms * HF_NS_PER_MS;
	hf_store_submit(test->store, &waiting->io);
	HF_ASSERT(!waiting->done); /* the contract: never from inside the submit */
	HF_ASSERT(store_test_wait(test, &waiting->done));
	return waiting->io.status;
}

void store_test_name(struct hf_store_io *io, const char *name)
{
	memset(io->name, 0, sizeof io->name);
	strncpy(io->name, name, sizeof io->name - 1);
}

int store_test_put(struct store_test *test, const char *name, const void *data, size_t length,
		   bool if_absent, uint64_t deadline_ms)
{
	struct waiting waiting = {
		.io = {.op = HF_STORE_PUT, .data = data, .length = length, .if_absent = if_absent}};

	store_test_name(&waiting.io, name);
	return run(test, &waiting, deadline_ms);
}

int store_test_get(struct store_test *test, const char *name, uint64_t start, size_t length,
		   void **body, size_t *body_length, uint64_t deadline_ms)
{
	struct waiting waiting = {
		.io = {.op = HF_STORE_GET, .range_start = start, .range_length = length}};
	int status;

	store_test_name(&waiting.io, name);
	status = run(test, &waiting, deadline_ms);
	*body = waiting.io.body;
	*body_length = waiting.io.body_length;
	return status;
}

int store_test_delete(struct store_test *test, const char *name)
{
	struct waiting waiting = {.io = {.op = HF_STORE_DELETE}};

	store_test_name(&waiting.io, name);
	return run(test, &waiting, 0);
}

int store_test_list(struct store_test *test, struct hf_store_io *io, const char *prefix,
		    const char *after, unsigned limit)
{
	struct waiting waiting = {.io = {.op = HF_STORE_LIST, .limit = limit}};
	int status;

	store_test_name(&waiting.io, prefix);
	strncpy(waiting.io.after, after, sizeof waiting.io.after - 1);
	status = run(test, &waiting, 0);
	*io = waiting.io;
	return status;
}
