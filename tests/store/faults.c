/* What the S3 store does when the way to the store, or the store, misbehaves: fault_proxy stands in
 * front of a real RADOS Gateway (HF_TEST_STORE_URL names the proxy). Invariants 6 and 9. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "tests/store/store_test.h"

static struct store_test test;

/* One question to the proxy's control; the number it answers. */
static int ask_proxy(const char *path)
{
	const char *port = strrchr(getenv("HF_TEST_STORE_URL"), ':') + 1;
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons((uint16_t)atoi(port)),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char text[1024] = "", *body;
	size_t used = 0;
	ssize_t n;

	HF_ASSERT(connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
	dprintf(fd, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path);
	while ((n = read(fd, text + used, sizeof text - 1 - used)) > 0)
		used += (size_t)n;
	close(fd);
	body = strstr(text, "\r\n\r\n");
	HF_ASSERT(body != NULL);
	return atoi(body + 4);
}

static void fault(const char *name, unsigned count)
{
	char path[64];

	snprintf(path, sizeof path, "/-/fault/%s/%u", name, count);
	ask_proxy(path);
}

static unsigned requests(void)
{
	return (unsigned)ask_proxy("/-/count");
}

static int put(const char *name, bool if_absent, uint64_t deadline_ms)
{
	return store_test_put(&test, name, "0123456789", 10, if_absent, deadline_ms);
}

static int get(const char *name, uint64_t start, size_t length, uint64_t deadline_ms)
{
	void *body;
	size_t body_length;
	int status = store_test_get(&test, name, start, length, &body, &body_length, deadline_ms);

	if (status == 0) {
		assert_int_equal(body_length, length ? length : 10 - start);
		assert_memory_equal(body, &"0123456789"[start], body_length);
		free(body);
	}
	return status;
}

/* Trouble that passes is not seen by the caller, and takes exactly the tries it needs. */
static void passing_trouble(void **state)
{
	static const char *const faults[] = {"503", "reset", "lost", "lost503", "garbage", "delay"};

	(void)state;
	for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
		unsigned tries = strcmp(faults[i], "delay") == 0 ? 1 : 3;

		fault(faults[i], 2);
		assert_int_equal(put("f/passing", false, 20000), 0);
		assert_int_equal(requests(), tries);
		fault(faults[i], 2);
		assert_int_equal(get("f/passing", 0, 0, 20000), 0);
		assert_int_equal(requests(), tries);
		fault(faults[i], 2);
		assert_int_equal(store_test_delete(&test, "f/passing"), 0);
		assert_int_equal(requests(), tries);
	}
}

/* A body that is cut short is never given to the caller. */
static void truncated_body(void **state)
{
	(void)state;
	fault("", 0);
	assert_int_equal(put("f/truncated", false, 0), 0);
	requests();
	fault("truncate", 2);
	assert_int_equal(get("f/truncated", 2, 6, 20000), 0);
	assert_int_equal(requests(), 3);
}

/* A list cut short would hide objects: it is asked for again. */
static void truncated_list(void **state)
{
	struct hf_store_io io;

	(void)state;
	requests();
	fault("shortxml", 2);
	assert_int_equal(store_test_list(&test, &io, "f/truncated", "", 0), 0);
	assert_int_equal(io.name_count, 1);
	assert_int_equal(requests(), 3);
	free(io.names);
}

/* The answer to a conditional PUT was lost: the second try meets the first one's object. */
static void lost_conditional_put(void **state)
{
	(void)state;
	fault("", 0);
	assert_int_equal(store_test_delete(&test, "f/claim"), 0);
	fault("lost", 1);
	assert_int_equal(put("f/claim", true, 20000), HF_EEXIST);
	assert_int_equal(get("f/claim", 0, 0, 0), 0);
}

/* A connection on which nothing moves is given up long before the deadline. */
static void stalled(void **state)
{
	uint64_t start_ns = uv_hrtime();

	(void)state;
	fault("stall", 1);
	requests();
	assert_int_equal(get("f/truncated", 0, 0, 40000), 0);
	assert_int_equal(requests(), 2);
	assert_true(uv_hrtime() - start_ns < 15 * HF_NS_PER_S);
}

/* The deadline ends the tries, near its time, with the reason of the last one. */
static void deadlines(void **state)
{
	static const struct {
		const char *fault;
		int status;
	} rows[] = {{"503", HF_EAGAIN}, {"reset", HF_ECONN}, {"stall", HF_ETIMEDOUT}};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		uint64_t start_ns = uv_hrtime(), took_ns;

		fault(rows[i].fault, 1000);
		assert_int_equal(get("f/truncated", 0, 0, 1000), rows[i].status);
		took_ns = uv_hrtime() - start_ns;
		assert_true(took_ns > HF_NS_PER_S * 9 / 10 && took_ns < 3 * HF_NS_PER_S);
	}
	fault("", 0);
}

/* Refusals are final: one try. A 404 that is not the store's own is no absent object. */
static void refusals(void **state)
{
	(void)state;
	requests();
	fault("denied", 1);
	assert_int_equal(get("f/truncated", 0, 0, 0), HF_EACCES);
	fault("denied", 1);
	assert_int_equal(put("f/denied", true, 0), HF_EACCES);
	fault("page404", 1);
	assert_int_equal(get("f/truncated", 0, 0, 0), HF_EIO);
	fault("page404", 1);
	assert_int_equal(store_test_delete(&test, "f/truncated"), HF_EIO);
	fault("norange", 1);
	assert_int_equal(get("f/truncated", 2, 3, 0), HF_EIO);
	assert_int_equal(requests(), 5);
}

/* ---- A storm ---- */

#define STORM 200
static struct gust {
	struct hf_store_io io;
	unsigned step; /* 0 PUT, 1 GET, 2 DELETE */
	uint8_t content[3000];
} gusts[STORM];
static unsigned gusts_left, gusts_failed;
static bool storm_over;

static void gust_step(struct hf_store_io *io)
{
	struct gust *gust = hf_container_of(io, struct gust, io);

	if (io->op == HF_STORE_GET && io->status == 0 &&
	    (io->body_length != sizeof gust->content ||
	     memcmp(io->body, gust->content, sizeof gust->content) != 0))
		gusts_failed++;
	free(io->body);
	io->body = NULL;
	/* A conditional PUT may meet its own first try. */
	if (io->status != 0 && !(io->op == HF_STORE_PUT && io->status == HF_EEXIST))
		gusts_failed++;
	if (io->status == HF_ECANCELED || ++gust->step == 3) {
		storm_over = --gusts_left == 0;
		return;
	}
	io->op = gust->step == 1 ? HF_STORE_GET : HF_STORE_DELETE;
	hf_store_submit(test.store, io);
}

static void start_storm(void)
{
	fault("mix", 1000000);
	gusts_failed = 0;
	gusts_left = STORM;
	storm_over = false;
	for (unsigned i = 0; i < STORM; i++) {
		char name[32];

		memset(&gusts[i], (int)i, sizeof gusts[i]);
		gusts[i].step = 0;
		gusts[i].io = (struct hf_store_io){.op = HF_STORE_PUT,
						   .data = gusts[i].content,
						   .length = sizeof gusts[i].content,
						   .if_absent = i % 2,
						   .done = gust_step};
		snprintf(name, sizeof name, "storm/%u", i);
		store_test_name(&gusts[i].io, name);
		hf_store_submit(test.store, &gusts[i].io);
	}
}

/* Many operations at once, two of five requests in trouble: all of them end well. */
static void storm(void **state)
{
	(void)state;
	start_storm();
	assert_true(store_test_wait(&test, &storm_over));
	assert_int_equal(gusts_failed, 0);
	fault("", 0);
}

/* A server whose clock differs is signed for by its clock, after one refusal. Last: the proxy only
 * plays that clock, and the gateway behind it has ours. */
static void skewed_clock(void **state)
{
	(void)state;
	requests();
	fault("skew", 3);
	assert_int_equal(put("f/skew", false, 5000), 0);
	assert_int_equal(requests(), 2);
	assert_int_equal(put("f/skew", false, 5000), 0);
	assert_int_equal(requests(), 1);
	/* And back: the real one refuses the wrong clock, and tells its own. */
	assert_int_equal(put("f/skew", false, 5000), 0);
	assert_int_equal(store_test_delete(&test, "f/skew"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(passing_trouble), cmocka_unit_test(truncated_body),
		cmocka_unit_test(truncated_list),  cmocka_unit_test(lost_conditional_put),
		cmocka_unit_test(stalled),         cmocka_unit_test(deadlines),
		cmocka_unit_test(refusals),        cmocka_unit_test(storm),
		cmocka_unit_test(skewed_clock),
	};
	int failed;

	store_test_open(&test, "env");
	failed = cmocka_run_group_tests_name("store faults", tests, NULL, NULL);
	/* Closing in the middle of trouble: every operation ends, once. */
	start_storm();
	for (int i = 0; i < 40; i++)
		uv_run(&test.loop, UV_RUN_ONCE);
	store_test_close(&test);
	HF_ASSERT(storm_over);
	return failed;
}
